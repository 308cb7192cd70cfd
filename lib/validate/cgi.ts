// The CGI variables of environ: names without a dot, values that are strings. A
// variable that does not apply is left out or empty, but for the five that always
// apply. (PEP 3333, "environ Variables"; RFC 3875 §4.1)

import { codePoint, describe, quote } from '../describe.ts';
import type { Exchange } from './exchange.ts';
import {
  type Check,
  ENVIRON,
  STRING_TYPES,
  UNICODE,
  type Rule,
  application,
  check,
  server,
} from './rule.ts';

// ---- Any of them

const valueString = server.error('cgi-value-string', STRING_TYPES,
  'Every CGI variable is a string.',
  'Use String(value), join a list with commas, and leave out what does not apply.');

const valueLatin1 = server.error('cgi-value-latin1', UNICODE,
  'The characters of a CGI variable stand for bytes: U+0000 to U+00FF.',
  'Encode text as UTF-8, and make a character of each byte.');

const valueControl = server.error('cgi-value-ctl', 'RFC 9110 §5.5',
  'No NUL, CR or LF stands in what came from the request\'s head.',
  'Refuse such a request with 400 before the application sees it.');

const headerKeyShape = server.warning('http-key-shape', 'RFC 3875 §4.1.18',
  'A request header is named HTTP_ and its name in capitals, with _ for each dash.',
  'Name it like HTTP_USER_AGENT.');

const queryShape = server.warning('query-string-shape', 'RFC 3986 §3.4',
  'QUERY_STRING is what follows the ?, still percent-encoded, up to any #.',
  'Cut the target at the first ? and pass on the rest as it is.');

// Decoded paths may hold any byte.
const FROM_HEAD = /^(?:HTTP_|CONTENT_|QUERY_STRING$|REQUEST_METHOD$|SERVER_PROTOCOL$)/;
// A token, with what becomes of its dashes and small letters left out.
const HEADER_KEY = /^HTTP_[A-Z0-9_!#$%&'*+.^`|~]+$/;
const NOT_A_BYTE = /[^\x00-\xff]/u;
const BREAKS_LINES = /[\x00\r\n]/;

const valuesAfter = application.warning('environ-after-app', STRING_TYPES,
  'What is put into environ without a dot in its name is a string of bytes, too.',
  'Give your own additions a name with a dot, such as \'myapp.user\'.');

// ---- Variables that must be there

const missing: ReadonlyArray<[key: string, rule: Rule]> = [
  ['REQUEST_METHOD', server.error('has-request-method', ENVIRON,
    'REQUEST_METHOD is in environ.', 'Set it to the method, such as \'GET\'.')],
  ['SERVER_NAME', server.error('has-server-name', ENVIRON,
    'SERVER_NAME is in environ.', 'Set it to the name or address of the server.')],
  ['SERVER_PORT', server.error('has-server-port', ENVIRON,
    'SERVER_PORT is in environ.', 'Set it to the port in digits, as a string.')],
  ['SERVER_PROTOCOL', server.error('has-server-protocol', ENVIRON,
    'SERVER_PROTOCOL is in environ.', 'Set it to the request\'s version: \'HTTP/1.1\'.')],
];

// ---- Variables that must not be there

const unwanted: ReadonlyArray<[key: string, rule: Rule]> = [
  ['HTTP_CONTENT_TYPE', server.error('no-http-content-type', ENVIRON,
    'The request\'s Content-Type is CONTENT_TYPE, not HTTP_CONTENT_TYPE.',
    'Drop the HTTP_ from the name.')],
  ['HTTP_CONTENT_LENGTH', server.error('no-http-content-length', ENVIRON,
    'The request\'s Content-Length is CONTENT_LENGTH, not HTTP_CONTENT_LENGTH.',
    'Drop the HTTP_ from the name.')],
  ['HTTP_PROXY', server.option('http-proxy-env', 'CVE-2016-1000110',
    'A Proxy header is dropped: programs take HTTP_PROXY for their configuration.',
    'Leave the header Proxy out of environ.')],
];

// ---- Each by its own syntax

// tchar, the letters of a token                                (RFC 9110 §5.6.2)
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

const METHODS = new Set([
  'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH',
]);

// host = IP-literal / IPv4address / reg-name                   (RFC 3986 §3.2.2)
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]+)$/i;

