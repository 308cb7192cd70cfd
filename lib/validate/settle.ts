// An application that waits may wait for ever: for a promise that nobody settles.
// That shows in two ways only. The engine may collect the promise, which proves
// that nobody can; or the process runs out of things to do while it still waits.

import type { Exchange } from './exchange.ts';
import { DETAILS, application } from './rule.ts';

const settles = application.warning('app-settles', DETAILS,
  'An application that was called comes to an end: it returns, or it throws.',
  'Look for a promise that is never settled, such as an event that never comes.');

/** The report to make. It keeps neither the exchange nor the promise from being collected. */
interface Waiting {
  readonly report: () => void;
}

const waiting = new Set<Waiting>();
let listening = false;

const collected =
  typeof globalThis.FinalizationRegistry === 'function'
    ? new FinalizationRegistry(reportOnce)
    : undefined;

/** Waits for what the application promised, and tells if it never comes. */
export async function settle<Value>(
  exchange: Exchange,
  promise: PromiseLike<Value>,
  deed: string,
): Promise<Value> {
  const entry: Waiting = { report: exchange.reminder(settles, deed) };
  waiting.add(entry);
  collected?.register(promise, entry);
  listen();
  exchange.forget = () => waiting.delete(entry);
  try {
    return await promise;
  } finally {
    waiting.delete(entry);
  }
}

function listen(): void {
  if (listening) return;
  listening = true;
  globalThis.process?.on?.('beforeExit', () => [...waiting].forEach(reportOnce));
}

function reportOnce(entry: Waiting): void {
  if (waiting.delete(entry)) entry.report();
}
