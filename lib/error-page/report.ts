// What there is to say of an error: its causes, the calls that led to it with
// their source, and the request. Nothing here knows how it will be shown.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe } from '../describe.ts';
import { property } from '../handlers/exception.ts';
import type { WSGIEnvironment } from '../types.ts';
import { type Entry, readEnviron } from './environ.ts';

/** One error of a chain of causes. */
export interface ErrorReport {
  name: string;
  message: string;
  frames: Frame[];
  /** What a validator's error says of the rule that was broken. */
  rule: { code: string; reference: string; hint: string } | undefined;
}

/** One call on the stack. */
export interface Frame {
  call: string;
  file: string;
  line: number;
  /** Whether the file is the application's own, and no library or part of Node. */
  own: boolean;
  /** The lines around it; empty where the file cannot be read. */
  source: SourceLine[];
}

export interface SourceLine {
  number: number;
  text: string;
  failing: boolean;
}

export interface Report {
  errors: ErrorReport[];
  request: string;
  environ: Entry[];
}

const LONGEST_CHAIN = 5;
const MOST_FRAMES = 30;
const LINES_AROUND = 4;

/** Everything to be shown of `error`, thrown while this request was served. Never throws. */
export function makeReport(error: unknown, environ: WSGIEnvironment): Report {
  const errors: ErrorReport[] = [];
  const queue: unknown[] = [error];
  while (queue.length > 0 && errors.length < LONGEST_CHAIN) {
    const next = queue.shift();
    errors.push(describeError(next));
    const cause = property(next, 'cause');
    if (cause !== undefined) queue.push(cause);
    const parts = property(next, 'errors');
    if (Array.isArray(parts)) queue.push(...parts.slice(0, LONGEST_CHAIN));
  }
  return { errors, ...readEnviron(environ) };
}

function describeError(error: unknown): ErrorReport {
  const name = text(property(error, 'name'));
  const message = text(property(error, 'message'));
  const frames = readFrames(text(property(error, 'stack')) ?? '');
  const rule = readRule(error);
  return {
    name: name ?? 'Thrown, though it is no Error',
    message: withoutRule(message ?? describe(error), rule),
    frames,
    rule,
  };
}

// The rule and its hint stand in the message, too; they are shown apart from it.
function withoutRule(message: string, rule: ErrorReport['rule']): string {
  if (rule === undefined) return message;
  const { code, hint } = rule;
  const lines = message.split('\n').filter((line) => !line.startsWith(code) && line !== hint);
  return lines.join('\n');
}

function readRule(error: unknown): ErrorReport['rule'] {
  const code = text(property(error, 'code'));
  const reference = text(property(error, 'reference'));
  const hint = text(property(error, 'hint'));
  if (property(error, 'name') !== 'WSGIError' || code === undefined) return undefined;
  return { code, reference: reference ?? '', hint: hint ?? '' };
}

//     at call (file:///path/app.ts:9:5)     at /path/app.ts:9:5     at async call (…)
const FRAME =
  /^\s+at (?:(.*?) \()?((?:file:\/\/)?(?:[a-zA-Z]:)?[^():]*|node:[^():]*):(\d+):\d+\)?$/;

function readFrames(stack: string): Frame[] {
  const frames: Frame[] = [];
  for (const line of stack.split('\n')) {
    const [, call = '', place, number] = FRAME.exec(line) ?? [];
    if (place === undefined || frames.length === MOST_FRAMES) continue;
    const file = toPath(place);
    const own = isOwn(file);
    const at = Number(number);
    frames.push({ call, file, line: at, own, source: own ? readSource(file, at) : [] });
  }
  return frames;
}

// Built, and with source maps, our own calls stand in lib all the same.
const HERE = fileURLToPath(new URL('..', import.meta.url));
const OURS = [HERE, HERE.replace(/([\\/])dist[\\/]lib[\\/]$/, '$1lib$1')];

function isOwn(file: string): boolean {
  if (file.startsWith('node:') || /[\\/]node_modules[\\/]/.test(file)) return false;
  return !OURS.some((folder) => file.startsWith(folder));
}

function readSource(file: string, failing: number): SourceLine[] {
  try {
    const lines = readFileSync(file, 'utf8').split('\n');
    const first = Math.max(1, failing - LINES_AROUND);
    return lines.slice(first - 1, failing + LINES_AROUND).map((each, index) => ({
      number: first + index,
      text: each.slice(0, 500),
      failing: first + index === failing,
    }));
  } catch {
    return [];
  }
}

function toPath(place: string): string {
  try {
    return place.startsWith('file:') ? fileURLToPath(place) : place;
  } catch {
    return place;
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
