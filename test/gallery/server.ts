// A small correct server over bare sockets, made to be made wrong: every decision that
// a server takes is a method of its own, so that a fault is a subclass of a few lines.

import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';

import {
  type ErrorStream, type InputStream, type ResponseBody, type RunningServer, type StartResponse,
  StreamInput, StringIO, type WSGIApplication, type WSGIEnvironment,
} from '../../lib/index.ts';
import { Source } from './source.ts';

export type HeaderList = Array<[name: string, value: string]>;

/** A request whose head has arrived. */
export interface Request {
  method: string;
  target: string;
  version: string;
  headers: HeaderList;
  source: Source;
}

/** One request and its response. */
export interface Exchange {
  request: Request;
  socket: Socket;
  environ: WSGIEnvironment;
  input: InputStream;
  head: { status: string; headers: HeaderList } | undefined;
  headSent: boolean;
  framing: 'none' | 'length' | 'chunked' | 'close';
  length: number | undefined;
  /** Bytes of the body that were sent. */
  sent: number;
  keepAlive: boolean;
  finished: boolean;
}

const HOP_BY_HOP = /^(connection|keep-alive|proxy-.*|te|trailers?|transfer-encoding|upgrade)$/i;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export class GalleryServer {
  app: WSGIApplication;
  server!: Server;
  readonly sockets: Set<Socket> = new Set();

  constructor(app: WSGIApplication) {
    this.app = app;
  }

  async start(): Promise<RunningServer> {
    this.server = createServer((socket) => this.accept(socket)).listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return { url: `http://127.0.0.1:${this.port}/`, close: () => this.stop() };
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  // ---- The connection

  accept(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    this.onSocketError(socket);
    this.serveConnection(socket).catch(() => socket.destroy());
  }

  onSocketError(socket: Socket): void {
    socket.on('error', () => socket.destroy());
  }

  async serveConnection(socket: Socket): Promise<void> {
    const source = new Source(socket);
    for (;;) {
      const text = await this.readHead(source);
      if (text === undefined) break;
      const request = this.parse(text, source);
      const refusal = request === undefined ? '400 Bad Request' : this.refuse(request);
      if (request === undefined || refusal !== undefined) {
        socket.end(`HTTP/1.1 ${refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
        return;
      }
      const exchange = this.makeExchange(request, socket);
      this.sendContinue(exchange);
      await this.run(exchange);
      if (!exchange.keepAlive || !(await this.drain(exchange))) break;
    }
    socket.end();
  }

  readHead(source: Source): Promise<string | undefined> {
    return source.until('\r\n\r\n');
  }

  sendContinue({ request, socket }: Exchange): void {
    const expects = this.find(request, 'expect')?.toLowerCase() === '100-continue';
    if (expects && request.version === 'HTTP/1.1') socket.write('HTTP/1.1 100 Continue\r\n\r\n');
  }

  /** Takes what the application left of the body; false if the connection is of no more use. */
  async drain({ input }: Exchange): Promise<boolean> {
    for (let rest = await input.read(65536); rest.length > 0;) rest = await input.read(65536);
    return true;
  }

  // ---- The head of the request

  parse(text: string, source: Source): Request | undefined {
    const [first = '', ...lines] = text.split('\r\n').slice(0, -2);
    const [, method, target, version] =
      /^([!#$%&'*+.^_`|~\w-]+) (\S+) (HTTP\/1\.[01])$/.exec(first) ?? [];
    if (method === undefined || target === undefined || version === undefined) return undefined;
    const headers: HeaderList = [];
    for (const line of lines) {
      const header = this.parseHeader(line);
      if (header === undefined) return undefined;
      headers.push(header);
    }
    return { method, target, version, headers, source };
  }

  parseHeader(line: string): [name: string, value: string] | undefined {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):([\t\x20-\x7e\x80-\xff]*)$/.exec(line) ?? [];
    return name === undefined || value === undefined ? undefined : [name, this.trim(value)];
  }

  trim(value: string): string {
    return value.trim();
  }

  refuse(request: Request): string | undefined {
    const count = (name: string): number => this.findAll(request, name).length;
    if (count('host') > 1 || (count('host') === 0 && request.version === 'HTTP/1.1')) {
      return '400 Bad Request';
    }
    const coding = this.find(request, 'transfer-encoding');
    const lengths = this.findAll(request, 'content-length');
    if (coding !== undefined && coding.toLowerCase() !== 'chunked') return '501 Not Implemented';
    if (lengths.length > 1 || (lengths.length > 0 && coding !== undefined)) {
      return '400 Bad Request';
    }
    return lengths.every((length) => this.isLength(length)) ? undefined : '400 Bad Request';
  }

  isLength(text: string): boolean {
    return /^[0-9]+$/.test(text);
  }

  findAll({ headers }: Request, wanted: string): string[] {
    return headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value);
  }

  find(request: Request, wanted: string): string | undefined {
    return this.findAll(request, wanted)[0];
  }

  // ---- environ

  makeExchange(request: Request, socket: Socket): Exchange {
    const input = this.makeInput(request);
    const environ = this.makeEnviron(request, input);
    return {
      request, socket, environ, input, head: undefined, headSent: false, framing: 'none',
      length: undefined, sent: 0, keepAlive: this.keepsAlive(request), finished: false,
    };
  }

  keepsAlive(request: Request): boolean {
    return request.version === 'HTTP/1.1' &&
      !/\bclose\b/i.test(this.find(request, 'connection') ?? '');
  }

  makeEnviron(request: Request, input: InputStream): WSGIEnvironment {
    const [path, query] = this.splitTarget(request.target);
    const environ: Record<string, unknown> = {
      REQUEST_METHOD: request.method,
      SCRIPT_NAME: '',
      PATH_INFO: this.decodePath(path),
      QUERY_STRING: query,
      SERVER_NAME: '127.0.0.1',
      SERVER_PORT: String(this.port),
      SERVER_PROTOCOL: request.version,
      'wsgi.version': [1, 0],
      'wsgi.url_scheme': 'http',
      'wsgi.input': input,
      'wsgi.errors': this.makeErrors(),
      'wsgi.multithread': false,
      'wsgi.multiprocess': false,
      'wsgi.run_once': false,
    };
    this.addHeaders(environ, request);
    return environ as unknown as WSGIEnvironment;
  }

  splitTarget(target: string): [path: string, query: string] {
    const origin = target.replace(/^http:\/\/[^/?]*/i, '');
    const mark = origin.indexOf('?');
    return mark === -1 ? [origin, ''] : [origin.slice(0, mark), origin.slice(mark + 1)];
  }

  decodePath(path: string): string {
    return path.replace(
      /%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)),
    );
  }

  addHeaders(environ: Record<string, unknown>, request: Request): void {
    for (const [name, value] of request.headers) {
      if (!this.keepsHeader(name)) continue;
      const key = this.headerKey(name);
      environ[key] = Object.hasOwn(environ, key) ? this.join(environ[key] as string, value) : value;
    }
  }

  keepsHeader(name: string): boolean {
    return !name.includes('_') && name.toLowerCase() !== 'proxy';
  }

  headerKey(name: string): string {
    const key = name.toUpperCase().replaceAll('-', '_');
    return key === 'CONTENT_TYPE' || key === 'CONTENT_LENGTH' ? key : `HTTP_${key}`;
  }

  join(first: string, second: string): string {
    return `${first}, ${second}`;
  }

  makeErrors(): ErrorStream {
    return new StringIO();
  }

  // ---- The body of the request

  makeInput(request: Request): InputStream {
    return new StreamInput(this.bodyOf(request));
  }

  bodyOf(request: Request): AsyncIterable<Uint8Array> {
    const isChunked = this.find(request, 'transfer-encoding') !== undefined;
    if (isChunked) return this.chunksOf(request.source);
    return request.source.bytes(Number(this.find(request, 'content-length') ?? 0));
  }

  async *chunksOf(source: Source): AsyncGenerator<Uint8Array> {
    for (;;) {
      const line = (await source.until('\r\n')) ?? '';
      const size = this.chunkSize(line.slice(0, -2));
      if (Number.isNaN(size)) {
        source.breakOff();
        throw new Error(`${line} is not the size of a chunk`);
      }
      if (size === 0) break;
      yield* source.bytes(size);
      await this.chunkEnd(source);
    }
    while ((await source.until('\r\n'))?.length !== 2);
  }

  chunkSize(line: string): number {
    const [, size = ''] = /^([0-9a-f]+)(?:;.*)?$/i.exec(line) ?? [];
    return size === '' ? NaN : parseInt(size, 16);
  }

  async chunkEnd(source: Source): Promise<void> {
    if (await source.until('\r\n') === '\r\n') return;
    source.breakOff();
    throw new Error('a chunk does not end where it should');
  }

  // ---- The application

  async run(exchange: Exchange): Promise<void> {
    let body: ResponseBody | undefined;
    try {
      body = await this.callApp(exchange);
      await this.sendBody(exchange, body);
      await this.finish(exchange);
    } catch (error) {
      await this.fail(exchange, error);
    } finally {
      exchange.finished = true;
      await this.close(exchange, body);
    }
  }

  callApp(exchange: Exchange): ResponseBody | Promise<ResponseBody> {
    return this.app(exchange.environ, this.startResponseFor(exchange));
  }

  startResponseFor(exchange: Exchange): StartResponse {
    return (status, headers, error) => {
      const isError = this.isError(error);
      if (isError && exchange.headSent) throw error;
      if (!isError && exchange.head !== undefined) throw new Error('startResponse came twice');
      this.checkHead(status, headers as HeaderList);
      exchange.head = { status, headers: headers.map(([name, value]) => [name, value]) };
      return (chunk) => this.write(exchange, chunk);
    };
  }

  isError(error: unknown): boolean {
    return error !== undefined && error !== null;
  }

  checkHead(status: string, headers: HeaderList): void {
    if (!/^[0-9]{3} [\t\x20-\x7e\x80-\xff]*$/.test(status)) throw new Error('not a status');
    for (const [name, value] of headers) this.checkHeader(name, value);
  }

  checkHeader(name: string, value: string): void {
    if (!TOKEN.test(name) || HOP_BY_HOP.test(name)) {
      throw new Error(`${name} is not for an application`);
    }
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
      throw new Error(`the value of ${name} is not Latin-1`);
    }
  }

  // ---- The body of the response

  async sendBody(exchange: Exchange, body: ResponseBody): Promise<void> {
    const iterator = this.iteratorOf(body);
    let isDone = false;
    try {
      while (!this.isEnough(exchange)) {
        const { done, value } = await this.next(exchange, iterator);
        if (done === true) {
          isDone = true;
          return;
        }
        await this.write(exchange, value);
      }
    } catch (error) {
      isDone = error !== exchange.request.source.left;
      throw error;
    } finally {
      if (!isDone) await this.endIteration(iterator);
    }
  }

  iteratorOf(body: ResponseBody): Iterator<Uint8Array> | AsyncIterator<Uint8Array> {
    if (Symbol.asyncIterator in body) return body[Symbol.asyncIterator]();
    return body[Symbol.iterator]();
  }

  // A client that leaves ends the wait for a chunk.
  async next(
    { request }: Exchange, iterator: Iterator<Uint8Array> | AsyncIterator<Uint8Array>,
  ): Promise<IteratorResult<Uint8Array>> {
    const next = iterator.next();
    return Promise.race([next, request.source.leaves]);
  }

  async endIteration(iterator: Iterator<Uint8Array> | AsyncIterator<Uint8Array>): Promise<void> {
    // A generator that waits for something returns when that has come.
    void Promise.resolve(iterator.return?.()).catch(() => {});
  }

  isEnough({ headSent, framing, length, sent }: Exchange): boolean {
    return headSent && (framing === 'none' || (length !== undefined && sent >= length));
  }

  write(exchange: Exchange, chunk: Uint8Array): Promise<void> {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('a chunk is a Uint8Array');
    if (exchange.finished) throw new Error('the response is over');
    if (chunk.length === 0) return Promise.resolve();
    const head = exchange.headSent ? '' : this.makeHead(exchange);
    const fitting = this.cut(exchange, chunk);
    exchange.sent += fitting.length;
    return this.send(
      exchange, Buffer.concat([Buffer.from(head, 'latin1'), this.frame(exchange, fitting)]),
    );
  }

  cut({ length = Infinity, sent }: Exchange, chunk: Uint8Array): Uint8Array {
    return chunk.subarray(0, length - sent);
  }

  frame({ framing }: Exchange, chunk: Uint8Array): Uint8Array {
    if (framing === 'none') return new Uint8Array();
    if (framing !== 'chunked') return chunk;
    return Buffer.concat([
      Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'),
    ]);
  }

  /** Resolves when the bytes have left the process. */
  send({ socket, request }: Exchange, data: Uint8Array): Promise<void> {
    const sending = new Promise<void>((resolve, reject) => {
      socket.write(data, (error) => (error ? reject(error) : resolve()));
    });
    const sent = Promise.race([sending, request.source.leaves]);
    sending.catch(() => {});
    sent.catch(() => {});
    return sent as Promise<void>;
  }

  makeHead(exchange: Exchange): string {
    const { request, head } = exchange;
    if (head === undefined) throw new Error('there was no startResponse');
    exchange.headSent = true;
    const has = (wanted: string): boolean =>
      head.headers.some(([name]) => name.toLowerCase() === wanted);
    const headers: HeaderList = this.ownHeaders(exchange, has);
    const code = head.status.slice(0, 3);
    const length = head.headers.find(([name]) => name.toLowerCase() === 'content-length')?.[1];
    exchange.length = length === undefined ? undefined : Number(length);
    if (this.isBodyless(request.method, code)) {
      exchange.framing = 'none';
    } else if (length !== undefined) {
      exchange.framing = 'length';
    } else if (this.usesChunks(request)) {
      exchange.framing = 'chunked';
      headers.push(['Transfer-Encoding', 'chunked']);
    } else {
      exchange.framing = 'close';
      exchange.keepAlive = false;
    }
    if (code === '205') headers.push(['Content-Length', '0']);
    if (!exchange.keepAlive) headers.push(['Connection', 'close']);
    return this.formatHead(head.status, [...head.headers, ...headers]);
  }

  ownHeaders(_exchange: Exchange, has: (name: string) => boolean): HeaderList {
    return has('date') ? [] : [['Date', new Date().toUTCString()]];
  }

  isBodyless(method: string, code: string): boolean {
    return method === 'HEAD' || code === '204' || code === '205' || code === '304';
  }

  usesChunks(request: Request): boolean {
    return request.version === 'HTTP/1.1';
  }

  formatHead(status: string, headers: HeaderList): string {
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`);
    return `HTTP/1.1 ${status}\r\n${lines.join('')}\r\n`;
  }

  // ---- The end

  async finish(exchange: Exchange): Promise<void> {
    if (!exchange.headSent) {
      await this.send(exchange, Buffer.from(this.makeHead(exchange), 'latin1'));
    }
    if (exchange.framing === 'chunked') await this.send(exchange, Buffer.from('0\r\n\r\n'));
    if (this.isShort(exchange)) throw new Error('the body is shorter than its Content-Length');
  }

  isShort({ framing, length = 0, sent }: Exchange): boolean {
    return framing === 'length' && sent < length;
  }

  async fail(exchange: Exchange, error: unknown): Promise<void> {
    const { request, socket } = exchange;
    if (request.source.left !== undefined) return;
    this.report(exchange, error);
    if (exchange.headSent) return this.abort(socket, exchange);
    await this.answerError(exchange, error).catch(() => socket.destroy());
  }

  report({ environ }: Exchange, error: unknown): void {
    const text = error instanceof Error ? error.stack : String(error);
    environ['wsgi.errors'].write(`${text}\n`);
  }

  abort(socket: Socket, exchange: Exchange): void {
    exchange.keepAlive = false;
    socket.destroy();
  }

  async answerError(exchange: Exchange, _error: unknown): Promise<void> {
    exchange.head = { status: '500 Internal Server Error', headers: [['Content-Length', '6']] };
    await this.write(exchange, Buffer.from('Sorry\n'));
  }

  async close(exchange: Exchange, body: ResponseBody | undefined): Promise<void> {
    try {
      await body?.close?.();
    } catch (error) {
      this.report(exchange, error);
    }
  }
}
