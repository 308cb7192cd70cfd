// environ: what a server, or the middleware that passes it on, must give to an
// application. The object itself, the CGI variables, the `wsgi.*` variables, and what
// the application may put there. (PEP 3333, "environ Variables"; RFC 3875 §4.1)

import { codePoint, count, describe, isObject, property, quote } from '../describe.ts';
import { TOKEN } from '../latin1.ts';
import { quoteValue } from '../secrets.ts';
import type { WSGIEnvironment } from '../types.ts';
import { type Exchange, exchangeOf, hasMethod } from './mechanism.ts';
import {
  DETAILS,
  ENVIRON,
  STREAMS,
  STRING_TYPES,
  UNICODE,
  type Check,
  rule,
  table,
} from './rule.ts';

type Variables = Record<string, unknown>;

/**
 * Checks environ before the application sees it. Returns false if it is not an object,
 * so that it has no variables to look at.
 */
export function checkEnviron(exchange: Exchange, environ: unknown): environ is Variables {
  if (!isObject(environ)) {
    exchange.reportCall(plain, `passed ${describe(environ)} as environ`);
    return false;
  }
  try {
    checkObject(exchange, environ);
    checkReuse(exchange, environ);
    checkPresence(exchange, environ as Variables);
    checkKeys(exchange, environ as Variables);
    checkSyntax(exchange, environ as Variables);
    checkPath(exchange, environ as Variables);
    checkAgreement(exchange, environ as Variables);
    checkWsgi(exchange, environ as Variables);
  } catch (error) {
    exchange.rethrow(error, plain, 'passed an environ that cannot be read');
  }
  return true;
}

// ---- The object

const plain = rule('server', 'environ-plain', 'error', DETAILS,
  'environ is a plain object: not a Map, an array, or an instance of a class.',
  'Build it as an object literal, or with Object.create(null).');

const ownKeys = rule('server', 'environ-own-keys', 'error', DETAILS,
  'The required variables are own properties of environ, not inherited ones.',
  'Copy them into environ: { ...defaults, ...request }.');

const notFrozen = rule('server', 'environ-not-frozen', 'error', DETAILS,
  'The application may change environ in any way.',
  'Pass an ordinary object of writable values: not frozen, not sealed, without getters.');

function checkObject(exchange: Exchange, environ: object): void {
  const inherited = REQUIRED.find(([key]) => key in environ && !Object.hasOwn(environ, key));
  if (inherited !== undefined) {
    exchange.reportCall(ownKeys, `passed an environ that only inherits ${inherited[0]}`);
  }
  const prototype: unknown = Object.getPrototypeOf(environ);
  if (prototype !== Object.prototype && prototype !== null && !isForeignPlain(prototype)) {
    exchange.reportCall(plain, `passed ${describe(environ)} as environ`);
  }
  if (!Object.isExtensible(environ)) {
    exchange.reportCall(notFrozen, 'passed an environ to which nothing can be added');
  }
}

// The Object.prototype of another realm, such as a test runner's sandbox.
function isForeignPlain(prototype: unknown): boolean {
  return (
    isObject(prototype) &&
    Object.getPrototypeOf(prototype) === null &&
    Object.hasOwn(prototype, 'hasOwnProperty')
  );
}

const perRequest = rule('server', 'environ-per-request', 'error', DETAILS,
  'Each request has an environ of its own, since the application may change it.',
  'Make a new object for each request, and a new wsgi.input.');

// An application may call itself for one request, and middleware may call its application
// again: then the outermost exchange is the same both times.
function checkReuse(exchange: Exchange, environ: object): void {
  const { reporter, origin } = exchange;
  const isOfOther = (value: unknown): boolean => {
    const earlier = isObject(value) ? reporter.used.get(value) : undefined;
    return earlier !== undefined && earlier !== origin;
  };
  if (isOfOther(environ)) {
    exchange.reportCall(perRequest, 'passed an environ that an earlier request had');
  } else if (isOfOther(property(environ, 'wsgi.input'))) {
    const action = 'passed a wsgi.input from which an earlier request has read';
    exchange.reportCall(perRequest, action, undefined, 'warning');
  }
  reporter.used.set(environ, origin);
}

