// What is rarely reached: found by asking the coverage what no other test had run.

import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';

import {
  BytesIO,
  type ErrorStream,
  type ResponseBody,
  SimpleHandler,
  StringIO,
  type WSGIApplication,
  type WSGIEnvironment,
  WSGIServer,
  errorPage,
  fromFetch,
  makeServer,
  setupTestingDefaults,
  testClient,
  toFetch,
  toNodeListener,
  trace,
  validator,
} from '../lib/index.ts';
import { bytes, deferred, text } from './support/bytes.ts';
import { RawClient, withServer } from './support/wire.ts';

const plain: [string, string] = ['Content-Type', 'text/plain'];

/** An application that does something with its environ and answers with the outcome. */
const using = (use: (environ: WSGIEnvironment) => unknown): WSGIApplication => async (environ, startResponse) => {
  const outcome = JSON.stringify(await use(environ)) ?? '';
  startResponse('200 OK', [plain]);
  return [bytes(outcome)];
};

const answering = (body: () => ResponseBody): WSGIApplication => (_environ, startResponse) => {
  startResponse('200 OK', [plain]);
  return body();
};

/** Runs it by hand; gives what was sent and what was reported. */
async function handle(
  app: WSGIApplication,
  { stdout = new BytesIO(), ...given }: Partial<WSGIEnvironment> & { stdout?: object } = {},
): Promise<{ sent: string; errors: string }> {
  const environ: Partial<WSGIEnvironment> = given;
  setupTestingDefaults(environ);
  const errors = new StringIO();
  await new SimpleHandler(new BytesIO(), stdout as BytesIO, errors, environ).run(app);
  return { sent: stdout instanceof BytesIO ? text(stdout.getValue()) : '', errors: errors.getValue() };
}

describe('trace', () => {
  async function traced(app: WSGIApplication, body = ''): Promise<{ drawn: string; answer: string; errors: string }> {
    let drawn = '';
    const client = testClient(trace(app, { write: (line) => (drawn += line), colour: false }), { validate: false });
    const response = await client.fetch('/', { method: 'POST', body });
    return { drawn, answer: await response.text(), errors: client.errors };
  }

  test('draws each way to read', async () => {
    const { drawn, answer } = await traced(
      using(async ({ 'wsgi.input': input }) => {
        const line = text(await input.readline(2));
        const lines: string[] = [];
        for await (const rest of input) {
          lines.push(text(rest));
          break;
        }
        return [line, ...lines, (await input.readlines()).length];
      }),
      'one\ntwo\nthree\n',
    );
    assert.equal(answer, '["on","e\\n",2]');
    assert.match(drawn, /wsgi\.input\.readline\(2\)[^]*2 bytes "on"[^]*next line of wsgi\.input\?[^]*2 bytes "e\\n"/);
    assert.match(drawn, /wsgi\.input\.readlines\(\)[^]*2 lines/);
  });

  test('draws each way to report', async () => {
    const { drawn, errors } = await traced(
      using(({ 'wsgi.errors': stream }) => {
        stream.writelines(['one\n', 'two\n']);
        stream.flush();
      }),
    );
    assert.match(drawn, /wsgi\.errors\.writelines\(…\)/);
    assert.equal(errors, 'one\ntwo\n');
  });

  test('draws an asynchronous body that is stopped early, and an error as third argument', async () => {
    const app: WSGIApplication = async function* (_environ, startResponse) {
      startResponse('200 OK', [plain]);
      startResponse('503 Busy', [['Content-Length', '3'], 'odd' as never].slice(0, 1) as never, new Error('x'));
      yield bytes('abc');
      yield bytes('never asked for');
    };
    const { drawn, answer } = await traced(app);
    assert.equal(answer, 'abc');
    assert.match(drawn, /startResponse\('503 Busy', headers, error\)[^]*return\(\): stop early/);
  });

  test('draws what is no header and no chunk, for the server to name', async () => {
    const odd: WSGIApplication = (_environ, startResponse) => {
      startResponse('200 OK', ['odd'] as never);
      return [];
    };
    await assert.rejects(traced(odd), /header/);
    await assert.rejects(traced(answering(() => ['text'] as never)), /text/);
  });
});

