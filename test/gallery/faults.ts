// Faulty servers: the correct one of server.ts, each with one fault that people make,
// and the check that must find it.

import type { Socket } from 'node:net';

import {
  type ErrorStream, type InputStream, type ResponseBody, type StartResponse, StreamInput, StringIO,
} from '../../lib/index.ts';
import { type Exchange, GalleryServer, type HeaderList, type Request } from './server.ts';
import type { Source } from './source.ts';

/** One faulty server. */
export interface Fault {
  name: string;
  /** The id of the check that must find it. */
  finds: string;
  Server: typeof GalleryServer;
}

export const faults: Fault[] = [];

function fault(finds: string, name: string, Server: typeof GalleryServer): void {
  faults.push({ name, finds, Server });
}

type Environ = Record<string, unknown>;

/** A server that changes environ when it is complete. */
function environFault(
  finds: string, name: string, change: (environ: Environ, request: Request) => Environ | void,
): void {
  fault(finds, name, class extends GalleryServer {
    override makeEnviron(request: Request, input: InputStream) {
      const environ = super.makeEnviron(request, input);
      return (change(environ as unknown as Environ, request) ?? environ) as typeof environ;
    }
  });
}

/** A server whose wsgi.input has another method. */
function inputFault(
  finds: string, name: string,
  change: (input: InputStream, request: Request) => Partial<InputStream>,
): void {
  fault(finds, name, class extends GalleryServer {
    override makeInput(request: Request): InputStream {
      const input = super.makeInput(request);
      const own = {
        read: (size?: number) => input.read(size),
        readline: (size?: number) => input.readline(size),
        readlines: (hint?: number) => input.readlines(hint),
        [Symbol.asyncIterator]: () => input[Symbol.asyncIterator](),
      };
      return { ...own, ...change(input, request) };
    }
    override async drain(): Promise<boolean> {
      return false;
    }
  });
}

/** A server with another startResponse, given the right one. */
function startResponseFault(
  finds: string, name: string,
  change: (right: StartResponse, exchange: Exchange, server: GalleryServer) => StartResponse,
): void {
  fault(finds, name, class extends GalleryServer {
    override startResponseFor(exchange: Exchange): StartResponse {
      return change(super.startResponseFor(exchange), exchange, this);
    }
  });
}

const forever = (): Promise<never> => new Promise(() => {});
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

// ---- connection

fault(
  'connection-calls-once', 'calls the application twice, once for the headers',
  class extends GalleryServer {
    override callApp(exchange: Exchange) {
      void Promise.resolve(this.app({ ...exchange.environ }, () => async () => {})).catch(() => {});
      return super.callApp(exchange);
    }
  },
);
fault('connection-twice', 'serves one request only', class extends GalleryServer {
  private count = 0;
  override accept(socket: Socket): void {
    this.count += 1;
    if (this.count === 1) super.accept(socket);
  }
});
fault('connection-many', 'keeps the status and headers in the server', class extends GalleryServer {
  private environ: Exchange['environ'] | undefined;
  override async callApp(exchange: Exchange) {
    this.environ = exchange.environ;
    await new Promise((resolve) => setTimeout(resolve, 5));
    return this.app(this.environ, this.startResponseFor(exchange));
  }
});
fault(
  'connection-head-in-pieces', 'takes the first packet for the whole head',
  class extends GalleryServer {
    override async readHead(source: Source): Promise<string | undefined> {
      const text = (await source.some()).toString('latin1');
      return text === '' ? undefined : text;
    }
  },
);
fault(
  'connection-client-resets', 'has no listener for the error of a socket',
  class extends GalleryServer {
    override onSocketError(): void {}
  },
);
fault('connection-closes', 'has a close() that never ends', class extends GalleryServer {
  override async stop(): Promise<void> {
    await super.stop();
    await forever();
  }
});

// ---- environ

fault('environ-arguments', 'passes a third argument', class extends GalleryServer {
  override callApp(exchange: Exchange) {
    return (this.app as (...args: unknown[]) => ResponseBody)(
      exchange.environ, this.startResponseFor(exchange), 'extra');
  }
});
environFault('environ-plain', 'passes an instance of a class', (environ) =>
  Object.assign(new (class Environ {})(), environ));
