// Standard error: reports, and the access log in Apache's common format. If the reader of
// standard error ends, the text is lost and the process continues.

import { ErrorOutput } from '../io.ts';
import { escapeControls } from '../secrets.ts';
import type { ErrorStream } from '../types.ts';
import { formatException } from './exception.ts';

let watched = false;

/** Writes text to standard error. Never throws, even if standard error is closed. */
export function writeToStderr(text: string): void {
  const { stderr } = process;
  // Without a listener, the error of a closed pipe would end the process.
  if (!watched) stderr.on('error', () => {});
  watched = true;
  stderr.write(text);
}

const SINK = { write: writeToStderr };

/** Standard error as the `wsgi.errors` of one request, which its application may change. */
export function standardError(): ErrorStream {
  return new ErrorOutput(SINK);
}

/** Reports an error that no request can answer for. */
export function reportError(error: unknown): void {
  writeToStderr(formatException(error));
}

/** Writes one line about a client to standard error. */
export function writeLog(address: string, message: string): void {
  const line = `${address} - - [${logDate(Date.now())}] ${message}`;
  // A line of the log is one line, whatever a client has sent.
  writeToStderr(`${escapeControls(line).replaceAll('\n', '\\x0a').replaceAll('\t', '\\x09')}\n`);
}

/** The first line of a request in quotes; `"-"` for one that could not be read. */
export function quoteRequest(method = '', target = '', protocol = ''): string {
  if (!method) return '"-"';
  // A quote from the client must not end what is quoted; Apache does the same.
  return `"${method} ${target.replace(/["\\]/g, '\\$&')} ${protocol}"`;
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
