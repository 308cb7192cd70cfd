// The protocol, without a transport: build environ, call the application, send
// its status, headers and chunks in the right order, report what it throws, and
// close what it returned. `run` is the whole plot.
//
// Mirrors wsgiref.handlers.BaseHandler.

import { describe } from '../describe.ts';
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
import { BodyReader } from './body.ts';
import { checkChunk, checkHeaders, checkStatus } from './checks.ts';
import { formatDateTime } from './date.ts';
import { formatException, isCausedBy, property } from './exception.ts';

/** Nothing if it is done already, else a promise that settles when it is. */
export type Sent = void | Promise<void>;

const ERROR_HEADERS: ResponseHeaders = [['Content-Type', 'text/plain']];
const ERROR_BODY = encodeLatin1('A server error occurred.  Please contact the administrator.');

/**
 * Runs one application for one request. A subclass supplies the transport: the
 * five methods at the end. Every other method is a hook that may be overridden.
 *
 * A constructor only stores; what configures the handler is read in `run` or
 * later, when a subclass has set its own values.
 */
export abstract class BaseHandler {
  // ---- Configuration: what the application is told

  wsgiVersion: readonly [number, number] = [1, 0];
  wsgiMultithread: boolean = true;
  wsgiMultiprocess: boolean = true;
  wsgiRunOnce: boolean = false;
  /** Given to the application as `wsgi.file_wrapper`; undefined offers none. */
  wsgiFileWrapper: FileWrapperFunction | undefined = wrapFile;
  /** Variables to put into environ before all others. Unlike Python: none, but under CGI. */
  osEnviron: Readonly<Record<string, string>> = {};

  // ---- Configuration: what the client is told

  /** Whether this speaks to the client itself, and not through a server in front. */
  originServer: boolean = true;
  httpVersion: string = '1.0';
  /** For the Server header and `SERVER_SOFTWARE`; undefined for neither. */
  serverSoftware: string | undefined = undefined;
  headersClass: typeof Headers = Headers;

  // ---- Configuration: when the application throws

  /** How many calls of a trace to report; undefined for all. */
  tracebackLimit: number | undefined = undefined;
  errorStatus: Status = '500 Internal Server Error';
  errorHeaders: ResponseHeaders = ERROR_HEADERS;
  errorBody: Uint8Array = ERROR_BODY;

  // ---- State of the request; leave alone

  environ!: WSGIEnvironment;
  status: Status | undefined = undefined;
  headers!: Headers;
  result: ResponseBody | undefined = undefined;
  headersSent: boolean = false;
  /** Bytes of the body handed to the transport. */
  bytesSent: number = 0;

  private started = false;
  private finished = false;
  private contentLength: number | undefined = undefined;
  private isHead = false;
  private bodyless = false;
  private broken = false;
  private lastSent: Sent = undefined;
  private body: BodyReader | undefined = undefined;
  private disconnectError: unknown = undefined;

  /**
   * Serves the request. Resolves when the response has been handed over, also if
   * the application failed or the client left; rejects only if reporting the
   * failure failed, too.
   */
  async run(application: WSGIApplication): Promise<void> {
    this.started = false;
    this.finished = false;
    this.lastSent = undefined;
    try {
      this.setupEnviron();
      // The application may change environ; what the client asked stays what it was.
      this.isHead = this.environ.REQUEST_METHOD === 'HEAD';
      this.result = await application(this.environ, this.startResponse.bind(this));
      await this.finishResponse();
    } catch (error) {
      // A client that has left is no fault, and there is nobody to tell.
      if (this.isDisconnect(error)) return this.close();
      try {
        await this.handleError(error);
      } catch (failure) {
        await this.close();
        if (!this.isDisconnect(failure)) throw failure;
      }
    }
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
    if (this.originServer && this.serverSoftware !== undefined) {
      environ.SERVER_SOFTWARE ??= this.serverSoftware;
    }
  }

