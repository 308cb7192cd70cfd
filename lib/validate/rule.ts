// The rules of the interface, and the report of a broken one: an error that is thrown
// where the rule was broken, or a warning. A report names who did what and where, the
// rule with its source, and a remedy.

import { quote } from '../describe.ts';

// ---- Rules

/** The party that breaks a rule. Middleware is bound by the rules of both its neighbours. */
export type Party = 'application' | 'server' | 'middleware';

/** The effect of a broken rule: a report is thrown, a warning is given, or nothing. */
export type Severity = 'error' | 'warning' | 'off';

/** One rule of the interface. */
export interface Rule {
  /** Its name in messages and in the `severity` option, such as `status-space`. */
  readonly id: string;
  /** The party that usually breaks it; a report names the one that did. */
  readonly party: Party;
  /** Applies unless the `severity` option names the rule; `off` means `warning` when strict. */
  readonly severity: Severity;
  /** The source of the rule: a section of PEP 3333 or of an RFC. */
  readonly reference: string;
  /** The rule itself, one sentence. */
  readonly text: string;
  /** How to fix what breaks it, one sentence. */
  readonly hint: string;
  /** A better hint for this value; undefined if the usual one fits. */
  readonly hintFor?: ((found: unknown) => string | undefined) | undefined;
}

/** Every rule that the validator knows, in the order in which the modules are loaded. */
export const rules: Rule[] = [];

/** Adds a rule to the list. The parameters are the fields of `Rule`, in a table's order. */
export function rule(
  party: Party,
  id: string,
  severity: Severity,
  reference: string,
  text: string,
  hint: string,
  hintFor?: Rule['hintFor'],
): Rule {
  const made: Rule = { id, party, severity, reference, text, hint, hintFor };
  rules.push(made);
  return made;
}

/** A rule about one value: its fields, and the question whether a value breaks it. */
export type Row<Value> = readonly [
  id: string,
  severity: Severity,
  reference: string,
  text: string,
  hint: string,
  isBroken: (value: Value) => boolean,
];

/** A rule together with the question whether a value breaks it. */
export interface Check<Value> {
  readonly rule: Rule;
  readonly isBroken: (value: Value) => boolean;
}

/** Adds the rules of a table to the list. */
export function table<Value>(
  party: Party,
  rows: ReadonlyArray<Row<Value>>,
): ReadonlyArray<Check<Value>> {
  return rows.map(([id, severity, reference, text, hint, isBroken]) => {
    return { rule: rule(party, id, severity, reference, text, hint), isBroken };
  });
}

// The chapters of PEP 3333 that the rules come from.
export const STRING_TYPES = 'PEP 3333, "A Note On String Types"';
export const APPLICATION_SIDE = 'PEP 3333, "The Application/Framework Side"';
export const DETAILS = 'PEP 3333, "Specification Details"';
export const ENVIRON = 'PEP 3333, "environ Variables"';
export const STREAMS = 'PEP 3333, "Input and Error Streams"';
export const START_RESPONSE = 'PEP 3333, "The start_response() Callable"';
export const CONTENT_LENGTH = 'PEP 3333, "Handling the Content-Length Header"';
export const STREAMING = 'PEP 3333, "Buffering and Streaming"';
export const BLOCK_BOUNDARIES = 'PEP 3333, "Middleware Handling of Block Boundaries"';
export const WRITE = 'PEP 3333, "The write() Callable"';
export const UNICODE = 'PEP 3333, "Unicode Issues"';
export const ERROR_HANDLING = 'PEP 3333, "Error Handling"';
export const OTHER_FEATURES = 'PEP 3333, "Other HTTP Features"';
export const FILE_HANDLING = 'PEP 3333, "Optional Platform-Specific File Handling"';

// Rules that PEP 3333 does not have, since only JavaScript needs them.
export const ITERATION = 'ECMA-262, "Iteration"';

// ---- Reports

