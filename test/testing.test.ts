// The test client, used as one who knows fetch would use it.

import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';

import { type WSGIApplication, decodePath, testClient } from '../lib/index.ts';
import { using } from './support/applications.ts';
import { bytes, deferred, text } from './support/bytes.ts';

/** Answers with what it saw, as JSON. */
const mirror: WSGIApplication = async (environ, start) => {
  const body = text(await environ['wsgi.input'].read());
  const strings = Object.entries(environ).filter(([, value]) => typeof value === 'string');
  start('200 OK', [['Content-Type', 'application/json']]);
  return [bytes(JSON.stringify({ ...Object.fromEntries(strings), body }))];
};

const plain = (
  status: `${number} ${string}`, body: string, headers: Array<[string, string]> = [],
): WSGIApplication =>
  (_environ, start) => (start(status, [['Content-Type', 'text/plain'], ...headers]), [bytes(body)]);

describe('testClient', () => {
  test('has a fetch that needs nothing else', async () => {
    const { fetch } =
      testClient(plain('200 Fine', 'hello', [['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2']]));
    const response = await fetch('/hello?x=1');
    assert.ok(response instanceof Response);
    assert.equal(response.status, 200);
    assert.equal(response.statusText, 'Fine');
    assert.equal(response.url, 'http://testserver/hello?x=1');
    assert.equal(response.redirected, false);
    assert.deepEqual(response.headers.getSetCookie(), ['a=1', 'b=2']);
    assert.equal(await response.text(), 'hello');
  });

  test('resolves URLs against its base, and takes whole ones, and Requests', async () => {
    const { fetch } = testClient(mirror, { base: 'https://example.com:8443/base/' });
    const ask = async (input: string | URL | Request): Promise<Record<string, string>> =>
      (await fetch(input)).json() as never;
    assert.equal((await ask('x?y'))['PATH_INFO'], '/base/x');
    assert.equal((await ask('/x'))['HTTP_HOST'], 'example.com:8443');
    assert.equal((await ask('/x'))['HTTPS'], 'on');
    assert.equal((await ask(new URL('http://other/z')))['SERVER_NAME'], 'other');
    assert.equal(
      (await ask(
        new Request('http://other/z', { method: 'POST', body: 'b', headers: { 'X-A': '1' } }),
      ))['HTTP_X_A'],
      '1',
    );
    assert.equal(decodePath((await ask('/é'))['PATH_INFO'] ?? ''), '/é');
  });

  const form = new FormData();
  form.append('field', 'value');
  const bodies: Array<[
    string, NonNullable<RequestInit['body']>, string, RegExp, string | undefined,
  ]> = [
    ['a string', 'héllo', 'héllo', /^text\/plain;charset=UTF-8$/i, '6'],
    ['bytes', bytes('bytes'), 'bytes', /^undefined$/, '5'],
    ['an ArrayBuffer', bytes('buffer').buffer as ArrayBuffer, 'buffer', /^undefined$/, '6'],
    [
      'URLSearchParams', new URLSearchParams({ a: 'b c' }), 'a=b+c',
      /^application\/x-www-form-urlencoded;charset=UTF-8$/i, '5',
    ],
    ['a Blob', new Blob(['blob'], { type: 'image/x' }), 'blob', /^image\/x$/, '4'],
    ['FormData', form, 'value', /^multipart\/form-data; boundary=/, undefined],
    ['an empty string', '', '', /^text\/plain/i, '0'],
  ];
  for (const [title, body, expected, type, length] of bodies) {
    test(`sends ${title}, with its type and length`, async () => {
      const seen = (
        await (await testClient(mirror).fetch('/', { method: 'POST', body })).json()
      ) as Record<string, string>;
      assert.ok(seen['body']?.includes(expected));
      assert.match(String(seen['CONTENT_TYPE']), type);
      if (length !== undefined) assert.equal(seen['CONTENT_LENGTH'], length);
      else assert.ok(Number(seen['CONTENT_LENGTH']) > 20);
    });
  }

  test('sends a stream as a stream', async () => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(bytes('a'));
        controller.enqueue(bytes('b'));
        controller.close();
      },
    });
    const seen = (
      await (await testClient(mirror).fetch('/', { method: 'POST', body })).json()
    ) as Record<string, string>;
    assert.equal(seen['body'], 'ab');
    assert.equal(seen['CONTENT_LENGTH'], '');
    assert.equal(seen['HTTP_TRANSFER_ENCODING'], 'chunked');
  });

  test('rejects with the very error, whose trace points at the application', async () => {
    const error = new Error('mine');
    const fails = (): never => { throw error; };
    for (const app of [
      fails, async () => fails(), function* () { fails(); },
    ] as WSGIApplication[]) {
      await assert.rejects(testClient(app).fetch('/'), (caught) => caught === error);
    }
    assert.match(error.stack ?? '', /testing\.test/);
  });

  test('fails the body with the very error, once the head is there', async () => {
    const error = new Error('later');
    const { fetch } = testClient(function* (_, start) {
      start('200 OK', [['Content-Type', 'text/plain']]);
      yield bytes('begun');
      throw error;
    });
    const response = await fetch('/');
    await assert.rejects(response.text(), (caught) => caught === error);
  });

  for (const [when, make] of [
    ['of a whole body', () => [bytes('all')]],
    ['of no body', () => []],
    ['of a stream', async function* () { yield bytes('a'); yield bytes('b'); }],
    ['of a body that fails to close later', () => [bytes('a'), bytes('b')]],
  ] as const) {
    test(`rejects with the error in close() ${when}`, async () => {
      const error = new Error('in close');
      const fail =
        when.includes('later') ? async () => { await null; throw error; } : () => { throw error; };
      const app: WSGIApplication = (_environ, start) => {
        start('200 OK', [['Content-Type', 'text/plain']]);
        return Object.assign(make(), { close: fail });
      };
      const answer = async (catchErrors: boolean): Promise<number> => {
        const response = await testClient(app, { validate: false, catchErrors }).fetch('/');
        await response.text();
        return response.status;
      };
      await assert.rejects(answer(false), (caught) => caught === error);
      assert.equal(await answer(true), 200);
    });
  }

  test('rejects with the first error, not with one in close()', async () => {
    const error = new Error('first');
    const body = Object.assign((function* () { throw error; })(), {
      close: () => { throw new Error('second'); },
    });
    await assert.rejects(
      testClient((_environ, start) => (start('200 OK', []), body), { validate: false }).fetch('/'),
      (caught) => caught === error,
    );
  });

  test('gives the 500 with catchErrors, and keeps what was reported', async () => {
    const client = testClient(
      (environ) => { environ['wsgi.errors'].write('before\n'); throw new Error('mine'); },
      { catchErrors: true },
    );
    const response = await client.fetch('/');
    assert.equal(response.status, 500);
    assert.match(client.errors, /^before\nError: mine\n/);
  });

  test('puts the validator in between, unless it is told not to', async () => {
    const wrong: WSGIApplication = (_, start) =>
      (start('200 OK', [['Content-Type', 'text/plain'], ['Connection', 'close']]), []);
    await assert.rejects(testClient(wrong).fetch('/'), {
      name: 'WSGIError', code: 'header-hop-by-hop',
    });
    await assert.rejects(testClient(wrong, { validate: false }).fetch('/'), { name: 'RangeError' });
    assert.equal(
      (await testClient(plain('200 OK', 'x'), { validate: false }).fetch('/')).status, 200,
    );
  });

  test('shows the line of the test for a fault that no call of the application shows', async () => {
    const { fetch } = testClient(() => undefined as never);
    const report: unknown = await fetch('/').catch((error: unknown) => error);
    assert.ok(report instanceof Error);
    assert.match(report.stack ?? '', /Look for a missing return.*\n    at .*testing\.test\.[jt]s:/);
    assert.doesNotMatch(report.message, /at \S+:\d+:\d+$/);
  });

  test('streams: the second chunk is made when it is read; leaving closes', async () => {
    const events: string[] = [];
    const { fetch } = testClient((_, start) => {
      start('200 OK', [['Content-Type', 'text/plain']]);
      const body = (async function* () {
        try {
          for (const each of ['one', 'two', 'three']) { events.push(each); yield bytes(each); }
        } finally {
          events.push('finally');
        }
      })();
      return Object.assign(body, { close: () => void events.push('close') });
    });
    const reader = (await fetch('/')).body?.getReader();
    assert.equal(text((await reader?.read())?.value ?? bytes('')), 'one');
    await new Promise(setImmediate);
    assert.deepEqual(events, ['one']);
    await reader?.read();
    await reader?.cancel();
    await new Promise(setImmediate);
    assert.deepEqual(events, ['one', 'two', 'finally', 'close']);
  });

  test('takes a signal', async () => {
    const controller = new AbortController();
    const response =
      testClient(() => new Promise(() => {})).fetch('/', { signal: controller.signal });
    controller.abort(new Error('enough'));
    await assert.rejects(response, /enough/);
  });

  test('wakes a read of the body that still waits when the signal aborts', async () => {
    const controller = new AbortController();
    const [reading, told] = [deferred(), deferred<unknown>()];
    const response = testClient(async (environ, start) => {
      reading.resolve();
      await environ['wsgi.input'].read().catch(told.resolve);
      start('200 OK', []);
      return [];
    }, { validate: false }).fetch('/', {
      method: 'POST', body: new ReadableStream(), duplex: 'half', signal: controller.signal,
    } as RequestInit);
    await reading.promise;
    controller.abort(new Error('enough'));
    await assert.rejects(response, /enough/);
    assert.match(String(await told.promise), /enough/);
  });

  test('adds to environ', async () => {
    const ask = async (options: Parameters<typeof testClient>[1]): Promise<
      Record<string, string>
    > => (await testClient(mirror, options).fetch('/')).json() as never;
    assert.equal((await ask({ environ: { REMOTE_ADDR: '10.0.0.1' } }))['REMOTE_ADDR'], '10.0.0.1');
    assert.equal(
      (await ask({
        environ: (environ) => ({ 'my.user': `user of ${environ.PATH_INFO}` }),
      }))['my.user'],
      'user of /',
    );
  });
});

