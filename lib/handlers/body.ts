// One pass over what the application returned: asked for chunk by chunk, and
// ended exactly once, however the request ends.

import { describe } from '../describe.ts';
import type { ResponseBody } from '../types.ts';

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
   * The next chunk, or undefined at the end; a promise of it if the application
   * waits for something. Throws or rejects if the application does.
   */
  next(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    try {
      this.iterator ??= iterate(this.body);
      const step = this.iterator.next();
      return step instanceof Promise ? this.settle(step) : this.take(step);
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
    const stopped = this.attempt(() => this.stop());
    // A generator that still waits for something runs its return() afterwards,
    // perhaps never: close() is what can wake it, so close() must not wait.
    if (!this.waiting) await stopped;
    await this.attempt(() => this.body.close?.());
  }

  private async settle(
    waiting: Promise<IteratorResult<Uint8Array>>,
  ): Promise<Uint8Array | undefined> {
    this.waiting = true;
    try {
      return this.take(await waiting);
    } catch (error) {
      this.exhausted = true;
      throw error;
    } finally {
      this.waiting = false;
    }
  }

  private take(step: IteratorResult<Uint8Array>): Uint8Array | undefined {
    if (!step.done) return step.value;
    this.exhausted = true;
    return undefined;
  }

  private stop(): unknown {
    if (this.exhausted) return undefined;
    if (this.iterator === undefined) return discardUnread(this.body);
    return this.iterator.return?.();
  }

  private async attempt(step: () => unknown): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.report(error);
    }
  }
}

function iterate(body: ResponseBody): ChunkIterator {
  return Symbol.asyncIterator in body ? body[Symbol.asyncIterator]() : body[Symbol.iterator]();
}

// A Node stream that was never read from holds its file or socket open, and
// asking for its iterator does not change that.
function discardUnread(body: ResponseBody & { destroy?: unknown }): void {
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
