// An application as a listener for Node's own servers: http, https, a framework's `use`, or
// a worker of node:cluster. The request handler of the simple server serves each request.

import type { IncomingMessage, Server, ServerResponse } from 'node:http';

import { checkApplication } from './handlers/base.ts';
import { StreamInput } from './io.ts';
import { percentDecode } from './latin1.ts';
import { type BaseEnviron, RefusedRequest, makeBaseEnviron } from './request.ts';
import { WSGIRequestHandler } from './simple-server.ts';
import { type Admission, HTTPConnection } from './simple-server/connection.ts';
import type { InputStream, WSGIApplication, WSGIEnvironment } from './types.ts';

/** The members that Express adds to a request. */
interface MountedRequest extends IncomingMessage {
  baseUrl?: string;
  originalUrl?: string;
}

/** How a listener behaves. */
export interface NodeListenerOptions {
  /** Whether each request is a line on standard error, as the simple server's is. Default false. */
  logRequests?: boolean;
}

/**
 * Makes a request listener that calls `app`. Under a mount path, `SCRIPT_NAME` is that
 * path. Headers and cookies that a middleware before it has set are sent with the
 * application's own.
 *
 * @param app - The application.
 * @param options - Whether requests are logged; the surrounding server usually does that.
 * @throws TypeError if `app` is not a function.
 *
 * @example
 * http.createServer(toNodeListener(app)).listen(8000);
 * express().use('/mounted', toNodeListener(app));
 */
export function toNodeListener(
  app: WSGIApplication,
  options: NodeListenerOptions = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  checkApplication(app);
  const { logRequests = false } = options;
  return (request, response) => {
    const server = { baseEnviron: baseEnviron(request), getApp: () => app };
    const handler = new ListenerHandler(request, response, server);
    handler.logs = logRequests;
    handler.expectsContinue = mustSendContinue(request, response);
    const { socket } = request;
    (HTTPConnection.of(socket) ?? new SharedConnection(socket, EVERYTHING)).add(handler);
  };
}

// The surrounding server ends the connection, on which it may have requests of its own. Its
// middleware may pass requests on in another order.
class SharedConnection extends HTTPConnection {
  override finish(): void {}

  protected override get hasLast(): boolean {
    return false;
  }

  protected override close(): void {}
}

// The surrounding server decides what is served.
const EVERYTHING: Admission = {
  admits: () => true,
  refuses() {},
  begins() {},
  isOver() {},
  isGone() {},
};

class ListenerHandler extends WSGIRequestHandler {
  logs = false;

  override logRequest(code: string, size: number): void {
    if (this.logs) super.logRequest(code, size);
  }

  override getEnviron(): WSGIEnvironment {
    checkHeaderCount(this.request);
    const environ = super.getEnviron();
    const { baseUrl, originalUrl } = this.request as MountedRequest;
    if (baseUrl !== undefined) environ.SCRIPT_NAME = percentDecode(baseUrl);
    if (originalUrl !== undefined) environ.REQUEST_URI = originalUrl;
    return environ;
  }

  // A parser that came first has taken the body; waiting for it would never end.
  override getStdin(): InputStream {
    if (!this.request.readableDidRead) return super.getStdin();
    return new StreamInput(takenBody());
  }
}

// Node sends 100 Continue itself, unless the listener is one for `checkContinue`. An HTTP/1.0
// client does not know it. (RFC 9110 §10.1.1)
function mustSendContinue(request: IncomingMessage, response: ServerResponse): boolean {
  const listeners = serverOf(request)?.listenerCount('checkContinue') ?? 0;
  const knows = request.httpVersion !== '1.0' && request.headers.expect !== undefined;
  // Only this member of Node's says whether the listener has sent it already.
  const isSent = '_sent100' in response && response._sent100 === true;
  return listeners > 0 && knows && !isSent;
}

const NODES_DEFAULT = 1000;

// Node passes on as many header lines as the server's maxHeadersCount says, and some Node
// versions drop the rest silently: a second Host may be among them.
function checkHeaderCount(request: IncomingMessage): void {
  const most = serverOf(request)?.maxHeadersCount ?? NODES_DEFAULT;
  if (most > 0 && request.rawHeaders.length >= 2 * most) {
    throw new RefusedRequest(
      '431 Request Header Fields Too Large',
      `The request has ${most} header lines or more. The server's maxHeadersCount is the limit.`,
    );
  }
}

function serverOf({ socket }: IncomingMessage): Server | undefined {
  return 'server' in socket ? (socket.server as Server | undefined) : undefined;
}

async function* takenBody(): AsyncGenerator<Uint8Array> {
  throw new Error(
    'the request body has been read already, by a middleware before this application: ' +
      'put the application before the body parser',
  );
}

function baseEnviron({ socket }: IncomingMessage): BaseEnviron {
  const address = socket.localAddress ?? 'localhost';
  const name = address.includes(':') ? `[${address}]` : address;
  return makeBaseEnviron(name, String(socket.localPort ?? ''));
}
