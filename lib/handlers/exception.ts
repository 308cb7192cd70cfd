// How a caught value is reported on `wsgi.errors`.

import { describe } from '../describe.ts';
import { escapeControls } from '../secrets.ts';

// A chain of causes may run in a circle, and an AggregateError have thousands of parts.
const LONGEST_CHAIN = 10;
const MOST_PARTS = 10;

/**
 * The trace of a caught value, with its causes and with the errors inside an
 * AggregateError. It ends in a line break. Never throws, not even for an error whose own
 * getters throw. Control characters are escaped: a message may contain a client's text,
 * and a terminal would act on it.
 *
 * @param limit - How many calls to show of each trace; undefined shows all.
 */
export function formatException(error: unknown, limit?: number): string {
  let text = '';
  for (const [depth, each] of chainOf(error).entries()) {
    text += `${depth === 0 ? '' : 'Caused by: '}${shortenTrace(traceOf(each), limit)}\n`;
    for (const part of partsOf(each)) {
      text += `One of its errors: ${shortenTrace(traceOf(part), limit)}\n`;
    }
  }
  return escapeControls(text);
}

/** Whether `error` is `wanted`, or was caused by it. */
export function isCausedBy(error: unknown, wanted: unknown): boolean {
  return chainOf(error).includes(wanted);
}

/** Whether `error`, or one of its causes, says that a connection was lost. */
export function isConnectionLost(error: unknown): boolean {
  const codes: unknown[] = ['EPIPE', 'ECONNRESET', 'ECONNABORTED'];
  return chainOf(error).some((each) => codes.includes(property(each, 'code')));
}

// The error, its cause, and so on.
function chainOf(error: unknown): unknown[] {
  const chain = [error];
  let cause = property(error, 'cause');
  while (cause !== undefined && chain.length < LONGEST_CHAIN) {
    chain.push(cause);
    cause = property(cause, 'cause');
  }
  return chain;
}

/** A property of any value; undefined where there is none or it cannot be read. */
export function property(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  try {
    return Reflect.get(value, name);
  } catch {
    return undefined;
  }
}

function partsOf(error: unknown): readonly unknown[] {
  if (property(error, 'name') !== 'AggregateError') return [];
  try {
    return Array.from(property(error, 'errors') as Iterable<unknown>).slice(0, MOST_PARTS);
  } catch {
    return [];
  }
}

function traceOf(error: unknown): string {
  const stack = property(error, 'stack');
  if (typeof stack === 'string' && stack !== '') return stack;
  const message = property(error, 'message');
  if (typeof message === 'string' && message !== '') return `Error: ${message}`;
  return `Thrown, although it is not an Error: ${describe(error)}`;
}

function shortenTrace(trace: string, limit: number | undefined): string {
  if (limit === undefined) return trace;
  const lines = trace.split('\n');
  const firstCall = lines.findIndex((line) => /^\s+at /.test(line));
  return firstCall === -1 ? trace : lines.slice(0, firstCall + limit).join('\n');
}
