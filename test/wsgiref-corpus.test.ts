// Python's wsgiref and this server get the same bytes. Environ and response must be
// equal, except for the differences that the README lists.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import type { WSGIApplication, WSGIServer } from '../lib/index.ts';
import { WSGIRequestHandler, makeServer } from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import { type Chance, eachRound } from './support/random.ts';
import { exchange } from './support/wire.ts';

const hasPython = spawnSync('python3', ['-c', 'import wsgiref.simple_server']).status === 0;

// The same application in both languages. Its path selects the response, and the header
// X-Environ reports the environ.
const PYTHON = `
import json, sys
from wsgiref.simple_server import make_server, WSGIRequestHandler

class Quiet(WSGIRequestHandler):
    def log_message(self, *args): pass

def app(environ, start_response):
    length = int(environ.get('CONTENT_LENGTH') or 0)
    body = environ['wsgi.input'].read(length)
    seen = {k: v for k, v in environ.items() if isinstance(v, str) and k in environ}
    seen['body'] = body.decode('latin-1')
    path = environ['PATH_INFO']
    headers = [('X-Environ', json.dumps(seen)), ('Content-Type', 'text/plain')]
    if path == '/two':
        start_response('200 OK', headers); return [b'one', b'two']
    if path == '/empty':
        start_response('404 Not Found', headers); return []
    if path == '/write':
        start_response('201 Made', headers)(b'written'); return [b'returned']
    if path == '/fail':
        raise Exception('failure')
    if path == '/replace':
        start_response('200 OK', headers)
        try: raise Exception('x')
        except Exception: start_response('503 Busy', headers, sys.exc_info())
        return [b'replaced']
    if path == '/twice':
        start_response('200 OK', headers); start_response('200 OK', headers); return [b'x']
    if path == '/hop':
        start_response('200 OK', headers + [('Connection', 'close')]); return [b'x']
    if path == '/status':
        start_response('200', headers); return [b'x']
    if path == '/tuple':
        start_response('200 OK', tuple(headers)); return [b'x']
    if path == '/nothing':
        return []
    if path == '/cookies':
        start_response('200 OK', headers + [('Set-Cookie', 'a=1'), ('set-cookie', 'b=2'), ('X-Latin', '\\xe9')]); return [b'x']
    start_response('200 OK', headers)
    return [b'hello']

server = make_server('127.0.0.1', 0, app, handler_class=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
`;