environFault('environ-plain', 'lets environ inherit from a common base', (environ) => {
  const { 'wsgi.version': version, ...own } = environ;
  return Object.assign(Object.create({ 'wsgi.version': version }), own);
});
environFault('environ-mutable', 'passes a frozen environ', (environ) => Object.freeze(environ));
{
  let last: Environ = {};
  environFault('environ-fresh', 'makes environ of the one before', (environ) =>
    (last = { ...last, ...environ }));
  const shared: Environ = {};
  environFault('environ-fresh', 'uses one environ for all requests', (environ) =>
    Object.assign(shared, environ));
}
environFault('environ-method', 'writes the method in lower case', (environ) => {
  environ['REQUEST_METHOD'] = String(environ['REQUEST_METHOD']).toLowerCase();
});
environFault('environ-path-root', 'writes the root as SCRIPT_NAME "/"', (environ) => {
  environ['SCRIPT_NAME'] = '/';
  environ['PATH_INFO'] = String(environ['PATH_INFO']).slice(1);
});
environFault('environ-path', 'has the whole path in SCRIPT_NAME, too', (environ) => {
  environ['SCRIPT_NAME'] = environ['PATH_INFO'];
});
for (const [finds, name, decode] of [
  ['environ-path-decoded', 'does not decode the path', (path) => path],
  ['environ-path-decoded-once', 'decodes the path twice', (path, right) => right(right(path))],
  [
    'environ-path-utf8', 'decodes the path with decodeURIComponent',
    (path) => decodeURIComponent(path),
  ],
  ['environ-path-byte', 'falls back to the raw path where it is not UTF-8', (path, right) => {
    try {
      decodeURIComponent(path);
      return right(path);
    } catch {
      return path;
    }
  }],
  ['environ-path-bad-percent', 'throws for a percent sign alone', (path, right) => {
    if (/%(?![0-9a-f]{2})/i.test(path)) throw new URIError('URI malformed');
    return right(path);
  }],
  [
    'environ-path-plus', 'decodes "+" as a space',
    (path, right) => right(path.replaceAll('+', ' ')),
  ],
  ['environ-path-untouched', 'resolves dots', (path, right) =>
    right(path.startsWith('//') ? path : new URL(path, 'http://host').pathname)],
  ['environ-path-two-slashes', 'parses the target with new URL()', (path, right) =>
    right(path.startsWith('//') ? new URL(path, 'http://host').pathname : path)],
  [
    'environ-path-untouched', 'removes double slashes',
    (path, right) => right(path.replace(/\/+/g, '/')),
  ],
  [
    'environ-path-colon', 'cuts the path at a semicolon',
    (path, right) => right(path.split(';')[0] ?? ''),
  ],
] as Array<[string, string, (path: string, right: (path: string) => string) => string]>) {
  fault(finds, name, class extends GalleryServer {
    override decodePath(path: string): string {
      return decode(path, (each) => super.decodePath(each));
    }
  });
}
fault(
  'environ-absolute-target', 'takes an absolute target for a path',
  class extends GalleryServer {
    override splitTarget(target: string): [string, string] {
      const [path = '', query = ''] = target.split(/\?(.*)/s);
      return [path, query];
    }
  },
);
fault('environ-query-question-mark', 'splits the target at every "?"', class extends GalleryServer {
  override splitTarget(target: string): [string, string] {
    const [path, query] = super.splitTarget(target);
    return [path, query.split('?')[0] ?? ''];
  }
});
environFault('environ-query', 'decodes the query', (environ) => {
  environ['QUERY_STRING'] = decodeURIComponent(String(environ['QUERY_STRING']));
});
environFault('environ-query', 'leaves the "?" in the query', (environ, { target }) => {
  if (target.includes('?')) environ['QUERY_STRING'] = `?${String(environ['QUERY_STRING'])}`;
});
environFault('environ-query-empty', 'sets an absent query to undefined', (environ) => {
  environ['QUERY_STRING'] ||= undefined;
});
environFault('environ-long-target', 'cuts the target at 1024 characters', (environ) => {
  environ['QUERY_STRING'] = String(environ['QUERY_STRING']).slice(0, 1024);
});
environFault('environ-protocol', 'writes the version without HTTP/', (environ) => {
  environ['SERVER_PROTOCOL'] = '1.1';
});
environFault('environ-protocol-1-0', 'says HTTP/1.1 of every request', (environ) => {
  environ['SERVER_PROTOCOL'] = 'HTTP/1.1';
});
environFault('environ-server-name', 'has an empty SERVER_NAME', (environ) => {
  environ['SERVER_NAME'] = '';
});
environFault('environ-server-port', 'has a number as SERVER_PORT', (environ) => {
  environ['SERVER_PORT'] = Number(environ['SERVER_PORT']);
});
environFault('environ-server-port', 'has always the port 8000', (environ) => {
  environ['SERVER_PORT'] = '8000';
});
environFault('environ-strings', 'sets what it does not know to undefined', (environ) => {
  environ['REMOTE_HOST'] = undefined;
});
environFault('environ-strings-latin1', 'decodes the target as UTF-8', (environ, { target }) => {
  environ['REQUEST_URI'] = decodeURI(target.replaceAll(/%(?!E2%82%AC)/g, '%25'));
});
environFault('environ-header', 'passes no header but Host', (environ) => {
  for (const key of Object.keys(environ)) if (/^HTTP_(?!HOST)/.test(key)) delete environ[key];
});
fault('environ-header', 'keeps the hyphens of header names', class extends GalleryServer {
  override headerKey(name: string): string {
    const key = super.headerKey(name);
    return key.startsWith('HTTP_') ? `HTTP_${name.toUpperCase()}` : key;
  }
});
environFault('environ-header-host', 'cuts the port off HTTP_HOST', (environ) => {
  environ['HTTP_HOST'] = String(environ['HTTP_HOST']).split(':')[0];
});
environFault('environ-header-empty', 'leaves empty headers out', (environ) => {
  for (const key of Object.keys(environ)) {
    if (key.startsWith('HTTP_') && environ[key] === '') delete environ[key];
  }
});
fault(
  'environ-header-trimmed', 'removes one space before a value, and no more',
  class extends GalleryServer {
    override trim(value: string): string {
      return value.replace(/^ /, '');
    }
  },
);
fault('environ-header-colon', 'splits a header at every colon', class extends GalleryServer {
  override trim(value: string): string {
    return super.trim(value).split('://')[0] ?? '';
  }
});
environFault('environ-header-latin1', 'reads headers as UTF-8', (environ) => {
  for (const key of Object.keys(environ)) {
    if (key.startsWith('HTTP_')) environ[key] = latin1(String(environ[key])).toString('utf8');
  }
});
for (const [name, join] of [
  ['keeps the last of several headers', (_first, second) => second],
  ['keeps the first of several headers', (first) => first],
  ['joins headers with semicolons', (first, second) => `${first}; ${second}`],
  ['makes an array of several headers', (first, second) => [first, second] as unknown as string],
] as Array<[string, (first: string, second: string) => string]>) {
  fault('environ-header-joined', name, class extends GalleryServer {
    override join(first: string, second: string): string {
      return join(first, second);
    }
  });
}
environFault('environ-header-many', 'passes at most 50 headers', (environ) => {
  const keys = Object.keys(environ).filter((key) => key.startsWith('HTTP_'));
  for (const key of keys.slice(50)) delete environ[key];
});
environFault('environ-header-absent', 'makes up an empty HTTP_ACCEPT', (environ) => {
  environ['HTTP_ACCEPT'] ??= '';
});
environFault('environ-content-type', 'has the content type under HTTP_ alone', (environ) => {
  environ['HTTP_CONTENT_TYPE'] = environ['CONTENT_TYPE'] ?? '';
  delete environ['CONTENT_TYPE'];
});
environFault('environ-content-length', 'has a number as CONTENT_LENGTH', (environ) => {
  if ('CONTENT_LENGTH' in environ) environ['CONTENT_LENGTH'] = Number(environ['CONTENT_LENGTH']);
});
environFault('environ-content-absent', 'has the text "undefined" as CONTENT_LENGTH', (environ) => {
  environ['CONTENT_LENGTH'] = String(environ['CONTENT_LENGTH']);
});
environFault('environ-content-once', 'has HTTP_CONTENT_LENGTH, too', (environ) => {
  environ['HTTP_CONTENT_LENGTH'] = environ['CONTENT_LENGTH'] ?? '';
});
for (const [key, wrong] of [
  ['wsgi.version', '1.0'], ['wsgi.version', [1, 1]], ['wsgi.url_scheme', 'http:'],
  ['wsgi.multithread', undefined], ['wsgi.multiprocess', 0], ['wsgi.run_once', 'false'],
] as const) {
  environFault(
    `environ-${key.replace(/[._]/g, '-')}`, `has ${String(wrong)} as ${key}`,
    (environ) => {
      environ[key] = wrong;
    },
  );
}
inputFault('environ-wsgi-input', 'has a wsgi.input without readlines',
  () => ({ readlines: undefined }) as unknown as Partial<InputStream>);
