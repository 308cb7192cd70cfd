// The parts of the validator that hold no rules: the state of an exchange, the proxies
// that both sides receive, and tests of unknown values.

import { describe, isObject, isThenable, property } from '../describe.ts';
import { whenDone } from '../proxy.ts';
import type { ResponseHeaders, StartResponse, WSGIEnvironment } from '../types.ts';
import {
  type Breach,
  type CallMark,
  type Party,
  type Reporter,
  type Rule,
  type Severity,
  WSGIError,
} from './rule.ts';

// ---- The exchange

let exchanges = 0;

/** One request and its response, as the validator has seen them so far. */
export class Exchange {
  readonly reporter: Reporter;
  /** Counts exchanges, from 1. */
  readonly number: number = (exchanges += 1);
  /** The application as a message names it: ` hello`, or nothing. */
  readonly name: string;
  /** How many calls of the application, or of its iterator's next(), have not returned. */
  running = 0;

  // ---- Written by middleware.ts
  /** The exchange of the validator around the middleware that called this application. */
  outer: Exchange | undefined = undefined;
  /** The number of the outermost exchange: the same for all exchanges of one request. */
  origin: number = this.number;
  /** The exchange whose application is making this call, even with a wrong environ. */
  caller: Exchange | undefined = undefined;
  /** Whether the application was given the input of the outer exchange. */
  sharesInput = false;
  /** Whether a call of its startResponse has led to a call of the outer one. */
  sharesResponse = false;
  /** The exchanges of validators that the application, a middleware, has called. */
  inner: Exchange[] | undefined = undefined;
  /** How many chunks the outer exchange had yielded when this one last did. */
  outerChunks = -1;
  /** The first call of next() by async middleware that gathers chunks before it returns. */
  early: CallMark | undefined = undefined;

  // ---- Written by environ.ts and streams.ts
  environ!: WSGIEnvironment;
  /** The values in environ before the validator put its own objects there. */
  originals: Array<[key: string, original: unknown, guarded: unknown]> | undefined = undefined;
  /** CGI variables that the server has set to values that are not allowed. */
  badVariables: Set<string> | undefined = undefined;
  /** Whether the server has its own environ again. */
  restored = false;
  isHead = false;
  /** The request's Content-Length; undefined if it is not known. */
  inputLength: number | undefined = undefined;
  pendingReads = 0;
  /** The objects that the server's file wrapper has returned, each with its file. */
  files: WeakMap<object, WrappedFile> | undefined = undefined;

  // ---- Written by start-response.ts
  startResponse!: StartResponse;
  /** Calls so far, with those that threw. */
  starts = 0;
  /** Accepted calls so far; the `write` of an earlier one is stale. */
  generation = 0;
  /** The application's last call. */
  mark: CallMark | undefined = undefined;
  code = 0;
  /** The application's own list, if it is one of pairs, and a copy of it at the call. */
  headers: ResponseHeaders | undefined = undefined;
  headersGiven: ResponseHeaders = [];
  /** The Content-Length that head.ts found in the headers, if there is a valid one. */
  length: number | undefined = undefined;
  hasContentType = false;
  isEncoded = false;
  /** The write() that the application was given. */
  write: unknown = undefined;
  /** Whether a promise of the application's write() is pending. */
  writing = false;
  /** The error that the server threw back, which the application must not catch. */
  thrownBack: unknown = undefined;

  // ---- Written by body.ts
  /** Whether the application has returned a body that can be iterated. */
  returned = false;
  /** The file of that body, if the server's file wrapper has returned it. */
  file: WrappedFile | undefined = undefined;
  /** Whether that body is a stream of the platform, which asks for chunks ahead of time. */
  readsAhead = false;
  /** Whether the server has asked for an iterator. */
  iterating = false;
  /** Whether the server has asked for a chunk. */
  asked = false;
  /** Whether a first byte has been seen on its way to the server. */
  headLooked = false;
  /** Whether the server has taken a byte, and so has sent the head. */
  headSent = false;
  chunks = 0;
  bytes = 0;
  /** How often the server has asked for more after the announced length. */
  askedPastLength = 0;
  /** Whether the body has ended by itself. */
  exhausted = false;
  /** Whether the server has ended the iteration with return() or throw(). */
  stopped = false;
  /** Whether the iteration is over, one way or the other. */
  ended = false;
  closed = false;
  /** The promise that the application's close() returned. */
  closing: { readonly isAwaited: boolean } | undefined = undefined;
  /** Whether a missing close() has been reported. */
  missed = false;
  /** The body that the server has, until the collector watches it. */
  body: object | undefined = undefined;
  /** The promise of the application that is awaited. */
  pending: Pending | undefined = undefined;

