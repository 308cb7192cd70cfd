// The body: what the application returns, how the server iterates it, each chunk, all
// bytes together, and how it is closed. The server gets an object in the body's place
// that gives the body's own chunks, each looked at on its way.

import { count, describe, isObject, isThenable, property } from '../describe.ts';
import { asyncIteratorOf } from '../web-stream.ts';
import { checkEnvironAfter, restoreEnviron } from './environ.ts';
import { checkUnchanged } from './head.ts';
import {
  AwaitedPromise,
  type Exchange,
  GraceSet,
  Guard,
  GuardedIterator,
  type GuardedMethod,
  type IterationHooks,
  type Pending,
  type Report,
  giveReport,
  hasMethod,
  isArray,
  isBytes,
  isInstance,
  kindOf,
} from './mechanism.ts';
import {
  checkGathered,
  checkMiddlewareAsking,
  checkPropagated,
  runApplication,
} from './middleware.ts';
import {
  APPLICATION_SIDE,
  CALL,
  CONTENT_LENGTH,
  DETAILS,
  ERROR_HANDLING,
  ITERATION,
  START_RESPONSE,
  STREAMING,
  STRING_TYPES,
  WRITE,
  type Rule,
  WSGIError,
  isCalledByStream,
  rule,
} from './rule.ts';
import { checkFileClosed, checkReads } from './streams.ts';

// ---- The result of the application

const notNone = rule('application', 'body-not-none', 'error', WRITE,
  'An application returns an iterable, even if it is an empty array.',
  'Look for a missing return; return [] for no content.');

const notString = rule('application', 'body-not-string', 'error', APPLICATION_SIDE,
  'The body is an iterable of chunks, and not itself a string or bytes.',
  'Return [bytes].',
  (body) => (typeof body === 'string' ? 'Return [new TextEncoder().encode(text)].' : undefined));

const iterable = rule('application', 'body-iterable', 'error', APPLICATION_SIDE,
  'The body can be iterated.', 'Return an array of chunks, a generator or a stream.',
  (body) => {
    if (body === 'write') return 'Call startResponse first, and return the body: [bytes].';
    if (typeof body === 'function') return 'Call it. If it is middleware, apply it: wrap(app).';
    if (isThenable(body)) return 'Await the promise.';
    if (hasMethod(body, 'stream')) return 'Return its stream: blob.stream().';
    if (hasMethod(body, 'createReadStream')) {
      return 'Return environ[\'wsgi.file_wrapper\'](handle), or handle.createReadStream().';
    }
    if (!hasMethod(body, 'arrayBuffer')) return undefined;
    return 'Return its own body, or [new Uint8Array(await response.arrayBuffer())].';
  });

const closeCallable = rule('application', 'close-callable', 'error', DETAILS,
  'close of a body is a function, if it is there.', 'Make it a method, or rename it.');

const shared = rule('application', 'body-shared', 'error', DETAILS,
  'Each request has a body of its own, unless it is one that can be iterated again.',
  'Make the generator or the stream anew for each request.');

/** Checks what the application returned, and gives what goes to the server. */
export function guardBody(exchange: Exchange, body: unknown): unknown {
  checkReportTrapped(exchange);
  if (!checkBody(exchange, body)) {
    restoreEnviron(exchange);
    return body;
  }
  exchange.returned = true;
  exchange.readsAhead = hasMethod(body, 'pipe') || hasMethod(body, 'getReader');
  checkGathered(exchange);
  const guard = new BodyGuard(exchange, body);
  exchange.file = exchange.files?.get(body);
  const isShadowed = exchange.file !== undefined && canReplaceIn(body);
  const guarded = isShadowed ? guard.shadow() : guard.proxy();
  exchange.body = guarded;
  grace.add(exchange);
  return guarded;
}

function checkBody(exchange: Exchange, body: unknown): body is object {
  const broken = brokenByBody(body);
  if (broken !== undefined) {
    const isWrite = body === exchange.write && body !== undefined;
    const what = isWrite ? 'the write() that startResponse gave' : describe(body);
    exchange.reportValue(broken, `returned ${what}`, isWrite ? 'write' : body);
    return false;
  }
  const close = property(body, 'close');
  if (close !== undefined && close !== null && typeof close !== 'function') {
    exchange.reportValue(closeCallable, `returned a body whose close is ${describe(close)}`);
  }
  if (!isObject(body)) return false;
  // An array can be iterated for every request, an iterator or a stream once.
  if (['next', 'getReader', 'pipe'].some((name) => hasMethod(body, name))) {
    checkUnused(exchange, body, `returned ${describe(body)}`);
  }
  return true;
}

function checkUnused(exchange: Exchange, once: object, action: string): void {
  const { used } = exchange.reporter;
  const user = used.get(once);
  if (user !== undefined && user !== exchange.number) {
    exchange.reportValue(shared, `${action} that an earlier request had`);
  }
  used.set(once, exchange.number);
}

