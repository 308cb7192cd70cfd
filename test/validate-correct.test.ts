// A correct program passes in silence, however unusual it looks.

import assert from 'node:assert/strict';
import { PassThrough, Readable, pipeline } from 'node:stream';
import { describe, it, mock } from 'node:test';

import { BytesIO } from '../lib/io.ts';
import { FileWrapper, shiftPathInfo } from '../lib/util.ts';
import { type WSGIError, validator } from '../lib/validate.ts';
import {
  type Exchange,
  type Loose,
  Server,
  answer,
  app,
  bytes,
  makeEnviron,
  passTime,
  play,
} from './support/validate-exchange.ts';

const TYPE = ['Content-Type', 'text/plain'];
const HEAD = { REQUEST_METHOD: 'HEAD' };

const wrapFile = (file: Loose, size?: number): FileWrapper => new FileWrapper(file, size);

const RIGHT: Record<string, Exchange> = {
  'HEAD with the headers of a GET': {
    app: answer('200 OK', [TYPE, ['Content-Length', '5']], []),
    environ: HEAD,
  },
  '204': { app: answer('204 No Content', [], []) },
  '304 with the length of a 200': {
    app: answer(
      '304 Not Modified',
      [
        ['ETag', '"a"'],
        ['Content-Length', '5'],
      ],
      [],
    ),
  },
  '302 without content or its type': { app: answer('302 Found', [['Location', '/']], []) },
  '404 without content': { app: answer('404 Not Found', [['Content-Length', '0']], []) },
  'a status of Latin-1': { app: answer('404 Où ça', [TYPE]) },
  'many cookies': { app: answer('200 OK', [TYPE, ['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2']]) },
  'M-SEARCH': { environ: { REQUEST_METHOD: 'M-SEARCH' } },
  'OPTIONS *': { environ: { REQUEST_METHOD: 'OPTIONS', PATH_INFO: '*' } },
  'no SCRIPT_NAME': { environ: { SCRIPT_NAME: undefined, PATH_INFO: '/' } },
  'no PATH_INFO': { environ: { SCRIPT_NAME: '/app', PATH_INFO: undefined } },
  'no QUERY_STRING, no CONTENT_LENGTH': {},
  'empty CGI variables': {
    environ: { CONTENT_LENGTH: '', CONTENT_TYPE: '', QUERY_STRING: '', REMOTE_HOST: '' },
  },
  'a path of any bytes': { environ: { PATH_INFO: '/\u0000\r\n\u00ff' } },
  'variables of the operating system': { environ: { ...process.env } },
  'an IPv6 server': {
    environ: { SERVER_NAME: '[::1]', HTTP_HOST: '[::1]:8000', SERVER_PORT: '8000' },
  },
  'a server that closes after a moment': {
    async serve(whole, environ, startResponse) {
      const body = await whole(environ, startResponse);
      [...body];
      mock.timers.tick(50);
      mock.timers.tick(50);
      mock.timers.tick(50);
      body.close();
    },
  },
  'middleware that closes what another request of its own gave when it is closed itself': {
    middleware: (inner) => (environ: object, start: Loose) => {
      const part = inner({ ...environ, 'wsgi.input': new BytesIO() }, () => () => {});
      start('200 OK', [TYPE]);
      return Object.assign([...part], { close: () => part.close() });
    },
    async serve(whole, environ, startResponse) {
      const body = await whole(environ, startResponse);
      const chunks = body[Symbol.iterator]();
      chunks.next();
      passTime();
      chunks.next();
      body.close();
    },
  },
  'an async application': { app: app(async (environ, start) => answer()(environ, start)) },
  'a generator that answers when it is first asked': {
    app: app(function* (_environ, start) {
      start('200 OK', [TYPE]);
      yield bytes('');
      yield bytes('a');
    }),
  },
  'an async generator that reads and writes back': {
    app: app(async function* (environ, start) {
      start('200 OK', [TYPE]);
      for await (const line of environ['wsgi.input']) yield line;
    }),
    environ: { 'wsgi.input': new BytesIO(bytes('one\ntwo\n')), CONTENT_LENGTH: '8' },
  },
  'a loop that reads to the end': {
    app: app(async (environ, start) => {
      while ((await environ['wsgi.input'].read(4)).length > 0);
      start('200 OK', []);
      return [];
    }),
    environ: { 'wsgi.input': new BytesIO(bytes('one\ntwo\n')), CONTENT_LENGTH: '8' },
  },
  "an answer replaced by an error's before anything was sent": {
    app: app((_environ, start) => {
      start('200 OK', [TYPE]);
      try {
        throw new TypeError('oops');
      } catch (error) {
        start('500 Oops', [TYPE], error);
        return [bytes('Oops')];
      }
    }),
  },
  'what was written before what is yielded': {
    app: app(async (_environ, start) => {
      const write = start('200 OK', [TYPE, ['Content-Length', '2']]);
      await write(bytes('a'));
      return [bytes('b')];
    }),
  },
  'a close() that reads what is left of the input': {
    app: app((environ, start) => {
      start('200 OK', [TYPE]);
      return Object.assign([bytes('thanks')], { close: () => environ['wsgi.input'].read() });
    }),
    environ: { 'wsgi.input': new BytesIO(bytes('one\ntwo\n')), CONTENT_LENGTH: '8' },
  },
  'wsgi.input as the body, whose length is one of bytes': {
    app: app((environ, start) => {
      start('200 OK', [TYPE]);
      return environ['wsgi.input'];
    }),
    environ: {
      REQUEST_METHOD: 'POST', CONTENT_LENGTH: '4', 'wsgi.input': new BytesIO(bytes('a\nb\n')),
    },
  },
  'the beginning of a file, which is longer than its Content-Length': {
    app: app((environ, start) => {
      start('206 Partial Content', [TYPE, ['Content-Length', '2'], ['Content-Range', 'bytes 0-1/6']]);
      return environ['wsgi.file_wrapper'](new BytesIO(bytes('abcdef')), 3);
    }),
    environ: { 'wsgi.file_wrapper': wrapFile },
  },
  'a file wrapper that closes the file when it has read it': {
    app: app((environ, start) => {
      start('200 OK', [TYPE]);
      return environ['wsgi.file_wrapper']({ read() {}, close() {} });
    }),
    environ: {
      'wsgi.file_wrapper': (file: Loose) => ({
        *[Symbol.iterator]() {
          yield bytes('a');
          file.close();
        },
        close() {},
      }),
    },
  },
  'a file wrapper that sends the file by its descriptor, and closes that': {
    app: app((environ, start) => {
      start('200 OK', [TYPE]);
      return environ['wsgi.file_wrapper']({ fd: 5, read() {}, close() {} });
    }),
    environ: {
      'wsgi.file_wrapper': (file: Loose) => ({
        *[Symbol.iterator]() {
          assert.equal(file.fd, 5);
        },
        close() {},
      }),
    },
  },
  'the beginning of a file, by a file wrapper that gives an array': {
    app: app((environ, start) => {
      start('200 OK', [TYPE, ['Content-Length', '2']]);
      return environ['wsgi.file_wrapper'](new BytesIO());
    }),
    environ: { 'wsgi.file_wrapper': () => [bytes('ab'), bytes('cd')] },
  },
  'a generator that returns what nobody wants': {
    app: app(async function* (_environ, start) {
      start('200 OK', [TYPE]);
      yield bytes('a');
      return await Promise.all([1, 'done']);
    }),
  },
  'a generator that returns the rest of its bytes, of which there are none': {
    app: app(function* (_environ, start) {
      start('200 OK', [TYPE]);
      yield bytes('a');
      return bytes('');
    }),
  },
  'a generator that returns an empty array where it has no content': {
    app: app(function* (_environ, start) {
      start('204 No Content', []);
      return [];
    }),
  },
  'a generator that returns a Map, which has no chunks': {
    app: app(function* (_environ, start) {
      start('200 OK', [TYPE]);
      yield bytes('a');
      return new Map([['a', 1]]);
    }),
  },
  'an application that counts what it reads, by a read() of its own': {
    app: app(async (environ, start) => {
      const input = environ['wsgi.input'];
      const read = input.read.bind(input);
      let count = 0;
      input.read = async (size: number) => {
        const chunk = await read(size);
        count += chunk.length;
        return chunk;
      };
      while ((await input.read(4)).length > 0);
      start('200 OK', [TYPE]);
      return [bytes(String(count))];
    }),
    environ: { 'wsgi.input': new BytesIO(bytes('one\ntwo\n')), CONTENT_LENGTH: '8' },
  },
  "an application that forwards another one's headers array": {
    app: app((environ, start) => {
      const list = [TYPE];
      return answer('200 OK', list)(environ, start);
    }),
  },
};

