// The last station before the socket: gives status, headers and chunks to
// `node:http`, which frames them, and tells the protocol when the client leaves.
//
// Mirrors wsgiref.simple_server.ServerHandler.

import cluster from 'node:cluster';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { SimpleHandler, formatDateTime } from '../handlers.ts';
import type { Sent } from '../handlers/base.ts';
import { isCausedBy } from '../handlers/exception.ts';
import type { ErrorStream, InputStream, WSGIEnvironment } from '../types.ts';
import { FileWrapper } from '../util.ts';

/** Who is told of a request that has been served. */
export interface RequestLog {
  logRequest(code: string, size: number): void;
}

// How many chunks may go out before other clients are looked after.
const CHUNKS_PER_TURN = 16;

const FILE_BLOCK = 128 * 1024;

/** Runs the application for one request of the server. */
export class ServerHandler extends SimpleHandler {
  override httpVersion: string = '1.1';
  /** Logs the request at its end. */
  requestHandler: RequestLog | undefined = undefined;

  private readonly request: IncomingMessage;
  private readonly response: ServerResponse;
  private readonly head: string[] = [];
  private chunks = 0;
  private draining: Promise<void> | undefined = undefined;
  private wake: (() => void) | undefined = undefined;

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

  // The environ was made for this request, so it need not be copied.
  override addCgiVars(): void {
    this.environ = this.baseEnv as unknown as WSGIEnvironment;
  }

  override sendHeaders(): void {
    this.prepareHead();
    this.sendPreamble();
    for (const [name, value] of this.headers) this.head.push(name, value);
    const status = this.status ?? '';
    const { response } = this;
    response.sendDate = false;
    const head = response.getHeaderNames().length > 0 ? this.addHead() : this.head;
    response.writeHead(Number(status.slice(0, 3)), status.slice(4), head);
  }

  /** Begins the head with Date and Server. Unlike Python: Node writes the first line. */
  override sendPreamble(): void {
    if (!this.headers.has('Date')) this.head.push('Date', formatDateTime(Date.now()));
    if (this.serverSoftware !== undefined && !this.headers.has('Server')) {
      this.head.push('Server', this.serverSoftware);
    }
  }

  override finishContent(): void {
    super.finishContent();
    if (!this.response.writableEnded) this.response.end();
  }

  override _write(data: Uint8Array): void {
    const { response } = this;
    // The last chunk and the end of the response leave together.
    if (this.isComplete()) {
      response.end(data);
      return;
    }
    // Left to itself, Node holds back what is written until the code at work is
    // done, and a generator may work for long before it yields again. It leaves
    // alone what somebody else has corked.
    const { socket } = response;
    socket?.cork();
    response.write(data);
    socket?.uncork();
  }

  override _flush(): Sent {
    const { response } = this;
    if (response.writableEnded) return undefined;
    if (response.writableNeedDrain) return this.drained();
    this.chunks += 1;
    return this.chunks % CHUNKS_PER_TURN === 0 ? nextTurn() : undefined;
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

  override _abort(): void {
    this.logRequest();
    // What has been sent should arrive, be it the head alone. Where Node refused the
    // head there is none, and it would make one up.
    if (this.response.headersSent) this.response.flushHeaders();
    this.response.destroy();
  }

  override close(): Promise<void> {
    this.logRequest();
    return super.close();
  }

  override disconnect(): void {
    super.disconnect();
    this.wake?.();
  }

  // A body that breaks off in the middle is the client's leaving, too.
  override isDisconnect(error: unknown): boolean {
    const { errored } = this.request;
    return super.isDisconnect(error) || (errored !== null && isCausedBy(error, errored));
  }

  // A middleware before this application may have set headers. Ours replace them, but
  // for those of which each has its own. Left to itself, Node replaces these as well,
  // and Node 20 sends one alone where we have several of a name.
  private addHead(): [] {
    const pairs: Array<[name: string, value: string]> = [];
    for (let index = 0; index < this.head.length; index += 2) {
      pairs.push([this.head[index] ?? '', this.head[index + 1] ?? '']);
    }
    for (const [name] of pairs) {
      if (!/^(?:set-cookie|vary)$/i.test(name)) this.response.removeHeader(name);
    }
    for (const [name, value] of pairs) this.response.appendHeader(name, value);
    return [];
  }

  private logRequest(): void {
    this.requestHandler?.logRequest(this.status?.slice(0, 3) ?? '-', this.bytesSent);
  }

  // All who wait, wait for the same: an application need not await each write().
  private drained(): Promise<void> {
    this.draining ??= new Promise((resolve) => {
      this.wake = () => {
        this.draining = undefined;
        resolve();
      };
      this.response.once('drain', this.wake);
    });
    return this.draining;
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