function brokenByBody(body: unknown): Rule | undefined {
  if (body === undefined || body === null || body === false) return notNone;
  // A string is iterated by characters, and bytes by numbers.
  if (typeof body === 'string' || ArrayBuffer.isView(body) || isInstance(body, ArrayBuffer)) {
    return notString;
  }
  const canIterate = hasMethod(body, Symbol.asyncIterator) || hasMethod(body, Symbol.iterator);
  return canIterate ? undefined : iterable;
}

// A file wrapper may give an array, whose own iteration cannot be replaced for this one use.
function canReplaceIn(body: object): boolean {
  return !Array.isArray(body) && property(body, 'constructor') !== Set;
}

// ---- How the server iterates

const asyncFirst = rule('server', 'body-each-or-call', 'error', 'tsgiref/types, ResponseBody',
  'If a body has both kinds of iterator, the asynchronous one is used.',
  'Look for Symbol.asyncIterator first.');

const otherMembers = rule('server', 'body-attr-access', 'warning', DETAILS,
  'A server uses nothing of a body except its iterator, its length and its close().',
  'Leave other members alone, unless it is your own file wrapper\'s result.');

const iteratedOnce = rule('server', 'body-once', 'error', DETAILS,
  'A body is iterated once.', 'Keep the iterator, or the chunks.');

const afterClose = rule('server', 'body-after-close', 'error', DETAILS,
  'A body is not iterated after its close().', 'Call close() last.');

const overlap = rule('server', 'iter-overlap', 'error', DETAILS,
  'A chunk is asked for when the one before it has come and was sent.',
  'Await each next() before the next.');

const pastLength = rule('server', 'server-past-length', 'warning', CONTENT_LENGTH,
  'A server stops iterating when it has sent as much as Content-Length says.',
  'Stop there: call return() of the iterator and close() of the body.');

// ---- The chunks of the iterator, and the call of startResponse before them

const startedFirst = rule('application', 'sr-before-body', 'error', START_RESPONSE,
  'startResponse is called before the first chunk, even an empty one.',
  'Call startResponse before the first yield.');

const startedEver = rule('application', 'sr-never-empty-body', 'error', START_RESPONSE,
  'startResponse is called, even when there is no content.',
  'Call startResponse before the body ends.');

// Whether a server expects the call before the first chunk is a question for --check.

const lengthExact = rule('application', 'body-len-exact', 'error', DETAILS,
  'The length of a body is the number of its chunks.',
  'Remove `length`, or set it to the number of chunks.');

const resultShape = rule('application', 'iter-result-shape', 'error', ITERATION,
  'next() gives an object with `done` and `value`, and `done` stays true.',
  'Write a generator, which does this by itself.',
  (step) => {
    if (isBytes(step)) return 'Give { done: false, value: chunk }, or write a generator.';
    return isObject(step) ? 'Give { done: true } at the end, or write a generator.' : undefined;
  });

// An iterator that never says `done` goes on with this when it has no more to give.
function saysNothing(step: object): boolean {
  return !('done' in step) && Reflect.get(step, 'value') === undefined;
}

const syncPromise = rule('application', 'iter-sync-promise', 'error', ITERATION,
  'A synchronous iterator yields chunks, not promises of them.',
  'Await the chunk, or make the generator an async one.',
  (body) => (Array.isArray(body) ? 'Await them: return await Promise.all(chunks).' : undefined));

const returnValue = rule('application', 'body-return-value', 'error', ITERATION,
  'The body is all that a generator yields; its return value is not part of it.',
  'Yield it: yield chunk, or yield* chunks, in place of return.');

// Text and lists may be results that nobody wants, unless nothing else was yielded.
function isMeantAsBody(value: unknown, isAll: boolean): boolean {
  // Nothing is lost with it.
  if (property(value, 'length') === 0) return false;
  if (isArray(value)) return isAll || value.some(isBytes);
  if (typeof value === 'string' || ['Map', 'Set'].includes(kindOf(value))) return isAll;
  const ofBodies = [Symbol.iterator, Symbol.asyncIterator, 'arrayBuffer'];
  // An asynchronous generator waits for a promise before it returns.
  return isThenable(value) || ofBodies.some((name) => hasMethod(value, name));
}

// Node knows its streams by these. Without them Node iterates a body, as it does with any
// other, so that stream.pipeline and compose do not go past the iterator. An author's call
// goes to the real stream, as without a validator, and is reported.
const STREAM_MARKS: ReadonlySet<PropertyKey> =
  new Set(['on', 'pipeThrough', '_readableState', '_writableState']);

/** Takes the place of the body. */
class BodyGuard extends Guard implements IterationHooks {
  private readonly isAsync: boolean;
  private readonly length: number | undefined;
  private readonly realClose: GuardedMethod | undefined;
  private readonly realIterator: GuardedMethod | undefined;
  private readonly reuse: ReuseCheck | undefined;
  private canStop = false;
  private isGenerator = false;
  private isPending = false;

