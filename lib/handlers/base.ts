// The protocol, without a transport: build environ, call the application, send its
// status, headers and chunks in the right order, report what it throws, and close what
// it returned. `run` is the whole plot.
//
// Mirrors wsgiref.handlers.BaseHandler.

import { describe, fault, isClass, property } from '../describe.ts';
import { Headers } from '../headers.ts';
import { encodeLatin1 } from '../latin1.ts';
import type {
  ErrorStream,
  FileLike,
  FileWrapperFunction,
  InputStream,
  ResponseBody,
  ResponseHeaders,
  StartResponse,
  Status,
  Write,
  WSGIApplication,
  WSGIEnvironment,
} from '../types.ts';
import { FileWrapper, guessScheme } from '../util.ts';
import { BodyReader, checkChunk } from './body.ts';
import { formatException, isCausedBy, isConnectionError } from './exception.ts';
import { ResponseHead, formatDateTime } from './head.ts';
import { DONE, type Sent, both, isWaiting } from './wait.ts';

/**
 * Runs one application for one request. A subclass supplies the transport: the methods
 * at the end. Every other method is a hook that may be overridden.
 *
 * A constructor only stores its arguments. The handler reads its configuration in `run`
 * or later, when a subclass has set its own values.
 */
export abstract class BaseHandler {
  // ---- Configuration: for the application

  /** Given to the application as `wsgi.version`. */
  declare wsgiVersion: readonly [number, number];
  /** Given as `wsgi.multithread`. */
  declare wsgiMultithread: boolean;
  /** Given as `wsgi.multiprocess`. */
  declare wsgiMultiprocess: boolean;
  /** Given as `wsgi.run_once`. */
  declare wsgiRunOnce: boolean;
  /** Given to the application as `wsgi.file_wrapper`; undefined offers none. */
  declare wsgiFileWrapper: FileWrapperFunction | undefined;
  /** Variables to put into environ before all others. Unlike Python: none, except under CGI. */
  declare osEnviron: Readonly<Record<string, string>>;

  // ---- Configuration: for the client

  /** Whether this handler speaks to the client itself, and not through a server in front. */
  declare originServer: boolean;
  /** For the first line of a response, such as `1.0`. */
  declare httpVersion: string;
  /** For the Server header and `SERVER_SOFTWARE`; undefined for neither. */
  declare serverSoftware: string | undefined;
  /** The class of `headers`. */
  declare headersClass: typeof Headers;

  // ---- Configuration: when the application throws

  /** How many calls of a trace to report; undefined for all. */
  declare tracebackLimit: number | undefined;
  /** The status, the headers and the body of the answer to a failed application. */
  declare errorStatus: Status;
  /** See `errorStatus`. */
  declare errorHeaders: ResponseHeaders;
  /** See `errorStatus`. */
  declare errorBody: Uint8Array;

  // Python's class attributes: all handlers share one value on the prototype, until a
  // subclass or a handler sets its own.
  static {
    const { prototype } = this;
    prototype.wsgiVersion = [1, 0];
    prototype.wsgiMultithread = true;
    prototype.wsgiMultiprocess = true;
    prototype.wsgiRunOnce = false;
    prototype.wsgiFileWrapper = wrapFile;
    prototype.osEnviron = {};
    prototype.originServer = true;
    prototype.httpVersion = '1.0';
    prototype.serverSoftware = undefined;
    prototype.headersClass = Headers;
    prototype.tracebackLimit = undefined;
    prototype.errorStatus = '500 Internal Server Error';
    prototype.errorHeaders = [['Content-Type', 'text/plain']];
    prototype.errorBody = encodeLatin1(
      'A server error occurred.  Please contact the administrator.',
    );
  }

  // ---- State of the request; leave alone