// The types of Node 20 do not have it yet.
const webStreamFrom = Reflect.get(ReadableStream, 'from') as (from: unknown) => ReadableStream;

async function* passing(body: Loose): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body) yield chunk;
  } finally {
    body.close();
  }
}

const SHAPES: Record<string, NonNullable<Exchange['middleware']>> = {
  'the application itself': (inner) => inner,
  'a function that adds a header': (inner) => (environ: unknown, start: Loose) =>
    inner(environ, (status: string, headers: unknown[], ...rest: unknown[]) =>
      start(status, [...headers, ['X-By', 'me']], ...rest),
    ),
  'one that copies environ': (inner) => (environ: object, start: unknown) =>
    inner({ ...environ }, start),
  'an async function': (inner) => async (environ: unknown, start: unknown) => inner(environ, start),
  'an async function that waits first': (inner) => async (environ: unknown, start: unknown) => {
    await new Promise((resolve) => setImmediate(resolve));
    return inner(environ, start);
  },
  'a generator': (inner) =>
    function* generator(environ: unknown, start: unknown) {
      const body = inner(environ, start);
      try {
        for (const chunk of body) yield Buffer.from(chunk).reverse();
      } finally {
        body.close();
      }
    },
  'an async generator': (inner) =>
    async function* generator(environ: unknown, start: unknown) {
      const body = await inner(environ, start);
      try {
        for await (const chunk of body) yield chunk;
      } finally {
        await body.close();
      }
    },
  'a Node stream, which reads ahead': (inner) => async (environ: unknown, start: unknown) => {
    const body = await inner(environ, start);
    const out = pipeline(body, new PassThrough(), () => {});
    return Object.assign(out, { close: () => body.close() });
  },
  'a web stream, which reads ahead': (inner) => async (environ: unknown, start: unknown) => {
    const body = await inner(environ, start);
    const out = Readable.toWeb(Readable.from(body)) as ReadableStream;
    return Object.assign(out, { close: () => body.close() });
  },
  'a web stream that is filled by a loop': (inner) => async (environ: unknown, start: unknown) => {
    const body = await inner(environ, start);
    const out = new ReadableStream({
      async start(controller) {
        for await (const chunk of body) controller.enqueue(chunk);
        controller.close();
      },
    });
    return Object.assign(out, { close: () => body.close() });
  },
  'a Node stream that is filled by a loop': (inner) => async (environ: unknown, start: unknown) => {
    const body = await inner(environ, start);
    const out = new PassThrough();
    void (async () => {
      for await (const chunk of body) out.write(chunk);
      out.end();
    })();
    return Object.assign(out, { close: () => body.close() });
  },
  'a generator whose chunks a Node stream reads ahead': (inner) =>
    async (environ: unknown, start: unknown) =>
      Readable.from(passing(await inner(environ, start))).pipe(new PassThrough()),
  'a generator whose chunks a pipeline reads ahead': (inner) =>
    async (environ: unknown, start: unknown) =>
      pipeline(passing(await inner(environ, start)), new PassThrough(), () => {}),
  'a generator whose chunks a web stream reads ahead': (inner) =>
    async (environ: unknown, start: unknown) =>
      webStreamFrom(passing(await inner(environ, start))).pipeThrough(
        new TransformStream({}, { highWaterMark: 3 }, { highWaterMark: 3 }),
      ),
  'a generator around a stream around a generator': (inner) =>
    async function* generator(environ: unknown, start: unknown) {
      yield* Readable.from(passing(await inner(environ, start))).pipe(new PassThrough());
    },
  'one that mounts an application by shiftPathInfo': (inner) => (environ: Loose, start: unknown) => {
    environ.PATH_INFO = '/blog/';
    while (shiftPathInfo(environ) !== null);
    return inner(environ, start);
  },
  'one that puts a close() of its own into the body': (inner) =>
    async (environ: unknown, start: unknown) => {
      const body = await inner(environ, start);
      const { close } = body;
      body.close = () => close.call(body);
      return body;
    },
  'one that defines a close() of its own': (inner) => async (environ: unknown, start: unknown) => {
    const body = await inner(environ, start);
    const { close } = body;
    return Object.defineProperty(body, 'close', { value: () => close.call(body) });
  },
  'one that closes a first body after a second was made': (inner) =>
    (environ: object, start: unknown) => {
      const first = inner(environ, () => () => {});
      try {
        return inner(environ, start);
      } finally {
        first.close();
      }
    },
  'one that reports an error of its application, as a server does': () =>
    async (environ: Loose, start: Loose) => {
      const broken: Loose = validator(app((_environ, startResponse) => startResponse(200, [])));
      try {
        return await broken(environ, start);
      } catch (error) {
        environ['wsgi.errors'].write(`${(error as Error).stack}\n`);
        start('500 Oops', [TYPE], error);
        return [bytes('Oops')];
      }
    },
  'one that answers by itself': () => answer(),
  'one that throws the answer away': (inner) => (environ: unknown, start: unknown) => {
    inner(environ, () => () => {}).close();
    return answer()(environ as Loose, start as Loose);
  },
  'one that tries one application and then another':
    (inner) => (environ: object, start: unknown) => {
      inner(environ, () => () => {}).close();
      return inner(environ, start);
    },
  'one that calls two applications at once': (inner) => {
    const slow: Loose = validator(app(async (environ, start) => answer()(environ, start as Loose)));
    return async function* joined(environ: object, start: unknown) {
      const both = [slow(environ, () => () => {}), inner({ ...environ }, start)];
      const bodies = await Promise.all(both);
      try {
        for (const body of bodies) yield* body;
      } finally {
        for (const body of bodies) body.close();
      }
    };
  },
  'one that puts into its answer what another request of its own gives':
    (inner) => (environ: object, start: unknown) => {
      const body = inner({ ...environ, 'wsgi.input': new BytesIO() }, () => () => {});
      const chunks = [...body];
      body.close();
      return answer('200 OK', [TYPE], chunks)(environ as Loose, start as Loose);
    },
  'one that answers before a request of its own is over':
    (inner) => (environ: object, start: unknown) => {
      const body = inner({ ...environ, 'wsgi.input': new BytesIO() }, () => () => {});
      setImmediate(() => body.close());
      return answer()(environ as Loose, start as Loose);
    },
  'one that writes what another request of its own gives':
    (inner) => (environ: object, start: Loose) => {
      const body = inner({ ...environ, 'wsgi.input': new BytesIO() }, () => () => {});
      const write = start('200 OK', [TYPE]);
      for (const chunk of body) write(chunk);
      body.close();
      return [];
    },
  'one that joins two bodies': (inner) => (environ: object, start: unknown) => {
    const bodies = [inner(environ, start), inner({ ...environ }, () => () => {})];
    const all = function* (): Generator<unknown> {
      for (const body of bodies) yield* body;
    };
    return Object.assign(all(), { close: () => bodies.forEach((body) => body.close()) });
  },
};

