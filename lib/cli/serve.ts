// Runs the server until it is told to stop.

import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';

import { WSGIRequestHandler, type WSGIServer, makeServer } from '../simple-server.ts';
import type { WSGIApplication } from '../types.ts';
import { type Settings, isLoopback } from './arguments.ts';
import { Problem } from './problem.ts';
import { isReloaded } from './reload.ts';

/** Serves `app`, called `name` in the banner; resolves when it was stopped. */
export async function serve(app: WSGIApplication, name: string, settings: Settings): Promise<void> {
  const { host, port, tls } = settings;
  const options = {
    ...settings.limits,
    ...(settings.quiet && { handlerClass: QuietRequestHandler }),
    ...(tls && { serverClass: (await import('./secure-server.ts')).secureServerClass(tls) }),
  };
  const server = makeServer(host, port, app, options);
  const one = settings.once ? server.handleRequest() : undefined;
  // It rejects as `ready` does, which is where binding is explained.
  one?.catch(() => {});
  try {
    await server.ready;
  } catch (error) {
    throw await explainBinding(error, host, port);
  }
  stopOnSignals(server);
  const url = urlOf(host, server.serverPort, tls !== undefined);
  if (!settings.quiet) process.stderr.write(banner(name, url, settings, server.serverPort));
  if (settings.open) await (await import('./open.ts')).openBrowser(url);
  if (one === undefined) await server.serveForever();
  else await one.then(() => server.shutdown());
}

class QuietRequestHandler extends WSGIRequestHandler {
  override logRequest(): void {}
}

function banner(name: string, url: string, { host }: Settings, port: number): string {
  const line = `Serving ${name} on ${url} (Ctrl-C stops)\n`;
  if (isLoopback(host)) return line;
  const addresses = isEveryInterface(host) ? reachable().map((each) => urlOf(each, port)) : [];
  const list = addresses.map((each) => `  ${each}\n`).join('');
  const warning = 'Anyone who can reach this machine can use it; it is made for development.\n';
  return line + list + warning;
}

function isEveryInterface(host: string): boolean {
  return host === '' || host === '0.0.0.0' || host === '::';
}

function reachable(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return all.filter(({ family }) => family === 'IPv4').map(({ address }) => address);
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
    // Whoever saves a file wants to see it, and not the end of what was there before.
    void (isReloaded() ? server.serverClose() : server.shutdown());
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

function urlOf(host: string, port: number, secure = false): string {
  const name = host.includes(':') ? `[${host}]` : host || '0.0.0.0';
  return `${secure ? 'https' : 'http'}://${name}:${port}/`;
}
