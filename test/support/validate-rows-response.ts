// Rules about startResponse: when it is called, and the status and headers it is
// given.

import type { WSGIApplication } from '../../lib/types.ts';
import {
  type Exchange,
  type Loose,
  type Row,
  Passing,
  answer,
  app,
  bytes,
  row,
} from './validate-exchange.ts';

const TYPE = ['Content-Type', 'text/plain'];

const status = (text: unknown): Exchange => ({ app: answer(text, [['Location', '/'], TYPE]) });
const headers = (...pairs: unknown[]): Exchange => ({ app: answer('200 OK', [TYPE, ...pairs]) });
const header = (name: unknown, value: unknown = 'x'): Exchange => headers([name, value]);
const empty = (text: string, ...pairs: unknown[]): Exchange => ({ app: answer(text, pairs, []) });
const strict = (exchange: Exchange): Exchange => ({ ...exchange, options: { strict: true } });

// A generator that answers, yields, fails, and answers once more.
function failing(handle: (start: Loose, error: Error) => unknown): WSGIApplication {
  return app(function* (_environ, start) {
    start('200 OK', [TYPE]);
    yield bytes('Hello');
    const error = new Error('no more');
    try {
      throw error;
    } catch {
      yield* (handle(start, error) ?? []) as Uint8Array[];
    }
  });
}

// A server that does one thing otherwise in its startResponse.
function starting(make: (...args: Loose[]) => unknown, application = answer()): Exchange {
  return {
    app: application,
    serve: async (call, environ, start, server) => {
      const otherStart = (...args: Loose[]): unknown => make(start, ...args);
      await server.finish(call(environ, otherStart));
    },
  };
}

const replacing = app((_environ, start) => {
  start('200 OK', [TYPE]);
  start('500 Oops', [TYPE], new Error('oops'));
  return [bytes('Hello')];
});

const passing = app(function* (_environ, start) {
  start('200 OK', [TYPE]);
  yield bytes('Hello');
  start('500 Oops', [TYPE], new Passing('oops'));
});