  /** `http` or `https`, as environ has it. */
  getScheme(): string {
    return guessScheme(this.environ);
  }

  /** What the application calls to begin its response. */
  startResponse(status: Status, headers: ResponseHeaders, error?: unknown): Write {
    if (this.finished) throw new Error('startResponse() was called after the response had ended');
    if (error !== undefined && error !== null) {
      // Too late to answer something else: the application must not go on.
      if (this.headersSent) throw error;
    } else if (this.started) {
      throw new Error(
        'startResponse() was called a second time; only an error may replace the first: ' +
          'pass the caught error as third argument',
      );
    }
    // Also a call that is about to fail counts as the first.
    this.started = true;
    checkStatus(status);
    checkHeaders(headers);
    this.status = status;
    // A copy, down to the pairs: the list may be the application's constant, used for
    // every request, and what has been checked must not change afterwards.
    this.headers = new this.headersClass(headers.map(([name, value]) => [name, value]));
    return this.write.bind(this);
  }

  /** Sends the body, unless it is a file that `sendfile` takes, and closes it. */
  async finishResponse(): Promise<void> {
    try {
      this.body = new BodyReader(this.result as ResponseBody, (error) => this.reportClosing(error));
      if (this.disconnectError !== undefined) throw this.disconnectError;
      if (!this.resultIsFile() || !(await this.sendfile())) {
        await this.sendBody(this.body);
      }
      if (this.lastSent !== undefined) await this.lastSent;
      await this.finishContent();
    } catch (error) {
      await this.body?.end();
      // The body was closed under whatever was at work: how that failed says nothing.
      throw this.disconnectError ?? error;
    }
    await this.close();
  }

  /**
   * Sends one chunk: what the body yields, and what the application writes. The
   * first one that is not empty takes the head with it. When the result settles,
   * the transport is ready for more.
   */
  write(data: Uint8Array): Sent {
    checkChunk(data);
    if (this.disconnectError !== undefined) throw this.disconnectError;
    // The body's close(), and whoever kept write(), come too late.
    if (this.status === undefined || this.finished) {
      throw new Error(
        'there is no response to send this chunk with: startResponse() comes before the first ' +
          'chunk, and nothing comes after the end',
      );
    }
    if (data.length === 0) return this.guard(() => this._flush());

    const head = this.headersSent ? undefined : this.sendHeadFor(data);
    if (this.bodyless) return this.keep(head);
    const room = (this.contentLength ?? Infinity) - this.bytesSent;
    const fitting = data.length > room ? data.subarray(0, room) : data;
    this.bytesSent += fitting.length;
    const body = fitting.length === 0 ? undefined : this.guard(() => this.transmit(fitting));
    const sent = this.keep(whenBoth(head, body));
    // Of a file, the first Content-Length bytes are meant.
    if (fitting !== data && !this.resultIsFile()) {
      throw new Error(`the body is longer than its Content-Length of ${this.contentLength} bytes`);
    }
    return sent;
  }

  /** Whether a file wrapper came back as the application's result. */
  resultIsFile(): boolean {
    return this.wsgiFileWrapper !== undefined && this.result instanceof FileWrapper;
  }

  /**
   * Override to send `this.result`, a FileWrapper, in a way that the platform is
   * good at, and return true. Here it returns false: the file is sent by blocks.
   */
  sendfile(): boolean | Promise<boolean> {
    return false;
  }

  /** Called after the body's last chunk; sends the head if no chunk did. */
  finishContent(): Sent {
    if (this.status === undefined) {
      throw new Error('the application ended without calling startResponse()');
    }
    const sent = this.headersSent ? undefined : this.guard(() => this.sendHeaders());
    return sent === undefined ? this.checkLength() : sent.then(() => this.checkLength());
  }

  /** Sends the head. Override for a transport that makes heads itself. */
  sendHeaders(): Sent {
    this.prepareHead();
    // An HTTP/0.9 response is the body alone.
    if (this.originServer && !this.clientIsModern()) return undefined;
    return whenBoth(this.sendPreamble(), this._write(this.headers.toBytes()));
  }

