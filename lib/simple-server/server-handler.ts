// The last step before the socket: gives status, headers and chunks to `node:http`, which
// frames them.
//
// Mirrors wsgiref.simple_server.ServerHandler.

import cluster from 'node:cluster';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { isCausedBy } from '../handlers/exception.ts';
import { formatDateTime } from '../handlers/head.ts';
import { reportError } from '../handlers/log.ts';
import { SimpleHandler } from '../handlers/simple.ts';
import { DONE, type Sent } from '../handlers/wait.ts';
import type { ErrorStream, InputStream, WSGIApplication, WSGIEnvironment } from '../types.ts';
import { FileWrapper } from '../util.ts';
import { HTTPConnection, cutResponse } from './connection.ts';

/** The part of a request handler that logs a request at its end. */
export interface RequestLog {
  /** The handler that serves the request; the connection reaches it here. */
  handler?: ServerHandler | undefined;
  /** Whether the request has been refused, so that no application may see it. */
  readonly isRefused?: boolean;
  /** Whether the client waits for `100 Continue`, which only this server can send. */
  readonly expectsContinue?: boolean;
  /** The line of the access log, for a response that is not over yet. */
  due?: readonly [code: string, size: number] | undefined;
  /**
   * Logs a request that has been answered.
   *
   * @param code - Three digits, or `-` if the client got no head.
   * @param size - How many bytes of the body were sent.
   */
  logRequest(code: string, size: number): void;
}

// How many chunks may go out before other clients are served.
const CHUNKS_PER_TURN = 16;

const FILE_BLOCK = 128 * 1024;

// Up to this many bytes, a body leaves as text together with the head, which is text:
// Node then makes one write of both, without copying bytes.
const SMALL_BODY = 4096;

/** Runs the application for one request of the server. */
export class ServerHandler extends SimpleHandler {
  static {
    this.prototype.httpVersion = '1.1';
  }

  /** Logs the request at its end. */
  requestHandler: RequestLog | undefined = undefined;

  private readonly request: IncomingMessage;
  private readonly response: ServerResponse;
  private lines: string[] = [];
  private chunks = 0;
  /** The chunks of a response that waits until those before it are over. */
  private held: Uint8Array[] | undefined = undefined;
  /** Whether a response that waits for those before it is complete. */
  isWhole: boolean = false;
  private room: Promise<void> | undefined = undefined;
  private wake: (() => void) | undefined = undefined;

