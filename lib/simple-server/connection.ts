// The owner of a connection: it knows which requests are under way, in which order, and
// whether another may begin; it informs each of them when the client has left; and it closes
// the connection when the last one is over. HTTP may have many requests on a connection,
// SCGI and uwsgi (../gateway.ts) have one.

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { ClientLeft } from '../handlers/base.ts';
import { isWaiting } from '../handlers/wait.ts';
import { RefusedRequest } from '../request.ts';
import { reportError } from '../handlers/log.ts';
import type { WSGIRequestHandler } from './request-handler.ts';

/** A request on a connection, as its connection sees it. */
export interface Exchange {
  /** Called when the client has left. */
  disconnect(): void;
}

/** A connection, and the requests on it, whatever the protocol is. */
export abstract class Connection<Request extends Exchange> {
  protected readonly socket: Socket;
  /** In the order of arrival, which is the order of the responses. */
  protected readonly underWay: Request[] = [];
  /** False from the moment that no further request is taken. */
  protected accepts = true;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  /** Whether no response is due. */
  get isIdle(): boolean {
    return this.underWay.length === 0;
  }

  /** Takes no further request, and closes when the ones under way have been answered. */
  finish(): void {
    this.accepts = false;
    if (this.isIdle) this.close();
  }

  /** Closes the connection, on which no response is due. */
  protected close(): void {
    this.socket.destroy();
  }

  /** Closes at once. */
  cut(): void {
    this.accepts = false;
    this.socket.destroy();
  }

  /** Called when the client has left: no request on this connection can be answered. */
  lose(): void {
    this.accepts = false;
    for (const exchange of this.underWay.splice(0)) this.leave(exchange);
  }

  /** Serves a request. */
  protected begin(exchange: Request): void {
    this.underWay.push(exchange);
    try {
      const handled = this.handle(exchange);
      if (!isWaiting(handled)) return;
      const handledLater = handled.then(() => this.checkAnswered(exchange));
      handledLater.catch((error: unknown) => this.fail(exchange, error));
    } catch (error) {
      this.fail(exchange, error);
    }
  }

  /** Has the request answered; resolves when the application's body has been closed. */
  protected abstract handle(exchange: Request): Promise<void>;

  /** Called when `handle` has resolved. Throws if nothing has answered the request. */
  protected checkAnswered(_exchange: Request): void {}

  /** Called for each request that is over, whether it was answered or lost its client. */
  protected leave(exchange: Request): void {
    exchange.disconnect();
  }

  // The handler answers for the application; this is a failure of the handler itself.
  protected fail(exchange: Request, error: unknown): void {
    reportError(error);
    try {
      this.abort(exchange);
    } catch (second) {
      reportError(second);
      this.cut();
    }
  }

  /** Cuts the response to a request whose handler has failed. */
  protected abstract abort(exchange: Request): void;
}

/**
 * How many requests of one connection are under way at a time. A client can send
 * thousands in one packet. The number is what RFC 9113 §6.5.2 recommends for HTTP/2.
 */
const MOST_UNDER_WAY = 100;

/** Decides, for all connections, when a request may begin. */
export interface Admission {
  /** Whether this request may begin now. If not, `proceed()` is called later. */
  admits(exchange: WSGIRequestHandler, connection: HTTPConnection): boolean;
  /** Called when bytes that are not a request are about to be refused. */
  refuses(exchange: WSGIRequestHandler): void;
  /** Called when the request is about to be handled. */
  begins(): void;
  /** Called when the response is over: its bytes are with the system, or the client left. */
  isOver(exchange: WSGIRequestHandler): void;
  /** Called when the connection is closed. */
  isGone(connection: HTTPConnection): void;
}

const connections = new WeakMap<Socket, HTTPConnection>();

/** A connection that speaks HTTP/1.1. */
export class HTTPConnection extends Connection<WSGIRequestHandler> {
  private readonly admission: Admission;
  private waiting: WSGIRequestHandler[] = [];
  private hasRefused = false;
  /** The newest request, if it waits and the rest of it cannot be read; and its answer. */
  private broken: { exchange: WSGIRequestHandler; refusal: RefusedRequest } | undefined = undefined;
  /** Answers invalid bytes after the last request. */
  private finalRefusal: (() => void) | undefined = undefined;
  /** A request that was answered before all of it had arrived. */
  private unread: WSGIRequestHandler['request'] | undefined = undefined;

