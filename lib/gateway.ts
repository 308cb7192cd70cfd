// A server for SCGI or uwsgi, the protocols in which nginx and Apache speak to application
// servers. Each connection carries one request. handlers/gateway.ts reads its head; from
// then on, it is a CGI program that does not end.

import { type ListenOptions, Server, type Socket } from 'node:net';

import { describe } from './describe.ts';
import { ClientLeft, checkApplication } from './handlers/base.ts';
import {
  GatewayError,
  type GatewayHead,
  type GatewayProtocol,
  readGatewayHead,
} from './handlers/gateway.ts';
import { quoteRequest, standardError, writeLog } from './handlers/log.ts';
import { type Sent, isWaiting } from './handlers/wait.ts';
import { BaseCGIHandler } from './handlers.ts';
import { StreamInput } from './io.ts';
import { encodeLatin1 } from './latin1.ts';
import { RefusedRequest } from './request.ts';
import { Connection, OpenConnections, closeGently } from './simple-server/connection.ts';
import type { ErrorStream, WSGIApplication } from './types.ts';

export type { GatewayProtocol } from './handlers/gateway.ts';

/** Where a gateway server listens: a port of a host, or a Unix socket. */
export type GatewayAddress = { host: string; port: number } | { path: string };

/** How a gateway server behaves. */
export interface GatewaySettings {
  /** The most bytes of a request's variables. Default 65536. */
  maxHeaderSize?: number;
  /** Milliseconds for the variables to arrive. Default 60000. */
  headersTimeout?: number;
  /** Makes `wsgi.errors` of a request. Default: standard error. */
  makeErrors?: () => ErrorStream;
  /** Is given the client's address and a line of the access log. Default: standard error. */
  log?: (address: string, message: string) => void;
}

/**
 * Makes a server for `app` that speaks SCGI or uwsgi, and begins to listen at once.
 *
 * @param protocol - `scgi` or `uwsgi`.
 * @param address - `{ host, port }`, or `{ path }` for a Unix socket.
 * @param app - The application, for every request.
 * @param settings - Limits, and where reports go.
 * @throws TypeError if `app` is not a function, or `protocol` is unknown, and RangeError for
 *   a port that cannot be one.
 *
 * @example
 * await makeGatewayServer('scgi', { host: '127.0.0.1', port: 4000 }, app).serveForever();
 */
export function makeGatewayServer(
  protocol: GatewayProtocol,
  address: GatewayAddress,
  app: WSGIApplication,
  settings: GatewaySettings = {},
): GatewayServer {
  return new GatewayServer(protocol, address, app, settings);
}

/** A server for SCGI or uwsgi. */
export class GatewayServer extends Server {
  /** The protocol that the server speaks. */
  readonly protocol: GatewayProtocol;
  /** The application, for every request. */
  readonly application: WSGIApplication;
  /** The settings, with the defaults of those that were not given. */
  readonly settings: Required<GatewaySettings>;
  /** Resolves once bound; rejects if that failed. */
  readonly ready: Promise<void>;
  private readonly open = new OpenConnections<GatewayConnection>();
  private readonly closed: Promise<void>;

  /**
   * A server for SCGI or uwsgi that begins to listen at once.
   *
   * @param protocol - `scgi` or `uwsgi`.
   * @param address - `{ host, port }`, or `{ path }` for a Unix socket.
   * @param app - The application, for every request.
   * @param settings - Limits, and where reports go.
   * @throws TypeError if `app` is not a function or `protocol` is unknown, and RangeError for
   *   a port that cannot be one.
   */
  constructor(
    protocol: GatewayProtocol,
    address: GatewayAddress,
    app: WSGIApplication,
    settings: GatewaySettings = {},
  ) {
    checkApplication(app);
    checkProtocol(protocol);
    super();
    this.protocol = protocol;
    this.application = app;
    this.settings = {
      maxHeaderSize: 65536,
      headersTimeout: 60_000,
      makeErrors: standardError,
      log: writeLog,
      ...settings,
    };
    this.on('connection', (socket: Socket) => {
      this.open.add(new GatewayConnection(socket, this, this.open));
    });
    // Applications may still work when the connections are closed.
    this.closed = new Promise<void>((resolve) => this.once('close', resolve))
      .then(() => this.open.emptied());
    this.ready = new Promise((resolve, reject) => {
      this.on('error', (error) => {
        // Once bound, it is a connection that could not be accepted: the others go on.
        if (this.listening) this.settings.log('-', error.message);
        else reject(error);
      });
      this.on('listening', resolve);
    });
    this.listen(address as ListenOptions);
  }

