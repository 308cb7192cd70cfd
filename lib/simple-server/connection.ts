// The owner of a connection: it knows which requests are under way, in which order, and
// whether another may begin; it informs each of them when the client has left; and it closes
// the connection when the last one is over.

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { ClientLeft } from '../handlers/base.ts';
import { isWaiting } from '../handlers/wait.ts';
import type { RefusedRequest } from '../request.ts';
import { reportError } from '../handlers/stderr.ts';
import type { WSGIRequestHandler } from './request-handler.ts';

/**
 * How many requests of one connection are under way at a time. A client can send
 * thousands in one packet. The number is what RFC 9113 §6.5.2 recommends for HTTP/2.
 */
const MOST_UNDER_WAY = 100;

/** Who decides, for all connections, when a request may begin. */
export interface Admission {
  /** Whether this request may begin now. If not, `proceed()` is called later. */
  admits(exchange: WSGIRequestHandler, connection: Connection): boolean;
  /** Called when the request is about to be handled. */
  begins(): void;
  /** Called when the response is over: its bytes are with the system, or the client left. */
  isOver(exchange: WSGIRequestHandler): void;
  /** Called when the connection is closed. */
  isGone(connection: Connection): void;
}

const connections = new WeakMap<Socket, Connection>();

/** A connection, and the requests on it. */
export class Connection {
  private readonly socket: Socket;
  private readonly admission: Admission;
  /** In the order of arrival, which is the order of the responses. */
  private readonly underWay: WSGIRequestHandler[] = [];
  private waiting: WSGIRequestHandler[] = [];
  /** False from the moment that no further request is taken. */
  private accepts = true;
  private hasLast = false;
  /** The answer to what came behind the last request, if that was not a request. */
  private lastWords: (() => void) | undefined = undefined;
  /** A request that was answered before all of it had arrived. */
  private unread: WSGIRequestHandler['request'] | undefined = undefined;

  constructor(socket: Socket, admission: Admission) {
    this.socket = socket;
    this.admission = admission;
    connections.set(socket, this);
    socket.on('close', onSocketClose);
    socket.on('resume', onSocketResume);
  }

  /** The connection that owns this socket. */
  static of(socket: Socket): Connection | undefined {
    return connections.get(socket);
  }

