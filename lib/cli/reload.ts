// `--reload`: the command again, in a child that Node restarts when a file changes
// which the application is made of.

import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import type { WSGIApplication } from '../types.ts';
import { Problem } from './problem.ts';

/** Set in the child, so that it knows. */
export const RELOADING = 'TSGIREF_RELOADING';

/** Whether this process is the child that is restarted. */
export function isReloaded(): boolean {
  return process.env[RELOADING] !== undefined;
}

/** Loads once, to fail at once; then runs `words` in the child. Resolves with its status. */
export async function reload(words: readonly string[]): Promise<number> {
  const main = process.argv[1] ?? fileURLToPath(new URL('./main.js', import.meta.url));
  const first = run([main, ...words], 'check');
  const status = await ended(first);
  if (status !== 0) return status;

  const child = run(['--watch', '--watch-preserve-output', main, ...words], 'serve');
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  await ended(child);
  return 0;
}

function run(args: readonly string[], step: 'check' | 'serve'): ChildProcess {
  // Node's own words about each restart and its warnings are not ours to explain.
  const env = { ...process.env, [RELOADING]: step, NODE_NO_WARNINGS: '1' };
  return spawn(process.execPath, args, { env, stdio: 'inherit' });
}

function ended(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => child.once('close', (status) => resolve(status ?? 1)));
}

/**
 * Has Node watch the modules beside the application, too. Some lines of it do not
 * watch a module that could not be read, and would wait for ever for its next save.
 */
export function watchBeside(target: string): void {
  const folder = dirname(resolve(target));
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (file) => /\.[mc]?[jt]s$/.test(file) && !/(^|[\\/])(node_modules|\.[^\\/]*)[\\/]/.test(file),
  );
  // The message by which a module's loading is reported to a process under --watch.
  const urls = files.map((file) => pathToFileURL(join(folder, file)).href);
  process.send?.({ 'watch:import': urls });
}

/** What the child serves in place of an application that does not load. */
export function brokenApplication(problem: unknown): WSGIApplication {
  if (!(problem instanceof Problem)) throw problem;
  const page = new TextEncoder().encode(`${problem.message}\n\nSave the file to try again.\n`);
  return (_environ, startResponse) => {
    startResponse('500 Internal Server Error', [
      ['Content-Type', 'text/plain; charset=utf-8'],
      ['Cache-Control', 'no-store'],
    ]);
    return [page];
  };
}
