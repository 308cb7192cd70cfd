// Requests to the programs of the README, and what they must answer.

/** One request to one program, in the order in which they are sent. */
export interface ReadmeRow {
  program: string;
  /** The target, or method and target. */
  request: string;
  init?: RequestInit;
  status: number;
  /** The whole body, or a pattern of it. */
  body?: string | RegExp;
  /** Headers that the response must have; null for none of that name. */
  headers?: Record<string, string | RegExp | null>;
}

/** Rows in which the answers to the exercises are checked. */
const answers: ReadmeRow[] = [
  {
    program: 'two-chunks',
    request: '/x',
    status: 200,
    body: 'Hello from /x\n',
    headers: { 'content-length': null },
  },
  { program: 'lazy', request: '/x', status: 200, body: 'Hello from /x\n' },
  {
    program: 'headers',
    request: 'POST /',
    init: { headers: { 'X-Token': 'abc', 'Content-Type': 'text/plain' }, body: 'x' },
    status: 200,
    body: /^content-type: text\/plain\n[^]*^x-token: abc\n/m,
  },
  { program: 'only-get', request: '/', status: 200, body: 'Home\n' },
  {
    program: 'only-get',
    request: 'POST /',
    status: 405,
    headers: { allow: 'GET, HEAD' },
  },
  {
    program: 'greet-all',
    request: '/?name=Ada&name=Grace',
    status: 200,
    body: 'Good day, Ada and Grace!\n',
  },
  {
    program: 'wc',
    request: 'POST /',
    init: { body: 'one\ntwo\n' },
    status: 200,
    body: '2 lines, 8 bytes\n',
  },
  { program: 'count-from', request: '/?from=2', status: 200, body: '2\n1\n' },
  { program: 'count-from', request: '/?from=many', status: 400, body: 'Ask with ?from=5.\n' },
  { program: 'download-or-404', request: '/', status: 404, body: 'There is no such file.\n' },
  { program: 'ask-or-502', request: '/', status: 502, body: 'The service is away.\n' },
  { program: 'numbering', request: '/', status: 200, headers: { 'x-request-number': '1' } },
  { program: 'numbering', request: '/', status: 200, headers: { 'x-request-number': '2' } },
];

/** Rows of the tutorial's own programs. */
const tutorial: ReadmeRow[] = [
  { program: 'greet', request: 'POST /', init: { body: 'x'.repeat(1000) }, status: 200 },
  {
    program: 'greet',
    request: 'POST /',
    init: { body: 'x'.repeat(1001) },
    status: 413,
    body: 'At most 1000 bytes, please.\n',
  },
];

export const readmeRows: ReadmeRow[] = [...tutorial, ...answers];
