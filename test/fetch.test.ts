// The bridges to fetch: an application as a handler, and a handler as an application.

import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { brotliCompressSync, deflateSync, gunzipSync, gzipSync } from 'node:zlib';

import {
  BytesIO, type ResponseBody, SimpleHandler, StringIO, type WSGIApplication, type WSGIEnvironment,
  fromFetch, setupTestingDefaults, testClient, toFetch,
} from '../lib/index.ts';
import { bodyOf, handle, using } from './support/applications.ts';
import { bytes, deferred, text } from './support/bytes.ts';
import { RawClient, exchange, withServer, withoutDate } from './support/wire.ts';

const answering = (
  body: () => ResponseBody, headers: Array<[string, string]> = [],
): WSGIApplication =>
  (_environ, start) => (start('200 Fine', headers), body());

/** Silences console.error for the time of `use` and gives what it got. */
async function quietly(use: () => Promise<void>): Promise<string> {
  const { error } = console;
  const lines: string[] = [];
  console.error = (line: unknown) => void lines.push(String(line));
  try {
    await use();
  } finally {
    console.error = error;
  }
  return lines.join('\n');
}

describe('toFetch', () => {
  test('gives status, reason, headers in order and body', async () => {
    const fetch = toFetch(answering(() => [bytes('a'), bytes('b')], [
      ['X-One', '1'], ['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2'],
    ]));
    const response = await fetch(new Request('http://test/'));
    assert.equal(response.status, 200);
    assert.equal(response.statusText, 'Fine');
    assert.equal(response.headers.get('x-one'), '1');
    assert.deepEqual(response.headers.getSetCookie(), ['a=1', 'b=2']);
    assert.equal(await response.text(), 'ab');
  });

  test('makes environ of the request', async () => {
    let seen: Record<string, unknown> = {};
    const fetch = toFetch(async (environ, start) => {
      seen = { ...environ, body: text(await environ['wsgi.input'].read()) };
      start('200 OK', []);
      return [];
    });
    await fetch(new Request('https://example.com:8443/a%20b%2Fc?d=%20', {
      method: 'POST', body: 'hello',
      headers: { 'X-Custom': 'yes', 'Content-Type': 'text/plain', 'X_Bad': 'no' },
    }));
    const expected: Record<string, unknown> = {
      REQUEST_METHOD: 'POST', SCRIPT_NAME: '', PATH_INFO: '/a b/c', QUERY_STRING: 'd=%20',
      REQUEST_URI: '/a%20b%2Fc?d=%20',
      SERVER_NAME: 'example.com', SERVER_PORT: '8443', SERVER_PROTOCOL: 'HTTP/1.1', HTTPS: 'on',
      'wsgi.url_scheme': 'https',
      CONTENT_TYPE: 'text/plain', HTTP_X_CUSTOM: 'yes', HTTP_X_BAD: undefined,
      HTTP_HOST: 'example.com:8443', body: 'hello',
    };
    for (const [key, value] of Object.entries(expected)) assert.equal(seen[key], value, key);
  });

  test('streams: a chunk is made when it is read', async () => {
    const made: string[] = [];
    const response = await toFetch(answering(async function* () {
      for (const each of ['one', 'two', 'three']) { made.push(each); yield bytes(each); }
    } as () => ResponseBody))(new Request('http://test/'));
    const reader = response.body?.getReader();
    assert.deepEqual(made, ['one']);
    assert.equal(text((await reader?.read())?.value ?? bytes('')), 'one');
    await new Promise(setImmediate);
    assert.deepEqual(made, ['one']);
    assert.equal(text((await reader?.read())?.value ?? bytes('')), 'two');
    assert.deepEqual(made, ['one', 'two']);
  });

  test('has a chunk for each of several readers that wait at once', async () => {
    const response = await toFetch(answering(() => [bytes('one'), bytes('two'), bytes('three')]))(
      new Request('http://test/'),
    );
    const reader = response.body?.getReader();
    const steps =
      await Promise.all([reader?.read(), reader?.read(), reader?.read(), reader?.read()]);
    assert.deepEqual(steps.map((step) => (step?.done ? 'done' : text(step?.value ?? bytes('')))), [
      'one', 'two', 'three', 'done',
    ]);
  });

  test(
    'gives out chunks that stay as they are when the application fills its buffer anew',
    async () => {
      const buffer = bytes('?');
      const body = function* (): Generator<Uint8Array> {
        for (const letter of 'abc') { buffer.set(bytes(letter)); yield buffer; }
      };
      const response =
        await toFetch(answering(body as () => ResponseBody))(new Request('http://test/'));
      assert.equal(await response.text(), 'abc');
    },
  );

  for (const [title, body] of [['an empty array', []], ['an empty chunk', [bytes('')]]] as const) {
    test(`invents no Content-Type for ${title}`, async () => {
      const response = await toFetch(answering(() => body))(new Request('http://test/'));
      assert.deepEqual([...response.headers], [['content-length', '0']]);
      assert.equal(await response.text(), '');
    });
  }

  test('says so when the request’s body has been read before it', async () => {
    const request = new Request('http://test/', { method: 'POST', body: 'taken' });
    await request.text();
    let failure: unknown;
    const reading: WSGIApplication = async (environ, start) => {
      failure = await environ['wsgi.input'].read().catch((error: unknown) => error);
      start('200 OK', []);
      return [];
    };
    assert.equal((await toFetch(reading)(request)).status, 200);
    assert.match(
      String(failure),
      /^Error: the request's body has been read already, before toFetch\(\) was given the request/,
    );
  });

  test('gives a 500 for a status that no Response has', async () => {
    const printed = await quietly(async () => {
      assert.equal(
        (await toFetch((_, start) => (start('600 Odd', []), [bytes('x')]))(
          new Request('http://test/'),
        )).status,
        500,
      );
    });
    assert.match(
      printed,
      /^RangeError: the status "600 Odd" cannot go through fetch, which knows 200 to 599 only\n/,
    );
  });

  test('takes nothing but an application', () => {
    assert.throws(
      () => toFetch({ fetch() {} } as never),
      /^TypeError: an application is a function \(environ, startResponse\), not an object$/,
    );
  });

  test('streams the request’s body to the application', async () => {
    const second = deferred();
    const seen = deferred<string>();
    const fetch = toFetch(async (environ, start) => {
      seen.resolve(text(await environ['wsgi.input'].readline()));
      start('200 OK', []);
      return [await environ['wsgi.input'].read()];
    });
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(bytes('first\n'));
        await second.promise;
        controller.enqueue(bytes('second'));
        controller.close();
      },
    });
    const response = fetch(new Request('http://test/', { method: 'POST', body, duplex: 'half' }));
    assert.equal(await seen.promise, 'first\n');
    second.resolve();
    assert.equal(await (await response).text(), 'second');
  });

  for (const how of ['cancel', 'abort']) {
    test(`stops the application when the response is left: ${how}`, async () => {
      const events: string[] = [];
      const body = (function* () {
        try { while (true) yield bytes('x'); } finally { events.push('finally'); }
      })();
      const controller = new AbortController();
      const fetch =
        toFetch(answering(() => Object.assign(body, { close: () => void events.push('close') })));
      const response = await fetch(new Request('http://test/', { signal: controller.signal }));
      const reader = response.body?.getReader();
      await reader?.read();
      if (how === 'cancel') await reader?.cancel();
      else {
        controller.abort();
        await assert.rejects(async () => { await reader?.read(); await reader?.read(); }, {
          name: 'AbortError',
        });
      }
      await new Promise(setImmediate);
      assert.deepEqual(events, ['finally', 'close']);
    });
  }

  test('rejects when the signal aborts before there is a response', async () => {
    const controller = new AbortController();
    const response = toFetch(() => new Promise(() => {}))(
      new Request('http://test/', { signal: controller.signal }),
    );
    controller.abort();
    await assert.rejects(response, { name: 'AbortError' });
    await assert.rejects(
      toFetch(answering(() => []))(new Request('http://test/', { signal: controller.signal })),
      { name: 'AbortError' },
    );
  });

  test('gives a 500 for an application that throws, and reports it', async () => {
    const printed = await quietly(async () => {
      const response =
        await toFetch(() => { throw new Error('secret'); })(new Request('http://test/'));
      assert.equal(response.status, 500);
      assert.equal(
        await response.text(), 'A server error occurred.  Please contact the administrator.',
      );
    });
    assert.match(printed, /^Error: secret\n {4}at /);
  });

  test('fails the body of one that throws later', async () => {
    await quietly(async () => {
      const response = await toFetch(answering(
        function* () { yield bytes('begun'); throw new Error('mid'); } as () => ResponseBody,
      ))(new Request('http://test/'));
      await assert.rejects(response.text(), /the application failed after its head was sent/);
    });
  });

  for (const [status, method] of [
    ['204 No Content', 'GET'], ['304 Not Modified', 'GET'], ['205 Reset Content', 'POST'],
    ['200 OK', 'HEAD'],
  ] as const) {
    test(`has no body with ${method} ${status}`, async () => {
      const response = await toFetch((_, start) => (start(status, []), [bytes('x')]))(
        new Request('http://test/', { method }),
      );
      assert.equal(response.status, Number(status.slice(0, 3)));
      assert.equal(response.body, null);
    });
  }
});

