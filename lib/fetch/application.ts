// An application made of a fetch handler: the Request is put together from environ,
// and the Response is taken apart.

import { describe } from '../describe.ts';
import { percentDecode } from '../latin1.ts';
import type {
  InputStream,
  StartResponse,
  WSGIApplication,
  WSGIEnvironment,
} from '../types.ts';
import { applicationUri, isHopByHop, requestUri } from '../util.ts';
import { reasonPhrase } from './reasons.ts';

/** A function from a `Request` to a `Response`, or an object with one: a Worker, a Hono app. */
export type FetchTarget =
  | ((request: Request) => Response | Promise<Response>)
  | { fetch(request: Request): Response | Promise<Response> };

/**
 * Makes an application that calls a fetch handler. Both bodies stream. When the client
 * leaves, even before there is a response, `request.signal` aborts.
 *
 * A `Request` cannot hold every request of HTTP:
 * - TRACE and CONNECT get 501.
 * - A path with dot segments, such as `/x/../admin`, gets 400. A URL resolves them, so the
 *   handler would see `/admin` where a middleware before it has seen `/x/../admin`.
 * - For `OPTIONS *`, `request.url` is `*`, as it is in Deno. `new URL(request.url)` throws.
 *
 * A response that comes from `fetch()` is sent without its `content-encoding` and
 * `content-length`: `fetch` has decoded the body. Remove the two where you copy such a
 * response yourself, as with `new Response(response.body, response)`.
 *
 * @param target - A function of a `Request`, or an object with `fetch`.
 * @throws TypeError if `target` is neither.
 *
 * @example
 * const app = fromFetch((request) => new Response(`Hello from ${request.url}`));
 */
export function fromFetch(target: FetchTarget): WSGIApplication {
  const handler = typeof target === 'function' ? target : target?.fetch;
  if (typeof handler !== 'function') {
    throw new TypeError('fromFetch() takes a function of a Request, or an object with fetch()');
  }
  const handle = typeof target === 'function' ? target : handler.bind(target);
  // The handler is asked when the server asks for the first chunk: from then on a
  // client that leaves makes the server call close().
  const app: WSGIApplication = (environ, startResponse) =>
    new FetchBody(handle, environ, startResponse);
  // A report of the validator names the function that the author wrote.
  return Object.defineProperty(app, 'name', { value: handler.name });
}

class FetchBody implements AsyncIterableIterator<Uint8Array> {
  private readonly handle: (request: Request) => Response | Promise<Response>;
  private readonly environ: WSGIEnvironment;
  private readonly startResponse: StartResponse;
  private readonly abort = new AbortController();
  private chunks: ReadableStreamDefaultReader<Uint8Array> | undefined = undefined;
  private finished = false;
  /** Bytes of the body that are still due, as far as is known. */
  private due = Infinity;

  constructor(
    handle: (request: Request) => Response | Promise<Response>,
    environ: WSGIEnvironment,
    startResponse: StartResponse,
  ) {
    this.handle = handle;
    this.environ = environ;
    this.startResponse = startResponse;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    if (this.finished) return { done: true, value: undefined };
    this.chunks ??= await this.ask();
    const step = await this.chunks?.read();
    if (step === undefined || step.done) {
      this.finished = true;
      return { done: true, value: undefined };
    }
    this.due -= step.value.length;
    return { done: false, value: step.value };
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.close();
    return { done: true, value: undefined };
  }

