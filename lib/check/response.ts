// A response as it arrived, read as strictly as RFC 9112 asks of a server.

import { quote } from '../describe.ts';
import { Finding } from './definition.ts';

/** One response. Its strings hold bytes as Latin-1 characters. */
export interface Response {
  version: '1.0' | '1.1';
  code: number;
  reason: string;
  headers: Array<[name: string, value: string]>;
  body: string;
  /** How the end of the body was marked. */
  framing: 'none' | 'length' | 'chunked' | 'close';
  /** False if the connection ended before the body did. */
  whole: boolean;
}

/** A head, and how many of the received characters it took. */
export interface Head {
  response: Response;
  length: number;
  /** The Content-Length, where that marks the end of the body. */
  bodyLength: number;
}

// status-line = HTTP-version SP status-code SP [ reason-phrase ]     (RFC 9112 §4)
const STATUS_LINE = /^HTTP\/(1\.[01]) ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)$/;

// field-line = field-name ":" OWS field-value OWS                    (RFC 9112 §5)
const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/;

/**
 * The head at the beginning of `received`; undefined if it is not complete yet.
 *
 * @param method - The method of the request, which decides whether a body follows.
 * @throws Finding if the bytes are not an HTTP response
 */
export function readHead(received: string, method: string): Head | undefined {
  const end = received.indexOf('\r\n\r\n');
  if (end === -1) {
    checkBeginning(received);
    return undefined;
  }
  const [first = '', ...lines] = received.slice(0, end).split('\r\n');
  const [, version, code, reason = ''] = STATUS_LINE.exec(first) ?? [];
  if (version === undefined) throw new Finding(`sent ${quote(first)} as its status line`);
  const headers = lines.map(readField);
  const response: Response = {
    version: version as Response['version'],
    code: Number(code),
    reason,
    headers,
    body: '',
    framing: 'none',
    whole: true,
  };
  const bodyLength = readFraming(response, method);
  return { response, length: end + 4, bodyLength };
}

/** The values that a header has in this response; the name in any case. */
export function valuesOf(response: Response, name: string): string[] {
  return response.headers
    .filter(([each]) => each.toLowerCase() === name.toLowerCase())
    .map(([, value]) => value);
}

/** Whether the server says, or implies by its version, that it closes the connection. */
export function announcesClose(response: Response): boolean {
  const options = valuesOf(response, 'Connection').join(',').toLowerCase();
  if (/\bclose\b/.test(options)) return true;
  return response.version === '1.0' && !/\bkeep-alive\b/.test(options);
}

/** The size in a chunk's first line, without its CRLF. */
export function readChunkSize(line: string): number {
  // chunk-size [ chunk-ext ], of which no server needs the second           (RFC 9112 §7.1)
  if (!/^[0-9a-f]+[ \t]*(?:;[\t\x20-\x7e]*)?$/i.test(line)) {
    throw new Finding(`sent ${quote(line)} where the size of a chunk belongs`);
  }
  return Number.parseInt(line, 16);
}

// Garbage need not contain the end of a head.
function checkBeginning(received: string): void {
  const beginning = received.slice(0, 5);
  if ('HTTP/'.startsWith(beginning)) return;
  throw new Finding(`sent ${quote(received)}, which is not an HTTP response`);
}

function readField(line: string): [name: string, value: string] {
  const [, name, value = ''] = FIELD_LINE.exec(line) ?? [];
  if (name === undefined) throw new Finding(`sent ${quote(line)} among its headers`);
  return [name, value.trimEnd()];
}

// RFC 9112 §6.3
function readFraming(response: Response, method: string): number {
  const { code } = response;
  const codings = valuesOf(response, 'Transfer-Encoding');
  const lengths = valuesOf(response, 'Content-Length');
  if (codings.length > 0 && lengths.length > 0) {
    throw new Finding('sent both Content-Length and Transfer-Encoding (RFC 9112 §6.2)');
  }
  if (lengths.length > 1) throw new Finding(`sent Content-Length ${lengths.length} times`);
  const [length] = lengths;
  if (length !== undefined && !/^[0-9]+$/.test(length)) {
    throw new Finding(`sent the Content-Length ${quote(length)}`);
  }
  if (method === 'HEAD' || code < 200 || code === 204 || code === 304) return 0;
  if (codings.length > 0) {
    if (codings.join().toLowerCase() !== 'chunked') {
      throw new Finding(`sent the Transfer-Encoding ${quote(codings.join())}`);
    }
    response.framing = 'chunked';
    return 0;
  }
  response.framing = length === undefined ? 'close' : 'length';
  return Number(length ?? 0);
}