  /** The request, as the application gets it. Made by `setupEnviron`. */
  environ!: WSGIEnvironment;
  /** The body that the application returned; undefined before that, and after the end. */
  result: ResponseBody | undefined = undefined;
  /** Whether the head has been sent. False again after the end. */
  headersSent: boolean = false;
  /** Bytes of the body handed to the transport. */
  bytesSent: number = 0;

  /** The status and headers of `startResponse`; undefined before it, and after the end. */
  protected head: ResponseHead | undefined = undefined;
  /** Whether `startResponse` has been called. A call that threw counts. */
  private started = false;
  /** Whether nothing more may be sent. */
  private finished = false;
  private contentLength: number | undefined = undefined;
  private isHead = false;
  private bodyless = false;
  private body: BodyReader | undefined = undefined;
  /** Whether the whole body has been handed to the transport. */
  private contentFinished = false;
  /** Whether the answer to an error has begun. */
  private answering = false;
  /** Whether the transport has failed. */
  private broken = false;
  /** Whether `run` has nothing left to do. */
  private over = false;
  private lastSent: Sent = undefined;
  private disconnectError: unknown = undefined;
  private leaving: AbortController | undefined = undefined;

  /**
   * Serves the request. An application that never waits is served before `run` returns.
   *
   * @param application - The application.
   * @returns a promise that resolves when the response has been handed over, even if the
   *   application failed or the client left; it rejects only if reporting a failure
   *   failed, too
   */
  run(application: WSGIApplication): Promise<void> {
    const served = this.serve(application);
    return this.over ? DONE : served;
  }

  // The whole plot. Each `await` lets other code run first, so the handler awaits only a
  // promise that is not done yet.
  private async serve(application: WSGIApplication): Promise<void> {
    try {
      try {
        this.setupEnviron();
        // The application may change environ; the request's method does not change.
        this.isHead = this.environ.REQUEST_METHOD === 'HEAD';
        const answered = this.answer(application);
        if (isWaiting(answered)) await answered;
      } catch (error) {
        // A client that has left is not an error, and no answer can reach it.
        if (!this.isDisconnect(error)) await this.handleError(error);
      }
      const concluded = this.conclude();
      if (isWaiting(concluded)) await concluded;
    } catch (failure) {
      await this.close();
      throw failure;
    }
    this.over = true;
  }

  // Calls an application, and sends what it returns.
  private answer(application: WSGIApplication): Sent {
    const result = application(this.environ, this.startResponse.bind(this));
    if (isWaiting(result)) return Promise.resolve(result).then(this.finishWith.bind(this));
    return this.finishWith(result);
  }

  private finishWith(result: ResponseBody): Promise<void> {
    this.result = result;
    return this.finishResponse();
  }

  // The one place that decides how a request ends: the client has left, the response is
  // whole, or the connection is cut so that the client sees that the response is not whole.
  private conclude(): Sent {
    if (this.disconnectError !== undefined) return this.close();
    if ((this.contentFinished || this.isComplete()) && !this.broken) {
      const ended = this._end();
      return isWaiting(ended) ? ended.then(this.close.bind(this)) : this.close();
    }
    this.finished = true;
    return this._abort();
  }

  /** Makes `this.environ`. (PEP 3333, "environ Variables") */
  setupEnviron(): void {
    this.environ = { ...this.osEnviron } as unknown as WSGIEnvironment;
    this.addCgiVars();
    const { environ } = this;
    environ['wsgi.version'] = this.wsgiVersion;
    environ['wsgi.url_scheme'] = this.getScheme();
    environ['wsgi.input'] = this.getStdin();
    environ['wsgi.input_terminated'] = true;
    environ['wsgi.errors'] = this.getStderr();
    environ['wsgi.multithread'] = this.wsgiMultithread;
    environ['wsgi.multiprocess'] = this.wsgiMultiprocess;
    environ['wsgi.run_once'] = this.wsgiRunOnce;
    if (this.wsgiFileWrapper !== undefined) environ['wsgi.file_wrapper'] = this.wsgiFileWrapper;
    else delete environ['wsgi.file_wrapper'];
    // Bound, since V8 keeps all that an arrow function sees here until a full collection.
    environ['tsgiref.signal'] = this.getSignal.bind(this);
    if (this.originServer && this.serverSoftware !== undefined) {
      environ.SERVER_SOFTWARE ??= this.serverSoftware;
    }
  }

