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

/** How long a body may take to close when its connection is closed, in milliseconds. */
const CLOSING_TIMEOUT = 500;

/** A connection, and the requests on it, whatever the protocol is. */
export abstract class Connection<Request extends Exchange> {
  protected readonly socket: Socket;
  /** In the order of arrival, which is the order of the responses. */
  protected readonly underWay: Request[] = [];
  /** False from the moment that no further request is taken. */
  protected accepts = true;
  /** The requests whose `handle` is not done, and whose client has not left. */
  private readonly atWork = new Set<Request>();
  private isClosed = false;
  private patience: NodeJS.Timeout | undefined = undefined;

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
    for (const exchange of this.underWay.splice(0)) {
      // The application may never end, since nobody waits for it.
      this.atWork.delete(exchange);
      this.leave(exchange);
    }
  }

  /** Called when the socket is closed. */
  closed(): void {
    this.lose();
    this.isClosed = true;
    if (this.atWork.size === 0) this.isGone();
    else this.patience = setTimeout(() => this.isGone(), CLOSING_TIMEOUT);
  }

  /** Called when the socket is closed and the bodies of its responses are closed, too. */
  protected abstract isGone(): void;

  /** Serves a request. */
  protected begin(exchange: Request): void {
    this.underWay.push(exchange);
    try {
      const handled = this.handle(exchange);
      if (isWaiting(handled)) void this.follow(exchange, handled);
      else this.checkAnswered(exchange);
    } catch (error) {
      this.fail(exchange, error);
    }
  }

  private async follow(exchange: Request, handled: Promise<void>): Promise<void> {
    this.atWork.add(exchange);
    try {
      await handled;
      this.checkAnswered(exchange);
    } catch (error) {
      this.fail(exchange, error);
    }
    this.atWork.delete(exchange);
    if (!this.isClosed || this.atWork.size > 0) return;
    clearTimeout(this.patience);
    this.isGone();
  }

  /** Has the request answered; resolves when the application's body has been closed. */
  protected abstract handle(exchange: Request): Promise<void>;

  /** Called when `handle` is done: something must answer the request. */
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

/** The connections of a server that are not gone. */
export class OpenConnections<Each> extends Set<Each> {
  private onEmpty: () => void = () => {};

  override delete(connection: Each): boolean {
    const isDeleted = super.delete(connection);
    if (this.size === 0) this.onEmpty();
    return isDeleted;
  }

  /** Resolves when all are gone. */
  async emptied(): Promise<void> {
    if (this.size > 0) await new Promise<void>((resolve) => { this.onEmpty = resolve; });
  }
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
  /** Called when the connection is closed, and its answered requests are done. */
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
    const isNext = this.waiting.length === 0 || hasTurn(exchange);
    if (isNext && this.mayBegin(exchange)) {
      this.begin(exchange);
    } else {
      this.waiting.push(exchange);
      exchange.response.once('socket', () => this.proceed());
      this.holdBack();
    }
  }

  /** Begins the requests that wait, as far as they may begin. */
  proceed(): void {
    for (;;) {
      const next = this.waiting.find(hasTurn) ?? this.waiting[0];
      if (next === undefined || !this.mayBegin(next)) break;
      this.waiting.splice(this.waiting.indexOf(next), 1);
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
      return this.endUnfinished();
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

  private mayBegin(exchange: WSGIRequestHandler): boolean {
    return this.hasRoomFor(exchange) && this.admission.admits(exchange, this);
  }

  // 100 Continue would appear inside an earlier response. A response to an HTTP/1.0 client may
  // end the connection, so the requests behind it wait.
  private hasRoomFor(exchange: WSGIRequestHandler): boolean {
    if (hasTurn(exchange)) return true;
    if (exchange.expectsContinue || mayEndConnection(exchange)) return false;
    return this.underWay.length < MOST_UNDER_WAY && !this.underWay.some(mayEndConnection);
  }

  protected override handle(exchange: WSGIRequestHandler): Promise<void> {
    exchange.response.on('close', () => this.end(exchange));
    this.admission.begins();
    if (this.broken?.exchange === exchange) throw this.broken.refusal;
    return exchange.handle();
  }

  // An overridden handle() may leave the answer to a stream, or it may have done nothing.
  protected override checkAnswered(exchange: WSGIRequestHandler): void {
    if (!needsAnswer(exchange)) return;
    const timer = setTimeout(() => {
      if (!needsAnswer(exchange)) return;
      const reason = `handle() is done, and nothing has answered within ${ANSWER_TIMEOUT} ms`;
      this.fail(exchange, new Error(reason));
    }, ANSWER_TIMEOUT);
    exchange.response.once('close', () => clearTimeout(timer));
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
  }

  override closed(): void {
    // Node forgets a request once its response is over; somebody may still read its body.
    if (this.unread?.complete === false) this.unread.destroy(new ClientLeft());
    super.closed();
  }

  protected override isGone(): void {
    this.admission.isGone(this);
  }

  /**
   * Ends the connection behind a response that is not whole, as its client can see. The end
   * is gentle, because the bytes of earlier responses may still be on their way.
   */
  endUnfinished(): void {
    this.lose();
    closeGently(this.socket);
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

/** How long a request may have no answer when its `handle()` is done, in milliseconds. */
const ANSWER_TIMEOUT = 1000;

function needsAnswer({ handler, request, response }: WSGIRequestHandler): boolean {
  const hasBegun = handler !== undefined || response.headersSent || response.writableEnded;
  return !hasBegun && !request.socket.destroyed;
}

// Node gives the socket to one response at a time, in the order of the requests.
function hasTurn({ response }: WSGIRequestHandler): boolean {
  return response.socket !== null;
}

function mayEndConnection({ request }: WSGIRequestHandler): boolean {
  return request.httpVersion === '1.0';
}

/**
 * Cuts a response, once those before it are over, so that its client sees that it is not whole.
 */
export function cutResponse(response: ServerResponse): void {
  const { socket } = response;
  if (socket === null) return void response.once('socket', () => cutResponse(response));
  const connection = HTTPConnection.of(socket);
  if (connection === undefined) response.destroy();
  else connection.endUnfinished();
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
  connections.get(this)?.closed();
}

function onSocketResume(this: Socket): void {
  connections.get(this)?.holdBack();
}
