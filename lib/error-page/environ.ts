// The part of environ that may be shown, with its secrets masked.

import { describe } from '../describe.ts';
import { MASK, isSecret, maskParameter, maskText, maskValue } from '../secrets.ts';
import type { WSGIEnvironment } from '../types.ts';
import { decodePath } from '../util.ts';

/** One key of environ and its value as text. */
export type Entry = [key: string, value: string];

export interface EnvironReport {
  /** The request's method, path and query. */
  line: string;
  /** The parameters of the query, decoded. */
  query: Entry[];
  /** The fields of the form, decoded. */
  form: Entry[];
  /** The request in environ, without its headers. */
  request: Entry[];
  /** The headers of the request in environ. */
  headers: Entry[];
  /** Keys that the server and other middleware added. */
  server: Entry[];
}

const LONGEST = 500;

// Under CGI, environ holds the process environment, too, where programs keep their
// passwords. Only what the interface names is shown. (RFC 3875 §4.1; PEP 3333,
// "environ Variables")
const OF_REQUEST = new RegExp(
  '^(REQUEST_(METHOD|URI)|SCRIPT_NAME|PATH_INFO|QUERY_STRING|CONTENT_(TYPE|LENGTH))$',
);
const OF_SERVER = new RegExp(
  '^(.*\\..*|SERVER_(NAME|PORT|PROTOCOL|SOFTWARE)|REMOTE_(ADDR|HOST|PORT|USER|IDENT)' +
    '|AUTH_TYPE|GATEWAY_INTERFACE|HTTPS)$',
);

/**
 * The entries that may be shown, those of environ in alphabetical order. Never throws.
 *
 * @param form - The fields of the request's form, as they were sent.
 */
export function readEnviron(environ: WSGIEnvironment, form: string = ''): EnvironReport {
  const { QUERY_STRING } = environ;
  const report: EnvironReport = {
    line: requestLine(environ),
    query: typeof QUERY_STRING === 'string' ? readParameters(QUERY_STRING) : [],
    form: readParameters(form),
    request: [],
    headers: [],
    server: [],
  };
  for (const key of Object.keys(environ).sort()) {
    if (key.startsWith('HTTP_')) report.headers.push([key, show(environ, key)]);
    else if (OF_REQUEST.test(key)) report.request.push([key, show(environ, key)]);
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
  return shorten(`${method} ${decodePath(path.join('')) || '/'}${maskText(query)}`);
}

const MOST_PARAMETERS = 50;

function readParameters(text: string): Entry[] {
  const parameters = [...new URLSearchParams(text)].slice(0, MOST_PARAMETERS);
  return parameters.map(([name, value]) => [shorten(name), shorten(maskParameter(name, value))]);
}

// A name with a dot is the interface's, unless the process brought it along.
function isOfProcess(environ: WSGIEnvironment, key: string): boolean {
  return key.includes('.') && Reflect.get(environ, key) === process.env[key];
}

function show(environ: WSGIEnvironment, key: string): string {
  try {
    const value: unknown = Reflect.get(environ, key);
    if (typeof value === 'string') return maskValue(key, shorten(value));
    if (isSecret(key)) return MASK;
    if (typeof value === 'boolean' || typeof value === 'number') return String(value);
    if (key === 'wsgi.version' && Array.isArray(value)) return `[${value.join(', ')}]`;
    return describe(value);
  } catch {
    return 'cannot be read';
  }
}

function shorten(text: string): string {
  if (text.length <= LONGEST) return text;
  return `${text.slice(0, LONGEST)}… (${text.length} characters)`;
}