describe('fromFetch', () => {
  const get = (path = '/'): string =>
    `GET ${path} HTTP/1.1\r\nHost: test:81\r\nConnection: close\r\n\r\n`;

  test('asks a function, or an object with fetch', async () => {
    const handle = (request: Request): Response => new Response(`${request.method} ${request.url}`);
    const object = {
      word: 'object ',
      fetch(request: Request): Response { return new Response(this.word + request.url); },
    };
    await withServer(fromFetch(handle), async ({ port }) => {
      assert.match(
        await exchange(port, get('/a%2Fb?c=%20')), /GET http:\/\/test:81\/a%2Fb\?c=%20\r\n0\r\n/,
      );
    });
    await withServer(fromFetch(object), async ({ port }) => {
      assert.match(await exchange(port, get()), /object http:\/\/test:81\//);
    });
    assert.throws(
      () => fromFetch({} as never),
      /^TypeError: fromFetch\(\) takes a function of a Request, or an object with fetch\(\)$/,
    );
  });

  test('is called by the name of its handler in reports', async () => {
    const shop = (): Response => new Response('hello', { headers: { 'Content-Length': '3' } });
    for (const target of [shop, { fetch: shop }]) {
      await assert.rejects(
        testClient(fromFetch(target)).fetch('/'),
        /^WSGIError: The application shop sent 5 bytes with a Content-Length of 3\.\n/,
      );
    }
  });

  test('gives status, a reason, headers and cookies apart', async () => {
    const handle = (): Response => {
      const headers = new Headers([['X-One', '1'], ['Connection', 'close']]);
      headers.append('Set-Cookie', 'a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT');
      headers.append('Set-Cookie', 'b=2');
      return new Response(null, { status: 404, headers });
    };
    await withServer(fromFetch(handle), async ({ port }) => {
      assert.equal(
        withoutDate(await exchange(port, get())),
        'HTTP/1.1 404 Not Found\r\nset-cookie: a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT\r\nset-cookie: b=2\r\nx-one: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
      );
    });
  });

  test('streams both ways', async () => {
    const handle = (request: Request): Response =>
      new Response(request.body?.pipeThrough(new TransformStream()) ?? null);
    await withServer(fromFetch(handle), async ({ port }) => {
      const client = await RawClient.connect(port);
      client.send('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n');
      await client.until((heard) => heard.includes('\r\n3\r\none\r\n'));
      client.send('3\r\ntwo\r\n0\r\n\r\n');
      assert.equal((await client.response()).body, 'onetwo');
    });
  });

  for (const phase of ['before there is a response', 'in the middle of it']) {
    test(`aborts request.signal when the client leaves ${phase}`, async () => {
      const arrived = deferred();
      const aborted = deferred();
      const handle = async (request: Request): Promise<Response> => {
        request.signal.addEventListener('abort', () => aborted.resolve());
        arrived.resolve();
        if (phase.startsWith('before')) await new Promise(() => {});
        return new Response(
          new ReadableStream({ start(controller) { controller.enqueue(bytes('begun')); } }),
        );
      };
      await withServer(fromFetch(handle), async ({ port, errors }) => {
        const client = (await RawClient.connect(port)).send('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
        await arrived.promise;
        if (!phase.startsWith('before')) await client.until((heard) => heard.includes('begun'));
        client.socket.destroy();
        await aborted.promise;
        assert.equal(errors.getValue(), '');
      });
    });
  }

  describe('a path that a URL would change', () => {
    const url = (request: Request): Response => new Response(request.url);

    // Node's parser refuses such a target; another server may not.
    test('is passed on where it is bytes: /\\xe9', async () => {
      const environ = { REQUEST_URI: '/\xe9?\xff', PATH_INFO: '/\xe9', QUERY_STRING: '\xff' };
      const { fetch } = testClient(fromFetch(url), { environ, validate: false });
      assert.equal(await (await fetch('/')).text(), 'http://testserver/%e9?%ff');
    });

    for (const path of [
      '/x/../admin', '/x/./y', '/..', '/x/..', '/x/%2e%2e/admin', '/x/.%2E/admin', '/%2e/x', '/.',
      '/x/..?q=1',
    ]) {
      test(`is refused: ${path}`, async () => {
        const called: string[] = [];
        await withServer(
          fromFetch((request) => (called.push(request.url), url(request))),
          async ({ port }) => {
            const answer = withoutDate(await exchange(port, get(path)));
            assert.match(
              answer, /^HTTP\/1\.1 400 Bad Request\r\ncontent-type: text\/plain; charset=utf-8\r\n/,
            );
            assert.match(
              answer, /A URL cannot hold this path: it has dot segments, which a URL resolves\.\n/,
            );
            assert.deepEqual(called, []);
          },
        );
      });
    }

    // Escaped, each is the same path to a URL.
    for (const [path, expected] of [
      ['/a\\b', '/a%5Cb'], ['/x\\..\\admin', '/x%5C..%5Cadmin'], ['/..\\x', '/..%5Cx'],
      ['//host/x', '//host/x'], ['/...', '/...'], ['/.x/x.', '/.x/x.'],
      ['/%252e%252e/x', '/%252e%252e/x'], ['/?x/../y', '/?x/../y'], ['/a?', '/a?'],
    ] as const) {
      test(`is passed on: ${path}`, async () => {
        await withServer(fromFetch(url), async ({ port }) => {
          const client = (await RawClient.connect(port)).send(get(path));
          assert.equal((await client.response()).body, `http://test:81${expected}`);
        });
      });
    }
  });

  test('passes OPTIONS * on as such, and back', async () => {
    const seen: string[] = [];
    const inner = toFetch((environ, start) => {
      seen.push(environ.PATH_INFO, environ.REQUEST_URI ?? '', environ['HTTP_HOST'] ?? '');
      start('204 No Content', []);
      return [];
    });
    const application =
      fromFetch((request) => (seen.push(request.method, request.url), inner(request)));
    await withServer(application, async ({ port }) => {
      assert.match(await exchange(port, get('*').replace('GET', 'OPTIONS')), /^HTTP\/1\.1 204 /);
      assert.deepEqual(seen, ['OPTIONS', '*', '*', '*', 'test:81']);
    });
  });

  for (const coding of ['gzip', 'deflate', 'br', 'x-unknown']) {
    const isDecoded = coding !== 'x-unknown';
    test(`says of a fetched body what is true after decoding: ${coding}`, async () => {
      const encode = {
        gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, 'x-unknown': bytes,
      }[coding] ?? bytes;
      const encoded = encode('hello '.repeat(100));
      const upstream: WSGIApplication = (_, start) => {
        start('200 OK', [
          ['Content-Type', 'text/plain'], ['Content-Encoding', coding],
          ['Content-Length', String(encoded.length)], ['X-Kept', 'y'],
        ]);
        return [encoded];
      };
      await withServer(upstream, async (behind) => {
        await withServer(
          fromFetch(() => fetch(`http://127.0.0.1:${behind.port}/`)),
          async ({ port }) => {
            const response = await (await RawClient.connect(port)).send(get()).response();
            const headers = new Headers(response.headers);
            assert.equal(response.body, 'hello '.repeat(100));
            assert.equal(headers.get('content-encoding'), isDecoded ? null : coding);
            assert.equal(headers.get('content-length'), isDecoded ? null : '600');
            assert.equal(headers.get('x-kept'), 'y');
          },
        );
      });
    });
  }

  test('leaves an encoded body alone that the handler has made itself', async () => {
    const encoded = gzipSync('hello');
    const handle = (): Response =>
      new Response(encoded, {
        headers: { 'Content-Encoding': 'gzip', 'Content-Length': String(encoded.length) },
      });
    await withServer(fromFetch(handle), async ({ port }) => {
      const response = await (await RawClient.connect(port)).send(get()).response();
      assert.equal(response.headers.find(([name]) => name === 'content-encoding')?.[1], 'gzip');
      assert.equal(gunzipSync(Buffer.from(response.body, 'latin1')).toString(), 'hello');
    });
  });

  test('invents no Content-Type for an empty response', async () => {
    await withServer(fromFetch(() => new Response(null)), async ({ port }) => {
      assert.doesNotMatch(await exchange(port, get()), /content-type/i);
    });
  });

  const endless = (): ReadableStream =>
    new ReadableStream({ pull: (controller) => controller.enqueue(bytes('x')) });
  const served: Array<[string, string, () => Response]> = [
    ['a body', 'GET', () => new Response('x')],
    [
      'a body with its length', 'GET',
      () => new Response('x', { headers: { 'Content-Length': '1' } }),
    ],
    ['no body', 'GET', () => new Response(null, { status: 204 })],
    ['HEAD', 'HEAD', () => new Response('x')],
    ['HEAD, and a body without end', 'HEAD', () => new Response(endless())],
  ];
  for (const [title, method, respond] of served) {
    test(`does not abort the signal of a request that was served: ${title}`, async () => {
      let signal: AbortSignal | undefined;
      await withServer(
        fromFetch((request) => { signal = request.signal; return respond(); }),
        async ({ port }) => {
          await exchange(port, get().replace('GET', method));
          assert.equal(signal?.aborted, false);
        },
      );
    });
  }

  test('cancels a body that comes when the client has left', async () => {
    const [asked, answer, cancelled] = [deferred(), deferred(), deferred()];
    const controller = new AbortController();
    const handle = async (): Promise<Response> => {
      asked.resolve();
      await answer.promise;
      return new Response(new ReadableStream({ cancel: () => cancelled.resolve() }));
    };
    const response =
      toFetch(fromFetch(handle))(new Request('http://test/', { signal: controller.signal }));
    await asked.promise;
    controller.abort();
    await assert.rejects(response, { name: 'AbortError' });
    answer.resolve();
    await cancelled.promise;
  });

  for (const method of ['TRACE', 'CONNECT']) {
    test(`answers ${method}, which no Request can have`, async () => {
      const application = fromFetch(() => assert.fail('the handler was asked'));
      const { fetch } =
        testClient(application, { validate: false, environ: { REQUEST_METHOD: method } });
      assert.equal((await fetch('/')).status, 501);
    });
  }

  test('gives the URL as it was sent, unless a middleware has changed it', async () => {
    const ask = async (environ: Record<string, string>): Promise<string> => {
      const { fetch } =
        testClient(fromFetch((request) => new Response(request.url)), { environ, validate: false });
      return (await fetch('/m/a%2Fb?x=%20')).text();
    };
    assert.equal(
      await ask({ SCRIPT_NAME: '/m', PATH_INFO: '/a/b' }), 'http://testserver/m/a%2Fb?x=%20',
    );
    assert.equal(await ask({ PATH_INFO: '/new' }), 'http://testserver/new?x=%20');
    assert.equal(await ask({ QUERY_STRING: '' }), 'http://testserver/m/a/b');
  });

  const used = new Response('used');
  const wrong: Array<[string, () => unknown, RegExp]> = [
    [
      'nothing', () => undefined,
      /^TypeError: the fetch handler gave undefined in place of a Response; is a `return` missing, or a route\?$/,
    ],
    [
      'a string', () => 'hello',
      /^TypeError: the fetch handler gave "hello" in place of a Response$/,
    ],
    [
      'Response.error()', () => Response.error(),
      /^TypeError: the fetch handler gave Response\.error\(\), which has no status to send$/,
    ],
    [
      'a Response that has been read', async () => (await used.text(), used),
      /^TypeError: the fetch handler gave a Response whose body has been read already: give response\.clone\(\)$/,
    ],
  ];
  for (const [title, handle, message] of wrong) {
    test(`refuses ${title} in place of a Response`, async () => {
      const { fetch } = testClient(fromFetch(handle as () => Response));
      await assert.rejects(fetch('/'), (error) => message.test(String(error)));
    });
  }

  test('gives the handler’s error to the server', async () => {
    await withServer(fromFetch(() => { throw new Error('handler'); }), async ({ port, errors }) => {
      assert.match(await exchange(port, get()), /^HTTP\/1\.1 500 /);
      assert.match(errors.getValue(), /^Error: handler\n/);
    });
  });

  test('survives a Host that is not a URL', async () => {
    await withServer(fromFetch((request) => new Response(request.url)), async ({ port }) => {
      assert.match(
        await exchange(port, 'GET /x HTTP/1.1\r\nHost: a%zz:99999\r\nConnection: close\r\n\r\n'),
        /http:\/\/127\.0\.0\.1:\d+\/x/,
      );
    });
  });
});

test('StringIO and a handler of the platform go together', async () => {
  const errors = new StringIO();
  const response =
    await toFetch(fromFetch(() => new Response('round', { status: 201, headers: { 'X-A': 'b' } })))(
      new Request('http://test/'),
    );
  assert.equal(response.status, 201);
  assert.equal(response.statusText, 'Created');
  assert.equal(response.headers.get('x-a'), 'b');
  assert.equal(await response.text(), 'round');
  assert.equal(errors.getValue(), '');
});

describe('toFetch', () => {
  test('knows the port of https', async () => {
    const handler = toFetch(using(({ SERVER_PORT, HTTPS }) => [SERVER_PORT, HTTPS]));
    assert.equal(
      await (await handler(new Request('https://secure.example/'))).text(), '["443","on"]',
    );
  });
});

describe('a signal', () => {
  test('has no listener left when the response is over, however often it is used', async () => {
    const { signal } = new AbortController();
    const { fetch } = testClient(bodyOf(() => [bytes('x')]));
    const request = {
      signal, headers: new globalThis.Headers(), method: 'GET', url: 'http://test/', body: null,
    };
    for (let count = 0; count < 3; count += 1) {
      await (await toFetch(bodyOf(() => [bytes('x')]))(request as unknown as Request)).text();
      await (await fetch('/', { signal })).text();
    }
    // A promise or two may still be on their way.
    for (let left = 100; left > 0 && getEventListeners(signal, 'abort').length > 0; left -= 1) {
      await turn();
    }
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });
});

describe('fromFetch', () => {
  test('makes a URL even if neither Host nor SERVER_NAME is valid', async () => {
    const environ: Partial<WSGIEnvironment> = {
      SERVER_NAME: '[', HTTP_HOST: '[', PATH_INFO: '/path',
    };
    const { sent } = await handle(fromFetch((request) => new Response(request.url)), environ);
    assert.match(sent, /\r\n\r\nhttp:\/\/localhost\//);
  });

  test('reads a body from a stream that has no read1', async () => {
    const input = new BytesIO(bytes('body'));
    const environ: Partial<WSGIEnvironment> = { REQUEST_METHOD: 'POST', CONTENT_LENGTH: '4' };
    setupTestingDefaults(environ);
    const stdout = new BytesIO();
    const handler = new SimpleHandler(input, stdout, new StringIO(), environ);
    await handler.run(fromFetch(async (request) => new Response(await request.text())));
    assert.match(text(stdout.getValue()), /\r\n\r\nbody$/);
  });
});