/**
 * Forgets the environ of an application that has answered nothing: it threw, or its body was
 * closed unread. Middleware without a validator around it may then call it again.
 */
function allowReuse({ reporter, environ, asked, failed }: Exchange): void {
  if (!asked || failed) reporter.used.delete(environ);
}

// ---- Variables that must be there, and variables that must not

const REQUIRED = [
  ['REQUEST_METHOD', 'has-request-method', 'Set it to the method, such as \'GET\'.'],
  ['SERVER_NAME', 'has-server-name', 'Set it to the name or address of the server.'],
  ['SERVER_PORT', 'has-server-port', 'Set it to the port in digits, as a string.'],
  ['SERVER_PROTOCOL', 'has-server-protocol', 'Set it to the request\'s version: \'HTTP/1.1\'.'],
  ['wsgi.version', 'has-wsgi-version', 'Set it to [1, 0].'],
  ['wsgi.url_scheme', 'has-url-scheme', 'Set it to \'http\' or \'https\'.'],
  ['wsgi.input', 'has-wsgi-input', 'Set it to a stream of the request\'s body.'],
  ['wsgi.errors', 'has-wsgi-errors', 'Set it to a stream for the application\'s reports.'],
  ['wsgi.multithread', 'has-multithread', 'Set it to false or true.'],
  ['wsgi.multiprocess', 'has-multiprocess', 'Set it to false or true.'],
  ['wsgi.run_once', 'has-run-once', 'Set it to false or true.'],
].map(([key = '', id = '', hint = '']) => {
  return [key, rule('server', id, 'error', ENVIRON, `${key} is in environ.`, hint)] as const;
});

const UNWANTED = [
  ['HTTP_CONTENT_TYPE', rule('server', 'no-http-content-type', 'error', ENVIRON,
    'The request\'s Content-Type is CONTENT_TYPE, not HTTP_CONTENT_TYPE.',
    'Drop the HTTP_ from the name.')],
  ['HTTP_CONTENT_LENGTH', rule('server', 'no-http-content-length', 'error', ENVIRON,
    'The request\'s Content-Length is CONTENT_LENGTH, not HTTP_CONTENT_LENGTH.',
    'Drop the HTTP_ from the name.')],
  ['HTTP_PROXY', rule('server', 'http-proxy-env', 'off', 'CVE-2016-1000110',
    'A Proxy header is dropped: programs take HTTP_PROXY for their configuration.',
    'Leave the header Proxy out of environ.')],
] as const;

function checkPresence(exchange: Exchange, environ: Variables): void {
  for (const [key, missing] of REQUIRED) {
    // A CGI variable that is there but undefined is reported as a value.
    const isMissing = environ[key] === undefined && (key.includes('.') || !(key in environ));
    if (isMissing) exchange.reportCall(missing, `passed an environ without ${key}`);
  }
  for (const [key, unwanted] of UNWANTED) {
    if (key in environ) exchange.reportCall(unwanted, `put ${key} into environ`);
  }
}

// ---- Every key and every CGI variable

const stringKeys = rule('server', 'environ-string-keys', 'error', ENVIRON,
  'The keys of environ are strings.',
  'Keep what belongs to a symbol elsewhere, such as in a WeakMap.');

