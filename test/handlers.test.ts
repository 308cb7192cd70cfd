// The protocol in memory: an application goes in, bytes come out.

import assert from 'node:assert/strict';
import { Readable, Writable } from 'node:stream';
import { describe, test } from 'node:test';

import {
  BaseCGIHandler,
  BaseHandler,
  BytesIO,
  type ErrorStream,
  FileWrapper,
  type HeaderList,
  Headers,
  type ResponseBody,
  type ResponseHeaders,
  SimpleHandler,
  type StartResponse,
  type Status,
  StringIO,
  type WSGIApplication,
  type WSGIEnvironment,
  formatDateTime,
  setupTestingDefaults,
} from '../lib/index.ts';
import { validator } from '../lib/validate.ts';
import { bodyOf, handle } from './support/applications.ts';
import { bytes, deferred, text } from './support/bytes.ts';

/** A SimpleHandler over streams in memory. */
class TestHandler extends SimpleHandler {
  readonly sent: BytesIO;
  readonly reported: StringIO;

  constructor(environ: Partial<WSGIEnvironment> = {}, input = '') {
    const filled: Partial<WSGIEnvironment> = { ...environ };
    setupTestingDefaults(filled);
    const sent = new BytesIO();
    const reported = new StringIO();
    super(new BytesIO(bytes(input)), sent, reported, filled, true, true);
    this.sent = sent;
    this.reported = reported;
  }

  get output(): string {
    return text(this.sent.getValue()).replace(/^Date: .* GMT\r\n/m, '');
  }

  get errors(): string {
    return this.reported.getValue();
  }
}

/** The bytes that a new handler of this class sends for the application. */
async function run(
  app: WSGIApplication, environ: Partial<WSGIEnvironment> = {},
): Promise<TestHandler> {
  const handler = new TestHandler(environ);
  await handler.run(app);
  return handler;
}

const HELLO: ResponseHeaders = [['Content-Type', 'text/plain']];

const hello: WSGIApplication = (_environ, startResponse) => {
  startResponse('200 OK', HELLO);
  return [bytes('Hello')];
};

const ERROR_PAGE =
  'HTTP/1.0 500 Internal Server Error\r\n' +
  'Content-Type: text/plain\r\n' +
  'Content-Length: 59\r\n' +
  '\r\n' +
  'A server error occurred.  Please contact the administrator.';

describe('environ', () => {
  // CPython: testEnviron
  test('holds osEnviron, then the CGI variables, then the wsgi keys', async () => {
    class OsHandler extends TestHandler {
      override osEnviron = { HOME: '/root', REQUEST_METHOD: 'OVERWRITTEN' };
    }
    const handler = new OsHandler({ REQUEST_METHOD: 'POST' });
    let seen: Record<string, unknown> = {};
    await handler.run((environ, startResponse) => {
      seen = { ...environ };
      return hello(environ, startResponse);
    });
    assert.equal(seen['HOME'], '/root');
    assert.equal(seen['REQUEST_METHOD'], 'POST');
    assert.deepEqual(seen['wsgi.version'], [1, 0]);
    assert.equal(seen['wsgi.url_scheme'], 'http');
    assert.equal(seen['wsgi.input'], handler.stdin);
    assert.equal(seen['wsgi.errors'], handler.stderr);
    assert.equal(seen['wsgi.multithread'], true);
    assert.equal(seen['wsgi.multiprocess'], true);
    assert.equal(seen['wsgi.run_once'], false);
    assert.equal(seen['wsgi.input_terminated'], true);
    assert.equal(typeof seen['wsgi.file_wrapper'], 'function');
  });

  test('is a plain object, new for each request', async () => {
    const base: Partial<WSGIEnvironment> = {};
    setupTestingDefaults(base);
    const seen: object[] = [];
    for (const _ of [1, 2]) {
      const handler = new SimpleHandler(new BytesIO(), new BytesIO(), new StringIO(), base);
      await handler.run((environ, startResponse) => {
        seen.push(environ);
        environ['my.own'] = 1;
        return hello(environ, startResponse);
      });
    }
    assert.notEqual(seen[0], seen[1]);
    assert.equal(Object.getPrototypeOf(seen[0]), Object.prototype);
    assert.equal('my.own' in base, false);
  });

  // CPython: testScheme
  test('has the scheme that HTTPS says', async () => {
    for (const [https, scheme] of [
      ['on', 'https'], ['1', 'https'], ['yes', 'https'], ['off', 'http'],
    ] as const) {
      const handler = await run(hello, { HTTPS: https });
      assert.equal(handler.environ['wsgi.url_scheme'] ?? '', scheme, https);
    }
  });

  test('has SERVER_SOFTWARE if the handler has one', async () => {
    const handler = new TestHandler();
    handler.serverSoftware = 'test/1';
    await handler.run(hello);
    assert.equal(handler.environ.SERVER_SOFTWARE, 'test/1');
    assert.match(handler.output, /^Server: test\/1\r\n/m);
  });
});

