// Applications and clients that break the rules. After each: the right bytes, one
// trace, close() once, nothing left open, and the next request is served.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';

import type { ResponseBody, StartResponse, WSGIApplication } from '../lib/index.ts';
import { bytes, deferred } from './support/bytes.ts';
import {
  type StrictResponse,
  type Wire,
  RawClient,
  converse,
  exchange,
  parseResponses,
  withServer,
} from './support/raw-http.ts';
import { get, post } from './support/request-rows.ts';

const NEXT = 'GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
const ERROR_PAGE = 'A server error occurred.  Please contact the administrator.';

/** Serves `app`, except that `/next` is answered as it should be. */
async function misbehaving(
  app: WSGIApplication, use: (wire: Wire) => Promise<void>,
): Promise<void> {
  await withServer((environ, start) => {
    if (environ.PATH_INFO !== '/next') return app(environ, start);
    start('200 OK', []);
    return [bytes('next')];
  }, async (wire) => {
    await use(wire);
    assert.equal((await converse(wire.port, NEXT))[0]?.body, 'next', 'the next request');
  });
  // A closed server and its clients release their last resources in the next turns.
  for (let turn = 0; turn < 50 && left().length > 0; turn += 1) await new Promise(setImmediate);
  assert.deepEqual(left(), [], 'nothing is left open');
}

function left(): string[] {
  return process.getActiveResourcesInfo().filter((name) => /^(TCP|Timeout)/.test(name));
}

/** The first line of each trace. Its other lines are indented. */
function traces(wire: Wire): string[] {
  return wire.errors.getValue().split('\n').filter((line) => /^(?!Caused by)\S/.test(line));
}

/** A body that records how it ends. */
function noted<T extends object>(events: string[], body: T): T & { close(): void } {
  return Object.assign(body, { close: () => void events.push('close') });
}

const started = (body: (start: StartResponse) => unknown): WSGIApplication => (_environ, start) => {
  start('200 OK', []);
  return body(start) as ResponseBody;
};
const returning = (result: unknown): WSGIApplication => started(() => result);
const yielding = (...chunks: unknown[]): WSGIApplication =>
  started(() => (function* () { yield* chunks; })());
const throwing = (value: unknown): WSGIApplication => () => {
  throw value;
};

interface Fault {
  title: string;
  app: WSGIApplication;
  /** The first line of the only trace. */
  trace: RegExp;
  /** The response: the error page, or the bytes that were sent before the cut. */
  gets: 500 | { cutAfter: string } | { whole: string };
}

const fault = (
  title: string, app: WSGIApplication, trace: RegExp, gets: Fault['gets'] = 500,
): Fault =>
  ({ title, app, trace, gets });

const boom = (): never => {
  throw new Error('boom');
};
const begun = { cutAfter: 'begun' };

const throws: Fault[] = [
  fault('a function', throwing(new Error('boom')), /^Error: boom$/),
  fault('an async function', async () => boom(), /^Error: boom$/),
  fault('a function, behind startResponse', started(boom), /^Error: boom$/),
  fault('a generator, in its first step', function* () { boom(); }, /^Error: boom$/),
  fault('an async generator, in its first step', async function* () { boom(); }, /^Error: boom$/),
  fault(
    'a generator, behind an empty chunk',
    started(() => (function* () { yield bytes(''); boom(); })()),
    /^Error: boom$/,
  ),
  fault(
    'a generator, behind a chunk',
    started(() => (function* () { yield bytes('begun'); boom(); })()),
    /^Error: boom$/,
    begun,
  ),
  fault(
    'an async generator, behind a chunk',
    started(() => (async function* () { yield bytes('begun'); await null; boom(); })()),
    /^Error: boom$/,
    begun,
  ),
  fault(
    'a function, behind write()',
    started((start) => { void start; }),
    /^TypeError: the application returned undefined/,
  ),
  fault('a body, in giving its iterator', returning({ [Symbol.iterator]: boom }), /^Error: boom$/),
  fault(
    'a body, in giving its async iterator',
    returning({ [Symbol.asyncIterator]: boom }),
    /^Error: boom$/,
  ),
  fault(
    'a body, in being asked what it is', returning(new Proxy([], { has: boom })), /^Error: boom$/,
  ),
  fault('an iterator', returning({ [Symbol.iterator]: () => ({ next: boom }) }), /^Error: boom$/),
  fault(
    'a step of an iterator',
    returning({ [Symbol.iterator]: () => ({ next: () => ({ get done() { return boom(); } }) }) }),
    /^Error: boom$/,
  ),
  fault(
    'a Readable',
    returning(new Readable({ read() { this.destroy(new Error('boom')); } })),
    /^Error: boom$/,
  ),
  fault('close()', returning(Object.assign([bytes('begun')], { close: boom })), /^Error: boom$/, {
    whole: 'begun',
  }),
  fault(
    'an async close()',
    returning(Object.assign([bytes('begun')], { close: async () => boom() })),
    /^Error: boom$/,
    { whole: 'begun' },
  ),
  fault(
    'close(), found by a getter',
    returning(Object.defineProperty([bytes('begun')], 'close', { get: boom })),
    /^Error: boom$/,
    { whole: 'begun' },
  ),
  fault(
    'finally, behind the last chunk',
    started(() => (function* () { try { yield bytes('begun'); } finally { boom(); } })()),
    /^Error: boom$/,
    begun,
  ),
];