  /** Whether an error or a report has reached the server's side, which now only closes. */
  failed = false;
  /** The last report thrown into the application that has not left it. */
  raised: WSGIError | undefined = undefined;
  /** How many calls of the application to the server's objects have not returned. */
  private answering = 0;
  private warnedOf: Set<string> | undefined = undefined;

  constructor(reporter: Reporter, app: unknown) {
    this.reporter = reporter;
    const name = property(app, 'name');
    this.name = typeof name === 'string' && name !== '' ? ` ${name.slice(0, 60)}` : '';
  }

  /** Whether startResponse has been called with valid arguments. */
  get started(): boolean {
    return this.generation > 0;
  }

  /** Whether middleware answers the outer exchange's request with this one's response. */
  get isSameRequest(): boolean {
    return this.sharesInput || this.sharesResponse;
  }

  /** The rules of which a warning was given, here or by the validators next to this one. */
  private get warned(): Set<string> {
    this.warnedOf ??= new Set();
    return this.warnedOf;
  }

  /**
   * Reports the call that breaks `rule`, while the caller is still on the stack. `action`
   * is the message's first sentence without its subject; `found` is the wrong value.
   */
  reportCall(rule: Rule, action: string, found?: unknown, severity?: Severity): void {
    this.report(rule, action, found, severity, true);
  }

  /** Reports a value that breaks `rule`, after the call that brought it. */
  reportValue(rule: Rule, action: string, found?: unknown, severity?: Severity): void {
    this.report(rule, action, found, severity, rule.party === 'server');
  }

  /** Warns of a mistake that was found too late to throw. */
  reportLate(rule: Rule, action: string): void {
    giveReport(this.prepareLate(rule, action));
  }

  /**
   * The warning of `reportLate`, for later. It keeps neither the exchange in memory nor an
   * object of the server or the application.
   */
  prepareLate(rule: Rule, action: string): Report {
    const severity = this.reporter.severityOf(rule) === 'off' ? 'off' : 'warning';
    const report = this.prepare(rule, action, undefined, false, severity);
    const { mark } = report.breach;
    // An engine's own record of a stack holds the functions and objects in it. The text does not.
    if (mark !== undefined) report.breach.mark = { ...mark, stack: mark.stack };
    return report;
  }

  /**
   * Throws a report on. Any other error was thrown by the value itself while it was
   * looked at, and breaks `rule`.
   */
  rethrow(error: unknown, rule: Rule, action: string): void {
    if (isInstance(error, WSGIError) || error === this.reporter.thrown) throw error;
    this.reportCall(rule, `${action} (looking at it throws ${describe(error)})`);
  }

  /** Does what the application asks for, and remembers a report that it is thrown. */
  answer<Result>(step: () => Result): Result {
    this.answering += 1;
    try {
      return step();
    } catch (error) {
      throw this.raise(error);
    } finally {
      this.answering -= 1;
    }
  }

  /** Remembers an error on its way to the server's side, where middleware may catch it. */
  letOut(error: unknown): unknown {
    this.failed = true;
    const caller = this.outer ?? this.caller;
    return caller === undefined ? error : caller.raise(error);
  }

  // The second report may come from a finally block: it must not replace the first.
  private raise(error: unknown): unknown {
    return isInstance(error, WSGIError) ? (this.raised ??= error) : error;
  }

  private report(
    rule: Rule,
    action: string,
    found: unknown,
    usual: Severity | undefined,
    isCall: boolean,
  ): void {
    const severity = this.reporter.severityOf(rule, usual);
    if (severity === 'off') return;
    giveReport(this.prepare(rule, action, found, isCall, severity));
  }

  private prepare(
    rule: Rule,
    action: string,
    found: unknown,
    isCall: boolean,
    severity: Severity,
  ): Report {
    const { reporter, warned, mark } = this;
    // A warning of the inner validator need not be repeated by the one around it. A mistake of
    // the server that the outer one has warned of is not one of the middleware between them.
    const others = (this.inner ?? []).map((inner) => inner.warned);
    if (rule.party === 'server' && this.outer !== undefined) others.push(this.outer.warned);
    // The server's mistake shows in a call of the application, which is not at fault.
    const isShown = rule.party === 'server' && this.answering > 0;
    let { hint } = rule;
    try {
      hint = rule.hintFor?.(found) ?? hint;
    } catch {
      // The value cannot be looked at, and has the usual hint.
    }
    const breach = { rule, action, hint, isCall, isShown, mark, ...this.blame(rule) };
    return { reporter, severity, breach, warned, others };
  }

