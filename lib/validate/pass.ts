// One pass over a body: the server asks, the application gives, and each chunk is
// looked at on its way between them.

import { describe } from '../describe.ts';
import { ReuseCheck, checkChunk, syncPromise } from './chunk.ts';
import { lookAgain, reportCloseOfIterator } from './close.ts';
import type { Exchange } from './exchange.ts';
import { checkReads } from './input.ts';
import { checkMiddlewareAsking } from './layers.ts';
import { checkAsking, checkSum, countBytes } from './length.ts';
import { hasMethod, isBytes, isObject, isThenable } from './probe.ts';
import { DETAILS, ITERATION, START_RESPONSE, application, server } from './rule.ts';
import { settle } from './settle.ts';
import { checkTrapped } from './started.ts';

// ---- How the server iterates

const once = server.error('body-once', DETAILS,
  'A body is iterated once.', 'Keep the iterator, or the chunks.');

const afterClose = server.error('body-after-close', DETAILS,
  'A body is not iterated after its close().', 'Call close() last.');

const overlap = server.error('iter-overlap', DETAILS,
  'A chunk is asked for when the one before it has come and was sent.',
  'Await each next() before the next.');

const lengthExact = application.error('body-len-exact', DETAILS,
  'The length of a body is the number of its chunks.',
  'Remove `length`, or make it tell how many chunks there are.');

// ---- When startResponse must have been called

const startedFirst = application.error('sr-before-body', START_RESPONSE,
  'startResponse is called before the first chunk, even an empty one.',
  'Call startResponse before the first yield.');

const startedEver = application.error('sr-never-empty-body', START_RESPONSE,
  'startResponse is called, also when there is no content.',
  'Call startResponse before the body ends.');

// That a server does not expect the call before the first chunk is for its own tests.

// ---- What the iterator gives

const resultShape = application.error('iter-result-shape', ITERATION,
  'next() gives an object with `done` and `value`, and `done` stays true.',
  'Write a generator: it does this by itself.');

/** What is known of the iteration, and what is checked in it. */
export class Pass {
  readonly exchange: Exchange;
  private readonly length: number | undefined;
  private readonly reuse: ReuseCheck | undefined;
  private pending = false;

  constructor(exchange: Exchange, length?: number) {
    this.exchange = exchange;
    this.length = length;
    this.reuse = ReuseCheck.isWanted(exchange) ? new ReuseCheck() : undefined;
  }

  /** The server asks for the iterator. */
  begin(): void {
    const { exchange } = this;
    if (exchange.closed) exchange.misuse(afterClose, 'iterated the body after close()');
    if (exchange.iterating) exchange.misuse(once, 'iterated the body a second time');
    exchange.iterating = true;
  }

  /** The server asks for a chunk. */
  ask(): void {
    const { exchange } = this;
    if (exchange.closed) exchange.misuse(afterClose, 'asked for a chunk after close()');
    if (this.pending) exchange.misuse(overlap, 'asked for a chunk while it waited for another');
    checkAsking(exchange);
    checkMiddlewareAsking(exchange);
    // Whoever asks for more has sent what there was.
    if (exchange.bytes > 0) exchange.headSent = true;
  }

  /** The application makes a chunk, or begins to. */
  call<Step>(next: () => Step): Step {
    const { exchange } = this;
    exchange.running += 1;
    try {
      return next();
    } catch (error) {
      this.fail();
      throw error;
    } finally {
      exchange.running -= 1;
    }
  }

  /** A promise of a chunk. */
  async wait(step: PromiseLike<unknown>): Promise<unknown> {
    const { exchange } = this;
    this.pending = true;
    exchange.running += 1;
    try {
      return await settle(exchange, step, 'waited for ever in the middle of its body');
    } catch (error) {
      this.fail();
      throw error;
    } finally {
      exchange.running -= 1;
      this.pending = false;
    }
  }

  /** The application threw, and the body has ended with that. */
  fail(): void {
    const { exchange } = this;
    // Reading on is not the application's fault then, nor is a body cut short.
    if (!exchange.closed) lookAgain(exchange);
  }

  /** Looks at what next() gave. */
  take(step: unknown, isAsync: boolean): void {
    const { exchange } = this;
    // The server has left; what still comes is nobody's.
    if (exchange.closed || exchange.stopped) return;
    if (!isObject(step)) {
      exchange.fault(resultShape, `gave ${describe(step)} from next()`);
    } else if (!isAsync && isThenable(step)) {
      exchange.fault(syncPromise, 'gave a promise from next() of a synchronous iterator');
    } else if (Reflect.get(step, 'done')) {
      this.end();
    } else {
      if (exchange.exhausted) exchange.fault(resultShape, 'went on after it had said `done`');
      this.look(Reflect.get(step, 'value'), isAsync);
    }
  }

  /** The server stops before the end. False if it has done so already. */
  stop(): boolean {
    const { exchange } = this;
    if (exchange.stopped) return false;
    exchange.stopped = true;
    exchange.forget();
    return true;
  }

  /** The application has come to its stop: from now on it can be closed. */
  finishStop(): void {
    const { exchange } = this;
    if (!exchange.closed && !exchange.exhausted) lookAgain(exchange);
  }