function checkKeys(exchange: Exchange, environ: Variables): void {
  for (const key of Reflect.ownKeys(environ)) {
    const property = Object.getOwnPropertyDescriptor(environ, key);
    if (typeof key === 'symbol') {
      const action = `put a symbol, ${quote(String(key))}, into environ as a key`;
      exchange.reportCall(stringKeys, action);
      continue;
    }
    if (property?.writable !== true) {
      const kind = Object.hasOwn(property ?? {}, 'value') ? 'read-only' : 'a getter or setter';
      exchange.reportCall(notFrozen, `passed an environ in which ${quote(key)} is ${kind}`);
    }
    if (!isUsualName(key)) checkName(exchange, environ, key);
    if (key.includes('.')) continue;
    const value = environ[key];
    if (typeof value !== 'string' || !PLAIN_VALUE.test(value)) checkValue(exchange, key, value);
  }
}

// CGI-defined names are those of the CGI variables; server-defined names have a dot.
const keyNaming = rule('server', 'environ-key-naming', 'warning', ENVIRON,
  'A key is LIKE_THIS for a CGI variable, or like_this.with.a_prefix for an addition.',
  'Name an addition after its maker: \'myserver.connection\'.');

const headerKeyShape = rule('server', 'http-key-shape', 'warning', 'RFC 3875 §4.1.18',
  'The key of a request header is HTTP_ and its name in capitals, with _ for each dash.',
  'Name it like HTTP_USER_AGENT.');

const reserved = rule('server', 'environ-reserved-wsgi', 'warning', ENVIRON,
  'Names that begin with "wsgi." belong to the specification.',
  'Correct the spelling, or use a prefix of your own.');

const WSGI_NAMES = new Set([
  'wsgi.version', 'wsgi.url_scheme', 'wsgi.input', 'wsgi.errors', 'wsgi.multithread',
  'wsgi.multiprocess', 'wsgi.run_once', 'wsgi.file_wrapper', 'wsgi.input_terminated',
]);

const CGI_NAME = /^[A-Z][A-Z0-9_]*$/;
const OWN_NAME = /^[a-z0-9_]+(?:\.[a-z0-9_]+)+$/;
// A token whose dashes have become underscores, and whose letters are capitals.
const HEADER_KEY = /^HTTP_[A-Z0-9_!#$%&'*+.^`|~]+$/;

// Requests have the same few names again and again. The bound is against a client that
// invents new ones.
const MOST_NAMES = 1000;
const usualNames = new Set<string>(WSGI_NAMES);

function isUsualName(key: string): boolean {
  if (usualNames.has(key)) return true;
  const isUsual = !key.startsWith('wsgi.') && (CGI_NAME.test(key) || OWN_NAME.test(key));
  if (isUsual && usualNames.size < MOST_NAMES) usualNames.add(key);
  return isUsual;
}

function checkName(exchange: Exchange, environ: Variables, key: string): void {
  if (key.startsWith('HTTP_') && HEADER_KEY.test(key)) return;
  if (isOfTheSystem(environ, key)) return;
  let broken = keyNaming;
  if (key.startsWith('wsgi.')) broken = reserved;
  else if (key.startsWith('HTTP_')) broken = headerKeyShape;
  exchange.reportCall(broken, `put ${quote(key)} into environ`);
}

// A server may include the variables of the operating system, which may have any name.
function isOfTheSystem(environ: Variables, key: string): boolean {
  const value = globalThis.process?.env?.[key];
  return value !== undefined && value === environ[key];
}

const valueString = rule('server', 'cgi-value-string', 'error', STRING_TYPES,
  'Every CGI variable is a string.',
  'Use String(value).',
  (found) => {
    const [key, value] = found as [key: string, value: unknown];
    if (Array.isArray(value)) {
      return `Join the values: ${key}: values.join('${key === 'HTTP_COOKIE' ? '; ' : ', '}').`;
    }
    if (value !== undefined && value !== null) return undefined;
    const required = REQUIRED.find(([name]) => name === key)?.[1];
    return required?.hint ?? `Leave the key out when there is no value: delete environ.${key}.`;
  });

const valueLatin1 = rule('server', 'cgi-value-latin1', 'error', UNICODE,
  'The characters of a CGI variable are bytes: U+0000 to U+00FF.',
  'Encode the text as UTF-8, and make a character of each byte.');

const valueControl = rule('server', 'cgi-value-ctl', 'error', 'RFC 9110 §5.5',
  'A variable that comes from the request\'s head contains no NUL, CR or LF.',
  'Refuse such a request with 400 before the application sees it.');

// Nearly all values consist of these characters, which break no rule.
const PLAIN_VALUE = /^[\x20-\x7e]*$/;
const NOT_A_BYTE = /[^\x00-\xff]/u;
const BREAKS_LINES = /[\x00\r\n]/;
// Decoded paths may contain any byte.
const FROM_HEAD = /^(?:HTTP_|CONTENT_|QUERY_STRING$|REQUEST_METHOD$|SERVER_PROTOCOL$)/;

function checkValue(exchange: Exchange, key: string, value: unknown): void {
  if (typeof value !== 'string' || NOT_A_BYTE.test(value)) {
    exchange.badVariables = new Set(exchange.badVariables).add(key);
  }
  if (typeof value !== 'string') {
    exchange.reportCall(valueString, `set ${key} to ${describe(value)}`, [key, value]);
  } else if (NOT_A_BYTE.test(value)) {
    exchange.reportCall(valueLatin1, `set ${key} to ${quoteValue(key, value)}`);
  } else if (BREAKS_LINES.test(value) && FROM_HEAD.test(key)) {
    const found = codePoint(BREAKS_LINES.exec(value)?.[0] ?? '');
    const action = `set ${key} to ${quoteValue(key, value)}, which contains ${found}`;
    exchange.reportCall(valueControl, action);
  }
}

// ---- Each by its own syntax

const METHODS = new Set([
  'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH',
]);

// host = IP-literal / IPv4address / reg-name                   (RFC 3986 §3.2.2)
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]+)$/i;

