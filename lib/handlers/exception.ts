// How a caught value is reported on `wsgi.errors`.

import { count, describe, property } from '../describe.ts';
import { escapeControls } from '../secrets.ts';

const MOST_ERRORS = 10;
// A getter may make a new cause each time.
const LONGEST_CHAIN = 1000;

/** One of the errors that a caught value consists of. */
export interface Related {
  error: unknown;
  /** Its relation to the one before it, such as `caused by`: empty for the caught value. */
  relation: string;
  /** Whether it is the end of a chain of causes. */
  isRootCause: boolean;
}

/**
 * The trace of a caught value, with its causes and with the errors inside it. It ends in a
 * line break. Never throws, not even for an error whose own getters throw. Control
 * characters are escaped: a message may contain a client's text, and a terminal would act
 * on it.
 *
 * @param limit - How many calls to show of each trace; undefined shows all.
 */
export function formatException(error: unknown, limit?: number): string {
  const traces = relatedErrors(error).map(({ error: each, relation }) => {
    const label = relation === '' ? '' : `${relation[0]?.toUpperCase()}${relation.slice(1)}: `;
    return `${label}${shortenTrace(traceOf(each), limit)}\n`;
  });
  return escapeControls(traces.join(''));
}

/**
 * A caught value, its causes, and the errors inside an AggregateError or a SuppressedError,
 * which may have causes, too. If there are more than ten, the end of the chain of causes is
 * among those that are returned. Never throws.
 */
export function relatedErrors(error: unknown): Related[] {
  const related = collect(error, '', MOST_ERRORS, new Set());
  const [, ...causes] = related;
  const last = causes.at(-1);
  // Only a chain without branches has one end, and a circle has none.
  const isChain = causes.every(({ relation }) => relation.startsWith('caused by'));
  if (last && isChain) last.isRootCause = property(last.error, 'cause') === undefined;
  return related;
}

/** At most `room` errors, without those that were seen. */
function collect(error: unknown, relation: string, room: number, seen: Set<unknown>): Related[] {
  const chain = chainOf(error).filter((each) => !seen.has(each));
  for (const each of chain) seen.add(each);
  const isWhole = chain.length <= room;
  const last = chain.at(room === 1 ? 0 : -1);
  const shown = isWhole ? chain : [...chain.slice(0, room - 1), last];
  const gap = isWhole ? '' : ` (${count(chain.length - room, 'error')} left out)`;

  const related: Related[] = [];
  let free = room - shown.length;
  for (const [index, each] of shown.entries()) {
    const isEnd = index === shown.length - 1;
    const itsRelation = index === 0 ? relation : `caused by${isEnd ? gap : ''}`;
    related.push({ error: each, relation: itsRelation, isRootCause: false });
    const parts = partsOf(each);
    const fitting = parts.slice(0, free);
    const leftOut = count(parts.length - fitting.length, 'error');
    for (const [place, part] of fitting.entries()) {
      const after = fitting.length - place - 1;
      const cut = after === 0 && fitting.length < parts.length ? ` (${leftOut} left out)` : '';
      const inside = collect(part.error, `${part.relation}${cut}`, free - after, seen);
      related.push(...inside);
      free -= inside.length;
    }
  }
  return related;
}

/** An error inside another one. */
interface Part {
  error: unknown;
  relation: string;
}

/** The errors inside an AggregateError, a SuppressedError, or one that looks like them. */
export function partsOf(error: unknown): Part[] {
  const name = property(error, 'name');
  if (name === 'SuppressedError') {
    return [
      { error: property(error, 'error'), relation: 'the later error in it' },
      { error: property(error, 'suppressed'), relation: 'the earlier error in it' },
    ];
  }
  const parts = toArray(property(error, 'errors'));
  // Errors of many libraries have a list of texts by this name.
  if (name !== 'AggregateError' && !parts.some((part) => property(part, 'stack'))) return [];
  return parts.map((part, index) => {
    return { error: part, relation: `error ${index + 1} of the ${parts.length} in it` };
  });
}

function toArray(value: unknown): unknown[] {
  try {
    return Array.isArray(value) ? [...value] : [];
  } catch {
    return [];
  }
}

/** Whether `error` is `wanted`, or was caused by it. */
export function isCausedBy(error: unknown, wanted: unknown): boolean {
  return chainOf(error).includes(wanted);
}

/** Whether `error` itself says that a connection was lost. */
export function isConnectionError(error: unknown): boolean {
  const code = property(error, 'code');
  return code === 'EPIPE' || code === 'ECONNRESET' || code === 'ECONNABORTED';
}

/** Whether `error`, or one of its causes, says that a connection was lost. */
export function isConnectionLost(error: unknown): boolean {
  return chainOf(error).some(isConnectionError);
}

// The error, its cause, and so on, as far as none comes again.
function chainOf(error: unknown): unknown[] {
  const chain = new Set([error]);
  // This loop goes on to what is added.
  for (const each of chain) {
    const cause = property(each, 'cause');
    if (cause !== undefined && chain.size < LONGEST_CHAIN) chain.add(cause);
  }
  return [...chain];
}

function traceOf(error: unknown): string {
  const stack = property(error, 'stack');
  const message = property(error, 'message');
  if (typeof stack === 'string' && stack !== '') {
    if (typeof message !== 'string' || stack.includes(message)) return stack;
    // The engine writes the message into the trace once.
    return `${message}\nThe message was changed; before that: ${stack}`;
  }
  if (typeof message === 'string' && message !== '') return `Error: ${message}`;
  return `Thrown, although it is not an Error: ${describe(error)}`;
}

function shortenTrace(trace: string, limit: number | undefined): string {
  if (limit === undefined) return trace;
  const lines = trace.split('\n');
  const firstCall = lines.findIndex((line) => /^\s+at /.test(line));
  return firstCall === -1 ? trace : lines.slice(0, firstCall + limit).join('\n');
}
