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
 * An application that asks a fetch handler. Both bodies stream; when the client
 * leaves, also before there is a response, `request.signal` aborts. TRACE and
 * CONNECT, which no `Request` can have, get 501.
 */
export function fromFetch(target: FetchTarget): WSGIApplication {
  const handle = typeof target === 'function' ? target : target?.fetch?.bind(target);
  if (typeof handle !== 'function') {
    throw new TypeError('fromFetch() takes a function of a Request, or an object with fetch()');
  }
  // The handler is asked when the server asks for the first chunk: from then on a
  // client that leaves makes the server call close().
  return (environ, startResponse) => new FetchBody(handle, environ, startResponse);
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

  /** Tells the handler that nobody waits for the rest. */
  close(): void {
    if (this.finished) return;
    this.finished = true;
    // After the last byte of a Content-Length the server asks no more, and nobody left.
    if (this.due > 0) this.abort.abort();
    discard(this.chunks);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  private async ask(): Promise<ReadableStreamDefaultReader<Uint8Array> | undefined> {
    const { environ } = this;
    const response = FORBIDDEN.test(environ.REQUEST_METHOD)
      ? new Response(`${environ.REQUEST_METHOD} is not served here.\n`, { status: 501 })
      : await this.handle(makeRequest(environ, this.abort.signal));
    checkResponse(response);
    // The client has left meanwhile.
    if (this.finished) return void discard(response.body);

    const { status, statusText } = response;
    const headers: Array<[name: string, value: string]> = [];
    for (const [name, value] of response.headers) {
      if (!isHopByHop(name)) headers.push([name, value]);
    }
    this.startResponse(`${status} ${statusText || reasonPhrase(status)}`, headers);
    // A handler may answer HEAD as it does GET. (RFC 9110 §9.3.2)
    if (environ.REQUEST_METHOD === 'HEAD') return void discard(response.body);
    this.due = Number(response.headers.get('content-length') ?? Infinity);
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

// How a body that nobody wants ends badly says nothing.
function discard(body: { cancel(): Promise<void> } | null | undefined): void {
  body?.cancel().catch(() => {});
}

function makeRequest(environ: WSGIEnvironment, signal: AbortSignal): Request {
  const method = environ.REQUEST_METHOD;
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
  return new Request(urlOf(environ), init);
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
        // What is there goes on at once, if the stream can say what that is.
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

function urlOf(environ: WSGIEnvironment): string {
  const uri = safeUri(environ);
  // The target as it was sent keeps what decoding loses, such as %2F; but a
  // middleware may have made it another.
  const { REQUEST_URI: target, SCRIPT_NAME, PATH_INFO, QUERY_STRING } = environ;
  if (!target?.startsWith('/')) return uri;
  const [path = '', ...rest] = target.split('?');
  const isSame = percentDecode(path) === SCRIPT_NAME + PATH_INFO && rest.join('?') === QUERY_STRING;
  return isSame ? new URL(uri).origin + target : uri;
}

// A Host can be anything that looks like one; not all of that is a URL.
function safeUri(environ: WSGIEnvironment): string {
  const uri = requestUri(environ);
  if (URL.canParse(uri)) return uri;
  const { HTTP_HOST: _, ...rest } = environ;
  const plain = requestUri(rest as WSGIEnvironment);
  return URL.canParse(plain)
    ? plain
    : applicationUri({ ...rest, SERVER_NAME: 'localhost' } as WSGIEnvironment);
}