  /** `http` or `https`, for `wsgi.url_scheme`. */
  getScheme(): string {
    return guessScheme(this.environ);
  }

  /**
   * Begins the response: the function that the application is given.
   *
   * @param status - Three digits, one space and a reason.
   * @param headers - `[name, value]` pairs of strings.
   * @param error - The error that the application has caught, if this call replaces another.
   * @throws TypeError or RangeError for a status or headers that cannot be sent, an Error
   *   for a second call without `error`, and `error` itself once the head has been sent
   */
  startResponse(status: Status, headers: ResponseHeaders, error?: unknown): Write {
    if (this.finished) {
      throw fault(Error, 'sr-after-end', 'startResponse() was called after the response had ended');
    }
    if (error !== undefined && error !== null) {
      // Too late to answer something else: the application must not go on.
      if (this.headersSent) throw error;
    } else if (this.started) {
      throw fault(
        Error,
        'sr-twice',
        'startResponse() was called a second time; only an error may replace the first: ' +
          'pass the caught error as third argument',
      );
    }
    // A call that is about to fail counts as the first, too.
    this.started = true;
    this.head = new ResponseHead(status, headers);
    return this.write.bind(this);
  }

  /** The status of the response; undefined before `startResponse`, and after the end. */
  get status(): Status | undefined {
    return this.head?.status;
  }

  /**
   * The headers of the response, which a hook may change before they are sent.
   *
   * @throws Error before `startResponse`, and after the end
   */
  get headers(): Headers {
    if (this.head === undefined) throw new Error('there are no headers before startResponse()');
    return this.head.headersAs(this.headersClass);
  }

  /** Sends the body, unless it is a file that `sendfile` takes. */
  finishResponse(): Promise<void> {
    const sent = this.sendResult();
    return this.contentFinished ? DONE : sent;
  }

  private async sendResult(): Promise<void> {
    const body = new BodyReader(this.result as ResponseBody, this);
    this.body = body;
    try {
      if (!this.resultIsFile() || !(await this.sendfile())) {
        // Each chunk of a generator goes out before the next is asked for: the application may
        // take long to make it. (PEP 3333, "Buffering and Streaming")
        while (!this.isComplete()) {
          if (this.disconnectError !== undefined) throw this.disconnectError;
          const next = body.next();
          const step = isWaiting(next) ? await next : next;
          if (step.done) break;
          const sent = this.write(step.value);
          if (sent !== undefined) await sent;
        }
      }
      // The application need not await each write(), so the last may still be under way.
      if (this.lastSent !== undefined) await this.lastSent;
      const ended = this.finishContent();
      if (isWaiting(ended)) await ended;
      this.contentFinished = true;
    } catch (error) {
      await body.end();
      // If the client has left, the body was closed while it was running. An error of the body
      // after that has no meaning.
      throw this.disconnectError ?? error;
    }
  }