  private look(chunk: unknown, isAsync: boolean): void {
    const { exchange } = this;
    checkTrapped(exchange, 'yielded another chunk', false);
    const length = checkChunk(exchange, chunk, isAsync);
    if (!exchange.started) exchange.fault(startedFirst, 'yielded a chunk before startResponse');
    exchange.chunks += 1;
    if (exchange.outer !== undefined) exchange.outerChunks = exchange.outer.chunks;
    if (this.length !== undefined && exchange.chunks > this.length) {
      this.reportLength(`yielded chunk ${exchange.chunks} of`);
    }
    if (isBytes(chunk)) countBytes(exchange, length, false);
    this.reuse?.follow(exchange, chunk);
  }

  private end(): void {
    const { exchange } = this;
    if (exchange.exhausted) return;
    exchange.exhausted = true;
    lookAgain(exchange);
    if (!exchange.started && exchange.chunks === 0) {
      exchange.fault(startedEver, 'ended its body without calling startResponse');
    }
    if (this.length !== undefined && exchange.chunks !== this.length) {
      this.reportLength(`ended after ${exchange.chunks} chunks of`);
    }
    checkSum(exchange);
    checkReads(exchange);
    this.reuse?.follow(exchange, undefined);
  }

  private reportLength(deed: string): void {
    this.exchange.fault(lengthExact, `${deed} a body whose length is ${this.length}`);
  }
}

// ---- What the server gets

type Chunks = Partial<Record<'return' | 'throw', (value?: unknown) => unknown>>;

/** The iterator of a synchronous body. It has no end of its own: close() is the body's. */
export class SyncChunks implements IterableIterator<unknown> {
  readonly #pass: Pass;
  readonly #chunks: Iterator<unknown>;

  constructor(pass: Pass, chunks: Iterator<unknown>) {
    this.#pass = pass;
    this.#chunks = chunks;
  }

  next(): IteratorResult<unknown> {
    const pass = this.#pass;
    pass.ask();
    if (pass.exchange.stopped) return ended(undefined);
    const step = pass.call(() => this.#chunks.next());
    try {
      pass.take(step, false);
    } catch (error) {
      giveUp(this.#chunks);
      pass.fail();
      pass.exchange.rethrow(error, resultShape, 'gave from next() what cannot be read');
    }
    return step;
  }

  return(value?: unknown): IteratorResult<unknown> {
    const pass = this.#pass;
    if (!pass.stop()) return ended(value);
    try {
      return this.#chunks.return?.(value) ?? ended(value);
    } finally {
      pass.finishStop();
    }
  }

  throw(error: unknown): IteratorResult<unknown> {
    const pass = this.#pass;
    if (!pass.stop() || !hasMethod(this.#chunks, 'throw')) throw error;
    try {
      return this.#chunks.throw?.(error) ?? ended(undefined);
    } finally {
      pass.finishStop();
    }
  }

  close(): void {
    reportCloseOfIterator(this.#pass.exchange);
  }

  [Symbol.iterator](): this {
    return this;
  }
}

/** The iterator of an asynchronous body. */
export class AsyncChunks implements AsyncIterableIterator<unknown> {
  readonly #pass: Pass;
  readonly #chunks: AsyncIterator<unknown>;

  constructor(pass: Pass, chunks: AsyncIterator<unknown>) {
    this.#pass = pass;
    this.#chunks = chunks;
  }

  // What the server does wrong is thrown at once, at its own call; what the
  // application does wrong comes where its chunk would have come.
  next(): Promise<IteratorResult<unknown>> {
    const pass = this.#pass;
    pass.ask();
    if (pass.exchange.stopped) return Promise.resolve(ended(undefined));
    return this.#take(pass.call(() => this.#chunks.next()));
  }

  async #take(promise: unknown): Promise<IteratorResult<unknown>> {
    const pass = this.#pass;
    const step = isThenable(promise) ? await pass.wait(promise) : promise;
    try {
      pass.take(step, true);
    } catch (error) {
      giveUp(this.#chunks);
      pass.fail();
      pass.exchange.rethrow(error, resultShape, 'gave from next() what cannot be read');
    }
    return step as IteratorResult<unknown>;
  }

  // Not held up by a next() that still waits: the server may have to leave. What
  // the application does in its finally blocks may take time before it is closed.
  async return(value?: unknown): Promise<IteratorResult<unknown>> {
    const pass = this.#pass;
    if (!pass.stop()) return ended(value);
    try {
      return (await this.#chunks.return?.(value)) ?? ended(value);
    } finally {
      pass.finishStop();
    }
  }

  async throw(error: unknown): Promise<IteratorResult<unknown>> {
    const pass = this.#pass;
    if (!pass.stop() || !hasMethod(this.#chunks, 'throw')) throw error;
    try {
      return (await this.#chunks.throw?.(error)) ?? ended(undefined);
    } finally {
      pass.finishStop();
    }
  }

  close(): void {
    reportCloseOfIterator(this.#pass.exchange);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function ended(value: unknown): IteratorReturnResult<unknown> {
  return { done: true, value };
}

// After a report the server takes the iteration for ended; the application must
// learn of it, too.
function giveUp(chunks: Chunks | Iterator<unknown> | AsyncIterator<unknown>): void {
  try {
    const stopped: unknown = (chunks as Chunks).return?.();
    if (isThenable(stopped)) stopped.then(undefined, () => {});
  } catch {
    // The report is on its way; a second error would hide it.
  }
}
