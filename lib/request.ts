// From the head of a request to environ, for every door: the server, a listener of
// Node, the fetch bridge, the test client and `--request`. Also the checks: a head
// that two programs could read in two ways is refused before an application sees it.
// (RFC 3875 §4.1; PEP 3333, "environ Variables")

import { quote } from './describe.ts';
import { percentDecode } from './latin1.ts';
import type { Status, WSGIEnvironment } from './types.ts';

/** For `SERVER_SOFTWARE` and the Server header: the first two numbers of the package's version. */
export const VERSION = '0.1';

/** The variables that are the same for every request of a server. */
export interface BaseEnviron {
  /** The host name or address of the server. */
  SERVER_NAME: string;
  /** The port of the server, in decimal digits. */
  SERVER_PORT: string;
  /** `CGI/1.1`. */
  GATEWAY_INTERFACE: string;
  /** The path under which the application is mounted; `''` at the root. */
  SCRIPT_NAME: string;
  /** The name of the client; `''`, since no server here looks it up. */
  REMOTE_HOST: string;
  /** `''`: the value for a request without the header. */
  CONTENT_LENGTH: string;
}

/** The base environ of a server with this name and port. */
export function makeBaseEnviron(serverName: string, serverPort: string): BaseEnviron {
  return {
    SERVER_NAME: serverName,
    SERVER_PORT: serverPort,
    GATEWAY_INTERFACE: 'CGI/1.1',
    SCRIPT_NAME: '',
    REMOTE_HOST: '',
    CONTENT_LENGTH: '',
  };
}

/** The head of a request, as it arrived. Node's `IncomingMessage` is one. */
export interface RequestHead {
  /** The method, such as `GET`. */
  readonly method?: string | undefined;
  /** The target, as it was sent: a path with its query, an absolute URL, or `*`. */
  readonly url?: string | undefined;
  /** `1.1` or `1.0`. */
  readonly httpVersion: string;
  /** Names and values in turn, in the order of arrival; the values are Latin-1. */
  readonly rawHeaders: readonly string[];
}

/** The connection's part of environ. */
export interface ConnectionFacts {
  /** The client's address. */
  readonly remoteAddress: string;
  /** Whether the connection is encrypted. */
  readonly secure: boolean;
}

/** Thrown for a request that is answered before any application sees it. */
export class RefusedRequest extends Error {
  /** The status of the answer, such as `400 Bad Request`. */
  readonly status: Status;

  /**
   * The refusal of a request.
   *
   * @param status - The status of the answer, such as `400 Bad Request`.
   * @param reason - One sentence for the client.
   */
  constructor(status: Status, reason: string) {
    super(reason);
    this.name = 'RefusedRequest';
    this.status = status;
  }
}

/**
 * Makes environ of a request. The handler has yet to set the `wsgi.*` keys, which are
 * undefined.
 *
 * @param head - Method, target, version and headers.
 * @param base - The variables that every request of the server has; extra ones are added.
 * @param connection - The client's address, and whether the connection is encrypted.
 * @param serverSoftware - For `SERVER_SOFTWARE`.
 * @throws RefusedRequest if the head is ambiguous or asks for a feature that the server does
 *   not have
 */
export function makeEnviron(
  head: RequestHead,
  base: BaseEnviron,
  connection: ConnectionFacts,
  serverSoftware: string,
): WSGIEnvironment {
  const target = head.url ?? '';
  const { path, host } = splitTarget(target, head.method);
  const question = path.indexOf('?');

  // One literal with every fixed key, even those that the handler sets: adding keys one by
  // one is several times slower.
  const environ = {
    SERVER_NAME: base.SERVER_NAME,
    GATEWAY_INTERFACE: base.GATEWAY_INTERFACE,
    SERVER_PORT: base.SERVER_PORT,
    REMOTE_HOST: base.REMOTE_HOST,
    CONTENT_LENGTH: base.CONTENT_LENGTH,
    SCRIPT_NAME: base.SCRIPT_NAME,
    SERVER_PROTOCOL: protocolOf(head.httpVersion),
    SERVER_SOFTWARE: serverSoftware,
    REQUEST_METHOD: head.method ?? '',
    PATH_INFO: percentDecode(question === -1 ? path : path.slice(0, question)),
    QUERY_STRING: question === -1 ? '' : path.slice(question + 1),
    REQUEST_URI: target,
    REMOTE_ADDR: connection.remoteAddress,
    'wsgi.version': undefined,
    'wsgi.url_scheme': undefined,
    'wsgi.input': undefined,
    'wsgi.input_terminated': undefined,
    'wsgi.errors': undefined,
    'wsgi.multithread': undefined,
    'wsgi.multiprocess': undefined,
    'wsgi.run_once': undefined,
    'wsgi.file_wrapper': undefined,
    'tsgiref.signal': undefined,
  } as unknown as WSGIEnvironment;

  if (connection.secure) environ.HTTPS = 'on';
  addHeaders(environ, head.rawHeaders);
  checkHeaders(environ);
  // The target of a request to a proxy names the host, and then Host does not count.
  // (RFC 9112 §3.2.2)
  if (host !== undefined) environ['HTTP_HOST'] = host;
  if (Object.keys(base).length > BASE_KEYS) addServerVariables(environ, base);
  return environ;
}

function protocolOf(version: string): string {
  if (version === '1.1') return 'HTTP/1.1';
  if (version.startsWith('1.')) return `HTTP/${version}`;
  throw new RefusedRequest(
    '505 HTTP Version Not Supported',
    `This server speaks HTTP/1.1, not HTTP/${version}.`,
  );
}

// absolute-form = absolute-URI                                 (RFC 9112 §3.2.2)
const ABSOLUTE = /^https?:\/\/([^/?]*)(.*)$/i;

