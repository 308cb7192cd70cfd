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

const form = new FormData();
form.set('file', new File(['12345'], 'five.txt'));

/** Rows of the recipes and the larger programs. */
const recipes: ReadmeRow[] = [
  {
    program: 'json',
    request: 'POST /',
    init: { body: '{"a":1}' },
    status: 200,
    body: '{"received":{"a":1}}\n',
    headers: { 'content-type': 'application/json' },
  },
  { program: 'json', request: 'POST /', init: { body: '{' }, status: 400 },
  { program: 'json', request: 'POST /', init: { body: 'x'.repeat(100_001) }, status: 413 },
  { program: 'routes', request: '/', status: 200, body: 'Home\n' },
  { program: 'routes', request: '/user/Ada', status: 200, body: 'Page of Ada\n' },
  { program: 'routes', request: '/user/a%2Fb', status: 404 },
  { program: 'routes', request: '/year/99', status: 404 },

  { program: 'files', request: '/index.html', status: 200, body: '<h1>Hello</h1>\n' },
  { program: 'files', request: 'HEAD /index.html', status: 200, body: '' },
  {
    program: 'files',
    request: '/index.html',
    status: 200,
    headers: { 'content-type': 'text/html; charset=utf-8', 'content-length': '15' },
  },
  { program: 'files', request: 'POST /index.html', status: 404 },
  { program: 'files', request: '/', status: 404 },
  { program: 'files', request: '/missing.html', status: 404 },
  { program: 'files', request: '/..%2fhello.js', status: 404 },
  { program: 'files', request: '/..%2f..%2f..%2f..%2f..%2fetc%2fhostname', status: 404 },
  { program: 'files', request: '//etc/hostname', status: 404 },
  { program: 'files', request: '/%2fetc%2fhostname', status: 404 },
  { program: 'files', request: '/index.html%00.png', status: 404 },
  // A link in the folder that leads to a file outside, and one to a folder beside it
  // whose name begins with the folder's own.
  { program: 'files', request: '/link.js', status: 404 },
  { program: 'files', request: '/..%2fpublic-not/index.html', status: 404 },

  {
    program: 'upload',
    request: 'POST /',
    init: { body: form },
    status: 200,
    body: 'five.txt: 5 bytes\n',
  },
  { program: 'upload', request: 'POST /', init: { body: 'x' }, status: 400 },
  {
    program: 'upload',
    request: 'POST /',
    init: { body: new Uint8Array(10_000_001) },
    status: 413,
  },
  {
    program: 'cors',
    request: 'OPTIONS /',
    init: { headers: { 'Access-Control-Request-Method': 'POST' } },
    status: 204,
    headers: {
      'access-control-allow-origin': 'https://example.com',
      'access-control-allow-methods': 'GET, POST',
    },
  },
  {
    program: 'cors',
    request: 'POST /',
    init: { body: '1' },
    status: 200,
    body: '{"received":1}\n',
    headers: { 'access-control-allow-origin': 'https://example.com', vary: 'Origin' },
  },
  { program: 'log', request: '/a', status: 200, body: 'Hello from /a\n' },

  {
    program: 'calls',
    request: 'POST /',
    init: { body: '{"name":"max","values":[1,3,2]}' },
    status: 200,
    body: '{"result":3}\n',
  },
  { program: 'calls', request: 'POST /', init: { body: '{"name":"toString"}' }, status: 404 },
  { program: 'calls', request: 'POST /', init: { body: 'null' }, status: 400 },
  {
    program: 'calls',
    request: 'POST /',
    init: { body: '{"name":"add","values":["1"]}' },
    status: 400,
  },
  { program: 'calls', request: '/', status: 405, headers: { allow: 'POST' } },
  { program: 'report', request: '/', status: 200, body: /^The report begins\.\n/ },
  { program: 'greeting', request: '/x', status: 200, body: 'Hello from /x\n' },
  { program: 'notes', request: '/', status: 200, headers: { 'set-cookie': null } },
  { program: 'notes', request: '/nowhere', status: 404 },
  { program: 'notes', request: 'POST /', init: { body: 'x'.repeat(10_001) }, status: 413 },
  { program: 'notes', request: '/hello/%3Cb%3E', status: 200, body: /&#60;b&#62;/ },
];

export const readmeRows: ReadmeRow[] = [...tutorial, ...answers, ...recipes];
