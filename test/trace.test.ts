// The trace: what is drawn, and that nothing else changes.

import assert from 'node:assert/strict';
import { open, readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import {
  BytesIO, FileWrapper, type ResponseBody, StringIO, type WSGIApplication, type WSGIEnvironment,
  testClient, trace,
} from '../lib/index.ts';
import { bodyOf, using } from './support/applications.ts';
import { bytes, text } from './support/bytes.ts';
import { exchange, withServer, withoutDate } from './support/wire.ts';

const get = (path = '/', method = 'GET'): string =>
  `${method} ${path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n`;

/** The lines that are printed while one request is served, without numbers and times. */
async function traced(
  app: WSGIApplication, request: string, colour = false,
): Promise<{ lines: string[]; answer: string; errors: string }> {
  let printed = '';
  let answer = '';
  let reported = '';
  await withServer(
    trace(app, { write: (line) => (printed += line), colour }),
    async ({ port, errors }) => {
      answer = withoutDate(await exchange(port, request));
      reported = errors.getValue();
    },
  );
  const lines = printed.split('\n').slice(0, -1);
  if (!colour) for (const line of lines) assert.match(line, /^#\d+ +(\d+\.\d ms)? {2}\S/);
  return { lines: lines.map((line) => line.slice(15)), answer, errors: reported };
}

const answering = (body: () => ResponseBody): WSGIApplication =>
  (_environ, start) => (start('200 OK', [['X', 'y']]), body());

/** The drawn lines as `> what the server says`, `< what the application says` and notes. */
function said(lines: string[]): string[] {
  return lines.map((line) =>
    line.replace(/^├─ (.*) ─+▶│$/, '> $1')
      .replace(/^│◀─+ (.*) ─┤$/, '< $1')
      .replace(/^│ +(.*?)(?: +│)?$/, '  $1'));
}

describe('trace draws', () => {
  test('a function and an array', async () => {
    const { lines, answer } = await traced(answering(() => [bytes('hello\n')]), get('/a?b'));
    assert.deepEqual(lines, [
      'GET /a?b HTTP/1.1',
      'server                                               application',
      "│    PATH_INFO = '/a'                                          │",
      "│    QUERY_STRING = 'b'                                        │",
      "│    HTTP_HOST = 'test'                                        │",
      "│    HTTP_CONNECTION = 'close'                                 │",
      '├─ app(environ, startResponse) ───────────────────────────────▶│',
      "│◀────────────────────────── startResponse('200 OK', headers) ─┤",
      '│                                                      X: y    │',
      '│◀───────────────────────────────────────── returns [1 chunk] ─┤',
      '├─ next chunk? ───────────────────────────────────────────────▶│',
      '│◀───────────────────────────────────────── 6 bytes "hello\\n" ─┤',
    ]);
    assert.equal(
      answer, 'HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n',
    );
  });

  test('a generator that is closed, a read, a write and a report', async () => {
    const app: WSGIApplication = async (environ, start) => {
      const write = start('200 OK', [['X', 'y']]);
      environ['wsgi.errors'].write('report\n');
      await write(await environ['wsgi.input'].read(2));
      return Object.assign(
        (async function* () { yield bytes('x'.repeat(100)); yield bytes(''); })(), { close() {} },
      );
    };
    const request =
      'POST /a?b HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody';
    const { lines, errors } = await traced(app, request);
    const drawn = said(lines);
    assert.deepEqual(drawn.slice(drawn.indexOf('> app(environ, startResponse)') + 1), [
      "< startResponse('200 OK', headers)",
      '  X: y',
      '< wsgi.errors.write("report\\n")',
      '< wsgi.input.read(2)',
      '< returns a promise',
      '> 2 bytes "bo"',
      '< write(2 bytes "bo")',
      '< the promise gives an async generator',
      '> next chunk?',
      `< 100 bytes "${'x'.repeat(32)}…"`,
      '> next chunk?',
      '< an empty chunk',
      '> next chunk?',
      '< no more',
      '> close()',
    ]);
    assert.equal(errors, 'report\n');
  });

  test('lines of the input, to their end', async () => {
    const app: WSGIApplication = async (environ, start) => {
      start('200 OK', []);
      const lines = [];
      for await (const line of environ['wsgi.input']) lines.push(line);
      return lines;
    };
    const { lines, answer } = await traced(
      app, 'POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 3\r\n\r\na\nb',
    );
    assert.deepEqual(said(lines).filter((line) => /line of|^> [^an]|nothing/.test(line)), [
      '< next line of wsgi.input?', '> 2 bytes "a\\n"',
      '< next line of wsgi.input?', '> 1 byte "b"',
      '< next line of wsgi.input?', '> nothing: it has ended',
    ]);
    assert.ok(answer.endsWith('\r\n\r\n2\r\na\n\r\n1\r\nb\r\n0\r\n\r\n'));
  });

  test('an early stop', async () => {
    const { lines } =
      await traced(answering(function* () { while (true) yield bytes('x'); }), get('/', 'HEAD'));
    assert.deepEqual(said(lines).slice(-2), ['< 1 byte "x"', '> return(): stop early']);
  });

  test('a file, which the server still knows', async () => {
    const self = fileURLToPath(import.meta.url);
    const app: WSGIApplication = async (environ, start) =>
      (start('200 OK', []), environ['wsgi.file_wrapper']?.(await open(self)) ?? []);
    const { lines, answer } = await traced(app, 'GET / HTTP/1.0\r\n\r\n');
    assert.deepEqual(said(lines).slice(-3), [
      '< wsgi.file_wrapper(file)', '< the promise gives a file, for the server to send',
      '> close()',
    ]);
    assert.ok(answer.endsWith(await readFile(self, 'latin1')));
  });

  test('a failure, which passes', async () => {
    const { lines, answer, errors } =
      await traced(() => { throw new TypeError('on\nthe way'); }, get());
    assert.equal(said(lines).at(-1), '< throws TypeError: on\\nthe way');
    assert.match(answer, /^HTTP\/1\.1 500 /);
    assert.match(errors, /^TypeError: on\nthe way\n/);
  });

  test('what the server refuses', async () => {
    const { lines } = await traced((_, start) => (start('bad' as '200 OK', []), []), get());
    const drawn = said(lines).slice(-2);
    assert.match(drawn[0] ?? '', /^> throws RangeError: the status "bad"/);
    assert.match(drawn[1] ?? '', /^< throws RangeError: the status "bad"/);
  });

  test('no secret, and nothing that a terminal acts on', async () => {
    const { lines } = await traced(
      answering(() => [bytes('\x1b[2J\x07')]),
      'GET /%1b HTTP/1.1\r\nHost: x\r\nCookie: session=1\r\nAuthorization: Basic x\r\nConnection: close\r\n\r\n',
    );
    assert.doesNotMatch(lines.join('\n'), /[\x00-\x09\x0b-\x1f]|session|Basic/);
  });

  test('in colour, if it is asked to', async () => {
    const { lines } = await traced(answering(() => []), get(), true);
    assert.match(lines.join('\n'), /├─ \x1b\[36mapp\(environ, startResponse\)\x1b\[39m ─+▶│/);
  });
});

test('trace gives each request a number of its own', async () => {
  let printed = '';
  await withServer(
    trace(answering(() => [bytes('x')]), { write: (line) => (printed += line), colour: false }),
    async ({ port }) => {
      await Promise.all([exchange(port, get('/1')), exchange(port, get('/2'))]);
    },
  );
  const numbers = new Set([...printed.matchAll(/^#(\d+)/gm)].map((match) => match[1]));
  assert.equal(numbers.size, 2);
});

describe('trace leaves as it was', () => {
  const call = (app: WSGIApplication): unknown =>
    trace(app, { write() {} })({} as WSGIEnvironment, () => () => {});

  test('the kind of a body, and all that a server may ask of it', () => {
    const chunks = [bytes('a'), bytes('b')];
    const array = call(() => chunks) as Uint8Array[];
    assert.ok(Array.isArray(array) && array.length === 2);
    assert.deepEqual([...array], chunks);
    assert.equal((call(() => new Set(chunks)) as Set<Uint8Array>).size, 2);

    const stream = Readable.from(chunks);
    const traced = call(() => stream) as Readable;
    assert.ok(traced instanceof Readable);
    traced.destroy();
    assert.equal(stream.destroyed, true);
  });

  test('a file, which a server may know only by sight', () => {
    const file = new FileWrapper({ read: () => bytes('') });
    assert.equal(call(() => file), file);
    const own = { *[Symbol.iterator]() { yield bytes('x'); } };
    const environ = { 'wsgi.file_wrapper': () => own } as unknown as WSGIEnvironment;
    const app: WSGIApplication = (given) =>
      given['wsgi.file_wrapper']?.({ read: () => bytes('') }) ?? [];
    assert.equal(trace(app, { write() {} })(environ, () => () => {}), own);
  });

  test('a value that is not a body, for the server to name', () => {
    for (const wrong of ['text', undefined, null, 5, bytes('bare'), {}]) {
      assert.equal(call(() => wrong as unknown as ResponseBody), wrong);
    }
  });

  test('a body that cannot be changed', () => {
    const closed: string[] = [];
    const body = Object.freeze({
      *[Symbol.iterator]() { yield bytes('x'); }, close: () => void closed.push('close'),
    });
    const traced = call(() => body) as typeof body;
    assert.deepEqual([...traced], [bytes('x')]);
    traced.close();
    assert.deepEqual(closed, ['close']);
  });

  const chunks = (): object => ({ *[Symbol.iterator]() { yield bytes('x'); } });
  const bodies: Array<[title: string, make: (environ: WSGIEnvironment) => unknown]> = [
    ['a body without close()', chunks],
    ['a body whose close is null', () => ({ ...chunks(), close: null })],
    ['a body that cannot be changed', () => Object.freeze(chunks())],
    ['a file', (environ) => environ['wsgi.file_wrapper']?.({ read: () => bytes('') })],
    ['a file that cannot be changed', (environ) => {
      return Object.freeze(environ['wsgi.file_wrapper']?.({ read: () => bytes('') }));
    }],
    ['a string', () => 'text'],
    ['nothing', () => undefined],
    ['bytes', () => bytes('bare')],
    ['an object that is not a body', () => ({})],
    ['an object that cannot be read', () => new Proxy({}, { has: () => { throw new Error(); } })],
  ];
  for (const [title, make] of bodies) {
    test(`environ, when the response is over: ${title}`, async () => {
      const environ = {
        'wsgi.input': new BytesIO(), 'wsgi.errors': new StringIO(),
        'wsgi.file_wrapper': () => chunks(),
      } as unknown as WSGIEnvironment;
      const before = { ...environ };
      const app = trace((given) => {
        assert.notEqual(given['wsgi.input'], before['wsgi.input']);
        return make(given) as ResponseBody;
      }, { write() {} });
      const body: unknown = await new Promise((resolve) => resolve(app(environ, () => () => {})))
        .catch(() => undefined);
      await Object(body).close?.();
      assert.ok(Object.entries(before).every(([key, value]) => Reflect.get(environ, key) === value));
    });
  }

  test('when things happen, and the way they fail', async () => {
    const error = new Error('mine');
    assert.throws(() => call(() => { throw error; }), (caught) => caught === error);
    await assert.rejects(
      call(async () => { throw error; }) as Promise<unknown>, (caught) => caught === error,
    );
    const seen: string[] = [];
    const body = call(() => (
      function* () { seen.push('first'); yield bytes('1'); seen.push('second'); throw error; }
    )()) as Iterable<Uint8Array>;
    const iterator = body[Symbol.iterator]();
    assert.deepEqual(seen, []);
    assert.deepEqual(iterator.next(), { done: false, value: bytes('1') });
    assert.deepEqual(seen, ['first']);
    assert.throws(() => iterator.next(), (caught) => caught === error);
  });
});

describe('trace', () => {
  async function traced(
    app: WSGIApplication, body = '',
  ): Promise<{ drawn: string; answer: string; errors: string }> {
    let drawn = '';
    const client = testClient(trace(app, { write: (line) => (drawn += line), colour: false }), {
      validate: false,
    });
    const response = await client.fetch('/', { method: 'POST', body });
    return { drawn, answer: await response.text(), errors: client.errors };
  }

  test('refuses a value that is not an application, at once', () => {
    assert.throws(() => trace('no' as never), { name: 'TypeError', code: 'app-callable' });
  });

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
    assert.match(
      drawn,
      /wsgi\.input\.readline\(2\)[^]*2 bytes "on"[^]*next line of wsgi\.input\?[^]*2 bytes "e\\n"/,
    );
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

  test(
    'draws an asynchronous body that is stopped early, and an error as third argument',
    async () => {
      const app: WSGIApplication = async function* (_environ, startResponse) {
        startResponse('200 OK', [['Content-Type', 'text/plain']]);
        startResponse(
          '503 Busy',
          [['Content-Length', '3'], 'odd' as never].slice(0, 1) as never,
          new Error('x'),
        );
        yield bytes('abc');
        yield bytes('never asked for');
      };
      const { drawn, answer } = await traced(app);
      assert.equal(answer, 'abc');
      assert.match(drawn, /startResponse\('503 Busy', headers, error\)[^]*return\(\): stop early/);
    },
  );

  test('draws headers and chunks that are not valid, which the server reports', async () => {
    const odd: WSGIApplication = (_environ, startResponse) => {
      startResponse('200 OK', ['odd'] as never);
      return [];
    };
    await assert.rejects(traced(odd), /header/);
    await assert.rejects(traced(bodyOf(() => ['text'] as never)), /text/);
  });
});
