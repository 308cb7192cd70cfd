// One request: refuse it or make its environ, run the application, write a line in the
// access log, and prepare the connection for the next request.
//
// Mirrors wsgiref.simple_server.WSGIRequestHandler.

import type { IncomingMessage, ServerResponse } from 'node:http';

import { quoteRequest, reportError, standardError, writeLog } from '../handlers/log.ts';
import { StreamInput } from '../io.ts';
import { type BaseEnviron, type RefusedRequest, VERSION, makeEnviron } from '../request.ts';
import type { ErrorStream, InputStream, WSGIApplication, WSGIEnvironment } from '../types.ts';
import { HTTPConnection, cutResponse } from './connection.ts';
import { ServerHandler } from './server-handler.ts';

/** The part of its server that a request handler needs. */
export interface ApplicationServer {
  /** The variables that are the same for every request. */
  readonly baseEnviron: BaseEnviron;
  /**
   * The application that serves the request.
   *
   * @throws Error if none was set
   */
  getApp(): WSGIApplication;
}

const NOTHING_SENT: readonly [code: string, size: number] = ['-', 0];

/** How many bytes of an unread body are read after the response, before the connection closes. */
const MOST_DRAINED = 1024 * 1024;

/** Serves one request. Every method may be overridden; pass the class to `makeServer`. */
export class WSGIRequestHandler {
  /** For `SERVER_SOFTWARE` and the Server header. */
  declare serverVersion: string;

  static {
    this.prototype.serverVersion = `WSGIServer/${VERSION} Node.js/${process.versions.node}`;
  }

  /** The request, as `node:http` gives it. */
  readonly request: IncomingMessage;
  /** The response to it, through which everything is sent. */
  readonly response: ServerResponse;
  /** The server that has received the request. */
  readonly server: ApplicationServer;
  /** The handler at work on this request, from the moment that it runs. */
  handler: ServerHandler | undefined = undefined;
  /** Whether the client waits for `100 Continue`, which only this server can send. */
  expectsContinue: boolean = false;
  /** Whether the request has been refused, so that no application may see it. */
  isRefused: boolean = false;
  /** The line of the access log, for a response that is not over yet. */
  due: readonly [code: string, size: number] | undefined = undefined;

  /**
   * A handler of one request. It only stores its arguments; `handle` serves the request.
   *
   * @param request - The request, as `node:http` gives it.
   * @param response - Takes the response.
   * @param server - The server that has received the request.
   */
  constructor(request: IncomingMessage, response: ServerResponse, server: ApplicationServer) {
    this.request = request;
    this.response = response;
    this.server = server;
  }

  /**
   * Serves the request; resolves when the application's body has been closed.
   *
   * @throws RefusedRequest for a request that no application may see; it is answered then
   */
  handle(): Promise<void> {
    const environ = this.getEnviron();
    if (asksForUpgrade(environ)) this.response.shouldKeepAlive = false;
    const mayHaveBody = hasBody(environ);
    // Node discards an unread body of any size unless reading has begun.
    if (mayHaveBody) this.request.read(0);

    const handler = new ServerHandler(
      this.request,
      this.response,
      this.getStdin(),
      this.getStderr(),
      environ,
    );
    handler.serverSoftware = this.serverVersion;
    handler.requestHandler = this;
    const served = handler.run(this.server.getApp());
    return mayHaveBody ? this.drain(handler, served) : served;
  }

  /**
   * Makes the environ of this request. The handler has yet to set the `wsgi.*` keys, which
   * are undefined.
   *
   * @throws RefusedRequest for a request that no application may see
   */
  getEnviron(): WSGIEnvironment {
    const { socket } = this.request;
    const client = { remoteAddress: remoteAddress(this.request), secure: 'encrypted' in socket };
    return makeEnviron(this.request, this.server.baseEnviron, client, this.serverVersion);
  }

  /** The stream to be `wsgi.input`: the request's body. */
  getStdin(): InputStream {
    return new StreamInput(this.request);
  }

  /** The stream to be `wsgi.errors`: standard error. */
  getStderr(): ErrorStream {
    return standardError();
  }

  /** The client's address. Unlike Python: does not look up its name. */
  addressString(): string {
    return remoteAddress(this.request);
  }