  /**
   * Sends one chunk: the body's, and those that the application writes. The first chunk
   * that is not empty sends the head, too.
   *
   * @param data - The chunk.
   * @returns nothing, or a promise that resolves when the transport is ready for more
   * @throws TypeError if `data` is not a Uint8Array; an Error before `startResponse`, after
   *   the end, beyond the Content-Length, and when the client has left
   */
  write(data: Uint8Array): Sent {
    checkChunk(data);
    if (this.disconnectError !== undefined) throw this.disconnectError;
    // The body's close() may call write(), and so may code that kept the function.
    if (this.head === undefined || this.finished) {
      throw fault(
        Error,
        'sr-before-body',
        'there is no response to send this chunk with: startResponse() comes before the first ' +
          'chunk, and nothing comes after the end',
      );
    }
    let excess = 0;
    let sent: Sent;
    try {
      sent = this.headersSent || data.length === 0 ? undefined : this.sendHeadFor(data);
      if (data.length === 0) sent = this._flush();
      else if (!this.bodyless) {
        const room = (this.contentLength ?? Infinity) - this.bytesSent;
        excess = Math.max(0, data.length - room);
        const fitting = excess > 0 ? data.subarray(0, room) : data;
        if (fitting.length > 0) {
          this.bytesSent += fitting.length;
          sent = both(sent, both(this._write(fitting), this._flush()));
        }
      }
    } catch (error) {
      throw this.noteBroken(error);
    }
    if (sent !== undefined) sent = this.keep(sent);
    // A file may be longer: its first Content-Length bytes are sent.
    if (excess > 0 && !this.resultIsFile()) {
      throw fault(
        Error,
        'body-too-long',
        `the body is longer than its Content-Length of ${this.contentLength} bytes`,
      );
    }
    return sent;
  }

  /** Whether the application returned a file wrapper. */
  resultIsFile(): boolean {
    if (Array.isArray(this.result)) return false;
    return this.result instanceof FileWrapper && this.wsgiFileWrapper !== undefined;
  }

  /**
   * Override to send `this.result`, a FileWrapper, in a way that is fast on the platform,
   * and return true. Here it returns false: the file is sent by blocks.
   */
  sendfile(): boolean | Promise<boolean> {
    return false;
  }

  /**
   * Called after the body's last chunk. Sends the head if no chunk did.
   *
   * @throws an Error without `startResponse`, and for a body shorter than its Content-Length
   */
  finishContent(): Sent {
    if (this.head === undefined) {
      throw fault(
        Error,
        'sr-never-empty-body',
        'the application ended without calling startResponse()',
      );
    }
    if (this.headersSent) return this.checkLength();
    try {
      const sent = this.sendHeaders();
      return isWaiting(sent) ? sent.then(this.checkLength.bind(this)) : this.checkLength();
    } catch (error) {
      throw this.noteBroken(error);
    }
  }

  /** Sends the head. Override for a transport that makes heads itself. */
  sendHeaders(): Sent {
    this.prepareHead();
    // An HTTP/0.9 response is the body alone.
    if (this.originServer && !this.clientIsModern()) return undefined;
    return both(this.sendPreamble(), this._write(this.headers.toBytes()));
  }

  /** Sends the first line and, to a client, Date and Server. */
  sendPreamble(): Sent {
    if (!this.originServer) return this._write(encodeLatin1(`Status: ${this.status}\r\n`));
    let preamble = `HTTP/${this.httpVersion} ${this.status}\r\n`;
    if (!this.head?.hasDate) preamble += `Date: ${formatDateTime(Date.now())}\r\n`;
    if (this.serverSoftware !== undefined && !this.head?.hasServer) {
      preamble += `Server: ${this.serverSoftware}\r\n`;
    }
    return this._write(encodeLatin1(preamble));
  }

  /** Called once before the head is sent: adds and removes what the head must have. */
  cleanupHeaders(): void {
    const { head } = this;
    if (head === undefined) return;
    const { code } = head.line;
    if (code === 204) head.setContentLength(undefined);
    else if (code === 205) head.setContentLength(0);
    else if (code !== 304 && head.contentLength === undefined) this.setContentLength();
  }

  /** Sets Content-Length where it is known: no chunk, or one. */
  setContentLength(): void {
    if (this.bytesSent > 0) {
      if (countChunks(this.result) === 1) this.head?.setContentLength(this.bytesSent);
    } else if (!this.isHead) {
      // A HEAD response without a body does not show the length of a GET response.
      this.head?.setContentLength(0);
    }
  }

