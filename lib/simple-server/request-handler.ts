// One request: refuse it or make its environ, run the application, write a line
// in the access log, and leave the connection fit for the next request.
//
// Mirrors wsgiref.simple_server.WSGIRequestHandler.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { ErrorOutput, StreamInput } from '../io.ts';
import type { ErrorStream, InputStream, WSGIApplication, WSGIEnvironment } from '../types.ts';
import { type BaseEnviron, remoteAddress, requestEnviron } from './environ.ts';
import { type Refusal, refuse } from './refusal.ts';
import { ServerHandler } from './server-handler.ts';

/** What a request handler needs of its server. */
export interface ApplicationServer {
  readonly baseEnviron: BaseEnviron;
  getApp(): WSGIApplication;
}

/** How many bytes of an unread body are taken off the wire before the connection closes. */
const MOST_DRAINED = 1024 * 1024;

const stderr = new ErrorOutput(process.stderr);

// Connections on which a request was refused. What follows on one of them may be
// another part of the same trick, and Node has parsed it already.
const refused = new WeakSet<Socket>();

/** Serves one request. Every method may be overridden; pass the class to `makeServer`. */
export class WSGIRequestHandler {
  /** For `SERVER_SOFTWARE` and the Server header. */
  serverVersion: string = `WSGIServer/0.1 Node.js/${process.versions.node}`;

  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly server: ApplicationServer;

  constructor(request: IncomingMessage, response: ServerResponse, server: ApplicationServer) {
    this.request = request;
    this.response = response;
    this.server = server;
  }

  /** Serves the request; resolves when the application has been closed. */
  async handle(): Promise<void> {
    const { request, response } = this;
    if (refused.has(request.socket)) return;
    const refusal = refuse(request);
    if (refusal !== undefined) return this.sendError(refusal);
    if (expectsContinue(request)) response.writeContinue();
    if (asksForUpgrade(request)) response.shouldKeepAlive = false;

    const handler = new ServerHandler(
      request,
      response,
      this.getStdin(),
      this.getStderr(),
      this.getEnviron(),
    );
    handler.serverSoftware = this.serverVersion;
    handler.requestHandler = this;
    response.once('close', () => {
      if (!response.writableFinished) handler.disconnect();
    });
    await handler.run(this.server.getApp());
    if (!request.complete) await this.drain(handler);
  }

  /** The environ of this request, without the `wsgi.*` keys. */
  getEnviron(): WSGIEnvironment {
    return requestEnviron(this.request, this.server.baseEnviron, this.serverVersion);
  }

  /** The stream to be `wsgi.input`: the request's body. */
  getStdin(): InputStream {
    return new StreamInput(this.request);
  }

  /** The stream to be `wsgi.errors`: standard error. */
  getStderr(): ErrorStream {
    return stderr;
  }

  /** The client's address. Unlike Python: never its name, which would take a look-up. */
  addressString(): string {
    return remoteAddress(this.request);
  }

  /** Logs a request that has been served: three digits, and bytes of its body. */
  logRequest(code: string, size: number): void {
    const { method, url = '', httpVersion } = this.request;
    // A quote from the client must not end what is quoted; Apache does the same.
    const target = url.replace(/["\\]/g, '\\$&');
    this.logMessage(`"${method} ${target} HTTP/${httpVersion}" ${code} ${size || '-'}`);
  }

  /** Logs what went wrong on the server's side of the interface. */
  logError(message: string): void {
    this.logMessage(message);
  }

  /** Writes a line of the access log, in Apache's common format, to standard error. */
  logMessage(message: string): void {
    const line = `${this.addressString()} - - [${logDate(Date.now())}] ${message}`;
    process.stderr.write(`${escapeControls(line)}\n`);
  }

  private sendError({ status, reason }: Refusal): void {
    const body = `${reason}\n`;
    this.response.writeHead(Number(status.slice(0, 3)), status.slice(4), {
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': Buffer.byteLength(body),
      Connection: 'close',
    });
    refused.add(this.request.socket);
    this.response.end(body);
    this.logRequest(status.slice(0, 3), Buffer.byteLength(body));
  }

  // What the application left unread stands before the next request.
  private async drain(handler: ServerHandler): Promise<void> {
    try {
      for (let drained = 0; drained <= MOST_DRAINED;) {
        const piece = await handler.stdin.read(65536);
        if (piece.length === 0) return;
        drained += piece.length;
      }
    } catch {
      // The body broke off, or is still being read by somebody.
    }
    this.request.socket.destroySoon();
  }
}

// An HTTP/1.0 client knows of no 100 Continue. (RFC 9110 §10.1.1)
function expectsContinue({ headers, httpVersionMinor }: IncomingMessage): boolean {
  return headers.expect !== undefined && httpVersionMinor > 0;
}

// Nobody upgrades here, so it is a request like any other; but Node drops what
// stands behind it in the same packet.
function asksForUpgrade({ headers }: IncomingMessage): boolean {
  return headers.upgrade !== undefined && /\bupgrade\b/i.test(headers.connection ?? '');
}

// Terminals act on control characters, and a log is read in terminals.
function escapeControls(line: string): string {
  return line.replace(/[\x00-\x1f\x7f-\x9f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

let lastSecond = NaN;
let lastDate = '';

// Made once a second: `20/Nov/2026:22:31:00 +0000`.
function logDate(time: number): string {
  const second = Math.floor(time / 1000);
  if (second !== lastSecond) {
    lastSecond = second;
    const [, day, month, year, clock] = new Date(time).toUTCString().split(' ');
    lastDate = `${day}/${month}/${year}:${clock} +0000`;
  }
  return lastDate;
}