describe('Content-Length', () => {
  const cases: Array<[string, WSGIApplication, Partial<WSGIEnvironment>, string | undefined]> = [
    // CPython: testContentLength
    ['of one chunk in an array', hello, {}, '5'],
    [
      'of one chunk in a Set', (_, start) => (start('200 OK', []), new Set([bytes('abc')])), {},
      '3',
    ],
    [
      'not of a generator, which may yield more',
      (_, start) => (start('200 OK', []), (function* () { yield bytes('abc'); })()), {}, undefined,
    ],
    [
      'not of two chunks', (_, start) => (start('200 OK', []), [bytes('a'), bytes('b')]), {},
      undefined,
    ],
    ['of no chunk', (_, start) => (start('200 OK', []), []), {}, '0'],
    ['of nothing but empty chunks', (_, start) => (start('200 OK', []), [bytes('')]), {}, '0'],
    [
      'not after write()', (_, start) => { start('200 OK', [])(bytes('x')); return []; }, {},
      undefined,
    ],
    [
      'as the application gave it',
      (_, start) => (start('200 OK', [['content-length', '5']]), [bytes('ab'), bytes('cde')]), {},
      '5',
    ],
    ['of a HEAD with the body of a GET', hello, { REQUEST_METHOD: 'HEAD' }, '5'],
    [
      'not of a HEAD without a body', (_, start) => (start('200 OK', []), []),
      { REQUEST_METHOD: 'HEAD' }, undefined,
    ],
    [
      'of a HEAD as given', (_, start) => (start('200 OK', [['Content-Length', '12345']]), []),
      { REQUEST_METHOD: 'HEAD' }, '12345',
    ],
    [
      'never of a 204', (_, start) => (start('204 No Content', [['Content-Length', '0']]), []), {},
      undefined,
    ],
    ['always 0 of a 205', (_, start) => (start('205 Reset Content', []), []), {}, '0'],
    [
      'not of a 304, unless given', (_, start) => (start('304 Not Modified', []), []), {},
      undefined,
    ],
    [
      'of a 304 as given', (_, start) => (start('304 Not Modified', [['Content-Length', '9']]), []),
      {}, '9',
    ],
  ];
  for (const [title, app, environ, expected] of cases) {
    test(title, async () => {
      const handler = await run(app, environ);
      assert.equal(/^content-length: (.*)\r$/im.exec(handler.output)?.[1], expected);
      assert.equal(handler.errors, '');
    });
  }

  for (const [environ, status] of [
    [{ REQUEST_METHOD: 'HEAD' }, '200 OK'],
    [{}, '204 No Content'],
    [{}, '205 Reset Content'],
    [{}, '304 Not Modified'],
  ] as Array<[Partial<WSGIEnvironment>, Status]>) {
    test(
      `${environ.REQUEST_METHOD ?? ''} ${status} sends no body, and asks for no more of it`,
      async () => {
        let asked = 0;
        const handler = await run((_, start) => {
          start(status, []);
          return (function* () { while (true) { asked += 1; yield bytes('body'); } })();
        }, environ);
        assert.ok(handler.output.endsWith('\r\n\r\n'));
        assert.equal(asked, 1);
      },
    );
  }

  test('is kept when the body falls short, which is reported', async () => {
    // CPython: testContentLength, with 12345 and an empty list
    const handler = await run((_, start) => (start('200 OK', [['Content-Length', '12345']]), []));
    assert.equal(handler.output, 'HTTP/1.0 200 OK\r\nContent-Length: 12345\r\n\r\n');
    assert.match(
      handler.errors, /^Error: the body ended after 0 bytes; its Content-Length says 12345\n/,
    );
  });

  test('bounds what is sent', async () => {
    const handler = await run(
      (_, start) => (start('200 OK', [['Content-Length', '3']]), [bytes('ab'), bytes('cde')]),
    );
    assert.ok(handler.output.endsWith('\r\n\r\nabc'));
    assert.match(handler.errors, /^Error: the body is longer than its Content-Length of 3 bytes\n/);
  });

  test('ends the iteration as soon as it is reached', async () => {
    const events: string[] = [];
    const handler = await run((_, start) => {
      start('200 OK', [['Content-Length', '2']]);
      return (function* () {
        try {
          yield bytes('ab');
          events.push('asked again');
          yield bytes('cd');
        } finally {
          events.push('finally');
        }
      })();
    });
    assert.ok(handler.output.endsWith('\r\n\r\nab'));
    assert.deepEqual(events, ['finally']);
    assert.equal(handler.errors, '');
  });

  test('bounds write(), too', async () => {
    const handler = await run(async (_, start) => {
      const write = start('200 OK', [['Content-Length', '3']]);
      await write(bytes('abc'));
      await assert.rejects(async () => write(bytes('d')), /longer than its Content-Length of 3/);
      return [];
    });
    assert.ok(handler.output.endsWith('\r\n\r\nabc'));
  });
});

describe('the head', () => {
  // CPython: testHeaderFormats
  for (const origin of [true, false]) {
    for (const software of [undefined, 'Foo/1.0']) {
      for (const httpVersion of ['0.9', '1.0', '1.1']) {
        test(
          `from ${origin ? 'an origin' : 'a gateway'}, ${software ?? 'anonymous'}, HTTP/${httpVersion}`,
          async () => {
            const handler = new TestHandler({ SERVER_PROTOCOL: `HTTP/${httpVersion}` });
            handler.originServer = origin;
            handler.serverSoftware = software;
            handler.httpVersion = httpVersion;
            await handler.run((_, start) => (start('200 OK', []), []));
            const output = text(handler.sent.getValue());
            if (!origin) assert.equal(output, 'Status: 200 OK\r\nContent-Length: 0\r\n\r\n');
            else if (httpVersion === '0.9') assert.equal(output, '');
            else {
              const server = software === undefined ? '' : `Server: ${software}\r\n`;
              const shape =
                `^HTTP/${httpVersion} 200 OK\r\nDate: \\w{3}, \\d\\d \\w{3} \\d{4} \\d\\d:\\d\\d:\\d\\d GMT\r\n${server}Content-Length: 0\r\n\r\n$`;
              assert.match(output, new RegExp(shape));
            }
          },
        );
      }
    }
  }

  test("keeps the application's Date and Server", async () => {
    const handler = new TestHandler();
    handler.serverSoftware = 'Foo/1.0';
    await handler.run((_, start) => (start('200 OK', [['date', 'today'], ['SERVER', 'mine']]), []));
    assert.equal(
      text(handler.sent.getValue()),
      'HTTP/1.0 200 OK\r\ndate: today\r\nSERVER: mine\r\nContent-Length: 0\r\n\r\n',
    );
  });

  test('waits for the first chunk that is not empty', async () => {
    const handler = new TestHandler();
    const seen: string[] = [];
    await handler.run((_, start) => {
      start('200 OK', []);
      return (function* () {
        for (const chunk of ['', '', 'a']) {
          yield bytes(chunk);
          seen.push(handler.output === '' ? 'nothing sent' : 'sent');
        }
      })();
    });
    assert.deepEqual(seen, ['nothing sent', 'nothing sent', 'sent']);
  });

  test('may begin as late as the first chunk', async () => {
    const handler = await run(async function* (_environ, start) {
      start('200 OK', []);
      yield bytes('late');
    } as WSGIApplication);
    assert.equal(handler.output, 'HTTP/1.0 200 OK\r\n\r\nlate');
  });

  test('formatDateTime writes the one form that HTTP has', () => {
    assert.equal(formatDateTime(784111777000), 'Sun, 06 Nov 1994 08:49:37 GMT');
    assert.equal(formatDateTime(0), 'Thu, 01 Jan 1970 00:00:00 GMT');
    assert.throws(() => formatDateTime(NaN), { name: 'RangeError', message: /not the number NaN$/ });
  });
});

