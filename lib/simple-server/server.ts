// The server's life: bind, serve, shut down. Parsing and framing are Node's; what happens
// on a connection is in connection.ts.
//
// Mirrors wsgiref.simple_server.WSGIServer.

import { IncomingMessage, Server, type ServerOptions, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { hostname } from 'node:os';
import type { TlsOptions } from 'node:tls';

import { describe } from '../describe.ts';
import { checkApplication } from '../handlers/base.ts';
import { type BaseEnviron, type RefusedRequest, makeBaseEnviron } from '../request.ts';
import { reportError, writeToStderr } from '../handlers/log.ts';
import type { WSGIApplication } from '../types.ts';
import { type Admission, HTTPConnection, OpenConnections, destroySoon } from './connection.ts';
import { type ParserError, isEnd, refusalOf, refuseLate, refuseTunnel } from './refusal.ts';
import { WSGIRequestHandler } from './request-handler.ts';
import { Handshakes } from './tls.ts';

/** The limits of a server. Each has Node's or Gunicorn's meaning and Node's default. */
export interface ServerLimits {
  /** Connections that may wait to be accepted. Default 511. */
  requestQueueSize?: number;
  /** Connections at one time; more are dropped. Default: no limit. */
  maxConnections?: number;
  /**
   * Bytes of a request's target and of its headers' names and values together; a request
   * with as many or more gets 431. Node does not count the method, the version, spaces and
   * line ends. Default 16384.
   */
  maxHeaderSize?: number;
  /** Milliseconds for a request's head to arrive; later gets 408. Default 60000. */
  headersTimeout?: number;
  /** Milliseconds for a whole request to arrive; later gets 408. Default 300000. */
  requestTimeout?: number;
  /** Milliseconds that an idle connection is kept. Default 5000. */
  keepAliveTimeout?: number;
  /** Requests to serve before the server shuts itself down. Default: no limit. */
  maxRequests?: number;
}

/** The settings of a server, beside its address. */
export interface ServerSettings extends ServerLimits {
  /**
   * Serves HTTPS: the options of Node's `tls.createServer`. `cert` and `key` (PEM), or `pfx`,
   * are required. `handshakeTimeout` is 10000 milliseconds unless given.
   */
  tls?: TlsOptions;
  /**
   * Whether the server listens on its address. Default true. If false, a parent process
   * that listens hands it each connection: `server.emit('connection', socket)`.
   */
  listen?: boolean;
}

/**
 * A server for one application. It begins to bind when it is made; `ready` resolves when it
 * is bound, and rejects if that failed. Requests are served concurrently.
 */
export class WSGIServer extends Server {
  /** The application; undefined before `setApp`. */
  application: WSGIApplication | undefined = undefined;
  /** The variables that are the same for every request. `setupEnviron` makes them. */
  baseEnviron: BaseEnviron;
  /** The host name or address for `SERVER_NAME`. */
  serverName: string;
  /** The port; once bound, the real one, even if 0 was asked for. */
  serverPort: number;
  /** How many connections may wait to be accepted. */
  requestQueueSize: number;
  /**
   * Resolves once bound, or closed before that; rejects if binding failed, with an error
   * that names the address.
   */
  readonly ready: Promise<void>;

  private readonly requestHandlerClass: typeof WSGIRequestHandler;
  private readonly requestedAddress: ServerAddress;
  private readonly limits: ServerLimits;
  private readonly handshakes: Handshakes | undefined;
  private readonly closed: Promise<void>;
  private readonly open = new OpenConnections<HTTPConnection>();
  private readonly admission: Admission;
  private readonly adopts: boolean;
  private stopping = false;
  private hasClosed = false;
  private hasBegunToListen = false;
  private requestsLeft: number;

  // From the first handleRequest() on, each request waits for a call that asks for it,
  // until serveForever() asks for all.
  private onDemand = false;
  private servesForever = false;
  private readonly asked: Array<() => void> = [];
  private readonly served = new Map<WSGIRequestHandler, () => void>();
  private readonly heldBack = new Set<HTTPConnection>();

  /**
   * A server that begins to listen at once. It needs `setApp(app)` before its first request.
   *
   * @param address - Host and port to listen on.
   * @param requestHandlerClass - Serves each request.
   * @param settings - Limits, and the certificate for HTTPS.
   * @throws TypeError or RangeError for a host or port that cannot be one, and an Error for
   *   a certificate and a key that do not belong together
   */
  constructor(
    address: ServerAddress,
    requestHandlerClass: typeof WSGIRequestHandler = WSGIRequestHandler,
    settings: ServerSettings = {},
  ) {
    checkAddress(address);
    const { tls, listen = true, ...limits } = settings;
    super(nodeOptions(limits));
    this.requestHandlerClass = requestHandlerClass;
    this.requestedAddress = address;
    this.limits = limits;
    [this.serverName, this.serverPort] = address;
    this.baseEnviron = makeBaseEnviron(this.serverName, String(this.serverPort));
    this.requestQueueSize = limits.requestQueueSize ?? 511;
    this.requestsLeft = limits.maxRequests ?? Infinity;
    // Node would drop header lines beyond a number; maxHeaderSize is the limit here.
    this.maxHeadersCount = 0;
    if (limits.maxConnections !== undefined) this.maxConnections = limits.maxConnections;

    this.admission = {
      admits: (exchange, connection) => this.admits(exchange, connection),
      refuses: (exchange) => this.assign(exchange),
      begins: () => this.countRequest(),
      isOver: (exchange) => this.release(exchange),
      isGone: (connection) => this.forget(connection),
    };
    this.handshakes = tls && new Handshakes(this, tls);
    this.listenToNode();
    // Node emits `close` before each connection has seen its own `close`.
    this.closed = new Promise<void>((resolve) => this.once('close', resolve))
      .then(() => this.open.emptied())
      .then(() => this.releaseAll());
    this.adopts = !listen;
    this.ready = listen ? this.bind() : this.adopt();
  }

  /** The bound host and port; those asked for, until it is bound. */
  get serverAddress(): ServerAddress {
    const bound = this.address();
    if (bound === null || typeof bound === 'string') return this.requestedAddress;
    return [bound.address, bound.port];
  }

  /** The server's address as a URL, such as `http://127.0.0.1:8000/`; the real port once bound. */
  get url(): string {
    const [host] = this.requestedAddress;
    const isEveryInterface = host === '' || host === '0.0.0.0' || host === '::';
    const name = isEveryInterface ? 'localhost' : host;
    const scheme = this.handshakes === undefined ? 'http' : 'https';
    return `${scheme}://${name.includes(':') ? `[${name}]` : name}:${this.serverPort}/`;
  }

  /** Called once bound: makes `baseEnviron`. An override may add to it. */
  setupEnviron(): void {
    this.baseEnviron = makeBaseEnviron(this.serverName, String(this.serverPort));
  }

  /**
   * The application, for each request.
   *
   * @throws Error if none was set
   */
  getApp(): WSGIApplication {
    if (this.application === undefined) {
      throw new Error('this server has no application yet: call setApp(app)');
    }
    return this.application;
  }

  /**
   * Sets the application.
   *
   * @param application - Serves every request that begins from now on.
   * @throws TypeError if it is not a function, or is a class.
   */
  setApp(application: WSGIApplication): void {
    checkApplication(application);
    this.application = application;
  }

  /**
   * Serves until `shutdown()` is called or `signal` aborts, and resolves then.
   *
   * @param options - `signal`: an AbortSignal that shuts the server down.
   * @throws The promise rejects if binding failed.
   *
   * @example
   * await makeServer('127.0.0.1', 8000, app).serveForever();
   */
  async serveForever({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    const stop = (): void => void this.shutdown();
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      await this.ready;
      this.servesForever = true;
      this.onDemand = false;
      this.proceed();
      await this.closed;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /**
   * Serves one request and resolves when its response is over, or the server is closed. A
   * request that is refused counts, too. From the first call on, requests wait until one of
   * these, or `serveForever`, asks for them. While `serveForever` serves all, it only waits
   * for the next request to be over.
   * Rejects if binding failed.
   */
  async handleRequest(): Promise<void> {
    if (!this.servesForever) this.onDemand = true;
    await this.ready;
    if (this.stopping) return;
    await new Promise<void>((resolve) => {
      this.asked.push(resolve);
      this.proceed();
    });
  }

  /**
   * Stops accepting, lets the requests under way finish, closes each connection as soon as
   * it is idle, and resolves when all are closed. A body that closes more slowly than its
   * connection has half a second for it.
   */
  async shutdown(): Promise<void> {
    await this.stop((connection) => connection.finish());
  }

  /** Stops at once, and cuts the requests under way. */
  async serverClose(): Promise<void> {
    await this.stop((connection) => connection.cut());
  }

  /** `await using server = makeServer(…)` shuts the server down at the end of the block. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  /** Node's form of `shutdown()`: `callback` is called when all is closed. */
  override close(callback?: (error?: Error) => void): this {
    this.stopping = true;
    if (!this.adopts) this.stopAccepting(callback);
    else if (callback !== undefined) this.once('close', callback);
    this.handshakes?.end();
    for (const connection of this.open) connection.finish();
    this.closeIfLast();
    return this;
  }

  /** Closes the connections on which no response is due. */
  override closeIdleConnections(): void {
    for (const connection of this.open) {
      if (connection.isIdle) connection.finish();
    }
  }

  /**
   * Not for applications: the server listens from the moment that it is made.
   *
   * @param args - Those of Node's `listen`.
   * @throws Error if the server has begun to listen before
   */
  override listen(...args: unknown[]): this {
    if (this.hasBegunToListen) {
      throw new Error('this server has its address already, and serves once: make another server');
    }
    this.hasBegunToListen = true;
    return (super.listen as (...args: unknown[]) => this)(...args);
  }

  private bind(): Promise<void> {
    return new Promise((resolve, reject) => {
      const [host, port] = this.requestedAddress;
      this.on('error', (error: NodeJS.ErrnoException) => {
        // Once bound, it is a connection that could not be accepted: the others go on.
        if (this.listening) writeToStderr(`tsgiref: ${error.message}\n`);
        else reject(bindError(error, this.requestedAddress));
      });
      this.listen({ host, port, backlog: this.requestQueueSize }, () => {
        const [address, boundPort] = this.serverAddress;
        this.serverName = nameOf(host, address);
        this.serverPort = boundPort;
        this.setupEnviron();
        resolve();
      });
      // Closed before it was bound: nothing failed.
      this.once('close', resolve);
    });
  }

  private async adopt(): Promise<void> {
    // A subclass may override setupEnviron, and its own fields are not set yet.
    await Promise.resolve();
    const [host] = this.requestedAddress;
    this.serverName = nameOf(host, host);
    this.setupEnviron();
    // Node begins here to watch the time that requests take.
    this.emit('listening');
  }

  // From here on Node does not look for late requests any more.
  private stopAccepting(callback?: (error?: Error) => void): void {
    super.close(callback);
    if (this.requestTimeout === 0) return;
    const timer = setTimeout(() => {
      const refusal = refuseLate(this.limits);
      for (const connection of this.open) connection.breakOff(refusal);
    }, this.requestTimeout);
    // The connections keep the process alive for as long as they are open.
    timer.unref();
    this.once('close', () => clearTimeout(timer));
  }

  private forget(connection: HTTPConnection): void {
    this.open.delete(connection);
    this.heldBack.delete(connection);
    this.closeIfLast();
  }

  // Node counts the connections that it has accepted itself, and only those.
  private closeIfLast(): void {
    if (!this.adopts || !this.stopping || this.open.size > 0 || this.hasClosed) return;
    this.hasClosed = true;
    this.emit('close');
  }

  // Every event of Node that matters to a connection becomes a call to its owner.
  private listenToNode(): void {
    const encrypted = this.handshakes !== undefined;
    const parse = this.handshakes?.parse ?? this.listeners('connection');
    this.on(encrypted ? 'secureConnection' : 'connection', (socket: Socket) => {
      const connection = new HTTPConnection(socket, this.admission);
      this.open.add(connection);
      socket.destroySoon = destroySoon;
      if (this.stopping) connection.finish();
    });
    // Without these listeners, Node answers Expect before the head is checked.
    for (const event of ['request', 'checkContinue', 'checkExpectation']) {
      this.on(event, (request: IncomingMessage, response: ServerResponse) => {
        const exchange = this.makeHandler(request, response);
        if (exchange === undefined) return;
        exchange.expectsContinue = event === 'checkContinue';
        HTTPConnection.of(request.socket)?.add(exchange);
      });
    }
    this.on('clientError', (error: ParserError, socket: Socket) => {
      const refusal = refusalOf(error, this.limits);
      if (refusal === undefined) return void socket.destroy();
      // A connection that is about to close still reads, and its input no longer matters.
      if (!socket.writable) return;
      if (!isEnd(error) || !HTTPConnection.of(socket)?.endEarly()) {
        this.refuse(refusal, new IncomingMessage(socket));
      }
    });
    this.on('connect', (request: IncomingMessage) => {
      // Node lets go of the connection, but earlier responses may be on their way.
      for (const listener of parse) listener.call(this, request.socket);
      this.refuse(refuseTunnel(), request);
    });
  }

  private refuse(refusal: RefusedRequest, request: IncomingMessage): void {
    const exchange = this.makeHandler(request, new ServerResponse(request));
    if (exchange !== undefined) HTTPConnection.of(request.socket)?.refuse(refusal, exchange);
  }

  // The class may be the author's, and its constructor may throw.
  private makeHandler(
    request: IncomingMessage,
    response: ServerResponse,
  ): WSGIRequestHandler | undefined {
    try {
      return new this.requestHandlerClass(request, response, this);
    } catch (error) {
      reportError(error);
      request.socket.destroy();
      return undefined;
    }
  }

  private admits(exchange: WSGIRequestHandler, connection: HTTPConnection): boolean {
    if (this.assign(exchange) || !this.onDemand) return true;
    this.heldBack.add(connection);
    return false;
  }

  // Gives the request to the oldest call of handleRequest() that waits for one.
  private assign(exchange: WSGIRequestHandler): boolean {
    const resolve = this.asked.shift();
    if (resolve !== undefined) this.served.set(exchange, resolve);
    return resolve !== undefined;
  }

  private countRequest(): void {
    if (this.requestsLeft === Infinity) return;
    this.requestsLeft -= 1;
    if (this.requestsLeft === 0 && !this.stopping) this.close();
  }

  private release(exchange: WSGIRequestHandler): void {
    if (this.served.size === 0) return;
    this.served.get(exchange)?.();
    this.served.delete(exchange);
  }

  private releaseAll(): void {
    for (const resolve of [...this.asked.splice(0), ...this.served.values()]) resolve();
    this.served.clear();
  }

  private proceed(): void {
    for (const connection of this.heldBack) {
      this.heldBack.delete(connection);
      connection.proceed();
      if (this.onDemand && this.asked.length === 0) return;
    }
  }

  private async stop(end: (connection: HTTPConnection) => void): Promise<void> {
    try {
      await this.ready;
    } catch {
      // A server that was never bound need not be stopped; `ready` says why.
      return;
    }
    if (!this.stopping) this.close();
    for (const connection of this.open) end(connection);
    await this.closed;
  }
}

/** Host name or address, `''` for every interface; and port: 0 means any free port. */
export type ServerAddress = readonly [host: string, port: number];

function checkAddress([host, port]: ServerAddress): void {
  if (typeof host !== 'string') {
    throw new TypeError(`a host is a string, '' for every interface, not ${describe(host)}`);
  }
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new RangeError(`a port is a whole number from 0 to 65535, not ${describe(port)}`);
  }
}

function nodeOptions(limits: ServerLimits): ServerOptions {
  // A request without a Host is refused with all the others, by refusal.ts.
  const options: ServerOptions = { requireHostHeader: false };
  const { maxHeaderSize, headersTimeout, requestTimeout, keepAliveTimeout } = limits;
  if (maxHeaderSize !== undefined) options.maxHeaderSize = maxHeaderSize;
  if (headersTimeout !== undefined) options.headersTimeout = headersTimeout;
  if (requestTimeout !== undefined) options.requestTimeout = requestTimeout;
  if (keepAliveTimeout !== undefined) options.keepAliveTimeout = keepAliveTimeout;
  // Node looks for late requests every 30 seconds; a shorter limit needs a shorter interval.
  const shortest = Math.min(headersTimeout || Infinity, requestTimeout || Infinity, 30_000);
  options.connectionsCheckingInterval = shortest;
  return options;
}

/** Explains an error from binding an address. */
export function bindError(error: NodeJS.ErrnoException, [host, port]: ServerAddress): Error {
  const address = `${host.includes(':') ? `[${host}]` : host || '*'}:${port}`;
  const remedies: Record<string, string> = {
    EADDRINUSE: 'another program listens there; stop it, or choose another port',
    EACCES: 'the system does not permit it; choose a port above 1023',
    EADDRNOTAVAIL: 'this machine has no such address; choose one of its own',
    ENOTFOUND: 'no address is known for this name',
  };
  const code = error.code ?? '';
  const reason = remedies[code] ?? error.message;
  const named = new Error(`cannot listen on ${address}: ${reason} (${code})`, { cause: error });
  return Object.assign(named, { code });
}

// No name is looked up: the machine knows its own.
function nameOf(host: string, address: string): string {
  if (host === '' || address === '0.0.0.0' || address === '::') return hostname();
  return host.includes(':') ? `[${host}]` : host;
}