  constructor(socket: Socket, admission: Admission) {
    super(socket);
    this.admission = admission;
    connections.set(socket, this);
    socket.on('close', onSocketClose);
    socket.on('resume', onSocketResume);
  }

  /** The connection that owns this socket. */
  static of(socket: Socket): HTTPConnection | undefined {
    return connections.get(socket);
  }

  /** Takes a request, and begins it as soon as it may begin. */
  add(exchange: WSGIRequestHandler): void {
    if (!this.accepts || this.hasLast) return;
    if (this.waiting.length === 0 && this.mayBegin(exchange)) {
      this.begin(exchange);
    } else {
      this.waiting.push(exchange);
      this.holdBack();
    }
  }

  /** Begins the requests that wait, as far as they may begin. */
  proceed(): void {
    for (;;) {
      const [next] = this.waiting;
      if (next === undefined || !this.mayBegin(next)) break;
      this.waiting.shift();
      this.begin(next);
    }
    if (this.waiting.length === 0 && this.socket.isPaused()) this.socket.resume();
  }

  /** The request that this response belongs to, while it is under way. */
  find(response: ServerResponse): WSGIRequestHandler | undefined {
    return this.underWay.find((exchange) => exchange.response === response);
  }

  override get isIdle(): boolean {
    return super.isIdle && this.finalRefusal === undefined;
  }

  override finish(): void {
    this.takeNoMore();
    super.finish();
  }

  /**
   * Takes no further request.
   *
   * @returns Whether the connection ends behind this request. It does not while the
   *   responses to later ones are due.
   */
  endsBehind(exchange: WSGIRequestHandler): boolean {
    this.takeNoMore();
    const last = this.underWay.at(-1);
    return last === exchange || !this.underWay.includes(exchange);
  }

  private takeNoMore(): void {
    this.accepts = false;
    // A refusal of later bytes would look like the response to a request that gets none.
    if (this.waiting.length > 0) this.finalRefusal = undefined;
    this.waiting = [];
    const last = this.underWay.at(-1);
    if (last?.response.headersSent === false) last.response.shouldKeepAlive = false;
    // The end of a client can only be seen by reading.
    if (this.socket.isPaused()) this.socket.resume();
  }

  /**
   * Answers bytes that are not a request, behind every request that came before them.
   *
   * @param refusal - The answer.
   * @param exchange - Handles the refusal of the unreadable request.
   */
  refuse(refusal: RefusedRequest, exchange: WSGIRequestHandler): void {
    // Each further piece of such bytes is reported again.
    if (this.hasRefused) return;
    const isFinishing = !this.accepts;
    if (this.breakOff(refusal)) return;
    this.hasRefused = true;
    this.accepts = false;
    if (this.hasLast || isFinishing) {
      // Bytes after the last request are ignored.
      return;
    } else if (this.unread !== undefined && !this.unread.complete) {
      return this.cut();
    }
    this.finalRefusal = () => {
      const { response } = exchange;
      this.admission.refuses(exchange);
      response.assignSocket(this.socket);
      response.once('finish', () => closeGently(this.socket));
      for (const event of ['finish', 'close']) {
        response.once(event, () => {
          exchange.isOver();
          this.admission.isOver(exchange);
        });
      }
      this.fail(exchange, refusal);
    };
    if (this.underWay.length === 0 && this.waiting.length === 0) this.close();
  }

  /**
   * Ends the last request, if the rest of it cannot be read any more or is too late.
   *
   * @returns false if there is nothing to end
   */
  breakOff(refusal: RefusedRequest): boolean {
    const { newest: last } = this;
    if (last === undefined || last.request.complete || this.hasRefused) return false;
    this.hasRefused = true;
    this.accepts = false;
    if (this.waiting.includes(last)) {
      this.broken = { exchange: last, refusal };
      return true;
    }
    try {
      last.breakOff(refusal);
    } catch (error) {
      this.fail(last, error);
    }
    return true;
  }

  /**
   * Ends the connection of a client that has ended its side in the middle of a request, if
   * responses to earlier requests are due. Node does so behind a whole request.
   *
   * @returns false if there are none: then the client may read a refusal
   */
  endEarly(): boolean {
    const due = this.underWay.length + this.waiting.length;
    const incomplete = this.newest?.request.complete === false ? 1 : 0;
    if (due === incomplete) return false;
    this.socket.end();
    return true;
  }

  private get newest(): WSGIRequestHandler | undefined {
    return this.waiting.at(-1) ?? this.underWay.at(-1);
  }

  /** Whether the newest request is the last, as its client or the server has said. */
  protected get hasLast(): boolean {
    return this.newest?.response.shouldKeepAlive === false;
  }