  /**
   * Serves until `shutdown()` is called or `signal` aborts, and resolves then.
   *
   * @param options - `signal`: an AbortSignal that shuts the server down.
   * @throws The promise rejects if binding failed.
   */
  async serveForever({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    await this.ready;
    const stop = (): void => void this.shutdown();
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
    await this.closed;
    signal?.removeEventListener('abort', stop);
  }

  /** Stops accepting, lets the requests under way finish, and closes the other connections. */
  async shutdown(): Promise<void> {
    await this.ready;
    this.close();
    for (const connection of this.open) connection.finish();
    await this.closed;
  }

  /** `await using server = makeGatewayServer(…)` shuts the server down at the block's end. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }
}

function checkProtocol(protocol: unknown): void {
  if (protocol === 'scgi' || protocol === 'uwsgi') return;
  throw new TypeError(`a gateway server speaks 'scgi' or 'uwsgi', not ${describe(protocol)}`);
}

/** A connection that speaks SCGI or uwsgi. It has one request. */
class GatewayConnection extends Connection<GatewayHandler> {
  private readonly server: GatewayServer;
  private readonly open: OpenConnections<GatewayConnection>;
  private readonly timer: NodeJS.Timeout;
  private received: Uint8Array = new Uint8Array(0);
  private body: Body | undefined = undefined;

  constructor(
    socket: Socket,
    server: GatewayServer,
    open: OpenConnections<GatewayConnection>,
  ) {
    super(socket);
    this.server = server;
    this.open = open;
    const { headersTimeout } = server.settings;
    this.timer = setTimeout(() => {
      this.refuse(`the head did not arrive within ${headersTimeout} ms`);
    }, headersTimeout);
    socket.on('data', (data: Uint8Array) => this.take(data));
    socket.on('end', () => this.end());
    socket.on('close', () => this.closed());
    // The reason is of no use: the client has left.
    socket.on('error', () => {});
  }

  override lose(): void {
    clearTimeout(this.timer);
    super.lose();
  }

  protected override leave(handler: GatewayHandler): void {
    const departure = new ClientLeft();
    this.body?.end(departure);
    handler.disconnect(departure);
  }

  protected override isGone(): void {
    this.open.delete(this);
  }

  private take(data: Uint8Array): void {
    if (this.body !== undefined) return this.body.push(data);
    this.received = Buffer.concat([this.received, data]);
    try {
      const { protocol, settings } = this.server;
      const head = readGatewayHead(protocol, this.received, settings.maxHeaderSize);
      if (head !== undefined) this.serve(head);
    } catch (error) {
      if (!(error instanceof GatewayError || error instanceof RefusedRequest)) throw error;
      this.refuse(error.message);
    }
  }

  private serve({ variables, size, contentLength }: GatewayHead): void {
    clearTimeout(this.timer);
    this.body = new Body(this.socket, contentLength);
    this.body.push(this.received.subarray(size));
    const input = new StreamInput(this.body, contentLength);
    const { protocol, settings } = this.server;
    const handler = new GatewayHandler(input, this.socket, settings.makeErrors(), variables);
    handler.log = settings.log;
    handler.hasStatusLine = protocol === 'uwsgi';
    this.begin(handler);
  }

  // A server in front may send the whole body before it reads the response.
  protected override handle(handler: GatewayHandler): Promise<void> {
    const discard = (): void => this.body?.discard();
    const handled = handler.run(this.server.application);
    if (isWaiting(handled)) return handled.finally(discard);
    discard();
    return handled;
  }

  protected override abort(handler: GatewayHandler): void {
    handler._abort();
  }

  // A client that closes its side has left, as with HTTP.
  private end(): void {
    if (this.body === undefined && this.received.length > 0 && !this.socket.destroyed) {
      this.refuse(`the connection ended after ${this.received.length} bytes of the head`);
    }
    this.lose();
  }

  private refuse(reason: string): void {
    clearTimeout(this.timer);
    this.log(`not a request of ${this.server.protocol}: ${reason}`);
    this.cut();
  }

  private log(message: string): void {
    this.server.settings.log(this.socket.remoteAddress ?? '-', message);
  }
}

/** How many bytes of a body may wait for the application. */
const MOST_WAITING = 65536;

/** The bytes behind a head, as they arrive. */
class Body implements AsyncIterable<Uint8Array> {
  private readonly socket: Socket;
  private readonly length: number;
  /** Bytes that have not arrived yet. */
  private missing: number;
  private readonly waiting: Uint8Array[] = [];
  private size = 0;
  private departure: ClientLeft | undefined = undefined;
  private wake: () => void = () => {};

  constructor(socket: Socket, length: number) {
    this.socket = socket;
    this.length = length;
    this.missing = length;
  }

  push(data: Uint8Array): void {
    const fitting = data.subarray(0, this.missing);
    this.missing -= fitting.length;
    if (fitting.length > 0) this.waiting.push(fitting);
    this.size += fitting.length;
    if (this.size > MOST_WAITING && this.missing > 0) this.socket.pause();
    this.wake();
  }

  /** Called when the client has left. */
  end(departure: ClientLeft): void {
    this.departure = departure;
    this.wake();
  }

  /** Drops the bytes that are there, and those that still come. */
  discard(): void {
    this.missing = 0;
    this.waiting.length = 0;
    this.socket.resume();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    while (true) {
      const data = this.waiting.shift();
      if (data !== undefined) {
        this.size -= data.length;
        if (this.size <= MOST_WAITING) this.socket.resume();
        yield data;
      } else if (this.missing === 0) return;
      else if (this.departure !== undefined) throw this.brokenOff(this.departure);
      else await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  // The cause says that this is not an error of the application.
  private brokenOff(cause: ClientLeft): Error {
    const received = this.length - this.missing;
    const reason = `the request's body ended after ${received} of ${this.length} bytes`;
    return new Error(reason, { cause });
  }
}

/** Runs the application for one request, with a connection in place of standard output. */
class GatewayHandler extends BaseCGIHandler {
  log: Required<GatewaySettings>['log'] = writeLog;
  /** Whether the response begins as in HTTP. nginx passes on a `Status:` that came by uwsgi. */
  hasStatusLine = false;
  private readonly socket: Socket;
  private isLogged = false;

  constructor(
    stdin: StreamInput,
    socket: Socket,
    stderr: ErrorStream,
    variables: Record<string, string>,
  ) {
    super(stdin, socket, stderr, variables, false, false);
    this.socket = socket;
  }

  override sendPreamble(): Sent {
    if (!this.hasStatusLine) return super.sendPreamble();
    return this._write(encodeLatin1(`HTTP/1.1 ${this.status}\r\n`));
  }

  override _end(): void {
    this.logRequest();
    closeGently(this.socket);
  }

  // A normal close would look like a complete response, so the connection is reset. A Unix
  // socket cannot be reset: without a Content-Length, the server in front takes the response
  // for a complete one.
  override _abort(): void {
    this.logRequest();
    const { socket } = this;
    if (socket.remoteAddress === undefined) socket.destroy();
    else socket.resetAndDestroy();
  }

  override close(): Promise<void> {
    this.logRequest();
    return super.close();
  }

  private logRequest(): void {
    if (this.isLogged) return;
    this.isLogged = true;
    const variables = this.baseEnv as Record<string, string | undefined>;
    const { REQUEST_METHOD, REQUEST_URI = '', SERVER_PROTOCOL, REMOTE_ADDR = '-' } = variables;
    const request = quoteRequest(REQUEST_METHOD, REQUEST_URI, SERVER_PROTOCOL);
    const code = (this.headersSent && this.head?.line.digits) || '-';
    this.log(REMOTE_ADDR, `${request} ${code} ${this.bytesSent || '-'}`);
  }
}
