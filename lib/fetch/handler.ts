// One request by the platform's fetch: a Request goes in, a Response comes out,
// and the body is made as it is read.

import { quote } from '../describe.ts';
import { addHeader } from '../environ-key.ts';
import { BaseHandler } from '../handlers.ts';
import type { Sent } from '../handlers/base.ts';
import { ErrorOutput, StreamInput } from '../io.ts';
import { percentDecode } from '../latin1.ts';
import type { ErrorStream, InputStream, WSGIApplication, WSGIEnvironment } from '../types.ts';

// console.error ends the line itself.
const consoleErrors = new ErrorOutput({ write: (text) => console.error(text.replace(/\n$/, '')) });

/** What is needed of a `Request`; every `Request` has it. */
export interface RequestParts {
  readonly url: string;
  readonly method: string;
  readonly headers: Iterable<[name: string, value: string]>;
  readonly body: AsyncIterable<Uint8Array> | Iterable<Uint8Array> | null;
  readonly bodyUsed: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Serves one `Request`. */
export class FetchHandler extends BaseHandler {
  override wsgiMultithread: boolean = false;
  override wsgiMultiprocess: boolean = false;
  readonly request: RequestParts;
  stderr: ErrorStream = consoleErrors;

  private resolve: (response: Response) => void = () => {};
  private reject: (error: unknown) => void = () => {};
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined = undefined;
  private wake: () => void = () => {};
  private answered = false;
  private wanted = false;

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
      const served = this.run(application).catch(reject);
      if (signal === undefined) return;
      const leave = (): void => this.fail(signal.reason);
      signal.addEventListener('abort', leave);
      void served.finally(() => signal.removeEventListener('abort', leave));
    });
  }

  override addCgiVars(): void {
    const url = new URL(this.request.url);
    const secure = url.protocol === 'https:';
    // One literal: an object that is added to key by key is slower for all its life.
    const environ = {
      REQUEST_METHOD: this.request.method,
      SCRIPT_NAME: '',
      PATH_INFO: percentDecode(url.pathname),
      QUERY_STRING: url.search.slice(1),
      REQUEST_URI: url.pathname + url.search,
      CONTENT_LENGTH: '',
      SERVER_NAME: url.hostname,
      SERVER_PORT: url.port || (secure ? '443' : '80'),
      SERVER_PROTOCOL: 'HTTP/1.1',
      REMOTE_HOST: '',
      REMOTE_ADDR: '',
    } as WSGIEnvironment;
    this.environ = environ;
    if (secure) environ.HTTPS = 'on';
    for (const [name, value] of this.request.headers) addHeader(environ, name, value);
    environ['HTTP_HOST'] ??= url.host;
    // How a body of unknown length would have come over the wire.
    if (this.request.body !== null && environ.CONTENT_LENGTH === '') {
      environ['HTTP_TRANSFER_ENCODING'] = 'chunked';
    }
  }

  override getStdin(): InputStream {
    const { body, bodyUsed } = this.request;
    return new StreamInput(bodyUsed ? takenBody() : (body ?? []));
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
    if (!this.answered && this.isComplete()) return this.answer(data);
    const stream = this.stream();
    // The chunk may find a second reader waiting, who wants the next one.
    this.wanted = false;
    // A copy: the application may fill its buffer anew before this one is looked at.
    stream.enqueue(new Uint8Array(data));
  }

  // A chunk is made when there is somebody who waits for it.
  override _flush(): Sent {
    if (this.controller === undefined || this.wanted || this.isComplete()) return undefined;
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  override async finishContent(): Promise<void> {
    await super.finishContent();
    if (!this.answered) this.answer(isBodyless(this.status, this.request.method) ? null : '');
    else this.controller?.close();
  }

  override _abort(): void {
    this.fail(new Error('the application failed after its head was sent'));
  }

  /** Ends the response with an error, whatever has become of it, and the application's work. */
  protected fail(error: unknown): void {
    this.reject(error);
    if (this.answered) this.controller?.error(error);
    this.answered = true;
    this.disconnect();
    this.wake();
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
          this.wake();
        },
        cancel: () => {
          this.disconnect();
          this.wake();
        },
      },
      { highWaterMark: 0 },
    );
    this.answer(body);
    return this.stream();
  }

  private answer(body: ReadableStream | Uint8Array | string | null): void {
    this.answered = true;
    const headers = new globalThis.Headers();
    for (const [name, value] of this.headers) headers.append(name, value);
    const status = this.status ?? '';
    this.resolve(
      new Response(body, {
        status: Number(status.slice(0, 3)),
        statusText: status.slice(4),
        headers,
      }),
    );
  }
}

async function* takenBody(): AsyncGenerator<Uint8Array> {
  throw new Error(
    "the request's body has been read already, before toFetch() was given the request: " +
      'give it request.clone(), or do not read the body',
  );
}

// A Response has no other status; it would say so when it is too late for a 500.
function checkRange(status: string | undefined): void {
  if (status === undefined || status < '600') return;
  throw new RangeError(
    `the status ${quote(status)} cannot go through fetch, which knows 200 to 599 only`,
  );
}

/** Whether a response may not even have an empty body. */
function isBodyless(status: string | undefined, method: string): boolean {
  return method === 'HEAD' || ['204', '205', '304'].includes(status?.slice(0, 3) ?? '');
}