describe('startResponse refuses', () => {
  const refused: Array<[title: string, args: unknown[], error: RegExp]> = [
    [
      'a number as status', [200, []],
      /^TypeError: startResponse\(\) takes a status that is a string such as '200 OK', not the number 200$/,
    ],
    [
      'a status without a space', ['200', []],
      /^RangeError: the status "200" is not three digits, a space and a reason/,
    ],
    ['a status of letters', ['20X OK', []], /^RangeError: the status "20X OK" is not three digits/],
    ['a status run together', ['200OK', []], /^RangeError: the status "200OK" is not three digits/],
    [
      'an informational status', ['101 Switching', []],
      /^RangeError: the status "101 Switching" cannot end a request/,
    ],
    [
      'a line break in the status', ['200 OK\r\nX: y', []],
      /^RangeError: the status "200 OK\\r\\nX: y" contains U\+000D/,
    ],
    ['a TAB in the status', ['200 O\tK', []], /^RangeError: .* contains U\+0009/],
    ['a character above U+00FF in the status', ['200 €', []], /^RangeError: .* contains U\+20AC/],
    [
      'headers in an object', ['200 OK', { a: 'b' }],
      /^TypeError: startResponse\(\) takes the headers as an array of \[name, value\] pairs, not an object$/,
    ],
    ['no headers', ['200 OK'], /^TypeError: .* not undefined$/],
    [
      'a header of three', ['200 OK', [['a', 'b', 'c']]],
      /^TypeError: each header is a \[name, value\] pair, not an Array of 3 items$/,
    ],
    [
      'a header that is a string', ['200 OK', ['ab']],
      /^TypeError: each header is a \[name, value\] pair, not "ab"$/,
    ],
    [
      'a number as value', ['200 OK', [['a', 1]]],
      /^TypeError: a header value is a string, not the number 1; use String\(…\)$/,
    ],
    [
      'a name that is not a string', ['200 OK', [[1, 'a']]],
      /^TypeError: a header name is a string, not the number 1/,
    ],
    ['a name with a colon', ['200 OK', [['a:', 'b']]], /^RangeError: "a:" is not a header name/],
    ['an empty name', ['200 OK', [['', 'b']]], /^RangeError: "" is not a header name/],
    [
      'a line break in a value', ['200 OK', [['a', 'b\nc']]],
      /^RangeError: the header value "b\\nc" contains U\+000A/,
    ],
    [
      'a character above U+00FF in a value', ['200 OK', [['a', 'ü€']]],
      /^RangeError: .* contains U\+20AC/,
    ],
    [
      'a hop-by-hop header', ['200 OK', [['Connection', 'close']]],
      /^RangeError: the application may not send Connection/,
    ],
    [
      'a Content-Length that is not a number', ['200 OK', [['Content-Length', '5x']]],
      /^RangeError: Content-Length is "5x"/,
    ],
    [
      'two Content-Lengths', ['200 OK', [['Content-Length', '5'], ['content-length', '5']]],
      /^RangeError: Content-Length is in the headers more than once/,
    ],
  ];
  for (const [title, args, expected] of refused) {
    test(title, async () => {
      let thrown: unknown;
      const handler = await run((_environ, startResponse) => {
        try {
          (startResponse as (...args: unknown[]) => void)(...args);
        } catch (error) {
          thrown = error;
          throw error;
        }
        return [];
      });
      assert.match(String(thrown), expected);
      assert.equal(handler.output, ERROR_PAGE);
    });
  }

  // CPython: testRaisesControlCharacters
  test('every control character in the status, in names and in values, but TAB in a value', () => {
    const handler = new TestHandler();
    handler.setupEnviron();
    for (let code = 0; code <= 0x7f; code += 1) {
      if (code === 0x20) code = 0x7f;
      const control = String.fromCharCode(code);
      const attempt = (status: string, name: string, value: string) => () =>
        new TestHandler().startResponse(status as Status, [[name, value]]);
      assert.throws(attempt(`200 O${control}K`, 'a', 'b'), RangeError);
      assert.throws(attempt('200 OK', `a${control}`, 'b'), RangeError);
      if (control === '\t') attempt('200 OK', 'a', `b${control}`)();
      else assert.throws(attempt('200 OK', 'a', `b${control}`), RangeError);
    }
  });

  test('a second call, even when the first one threw', async () => {
    const handler = await run((_environ, startResponse) => {
      assert.throws(() => startResponse('bad' as Status, []), RangeError);
      startResponse('200 OK', []);
      return [];
    });
    assert.match(
      handler.errors,
      /startResponse\(\) was called a second time; only an error may replace the first/,
    );
    assert.equal(handler.output, ERROR_PAGE);
  });

  test('any call after the end', async () => {
    let late: StartResponse | undefined;
    const handler = await run((environ, startResponse) => {
      late = startResponse;
      return hello(environ, startResponse);
    });
    assert.throws(() => late?.('200 OK', [], new Error('x')), /after the response had ended/);
    assert.ok(handler.output.endsWith('Hello'));
  });
});

describe('startResponse with an error', () => {
  test('replaces status and headers that have not been sent', async () => {
    const handler = await run((_environ, startResponse) => {
      startResponse('200 OK', [['X-First', '1']]);
      startResponse('503 Busy', [['X-Second', '2']], new Error('full'));
      return [bytes('later')];
    });
    assert.equal(
      handler.output, 'HTTP/1.0 503 Busy\r\nX-Second: 2\r\nContent-Length: 5\r\n\r\nlater',
    );
  });

  test('throws that very error when they have been sent', async () => {
    const error = new Error('too late');
    let thrown: unknown;
    const handler = await run((_environ, startResponse) => {
      startResponse('200 OK', [])(bytes('begun'));
      try {
        startResponse('500 Failed', [], error);
      } catch (caught) {
        thrown = caught;
        throw caught;
      }
      return [];
    });
    assert.equal(thrown, error);
    assert.ok(handler.output.endsWith('\r\n\r\nbegun'));
    assert.match(handler.errors, /^Error: too late\n/);
  });

  test('may be the first call', async () => {
    const handler = await run((_environ, startResponse) => {
      startResponse('503 Busy', [], new Error('full'));
      return [];
    });
    assert.equal(handler.output, 'HTTP/1.0 503 Busy\r\nContent-Length: 0\r\n\r\n');
    assert.equal(handler.errors, '');
  });

  for (const none of [null, undefined]) {
    test(`that is ${none} is a second call, before the head and after it`, async () => {
      for (const begin of [false, true]) {
        const handler = await run((_environ, startResponse) => {
          const write = startResponse('200 OK', []);
          if (begin) void write(bytes('begun'));
          assert.throws(() => startResponse('500 Failed', [], none), /was called a second time/);
          return [bytes('.')];
        });
        assert.match(handler.output, begin ? /\r\n\r\nbegun\.$/ : /\r\n\r\n\.$/);
      }
    });
  }

  test('keeps what stood before, if its own arguments are refused', async () => {
    const handler = await run((_environ, startResponse) => {
      startResponse('200 OK', [['X-First', '1']]);
      assert.throws(() => startResponse('bad' as Status, [], new Error('x')), RangeError);
      return [];
    });
    assert.equal(handler.output, 'HTTP/1.0 200 OK\r\nX-First: 1\r\nContent-Length: 0\r\n\r\n');
  });
});

test('the list of headers stays as the application made it', async () => {
  const headers: ResponseHeaders = [['A', 'b']];
  await run((_, start) => (start('200 OK', headers), [bytes('x')]));
  assert.deepEqual(headers, [['A', 'b']]);
});

test('what happens to the list of headers later does not reach the client', async () => {
  const headers: HeaderList = [['A', 'b']];
  const handler = await run((_, start) => {
    start('200 OK', headers);
    if (headers[0] !== undefined) headers[0][1] = 'evil\r\nX: y';
    headers.push(['C', 'd']);
    return [];
  });
  assert.equal(handler.output, 'HTTP/1.0 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n');
});