  constructor(exchange: Exchange, body: object) {
    super(exchange, body);
    this.isAsync = hasMethod(body, Symbol.asyncIterator);
    this.length = lengthOf(body);
    this.realClose = this.realMethod('close');
    this.realIterator = this.realMethod(Symbol.iterator);
    this.reuse = ReuseCheck.isWanted(exchange) ? new ReuseCheck() : undefined;
  }

  // The prototype is hidden: a server that recognises a stream's class would bypass the
  // iterator, and the interface has nothing else.
  protected override prototype(): null {
    return null;
  }

  override get(target: object, key: PropertyKey): unknown {
    // Python asks len(); an array says so in `length`, a Set in `size`.
    if (key === 'length') return this.length;
    if (STREAM_MARKS.has(key) && isCalledByStream()) return undefined;
    return super.get(target, key);
  }

  override has(target: object, key: PropertyKey): boolean {
    if (key === 'length') return this.length !== undefined;
    return key === 'close' || (!STREAM_MARKS.has(key) && super.has(target, key));
  }

  /** The body itself, with the iteration and the closing in it replaced. */
  shadow(): object {
    const { real } = this;
    // The real ones are looked up before they are replaced.
    const begin = this.isAsync ? this.realMethod(Symbol.asyncIterator) : this.realIterator;
    const key = this.isAsync ? Symbol.asyncIterator : Symbol.iterator;
    const replace = (name: PropertyKey, value: unknown): void => {
      Reflect.defineProperty(real, name, { value, configurable: true, writable: true });
    };
    const closeBody = this.closeBody.bind(this);
    replace(key, () => this.iterate(() => begin?.(real, [])));
    replace('close', function (this: unknown) {
      return closeBody(this);
    });
    return real;
  }

  protected override member(key: PropertyKey): GuardedMethod | undefined {
    switch (key) {
      case Symbol.asyncIterator:
        return this.isAsync ? () => this.iterate(() => this.beginAsync()) : undefined;
      case Symbol.iterator:
        if (!this.isAsync) return () => this.iterate(() => this.realIterator?.(this.real, []));
        return this.realIterator && (() => this.iterateSync());
      case 'close':
        return (self) => this.closeBody(self);
      // A stream keeps its file open until it is destroyed or cancelled, even if it was never
      // read: a server that knows of that may do it, and take care of an error in doing so.
      case 'destroy':
      case 'cancel':
        return this.realMethod(key);
      case 'on':
        return this.listener(this.realMethod(key));
      default:
        return undefined;
    }
  }

  protected override reportOther(name: string): void {
    this.exchange.reportCall(otherMembers, `used ${name} of the body`);
  }

  private listener(on: GuardedMethod | undefined): GuardedMethod | undefined {
    if (on === undefined) return undefined;
    return (self, args) => {
      if (args[0] !== 'error') this.reportOther('on');
      return on(self, args);
    };
  }

  private beginAsync(): unknown {
    return asyncIteratorOf(this.real as AsyncIterable<unknown>);
  }

  private iterate(begin: () => unknown): unknown {
    const { exchange } = this;
    this.attempt(() => {
      if (exchange.closed) exchange.reportCall(afterClose, 'iterated the body after close()');
      if (exchange.iterating) exchange.reportCall(iteratedOnce, 'iterated the body a second time');
    });
    exchange.iterating = true;
    const chunks = begin();
    if (!hasMethod(chunks, 'next')) {
      const action = `returned a body whose iterator is ${describe(chunks)}`;
      exchange.reportValue(iterable, action, undefined);
      if (!isObject(chunks)) return chunks;
    }
    this.canStop = hasMethod(chunks, 'return');
    this.isGenerator = /^(?:Async)?Generator$/.test(String(property(chunks, Symbol.toStringTag)));
    if (this.isGenerator) {
      const action = 'returned a body whose iterator is a generator';
      this.attempt(() => checkUnused(exchange, chunks as object, action));
    }
    return new GuardedIterator(chunks as object, this.isAsync, this);
  }

  private iterateSync(): unknown {
    this.exchange.reportCall(asyncFirst, 'asked for the synchronous iterator of the body');
    return this.realIterator?.(this.real, []);
  }

  // ---- One step

  beforeNext(): boolean {
    const { exchange } = this;
    this.attempt(() => {
      if (exchange.closed) exchange.reportCall(afterClose, 'asked for a chunk after close()');
      if (this.isPending) {
        exchange.reportCall(overlap, 'asked for a chunk while another was pending');
      }
      checkAsking(exchange);
      checkMiddlewareAsking(exchange);
    });
    // A server that asks for more has sent what there was. (PEP 3333, "Buffering and Streaming")
    if (exchange.bytes > 0) exchange.headSent = true;
    exchange.asked = true;
    return exchange.stopped;
  }

  callNext(next: () => unknown): unknown {
    return this.attempt(() => runApplication(this.exchange, next));
  }