describe('redirects', () => {
  const app: WSGIApplication = async (environ, start) => {
    const [, status] = /^\/(\d+)$/.exec(environ.PATH_INFO) ?? [];
    if (environ.PATH_INFO === '/loop') start('302 Found', [['Location', '/loop']]);
    else if (environ.PATH_INFO === '/away') start('302 Found', [['Location', 'http://elsewhere/']]);
    else if (status === undefined) return mirror(environ, start);
    else start(`${Number(status)} Moved`, [['Location', '/end?from=1']]);
    return [];
  };
  const { fetch } = testClient(app);

  const rows: Array<[number, string, string, string]> = [
    [301, 'POST', 'GET', ''], [302, 'POST', 'GET', ''], [303, 'POST', 'GET', ''],
    [303, 'PUT', 'GET', ''],
    [307, 'POST', 'POST', 'body'], [308, 'POST', 'POST', 'body'], [302, 'PUT', 'PUT', 'body'],
  ];
  for (const [status, method, then, body] of rows) {
    test(`${status} of ${method} goes on with ${then}`, async () => {
      const response = await fetch(`/${status}`, { method, body: 'body' });
      assert.equal(response.redirected, true);
      assert.equal(response.url, 'http://testserver/end?from=1');
      const seen = (await response.json()) as Record<string, string>;
      assert.equal(seen['REQUEST_METHOD'], then);
      assert.equal(seen['body'], body);
      assert.equal(seen['CONTENT_TYPE'] === undefined, body === '');
    });
  }

  test('are given as they are with manual, and refused with error', async () => {
    const response = await fetch('/302', { redirect: 'manual' });
    assert.equal(response.status, 302);
    assert.equal(response.headers.get('location'), '/end?from=1');
    await assert.rejects(
      fetch('/302', { redirect: 'error' }),
      /^TypeError: fetch failed: redirected to \/end\?from=1$/,
    );
  });

  test('end after twenty, and at another host', async () => {
    await assert.rejects(fetch('/loop'), /more than 20 redirects, last to \/loop/);
    await assert.rejects(
      fetch('/away'),
      /redirected to http:\/\/elsewhere\/, and only the application at testserver is here/,
    );
  });
});