describe('write()', () => {
  test('comes before what is returned', async () => {
    const handler = await run(async (_environ, startResponse) => {
      const write = startResponse('200 OK', []);
      await write(bytes('written '));
      await write(bytes(''));
      return [bytes('returned')];
    });
    assert.equal(handler.output, 'HTTP/1.0 200 OK\r\n\r\nwritten returned');
  });

  test('keeps the order of calls that are not awaited', async () => {
    const handler = await run((_environ, startResponse) => {
      const write = startResponse('200 OK', []);
      for (const each of ['a', 'b', 'c']) void write(bytes(each));
      return [];
    });
    assert.ok(handler.output.endsWith('\r\n\r\nabc'));
  });

  test('refuses a chunk that is not bytes, and a call after the end', async () => {
    let write: ReturnType<StartResponse> | undefined;
    await run((_environ, startResponse) => {
      write = startResponse('200 OK', []);
      assert.throws(
        () => write?.('text' as never),
        /^TypeError: a chunk of the body is a Uint8Array, not "text": use new TextEncoder/,
      );
      return [];
    });
    assert.throws(() => write?.(bytes('late')), /there is no response to send this chunk with/);
  });

  test('refuses a call after a response that was cut off', async () => {
    let write: ReturnType<StartResponse> | undefined;
    const handler = await run((_environ, startResponse) => {
      write = startResponse('200 OK', []);
      void write(bytes('cut'));
      throw new Error('x');
    });
    assert.throws(() => write?.(bytes('late')), /nothing comes after the end/);
    assert.ok(handler.output.endsWith('\r\n\r\ncut'));
  });

  test("refuses a call out of the body's close()", async () => {
    const handler = await run((_environ, startResponse) => {
      const write = startResponse('200 OK', []);
      return Object.assign([bytes('a'), bytes('b')], { close: () => write(bytes('late')) });
    });
    assert.ok(handler.output.endsWith('\r\n\r\nab'));
    assert.match(handler.errors, /^Error: there is no response to send this chunk with/);
  });
});

describe('an application that fails', () => {
  // CPython: testBasicErrorOutput
  test('before the head gives a 500, and its trace goes to the error stream', async () => {
    const handler = await run(() => { throw new Error('secret'); });
    assert.equal(handler.output, ERROR_PAGE);
    assert.match(handler.errors, /^Error: secret\n {4}at .*handlers\.test/);
  });

  // CPython: testErrorAfterOutput
  test('after it leaves what was sent as it is', async () => {
    const handler = await run((_environ, startResponse) => {
      startResponse('200 OK', [])(bytes('begun'));
      throw new Error('mid');
    });
    assert.equal(handler.output, 'HTTP/1.0 200 OK\r\n\r\nbegun');
    assert.match(handler.errors, /^Error: mid\n/);
  });

  const frozen = Object.freeze(new Error('frozen'));
  const circular = new Error('circular');
  circular.cause = circular;
  // As `using` throws it, on a Node that has no such class.
  const suppressed = Object.assign(new Error('while closing'), {
    name: 'SuppressedError', error: new Error('last'), suppressed: new Error('first'),
  });
  const chainOf = (length: number): Error => {
    let error = new Error('0');
    for (let index = 1; index < length; index += 1) {
      error = new Error(String(index), { cause: error });
    }
    return error;
  };
  const changed = new Error('no');
  assert.ok(changed.stack);
  changed.message = `while reading x: ${changed.message}`;
  class Hostile extends Error {
    override get stack(): string {
      throw new Error('no stack for you');
    }
  }
  const thrown: Array<[title: string, value: unknown, report: RegExp]> = [
    ['undefined', undefined, /the application threw undefined/],
    ['null', null, /the application threw null/],
    ['a string', 'text', /^Thrown, although it is not an Error: "text"\n/],
    ['an object', { a: 1 }, /^Thrown, although it is not an Error: an object\n/],
    ['a frozen error', frozen, /^Error: frozen\n/],
    ['an error whose stack cannot be read', new Hostile('hostile'), /^Error: hostile\n/],
    ['an error made of several', new AggregateError([new TypeError('one'), 'two'], 'both'),
      /^AggregateError: both\n[\s\S]*\nError 1 of the 2 in it: TypeError: one\n[\s\S]*\nError 2 of the 2 in it: Thrown, although it is not an Error: "two"\n/],
    [
      'one whose parts cannot be read', Object.assign(new AggregateError([], 'odd'), { errors: 5 }),
      /^AggregateError: odd\n/,
    ],
    [
      'an error with a cause', new Error('outer', { cause: new TypeError('inner') }),
      /^Error: outer\n[\s\S]*\nCaused by: TypeError: inner\n/,
    ],
    ['an error that is its own cause', circular, /^Error: circular\n/],
    [
      'an error that suppressed another', suppressed,
      /^(?:Suppressed)?Error: while closing\n[\s\S]*\nThe later error in it: Error: last\n[\s\S]*\nThe earlier error in it: Error: first\n/,
    ],
    [
      'a long chain of causes', chainOf(30),
      /^Error: 29\n[\s\S]*\nCaused by: Error: 21\n[\s\S]*\nCaused by \(20 errors left out\): Error: 0\n/,
    ],
    [
      'an error whose message was changed later', changed,
      /^while reading x: no\nThe message was changed; before that: Error: no\n/,
    ],
  ];
  for (const [title, value, report] of thrown) {
    for (const how of ['throws', 'rejects with', 'fails in iteration with']) {
      test(`${how} ${title}`, async () => {
        const handler = await run((_environ, startResponse) => {
          if (how === 'throws') throw value;
          if (how === 'rejects with') return Promise.reject(value);
          startResponse('200 OK', []);
          return (async function* (): AsyncGenerator<Uint8Array> { throw value; })();
        });
        assert.equal(handler.output, ERROR_PAGE);
        assert.match(handler.errors, report);
      });
    }
  }

  const wrong: Array<[title: string, value: unknown, report: RegExp]> = [
    [
      'undefined', undefined,
      /returned undefined; it must return an iterable of Uint8Array chunks, such as \[bytes\]; is a `return` missing\?/,
    ],
    ['null', null, /returned null; it must return/],
    [
      'a string', 'text',
      /returned a string, "text"; .*: use \[new TextEncoder\(\)\.encode\(text\)\]/,
    ],
    ['bytes', bytes('text'), /returned a Uint8Array of 4 bytes itself; .*: put it in an array/],
    ['a number', 5, /returned the number 5/],
    ['a plain object', {}, /returned an object;/],
    [
      'an array of strings', ['a'],
      /a chunk of the body is a Uint8Array, not "a": use new TextEncoder\(\)\.encode\(text\)/,
    ],
    [
      'an array of promises', [Promise.resolve(bytes('a'))],
      /not an object of class Promise: await it, or use an async generator/,
    ],
    ['an array of numbers', [1], /not the number 1: was the Uint8Array itself returned/],
  ];
  for (const [title, value, report] of wrong) {
    test(`returns ${title}`, async () => {
      const handler = await run(
        (_environ, startResponse) => (startResponse('200 OK', []), value as ResponseBody),
      );
      assert.equal(handler.output, ERROR_PAGE);
      assert.match(handler.errors, report);
    });
  }

  test('never calls startResponse', async () => {
    assert.match(
      (await run(() => [])).errors, /the application ended without calling startResponse\(\)/,
    );
    assert.match(
      (await run(() => [bytes('x')])).errors, /startResponse\(\) comes before the first chunk/,
    );
  });

  test('shows as many calls as tracebackLimit says', async () => {
    const handler = new TestHandler();
    handler.tracebackLimit = 1;
    await handler.run(() => { throw new Error('short'); });
    assert.equal(handler.errors.split('\n').length, 3, handler.errors);
  });
});

