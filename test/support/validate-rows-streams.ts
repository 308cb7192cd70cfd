// Rules about wsgi.input, wsgi.errors and wsgi.file_wrapper.

import { BytesIO, StringIO } from '../../lib/io.ts';
import { FileWrapper } from '../../lib/util.ts';
import { type Exchange, type Loose, type Row, app, bytes, row } from './validate-exchange.ts';

// An application that does something with its input before it answers.
function reading(use: (input: Loose, environ: Loose) => unknown, environ = {}): Exchange {
  return {
    app: app(async (env, start) => {
      await use(env['wsgi.input'], env);
      start('204 No Content', []);
      return [];
    }),
    environ: { 'wsgi.input': new BytesIO(bytes('one\ntwo')), ...environ },
  };
}

// A server whose input has one method of its own.
function input(methods: object, rest = {}): Record<string, unknown> {
  return { 'wsgi.input': Object.assign(new BytesIO(bytes('one\ntwo')), methods), ...rest };
}

function reporting(use: (errors: Loose) => unknown, environ = {}): Exchange {
  return {
    app: app((env, start) => {
      use(env['wsgi.errors']);
      start('204 No Content', []);
      return [];
    }),
    environ: { 'wsgi.errors': new StringIO(), ...environ },
  };
}

function sending(wrapper: unknown, file: unknown, ...rest: unknown[]): Exchange {
  return {
    app: app((environ, start) => {
      start('200 OK', [['Content-Type', 'text/plain']]);
      return environ['wsgi.file_wrapper'](file, ...rest);
    }),
    environ: { 'wsgi.file_wrapper': wrapper },
  };
}

const wrapFile = (file: Loose, blockSize?: number): FileWrapper => new FileWrapper(file, blockSize);
const file = (): object => ({ ...closing, read: () => new Uint8Array(0) });
const closing = { close() {} };
const gives = (value: unknown) => async () => value;
const read = (size?: number) => (stream: Loose) => stream.read(size);
const readAll = async (stream: Loose): Promise<void> => {
  while ((await stream.read(2)).length > 0);
};