  async awaitStep(step: PromiseLike<unknown>): Promise<unknown> {
    const { exchange } = this;
    this.isPending = true;
    exchange.running += 1;
    try {
      return await settle(exchange, step, 'has not gone on in the middle of its body');
    } catch (error) {
      throw this.fail(error);
    } finally {
      exchange.running -= 1;
      this.isPending = false;
    }
  }

  private attempt<Result>(step: () => Result): Result {
    try {
      return step();
    } catch (error) {
      throw this.fail(error);
    }
  }

  // An error is on its way to the server, even after an earlier report. The server may
  // close the body in a finally block; a second report must not replace this error.
  private fail(error: unknown): unknown {
    const { exchange } = this;
    exchange.raised = undefined;
    exchange.thrownBack = undefined;
    endIteration(exchange);
    return exchange.letOut(error);
  }

  afterNext(step: unknown): void {
    const { exchange } = this;
    // The server has left: no further chunk is sent.
    if (exchange.closed || exchange.stopped) return;
    this.attempt(() => {
      try {
        this.checkStep(step);
      } catch (error) {
        exchange.rethrow(error, resultShape, 'gave from next() what cannot be read');
      }
    });
  }

  private checkStep(step: unknown): void {
    const { exchange } = this;
    checkReportTrapped(exchange);
    if (!this.isAsync && isThenable(step)) {
      const action = 'gave a promise from next() of a synchronous iterator';
      exchange.reportValue(syncPromise, action);
    } else if (!isObject(step) || isBytes(step) || saysNothing(step)) {
      exchange.reportValue(resultShape, `gave ${describe(step)} from next()`, step);
    } else if (Reflect.get(step, 'done')) {
      this.end(Reflect.get(step, 'value'));
    } else {
      if (exchange.exhausted) exchange.reportValue(resultShape, 'went on after it had said `done`');
      this.checkNextChunk(Reflect.get(step, 'value'));
    }
  }

  private checkNextChunk(chunk: unknown): void {
    const { exchange } = this;
    checkTrapped(exchange, 'yielded another chunk', false);
    checkChunk(exchange, chunk, this.isAsync, this.real);
    if (!exchange.started) {
      exchange.reportValue(startedFirst, 'yielded a chunk before startResponse');
    }
    exchange.chunks += 1;
    if (exchange.outer !== undefined) exchange.outerChunks = exchange.outer.chunks;
    if (this.length !== undefined && exchange.chunks > this.length) {
      this.reportLength(`yielded chunk ${exchange.chunks} of`);
    }
    if (isBytes(chunk)) countBytes(exchange, chunk.length, false);
    // A server stops at the length, and asks for none of the other chunks.
    if (exchange.bytes === exchange.length && isArray(this.real)) {
      checkRest(exchange, this.real.slice(exchange.chunks));
    }
    this.reuse?.follow(exchange, chunk);
  }

  private end(value: unknown): void {
    const { exchange } = this;
    if (exchange.exhausted) return;
    exchange.exhausted = true;
    endIteration(exchange);
    checkTrapped(exchange, 'ended its body', false);
    if (this.isGenerator && isMeantAsBody(value, exchange.chunks === 0)) {
      exchange.reportValue(returnValue, `returned ${describe(value)} inside its body's generator`);
    }
    if (!exchange.started && exchange.chunks === 0) {
      exchange.reportValue(startedEver, 'ended its body without calling startResponse');
    }
    if (this.length !== undefined && exchange.chunks !== this.length) {
      this.reportLength(`ended after ${count(exchange.chunks, 'chunk')} of`);
    }
    checkSum(exchange);
    checkReads(exchange);
    this.reuse?.follow(exchange, undefined);
  }

  private reportLength(action: string): void {
    const whole = `${action} a body whose length is ${this.length}`;
    this.exchange.reportValue(lengthExact, whole);
  }

  // ---- The end of the iteration

  beforeStop(): boolean {
    const { exchange } = this;
    if (exchange.stopped) return false;
    exchange.stopped = true;
    forgetPending(exchange);
    return true;
  }

  afterStop(): void {
    const { exchange } = this;
    endIteration(exchange);
    // The body was closed while it was stopped. The server need not wait for that, so the
    // report can only be a warning.
    if (exchange.restored && !exchange.failed) checkPropagated(exchange, true);
  }

  close(): void {
    this.exchange.reportCall(closeOnBody, 'called close() of the iterator');
  }

  private closeBody(self: unknown): unknown {
    const { exchange } = this;
    if (exchange.closed) {
      exchange.reportCall(closeTwice, 'called close() again');
      return undefined;
    }
    exchange.closed = true;
    forgetBody(exchange);
    // An earlier report was let out, or it was caught by code that did not go on.
    exchange.raised = undefined;
    forgetPending(exchange);
    grace.delete(exchange);
    exchange.inner?.forEach(lookForClose);
    let result: unknown;
    try {
      result = this.realClose?.(self, []);
    } catch (error) {
      throw this.failClose(error);
    }
    if (!isThenable(result)) {
      this.finishClose();
      return result;
    }
    const closed = this.awaitClose(result);
    const closing = new AwaitedPromise<unknown>((resolve) => resolve(closed));
    exchange.closing = closing;
    grace.add(exchange);
    return closing;
  }

