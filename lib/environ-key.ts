// The environ key under which a request header stands, and how it gets there.
// (RFC 3875 §4.1.18)

import type { WSGIEnvironment } from './types.ts';

type HeaderKey = `HTTP_${string}` | 'CONTENT_TYPE' | 'CONTENT_LENGTH' | undefined;

// Clients send the same few names again and again; the bounds are against one that
// invents new ones, or long ones.
const MOST_KEYS = 1000;
const LONGEST_KEY = 64;
const known = new Map<string, HeaderKey>();

/** The key of a header; undefined for one that no application should see. */
export function environKey(name: string): HeaderKey {
  const before = known.get(name);
  if (before !== undefined) return before;
  const key = foldName(name);
  if (known.size < MOST_KEYS && name.length <= LONGEST_KEY) known.set(name, key);
  return key;
}

/** Puts a header into environ, joined to those of the same name before it. */
export function addHeader(environ: WSGIEnvironment, name: string, value: string): void {
  const key = environKey(name);
  if (key === undefined) return;
  if (key === 'CONTENT_TYPE' || key === 'CONTENT_LENGTH') {
    environ[key] = value;
    return;
  }
  const before = environ[key];
  if (before === undefined) environ[key] = value;
  // Cookies alone are not joined by a comma. (RFC 6265 §5.4)
  else environ[key] = key === 'HTTP_COOKIE' ? `${before}; ${value}` : `${before},${value}`;
}

function foldName(name: string): HeaderKey {
  // X_Foo and X-Foo would both be HTTP_X_FOO: whoever filters the one in front of
  // the server would let the other pass.
  if (name.includes('_')) return undefined;
  const folded = name.toUpperCase().replaceAll('-', '_');
  if (folded === 'CONTENT_TYPE' || folded === 'CONTENT_LENGTH') return folded;
  // Programs started by the application would take HTTP_PROXY for their own
  // configuration. (CVE-2016-1000110)
  if (folded === 'PROXY') return undefined;
  return `HTTP_${folded}`;
}