// Host = uri-host [ ":" port ], where uri-host may be empty      (RFC 9110 §7.2)
const HOST_PORT = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?$/i;

const DIGITS = /^[0-9]+$/;

const SYNTAX: ReadonlyArray<[key: string, checks: ReadonlyArray<Check<string>>]> = [
  ['REQUEST_METHOD', table<string>('server', [
    ['request-method-nonempty', 'error', ENVIRON,
      'REQUEST_METHOD is never empty.', 'Set it to the method, such as \'GET\'.',
      (method) => method === ''],
    ['request-method-token', 'error', 'RFC 9110 §9.1',
      'A method is a token: letters, digits and !#$%&\'*+-.^_`|~.',
      'Refuse such a request with 400.',
      (method) => method !== '' && !TOKEN.test(method)],
    ['request-method-case', 'warning', 'RFC 9110 §9.1',
      'Methods are case-sensitive, and the known ones are in capitals.',
      'Pass the method on as the client sent it.',
      (method) => !METHODS.has(method) && METHODS.has(method.toUpperCase())],
  ])],
  ['SERVER_NAME', table<string>('server', [
    ['server-name-nonempty', 'error', ENVIRON,
      'SERVER_NAME is never empty.', 'Set it to the name or address of the server.',
      (name) => name === ''],
    ['server-name-syntax', 'error', 'RFC 3986 §3.2.2',
      'SERVER_NAME is a host name, an IPv4 address or an IPv6 address in brackets.',
      'Leave the port to SERVER_PORT, and put brackets around an IPv6 address.',
      (name) => name !== '' && !HOST.test(name)],
  ])],
  ['SERVER_PORT', table<string>('server', [
    ['server-port-nonempty', 'error', ENVIRON,
      'SERVER_PORT is never empty.', 'Set it to the port in digits, as a string.',
      (port) => port === ''],
    ['server-port-digits', 'error', 'RFC 3875 §4.1.15',
      'SERVER_PORT consists of digits.', 'Use String(port).',
      (port) => port !== '' && !DIGITS.test(port)],
    ['server-port-range', 'warning', 'RFC 9293 §3.1',
      'A port is at most 65535.', 'Set it to the port on which the server listens.',
      (port) => DIGITS.test(port) && Number(port) > 65535],
  ])],
  ['SERVER_PROTOCOL', table<string>('server', [
    ['server-protocol-syntax', 'error', 'RFC 9112 §2.3',
      'SERVER_PROTOCOL is HTTP/ and a version.', 'Set it like \'HTTP/1.1\'.',
      (protocol) => !/^HTTP\/[0-9](?:\.[0-9])?$/.test(protocol)],
  ])],
  ['SCRIPT_NAME', table<string>('server', [
    ['script-name-not-root', 'error', ENVIRON,
      'SCRIPT_NAME of an application at the root is empty; the slash is in PATH_INFO.',
      'Set SCRIPT_NAME to \'\' and PATH_INFO to \'/\'.',
      (name) => name === '/'],
    ['script-name-slash', 'error', ENVIRON,
      'SCRIPT_NAME is empty or begins with a slash.', 'Put a slash before it.',
      (name) => name !== '' && !name.startsWith('/')],
  ])],
  ['CONTENT_LENGTH', table<string>('server', [
    ['content-length-int', 'error', 'RFC 9110 §8.6',
      'CONTENT_LENGTH is empty or a number of bytes, in the digits 0 to 9 alone.',
      'Refuse such a request with 400, or leave the variable out.',
      (length) => length !== '' && !DIGITS.test(length)],
    ['content-length-safe', 'warning', 'RFC 9110 §8.6',
      'CONTENT_LENGTH is at most 2^53 - 1, so that the number is exact.',
      'Refuse such a request with 413.',
      (length) => DIGITS.test(length) && Number(length) > Number.MAX_SAFE_INTEGER],
  ])],
  ['HTTP_HOST', table<string>('server', [
    ['http-host-syntax', 'error', 'RFC 9110 §7.2',
      'HTTP_HOST is a host and, after a colon, perhaps a port.',
      'Refuse such a request with 400.',
      (host) => !HOST_PORT.test(host)],
  ])],
];