  /** Whether the client expects a head: every client but one of HTTP/0.9 does. */
  clientIsModern(): boolean {
    return this.environ.SERVER_PROTOCOL?.toUpperCase() !== 'HTTP/0.9';
  }

  /** Whether all that may be sent has been sent, so that no chunk need be asked for. */
  isComplete(): boolean {
    return this.headersSent && (this.bodyless || this.bytesSent === this.contentLength);
  }

  /**
   * Reports an error, and answers it if nothing has been sent yet.
   *
   * @param error - The value that was thrown.
   */
  async handleError(error: unknown): Promise<void> {
    const reason = error ?? new Error(`the application threw ${describe(error)}`);
    this.logException(reason);
    // Too late for another answer, or it was the answer that failed.
    if (this.headersSent || this.answering) return;
    this.answering = true;
    // The head that failed was never sent, and the body that goes with it is not needed.
    this.broken = false;
    void this.endBody();
    this.body = undefined;
    this.result = undefined;
    try {
      await this.answer((environ, startResponse) => {
        return this.errorOutput(environ, startResponse, reason);
      });
    } catch (second) {
      if (!this.isDisconnect(second)) await this.handleError(second);
    }
  }

  /**
   * Writes the trace to the error stream.
   *
   * @param error - The value that was thrown.
   */
  logException(error: unknown): void {
    const stderr = this.getStderr();
    stderr.write(formatException(error, this.tracebackLimit));
    stderr.flush();
  }

  /**
   * Reports an error in closing the body. It must neither hide the error that ended the
   * request nor undo a response that is already complete.
   *
   * @param error - The value that the iterator's `return()` or `close()` threw.
   */
  reportClosing(error: unknown): void {
    if (!this.isDisconnect(error)) this.logException(error);
  }

  /**
   * A small application of its own: the answer when the application has failed. Override
   * it for another page; it must not show the error to a client.
   *
   * @param _environ - The request.
   * @param startResponse - Begins the response; takes the error as its third argument.
   * @param error - The value that the application has thrown.
   */
  errorOutput(
    _environ: WSGIEnvironment,
    startResponse: StartResponse,
    error: unknown,
  ): ResponseBody {
    startResponse(this.errorStatus, [...this.errorHeaders], error);
    return [this.errorBody];
  }

  /**
   * Closes the body and forgets the response. Called once at the end, except for a response
   * that is cut: its body was closed when the error was caught, and `_abort` is called.
   */
  close(): Promise<void> {
    this.finished = true;
    const ended = this.endBody();
    if (ended !== undefined) return ended.then(this.forget.bind(this));
    this.forget();
    return DONE;
  }

  // A body that nobody has begun to read is closed, too.
  private endBody(): Sent {
    if (this.result === undefined) return undefined;
    this.body ??= new BodyReader(this.result, this);
    return this.body.end();
  }

  private forget(): void {
    const { body } = this;
    this.body = undefined;
    this.result = undefined;
    this.head = undefined;
    this.headersSent = false;
    this.bytesSent = 0;
    body?.checkLog();
  }

  /**
   * Called by the transport when the client has left: stops the iteration, closes the
   * body at once, even if the application still waits for something, and aborts the
   * signal that the application may have asked for.
   *
   * @param error - The error that the transport has seen.
   */
  disconnect(error: unknown = new ClientLeft()): void {
    if (this.finished || this.disconnectError !== undefined) return;
    this.disconnectError = error;
    void this.body?.end();
    this.leaving?.abort(error);
  }

  /**
   * Whether an error only says that the client has left.
   *
   * @param error - The value that was thrown.
   */
  isDisconnect(error: unknown): boolean {
    return this.disconnectError !== undefined && isCausedBy(error, this.disconnectError);
  }

  /** Aborts when the client leaves. Made when the application first asks for it. */
  private getSignal(): AbortSignal {
    if (this.leaving === undefined) {
      this.leaving = new AbortController();
      if (this.disconnectError !== undefined) this.leaving.abort(this.disconnectError);
    }
    return this.leaving.signal;
  }

