// Validator, trace and error page change nothing that an application or a server can
// see, whatever the application's shape: each of them, and several in every order.

import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import * as streams from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import {
  type ResponseBody,
  type ResponseHeaders,
  type StartResponse,
  type WSGIApplication,
  type WSGIEnvironment,
  BytesIO,
  SimpleHandler,
  StreamInput,
  StringIO,
  errorPage,
  fromFetch,
  trace,
  validator,
} from '../lib/index.ts';
import { bodyOf } from './support/applications.ts';
import { bytes, collect, deferred, text } from './support/bytes.ts';
import { RawClient, withServer } from './support/wire.ts';

const { Readable, Transform } = streams;
// Node's own types forget it.
const compose = Reflect.get(streams, 'compose') as (...parts: unknown[]) => AsyncIterable<Buffer>;

const PLAIN: ResponseHeaders = [['Content-Type', 'text/plain']];
const context = new AsyncLocalStorage<string>();

/** The notes of an application while it runs. */
type Log = (event: string) => void;

interface Shape {
  name: string;
  make: (log: Log) => WSGIApplication;
  environ?: Record<string, unknown>;
  /** The second half of the request's body comes when the first has been answered. */
  isGated?: boolean;
  /** The error page answers what is thrown before the head is sent. */
  fails?: boolean;
}

const shapes: Shape[] = [];

function shape(name: string, make: Shape['make'], more: Partial<Shape> = {}): void {
  shapes.push({ name, make, ...more });
}

const ok = (start: StartResponse): ReturnType<StartResponse> => start('200 OK', [...PLAIN]);

/** An application that returns what `make` gives. */
const returning = (
  make: (log: Log, environ: WSGIEnvironment) => unknown,
) => (log: Log): WSGIApplication => {
  return (environ, start) => {
    log('called');
    ok(start);
    return make(log, environ) as ResponseBody;
  };
};

/** An application that reads its input, and answers with what `use` makes of it. */
const reading = (
  use: (input: WSGIEnvironment['wsgi.input']) => Promise<string>,
) => (): WSGIApplication => {
  return async (environ, start) => {
    const answer = await use(environ['wsgi.input']);
    ok(start);
    return [bytes(answer)];
  };
};

function* letters(log: Log): Generator<Uint8Array> {
  try {
    log('first');
    yield bytes('a');
    log('second');
    yield bytes('b');
  } finally {
    log('finally');
  }
}

async function* lettersLater(log: Log): AsyncGenerator<Uint8Array> {
  for (const letter of letters(log)) {
    await null;
    yield letter;
  }
}

const closing = <T extends object>(log: Log, body: T): T =>
  Object.assign(body, { close: () => log('close') });
const thrown = Object.freeze(new TypeError('on purpose'));
const fail = (value: unknown): never => {
  throw value;
};

