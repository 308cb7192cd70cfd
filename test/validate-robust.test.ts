// The validator does not fall over what it is there to find.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { WSGIError, rules } from '../lib/validate.ts';
import {
  type Exchange,
  type Loose,
  answer,
  app,
  bytes,
  play,
} from './support/validate-exchange.ts';

const throwing = new Proxy(
  {},
  new Proxy(
    {},
    {
      get: () => () => {
        throw new Error('a trap');
      },
    },
  ) as object,
);
const revoked = ((): unknown => {
  const { proxy, revoke } = Proxy.revocable([], {});
  revoke();
  return proxy;
})();
const getter = {
  get length(): number {
    throw new Error('a getter');
  },
  get then(): never {
    throw new Error('a getter');
  },
};

const ODD: Record<string, unknown> = {
  undefined,
  null: null,
  true: true,
  zero: 0,
  NaN,
  bigint: 10n,
  symbol: Symbol('odd'),
  'empty string': '',
  'lone surrogate': '\ud800',
  'long string': 'x'.repeat(100_000),
  function: () => {},
  class: class Odd {},
  'object without prototype': Object.create(null),
  array: [],
  'array of arrays': [[]],
  'sparse array': new Array(3),
  date: new Date(NaN),
  'a Proxy that throws': throwing,
  'a revoked Proxy': revoked,
  'a getter that throws': getter,
  'an array with a throwing pair': [throwing],
  'a thenable': { then: (resolve: Loose) => resolve(5) },
  'an object that iterates badly': { [Symbol.iterator]: () => 5 },
  'an object whose iterator throws': {
    [Symbol.iterator]() {
      throw new WSGIError('x', rules[0] as Loose);
    },
  },
  'an iterator of oddities': { [Symbol.iterator]: () => ({ next: () => throwing }) },
  'an async iterator of oddities': { [Symbol.asyncIterator]: () => ({ next: () => 5 }) },
  'an async iterator that gives itself': {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: async () => getter,
  },
};

const PLACES: Record<string, (odd: unknown) => Exchange> = {
  'an environ': (odd) => ({ environFrom: () => odd }),
  'a CGI variable': (odd) => ({ environ: { HTTP_ODD: odd } }),
  PATH_INFO: (odd) => ({ environ: { PATH_INFO: odd } }),
  'wsgi.version': (odd) => ({ environ: { 'wsgi.version': odd } }),
  'wsgi.url_scheme': (odd) => ({ environ: { 'wsgi.url_scheme': odd, SERVER_PORT: '80' } }),
  'wsgi.input': (odd) => ({ environ: { 'wsgi.input': odd } }),
  'wsgi.errors': (odd) => ({ environ: { 'wsgi.errors': odd } }),
  'wsgi.file_wrapper': (odd) => ({ environ: { 'wsgi.file_wrapper': odd } }),
  startResponse: (odd) => ({ serve: (call, environ) => call(environ, odd) }),
  'what startResponse returns': (odd) => ({
    app: app((_environ, start) => (start('204 No Content', []), [])),
    serve: async (call, environ, _start, server) => server.finish(await call(environ, () => odd)),
  }),
  'a status': (odd) => ({ app: answer(odd ?? null) }),
  headers: (odd) => ({ app: answer('200 OK', odd ?? null) }),
  'a header': (odd) => ({ app: answer('200 OK', [odd]) }),
  'a name': (odd) => ({ app: answer('200 OK', [[odd, 'x']]) }),
  'a value': (odd) => ({ app: answer('200 OK', [['X', odd]]) }),
  'an error': (odd) => ({ app: app((_e, start) => (start('200 OK', [], odd), [])) }),
  'a body': (odd) => ({ app: app((_e, start) => (start('204 No Content', []), odd)) }),
  'a chunk': (odd) => ({ app: answer('200 OK', [['Content-Type', 'a/b']], [odd]) }),
  'a written chunk': (odd) => ({
    app: app((_e, start) => (start('200 OK', [['Content-Type', 'a/b']])(odd), [])),
  }),
  close: (odd) => ({ app: answer('200 OK', [], Object.assign([], { close: odd })) }),
  'a size': (odd) => ({
    app: app(async (environ, start) => {
      await environ['wsgi.input'].read(odd);
      start('204 No Content', []);
      return [];
    }),
  }),
  'what read() gives': (odd) => ({
    app: app(async (environ, start) => {
      await environ['wsgi.input'].read();
      start('204 No Content', []);
      return [];
    }),
    environ: {
      'wsgi.input': {
        read: async () => odd,
        readline() {},
        readlines() {},
        async *[Symbol.asyncIterator]() {},
      },
    },
  }),
  'a report': (odd) => ({
    app: app((environ, start) => {
      environ['wsgi.errors'].write(odd);
      start('204 No Content', []);
      return [];
    }),
  }),
  'a file': (odd) => ({
    app: app((environ, start) => (start('204 No Content', []), environ['wsgi.file_wrapper'](odd))),
    environ: { 'wsgi.file_wrapper': () => [] },
  }),
};