fault('environ-wsgi-errors', 'has a wsgi.errors without flush', class extends GalleryServer {
  override makeErrors(): ErrorStream {
    return { write() {}, writelines() {} } as unknown as ErrorStream;
  }
});

// ---- input

inputFault('input-bytes', 'reads strings', (input) => ({
  read: async (size) =>
    Buffer.from(await input.read(size)).toString() as unknown as Uint8Array<ArrayBuffer>,
}));
inputFault('input-binary', 'decodes the body as UTF-8', (input) => ({
  read: async (size) => new TextEncoder().encode(new TextDecoder().decode(await input.read(size))),
}));
inputFault('input-read-size', 'reads everything, whatever the size', (input) => ({
  read: () => input.read(),
}));
inputFault('input-read-zero', 'reads everything for a size of 0', (input) => ({
  read: (size) => (size ? input.read(size) : input.read()),
}));
inputFault('input-read', 'reads at most one byte without a size', (input) => ({
  read: (size = 1) => input.read(size),
}));
inputFault('input-end', 'waits for more at the end of the body', (input) => ({
  async read(size) {
    const read = await input.read(size);
    return read.length === 0 && size !== 0 ? forever() : read;
  },
}));
inputFault('input-no-body', 'waits for a body that a GET does not have', (input, { method }) => ({
  read: (size) => (method === 'GET' ? forever() : input.read(size)),
}));
inputFault('input-readline', 'cuts the line feed off', (input) => ({
  async readline(size) {
    const line = await input.readline(size);
    return line.at(-1) === 10 ? line.subarray(0, -1) : line;
  },
}));
inputFault('input-readline-size', 'ignores the size of readline', (input) => ({
  readline: () => input.readline(),
}));
inputFault('input-readlines', 'gives one line for readlines', (input) => ({
  readlines: async () => [await input.readline()],
}));
inputFault('input-iterate', 'iterates over blocks, not lines', (input) => ({
  async *[Symbol.asyncIterator]() {
    for (let block = await input.read(8); block.length > 0; block = await input.read(8)) {
      yield block;
    }
  },
}));
fault('input-read-in-pieces', 'reads no more than one packet', class extends GalleryServer {
  override makeInput(request: Request): InputStream {
    const input = super.makeInput(request);
    const packets = this.bodyOf(request)[Symbol.asyncIterator]();
    return {
      read: async (size) => {
        if (size === undefined) return input.read();
        const { value } = await packets.next();
        return ((value as Uint8Array | undefined) ?? new Uint8Array()).slice(0, size);
      },
      readline: (size) => input.readline(size),
      readlines: (hint) => input.readlines(hint),
      [Symbol.asyncIterator]: () => input[Symbol.asyncIterator](),
    };
  }
  override async drain(): Promise<boolean> {
    return false;
  }
});
fault('input-stops-at-length', 'reads beyond Content-Length', class extends GalleryServer {
  override async *bodyOf(request: Request): AsyncGenerator<Uint8Array> {
    if (request.method === 'POST') yield await request.source.some();
  }
});
fault('input-unread', 'takes an unread body for the next request', class extends GalleryServer {
  override async drain(): Promise<boolean> {
    return true;
  }
});
fault(
  'input-unread-large', 'resets the connection of a client that still sends',
  class extends GalleryServer {
    override async run(exchange: Exchange): Promise<void> {
      const length = Number(this.find(exchange.request, 'content-length') ?? 0);
      if (length > 100_000) {
        exchange.socket.resetAndDestroy();
        return;
      }
      await super.run(exchange);
    }
  },
);
fault('input-chunked', 'passes a chunked body on undecoded', class extends GalleryServer {
  override async *chunksOf(source: Source): AsyncGenerator<Uint8Array> {
    yield latin1((await source.until('0\r\n\r\n')) ?? '');
  }
});
fault('input-chunked-extras', 'knows of no chunk extensions', class extends GalleryServer {
  override chunkSize(line: string): number {
    return /^[0-9a-f]+$/i.test(line) ? parseInt(line, 16) : NaN;
  }
});
environFault('input-chunked-length', 'says that a chunked body has 0 bytes', (environ) => {
  if ('HTTP_TRANSFER_ENCODING' in environ) environ['CONTENT_LENGTH'] = '0';
});
fault('input-continue', 'knows nothing of 100 Continue', class extends GalleryServer {
  override sendContinue(): void {}
});

// ---- errors

