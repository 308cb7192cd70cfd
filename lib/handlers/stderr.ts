// Standard error, for reports and logs. The program that reads it may go away: then what
// is written is lost, and the process goes on.

import { ErrorOutput } from '../io.ts';
import type { ErrorStream } from '../types.ts';
import { formatException } from './exception.ts';

let watched = false;

/** Writes text to standard error. Never throws, also when standard error is closed. */
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