const unprintable = new Proxy({}, { get: boom, has: boom, getPrototypeOf: boom, ownKeys: boom });
const circle = new Error('circle');
circle.cause = circle;
const values: Array<[string, unknown, RegExp]> = [
  ['undefined', undefined, /^Error: the application threw undefined$/],
  ['null', null, /^Error: the application threw null$/],
  ['nought', 0, /^Thrown, although it is not an Error: the number 0$/],
  ['text', 'text', /^Thrown, although it is not an Error: "text"$/],
  ['text of two lines', 'a\nb', /^Thrown, although it is not an Error: "a\\nb"$/],
  ['a symbol', Symbol('s'), /^Thrown, although it is not an Error: a symbol$/],
  ['a bigint', 1n, /^Thrown, although it is not an Error: the bigint 1$/],
  ['a function', () => {}, /^Thrown, although it is not an Error: a function$/],
  ['an object', {}, /^Thrown, although it is not an Error: an object$/],
  [
    'an object without a prototype', Object.create(null),
    /^Thrown, although it is not an Error: an object/,
  ],
  ['an object like an error', { message: 'boom' }, /^Error: boom$/],
  ['a frozen error', Object.freeze(new Error('boom')), /^Error: boom$/],
  [
    'an error without a stack', Object.assign(new Error('boom'), { stack: undefined }),
    /^Error: boom$/,
  ],
  [
    'an error whose stack is not text', Object.assign(new Error('boom'), { stack: 42 }),
    /^Error: boom$/,
  ],
  [
    'an error whose stack throws', Object.defineProperty(new Error('boom'), 'stack', { get: boom }),
    /^Error: boom$/,
  ],
  [
    'an error whose cause throws', Object.defineProperty(new Error('boom'), 'cause', { get: boom }),
    /^Error: boom$/,
  ],
  ['what cannot be looked at', unprintable, /^Thrown, although it is not an Error: /],
  [
    'a revoked proxy',
    (() => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy; })(),
    /^Thrown, although it is not an Error: /,
  ],
  ['an error that is its own cause', circle, /^Error: circle$/],
  [
    'an error that says the client has left',
    Object.assign(new Error('boom'), { code: 'ECONNRESET' }), /^Error: boom$/,
  ],
];

const results: Array<[string, unknown]> = [
  ['undefined', undefined], ['null', null], ['a number', 42], ['NaN', NaN], ['true', true],
  ['a bigint', 1n],
  ['a symbol', Symbol('s')], ['a function', () => []], ['a generator function', function* () {}],
  ['an object', {}],
  ['a string', 'text'], ['an empty string', ''], ['a String', Object('text')],
  ['a Uint8Array', bytes('x')], ['a Buffer', Buffer.from('x')],
  ['an ArrayBuffer', new ArrayBuffer(1)], ['a DataView', new DataView(new ArrayBuffer(1))],
  ['a Date', new Date(0)],
  ['an Error', new Error('returned')], ['a Response', new Response('x')],
  ['what cannot be looked at', unprintable],
  ['an object that is not iterable, though it says so', { [Symbol.iterator]: 1 }],
  ['an iterable without an iterator', { [Symbol.iterator]: () => undefined }],
  ['an iterator without next()', { [Symbol.iterator]: () => ({}) }],
  ['an iterator whose step is undefined', { [Symbol.iterator]: () => ({ next: () => undefined }) }],
  [
    'an async iterator whose step is undefined',
    { [Symbol.asyncIterator]: () => ({ next: async () => undefined }) },
  ],
];