for (const [finds, name, change] of [
  ['errors-write', 'has a write that throws', { write() { throw new Error('closed'); } }],
  ['errors-writelines', 'wants an array of lines', {
    writelines(lines) {
      (lines as string[]).forEach(() => {});
      if (!Array.isArray(lines)) throw new TypeError('no array');
    },
  }],
  [
    'errors-flush', 'has a flush that is not ready',
    { flush() { throw new Error('not implemented'); } },
  ],
  ['errors-unicode', 'takes Latin-1 alone', {
    write(text) { if (/[^\0-\xff]/.test(text)) throw new RangeError('not Latin-1'); },
  }],
] as Array<[string, string, Partial<ErrorStream>]>) {
  fault(finds, name, class extends GalleryServer {
    override makeErrors(): ErrorStream {
      return Object.assign(new StringIO(), change);
    }
  });
}
fault('errors-apart', 'sends wsgi.errors to the client', class extends GalleryServer {
  override makeExchange(request: Request, socket: Socket): Exchange {
    const exchange = super.makeExchange(request, socket);
    exchange.environ['wsgi.errors'].write = (text) => void socket.write(text);
    return exchange;
  }
});

// ---- startResponse

startResponseFault('start-response-returns-write', 'returns nothing from startResponse', (right) =>
  ((status: string, headers: HeaderList, error: unknown) =>
    void right(status, headers, error)) as never);
startResponseFault(
  'start-response-lazy', 'sends the head in startResponse',
  (right, exchange, server) =>
    (status, headers, error) => {
      const write = right(status, headers, error);
      void server.send(exchange, latin1(server.makeHead(exchange)));
      return write;
    },
);
fault(
  'start-response-lazy-empty-chunk', 'sends the head with an empty chunk',
  class extends GalleryServer {
    override write(exchange: Exchange, chunk: Uint8Array): Promise<void> {
      if (chunk.length > 0 || exchange.headSent) return super.write(exchange, chunk);
      return this.send(exchange, latin1(this.makeHead(exchange)));
    }
  },
);
startResponseFault(
  'start-response-second-call', 'accepts a second startResponse',
  (right, exchange) =>
    (status, headers, error) => {
      if (!exchange.headSent) exchange.head = undefined;
      return right(status, headers, error);
    },
);
startResponseFault(
  'start-response-replaces', 'ignores a second head with an error',
  (right, exchange, server) =>
    (status, headers, error) => {
      if (error instanceof Error && exchange.head !== undefined && !exchange.headSent) {
        return (chunk) => server.write(exchange, chunk);
      }
      return right(status, headers, error);
    },
);
startResponseFault(
  'start-response-replaces', 'adds the headers of a second head to the first',
  (right, exchange) =>
    (status, headers, error) =>
      right(status, [...(exchange.head?.headers ?? []), ...headers], error),
);
startResponseFault(
  'start-response-throws-error', 'ignores an error after the head',
  (right, exchange, server) =>
    (status, headers, error) =>
      error instanceof Error && exchange.headSent
        ? (chunk) => server.write(exchange, chunk)
        : right(status, headers, error),
);
startResponseFault(
  'start-response-throws-error', 'throws an error of its own after the head',
  (right, exchange) =>
    (status, headers, error) => {
      if (error instanceof Error && exchange.headSent) throw new Error('headers already sent');
      return right(status, headers, error);
    },
);
fault('start-response-no-error', 'takes null for an error', class extends GalleryServer {
  override startResponseFor(exchange: Exchange): StartResponse {
    const right = super.startResponseFor(exchange);
    return (...args) => {
      if (args.length > 2 && args[2] === null) throw new TypeError('not an error: null');
      return right(...args);
    };
  }
});
fault('start-response-status', 'sends its own reason for a code', class extends GalleryServer {
  override formatHead(status: string, headers: HeaderList): string {
    return super.formatHead(`${status.slice(0, 3)} OK`, headers);
  }
});
fault('start-response-header-twice', 'keeps headers in an object', class extends GalleryServer {
  override formatHead(status: string, headers: HeaderList): string {
    return super.formatHead(status, Object.entries(Object.fromEntries(headers)));
  }
});
fault('start-response-header-twice', 'joins headers of one name', class extends GalleryServer {
  override formatHead(status: string, headers: HeaderList): string {
    const joined: Record<string, string> = {};
    for (const [name, value] of headers) {
      joined[name] = name in joined ? `${joined[name]}, ${value}` : value;
    }
    return super.formatHead(status, Object.entries(joined));
  }
});
fault('start-response-headers', 'sends headers as UTF-8', class extends GalleryServer {
  override formatHead(status: string, headers: HeaderList): string {
    return Buffer.from(super.formatHead(status, headers), 'utf8').toString('latin1');
  }
});
fault('start-response-headers', 'leaves out headers without a value', class extends GalleryServer {
  override formatHead(status: string, headers: HeaderList): string {
    return super.formatHead(status, headers.filter(([, value]) => value));
  }
});
fault('start-response-date', 'sends no Date', class extends GalleryServer {
  override ownHeaders(): HeaderList {
    return [];
  }
});
fault(
  'start-response-own-date', 'adds a Date beside the application\'s',
  class extends GalleryServer {
    override ownHeaders(): HeaderList {
      return [['Date', new Date().toUTCString()]];
    }
  },
);
fault('start-response-date', 'writes the Date as ISO 8601', class extends GalleryServer {
  override ownHeaders(_exchange: Exchange, has: (name: string) => boolean): HeaderList {
    return has('date') ? [] : [['Date', new Date().toISOString()]];
  }
});
fault('start-response-never', 'answers 200 without startResponse', class extends GalleryServer {
  override makeHead(exchange: Exchange): string {
    exchange.head ??= { status: '200 OK', headers: [] };
    return super.makeHead(exchange);
  }
});

// ---- write

fault(
  'write-at-once', 'collects what is written until the application returns',
  class extends GalleryServer {
    override startResponseFor(exchange: Exchange): StartResponse {
      const right = super.startResponseFor(exchange);
      return (status, headers, error) => {
        right(status, headers, error);
        return async (chunk) => void this.written(exchange).push(chunk);
      };
    }
    private readonly chunks: WeakMap<Exchange, Uint8Array[]> = new WeakMap();
    private written(exchange: Exchange): Uint8Array[] {
      const chunks = this.chunks.get(exchange) ?? [];
      this.chunks.set(exchange, chunks);
      return chunks;
    }
    override async sendBody(exchange: Exchange, body: ResponseBody): Promise<void> {
      for (const chunk of this.written(exchange)) await this.write(exchange, chunk);
      await super.sendBody(exchange, body);
    }
  },
);
startResponseFault('write-then-body', 'drops what is written', (right) =>
  (status, headers, error) => {
    right(status, headers, error);
    return async () => {};
  });

