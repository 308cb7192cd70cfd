// The server's life: bind, serve, shut down. Parsing and framing are Node's.
//
// Mirrors wsgiref.simple_server.WSGIServer.

import { type IncomingMessage, Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { hostname } from 'node:os';

import { describe } from '../describe.ts';
import { checkApplication } from '../handlers/checks.ts';
import { formatException } from '../handlers/exception.ts';
import type { WSGIApplication } from '../types.ts';
import type { BaseEnviron } from './environ.ts';
import { WSGIRequestHandler } from './request-handler.ts';

/** What a server puts up with. Each has Node's or Gunicorn's meaning and Node's default. */
export interface ServerLimits {
  /** Connections that may wait to be accepted. Default 511. */
  requestQueueSize?: number;
  /** Connections at one time; more are dropped. Default: no limit. */
  maxConnections?: number;
  /** Bytes of a request's line and headers; more get 431. Default 16384. */
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

/**
 * A server for one application. It begins to bind when it is made; `ready` tells
 * how that went. Requests are served from then on as they come, each beside those
 * that still wait for something.
 */
export class WSGIServer extends Server {
  application: WSGIApplication | undefined = undefined;
  baseEnviron: BaseEnviron;
  /** The host name or address for `SERVER_NAME`. */
  serverName: string;
  /** The port; once bound, the real one, also where 0 was asked for. */
  serverPort: number;
  requestQueueSize: number;
  /** Resolves once bound; rejects if that failed, with an error that names the address. */
  readonly ready: Promise<void>;

  private readonly requestHandlerClass: typeof WSGIRequestHandler;
  private readonly requestedAddress: ServerAddress;
  private readonly closed: Promise<void>;
  private readonly sockets: Set<Socket> = new Set();
  private readonly inFlight: Set<ServerResponse> = new Set();
  private stopping = false;
  private requestsLeft: number;

  // How many requests may begin, and those that wait for it. Only handleRequest()
  // makes a request wait.
  private permits = Infinity;
  private readonly queue: Array<[IncomingMessage, ServerResponse]> = [];
  private readonly whenServed: Array<() => void> = [];

  /** Throws a TypeError or RangeError for a host or port that cannot be one. */
  constructor(
    address: ServerAddress,
    requestHandlerClass: typeof WSGIRequestHandler = WSGIRequestHandler,
    limits: ServerLimits = {},
  ) {
    checkAddress(address);
    super(nodeOptions(limits));
    this.requestHandlerClass = requestHandlerClass;
    this.requestedAddress = address;
    [this.serverName, this.serverPort] = address;
    this.baseEnviron = this.makeBaseEnviron();
    this.requestQueueSize = limits.requestQueueSize ?? 511;
    this.requestsLeft = limits.maxRequests ?? Infinity;
    if (limits.maxConnections !== undefined) this.maxConnections = limits.maxConnections;

    // One listener for all: a connection may lie idle for long, in great numbers.
    const forget = (socket: Socket): void => this.forget(socket);
    const onClose = function (this: Socket): void {
      forget(this);
    };
    this.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('close', onClose);
    });
    // Node would answer Expect itself, before anything is known of the rest.
    for (const event of ['request', 'checkContinue', 'checkExpectation']) {
      this.on(event, (request: IncomingMessage, response: ServerResponse) => {
        this.queue.push([request, response]);
        this.admit();
      });
    }
    this.closed = new Promise((resolve) => this.once('close', resolve));
    this.ready = this.bind();
  }

  /** The bound host and port; those asked for, until it is bound. */
  get serverAddress(): ServerAddress {
    const bound = this.address();
    if (bound === null || typeof bound === 'string') return this.requestedAddress;
    return [bound.address, bound.port];
  }

  /** Called once bound: makes `baseEnviron`. An override may add to it. */
  setupEnviron(): void {
    this.baseEnviron = this.makeBaseEnviron();
  }

  /** The application; throws an Error if none was set. */
  getApp(): WSGIApplication {
    if (this.application === undefined) {
      throw new Error('this server has no application yet: call setApp(app)');
    }
    return this.application;
  }

  /** Sets the application. Throws a TypeError if it is no function. */
  setApp(application: WSGIApplication): void {
    checkApplication(application);
    this.application = application;
  }

  /**
   * Serves until `shutdown()` is called or `signal` aborts, and resolves then.
   * Rejects if binding failed.
   */
  async serveForever({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    const stop = (): void => void this.shutdown();
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      await this.ready;
      this.permits = Infinity;
      this.admit();
      await this.closed;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /**
   * Serves one request and resolves when its response is over, or the server is
   * closed. From the first call on, requests wait until one of these, or
   * `serveForever`, asks for them. Rejects if binding failed.
   */
  async handleRequest(): Promise<void> {
    this.permits = this.permits === Infinity ? 1 : this.permits + 1;
    const served = new Promise<void>((resolve) => this.whenServed.push(resolve));
    await this.ready;
    this.admit();
    await Promise.race([served, this.closed]);
  }

  /**
   * Stops accepting, lets the requests in flight finish, closes each connection as
   * soon as it is idle, and resolves when all are closed.
   */
  async shutdown(): Promise<void> {
    await this.stop((socket) => !this.isBusy(socket));
  }

  /** Stops at once, and breaks off the requests in flight. */
  async serverClose(): Promise<void> {
    await this.stop(() => true);
  }

  /** `await using server = makeServer(…)` shuts the server down where the block ends. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  private bind(): Promise<void> {
    return new Promise((resolve, reject) => {
      const [host, port] = this.requestedAddress;
      this.on('error', (error: NodeJS.ErrnoException) => {
        // Once bound, it is a connection that could not be accepted: the others go on.
        if (this.listening) process.stderr.write(`tsgiref: ${error.message}\n`);
        else reject(bindError(error, this.requestedAddress));
      });
      this.listen({ host, port, backlog: this.requestQueueSize }, () => {
        const [address, boundPort] = this.serverAddress;
        this.serverName = nameOf(host, address);
        this.serverPort = boundPort;
        this.setupEnviron();
        resolve();
      });
    });
  }

  private makeBaseEnviron(): BaseEnviron {
    return {
      SERVER_NAME: this.serverName,
      GATEWAY_INTERFACE: 'CGI/1.1',
      SERVER_PORT: String(this.serverPort),
      REMOTE_HOST: '',
      CONTENT_LENGTH: '',
      SCRIPT_NAME: '',
    };
  }

  private admit(): void {
    while (this.permits > 0) {
      const next = this.queue.shift();
      if (next === undefined) return;
      const [request, response] = next;
      // A stopping server takes no more, and a client may have left the queue.
      if (this.stopping || response.destroyed || request.socket.destroyed) continue;
      this.permits -= 1;
      void this.serve(request, response);
    }
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.inFlight.add(response);
    const served = this.whenServed.shift();
    response.once('close', () => {
      this.inFlight.delete(response);
      if (this.stopping && !this.isBusy(request.socket)) request.socket.destroySoon();
      served?.();
    });
    this.requestsLeft -= 1;
    if (this.requestsLeft === 0) void this.shutdown();
    try {
      await new this.requestHandlerClass(request, response, this).handle();
    } catch (error) {
      // The handler answers for the application; this is its own failure.
      process.stderr.write(formatException(error));
      response.destroy();
    }
  }

  private forget(socket: Socket): void {
    this.sockets.delete(socket);
    // Node 20 and 22 tell only the response whose turn it is, not those behind it.
    for (const response of this.inFlight) {
      if (response.req.socket === socket) response.emit('close');
    }
  }

  private isBusy(socket: Socket): boolean {
    for (const response of this.inFlight) {
      if (response.req.socket === socket) return true;
    }
    return false;
  }

  private async stop(isOver: (socket: Socket) => boolean): Promise<void> {
    this.stopping = true;
    try {
      await this.ready;
    } catch {
      // What was never bound needs no stopping; `ready` tells whoever asks.
      return;
    }
    if (this.listening) this.close();
    // Of several in a row on one connection, the last says that it closes.
    const last = new Map<Socket, ServerResponse>();
    for (const response of this.inFlight) last.set(response.req.socket, response);
    for (const response of last.values()) response.shouldKeepAlive = false;
    // Node alone would wait for connections that have not sent a byte.
    for (const socket of this.sockets) {
      if (isOver(socket)) socket.destroy();
    }
    await this.closed;
  }
}

/** Host name or address, `''` for every interface; and port, 0 for any that is free. */
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
  // Node looks for late requests every 30 seconds; a shorter limit wants a closer look.
  const shortest = Math.min(headersTimeout || Infinity, requestTimeout || Infinity, 30_000);
  options.connectionsCheckingInterval = shortest;
  return options;
}

function bindError(error: NodeJS.ErrnoException, [host, port]: ServerAddress): Error {
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

// No name is looked up: the machine's own is known to it.
function nameOf(host: string, address: string): string {
  if (host === '' || address === '0.0.0.0' || address === '::') return hostname();
  return host.includes(':') ? `[${host}]` : host;
}