describe('the error of a broken rule has the code of that rule in the validator', () => {
  const begin = (status: unknown, headers: unknown): WSGIApplication =>
    (_environ, startResponse) => {
      startResponse(status as string, headers as ResponseHeaders);
      return [];
    };
  const give = (body: unknown, headers: ResponseHeaders = HELLO): WSGIApplication =>
    (_environ, startResponse) => {
      startResponse('200 OK', headers);
      return body as [];
    };
  const length = (value: string): [string, string] => ['Content-Length', value];
  const cases: Array<[code: string, app: WSGIApplication]> = [
    ['status-type', begin(200, [])],
    ['status-ctl', begin('200 \n', [])],
    ['status-latin1', begin('200 \u0101', [])],
    ['status-three-digits', begin('OK', [])],
    ['status-space', begin('200OK', [])],
    ['status-space', begin('200', [])],
    ['status-min-100', begin('099 Low', [])],
    ['status-1xx', begin('103 Early Hints', [])],
    ['headers-list', begin('200 OK', { a: 'b' })],
    ['header-pair-tuple', begin('200 OK', ['a: b'])],
    ['header-pair-len', begin('200 OK', [['a']])],
    ['header-name-string', begin('200 OK', [[1, 'b']])],
    ['header-name-token', begin('200 OK', [['a b', 'c']])],
    ['header-name-token', begin('200 OK', [['\u0101', 'c']])],
    ['header-name-token', begin('200 OK', [['a\0', 'c']])],
    ['header-name-nonempty', begin('200 OK', [['', 'c']])],
    ['header-name-colon-nl', begin('200 OK', [['a:', 'c']])],
    ['header-name-colon-nl', begin('200 OK', [['a\n', 'c']])],
    ['header-hop-by-hop', begin('200 OK', [['Connection', 'close']])],
    ['header-value-string', begin('200 OK', [['a', 1]])],
    ['header-value-crlf-nul', begin('200 OK', [['a', 'b\r\nc: d']])],
    ['header-value-crlf-nul', begin('200 OK', [['a', 'b\0']])],
    ['header-value-c0', begin('200 OK', [['a', 'b\x01']])],
    ['header-value-latin1', begin('200 OK', [['a', '\u0101']])],
    ['header-cl-syntax', begin('200 OK', [length('many')])],
    ['header-cl-duplicate', begin('200 OK', [length('1'), length('1')])],
    ['sr-twice', (_environ, startResponse) => {
      startResponse('200 OK', []);
      startResponse('200 OK', []);
      return [];
    }],
    ['sr-never-empty-body', () => []],
    ['sr-before-body', () => [bytes('x')]],
    ['body-not-string', give('x')],
    ['body-not-string', give(bytes('x'))],
    ['body-iterable', give(1)],
    ['chunk-bytes', give(['x'])],
    ['body-too-long', give([bytes('xx')], [length('1')])],
    ['body-too-short', give([bytes('x')], [length('2')])],
  ];

  /** The error that ends the request, with a validator around the application or without. */
  async function errorOf(app: WSGIApplication): Promise<Error> {
    const thrown: unknown[] = [];
    class Keeping extends TestHandler {
      override logException(error: unknown): void {
        thrown.push(error);
      }
    }
    await new Keeping().run(app);
    const [error] = thrown;
    assert.ok(error instanceof Error);
    return error;
  }

  for (const [code, app] of cases) {
    test(code, async () => {
      const error = await errorOf(app);
      assert.equal(Reflect.get(error, 'code'), code);
      assert.doesNotMatch(error.stack ?? '', /at fault /);
      const report = await errorOf(validator(app, { onWarning() {} }));
      assert.equal(Reflect.get(report, 'code'), code, 'the code of the report');
    });
  }

  test('sr-after-end', async () => {
    let late = (): unknown => undefined;
    await run((_environ, startResponse) => {
      late = () => startResponse('200 OK', []);
      startResponse('200 OK', []);
      return [];
    });
    assert.throws(late, { code: 'sr-after-end' });
  });
});

describe('the end of a body', () => {
  /** A body that tells what is done to it. */
  function watched(
    events: string[], chunks: Array<Uint8Array | Error | Promise<Uint8Array>>,
  ): ResponseBody {
    let index = 0;
    return {
      [Symbol.asyncIterator]: () => ({
        async next() {
          const chunk = await chunks[index];
          index += 1;
          if (chunk instanceof Error) throw chunk;
          return chunk === undefined
            ? { done: true, value: undefined }
            : { done: false, value: chunk };
        },
        async return() {
          events.push('return');
          return { done: true, value: undefined };
        },
      }),
      async close() {
        events.push('close');
      },
    };
  }
  const start: WSGIApplication = (_environ, startResponse) =>
    (startResponse('200 OK', [['Content-Length', '2']]), []);

  // CPython: testCloseOnError
  const endings: Array<[string, Array<Uint8Array | Error>, string[]]> = [
    ['read to its end: close() alone', [bytes('a'), bytes('')], ['close']],
    ['stopped early: return(), then close()', [bytes('ab'), bytes('c')], ['return', 'close']],
    ['that throws: close() alone', [new Error('broken')], ['close']],
    ['whose chunk is refused: return(), then close()', ['text' as never], ['return', 'close']],
  ];
  for (const [title, chunks, expected] of endings) {
    test(title, async () => {
      const events: string[] = [];
      await run(
        (environ, startResponse) => (start(environ, startResponse), watched(events, chunks)),
      );
      assert.deepEqual(events, expected);
    });
  }

  test('when the client leaves while it waits: both at once, and once', async () => {
    const events: string[] = [];
    const waiting = deferred<Uint8Array>();
    const asked = deferred();
    const handler = new TestHandler();
    const done = handler.run((_environ, startResponse) => {
      startResponse('200 OK', []);
      const body = watched(events, [waiting.promise]);
      queueMicrotask(() => asked.resolve());
      return body;
    });
    await asked.promise;
    await new Promise(setImmediate);
    handler.disconnect();
    await new Promise(setImmediate);
    assert.deepEqual(events, ['return', 'close']);
    waiting.resolve(bytes('too late'));
    await done;
    assert.deepEqual(events, ['return', 'close']);
    assert.equal(handler.output, '');
    assert.equal(handler.errors, '');
  });

  test('when the client leaves before there is one', async () => {
    const events: string[] = [];
    const waiting = deferred<ResponseBody>();
    const handler = new TestHandler();
    const done =
      handler.run((_environ, startResponse) => (startResponse('200 OK', []), waiting.promise));
    handler.disconnect();
    waiting.resolve(watched(events, [bytes('x')]));
    await done;
    assert.deepEqual(events, ['close']);
    assert.equal(handler.output, '');
    assert.equal(handler.errors, '');
  });

  test('an error in close() or finally is reported, and changes nothing', async () => {
    const handler = await run((_environ, startResponse) => {
      startResponse('200 OK', [['Content-Length', '1']]);
      const body =
        (function* () { try { yield bytes('x'); } finally { throw new Error('in finally'); } })();
      return Object.assign(body, { close() { throw new Error('in close'); } });
    });
    assert.ok(handler.output.endsWith('\r\n\r\nx'));
    assert.match(handler.errors, /^Error: in finally\n[\s\S]*\nError: in close\n/);
  });

  test('errors of the iteration, of finally and of close() are all reported', async () => {
    const handler = await run((_environ, startResponse) => {
      startResponse('200 OK', []);
      const body = {
        [Symbol.iterator]: () => ({
          next: () => ({ done: false, value: 'no bytes' as never }),
          return(): never { throw new Error('in return'); },
        }),
        async close(): Promise<void> { throw new Error('in close'); },
      };
      return body;
    });
    assert.equal(handler.output, ERROR_PAGE);
    const first = [...handler.errors.matchAll(/^\w+: .*$/gm)].map(([line]) => line.split('\n')[0]);
    assert.deepEqual(first.map((line) => line?.slice(0, 17)), [
      'Error: in return', 'Error: in close', 'TypeError: a chun',
    ]);
  });

  test('a Readable that was never read from is destroyed', async () => {
    const stream = Readable.from([bytes('x')]);
    const handler = new TestHandler();
    const waiting = deferred<ResponseBody>();
    const done = handler.run(() => waiting.promise);
    handler.disconnect();
    waiting.resolve(stream);
    await done;
    assert.equal(stream.destroyed, true);
  });
});

