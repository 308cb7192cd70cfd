// Requests as they come, good and bad: the bytes that go in, the status that comes
// out, whether the application was called, and whether the connection is kept.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import type { WSGIEnvironment } from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import { RawClient, type Wire, exchange, withServer } from './support/wire.ts';

/** Serves with an application that reads its body and keeps every environ. */
async function recording(use: (wire: Wire, calls: Array<{ environ: WSGIEnvironment; body: string }>) => Promise<void>): Promise<void> {
  const calls: Array<{ environ: WSGIEnvironment; body: string }> = [];
  await withServer(async (environ, start) => {
    const call = { environ: { ...environ }, body: 'not read' };
    calls.push(call);
    call.body = Buffer.from(await environ['wsgi.input'].read()).toString('latin1');
    start('200 OK', []);
    return [bytes('served')];
  }, (wire) => use(wire, calls));
}

const NEXT = 'GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';

interface Row {
  title: string;
  send: string;
  /** The first response's status; '' if the connection ends without one. */
  status: string;
  /** Whether the application was called for the first request. */
  called?: boolean;
  /** Whether a second request on the connection is answered. */
  kept?: boolean;
  body?: string;
  environ?: Record<string, unknown>;
}

const good = (title: string, send: string, environ: Record<string, unknown> = {}, body = ''): Row => ({
  title, send, status: '200', called: true, kept: true, environ, body,
});
// Nothing may follow such a request.
const closes = (title: string, send: string, environ: Record<string, unknown> = {}): Row => ({
  title, send, status: '200', called: true, environ, body: '',
});
const refused = (title: string, send: string, status = '400'): Row => ({ title, send, status, called: false, kept: false });

const get = (target: string, ...headers: string[]): string => [`GET ${target} HTTP/1.1`, 'Host: x', ...headers, '', ''].join('\r\n');
const post = (body: string, ...headers: string[]): string => [`POST / HTTP/1.1`, 'Host: x', ...headers, '', body].join('\r\n');

const targets: Row[] = [
  good('a path', get('/a/b'), { PATH_INFO: '/a/b', QUERY_STRING: '', REQUEST_URI: '/a/b', SCRIPT_NAME: '' }),
  good('a query', get('/a?b=c%20d'), { PATH_INFO: '/a', QUERY_STRING: 'b=c%20d', REQUEST_URI: '/a?b=c%20d' }),
  good('two question marks', get('/a?b?c'), { PATH_INFO: '/a', QUERY_STRING: 'b?c' }),
  good('an empty query', get('/?'), { PATH_INFO: '/', QUERY_STRING: '' }),
  good('escapes', get('/%41%e9%c3%a9'), { PATH_INFO: '/Aé\xc3\xa9', REQUEST_URI: '/%41%e9%c3%a9' }),
  good('an escaped slash', get('/a%2Fb%2fc'), { PATH_INFO: '/a/b/c', REQUEST_URI: '/a%2Fb%2fc' }),
  good('an escaped NUL', get('/%00'), { PATH_INFO: '/\0' }),
  good('an escaped line break', get('/%0d%0aX'), { PATH_INFO: '/\r\nX' }),
  good('a doubly escaped character, decoded once', get('/%2541'), { PATH_INFO: '/%41' }),
  good('invalid escapes, left alone', get('/%zz%4%'), { PATH_INFO: '/%zz%4%' }),
  good('two slashes', get('//a//b'), { PATH_INFO: '//a//b' }),
  good('dots', get('/../a/./b'), { PATH_INFO: '/../a/./b' }),
  good('odd but legal characters', get("/;a=1,b:@!$&'()*+~_-."), { PATH_INFO: "/;a=1,b:@!$&'()*+~_-." }),
  good('an absolute target', get('http://other:81/a?b'), { PATH_INFO: '/a', QUERY_STRING: 'b', HTTP_HOST: 'other:81', REQUEST_URI: 'http://other:81/a?b' }),
  good('an absolute target without a path', get('http://other'), { PATH_INFO: '/', HTTP_HOST: 'other' }),
  good('an absolute target with a query alone', get('http://other?b'), { PATH_INFO: '/', QUERY_STRING: 'b', HTTP_HOST: 'other' }),
  good('an asterisk for OPTIONS', 'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n', { PATH_INFO: '*', REQUEST_METHOD: 'OPTIONS' }),
  refused('an asterisk for GET', get('*')),
  refused('a fragment (CVE-2025-32395)', get('/a#b')),
  refused('a fragment after a query', get('/a?b#c')),
  refused('another scheme', get('ftp://other/a')),
  refused('an authority', get('other:80')),
  refused('a path without its slash', get('a/b')),
  refused('raw UTF-8', get('/é')),
  refused('a space', get('/a b')),
  refused('a control character', get('/a\x01b')),
  refused('NUL', get('/a\0b')),
  refused('a TAB', get('/a\tb')),
  refused('DEL', get('/a\x7fb')),
  refused('no target (gunicorn 23)', 'GET  HTTP/1.1\r\nHost: x\r\n\r\n'),
  refused('a target of 64 KiB', get(`/${'a'.repeat(65536)}`), '431'),
  good('a target of 8 KiB', get(`/${'a'.repeat(8192)}`), { PATH_INFO: `/${'a'.repeat(8192)}` }),
  refused('an absolute target with an odd host', get('http://a b/')),
  refused('an absolute target with a user', get('http://user@other/')),
];

