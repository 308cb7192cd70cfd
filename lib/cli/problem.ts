// Prints a failure: a mistake of the user's as a message alone, an error of the
// application's with a trace that begins and ends in its own code.

import { fileURLToPath } from 'node:url';

import { formatException } from '../handlers/exception.ts';

/** A mistake of the user's: its message says what is wrong and how to fix it. */
export class Problem extends Error {
  override readonly name: string = 'Problem';
  /** Paths at which a change may fix it, beside the files that were loaded. */
  files: readonly string[] = [];
  /** The line of a file that is wrong. */
  place: { path: string; line: number } | undefined = undefined;
}

/** The text to print for anything that was thrown, ending in a line break. */
export function explain(error: unknown): string {
  return error instanceof Problem ? `${error.message}\n` : formatException(error);
}

/**
 * The sentence for a process that has ended by itself.
 *
 * @param target - The application in it, as the user named it.
 * @param how - The exit status, or the signal that ended the process.
 * @param isLoaded - Whether the application had been loaded before.
 */
export function explainEnding(
  target: string | undefined,
  how: number | string,
  isLoaded: boolean,
): string {
  const name = target ?? 'the application';
  const when = isLoaded ? '' : ' while it was loaded';
  if (typeof how === 'number') return `${name} ended the process with status ${how}${when}`;
  return `the process of ${name} was ended by ${how}${when}`;
}

/** The trace of what the application threw, without calls of Node's loader and of this command. */
export function applicationTrace(error: unknown): string {
  // Behind a call of the command, there are only its callers.
  let isBehind = false;
  const lines = formatException(error).split('\n');
  return lines
    .filter((line) => {
      const isOfTrace = isCall(line);
      isBehind = isOfTrace && (isBehind || isOurs(line));
      return !isOfTrace || !(isBehind || leadsToApplication(line));
    })
    .join('\n');
}

/** Whether the trace of this error has a line of the application's own. */
export function isFromApplication(error: Error): boolean {
  const calls = String(error.stack).split('\n').filter(isCall);
  const ours = calls.findIndex(isOurs);
  const before = ours === -1 ? calls : calls.slice(0, ours);
  return before.some((line) => !/\bnode:|<anonymous>\)?$/.test(line));
}

function isCall(line: string): boolean {
  return /^\s+at /.test(line);
}

function leadsToApplication(line: string): boolean {
  if (/\bat async Promise\.(all|race) /.test(line)) return true;
  return /\bnode:(?:internal\/(?:modules|process|main)\/|diagnostics_channel)/.test(line);
}

const HERE = new URL('.', import.meta.url);

function isOurs(line: string): boolean {
  return line.includes(HERE.href) || line.includes(fileURLToPath(HERE));
}

/**
 * The candidate that is most like `word`; undefined if more than a third of the word's
 * letters would have to change for each of them.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** How many letters must be inserted, deleted or changed (Levenshtein). */
function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const changed = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