describe('a web stream', () => {
  test('is unlocked once it has been read, so that close() may cancel it', async () => {
    const stream = new Blob(['all']).stream();
    const body = Object.assign(stream, { close: () => stream.cancel() });
    const handler = await run((_, start) => (start('200 OK', []), body as ResponseBody));
    assert.ok(handler.output.endsWith('\r\n\r\nall'));
    assert.equal(handler.errors, '');
  });

  test('with an iterator of its own is iterated by that', async () => {
    const body = Object.assign(new Blob(['the stream']).stream(), {
      async *[Symbol.asyncIterator]() {
        yield bytes('the iterator');
      },
    });
    const handler = await run((_, start) => (start('200 OK', []), body as ResponseBody));
    assert.ok(handler.output.endsWith('\r\n\r\nthe iterator'));
  });
});

test('close() is called on a result that is not iterable, too', async () => {
  let closed = 0;
  const result = { close: () => void (closed += 1) } as unknown as ResponseBody;
  const handler = await run((_, start) => (start('200 OK', []), result));
  assert.match(handler.errors, /^TypeError: the application returned an object; /);
  assert.equal(closed, 1);
});

describe('a client that leaves', () => {
  // CPython: testClientConnectionTerminations
  for (const code of ['EPIPE', 'ECONNRESET', 'ECONNABORTED']) {
    for (const later of [false, true]) {
      test(`is not a fault: ${code} from _write, ${later ? 'rejected' : 'thrown'}`, async () => {
        class Broken extends TestHandler {
          override _write(): Promise<void> {
            const error = Object.assign(new Error('gone'), { code });
            if (later) return Promise.reject(error);
            throw error;
          }
        }
        const handler = new Broken();
        await handler.run(hello);
        assert.equal(handler.errors, '');
      });
    }
  }

  test('is one, if the connection was the application’s own', async () => {
    const handler =
      await run(() => { throw Object.assign(new Error('database'), { code: 'ECONNRESET' }); });
    assert.match(handler.errors, /^Error: database\n/);
    assert.equal(handler.output, ERROR_PAGE);
  });

  test('is one even in the middle of the body', async () => {
    const handler = await run((_, start) => {
      start('200 OK', []);
      return (function* () {
        yield bytes('a');
        throw Object.assign(new Error('upstream'), { code: 'EPIPE' });
      })();
    });
    assert.match(handler.errors, /^Error: upstream\n/);
    assert.ok(handler.output.endsWith('\r\n\r\na'));
  });

  test('while a generator runs: its finally block runs, and nothing is reported', async () => {
    const events: string[] = [];
    const handler = new TestHandler();
    await handler.run(function* (_, start) {
      start('200 OK', []);
      try {
        yield bytes('a');
        handler.disconnect();
        events.push('still running');
        yield bytes('b');
      } finally {
        events.push('finally');
      }
    });
    assert.deepEqual(events, ['still running', 'finally']);
    assert.equal(handler.errors, '');
  });

  test('is survived by an error stream that fails, and by all that is to be closed', async () => {
    const closed: string[] = [];
    class Broken extends TestHandler {
      override logException(): void {
        throw new Error('no error stream');
      }
    }
    const handler = new Broken();
    const waiting = deferred();
    const body = {
      next: () => waiting.promise.then(() => ({ done: true, value: undefined }) as const),
      return() {
        closed.push('return');
        throw new Error('in return()');
      },
      [Symbol.asyncIterator]() {
        return this;
      },
      close() {
        closed.push('close');
        waiting.resolve();
      },
    };
    const done = handler.run((_, start) => (start('200 OK', []), body));
    assert.doesNotThrow(() => handler.disconnect());
    assert.deepEqual(closed, ['return', 'close']);
    await assert.rejects(done, /no error stream/);
  });

  test('is not a fault where _flush finds out', async () => {
    let closed = 0;
    class Broken extends TestHandler {
      override async _flush(): Promise<void> {
        throw Object.assign(new Error('gone'), { code: 'ECONNRESET' });
      }
    }
    const handler = new Broken();
    await handler.run((_, start) => {
      start('200 OK', []);
      return Object.assign([bytes('a'), bytes('b')], { close: () => void (closed += 1) });
    });
    assert.equal(handler.errors, '');
    assert.equal(closed, 1);
    assert.ok(handler.output.endsWith('\r\n\r\na'), 'and nothing is sent after it');
  });

  // CPython: testDontResetInternalStateOnException
  test('other errors of the transport are reported, and the state stays', async () => {
    class Broken extends TestHandler {
      override _write(): void {
        throw new Error('disk full');
      }
    }
    const handler = new Broken();
    await handler.run(hello);
    assert.match(handler.errors, /^Error: disk full\n/);
    assert.equal(handler.status, '200 OK');
    assert.notEqual(handler.result, undefined);
    assert.equal(handler.headers.get('Content-Type'), 'text/plain');
    assert.notEqual(handler.environ, undefined);
  });
});

