// One request of the test client: what a client sends over the wire, put together
// as a client does, and the handler that runs the application for it.

import { FetchHandler, type RequestParts } from '../fetch/handler.ts';
import type { ResponseHead } from '../handlers/head.ts';
import { DONE, type Sent, isWaiting } from '../handlers/wait.ts';
import type { ErrorStream, WSGIEnvironment } from '../types.ts';

/** Keys to add to environ, or a function that changes it. */
export type EnvironOption =
  Partial<WSGIEnvironment> | ((environ: WSGIEnvironment) => Partial<WSGIEnvironment> | void);

/** A request with its body at hand, so that a redirect can send it again. */
export interface Outgoing {
  url: URL;
  method: string;
  headers: globalThis.Headers | undefined;
  body: Uint8Array | AsyncIterable<Uint8Array> | null;
  signal: AbortSignal | undefined;
}

/** Makes what `fetch(input, init)` would send. */
export async function prepare(
  input: string | URL | Request,
  init: RequestInit | undefined,
  base: string,
): Promise<Outgoing> {
  if (typeof input === 'string' || input instanceof URL) {
    const url = new URL(input, base);
    // Without a body, all that a Request would add is time.
    if (init?.body === undefined || init.body === null) {
      const { method = 'GET', headers, signal } = init ?? {};
      return {
        url,
        method: normalizeMethod(method),
        headers: headers === undefined ? undefined : new globalThis.Headers(headers),
        body: null,
        signal: signal ?? undefined,
      };
    }
    const streams = init.body instanceof ReadableStream;
    const halfDuplex = streams ? { ...init, duplex: 'half' as const } : init;
    return fromRequest(new Request(url, halfDuplex), streams);
  }
  return fromRequest(new Request(input, init), init?.body instanceof ReadableStream);
}

async function fromRequest(request: Request, streams: boolean): Promise<Outgoing> {
  const { method, headers, signal } = request;
  let body: Outgoing['body'] = null;
  if (request.body !== null) {
    body = streams ? request.body : new Uint8Array(await request.arrayBuffer());
  }
  return { url: new URL(request.url), method, headers, body, signal };
}

// fetch() writes these in capitals, and leaves every other method as it is.
function normalizeMethod(method: string): string {
  const upper = method.toUpperCase();
  return ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT'].includes(upper) ? upper : method;
}

/** Runs the application for one request, as a handler of the fetch bridge. */
export class TestHandler extends FetchHandler {
  /** Whether an error of the application becomes a 500, and does not reject. */
  catchErrors: boolean = false;
  environOption: EnvironOption | undefined = undefined;

  /** The head of a response that ends when its body has been closed. */
  private ending: ResponseHead | undefined = undefined;
  private closingError: { readonly error: unknown } | undefined = undefined;

  constructor(outgoing: Outgoing, stderr: ErrorStream) {
    super(partsOf(outgoing));
    this.stderr = stderr;
  }

  override setupEnviron(): void {
    super.setupEnviron();
    const { environ, environOption } = this;
    if (environOption === undefined) return;
    const more = typeof environOption === 'function' ? environOption(environ) : environOption;
    Object.assign(environ, more);
  }

  override handleError(error: unknown): Promise<void> {
    if (this.catchErrors) return super.handleError(error);
    this.fail(error);
    return DONE;
  }

  override reportClosing(error: unknown): void {
    super.reportClosing(error);
    if (!this.catchErrors) this.closingError ??= { error };
  }

  // A server sends the end first. The test client waits for close(), so that a test sees its
  // error: after the end it is too late to reject.
  override _end(): Sent {
    this.ending = this.head;
  }

  override disconnect(error?: unknown): void {
    this.ending = undefined;
    super.disconnect(error);
  }

  override close(): Promise<void> {
    const closed = super.close();
    if (isWaiting(closed)) return closed.then(() => this.endClosed());
    this.endClosed();
    return DONE;
  }

  private endClosed(): void {
    const { ending, closingError } = this;
    if (ending === undefined) return;
    this.ending = undefined;
    if (closingError !== undefined) return this.fail(closingError.error);
    this.head = ending;
    super._end();
    this.head = undefined;
  }
}

// A client that knows the length of its body says it, and says 0 where a body is usual.
function partsOf({ url, method, headers, body, signal }: Outgoing): RequestParts {
  const list: string[] = [];
  for (const [name, value] of headers ?? []) {
    if (name !== 'content-length' && name !== 'transfer-encoding') list.push(name, value);
  }
  if (body instanceof Uint8Array) list.push('Content-Length', String(body.length));
  else if (body === null && /^(?:POST|PUT)$/.test(method)) list.push('Content-Length', '0');
  return {
    url,
    method,
    headers: list,
    body: body instanceof Uint8Array ? [body] : body,
    signal,
    remoteAddress: '127.0.0.1',
  };
}