const chunks: Array<[string, unknown]> = [
  ['a string', 'text'], ['an empty string', ''], ['null', null], ['undefined', undefined],
  ['a number', 1], ['an array', [1]],
  ['an empty array', []], ['a promise', Promise.resolve(bytes('x'))],
  ['an ArrayBuffer', new ArrayBuffer(1)],
  ['a DataView', new DataView(new ArrayBuffer(1))], ['a Uint16Array', new Uint16Array(1)],
  ['an object with a length', { length: 1 }],
];

async function afterTheHead(start: StartResponse, then: () => void): Promise<ResponseBody> {
  await start('200 OK', [])(bytes('begun'));
  then();
  return [];
}
const loose = (...given: unknown[]): WSGIApplication => (_environ, start) => {
  Reflect.apply(start, undefined, given);
  return [bytes('x')];
};

const starts: Fault[] = [
  fault(
    'is never called', () => [bytes('x')], /^Error: there is no response to send this chunk with/,
  ),
  fault(
    'is never called, and there is no chunk',
    () => [],
    /^Error: the application ended without calling startResponse\(\)$/,
  ),
  fault(
    'comes behind the first chunk',
    function* (_, start) { yield bytes('x'); start('200 OK', []); },
    /^Error: there is no response to send/,
  ),
  fault(
    'comes twice',
    (_, start) => (start('200 OK', []), start('200 OK', []), []),
    /^Error: startResponse\(\) was called a second time/,
  ),
  fault(
    'comes twice, the first with a fault',
    (_, start) => {
      try { start('nonsense' as '1 ', []); } catch { start('200 OK', []); }
      return [];
    },
    /^Error: startResponse\(\) was called a second time/,
  ),
  fault(
    'comes behind the head, with an error',
    (_, start) => afterTheHead(start, () => start('500 No', [], new Error('boom'))),
    /^Error: boom$/,
    begun,
  ),
  fault(
    'comes behind the head, with no error',
    (_, start) => afterTheHead(start, () => start('500 No', [])),
    /^Error: startResponse\(\) was called a second time/,
    begun,
  ),
  fault('gets nothing', loose(), /^TypeError: startResponse\(\) takes a status/),
  fault(
    'gets a number',
    loose(200, []),
    /^TypeError: startResponse\(\) takes a status .* not the number 200$/,
  ),
  fault(
    'gets a status without a reason',
    loose('200', []),
    /^RangeError: the status "200" is not three digits/,
  ),
  fault(
    'gets an interim status', loose('101 Switching Protocols', []), /^RangeError: the status "101/,
  ),
  fault(
    'gets no headers',
    loose('200 OK'),
    /^TypeError: startResponse\(\) takes the headers .* not undefined$/,
  ),
  fault(
    'gets headers in an object',
    loose('200 OK', { a: 'b' }),
    /^TypeError: startResponse\(\) takes the headers/,
  ),
  fault(
    'gets the global Headers',
    loose('200 OK', new Headers()),
    /^TypeError: startResponse\(\) takes the headers/,
  ),
  fault(
    'gets a header that is text',
    loose('200 OK', ['a: b']),
    /^TypeError: each header is a \[name, value\] pair/,
  ),
  fault(
    'gets a header with a number',
    loose('200 OK', [['a', 1]]),
    /^TypeError: a header value is a string/,
  ),
  fault('gets null for a header', loose('200 OK', [null]), /^TypeError: each header is/),
  fault(
    'gets a hop-by-hop header',
    loose('200 OK', [['Connection', 'close']]),
    /^RangeError: the application may not send Connection/,
  ),
  fault(
    'gets two lengths',
    loose('200 OK', [['Content-Length', '1'], ['content-length', '1']]),
    /^RangeError: Content-Length is in the headers/,
  ),
  fault(
    'gets a length that is none',
    loose('200 OK', [['Content-Length', '-1']]),
    /^RangeError: Content-Length is "-1"/,
  ),
  fault(
    'gets an odd name', loose('200 OK', [['a b', '']]), /^RangeError: "a b" is not a header name/,
  ),
  fault(
    'returns write(), which gets text',
    (_, start) => (Reflect.apply(start('200 OK', []), undefined, ['text']), []),
    /^TypeError: a chunk of the body is a Uint8Array, not "text"/,
  ),
];