// CPython: testPartialWrite
test('a short write is continued, with a warning', async () => {
  const warnings: string[] = [];
  const listen = (warning: Error): void =>
    void warnings.push(`${warning.name}: ${warning.message}`);
  process.on('warning', listen);
  let output = '';
  const slow = {
    write(data: Uint8Array): number {
      output += text(data.subarray(0, 7));
      return Math.min(7, data.length);
    },
  };
  const environ = {};
  setupTestingDefaults(environ);
  await new SimpleHandler(new BytesIO(), slow, new StringIO(), environ).run(hello);
  await new Promise(setImmediate);
  process.off('warning', listen);
  assert.match(
    output,
    /^HTTP\/1\.0 200 OK\r\nDate: .*\r\nContent-Type: text\/plain\r\nContent-Length: 5\r\n\r\nHello$/,
  );
  assert.match(warnings[0] ?? '', /^DeprecationWarning: stdout\.write\(\) took 7 of \d+ bytes/);
});

describe('a Node stream as stdout', () => {
  /** Runs the application over a stream that takes `whole` writes, then fails with `code`. */
  async function runOver(
    whole: number, code: string, app: WSGIApplication,
  ): Promise<{ taken: string; errors: string; trouble: string[] }> {
    let taken = '';
    let writes = 0;
    const stdout = new Writable({
      write(chunk: Uint8Array, _encoding, done) {
        writes += 1;
        if (writes > whole) {
          return void setImmediate(done, Object.assign(new Error('no more'), { code }));
        }
        taken += text(chunk);
        setImmediate(done);
      },
    });
    const trouble: string[] = [];
    const listen = (error: unknown): void => void trouble.push(String(error));
    process.on('unhandledRejection', listen);
    process.on('warning', listen);
    const environ = {};
    setupTestingDefaults(environ);
    const errors = new StringIO();
    await new SimpleHandler(new BytesIO(), stdout, errors, environ).run(app);
    await new Promise(setImmediate);
    process.off('unhandledRejection', listen);
    process.off('warning', listen);
    return { taken: taken.replace(/^Date: .*\r\n/m, ''), errors: errors.getValue(), trouble };
  }
  const pushing: WSGIApplication = async (_environ, startResponse) => {
    const write = startResponse('200 OK', []);
    for (let count = 0; count < 20; count += 1) void write(bytes('.'));
    // Long enough for a failure to be noticed while the application is at work.
    for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
    return [];
  };

  test('is waited for, though the application does not', async () => {
    const { taken, errors, trouble } = await runOver(Infinity, '', pushing);
    assert.equal(taken, `HTTP/1.0 200 OK\r\n\r\n${'.'.repeat(20)}`);
    assert.equal(errors, '');
    assert.deepEqual(trouble, []);
  });

  test('that breaks under write() that is not awaited is not a fault of the application', async () => {
    const { errors, trouble } = await runOver(3, 'EPIPE', pushing);
    assert.equal(errors, '');
    assert.deepEqual(trouble, []);
  });

  test('that fails otherwise is reported, though nobody awaits write()', async () => {
    const { errors, trouble } = await runOver(3, 'ENOSPC', pushing);
    assert.match(errors, /^Error: no more\n/);
    assert.deepEqual(trouble, []);
  });

  test('that breaks under a body beyond its Content-Length', async () => {
    const { trouble } = await runOver(
      0, 'EPIPE', (_, start) => (start('200 OK', [['Content-Length', '1']]), [bytes('ab')]),
    );
    assert.deepEqual(trouble, []);
  });
});

// CPython: testBytesData
test('bytes go out as they are', async () => {
  const handler =
    await run((_, start) => (start('200 OK', []), [new Uint8Array([0, 255, 13, 10])]));
  assert.deepEqual([...handler.sent.getValue().slice(-4)], [0, 255, 13, 10]);
});

// CPython: testCGIEnviron
test('BaseCGIHandler speaks to a server: Status, and no Date', async () => {
  const environ = {};
  setupTestingDefaults(environ);
  const stdout = new BytesIO();
  const handler = new BaseCGIHandler(new BytesIO(), stdout, new StringIO(), environ);
  await handler.run(hello);
  assert.equal(
    text(stdout.getValue()),
    'Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nHello',
  );
  assert.equal(handler.environ['wsgi.multithread'], false);
  assert.equal(handler.environ['wsgi.multiprocess'], true);
});

// CPython: testAbstractMethods
test('BaseHandler leaves five methods to its subclass', () => {
  for (const name of ['addCgiVars', 'getStdin', 'getStderr', '_write', '_flush']) {
    assert.equal(name in BaseHandler.prototype, false, name);
  }
});

