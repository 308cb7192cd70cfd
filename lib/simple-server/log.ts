// Lines of the access log, in Apache's common format.

import { writeToStderr } from '../handlers/stderr.ts';

/** Writes one line about a client to standard error. */
export function writeLog(address: string, message: string): void {
  const line = `${address} - - [${logDate(Date.now())}] ${message}`;
  // Terminals act on control characters, and people read a log in terminals.
  writeToStderr(`${escapeControls(line)}\n`);
}

/** The first line of a request in quotes; `"-"` for one that could not be read. */
export function quoteRequest(method = '', target = '', protocol = ''): string {
  if (!method) return '"-"';
  // A quote from the client must not end what is quoted; Apache does the same.
  return `"${method} ${target.replace(/["\\]/g, '\\$&')} ${protocol}"`;
}

// A line of the log is one line: a line break is escaped, too.
function escapeControls(line: string): string {
  return line.replace(/[\x00-\x1f\x7f-\x9f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

let lastSecond = NaN;
let lastDate = '';

// `20/Nov/2026:22:31:00 +0000`, made once a second.
function logDate(time: number): string {
  const second = Math.floor(time / 1000);
  if (second !== lastSecond) {
    lastSecond = second;
    const [, day, month, year, clock] = new Date(time).toUTCString().split(' ');
    lastDate = `${day}/${month}/${year}:${clock} +0000`;
  }
  return lastDate;
}