  /** Sends the first line and, to a client, Date and Server. */
  sendPreamble(): Sent {
    if (!this.originServer) return this._write(encodeLatin1(`Status: ${this.status}\r\n`));
    let preamble = `HTTP/${this.httpVersion} ${this.status}\r\n`;
    if (!this.headers.has('Date')) preamble += `Date: ${formatDateTime(Date.now())}\r\n`;
    if (this.serverSoftware !== undefined && !this.headers.has('Server')) {
      preamble += `Server: ${this.serverSoftware}\r\n`;
    }
    return this._write(encodeLatin1(preamble));
  }

  /** Called once before the head is sent: adds and removes what the head must have. */
  cleanupHeaders(): void {
    const code = this.status?.slice(0, 3);
    if (code === '204') this.headers.delete('Content-Length');
    else if (code === '205') this.headers.set('Content-Length', '0');
    else if (code !== '304' && !this.headers.has('Content-Length')) this.setContentLength();
  }

  /** Sets Content-Length where it is known: no chunk, or one. */
  setContentLength(): void {
    if (this.bytesSent > 0) {
      if (countChunks(this.result) === 1)
        this.headers.set('Content-Length', String(this.bytesSent));
    } else if (!this.isHead) {
      // No body to a HEAD says nothing of what a GET would get.
      this.headers.set('Content-Length', '0');
    }
  }

  /** Whether the client knows of heads: all but HTTP/0.9 do. */
  clientIsModern(): boolean {
    return this.environ.SERVER_PROTOCOL?.toUpperCase() !== 'HTTP/0.9';
  }

  /** Whether all that may be sent has been sent, so that no chunk need be asked for. */
  isComplete(): boolean {
    return this.headersSent && (this.bodyless || this.bytesSent === this.contentLength);
  }

  /** Answers an error, if it is not too late for that. */
  async handleError(error: unknown): Promise<void> {
    const reason = error ?? new Error(`the application threw ${describe(error)}`);
    this.logException(reason);
    if (!this.headersSent) {
      this.result = this.errorOutput(this.environ, this.startResponse.bind(this), reason);
      await this.finishResponse();
    } else if (this.isComplete() && !this.broken) {
      await this.close();
    } else {
      this.finished = true;
      this._abort();
    }
  }

  /** Writes the trace to the error stream. */
  logException(error: unknown): void {
    const stderr = this.getStderr();
    stderr.write(formatException(error, this.tracebackLimit));
    stderr.flush();
  }

  /**
   * A small application of its own: the answer when the application has failed.
   * Override for another page; what it must not do is show the error to a client.
   */
  errorOutput(
    _environ: WSGIEnvironment,
    startResponse: StartResponse,
    error: unknown,
  ): ResponseBody {
    startResponse(this.errorStatus, [...this.errorHeaders], error);
    return [this.errorBody];
  }

  /** Closes the body and forgets the response. */
  async close(): Promise<void> {
    this.finished = true;
    await this.body?.end();
    this.result = undefined;
    this.status = undefined;
    this.headersSent = false;
    this.bytesSent = 0;
  }

  /**
   * For the transport to call when the client has left: stops the iteration and
   * closes the body at once, even if the application still waits for something.
   */
  disconnect(): void {
    this.disconnectError ??= Object.assign(new Error('the client has closed the connection'), {
      code: 'ECONNRESET',
    });
    void this.body?.end();
  }

  /** Whether `error` only says that the client has left. */
  isDisconnect(error: unknown): boolean {
    return this.disconnectError !== undefined && isCausedBy(error, this.disconnectError);
  }