function checkAnswer(gets: Fault['gets'], answer: StrictResponse | undefined): void {
  if (gets === 500) {
    assert.equal(`${answer?.status} ${answer?.reason}`, '500 Internal Server Error');
    const own =
      answer?.headers.filter(([name]) => !/^(Date|Server|Connection|Keep-Alive)$/.test(name));
    assert.deepEqual(own, [['Content-Type', 'text/plain'], ['Content-Length', '59']]);
    assert.equal(answer?.body, ERROR_PAGE);
    return;
  }
  assert.equal(answer?.status, '200');
  const cut = 'cutAfter' in gets;
  assert.equal(answer?.body, cut ? gets.cutAfter : gets.whole);
  assert.equal(answer?.whole, !cut);
}

const faults: Array<[string, Fault[]]> = [
  ['throws', throws],
  [
    'throws, of all things,',
    values.map(([title, value, trace]) => fault(title, throwing(value), trace)),
  ],
  [
    'rejects with',
    values.map(([title, value, trace]) => fault(title, () => Promise.reject(value), trace)),
  ],
  [
    'returns',
    results.map(([title, value]) => fault(title, returning(value), /^(TypeError: |Error: boom)/)),
  ],
  [
    'resolves with',
    results.map(([title, value]) =>
      fault(
        title,
        async (environ, start) => returning(value)(environ, start),
        /^(TypeError: |Error: boom)/,
      )),
  ],
  [
    'yields first',
    chunks.map(([title, value]) =>
      fault(title, yielding(value), /^TypeError: a chunk of the body is a Uint8Array, not /)),
  ],
  [
    'yields in the middle',
    chunks.map(([title, value]) =>
      fault(
        title,
        yielding(bytes('begun'), value, bytes('x')),
        /^TypeError: a chunk of the body is a Uint8Array, not /,
        begun,
      )),
  ],
  ['whose startResponse()', starts],
];

for (const [group, rows] of faults) {
  describe(`an application that ${group}`, () => {
    for (const { title, app, trace, gets } of rows) {
      test(title, async () => {
        await misbehaving(app, async (wire) => {
          // After a 500 or a complete response the connection stays open.
          const answers =
            parseResponses(await exchange(wire.port, get('/') + NEXT), ['GET', 'GET']);
          checkAnswer(gets, answers[0]);
          const cut = typeof gets === 'object' && 'cutAfter' in gets;
          assert.deepEqual(answers.slice(1).map(({ body }) => body), cut ? [] : ['next']);
          assert.equal(traces(wire).length, 1, wire.errors.getValue());
          assert.match(traces(wire)[0] ?? '', trace);
        });
      });
    }
  });
}