  // Between two validators there is middleware. A fault that the outer one sees in its
  // application, or the inner one in its server, is the middleware's, because the other
  // validator has accepted that value.
  private blame({ party }: Rule): { party: Party; subject: string } {
    const caller = this.outer ?? this.caller;
    if (party === 'server' && caller === undefined) return { party, subject: 'The server' };
    if (party === 'application' && this.inner === undefined) {
      return { party, subject: `The application${this.name}` };
    }
    const between = party === 'application' ? this : (caller ?? this);
    return { party: 'middleware', subject: `The middleware${between.name}` };
  }
}

/** A report with all that it needs, so that it can be given when its exchange is gone. */
export interface Report {
  readonly reporter: Reporter;
  readonly severity: Severity;
  readonly breach: Breach;
  /** The rules of which the exchange has warned, and those of the validators next to it. */
  readonly warned: Set<string>;
  readonly others: ReadonlyArray<ReadonlySet<string>>;
}

/** Gives a report, unless a validator next to this one has warned of the same. */
export function giveReport({ reporter, severity, breach, warned, others }: Report): void {
  const { id } = breach.rule;
  const isKnown = others.some((ids) => ids.has(id));
  if (isKnown || severity === 'warning') warned.add(id);
  if (!isKnown) reporter.deliver(severity, breach);
}

/** A file that the application has passed to the server's file wrapper. */
export interface WrappedFile {
  /** Whether it has a close() that nobody has called. */
  readonly isOpen: boolean;
}

/** A promise of the application that is awaited. */
export interface Pending {
  readonly action: string;
  /** Both are dropped when the collector watches the promise, and has the report instead. */
  promise: object | undefined;
  exchange: Exchange | undefined;
  report: Report | undefined;
}

// ---- Objects in the place of others

/** A method as the validator passes it on: it knows neither arguments nor result. */
export type Method = (...args: unknown[]) => unknown;

/** A method of a guarded object: `self` is the `this` that the real one is to have. */
export type GuardedMethod = (self: unknown, args: unknown[]) => unknown;

/** The key under which a guarded object answers with its exchange. */
const EXCHANGE = Symbol('exchange');

/**
 * The proxy handler of an object that is what `real` is, except for the methods that a
 * subclass looks at. Every other member is that of `real`. A member that `real` does
 * not have is undefined, as it was.
 */
export abstract class Guard implements ProxyHandler<object> {
  protected readonly exchange: Exchange;
  protected readonly real: object;
  private guarded: object | undefined = undefined;

  constructor(exchange: Exchange, real: object) {
    this.exchange = exchange;
    this.real = real;
  }

  /** The object that takes the place of the real one. */
  proxy(): object {
    // The target is not the real object: a proxy must show the members of a frozen target
    // as they are. Nor does it inherit from the real object: an object that becomes a
    // prototype costs much, and stays until a full collection of garbage.
    this.guarded = new Proxy(Object.create(this.prototype()) as object, this);
    return this.guarded;
  }

  /** The prototype that it shows: that of the real object, so that it is of its class. */
  protected prototype(): object | null {
    return classOf(this.real);
  }

  /** The method to give in place of the real one, for the members that are looked at. */
  protected abstract member(key: PropertyKey): GuardedMethod | undefined;

  /** Reports that a method was called, or a value read, of which the interface knows nothing. */
  protected abstract reportOther(name: string): void;

  get(target: object, key: PropertyKey): unknown {
    if (key === EXCHANGE) return this.exchange;
    if (Object.hasOwn(target, key)) return Reflect.get(target, key);
    const member = this.member(key);
    if (member !== undefined) return this.method(member);
    const value: unknown = Reflect.get(this.real, key, this.real);
    if (typeof key !== 'string' || key === 'constructor' || value === undefined) return value;
    if (typeof value !== 'function') {
      if (!PROBED.test(key)) this.reportOther(key);
      return value;
    }
    if (key in Object.prototype) return value.bind(this.real) as unknown;
    return this.method((self, args) => {
      this.reportOther(key);
      return Reflect.apply(value, self, args) as unknown;
    });
  }

  // A new method in the place of one that is looked at belongs to the target. The next
  // caller gets it, and its own calls are looked at once, not twice.
  set(target: object, key: PropertyKey, value: unknown): boolean {
    if (this.member(key) === undefined) return Reflect.set(this.real, key, value, this.real);
    const descriptor = { value, writable: true, enumerable: true, configurable: true };
    return Reflect.defineProperty(target, key, descriptor);
  }