export const RESPONSE_ROWS: Row[] = [
  // The call
  row(
    'sr-arity',
    /with 1 argument\./,
    { app: app((_, start) => start('200 OK')) },
    { app: app((_, start) => (start('200 OK', [TYPE], undefined), [])) },
  ),
  row(
    'sr-returns-write',
    /returned undefined/,
    starting(() => undefined),
    starting((start, ...args) => start(...args)),
  ),
  row(
    'sr-is-sync',
    /returned a promise/,
    starting(async (start, ...args) => start(...args)),
    starting((start, ...args) => start(...args)),
  ),
  row(
    'sr-twice',
    /a second time/,
    {
      app: app((_, start) => (start('200 OK', [TYPE]), start('200 OK', [TYPE]), [])),
    },
    { app: replacing },
  ),
  row(
    'sr-again-after-throw',
    /again after it had thrown/,
    starting(failOnce(), retrying(false)),
    starting(failOnce(), retrying(true)),
  ),
  row(
    'exc-info-type',
    /passed the boolean true/,
    { app: withError(true) },
    { app: withError(null) },
  ),
  row(
    'exc-info-type',
    /an Array of 3 items/,
    { app: withError([Error, new Error('x'), null]) },
    { app: withError({ message: 'of another kind' }) },
  ),
  row(
    'sr-sent-must-throw',
    /after the head was sent/,
    starting(
      (start, s, h) => start(s, h),
      failing((start, error) => void start('500 Oops', [TYPE], error)),
    ),
    starting((start, ...args) => start(...args), replacing),
  ),
  row(
    'sr-rethrows-same',
    /threw the Error "another" in place/,
    {
      ...starting((start, s, h, error) => {
        if (error) throw new Passing('another');
        return start(s, h);
      }, passing),
    },
    starting((start, ...args) => start(...args), passing),
  ),
  row(
    'sr-throw-trapped',
    /and yielded another chunk/,
    {
      app: failing((start, error) => {
        try {
          start('500 Oops', [TYPE], error);
        } catch {
          return [bytes('all is well')];
        }
        return [];
      }),
    },
    { app: passing },
  ),
  row(
    'sr-throw-trapped',
    /and ended its body/,
    {
      app: failing((start, error) => {
        try {
          start('500 Oops', [TYPE], error);
        } catch {
          return [];
        }
        return [];
      }),
    },
    {
      app: failing((start) => start('500 Oops', [TYPE], new Passing('oops'))),
    },
  ),
  row(
    'report-trapped',
    /caught the report "The application passed the status "200OK"\." \(status-space\)/,
    { app: answeringErrors('200OK') },
    { app: answeringErrors('200 OK') },
  ),
  row(
    'report-trapped',
    /\(read-size-int\), and went on/,
    {
      app: app(async (environ, start) => {
        try {
          await environ['wsgi.input'].read('5');
        } catch {
          // It goes on without the body.
        }
        start('200 OK', [TYPE]);
        return [bytes('fine')];
      }),
    },
    {
      app: app(async (environ, start) => {
        await Promise.reject(new Error('another')).catch(() => {});
        await environ['wsgi.input'].read(5);
        start('200 OK', [TYPE]);
        return [bytes('fine')];
      }),
    },
  ),
  row('sr-after-end', /after the body had ended/, late(true), late(false)),

  // The status
  row('status-type', /passed the number 200/, status(200), status('200 OK')),
  row('status-ctl', /U\+000D/, status('200 OK\r\nX: y'), status('200 Caf\u00e9')),
  row('status-lead-ws', /" 200 OK"/, status(' 200 OK'), status('200 OK')),
  row('status-ascii-digits', /"２００ OK"/, status('２００ OK'), status('200 2\u00b2')),
  row('status-latin1', /"200 Ołk"/, status('200 Ołk'), status('200 Öl')),
  row('status-three-digits', /"20 OK"/, status('20 OK'), status('201 OK')),
  row('status-min-100', /"099 Low"/, status('099 Low'), status('200 Low')),
  row('status-1xx', /"103 Early/, empty('103 Early Hints'), empty('204 No Content')),
  row('status-max-599', /"600 High"/, status('600 High'), status('599 High')),
  row('status-space', /"200OK"/, status('200OK'), status('200 O K')),
  row('status-reason', /"200 "/, status('200 '), status('200 X')),
  row('status-trail-ws', /"200 OK "/, status('200 OK '), status('200 All is OK')),

  // The list of headers
  row('headers-list', /class Map/, { app: answer('200 OK', new Map()) }, headers()),
  row(
    'headers-not-frozen',
    /a frozen array/,
    { app: answer('200 OK', Object.freeze([TYPE])) },
    { app: answer('200 OK', [...Object.freeze([TYPE])]) },
  ),
  row('header-pair-tuple', /passed "X: y" as a header/, headers('X: y'), headers(['X', 'y'])),
  row(
    'header-pair-len',
    /3 items, "X" first/,
    headers(['X', 'y', 'z']),
    headers(['X', 'y'], ['X', 'z']),
  ),
  row('header-name-string', /passed a symbol/, header(Symbol('x')), header('x')),
  row(
    'header-value-string',
    /passed the number 5 as the value of "X"/,
    header('X', 5),
    header('X', '5'),
  ),
  row('header-name-nonempty', /the header name ""/, header(''), header('X')),
  row('header-name-colon-nl', /"X:"/, header('X:'), header('X')),
  row('header-name-token', /"X Y"/, header('X Y'), header('X!#$%.Y')),
  row('header-no-status', /"Status"/, header('Status', '200'), header('X-Status', '200')),
  row('header-name-trail-punct', /"X-"/, header('X-'), header('-X')),
  row(
    'header-hop-by-hop',
    /"Connection"/,
    header('Connection', 'close'),
    header('X-Connection', 'close'),
  ),
  row('header-value-crlf-nul', /U\+000A/, header('X', 'a\nb'), header('X', 'a\\nb')),
  row('header-value-c0', /U\+0001/, header('X', 'a\u0001b'), header('X', 'a b')),
  row('header-value-c0', /U\+007F/, header('X', 'a\u007f'), header('X', 'a\u0080')),
  row('header-value-latin1', /U\+0142/, header('X', 'ł'), header('X', 'é')),
  row('header-value-ows', /" x"/, header('X', ' x'), header('X', '')),
  row(
    'headers-changed-later',
    /changed its list/,
    { app: changing('X') },
    { app: changing(undefined) },
  ),

  // Single headers
  row(
    'header-cl-syntax',
    /"5 bytes"/,
    header('Content-Length', '5 bytes'),
    header('Content-Length', '5'),
  ),
  row(
    'header-cl-duplicate',
    /as "5" and "6"/,
    headers(['Content-Length', '5'], ['Content-Length', '6']),
    header('Content-Length', '005'),
  ),
  row(
    'header-singleton-dup',
    /content-type twice/,
    headers(['content-type', 'text/html']),
    headers(['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2']),
  ),
  row(
    'content-length-on-1xx-204',
    /status 204 with content-length/,
    empty('204 No Content', ['Content-Length', '0']),
    empty('304 Not Modified', ['Content-Length', '5']),
  ),
  row(
    'content-type-on-204-304',
    /status 204 with content-type/,
    empty('204 No Content', TYPE),
    empty('204 No Content'),
  ),
  row(
    'entity-headers-on-304',
    /status 304 with content-encoding/,
    empty('304 Not Modified', ['Content-Encoding', 'gzip']),
    empty('304 Not Modified', ['ETag', '"a"'], ['Expires', '0']),
  ),
  row('location-on-3xx', /302 with no headers/, empty('302 Found'), empty('300 Multiple Choices')),
  row(
    'www-authenticate-401',
    /401 with/,
    empty('401 Unauthorized'),
    empty('401 Unauthorized', ['WWW-Authenticate', 'Basic']),
  ),
  row(
    'allow-405',
    /405 with/,
    empty('405 Method Not Allowed'),
    empty('405 Method Not Allowed', ['allow', '']),
  ),
  row(
    'content-range-206-416',
    /206 with/,
    empty('206 Partial Content'),
    empty('206 Partial Content', ['Content-Type', 'multipart/byteranges; boundary=x']),
  ),
  row('etag-quoted', /"abc"/, header('ETag', 'abc'), header('ETag', 'W/"abc"')),
  row('etag-weak-case', /w\/\\"abc/, header('ETag', 'w/"abc"'), header('ETag', '"w/abc"')),
  row(
    'location-uri',
    /"\/a b"/,
    empty('302 Found', ['Location', '/a b']),
    empty('302 Found', ['Location', '/a%20b?c=[d]#e']),
  ),
  row(
    'date-format',
    /"2026-11-20"/,
    strict(header('Date', '2026-11-20')),
    strict(header('Date', new Date(0).toUTCString())),
  ),
  row(
    'set-cookie-folded',
    /"••••••"/,
    strict(header('Set-Cookie', 'a=1, b=2')),
    strict(header('Set-Cookie', 'a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT')),
  ),
];

// The pattern of the tutorials: an error before the head is answered by another status.
function answeringErrors(first: string): WSGIApplication {
  return app(function* (_environ, start) {
    try {
      start(first, [TYPE]);
      throw new Error('no paper');
    } catch (error) {
      start('503 Service Unavailable', [TYPE], error);
      yield bytes('Come back later.');
    }
  });
}

function withError(error: unknown): WSGIApplication {
  return app((_environ, start) => (start('200 OK', [TYPE], error), []));
}

// Throws on the first call, for a reason of its own.
function failOnce(): (...args: Loose[]) => unknown {
  let calls = 0;
  return (start, ...args) => {
    calls += 1;
    if (calls === 1) throw new Error('not now');
    return start(...args);
  };
}

function retrying(withReason: boolean): WSGIApplication {
  return app((_environ, start) => {
    try {
      start('200 OK', [TYPE]);
    } catch (error) {
      if (withReason) start('500 Oops', [TYPE], error);
      else start('200 OK', [TYPE]);
    }
    return [];
  });
}

// A body whose close() answers once more.
function late(again: boolean): Exchange {
  return {
    app: app((_environ, start) => {
      start('200 OK', [TYPE]);
      const close = (): void => {
        if (again) start('500 Oops', [TYPE], new Error('too late'));
      };
      return Object.assign([bytes('a')], { close });
    }),
  };
}

function changing(name: string | undefined): WSGIApplication {
  return app((_environ, start) => {
    const list = [TYPE];
    start('200 OK', list);
    if (name !== undefined) list.push([name, 'y']);
    return [bytes('a')];
  });
}