  private async awaitClose(closing: PromiseLike<unknown>): Promise<unknown> {
    let value: unknown;
    try {
      value = await closing;
    } catch (error) {
      throw this.failClose(error);
    }
    this.finishClose();
    return value;
  }

  private failClose(error: unknown): unknown {
    const { exchange } = this;
    restoreEnviron(exchange);
    // A report needs no second one.
    if (!isInstance(error, WSGIError)) {
      exchange.reportValue(closeThrows, `threw ${describe(error)} from close()`, error);
    }
    return exchange.letOut(error);
  }

  private finishClose(): void {
    const { exchange } = this;
    try {
      if (exchange.failed) return;
      // A running step may still throw its report.
      if (exchange.running === 0) checkReportTrapped(exchange);
      if (exchange.asked && !exchange.ended && !exchange.stopped && this.canStop) {
        exchange.reportCall(returnCalled, 'stopped the iteration without return()');
      } else if (exchange.ended || !exchange.stopped) {
        checkPropagated(exchange, false);
      }
      checkFileClosed(exchange);
      checkEnvironAfter(exchange);
    } catch (error) {
      throw exchange.letOut(error);
    } finally {
      restoreEnviron(exchange);
    }
  }
}

/** How many chunks the body says it has. */
function lengthOf(body: object): number | undefined {
  // The length of a stream, such as wsgi.input, is one of bytes.
  if (hasMethod(body, 'read')) return undefined;
  const length = isInstance(body, Set) ? body.size : property(body, 'length');
  return typeof length === 'number' ? length : undefined;
}

/**
 * Looks at a server that asks for another chunk. A loop asks once after the last byte, to
 * learn of the end. A server that asks again ignores the length.
 */
function checkAsking(exchange: Exchange): void {
  const { bytes, length, isHead, code } = exchange;
  if (length === undefined || bytes < length || isHead || FORBIDDEN.has(code)) return;
  exchange.askedPastLength += 1;
  if (exchange.askedPastLength === 2 && !exchange.exhausted) {
    const action = `went on to ask for chunks after the ${count(length, 'byte')} announced`;
    exchange.reportCall(pastLength, action);
  }
}

// ---- Errors that the application must let pass

const throwTrapped = rule('application', 'sr-throw-trapped', 'error', ERROR_HANDLING,
  'An error that startResponse throws back is not caught: it is too late for another response.',
  'Let the error pass: the server cuts the response, so that it does not look whole.');

/** Reports an application that goes on after startResponse threw its error back. */
export function checkTrapped(exchange: Exchange, action: string, isCall = true): void {
  if (exchange.thrownBack === undefined) return;
  exchange.thrownBack = undefined;
  const whole = `caught the error that startResponse threw back, and ${action}`;
  if (isCall) exchange.reportCall(throwTrapped, whole);
  else exchange.reportValue(throwTrapped, whole);
}

const reportTrapped = rule('application', 'report-trapped', 'error', 'tsgiref/validate, WSGIError',
  'A WSGIError is for the author of the application: the application does not answer it.',
  'Fix what the report says, or catch only errors of your own.',
  (report) => (isInstance(report, WSGIError) ? `Fix what it says: ${report.hint}` : undefined));

/** Reports an application that has caught a report and goes on, here where it cannot. */
function checkReportTrapped(exchange: Exchange): void {
  const { raised } = exchange;
  if (raised === undefined) return;
  exchange.raised = undefined;
  const [said = ''] = raised.message.split('\n');
  const action = `caught the report "${said}" (${raised.code}), and went on`;
  exchange.mark = { stack: raised.stack, intro: CALL };
  exchange.reportValue(reportTrapped, action, raised);
}

// ---- One chunk: bytes, and bytes that stay what they are

const chunkBytes = rule('application', 'chunk-bytes', 'error', STRING_TYPES,
  'Every chunk of the body is a Uint8Array.', 'Encode text: new TextEncoder().encode(text).',
  chunkHint);

/** Also what write() must not be given. */
export const wasDetached: Rule = rule(
  'application', 'chunk-detached', 'error', 'ECMA-262, "ArrayBuffer Objects"',
  'The bytes of a chunk are still there when it is yielded.',
  'Yield it before its buffer is transferred, or yield a copy.');

