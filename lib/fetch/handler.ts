// One request by the platform's fetch: a Request goes in, a Response comes out, and the
// body is made as it is read.

import { quote } from '../describe.ts';
import { BaseHandler, type ResponseHead } from '../handlers.ts';
import { ClientLeft } from '../handlers/base.ts';
import { DONE, type Sent, isWaiting } from '../handlers/wait.ts';
import { ErrorOutput, StreamInput } from '../io.ts';
import { RefusedRequest, VERSION, makeBaseEnviron, makeEnviron } from '../request.ts';
import type { ErrorStream, InputStream, WSGIApplication } from '../types.ts';
import { asyncIteratorOf } from '../web-stream.ts';

// console.error ends the line itself.
const consoleErrors = new ErrorOutput({ write: (text) => console.error(text.replace(/\n$/, '')) });

// Bytes, since a Response gives a string a Content-Type, even an empty one.
const NOTHING = new Uint8Array(0);

/** A request, as far as a handler needs it. */
export interface RequestParts {
  readonly url: URL;
  /** The target, if it is not the path and query of the URL: `*`. */
  readonly target?: string;
  readonly method: string;
  /** Names and values in turn. */
  readonly headers: string[];
  readonly body: AsyncIterable<Uint8Array> | Iterable<Uint8Array> | null;
  readonly signal: AbortSignal | undefined;
  /** The client's address; '' if nobody knows it. */
  readonly remoteAddress: string;
}

/** Serves one `Request`. */
export class FetchHandler extends BaseHandler {
  static {
    this.prototype.wsgiMultithread = false;
    this.prototype.wsgiMultiprocess = false;
  }

  readonly request: RequestParts;
  stderr: ErrorStream = consoleErrors;

  private resolve: (response: Response) => void = () => {};
  private reject: (error: unknown) => void = () => {};
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined = undefined;
  private answered = false;
  /** A response whose body is complete, until the application has ended. */
  private whole: Response | undefined = undefined;
  // Whether the client waits for a chunk. If not, the application waits for `room`.
  private wanted = false;
  private room: Promise<void> | undefined = undefined;
  private wake: (() => void) | undefined = undefined;
  /** Rejects the application's read of the body. */
  private breakOff: (error: unknown) => void = () => {};

  constructor(request: RequestParts) {
    super();
    this.request = request;
  }

