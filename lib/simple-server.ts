// A small server to learn with and to develop on: this file starts it, and the
// files in simple-server/ stand in the order in which a request meets them:
// server.ts, request-handler.ts, refusal.ts, environ.ts, server-handler.ts.
//
// Mirrors wsgiref.simple_server.

import { inspect } from 'node:util';

import { type ServerLimits, WSGIServer } from './simple-server/server.ts';
import { WSGIRequestHandler } from './simple-server/request-handler.ts';
import type { ResponseBody, StartResponse, WSGIApplication, WSGIEnvironment } from './types.ts';

export { WSGIRequestHandler } from './simple-server/request-handler.ts';
export { ServerHandler } from './simple-server/server-handler.ts';
export { type ServerAddress, type ServerLimits, WSGIServer } from './simple-server/server.ts';

/** What `makeServer` takes beside host, port and application. */
export interface MakeServerOptions extends ServerLimits {
  serverClass?: typeof WSGIServer;
  handlerClass?: typeof WSGIRequestHandler;
}

/**
 * A server for `app`, which has begun to listen on `host` and `port`. `''` is every
 * interface, port 0 any that is free.
 *
 *     await makeServer('127.0.0.1', 8000, app).serveForever();
 *
 * is short for making a `WSGIServer` and giving it the application with `setApp`.
 * Throws at once for arguments that cannot be right; that an address is taken, the
 * server's `ready` and `serveForever` tell.
 */
export function makeServer(
  host: string,
  port: number,
  app: WSGIApplication,
  options: MakeServerOptions = {},
): WSGIServer {
  const { serverClass = WSGIServer, handlerClass = WSGIRequestHandler, ...limits } = options;
  const server = new serverClass([host, port], handlerClass, limits);
  try {
    server.setApp(app);
  } catch (error) {
    void server.serverClose();
    throw error;
  }
  return server;
}

/** An application that greets, and shows the environ it was called with. */
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
