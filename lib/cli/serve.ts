// Runs the server until it is told to stop.

import { createServer } from 'node:net';

import { makeServer } from '../simple-server.ts';
import type { WSGIServer } from '../simple-server.ts';
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
    throw await explainBinding(error, host, port);
  }
  stopOnSignals(server);
  process.stderr.write(`Serving ${name} on ${url(host, server.serverPort)} (Ctrl-C stops)\n`);
  await server.serveForever();
}

// npm and npx pass on the signal that the terminal has already sent to all of them,
// so one Ctrl-C can come twice. No finger is that fast.
const ONE_PRESS_MS = 100;

const NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const;

function stopOnSignals(server: WSGIServer): void {
  let state: 'serving' | 'asked' | 'waiting' = 'serving';
  const stop = (signal: keyof typeof NUMBERS): void => {
    if (state === 'waiting') process.exit(128 + NUMBERS[signal]);
    if (state === 'asked') return;
    state = 'asked';
    void server.shutdown();
    setTimeout(() => {
      state = 'waiting';
      process.stderr.write('Waiting for requests to finish (Ctrl-C again stops at once)\n');
    }, ONE_PRESS_MS);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
}

async function explainBinding(error: unknown, host: string, port: number): Promise<Problem> {
  const message = error instanceof Error ? error.message : String(error);
  if (Reflect.get(Object(error), 'code') !== 'EADDRINUSE') return new Problem(message);
  const next = await nextFreePort(host, port);
  return new Problem(next === undefined ? message : `${message}\ntry --port ${next}`);
}

async function nextFreePort(host: string, port: number): Promise<number | undefined> {
  const last = Math.min(port + 20, 65535);
  for (let next = port + 1; next <= last; next += 1) {
    if (await isFree(host, next)) return next;
  }
  return undefined;
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    // An empty host is every interface, to us as to Python.
    probe.listen(port, host || undefined, () => probe.close(() => resolve(true)));
  });
}

function url(host: string, port: number): string {
  const name = host.includes(':') ? `[${host}]` : host || '0.0.0.0';
  return `http://${name}:${port}/`;
}