// ---- body

fault('body-iterable', 'takes every body for an array', class extends GalleryServer {
  override iteratorOf(body: ResponseBody) {
    return 'size' in body ? [][Symbol.iterator]() : super.iteratorOf(body);
  }
});
fault('body-async-generator', 'knows only synchronous bodies', class extends GalleryServer {
  override iteratorOf(body: ResponseBody): Iterator<Uint8Array> {
    return (body as Iterable<Uint8Array>)[Symbol.iterator]();
  }
});
fault('body-generator', 'knows only asynchronous bodies and arrays', class extends GalleryServer {
  override iteratorOf(body: ResponseBody) {
    if (Array.isArray(body)) return body[Symbol.iterator]() as Iterator<Uint8Array>;
    return (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  }
});
fault('body-both-iterators', 'prefers the synchronous iterator', class extends GalleryServer {
  override iteratorOf(body: ResponseBody) {
    return Symbol.iterator in body ? body[Symbol.iterator]() : super.iteratorOf(body);
  }
});
fault('body-promise', 'does not await the application', class extends GalleryServer {
  override callApp(exchange: Exchange): ResponseBody {
    const body = super.callApp(exchange);
    return body instanceof Promise ? [] : body;
  }
});
fault('body-bare-iterator', 'calls return() without looking', class extends GalleryServer {
  override async sendBody(exchange: Exchange, body: ResponseBody): Promise<void> {
    if (
      Symbol.iterator in body && typeof body[Symbol.iterator]().return !== 'function' &&
      !Array.isArray(body) && !(body instanceof Set)
    ) {
      throw new TypeError('iterator.return is not a function');
    }
    await super.sendBody(exchange, body);
  }
});
fault('body-empty-chunks', 'sends empty chunks', class extends GalleryServer {
  override write(exchange: Exchange, chunk: Uint8Array): Promise<void> {
    if (chunk.length > 0 || !exchange.headSent) return super.write(exchange, chunk);
    return this.send(exchange, this.frame(exchange, chunk));
  }
});
fault('body-view', 'sends all of the buffer behind a chunk', class extends GalleryServer {
  override write(exchange: Exchange, chunk: Uint8Array): Promise<void> {
    return super.write(exchange, chunk instanceof Buffer ? chunk : new Uint8Array(chunk.buffer));
  }
});
fault('body-binary', 'sends chunks as UTF-8 text', class extends GalleryServer {
  override frame(exchange: Exchange, chunk: Uint8Array): Uint8Array {
    return super.frame(exchange, Buffer.from(Buffer.from(chunk).toString('utf8')));
  }
});
fault('body-large', 'writes chunk sizes in decimal', class extends GalleryServer {
  override frame(exchange: Exchange, chunk: Uint8Array): Uint8Array {
    if (exchange.framing !== 'chunked') return super.frame(exchange, chunk);
    return Buffer.concat([latin1(`${chunk.length}\r\n`), chunk, latin1('\r\n')]);
  }
});
fault('body-chunk-at-once', 'collects the body before it sends it', class extends GalleryServer {
  override async sendBody(exchange: Exchange, body: ResponseBody): Promise<void> {
    const chunks = [];
    for await (const chunk of body) chunks.push(chunk);
    await super.sendBody(exchange, chunks);
  }
});
fault(
  'body-chunk-with-length-at-once', 'collects a body whose length it knows',
  class extends GalleryServer {
    override async sendBody(exchange: Exchange, body: ResponseBody): Promise<void> {
      const hasLength = exchange.head?.headers.some(([name]) => /^content-length$/i.test(name));
      const chunks = [];
      if (hasLength === true) for await (const chunk of body) chunks.push(chunk);
      await super.sendBody(exchange, hasLength === true ? chunks : body);
    }
  },
);
fault('body-back-pressure', 'does not wait for the client', class extends GalleryServer {
  override async send({ socket }: Exchange, data: Uint8Array): Promise<void> {
    socket.write(data);
  }
});
fault(
  'body-chunk-before-next', 'holds a chunk back until the next turn',
  class extends GalleryServer {
    override async send(exchange: Exchange, data: Uint8Array): Promise<void> {
      exchange.socket.cork();
      process.nextTick(() => exchange.socket.uncork());
      if (exchange.socket.writableNeedDrain) await super.send(exchange, data);
      else exchange.socket.write(data);
    }
  },
);
fault('body-iterated-once', 'asks for one chunk more after the end', class extends GalleryServer {
  override async next(
    exchange: Exchange, iterator: Iterator<Uint8Array> | AsyncIterator<Uint8Array>,
  ) {
    const result = await super.next(exchange, iterator);
    if (result.done === true) await iterator.next();
    return result;
  }
});
fault('body-iterated-once', 'asks for a second iterator', class extends GalleryServer {
  override iteratorOf(body: ResponseBody) {
    super.iteratorOf(body);
    return super.iteratorOf(body);
  }
});
fault('body-one-at-a-time', 'asks for a chunk ahead', class extends GalleryServer {
  private readonly ahead: WeakMap<object, Promise<IteratorResult<Uint8Array>>> = new WeakMap();
  override async next(_exchange: Exchange, iterator: AsyncIterator<Uint8Array>) {
    const next = this.ahead.get(iterator) ?? Promise.resolve(iterator.next());
    this.ahead.set(iterator, Promise.resolve(iterator.next()));
    return next;
  }
});
environFault('body-file-wrapper', 'has a file wrapper that does not close the file', (environ) => {
  environ['wsgi.file_wrapper'] = (file: { read(size: number): Uint8Array }) => (function* () {
    for (let block = file.read(8192); block.length > 0; block = file.read(8192)) yield block;
  })();
});
environFault('body-file-wrapper-lazy', 'has a file wrapper that reads at once', (environ) => {
  environ['wsgi.file_wrapper'] = (file: { read(size: number): Uint8Array }) => {
    const blocks: Uint8Array[] = [];
    for (let block = file.read(8192); block.length > 0; block = file.read(8192)) blocks.push(block);
    return blocks;
  };
});

// ---- close

fault('close-after-body', 'never calls close()', class extends GalleryServer {
  override async close(): Promise<void> {}
});
fault('close-after-body', 'calls close() twice', class extends GalleryServer {
  override async close(exchange: Exchange, body: ResponseBody | undefined): Promise<void> {
    await super.close(exchange, body);
    await super.close(exchange, body);
  }
});
fault('close-failed-later', 'calls close() only after success', class extends GalleryServer {
  private readonly failed: WeakSet<Exchange> = new WeakSet();
  override fail(exchange: Exchange, error: unknown): Promise<void> {
    this.failed.add(exchange);
    return super.fail(exchange, error);
  }
  override async close(exchange: Exchange, body: ResponseBody | undefined): Promise<void> {
    if (!this.failed.has(exchange)) await super.close(exchange, body);
  }
});
fault('close-inherited', 'loses "this" of close()', class extends GalleryServer {
  override async close(exchange: Exchange, body: ResponseBody | undefined): Promise<void> {
    const close = body?.close;
    await super.close(
      exchange, close === undefined ? undefined : Object.assign([], { close: () => close() }),
    );
  }
});
fault('close-array', 'does not look for close() on an array', class extends GalleryServer {
  override async close(exchange: Exchange, body: ResponseBody | undefined): Promise<void> {
    if (!Array.isArray(body)) await super.close(exchange, body);
  }
});
fault('close-after-head', 'does not close what it does not send', class extends GalleryServer {
  override async close(exchange: Exchange, body: ResponseBody | undefined): Promise<void> {
    if (exchange.request.method !== 'HEAD') await super.close(exchange, body);
  }
});
fault('close-empty-body', 'does not close a body without chunks', class extends GalleryServer {
  override async close(exchange: Exchange, body: ResponseBody | undefined): Promise<void> {
    if (exchange.sent > 0) await super.close(exchange, body);
  }
});
fault('close-last', 'closes the body before iterating', class extends GalleryServer {
  override async sendBody(exchange: Exchange, body: ResponseBody): Promise<void> {
    await super.close(exchange, body);
    await super.sendBody(exchange, body);
  }
  override async close(): Promise<void> {}
});
fault('close-throws', 'cuts the connection when close() throws', class extends GalleryServer {
  override async sendBody(exchange: Exchange, body: ResponseBody): Promise<void> {
    await super.sendBody(exchange, body);
    await body.close?.();
  }
  override async close(): Promise<void> {}
});
fault('close-rejects', 'does not await close()', class extends GalleryServer {
  override async close(exchange: Exchange, body: ResponseBody | undefined): Promise<void> {
    try {
      void body?.close?.();
    } catch (error) {
      this.report(exchange, error);
    }
  }
});
fault('close-returns-early', 'leaves generators where they are', class extends GalleryServer {
  override async endIteration(): Promise<void> {}
});

// ---- framing

fault('framing-length', 'sends every body chunked', class extends GalleryServer {
  override formatHead(status: string, headers: HeaderList): string {
    const isChunked = headers.some(([name]) => name === 'Transfer-Encoding');
    const extra: HeaderList =
      isChunked || !status.startsWith('2') ? [] : [['Transfer-Encoding', 'chunked']];
    return super.formatHead(status, [...headers, ...extra]);
  }
});
fault('connection-answers', 'sends chunks without saying so', class extends GalleryServer {
  override formatHead(status: string, headers: HeaderList): string {
    return super.formatHead(status, headers.filter(([name]) => name !== 'Transfer-Encoding'));
  }
});
fault('framing-1-0', 'sends chunks to HTTP/1.0 clients', class extends GalleryServer {
  override usesChunks(): boolean {
    return true;
  }
});
fault('framing-long-body', 'sends more than Content-Length', class extends GalleryServer {
  override cut(_exchange: Exchange, chunk: Uint8Array): Uint8Array {
    return chunk;
  }
  override isEnough(): boolean {
    return false;
  }
});
fault('framing-long-stops', 'iterates on after Content-Length', class extends GalleryServer {
  override isEnough({ headSent, framing }: Exchange): boolean {
    return headSent && framing === 'none';
  }
});
fault('framing-zero-length', 'takes a length of 0 for none', class extends GalleryServer {
  override cut({ length, sent }: Exchange, chunk: Uint8Array): Uint8Array {
    return length ? chunk.subarray(0, length - sent) : chunk;
  }
});
fault(
  'framing-short-body', 'leaves the connection open after a short body',
  class extends GalleryServer {
    override isShort(): boolean {
      return false;
    }
  },
);
for (const [finds, name, status] of [
  ['framing-head', 'sends a body for HEAD', 'HEAD'],
  ['framing-no-content', 'sends a body for 204', '204'],
  ['framing-not-modified', 'sends a body for 304', '304'],
] as const) {
  fault(finds, name, class extends GalleryServer {
    override isBodyless(method: string, code: string): boolean {
      return method !== status && code !== status && super.isBodyless(method, code);
    }
  });
}
fault(
  'framing-head-then-next', 'ends a HEAD with the end of a chunked body',
  class extends GalleryServer {
    override async finish(exchange: Exchange): Promise<void> {
      await super.finish(exchange);
      if (exchange.request.method === 'HEAD') await this.send(exchange, latin1('0\r\n\r\n'));
    }
  },
);
fault('framing-head-made-up-length', 'gives a HEAD the length 0', class extends GalleryServer {
  override makeHead(exchange: Exchange): string {
    const { head, request } = exchange;
    const has = head?.headers.some(([name]) => /^content-length$/i.test(name));
    if (request.method === 'HEAD' && !has) head?.headers.push(['Content-Length', '0']);
    return super.makeHead(exchange);
  }
});
fault('framing-head-length', 'drops the length of a HEAD', class extends GalleryServer {
  override makeHead(exchange: Exchange): string {
    const { head, request } = exchange;
    if (request.method === 'HEAD' && head) {
      head.headers = head.headers.filter(([name]) => !/length/i.test(name));
    }
    return super.makeHead(exchange);
  }
});
fault('framing-no-content-length', 'gives a 204 a length', class extends GalleryServer {
  override formatHead(status: string, headers: HeaderList): string {
    const extra: HeaderList = status.startsWith('204') ? [['Content-Length', '0']] : [];
    return super.formatHead(status, [...headers, ...extra]);
  }
});
fault(
  'framing-1-0-closes', 'keeps the connection of an HTTP/1.0 client',
  class extends GalleryServer {
    override keepsAlive(request: Request): boolean {
      return request.version === 'HTTP/1.0' || super.keepsAlive(request);
    }
  },
);
fault('framing-1-0-no-host', 'demands Host of HTTP/1.0 clients', class extends GalleryServer {
  override refuse(request: Request): string | undefined {
    return this.find(request, 'host') === undefined ? '400 Bad Request' : super.refuse(request);
  }
});
fault('framing-connection-close', 'ignores "Connection: close"', class extends GalleryServer {
  override keepsAlive(request: Request): boolean {
    return request.version === 'HTTP/1.1';
  }
});
fault(
  'framing-close-announced', 'closes every connection without a word',
  class extends GalleryServer {
    override async drain(): Promise<boolean> {
      return false;
    }
  },
);
fault('connection-answers', 'does not end a chunked body', class extends GalleryServer {
  override async finish(exchange: Exchange): Promise<void> {
    if (exchange.framing !== 'chunked') await super.finish(exchange);
  }
});
fault('framing-pipelined', 'drops a request that came with another', class extends GalleryServer {
  override async drain(exchange: Exchange): Promise<boolean> {
    exchange.request.source.discard();
    return true;
  }
});

// ---- failure

fault('failure-throws', 'does not answer when the application throws', class extends GalleryServer {
  override async fail(): Promise<void> {
    await forever();
  }
});
fault('failure-rejects', 'answers 200 when the application fails', class extends GalleryServer {
  override async answerError(exchange: Exchange): Promise<void> {
    exchange.head = { status: '200 OK', headers: [['Content-Length', '6']] };
    await this.write(exchange, latin1('Sorry\n'));
  }
});
fault(
  'failure-first-chunk', 'closes the connection when the application fails',
  class extends GalleryServer {
    override async answerError({ socket }: Exchange): Promise<void> {
      socket.destroy();
    }
  },
);
fault('failure-not-an-error', 'reads the message of what was thrown', class extends GalleryServer {
  override async answerError(exchange: Exchange, error: unknown): Promise<void> {
    exchange.environ['wsgi.errors'].write((error as Error).message);
    await super.answerError(exchange, error);
  }
});
fault(
  'failure-headers-dropped', 'keeps the headers of the failed response',
  class extends GalleryServer {
    override async answerError(exchange: Exchange): Promise<void> {
      const headers = exchange.head?.headers.filter(([name]) => !/length/i.test(name)) ?? [];
      exchange.head = { status: '500 Oops', headers: [...headers, ['Content-Length', '6']] };
      await this.write(exchange, latin1('Sorry\n'));
    }
  },
);
fault('failure-hides-trace', 'sends the trace to the client', class extends GalleryServer {
  override async answerError(exchange: Exchange, error: unknown): Promise<void> {
    exchange.head = { status: '500 Oops', headers: [] };
    await this.write(exchange, latin1((error as Error | undefined)?.stack ?? 'nothing'));
    await this.finish(exchange);
  }
});
fault('failure-reported', 'reports nothing', class extends GalleryServer {
  override report(): void {}
});
fault('failure-cuts', 'ends a failed response as if it were complete', class extends GalleryServer {
  override abort(_socket: Socket, exchange: Exchange): void {
    void this.finish(exchange).catch(() => exchange.socket.destroy());
  }
});
fault(
  'failure-cuts-length', 'leaves the connection of a failed response open',
  class extends GalleryServer {
    override abort(): void {}
  },
);
fault('failure-then-next', 'stops listening after an error', class extends GalleryServer {
  override report(exchange: Exchange, error: unknown): void {
    super.report(exchange, error);
    this.server.close();
  }
});
fault(
  'failure-beside-others', 'closes all connections after an error',
  class extends GalleryServer {
    override report(exchange: Exchange, error: unknown): void {
      super.report(exchange, error);
      for (const socket of this.sockets) if (socket !== exchange.socket) socket.destroy();
    }
  },
);
fault('failure-bad-chunk', 'makes text of whatever a chunk is', class extends GalleryServer {
  override write(exchange: Exchange, chunk: Uint8Array): Promise<void> {
    return super.write(exchange, chunk instanceof Uint8Array ? chunk : latin1(String(chunk)));
  }
});

// ---- client leaves

fault(
  'client-leaves-closes', 'does not notice that the client has left',
  class extends GalleryServer {
    override async send({ socket }: Exchange, data: Uint8Array): Promise<void> {
      if (!socket.destroyed) await new Promise((resolve) => socket.write(data, resolve));
    }
    override async next(_exchange: Exchange, iterator: AsyncIterator<Uint8Array>) {
      return iterator.next();
    }
  },
);
fault('client-leaves-stalled', 'waits for "drain" alone', class extends GalleryServer {
  override async send({ socket }: Exchange, data: Uint8Array): Promise<void> {
    if (!socket.write(data)) await new Promise((resolve) => socket.once('drain', resolve));
  }
});
fault(
  'client-leaves-generator', 'does not end the iteration when the client leaves',
  class extends GalleryServer {
    override async endIteration(): Promise<void> {}
  },
);
fault(
  'client-leaves-upload', 'leaves a read waiting when the client leaves',
  class extends GalleryServer {
    override async *bodyOf(request: Request): AsyncGenerator<Uint8Array> {
      try {
        yield* super.bodyOf(request);
      } catch {
        await forever();
      }
    }
  },
);
fault(
  'client-leaves-closes', 'closes a body twice when the client leaves',
  class extends GalleryServer {
    override async close(exchange: Exchange, body: ResponseBody | undefined): Promise<void> {
      await super.close(exchange, body);
      if (exchange.request.source.left !== undefined) await super.close(exchange, body);
    }
  },
);

// ---- hygiene

fault('hygiene-value-newline', 'checks no header', class extends GalleryServer {
  override checkHeader(): void {}
});
fault('hygiene-status-newline', 'checks no status', class extends GalleryServer {
  override checkHead(_status: string, headers: HeaderList): void {
    for (const [name, value] of headers) this.checkHeader(name, value);
  }
});
fault('hygiene-value-line-feed', 'looks for CRLF alone', class extends GalleryServer {
  override checkHeader(name: string, value: string): void {
    if (/\r\n/.test(value)) throw new Error('a line break');
    super.checkHeader(name, value.replaceAll('\n', ' '));
  }
});
fault(
  'hygiene-value-above-ff', 'sends the low byte of every character',
  class extends GalleryServer {
    override checkHeader(name: string, value: string): void {
      super.checkHeader(name, value.replace(/[^\0-\xff]/g, '?'));
    }
  },
);
fault('hygiene-name-space', 'checks no header name', class extends GalleryServer {
  override checkHeader(name: string, value: string): void {
    super.checkHeader(/[\r\n]/.test(name) ? name : name.replace(/[^\w-]/g, '') || 'X', value);
  }
});
fault('hygiene-connection', 'lets hop-by-hop headers pass', class extends GalleryServer {
  override checkHeader(name: string, value: string): void {
    super.checkHeader(/^connection$/i.test(name) ? 'X' : name, value);
  }
});
for (const [finds, name, keeps] of [
  ['hygiene-httpoxy', 'passes Proxy as HTTP_PROXY', (header) => !header.includes('_')],
  ['hygiene-underscore', 'passes X_User as X-User', (header) => header.toLowerCase() !== 'proxy'],
] as Array<[string, string, (header: string) => boolean]>) {
  fault(finds, name, class extends GalleryServer {
    override keepsHeader(header: string): boolean {
      return keeps(header);
    }
  });
}
for (const [finds, name, isAllowed] of [
  [
    'hygiene-no-host', 'needs no Host',
    (request, server) => server.find(request, 'host') === undefined,
  ],
  [
    'hygiene-two-hosts', 'takes the first of two Hosts',
    (request, server) => server.findAll(request, 'host').length > 1,
  ],
  ['hygiene-two-lengths', 'takes the first of two lengths', (request, server) =>
    server.findAll(request, 'content-length').length > 1],
  ['hygiene-other-coding', 'ignores codings that it does not know', (request, server) =>
    server.find(request, 'transfer-encoding') === 'x-kit'],
] as Array<[string, string, (request: Request, server: GalleryServer) => boolean]>) {
  fault(finds, name, class extends GalleryServer {
    override refuse(request: Request): string | undefined {
      return isAllowed(request, this) ? undefined : super.refuse(request);
    }
  });
}
fault(
  'hygiene-length-and-chunked', 'believes Content-Length where there are chunks, too',
  class extends GalleryServer {
    override refuse(request: Request): string | undefined {
      return this.find(request, 'transfer-encoding') === 'chunked'
        ? undefined
        : super.refuse(request);
    }
    override bodyOf(request: Request): AsyncIterable<Uint8Array> {
      const length = this.find(request, 'content-length');
      return length === undefined ? super.bodyOf(request) : request.source.bytes(Number(length));
    }
  },
);
fault('hygiene-length-words', 'reads lengths with parseInt()', class extends GalleryServer {
  override isLength(text: string): boolean {
    return !Number.isNaN(parseInt(text, 10));
  }
  override bodyOf(request: Request): AsyncIterable<Uint8Array> {
    const length = this.find(request, 'content-length');
    return length === undefined
      ? super.bodyOf(request)
      : request.source.bytes(parseInt(length, 10));
  }
});
fault('hygiene-length-hexadecimal', 'reads lengths with Number()', class extends GalleryServer {
  override isLength(text: string): boolean {
    return !Number.isNaN(Number(text));
  }
});
fault('hygiene-chunk-prefix', 'reads chunk sizes with parseInt()', class extends GalleryServer {
  override chunkSize(line: string): number {
    return parseInt(line, 16);
  }
});
fault('hygiene-chunk-short', 'looks for no end of a chunk', class extends GalleryServer {
  override async chunkEnd(source: Source): Promise<void> {
    await source.until('\r\n');
  }
});
fault('hygiene-header-space', 'trims header names', class extends GalleryServer {
  override parseHeader(line: string) {
    return super.parseHeader(line.replace(/\s+:/, ':'));
  }
});
fault(
  'hygiene-request-line-spaces', 'splits the request line at every space',
  class extends GalleryServer {
    override parse(text: string, source: Source): Request | undefined {
      return super.parse(text.replace(/^(\S+ \S+) .*?(HTTP\/1.1)\r\n/, '$1 $2\r\n'), source);
    }
  },
);
fault(
  'hygiene-request-line-bad-method', 'takes any word for a method',
  class extends GalleryServer {
    override parse(text: string, source: Source): Request | undefined {
      return super.parse(text.replace(/^\S+@\S+/, 'GET'), source);
    }
  },
);
fault('input-readline-in-pieces', 'gives what has arrived of a line', class extends GalleryServer {
  override makeInput(request: Request): InputStream {
    const input = new StreamInput(this.bodyOf(request));
    const packets = this.bodyOf(request)[Symbol.asyncIterator]();
    input.readline = async () =>
      (((await packets.next()).value as Uint8Array | undefined) ?? new Uint8Array()).slice();
    return input;
  }
  override async drain(): Promise<boolean> {
    return false;
  }
});
