// The same bytes to Python's wsgiref and to this server: the same environ, and the
// same answer, but for what the README lists as different.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';

import type { WSGIApplication, WSGIServer } from '../lib/index.ts';
import { WSGIRequestHandler, makeServer } from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import { exchange } from './support/wire.ts';

const hasPython = spawnSync('python3', ['-c', 'import wsgiref.simple_server']).status === 0;

// The same application in both languages. It answers by its path, and says what it
// saw in X-Environ.
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
  const json = JSON.stringify(seen).replace(/[\x7f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
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
      startResponse('200 OK', [...headers, ['Set-Cookie', 'a=1'], ['set-cookie', 'b=2'], ['X-Latin', '\xe9']]);
      return [bytes('x')];
    default:
      startResponse('200 OK', headers);
      return [bytes('hello')];
  }
};

// What differs on purpose, and the reason for each; see the README's table.
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
    if (line.startsWith('X-Environ: ')) Object.assign(environ, JSON.parse(line.slice('X-Environ: '.length)));
    return !/^(X-Environ|Date|Server|Connection): /.test(line);
  });
  return { status: statusLine.replace(/^HTTP\/1\.[01] /, ''), headers, body: rest.join('\r\n\r\n'), environ };
}

/** The variables that both must agree on. Python adds its process environment. */
function comparable(environ: Record<string, string>): Record<string, string> {
  const kept = Object.entries(environ).filter(([key]) => {
    if (key in DIFFERENT) return false;
    return /^(HTTP_|REQUEST_|CONTENT_|SCRIPT_NAME|PATH_INFO|QUERY_|SERVER_|REMOTE_|GATEWAY_|wsgi\.|body$)/.test(key);
  });
  return Object.fromEntries(kept.sort());
}

// HTTP/1.0, so that both answer with a closed connection and no chunks.
const get = (target: string, ...headers: string[]): string => [`GET ${target} HTTP/1.0`, ...headers, '', ''].join('\r\n');

const corpus: Array<[title: string, request: string, adjust?: (ours: Record<string, string>, python: Record<string, string>) => void]> = [
  ['a path', get('/')],
  ['a long one', get('/a/b/c/')],
  ['a query', get('/a?b=c&d=%20+')],
  ['a query of question marks', get('/?a?b')],
  ['escapes in the path', get('/%41%c3%a9%e9%2F')],
  ['invalid escapes', get('/%zz%4')],
  ['an escaped NUL and line break', get('/%00%0d%0a')],
  ['parameters of segments', get('/a;b=1/c,d')],
  ['a host', get('/', 'Host: example.com:80')],
  ['ordinary headers', get('/', 'Host: x', 'User-Agent: test/1.0', 'Accept: */*', 'Accept-Language: en, de;q=0.5')],
  ['a header in odd case', get('/', 'x-oDd-cAse: Value')],
  ['a header repeated', get('/', 'X-A: 1', 'X-B: 2', 'x-a: 3')],
  ['blanks around a value', get('/', 'X-A:   padded   ')],
  ['an empty value', get('/', 'X-A:')],
  ['Latin-1 in a value', get('/', 'X-A: \xe9\xff')],
  ['a body', 'POST /form HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\na=b&c=d'],
  ['a body of bytes', 'PUT /x HTTP/1.0\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n'],
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
  ['headers that are no list', get('/tuple')],
  ['no startResponse', get('/nothing')],
  ['repeated response headers', get('/cookies')],
  ['two Cookie headers', get('/', 'Cookie: a=1', 'Cookie: b=2'), (ours, python) => {
    assert.equal(ours['HTTP_COOKIE'], 'a=1; b=2');
    assert.equal(python['HTTP_COOKIE'], 'a=1,b=2');
    delete ours['HTTP_COOKIE'];
    delete python['HTTP_COOKIE'];
  }],
  ['an underscore in a name', get('/', 'X_A: 1'), (ours, python) => {
    assert.equal(ours['HTTP_X_A'], undefined);
    assert.equal(python['HTTP_X_A'], '1');
    delete python['HTTP_X_A'];
  }],
  ['Proxy', get('/', 'Proxy: 1'), (ours, python) => {
    assert.equal(ours['HTTP_PROXY'], undefined);
    assert.equal(python['HTTP_PROXY'], '1');
    delete python['HTTP_PROXY'];
  }],
  ['two slashes', get('//a'), (ours, python) => {
    assert.equal(ours['PATH_INFO'], '//a');
    assert.equal(python['PATH_INFO'], '/a');
    delete ours['PATH_INFO'];
    delete python['PATH_INFO'];
  }],
  ['an absolute target', get('http://other/a'), (ours, python) => {
    assert.equal(ours['PATH_INFO'], '/a');
    assert.equal(ours['HTTP_HOST'], 'other');
    assert.equal(python['PATH_INFO'], 'http://other/a');
    for (const environ of [ours, python]) {
      delete environ['PATH_INFO'];
      delete environ['HTTP_HOST'];
    }
  }],
];

describe('beside wsgiref', { skip: hasPython ? false : 'there is no python3 here' }, () => {
  let python: ChildProcess;
  let pythonPort = 0;
  let ours: WSGIServer;

  before(async () => {
    python = spawn('python3', ['-c', PYTHON], { stdio: ['ignore', 'pipe', 'ignore'] });
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

  for (const [title, request, adjust] of corpus) {
    test(title, async () => {
      const theirs = parse(await exchange(pythonPort, Buffer.from(request, 'latin1')));
      const mine = parse(await exchange(ours.serverPort, Buffer.from(request, 'latin1')));
      assert.equal(mine.status, theirs.status);
      assert.equal(mine.body, theirs.body);
      assert.deepEqual(mine.headers, theirs.headers);

      const [seen, expected] = [comparable(mine.environ), comparable(theirs.environ)];
      // Python has a default type where the client sent none.
      if (seen['CONTENT_TYPE'] === undefined && expected['CONTENT_TYPE'] === 'text/plain') delete expected['CONTENT_TYPE'];
      adjust?.(seen, expected);
      assert.deepEqual(seen, expected);
    });
  }
});