  // Each chunk goes out before the next is asked for: the application may take
  // long to make it. (PEP 3333, "Buffering and Streaming")
  private async sendBody(body: BodyReader): Promise<void> {
    while (!this.isComplete()) {
      // The client may have left while the last chunk was on its way.
      if (this.disconnectError !== undefined) throw this.disconnectError;
      const next = body.next();
      const { done, value } = next instanceof Promise ? await next : next;
      if (done) return;
      const sent = this.write(value);
      if (sent !== undefined) await sent;
    }
  }

  private transmit(data: Uint8Array): Sent {
    return whenBoth(this._write(data), this._flush());
  }

  // An application need not await write(). What fails then is told at the end, and
  // must not end the process before, as a rejection that nobody handles would.
  private keep(sent: Sent): Sent {
    if (sent === undefined) return undefined;
    sent.catch(() => {});
    this.lastSent = sent;
    return sent;
  }

  // The head may need the length of the one chunk there is.
  private sendHeadFor(chunk: Uint8Array): Sent {
    this.bytesSent = chunk.length;
    const sent = this.guard(() => this.sendHeaders());
    this.bytesSent = 0;
    return sent;
  }

  /** What every `sendHeaders` does first: the headers are final, and count as sent. */
  protected prepareHead(): void {
    this.cleanupHeaders();
    this.headersSent = true;
    const code = this.status?.slice(0, 3) ?? '';
    this.bodyless = this.isHead || ['204', '205', '304'].includes(code);
    const length = this.headers.get('Content-Length');
    this.contentLength = length === undefined ? undefined : Number(length);
  }

  private checkLength(): void {
    const { contentLength, bytesSent } = this;
    if (contentLength !== undefined && bytesSent < contentLength && !this.bodyless) {
      throw new Error(
        `the body ended after ${bytesSent} bytes; its Content-Length says ${contentLength}`,
      );
    }
  }

  // An error in closing must neither hide the one that ended the request nor undo
  // a response that is already complete.
  private reportClosing(error: unknown): void {
    if (!this.isDisconnect(error)) this.logException(error);
  }

  // Only the transport can know that the client has left: the same error out of
  // the application may come from a connection of its own.
  private guard(step: () => Sent): Sent {
    try {
      return step()?.catch((error: unknown) => this.noteBroken(error));
    } catch (error) {
      return this.noteBroken(error);
    }
  }

  private noteBroken(error: unknown): never {
    this.broken = true;
    if (isConnectionError(error)) this.disconnectError ??= error;
    throw error;
  }

  // ---- The transport: a subclass must supply these

  /** Puts CGI variables into `this.environ`. */
  abstract addCgiVars(): void;

  /** The stream to be `wsgi.input`. */
  abstract getStdin(): InputStream;

  /** The stream to be `wsgi.errors`. */
  abstract getStderr(): ErrorStream;

  /**
   * Takes bytes for the client, in the order of the calls, and may buffer them. An
   * error whose `code` is EPIPE, ECONNRESET or ECONNABORTED says the client left.
   */
  abstract _write(data: Uint8Array): Sent;

  /** Sends what `_write` may have buffered. */
  abstract _flush(): Sent;

  /** Breaks the connection off, so that a client sees that its response is not whole. */
  _abort(): void {}
}

/** Settles when both have; at once if there is nothing to wait for. */
function whenBoth(first: Sent, second: Sent): Sent {
  if (first === undefined) return second;
  if (second === undefined) return first;
  return Promise.all([first, second]).then(() => undefined);
}

function wrapFile(file: FileLike, blockSize?: number): FileWrapper {
  return new FileWrapper(file, blockSize);
}

// Python asks len(); here an array says so in `length`, a Set in `size`.
function countChunks(result: ResponseBody | undefined): number | undefined {
  if (result instanceof Set) return result.size;
  const length = property(result, 'length');
  return typeof length === 'number' ? length : undefined;
}

function isConnectionError(error: unknown): boolean {
  const code = property(error, 'code');
  return code === 'EPIPE' || code === 'ECONNRESET' || code === 'ECONNABORTED';
}