// Errors that belong to what was passed, and pass the validator as they came.
const ITS_OWN = /a trap|a getter|cannot be invoked without 'new'|Cannot perform 'get' on a proxy/;

describe('the validator survives', () => {
  for (const [place, make] of Object.entries(PLACES)) {
    for (const [name, odd] of Object.entries(ODD)) {
      it(`${name} as ${place}`, async () => {
        try {
          for (const report of await play(make(odd))) {
            assert.ok(
              rules.some(({ id }) => id === report.code),
              String(report),
            );
            assert.ok(report.message.length < 600, report.message);
          }
        } catch (error) {
          assert.match(String(error), ITS_OWN);
        }
      });
    }
  }

  // Even `instanceof` fails for a revoked Proxy.
  const fail = (): never => {
    throw revoked;
  };
  const THROWERS: Record<string, Exchange> = {
    'an application': { app: fail },
    'an async application': { app: async () => fail() },
    'an iterator': { app: answer('200 OK', [], { [Symbol.iterator]: () => ({ next: fail }) }) },
    'a body': { app: answer('200 OK', [], { [Symbol.iterator]: fail }) },
    'close()': {
      app: answer('200 OK', [], Object.assign([], { close: fail })),
      options: { severity: { 'close-throws': 'off' } },
    },
    'close(), which is awaited': {
      app: answer('200 OK', [], Object.assign([], { close: async () => fail() })),
      options: { severity: { 'close-throws': 'off' } },
    },
    startResponse: { serve: (call, environ) => call(environ, fail) },
    'startResponse, in place of an error': {
      app: app((_environ, start) => {
        start('200 OK', [['Content-Type', 'a/b']])(bytes('a'));
        start('500 Oops', [], new Error('oops'));
      }),
      serve: (call, environ) => call(environ, (_s: unknown, _h: unknown, error: unknown) => {
        return error === undefined ? () => {} : fail();
      }),
      options: { severity: { 'sr-rethrows-same': 'off' } },
    },
    'wsgi.errors': {
      app: app((environ) => environ['wsgi.errors'].write('text')),
      environ: { 'wsgi.errors': { write: fail, writelines() {}, flush() {} } },
      options: { severity: { 'errors-any-unicode': 'off' } },
    },
  };
  for (const [name, exchange] of Object.entries(THROWERS)) {
    for (const middleware of [undefined, (inner: Loose) => inner]) {
      const where = middleware === undefined ? '' : ', with middleware around it';
      it(`a revoked Proxy thrown by ${name}${where}`, async () => {
        let caught: unknown;
        const played: Exchange = {
          ...exchange,
          ...(middleware && { middleware }),
          async serve(call, environ, start, server) {
            const respond = exchange.serve ?? (() => call(environ, start));
            try {
              await server.finish(await respond(call, environ, start, server));
            } catch (error) {
              caught = error;
            }
          },
        };
        assert.deepEqual((await play(played)).map(String), []);
        assert.ok(caught === revoked);
      });
    }
  }

  it('a server that stops in the middle, with nothing to stop', async () => {
    const body = {
      *[Symbol.iterator]() {
        yield bytes('a');
      },
      close: null,
    };
    const reports = await play({
      app: answer('200 OK', [['Content-Type', 'a/b']], body),
      serve: async (call, environ, start) => {
        const made = call(environ, start);
        made[Symbol.iterator]().return();
        made.close();
      },
    });
    assert.deepEqual(reports.map(String), []);
  });
});
