// Rules about what the application returns, writes and closes, and how the server
// goes through it.

import {
  type Exchange,
  type Loose,
  type Row,
  answer,
  app,
  bytes,
  passTime,
  row,
} from './validate-exchange.ts';

const TYPE = ['Content-Type', 'text/plain'];
const body = (made: unknown): Exchange => ({ app: answer('200 OK', [TYPE], made) });
const withLength = (length: string, ...chunks: string[]): Exchange => ({
  app: answer('200 OK', [TYPE, ['Content-Length', length]], chunks.map(bytes)),
});
const content = (status: string, ...chunks: string[]): Exchange => ({
  app: answer(status, [], chunks.map(bytes)),
});
const serve = (play: NonNullable<Exchange['serve']>, rest: Exchange = {}): Exchange => ({
  ...rest,
  serve: play,
});
const strict = (exchange: Exchange): Exchange => ({ ...exchange, options: { strict: true } });

// An application that writes, and may be given a body that writes.
function writing(
  use: (write: Loose, start: Loose) => unknown,
  headers: unknown[] = [TYPE],
): Exchange {
  return {
    app: app(async (_environ, start) => (await use(start('200 OK', headers), start)) ?? []),
  };
}

// A synchronous iterator whose next() gives these, one after the other.
function steps(...results: unknown[]): Exchange {
  return body({ [Symbol.iterator]: () => ({ next: () => results.shift() }) });
}

const done = { done: true, value: undefined };
const closable = (close: unknown): Exchange => body(Object.assign([bytes('a')], { close }));
const oneForAll = ticking();
const around = (begin: () => unknown): unknown => ({ [Symbol.asyncIterator]: begin });
const drain = (made: Loose): unknown[] => [...made];

// A server that makes every call twice, or not at all, or in another order.
const plain = (use: (made: Loose) => unknown, rest?: Exchange): Exchange =>
  serve(async (call, environ, start) => use(await call(environ, start)), rest);

