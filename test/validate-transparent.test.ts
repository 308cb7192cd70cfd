// Through the validator everything arrives as it was sent: chunks, order, timing,
// errors, and the calls that end an exchange.

import assert from 'node:assert/strict';
import * as streams from 'node:stream';
import { PassThrough, Readable, pipeline } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';

import { BytesIO } from '../lib/io.ts';
import type { FileLike, WSGIApplication } from '../lib/types.ts';
import { FileWrapper } from '../lib/util.ts';
import { type WSGIError, validator } from '../lib/validate.ts';
import {
  type Loose,
  Server,
  answer,
  app,
  bytes,
  makeEnviron,
  passTime,
} from './support/validate-exchange.ts';

// The types of Node 20 do not have it yet.
const compose = Reflect.get(streams, 'compose') as (...parts: unknown[]) => Readable;

const TYPE = ['Content-Type', 'text/plain'];
const reports: WSGIError[] = [];
const onWarning = (warning: WSGIError): number => reports.push(warning);

/** Calls the application through a validator, as a server would. */
function call(application: WSGIApplication, environ = {}): Loose {
  const whole = validator(application, { onWarning });
  return whole(makeEnviron({ environ }) as Loose, new Server().startResponse);
}

/** A body that writes down what is done with it. */
function recorded(log: string[], chunks: Uint8Array[] = [bytes('a'), bytes('b')]): unknown {
  const waiting = [...chunks];
  return {
    [Symbol.iterator]: () => ({
      next: () => {
        log.push('next');
        return waiting.length > 0
          ? { done: false, value: waiting.shift() }
          : { done: true, value: undefined };
      },
      return: (value: unknown) => {
        log.push('return');
        return { done: true, value };
      },
      throw: (error: unknown) => {
        log.push('throw');
        throw error;
      },
    }),
    close: () => void log.push('close'),
  };
}