const app: WSGIApplication = async (environ, startResponse) => {
  const body = await environ['wsgi.input'].read(Number(environ.CONTENT_LENGTH || 0));
  const seen: Record<string, unknown> = { ...environ, body: Buffer.from(body).toString('latin1') };
  for (const [key, value] of Object.entries(seen)) if (typeof value !== 'string') delete seen[key];
  const json = JSON.stringify(seen)
    .replace(/[\x7f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const headers: Array<[string, string]> = [['X-Environ', json], ['Content-Type', 'text/plain']];
  switch (environ.PATH_INFO) {
    case '/two':
      startResponse('200 OK', headers);
      return [bytes('one'), bytes('two')];
    case '/empty':
      startResponse('404 Not Found', headers);
      return [];
    case '/write':
      await startResponse('201 Made', headers)(bytes('written'));
      return [bytes('returned')];
    case '/fail':
      throw new Error('failure');
    case '/replace':
      startResponse('200 OK', headers);
      startResponse('503 Busy', headers, new Error('x'));
      return [bytes('replaced')];
    case '/twice':
      startResponse('200 OK', headers);
      startResponse('200 OK', headers);
      return [bytes('x')];
    case '/hop':
      startResponse('200 OK', [...headers, ['Connection', 'close']]);
      return [bytes('x')];
    case '/status':
      startResponse('200' as '200 ', headers);
      return [bytes('x')];
    case '/tuple':
      startResponse('200 OK', new Set(headers) as never);
      return [bytes('x')];
    case '/nothing':
      return [];
    case '/cookies':
      startResponse('200 OK', [
        ...headers, ['Set-Cookie', 'a=1'], ['set-cookie', 'b=2'], ['X-Latin', '\xe9'],
      ]);
      return [bytes('x')];
    default:
      startResponse('200 OK', headers);
      return [bytes('hello')];
  }
};

// The intended differences, each with its reason; see the README's table.
const DIFFERENT: Record<string, string> = {
  SERVER_PORT: 'each server has its own',
  SERVER_NAME: 'Python looks it up',
  SERVER_SOFTWARE: 'each server has its own',
  REMOTE_HOST: 'never looked up',
  REQUEST_URI: 'Python has none',
};

interface Answer {
  status: string;
  headers: string[];
  body: string;
  environ: Record<string, string>;
}

function parse(raw: string): Answer {
  const [head = '', ...rest] = raw.split('\r\n\r\n');
  const [statusLine = '', ...lines] = head.split('\r\n');
  const environ: Record<string, string> = {};
  const headers = lines.filter((line) => {
    if (line.startsWith('X-Environ: ')) {
      Object.assign(environ, JSON.parse(line.slice('X-Environ: '.length)));
    }
    return !/^(X-Environ|Date|Server|Connection): /.test(line);
  });
  return {
    status: statusLine.replace(/^HTTP\/1\.[01] /, ''), headers, body: rest.join('\r\n\r\n'),
    environ,
  };
}

/** The variables that must be equal. Python adds its process environment. */
function comparable(environ: Record<string, string>): Record<string, string> {
  const kept = Object.entries(environ).filter(([key]) => {
    if (key in DIFFERENT) return false;
    return /^(HTTP_|REQUEST_|CONTENT_|SCRIPT_NAME|PATH_INFO|QUERY_|SERVER_|REMOTE_|GATEWAY_|wsgi\.|body$)/
      .test(key);
  });
  // Repeated headers are joined by a comma, here with a space behind it.
  return Object.fromEntries(kept.sort().map(([key, value]) => [key, value.replaceAll(', ', ',')]));
}

// HTTP/1.0, so that both answer with a closed connection and no chunks.
const get = (target: string, ...headers: string[]): string =>
  [`GET ${target} HTTP/1.0`, ...headers, '', ''].join('\r\n');

const post = (body: string, ...headers: string[]): string =>
  ['POST /x HTTP/1.0', ...headers, '', body].join('\r\n');
const everyByte = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join('');

const corpus: Array<[title: string, request: string]> = [
  ['a path', get('/')],
  ['a long one', get('/a/b/c/')],
  ['a query', get('/a?b=c&d=%20+')],
  ['a query of question marks', get('/?a?b')],
  ['escapes in the path', get('/%41%c3%a9%e9%2F')],
  ['invalid escapes', get('/%zz%4')],
  ['an escaped NUL and line break', get('/%00%0d%0a')],
  ['parameters of segments', get('/a;b=1/c,d')],
  ['a host', get('/', 'Host: example.com:80')],
  [
    'ordinary headers',
    get('/', 'Host: x', 'User-Agent: test/1.0', 'Accept: */*', 'Accept-Language: en, de;q=0.5'),
  ],
  ['a header in odd case', get('/', 'x-oDd-cAse: Value')],
  ['blanks around a value', get('/', 'X-A:   padded   ')],
  ['an empty value', get('/', 'X-A:')],
  ['Latin-1 in a value', get('/', 'X-A: \xe9\xff')],
  [
    'a body',
    'POST /form HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\na=b&c=d',
  ],
  [
    'a body of bytes',
    'PUT /x HTTP/1.0\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n',
  ],
  ['a length without a type', 'POST /x HTTP/1.0\r\nContent-Length: 2\r\n\r\nab'],
  ['other methods', 'DELETE /x HTTP/1.0\r\n\r\n'],
  ['OPTIONS of the server', 'OPTIONS * HTTP/1.0\r\n\r\n'],
  ['two chunks', get('/two')],
  ['no chunk', get('/empty')],
  ['write()', get('/write')],
  ['an error', get('/fail')],
  ['an error that is answered', get('/replace')],
  ['a second startResponse', get('/twice')],
  ['a hop-by-hop header', get('/hop')],
  ['a status without a reason', get('/status')],
  ['headers that are not a list', get('/tuple')],
  ['no startResponse', get('/nothing')],
  ['repeated response headers', get('/cookies')],
  ['an escaped question mark and hash', get('/a%3Fb%23c?d')],
  ['a doubly escaped character', get('/%2541')],
  ['escaped dots', get('/%2e%2e/a')],
  ['dots', get('/../a/./b')],
  ['half an escape at the end', get('/a%4')],
  ['plus signs', get('/a+b?c+d')],
  ['odd but legal characters', get("/;a=1,b:@!$&'()*+~_-.")],
  ['a path of 4 KiB', get(`/${'a'.repeat(4096)}`)],
  ['a query of 4 KiB', get(`/?${'a'.repeat(4096)}`)],
  ['UTF-8 in a value', get('/', 'X-A: \xe2\x82\xac')],
  ['a TAB in a value', get('/', 'X-A: a\tb')],
  ['no blank before a value', get('/', 'X-A:v')],
  ['colons in a value', get('/', 'X-A: a: b:')],
  ['a name of odd characters', get('/', "X!#$%&'*+.^`|~-1: v")],
  ['forwarded headers', get('/', 'X-Forwarded-Proto: https', 'X-Forwarded-For: 1.2.3.4')],
  ['a type without a length', get('/', 'Content-Type: a/b')],
  [
    'a type with parameters',
    post('ab', 'Content-Type: text/html; charset="utf-8"', 'Content-Length: 2'),
  ],
  ['a length with zeros before', post('ab', 'Content-Length: 002')],
  ['a body of every byte', post(everyByte, 'Content-Length: 256')],
  ['a body that looks like a request', post('GET / HTTP/1.0\r\n\r\n', 'Content-Length: 18')],
  ...['PUT', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND'].map((method): [string, string] => [
    `the method ${method}`, `${method} /x HTTP/1.0\r\nContent-Length: 0\r\n\r\n`,
  ]),
  ['forty headers', get('/', ...Array.from({ length: 40 }, (_, index) => `X-${index}: v`))],
];

// Random requests that both should read in the same way: one slash at the beginning, and
// no header of the list below.
function randomRequest({ below, happens, latin1, pick, times }: Chance): string {
  const segment = (): string =>
    pick(['a', '..', '.', '', '%2f', '%e9', '%C3%A9', '%25', '%', '%zz', '%00', '+', ';x=1', '~']);
  const path = `/${times(below(6), segment).join(pick(['/', '', '/']))}`.replace(/^\/\/+/, '/');
  const query =
    happens(0.5) ? `?${times(below(4), () => pick(['a=b', '&', '?', '%20', '/', '%', '=']))}` : '';
  const name = (): string =>
    pick(['X-A', 'x-a', 'X-B', 'Accept', 'accept-language', 'User-Agent', "X!#$%&'*+.^`|~", 'Via']);
  // Python treats U+0085 and U+00A0 as blanks, and U+0085 as the end of a line.
  const value = (): string => latin1(8, /[\t\x20-\x7e\x80-\x84\x86-\x9f\xa1-\xff]/).trim();
  const headers =
    times(below(8), () => `${name()}:${pick(['', ' ', '  ', '\t'])}${value()}${pick(['', ' '])}`);
  const body = latin1(50);
  const hasBody = happens(0.4);
  if (hasBody) headers.splice(below(headers.length + 1), 0, `Content-Length: ${body.length}`);
  if (hasBody && happens(0.5)) {
    headers.push(`content-type: ${pick(['a/b', 'text/html; charset=utf-8'])}`);
  }
  const line =
    `${hasBody ? pick(['POST', 'PUT', 'PATCH']) : pick(['GET', 'DELETE', 'OPTIONS'])} ${path}${query} HTTP/1.0`;
  return [line, ...headers, '', hasBody ? body : ''].join('\r\n');
}

// Required differences: the variable, its value here and in Python, and the reason.
const differences: Array<[
  request: string, key: string, ours: string | undefined, python: string | undefined,
  reason: string,
]> = [
  [
    get('/', 'Cookie: a=1', 'Cookie: b=2'), 'HTTP_COOKIE', 'a=1; b=2', 'a=1,b=2',
    'a comma is part of a cookie',
  ],
  [
    get('/', 'X-A: 1', 'X-B: 2', 'x-a: 3'), 'HTTP_X_A', '1, 3', '1,3',
    'fetch and web servers join with a space',
  ],
  [get('/', 'X_A: 1'), 'HTTP_X_A', undefined, '1', 'a name with an underscore passes for another'],
  [get('/', 'Proxy: 1'), 'HTTP_PROXY', undefined, '1', 'httpoxy, CVE-2016-1000110'],
  [get('//a'), 'PATH_INFO', '//a', '/a', 'the path is the client’s'],
  [get('http://other/a'), 'PATH_INFO', '/a', 'http://other/a', 'an absolute target has a path'],
  [
    get('http://other/a', 'Host: x'), 'HTTP_HOST', 'other', 'x',
    'an absolute target names the host',
  ],
  [get('/'), 'CONTENT_TYPE', undefined, 'text/plain', 'what the client did not send is not there'],
  [get('/a?b'), 'REQUEST_URI', '/a?b', undefined, 'only this server passes the raw target on'],
  [get('/'), 'HOME_OF_TEST', undefined, 'here', 'the process environment is not part of a request'],
  [
    get('/', 'Path-Info: x'), 'HTTP_PATH_INFO', 'x', undefined,
    'HTTP_ keeps a header apart from the variable',
  ],
];

// Required differences in the response to the same request.
const answers: Array<[request: string, ours: RegExp, python: RegExp, reason: string]> = [
  ['GET /two HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    /^HTTP\/1\.1 200 OK\r\n[\s\S]*chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n$/,
    /^HTTP\/1\.0 200 OK\r\n[\s\S]*\r\n\r\nonetwo$/, 'HTTP/1.1 here'],
  [
    'HEAD / HTTP/1.0\r\n\r\n', /Content-Length: 5\r\n[\s\S]*\r\n\r\n$/, /\r\n\r\nhello$/,
    'HEAD has no body',
  ],
  [get('/', 'Host: a b'), /^HTTP\/1\.1 400 /, /^HTTP\/1\.0 200 /, 'a Host that is none'],
  [get('/', 'Host: a', 'Host: b'), /^HTTP\/1\.1 400 /, /^HTTP\/1\.0 200 /, 'two Hosts'],
  [get('/#a'), /^HTTP\/1\.1 400 /, /^HTTP\/1\.0 200 /, 'a fragment'],
  [
    get('/', 'Content-Type: a/b', 'Content-Type: c/d'), /^HTTP\/1\.1 400 /, /^HTTP\/1\.0 200 /,
    'two Content-Types',
  ],
  [
    'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', /^HTTP\/1\.1 400 /, /^HTTP\/1\.0 200 /,
    'no Host on HTTP/1.1',
  ],
  [get('/', 'X-A: a', ' b'), /^HTTP\/1\.1 400 /, /^HTTP\/1\.0 200 /, 'a folded header'],
  [
    'FOO / HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 400 /, /^HTTP\/1\.0 200 /,
    'Node knows a list of methods',
  ],
];

describe('compared with wsgiref', { skip: hasPython ? false : 'there is no python3 here' }, () => {
  let python: ChildProcess;
  let pythonPort = 0;
  let ours: WSGIServer;

  before(async () => {
    python = spawn('python3', ['-c', PYTHON], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, HOME_OF_TEST: 'here' },
    });
    const [line] = (await once(python.stdout ?? python, 'data')) as [Buffer];
    pythonPort = Number(String(line));
    class Quiet extends WSGIRequestHandler {
      override logMessage(): void {}
      override getStderr(): never {
        return { write() {}, writelines() {}, flush() {} } as never;
      }
    }
    ours = makeServer('127.0.0.1', 0, app, { handlerClass: Quiet });
    await ours.ready;
  });

  after(async () => {
    python.kill();
    await ours.shutdown();
  });

  async function assertSame(request: string): Promise<void> {
    const theirs = parse(await exchange(pythonPort, Buffer.from(request, 'latin1')));
    const mine = parse(await exchange(ours.serverPort, Buffer.from(request, 'latin1')));
    assert.equal(mine.status, theirs.status);
    assert.equal(mine.body, theirs.body);
    assert.deepEqual(mine.headers, theirs.headers);

    const [seen, expected] = [comparable(mine.environ), comparable(theirs.environ)];
    // Python has a default type where the client sent none.
    if (seen['CONTENT_TYPE'] === undefined && expected['CONTENT_TYPE'] === 'text/plain') {
      delete expected['CONTENT_TYPE'];
    }
    assert.deepEqual(seen, expected);
  }

  for (const [title, request] of corpus) test(title, () => assertSame(request));

  test('requests made by chance', async (context) => {
    await eachRound(context, 100, async (chance) => assertSame(randomRequest(chance)));
  });

  for (const [request, key, mine, theirs, reason] of differences) {
    test(`${key} differs: ${reason}`, async () => {
      const sent = Buffer.from(request, 'latin1');
      assert.equal(parse(await exchange(pythonPort, sent)).environ[key], theirs);
      assert.equal(parse(await exchange(ours.serverPort, sent)).environ[key], mine);
    });
  }

  for (const [request, mine, theirs, reason] of answers) {
    test(`the answer differs: ${reason}`, async () => {
      const sent = Buffer.from(request, 'latin1');
      assert.match(await exchange(pythonPort, sent), theirs);
      assert.match(await exchange(ours.serverPort, sent), mine);
    });
  }
});