describe('a hook that is overridden', () => {
  /** A handler of a class made for one hook. */
  async function output(
    handlerClass: typeof TestHandler, app: WSGIApplication = hello,
  ): Promise<string> {
    const handler = new handlerClass();
    await handler.run(app);
    return handler.output;
  }
  const page = (body: string): string =>
    `HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

  test('setupEnviron, addCgiVars, getScheme, getStdin', async () => {
    class Hooked extends TestHandler {
      override setupEnviron(): void {
        super.setupEnviron();
        this.environ['hook.setup'] = 'yes';
      }
      override addCgiVars(): void {
        super.addCgiVars();
        this.environ.PATH_INFO = '/hooked';
      }
      override getScheme(): string {
        return 'https';
      }
      override getStdin(): BytesIO {
        return new BytesIO(bytes('hooked input'));
      }
    }
    const seen = await output(Hooked, async (environ, start) => {
      start('200 OK', []);
      const input = text(await environ['wsgi.input'].read());
      return [
        bytes([environ['hook.setup'], environ.PATH_INFO, environ['wsgi.url_scheme'], input].join()),
      ];
    });
    assert.ok(seen.endsWith('\r\n\r\nyes,/hooked,https,hooked input'));
  });

  test('startResponse', async () => {
    class Hooked extends TestHandler {
      override startResponse(
        status: Status, headers: ResponseHeaders, error?: unknown,
      ): ReturnType<StartResponse> {
        return super.startResponse(status, [...headers, ['X-Hook', 'yes']], error);
      }
    }
    assert.match(await output(Hooked), /^X-Hook: yes\r$/m);
  });

  test('write', async () => {
    class Hooked extends TestHandler {
      override write(data: Uint8Array): void | Promise<void> {
        return super.write(bytes(text(data).toUpperCase()));
      }
    }
    assert.equal(await output(Hooked), page('HELLO'));
  });

  test('finishResponse and finishContent', async () => {
    const events: string[] = [];
    class Hooked extends TestHandler {
      override async finishResponse(): Promise<void> {
        events.push('finishResponse');
        await super.finishResponse();
      }
      override finishContent(): void | Promise<void> {
        events.push('finishContent');
        return super.finishContent();
      }
      override async close(): Promise<void> {
        events.push('close');
        await super.close();
      }
    }
    assert.equal(await output(Hooked), page('Hello'));
    assert.deepEqual(events, ['finishResponse', 'finishContent', 'close']);
  });

  test('setContentLength', async () => {
    class Hooked extends TestHandler {
      override setContentLength(): void {}
    }
    assert.equal(await output(Hooked), 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nHello');
  });

  test('cleanupHeaders', async () => {
    class Hooked extends TestHandler {
      override cleanupHeaders(): void {
        super.cleanupHeaders();
        this.headers.set('X-Clean', 'yes');
      }
    }
    assert.match(await output(Hooked), /^X-Clean: yes\r$/m);
  });

  test('sendPreamble and sendHeaders', async () => {
    class Preamble extends TestHandler {
      override sendPreamble(): void | Promise<void> {
        return this._write(bytes('HTTP/9 123 PREAMBLE\r\n'));
      }
    }
    assert.match(await output(Preamble), /^HTTP\/9 123 PREAMBLE\r\nContent-Type/);
    class None extends TestHandler {
      override sendHeaders(): void {
        this.prepareHead();
      }
    }
    assert.equal(await output(None), 'Hello');
  });

  test('clientIsModern', async () => {
    class Hooked extends TestHandler {
      override clientIsModern(): boolean {
        return false;
      }
    }
    assert.equal(await output(Hooked), 'Hello');
  });

  test('resultIsFile and sendfile', async () => {
    class Hooked extends TestHandler {
      override sendfile(): boolean {
        void this.write(bytes('sent by hand'));
        return true;
      }
    }
    const file: WSGIApplication = (environ, start) => {
      start('200 OK', []);
      return environ['wsgi.file_wrapper']?.(new BytesIO(bytes('by blocks'))) ?? [];
    };
    assert.ok((await output(Hooked, file)).endsWith('\r\n\r\nsent by hand'));
    assert.ok((await output(TestHandler, file)).endsWith('\r\n\r\nby blocks'));
    class Never extends Hooked {
      override resultIsFile(): boolean {
        return false;
      }
    }
    assert.ok((await output(Never, file)).endsWith('\r\n\r\nby blocks'));
  });

  test('logException, getStderr, handleError and errorOutput', async () => {
    const fail: WSGIApplication = () => { throw new Error('x'); };
    const logged: unknown[] = [];
    class Log extends TestHandler {
      override logException(error: unknown): void {
        logged.push(error);
      }
    }
    assert.equal(await output(Log, fail), ERROR_PAGE);
    assert.equal(String(logged[0]), 'Error: x');

    const elsewhere = new StringIO();
    class Stderr extends TestHandler {
      override getStderr(): ErrorStream {
        return elsewhere;
      }
    }
    await output(Stderr, fail);
    assert.match(elsewhere.getValue(), /^Error: x\n/);

    class Handle extends TestHandler {
      override async handleError(): Promise<void> {
        await this._write(bytes('handled'));
      }
    }
    assert.equal(await output(Handle, fail), 'handled');

    class Page extends TestHandler {
      override errorOutput(
        _environ: WSGIEnvironment, startResponse: StartResponse, error: unknown,
      ): ResponseBody {
        startResponse('599 Odd', [], error);
        return [bytes('page')];
      }
    }
    assert.equal(await output(Page, fail), 'HTTP/1.0 599 Odd\r\nContent-Length: 4\r\n\r\npage');
  });

  test('the fields of the error page, of the class of headers, of the file wrapper', async () => {
    class Mine extends Headers {
      override toBytes(): Uint8Array {
        return bytes('X-Mine: yes\r\n\r\n');
      }
    }
    class Hooked extends TestHandler {
      override errorStatus: Status = '418 Teapot';
      override errorHeaders: ResponseHeaders = [['X-Tea', 'yes']];
      override errorBody: Uint8Array = bytes('tea');
      override wsgiFileWrapper: undefined = undefined;
      override wsgiVersion = [2, 0] as const;
      override wsgiRunOnce = true;
    }
    const handler = new Hooked();
    await handler.run(() => { throw new Error('x'); });
    assert.equal(
      handler.output, 'HTTP/1.0 418 Teapot\r\nX-Tea: yes\r\nContent-Length: 3\r\n\r\ntea',
    );
    assert.equal('wsgi.file_wrapper' in handler.environ, false);
    assert.deepEqual(handler.environ['wsgi.version'], [2, 0]);
    assert.equal(handler.environ['wsgi.run_once'], true);
    class WithClass extends TestHandler {
      override headersClass: typeof Headers = Mine;
    }
    assert.equal(await output(WithClass), 'HTTP/1.0 200 OK\r\nX-Mine: yes\r\n\r\nHello');
  });

  test('the fields of who speaks, and what the application is told of it', async () => {
    class Hooked extends TestHandler {
      override originServer = false;
      override serverSoftware = 'Hooked/1';
      override wsgiMultithread = false;
      override wsgiMultiprocess = false;
    }
    const handler = new Hooked();
    await handler.run(hello);
    assert.equal(
      handler.output,
      'Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nHello',
    );
    assert.equal(handler.environ['wsgi.multithread'], false);
    assert.equal(handler.environ['wsgi.multiprocess'], false);
    assert.equal('SERVER_SOFTWARE' in handler.environ, false, 'the server in front says its own');

    class Origin extends TestHandler {
      override httpVersion = '1.1';
      override serverSoftware = 'Hooked/1';
      override tracebackLimit = 0;
    }
    const origin = new Origin();
    await origin.run(() => { throw new Error('x'); });
    assert.match(origin.output, /^HTTP\/1\.1 500 Internal Server Error\r\nServer: Hooked\/1\r\n/);
    assert.equal(origin.errors, 'Error: x\n');
  });

  test('_write and _flush', async () => {
    const events: string[] = [];
    class Hooked extends TestHandler {
      override _write(data: Uint8Array): void {
        events.push(text(data).includes('\r\n') ? 'write head' : `write ${text(data)}`);
      }
      override _flush(): void {
        events.push('flush');
      }
    }
    await output(Hooked, (_, start) => (start('200 OK', []), [bytes('a'), bytes('b')]));
    assert.deepEqual(events, ['write head', 'write head', 'write a', 'flush', 'write b', 'flush']);
  });
});

test('a FileWrapper of a handler is told from one of another make', async () => {
  const handler = new TestHandler();
  handler.result = new FileWrapper(new BytesIO());
  assert.equal(handler.resultIsFile(), true);
  handler.wsgiFileWrapper = undefined;
  assert.equal(handler.resultIsFile(), false);
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
      const { errors } = await handle(bodyOf(() => [bytes('x'.repeat(100))]), { stdout });
      assert.match(taken, /^HTTP\/1\.0 200 OK\r\n[^]*\r\n\r\nx{100}$/);
      assert.equal(errors, '');
    }
  });

  test('reports a sink that takes nothing', async () => {
    const { errors } = await handle(bodyOf(() => [bytes('x')]), { stdout: { write: () => 0 } });
    assert.match(errors, /^Error: stdout\.write\(\) took 0 of \d+ bytes\n/);
  });
});