// Most variables of a server are the same for every request.
const lastGood = new Map<string, string>();

function checkSyntax(exchange: Exchange, environ: Variables): void {
  for (const [key, checks] of SYNTAX) {
    const value = environ[key];
    if (typeof value !== 'string' || lastGood.get(key) === value) continue;
    const broken = checks.filter(({ isBroken }) => isBroken(value));
    if (broken.length === 0) lastGood.set(key, value);
    else {
      const action = `set ${key} to ${quoteValue(key, value)}`;
      for (const each of broken) exchange.reportCall(each.rule, action);
    }
  }
}

// Whether a path was percent-decoded exactly once is a question for --check: a decoded
// path may contain anything.

// shiftPathInfo leaves this slash in SCRIPT_NAME for a PATH_INFO of '/'.
const scriptEnd = rule('server', 'script-name-trailing-slash', 'warning', ENVIRON,
  'SCRIPT_NAME does not end in a slash: the slash begins PATH_INFO.',
  'Move the slash to the beginning of PATH_INFO.');

const pathSlash = rule('server', 'path-info-slash', 'error', ENVIRON,
  'PATH_INFO is empty or begins with a slash.', 'Put a slash before it.');

const pathAsterisk = rule('server', 'path-info-asterisk', 'error', 'RFC 9112 §3.2.4',
  'Only OPTIONS has the path *.', 'Refuse such a request with 400.');

const pathAuthority = rule('server', 'path-info-authority', 'error', 'RFC 9112 §3.2.3',
  'Only CONNECT has a host and port in place of a path.', 'Refuse such a request with 400.');

const pathAbsolute = rule('server', 'path-info-absolute', 'error', 'RFC 9112 §3.2.2',
  'PATH_INFO is the path of a URL, without its scheme and host.',
  'Take host and path out of the URL, and put the host into HTTP_HOST.');

