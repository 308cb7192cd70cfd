// One pass over what the application returned: asked for chunk by chunk, and
// ended exactly once, however the request ends.

import { describe } from '../describe.ts';
import type { ResponseBody } from '../types.ts';
import { asyncIteratorOf } from './iterate.ts';

type Step = IteratorResult<Uint8Array>;
type ChunkIterator = Iterator<Uint8Array> | AsyncIterator<Uint8Array>;

/**
 * A body being read. Throws a TypeError, with a hint, for what is no body. What
 * goes wrong in ending it is given to `report`.
 */
export class BodyReader {
  private readonly body: ResponseBody;
  private readonly report: (error: unknown) => void;
  private iterator: ChunkIterator | undefined;
  private waiting = false;
  private exhausted = false;
  private ended = false;

  constructor(body: ResponseBody, report: (error: unknown) => void) {
    checkBody(body);
    this.body = body;
    this.report = report;
  }

  /**
   * The next step of the iteration; a promise of it if the application waits for
   * something. Throws or rejects if the application does.
   */
  next(): Step | Promise<Step> {
    try {
      if (Symbol.asyncIterator in this.body) {
        this.iterator ??= asyncIteratorOf(this.body);
        return this.settle(this.iterator.next());
      }
      this.iterator ??= this.body[Symbol.iterator]();
      return this.note(this.iterator.next() as Step);
    } catch (error) {
      this.exhausted = true;
      throw error;
    }
  }

  /**
   * Ends the pass: the iterator's `return()` if it was stopped early, so that its
   * `finally` blocks run, then the body's `close()` in every case. Only the first
   * call does anything. (PEP 3333, "Specification Details")
   */
  async end(): Promise<void> {
    if (this.ended) return;
    this.ended = true;
    const stopped = this.exhausted ? undefined : this.stop();
    // A generator that still waits for something runs its return() afterwards,
    // perhaps never: close() is what can wake it, so close() must not wait.
    if (!this.waiting) await stopped;
    if (typeof this.body.close === 'function') await this.attempt(() => this.body.close?.());
  }

  private async settle(waiting: Step | Promise<Step>): Promise<Step> {
    this.waiting = true;
    try {
      return this.note(await waiting);
    } catch (error) {
      this.exhausted = true;
      throw error;
    } finally {
      this.waiting = false;
    }
  }

  private note(step: Step): Step {
    if (typeof step !== 'object' || step === null) {
      throw new TypeError(`the body's iterator gave ${describe(step)} in place of { done, value }`);
    }
    if (step.done) this.exhausted = true;
    return step;
  }

  private stop(): Promise<void> | undefined {
    const { body, iterator } = this;
    if (iterator === undefined || this.waiting) {
      return this.attempt(() => {
        destroyStream(body);
        return iterator?.return?.();
      });
    }
    if (iterator.return === undefined) return undefined;
    return this.attempt(() => iterator.return?.());
  }

  private async attempt(step: () => unknown): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.report(error);
    }
  }
}

// A Node stream that was never read from, or waits for more, holds its file or
// socket open; its iterator's return() does not change that.
function destroyStream(body: ResponseBody & { destroy?: unknown }): void {
  if (typeof body.destroy === 'function') body.destroy();
}

const WANTED = 'an iterable of Uint8Array chunks, such as [bytes]';

function checkBody(body: unknown): void {
  if (typeof body === 'string') {
    throw new TypeError(
      `the application returned a string, ${describe(body)}; it must return ${WANTED}: ` +
        'use [new TextEncoder().encode(text)]',
    );
  }
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) {
    throw new TypeError(
      `the application returned ${describe(body)} itself; it must return ${WANTED}: ` +
        'put it in an array',
    );
  }
  if (!isIterable(body)) {
    const hint = body === undefined ? '; is a `return` missing?' : '';
    throw new TypeError(
      `the application returned ${describe(body)}; it must return ${WANTED}${hint}`,
    );
  }
}

function isIterable(body: unknown): body is ResponseBody {
  if (typeof body !== 'object' || body === null) return false;
  return Symbol.asyncIterator in body || Symbol.iterator in body;
}
