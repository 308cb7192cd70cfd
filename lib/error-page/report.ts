// What there is to say of an error: its causes, the calls that led to it with
// their source, and the request. Nothing here knows how it will be shown.

import { describe } from '../describe.ts';
import { property } from '../handlers/exception.ts';
import type { WSGIEnvironment } from '../types.ts';
import { type EnvironReport, readEnviron } from './environ.ts';
import { type Frame, readFrames } from './frames.ts';

/** An error, and how it belongs to the one before it. */
export interface ErrorReport {
  relation: string;
  name: string;
  message: string;
  frames: Frame[];
  /** What a validator's error says of the rule that was broken. */
  rule: Rule | undefined;
}

export interface Rule {
  code: string;
  /** Who broke it. */
  party: string;
  /** What it says, if the message did, and where it stands. */
  law: string;
  hint: string;
}

export interface Report {
  errors: ErrorReport[];
  environ: EnvironReport;
}

const MOST_ERRORS = 10;
const LONGEST_MESSAGE = 2000;

/** Everything to be shown of `error`, thrown while this request was served. */
export function makeReport(error: unknown, environ: WSGIEnvironment): Report {
  const errors: ErrorReport[] = [];
  collect(error, '', errors, new Set());
  foldRepeated(errors);
  return { errors, environ: readEnviron(environ) };
}

// A chain of causes may run in a circle, and branches where one error holds several.
function collect(error: unknown, relation: string, into: ErrorReport[], seen: Set<unknown>): void {
  if (seen.has(error) || into.length === MOST_ERRORS) return;
  seen.add(error);
  into.push(describeError(error, relation));
  const parts = property(error, 'errors');
  if (Array.isArray(parts)) {
    const some = parts.slice(0, MOST_ERRORS);
    some.forEach((part, index) => {
      collect(part, `error ${index + 1} of the ${parts.length} in it`, into, seen);
    });
  }
  const cause = property(error, 'cause');
  if (cause !== undefined) collect(cause, 'caused by', into, seen);
}

function describeError(error: unknown, relation: string): ErrorReport {
  const stack = text(property(error, 'stack')) ?? '';
  const message = text(property(error, 'message'));
  const rule = readRule(error, message ?? '');
  return {
    relation,
    name: shorten(text(property(error, 'name')) ?? 'Thrown, though it is no Error'),
    message: shorten(withoutRule(message ?? describe(error), rule)),
    frames: readFrames(stack, message ?? ''),
    rule,
  };
}

// By its looks, not by its class: there may be two copies of the validator.
function readRule(error: unknown, message: string): Rule | undefined {
  const code = text(property(error, 'code'));
  if (property(error, 'name') !== 'WSGIError' || code === undefined) return undefined;
  const said = message.split('\n').find((line) => line.startsWith(`${code}: `));
  return {
    code,
    party: text(property(error, 'party')) ?? '',
    law: said?.slice(code.length + 2) ?? text(property(error, 'reference')) ?? '',
    hint: text(property(error, 'hint')) ?? '',
  };
}

// The rule and its hint stand in the message, too; they are shown apart from it.
function withoutRule(message: string, rule: Rule | undefined): string {
  if (rule === undefined) return message;
  const { code, hint } = rule;
  const lines = message.split('\n');
  return lines.filter((line) => !line.startsWith(`${code}: `) && line !== hint).join('\n');
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