const scriptOrPath = rule('server', 'script-or-path', 'error', ENVIRON,
  'SCRIPT_NAME or PATH_INFO is in environ.', 'Set PATH_INFO to \'/\' for the root.');

const scriptOrPathFilled = rule('server', 'script-or-path-nonempty', 'warning', 'RFC 9112 §3.2.1',
  'SCRIPT_NAME and PATH_INFO are not both empty: the shortest path is a slash.',
  'Set PATH_INFO to \'/\' for the root.');

function checkPath(exchange: Exchange, environ: Variables): void {
  const { SCRIPT_NAME: script, PATH_INFO: path, REQUEST_METHOD: method } = environ;
  if (script === undefined && path === undefined) {
    exchange.reportCall(scriptOrPath, 'passed an environ without SCRIPT_NAME and PATH_INFO');
  } else if (!script && !path) {
    exchange.reportCall(scriptOrPathFilled, 'left SCRIPT_NAME and PATH_INFO empty');
  }
  const isMounted = path === '' && exchange.outer !== undefined;
  if (typeof script === 'string' && /^\/.*\/$/.test(script) && !isMounted) {
    exchange.reportCall(scriptEnd, `set SCRIPT_NAME to ${quote(script)}`);
  }
  if (typeof path !== 'string' || path === '' || path.startsWith('/')) return;

  const action = `set PATH_INFO to ${quote(path)}`;
  const withMethod = `${action} for ${describe(method)}`;
  if (path === '*') {
    if (method !== 'OPTIONS') exchange.reportCall(pathAsterisk, withMethod);
  } else if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path)) {
    exchange.reportCall(pathAbsolute, action);
  } else if (/^[^/?#@]+:[0-9]+$/.test(path)) {
    if (method !== 'CONNECT') exchange.reportCall(pathAuthority, withMethod);
  } else {
    exchange.reportCall(pathSlash, action);
  }
}

// ---- Variables that must agree

const queryShape = rule('server', 'query-string-shape', 'warning', 'RFC 3986 §3.4',
  'QUERY_STRING is what follows the ?, still percent-encoded, up to any #.',
  'Cut the target at the first ? and pass on the rest as it is.');

const hostRequired = rule('server', 'http-host-required', 'warning', 'RFC 9112 §3.2',
  'A request of HTTP/1.1 has a Host.', 'Refuse a request without one with 400.');

const codingWithLength = rule('server', 'te-with-length', 'warning', 'RFC 9112 §6.3',
  'A body is framed by Transfer-Encoding or by Content-Length, never by both.',
  'Refuse such a request. If the body was buffered, delete environ.HTTP_TRANSFER_ENCODING.');

const schemeAgrees = rule('server', 'https-scheme-agree', 'warning', ENVIRON,
  'HTTPS is on if wsgi.url_scheme is https, and only then.',
  'Set both from the same fact, as guessScheme does.');

function checkAgreement(exchange: Exchange, environ: Variables): void {
  if (environ['SERVER_PROTOCOL'] === 'HTTP/1.1' && environ['HTTP_HOST'] === undefined) {
    exchange.reportCall(hostRequired, 'passed a request of HTTP/1.1 without HTTP_HOST');
  }
  if (environ['CONTENT_LENGTH'] && environ['HTTP_TRANSFER_ENCODING']) {
    exchange.reportCall(codingWithLength, 'passed both CONTENT_LENGTH and HTTP_TRANSFER_ENCODING');
  }
  // The client may have sent two question marks, and then the second is the query's.
  const query = environ['QUERY_STRING'];
  if (typeof query === 'string' && query !== '') {
    const isCutWrong = query.startsWith('?') && !String(environ['REQUEST_URI']).includes('??');
    if (isCutWrong || /#|[^\x20-\x7e]/.test(query)) {
      exchange.reportCall(queryShape, `set QUERY_STRING to ${quoteValue('QUERY_STRING', query)}`);
    }
  }
  const { HTTPS: https, 'wsgi.url_scheme': scheme } = environ;
  if (typeof https !== 'string' || https === '' || typeof scheme !== 'string') return;
  if (/^(?:on|yes|1)$/i.test(https) !== (scheme === 'https')) {
    const action = `set HTTPS to ${quote(https)} and wsgi.url_scheme to ${quote(scheme)}`;
    exchange.reportCall(schemeAgrees, action);
  }
}