// ---- Bodies
shape('an array', returning(() => [bytes('a'), bytes('b')]));
shape('an array of one, whose length is known', returning(() => [bytes('a')]));
shape('an empty array', returning(() => []));
shape('a set', returning(() => new Set([bytes('a')])));
shape('a generator', returning((log) => letters(log)));
shape('a generator with close()', returning((log) => closing(log, letters(log))));
shape('an async generator', returning((log) => lettersLater(log)));
shape(
  'an async generator with an async close()',
  returning((log) => Object.assign(lettersLater(log), {
    close: async () => {
      await null;
      log('closed');
    },
  })),
);
shape('an array with an async close()', returning((log) => Object.assign([bytes('a')], {
  close: async () => {
    await null;
    log('closed');
  },
})));
shape('a frozen body with close()', returning((log) => Object.freeze({
  *[Symbol.iterator]() { yield* letters(log); }, close: () => log('close'),
})));
shape('a frozen array with close()', returning((log) => {
  return Object.freeze(closing(log, [bytes('a')]));
}));
shape('a frozen async generator', returning((log) => Object.freeze(lettersLater(log))));
shape('a body whose close is null', returning((log) => Object.assign(letters(log), {
  close: null,
})));
shape('an iterator without return()', returning((log) => {
  const inner = letters(log);
  return { [Symbol.iterator]: () => ({ next: () => inner.next() }) };
}));
shape('its input', returning((_log, environ) => environ['wsgi.input']));
shape('a class with private fields', returning(() => new (class {
  #left = [bytes('a'), bytes('b')];
  *[Symbol.iterator](): Generator<Uint8Array> {
    yield* this.#left;
  }
})()));
shape('a Node stream', returning(() => Readable.from([bytes('a'), bytes('b')])));
shape('a web stream', returning(() => new Blob(['web']).stream()));
shape('a generator function', (log) => function* (_environ, start) {
  log('called');
  ok(start);
  yield* letters(log);
});
shape('an async generator function', (log) => async function* (_environ, start) {
  log('called');
  ok(start);
  yield* lettersLater(log);
});
shape('an async function', (log) => async (_environ, start) => {
  await null;
  ok(start);
  return closing(log, [bytes('a')]);
});
shape('a function that returns a thenable', () => (_environ, start) => {
  ok(start);
  const body = [bytes('later')];
  return { then: (resolve: (value: unknown) => void) => resolve(body) } as never;
});
shape('more than its Content-Length needs', (log) => (_environ, start) => {
  start('200 OK', [...PLAIN, ['Content-Length', '1']]);
  return closing(log, letters(log));
});
shape('an answer to HEAD', returning((log) => letters(log)), {
  environ: { REQUEST_METHOD: 'HEAD' },
});
shape('204', () => (_environ, start) => (start('204 No Content', []), []));
shape('write()', () => (_environ, start) => (ok(start)(bytes('written ')), [bytes('returned')]));
shape('write(), awaited', () => async (_environ, start) => {
  await ok(start)(bytes('written'));
  return [];
});
shape('a replaced response', () => (_environ, start) => {
  ok(start);
  start('503 Service Unavailable', [...PLAIN], new Error('busy'));
  return [bytes('busy')];
});

// ---- Files
const self = fileURLToPath(import.meta.url);
shape('a file', () => async (environ, start) => {
  ok(start);
  return environ['wsgi.file_wrapper']?.(await open(self)) ?? [];
});
shape('a file-like object', (log) => (environ, start) => {
  ok(start);
  const blocks = [bytes('one'), bytes('two'), bytes('')];
  const file = { read: () => blocks.shift() as Uint8Array, close: () => log('close') };
  return environ['wsgi.file_wrapper']?.(file, 3) ?? [];
});

// ---- The request's body
shape('read(size)', reading(async (input) => text(await input.read(3)) + text(await input.read())));
shape('readline() and readlines()', reading(async (input) => {
  return [await input.readline(), ...(await input.readlines())].map(text).join('|');
}));
shape('iteration', reading(async (input) => (await collect(input)).map(text).join('|')));
shape('iteration that stops', reading(async (input) => {
  for await (const line of input) return text(line);
  return 'none';
}));
shape('read() without its stream', reading(async ({ read }) => {
  try {
    return text(await read(3));
  } catch (error) {
    return String(error);
  }
}));
shape('Response', reading((input) => new Response(input as never).text()));
shape(
  'Readable.from',
  reading(async (input) => text(Buffer.concat(await collect(Readable.from(input))))),
);
shape('pipeline', reading(async (input) => {
  const upper =
    new Transform({ transform: (data, _, done) => done(null, String(data).toUpperCase()) });
  let all = '';
  await pipeline(input, upper, async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) all += String(chunk);
  });
  return all;
}));
shape('compose', reading(async (input) => {
  const same = new Transform({ transform: (data, _, done) => done(null, data) });
  return text(Buffer.concat(await collect(compose(input, same))));
}));
shape('an echo', () => async function* (environ, start) {
  ok(start);
  for await (const line of environ['wsgi.input']) yield line;
}, { isGated: true });
shape('a fetch handler that streams', () => fromFetch((request) => {
  return new Response(request.body, { headers: { 'Content-Type': 'text/plain' } });
}), { isGated: true });

