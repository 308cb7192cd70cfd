// The example applications, called directly with an environ and a startResponse, as a
// server calls them. Your own applications can be tested in the same way.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';

import {
  BytesIO,
  FileWrapper,
  Headers,
  type ResponseBody,
  type WSGIApplication,
  type WSGIEnvironment,
  setupTestingDefaults,
} from '../lib/index.ts';
import echo from './apps/echo.ts';
import file from './apps/file.ts';
import guestbook from './apps/guestbook.ts';
import hello from './apps/hello.ts';
import home from './apps/home.ts';
import rpc from './apps/rpc.ts';
import stream from './apps/stream.ts';
import { bytes, collect } from './support/bytes.ts';

interface Answer {
  status: string;
  headers: Headers;
  body: ResponseBody;
}

/**
 * Calls an application without reading its body. Status and headers are read when
 * the test asks for them.
 */
async function open(app: WSGIApplication, given: Partial<WSGIEnvironment> = {}): Promise<Answer> {
  const environ = { QUERY_STRING: '', ...given };
  setupTestingDefaults(environ);
  let status = '';
  let headers = new Headers();
  const body = await app(environ, (newStatus, newHeaders) => {
    assert.equal(status, '', 'startResponse is called once');
    status = newStatus;
    headers = new Headers(newHeaders.map(([name, value]) => [name, value]));
    return () => {};
  });
  return {
    get status() {
      return status;
    },
    get headers() {
      return headers;
    },
    body,
  };
}

/** Calls an application, reads its body as a server does, and closes it. */
async function ask(
  app: WSGIApplication,
  given: Partial<WSGIEnvironment> = {},
): Promise<{ status: string; headers: Headers; text: string }> {
  const answer = await open(app, given);
  try {
    const chunks = await collect(answer.body);
    for (const chunk of chunks) assert.ok(chunk instanceof Uint8Array);
    assert.match(answer.status, /^\d{3} \S/, 'startResponse was called');
    const text = Buffer.concat(chunks).toString();
    const length = answer.headers.get('Content-Length');
    if (length !== undefined) assert.equal(length, String(Buffer.byteLength(text)));
    return { status: answer.status, headers: answer.headers, text };
  } finally {
    await answer.body.close?.();
  }
}

function post(body: string, type: string): Partial<WSGIEnvironment> {
  return {
    REQUEST_METHOD: 'POST',
    CONTENT_TYPE: type,
    CONTENT_LENGTH: String(bytes(body).length),
    'wsgi.input': new BytesIO(bytes(body)),
  };
}

test('hello says so', async () => {
  const { status, headers, text } = await ask(hello);
  assert.equal(status, '200 OK');
  assert.deepEqual(headers.entries(), [['Content-Type', 'text/plain']]);
  assert.equal(text, 'Hello world!\n');
});

test('home distinguishes / from everything else', async () => {
  const rows: Array<[path: string, text: string, length: string]> = [
    ['/', 'Home Page', '9'],
    ['/other', 'A new page', '10'],
    ['', 'A new page', '10'],
    ['//', 'A new page', '10'],
  ];
  for (const [path, expected, length] of rows) {
    const { status, headers, text } = await ask(home, { SCRIPT_NAME: '', PATH_INFO: path });
    assert.equal(status, '200 OK');
    assert.equal(text, expected, path);
    assert.equal(headers.get('Content-Length'), length);
  }
});

describe('echo', () => {
  test('sends back all parts of the request', async () => {
    const { status, headers, text } = await ask(echo, {
      ...post('grüße', 'text/plain'),
      SCRIPT_NAME: '/app',
      PATH_INFO: '/caf\xc3\xa9',
      QUERY_STRING: 'a=1&a=2&b=%C3%A9',
      HTTP_HOST: 'example.com',
      HTTP_X_LONG_NAME: 'x, y',
    });
    assert.equal(status, '200 OK');
    assert.equal(headers.get('Content-Type'), 'application/json');
    assert.deepEqual(JSON.parse(text), {
      method: 'POST',
      path: '/app/café',
      query: [['a', '1'], ['a', '2'], ['b', 'é']],
      headers: {
        'content-type': 'text/plain',
        'content-length': '7',
        host: 'example.com',
        'x-long-name': 'x, y',
      },
      body: 'grüße',
    });
  });

  test('knows nothing where there is nothing', async () => {
    const { text } = await ask(echo, { REQUEST_METHOD: 'DELETE', CONTENT_LENGTH: '' });
    assert.deepEqual(JSON.parse(text), {
      method: 'DELETE',
      path: '/',
      query: [],
      headers: { host: '127.0.0.1' },
      body: '',
    });
  });
});