describe('an application that', () => {
  test('fails, and fails in close(), has both reported', async () => {
    const app = started(() => Object.assign((function* () { yield bytes('begun'); boom(); })(), {
      close() { throw new Error('and again'); },
    }));
    await misbehaving(app, async (wire) => {
      assert.equal((await converse(wire.port, get('/')))[0]?.whole, false);
      assert.deepEqual(traces(wire).sort(), ['Error: and again', 'Error: boom']);
    });
  });

  test('fails in return(), when it is stopped early, has its whole response sent', async () => {
    const app: WSGIApplication = (_environ, start) => {
      start('200 OK', [['Content-Length', '5']]);
      return (function* () { try { while (true) yield bytes('begun'); } finally { boom(); } })();
    };
    await misbehaving(app, async (wire) => {
      const answers = parseResponses(await exchange(wire.port, get('/') + NEXT), ['GET', 'GET']);
      assert.deepEqual(answers.map(({ body }) => body), ['begun', 'next']);
      assert.deepEqual(traces(wire), ['Error: boom']);
    });
  });

  test('never settles leaves its client free to go, and others served', async () => {
    const called = deferred();
    await misbehaving(() => (called.resolve(), new Promise(() => {})), async (wire) => {
      const client = (await RawClient.connect(wire.port)).send(get('/'));
      await called.promise;
      assert.equal((await converse(wire.port, NEXT))[0]?.body, 'next');
      assert.equal(client.pending, '');
      client.socket.destroy();
      assert.equal(wire.errors.getValue(), '');
    });
  });

  for (const step of ['close()', 'return()']) {
    test(`never settles in ${step} has its response sent all the same`, async () => {
      const never = (): Promise<never> => new Promise(() => {});
      const app: WSGIApplication = (_environ, start) => {
        start('200 OK', [['Content-Length', '5']]);
        const next = async (): Promise<IteratorResult<Uint8Array>> => ({
          done: false, value: bytes('begun'),
        });
        const iterator = step === 'return()' ? { next, return: never } : { next };
        return {
          [Symbol.asyncIterator]: () => iterator, ...(step === 'close()' ? { close: never } : {}),
        };
      };
      await misbehaving(app, async (wire) => {
        const answers = parseResponses(await exchange(wire.port, get('/') + NEXT), ['GET', 'GET']);
        assert.deepEqual(answers.map(({ body }) => body), ['begun', 'next']);
        assert.equal(wire.errors.getValue(), '');
      });
    });
  }

  test('calls startResponse() and write() after the end is told so', async () => {
    const told: unknown[] = [];
    const attempt = (step: () => unknown): void => {
      try {
        step();
      } catch (error) {
        told.push(String(error));
      }
    };
    let late = (): void => {};
    const app: WSGIApplication = (_environ, start) => {
      const write = start('200 OK', []);
      late = () => {
        attempt(() => start('200 OK', []));
        attempt(() => start('500 No', [], new Error('boom')));
        attempt(() => write(bytes('x')));
      };
      return [bytes('all')];
    };
    await misbehaving(app, async (wire) => {
      assert.equal((await converse(wire.port, get('/', 'Connection: close')))[0]?.body, 'all');
      late();
      const ended = 'Error: startResponse() was called after the response had ended';
      assert.deepEqual(told.slice(0, 2), [ended, ended]);
      assert.match(String(told[2]), /^Error: there is no response to send this chunk with/);
      assert.equal(wire.errors.getValue(), '');
    });
  });

  test('goes on behind a write() that it does not await', async () => {
    const app = started((start) => { void start; return [bytes('1'), bytes('2')]; });
    const unwaited: WSGIApplication = (environ, start) => {
      const write = start('200 OK', []);
      for (const each of ['a', 'b', 'c']) void write(bytes(each));
      return app(environ, (() => write) as StartResponse);
    };
    await misbehaving(unwaited, async (wire) => {
      const [answer] = await converse(wire.port, get('/', 'Connection: close'));
      assert.deepEqual(answer?.chunks, ['a', 'b', 'c', '1', '2']);
    });
  });

  test('gives a bad chunk behind good ones, and the good ones arrive', async () => {
    const app = async (_environ: unknown, start: StartResponse): Promise<ResponseBody> => {
      await new Promise(setImmediate);
      start('200 OK', []);
      return [bytes('1'), bytes('2'), 3 as unknown as Uint8Array];
    };
    await misbehaving(app, async (wire) => {
      const [answer] = await converse(wire.port, get('/', 'Connection: close'));
      assert.deepEqual(answer?.chunks, ['1', '2']);
      assert.equal(answer.whole, false);
      assert.equal(traces(wire).length, 1);
    });
  });
});