// ---- Reports, environ, context
shape('wsgi.errors', () => (environ, start) => {
  environ['wsgi.errors'].write('one\n');
  environ['wsgi.errors'].writelines((function* () { yield 'two\n'; yield 'three\n'; })());
  environ['wsgi.errors'].flush();
  ok(start);
  return [];
});
shape('write() without its stream', () => (environ, start) => {
  const { write } = environ['wsgi.errors'];
  assert.throws(() => write('one\n'), TypeError);
  ok(start);
  return [];
});
const odd = {
  symbol: Symbol('odd'), none: null, bare: Object.create(null) as object, big: 1n, call: () => 1,
};
shape('unusual values in environ', () => (environ, start) => {
  const same = Object.entries(odd).map(([name, value]) => environ[`odd.${name}`] === value);
  environ['odd.added'] = new Proxy({}, { get: () => fail(thrown) });
  ok(start);
  return [bytes(same.join())];
}, {
  environ: Object.fromEntries(Object.entries(odd).map(([name, value]) => [`odd.${name}`, value])),
});
shape('middleware that copies environ', (log) => (environ, start) => {
  return returning(() => letters(log))(log)({ ...environ, 'my.copy': true }, start);
});
shape('middleware that replaces wsgi.input', () => (environ, start) => {
  environ['wsgi.input'] = new BytesIO(bytes('other'));
  return reading(async (input) => text(await input.read()))()(environ, start);
});
shape('an async context', (log) => async function* (_environ, start) {
  log(`called in ${context.getStore()}`);
  ok(start);
  await new Promise(setImmediate);
  try {
    yield bytes('a');
    log(`went on in ${context.getStore()}`);
    yield bytes('b');
  } finally {
    log(`ended in ${context.getStore()}`);
  }
});

// ---- Failures
for (const [name, value] of [
  ['an error', thrown], ['undefined', undefined], ['text', 'text'], ['null', null],
] as const) {
  shape(`throws ${name}`, () => () => fail(value), { fails: true });
  shape(`rejects with ${name}`, () => async () => fail(value), { fails: true });
  shape(`throws ${name} in its body`, (log) => function* (_environ, start) {
    ok(start);
    yield bytes('');
    log('failing');
    fail(value);
  }, { fails: true });
}
shape('throws after the head', (log) => async function* (_environ, start) {
  ok(start);
  yield* letters(log);
  fail(thrown);
});
shape(
  'throws in close()',
  returning((log) => Object.assign(letters(log), { close: () => fail(thrown) })),
);

interface Outcome {
  /** The bytes of the response, without its date. */
  sent: string;
  events: string[];
  /** The first line of each report on wsgi.errors. */
  reports: string[];
  /** The keys of environ whose values are not those that the server has put there. */
  changed: string[];
}

async function run(
  row: Shape, layers: ReadonlyArray<(app: WSGIApplication) => WSGIApplication>,
): Promise<Outcome> {
  const events: string[] = [];
  const answered = deferred();
  const stdout = new BytesIO();
  const output = {
    write(data: Uint8Array): number {
      stdout.write(data);
      if (text(stdout.getValue()).includes('\r\n\r\none')) answered.resolve();
      return data.length;
    },
  };
  async function* source(): AsyncGenerator<Uint8Array> {
    yield bytes('one\n');
    if (row.isGated) await answered.promise;
    yield bytes('two\n');
  }
  const app = layers.reduce((inner, wrap) => wrap(inner), row.make((event) => events.push(event)));
  let environ: Record<string, unknown> = {};
  let before: Record<string, unknown> = {};
  const server: WSGIApplication = (given, start) => {
    environ = given as unknown as Record<string, unknown>;
    before = { ...environ };
    return app(given, start);
  };
  const errors = new StringIO();
  const base = {
    REQUEST_METHOD: 'POST', SCRIPT_NAME: '', PATH_INFO: '/', QUERY_STRING: '', CONTENT_LENGTH: '8',
    // The error page watches how a form is read.
    CONTENT_TYPE: 'application/x-www-form-urlencoded',
    SERVER_NAME: 'localhost', SERVER_PORT: '80', SERVER_PROTOCOL: 'HTTP/1.0', ...row.environ,
  };
  const handler = new SimpleHandler(new StreamInput(source(), 8), output, errors, base as never);
  await context.run('its request', () => handler.run(server));
  await new Promise(setImmediate);
  const changed =
    Object.keys({ ...before, ...environ }).filter((key) => environ[key] !== before[key]);
  const reports =
    errors.getValue().split('\n').filter((line) => line !== '' && !/^\s+at /.test(line));
  return { sent: text(stdout.getValue()).replace(/^Date: .*\r\n/m, ''), events, reports, changed };
}