// Host = uri-host [ ":" port ], where uri-host may be empty      (RFC 9110 §7.2)
const HOST_PORT = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?$/i;

// What many a parser takes for a number, Python's int() among them.
const LENIENT_NUMBER = /^\s*\+?[0-9]+(?:_[0-9]+)*\s*$/;

type Table = ReadonlyArray<[key: string, checks: ReadonlyArray<Check<string>>]>;

const BY_NAME: Table = [
  ['REQUEST_METHOD', [
    check(server.error('request-method-nonempty', ENVIRON,
      'REQUEST_METHOD is never empty.', 'Set it to the method, such as \'GET\'.'),
      (method) => method === ''),
    check(server.error('request-method-token', 'RFC 9110 §9.1',
      'A method is a token: letters, digits and !#$%&\'*+-.^_`|~.',
      'Refuse such a request with 400.'),
      (method) => method !== '' && !TOKEN.test(method)),
    check(server.warning('request-method-case', 'RFC 9110 §9.1',
      'Methods are told apart by case, and the known ones are in capitals.',
      'Pass the method on as the client sent it.'),
      (method) => !METHODS.has(method) && METHODS.has(method.toUpperCase())),
  ]],
  ['SERVER_NAME', [
    check(server.error('server-name-nonempty', ENVIRON,
      'SERVER_NAME is never empty.', 'Set it to the name or address of the server.'),
      (name) => name === ''),
    check(server.error('server-name-syntax', 'RFC 3986 §3.2.2',
      'SERVER_NAME is a host name, an IPv4 address or an IPv6 address in brackets.',
      'Leave the port to SERVER_PORT, and put brackets around an IPv6 address.'),
      (name) => name !== '' && !HOST.test(name)),
  ]],
  ['SERVER_PORT', [
    check(server.error('server-port-nonempty', ENVIRON,
      'SERVER_PORT is never empty.', 'Set it to the port in digits, as a string.'),
      (port) => port === ''),
    check(server.error('server-port-digits', 'RFC 3875 §4.1.15',
      'SERVER_PORT is digits.', 'Use String(port).'),
      (port) => port !== '' && !/^[0-9]+$/.test(port)),
    check(server.warning('server-port-range', 'RFC 9293 §3.1',
      'A port is at most 65535.', 'Set it to the port on which the server listens.'),
      (port) => /^[0-9]+$/.test(port) && Number(port) > 65535),
  ]],
  ['SERVER_PROTOCOL', [
    check(server.error('server-protocol-syntax', 'RFC 9112 §2.3',
      'SERVER_PROTOCOL is HTTP/ and a version.', 'Set it like \'HTTP/1.1\'.'),
      (protocol) => !/^HTTP\/[0-9](?:\.[0-9])?$/.test(protocol)),
  ]],
  ['QUERY_STRING', [
    check(queryShape, (query) => /#|[^\x20-\x7e]/.test(query)),
  ]],
  ['SCRIPT_NAME', [
    check(server.error('script-name-not-root', ENVIRON,
      'SCRIPT_NAME of an application at the root is empty; the slash is in PATH_INFO.',
      'Set SCRIPT_NAME to \'\' and PATH_INFO to \'/\'.'),
      (name) => name === '/'),
    check(server.error('script-name-slash', ENVIRON,
      'SCRIPT_NAME is empty or begins with a slash.', 'Put a slash before it.'),
      (name) => name !== '' && !name.startsWith('/')),
    // shiftPathInfo makes one where a URL ends in it, so this cannot be an error.
    check(server.warning('script-name-trailing-slash', ENVIRON,
      'SCRIPT_NAME does not end in a slash: the slash begins PATH_INFO.',
      'Move the slash to the beginning of PATH_INFO.'),
      (name) => name.length > 1 && name.startsWith('/') && name.endsWith('/')),
  ]],
  ['CONTENT_LENGTH', [
    check(server.error('content-length-int', ENVIRON,
      'CONTENT_LENGTH is empty or a number of bytes.',
      'Refuse such a request with 400, or leave the variable out.'),
      (length) => length !== '' && !LENIENT_NUMBER.test(length)),
    check(server.error('content-length-digits', 'RFC 9110 §8.6',
      'CONTENT_LENGTH is written in the digits 0 to 9 and nothing else.',
      'Refuse such a request with 400.'),
      (length) => LENIENT_NUMBER.test(length) && !/^[0-9]+$/.test(length)),
    check(server.warning('content-length-safe', 'RFC 9110 §8.6',
      'CONTENT_LENGTH is a number that can be counted to: at most 2^53 - 1.',
      'Refuse such a request with 413.'),
      (length) => /^[0-9]+$/.test(length) && Number(length) > Number.MAX_SAFE_INTEGER),
  ]],
  ['HTTP_HOST', [
    check(server.error('http-host-syntax', 'RFC 9110 §7.2',
      'HTTP_HOST is a host and, after a colon, perhaps a port.',
      'Refuse such a request with 400.'),
      (host) => !HOST_PORT.test(host)),
  ]],
];

// ---- Paths

const pathSlash = server.error('path-info-slash', ENVIRON,
  'PATH_INFO is empty or begins with a slash.', 'Put a slash before it.');

const pathAsterisk = server.error('path-info-asterisk', 'RFC 9112 §3.2.4',
  'Only OPTIONS has the path *.', 'Refuse such a request with 400.');

const pathAuthority = server.error('path-info-authority', 'RFC 9112 §3.2.3',
  'Only CONNECT has a host and port in place of a path.', 'Refuse such a request with 400.');

const pathAbsolute = server.error('path-info-absolute', 'RFC 9112 §3.2.2',
  'PATH_INFO is the path of a URL, without its scheme and host.',
  'Take host and path out of the URL; the host goes to HTTP_HOST.');

const scriptOrPath = server.error('script-or-path', ENVIRON,
  'SCRIPT_NAME or PATH_INFO is in environ.', 'Set PATH_INFO to \'/\' for the root.');

const scriptOrPathFilled = server.warning('script-or-path-nonempty', 'RFC 9112 §3.2.1',
  'SCRIPT_NAME and PATH_INFO are not both empty: the shortest path is a slash.',
  'Set PATH_INFO to \'/\' for the root.');

// ---- What belongs together

const hostRequired = server.warning('http-host-required', 'RFC 9112 §3.2',
  'A request of HTTP/1.1 has a Host.', 'Refuse a request without one with 400.');

const codingWithLength = server.warning('te-with-length', 'RFC 9112 §6.3',
  'A body is framed by Transfer-Encoding or by Content-Length, never by both.',
  'Refuse such a request: two servers may see two different requests in it.');

const schemeAgrees = server.warning('https-scheme-agree', ENVIRON,
  'HTTPS is on if wsgi.url_scheme is https, and only then.',
  'Set both from the same fact, as guessScheme does.');

/** Checks the CGI variables before the application sees them. */
export function checkCgi(exchange: Exchange, environ: Record<string, unknown>): void {
  for (const [key, rule] of missing) {
    if (environ[key] === undefined && !Object.hasOwn(environ, key)) {
      exchange.fault(rule, `passed an environ without ${key}`);
    }
  }
  for (const [key, rule] of unwanted) {
    if (key in environ) exchange.fault(rule, `put ${key} into environ`);
  }
  for (const key of Object.keys(environ)) checkValue(exchange, environ, key);
  for (const [key, checks] of BY_NAME) {
    const value = environ[key];
    if (typeof value === 'string') checkSyntax(exchange, key, value, checks);
  }
  checkPath(exchange, environ);
  checkAgreement(exchange, environ);
}

// Nearly all are of these characters, which break no rule.
const PLAIN_VALUE = /^[\x20-\x7e]*$/;

function checkValue(exchange: Exchange, environ: Record<string, unknown>, key: string): void {
  if (key.includes('.')) return;
  if (key.startsWith('HTTP_') && !HEADER_KEY.test(key)) {
    exchange.fault(headerKeyShape, `put ${quote(key)} into environ`);
  }
  const value = environ[key];
  if (typeof value === 'string' && PLAIN_VALUE.test(value)) return;
  if (typeof value !== 'string' || NOT_A_BYTE.test(value)) {
    exchange.badVariables = new Set(exchange.badVariables).add(key);
  }
  if (typeof value !== 'string') {
    const hint = value === undefined || value === null ? `Leave ${quote(key)} out.` : undefined;
    exchange.fault(valueString, `set ${key} to ${describe(value)}`, hint);
    return;
  }
  if (NOT_A_BYTE.test(value)) {
    exchange.fault(valueLatin1, `set ${key} to ${quote(value)}`);
  }
  if (BREAKS_LINES.test(value) && FROM_HEAD.test(key)) {
    const found = codePoint(BREAKS_LINES.exec(value)?.[0] ?? '');
    exchange.fault(valueControl, `set ${key} to ${quote(value)}, in which stands ${found}`);
  }
}

const lastGood = new Map<string, string>();

function checkSyntax(
  exchange: Exchange,
  key: string,
  value: string,
  checks: ReadonlyArray<Check<string>>,
): void {
  // Most variables of a server are the same for every request.
  if (lastGood.get(key) === value) return;
  if (!checks.some(({ isBroken }) => isBroken(value))) lastGood.set(key, value);
  for (const { rule, isBroken } of checks) {
    if (isBroken(value)) exchange.fault(rule, `set ${key} to ${quote(value)}`);
  }
}

function checkPath(exchange: Exchange, environ: Record<string, unknown>): void {
  const { SCRIPT_NAME: script, PATH_INFO: path, REQUEST_METHOD: method } = environ;
  if (script === undefined && path === undefined) {
    exchange.fault(scriptOrPath, 'passed an environ without SCRIPT_NAME and PATH_INFO');
  } else if (!script && !path) {
    exchange.fault(scriptOrPathFilled, 'left SCRIPT_NAME and PATH_INFO empty');
  }
  if (typeof path !== 'string' || path === '' || path.startsWith('/')) return;

  const deed = `set PATH_INFO to ${quote(path)}`;
  if (path === '*') {
    if (method !== 'OPTIONS') exchange.fault(pathAsterisk, `${deed} for ${describe(method)}`);
  } else if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path)) {
    exchange.fault(pathAbsolute, deed);
  } else if (/^[^/?#@]+:[0-9]+$/.test(path)) {
    if (method !== 'CONNECT') exchange.fault(pathAuthority, `${deed} for ${describe(method)}`);
  } else {
    exchange.fault(pathSlash, deed);
  }
}