// ---- The wsgi.* variables

const versionValue = rule('server', 'wsgi-version-value', 'error', ENVIRON,
  'wsgi.version is [1, 0], the version that PEP 3333 specifies.', 'Set it to [1, 0].');

const schemeKnown = rule('server', 'url-scheme-known', 'error', ENVIRON,
  'wsgi.url_scheme is a URI scheme, normally http or https.',
  'Set it to \'http\' or \'https\', in lower case and without a colon.');

// scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )            (RFC 3986 §3.1)
const SCHEME = /^[a-z][a-z0-9+.-]*$/i;

const flagBoolean = rule('server', 'flag-boolean', 'warning', ENVIRON,
  'wsgi.multithread, wsgi.multiprocess and wsgi.run_once are true or false.',
  'Set it to false or true.');

const inputMethods = rule('server', 'input-methods', 'error', STREAMS,
  'wsgi.input has read(), readline(), readlines() and asynchronous iteration.',
  'Use StreamInput or BytesIO from tsgiref/io, or add what is missing.');

const errorsMethods = rule('server', 'errors-methods', 'error', STREAMS,
  'wsgi.errors has write(), writelines() and flush().',
  'Use ErrorOutput or StringIO from tsgiref/io, or add what is missing.');

function checkWsgi(exchange: Exchange, environ: Variables): void {
  checkVersion(exchange, environ['wsgi.version']);
  checkScheme(exchange, environ['wsgi.url_scheme']);
  for (const key of ['wsgi.multithread', 'wsgi.multiprocess', 'wsgi.run_once']) {
    const flag = environ[key];
    if (flag !== undefined && typeof flag !== 'boolean') {
      exchange.reportCall(flagBoolean, `set ${key} to ${describe(flag)}`);
    }
  }
  const { 'wsgi.input': input, 'wsgi.errors': errors } = environ;
  const [noInput] = ['read', 'readline', 'readlines'].filter((name) => !hasMethod(input, name));
  const [noErrors] = ['write', 'writelines', 'flush'].filter((name) => !hasMethod(errors, name));
  if (input !== undefined && noInput !== undefined) {
    const action = `passed a wsgi.input, ${describe(input)}, without ${noInput}()`;
    exchange.reportCall(inputMethods, action);
  } else if (input !== undefined && !hasMethod(input, Symbol.asyncIterator)) {
    const action = `passed a wsgi.input, ${describe(input)}, that cannot be iterated`;
    exchange.reportCall(inputMethods, action);
  }
  if (errors !== undefined && noErrors !== undefined) {
    const action = `passed a wsgi.errors, ${describe(errors)}, without ${noErrors}()`;
    exchange.reportCall(errorsMethods, action);
  }
}

function checkVersion(exchange: Exchange, version: unknown): void {
  if (version === undefined) return;
  const numbers: unknown[] = Array.isArray(version) ? version : [];
  if (numbers.length === 2 && numbers[0] === 1 && numbers[1] === 0) return;
  const items = numbers.map(describe).join(', ');
  const list = `an array of ${count(numbers.length, 'item')}, ${items}`;
  const shown = numbers.length > 0 ? list : describe(version);
  exchange.reportCall(versionValue, `set wsgi.version to ${shown}`);
}

