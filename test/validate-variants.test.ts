// Other ways to break the same rules, where a check has more than one side.

import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';

import { BytesIO, StringIO } from '../lib/io.ts';
import { validator } from '../lib/validate.ts';
import {
  type Exchange,
  type Loose,
  type Row,
  answer,
  app,
  bytes,
  play,
} from './support/validate-exchange.ts';

const TYPE = ['Content-Type', 'text/plain'];
const body = (made: unknown): Exchange => ({ app: answer('200 OK', [TYPE], made) });
const set = (key: string, value: unknown): Exchange => ({ environ: { [key]: value } });

// The application uses one of the things it was given, and answers.
const using = (use: (environ: Loose) => unknown, environ = {}): Exchange => ({
  environ,
  app: app(async (given, start) => {
    await use(given);
    start('204 No Content', []);
    return [];
  }),
});

const wrapping = (wrapper: unknown, ...args: unknown[]): Exchange =>
  using((environ) => environ['wsgi.file_wrapper'](...args), { 'wsgi.file_wrapper': wrapper });

const serving = (use: (made: Loose) => unknown): Exchange => ({
  serve: async (call, environ, start) => use(await call(environ, start)),
});

function* letters(): Generator<Uint8Array> {
  yield bytes('a');
  yield bytes('b');
}

// A generator that returns its body, and does nothing before.
const returning = (made: unknown): Exchange => ({
  app: app(function* () {
    return made;
  }),
});

const file = { read: () => bytes('') };
const none = (): unknown[] => [];

// Middleware that puts another stream in the place of the input has the same request.
const REPLAYS: Array<[what: string, replay: (environ: Loose) => Promise<Loose>]> = [
  ['what it has read of the input', async (environ) => {
    environ['wsgi.input'] = new BytesIO(await environ['wsgi.input'].read());
    return environ;
  }],
  ['a copy of environ with another input', async (environ) => {
    return { ...environ, 'wsgi.input': new BytesIO(await environ['wsgi.input'].read()) };
  }],
  ['a stream around the input', async (environ) => {
    const input = environ['wsgi.input'];
    const around = Object.assign(new BytesIO(), { read: (size: number) => input.read(size) });
    return { ...environ, 'wsgi.input': around };
  }],
];

