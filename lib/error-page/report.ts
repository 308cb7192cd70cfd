// A report of an error: its causes, the calls that led to it with their source, and the
// request. Nothing here knows how it will be shown.

import { count, describe, property } from '../describe.ts';
import { type Related, partsOf, relatedErrors } from '../handlers/exception.ts';
import { MASK, isSecret, maskText } from '../secrets.ts';
import type { WSGIEnvironment } from '../types.ts';
import { type Entry, type EnvironReport, readEnviron } from './environ.ts';
import { type Frame, frameAt, readFrames } from './frames.ts';

/** An error, and its relation to the one before it. */
export interface ErrorReport {
  /** Its relation to the error before it: empty for the one that was thrown. */
  relation: string;
  name: string;
  message: string;
  /** Whether it is the end of a chain of causes. */
  isRootCause: boolean;
  /** The innermost first. */
  frames: Frame[];
  /** Properties that the author has given to the thrown value, such as `code`, masked. */
  properties: Entry[];
  /** The rule that was broken, if it is an error of the validator. */
  rule: Rule | undefined;
}

export interface Rule {
  code: string;
  /** Who broke it. */
  party: string;
  /** The text of the rule, if the message had it, and its source. */
  ruleText: string;
  hint: string;
}

export interface Report {
  errors: ErrorReport[];
  /** Of the request; undefined for an error outside of any. */
  environ: EnvironReport | undefined;
}

/** A line of a file in which there is an error without a trace. */
export interface Place {
  path: string;
  line: number;
}

/** An error, and the circumstances in which it was thrown. */
export interface ErrorContext {
  error: unknown;
  /** Of the request that was being served. */
  environ?: WSGIEnvironment | undefined;
  /** The fields of the request's form, as they were sent and as far as they were read. */
  form?: string | undefined;
  /** The place of an error that has no trace of its own. */
  place?: Place | undefined;
  /** A request for this path is answered when a new version of the application runs. */
  reloadPath?: string | undefined;
}

const MOST_PROPERTIES = 20;
const LONGEST_MESSAGE = 2000;

/** Everything to be shown of an error. */
export function makeReport({ error, environ, form, place }: ErrorContext): Report {
  const errors = relatedErrors(error).map(describeError);
  foldRepeated(errors);
  if (place !== undefined && errors[0]) errors[0].frames = [frameAt(place.path, place.line)];
  return { errors, environ: environ && readEnviron(environ, form) };
}

function describeError({ error, relation, isRootCause }: Related): ErrorReport {
  const stack = text(property(error, 'stack')) ?? '';
  const message = text(property(error, 'message'));
  const rule = readRule(error, message ?? '');
  return {
    relation,
    name: shorten(text(property(error, 'name')) ?? 'The thrown value is not an Error'),
    message: shorten(maskText(withoutRule(message ?? describe(error), rule))),
    isRootCause,
    frames: readFrames(stack, message ?? ''),
    properties: rule === undefined ? readProperties(error) : [],
    rule,
  };
}

// The page shows these in other ways.
const SHOWN = ['name', 'message', 'stack', 'cause'];

function readProperties(error: unknown): Entry[] {
  if (typeof error !== 'object' || error === null || Array.isArray(error)) return [];
  const parts = partsOf(error).map((part) => part.error);
  const shown = parts.length === 0 ? SHOWN : [...SHOWN, 'errors'];
  const names = Object.keys(error).filter((name) => {
    return !shown.includes(name) && !parts.includes(property(error, name));
  });
  return names.slice(0, MOST_PROPERTIES).map((name) => {
    if (isSecret(name)) return [name, MASK];
    return [name, shorten(showProperty(property(error, name)))];
  });
}

function showProperty(value: unknown): string {
  try {
    const shown = toPlain(value);
    if (typeof shown !== 'object' || shown === null) return maskText(String(shown));
    return JSON.stringify(shown, hideSecrets) ?? describe(value);
  } catch {
    return describe(value);
  }
}

// Each text is masked by itself: behind a secret, its end is known only here.
function hideSecrets(this: object, key: string, converted: unknown): unknown {
  if (isSecret(key)) return MASK;
  // A Buffer arrives here as the list of its numbers.
  const before: unknown = Reflect.get(this, key);
  const part = ArrayBuffer.isView(before) ? toPlain(before) : toPlain(converted);
  if (typeof part === 'string') return maskText(part);
  if (!Array.isArray(part)) return part;
  // A list may hold names and values in turn, as headers often are.
  return part.map((item: unknown, index) => {
    const name: unknown = part[index - 1];
    return typeof item === 'string' && typeof name === 'string' && isSecret(name) ? MASK : item;
  });
}

// JSON has the numbers of bytes, and nothing of a collection or an error.
function toPlain(value: unknown): unknown {
  if (ArrayBuffer.isView(value)) return count(value.byteLength, 'byte');
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (PAIRS.some((Pairs) => value instanceof Pairs)) {
    return Object.fromEntries(value as Iterable<[string, unknown]>);
  }
  return value instanceof Set ? [...value] : value;
}

const PAIRS = [Map, Headers, URLSearchParams, FormData];

// By its looks, not by its class: there may be two copies of the validator.
function readRule(error: unknown, message: string): Rule | undefined {
  const code = text(property(error, 'code'));
  if (property(error, 'name') !== 'WSGIError' || code === undefined) return undefined;
  const said = message.split('\n').find((line) => line.startsWith(`${code}: `));
  return {
    code,
    party: text(property(error, 'party')) ?? '',
    ruleText: said?.slice(code.length + 2) ?? text(property(error, 'reference')) ?? '',
    hint: text(property(error, 'hint')) ?? '',
  };
}

// The message repeats the rule, the hint and the place of the call, which the page
// shows apart from it.
function withoutRule(message: string, rule: Rule | undefined): string {
  if (rule === undefined) return message;
  const { code, hint } = rule;
  const isRepeated = (line: string): boolean =>
    line.startsWith(`${code}: `) || line === hint || /^The call is at /.test(line);
  return message.split('\n').filter((line) => !isRepeated(line)).join('\n');
}

// An error and its cause share the end of their traces, and a recursion repeats
// one line: once is enough to see it.
function foldRepeated(errors: ErrorReport[]): void {
  const shown = new Set<string>();
  for (const frame of errors.flatMap(({ frames }) => frames)) {
    const place = `${frame.file}:${frame.line}`;
    if (frame.kind === 'own' && shown.has(place)) frame.kind = 'repeated';
    shown.add(place);
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function shorten(value: string): string {
  if (value.length <= LONGEST_MESSAGE) return value;
  return `${value.slice(0, LONGEST_MESSAGE)}… (${value.length} characters)`;
}
