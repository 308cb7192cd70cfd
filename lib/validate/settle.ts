// An application that waits may wait for ever: for a promise that nobody settles.
// That shows in two ways only. The engine may collect the promise, which proves
// that nobody can; or the process runs out of things to do while it still waits.

import type { Exchange } from './exchange.ts';
import { Overdue } from './overdue.ts';
import { DETAILS, application } from './rule.ts';

const settles = application.warning('app-settles', DETAILS,
  'An application that was called comes to an end: it returns, or it throws.',
  'Look for a promise that is never settled, such as an event that never comes.');

/** A promise that is waited for. */
interface Waiting {
  readonly report: () => void;
  /** For the first moment only: whoever holds it keeps it from being collected. */
  promise: object | undefined;
}

const waiting = new Set<Waiting>();
let listening = false;

const collected =
  typeof globalThis.FinalizationRegistry === 'function'
    ? new FinalizationRegistry(reportOnce)
    : undefined;

const fresh = new Overdue<Waiting>((entry) => {
  const { promise } = entry;
  entry.promise = undefined;
  if (promise !== undefined) collected?.register(promise, entry);
});

/** Waits for what the application promised, and tells if it never comes. */
export async function settle<Value>(
  exchange: Exchange,
  promise: PromiseLike<Value>,
  deed: string,
): Promise<Value> {
  const entry: Waiting = { report: exchange.reminder(settles, deed), promise };
  const forget = (): void => {
    entry.promise = undefined;
    fresh.delete(entry);
    waiting.delete(entry);
  };
  waiting.add(entry);
  fresh.add(entry);
  listen();
  exchange.forget = forget;
  try {
    return await promise;
  } finally {
    forget();
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