function checkChunk(exchange: Exchange, chunk: unknown, isAsync: boolean, body: object): void {
  if (isBytes(chunk)) {
    if (chunk.length > 0 || !isDetached(chunk)) return;
    exchange.reportValue(wasDetached, 'yielded a chunk whose buffer has been transferred');
  } else if (!isAsync && isThenable(chunk)) {
    exchange.reportValue(syncPromise, 'yielded a promise', body);
  } else {
    exchange.reportValue(chunkBytes, `yielded ${describe(chunk)}`, chunk);
  }
}

const CHUNK_HINTS: ReadonlyMap<string, string> = new Map([
  ['ArrayBuffer', 'Wrap it: new Uint8Array(buffer).'],
  ['SharedArrayBuffer', 'Copy it: new Uint8Array(buffer).slice().'],
  ['Error', 'Make text of its message: new TextEncoder().encode(error.message).'],
  ['FormData', 'Return the body of new Response(form), and its Content-Type.'],
  ['String', 'Make text of it: new TextEncoder().encode(String(value)).'],
  ['URLSearchParams', 'Make text of it: new TextEncoder().encode(String(value)).'],
]);

/** How to make a chunk of what was found; undefined for the usual hint. */
export function chunkHint(chunk: unknown): string | undefined {
  if (typeof chunk === 'number') return 'Use [bytes], or yield bytes, not the numbers in them.';
  if (chunk === undefined || chunk === null) return 'Yield new Uint8Array(0) for nothing.';
  if (typeof chunk === 'function') return 'Call it, and yield what it returns.';
  if (typeof chunk !== 'object') return undefined;
  const fitting = CHUNK_HINTS.get(kindOf(chunk));
  if (fitting !== undefined) return fitting;
  if (ArrayBuffer.isView(chunk)) {
    return 'Wrap it: new Uint8Array(view.buffer, view.byteOffset, view.byteLength).';
  }
  if (isThenable(chunk)) return 'Await it.';
  if (hasMethod(chunk, 'arrayBuffer')) return 'Use new Uint8Array(await blob.arrayBuffer()).';
  if (Array.isArray(chunk)) {
    if (typeof chunk[0] === 'number') return 'Use Uint8Array.from(numbers).';
  }
  if (hasMethod(chunk, 'pipe') || hasMethod(chunk, Symbol.asyncIterator)) {
    return 'Return it as the body, or yield what is in it: yield* stream.';
  }
  if (hasMethod(chunk, Symbol.iterator)) return 'Yield its items: yield* chunks.';
  return 'Make text of it: new TextEncoder().encode(JSON.stringify(value)).';
}

/** Whether the buffer of an empty chunk has been transferred. */
export function isDetached(chunk: Uint8Array): boolean {
  try {
    // Not all engines have `buffer.detached` yet; none makes a view of a detached buffer.
    return new Uint8Array(chunk.buffer).length < 0;
  } catch {
    return true;
  }
}

const chunkReused = rule('application', 'chunk-reused', 'off', STREAMING,
  'The bytes of a chunk stay as they are: the server may still be sending them.',
  'Use a new Uint8Array for each chunk.');

/** Remembers the last chunk, to see whether it is still the same later. */
class ReuseCheck {
  private chunk: Uint8Array | undefined = undefined;
  private sum = 0;
  private reported = false;

  /** Looks at the last chunk again, and remembers the next. */
  follow(exchange: Exchange, chunk: unknown): void {
    if (this.reported) return;
    if (this.chunk !== undefined && checksum(this.chunk) !== this.sum) {
      this.reported = true;
      exchange.reportValue(chunkReused, 'changed a chunk after it had yielded it');
    }
    this.chunk = isBytes(chunk) ? chunk : undefined;
    this.sum = this.chunk === undefined ? 0 : checksum(this.chunk);
  }

  /** To look at every byte twice costs time, so it is done only on demand. */
  static isWanted(exchange: Exchange): boolean {
    return exchange.reporter.severityOf(chunkReused) !== 'off';
  }
}

// FNV-1a, 32 bits.
function checksum(chunk: Uint8Array): number {
  let sum = 0x811c9dc5;
  for (const byte of chunk) sum = Math.imul(sum ^ byte, 0x01000193);
  return sum;
}

// ---- All bytes, against the status and the Content-Length they were announced with.
// Chunks of write() count like those of the body.

const onHead = rule('application', 'body-on-head', 'off', 'RFC 9110 §9.3.2',
  'The answer to HEAD has no content; the server throws it away.',
  'Return [] if REQUEST_METHOD is HEAD, with the headers of a GET.');

const FORBIDDEN: ReadonlyMap<number, Rule> = new Map([
  [204, rule('application', 'body-on-204', 'error', 'RFC 9110 §15.3.5',
    'A 204 response has no content.', 'Return [], or answer with 200.')],
  [205, rule('application', 'body-on-205', 'error', 'RFC 9110 §15.3.6',
    'A 205 response has no content.', 'Return [], or answer with 200.')],
  // It may announce the length that a 200 would have had.
  [304, rule('application', 'body-on-304', 'error', 'RFC 9110 §15.4.5',
    'A 304 response has no content: the client has it already.',
    'Return [], or answer with 200.')],
]);