  has(target: object, key: PropertyKey): boolean {
    return Object.hasOwn(target, key) || Reflect.has(this.real, key);
  }

  /** The real method of this name; undefined if there is none. */
  protected realMethod(key: PropertyKey): GuardedMethod | undefined {
    const method = property(this.real, key);
    return typeof method === 'function' ? (self, args) => call(method, self, args) : undefined;
  }

  // The real method has the real object as `this`: a class may keep its state in private
  // fields. If the method was taken off its object, it has the `this` of that call.
  private method(run: GuardedMethod): Method {
    const { real } = this;
    const isGuarded = (self: unknown): boolean => self === this.guarded;
    return function (this: unknown, ...args) {
      return run(isGuarded(this) ? real : this, args);
    };
  }
}

function classOf(real: object): object | null {
  try {
    return Reflect.getPrototypeOf(real);
  } catch {
    // A Proxy may throw here.
    return null;
  }
}

// Node reads these of any object, to find out whether it is one of its streams: for
// stream.pipeline and compose, for `new Response(…)`, and to print it.
const PROBED =
  /^(?:_|readable|writable|(?:destroyed|closed|errored|aborted|locked|length|size)$)/;

/** Marks a function as one that takes the place of the server's. */
export function markGuarded(exchange: Exchange, guarded: Method): Method {
  return Object.defineProperty(guarded, EXCHANGE, { value: exchange });
}

/** The exchange for which a value of environ was guarded; undefined for any other value. */
export function exchangeOf(value: unknown): Exchange | undefined {
  const found = isObject(value) ? property(value, EXCHANGE) : undefined;
  return isInstance(found, Exchange) ? found : undefined;
}

/** The steps in which an iterator is used. */
export interface IterationHooks {
  /** Before next(). Returns true to end the iteration there. */
  beforeNext(): boolean;
  /** Calls the real next(), which may throw. */
  callNext(next: () => unknown): unknown;
  /** Waits for the promise of a step, which may reject. */
  awaitStep(step: PromiseLike<unknown>): Promise<unknown>;
  /** Looks at a step, and may throw a report. */
  afterNext(step: unknown): void;
  /** Before return() and throw(). Returns false if the iterator was stopped before. */
  beforeStop(): boolean;
  /** When return() and throw() have been carried out. */
  afterStop(): void;
  /** When close() is called, a method that iterators do not have. */
  close(): void;
}

type Source = Partial<Record<'next' | 'return' | 'throw', Method>>;

/** An iterator that gives what another one gives, synchronous or asynchronous as that is. */
export class GuardedIterator {
  readonly #source: Source;
  readonly #isAsync: boolean;
  readonly #hooks: IterationHooks;

  constructor(source: object, isAsync: boolean, hooks: IterationHooks) {
    this.#source = source;
    this.#isAsync = isAsync;
    this.#hooks = hooks;
    Reflect.set(this, isAsync ? Symbol.asyncIterator : Symbol.iterator, () => this);
  }

  // A fault of the caller is thrown at once, at the call. A fault of the source comes
  // where its step would have come.
  next(): unknown {
    const hooks = this.#hooks;
    try {
      if (hooks.beforeNext()) return this.#settle({ done: true, value: undefined });
    } catch (error) {
      void this.#endSource();
      throw error;
    }
    const step = hooks.callNext(() => this.#source.next?.());
    if (!this.#isAsync) return this.#take(step);
    return isThenable(step) ? this.#wait(step) : this.#takeLater(step);
  }

  return(value?: unknown): unknown {
    return this.#stop('return', value, () => this.#settle({ done: true, value }));
  }

  throw(error: unknown): unknown {
    return this.#stop('throw', error, () => {
      if (this.#isAsync) return Promise.reject(error);
      throw error;
    });
  }

  close(): void {
    this.#hooks.close();
  }

  async #wait(step: PromiseLike<unknown>): Promise<unknown> {
    return this.#takeLater(await this.#hooks.awaitStep(step));
  }