describe('errorPage', () => {
  const page = async (app: WSGIApplication, given: object = {}): Promise<string> =>
    (await handle(errorPage(app), { HTTP_ACCEPT: 'text/html', ...given })).sent;

  test('shortens what is very long, in the message, in environ and in the source', async () => {
    const failing: WSGIApplication = () => {
      throw new Error('m'.repeat(100_000));
    };
    const shown = await page(failing, { HTTP_X: 'v'.repeat(100_000) });
    assert.match(shown, /m… \(100000 characters\)/);
    assert.match(shown, /v… \(100000 characters\)/);
  });

  test('shows an environ that cannot be read as far as it can be', async () => {
    const failing: WSGIApplication = (environ) => {
      Object.defineProperty(environ, 'HTTP_TRAP', {
        enumerable: true,
        get() {
          throw new Error('trap');
        },
      });
      throw new Error('the real one');
    };
    const shown = await page(failing);
    assert.match(shown, /the real one/);
    assert.match(shown, /HTTP_TRAP[^]*?cannot be read/);
  });

  test('shows no source of a file that is gone, and a place that is no path as it is', async () => {
    const failing: WSGIApplication = () => {
      const error = new Error('elsewhere');
      error.stack = 'Error: elsewhere\n    at gone (/nowhere/gone.js:1:1)\n    at odd (file://host/%zz.js:2:1)\n    at data (/nowhere/data.bin:1:1)';
      throw error;
    };
    const shown = await page(failing);
    assert.match(shown, /gone\.js:1/);
    assert.doesNotMatch(shown, /<pre>/);
    assert.match(shown, /%zz\.js/);
  });

  test('lets the server report an error that cannot be shown at all', async () => {
    const error = new Proxy(new Error('hostile'), {
      get() {
        throw new Error('trap');
      },
      getPrototypeOf() {
        throw new Error('trap');
      },
    });
    const { sent, errors } = await handle(errorPage(() => { throw error; }));
    assert.match(sent, /^HTTP\/1\.0 500 /);
    assert.notEqual(errors, '');
  });
});

describe('SimpleHandler', () => {
  test('goes on with the rest when a sink takes a part, at once or later', async () => {
    for (const isLater of [false, true]) {
      let taken = '';
      const stdout = {
        write(data: Uint8Array) {
          const part = data.subarray(0, 30);
          taken += text(part);
          return isLater ? Promise.resolve(part.length) : part.length;
        },
        flush: () => (isLater ? Promise.resolve() : undefined),
      };
      const { errors } = await handle(answering(() => [bytes('x'.repeat(100))]), { stdout });
      assert.match(taken, /^HTTP\/1\.0 200 OK\r\n[^]*\r\n\r\nx{100}$/);
      assert.equal(errors, '');
    }
  });

  test('reports a sink that takes nothing', async () => {
    const { errors } = await handle(answering(() => [bytes('x')]), { stdout: { write: () => 0 } });
    assert.match(errors, /^Error: stdout\.write\(\) took 0 of \d+ bytes\n/);
  });
});

