// One pass over the body that an application returned: the handler asks for one chunk
// after the other, and ends the pass exactly once, however the request ends.

import { describe, fault } from '../describe.ts';
import type { ResponseBody } from '../types.ts';
import { asyncIteratorOf } from '../web-stream.ts';
import { type Sent, both, isWaiting } from './wait.ts';

type Step = IteratorResult<Uint8Array>;
type ChunkIterator = Iterator<Uint8Array> | AsyncIterator<Uint8Array>;

/** Receives errors that no longer change the response. */
export interface ClosingLog {
  /** Called with each error of the iterator's `return()` and of `close()`. */
  reportClosing(error: unknown): void;
}

/** A body being read. */
export class BodyReader {
  private readonly body: ResponseBody;
  private readonly log: ClosingLog;
  private iterator: ChunkIterator | undefined = undefined;
  private running = false;
  private waiting = false;
  private exhausted = false;
  private ended = false;
  private failure: { error: unknown } | undefined = undefined;

  /**
   * @param body - The value that the application returned.
   * @param log - Receives the errors at the end of the pass.
   */
  constructor(body: ResponseBody, log: ClosingLog) {
    this.body = body;
    this.log = log;
  }

  /**
   * The next step of the iteration; a promise of it if the application waits for
   * something. Throws or rejects if the application does.
   *
   * @throws TypeError, with a hint, if the body is not an iterable of chunks
   */
  next(): Step | Promise<Step> {
    const hadEnded = this.ended;
    this.running = true;
    try {
      this.iterator ??= iteratorOf(this.body);
      const step = this.iterator.next();
      return isWaiting(step) ? this.settle(step) : this.note(step as Step);
    } catch (error) {
      this.exhausted = true;
      throw error;
    } finally {
      this.running = false;
      // end() was called by the code that ran.
      if (this.ended && !hadEnded) void this.finish();
    }
  }

  /**
   * Ends the pass: calls the iterator's `return()` if it was stopped early, so that its
   * `finally` blocks run, then the body's `close()` in every case. Only the first call
   * does anything. (PEP 3333, "Specification Details")
   */
  end(): Sent {
    if (this.ended) return undefined;
    this.ended = true;
    // The client can leave while a generator runs, and a generator cannot be ended by the
    // code that it runs: next() does it afterwards.
    return this.running ? undefined : this.finish();
  }

  /**
   * Throws the error of the log itself, if the log failed. It is kept until now, so that
   * both halves of the ending are done.
   */
  checkLog(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }

  private finish(): Sent {
    if (Object(this.body) !== this.body) return undefined;
    const stopped = this.exhausted ? undefined : this.attempt(this.stop);
    // return() of a generator that waits runs only after the wait, which may never end.
    // close() may end the wait, so close() does not wait for return().
    if (stopped === undefined || this.waiting) return both(stopped, this.attempt(this.close));
    return stopped.then(this.attempt.bind(this, this.close));
  }

  private stop(): unknown {
    const { body, iterator } = this;
    if (iterator === undefined) return discard(body);
    if (this.waiting) destroyStream(body);
    return iterator.return?.();
  }

  private close(): unknown {
    const { body } = this;
    return typeof body.close === 'function' ? body.close() : undefined;
  }

  // Does one half of the ending. Its failure does not keep the other from being done.
  private attempt(half: () => unknown): Sent {
    try {
      const done = half.call(this);
      return isWaiting(done) ? this.awaitHalf(done) : undefined;
    } catch (error) {
      this.report(error);
    }
  }

  private async awaitHalf(done: Promise<unknown>): Promise<void> {
    try {
      await done;
    } catch (error) {
      this.report(error);
    }
  }

  private report(error: unknown): void {
    try {
      this.log.reportClosing(error);
    } catch (failure) {
      this.failure ??= { error: failure };
    }
  }

  private async settle(waiting: Promise<Step>): Promise<Step> {
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
      throw fault(
        TypeError,
        'body-iterable',
        `the body's iterator gave ${describe(step)} in place of { done, value }`,
      );
    }
    if (step.done) this.exhausted = true;
    return step;
  }
}

function iteratorOf(body: ResponseBody): ChunkIterator {
  checkBody(body);
  return Symbol.asyncIterator in body ? asyncIteratorOf(body) : body[Symbol.iterator]();
}

/** The methods of streams: of Node's, and of a web stream. */
interface StreamMethods {
  on?: unknown;
  destroy?: unknown;
  cancel?: unknown;
}

// An unread stream also holds a file or a socket open.
function discard(body: ResponseBody & StreamMethods): unknown {
  if (typeof body.cancel === 'function') return body.cancel();
  destroyStream(body);
  return undefined;
}

// A Node stream that waits for more holds its file or socket open; its iterator's
// return() does not change that.
function destroyStream(body: ResponseBody & StreamMethods): void {
  if (typeof body.destroy !== 'function') return;
  // Nobody waits for the stream any more. An error that nobody handles ends the process.
  if (typeof body.on === 'function') body.on('error', () => {});
  body.destroy();
}

/**
 * Checks one chunk of a body.
 *
 * @throws TypeError, with a hint, if it is not a Uint8Array
 */
export function checkChunk(chunk: unknown): asserts chunk is Uint8Array {
  if (chunk instanceof Uint8Array) return;
  let hint = '';
  if (typeof chunk === 'string') hint = ': use new TextEncoder().encode(text)';
  if (chunk instanceof Promise) hint = ': await it, or use an async generator';
  if (typeof chunk === 'number') hint = ': was the Uint8Array itself returned, and not [bytes]?';
  throw fault(
    TypeError,
    'chunk-bytes',
    `a chunk of the body is a Uint8Array, not ${describe(chunk)}${hint}`,
  );
}

const WANTED = 'an iterable of Uint8Array chunks, such as [bytes]';

/**
 * Checks a body.
 *
 * @throws TypeError, with a hint, if it is not an iterable of chunks
 */
export function checkBody(body: unknown): void {
  if (Array.isArray(body)) return;
  if (typeof body === 'string') {
    throw fault(
      TypeError,
      'body-not-string',
      `the application returned a string, ${describe(body)}; it must return ${WANTED}: ` +
        'use [new TextEncoder().encode(text)]',
    );
  }
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) {
    throw fault(
      TypeError,
      'body-not-string',
      `the application returned ${describe(body)} itself; it must return ${WANTED}: ` +
        'put it in an array',
    );
  }
  if (!isIterable(body)) {
    const hint = body === undefined ? '; is a `return` missing?' : '';
    throw fault(
      TypeError,
      'body-iterable',
      `the application returned ${describe(body)}; it must return ${WANTED}${hint}`,
    );
  }
}

function isIterable(body: unknown): body is ResponseBody {
  if (typeof body !== 'object' || body === null) return false;
  return Symbol.asyncIterator in body || Symbol.iterator in body;
}