  /** Resolves with the response once its head is known. */
  respond(application: WSGIApplication): Promise<Response> {
    const { signal } = this.request;
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
      if (signal?.aborted) return reject(signal.reason);
      const served = this.run(application);
      // Most applications are done by now.
      if (!isWaiting(served)) return;
      const leave = (): void => this.fail(signal?.reason);
      signal?.addEventListener('abort', leave);
      served.catch(reject).finally(() => signal?.removeEventListener('abort', leave));
    });
  }

  override addCgiVars(): void {
    const { url, target, method, headers, remoteAddress } = this.request;
    const secure = url.protocol === 'https:';
    const head = {
      method,
      url: target ?? targetOf(url),
      httpVersion: '1.1',
      rawHeaders: withRequired(this.request, headers),
    };
    const base = makeBaseEnviron(url.hostname, url.port || (secure ? '443' : '80'));
    this.environ = makeEnviron(head, base, { remoteAddress, secure }, `tsgiref/${VERSION}`);
  }

  override getStdin(): InputStream {
    const { body } = this.request;
    if (body === null || !(Symbol.asyncIterator in body)) return new StreamInput(body ?? []);
    const left = new Promise<never>((_, reject) => { this.breakOff = reject; });
    left.catch(() => {});
    return new StreamInput(untilBrokenOff(body, left));
  }

  override getStderr(): ErrorStream {
    return this.stderr;
  }

  // The platform writes the head; it is made with the first chunk.
  override sendHeaders(): void {
    checkRange(this.status);
    this.prepareHead();
  }

  override _write(data: Uint8Array): void {
    // A body that is whole needs no stream.
    if (!this.answered && this.isComplete()) {
      this.whole = this.makeResponse(data);
      return;
    }
    const stream = this.stream();
    // The chunk may find a second reader waiting, who wants the next one.
    this.wanted = false;
    // A copy: the application may use its buffer again before this chunk is read.
    stream.enqueue(new Uint8Array(data));
  }

  // A chunk is made when the client waits for it. All waiting writes share one promise.
  override _flush(): Sent {
    if (this.controller === undefined || this.wanted || this.isComplete()) return undefined;
    this.room ??= new Promise((resolve) => {
      this.wake = resolve;
    });
    return this.room;
  }

  override _end(): void {
    if (this.answered) this.controller?.close();
    else this.send(this.whole ?? this.makeResponse(this.mayHaveBody() ? NOTHING : null));
  }

  override _abort(): void {
    this.fail(new Error('the application failed after its head was sent'));
  }

  override handleError(error: unknown): Promise<void> {
    if (!(error instanceof RefusedRequest)) return super.handleError(error);
    const { status, message } = error;
    const headers = { 'Content-Type': 'text/plain; charset=utf-8' };
    this.send(new Response(`${message}\n`, { status: Number(status.slice(0, 3)), headers }));
    this.disconnect();
    return DONE;
  }

  /** Ends the response with an error, at any stage, and the application's work. */
  protected fail(error: unknown): void {
    this.reject(error);
    if (this.answered) this.controller?.error(error);
    this.answered = true;
    this.leave(error);
  }

  private leave(error?: unknown): void {
    this.disconnect(error);
    this.breakOff(error ?? new ClientLeft());
    this.goOn();
  }

  private goOn(): void {
    this.room = undefined;
    this.wake?.();
  }

  private stream(): ReadableStreamDefaultController<Uint8Array> {
    if (this.controller !== undefined) return this.controller;
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller;
        },
        pull: () => {
          this.wanted = true;
          this.goOn();
        },
        cancel: () => this.leave(),
      },
      { highWaterMark: 0 },
    );
    this.send(this.makeResponse(body));
    return this.stream();
  }

  private send(response: Response): void {
    this.answered = true;
    this.resolve(response);
  }

  private makeResponse(body: ReadableStream | Uint8Array | string | null): Response {
    const head = this.head as ResponseHead;
    const { code, reason } = head.line;
    return new Response(body, { status: code, statusText: reason, headers: head.pairs() });
  }

  // A Response with these statuses must have a null body.
  private mayHaveBody(): boolean {
    return this.request.method !== 'HEAD' && !this.head?.isBodyless;
  }
}

// A body need not end when the client leaves: its stream may wait without end.
async function* untilBrokenOff(
  body: AsyncIterable<Uint8Array>,
  brokenOff: Promise<never>,
): AsyncGenerator<Uint8Array> {
  const iterator = asyncIteratorOf(body);
  try {
    for (;;) {
      const step = await Promise.race([iterator.next(), brokenOff]);
      if (step.done) return;
      yield step.value;
    }
  } finally {
    void iterator.return?.().catch(() => {});
  }
}

// `search` is empty for `/?`, too.
function targetOf({ pathname, search, href }: URL): string {
  return search === '' && /^[^#]*\?/.test(href) ? `${pathname}?` : pathname + search;
}

// A client adds headers to those that a program gives it.
function withRequired({ url, body }: RequestParts, headers: readonly string[]): string[] {
  const list = [...headers];
  if (!hasHeader(list, 'host')) list.unshift('Host', url.host);
  if (body !== null && !hasHeader(list, 'content-length', 'transfer-encoding')) {
    list.push('Transfer-Encoding', 'chunked');
  }
  return list;
}

function hasHeader(list: readonly string[], ...wanted: string[]): boolean {
  for (let index = 0; index < list.length; index += 2) {
    if (wanted.includes(list[index]?.toLowerCase() ?? '')) return true;
  }
  return false;
}

// A Response has a status up to 599; it would say so when it is too late for a 500.
function checkRange(status: string | undefined): void {
  if (status === undefined || status < '600') return;
  throw new RangeError(
    `the status ${quote(status)} cannot go through fetch, which knows 200 to 599 only`,
  );
}