function checkAgreement(exchange: Exchange, environ: Record<string, unknown>): void {
  if (environ['SERVER_PROTOCOL'] === 'HTTP/1.1' && environ['HTTP_HOST'] === undefined) {
    exchange.fault(hostRequired, 'passed a request of HTTP/1.1 without HTTP_HOST');
  }
  if (environ['CONTENT_LENGTH'] && environ['HTTP_TRANSFER_ENCODING']) {
    exchange.fault(codingWithLength, 'passed both CONTENT_LENGTH and HTTP_TRANSFER_ENCODING');
  }
  // The client may have sent two question marks, and then the second is the query's.
  const query = environ['QUERY_STRING'];
  const wasSentSo = String(environ['REQUEST_URI']).includes('??');
  if (typeof query === 'string' && query.startsWith('?') && !wasSentSo) {
    exchange.fault(queryShape, `set QUERY_STRING to ${quote(query)}`);
  }
  const https = environ['HTTPS'];
  const scheme = environ['wsgi.url_scheme'];
  if (typeof https !== 'string' || https === '' || typeof scheme !== 'string') return;
  if (/^(?:on|yes|1)$/i.test(https) !== (scheme === 'https')) {
    const deed = `set HTTPS to ${quote(https)} and wsgi.url_scheme to ${quote(scheme)}`;
    exchange.fault(schemeAgrees, deed);
  }
}

/**
 * Looks at the variables again when the response has ended: what the application
 * put there is seen by every middleware it was called through.
 */
export function checkCgiAfter(exchange: Exchange): void {
  const { environ } = exchange;
  try {
    for (const key of Object.keys(environ)) {
      if (key.includes('.') || exchange.badVariables?.has(key)) continue;
      const value: unknown = Reflect.get(environ, key);
      if (value === undefined || (typeof value === 'string' && !NOT_A_BYTE.test(value))) continue;
      exchange.fault(valuesAfter, `left ${quote(key)} in environ as ${describe(value)}`);
    }
  } catch (error) {
    exchange.rethrow(error, valuesAfter, 'left an environ that cannot be read');
  }
}