describe('cookies', () => {
  const app: WSGIApplication = (environ, start) => {
    const set: Array<[string, string]> =
      environ.QUERY_STRING === '' ? [] : [['Set-Cookie', decodeURIComponent(environ.QUERY_STRING)]];
    start('200 OK', [['Content-Type', 'text/plain'], ...set]);
    return [bytes(environ['HTTP_COOKIE'] ?? 'none')];
  };
  const visit = (client: ReturnType<typeof testClient>) =>
    async (path: string, cookie = ''): Promise<string> =>
      (await client.fetch(`${path}?${encodeURIComponent(cookie)}`)).text();

  test('are kept if asked for', async () => {
    const get = visit(testClient(app, { cookies: true }));
    assert.equal(await get('/', 'a=1'), 'none');
    assert.equal(await get('/', 'b=2; Path=/deep'), 'a=1');
    assert.equal(await get('/'), 'a=1');
    assert.equal(await get('/deep/er'), 'a=1; b=2');
    assert.equal(await get('/deeper'), 'a=1');
    assert.equal(await get('/', 'a=; Max-Age=0'), 'a=1');
    assert.equal(await get('/'), 'none');
    await get('/', 'c=3; Expires=Thu, 01 Jan 1970 00:00:00 GMT');
    await get('/', 'd=4; Secure');
    assert.equal(await get('/'), 'none');
  });

  test('are forgotten otherwise', async () => {
    const get = visit(testClient(app));
    await get('/', 'a=1');
    assert.equal(await get('/'), 'none');
  });
});

describe('testClient', () => {
  test('does not send a stream again, as fetch does not', async () => {
    const { fetch } = testClient((environ, startResponse) => {
      startResponse('307 Temporary Redirect', [['Location', `${environ.PATH_INFO}x`]]);
      return [];
    });
    const body = Readable.toWeb(Readable.from([bytes('once')])) as ReadableStream;
    await assert.rejects(
      fetch('/', { method: 'POST', body, duplex: 'half' } as RequestInit),
      /^TypeError: fetch failed: a body that streams cannot be sent again to /,
    );
  });
});

describe('cookies of a test client', () => {
  test('ignore a header that is not a cookie', async () => {
    const client = testClient((environ, startResponse) => {
      startResponse('200 OK', [
        ['Content-Type', 'text/plain'], ['Set-Cookie', 'nonsense'], ['Set-Cookie', 'a=b'],
      ]);
      return [bytes(environ['HTTP_COOKIE'] ?? 'none')];
    }, { cookies: true });
    assert.equal(await (await client.fetch('/')).text(), 'none');
    assert.equal(await (await client.fetch('/')).text(), 'a=b');
  });

  test('a POST without a body has the length 0', async () => {
    const { fetch } = testClient(using(({ CONTENT_LENGTH }) => CONTENT_LENGTH));
    assert.equal(await (await fetch('/', { method: 'POST' })).text(), '"0"');
  });
});
