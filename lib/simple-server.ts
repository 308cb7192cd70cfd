// A small server to learn with and to develop on: this file starts it. A request passes
// the files of simple-server/ in this order: server.ts, connection.ts, request-handler.ts,
// server-handler.ts.
//
// Mirrors wsgiref.simple_server.

import { inspect } from 'node:util';

import { type ServerSettings, WSGIServer } from './simple-server/server.ts';
import { WSGIRequestHandler } from './simple-server/request-handler.ts';
import type { ResponseBody, StartResponse, WSGIApplication, WSGIEnvironment } from './types.ts';

export type { BaseEnviron, RefusedRequest } from './request.ts';
export { type ApplicationServer, WSGIRequestHandler } from './simple-server/request-handler.ts';
export { type RequestLog, ServerHandler } from './simple-server/server-handler.ts';
export {
  type ServerAddress,
  type ServerLimits,
  type ServerSettings,
  WSGIServer,
} from './simple-server/server.ts';

/** The options of `makeServer`, beside host, port and application. */
export interface MakeServerOptions extends ServerSettings {
  /** The class of the server. Default `WSGIServer`. */
  serverClass?: typeof WSGIServer;
  /** The class that serves each request. Default `WSGIRequestHandler`. */
  handlerClass?: typeof WSGIRequestHandler;
}

/**
 * Makes a server for `app`, which begins to listen at once.
 *
 * @param host - The name or address to listen on; `''` is every interface.
 * @param port - The port; 0 means any free port.
 * @param app - The application, for every request.
 * @param options - Classes of the server and of its request handlers, limits, and the
 *   certificate for HTTPS: `{ tls: { cert, key } }`.
 * @throws TypeError or RangeError at once for arguments that cannot be right, and Error for
 *   a certificate and key that cannot be used; the server's `ready` and `serveForever`
 *   reject if the address is taken.
 *
 * @example
 * await makeServer('127.0.0.1', 8000, app).serveForever();
 */
export function makeServer(
  host: string,
  port: number,
  app: WSGIApplication,
  options: MakeServerOptions = {},
): WSGIServer {
  const { serverClass = WSGIServer, handlerClass = WSGIRequestHandler, ...settings } = options;
  const server = new serverClass([host, port], handlerClass, settings);
  try {
    server.setApp(app);
  } catch (error) {
    void server.serverClose();
    throw error;
  }
  return server;
}

/**
 * An application that answers "Hello world!" and lists its environ.
 *
 * @param environ - The request.
 * @param startResponse - Begins the response.
 */
export function demoApp(environ: WSGIEnvironment, startResponse: StartResponse): ResponseBody {
  const lines = ['Hello world!', ''];
  for (const [key, value] of Object.entries(environ).sort()) {
    // Strings and arrays in full; of other objects only what they are.
    const depth = typeof value === 'object' && !Array.isArray(value) ? -1 : 0;
    lines.push(`${key} = ${inspect(value, { depth, breakLength: Infinity })}`);
  }
  startResponse('200 OK', [['Content-Type', 'text/plain; charset=utf-8']]);
  return [new TextEncoder().encode(`${lines.join('\n')}\n`)];
}
