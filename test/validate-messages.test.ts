// The messages of the validator, their receivers, and the options that change them.

import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { runInNewContext, runInThisContext } from 'node:vm';

import { errorPage } from '../lib/error-page.ts';
import { fromFetch } from '../lib/fetch.ts';
import { BytesIO } from '../lib/io.ts';
import { trace } from '../lib/trace.ts';
import type { WSGIApplication } from '../lib/types.ts';
import { testClient } from '../lib/testing.ts';
import { type ValidatorOptions, WSGIError, rules, validator } from '../lib/validate.ts';
import {
  type Exchange,
  type Loose,
  Server,
  answer,
  app,
  bytes,
  makeEnviron,
  play,
} from './support/validate-exchange.ts';

function thrown(application: WSGIApplication, options?: ValidatorOptions): Loose {
  try {
    validator(application, options)(makeEnviron() as Loose, new Server().startResponse);
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('a message', () => {
  it('says who did what, the rule and its place, the remedy, and where the call is', () => {
    const error = thrown(
      app(function hello(_environ, start) {
        start('200OK', []);
      }),
    );
    const [deed, rule, hint, place, ...rest] = error.message.split('\n');
    assert.equal(deed, 'The application hello passed the status "200OK".');
    assert.equal(
      rule,
      'status-space: One space separates the three digits and the reason. ' +
        '(PEP 3333, "The start_response() Callable")',
    );
    assert.equal(hint, "Write it like '200 OK'.");
    assert.match(place, /^The call is at file:.*validate-messages\.test\.[jt]s:\d+:\d+$/);
    assert.deepEqual(rest, []);
  });

  it('points at the line of the call, even if that is in a function of its own', () => {
    let here = '';
    const respond = (start: Loose): void => {
      const mark = (): string => (here = new Error().stack?.split('\n')[2] ?? '');
      start(mark().length, []);
    };
    const error = thrown(app((_environ, start) => respond(start)));
    const line = /test\.[jt]s:\d+:/.exec(here)?.[0] ?? 'none';
    assert.ok(error.message.includes(line), `${error.message}\n${here}`);
  });

  const places: Array<[code: string, filename: string, place: string]> = [
    ["(_environ, start) => { start('200OK', []); }", '/my (app)/main.js', '/my (app)/main.js:1:25'],
    [
      "function named(_environ, start) { start('200OK', []); }", '/my (app)/main.js',
      '/my (app)/main.js:1:36',
    ],
    ["eval(`(_environ, start) => { start('200OK', []); }`)", '/evil.js', '/evil.js:1:2'],
  ];
  for (const [code, filename, place] of places) {
    it(`points at ${place}`, () => {
      const error = thrown(app(runInThisContext(`(${code})`, { filename }) as () => unknown));
      assert.equal(error.message.split('\n').at(-1), `The call is at ${place}`);
    });
  }

  it('needs no stack that is a text', () => {
    const { prepareStackTrace } = Error;
    Error.prepareStackTrace = (_error, sites) => sites;
    try {
      assert.equal(thrown(app((_environ, start) => start('200OK', []))).code, 'status-space');
    } finally {
      Error.prepareStackTrace = prepareStackTrace;
    }
  });

  it('shortens a long value and escapes what cannot be printed', () => {
    const error = thrown(answer('200 OK', [['X', `\u001b[31m\n${'x'.repeat(1000)}`]]));
    assert.match(error.message, /value "\\u001b\[31m\\nx+…"/);
    assert.ok(error.message.length < 500);
  });

  it('is carried by an error that a program can read, too', () => {
    const error = thrown(answer('200'));
    assert.ok(error instanceof WSGIError && error instanceof Error);
    assert.equal(error.name, 'WSGIError');
    assert.equal(error.code, 'status-space');
    assert.equal(error.party, 'application');
    assert.equal(error.reference, 'PEP 3333, "The start_response() Callable"');
    assert.equal(error.hint, "Write it like '200 OK'.");
  });

  it('names the application and its line through trace and error page', async () => {
    const hello = app(function hello(_environ, start) {
      start('200 OK', []);
      return [bytes('Hello')];
    });
    const [report] = await play({ app: errorPage(trace(hello, { write: () => {} })) });
    assert.match(report?.message ?? '', /^The application hello sent content without a Content-/);
    assert.match(report?.message ?? '', /\nstartResponse was called at \S*validate-messages\./);
  });

  it('names the server, or the middleware in its place', async () => {
    const [fromServer] = await play({ environ: { SERVER_PORT: 80 } });
    assert.equal(fromServer?.party, 'server');
    assert.match(fromServer?.message ?? '', /^The server set SERVER_PORT to the number 80\./);

    const [fromMiddleware] = await play({
      middleware: (inner) =>
        function porter(environ: Loose, start: Loose) {
          return inner({ ...environ, SERVER_PORT: 80 }, start);
        },
    });
    assert.equal(fromMiddleware?.party, 'middleware');
    assert.match(fromMiddleware?.message ?? '', /^The middleware porter set SERVER_PORT/);
  });

  it('blames middleware for what it makes of a good body', async () => {
    const [report] = await play({
      middleware: (inner) =>
        function stringify(environ: Loose, start: Loose) {
          const body = inner(environ, start);
          return {
            *[Symbol.iterator]() {
              for (const chunk of body) yield String(chunk);
            },
            close: () => body.close(),
          };
        },
    });
    assert.equal(report?.code, 'chunk-bytes');
    assert.match(report?.message ?? '', /^The middleware stringify yielded "72,101/);
  });
});

const line = (offset: number): string => {
  const number = Number(/:(\d+):\d+\)?$/.exec(new Error().stack?.split('\n')[2] ?? '')?.[1]);
  return `validate-messages.test.${import.meta.url.slice(-2)}:${number + offset}:`;
};

describe('the place of a report', () => {
  const TYPE = ['Content-Type', 'text/plain'];
  const messageOf = async (application: WSGIApplication): Promise<Loose> => {
    return testClient(application)
      .fetch('/')
      .then((response) => response.text())
      .catch((error) => error);
  };

  it('is the call of startResponse for what is found later', async () => {
    let place = '';
    for (const body of ['text', undefined, ['text'], [bytes('too long')], [], 5, [1]]) {
      const error = await messageOf(app((_environ, start) => {
        place = line(1);
        start('200 OK', [TYPE, ['Content-Length', '3']]);
        return body;
      }));
      assert.match(error.message, /\nstartResponse was called at .*:\d+:\d+$/);
      assert.ok(error.message.includes(place), `${error.message}\n${place}`);
      assert.ok(error.stack.split('\n')[4]?.includes(place), error.stack);
    }
  });

  it('is named also in a warning, and for an application that waited', async () => {
    const warnings: Loose[] = [];
    let place = '';
    const untyped = app(async function* (_environ, start) {
      await null;
      place = line(1);
      start('200 OK', []);
      yield bytes('a');
    });
    const { fetch } = testClient(
      validator(untyped, { onWarning: (warning) => warnings.push(warning) }), { validate: false },
    );
    await (await fetch('/')).text();
    assert.equal(warnings[0]?.code, 'content-type-required');
    assert.ok(warnings[0]?.message.includes(place), warnings[0]?.message);
  });

  it('is the first call on the stack, without those of this package and of Node', async () => {
    const mistakes: Loose[] = [
      (_environ: Loose, start: Loose) => start('200OK', []),
      async (environ: Loose) => environ['wsgi.input'].read('5'),
      async (environ: Loose) => void environ['wsgi.errors'].write(5),
      function* (_environ: Loose, start: Loose): Generator<unknown> {
        start('200 OK', [TYPE]);
        yield 'text';
      },
      async function* (_environ: Loose, start: Loose): AsyncGenerator<unknown> {
        await null;
        start('200 OK', 5);
      },
    ];
    for (const mistake of mistakes) {
      const { stack, message } = await messageOf(app(mistake));
      assert.ok(stack.startsWith(`WSGIError: ${message}\n    at `), stack);
      const calls = stack.slice(`WSGIError: ${message}\n`.length).split('\n');
      assert.match(calls[0], /validate-messages\.test\.[jt]s:\d+:\d+\)?$/);
      for (const call of calls) assert.doesNotMatch(call, /node:|[\\/]lib[\\/]/);
    }
  });

  it('is that of the server, if that is an author\'s', () => {
    const error = thrown(answer());
    assert.equal(error, undefined);
    const place = line(1);
    const call = (): unknown =>
      validator(answer())(
        { ...(makeEnviron() as Loose), SERVER_PORT: 80 }, new Server().startResponse,
      );
    assert.throws(call, (report: Loose) =>
      report.message.includes(`The call is at`) && report.message.includes(place));
  });
});

describe('the place of a report about another party', () => {
  const TYPE = ['Content-Type', 'text/plain'];

  it('is the call of startResponse, even if middleware passes that on as it is', async () => {
    for (const layers of [1, 2]) {
      const [report] = await play({
        app: answer('200 OK', [TYPE]),
        middleware: (inner) => {
          const around = layers === 1 ? inner : validator(inner);
          return function* text(environ: Loose, start: Loose) {
            const made = around(environ, start);
            for (const chunk of made) yield String(chunk);
          };
        },
      });
      assert.equal(report?.code, 'chunk-bytes');
      assert.match(
        report?.message ?? '', /\nstartResponse was called at \S*validate-exchange\.[jt]s:/,
      );
    }
  });

  const silent: Array<[id: string, application: WSGIApplication]> = [
    ['location-on-3xx', fromFetch(() => new Response(null, { status: 302 }))],
    ['location-on-3xx', fromFetch(async () => new Response(null, { status: 302 }))],
    [
      'body-too-short',
      fromFetch(() => new Response('a', {
        headers: { 'Content-Type': 'text/plain', 'Content-Length': '3' },
      })),
    ],
    ['body-not-none', app(() => undefined)],
  ];
  for (const [id, application] of silent) {
    for (const isAround of [false, true]) {
      const where = isAround ? 'between two validators' : 'without a validator around it';
      it(`is not that of middleware ${where}, which has only called it: ${id}`, async () => {
        const inner: Loose = validator(application, { severity: { [id]: 'error' } });
        const middleware = app(async function* (environ, start) {
          const made = await inner(environ, start);
          try {
            for await (const chunk of made) yield chunk;
          } finally {
            await made.close();
          }
        });
        const whole = isAround ? validator(middleware) : middleware;
        const server = new Server();
        const served = async (): Promise<void> => {
          await server.finish(await whole(makeEnviron() as Loose, server.startResponse));
        };
        await assert.rejects(served, (report: WSGIError) => {
          assert.equal(report.code, id);
          assert.doesNotMatch(report.message, /:\d+:\d+$/);
          return true;
        });
      });
    }
  }

  it('is the call of next() by async middleware that gathers a body', async () => {
    let place = '';
    const [report] = await play({
      app: answer('200 OK', [TYPE], [bytes('a'), bytes('b')]),
      middleware: (inner) => async (environ: Loose, start: Loose) => {
        await null;
        const made = inner(environ, start);
        place = line(1);
        const all = [...made];
        made.close();
        return all;
      },
    });
    assert.equal(report?.code, 'mw-no-direct-each');
    assert.match(report?.message ?? '', /\nThe call is at .*:\d+:\d+$/);
    assert.ok(report?.message.includes(place), `${report?.message}\n${place}`);
  });

  const shown: Array<[id: string, exchange: Exchange]> = [
    ['sr-returns-write', { serve: (call, environ) => call(environ, () => undefined) }],
    ['sr-is-sync', { serve: (call, environ) => call(environ, async () => () => {}) }],
    [
      'read-returns-bytes',
      { environ: { 'wsgi.input': Object.assign(new BytesIO(), { read: async () => 'text' }) } },
    ],
  ];
  for (const [id, exchange] of shown) {
    it(
      `is that of a call of the application where a mistake of the server shows: ${id}`,
      async () => {
        const [report] = await play({
          app: app(async (environ, start) => {
            start('204 No Content', []);
            await environ['wsgi.input'].read();
            return [];
          }),
          ...exchange,
        });
        assert.equal(report?.code, id);
        assert.match(
          report?.message ?? '', /^The server .*\n.*\n.*\nIt showed in the call at \S+$/,
        );
      },
    );
  }
});

describe('middleware that passes wrong arguments', () => {
  const wrong: Array<[
    what: string, pass: (inner: Loose, environ: Loose, start: Loose) => unknown,
  ]> = [
    ['no startResponse', (inner, environ) => inner(environ)],
    ['no environ', (inner, _environ, start) => inner(undefined, start)],
    ['a Map', (inner, environ, start) => inner(new Map(Object.entries(environ)), start)],
    ['an empty object', (inner, _environ, start) => inner({}, start)],
  ];
  for (const [what, pass] of wrong) {
    it(`is named as the culprit: ${what}`, async () => {
      const [report] = await play({
        middleware: (inner) => function porter(environ: Loose, start: Loose) {
          return pass(inner, environ, start);
        },
      });
      assert.match(report?.message ?? '', /^The middleware porter /);
      assert.equal(report?.party, 'middleware');
    });
  }
});

describe('a hint fits the value', () => {
  const TYPE = ['Content-Type', 'text/plain'];
  const header = (value: unknown): Exchange => ({ app: answer('200 OK', [TYPE, ['X', value]]) });
  const headers = (list: unknown): Exchange => ({ app: answer('200 OK', list) });
  const body = (made: unknown): Exchange => ({ app: answer('200 OK', [TYPE], made) });
  const chunk = (made: unknown): Exchange => body([made]);
  const reading = (size: unknown): Exchange => ({
    app: app((environ) => environ['wsgi.input'].read(size)),
  });
  const withLength = (length: string, chunks: unknown[], ...more: unknown[]): Exchange => ({
    app: answer('200 OK', [TYPE, ['Content-Length', length], ...more], chunks),
  });

  // Middleware does something with the request's body of three bytes before it is read.
  const upload = (change: (environ: Loose) => unknown): Exchange => ({
    app: app(async (environ, start) => {
      await environ['wsgi.input'].read();
      start('204 No Content', []);
      return [];
    }),
    environ: { CONTENT_LENGTH: '3', 'wsgi.input': new BytesIO(bytes('abc')) },
    middleware: (inner) => async (environ: Loose, start: Loose) => {
      await change(environ);
      return inner(environ, start);
    },
  });

  let kept: Loose;
  const hints: Array<[what: string, exchange: Exchange, hint: RegExp]> = [
    ['a repeated header', header(['a', 'b']), /^Repeat the header: \['X', 'a'\], \['X', 'b'\]\.$/],
    ['an undefined value', header(undefined), /^Leave the header out/],
    ['a date', header(new Date()), /toUTCString/],
    ['a number', header(5), /^Use String\(value\)\.$/],
    [
      'headers as an object', headers({ 'Content-Type': 'text/plain' }),
      /Object\.entries\(headers\)/,
    ],
    ['headers as a promise', headers(Promise.resolve([])), /^Await/],
    ['headers as a Map', headers(new Map()), /\[\.\.\.headers\]/],
    ['no headers', headers(null), /\[\]\.$/],
    ['one flat header', headers(['Content-Type', 'text/plain']), /array of its own/],
    ['a header in one string', headers(['X: y']), /\['X', 'y'\]/],
    [
      'write() as a body', { app: app((_environ, start) => start('200 OK', [TYPE])) },
      /return the body: \[bytes\]/,
    ],
    ['read(NaN)', reading(NaN), /CONTENT_LENGTH may be missing/],
    ['read(Infinity)', reading(Infinity), /without a size/],
    ['read("5")', reading('5'), /parseInt/],
    ['read(1.5)', reading(1.5), /floor/],
    [
      'an undefined variable',
      { environ: { HTTP_X: undefined }, environFrom: (e) => ({ ...e, HTTP_X: undefined }) },
      /delete environ\.HTTP_X/,
    ],
    [
      'an undefined variable that must be there',
      { environFrom: (e) => ({ ...e, SERVER_PORT: undefined }) }, /^Set it to the port/,
    ],
    [
      'a repeated request header', { environFrom: (e) => ({ ...e, HTTP_COOKIE: ['a', 'b'] }) },
      /join\('; '\)/,
    ],
    ['an addition without a dot', {
      app: app((environ, start) => { environ.session = {}; start('200 OK', [TYPE]); return []; }),
    }, /environ\['myapp\.session'\]/],
    ['a chunk of numbers', chunk([1, 2]), /Uint8Array\.from/],
    ['a chunk of chunks', chunk([bytes('a')]), /yield\*/],
    ['an object', chunk({ a: 1 }), /JSON\.stringify/],
    ['a stream', chunk(new Response('a').body), /^Return it as the body/],
    ['a generator', chunk((async function* () {})()), /yield\* stream/],
    ['an error', chunk(new TypeError('no')), /error\.message/],
    ['parameters', chunk(new URLSearchParams('a=1')), /String\(value\)/],
    ['a form', chunk(new FormData()), /new Response\(form\)/],
    ['a function', chunk(() => {}), /^Call it/],
    ["another realm's buffer", chunk(runInNewContext('new ArrayBuffer(1)')), /^Wrap it/],
    ['a URL', header(new URL('http://x/')), /url\.href/],
    ['headers as an iterator', headers(new Headers({ a: 'b' }).entries()), /\[\.\.\.headers\]/],
    ['a Blob', chunk(new Blob(['a'])), /blob\.arrayBuffer/],
    ['a SharedArrayBuffer', chunk(new SharedArrayBuffer(1)), /\.slice\(\)/],
    ['map(async …)', body([1, 2].map(async () => bytes('a'))), /Promise\.all/],
    ['a Blob as a body', body(new Blob(['a'])), /blob\.stream\(\)/],
    ['a { fetch }', { app: { fetch() {} } as Loose }, /fromFetch/],
    ['a buffered upload', {
      environ: {
        CONTENT_LENGTH: '1', HTTP_TRANSFER_ENCODING: 'chunked',
        'wsgi.input': new BytesIO(bytes('a')),
      },
    }, /delete environ\.HTTP_TRANSFER_ENCODING/],
    ['an upload that was read before', upload((environ) => environ['wsgi.input'].read()),
      /^Put back what you have read: environ\['wsgi\.input'\] = /],
    ['an upload that became longer', upload((environ) => {
      environ['wsgi.input'] = new BytesIO(bytes('longer'));
    }), /^Set CONTENT_LENGTH to the length of the new input/],
    ['an upload that became shorter', upload((environ) => {
      environ['wsgi.input'] = new BytesIO(bytes('a'));
    }), /^Set CONTENT_LENGTH to the length of the new input/],
    ['a startResponse of an earlier request', {
      app: app((environ, start) => {
        kept ??= start;
        kept('204 No Content', []);
        return Object.assign([], { environ });
      }),
      serve: async (call, environ, start, server) => {
        const copy = { ...environ };
        await server.finish(await call(environ, start));
        await server.finish(await call(copy, start));
      },
    }, /^Use the startResponse of this very request/],
    ['a class', { app: class {} as Loose }, /function that makes an instance/],
    ['a body of nothing', withLength('5', []), /^Nothing came/],
    [
      'a compressed body', withLength('5', [bytes('a')], ['Content-Encoding', 'gzip']),
      /after compression/,
    ],
    ['a mistake in close()', {
      app: answer('200 OK', [TYPE], Object.assign([], { close: () => (undefined as Loose).x })),
      serve: async (call, environ, start) => {
        try { call(environ, start).close(); } catch { /* As it should. */ }
      },
    }, /^Fix the error/],
  ];
  for (const [what, exchange, hint] of hints) {
    it(`for ${what}`, async () => {
      const [report, ...more] = await play(exchange);
      assert.match(report?.hint ?? '', hint);
      assert.deepEqual(more.map(String), []);
    });
  }

  it('and no message counts "1 arguments"', async () => {
    const all = await Promise.all([
      play({ app: app((_environ, start) => start('200 OK')) }),
      play({ serve: (call, environ) => call(environ) }),
      play(body([[1]])),
    ]);
    for (const report of all.flat()) assert.doesNotMatch(report.message, /\b1 \w+s\b/);
  });
});

describe('a warning', () => {
  it('is given once for each place, and then counted', async () => {
    const told: WSGIError[] = [];
    const warned = validator(tabbed, { onWarning: (warning) => told.push(warning) });
    for (let request = 1; request <= 120; request += 1) call(warned);
    assert.deepEqual(told.map(({ count }) => count), [1, 10, 100]);
    assert.match(
      told[1]?.message ?? '', /: header-value-c0, 10 times so far\.\nThe call is at \S+$/,
    );
  });

  const tabbed = answer('200 OK', [
    ['Content-Type', 'text/plain'],
    ['X', 'a\tb'],
  ]);
  // A process prints each warning once, so that each test of what is printed needs its own.
  const spaced = answer('200 OK', [['Content-Type', 'text/plain'], ['X', 'a ']]);
  const unquoted = answer('200 OK', [['Content-Type', 'text/plain'], ['ETag', 'a']]);
  const call = (application: WSGIApplication): unknown =>
    application(makeEnviron() as Loose, new Server().startResponse);

  it('goes to process.emitWarning with the rule as its code', () => {
    const emitWarning = mock.method(process, 'emitWarning', () => {});
    call(validator(tabbed));
    const [message, options] = emitWarning.mock.calls[0]?.arguments as Loose[];
    emitWarning.mock.restore();
    assert.match(message, /^The application passed the header "X" with the value "a\\tb"/);
    assert.deepEqual(options, { type: 'WSGIWarning', code: 'header-value-c0' });
  });

  it('is printed once for each place, also by a validator for each test', () => {
    const emitWarning = mock.method(process, 'emitWarning', () => {});
    for (let test = 1; test <= 9; test += 1) call(validator(unquoted));
    emitWarning.mock.restore();
    assert.equal(emitWarning.mock.callCount(), 1);
  });

  it('goes to onWarning instead, if there is one', () => {
    const emitWarning = mock.method(process, 'emitWarning', () => {});
    const codes: string[] = [];
    call(validator(tabbed, { onWarning: ({ code }) => codes.push(code) }));
    emitWarning.mock.restore();
    assert.deepEqual(codes, ['header-value-c0']);
    assert.equal(emitWarning.mock.callCount(), 0);
  });

  it('goes to the console where there is no process', () => {
    const warn = mock.method(console, 'warn', () => {});
    const { process } = globalThis;
    Reflect.set(globalThis, 'process', undefined);
    try {
      call(validator(spaced));
    } finally {
      Reflect.set(globalThis, 'process', process);
      warn.mock.restore();
    }
    assert.match(String(warn.mock.calls[0]?.arguments[0]), /^WSGIWarning: The application passed/);
  });

  it('can be made to throw by onWarning', () => {
    const fail = new Error('no warnings here');
    const strictly = validator(tabbed, {
      onWarning: () => {
        throw fail;
      },
    });
    assert.throws(() => call(strictly), fail);
  });

  it('is given once, also through three validators', async () => {
    const mistakes: Array<[subject: string, mistake: Exchange]> = [
      ['The application', { app: tabbed }],
      ['The server', { environ: { userId: '7' } }],
    ];
    for (const [subject, mistake] of mistakes) {
      const told: string[] = [];
      const onWarning = ({ message }: WSGIError): number => told.push(message);
      const middleware = (inner: Loose): unknown =>
        validator((environ, start) => inner(environ, start), { onWarning });
      await play({ ...mistake, middleware, options: { onWarning } });
      assert.equal(told.length, 1, told.join('\n\n'));
      assert.ok(told[0]?.startsWith(subject), told[0]);
    }
  });
});

describe('options', () => {
  it('turn an error into a warning, a warning into an error, and either off', async () => {
    const bad = answer('200OK', [
      ['Content-Type', 'text/plain'],
      ['X', ' x'],
    ]);
    const codes = async (severity: ValidatorOptions['severity']): Promise<string[]> => {
      const told: string[] = [];
      const onWarning = ({ code }: WSGIError): number => told.push(`told ${code}`);
      const reports = await play({ app: bad, options: { severity: severity ?? {}, onWarning } });
      return [...told, ...reports.map(({ code }) => `thrown ${code}`)];
    };
    assert.deepEqual(await codes({ 'status-space': 'warning' }), [
      'told status-space',
      'told header-value-ows',
    ]);
    assert.deepEqual(await codes({ 'status-space': 'off', 'header-value-ows': 'error' }), [
      'thrown header-value-ows',
    ]);
    assert.deepEqual(await codes({ 'status-space': 'off', 'header-value-ows': 'off' }), []);
  });

  it('turn single optional rules on, or all of them', async () => {
    const cookies = answer('200 OK', [
      ['Content-Type', 'text/plain'],
      ['Set-Cookie', 'a=1, b=2'],
    ]);
    const id = 'set-cookie-folded';
    assert.deepEqual((await play({ app: cookies })).length, 0);
    assert.deepEqual((await play({ app: cookies, options: { strict: true } }))[0]?.code, id);
    assert.deepEqual(
      (await play({ app: cookies, options: { severity: { [id]: 'error' } } }))[0]?.code,
      id,
    );
    assert.deepEqual(
      await play({ app: cookies, options: { strict: true, severity: { [id]: 'off' } } }),
      [],
    );
  });

  it('must name rules that there are', () => {
    const message = /severity names "status-spcae", which is not a rule/;
    assert.throws(() => validator(answer(), { severity: { 'status-spcae': 'off' } }), {
      name: 'TypeError',
      message,
    });
    const fatal = { 'status-space': 'fatal' } as Loose;
    assert.throws(() => validator(answer(), { severity: fatal }), {
      name: 'TypeError',
      message: /one of 'error'/,
    });
  });
});

describe('rules', () => {
  it('are listed with what a table needs', () => {
    for (const rule of rules) {
      assert.match(rule.id, /^[a-z0-9]+(-[a-z0-9]+)*$/);
      assert.ok(['application', 'server', 'middleware'].includes(rule.party), rule.id);
      assert.ok(['error', 'warning', 'off'].includes(rule.severity), rule.id);
      assert.match(rule.reference, /^(PEP 3333, "|RFC \d+ §|ECMA-262, "|CVE-|tsgiref\/)/, rule.id);
      assert.match(rule.text, /^\S[^\n]*\.$/, rule.id);
      assert.match(rule.hint, /^\S[^\n]*[.…]$/, rule.id);
    }
    assert.ok(Object.isFrozen(rules));
  });

  it('can all be warnings: the validator gets past any of them', async () => {
    const severity = Object.fromEntries(rules.map(({ id }) => [id, 'warning' as const]));
    const reports = await play({
      app: answer(200, [['X', 'a\n'], 'Y', [1]], [bytes('a'), 'b', 5]),
      environ: { SERVER_PORT: 80, 'wsgi.input': undefined, 'wsgi.version': 1 },
      options: { severity },
      serve: async (call, environ, start) => {
        const body = call(environ, start, 1);
        for (const chunk of body) void chunk;
        body.close();
        body.close();
      },
    });
    assert.deepEqual(
      new Set(reports.map(({ code }) => code)),
      new Set([
        'app-arity',
        'cgi-value-string',
        'wsgi-version-value',
        'has-wsgi-input',
        'status-type',
        'header-value-crlf-nul',
        'header-pair-tuple',
        'header-pair-len',
        'chunk-bytes',
        'close-twice',
        'content-type-required',
      ]),
    );
  });
});