/** How a validator reports. */
export interface ValidatorOptions {
  /**
   * Called with each warning, in place of `process.emitWarning`. A rule that is broken
   * again at the same place is only counted, and reported again at the 10th, the 100th,
   * the 1000th time. A validator with this option counts for itself; all others in a
   * process count together. The function may throw, so that a test fails on a warning, too.
   */
  onWarning?: (warning: WSGIError) => void;
  /** The severity of single rules, by id, in place of their own. */
  severity?: Readonly<Record<string, Severity>>;
  /** Checks the optional rules as well. */
  strict?: boolean;
}

/**
 * A broken rule. The message has up to four lines: what was done and by whom, the rule
 * and its source, how to fix it, and the author's file and line. The stack holds the
 * author's calls, without those of this package and of Node.
 */
export class WSGIError extends Error {
  /** The name of the error in a trace. */
  override readonly name: string = 'WSGIError';
  /** The id of the rule. */
  readonly code: string;
  /** The party that broke it. */
  readonly party: Party;
  /** The source of the rule: a section of PEP 3333 or of an RFC. */
  readonly reference: string;
  /** How to fix it. */
  readonly hint: string;
  /** Of a warning: how often the rule was broken at this place so far. */
  readonly count: number = 1;

  /**
   * The report of a broken rule.
   *
   * @param message - The whole text of the report.
   * @param rule - The rule, with the party that broke it and the hint for this case.
   */
  constructor(message: string, rule: Pick<Rule, 'id' | 'party' | 'reference' | 'hint'>) {
    super(message);
    this.code = rule.id;
    this.party = rule.party;
    this.reference = rule.reference;
    this.hint = rule.hint;
  }
}

/** A broken rule, before it becomes a message. */
export interface Breach {
  rule: Rule;
  party: Party;
  /** The party as a message names it: `The application hello`. */
  subject: string;
  /** The action of the party, as the rest of that sentence. */
  action: string;
  hint: string;
  /** Whether the call that broke the rule is on the stack now. */
  isCall: boolean;
  /** Whether the call on the stack only revealed another party's mistake. */
  isShown: boolean;
  /** The call of startResponse, if there was one. */
  mark: CallMark | undefined;
}

// A test-suite may make a validator for each test, but all of them print for one reader.
const printed: Map<string, number> = new Map();

/** Decides between error, warning and silence, and delivers. */
export class Reporter {
  /** The last value that `onWarning` threw: it is not an error of what is checked. */
  thrown: unknown = undefined;
  private readonly onWarning: (warning: WSGIError) => void;
  private readonly severities: ReadonlyMap<string, Severity>;
  private readonly strict: boolean;
  private readonly counts: Map<string, number>;
  /**
   * The objects that belong to one request only: each environ, an input that was read, a
   * body or an iterator that can be iterated once. The value is the number of an exchange:
   * for a body, the exchange that used it; otherwise the outermost exchange. It is not the
   * exchange itself, which would keep its environ in memory until the next full collection.
   */
  readonly used: WeakMap<object, number> = new WeakMap();

  /** Throws a TypeError when `severity` names an unknown rule or severity. */
  constructor({ onWarning, severity = {}, strict = false }: ValidatorOptions) {
    this.onWarning = onWarning ?? emitWarning;
    this.counts = onWarning === undefined ? printed : new Map();
    this.strict = strict;
    this.severities = new Map(Object.entries(severity));
    for (const [id, value] of this.severities) checkSeverity(id, value);
  }

  /** The severity of a breach of `rule` here. */
  severityOf(rule: Rule, usual: Severity = rule.severity): Severity {
    const chosen = this.severities.get(rule.id);
    if (chosen !== undefined) return chosen;
    return this.strict && usual === 'off' ? 'warning' : usual;
  }

  /** Throws a WSGIError, or warns. */
  deliver(severity: Severity, breach: Breach): void {
    if (severity === 'off') return;
    const error = makeError(breach);
    if (severity === 'error') throw error;
    const warning = this.count(error, breach);
    if (warning === undefined) return;
    try {
      this.onWarning(warning);
    } catch (thrown) {
      this.thrown = thrown;
      throw thrown;
    }
  }