const contentType = rule('application', 'content-type-required', 'warning', 'RFC 9110 §8.3',
  'A response with content names its type, in Content-Type.',
  'Add it, such as [\'Content-Type\', \'text/plain; charset=utf-8\'].');

const tooLong = rule('application', 'body-too-long', 'error', CONTENT_LENGTH,
  'A body has no more bytes than its Content-Length says.',
  'Count bytes, not characters, or leave Content-Length to the server.', lengthHint);

const tooShort = rule('application', 'body-too-short', 'error', CONTENT_LENGTH,
  'A body has as many bytes as its Content-Length says.',
  'Count bytes, not characters, or leave Content-Length to the server.', lengthHint);

function lengthHint(found: unknown): string | undefined {
  const { bytes, isEncoded } = found as Exchange;
  if (bytes === 0) return 'Nothing came: look for a missing yield, or a stream read before.';
  return isEncoded ? 'Count the bytes after compression, or leave Content-Length out.' : undefined;
}

// Whether a server sends a byte past the length, and closes the connection of a body that
// falls short, is a question for --check.

/** Counts a chunk, and reports one that is too much. */
export function countBytes(exchange: Exchange, size: number, isWrite: boolean): void {
  if (size === 0) return;
  const report = (broken: Rule, action: string): void => {
    if (isWrite) exchange.reportCall(broken, action, exchange);
    else exchange.reportValue(broken, action, exchange);
  };
  if (!exchange.headLooked) checkFirst(exchange, report);
  exchange.bytes += size;
  const { bytes, length } = exchange;
  if (!isTooMuch(exchange, bytes)) return;
  report(tooLong, `sent ${count(bytes, 'byte')} with a Content-Length of ${length}`);
}

// A file may be longer than Content-Length: the server sends its first bytes.
// (PEP 3333, "Optional Platform-Specific File Handling")
function isTooMuch({ length, isHead, code, file }: Exchange, bytes: number): boolean {
  const isBound = length !== undefined && file === undefined && !isHead && !FORBIDDEN.has(code);
  return isBound && bytes > length;
}

// Looks at the chunks that are left of an array when there is as much as was announced.
function checkRest(exchange: Exchange, chunks: readonly unknown[]): void {
  const { bytes, length } = exchange;
  const sum = chunks.filter(isBytes).reduce((before, chunk) => before + chunk.length, bytes);
  if (!isTooMuch(exchange, sum)) return;
  const action = `returned ${count(sum, 'byte')} with a Content-Length of ${length}`;
  exchange.reportValue(tooLong, action, exchange);
}

// The head is sent with the first byte.
function checkFirst(exchange: Exchange, report: (broken: Rule, action: string) => void): void {
  exchange.headLooked = true;
  const { code, isHead, hasContentType } = exchange;
  checkUnchanged(exchange);
  const forbidden = FORBIDDEN.get(code);
  if (forbidden !== undefined) report(forbidden, `sent content with the status ${code}`);
  else if (isHead) report(onHead, 'sent content in answer to HEAD');
  if (forbidden !== undefined || isHead || hasContentType || !exchange.started) return;
  report(contentType, 'sent content without a Content-Type');
}

// Checks the sum, when the body has ended by itself.
function checkSum(exchange: Exchange): void {
  if (!exchange.headLooked) checkUnchanged(exchange);
  const { bytes, length, isHead, code } = exchange;
  if (length === undefined || bytes >= length || isHead || FORBIDDEN.has(code)) return;
  const action = `ended its body after ${count(bytes, 'byte')} of a Content-Length of ${length}`;
  exchange.reportValue(tooShort, action, exchange);
}

// ---- close(): called once, on the body itself, when the request ends, however it ends

const closeCalled = rule('server', 'close-called', 'error', DETAILS,
  'close() of a body is called when the request ends.',
  'Call it in a finally block around the iteration, if it is there.');

const notReturn = rule('server', 'close-vs-return', 'error', DETAILS,
  'return() of the iterator is not close() of the body: a server calls both.',
  'Call body.close(), even when a loop over the body was left early.');

const returnCalled = rule('server', 'return-called', 'error', ITERATION,
  'A server that stops early calls return() of the iterator, so that finally blocks run.',
  'Call iterator.return?.() before body.close(); a for loop does it by itself.');

const closeTwice = rule('server', 'close-twice', 'warning', DETAILS,
  'close() is called once.', 'Remember that it was called.');

const closeOnBody = rule('server', 'close-on-iterable', 'error', DETAILS,
  'close() belongs to the body that was returned, not to its iterator.', 'Call body.close().');

const closeAwaited = rule('server', 'close-awaited', 'warning', 'tsgiref/types, ResponseBody',
  'A close() that returns a promise is awaited.', 'Await body.close().');

