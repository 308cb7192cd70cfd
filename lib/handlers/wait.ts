// Awaits a step only if it is not done yet, because `await` always lets other code run
// first. So an application that never waits is served without a pause.

/** Nothing if the work is done, else a promise that settles when it is. */
export type Sent = void | Promise<void>;

/**
 * The promise of a step that is already done. Functions whose type says `Promise<void>`
 * return this one in place of a new one, and `isWaiting` knows it.
 */
export const DONE: Promise<void> = Promise.resolve();

/** Whether there is something to wait for. */
export function isWaiting<T>(value: T | Promise<T>): value is Promise<T> {
  if (value instanceof Promise) return (value as unknown) !== DONE;
  return typeof value === 'object' && value !== null && isThenable(value);
}

/** Settles when both have; at once if there is nothing to wait for. */
export function both(first: Sent, second: Sent): Sent {
  if (first === undefined) return second;
  if (second === undefined) return first;
  return Promise.all([first, second]).then(() => undefined);
}

function isThenable(value: object): boolean {
  return 'then' in value && typeof value.then === 'function';
}
