// Runs the server until it is told to stop.

import { formatException } from '../handlers/exception.ts';
import { makeServer } from '../simple-server.ts';
import type { WSGIApplication } from '../types.ts';
import type { Settings } from './arguments.ts';
import { Problem } from './problem.ts';

/** Serves `app`, called `name` in the banner; resolves when it was stopped. */
export async function serve(app: WSGIApplication, name: string, settings: Settings): Promise<void> {
  const { host, port } = settings;
  const server = makeServer(host, port, app);
  try {
    await server.ready;
  } catch (error) {
    throw explainBinding(error, port);
  }
  process.stderr.write(`Serving ${name} on ${url(host, server.serverPort)} (Ctrl-C stops)\n`);

  // A forgotten `await` in one request should not end all the others.
  process.on('unhandledRejection', (reason) => {
    process.stderr.write(`Unhandled rejection: ${formatException(reason)}`);
  });
  process.on('SIGTERM', () => void server.shutdown());
  let asked = false;
  process.on('SIGINT', () => {
    if (asked) process.exit(130);
    asked = true;
    void server.shutdown();
  });
  await server.serveForever();
}

function explainBinding(error: unknown, port: number): Problem {
  const message = error instanceof Error ? error.message : String(error);
  const taken = Reflect.get(Object(error), 'code') === 'EADDRINUSE';
  const next = port < 65535 ? port + 1 : port - 1;
  return new Problem(taken ? `${message}\ntry --port ${next}` : message);
}

function url(host: string, port: number): string {
  const name = host.includes(':') ? `[${host}]` : host || '0.0.0.0';
  return `http://${name}:${port}/`;
}
