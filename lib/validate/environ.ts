// The environ object itself, and its `wsgi.*` variables: what a server, or the
// middleware that passes it on, must hand to an application.

import { describe, quote } from '../describe.ts';
import { checkCgi } from './cgi.ts';
import type { Exchange } from './exchange.ts';
import { ErrorsCheck } from './errors.ts';
import { FileWrapperCheck, checkFileWrapper } from './file-wrapper.ts';
import { InputCheck } from './input.ts';
import { hasMethod, isObject, property } from './probe.ts';
import { DETAILS, ENVIRON, STREAMS, type Rule, server } from './rule.ts';

// ---- The object

const plain = server.error('environ-plain', DETAILS,
  'environ is a plain object: no Map, no array, no instance of a class.',
  'Build it as an object literal, or with Object.create(null).');

const ownKeys = server.error('environ-own-keys', DETAILS,
  'The required variables are environ\'s own properties, not inherited ones.',
  'Copy them into environ: { ...defaults, ...request }.');

const notFrozen = server.error('environ-not-frozen', DETAILS,
  'The application may change environ however it likes.',
  'Hand over an ordinary object of writable values: no freeze, no seal, no getters.');

const stringKeys = server.error('environ-string-keys', ENVIRON,
  'The keys of environ are strings.',
  'Keep what belongs to a symbol elsewhere, such as in a WeakMap.');

const perRequest = server.error('environ-per-request', DETAILS,
  'Each request has an environ of its own, since the application may change it.',
  'Make a new object for each request, or a copy: { ...environ }.');

// CGI-defined names, as the CGI variables have; server-defined names carry a dot.
const keyNaming = server.warning('environ-key-naming', ENVIRON,
  'A name is written LIKE_THIS, or, of one\'s own, like_this.with.a_prefix in lower case.',
  'Name an addition after its maker: \'myserver.connection\'.');

const reserved = server.warning('environ-reserved-wsgi', ENVIRON,
  'Names that begin with "wsgi." belong to the specification.',
  'Correct the spelling, or use a prefix of your own.');

const CGI_NAME = /^[A-Z][A-Z0-9_]*$/;
const OWN_NAME = /^[a-z0-9_]+(?:\.[a-z0-9_]+)+$/;

const WSGI_NAMES = new Set([
  'wsgi.version',
  'wsgi.url_scheme',
  'wsgi.input',
  'wsgi.errors',
  'wsgi.multithread',
  'wsgi.multiprocess',
  'wsgi.run_once',
  'wsgi.file_wrapper',
  'wsgi.input_terminated',
]);

// ---- The wsgi.* variables

const hasVersion = required('has-wsgi-version', 'wsgi.version', 'Set it to [1, 0].');
const hasScheme = required('has-url-scheme', 'wsgi.url_scheme', 'Set it to \'http\' or \'https\'.');
const hasInput = required('has-wsgi-input', 'wsgi.input', 'Set it to a stream of the body.');
const hasErrors = required('has-wsgi-errors', 'wsgi.errors', 'Set it to a stream for reports.');
const hasMultithread = required('has-multithread', 'wsgi.multithread', 'Set it to false or true.');
const hasMultiprocess = required('has-multiprocess', 'wsgi.multiprocess',
  'Set it to false or true.');
const hasRunOnce = required('has-run-once', 'wsgi.run_once', 'Set it to false or true.');

function required(id: string, key: string, hint: string): Rule {
  return server.error(id, ENVIRON, `${key} is in environ.`, hint);
}

const REQUIRED: ReadonlyArray<[key: string, rule: Rule]> = [
  ['wsgi.version', hasVersion],
  ['wsgi.url_scheme', hasScheme],
  ['wsgi.input', hasInput],
  ['wsgi.errors', hasErrors],
  ['wsgi.multithread', hasMultithread],
  ['wsgi.multiprocess', hasMultiprocess],
  ['wsgi.run_once', hasRunOnce],
];

const REQUIRED_NAMES = [
  'REQUEST_METHOD', 'SERVER_NAME', 'SERVER_PORT', 'SERVER_PROTOCOL',
  ...REQUIRED.map(([key]) => key),
];

const versionType = server.error('wsgi-version-type', ENVIRON,
  'wsgi.version is an array.', 'Set it to [1, 0].');

const versionLength = server.error('wsgi-version-len', ENVIRON,
  'wsgi.version has two numbers.', 'Set it to [1, 0].');

const versionValue = server.error('wsgi-version-value', ENVIRON,
  'wsgi.version is [1, 0], the version that PEP 3333 specifies.', 'Set it to [1, 0].');

const schemeKnown = server.error('url-scheme-known', ENVIRON,
  'wsgi.url_scheme is a URI scheme, normally http or https.',
  'Set it to \'http\' or \'https\', in lower case and without a colon.');

// scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )            (RFC 3986 §3.1)
const SCHEME = /^[a-z][a-z0-9+.-]*$/i;

const flagBoolean = server.warning('flag-boolean', ENVIRON,
  'wsgi.multithread, wsgi.multiprocess and wsgi.run_once are true or false.',
  'Set it to false or true.');

const inputMethods = server.error('input-methods', STREAMS,
  'wsgi.input has read(), readline(), readlines() and asynchronous iteration.',
  'Use StreamInput or BytesIO from tsgiref/io, or add what is missing.');

const inputBinary = server.error('input-binary', STREAMS,
  'wsgi.input gives bytes: no text, no objects.',
  'Take the stream without setEncoding() and without objectMode.');

const errorsMethods = server.error('errors-methods', STREAMS,
  'wsgi.errors has write(), writelines() and flush().',
  'Use ErrorOutput or StringIO from tsgiref/io, or add what is missing.');

// That a path was percent-decoded exactly once cannot be seen here: after it, a
// path may contain anything.

/**
 * Checks environ before the application sees it; `last` is the exchange that has
 * left its mark there, if one has. Returns false if it is no object
 * at all, so that nothing can be looked up in it.
 */
export function checkEnviron(
  exchange: Exchange,
  environ: unknown,
  last: Exchange | undefined,
): environ is Record<string, unknown> {
  if (!isObject(environ)) {
    exchange.fault(plain, `passed ${describe(environ)} as environ`);
    return false;
  }
  try {
    checkObject(exchange, environ);
    checkReuse(exchange, environ, last);
    const variables = environ as Record<string, unknown>;
    checkNames(exchange, variables);
    checkCgi(exchange, variables);
    checkWsgi(exchange, variables);
  } catch (error) {
    exchange.rethrow(error, plain, 'passed an environ that cannot be read');
  }
  return true;
}