  // The same warning for every request would hide all others.
  private count(error: WSGIError, { subject, action }: Breach): WSGIError | undefined {
    const place = PLACE.exec(error.message)?.[0] ?? `${subject} ${action}`;
    const key = `${error.code} ${place}`;
    const count = (this.counts.get(key) ?? 0) + 1;
    if (count > 1 || this.counts.size < MOST_PLACES) this.counts.set(key, count);
    if (count === 1) return error;
    if (!/^10+$/.test(String(count))) return undefined;
    const where = PLACE.test(error.message) ? `\n${error.message.split('\n').at(-1)}` : '';
    const message = `${subject} ${action}: ${error.code}, ${count} times so far.${where}`;
    return Object.assign(new WSGIError(message, { ...error, id: error.code }), { count });
  }
}

/** How a message names the place of the call that broke the rule. */
export const CALL = 'The call is at';
const SHOWN = 'It showed in the call at';

// A bound against an application that makes every message a new one.
const MOST_PLACES = 10_000;
const PLACE = /\S+:\d+:\d+$/;

function checkSeverity(id: string, severity: Severity): void {
  if (!rules.some((each) => each.id === id)) {
    throw new TypeError(
      `the option severity names ${quote(id)}, which is not a rule: see \`rules\``,
    );
  }
  if (!['error', 'warning', 'off'].includes(severity)) {
    throw new TypeError(`the severity of ${quote(id)} is one of 'error', 'warning' and 'off'`);
  }
}

function makeError(breach: Breach): WSGIError {
  const { rule: broken, party, subject, action, hint, isCall, isShown, mark } = breach;
  const ruleLine = `${broken.id}: ${broken.text} (${broken.reference})`;
  const message = `${subject} ${action}.\n${ruleLine}\n${hint}`;
  const error = withDeepStack(() => new WSGIError(message, { ...broken, party, hint }));
  const [here] = isCall ? callerFrames(error.stack) : [];
  // A value was found too late for a stack of its own: the response has one.
  const [there] = here === undefined ? callerFrames(mark?.stack) : [];
  const found = here ?? there;
  if (found !== undefined) {
    const called = isShown ? SHOWN : CALL;
    const intro = found === here ? called : (mark?.intro ?? 'startResponse was called at');
    error.message = `${message}\n${intro} ${found.place}`;
  }
  const frames = authorFrames(there === undefined ? error.stack : mark?.stack);
  const lines = frames.map(({ line }) => `\n${line}`).join('');
  error.stack = `${error.name}: ${error.message}${lines}`;
  return error;
}

function emitWarning(warning: WSGIError): void {
  const { process, console } = globalThis;
  if (typeof process?.emitWarning === 'function') {
    process.emitWarning(warning.message, { type: 'WSGIWarning', code: warning.code });
  } else {
    console.warn(`WSGIWarning: ${warning.message}`);
  }
}

// ---- Places

/** The stack of a call, taken when it was made. Its text costs time only when it is read. */
export interface CallMark {
  readonly stack?: string | undefined;
  /** The words before the place; by default those for startResponse. */
  readonly intro?: string;
}

// Few, since the engine takes them at every call. A call that comes through trace and error
// page has some frames of this library before those of the author, and a call that comes
// through a validator inside has many.
const MARKED_FRAMES = 8;
const MARKED_THROUGH_INNER = 24;

/** Marks the call of `callee`, which is on the stack now. */
export function markCall(callee: (...args: never[]) => unknown, hasInner: boolean): CallMark {
  const mark: CallMark = {};
  if (typeof Error.captureStackTrace !== 'function') return new Error();
  const limit = Error.stackTraceLimit;
  limitStacks(hasInner ? MARKED_THROUGH_INNER : MARKED_FRAMES);
  Error.captureStackTrace(mark, callee);
  limitStacks(limit);
  return mark;
}

// An assignment would throw where the intrinsic objects are frozen.
function limitStacks(limit: number): void {
  Reflect.set(Error, 'stackTraceLimit', limit);
}

// The author's call may be made through many of ours.
const DEEP = 50;

function withDeepStack<Made>(make: () => Made): Made {
  const limit = Error.stackTraceLimit;
  limitStacks(Math.max(limit, DEEP));
  try {
    return make();
  } finally {
    limitStacks(limit);
  }
}

interface Frame {
  line: string;
  /** File, line and column. */
  place: string;
}