// Host = uri-host [ ":" port ]                                   (RFC 9110 §7.2)
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]*)?$/i;

function splitTarget(target: string, method = ''): { path: string; host?: string } {
  // A client never sends a fragment; a target with one could be read in two ways.
  if (target.includes('#')) throw badRequest(`The target ${quote(target)} contains '#'.`);
  if (target.startsWith('/')) return { path: target };
  if (target === '*' && method === 'OPTIONS') return { path: target };
  const [, host, path = ''] = ABSOLUTE.exec(target) ?? [];
  if (host === undefined || !HOST.test(host)) {
    throw badRequest(`The target ${quote(target)} is neither a path nor an http URL.`);
  }
  return { path: path.startsWith('/') ? path : `/${path}`, host };
}

function addHeaders(environ: WSGIEnvironment, rawHeaders: readonly string[]): void {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const key = keyAt(index / 2, rawHeaders[index] as string);
    if (key === undefined) continue;
    const value = rawHeaders[index + 1] as string;
    const before = environ[key];
    if (before === undefined || (key === 'CONTENT_LENGTH' && before === '')) environ[key] = value;
    else environ[key] = joinHeader(key, before, value);
  }
}

// Fields that may occur only once. Another program could read the second one.
// (RFC 9112 §3.2, RFC 9110 §8.3)
const SINGLE: Record<string, string> = {
  HTTP_HOST: 'Host',
  CONTENT_TYPE: 'Content-Type',
  CONTENT_LENGTH: 'Content-Length',
};

/**
 * Joins the value of a repeated header to the values before it. Only cookies are joined by a
 * semicolon. The separator includes a space, as in nginx and fetch.
 * (RFC 9110 §5.3, RFC 6265 §5.4)
 *
 * @throws RefusedRequest for a header that may occur only once
 */
export function joinHeader(key: string, before: string, value: string): string {
  const name = SINGLE[key];
  if (name !== undefined) throw badRequest(`The request names its ${name} more than once.`);
  if (key === 'HTTP_TRANSFER_ENCODING') checkTransferCoding(before);
  return key === 'HTTP_COOKIE' ? `${before}; ${value}` : `${before}, ${value}`;
}

// Most requests name the same host as the one before.
let lastHost: string | undefined;

function checkHeaders(environ: WSGIEnvironment): void {
  const { SERVER_PROTOCOL, CONTENT_LENGTH } = environ;
  const is10 = SERVER_PROTOCOL === 'HTTP/1.0';
  const host = environ['HTTP_HOST'];
  if (host === undefined) {
    if (!is10) throw badRequest('The request names no Host.');
  } else if (host !== lastHost) {
    if (!HOST.test(host)) throw badRequest(`The Host ${quote(host)} is not a host and port.`);
    lastHost = host;
  }
  if (CONTENT_LENGTH && !/^[0-9]+$/.test(CONTENT_LENGTH)) {
    throw badRequest(`The Content-Length ${quote(CONTENT_LENGTH)} is not a number in digits.`);
  }
  const coding = environ['HTTP_TRANSFER_ENCODING'];
  if (coding !== undefined) checkTransferCoding(coding, is10);
  const expectation = environ['HTTP_EXPECT'];
  if (expectation !== undefined && !is10 && expectation.toLowerCase() !== '100-continue') {
    throw new RefusedRequest(
      '417 Expectation Failed',
      `The expectation ${quote(expectation)} is not known here; '100-continue' is.`,
    );
  }
}

// An empty value hides a body from one program and not from another. (RFC 9112 §6.1)
function checkTransferCoding(coding: string, is10 = false): void {
  if (coding === '') throw badRequest('The Transfer-Encoding is empty.');
  if (coding.toLowerCase() !== 'chunked') {
    throw new RefusedRequest(
      '501 Not Implemented',
      `The transfer coding ${quote(coding)} is not known here; 'chunked' is.`,
    );
  }
  if (is10) throw badRequest('HTTP/1.0 has no transfer codings.');
}

function badRequest(reason: string): RefusedRequest {
  return new RefusedRequest('400 Bad Request', reason);
}

const BASE_KEYS = 6;

// A subclass of the server may have put more into its base environ.
function addServerVariables(environ: WSGIEnvironment, base: BaseEnviron): void {
  for (const [key, value] of Object.entries(base)) {
    if (!(key in environ)) Object.assign(environ, { [key]: value });
  }
}

type HeaderKey = `HTTP_${string}` | 'CONTENT_TYPE' | 'CONTENT_LENGTH' | undefined;

// A client sends the same headers in the same order again and again, so a header probably
// has the name that had its place in the request before. The bound is against a client that
// sends very many.
const MOST_PLACES = 100;
const earlier: Array<{ name: string; key: HeaderKey }> = [];

function keyAt(place: number, name: string): HeaderKey {
  const known = earlier[place];
  if (known?.name === name) return known.key;
  const key = environKey(name);
  if (place < MOST_PLACES) earlier[place] = { name, key };
  return key;
}

// The key of a header, such as HTTP_USER_AGENT for User-Agent; undefined for a header that
// no application may see. (RFC 3875 §4.1.18)
function environKey(name: string): HeaderKey {
  // X_Foo and X-Foo would both be HTTP_X_FOO, so a filter in front of the server that
  // removes the one would let the other pass.
  if (name.includes('_')) return undefined;
  const folded = name.toUpperCase().replaceAll('-', '_');
  if (folded === 'CONTENT_TYPE' || folded === 'CONTENT_LENGTH') return folded;
  // Programs started by the application would take HTTP_PROXY for their own
  // configuration. (CVE-2016-1000110)
  if (folded === 'PROXY') return undefined;
  return `HTTP_${folded}`;
}
