// Traces of the application's errors, without the calls that led to it: those of
// Node's loader and of this command say nothing about the mistake.

import { fileURLToPath } from 'node:url';

import { formatException } from '../handlers/exception.ts';

const HERE = new URL('.', import.meta.url);

/** The trace of what the application threw, ending in a line break. */
export function applicationTrace(error: unknown): string {
  const lines = formatException(error).split('\n');
  return lines.filter((line) => !isCall(line) || !leadsToApplication(line)).join('\n');
}

/** Whether a line of the application's own stands in the trace of this error. */
export function isFromApplication(error: Error): boolean {
  const calls = String(error.stack).split('\n').filter(isCall);
  return calls.some((line) => !isOurs(line) && !/\bnode:|<anonymous>\)?$/.test(line));
}

function isCall(line: string): boolean {
  return /^\s+at /.test(line);
}

function leadsToApplication(line: string): boolean {
  if (isOurs(line) || /\bat async Promise\.(all|race) /.test(line)) return true;
  return /\bnode:internal\/(?:modules|process|main)\//.test(line);
}

function isOurs(line: string): boolean {
  return line.includes(HERE.href) || line.includes(fileURLToPath(HERE));
}