  // An application need not await write(). The end of the request reports the failure of
  // a write; before that, a rejection that nobody handles would end the process.
  private keep(sent: Promise<void>): Promise<void> {
    const kept = sent.catch((error: unknown) => {
      throw this.noteBroken(error);
    });
    kept.catch(() => {});
    this.lastSent = kept;
    return kept;
  }

  // The head may need the length of the first chunk.
  private sendHeadFor(chunk: Uint8Array): Sent {
    this.bytesSent = chunk.length;
    try {
      return this.sendHeaders();
    } finally {
      this.bytesSent = 0;
    }
  }

  /**
   * The first step of every `sendHeaders`: the headers are final, and count as sent.
   *
   * @throws Error before startResponse
   */
  protected prepareHead(): ResponseHead {
    const { head } = this;
    if (head === undefined) throw new Error('there is no head before startResponse()');
    // Another class may keep its headers in a list of its own.
    if (this.headersClass !== Headers) head.headersAs(this.headersClass);
    this.cleanupHeaders();
    head.settle();
    this.headersSent = true;
    this.bodyless = this.isHead || head.isBodyless;
    this.contentLength = head.contentLength;
    return head;
  }

  private checkLength(): void {
    const { contentLength, bytesSent } = this;
    if (contentLength !== undefined && bytesSent < contentLength && !this.bodyless) {
      throw fault(
        Error,
        'body-too-short',
        `the body ended after ${bytesSent} bytes; its Content-Length says ${contentLength}`,
      );
    }
  }

  // Only the transport can report that the client has left. The application may throw the
  // same code for a connection of its own.
  private noteBroken(error: unknown): unknown {
    this.broken = true;
    if (isConnectionError(error)) this.disconnect(error);
    return error;
  }

  // ---- The transport: a subclass must supply these

  /** Puts CGI variables into `this.environ`. */
  abstract addCgiVars(): void;

  /** The stream to be `wsgi.input`. */
  abstract getStdin(): InputStream;

  /** The stream to be `wsgi.errors`. */
  abstract getStderr(): ErrorStream;

  /**
   * Takes bytes for the client, in the order of the calls, and may buffer them. An error
   * whose `code` is EPIPE, ECONNRESET or ECONNABORTED says that the client has left.
   *
   * @param data - The bytes: never empty.
   */
  abstract _write(data: Uint8Array): Sent;

  /** Sends what `_write` may have buffered. */
  abstract _flush(): Sent;

  /** Called once when the response is whole. */
  _end(): Sent {}

  /**
   * Cuts the connection, so that the client sees that its response is not whole. Called in
   * place of `_end` and `close`, when the body has been closed already.
   */
  _abort(): void {}
}

/**
 * Checks that an application can be called.
 *
 * @throws TypeError if it is not a function
 */
export function checkApplication(application: unknown): void {
  if (isApplication(application)) return;
  const found = typeof application === 'function' ? 'a class' : describe(application);
  throw fault(
    TypeError,
    'app-callable',
    `an application is a function (environ, startResponse), not ${found}`,
  );
}

/** Whether a server can call this value as an application. Unlike Python: not a class. */
export function isApplication(value: unknown): value is WSGIApplication {
  return typeof value === 'function' && !isClass(value);
}

/** The error for code that still works for a client that has closed its connection. */
export class ClientLeft extends Error {
  readonly code: string = 'ECONNRESET';

  constructor() {
    super('the client has closed the connection');
  }
}

function wrapFile(file: FileLike, blockSize?: number): FileWrapper {
  return new FileWrapper(file, blockSize);
}

// Python asks len(); here an array says so in `length`, a Set in `size`.
function countChunks(result: ResponseBody | undefined): number | undefined {
  if (Array.isArray(result)) return result.length;
  if (result instanceof Set) return result.size;
  const length = property(result, 'length');
  return typeof length === 'number' ? length : undefined;
}
