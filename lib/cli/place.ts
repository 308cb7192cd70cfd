// A line in a file of the application's, as a message shows it.

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

/** A line, counted from 1, of the file at `path`. */
export interface Place {
  path: string;
  line: number;
}

/** `app.ts:3: reason`, with the line itself below it. */
export function showPlace(place: Place, reason: string): string {
  const text = readLines(place.path)[place.line - 1]?.trim();
  return `${basename(place.path)}:${place.line}: ${reason}${text ? `\n    ${text}` : ''}`;
}

/** The lines of a text file; none if it cannot be read. */
export function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}
