// Rules about middleware, which take a validator on either side of it.

import {
  type Exchange,
  type Loose,
  type Row,
  answer,
  app,
  bytes,
  row,
} from './validate-exchange.ts';

const TYPE = ['Content-Type', 'text/plain'];
const THREE = answer('200 OK', [TYPE], ['a', 'b', 'c'].map(bytes));
const around = (
  middleware: NonNullable<Exchange['middleware']>,
  application = THREE,
): Exchange => ({
  app: application,
  middleware,
});

// Middleware that yields what `convert` makes of the application's body.
function converting(convert: (inner: Loose) => Iterable<unknown>): Exchange {
  return around(
    (inner) =>
      function* middleware(environ: unknown, start: unknown) {
        const body = inner(environ, start);
        try {
          yield* convert(body);
        } finally {
          body.close();
        }
      },
  );
}

export const LAYER_ROWS: Row[] = [
  row(
    'close-propagated',
    /middleware forgetful did not close the body of the application/,
    around(
      (inner) =>
        function* forgetful(environ: unknown, start: unknown) {
          yield* inner(environ, start);
        },
    ),
    around(
      (inner) =>
        function* thoughtful(environ: unknown, start: unknown) {
          const body = inner(environ, start);
          try {
            yield* body;
          } finally {
            body.close();
          }
        },
    ),
  ),

  row(
    'mw-yield-per-chunk',
    /asked for another chunk before it had yielded/,
    converting(function* (inner) {
      const all = [...inner];
      yield Buffer.concat(all);
    }),
    converting(function* (inner) {
      const all = [];
      for (const chunk of inner) {
        all.push(chunk);
        yield bytes('');
      }
      yield Buffer.concat(all);
    }),
  ),

  row(
    'mw-no-direct-each',
    /before returning its own/,
    around((inner) => (environ: unknown, start: unknown) => {
      const body = inner(environ, start);
      const all = [...body];
      body.close();
      return all;
    }),
    around((inner) => (environ: unknown, start: unknown) => {
      const body = inner(environ, start);
      const chunks = body[Symbol.iterator]();
      const first = chunks.next();
      const rest = function* (): Generator<unknown> {
        yield first.value;
        yield* chunks;
      };
      return Object.assign(rest(), { close: () => body.close() });
    }),
  ),

  row(
    'mw-write-relay',
    /called write\(\) when its application had yielded/,
    around((inner) => (environ: unknown, start: Loose) => {
      let write: Loose;
      const body = inner(environ, (...args: unknown[]) => (write = start(...args)));
      try {
        for (const chunk of body) write(chunk);
      } finally {
        body.close();
      }
      return [];
    }),
    around(
      (inner) => inner,
      app((_environ, start) => {
        start('200 OK', [TYPE])(bytes('written'));
        return [bytes('yielded')];
      }),
    ),
  ),
];