describe('stream', () => {
  test('gives three lines, each by itself', async () => {
    const answer = await open(stream);
    assert.equal(answer.status, '', 'a generator begins when its first chunk is asked for');
    const lines = (await collect(answer.body)).map((chunk) => Buffer.from(chunk).toString());
    assert.equal(answer.status, '200 OK');
    assert.deepEqual(lines, ['ready\n', 'steady\n', 'go\n']);
  });

  test('may be left in the middle', async () => {
    const { body } = await open(stream);
    for await (const chunk of body) {
      assert.equal(Buffer.from(chunk).toString(), 'ready\n');
      break;
    }
    assert.deepEqual(await collect(body), [], 'the generator is done');
  });
});

describe('file', () => {
  const itself = new URL('./apps/file.', import.meta.url);
  itself.pathname += import.meta.url.endsWith('.ts') ? 'ts' : 'js';

  test('sends itself through the wrapper, which closes the file', async () => {
    const wrap = (...args: ConstructorParameters<typeof FileWrapper>) => new FileWrapper(...args);
    const { status, headers, body } = await open(file, { 'wsgi.file_wrapper': wrap });
    const content = await readFile(itself);
    assert.equal(status, '200 OK');
    assert.equal(headers.get('Content-Length'), String(content.length));
    assert.ok(body instanceof FileWrapper);
    assert.deepEqual(Buffer.concat(await collect(body)), content);
    assert.ok('fd' in body.file && body.file.fd > 0, 'iterating leaves the file open');
    await body.close?.();
    assert.equal(body.file.fd, -1);
  });

  test('does without a wrapper', async () => {
    assert.equal((await ask(file)).text, await readFile(itself, 'utf8'));
  });
});