  /**
   * Logs a request that has been answered.
   *
   * @param code - Three digits, or `-` if the client got no head.
   * @param size - How many bytes of the body were sent.
   */
  logRequest(code: string, size: number): void {
    const { method, url, httpVersion } = this.request;
    const line = quoteRequest(method, url, `HTTP/${httpVersion}`);
    this.logMessage(`${line} ${code} ${size || '-'}`);
  }

  /**
   * Logs an error of the client or of a server-side check.
   *
   * @param message - One line of text.
   */
  logError(message: string): void {
    this.logMessage(message);
  }

  /**
   * Writes a line of the access log, in Apache's common format, to standard error.
   *
   * @param message - The part of the line behind the client's address and the time.
   */
  logMessage(message: string): void {
    writeLog(this.addressString(), message);
  }

  /**
   * Refuses the request with a page that says why, and has the connection closed.
   *
   * @param refusal - The status of the page and its text.
   */
  sendError({ status, message }: RefusedRequest): void {
    const { request, response } = this;
    this.isRefused = true;
    const isLast = HTTPConnection.of(request.socket)?.endsBehind(this) ?? true;
    const body = `${message}\n`;
    const size = Buffer.byteLength(body);
    response.writeHead(Number(status.slice(0, 3)), status.slice(4), {
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': size,
      ...(isLast && { Connection: 'close' }),
    });
    this.due = [status.slice(0, 3), request.method === 'HEAD' ? 0 : size];
    response.end(body);
  }

  /** Called by the connection when the client has left. */
  disconnect(): void {
    this.handler?.disconnect();
  }

  /** Called by the connection when the response has been sent, or never will be. */
  isOver(): void {
    const { due, response } = this;
    this.due = undefined;
    if (due === undefined) return;
    try {
      this.logRequest(...(response.writableFinished ? due : NOTHING_SENT));
    } catch (error) {
      reportError(error);
    }
  }

  /**
   * Called by the connection when the rest of the request cannot be read.
   *
   * @param refusal - The answer, if no head has been sent yet.
   */
  breakOff(refusal: RefusedRequest): void {
    const { response, handler } = this;
    // A response that is complete needs nothing more of the request.
    if (response.writableEnded || handler?.isWhole) return;
    if (response.headersSent) {
      handler?.disconnect();
      cutResponse(response);
    } else {
      handler?.abandon();
      this.sendError(refusal);
    }
  }

  /** Called by the connection when `handle()` has failed. */
  abort(): void {
    if (this.response.writableEnded) return;
    cutResponse(this.response);
    if (this.handler === undefined) this.logRequest('-', 0);
  }

  // The part of the body that the application left unread comes before the next request.
  private async drain(handler: ServerHandler, served: Promise<void>): Promise<void> {
    await served;
    if (this.request.complete) return;
    const { stdin } = handler;
    try {
      for (let drained = 0; ;) {
        if (stdin instanceof StreamInput) await readsNoMore(stdin);
        const piece = await stdin.read(65536);
        if (piece.length === 0) return;
        drained += piece.length;
        // The rest is discarded until the connection closes, behind the responses.
        if (drained > MOST_DRAINED) HTTPConnection.of(this.request.socket)?.finish();
      }
    } catch {
      // The body broke off, or the application is still reading an input of its own kind.
    }
  }
}

// The application may have given up a read that waits, or it may still be reading: then its
// next read follows soon.
async function readsNoMore(input: StreamInput): Promise<void> {
  while (input.isReading) {
    await input.whenIdle();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The client's address. IPv4 addresses in IPv4 form, even on an IPv6 socket. */
function remoteAddress(request: IncomingMessage): string {
  const address = request.socket.remoteAddress ?? '';
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
}

function hasBody({ CONTENT_LENGTH, HTTP_TRANSFER_ENCODING }: WSGIEnvironment): boolean {
  if (HTTP_TRANSFER_ENCODING !== undefined) return true;
  return CONTENT_LENGTH !== undefined && CONTENT_LENGTH !== '' && Number(CONTENT_LENGTH) > 0;
}

// This server never upgrades, so it answers such a request like any other. But Node drops
// the bytes behind it in the same packet.
function asksForUpgrade({ HTTP_UPGRADE, HTTP_CONNECTION }: WSGIEnvironment): boolean {
  return HTTP_UPGRADE !== undefined && /\bupgrade\b/i.test(HTTP_CONNECTION ?? '');
}
