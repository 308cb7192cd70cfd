// The part of environ that may be shown, with its secrets masked.

import { describe, quote } from '../describe.ts';
import type { WSGIEnvironment } from '../types.ts';
import { decodePath } from '../util.ts';

/** One key of environ and its value as text. */
export type Entry = [key: string, value: string];

const MASK = '••••••';

// Under CGI, environ holds the process environment, too, where programs keep their
// passwords. Only what is known to speak of the request is shown.
const SHOWN =
  /^((HTTP|REQUEST|CONTENT|SERVER|REMOTE)_.*|.*\..*|SCRIPT_NAME|PATH_INFO|QUERY_STRING|HTTPS)$/;

const SECRET = /auth|cookie|token|secret|passw|pwd|session|credential|signature|api[-_.]?key|csrf/i;

/** The request line, and the entries to show, in order. */
export function readEnviron(environ: WSGIEnvironment): { request: string; environ: Entry[] } {
  const entries: Entry[] = [];
  try {
    for (const [key, value] of Object.entries(environ).sort()) {
      if (SHOWN.test(key)) entries.push([key, show(key, value)]);
    }
  } catch {
    entries.push(['environ', 'cannot be read']);
  }
  const path = decodePath(`${environ.SCRIPT_NAME ?? ''}${environ.PATH_INFO ?? ''}`);
  const query = environ.QUERY_STRING ? `?${maskQuery(environ.QUERY_STRING)}` : '';
  return { request: `${environ.REQUEST_METHOD} ${path}${query}`, environ: entries };
}

function show(key: string, value: unknown): string {
  if (SECRET.test(key)) return MASK;
  if (typeof value !== 'string')
    return Array.isArray(value) ? `[${value.join(', ')}]` : describe(value);
  if (key === 'QUERY_STRING') return maskQuery(value);
  if (key === 'REQUEST_URI' || key === 'HTTP_REFERER') {
    const [path = '', query] = value.split(/\?(.*)/s);
    return query === undefined ? path : `${path}?${maskQuery(query)}`;
  }
  return value.length > 300 ? quote(value) : value;
}

function maskQuery(query: string): string {
  return query.replace(/([^&=]+)=([^&]*)/g, (whole, name: string) =>
    SECRET.test(name) || /^(key|code|sig)$/i.test(name) ? `${name}=${MASK}` : whole,
  );
}
