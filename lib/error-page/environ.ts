// The part of environ that may be shown, with its secrets masked.

import { describe } from '../describe.ts';
import { percentDecode } from '../latin1.ts';
import type { WSGIEnvironment } from '../types.ts';
import { decodePath } from '../util.ts';

/** One key of environ and its value as text. */
export type Entry = [key: string, value: string];

export interface EnvironReport {
  /** The request's method, path and query. */
  line: string;
  /** What the client sent. */
  request: Entry[];
  /** What the server and other middleware added. */
  server: Entry[];
}

const MASK = '••••••';
const LONGEST = 500;

// Under CGI, environ holds the process environment, too, where programs keep their
// passwords. Only what the interface names is shown. (RFC 3875 §4.1; PEP 3333,
// "environ Variables")
const OF_REQUEST = new RegExp(
  '^(HTTP_.*|REQUEST_(METHOD|URI)|SCRIPT_NAME|PATH_INFO|QUERY_STRING|CONTENT_(TYPE|LENGTH))$',
);
const OF_SERVER = new RegExp(
  '^(.*\\..*|SERVER_(NAME|PORT|PROTOCOL|SOFTWARE)|REMOTE_(ADDR|HOST|PORT|USER|IDENT)' +
    '|AUTH_TYPE|GATEWAY_INTERFACE|HTTPS)$',
);

// `HTTP_PROXY` is where programs keep their proxy, with its password; no server
// that is to be trusted makes it of a request. (CVE-2016-1000110)
const SECRET = new RegExp(
  'auth|cookie|token|secret|passw|pwd|passphrase|session|sid$|credential|signature|jwt' +
    '|csrf|xsrf|^HTTP_PROXY$|(^|[-_.])(key|code|sig|otp|pin)([-_.]|$)|(api|access|private)key',
  'i',
);

/** The entries that may be shown, in alphabetical order. Never throws. */
export function readEnviron(environ: WSGIEnvironment): EnvironReport {
  const report: EnvironReport = { line: requestLine(environ), request: [], server: [] };
  for (const key of Object.keys(environ).sort()) {
    if (OF_REQUEST.test(key)) report.request.push([key, show(environ, key)]);
    else if (OF_SERVER.test(key) && !isOfProcess(environ, key)) {
      report.server.push([key, show(environ, key)]);
    }
  }
  return report;
}

function requestLine(environ: WSGIEnvironment): string {
  const { REQUEST_METHOD, SCRIPT_NAME, PATH_INFO, QUERY_STRING } = environ;
  const path = [SCRIPT_NAME, PATH_INFO].map((part) => (typeof part === 'string' ? part : ''));
  const query = typeof QUERY_STRING === 'string' && QUERY_STRING ? `?${QUERY_STRING}` : '';
  const method = typeof REQUEST_METHOD === 'string' ? REQUEST_METHOD : 'request';
  return shorten(`${method} ${decodePath(path.join('')) || '/'}${maskParameters(query)}`);
}

// A name with a dot is the interface's, unless the process brought it along.
function isOfProcess(environ: WSGIEnvironment, key: string): boolean {
  return key.includes('.') && Reflect.get(environ, key) === process.env[key];
}

function show(environ: WSGIEnvironment, key: string): string {
  if (SECRET.test(key)) return MASK;
  try {
    const value: unknown = Reflect.get(environ, key);
    if (typeof value === 'string') return maskParameters(maskUser(shorten(value)), key);
    if (typeof value === 'boolean' || typeof value === 'number') return String(value);
    if (key === 'wsgi.version' && Array.isArray(value)) return `[${value.join(', ')}]`;
    return describe(value);
  } catch {
    return 'cannot be read';
  }
}

// Of `https://ada:password@host`, the user.
function maskUser(text: string): string {
  return text.replace(/(\/\/)[^/\s?#@]+@/g, `$1${MASK}@`);
}

// Parameters of a query, wherever one stands: also in Referer and the like.
function maskParameters(text: string, key = ''): string {
  // Only in a query of its own does the first one stand behind nothing.
  const start = key === 'QUERY_STRING' ? '(^|[&;])' : '([?&;])';
  const wanted = new RegExp(`${start}([^=?&;]+)=([^&;#]*)`, 'g');
  return text.replace(wanted, (whole, before: string, name: string) =>
    SECRET.test(percentDecode(name)) ? `${before}${name}=${MASK}` : whole,
  );
}

function shorten(text: string): string {
  if (text.length <= LONGEST) return text;
  return `${text.slice(0, LONGEST)}… (${text.length} characters)`;
}