describe('what an application does to its environ', () => {
  const changes: Array<[string, (environ: Record<string, unknown>) => void]> = [
    [
      'taking everything out',
      (environ) => { for (const key of Object.keys(environ)) delete environ[key]; },
    ],
    ['freezing it', (environ) => void Object.freeze(environ)],
    ['making it a HEAD', (environ) => { environ['REQUEST_METHOD'] = 'HEAD'; }],
    ['making it HTTP/0.9', (environ) => { environ['SERVER_PROTOCOL'] = 'HTTP/0.9'; }],
    [
      'putting odd values in',
      (environ) => { for (const key of Object.keys(environ)) environ[key] = unprintable; },
    ],
    ['changing its prototype', (environ) => { Object.setPrototypeOf(environ, null); }],
  ];
  for (const [title, change] of changes) {
    test(`${title} changes neither the response nor the next request`, async () => {
      const seen: string[] = [];
      const app: WSGIApplication = (environ, start) => {
        seen.push(Object.keys(environ).sort().join());
        change(environ as unknown as Record<string, unknown>);
        start('200 OK', []);
        return [bytes('all')];
      };
      await misbehaving(app, async (wire) => {
        const answers = parseResponses(await exchange(wire.port, get('/') + get('/') + NEXT), [
          'GET', 'GET', 'GET',
        ]);
        assert.deepEqual(answers.map(({ body }) => body), ['all', 'all', 'next']);
        assert.equal(seen[0], seen[1]);
        assert.equal(wire.errors.getValue(), '');
      });
    });
  }

  test('making a HEAD a GET sends no body to it', async () => {
    const app: WSGIApplication = (environ, start) => {
      environ.REQUEST_METHOD = 'GET';
      start('200 OK', []);
      return [bytes('all')];
    };
    await misbehaving(app, async (wire) => {
      const sent = 'HEAD / HTTP/1.1\r\nHost: x\r\n\r\n' + NEXT;
      const answers = parseResponses(await exchange(wire.port, sent), ['HEAD', 'GET']);
      assert.deepEqual(answers.map(({ body }) => body), ['', 'next']);
    });
  });
});

describe('what an application does to its headers', () => {
  const changes: Array<[string, (headers: Array<[string, string]>) => void]> = [
    ['emptying the list', (headers) => { headers.length = 0; }],
    ['adding to it', (headers) => { headers.push(['X-Late', 'v']); }],
    ['changing a length', (headers) => { for (const pair of headers) pair[1] = '99'; }],
    ['breaking a value', (headers) => { for (const pair of headers) pair[1] = '3\r\nX-Evil: 1'; }],
    [
      'changing a name',
      (headers) => { for (const pair of headers) pair[0] = 'Transfer-Encoding'; },
    ],
    [
      'freezing the list',
      (headers) => { for (const pair of headers) Object.freeze(pair); Object.freeze(headers); },
    ],
  ];
  for (const [title, change] of changes) {
    test(`${title} behind startResponse() changes nothing`, async () => {
      const app: WSGIApplication = (_environ, start) => {
        const headers: Array<[string, string]> = [['Content-Length', '3']];
        start('200 OK', headers);
        change(headers);
        return [bytes('all')];
      };
      await misbehaving(app, async (wire) => {
        const [answer] = await converse(wire.port, get('/', 'Connection: close'));
        const own = answer?.headers.filter(([name]) => !/^(Date|Server)$/.test(name));
        assert.deepEqual(own, [['Content-Length', '3'], ['Connection', 'close']]);
        assert.equal(answer?.body, 'all');
        assert.equal(wire.errors.getValue(), '');
      });
    });
  }

  test('a list used for every request stays as it is', async () => {
    const headers: Array<[string, string]> = [['X', 'v']];
    await misbehaving(
      (_environ, start) => (start('200 OK', headers), [bytes('all')]),
      async (wire) => {
        await converse(wire.port, get('/', 'Connection: close'));
        assert.deepEqual(headers, [['X', 'v']]);
      },
    );
  });
});