export const BODY_ROWS: Row[] = [
  // What is returned
  row('body-not-none', /returned null/, body(null), body([])),
  row('body-not-string', /returned "Hello"/, body('Hello'), body(new Set([bytes('Hello')]))),
  row(
    'body-iterable',
    /returned an object/,
    body({}),
    body({ async *[Symbol.asyncIterator]() {} }),
  ),
  row('close-callable', /close is the boolean true/, closable(true), closable(undefined)),
  row(
    'body-len-exact',
    /chunk 2 of a body whose length is 1/,
    body(counted(1, 'a', 'b')),
    body(counted(2, 'a', 'b')),
  ),

  row(
    'body-len-exact',
    /chunk 2 of a body whose length is 1/,
    body(Object.assign(ticking(), { length: 1 })),
    body(Object.assign(ticking(), { length: 2 })),
  ),
  row(
    'body-iterable',
    /returned the write\(\) that startResponse gave/,
    { app: app((_environ, start) => start('200 OK', [TYPE])) },
    { app: app((_environ, start) => (start('200 OK', [TYPE]), [])) },
  ),
  row(
    'body-shared', /that an earlier request had/, twoRequests(ticking()), twoRequests([bytes('a')]),
  ),
  row(
    'body-shared',
    /whose iterator is a generator that an earlier request had/,
    twoRequests(around(() => oneForAll)),
    twoRequests(around(ticking)),
  ),
  row(
    'body-return-value',
    /returned an Array of 1 item inside/,
    body(
      (function* () {
        return [bytes('a')];
      })(),
    ),
    body(
      (function* () {
        yield bytes('a');
        return 1;
      })(),
    ),
  ),

  // When startResponse is called
  row(
    'sr-before-body',
    /yielded a chunk before startResponse/,
    {
      app: app(function* (_environ, start) {
        yield bytes('');
        start('200 OK', [TYPE]);
      }),
    },
    {
      app: app(function* (_environ, start) {
        start('200 OK', [TYPE]);
        yield bytes('');
      }),
    },
  ),
  row(
    'sr-never-empty-body',
    /without calling startResponse/,
    { app: app(() => []) },
    {
      app: app(function* (_environ, start) {
        start('200 OK', []);
      }),
    },
  ),

  // Chunks
  row('chunk-bytes', /yielded "Hello"/, body(['Hello']), body([Buffer.from('Hello')])),
  row(
    'iter-sync-promise',
    /yielded a promise/,
    body([Promise.resolve(bytes('a'))]),
    body(
      (async function* () {
        yield Promise.resolve(bytes('a'));
      })(),
    ),
  ),
  row('chunk-detached', /transferred/, body([detached()]), body([new Uint8Array(0)])),
  row('chunk-reused', /changed a chunk/, strict(body(reusing(false))), strict(body(reusing(true)))),
  row(
    'iter-result-shape',
    /gave undefined from next/,
    steps(undefined),
    steps({ value: bytes('a') }, done),
  ),
  row(
    'iter-result-shape',
    /gave a Uint8Array of 1 byte from next/,
    steps(bytes('a')),
    steps({ done: false, value: bytes('a') }, done),
  ),
  row(
    'iter-result-shape',
    /gave an object from next\(\).*\n.*\nGive \{ done: true \} at the end/,
    steps({ value: bytes('a') }, { value: undefined }),
    steps({ value: bytes('a') }, { done: true }),
  ),

  // How the server iterates
  row(
    'body-once',
    /a second time/,
    plain((made) => {
      try {
        drain(made);
        drain(made);
      } finally {
        made.close();
      }
    }),
    plain((made) => {
      drain(made);
      made.close();
    }),
  ),
  row(
    'body-after-close',
    /after close\(\)/,
    plain((made) => {
      made.close();
      drain(made);
    }),
    plain((made) => {
      drain(made);
      made.close();
    }),
  ),
  row(
    'body-each-or-call',
    /synchronous iterator/,
    plain((made) => {
      drain(made);
      made.close();
    }, body(twofold())),
    body(twofold()),
  ),
  row(
    'body-attr-access',
    /used push of the body/,
    plain((made) => {
      made.push();
      drain(made);
      made.close();
    }),
    plain((made) => {
      void [made.length, made.then, String(made)];
      drain(made);
      made.close();
    }),
  ),
  row(
    'iter-overlap',
    /while another was pending/,
    plain(overlapping(false), body(ticking())),
    plain(overlapping(true), body(ticking())),
  ),
  row(
    'server-past-length',
    /after the 1 byte announced/,
    plain(
      (made) => {
        drain(made);
        made.close();
      },
      withLength('1', 'a', '', ''),
    ),
    plain(
      (made) => {
        drain(made);
        made.close();
      },
      withLength('1', 'a'),
    ),
  ),

  // Against status and length
  row(
    'body-too-short',
    /after 1 byte of a Content-Length of 2/,
    withLength('2', 'a'),
    plain(
      (made) => {
        for (const chunk of made) {
          void chunk;
          break;
        }
        made.close();
      },
      withLength('2', 'a', 'b'),
    ),
  ),
  row(
    'body-too-long',
    /sent 3 bytes with a Content-Length of 2/,
    withLength('2', 'abc'),
    withLength('2', 'a', 'b'),
  ),
  row(
    'body-too-long',
    /returned 3 bytes with a Content-Length of 2/,
    withLength('2', 'ab', 'c'),
    withLength('2', 'ab', ''),
  ),
  row(
    'body-on-head',
    /in answer to HEAD/,
    strict({ environ: { REQUEST_METHOD: 'HEAD' } }),
    { environ: { REQUEST_METHOD: 'HEAD' } },
  ),
  row('body-on-204', /status 204/, content('204 No Content', 'a'), content('204 No Content', '')),
  row('body-on-205', /status 205/, content('205 Reset Content', 'a'), content('205 Reset Content')),
  row('body-on-304', /status 304/, content('304 Not Modified', 'a'), content('304 Not Modified')),
  row(
    'content-type-required',
    /without a Content-Type/,
    content('200 OK', 'a'),
    content('200 OK', ''),
  ),

  // write()
  row(
    'write-argc',
    /with 2 arguments/,
    writing((write) => void write(bytes('a'), 1)),
    writing((write) => void write(bytes('a'))),
  ),
  row(
    'write-bytes',
    /with "a"/,
    writing((write) => void write('a')),
    writing((write) => void write(Buffer.from('a'))),
  ),
  row(
    'body-too-long',
    /sent 3 bytes/,
    writing((write) => void write(bytes('abc')), [TYPE, ['Content-Length', '2']]),
    writing((write) => void write(bytes('ab')), [TYPE, ['Content-Length', '2']]),
  ),
  row(
    'write-stale',
    /of an earlier startResponse/,
    writing((write, start) => {
      start('500 Oops', [TYPE], new Error('oops'));
      write(bytes('a'));
    }),
    writing((_write, start) => {
      start('500 Oops', [TYPE], new Error('oops'))(bytes('a'));
    }),
  ),
  row(
    'write-in-iterable',
    /while its body was iterated/,
    writing((write) => generator(() => write(bytes('a')))),
    writing((write) => (write(bytes('a')), generator(() => {}))),
  ),
  row(
    'write-after-end',
    /after the body had ended/,
    writing((write) => Object.assign([], { close: () => write(bytes('a')) })),
    writing((write) => (write(bytes('a')), [])),
  ),
  row('write-used', /called write/, strict(writing((write) => void write(bytes('a')))), strict({})),
  row(
    'write-unawaited',
    /while an earlier one was pending/,
    slowly(writing((write) => void [write(bytes('a')), write(bytes('b'))])),
    slowly(writing(async (write) => void [await write(bytes('a')), await write(bytes('b'))])),
  ),

  // close()
  row(
    'close-called',
    /did not call close\(\)/,
    plain((made) => void drain(made)),
    plain((made) => {
      drain(made);
      passBetween(made);
    }),
  ),
  row(
    'close-vs-return',
    /stopped the iteration/,
    plain((made) => {
      for (const chunk of made) {
        void chunk;
        break;
      }
    }),
    plain((made) => {
      for (const chunk of made) {
        void chunk;
        break;
      }
      made.close();
    }),
  ),
  row(
    'return-called',
    /stopped the iteration without return\(\)/,
    plain((made) => {
      made[Symbol.iterator]().next();
      made.close();
    }, body(letters())),
    plain((made) => {
      const chunks = made[Symbol.iterator]();
      chunks.next();
      chunks.return();
      made.close();
    }, body(letters())),
  ),
  row(
    'close-twice',
    /close\(\) again/,
    plain((made) => {
      made.close();
      made.close();
    }),
    plain((made) => made.close()),
  ),
  row(
    'close-on-iterable',
    /close\(\) of the iterator/,
    plain((made) => {
      made[Symbol.iterator]().close();
    }),
    plain((made) => {
      made[Symbol.iterator]();
      made.close();
    }),
  ),
  row(
    'close-awaited',
    /did not await close\(\)/,
    plain(
      (made) => void made.close(),
      closable(async () => {}),
    ),
    plain(
      (made) => made.close(),
      closable(async () => {}),
    ),
  ),
  row(
    'close-throws',
    /threw the Error "no" from close/,
    plain(
      (made) => {
        try {
          made.close();
        } catch {
          /* A server reports it. */
        }
      },
      closable(() => {
        throw new Error('no');
      }),
    ),
    closable(() => {}),
  ),
];

