// Values that the validator passes on unchanged, and its behaviour when a server or an
// application does what nothing asks for.

import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { runInNewContext } from 'node:vm';
import {
  type ErrorStream, type ResponseBody, type WSGIApplication, type WSGIEnvironment,
  setupTestingDefaults, testClient, validator,
} from '../lib/index.ts';
import { bodyOf, using } from './support/applications.ts';
import { bytes, text } from './support/bytes.ts';

describe('validator', () => {
  const server = (): { environ: WSGIEnvironment; startResponse: () => () => void } => {
    const environ: Partial<WSGIEnvironment> = {};
    setupTestingDefaults(environ);
    return { environ, startResponse: () => () => {} };
  };

  test(
    "passes on a server's throw(), and reports close() of an iterator as a mistake",
    async () => {
      const ends: string[] = [];
      async function* body(): AsyncGenerator<Uint8Array> {
        try {
          yield bytes('a');
        } catch (error) {
          ends.push(String(error));
        }
      }
      const { environ, startResponse } = server();
      const returned = (
        await validator(bodyOf(body))(environ, startResponse)
      ) as AsyncIterable<Uint8Array> & { close(): void };
      const chunks =
        returned[Symbol.asyncIterator]() as AsyncGenerator<Uint8Array> & { close?(): void };
      assert.equal(chunks[Symbol.asyncIterator](), chunks);
      await chunks.next();
      await chunks.throw(new Error('stop'));
      assert.deepEqual(ends, ['Error: stop']);
      assert.throws(() => chunks.close?.(), /close\(\) of the iterator/);
      await returned.close();
    },
  );

  test('rethrows the error for an iterator without throw()', async () => {
    const { environ, startResponse } = server();
    const chunks = { next: async () => ({ done: false, value: bytes('a') }) };
    const body = { [Symbol.asyncIterator]: () => chunks } as unknown as ResponseBody;
    const returned = (
      await validator(bodyOf(() => body))(environ, startResponse)
    ) as AsyncIterable<Uint8Array> & { close(): void };
    const iterator = returned[Symbol.asyncIterator]() as AsyncGenerator<Uint8Array>;
    await iterator.next();
    await assert.rejects(iterator.throw(new Error('mine')), /^Error: mine$/);
    await returned.close();
  });

  test('reports close() that throws, and lets the error out', async () => {
    const { environ, startResponse } = server();
    const warnings: string[] = [];
    const app = validator(bodyOf(() => Object.assign([], {
      close() {
        throw new Error('in close');
      },
    })), { onWarning: ({ code }) => warnings.push(code) });
    const returned =
      (await app(environ, startResponse)) as Iterable<Uint8Array> & { close(): void };
    for (const chunk of returned) assert.fail(String(chunk));
    assert.throws(() => returned.close(), /^Error: in close$/);
    assert.deepEqual(warnings, ['close-throws']);
  });

  test('lets a wrapped file be read by its iterator, and not too early', async () => {
    const file = { source: Readable.from([bytes('file')]), [Symbol.asyncIterator]() {
      return this.source[Symbol.asyncIterator]();
    } };
    const client = testClient((environ, startResponse) => {
      startResponse('200 OK', [['Content-Type', 'text/plain']]);
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
      seen = [inner['wsgi.input'], inner['wsgi.errors']].map(
        (stream) => Reflect.get(stream, 'extra') as unknown,
      );
      start('200 OK', [['Content-Type', 'text/plain']]);
      return [];
    }, {
      onWarning: () => {},
      severity: { 'input-no-other-attr': 'warning', 'errors-no-other-attr': 'warning' },
    });
    const returned =
      (await app(environ, startResponse)) as Iterable<Uint8Array> & { close(): void };
    for (const chunk of returned) assert.fail(String(chunk));
    returned.close();
    assert.deepEqual(seen, ['of the input', 'of the errors']);
  });

  test('gives the report of a read as the rejection of its promise', async () => {
    const { environ, startResponse } = server();
    let input = environ['wsgi.input'];
    const body = validator((inner, start) => {
      input = inner['wsgi.input'];
      start('204 No Content', []);
      return [];
    })(environ, startResponse) as Iterable<Uint8Array> & { close(): void };
    body.close();
    for (const late of [input.read(), input.readline(), input.readlines()]) {
      await assert.rejects(late, { code: 'input-after-response' });
    }
  });

  /** What is reported of an application under the test client, warnings included. */
  async function reported(app: WSGIApplication, request: RequestInit = {}): Promise<string> {
    const warnings: string[] = [];
    const validated =
      validator(app, { onWarning: (warning) => warnings.push(String(warning)), strict: true });
    const client = testClient(validated, { validate: false });
    const failure = await client.fetch('/', request).then(
      (response) => response.text().catch((error: unknown) => String(error)),
      (error: unknown) => String(error),
    );
    return [failure, ...warnings].join('\n');
  }

  for (const [what, body, hint] of [
    [
      'a Response', new Response('x'),
      'Return its own body, or [new Uint8Array(await response.arrayBuffer())].',
    ],
    ['an ArrayBuffer', [new ArrayBuffer(1)], 'Wrap it: new Uint8Array(buffer).'],
    ['a function', () => [], 'Call it. If it is middleware, apply it: wrap(app).'],
    [
      'an open file', { createReadStream() {} },
      'Return environ[\'wsgi.file_wrapper\'](handle), or',
    ],
  ] as const) {
    test(`knows what was meant by ${what}`, async () => {
      assert.ok((await reported(bodyOf(() => body as never))).includes(hint));
    });
  }

  for (const [what, headers, rule] of [
    ['two Locations', [['Location', '/a'], ['Location', '/b']], 'header-singleton-dup'],
    ['a Content-Type of a 304', [['Content-Type', 'text/plain']], 'content-type-on-204-304'],
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
      startResponse('200 OK', [
        ['Content-Type', 'text/plain'], ['Date', 'Sun, 06 Nov 1994 08:49:37 GMT'],
      ]);
      return [bytes('fine')];
    });
    assert.equal(told, 'fine');
  });

  test('knows a class that is given as an application', () => {
    assert.throws(() => validator(class App {} as never), /a class, which cannot be called/);
  });

  test('takes a frozen function for no class', () => {
    assert.doesNotThrow(() => validator(Object.freeze(function app() {}) as never));
  });

  test('goes on after a mistake whose rule is off, whatever follows', async () => {
    const off = (...rules: string[]): { severity: Record<string, 'off'> } => ({
      severity: Object.fromEntries(rules.map((rule) => [rule, 'off'])),
    });
    const { startResponse } = server();
    const unseen = validator(bodyOf(() => []), off('environ-plain'));
    assert.deepEqual(await unseen('no environ' as never, startResponse), []);

    const lines = testClient(validator(using(({ 'wsgi.errors': errors }) => {
      (errors.writelines as (...args: unknown[]) => void)(['one\n'], 'more');
    }), off('errors-writelines-str')), { validate: false });
    await lines.fetch('/').catch(() => {});
  });

  test("gives a stopped body's end as often as it is asked for", async () => {
    for (const isAsync of [false, true]) {
      const { environ, startResponse } = server();
      const chunks = isAsync
        ? (async function* () { yield bytes('a'); })()
        : (function* () { yield bytes('a'); })();
      const returned =
        (await validator(bodyOf(() => chunks))(environ, startResponse)) as ResponseBody;
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

  test('reports a chunk that is not bytes even if the application then fails to stop', async () => {
    for (const stop of [
      () => { throw new Error('stop'); }, () => Promise.reject(new Error('stop')),
    ]) {
      const chunks = { next: () => ({ done: false, value: 'text' }), return: stop };
      const told = await reported(bodyOf(() => ({ [Symbol.iterator]: () => chunks }) as never));
      assert.match(told, /yielded "text"/);
    }
  });

  test('lets lines of the body be left in the middle', async () => {
    const { fetch } = testClient(using(async ({ 'wsgi.input': input }) => {
      for await (const line of input) return text(line);
      return '';
    }));
    assert.equal(
      await (await fetch('/', { method: 'POST', body: 'one\ntwo\n' })).text(), '"one\\n"',
    );
  });

  test('takes an object of another realm for plain, and one made without a prototype', async () => {
    for (const foreign of [runInNewContext('({})') as object, Object.create(null) as object]) {
      const { environ, startResponse } = server();
      const returned =
        await validator(bodyOf(() => [bytes('a')]))(Object.assign(foreign, environ), startResponse);
      for (const chunk of returned as Iterable<Uint8Array>) assert.equal(text(chunk), 'a');
      await returned.close?.();
    }
  });
});