test(
  'a rejection that an application does not handle is its own, and the server goes on',
  async () => {
    const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const program = `
    import { makeServer } from ${JSON.stringify(new URL(`../lib/index.${suffix}`, import.meta.url))};
    const caught = [];
    process.on('unhandledRejection', (error) => caught.push(error.message));
    const server = makeServer('127.0.0.1', 0, (environ, start) => {
      void Promise.reject(new Error('forgotten'));
      start('200 OK', []);
      return [Buffer.from('served')];
    }, { maxRequests: 2 });
    await server.ready;
    const url = 'http://127.0.0.1:' + server.serverPort;
    const answers = [await (await fetch(url)).text(), await (await fetch(url)).text()];
    console.log(JSON.stringify({ caught, answers }));
    process.exit();
  `;
    const child = spawn(
      process.execPath,
      [
        '--no-warnings', ...process.execArgv.filter((flag) => flag.includes('strip')),
        '--input-type=module', '-e', program,
      ],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    const [printed] = (await once(child.stdout, 'data')) as [Buffer];
    await once(child, 'close');
    assert.deepEqual(JSON.parse(String(printed)), {
      caught: ['forgotten', 'forgotten'], answers: ['served', 'served'],
    });
  },
);

interface Leaving {
  title: string;
  /** The request; a GET by default. */
  send?: string;
  /** Makes the application; `reached` signals that the client should leave. */
  app: (events: string[], reached: () => void) => WSGIApplication;
  /** The events that the application's body must have seen, sorted. */
  events: string[];
  /** The client reads nothing. */
  stalled?: boolean;
  /** The server notices only a reset: it has nothing to send that could fail. */
  resetOnly?: boolean;
}

const never = (): Promise<never> => new Promise(() => {});
const ENDED = ['close', 'finally'];

const leavings: Leaving[] = [
  {
    title: 'while the application has yet to return',
    app: (events, reached) => async (_environ, start) => {
      reached();
      start('200 OK', []);
      await new Promise<void>((resolve) => setTimeout(resolve, 30));
      return noted(events, [bytes('late')]);
    },
    events: ['close'],
  },
  {
    title: 'before the first chunk',
    app: (events, reached) => started(() => noted(events, (async function* () {
      try {
        reached();
        await new Promise((resolve) => setTimeout(resolve, 30));
        yield bytes('late');
      } finally {
        events.push('finally');
      }
    })())),
    events: ENDED,
  },
  {
    title: 'between two chunks that come in their own time',
    app: (events, reached) => started(() => noted(events, (async function* () {
      try {
        while (true) {
          yield bytes('more');
          reached();
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
      } finally {
        events.push('finally');
      }
    })())),
    events: ENDED,
  },
  {
    title: 'between two chunks of a generator that never waits',
    app: (events, reached) => started(() => noted(events, (function* () {
      try { while (true) { yield bytes('more'); reached(); } } finally { events.push('finally'); }
    })())),
    events: ENDED,
  },
  {
    title: 'between two empty chunks',
    app: (events, reached) => started(() => noted(events, (function* () {
      try { while (true) { yield bytes(''); reached(); } } finally { events.push('finally'); }
    })())),
    events: ENDED,
  },
  {
    title: 'while the body waits for what close() ends',
    app: (events, reached) => started(() => {
      const leave = new AbortController();
      const body = (async function* () {
        try {
          yield bytes('one');
          reached();
          await new Promise((_resolve, reject) =>
            leave.signal.addEventListener('abort', () => reject(leave.signal.reason)));
        } finally { events.push('finally'); }
      })();
      return Object.assign(body, { close() { events.push('close'); leave.abort(); } });
    }),
    events: ENDED,
  },
  {
    title: 'while the body waits, and close() lets it end short of its length',
    app: (events, reached) => (_environ, start) => {
      start('200 OK', [['Content-Length', '10']]);
      const woken = deferred();
      const body = (async function* () {
        yield bytes('one');
        reached();
        await woken.promise;
        events.push('finally');
      })();
      return Object.assign(body, { close() { events.push('close'); woken.resolve(); } });
    },
    events: ENDED,
  },
  {
    title: 'while a Readable has nothing to give',
    app: (events, reached) => started(() => {
      const stream = new Readable({
        read() {}, destroy(error, done) { events.push('destroyed'); done(error); },
      });
      stream.push('one');
      setImmediate(reached);
      return stream;
    }),
    events: ['destroyed'],
  },
  {
    title: 'while a file is sent that it does not read',
    stalled: true,
    app: (events, reached) => async (environ, start) => {
      start('200 OK', []);
      const file = await open(process.execPath);
      const close = file.close.bind(file);
      file.close = () => (events.push('close'), close());
      setTimeout(reached, 30);
      return environ['wsgi.file_wrapper']?.(file) ?? [];
    },
    events: ['close'],
  },
  {
    title: 'while chunks wait that it does not read',
    stalled: true,
    app: (events, reached) => started(() => noted(events, (function* () {
      try {
        for (let count = 0; ; count += 1) {
          if (count === 40) reached();
          yield new Uint8Array(65536);
        }
      } finally {
        events.push('finally');
      }
    })())),
    events: ENDED,
  },
  {
    title: 'while write() waits',
    stalled: true,
    app: (events, reached) => async (_environ, start) => {
      const write = start('200 OK', []);
      try {
        for (let count = 0; ; count += 1) {
          if (count === 40) reached();
          await write(new Uint8Array(65536));
        }
      } finally { events.push('finally'); }
    },
    events: ['finally'],
  },
  {
    title: 'in the middle of a body of known length',
    send: `${post('', 'Content-Length: 10').trimEnd()}\r\n\r\nhalf`,
    app: (events, reached) => async (environ, start) => {
      reached();
      try { await environ['wsgi.input'].read(); } finally { events.push('finally'); }
      start('200 OK', []);
      return [];
    },
    events: ['finally'],
  },
  {
    title: 'in the middle of a chunked body',
    send: `${post('', 'Transfer-Encoding: chunked').trimEnd()}\r\n\r\n5\r\nhel`,
    app: (events, reached) => async (environ, start) => {
      reached();
      try { await environ['wsgi.input'].read(); } finally { events.push('finally'); }
      start('200 OK', []);
      return [];
    },
    events: ['finally'],
  },
  {
    title: 'in the middle of a body that is echoed',
    send: `${post('', 'Content-Length: 10').trimEnd()}\r\n\r\nhalf\n`,
    app: (events, reached) => async (environ, start) => {
      start('200 OK', []);
      return noted(events, (async function* () {
        try {
          for await (const line of environ['wsgi.input']) { reached(); yield line; }
        } finally {
          events.push('finally');
        }
      })());
    },
    events: ENDED,
  },
  {
    title: 'behind a pipelined request that waits for the first',
    send: get('/') + get('/'),
    app: (events, reached) => {
      let count = 0;
      return (_environ, start) => {
        count += 1;
        if (count === 1) return never();
        setImmediate(reached);
        start('200 OK', []);
        return noted(events, (async function* () {
          try { while (true) yield new Uint8Array(65536); } finally { events.push('finally'); }
        })());
      };
    },
    events: ENDED,
  },
  {
    title: 'behind the last chunk, which it has not read',
    stalled: true,
    app: (events, reached) => started(() => noted(events, (function* () {
      try { yield bytes('all'); reached(); } finally { events.push('finally'); }
    })())),
    events: ENDED,
  },
];

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

for (const how of ['resets the connection', 'closes the connection']) {
  describe(`a client that ${how}`, () => {
    for (const { title, send = get('/'), app, events: expected, stalled } of leavings) {
      test(title, { timeout: 60_000 }, async () => {
        const events: string[] = [];
        const reached = deferred();
        await misbehaving(app(events, () => reached.resolve()), async (wire) => {
          const client = await RawClient.connect(wire.port);
          if (stalled) client.socket.pause();
          client.send(send);
          await reached.promise;
          assert.equal((await converse(wire.port, NEXT))[0]?.body, 'next', 'others meanwhile');
          if (how.startsWith('resets')) client.socket.resetAndDestroy();
          else client.socket.destroy();
          await until(() => events.length >= expected.length);
          // A second call would happen in the following turns.
          for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
          assert.deepEqual([...events].sort(), expected);
          assert.equal(wire.errors.getValue(), '');
        });
      });
    }

    for (const part of ['GET / HT', 'GET / HTTP/1.1\r\nHo', 'GET / HTTP/1.1\r\nHost: x\r\n\r']) {
      test(`in its head, behind ${JSON.stringify(part.slice(-6))}`, async () => {
        await misbehaving(boom, async (wire) => {
          const client = (await RawClient.connect(wire.port)).send(part);
          // When another request is answered, the server has received these bytes.
          await converse(wire.port, NEXT);
          if (how.startsWith('resets')) client.socket.resetAndDestroy();
          else client.socket.destroy();
          assert.equal(wire.errors.getValue(), '');
          assert.equal(wire.log.length, 1);
        });
      });
    }
  });
}