// A frame of a stack, in the engines' spellings:
//
//   V8        at name (file:///app.ts:12:34)     at async file:///app.ts:12:34
//             at eval (eval at name (file:///app.ts:12:34), <anonymous>:5:6)
//   others    name@file:///app.ts:12:34
const FRAMES = [
  /^\s*at .*? \((?:eval at .*? \()*(.+?:\d+:\d+)\)/,
  /^\s*at (?:async )?(.+:\d+:\d+)$/,
  /@(.+:\d+:\d+)$/,
];

const OWN_FOLDERS = ownFolders();

// This file's own frame shows where this library is. A module that was loaded while source
// maps were on is reported as its source, so both spellings can be in one stack.
function ownFolders(): string[] {
  const { stack } = withDeepStack(() => new Error());
  const [own = ''] = readFrames(stack).map(({ place }) => place);
  const [, here] = /^(.*\/)validate\/rule\.[jt]s:\d+:\d+$/.exec(slashed(own)) ?? [];
  if (here === undefined) return [];
  const isUrl = here.startsWith('file:');
  const path = isUrl ? decodeURIComponent(here).replace(/^file:\/\/(?:\/(?=\w:))?/, '') : here;
  return [here, path, path.replace(/\/dist\/lib\/$/, '/lib/')];
}

// Windows spells a path with backslashes, and a URL without.
function slashed(place: string): string {
  return place.replaceAll('\\', '/');
}

/**
 * The frames that belong neither to this library nor to the engine, innermost first. In a
 * bundle there are none, because the frames of this library look like the author's there.
 */
function authorFrames(stack: string | undefined): Frame[] {
  return OWN_FOLDERS.length === 0 ? [] : readFrames(stack).filter(isAuthors);
}

/**
 * The author's frames of the party that called the validator. The frames below a validator
 * that called that party belong to another one.
 */
function callerFrames(stack: string | undefined): Frame[] {
  const frames = OWN_FOLDERS.length === 0 ? [] : readFrames(stack);
  const start = frames.findIndex((frame) => !isIn(VALIDATOR, frame));
  const end = frames.findIndex((frame, index) => index > start && isIn(CALLING, frame));
  const callers = start === -1 ? [] : frames.slice(start, end === -1 ? undefined : end);
  return callers.filter(isAuthors);
}

function isAuthors(frame: Frame): boolean {
  return isForeign(frame) && !frame.place.startsWith('node:');
}

const VALIDATOR = /\/validate(?:\/[\w-]+)?\.[jt]s:\d+:\d+$/;
// The files from which a validator calls the application, or a method of its body.
const CALLING = /\/validate(?:\/body|\/middleware)?\.[jt]s:\d+:\d+$/;

function isIn(files: RegExp, { place }: Frame): boolean {
  return isLibrary(place) && files.test(slashed(place));
}

/**
 * Whether a stream of Node or of the web made the call that is on the stack now, perhaps
 * through an author's generator. The calls before the next one of this library count.
 */
export function isCalledByStream(): boolean {
  const frames = readFrames(withDeepStack(() => new Error()).stack);
  const callers = frames.slice(frames.findIndex(isForeign));
  const end = callers.findIndex((frame) => !isForeign(frame));
  return callers.slice(0, end === -1 ? undefined : end).some(({ place }) => STREAM.test(place));
}

const STREAM = /^node:internal\/(?:streams|webstreams|deps\/undici)\//;

function isForeign({ place }: Frame): boolean {
  return !isLibrary(place);
}

/** Whether a file of a stack, spelled as a path or as a URL, belongs to this library. */
export function isLibrary(file: string): boolean {
  const path = slashed(file);
  return OWN_FOLDERS.some((folder) => path.startsWith(folder));
}

function readFrames(stack: string | undefined): Frame[] {
  // The author may have replaced Error.prepareStackTrace.
  if (typeof stack !== 'string') return [];
  return stack.split('\n').flatMap((line) => {
    const place = FRAMES.map((frame) => frame.exec(line)?.[1]).find((each) => each !== undefined);
    return place === undefined ? [] : [{ line, place }];
  });
}
