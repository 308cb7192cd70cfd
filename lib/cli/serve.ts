// Serves an application until the user stops it.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';

import { WSGIRequestHandler, makeServer } from '../simple-server.ts';
import { checkKey } from '../simple-server/tls.ts';
import type { WSGIApplication } from '../types.ts';
import { type Settings, isLoopback } from './arguments.ts';
import { Problem } from './problem.ts';

// The exit status of `--once` for a response of 4xx or 5xx, as curl has it.
const FAILED = 22;

/**
 * Serves `app`, called `name` in the banner.
 *
 * @returns The exit status, once the server was stopped.
 * @throws Problem if the server cannot bind its address.
 */
export async function serve(
  app: WSGIApplication,
  name: string,
  settings: Settings,
): Promise<number> {
  const { host, port } = settings;
  let status = '';
  const server = makeServer(host, port, app, {
    ...settings.limits,
    ...readTls(settings),
    handlerClass: handlerClass(settings, (code) => (status = code)),
  });
  const one = settings.once ? server.handleRequest() : undefined;
  // It rejects as `ready` does, which is where binding is explained.
  one?.catch(() => {});
  try {
    await server.ready;
  } catch (error) {
    throw await explainBinding(error, host, port);
  }
  stopOnSignals(() => void server.shutdown());
  announce(name, settings, server.serverPort);
  if (one === undefined) {
    await server.serveForever();
    return 0;
  }
  await one;
  await server.shutdown();
  return Number(status) < 400 ? 0 : FAILED;
}

/** A request handler that logs as these settings want it. */
export function handlerClass(
  { quiet }: Settings,
  onLog: (code: string) => void = () => {},
): typeof WSGIRequestHandler {
  return class extends WSGIRequestHandler {
    override logRequest(code: string, size: number): void {
      onLog(this.response.writableEnded ? code : '500');
      if (!quiet) super.logRequest(code, size);
    }
  };
}

/** The certificate and key of `--tls-cert` and `--tls-key`, as options of a server. */
export function readTls({ tls }: Settings): { tls?: { cert: Buffer; key: Buffer } } {
  if (tls === undefined) return {};
  const read = (file: string): Buffer => {
    try {
      return readFileSync(file);
    } catch {
      throw new Problem(`there is no file ${file}; --tls-cert and --tls-key take PEM files`);
    }
  };
  const [cert, key] = [read(tls.cert), read(tls.key)];
  try {
    checkKey({ cert, key });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Problem(
      `${tls.cert} and ${tls.key} are not a certificate and its key in PEM: ${reason}`,
    );
  }
  return { tls: { cert, key } };
}

/** Prints the banner, and opens the browser, as far as these settings want it. */
export function announce(name: string, settings: Settings, port: number): void {
  const url = urlOf(settings.host, port, settings.tls !== undefined);
  if (!settings.quiet) process.stderr.write(banner(name, url, settings, port));
  if (settings.open) openBrowser(url);
}

function banner(name: string, url: string, settings: Settings, port: number): string {
  const { host, errorPage, validate, tls } = settings;
  const line = `Serving ${name} on ${url} (Ctrl-C stops)\n`;
  if (isLoopback(host)) return line;
  const secure = tls !== undefined;
  const addresses = isEveryInterface(host) ? reachable() : [];
  const list = addresses.map((each) => `  ${urlOf(each, port, secure)}\n`).join('');
  return line + list + OPEN_TO_ALL + (errorPage || !validate ? '' : NO_ERROR_PAGE);
}

/** Said of a server that others can reach. */
export const OPEN_TO_ALL: string =
  'Anyone who can reach this machine can use it; it is made for development.\n';

/** Said where others can reach the server, since the page shows source. */
export const NO_ERROR_PAGE: string =
  'The page that explains errors is off; --debug shows it to everyone.\n';

function isEveryInterface(host: string): boolean {
  return host === '' || host === '0.0.0.0' || host === '::';
}

function reachable(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return all.filter(({ family }) => family === 'IPv4').map(({ address }) => address);
}

// npm and npx pass on the signal that the terminal has already sent to all of them,
// so one Ctrl-C can come twice.
const ONE_PRESS_MS = 100;

const NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Calls `stop` at the first Ctrl-C or SIGTERM, and says so if that takes long; the next
 * one ends the process.
 */
export function stopOnSignals(stop: () => void): void {
  let state: 'serving' | 'asked' | 'waiting' = 'serving';
  const onSignal = (signal: keyof typeof NUMBERS): void => {
    if (state === 'waiting') process.exit(128 + NUMBERS[signal]);
    if (state === 'asked') return;
    state = 'asked';
    stop();
    setTimeout(() => {
      state = 'waiting';
      process.stderr.write('Waiting for requests to finish (Ctrl-C again stops at once)\n');
    }, ONE_PRESS_MS);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
}

/**
 * The Problem to report in place of an error from binding this address.
 *
 * @param option - The option that says the port.
 */
export async function explainBinding(
  error: unknown,
  host: string,
  port: number,
  option: string = '--port',
): Promise<Problem> {
  const message = error instanceof Error ? error.message : String(error);
  if (Reflect.get(Object(error), 'code') !== 'EADDRINUSE') return new Problem(message);
  const next = await nextFreePort(host, port);
  return new Problem(next === undefined ? message : `${message}\ntry ${option} ${next}`);
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

function openBrowser(url: string): void {
  const [program, ...args] = opener(url);
  const child = spawn(program, args, { stdio: 'ignore', detached: true });
  child.once('error', () => {
    process.stderr.write(`No browser could be opened; the page is at ${url}\n`);
  });
  child.unref();
}

function opener(url: string): [program: string, ...args: string[]] {
  if (process.env['BROWSER']) return [process.env['BROWSER'], url];
  if (process.platform === 'darwin') return ['open', url];
  if (process.platform === 'win32') return ['cmd', '/c', 'start', '', url];
  return ['xdg-open', url];
}