describe('the validator is silent about', () => {
  for (const [name, exchange] of Object.entries(RIGHT)) {
    it(name, async () => assert.deepEqual((await play(exchange)).map(String), []));
  }

  it('a TAB in a header, but for a warning', async () => {
    const reports = await play({ app: answer('200 OK', [TYPE, ['X', 'a\tb']]) });
    assert.deepEqual(
      reports.map(({ code }) => code),
      ['header-value-c0'],
    );
  });
});

it('a body whose iterator was replaced is iterated by the new one', async () => {
  const sent: string[] = [];
  const kinds: Array<[unknown, symbol]> = [
    [[bytes('a'), bytes('b')], Symbol.iterator],
    [Readable.from([bytes('a'), bytes('b')]), Symbol.asyncIterator],
  ];
  for (const [made, key] of kinds) {
    const middleware = (inner: Loose) => (environ: object, start: unknown) => {
      const body = inner(environ, start);
      const begin = body[key].bind(body);
      body[key] = () => {
        const chunks = begin();
        const next = chunks.next.bind(chunks);
        chunks.next = () => (sent.push('next'), next());
        return chunks;
      };
      return body;
    };
    assert.deepEqual(
      (await play({ app: answer('200 OK', [TYPE], made), middleware })).map(String), [],
    );
  }
  assert.equal(sent.length, 6);
});

