// A response body that records what the server does with it.

import type { ResponseBody } from '../types.ts';
import type { Patience } from './patience.ts';

/** One step of a body: a chunk, or a function that makes it, waits, or throws. */
export type Step = Uint8Array | (() => Uint8Array | Promise<Uint8Array>);

/** How a server has used a body. */
export interface Use {
  /** How often the server asked for an iterator, for a chunk, and for an early end. */
  iterations: number;
  asked: number;
  returned: number;
  /** How often it called close(), and whether as a method of the body. */
  closed: number;
  closedOnBody: boolean;
  /** Breaches of the order: asked for a chunk after the end, or before the last came. */
  askedAfterEnd: number;
  askedTooEarly: number;
  /** The calls in their order: `next`, `return`, `close`. */
  calls: string[];
}

/** A body and the record of its use. */
export interface ObservedBody {
  body: ResponseBody;
  use: Use;
}

/** The properties of a body, beside its chunks. */
export interface BodyOptions {
  /** An asynchronous iterable, as an async generator is; default false. */
  async?: boolean;
  /** Runs as part of close(). */
  onClose?: () => void | Promise<void>;
  /** Runs when the server ends the iteration early. */
  onReturn?: () => void;
}

/** A body that goes through `steps`, then ends. */
export function observeBody(
  patience: Patience,
  steps: Iterable<Step>,
  { async = false, onClose, onReturn }: BodyOptions = {},
): ObservedBody {
  const use: Use = {
    iterations: 0, asked: 0, returned: 0, closed: 0, closedOnBody: true,
    askedAfterEnd: 0, askedTooEarly: 0, calls: [],
  };
  const record = (call: string): void => {
    use.calls.push(call);
    patience.wake();
  };
  const iterator = steps[Symbol.iterator]();
  let hasEnded = false;
  let isWaiting = false;

  const nextStep = (): Step | undefined => {
    use.asked += 1;
    if (hasEnded) use.askedAfterEnd += 1;
    if (isWaiting) use.askedTooEarly += 1;
    record('next');
    const { done = false, value } = iterator.next();
    if (done) hasEnded = true;
    return value;
  };
  const endEarly = (): { done: true; value: undefined } => {
    use.returned += 1;
    hasEnded = true;
    record('return');
    onReturn?.();
    return { done: true, value: undefined };
  };
  const run = (step: Step): Uint8Array | Promise<Uint8Array> => {
    try {
      return typeof step === 'function' ? step() : step;
    } catch (error) {
      // An iterator that has thrown has ended, as a generator has.
      hasEnded = true;
      throw error;
    }
  };

  const syncIterator = {
    next(): IteratorResult<Uint8Array> {
      const step = nextStep();
      if (step === undefined) return { done: true, value: undefined };
      return { done: false, value: run(step) as Uint8Array };
    },
    return: endEarly,
  };
  const asyncIterator = {
    async next(): Promise<IteratorResult<Uint8Array>> {
      const step = nextStep();
      if (step === undefined) return { done: true, value: undefined };
      isWaiting = true;
      try {
        return { done: false, value: await run(step) };
      } finally {
        isWaiting = false;
      }
    },
    return: async () => endEarly(),
  };

  const close = function (this: unknown): void | Promise<void> {
    use.closed += 1;
    if (this !== body) use.closedOnBody = false;
    record('close');
    return onClose?.();
  };
  const iterate = <Iterator>(made: Iterator) => (): Iterator => {
    use.iterations += 1;
    return made;
  };
  const body: ResponseBody = async
    ? { [Symbol.asyncIterator]: iterate(asyncIterator), close }
    : { [Symbol.iterator]: iterate(syncIterator), close };
  return { body, use };
}