  async #takeLater(step: unknown): Promise<unknown> {
    try {
      this.#hooks.afterNext(step);
    } catch (error) {
      // Its finally blocks run before the error comes, as after an error of its own.
      await this.#endSource();
      throw error;
    }
    return step;
  }

  #take(step: unknown): unknown {
    try {
      this.#hooks.afterNext(step);
    } catch (error) {
      void this.#endSource();
      throw error;
    }
    return step;
  }

  // After a report the server considers the iteration ended; the source must learn of it,
  // too. A second error would hide the report.
  async #endSource(): Promise<void> {
    try {
      await this.#source.return?.();
    } catch {
      // The report says more.
    }
  }

  // Does not wait for a pending next(): the client may have left.
  #stop(name: 'return' | 'throw', argument: unknown, otherwise: () => unknown): unknown {
    const hooks = this.#hooks;
    if (!hooks.beforeStop()) return otherwise();
    const hasMember = this.#source[name] !== undefined;
    const stop = (): unknown => (hasMember && this.#source[name]?.(argument)) || otherwise();
    return whenDone(stop, () => hooks.afterStop());
  }

  #settle(step: unknown): unknown {
    return this.#isAsync ? Promise.resolve(step) : step;
  }
}

// ---- The grace period

/**
 * Items that should be deleted soon. One that is still here after one or two intervals is
 * overdue. Adding and deleting are cheap, because nearly all items are deleted in time.
 */
export class GraceSet<Item> {
  private readonly young = new Set<Item>();
  private readonly old = new Set<Item>();
  private readonly onOverdue: (item: Item) => void;
  private readonly interval: number;
  /** The pending timer: the setTimeout that has set it. */
  private timer: { readonly setTimeout: unknown } | undefined = undefined;

  /** @param interval - In milliseconds. */
  constructor(interval: number, onOverdue: (item: Item) => void) {
    this.interval = interval;
    this.onOverdue = onOverdue;
  }

  add(item: Item): void {
    this.young.add(item);
    this.lookLater();
  }

  delete(item: Item): void {
    this.young.delete(item);
    this.old.delete(item);
  }

  private lookLater(): void {
    const { setTimeout } = globalThis;
    // A test may replace setTimeout, and drops the timers of its own one at its end.
    if (typeof setTimeout !== 'function' || this.timer?.setTimeout === setTimeout) return;
    const timer = { setTimeout };
    this.timer = timer;
    setTimeout(() => {
      if (this.timer === timer) this.sweep();
    }, this.interval);
  }

  // An item that is still here at the second look had one whole interval at least.
  private sweep(): void {
    const due = [...this.old];
    this.old.clear();
    for (const item of this.young) this.old.add(item);
    this.young.clear();
    this.timer = undefined;
    if (this.old.size > 0) this.lookLater();
    for (const item of due) this.onOverdue(item);
  }
}

/** A promise that knows whether its outcome is awaited. */
export class AwaitedPromise<Value> extends Promise<Value> {
  isAwaited = false;

  // then() gives an ordinary promise.
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  override then<Result1 = Value, Result2 = never>(
    onFulfilled?: ((value: Value) => Result1 | PromiseLike<Result1>) | null,
    onRejected?: ((reason: unknown) => Result2 | PromiseLike<Result2>) | null,
  ): Promise<Result1 | Result2> {
    this.isAwaited = true;
    return super.then(onFulfilled, onRejected);
  }
}

// ---- Calls

/** `Reflect.apply`, with unknown types. */
export function call(method: unknown, self: unknown, args: readonly unknown[]): unknown {
  return Reflect.apply(method as Method, self, args);
}

// ---- Questions about values of which nothing is known yet. A value that is handed to the
// validator may be a Proxy whose traps throw, or have getters that do. Asking must not
// fail, since the validator has to say what is wrong.

/** The kind of an object by its toString tag, such as `Date`; works across realms. */
export function kindOf(value: unknown): string {
  try {
    return Object.prototype.toString.call(value).slice('[object '.length, -1);
  } catch {
    return '';
  }
}

/** Whether `value` has a method of this name. */
export function hasMethod(value: unknown, key: PropertyKey): boolean {
  return typeof property(value, key) === 'function';
}

// This getter looks at the object itself, not at what it claims to be, knows the arrays
// of other realms, and never throws.
const typedArrayName = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  Symbol.toStringTag,
)?.get;

/** Whether `value` is a Uint8Array or a Buffer. */
export function isBytes(value: unknown): value is Uint8Array {
  return typedArrayName?.call(value) === 'Uint8Array';
}

/** `Array.isArray`, which a revoked Proxy makes throw. */
export function isArray(value: unknown): value is unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** Whether `value` is an Error or looks enough like one to be reported. */
export function isErrorLike(value: unknown): boolean {
  return isObject(value) && typeof property(value, 'message') === 'string';
}

/** `instanceof`, which a Proxy can make throw. */
export function isInstance<Class extends object>(
  value: unknown,
  of: abstract new (...args: never[]) => Class,
): value is Class {
  try {
    return value instanceof of;
  } catch {
    return false;
  }
}