const methods: Row[] = [
  ...['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'MKCOL', 'REPORT', 'LOCK', 'PURGE', 'SEARCH', 'M-SEARCH', 'LINK'].map((method) =>
    good(`the method ${method}`, `${method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`, { REQUEST_METHOD: method })),
  refused('an unknown method', 'FOO / HTTP/1.1\r\nHost: x\r\n\r\n'),
  refused('a method in lower case', 'get / HTTP/1.1\r\nHost: x\r\n\r\n'),
  refused('a method with a control character', 'G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n'),
  { title: 'CONNECT', send: 'CONNECT other:80 HTTP/1.1\r\nHost: x\r\n\r\n', status: '', called: false, kept: false },
];

const versions: Row[] = [
  closes('HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n', { SERVER_PROTOCOL: 'HTTP/1.0', HTTP_HOST: undefined }),
  good('HTTP/1.0 that keeps the connection', 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n', { SERVER_PROTOCOL: 'HTTP/1.0' }),
  good('HTTP/1.1', get('/'), { SERVER_PROTOCOL: 'HTTP/1.1' }),
  closes('HTTP/1.1 that closes it', get('/', 'Connection: close')),
  refused('HTTP/1.2', 'GET / HTTP/1.2\r\nHost: x\r\n\r\n'),
  refused('HTTP/2.0', 'GET / HTTP/2.0\r\nHost: x\r\n\r\n', '400|505'),
  refused('HTTP/0.9, by name', 'GET / HTTP/0.9\r\nHost: x\r\n\r\n', '400|505'),
  refused('HTTP/0.9, as it was', 'GET /\r\n'),
  refused('HTTP/3.5', 'GET / HTTP/3.5\r\nHost: x\r\n\r\n'),
  refused('the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '400|505'),
  refused('a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'),
  refused('another protocol', 'GET / FTP/1.1\r\nHost: x\r\n\r\n'),
  refused('a version in lower case', 'GET / http/1.1\r\nHost: x\r\n\r\n'),
  refused('blanks after the version', 'GET / HTTP/1.1  \r\nHost: x\r\n\r\n'),
  good('empty lines before the request', `\r\n\r\n${get('/')}`),
];

const hosts: Row[] = [
  refused('none on HTTP/1.1', 'GET / HTTP/1.1\r\n\r\n'),
  refused('two', get('/', 'Host: y')),
  refused('two that are the same', get('/', 'host: x')),
  ...['a b', 'a/b', 'a?b', 'a#b', 'user@host', 'a\\b', 'x:port', 'x:80:80', '[::1', '::1]:80', 'é', '<script>', '"x"', 'x, y'].map((host) =>
    refused(`that is none: ${host}`, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)),
  ...['x', 'x:80', 'x:', 'example.com', '127.0.0.1:8000', '[::1]', '[::1]:8000', 'under_score', 'a%20b', ''].map((host) =>
    good(`that is one: '${host}'`, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, { HTTP_HOST: host })),
];

const headers: Row[] = [
  good('a header', get('/', 'User-Agent: test'), { HTTP_USER_AGENT: 'test' }),
  good('a header with no value', get('/', 'X:'), { HTTP_X: '' }),
  good('blanks around a value', get('/', 'X: \t v \t '), { HTTP_X: 'v' }),
  good('a repeated header, joined by a comma', get('/', 'X: 1', 'x: 2', 'X: 3'), { HTTP_X: '1,2,3' }),
  good('a repeated Cookie, joined by a semicolon', get('/', 'Cookie: a=1', 'Cookie: b=2'), { HTTP_COOKIE: 'a=1; b=2' }),
  good('bytes above ASCII in a value', get('/', 'X: \xe9\xff'), { HTTP_X: '\xe9\xff' }),
  good('a TAB in a value', get('/', 'X: a\tb'), { HTTP_X: 'a\tb' }),
  good('odd but legal characters in a name', get('/', "X!#$%&'*+.^`|~-1: v"), { "HTTP_X!#$%&'*+.^`|~_1": 'v' }),
  good('a name with an underscore is dropped (CVE-2015-0219)', get('/', 'X_Foo: bad', 'X-Foo: good'), { HTTP_X_FOO: 'good' }),
  good('also where it stands alone', get('/', 'X_Foo: bad'), { HTTP_X_FOO: undefined }),
  good('an underscore does not stand for Content-Type', get('/', 'Content_Type: bad'), { CONTENT_TYPE: undefined, HTTP_CONTENT_TYPE: undefined }),
  good('Proxy is dropped (CVE-2016-1000110)', get('/', 'Proxy: http://evil', 'pRoXy: x'), { HTTP_PROXY: undefined }),
  good('Content-Type and Content-Length have no HTTP_', post('ab', 'Content-Type: text/plain', 'Content-Length: 2'), { CONTENT_TYPE: 'text/plain', CONTENT_LENGTH: '2', HTTP_CONTENT_TYPE: undefined, HTTP_CONTENT_LENGTH: undefined }, 'ab'),
  good('no Content-Type is none', get('/'), { CONTENT_TYPE: undefined, CONTENT_LENGTH: '' }),
  good('a header named like an object’s own', get('/', 'Constructor: x', '__proto__: y'), { HTTP_CONSTRUCTOR: 'x' }),
  good('a hundred headers', get('/', ...Array.from({ length: 100 }, (_, index) => `X-${index}: v`)), { HTTP_X_99: 'v' }),
  good('a thousand headers, Host among them', get('/', ...Array.from({ length: 999 }, (_, index) => `A${index}:`)), { HTTP_A998: '' }),
  refused('a header of 64 KiB', get('/', `X: ${'x'.repeat(65536)}`), '431'),
  refused('a folded header', get('/', 'X: a', ' b')),
  refused('a folded header, with a TAB', get('/', 'X: a', '\tb')),
  refused('a space before the colon (CVE-2021-22959)', get('/', 'X : v')),
  refused('a space in a name', get('/', 'X Y: v')),
  refused('no colon', get('/', 'no colon')),
  refused('an empty name', get('/', ': v')),
  refused('NUL in a value', get('/', 'X: a\0b')),
  refused('NUL in a name', get('/', 'X\0: b')),
  refused('a bare CR in a value', get('/', 'X: a\rb')),
  refused('a bare LF ends a line (CVE-2019-16785)', 'GET / HTTP/1.1\nHost: x\n\n'),
  refused('one bare LF among others', 'GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n'),
  refused('a control character in a name', get('/', 'X\x01: v')),
  refused('a byte above ASCII in a name', get('/', 'X\xe9: v')),
];

const lengths: Row[] = [
  good('a Content-Length', post('hello', 'Content-Length: 5'), { CONTENT_LENGTH: '5' }, 'hello'),
  good('of zero', post('', 'Content-Length: 0'), { CONTENT_LENGTH: '0' }),
  good('with zeros before', post('hello', 'Content-Length: 005'), {}, 'hello'),
  ...['+5', '-5', '5.0', '0x5', '5 5', '5,5', '1_0', 'five', '٥', '', '99999999999999999999999'].map((length) =>
    refused(`that is none: '${length}' (GHSA-4f7p)`, post('hello', `Content-Length: ${length}`))),
  refused('two that differ', post('hello', 'Content-Length: 5', 'Content-Length: 6')),
  refused('two that are the same', post('hello', 'Content-Length: 5', 'Content-Length: 5')),
  refused('beside Transfer-Encoding (CL.TE)', post('0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n', 'Content-Length: 30', 'Transfer-Encoding: chunked')),
  refused('after Transfer-Encoding (TE.CL)', post('5\r\nhello\r\n0\r\n\r\n', 'Transfer-Encoding: chunked', 'Content-Length: 4')),
];

const chunked = (body: string, coding = 'chunked'): string => post(body, `Transfer-Encoding: ${coding}`);
const codings: Row[] = [
  good('chunked', chunked('5\r\nhello\r\n0\r\n\r\n'), { CONTENT_LENGTH: '', 'wsgi.input_terminated': true }, 'hello'),
  good('Chunked, in any case', chunked('5\r\nhello\r\n0\r\n\r\n', 'CHUNKED'), {}, 'hello'),
  good('several chunks', chunked('1\r\nh\r\n4\r\nello\r\n0\r\n\r\n'), {}, 'hello'),
  good('a size in capitals and with zeros', chunked('00A\r\n0123456789\r\n0\r\n\r\n'), {}, '0123456789'),
  good('an extension, ignored', chunked('5;name=value\r\nhello\r\n0\r\n\r\n'), {}, 'hello'),
  good('trailers, which never become headers', chunked('0\r\nX-Trailer: y\r\n\r\n'), { HTTP_X_TRAILER: undefined }),
  { ...refused('gzip', chunked('x', 'gzip'), '501'), kept: false },
  refused('gzip, chunked (CVE-2024-1135)', chunked('0\r\n\r\n', 'gzip, chunked'), '501'),
  refused('chunked, gzip', chunked('0\r\n\r\n', 'chunked, gzip'), '400|501'),
  refused('chunked, chunked', chunked('0\r\n\r\n', 'chunked, chunked'), '400|501'),
  refused('identity', chunked('', 'identity'), '400|501'),
  refused('xchunked (TE.TE)', chunked('0\r\n\r\n', 'xchunked'), '400|501'),
  refused('chunked with something after it', chunked('0\r\n\r\n', 'chunkedx'), '400|501'),
  refused('chunked in quotes', chunked('0\r\n\r\n', '"chunked"'), '400|501'),
  refused('twice', post('0\r\n\r\n', 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity'), '400|501'),
  refused('on HTTP/1.0', 'POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', '400|501'),
  refused('Transfer_Encoding does not count', post('', 'Transfer_Encoding: chunked', 'Transfer-Encoding: nothing'), '400|501'),
  ...['x\r\nhello\r\n0\r\n\r\n', '-1\r\nhello\r\n', '+5\r\nhello\r\n0\r\n\r\n', '0x5\r\nhello\r\n0\r\n\r\n', ' 5\r\nhello\r\n0\r\n\r\n', '5\nhello\n0\n\n', '5\r\nhelloX\r\n0\r\n\r\n', 'ffffffffffffffffff\r\nhello'].map((body): Row => ({
    title: `a chunk that is none: ${JSON.stringify(body.slice(0, 12))}`, send: chunked(body), status: '400', called: true, kept: false, body: 'not read',
  })),
];

const expectations: Row[] = [
  { ...good('100-continue', post('hello', 'Expect: 100-continue', 'Content-Length: 5'), {}, 'hello'), status: '100' },
  { ...refused('anything else', post('hello', 'Expect: a miracle', 'Content-Length: 5'), '417'), kept: true },
];

const groups: Array<[string, Row[]]> = [
  ['targets', targets], ['methods', methods], ['versions', versions], ['Host', hosts], ['headers', headers],
  ['Content-Length', lengths], ['Transfer-Encoding', codings], ['Expect and Upgrade', expectations],
];

for (const [group, rows] of groups) {
  describe(group, () => {
    for (const { title, send, status, called, kept, body, environ } of rows) {
      test(title, async () => {
        await recording(async ({ port, errors, server }, calls) => {
          const answer = await exchange(port, kept === undefined ? send : send + NEXT);
          assert.match(answer.slice(9, 12), new RegExp(`^(${status})$`), answer.slice(0, 300));
          const first = calls.filter((call) => call.environ.PATH_INFO !== '/next');
          assert.equal(first.length, called ? 1 : 0);
          if (body !== undefined) assert.equal(first[0]?.body, body);
          for (const [key, value] of Object.entries(environ ?? {})) {
            assert.deepEqual((first[0]?.environ as Record<string, unknown> | undefined)?.[key], value, key);
          }
          const next = calls.some((call) => call.environ.PATH_INFO === '/next');
          assert.equal(next, kept ?? false, 'the next request on the connection');
          assert.ok(!calls.some((call) => /smuggled/.test(call.environ.PATH_INFO)));
          assert.equal(errors.getValue(), '');

          // Whatever it was, others are served.
          assert.equal(server.listening, true);
          assert.match(await exchange(port, NEXT), /served$/);
        });
      });
    }
  });
}

test('there are two hundred of them, near enough', () => {
  const count = groups.reduce((sum, [, rows]) => sum + rows.length, 0);
  assert.ok(count >= 140, `${count} rows`);
});

describe('a refusal', () => {
  test('says why, and closes', async () => {
    await recording(async ({ port }) => {
      const answer = await exchange(port, get('/', 'Transfer-Encoding: gzip'));
      assert.match(answer, /^HTTP\/1\.1 501 Not Implemented\r\nContent-Type: text\/plain; charset=utf-8\r\nContent-Length: \d+\r\nConnection: close\r\n/);
      assert.match(answer, /\r\n\r\nThe transfer coding "gzip" is not known here; 'chunked' is\.\n$/);
    });
  });
});

test('an upgrade that nobody wants is a request like any other', async () => {
  await recording(async ({ port }, calls) => {
    const client = await RawClient.connect(port);
    client.send(get('/', 'Connection: Upgrade', 'Upgrade: websocket'));
    assert.equal((await client.response()).body, 'served');
    assert.equal(calls[0]?.environ['HTTP_UPGRADE'], 'websocket');
    client.send(NEXT);
    assert.equal((await client.response()).body, 'served');
  });
});

describe('pipelined requests', () => {
  test('are answered in order', async () => {
    await recording(async ({ port }, calls) => {
      const client = await RawClient.connect(port);
      client.send(get('/1') + post('two', 'Content-Length: 3') + get('/3'));
      for (const _ of [1, 2, 3]) assert.equal((await client.response()).body, 'served');
      assert.deepEqual(calls.map(({ environ, body }) => environ.PATH_INFO + body), ['/1', '/two', '/3']);
    });
  });

  test('may come byte by byte', async () => {
    await recording(async ({ port }, calls) => {
      const client = await RawClient.connect(port);
      client.socket.setNoDelay(true);
      for (const byte of post('slow', 'Content-Length: 4')) {
        client.send(byte);
        await new Promise(setImmediate);
      }
      assert.equal((await client.response()).body, 'served');
      assert.equal(calls[0]?.body, 'slow');
    });
  });

  test('are served to a client that has closed its own side', async () => {
    await recording(async ({ port }) => {
      const client = await RawClient.connect(port);
      client.socket.end(get('/'));
      assert.match(await client.rest(), /served$/);
    });
  });
});

test('every string in environ is bytes, and every key is one of its own', async () => {
  await recording(async ({ port }, calls) => {
    await exchange(port, `GET /%ff?é HTTP/1.1\r\nHost: x\r\n\r\n${NEXT}`);
    await exchange(port, get('/%ff', 'X: \xff', 'Connection: close'));
    const environ = calls.at(-1)?.environ ?? {};
    for (const [key, value] of Object.entries(environ)) {
      if (key.startsWith('wsgi.')) continue;
      assert.equal(typeof value, 'string', key);
      assert.match(String(value), /^[\x00-\xff]*$/, key);
    }
  });
});