describe('a body through the validator', () => {
  it('yields the same chunks in the same order', () => {
    const chunks = [bytes('a'), Buffer.from('b'), bytes('')];
    const body = call(answer('200 OK', [TYPE], chunks));
    const seen = [...body];
    assert.equal(seen.length, 3);
    for (const [index, chunk] of seen.entries()) assert.equal(chunk, chunks[index]);
    body.close();
  });

  it('is closed with the `this` of the call', () => {
    const seen: unknown[] = [];
    const body = [bytes('a')];
    Object.assign(body, { close(this: unknown) { seen.push(this); } });
    for (const take of [(guarded: Loose) => guarded.close(), ({ close }: Loose) => close()]) {
      take(call(answer('200 OK', [TYPE], body)));
    }
    assert.deepEqual(seen, [body, undefined]);
  });

  it('is synchronous if the body is, and asynchronous if that is', () => {
    const sync = call(answer());
    assert.ok(Symbol.iterator in sync && !(Symbol.asyncIterator in sync));
    const async = call(answer('200 OK', [TYPE], (async function* () {})()));
    assert.ok(Symbol.asyncIterator in async && !(Symbol.iterator in async));
    sync.close();
    async.close();
  });

  it('has the length of an array, the size of a set, and none if there is none', () => {
    const lengths = [[bytes('a')], new Set([bytes('a'), bytes('b')]), recorded([])].map((made) => {
      const body = call(answer('200 OK', [TYPE], made));
      body.close();
      return 'length' in body ? body.length : 'none';
    });
    assert.deepEqual(lengths, [1, 2, 'none']);
  });

  it('is asked for no chunk before the server asks', () => {
    const log: string[] = [];
    const body = call(answer('200 OK', [TYPE], recorded(log)));
    const chunks = body[Symbol.iterator]();
    assert.deepEqual(log, []);
    chunks.next();
    assert.deepEqual(log, ['next']);
    chunks.next();
    chunks.next();
    body.close();
    assert.deepEqual(log, ['next', 'next', 'next', 'close']);
  });

  it('is stopped and closed once, however often the server does it', () => {
    const log: string[] = [];
    const body = call(answer('200 OK', [TYPE], recorded(log)));
    const chunks = body[Symbol.iterator]();
    chunks.next();
    assert.deepEqual(chunks.return(7), { done: true, value: 7 });
    assert.deepEqual(chunks.return(8), { done: true, value: 8 });
    body.close();
    body.close();
    assert.deepEqual(log, ['next', 'return', 'close']);
    assert.equal(reports.pop()?.code, 'close-twice');
  });

  it('hands throw() on', () => {
    const log: string[] = [];
    const body = call(answer('200 OK', [TYPE], recorded(log)));
    const error = new Error('stop');
    assert.throws(() => body[Symbol.iterator]().throw(error), error);
    body.close();
    assert.deepEqual(log, ['throw', 'close']);
  });

  it('runs the finally blocks of a generator that yields what breaks a rule', () => {
    const log: string[] = [];
    const body = call(
      app(function* (_environ, start) {
        start('200 OK', [TYPE]);
        try {
          yield 'text';
        } finally {
          log.push('finally');
        }
      }),
    );
    assert.throws(() => [...body], { code: 'chunk-bytes' });
    assert.deepEqual(log, ['finally']);
    body.close();
  });

  it('may be left while it waits, as when the client has gone', async () => {
    const log: string[] = [];
    let go = (): void => {};
    const body = call(
      app(async function* (_environ, start) {
        start('200 OK', [TYPE, ['Content-Length', '9']]);
        try {
          yield bytes('a');
          await new Promise<void>((resolve) => (go = resolve));
          yield bytes('b');
        } finally {
          log.push('finally');
        }
      }),
    );
    const chunks = body[Symbol.asyncIterator]();
    await chunks.next();
    const late = chunks.next();
    const stopped = chunks.return();
    await body.close();
    go();
    await Promise.all([late, stopped]);
    passTime();
    assert.deepEqual(log, ['finally']);
    assert.deepEqual(reports.splice(0), []);
  });

  for (const [how, codes] of [
    ['passes close() on', []], ['forgets it', ['close-propagated']],
  ] as const) {
    it(`may be left while it waits, by middleware that ${how}`, async () => {
      let go = (): void => {};
      const inner: Loose = validator(
        app(async function* (_environ, start) {
          start('200 OK', [TYPE]);
          yield bytes('a');
          await new Promise<void>((resolve) => (go = resolve));
          yield bytes('b');
        }),
        { onWarning },
      );
      const body = call(
        app(async function* (environ, start) {
          const inside = await inner(environ, start);
          try {
            for await (const chunk of inside) yield chunk;
          } finally {
            if (codes.length === 0) await inside.close?.();
          }
        }),
      );
      const chunks = body[Symbol.asyncIterator]();
      await chunks.next();
      const late = chunks.next();
      const stopped = chunks.return();
      await body.close();
      go();
      await Promise.all([late, stopped]);
      passTime();
      assert.deepEqual(reports.splice(0).map(({ code }) => code), codes);
    });
  }

  it('of a web stream is free when it has been read', async () => {
    const stream = new Blob(['a']).stream();
    const body =
      call(answer('200 OK', [TYPE], Object.assign(stream, { close: () => stream.cancel() })));
    const chunks = body[Symbol.asyncIterator]();
    while (!(await chunks.next()).done);
    assert.deepEqual(await chunks.next(), { done: true, value: undefined });
    await chunks.return();
    assert.ok(!stream.locked);
    await body.close();
    assert.deepEqual(reports.splice(0), []);
  });

  it('of a web stream is free when it was left', async () => {
    const stream = new ReadableStream({ pull: () => new Promise(() => {}) });
    const body = call(answer('200 OK', [TYPE], stream));
    const chunks = body[Symbol.asyncIterator]();
    const late = chunks.next();
    await chunks.return();
    assert.equal((await late).done, true);
    assert.ok(!stream.locked);
    await body.close();
    assert.deepEqual(reports.splice(0), []);
  });

  it('of a web stream with an iterator of its own is iterated by that', async () => {
    const stream = Object.assign(new Blob(['a']).stream(), {
      async *[Symbol.asyncIterator]() {
        yield bytes('own');
      },
    });
    const body = call(answer('200 OK', [TYPE], stream));
    assert.equal(await text(Readable.from(body)), 'own');
    body.close();
    assert.deepEqual(reports.splice(0), []);
  });

  it('may take its time to stop before it is closed', async () => {
    let go = (): void => {};
    const body = call(
      app(async function* (_environ, start) {
        start('200 OK', [TYPE]);
        try {
          yield bytes('a');
        } finally {
          await new Promise<void>((resolve) => (go = resolve));
        }
      }),
    );
    const chunks = body[Symbol.asyncIterator]();
    await chunks.next();
    const stopped = chunks.return();
    await new Promise((resolve) => setImmediate(resolve));
    passTime();
    go();
    await stopped;
    await body.close();
    passTime();
    assert.deepEqual(reports.splice(0), []);
  });

  it('has ended when a report comes, so that the report is the only one', async () => {
    const log: string[] = [];
    const inner =
      validator(app((_environ, start) => (start('200 OK', [TYPE]), [bytes('a')])), { onWarning });
    const middleware = app(async function* (environ, start) {
      const body = await (inner as Loose)(environ, start);
      try {
        for await (const chunk of body) yield String(chunk);
      } finally {
        await null;
        await body.close();
        log.push('closed');
      }
    });
    const body = call(middleware);
    const chunks = body[Symbol.asyncIterator]();
    await assert.rejects(chunks.next(), { code: 'chunk-bytes' });
    assert.deepEqual(log, ['closed']);
    await body.close();
    passTime();
    assert.deepEqual(reports.splice(0), []);
  });

  it('of a Node stream can be destroyed unread', () => {
    const stream = Readable.from([bytes('a')]);
    const body = call(answer('200 OK', [TYPE], stream));
    body.destroy();
    body.close();
    assert.ok(stream.destroyed);
    assert.deepEqual(reports.splice(0), []);
  });

  const bodies: Array<[string, () => unknown]> = [
    ['an array', () => [bytes('ab'), bytes('cd')]],
    ['a generator', () => (function* () { yield bytes('ab'); yield bytes('cd'); })()],
    ['an async generator', () => (async function* () { yield bytes('ab'); yield bytes('cd'); })()],
    ['a Node stream', () => Readable.from([bytes('ab'), bytes('cd')])],
    ['a web stream', () => new Response('abcd').body],
  ];
  const uses: Array<[string, (body: Loose) => Promise<string>]> = [
    ['stream.pipeline', (body) => text(pipeline(body, new PassThrough(), () => {}))],
    ['stream.compose', (body) => text(compose(body, new PassThrough()))],
    ['Readable.from', (body) => text(Readable.from(body))],
  ];
  for (const [kind, make] of bodies) {
    for (const [name, use] of uses) {
      it(`of ${kind} goes through ${name}, and each chunk is seen`, async () => {
        const body = call(answer('200 OK', [TYPE, ['Content-Length', '4']], make()));
        assert.equal(await use(body), 'abcd');
        body.close();
        assert.deepEqual(reports.splice(0), []);

        const short = call(answer('200 OK', [TYPE, ['Content-Length', '5']], make()));
        await assert.rejects(use(short), { code: 'body-too-short' });
        short.close();
      });
    }
  }

  for (const [kind, make] of bodies.filter(
    ([each]) => each !== 'an array' && each !== 'a generator',
  )) {
    it(`of ${kind} is a body of a Response`, async () => {
      const body = call(answer('200 OK', [TYPE], make()));
      assert.equal(await new Response(body).text(), 'abcd');
      body.close();
      assert.deepEqual(reports.splice(0), []);
    });
  }
});