const VARIANTS: Array<[id: Row['id'], what: string, exchange: Exchange]> = [
  ['environ-plain', 'no object at all', { environFrom: () => 'environ' }],
  ['environ-plain', 'an array', { environFrom: (environ) => Object.assign([], environ) }],
  [
    'environ-not-frozen',
    'a getter',
    {
      environFrom: (environ) =>
        Object.defineProperty(environ, 'HTTP_X', { get: () => 'x', enumerable: true }),
    },
  ],
  [
    'environ-not-frozen',
    'a read-only value',
    {
      environFrom: (environ) =>
        Object.defineProperty(environ, 'HTTP_X', { value: 'x', enumerable: true }),
    },
  ],
  ['environ-key-naming', 'capitals behind the dot', set('myapp.userName', 1)],
  ['cgi-value-string', 'null', set('HTTP_X', null)],
  ['content-length-int', 'a negative number', set('CONTENT_LENGTH', '-1')],
  ['content-length-int', 'blanks', set('CONTENT_LENGTH', ' 5 ')],
  [
    'url-scheme-known',
    'another scheme',
    { environ: { 'wsgi.url_scheme': 'ws', SERVER_PORT: '80' } },
  ],
  [
    'input-methods',
    'no iteration',
    set('wsgi.input', { read() {}, readline() {}, readlines() {} }),
  ],

  [
    'readline-one-line',
    'more bytes than asked for',
    using((environ) => environ['wsgi.input'].readline(2), {
      'wsgi.input': Object.assign(new BytesIO(), { readline: async () => bytes('one') }),
    }),
  ],
  ...[undefined, -1].map((size): [Row['id'], string, Exchange] => [
    'input-under-length',
    `a read(${size ?? ''}) of all that is left`,
    using((environ) => environ['wsgi.input'].read(size), {
      REQUEST_METHOD: 'POST',
      CONTENT_LENGTH: '7',
      'wsgi.input': new BytesIO(bytes('abc')),
    }),
  ]),
  [
    'read-overlap',
    'in the middle of an iteration',
    using(async (environ) => {
      const lines = environ['wsgi.input'][Symbol.asyncIterator]();
      await Promise.all([lines.next(), lines.next()]);
    }),
  ],
  ['errors-write-str', 'two arguments', using((environ) => environ['wsgi.errors'].write('a', 'b'))],
  [
    'errors-writelines-str',
    'two arguments',
    using((environ) => environ['wsgi.errors'].writelines([], [])),
  ],
  [
    'errors-writelines-str',
    'a line that is not a string',
    using((environ) => environ['wsgi.errors'].writelines(['a', 5]), {
      'wsgi.errors': new StringIO(),
    }),
  ],

  ['file-wrapper-shape', 'three arguments', set('wsgi.file_wrapper', (_a: 1, _b: 2, _c: 3) => [])],
  ['file-wrapper-shape', 'a class', set('wsgi.file_wrapper', class {})],
  ['file-wrapper-shape', 'a result that cannot be iterated', wrapping(() => 5, file)],
  ...[false, true].map((isAround): [Row['id'], string, Exchange] => [
    'file-wrapper-close',
    `a close() that leaves the file open${isAround ? ', through middleware' : ''}`,
    {
      app: app((environ, start) => {
        start('200 OK', [TYPE]);
        return environ['wsgi.file_wrapper']({ ...file, close() {} });
      }),
      environ: { 'wsgi.file_wrapper': () => ({ *[Symbol.iterator]() {}, close() {} }) },
      ...(isAround && { middleware: (inner) => inner }),
    },
  ]),
  ['file-wrapper-arg', 'no file', wrapping(none)],
  ['file-wrapper-arg', 'a block of no bytes', wrapping(none, file, 0)],

  [
    'headers-list',
    'getters that throw',
    {
      app: answer('200 OK', [
        Object.defineProperty(['X', 'y'], 0, {
          get: () => {
            throw new Error('no');
          },
        }),
      ]),
    },
  ],
  [
    'header-cl-duplicate',
    'the same twice',
    {
      app: answer('200 OK', [TYPE, ['Content-Length', '1'], ['content-length', '1']], [bytes('a')]),
    },
  ],
  [
    'headers-changed-later',
    'from none to one',
    {
      app: app((_environ, start) => {
        const list: unknown[] = [];
        start('204 No Content', list);
        list.push(['X', 'y']);
        return [];
      }),
    },
  ],

  ['body-not-none', 'false', body(false)],
  ['body-not-string', 'bytes', body(bytes('Hello'))],
  ['body-not-string', 'a buffer', body(new ArrayBuffer(5))],
  ['body-iterable', 'an iterator that is none', body({ [Symbol.iterator]: () => ({}) })],
  [
    'body-len-exact',
    'too few chunks',
    body({ length: 2, [Symbol.iterator]: () => [bytes('a')].values() }),
  ],
  [
    'iter-sync-promise',
    'a promise from next()',
    body({
      [Symbol.iterator]: () => ({ next: async () => ({ done: true }) }),
    }),
  ],
  [
    'iter-result-shape',
    'going on after the end',
    {
      ...serving((made) => {
        const chunks = made[Symbol.iterator]();
        try {
          chunks.next();
          chunks.next();
        } finally {
          made.close();
        }
      }),
      ...body({
        [Symbol.iterator]() {
          let done = false;
          return { next: () => ({ done: (done = !done), value: bytes('a') }) };
        },
      }),
    },
  ],
  ['chunk-bytes', 'another kind of view', body([new Uint16Array(2)])],
  [
    'body-after-close',
    'from an iterator made before',
    serving((made) => {
      const chunks = made[Symbol.iterator]();
      made.close();
      chunks.next();
    }),
  ],
  [
    'body-after-close',
    'from an iterator made after',
    serving((made) => {
      made.close();
      made[Symbol.iterator]();
    }),
  ],
  [
    'body-on-204',
    'by write()',
    {
      app: app((_environ, start) => {
        start('204 No Content', [])(bytes('a'));
        return [];
      }),
    },
  ],
  [
    'chunk-detached',
    'by write()',
    {
      app: app((_environ, start) => {
        const chunk = bytes('gone');
        structuredClone(chunk.buffer, { transfer: [chunk.buffer as ArrayBuffer] });
        start('200 OK', [TYPE])(chunk);
        return [];
      }),
    },
  ],
  [
    'sr-throw-trapped',
    'by going on to write()',
    {
      app: app((_environ, start) => {
        const write = start('200 OK', [TYPE]);
        write(bytes('a'));
        try {
          start('500 Oops', [TYPE], new Error('oops'));
        } catch {
          write(bytes('b'));
        }
        return [];
      }),
    },
  ],
  [
    'report-trapped',
    'middleware that answers in place of its application',
    {
      app: answer(200),
      middleware: (inner) => async (environ: Loose, start: Loose) => {
        try {
          return await inner(environ, start);
        } catch (error) {
          start('500 Oops', [TYPE], error);
          return [bytes('sorry')];
        }
      },
    },
  ],
  [
    'report-trapped',
    'middleware that yields in place of its application',
    {
      app: answer('200 OK', [TYPE], [bytes('a'), 'text']),
      middleware: (inner) =>
        function* (environ: Loose, start: Loose) {
          const made = inner(environ, start);
          try {
            for (const chunk of made) yield chunk;
          } catch {
            yield bytes('sorry');
          } finally {
            made.close();
          }
        },
    },
  ],
  [
    'report-trapped',
    'a body that is a string, which middleware replaces',
    {
      ...body('text'),
      middleware: (inner) => (environ: Loose, start: Loose) => {
        try {
          return inner(environ, start);
        } catch {
          return [bytes('sorry')];
        }
      },
    },
  ],
  [
    'report-trapped',
    'a close() that catches a report',
    {
      app: app((environ, start) => {
        start('204 No Content', []);
        return Object.assign([], {
          close() {
            try {
              environ['wsgi.errors'].write(5);
            } catch {
              /* As if nothing had happened. */
            }
          },
        });
      }),
    },
  ],
  ['body-return-value', 'a stream', returning(Readable.from([bytes('a')]))],
  ['body-return-value', 'a web stream', returning(new Blob(['a']).stream())],
  ['body-return-value', 'an async generator', returning((async function* () {})())],
  ['body-return-value', 'a Blob', returning(new Blob(['a']))],
  ['body-return-value', 'a promise', returning(Promise.resolve(bytes('a')))],
  [
    'mw-no-direct-each',
    'middleware that closes in a finally block',
    {
      app: answer('200 OK', [TYPE], letters()),
      middleware: (inner) => (environ: Loose, start: Loose) => {
        const made = inner(environ, start);
        const chunks = made[Symbol.iterator]();
        const all = [];
        try {
          for (let step = chunks.next(); !step.done; step = chunks.next()) all.push(step.value);
        } finally {
          made.close();
        }
        return all;
      },
    },
  ],
  ...REPLAYS.flatMap(([what, replay]): Array<[Row['id'], string, Exchange]> => [
    [
      'close-propagated',
      `middleware that forgets close() and gives its application ${what}`,
      {
        app: answer('200 OK', [TYPE], letters()),
        middleware: (inner) => async (environ: Loose, start: Loose) => {
          const made = inner(await replay(environ), start);
          return (function* (): Generator<unknown> {
            yield* made;
          })();
        },
      },
    ],
    [
      'mw-no-direct-each',
      `middleware that gathers a body and gives its application ${what}`,
      {
        app: answer('200 OK', [TYPE], letters()),
        middleware: (inner) => async (environ: Loose, start: Loose) => {
          const made = inner(await replay(environ), start);
          const all = [...made];
          made.close();
          return all;
        },
      },
    ],
  ]),
  [
    'mw-yield-per-chunk',
    'middleware around an application that has two validators, one around the other',
    {
      app: answer('200 OK', [TYPE], letters()),
      middleware: (inner) => (environ: Loose, start: Loose) => {
        const made = (validator(inner) as Loose)(environ, start);
        const whole = function* (): Generator<Uint8Array> {
          yield Buffer.concat([...made]);
        };
        return Object.assign(whole(), { close: () => made.close() });
      },
    },
  ],
  [
    'close-called',
    'middleware that sends a request of its own',
    {
      app: answer('200 OK', [TYPE], letters()),
      middleware: (inner) => (environ: Loose, start: Loose) => {
        const made = inner({ ...environ, 'wsgi.input': new BytesIO() }, () => () => {});
        return answer('200 OK', [TYPE], [...made])(environ, start);
      },
    },
  ],
  [
    'status-type',
    'an application whose finally block breaks another rule',
    {
      app: app((environ, start) => {
        try {
          start(200, []);
        } finally {
          environ['wsgi.errors'].write(5);
        }
      }),
    },
  ],
  [
    'return-called',
    'a server, and not the middleware that could not close',
    {
      app: answer('200 OK', [TYPE], letters()),
      middleware: (inner) =>
        function* (environ: Loose, start: Loose) {
          const made = inner(environ, start);
          try {
            yield* made;
          } finally {
            made.close();
          }
        },
      ...serving((made) => {
        made[Symbol.iterator]().next();
        made.close();
      }),
    },
  ],
  [
    'body-attr-access',
    'a listener on a body that is a stream',
    {
      app: app((_environ, start) => (start('200 OK', [TYPE]), Readable.from([bytes('a')]))),
      middleware: (inner) => (environ: Loose, start: Loose) => {
        const made = inner(environ, start);
        made.on('end', () => {});
        return made;
      },
    },
  ],
];

describe('validator', () => {
  for (const [id, what, exchange] of VARIANTS) {
    it(`reports ${id} for ${what}`, async () => {
      const reports = await play(exchange);
      assert.deepEqual(
        reports.map(({ code }) => code),
        [id],
        reports.join('\n\n'),
      );
    });
  }
});