it('a body whose close() was replaced is closed by the new one', async () => {
  const log: string[] = [];
  const replacing = (inner: Loose) => (environ: object, start: unknown) => {
    const body = inner(environ, start);
    const { close } = body;
    body.close = () => (log.push('close'), close.call(body));
    return body;
  };
  assert.deepEqual((await play({ middleware: replacing })).map(String), []);
  assert.deepEqual(log, ['close']);
});

describe('middleware that calls its application again with the same environ', () => {
  // The first call of the application fails.
  const make = (fail: (start: Loose) => unknown): Loose => {
    let calls = 0;
    return app((environ, start) => {
      calls += 1;
      return calls === 1 ? fail(start) : answer()(environ, start as Loose);
    });
  };
  const failures: Array<[title: string, fail: (start: Loose) => unknown]> = [
    ['has thrown', () => {
      throw new Error('no database');
    }],
    ['has rejected', async () => {
      throw new Error('no database');
    }],
    ['has thrown at the first chunk', function* () {
      throw new Error('no database');
    }],
    ['has found nothing', (start) => {
      start('404 Not Found', [TYPE]);
      return [];
    }],
  ];
  const retry = (inner: Loose): Loose => async (environ: unknown, start: unknown) => {
    let first: Loose;
    let status = '';
    try {
      first = await inner(environ, (given: string) => (status = given, () => {}));
      // A generator begins when it is asked for its first chunk.
      if (status === '') first[Symbol.iterator]().next();
    } catch {
      // It is called again.
    }
    first?.close();
    return inner(environ, start);
  };
  const passOn = (inner: Loose): Loose => (environ: unknown, start: unknown) => inner(environ, start);

  for (const [title, fail] of failures) {
    it(`because it ${title}`, async () => {
      const layers: Array<(inner: Loose, checked: (app: Loose) => Loose) => Loose> = [
        (inner, checked) => retry(checked(inner)),
        (inner, checked) => checked(retry(checked(inner))),
        (inner, checked) => checked(retry(checked(passOn(checked(inner))))),
      ];
      for (const wrap of layers) {
        const seen: string[] = [];
        const onWarning = (warning: WSGIError): void => void seen.push(String(warning));
        const server = new Server();
        const whole = wrap(make(fail), (inner) => validator(inner, { onWarning }));
        await server.finish(await whole(makeEnviron(), server.startResponse));
        assert.equal(server.status, '200 OK');
        assert.deepEqual(seen, []);
      }
    });
  }
});

it('an application that calls itself, with the same environ', () => {
  const seen: WSGIError[] = [];
  const whole: Loose = validator(app((environ, start) => {
    if (environ.PATH_INFO !== '/') return answer()(environ, start as Loose);
    environ.PATH_INFO = '/login';
    return whole(environ, start);
  }), { onWarning: (warning) => seen.push(warning) });
  const body = whole(makeEnviron(), new Server().startResponse);
  assert.deepEqual([...body].map(String), ['Hello'].map(bytes).map(String));
  body.close();
  assert.deepEqual(seen, []);
});

describe('the validator is silent about middleware that is', () => {
  const chunks = ['a', 'b', '', 'c'].map(bytes);
  for (const [name, middleware] of Object.entries(SHAPES)) {
    it(name, async () => {
      const exchange: Exchange = { app: answer('200 OK', [TYPE], chunks), middleware };
      assert.deepEqual((await play(exchange)).map(String), []);
    });
  }
});