export const STREAM_ROWS: Row[] = [
  // How the application reads
  row(
    'read-argc',
    /read\(\) with 2 arguments/,
    reading((i) => i.read(1, 2)),
    reading((i) => i.read()),
  ),
  row(
    'readline-argc',
    /readline\(\) with 2/,
    reading((i) => i.readline(1, 2)),
    reading((i) => i.readline(2)),
  ),
  row(
    'readlines-argc',
    /readlines\(\) with 2/,
    reading((i) => i.readlines(1, 2)),
    reading((i) => i.readlines(2)),
  ),
  row(
    'read-size-int',
    /read\("5"\)|read\(.*"5"/,
    reading((i) => i.read('5')),
    reading((i) => i.read(undefined)),
  ),
  row(
    'read-size-nonneg',
    /number -2/,
    reading((i) => i.read(-2)),
    reading((i) => i.read(-1)),
  ),
  row(
    'read-overlap',
    /while an earlier read was pending/,
    reading((i) => Promise.all([i.read(1), i.read(1)])),
    reading(async (i) => [await i.read(1), await i.read(1)]),
  ),
  row(
    'read-unawaited',
    /while a read of wsgi.input was pending/,
    {
      app: app((environ, start) => {
        void environ['wsgi.input'].read();
        start('200 OK', []);
        return [];
      }),
      environ: input({ read: () => new Promise(() => {}) }),
    },
    reading(read()),
  ),
  row(
    'input-after-response',
    /call wsgi.input.read\(\) after the response had ended/,
    readingLate(true),
    readingLate(false),
  ),
  row(
    'input-past-length',
    /with 3 bytes left of 3/,
    reading(read(4), { CONTENT_LENGTH: '3', ...ofThree() }),
    reading(read(4), { CONTENT_LENGTH: '3', 'wsgi.input_terminated': true, ...ofThree() }),
  ),
  row(
    'input-no-close',
    /wsgi.input.close/,
    reading((i) => i.close(), input(closing)),
    reading((i) => i.close?.()),
  ),
  row(
    'input-no-other-attr',
    /wsgi.input.getValue/,
    reading((i) => i.getValue()),
    reading((i) => [i.then, i.toString(), String(i), typeof i.getValue, 'pipe' in i]),
  ),
  row(
    'input-iter-async',
    /iterated over wsgi.input synchronously/,
    reading((i) => [...i]),
    reading(async (i) => {
      for await (const line of i) void line;
    }),
  ),

  // What the server gives
  row(
    'read-thenable',
    /returned a Uint8Array of 3 bytes/,
    reading(read(), input({ read: () => bytes('one') })),
    reading(read(), input({ read: gives(bytes('one')) })),
  ),
  row(
    'read-returns-bytes',
    /gave "one"/,
    reading(read(), input({ read: gives('one') })),
    reading(read(), input({ read: gives(Buffer.from('one')) })),
  ),
  row(
    'read-not-nil',
    /gave null/,
    reading(read(), input({ read: gives(null) })),
    reading(read(), input({ read: gives(bytes('')) })),
  ),
  row(
    'read-not-too-long',
    /gave 3 bytes from wsgi.input.read\(2\)/,
    reading(read(2), input({ read: gives(bytes('one')) })),
    reading(read(3), input({ read: gives(bytes('one')) })),
  ),
  row(
    'read-after-eof',
    /after it had ended/,
    {
      ...reading(
        async (i) => [await i.read(1), await i.read(1)],
        input({ read: sequence('', 'a') }),
      ),
    },
    reading(async (i) => [await i.read(0), await i.read(1)], input({ read: sequence('', 'a') })),
  ),
  row(
    'readline-returns-bytes',
    /gave undefined/,
    reading((i) => i.readline(), input({ readline: gives(undefined) })),
    reading((i) => i.readline(), input({ readline: gives(bytes('')) })),
  ),
  row(
    'readline-one-line',
    /more than one line/,
    reading((i) => i.readline(), input({ readline: gives(bytes('a\nb\n')) })),
    reading((i) => i.readline(), input({ readline: gives(bytes('b\n')) })),
  ),
  row(
    'readlines-list',
    /gave an object of class Set/,
    reading((i) => i.readlines(), input({ readlines: gives(new Set()) })),
    reading((i) => i.readlines(), input({ readlines: gives([]) })),
  ),
  row(
    'readlines-items',
    /"a\\n" as a line/,
    reading((i) => i.readlines(), input({ readlines: gives(['a\n']) })),
    reading((i) => i.readlines(), input({ readlines: gives([bytes('a\n')]) })),
  ),
  row(
    'input-iter-items',
    /"a\\n" as a line/,
    reading(iterate, input({ [Symbol.asyncIterator]: lines('a\n') })),
    reading(iterate, input({ [Symbol.asyncIterator]: lines(bytes('a\n')) })),
  ),
  row(
    'readlines-items',
    /more than one line as a line/,
    reading((i) => i.readlines(), input({ readlines: gives([bytes('a\nb')]) })),
    reading((i) => i.readlines(), input({ readlines: gives([bytes('a\n'), bytes('b')]) })),
  ),
  row(
    'input-iter-items',
    /more than one line as a line/,
    reading(iterate, input({ [Symbol.asyncIterator]: lines(bytes('a\nb')) })),
    reading(iterate, input({ [Symbol.asyncIterator]: lines(bytes('a\n'), bytes('b')) })),
  ),
  row(
    'input-over-length',
    /gave 7 bytes .* CONTENT_LENGTH 3/,
    reading(read(), { CONTENT_LENGTH: '3' }),
    reading(read(), { CONTENT_LENGTH: '7' }),
  ),
  row(
    'input-under-length',
    /after 7 of 9 bytes/,
    reading(readAll, { CONTENT_LENGTH: '9' }),
    reading(readAll, { CONTENT_LENGTH: '7', 'wsgi.input_terminated': true }),
  ),

  // Reports
  row(
    'errors-write-str',
    /with the Error "x"/,
    reporting((e) => e.write(new Error('x'))),
    reporting((e) => e.write(String(new Error('x')))),
  ),
  row(
    'errors-writelines-str',
    /writelines\(\) with "one"/,
    reporting((e) => e.writelines('one')),
    reporting((e) => e.writelines(new Set(['one', 'two']))),
  ),
  row(
    'errors-no-close',
    /wsgi.errors.end/,
    reporting((e) => e.end(), { 'wsgi.errors': Object.assign(new StringIO(), { end() {} }) }),
    reporting((e) => [e.end?.(), e.flush()]),
  ),
  row(
    'errors-no-other-attr',
    /wsgi.errors.getValue/,
    reporting((e) => e.getValue()),
    reporting((e) => String(e)),
  ),
  row(
    'errors-any-unicode',
    /threw the RangeError/,
    {
      ...reporting(
        (e) => {
          try {
            e.write('ł');
          } catch {
            // What the application makes of it is its own affair.
          }
        },
        { 'wsgi.errors': Object.assign(new StringIO(), { write: fails }) },
      ),
    },
    reporting((e) => e.write('ł')),
  ),
  row(
    'errors-newline',
    /"a\\r\\n"/,
    { ...reporting((e) => e.write('a\r\n')), options: { strict: true } },
    { ...reporting((e) => e.write('a\n\rb\n')), options: { strict: true } },
  ),

  // Files
  row(
    'file-wrapper-shape',
    /set wsgi.file_wrapper to "sendfile"/,
    { environ: { 'wsgi.file_wrapper': 'sendfile' } },
    sending(wrapFile, file()),
  ),
  row(
    'file-wrapper-arg',
    /passed "\/etc\/hosts"/,
    sending(wrapFile, '/etc/hosts'),
    sending(wrapFile, file(), 16),
  ),
  row(
    'file-wrapper-close',
    /without close\(\)/,
    sending(() => [], file()),
    sending(() => [], { read() {} }),
  ),
  row(
    'file-wrapper-lazy',
    /before it was returned/,
    sending((f: Loose) => [f.read(1)], { read: () => bytes('a') }),
    sending(wrapFile, file()),
  ),
];

// An application that keeps its input, and reads from it before or after its end.
function readingLate(afterEnd: boolean): Exchange {
  let input: Loose;
  return {
    app: app((environ, start) => {
      input = environ['wsgi.input'];
      start('200 OK', []);
      return [];
    }),
    serve: async (call, environ, start) => {
      const body = call(environ, start);
      if (afterEnd) body.close();
      await input.read(1);
      body.close();
    },
    options: { severity: { 'close-twice': 'off' } },
  };
}

function ofThree(): object {
  return { 'wsgi.input': new BytesIO(bytes('one')) };
}

function sequence(...texts: string[]): () => Promise<Uint8Array> {
  return async () => bytes(texts.shift() ?? '');
}

function lines(...items: unknown[]): () => AsyncGenerator<unknown> {
  return async function* () {
    yield* items;
  };
}

async function iterate(stream: Loose): Promise<void> {
  for await (const line of stream) void line;
}

function fails(): never {
  throw new RangeError('no such character');
}