function checkScheme(exchange: Exchange, scheme: unknown): void {
  if (scheme === 'http' || scheme === 'https' || scheme === undefined) return;
  const isScheme = typeof scheme === 'string' && SCHEME.test(scheme);
  const severity = isScheme ? 'warning' : 'error';
  const action = `set wsgi.url_scheme to ${describe(scheme)}`;
  exchange.reportCall(schemeKnown, action, scheme, severity);
}

// ---- While the application has it

/** Reads what the later checks need to know of the request. */
export function readRequest(exchange: Exchange, environ: Variables): void {
  exchange.environ = environ as unknown as WSGIEnvironment;
  exchange.isHead = property(environ, 'REQUEST_METHOD') === 'HEAD';
  const length = property(environ, 'CONTENT_LENGTH');
  if (typeof length === 'string' && DIGITS.test(length)) {
    const number = Number(length);
    exchange.inputLength = Number.isSafeInteger(number) ? number : undefined;
  }
}

/**
 * The variable as the server gave it. Of two applications that middleware calls one after
 * the other, the second does not get the objects that the first was given.
 */
export function originalVariable(exchange: Exchange, key: string): unknown {
  return beneath(key, property(exchange.environ, key), (owner) => owner !== exchange.outer);
}

// The value without the guards of some exchanges.
function beneath(key: string, value: unknown, isPast: (owner: Exchange) => boolean): unknown {
  const owner = exchangeOf(value);
  if (owner === undefined || !isPast(owner)) return value;
  const replaced = owner.originals?.find(([name, , guarded]) => name === key && guarded === value);
  return replaced === undefined ? value : beneath(key, replaced[1], isPast);
}

/** Puts `guarded` in the place of a variable until the exchange is over. */
export function replaceVariable(exchange: Exchange, key: string, guarded: unknown): void {
  const { environ } = exchange;
  const original: unknown = property(environ, key);
  try {
    if (!Reflect.set(environ, key, guarded)) return;
    exchange.originals ??= [];
    exchange.originals.push([key, original, guarded]);
  } catch {
    // A Proxy may throw here; the application then gets what the server gave.
  }
}

/** Gives the server its own objects back. Values of the application stay. */
export function restoreEnviron(exchange: Exchange): void {
  const { environ, originals } = exchange;
  exchange.restored = true;
  allowReuse(exchange);
  try {
    for (const [key, original, guarded] of originals ?? []) {
      if (Reflect.get(environ, key) !== guarded) continue;
      // Another exchange with the same environ may have ended before, out of order.
      Reflect.set(environ, key, beneath(key, original, (owner) => owner.restored));
    }
  } catch {
    // A Proxy may throw here, too.
  }
}

/** The exchange that an environ belongs to, even if it was copied. */
export function findExchange(environ: unknown): Exchange | undefined {
  return (
    exchangeOf(property(environ, 'wsgi.errors')) ?? exchangeOf(property(environ, 'wsgi.input'))
  );
}

// ---- When the response is over

const valuesAfter = rule('application', 'environ-after-app', 'warning', STRING_TYPES,
  'A variable that the application adds without a dot in its name is a string of bytes, too.',
  'Give an addition a name with a dot, such as \'myapp.user\'.',
  (key) => {
    const name = String(key).replace(/\W/g, '_').toLowerCase();
    return `Give an addition a name with a dot: environ['myapp.${name}'].`;
  });

/**
 * Looks at the CGI variables again: every middleware through which the application was
 * called sees its changes.
 */
export function checkEnvironAfter(exchange: Exchange): void {
  const { environ, badVariables } = exchange;
  try {
    for (const key of Object.keys(environ)) {
      if (key.includes('.') || badVariables?.has(key)) continue;
      const value: unknown = Reflect.get(environ, key);
      if (value === undefined || (typeof value === 'string' && !NOT_A_BYTE.test(value))) continue;
      exchange.reportValue(valuesAfter, `left ${quote(key)} in environ as ${describe(value)}`, key);
    }
  } catch (error) {
    exchange.rethrow(error, valuesAfter, 'left an environ that cannot be read');
  }
}