function counted(length: number, ...chunks: string[]): unknown {
  return { length, [Symbol.iterator]: () => chunks.map(bytes).values() };
}

function detached(): Uint8Array {
  const chunk = bytes('gone');
  structuredClone(chunk.buffer, { transfer: [chunk.buffer as ArrayBuffer] });
  return chunk;
}

function* reusing(anew: boolean): Generator<Uint8Array> {
  let chunk = bytes('a');
  for (const letter of ['a', 'b', 'c']) {
    if (anew) chunk = bytes(letter);
    else chunk.set(bytes(letter));
    yield chunk;
  }
}

function twofold(): unknown {
  return Object.assign([bytes('a')], {
    async *[Symbol.asyncIterator]() {
      yield bytes('a');
    },
  });
}

function* letters(): Generator<Uint8Array> {
  yield bytes('a');
  yield bytes('b');
}

// A server that asks twice, and whose application gives the same body each time.
function twoRequests(made: unknown): Exchange {
  return {
    ...body(made),
    serve: async (call, environ, start, server) => {
      const copy = { ...environ };
      await server.finish(await call(environ, start));
      await server.finish(await call(copy, start));
    },
  };
}

async function* ticking(): AsyncGenerator<Uint8Array> {
  yield bytes('a');
  yield bytes('b');
}

function overlapping(isPatient: boolean): (made: Loose) => Promise<void> {
  return async (made) => {
    const chunks = made[Symbol.asyncIterator]();
    try {
      const first = chunks.next();
      if (isPatient) await first;
      await chunks.next();
    } finally {
      await chunks.return();
      await made.close();
    }
  };
}

function* generator(first: () => unknown): Generator<Uint8Array> {
  first();
  yield bytes('b');
}

function slowly(exchange: Exchange): Exchange {
  return {
    ...exchange,
    serve: async (call, environ, start, server) => {
      const slowStart = (...args: unknown[]) => {
        const write = start(...args);
        return async (data: Uint8Array) => write(data);
      };
      await server.finish(await call(environ, slowStart));
    },
  };
}

// A server that sees its last bytes off first.
function passBetween(made: Loose): void {
  made.close();
  passTime();
}