describe('rpc', () => {
  const call = async (body: string): Promise<unknown> => {
    const { status, headers, text } = await ask(rpc, post(body, 'application/json'));
    if (status === '204 No Content') {
      assert.equal(text, '');
      return undefined;
    }
    assert.equal(status, '200 OK');
    assert.equal(headers.get('Content-Type'), 'application/json');
    return JSON.parse(text);
  };
  const failure = (code: number, message: string, id: unknown = null): unknown => ({
    jsonrpc: '2.0',
    error: { code, message },
    id,
  });
  const result = (value: unknown, id: unknown): unknown => ({ jsonrpc: '2.0', result: value, id });

  const rows: Array<[name: string, request: string, answer: unknown]> = [
    ['a call', '{"jsonrpc":"2.0","method":"add","params":[1,2,3],"id":1}', result(6, 1)],
    [
      'an id that is text', '{"jsonrpc":"2.0","method":"upper","params":["ä"],"id":"x"}',
      result('Ä', 'x'),
    ],
    [
      'an id that is null', '{"jsonrpc":"2.0","method":"add","params":[],"id":null}',
      result(0, null),
    ],
    ['a notification', '{"jsonrpc":"2.0","method":"add","params":[1]}', undefined],
    ['a notification that fails', '{"jsonrpc":"2.0","method":"none"}', undefined],
    ['text that is not JSON', '{"jsonrpc":"2.0","method":', failure(-32700, 'Parse error')],
    ['nothing', '', failure(-32700, 'Parse error')],
    ['a number', '1', failure(-32600, 'Invalid Request')],
    ['null', 'null', failure(-32600, 'Invalid Request')],
    [
      'another version', '{"jsonrpc":"1.0","method":"add","id":1}',
      failure(-32600, 'Invalid Request'),
    ],
    [
      'a method that is not a name', '{"jsonrpc":"2.0","method":1,"id":1}',
      failure(-32600, 'Invalid Request'),
    ],
    [
      'parameters that are not a list', '{"jsonrpc":"2.0","method":"add","params":"bar"}',
      failure(-32600, 'Invalid Request'),
    ],
    [
      'an id that is an object', '{"jsonrpc":"2.0","method":"add","id":{}}',
      failure(-32600, 'Invalid Request'),
    ],
    [
      'an unknown method', '{"jsonrpc":"2.0","method":"none","id":2}',
      failure(-32601, 'Method not found', 2),
    ],
    [
      'a method of all objects', '{"jsonrpc":"2.0","method":"toString","id":2}',
      failure(-32601, 'Method not found', 2),
    ],
    [
      'wrong parameters', '{"jsonrpc":"2.0","method":"add","params":["1"],"id":3}',
      failure(-32602, 'Invalid params', 3),
    ],
    [
      'no parameters', '{"jsonrpc":"2.0","method":"upper","id":3}',
      failure(-32602, 'Invalid params', 3),
    ],
    ['an empty batch', '[]', failure(-32600, 'Invalid Request')],
    ['a batch of notifications', '[{"jsonrpc":"2.0","method":"add","params":[1]}]', undefined],
    [
      'a mixed batch',
      '[{"jsonrpc":"2.0","method":"add","params":[1],"id":1},1,{"jsonrpc":"2.0","method":"add","params":[2]},{"jsonrpc":"2.0","method":"none","id":2}]',
      [result(1, 1), failure(-32600, 'Invalid Request'), failure(-32601, 'Method not found', 2)],
    ],
  ];
  for (const [name, request, answer] of rows) {
    test(name, async () => assert.deepEqual(await call(request), answer));
  }

  test('only POST is allowed', async () => {
    for (const method of ['GET', 'HEAD', 'PUT', 'post']) {
      const { status, headers, text } = await ask(rpc, { REQUEST_METHOD: method });
      assert.equal(status, '405 Method Not Allowed', method);
      assert.equal(headers.get('Allow'), 'POST');
      assert.equal(text, '');
    }
  });
});

describe('guestbook', () => {
  const form = 'application/x-www-form-urlencoded';
  const write = (entry: string): ReturnType<typeof ask> =>
    ask(guestbook, post(new URLSearchParams({ entry }).toString(), form));

  test('shows a form', async () => {
    const { status, headers, text } = await ask(guestbook);
    assert.equal(status, '200 OK');
    assert.equal(headers.get('Content-Type'), 'text/html; charset=utf-8');
    assert.match(text, /^<!doctype html>\n[^]*<form method="post">/);
  });

  test('takes an entry, sends the browser back, and shows it as text', async () => {
    const { status, headers, text } = await write(`<b>"Tom" & 'Jürgen'</b>`);
    assert.equal(status, '303 See Other');
    assert.equal(headers.get('Location'), '/');
    assert.equal(text, '');
    const page = (await ask(guestbook)).text;
    assert.ok(page.includes(`<li>&lt;b&gt;&quot;Tom&quot; &amp; 'Jürgen'&lt;/b&gt;</li>`), page);
    assert.ok(!page.includes('<b>'));
  });

  test('passes over an empty entry', async () => {
    const before = (await ask(guestbook)).text;
    assert.equal((await write('  ')).status, '303 See Other');
    assert.equal((await ask(guestbook, post('other=x', form))).status, '303 See Other');
    assert.equal((await ask(guestbook)).text, before);
  });

  test('refuses a long entry', async () => {
    const { status } = await write('long'.repeat(2_500));
    assert.equal(status, '413 Content Too Large');
    assert.doesNotMatch((await ask(guestbook)).text, /longlong/);
  });

  test('knows one page and three methods', async () => {
    assert.equal(
      (await ask(guestbook, { SCRIPT_NAME: '', PATH_INFO: '/x' })).status, '404 Not Found',
    );
    const { status, headers } = await ask(guestbook, { REQUEST_METHOD: 'DELETE' });
    assert.equal(status, '405 Method Not Allowed');
    assert.equal(headers.get('Allow'), 'GET, HEAD, POST');
    assert.equal((await ask(guestbook, { REQUEST_METHOD: 'HEAD' })).status, '200 OK');
  });
});