  /** Informs the handler that nobody waits for the rest. */
  close(): void {
    if (this.finished) return;
    this.finished = true;
    // After Content-Length bytes the server stops; that is not a disconnect.
    if (this.due > 0) this.abort.abort();
    discard(this.chunks);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  private async ask(): Promise<ReadableStreamDefaultReader<Uint8Array> | undefined> {
    const { environ } = this;
    const request = makeRequest(environ, this.abort.signal);
    const response = request instanceof Response ? request : await this.handle(request);
    checkResponse(response);
    // The client has left meanwhile.
    if (this.finished) return void discard(response.body);

    const { status, statusText } = response;
    const headers: Array<[name: string, value: string]> = [];
    const decoded = isDecoded(response);
    for (const [name, value] of response.headers) {
      if (isHopByHop(name) || (decoded && ENCODED.has(name))) continue;
      headers.push([name, value]);
    }
    this.startResponse(`${status} ${statusText || reasonPhrase(status)}`, headers);
    // A handler may answer HEAD as it does GET. (RFC 9110 §9.3.2)
    if (environ.REQUEST_METHOD === 'HEAD') return void discard(response.body);
    const length = decoded ? null : response.headers.get('content-length');
    this.due = Number(length ?? Infinity);
    return response.body?.getReader();
  }
}

// The methods that `new Request` refuses: https://fetch.spec.whatwg.org/#forbidden-method
const FORBIDDEN = /^(?:CONNECT|TRACE|TRACK)$/i;

function checkResponse(response: Response | undefined): asserts response is Response {
  // Not by its class: a framework may bring its own.
  if (typeof response?.status !== 'number' || response.headers === undefined) {
    const hint = response === undefined ? '; is a `return` missing, or a route?' : '';
    throw new TypeError(
      `the fetch handler gave ${describe(response)} in place of a Response${hint}`,
    );
  }
  if (response.status === 0) {
    throw new TypeError('the fetch handler gave Response.error(), which has no status to send');
  }
  if (response.bodyUsed) {
    throw new TypeError(
      'the fetch handler gave a Response whose body has been read already: give response.clone()',
    );
  }
}

// The two headers that describe a body as it was before `fetch` decoded it.
const ENCODED = new Set(['content-encoding', 'content-length']);

// The codings that every engine's `fetch` decodes.
const CODINGS = /^(?:(?:x-)?gzip|deflate|br)$/i;

// A Response made by a program has the type `default`; one that came from `fetch` has not.
function isDecoded({ type, headers }: Response): boolean {
  const codings = headers.get('content-encoding')?.split(',') ?? [];
  if (type === undefined || type === 'default' || codings.length === 0) return false;
  return codings.every((coding) => CODINGS.test(coding.trim()));
}

// The failure of a body that nobody wants is not reported.
function discard(body: { cancel(): Promise<void> } | null | undefined): void {
  body?.cancel().catch(() => {});
}

/** The Request; or the answer to a request that no Request can hold. */
function makeRequest(environ: WSGIEnvironment, signal: AbortSignal): Request | Response {
  const method = environ.REQUEST_METHOD;
  if (FORBIDDEN.test(method)) return refuse(501, `${method} is not served here.`);
  const isAsterisk = method === 'OPTIONS' && environ.SCRIPT_NAME + environ.PATH_INFO === '*';
  const url = isAsterisk ? originOf(environ) : urlOf(environ);
  if (url === undefined) {
    return refuse(400, 'A URL cannot hold this path: it has dot segments, which a URL resolves.');
  }
  const headers = new globalThis.Headers();
  for (const [key, value] of Object.entries(environ)) {
    if (typeof value !== 'string') continue;
    if (key.startsWith('HTTP_')) headers.append(headerName(key.slice('HTTP_'.length)), value);
  }
  if (environ.CONTENT_TYPE) headers.set('content-type', environ.CONTENT_TYPE);
  if (environ.CONTENT_LENGTH) headers.set('content-length', environ.CONTENT_LENGTH);

  const init: RequestInit & { duplex?: 'half' } = { method, headers, signal };
  if (hasBody(environ)) {
    init.body = streamOf(environ['wsgi.input']);
    init.duplex = 'half';
  }
  const request = new Request(url, init);
  return isAsterisk ? Object.defineProperty(request, 'url', { value: '*' }) : request;
}

function refuse(status: number, reason: string): Response {
  const headers = { 'content-type': 'text/plain; charset=utf-8' };
  return new Response(`${reason}\n`, { status, headers });
}

function headerName(key: string): string {
  return key.toLowerCase().replaceAll('_', '-');
}

function hasBody(environ: WSGIEnvironment): boolean {
  if (environ.REQUEST_METHOD === 'GET' || environ.REQUEST_METHOD === 'HEAD') return false;
  return Number(environ.CONTENT_LENGTH || 0) > 0 || 'HTTP_TRANSFER_ENCODING' in environ;
}

const BLOCK = 65536;

function streamOf(
  input: InputStream & { read1?(size: number): Promise<Uint8Array> },
): ReadableStream {
  return new ReadableStream(
    {
      async pull(controller) {
        // Passes bytes on when they arrive, if the stream has `read1`.
        const data = await ('read1' in input && input.read1
          ? input.read1(BLOCK)
          : input.read(BLOCK));
        if (data.length > 0) controller.enqueue(data);
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

// The URL whose decoded path is the one in environ; undefined if no URL has this path.
function urlOf(environ: WSGIEnvironment): string | undefined {
  // A server may leave out what is empty.
  const { REQUEST_URI: target, SCRIPT_NAME = '', PATH_INFO = '', QUERY_STRING = '' } = environ;
  const origin = originOf(environ);
  const isSame = (url: string): boolean =>
    percentDecode(new URL(url).pathname) === (SCRIPT_NAME + PATH_INFO || '/');

  // The target as it was sent keeps what decoding loses, such as %2F; but a middleware may
  // have changed environ since.
  if (target?.startsWith('/')) {
    const sent = origin + escapeBytes(target);
    const question = target.indexOf('?');
    const query = question === -1 ? '' : target.slice(question + 1);
    if (query === QUERY_STRING && isSame(sent)) return sent;
  }
  const made = escapeBytes(requestUri({ ...environ, HTTP_HOST: new URL(origin).host }));
  return isSame(made) ? made : undefined;
}

// A URL would take a character above ASCII for text, and encode it as UTF-8. Here it is a byte.
function escapeBytes(target: string): string {
  return target.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
}

// Scheme and host. A Host can be anything that looks like one; not all of that is a URL.
function originOf(environ: WSGIEnvironment): string {
  const { HTTP_HOST: _, ...rest } = environ;
  for (const each of [environ, rest as WSGIEnvironment]) {
    const uri = applicationUri(each);
    if (URL.canParse(uri)) return new URL(uri).origin;
  }
  return `${environ['wsgi.url_scheme']}://localhost`;
}
