// SCGI and uwsgi: a web server in front sends a request over a connection, as a head of
// CGI variables and the body behind it. This file reads the head. The rest works as under CGI.
// (https://python.ca/scgi/protocol.txt, https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html)

import { quote } from '../describe.ts';
import { decodeLatin1, percentDecode } from '../latin1.ts';
import { joinHeader } from '../request.ts';

/** The protocols. */
export type GatewayProtocol = 'scgi' | 'uwsgi';

/** A head that has arrived. */
export interface GatewayHead {
  /** The CGI variables; their values are Latin-1. */
  variables: Record<string, string>;
  /** Bytes of the head; the body begins behind them. */
  size: number;
  /** Bytes of the body. */
  contentLength: number;
}

/** Thrown for bytes that are not a head of the protocol. */
export class GatewayError extends Error {}

/**
 * Reads the head of a request.
 *
 * @param protocol - The protocol of the bytes.
 * @param bytes - All bytes that have arrived, from the beginning of the connection.
 * @param limit - The most bytes that a head may have.
 * @returns undefined if more bytes are needed
 * @throws GatewayError if the bytes are not a head, or one of more than `limit` bytes;
 *   RefusedRequest if a header that may occur once is repeated
 */
export function readGatewayHead(
  protocol: GatewayProtocol,
  bytes: Uint8Array,
  limit: number,
): GatewayHead | undefined {
  const frame = protocol === 'scgi' ? frameScgi(bytes, limit) : frameUwsgi(bytes, limit);
  if (frame === undefined || bytes.length < frame.size) return undefined;
  const content = bytes.subarray(frame.start, frame.end);
  if (protocol === 'scgi' && bytes[frame.end] !== COMMA) {
    throw new GatewayError(`no comma follows the ${content.length} bytes of the head`);
  }
  const pairs = protocol === 'scgi' ? readStrings(content) : readPairs(content);
  const variables = collectVariables(pairs);
  const contentLength = readLength(variables['CONTENT_LENGTH']);
  return { variables, size: frame.size, contentLength };
}

/** Where the variables begin and end, and the size of the whole head. */
interface Frame {
  start: number;
  end: number;
  size: number;
}

const [COLON, COMMA, ZERO] = [0x3a, 0x2c, 0x30];

// netstring = length ":" content ","        The length is in digits, without a zero before it.
function frameScgi(bytes: Uint8Array, limit: number): Frame | undefined {
  const mostDigits = String(limit).length;
  const colon = bytes.subarray(0, mostDigits + 1).indexOf(COLON);
  const digits = decodeLatin1(bytes.subarray(0, colon === -1 ? mostDigits : colon));
  const isNumber = /^(?:0|[1-9][0-9]*)$/.test(digits) && (bytes[0] !== ZERO || colon <= 1);
  if (bytes.length > 0 && !isNumber) {
    throw new GatewayError(`the head begins with ${quote(digits)}, which is not a length and ':'`);
  }
  if (colon === -1) {
    if (bytes.length <= mostDigits) return undefined;
    throw new GatewayError(`the length of the head has more than ${mostDigits} digits`);
  }
  const start = colon + 1;
  return checkSize({ start, end: start + Number(digits), size: start + Number(digits) + 1 }, limit);
}

// uwsgi-head = modifier1 length modifier2 variables      The length is 2 bytes, the low one first.
function frameUwsgi(bytes: Uint8Array, limit: number): Frame | undefined {
  const [modifier = 0, low = 0, high = 0] = bytes;
  // The others ask for things that only the server uWSGI can do.
  if (modifier !== 0) {
    throw new GatewayError(`the first byte is ${modifier}; it is 0 for a request with variables`);
  }
  if (bytes.length < 4) return undefined;
  const length = low + 256 * high;
  return checkSize({ start: 4, end: 4 + length, size: 4 + length }, limit);
}

function checkSize(frame: Frame, limit: number): Frame {
  if (frame.size <= limit) return frame;
  throw new GatewayError(
    `the head has ${frame.size} bytes; the option maxHeaderSize allows ${limit}`,
  );
}

// SCGI: names and values in turn, each ended by NUL.
function* readStrings(content: Uint8Array): Generator<string> {
  let start = 0;
  while (start < content.length) {
    const end = content.indexOf(0, start);
    if (end === -1) throw new GatewayError('the last string of the head has no end');
    yield decodeLatin1(content.subarray(start, end));
    start = end + 1;
  }
}

// uwsgi: names and values in turn, each behind its length.
function* readPairs(content: Uint8Array): Generator<string> {
  let start = 0;
  while (start < content.length) {
    const [low = 0, high] = content.subarray(start, start + 2);
    const end = start + 2 + low + 256 * (high ?? 0);
    if (high === undefined || end > content.length) {
      throw new GatewayError(`a string at byte ${start} of the head is longer than the head`);
    }
    yield decodeLatin1(content.subarray(start + 2, end));
    start = end;
  }
}

function collectVariables(strings: Iterable<string>): Record<string, string> {
  const variables: Record<string, string> = { SCRIPT_NAME: '', QUERY_STRING: '' };
  const seen = new Set<string>();
  let name: string | undefined;
  for (const string of strings) {
    if (name === undefined) {
      name = string;
      continue;
    }
    // nginx before 1.23 sends each line of a repeated header.
    const isHeader = /^(?:HTTP_|CONTENT_)/.test(name);
    const before = seen.has(name) && isHeader ? variables[name] : undefined;
    variables[name] = before === undefined ? string : joinHeader(name, before, string);
    seen.add(name);
    name = undefined;
  }
  if (name !== undefined) throw new GatewayError(`the variable ${quote(name)} has no value`);
  // nginx sends these two with and without HTTP_; CGI defines the names without it.
  delete variables['HTTP_CONTENT_TYPE'];
  delete variables['HTTP_CONTENT_LENGTH'];
  // The server in front has removed the chunks, and says the length.
  if (variables['CONTENT_LENGTH']) delete variables['HTTP_TRANSFER_ENCODING'];
  // Programs started by the application would take it for their configuration.
  delete variables['HTTP_PROXY'];
  variables['PATH_INFO'] ??= pathOf(variables);
  // nginx sends an empty name unless its configuration gives the server one.
  variables['SERVER_NAME'] ||= 'localhost';
  return variables;
}

// nginx sends PATH_INFO only if its configuration says so.
function pathOf({ REQUEST_URI = '', SCRIPT_NAME = '' }: Record<string, string>): string {
  const path = percentDecode(REQUEST_URI.replace(/\?[^]*/, ''));
  return path.startsWith(SCRIPT_NAME) ? path.slice(SCRIPT_NAME.length) : path;
}

function readLength(value = ''): number {
  if (/^[0-9]*$/.test(value) && Number.isSafeInteger(Number(value))) return Number(value);
  throw new GatewayError(`CONTENT_LENGTH is ${quote(value)}, which is not a number of bytes`);
}
