// Reads the bytes of a connection as strictly as RFC 9112 allows: a byte that does not
// belong to a response fails the test.

import { RawClient } from './wire.ts';

export { type Wire, RawClient, exchange, withServer, withoutDate } from './wire.ts';

/** One response, as it was sent. */
export interface StrictResponse {
  version: string;
  status: string;
  reason: string;
  headers: Array<[name: string, value: string]>;
  /** The body, its chunks joined. */
  body: string;
  /** The chunks, where there were any. */
  chunks: string[] | undefined;
  /** False if the connection ended before the body did. */
  whole: boolean;
}

// status-line = HTTP-version SP 3DIGIT SP [ reason-phrase ]      (RFC 9112 §4)
const STATUS_LINE = /^(HTTP\/1\.[01]) ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)$/;

// field-line = token ":" OWS field-value OWS                     (RFC 9112 §5)
const FIELD_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)$/;

/**
 * Everything a connection sent, as responses to requests of these methods. Throws
 * an Error that shows the place where the bytes are not HTTP, or are too many.
 */
export function parseResponses(raw: string, methods: readonly string[]): StrictResponse[] {
  const responses: StrictResponse[] = [];
  const waiting = [...methods];
  let rest = raw;
  while (rest !== '') {
    const method = waiting[0];
    if (method === undefined) throw new Error(`bytes without a request: ${show(rest)}`);
    const { response, after } = parseResponse(rest, method);
    responses.push(response);
    rest = after;
    // An interim response announces the one that answers.
    if (!response.status.startsWith('1')) waiting.shift();
  }
  return responses;
}

/** Sends bytes on a connection of their own; returns everything up to its end. */
export async function converse(
  port: number,
  bytes: string,
  methods: readonly string[] = ['GET'],
): Promise<StrictResponse[]> {
  const client = await RawClient.connect(port);
  return parseResponses(await client.send(bytes).rest(), methods);
}

/** The value under `name`; throws if there are two. */
export function field(response: StrictResponse, name: string): string | undefined {
  const values = response.headers
    .filter(([key]) => key.toLowerCase() === name.toLowerCase())
    .map(([, value]) => value);
  if (values.length > 1) throw new Error(`${name} is there ${values.length} times`);
  return values[0];
}

function parseResponse(raw: string, method: string): { response: StrictResponse; after: string } {
  const end = raw.indexOf('\r\n\r\n');
  if (end === -1) throw new Error(`a head without an end: ${show(raw)}`);
  const [first = '', ...lines] = raw.slice(0, end).split('\r\n');
  const status = STATUS_LINE.exec(first);
  if (status === null) throw new Error(`no status line: ${show(first)}`);
  const [, version = '', code = '', reason = ''] = status;
  const headers = lines.map((line): [string, string] => {
    const found = FIELD_LINE.exec(line);
    if (found === null) throw new Error(`no header: ${show(line)}`);
    return [found[1] ?? '', found[2] ?? ''];
  });
  const head: StrictResponse = {
    version, status: code, reason, headers, body: '', chunks: undefined, whole: true,
  };
  return readBody(head, raw.slice(end + 4), method);
}

// RFC 9112 §6.3
function readBody(
  head: StrictResponse,
  rest: string,
  method: string,
): { response: StrictResponse; after: string } {
  const length = field(head, 'Content-Length');
  const coding = field(head, 'Transfer-Encoding');
  if (length !== undefined && coding !== undefined) throw new Error('two framings at once');
  if (coding !== undefined && coding !== 'chunked') throw new Error(`a coding: ${show(coding)}`);
  if (length !== undefined && !/^[0-9]+$/.test(length)) {
    throw new Error(`a length: ${show(length)}`);
  }
  if (/^(1..|204)$/.test(head.status) && (length ?? coding) !== undefined) {
    throw new Error(`a ${head.status} with a framing`);
  }

  if (method === 'HEAD' || /^(1..|204|304)$/.test(head.status)) {
    return { response: head, after: rest };
  }
  if (coding !== undefined) return readChunks(head, rest);
  if (length === undefined) {
    if (field(head, 'Connection') !== 'close') throw new Error('a body without an end');
    return { response: { ...head, body: rest }, after: '' };
  }
  const body = rest.slice(0, Number(length));
  const whole = body.length === Number(length);
  return { response: { ...head, body, whole }, after: rest.slice(Number(length)) };
}

function readChunks(
  head: StrictResponse, raw: string,
): { response: StrictResponse; after: string } {
  const chunks: string[] = [];
  let rest = raw;
  while (true) {
    const response = { ...head, body: chunks.join(''), chunks, whole: false };
    if (rest === '') return { response, after: '' };
    const [line, size] = /^([1-9a-f][0-9a-f]*|0)\r\n/i.exec(rest) ?? [];
    if (line === undefined || size === undefined) throw new Error(`no chunk: ${show(rest)}`);
    const length = Number.parseInt(size, 16);
    const chunk = rest.slice(line.length, line.length + length);
    const after = rest.slice(line.length + length);
    if (chunk.length < length) {
      chunks.push(chunk);
      return { response: { ...response, body: chunks.join('') }, after: '' };
    }
    if (!after.startsWith('\r\n')) throw new Error(`a chunk without an end: ${show(rest)}`);
    rest = after.slice(2);
    if (length === 0) return { response: { ...response, whole: true }, after: rest };
    chunks.push(chunk);
  }
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