describe('a server', () => {
  test('without an application says so', async () => {
    const bare = new WSGIServer(['127.0.0.1', 0]);
    assert.throws(() => bare.getApp(), /^Error: this server has no application yet: call setApp\(app\)$/);
    assert.deepEqual(bare.serverAddress, ['127.0.0.1', 0], 'what was asked for, until it is bound');
    await bare.serverClose();
  });

  test('names an address that it cannot bind, and every interface as *', async () => {
    const held = createServer().listen(0);
    await new Promise((resolve) => held.once('listening', resolve));
    const { port } = held.address() as AddressInfo;
    try {
      await assert.rejects(makeServer('', port, () => []).ready, new RegExp(`cannot listen on \\*:${port}: another program`));
      await assert.rejects(makeServer('::1', port, () => []).ready, (error: Error) =>
        // A machine without IPv6 has no such address.
        new RegExp(`cannot listen on \\[::1\\]:${port}: `).test(error.message));
    } finally {
      held.close();
    }
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

describe('toFetch', () => {
  test('knows the port of https', async () => {
    const handler = toFetch(using(({ SERVER_PORT, HTTPS }) => [SERVER_PORT, HTTPS]));
    assert.equal(await (await handler(new Request('https://secure.example/'))).text(), '["443","on"]');
  });
});

describe('a signal', () => {
  test('is let go of when the response is over, however often it is used', async () => {
    const { signal } = new AbortController();
    const { fetch } = testClient(answering(() => [bytes('x')]));
    const request = { signal, headers: new globalThis.Headers(), method: 'GET', url: 'http://test/', body: null };
    for (let count = 0; count < 3; count += 1) {
      await (await toFetch(answering(() => [bytes('x')]))(request as unknown as Request)).text();
      await (await fetch('/', { signal })).text();
    }
    // A promise or two may still be on their way.
    for (let left = 100; left > 0 && getEventListeners(signal, 'abort').length > 0; left -= 1) await turn();
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });
});

describe('toNodeListener', () => {
  test('destroys the response if even reporting failed', async () => {
    const failing: WSGIApplication = (environ) => {
      environ['wsgi.errors'].write = () => {
        throw new Error('no report');
      };
      throw new Error('first');
    };
    const server = createServer(toNodeListener(failing)).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const written = process.stderr.write;
    let printed = '';
    process.stderr.write = ((data: string) => {
      printed += data;
      return true;
    }) as typeof process.stderr.write;
    try {
      const outcome = await fetch(`http://127.0.0.1:${port}/`).then((response) => response.status, () => 'cut');
      assert.ok(outcome === 'cut' || outcome === 500, String(outcome));
    } finally {
      process.stderr.write = written;
      server.close();
    }
    assert.match(printed, /first|no report/);
  });
});

describe('validator', () => {
  const server = (): { environ: WSGIEnvironment; startResponse: () => () => void } => {
    const environ: Partial<WSGIEnvironment> = {};
    setupTestingDefaults(environ);
    return { environ, startResponse: () => () => {} };
  };

  test("passes on a server's throw(), and knows close() of an iterator for a mistake", async () => {
    const ends: string[] = [];
    async function* body(): AsyncGenerator<Uint8Array> {
      try {
        yield bytes('a');
      } catch (error) {
        ends.push(String(error));
      }
    }
    const { environ, startResponse } = server();
    const returned = (await validator(answering(body))(environ, startResponse)) as AsyncIterable<Uint8Array> & { close(): void };
    const chunks = returned[Symbol.asyncIterator]() as AsyncGenerator<Uint8Array> & { close?(): void };
    assert.equal(chunks[Symbol.asyncIterator](), chunks);
    await chunks.next();
    await chunks.throw(new Error('stop'));
    assert.deepEqual(ends, ['Error: stop']);
    assert.throws(() => chunks.close?.(), /close\(\) of the iterator/);
    await returned.close();
  });

  test('throws back what an iterator without throw() cannot take', async () => {
    const { environ, startResponse } = server();
    const chunks = { next: async () => ({ done: false, value: bytes('a') }) };
    const body = { [Symbol.asyncIterator]: () => chunks } as unknown as ResponseBody;
    const returned = (await validator(answering(() => body))(environ, startResponse)) as AsyncIterable<Uint8Array> & { close(): void };
    const iterator = returned[Symbol.asyncIterator]() as AsyncGenerator<Uint8Array>;
    await iterator.next();
    await assert.rejects(iterator.throw(new Error('mine')), /^Error: mine$/);
    await returned.close();
  });

  test('reports close() that throws, and lets the error out', async () => {
    const { environ, startResponse } = server();
    const warnings: string[] = [];
    const app = validator(answering(() => Object.assign([], {
      close() {
        throw new Error('in close');
      },
    })), { onWarning: ({ code }) => warnings.push(code) });
    const returned = (await app(environ, startResponse)) as Iterable<Uint8Array> & { close(): void };
    for (const chunk of returned) assert.fail(String(chunk));
    assert.throws(() => returned.close(), /^Error: in close$/);
    assert.deepEqual(warnings, ['close-throws']);
  });

  test('lets a wrapped file be read by its iterator, and not too early', async () => {
    const file = { source: Readable.from([bytes('file')]), [Symbol.asyncIterator]() {
      return this.source[Symbol.asyncIterator]();
    } };
    const client = testClient((environ, startResponse) => {
      startResponse('200 OK', [plain]);
      return environ['wsgi.file_wrapper']?.(file as never) ?? [];
    });
    assert.equal(await (await client.fetch('/')).text(), 'file');
  });

  test('passes other members of the streams through', async () => {
    const { environ, startResponse } = server();
    Object.assign(environ['wsgi.input'], { extra: 'of the input' });
    (environ['wsgi.errors'] as ErrorStream & { extra?: string }).extra = 'of the errors';
    let seen: unknown;
    const app = validator((inner, start) => {
      seen = [inner['wsgi.input'], inner['wsgi.errors']].map((stream) => Reflect.get(stream, 'extra') as unknown);
      start('200 OK', [plain]);
      return [];
    }, { onWarning: () => {}, severity: { 'input-no-other-attr': 'warning', 'errors-no-other-attr': 'warning' } });
    const returned = (await app(environ, startResponse)) as Iterable<Uint8Array> & { close(): void };
    for (const chunk of returned) assert.fail(String(chunk));
    returned.close();
    assert.deepEqual(seen, ['of the input', 'of the errors']);
  });

  /** What is reported of an application under the test client, warnings included. */
  async function reported(app: WSGIApplication, request: RequestInit = {}): Promise<string> {
    const warnings: string[] = [];
    const validated = validator(app, { onWarning: (warning) => warnings.push(String(warning)), strict: true });
    const client = testClient(validated, { validate: false });
    const failure = await client.fetch('/', request).then(
      (response) => response.text().catch((error: unknown) => String(error)),
      (error: unknown) => String(error),
    );
    return [failure, ...warnings].join('\n');
  }

  for (const [what, body, hint] of [
    ['a Response', new Response('x'), 'Return its own body, or [new Uint8Array(await response.arrayBuffer())].'],
    ['an ArrayBuffer', [new ArrayBuffer(1)], 'Wrap it: new Uint8Array(buffer).'],
    ['a function', () => [], 'Call it: what is returned is a function.'],
  ] as const) {
    test(`knows what was meant by ${what}`, async () => {
      assert.ok((await reported(answering(() => body as never))).includes(hint));
    });
  }

  for (const [what, headers, rule] of [
    ['two Locations', [['Location', '/a'], ['Location', '/b']], 'header-singleton-dup'],
    ['a Content-Type of a 304', [plain], 'content-type-on-204-304'],
    ['a Date of its own form', [['Date', 'today']], 'date-format'],
  ] as const) {
    test(`knows ${what} for a mistake`, async () => {
      const status = what.includes('304') ? '304 Not Modified' : '302 Found';
      const told = await reported((_environ, startResponse) => {
        startResponse(status, headers.map(([name, value]) => [name, value]));
        return [];
      });
      assert.ok(told.includes(rule), told);
    });
  }

  test('finds nothing wrong with a Date as it should be', async () => {
    const told = await reported((_environ, startResponse) => {
      startResponse('200 OK', [plain, ['Date', 'Sun, 06 Nov 1994 08:49:37 GMT']]);
      return [bytes('fine')];
    });
    assert.equal(told, 'fine');
  });

  test('knows a class that is given as an application', () => {
    assert.throws(() => validator(class App {} as never), /a class, which cannot be called/);
  });

  test('goes on when it was told to pass a mistake over, whatever it then meets', async () => {
    const off = (...rules: string[]): { severity: Record<string, 'off'> } => ({
      severity: Object.fromEntries(rules.map((rule) => [rule, 'off'])),
    });
    const { startResponse } = server();
    const unseen = validator(answering(() => []), off('environ-plain'));
    assert.deepEqual(await unseen('no environ' as never, startResponse), []);

    const lines = testClient(validator(using(({ 'wsgi.errors': errors }) => {
      (errors.writelines as (...args: unknown[]) => void)(['one\n'], 'more');
    }), off('errors-writelines-str')), { validate: false });
    await lines.fetch('/').catch(() => {});
  });

  test('tells a stopped body that it is over, as often as it is asked', async () => {
    for (const isAsync of [false, true]) {
      const { environ, startResponse } = server();
      const chunks = isAsync
        ? (async function* () { yield bytes('a'); })()
        : (function* () { yield bytes('a'); })();
      const returned = (await validator(answering(() => chunks))(environ, startResponse)) as ResponseBody;
      const iterator = (isAsync
        ? (returned as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]()
        : (returned as Iterable<Uint8Array>)[Symbol.iterator]()) as AsyncGenerator<Uint8Array>;
      await iterator.next();
      await iterator.return(undefined);
      assert.deepEqual(await iterator.return('again' as never), { done: true, value: 'again' });
      assert.deepEqual(await iterator.next(), { done: true, value: undefined });
      await returned.close?.();
    }
  });

  test('reports a chunk that is none even if the application then fails to stop', async () => {
    for (const stop of [() => { throw new Error('stop'); }, () => Promise.reject(new Error('stop'))]) {
      const chunks = { next: () => ({ done: false, value: 'text' }), return: stop };
      const told = await reported(answering(() => ({ [Symbol.iterator]: () => chunks }) as never));
      assert.match(told, /yielded "text"/);
    }
  });

  test('lets lines of the body be left in the middle', async () => {
    const { fetch } = testClient(using(async ({ 'wsgi.input': input }) => {
      for await (const line of input) return text(line);
      return '';
    }));
    assert.equal(await (await fetch('/', { method: 'POST', body: 'one\ntwo\n' })).text(), '"one\\n"');
  });

  test('takes an object of another realm for plain, and one made without a prototype', async () => {
    for (const foreign of [runInNewContext('({})') as object, Object.create(null) as object]) {
      const { environ, startResponse } = server();
      const returned = await validator(answering(() => [bytes('a')]))(Object.assign(foreign, environ), startResponse);
      for (const chunk of returned as Iterable<Uint8Array>) assert.equal(text(chunk), 'a');
      await returned.close?.();
    }
  });
});

describe('fromFetch', () => {
  test('asks for a URL also where the Host and the name are none', async () => {
    const environ: Partial<WSGIEnvironment> = { SERVER_NAME: '[', HTTP_HOST: '[', PATH_INFO: '/path' };
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

describe('cookies of a test client', () => {
  test('pass over what is no cookie', async () => {
    const client = testClient((environ, startResponse) => {
      startResponse('200 OK', [plain, ['Set-Cookie', 'nonsense'], ['Set-Cookie', 'a=b']]);
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

describe('a client that closes its side of the connection', () => {
  test('has left: an application that waits learns of it, and nothing more is sent', async () => {
    const [called, closed] = [deferred(), deferred()];
    async function* waiting(): AsyncGenerator<Uint8Array> {
      called.resolve();
      await closed.promise;
      yield bytes('too late');
    }
    const app = answering(() => Object.assign(waiting(), { close: () => closed.resolve() }));
    await withServer(app, async ({ port, errors }) => {
      const client = await RawClient.connect(port);
      client.send('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
      await called.promise;
      client.socket.end();
      assert.equal(await client.rest(), '');
      await closed.promise;
      assert.equal(errors.getValue(), '');
    });
  });

  test('is answered what was ready when it did', async () => {
    await withServer(answering(() => [bytes('ready')]), async ({ port }) => {
      const client = await RawClient.connect(port);
      client.socket.end('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
      assert.match(await client.rest(), /\r\n\r\nready$/);
    });
  });
});

describe('a web stream that waits for its next chunk', () => {
  const layers: Array<[title: string, wrap: (app: WSGIApplication) => WSGIApplication]> = [
    ['alone', (app) => app],
    ['in the validator', (app) => validator(app)],
    ['in the error page', (app) => errorPage(app)],
    ['in the trace', (app) => trace(app, { write: () => {} })],
  ];
  for (const [title, wrap] of layers) {
    test(`is cancelled when the client leaves, ${title}`, async () => {
      const cancelled = deferred();
      const stream = (): ReadableStream<Uint8Array> =>
        new ReadableStream({
          start: (controller) => controller.enqueue(bytes('first')),
          pull: () => new Promise(() => {}),
          cancel: () => cancelled.resolve(),
        });
      await withServer(wrap(answering(stream)), async ({ port, errors }) => {
        const client = await RawClient.connect(port);
        await client.send('GET / HTTP/1.1\r\nHost: test\r\n\r\n').until((heard) => heard.includes('first'));
        client.socket.destroy();
        await cancelled.promise;
        assert.equal(errors.getValue(), '');
      });
    });
  }
});