  /** Takes a request, and begins it as soon as it may begin. */
  add(exchange: WSGIRequestHandler): void {
    if (!this.accepts || this.hasLast) return;
    // The client has said that this is its last request. (RFC 9112 §9.6)
    this.hasLast = !exchange.response.shouldKeepAlive;
    if (this.waiting.length === 0 && this.mayBegin(exchange)) {
      this.begin(exchange);
    } else {
      this.waiting.push(exchange);
      if (!this.hasRoom) this.socket.pause();
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

  /** Whether no response is due. */
  get isIdle(): boolean {
    return this.underWay.length === 0 && this.lastWords === undefined;
  }

  /** Takes no further request, and closes when the ones under way have been answered. */
  finish(): void {
    this.accepts = false;
    // The refusal of what came behind a request that gets no answer would look like one.
    if (this.waiting.length > 0) this.lastWords = undefined;
    this.waiting = [];
    const last = this.underWay.at(-1);
    if (last !== undefined) {
      if (!last.response.headersSent) last.response.shouldKeepAlive = false;
    } else if (this.lastWords === undefined) this.socket.destroy();
  }

  /** Closes at once. */
  cut(): void {
    this.accepts = false;
    this.socket.destroy();
  }

  /**
   * Answers bytes that are not a request, behind every request that came before them.
   *
   * @param refusal the answer
   * @param exchange represents the request that could not be read
   */
  refuse(refusal: RefusedRequest, exchange: WSGIRequestHandler): void {
    // Each further piece of such bytes is reported again.
    if (!this.accepts) return;
    this.accepts = false;
    const last = this.waiting.at(-1) ?? this.underWay.at(-1);
    if (last !== undefined && !last.request.complete) {
      // The bytes are the body of the last request.
      this.waiting = this.waiting.filter((each) => each !== last);
      return last.breakOff(refusal);
    } else if (this.hasLast) {
      // Nothing counts behind the client's last request.
      return;
    } else if (this.unread !== undefined && !this.unread.complete) {
      return this.cut();
    }
    this.lastWords = () => {
      const { response } = exchange;
      response.assignSocket(this.socket);
      response.once('finish', () => closeGently(this.socket));
      exchange.sendError(refusal);
    };
    if (this.underWay.length === 0 && this.waiting.length === 0) this.close();
  }

  private get hasRoom(): boolean {
    return this.underWay.length < MOST_UNDER_WAY;
  }

  // 100 Continue would land inside an earlier response, if that is not over.
  private mayBegin(exchange: WSGIRequestHandler): boolean {
    const hasTurn = this.underWay.length === 0 || !exchange.waitsForTurn;
    return hasTurn && this.hasRoom && this.admission.admits(exchange, this);
  }

  private begin(exchange: WSGIRequestHandler): void {
    this.underWay.push(exchange);
    exchange.response.on('close', onResponseClose);
    this.admission.begins();
    try {
      const handled = exchange.handle();
      if (isWaiting(handled)) handled.catch((error: unknown) => this.fail(exchange, error));
    } catch (error) {
      this.fail(exchange, error);
    }
  }

  // The handler answers for the application; this is a failure of the handler itself.
  private fail(exchange: WSGIRequestHandler, error: unknown): void {
    reportError(error);
    exchange.response.destroy();
  }

  /** Called when a response is over. */
  end(response: ServerResponse): void {
    const exchange = this.take(response);
    if (exchange === undefined) return;
    if (!exchange.request.complete) this.unread = exchange.request;
    this.leave(exchange);
    if (this.waiting.length > 0) this.proceed();
    if (!this.accepts && this.underWay.length === 0 && this.waiting.length === 0) this.close();
  }

  /** Called when the socket is closed: whatever is under way has lost its client. */
  lose(): void {
    this.accepts = false;
    this.waiting = [];
    for (const exchange of this.underWay.splice(0)) this.leave(exchange);
    // Node forgets a request once its response is over; somebody may still read its body.
    if (this.unread?.complete === false) this.unread.destroy(new ClientLeft());
    this.admission.isGone(this);
  }

  /** Called when the socket is about to be read again. */
  holdBack(): void {
    if (this.waiting.length > 0 && !this.hasRoom) this.socket.pause();
  }

  // Responses end in the order of their requests, except for those that are cut.
  private take(response: ServerResponse): WSGIRequestHandler | undefined {
    if (this.underWay[0]?.response === response) return this.underWay.shift();
    const index = this.underWay.findIndex((exchange) => exchange.response === response);
    return index === -1 ? undefined : this.underWay.splice(index, 1)[0];
  }

  private leave(exchange: WSGIRequestHandler): void {
    if (!exchange.response.writableFinished) exchange.disconnect();
    this.admission.isOver(exchange);
  }

  private close(): void {
    const { lastWords } = this;
    this.lastWords = undefined;
    if (lastWords !== undefined && this.socket.writable) lastWords();
    else this.socket.destroySoon();
  }
}

/** How long the server still listens after its last words, in milliseconds. */
const LINGER = 500;

/**
 * Ends the server's side of a connection, and closes it a moment later, unless the client
 * does so first. To close at once while bytes of the client are under way would destroy
 * what the server has said. (RFC 9112 §9.6)
 */
export function closeGently(socket: Socket): void {
  socket.end();
  // Bytes that nobody reads would keep the client from closing.
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER);
  socket.once('close', () => clearTimeout(timer));
}

// One function each for all connections: most of them are idle, and there may be many.

function onSocketClose(this: Socket): void {
  connections.get(this)?.lose();
}

function onSocketResume(this: Socket): void {
  connections.get(this)?.holdBack();
}

function onResponseClose(this: ServerResponse): void {
  connections.get(this.req.socket)?.end(this);
}