  /**
   * A handler of one request.
   *
   * @param request - The request, as `node:http` gives it.
   * @param response - Takes the response.
   * @param stdin - Becomes `wsgi.input`.
   * @param stderr - Becomes `wsgi.errors`.
   * @param environ - Becomes `environ` itself, not a copy.
   */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    stdin: InputStream,
    stderr: ErrorStream,
    environ: WSGIEnvironment,
  ) {
    super(stdin, response, stderr, environ, false, cluster.isWorker);
    this.request = request;
    this.response = response;
  }

  /**
   * Serves the request. Does not call the application if the client has left, or if the
   * request has been refused.
   */
  override run(application: WSGIApplication): Promise<void> {
    const { socket } = this.request;
    // A subclass of the request handler may not have set `requestHandler`.
    const exchange = this.requestHandler ?? HTTPConnection.of(socket)?.find(this.response);
    if (exchange?.isRefused) return DONE;
    if (socket.destroyed || this.response.destroyed) {
      this.logRequest();
      return DONE;
    }
    if (exchange !== undefined) exchange.handler = this;
    if (exchange?.expectsContinue) this.response.writeContinue();
    return super.run(application);
  }

  // The environ was made for this request, so it need not be copied.
  override addCgiVars(): void {
    this.environ = this.baseEnv as unknown as WSGIEnvironment;
  }

  override sendHeaders(): void {
    const { fields, line } = this.prepareHead();
    const { lines, response } = this;
    this.sendPreamble();
    for (const text of fields) lines.push(text);
    response.sendDate = false;
    const isFirst = response.getHeaderNames().length === 0;
    const head = isFirst ? lines : addToEarlier(response, lines);
    response.writeHead(line.code, line.reason, head);
  }

  /** Begins the head with Date and Server. Unlike Python: Node writes the first line. */
  override sendPreamble(): void {
    const { head, lines, serverSoftware } = this;
    if (!head?.hasDate) lines.push('Date', currentDate());
    if (serverSoftware !== undefined && !head?.hasServer) lines.push('Server', serverSoftware);
  }

  override _write(data: Uint8Array): void {
    if (this.response.socket === null) this.hold().push(data);
    else this.send(data, this.isComplete());
  }

  // Node would keep the chunks, too. But it stops reading meanwhile, and nobody would see that
  // the client leaves.
  private hold(): Uint8Array[] {
    if (this.held === undefined) {
      this.held = [];
      this.response.once('socket', this.sendHeld.bind(this));
    }
    return this.held;
  }

  private mayHoldMore(): boolean {
    return this.isComplete() || this.bytesSent < this.response.writableHighWaterMark;
  }

  private sendHeld(): void {
    const { held = [], isWhole, response } = this;
    const isDropped = held.length === 0 && !isWhole;
    if (response.destroyed || isDropped) return;
    this.held = undefined;
    const last = isWhole ? held.pop() : undefined;
    for (const chunk of held) this.send(chunk, false);
    if (last !== undefined) this.send(last, true);
    else if (isWhole) response.end();
  }

  private send(data: Uint8Array, isLast: boolean): void {
    const { response } = this;
    // The last chunk and the end of the response leave together.
    if (isLast) {
      if (data.length > SMALL_BODY) response.end(data);
      else response.end(asText(data), 'latin1');
      return;
    }
    // The chunks of an array are there already, and leave together. But a generator may work
    // for long before it yields again. Node corks the socket until the running code is done,
    // unless the socket is corked already.
    const { socket } = response;
    const isFirst = socket?.writableCorked === 0;
    socket?.cork();
    response.write(data);
    if (isFirst && Array.isArray(this.result)) process.nextTick(uncork, socket);
    else socket?.uncork();
  }

  override _flush(): Sent {
    const { held, response } = this;
    if (response.writableEnded) return undefined;
    if (held !== undefined) return this.mayHoldMore() ? undefined : this.until('socket');
    if (response.writableNeedDrain) return this.until('drain');
    this.chunks += 1;
    return this.chunks % CHUNKS_PER_TURN === 0 ? nextTurn() : undefined;
  }

  override _end(): void {
    if (this.response.writableEnded) return;
    if (this.response.socket === null) {
      this.isWhole = true;
      this.hold();
    } else this.response.end();
  }

  override _abort(): void {
    this.logRequest();
    const { response } = this;
    const { socket } = response;
    if (socket === null) {
      this.dropHeld();
      return cutResponse(response);
    }
    // The bytes that have been written should arrive, even the head alone. Where Node
    // refused the head there is none, and Node would make one up.
    if (response.headersSent) response.flushHeaders();
    while (socket.writableCorked) socket.uncork();
    // If the end of the connection marks the end of the body, a normal close would look like a
    // complete body.
    const isDelimited = response.chunkedEncoding || this.head?.contentLength !== undefined;
    if (isDelimited) cutResponse(response);
    else if ('encrypted' in socket) response.destroy();
    else socket.resetAndDestroy();
  }

  /** Sends an open file by large blocks: each block is a trip to the disk. */
  override async sendfile(): Promise<boolean> {
    if (!(this.result instanceof FileWrapper)) return false;
    const { handle, blockSize } = this.result;
    if (handle === undefined) return false;
    for await (const block of new FileWrapper(handle, Math.max(blockSize, FILE_BLOCK))) {
      await this.write(block);
      if (this.isComplete()) break;
    }
    return true;
  }

  override close(): Promise<void> {
    this.logRequest();
    return super.close();
  }

  override disconnect(error?: unknown): void {
    super.disconnect(error);
    this.dropHeld();
    this.wake?.();
  }

  // Nothing was sent of a response that waits for its turn, and nothing will be.
  private dropHeld(): void {
    if (this.held !== undefined) this.held = [];
  }

  /** Gives up the request because another response is being sent. Nothing is logged. */
  abandon(): void {
    this.requestHandler = undefined;
    this.disconnect();
  }

  // A body that breaks off in the middle says that the client has left, too.
  override isDisconnect(error: unknown): boolean {
    const { errored } = this.request;
    return super.isDisconnect(error) || (errored !== null && isCausedBy(error, errored));
  }

  private logRequest(): void {
    const code = (this.headersSent ? this.head?.line.digits : undefined) ?? '-';
    const { request, requestHandler, response, bytesSent } = this;
    const hasTurn = response.socket !== null || response.writableFinished;
    if (hasTurn && this.held === undefined) this.log(code, bytesSent);
    else if (request.socket.destroyed || response.destroyed) this.log('-', 0);
    else if (requestHandler !== undefined) {
      requestHandler.due = [code, bytesSent];
      this.requestHandler = undefined;
    }
  }

  // Once for each request. A log that fails must not change the response.
  private log(code: string, size: number): void {
    const { requestHandler } = this;
    this.requestHandler = undefined;
    try {
      requestHandler?.logRequest(code, size);
    } catch (error) {
      reportError(error);
    }
  }

  // All waiting writes share one promise: an application need not await each of them.
  private until(event: 'drain' | 'socket'): Promise<void> {
    this.room ??= new Promise((resolve) => {
      this.wake = () => {
        this.room = undefined;
        resolve();
      };
      this.response.once(event, this.wake);
    });
    return this.room;
  }
}

// Merges with headers that an earlier middleware has set. The application's headers replace
// them, except Set-Cookie and Vary. Framing headers of the middleware are removed. (Node by
// itself would replace all of them, and Node 20 would send one of several with the same name.)
function addToEarlier(response: ServerResponse, lines: readonly string[]): [] {
  const names = ['content-length', 'transfer-encoding', 'connection', 'keep-alive', 'trailer'];
  for (let index = 0; index < lines.length; index += 2) names.push(lines[index] as string);
  for (const name of names) {
    // Node frames no body after its framing headers were removed, even if there were none.
    if (response.hasHeader(name) && !/^(?:set-cookie|vary)$/i.test(name)) {
      response.removeHeader(name);
    }
  }
  for (let index = 0; index < lines.length; index += 2) {
    response.appendHeader(lines[index] as string, lines[index + 1] as string);
  }
  return [];
}

// The date shows seconds, so one text serves all responses of a second. Even to read the
// clock takes time.
let date: string | undefined;

function currentDate(): string {
  if (date === undefined) {
    const now = Date.now();
    date = formatDateTime(now);
    setTimeout(() => (date = undefined), 1000 - (now % 1000)).unref();
  }
  return date;
}

function asText(data: Uint8Array): string {
  const { buffer, byteOffset, length } = data;
  const bytes = Buffer.isBuffer(data) ? data : Buffer.from(buffer, byteOffset, length);
  return bytes.toString('latin1');
}

function uncork(socket: Socket): void {
  socket.uncork();
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