  // 100 Continue would appear inside an earlier response, and a response to an HTTP/1.0 client
  // may end the connection.
  private mayBegin(exchange: WSGIRequestHandler): boolean {
    const { length } = this.underWay;
    const needsTurn = exchange.expectsContinue || exchange.request.httpVersion === '1.0';
    if (needsTurn && length > 0) return false;
    return length < MOST_UNDER_WAY && this.admission.admits(exchange, this);
  }

  protected override handle(exchange: WSGIRequestHandler): Promise<void> {
    exchange.response.on('close', () => this.end(exchange));
    this.admission.begins();
    if (this.broken?.exchange === exchange) throw this.broken.refusal;
    return exchange.handle();
  }

  // An overridden handle() may have done nothing.
  protected override checkAnswered({ handler, response }: WSGIRequestHandler): void {
    if (handler !== undefined || response.headersSent || response.writableEnded) return;
    throw new Error('handle() has resolved, and nothing has answered the request');
  }

  protected override fail(exchange: WSGIRequestHandler, error: unknown): void {
    if (!(error instanceof RefusedRequest) || exchange.response.headersSent) {
      return super.fail(exchange, error);
    }
    try {
      exchange.sendError(error);
    } catch (second) {
      super.fail(exchange, second);
    }
  }

  protected override abort(exchange: WSGIRequestHandler): void {
    exchange.abort();
  }

  // Responses end in the order of their requests, except for those that are cut.
  private end(exchange: WSGIRequestHandler): void {
    const index = this.underWay.indexOf(exchange);
    if (index === -1) return;
    if (index === 0) this.underWay.shift();
    else this.underWay.splice(index, 1);
    if (!exchange.request.complete) this.unread = exchange.request;
    this.leave(exchange);
    // Node ends a connection behind a response without a length to an HTTP/1.0 client.
    if (!this.socket.writable) this.takeNoMore();
    if (this.waiting.length > 0) this.proceed();
    if (!this.accepts && this.underWay.length === 0 && this.waiting.length === 0) this.close();
  }

  override lose(): void {
    this.waiting = [];
    super.lose();
    // Node forgets a request once its response is over; somebody may still read its body.
    if (this.unread?.complete === false) this.unread.destroy(new ClientLeft());
    this.admission.isGone(this);
  }

  /** Called when the socket is about to be read again. */
  holdBack(): void {
    const count = this.underWay.length + this.waiting.length;
    if (this.waiting.length > 0 && count >= MOST_UNDER_WAY) this.socket.pause();
  }

  protected override leave(exchange: WSGIRequestHandler): void {
    if (!exchange.response.writableFinished) super.leave(exchange);
    exchange.isOver();
    this.admission.isOver(exchange);
  }

  protected override close(): void {
    const { finalRefusal } = this;
    this.finalRefusal = undefined;
    if (finalRefusal !== undefined && this.socket.writable) finalRefusal();
    else this.socket.destroySoon();
  }
}

/** How long a client must be silent before its connection is closed, in milliseconds. */
const LINGER = 500;

/** How many of these intervals the server waits. */
const MOST_LINGERS = 60;

/**
 * Ends the server's side of a connection, and closes it when the client is silent, unless
 * the client does so first. If the server closed at once, bytes still coming from the
 * client would destroy its response. (RFC 9112 §9.6)
 */
export function closeGently(socket: Socket): void {
  // Bytes that nobody reads would keep the client from closing.
  socket.resume();
  if (socket.writableEnded) return;
  socket.end(() => {
    if (!socket.destroyed) linger(socket);
  });
}

function linger(socket: Socket): void {
  let left = MOST_LINGERS;
  let seen = socket.bytesRead;
  const look = (): void => {
    left -= 1;
    if (left === 0 || socket.bytesRead === seen) return void socket.destroy();
    seen = socket.bytesRead;
    timer.refresh();
  };
  // `setImmediate` lets Node read the socket first: a busy process may not have read it yet.
  const timer = setTimeout(() => setImmediate(look), LINGER);
  socket.once('close', () => clearTimeout(timer));
}

// All connections share these functions: there may be many idle ones.

/** Takes the place of `socket.destroySoon`, by which Node ends a connection. */
export function destroySoon(this: Socket): void {
  closeGently(this);
}

function onSocketClose(this: Socket): void {
  connections.get(this)?.lose();
}

function onSocketResume(this: Socket): void {
  connections.get(this)?.holdBack();
}
