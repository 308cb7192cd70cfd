// An application as a listener for Node's own servers: http, https, a framework's
// `use`, or a worker of node:cluster. The same request handler as the simple
// server's stands behind it.

import type { IncomingMessage, ServerResponse } from 'node:http';

import { checkApplication } from './handlers/checks.ts';
import { formatException } from './handlers/exception.ts';
import { StreamInput } from './io.ts';
import { percentDecode } from './latin1.ts';
import { WSGIRequestHandler } from './simple-server.ts';
import type { BaseEnviron } from './simple-server/environ.ts';
import type { InputStream, WSGIApplication, WSGIEnvironment } from './types.ts';

/** What Express adds to a request. */
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
 * A request listener that asks `app`:
 *
 *     http.createServer(toNodeListener(app)).listen(8000);
 *     express().use('/mounted', toNodeListener(app));
 *
 * Under a mount path, `SCRIPT_NAME` is that path. Requests are not logged: that is
 * the surrounding server's affair. Headers and cookies that a middleware before it has
 * set go out with the application's own. Throws a TypeError if `app` is no function.
 */
export function toNodeListener(
  app: WSGIApplication,
  options: NodeListenerOptions = {},
): (request: IncomingMessage, response: ServerResponse) => void {
  checkApplication(app);
  return (request, response) => {
    const server = { baseEnviron: baseEnviron(request), getApp: () => app };
    const handler = new ListenerHandler(request, response, server);
    handler.logs = options.logRequests ?? false;
    handler.handle().catch((error: unknown) => {
      process.stderr.write(formatException(error));
      response.destroy();
    });
  };
}

class ListenerHandler extends WSGIRequestHandler {
  logs = false;

  override logRequest(code: string, size: number): void {
    if (this.logs) super.logRequest(code, size);
  }

  override getEnviron(): WSGIEnvironment {
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

async function* takenBody(): AsyncGenerator<Uint8Array> {
  throw new Error(
    'the request body has been read already, by a middleware before this application: ' +
      'put the application before the body parser',
  );
}

function baseEnviron({ socket }: IncomingMessage): BaseEnviron {
  const address = socket.localAddress ?? 'localhost';
  return {
    SERVER_NAME: address.includes(':') ? `[${address}]` : address,
    SERVER_PORT: String(socket.localPort ?? ''),
    GATEWAY_INTERFACE: 'CGI/1.1',
    SCRIPT_NAME: '',
    REMOTE_HOST: '',
    CONTENT_LENGTH: '',
  };
}