function checkObject(exchange: Exchange, environ: object): void {
  const inherited = REQUIRED_NAMES.find((key) => key in environ && !Object.hasOwn(environ, key));
  if (inherited !== undefined) {
    exchange.fault(ownKeys, `passed an environ that only inherits ${inherited}`);
  }
  const prototype: unknown = Object.getPrototypeOf(environ);
  if (prototype !== Object.prototype && prototype !== null && !isForeignPlain(prototype)) {
    exchange.fault(plain, `passed ${describe(environ)} as environ`);
  }
  if (!Object.isExtensible(environ)) {
    exchange.fault(notFrozen, 'passed an environ to which nothing can be added');
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

// Each validator has a reporter of its own, by which its exchanges are known.
// Middleware may call its application twice for one request: then the validator
// around it is in the same exchange both times.
function checkReuse(exchange: Exchange, environ: object, last: Exchange | undefined): void {
  const { reporter, outer } = exchange;
  for (let earlier = last; earlier !== undefined; earlier = earlier.outer) {
    if (earlier.reporter !== reporter || earlier.environ !== environ) continue;
    if (outer === undefined || earlier.outer !== outer) {
      exchange.fault(perRequest, 'passed an environ that an earlier request had');
    }
    return;
  }
}

function checkNames(exchange: Exchange, environ: Record<string, unknown>): void {
  for (const key of Reflect.ownKeys(environ)) {
    if (typeof key === 'symbol') {
      exchange.fault(stringKeys, `put a symbol, ${quote(String(key))}, into environ as a key`);
      continue;
    }
    const { get, set, writable } = Object.getOwnPropertyDescriptor(environ, key) ?? {};
    if (writable !== true) {
      const kind = get === undefined && set === undefined ? 'read-only' : 'a getter or setter';
      exchange.fault(notFrozen, `passed an environ in which ${quote(key)} is ${kind}`);
    }
    if (!isGoodName(key)) checkName(exchange, environ, key);
  }
}

// Requests bring the same few names again and again; the bound is against one that
// invents new ones.
const MOST_NAMES = 1000;
const goodNames = new Set<string>();

function isGoodName(key: string): boolean {
  if (goodNames.has(key)) return true;
  const isGood = key.startsWith('wsgi.')
    ? WSGI_NAMES.has(key)
    : CGI_NAME.test(key) || OWN_NAME.test(key);
  if (isGood && goodNames.size < MOST_NAMES) goodNames.add(key);
  return isGood;
}

function checkName(exchange: Exchange, environ: Record<string, unknown>, key: string): void {
  if (key.startsWith('wsgi.')) exchange.fault(reserved, `put ${quote(key)} into environ`);
  // Those of request headers have a rule of their own.
  else if (!key.startsWith('HTTP_') && !isOfTheSystem(environ, key)) {
    exchange.fault(keyNaming, `put ${quote(key)} into environ`);
  }
}

// A server may include the variables of the operating system, whatever their
// names are. (PEP 3333, "environ Variables")
function isOfTheSystem(environ: Record<string, unknown>, key: string): boolean {
  const value = globalThis.process?.env?.[key];
  return value !== undefined && value === environ[key];
}

function checkWsgi(exchange: Exchange, environ: Record<string, unknown>): void {
  for (const [key, rule] of REQUIRED) {
    if (environ[key] === undefined) exchange.fault(rule, `passed an environ without ${key}`);
  }
  checkVersion(exchange, environ['wsgi.version']);
  checkScheme(exchange, environ['wsgi.url_scheme']);
  for (const key of ['wsgi.multithread', 'wsgi.multiprocess', 'wsgi.run_once']) {
    const flag = environ[key];
    if (flag !== undefined && typeof flag !== 'boolean') {
      exchange.fault(flagBoolean, `set ${key} to ${describe(flag)}`);
    }
  }
  if (environ['wsgi.input'] !== undefined) checkInput(exchange, environ['wsgi.input']);
  if (environ['wsgi.errors'] !== undefined) checkErrors(exchange, environ['wsgi.errors']);
  if ('wsgi.file_wrapper' in environ) checkFileWrapper(exchange, environ['wsgi.file_wrapper']);
}

function checkVersion(exchange: Exchange, version: unknown): void {
  if (version === undefined) return;
  if (!Array.isArray(version)) {
    exchange.fault(versionType, `set wsgi.version to ${describe(version)}`);
  } else if (version.length !== 2) {
    exchange.fault(versionLength, `set wsgi.version to ${describe(version)}`);
  } else if (version[0] !== 1 || version[1] !== 0) {
    const [major, minor] = version.map(describe);
    exchange.fault(versionValue, `set wsgi.version to an array of ${major} and ${minor}`);
  }
}

function checkScheme(exchange: Exchange, scheme: unknown): void {
  if (scheme === 'http' || scheme === 'https' || scheme === undefined) return;
  const isScheme = typeof scheme === 'string' && SCHEME.test(scheme);
  const severity = isScheme ? 'warning' : 'error';
  exchange.fault(schemeKnown, `set wsgi.url_scheme to ${describe(scheme)}`, undefined, severity);
}

function checkInput(exchange: Exchange, input: unknown): void {
  // The stream of another validator answers for its own.
  if (input instanceof InputCheck) return;
  const missing = ['read', 'readline', 'readlines'].find((name) => !hasMethod(input, name));
  if (missing !== undefined) {
    const deed = `passed a wsgi.input, ${describe(input)}, without ${missing}()`;
    exchange.fault(inputMethods, deed);
  } else if (!hasMethod(input, Symbol.asyncIterator)) {
    const deed = `passed a wsgi.input, ${describe(input)}, that cannot be iterated`;
    exchange.fault(inputMethods, deed);
  }
  const encoding = property(input, 'readableEncoding');
  if (typeof encoding === 'string') {
    exchange.fault(inputBinary, `passed a wsgi.input that decodes its bytes as ${quote(encoding)}`);
  }
  if (property(input, 'readableObjectMode') === true) {
    exchange.fault(inputBinary, 'passed a wsgi.input in object mode');
  }
}

function checkErrors(exchange: Exchange, errors: unknown): void {
  if (errors instanceof ErrorsCheck) return;
  const missing = ['write', 'writelines', 'flush'].find((name) => !hasMethod(errors, name));
  if (missing !== undefined) {
    const deed = `passed a wsgi.errors, ${describe(errors)}, without ${missing}()`;
    exchange.fault(errorsMethods, deed);
  }
}

/** Puts checks around the streams and the file wrapper, where they can be put. */
export function wrapStreams(exchange: Exchange, environ: Record<string, unknown>): void {
  const input = property(environ, 'wsgi.input');
  const errors = property(environ, 'wsgi.errors');
  const wrapFile = property(environ, 'wsgi.file_wrapper');
  if (isObject(input)) put(environ, 'wsgi.input', new InputCheck(exchange, input));
  if (isObject(errors)) put(environ, 'wsgi.errors', new ErrorsCheck(exchange, errors));
  if (typeof wrapFile === 'function') {
    put(environ, 'wsgi.file_wrapper', new FileWrapperCheck(exchange, wrapFile).wrap);
  }
}

/** Sets a variable, unless environ will not have it, which has been reported. */
export function put(environ: object, key: string, value: unknown): void {
  try {
    Reflect.set(environ, key, value);
  } catch {
    // A Proxy may throw here; the application then gets what the server gave.
  }
}