type Layer = [name: string, wrap: (app: WSGIApplication) => WSGIApplication];

const LAYERS: readonly Layer[] = [
  ['trace', (app) => trace(app, { write: () => {}, colour: false })],
  [
    'validator',
    (app) =>
      validator(app, {
        severity: { 'close-throws': 'off' }, onWarning: (warning) => fail(warning),
      }),
  ],
  ['error page', (app) => errorPage(app)],
];

/** Each choice of layers in each order, the innermost first. */
function orders(layers: readonly Layer[]): Layer[][] {
  return layers.flatMap((first) => {
    const others = layers.filter((layer) => layer !== first);
    return [[first], ...orders(others).map((rest) => [first, ...rest])];
  });
}

describe('nothing is changed', () => {
  for (const row of shapes) {
    for (const chosen of orders(LAYERS)) {
      test(
        `by ${chosen.map(([name]) => name).join(' in ')}: ${row.name}`, { timeout: 60_000 },
        async () => {
          const plain = await run(row, []);
          const layered = await run(row, chosen.map(([, wrap]) => wrap));
          const isAnswered = row.fails && chosen.some(([name]) => name === 'error page');
          if (isAnswered) assert.match(layered.sent, /^HTTP\/1\.0 500 |^Status: 500 /);
          else assert.equal(layered.sent, plain.sent);
          assert.deepEqual(layered.events, plain.events);
          assert.deepEqual(layered.reports, plain.reports);
          assert.deepEqual(layered.changed, plain.changed);
        },
      );
    }
  }
});

test('the name and the length of an application are those of each layer', () => {
  function hello(_environ: WSGIEnvironment, _startResponse: StartResponse): ResponseBody {
    return [];
  }
  for (const [, wrap] of LAYERS) {
    const { name, length } = wrap(hello);
    assert.deepEqual({ name, length }, { name: 'hello', length: 2 });
  }
});

const ALONE: Array<[title: string, wrap: (app: WSGIApplication) => WSGIApplication]> = [
  ['alone', (app) => app],
  ['in the validator', (app) => validator(app, { onWarning: (warning) => fail(warning) })],
  ['in the error page', (app) => errorPage(app)],
  ['in the trace', (app) => trace(app, { write: () => {} })],
];

describe('a web stream that waits for its next chunk', () => {
  for (const [title, wrap] of ALONE) {
    test(`is cancelled when the client leaves, ${title}`, async () => {
      const cancelled = deferred();
      const stream = (): ReadableStream<Uint8Array> =>
        new ReadableStream({
          start: (controller) => controller.enqueue(bytes('first')),
          pull: () => new Promise(() => {}),
          cancel: () => cancelled.resolve(),
        });
      await withServer(wrap(bodyOf(stream)), async ({ port, errors }) => {
        const client = await RawClient.connect(port);
        await client.send('GET / HTTP/1.1\r\nHost: test\r\n\r\n')
          .until((heard) => heard.includes('first'));
        client.socket.destroy();
        await cancelled.promise;
        assert.equal(errors.getValue(), '');
      });
    });
  }
});

describe('a stream that is returned after its client has left', () => {
  const streams: Array<[title: string, make: (given: () => void) => unknown]> = [
    ['web', (given) => new ReadableStream({ cancel: given })],
    ['Node', (given) => new Readable({
      read: () => {},
      destroy: (_error, done) => {
        given();
        done(new Error('an error that nobody waits for'));
      },
    })],
  ];
  for (const [kind, make] of streams) {
    for (const [title, wrap] of ALONE) {
      test(`is given up: a ${kind} stream, ${title}`, async () => {
        const called = deferred();
        const given = deferred();
        const app: WSGIApplication = async (environ, start) => {
          const signal = environ['tsgiref.signal']?.() as AbortSignal;
          called.resolve();
          await once(signal, 'abort');
          ok(start);
          return make(given.resolve) as ResponseBody;
        };
        await withServer(wrap(app), async ({ port, errors }) => {
          const client = await RawClient.connect(port);
          client.send('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
          await called.promise;
          client.socket.destroy();
          await given.promise;
          assert.equal(errors.getValue(), '');
        });
      });
    }
  }
});
