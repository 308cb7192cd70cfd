// Reads the bytes of one connection as a strict client would: they must all belong to
// responses, each framed in one way only, and nothing may follow the last one.

export interface StrictResponse {
  status: number;
  headers: Map<string, string[]>;
  body: string;
  /** False if the connection ended before the response did. */
  isWhole: boolean;
}

/** The responses, in order, to requests of these methods. Throws at the first fault. */
export function readResponses(heard: string, methods: readonly string[]): StrictResponse[] {
  const responses: StrictResponse[] = [];
  let rest = heard;
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1) throw new Error(`no head ends in ${JSON.stringify(rest)}`);
    const response = readHead(rest.slice(0, end));
    rest = rest.slice(end + 4);
    const { status } = response;
    if (status === 100) continue;
    const isHead = methods[responses.length] === 'HEAD';
    responses.push(response);
    if (isHead || status === 204 || status === 304) continue;
    const taken = readBody(response, rest);
    rest = rest.slice(taken);
    if (!response.isWhole && rest !== '') throw new Error(`after the end: ${JSON.stringify(rest)}`);
  }
  return responses;
}

function readHead(head: string): StrictResponse {
  const [statusLine = '', ...lines] = head.split('\r\n');
  const status = /^HTTP\/1\.1 ([1-5]\d\d) [\t\x20-\x7e\x80-\xff]*$/.exec(statusLine)?.[1];
  if (status === undefined) throw new Error(`no status line: ${JSON.stringify(statusLine)}`);
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+): ([\t\x20-\x7e\x80-\xff]*)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) {
      throw new Error(`no header: ${JSON.stringify(line)}`);
    }
    const key = name.toLowerCase();
    headers.set(key, [...(headers.get(key) ?? []), value]);
  }
  return { status: Number(status), headers, body: '', isWhole: true };
}

/** Sets the body, and returns how many bytes of `rest` it has used. */
function readBody(response: StrictResponse, rest: string): number {
  const codings = response.headers.get('transfer-encoding') ?? [];
  const lengths = response.headers.get('content-length') ?? [];
  if (codings.length + lengths.length > 1) throw new Error('the body is framed twice');
  if (codings.length === 1) {
    if (codings[0] !== 'chunked') throw new Error(`the transfer coding is ${codings[0]}`);
    return readChunks(response, rest);
  }
  const [length] = lengths;
  if (length !== undefined && !/^\d+$/.test(length)) throw new Error(`the length is ${length}`);
  if (length === undefined && !response.headers.get('connection')?.includes('close')) {
    throw new Error('nothing says where the body ends');
  }
  response.body = rest.slice(0, length === undefined ? rest.length : Number(length));
  response.isWhole = length === undefined || response.body.length === Number(length);
  return response.body.length;
}

function readChunks(response: StrictResponse, rest: string): number {
  let offset = 0;
  while (true) {
    const line = /^([0-9a-f]+)\r\n/i.exec(rest.slice(offset, offset + 20));
    if (line === null) return cutOff(response, rest, offset, /^([0-9a-f]+\r?)?$/i);
    const size = Number.parseInt(line[1] ?? '', 16);
    const start = offset + line[0].length;
    const chunk = rest.slice(start, start + size);
    response.body += chunk;
    if (chunk.length < size) return cutOff(response, rest, start + chunk.length, /^$/);
    const end = rest.slice(start + size, start + size + 2);
    if (end !== '\r\n') return cutOff(response, rest, start + size, /^\r?$/);
    offset = start + size + 2;
    if (size === 0) return offset;
  }
}

// The rest may be the beginning of the expected bytes, and nothing else.
function cutOff(response: StrictResponse, rest: string, offset: number, beginning: RegExp): number {
  const left = rest.slice(offset);
  if (!beginning.test(left)) throw new Error(`no chunk: ${JSON.stringify(left.slice(0, 50))}`);
  response.isWhole = false;
  return rest.length;
}