const closeThrows = rule('application', 'close-throws', 'warning', DETAILS,
  'close() does not throw: the response is over, and another cannot be sent.',
  'Catch what can fail while closing, and report it on wsgi.errors.',
  (error) => {
    const isMistake = [TypeError, ReferenceError].some((kind) => isInstance(error, kind));
    return isMistake ? 'Fix the error, which is in close() itself or in what it calls.' : undefined;
  });

/** The iteration is over, so that close() is due. */
function endIteration(exchange: Exchange): void {
  exchange.ended = true;
  grace.add(exchange);
}

/** Looks for the close() of a request that middleware has sent, whose own body is closed now. */
function lookForClose(inner: Exchange): void {
  if (inner.ended && !inner.closed && !inner.isSameRequest) grace.add(inner);
}

// ---- Duties that were not done in time. They show when nobody makes a call that could
// throw, so each is a warning. A missing close() is looked for soon after the iteration: a
// server may send its last bytes first, but must then call close(). A body that was
// dropped, or a promise that can never settle, is reported when the engine collects it,
// which may be late or never.

const settles = rule('application', 'app-settles', 'warning', DETAILS,
  'An application that was called comes to an end: it returns, or it throws.',
  'Look for a promise that never settles, such as an event that never comes.');

const grace = new GraceSet<Exchange>(10, (exchange) => {
  const { closed, closing, ended } = exchange;
  if (closed) {
    if (closing?.isAwaited === false) exchange.reportLate(closeAwaited, 'did not await close()');
  } else if (!ended) {
    watchCollection(exchange);
  } else {
    unclosed.add(exchange);
  }
});

// Middleware that answers for a failed body, as the error page does, may have to read
// its own program first.
const unclosed = new GraceSet<Exchange>(200, (exchange) => {
  const { closed, outer, stopped, missed, isSameRequest } = exchange;
  // Middleware may close its application's body when its own is closed. If they have the same
  // request, the validator around the middleware checks that.
  if (closed || missed || (outer !== undefined && (isSameRequest || !outer.closed))) return;
  exchange.missed = true;
  forgetBody(exchange);
  const action = `${stopped ? 'stopped' : 'ended'} the iteration and did not call close()`;
  exchange.reportLate(stopped ? notReturn : closeCalled, action);
});

// To have an object watched by the collector costs more than all the checks of an
// exchange together, so it is done only for those that live long. The collector keeps the
// reports. They must not hold a watched object, nor the exchange: a server can often be
// reached from its startResponse, and the body from the server.
function watchCollection(exchange: Exchange): void {
  const { body, pending } = exchange;
  if (body !== undefined && (exchange.outer === undefined || !exchange.isSameRequest)) {
    const report = exchange.prepareLate(closeCalled, 'dropped the body and did not call close()');
    droppedBodies?.register(body, report, exchange);
  }
  exchange.body = undefined;
  if (pending?.promise === undefined) return;
  pending.report = exchange.prepareLate(settles, pending.action);
  pending.exchange = undefined;
  lostPromises?.register(pending.promise, pending);
  pending.promise = undefined;
}

/** Stops the watch for a dropped body: it was closed, or a missing close() was reported. */
function forgetBody(exchange: Exchange): void {
  if (exchange.body === undefined) droppedBodies?.unregister(exchange);
  exchange.body = undefined;
}

const droppedBodies = collectorOf<Report>(giveReport);
const lostPromises = collectorOf<Pending>(reportUnsettled);

function collectorOf<Held>(
  onCollected: (held: Held) => void,
): FinalizationRegistry<Held> | undefined {
  if (typeof globalThis.FinalizationRegistry !== 'function') return undefined;
  return new FinalizationRegistry(onCollected);
}

/** The promises of applications that have not settled. */
const waiting = new Set<Pending>();
let isListening = false;

/** Waits for what the application promised, and reports if it never comes. */
export async function settle<Value>(
  exchange: Exchange,
  promise: PromiseLike<Value>,
  action: string,
): Promise<Value> {
  forgetPending(exchange);
  const pending: Pending = { action, promise, exchange, report: undefined };
  exchange.pending = pending;
  waiting.add(pending);
  grace.add(exchange);
  // A process with nothing left to do ends, even if a promise is still pending.
  if (!isListening) globalThis.process?.on?.('beforeExit', reportAllUnsettled);
  isListening = true;
  try {
    return await promise;
  } finally {
    if (exchange.pending === pending) forgetPending(exchange);
  }
}

/** Stops waiting for the application, which need not settle once it was stopped. */
function forgetPending(exchange: Exchange): void {
  if (exchange.pending === undefined) return;
  waiting.delete(exchange.pending);
  exchange.pending = undefined;
}

function reportAllUnsettled(): void {
  for (const pending of waiting) reportUnsettled(pending);
}

function reportUnsettled(pending: Pending): void {
  if (!waiting.delete(pending)) return;
  const { action, exchange, report = exchange?.prepareLate(settles, action) } = pending;
  if (report !== undefined) giveReport(report);
}
