// The exchanges that go through every door: which request, and which application answers.

/** A request, and the name of the application in ./answers.ts that answers it. */
export interface Exchange {
  method: string;
  target: string;
  headers: ReadonlyArray<readonly [name: string, value: string]>;
  /** The body as Latin-1 text. An array is a body without a length, in these pieces. */
  body?: string | readonly string[];
  app: string;
}

type Fields = Partial<Omit<Exchange, 'method' | 'target'>>;

const ask = (method: string, target: string, fields: Fields = {}): Exchange => ({
  method, target, headers: [], app: 'read', ...fields,
});
const get = (target: string, ...headers: Array<[string, string]>): Exchange =>
  ask('GET', target, { headers });
const post = (body: string | readonly string[], type?: string): Exchange =>
  ask('POST', '/form', { body, ...(type !== undefined && { headers: [['Content-Type', type]] }) });

const FORM = 'application/x-www-form-urlencoded';
const MULTIPART =
  '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\none\ntwo\r\n--b--\r\n';
const EVERY_BYTE = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).join('');

export const EXCHANGES: readonly Exchange[] = [
  // Methods
  ...['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'REPORT', 'M-SEARCH'].map(
    (method) => ask(method, '/'),
  ),
  ...['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'LOCK'].map(
    (method) => ask(method, '/', { body: 'body' }),
  ),
  ask('GET', '/', { body: 'a body of a GET' }),
  ask('OPTIONS', '*'),

  // Targets
  ...[
    '/a/b', '/a/', '//a//b', '/a%20b/c%2Fd', '/caf%C3%A9', '/%E6%97%A5%E6%9C%AC', '/%FF%00', '/%zz',
    '/%252e', '/a+b', "/-._~!$&'()*+,;=:@",
    '/;a=b', '/?', '/?x', '/?x=1&y=%20&x=2', '/?a=b?c=d', '/?%E6%97%A5', '/a?/../b', '/x/../y',
    '/...',
  ].map((target) => get(target)),

  // Headers
  get('/', ['X-Plain', 'value']),
  get('/', ['X-CASE', 'a'], ['x-lower', 'b']),
  get('/', ['X-Twice', 'one'], ['X-Twice', 'two']),
  get('/', ['X-Between', '1'], ['Accept', 'a/b'], ['X-Between', '2'], ['accept', 'c/d;q=0.5']),
  get('/', ['X-Commas', 'a, b,c']),
  get('/', ['X-Empty', '']),
  get('/', ['X-Blanks', '  a  b\t']),
  get('/', ['X-Quoted', '"a\\"b"']),
  get('/', ['X-Latin', 'caf\xe9']),
  get('/', ['X-Text', 'caf\xc3\xa9']),
  get('/', ['X_Under', 'score'], ['X-Under', 'dash']),
  get('/', ['Proxy', 'http://evil.example'], ['Proxy-Connection', 'x']),
  get('/', ['Cookie', 'a=1; b=2']),
  get('/', ['Cookie', 'a=1'], ['Cookie', 'b="2"']),
  get('/', ['Authorization', 'Basic dTpw'], ['If-None-Match', 'W/"1"'], ['Range', 'bytes=0-1']),
  get('/', ['Content-Type', 'text/plain']),
  get('/', ["X!#$%&'*+.^`|~9", 'token']),
  get('/', ['X-Long', 'x'.repeat(4000)]),
  get(
    '/',
    ...Array.from({ length: 40 }, (_, index): [string, string] => [`X-${index}`, String(index)]),
  ),

  // Bodies
  post(''),
  post('a=b&c=d+e&%E6%97%A5=', FORM),
  post(MULTIPART, 'multipart/form-data; boundary=b'),
  post('{"a":"\xc3\xa9"}', 'application/json; charset=utf-8'),
  post(EVERY_BYTE, 'application/octet-stream'),
  post('x'.repeat(200_000)),
  post(['one ', 'two ', 'three']),
  post([]),
  post(['x'.repeat(70_000), 'y'.repeat(70_000)]),
  { ...post('one\ntwo\r\n\nlast'), app: 'lines' },
  { ...post(['li', 'ne\nbro', 'ken\n', 'end']), app: 'lines' },
  { ...post('partly'), app: 'part' },
  { ...post('never read'), app: 'chunks' },
  { ...post(['never', ' read']), app: 'empty' },

  // Responses
  ...[
    'chunks', 'later', 'write', 'length', 'headers', 'noContent', 'reset', 'notModified', 'empty',
    'emptyChunks',
    'redirect', 'replaced', 'missing', 'file', 'closing', 'long', 'fails', 'failsInTheMiddle',
    'noStart',
  ].flatMap((app) => [ask('GET', `/${app}`, { app }), ask('HEAD', `/${app}`, { app })]),
];