describe('an error through the validator', () => {
  const error = Object.freeze(new Error('mine'));
  const fail = (): never => {
    throw error;
  };

  it("is the application's own", async () => {
    assert.throws(
      () => call(app(fail)),
      (thrown) => thrown === error,
    );
    await assert.rejects(call(app(async () => fail())), (thrown) => thrown === error);
  });

  it("is the body's own", () => {
    const body = call(
      app(function* (_environ, start) {
        start('200 OK', [TYPE]);
        yield bytes('a');
        fail();
      }),
    );
    assert.throws(
      () => [...body],
      (thrown) => thrown === error,
    );
    body.close();
    const closing = call(answer('200 OK', [TYPE], Object.assign([], { close: fail })));
    assert.throws(
      () => closing.close(),
      (thrown) => thrown === error,
    );
    assert.equal(reports.pop()?.code, 'close-throws');
  });

  it("is the server's own", () => {
    const whole = validator(answer(), { onWarning });
    assert.throws(
      () => whole(makeEnviron() as Loose, fail),
      (thrown) => thrown === error,
    );
  });
});

describe('what the application is given', () => {
  it("is the server's environ itself, and all its other values", () => {
    const environ = makeEnviron({ environ: { 'my.value': {} } }) as Loose;
    const before = { ...environ };
    let seen: Loose;
    const body: Loose = validator((given, start) => {
      seen = given;
      return answer()(given, start);
    })(environ, new Server().startResponse);
    body.close();
    assert.equal(seen, environ);
    const wrapped = ['wsgi.input', 'wsgi.errors', 'tsgiref.validator'];
    for (const key of Object.keys(environ).filter((each) => !wrapped.includes(each))) {
      assert.equal(environ[key], before[key], key);
    }
    assert.ok(!JSON.stringify(environ).includes('tsgiref.validator'));
  });

  it('is the list of headers that middleware has changed, even for the next request', () => {
    const constant = [['Content-Type', 'text/plain']];
    const inner = app((_environ, start) => (start('204 No Content', constant), []));
    const told = [
      inner, validator(inner, { onWarning, severity: { 'content-type-on-204-304': 'off' } }),
    ].map((each) => {
      constant.splice(1);
      for (let request = 0; request < 2; request += 1) {
        const body = each(makeEnviron() as Loose, (_status, headers) => {
          (headers as Loose).push(['X-By', 'me']);
          return () => {};
        }) as Loose;
        for (const chunk of body) void chunk;
        body.close?.();
      }
      return constant.length;
    });
    assert.deepEqual(told, [3, 3]);
    assert.deepEqual(reports.splice(0), []);
  });

  it('is an environ that the server gets back, in whatever order bodies are closed', () => {
    const environ = makeEnviron({ environ: { 'wsgi.file_wrapper': () => [] } }) as Loose;
    const before = { ...environ };
    const [first, second] = [0, 1].map((): Loose => {
      return validator(answer(), { onWarning })(environ, new Server().startResponse);
    });
    first.close();
    second.close();
    assert.deepEqual(Object.keys(before).filter((key) => before[key] !== environ[key]), []);
    assert.deepEqual(reports.splice(0), []);
  });

  it('is an input that another application had, whose body has been closed since', async () => {
    const environ =
      makeEnviron({ environ: { 'wsgi.input': new BytesIO(bytes('a\nb\n')) } }) as Loose;
    const first: Loose = validator(answer(), { onWarning })(environ, new Server().startResponse);
    const second = validator(app(async function* (given, start) {
      start('200 OK', [TYPE]);
      for await (const line of given['wsgi.input']) yield line;
    }), { onWarning })(environ, new Server().startResponse) as Loose;
    first.close();
    assert.equal(await text(Readable.from(second)), 'a\nb\n');
    await second.close();
    assert.deepEqual(reports.splice(0), []);
  });

  it("is a write() whose promise settles when the server's does", async () => {
    let sent = (): void => {};
    const start = () => () => new Promise<void>((resolve) => (sent = resolve));
    const log: string[] = [];
    const whole = validator(
      app(async (_environ, startResponse) => {
        await startResponse('200 OK', [TYPE])(bytes('a'));
        log.push('written');
        return [];
      }),
      { onWarning },
    );
    const body = whole(makeEnviron() as Loose, start);
    await null;
    log.push('sent');
    sent();
    ((await body) as Loose).close();
    assert.deepEqual(log, ['sent', 'written']);
  });

  it('is a file wrapper whose result the server knows again', async () => {
    const log: string[] = [];
    const blocks = [bytes('one'), bytes('two'), bytes('')];
    const file = { read: () => blocks.shift() as Uint8Array, close: () => void log.push('close') };
    let made: Loose;
    const wrapper = (from: FileLike, size?: number): FileWrapper =>
      (made = new FileWrapper(from, size));
    const body = call(
      app((environ, start) => {
        start('200 OK', [TYPE, ['Content-Length', '6']]);
        return environ['wsgi.file_wrapper'](file, 3);
      }),
      { 'wsgi.file_wrapper': wrapper },
    );
    assert.equal(body, made);
    assert.ok(body instanceof FileWrapper);
    assert.equal(body.blockSize, 3);
    const chunks = [];
    for await (const chunk of body) chunks.push(chunk);
    assert.deepEqual(Buffer.concat(chunks).toString(), 'onetwo');
    await body.close?.();
    assert.deepEqual(log, ['close']);
    passTime();
    assert.deepEqual(reports.splice(0), []);
  });

  it('is a file wrapper whose result is still looked at', async () => {
    const body = call(
      app((environ, start) => {
        start('200 OK', [TYPE, ['Content-Length', '2']]);
        return environ['wsgi.file_wrapper'](new BytesIO());
      }),
      { 'wsgi.file_wrapper': (from: FileLike) => new FileWrapper(from) },
    );
    await assert.rejects(body[Symbol.asyncIterator]().next(), { code: 'body-too-short' });
    await body.close();
  });

  it('is a file wrapper whose results the server knows again, however many there are', () => {
    const body = call(
      app((environ, start) => {
        start('200 OK', [TYPE]);
        const [first] = ['a', 'b'].map((text) => {
          return environ['wsgi.file_wrapper'](new BytesIO(bytes(text)));
        });
        return first;
      }),
      { 'wsgi.file_wrapper': (from: FileLike) => new FileWrapper(from) },
    );
    assert.ok(body instanceof FileWrapper);
    body.close?.();
  });
});
