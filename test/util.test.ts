// The helpers over environ, with wsgiref's own cases.

import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import {
  BytesIO,
  FileWrapper,
  StringIO,
  type WSGIEnvironment,
  applicationUri,
  decodePath,
  guessScheme,
  isHopByHop,
  requestUri,
  setupTestingDefaults,
  shiftPathInfo,
} from '../lib/index.ts';
import { bytes, collect, text } from './support/bytes.ts';

function environ(given: Partial<WSGIEnvironment> = {}): WSGIEnvironment {
  const made: Partial<WSGIEnvironment> = { ...given };
  setupTestingDefaults(made);
  return made;
}

describe('shiftPathInfo', () => {
  const rows: Array<[
    script: string, path: string, shifted: string | null, scriptAfter: string, pathAfter: string,
  ]> = [
    // CPython: testSimpleShifts
    ['', '/', '', '/', ''],
    ['', '/x', 'x', '/x', ''],
    ['/', '', null, '/', ''],
    ['/a', '/x/y', 'x', '/a/x', '/y'],
    ['/a', '/x/', 'x', '/a/x', '/'],
    // CPython: testNormalizedShifts
    ['/a/b', '/../y', '..', '/a', '/y'],
    ['', '/../y', '..', '', '/y'],
    ['/a/b', '//y', 'y', '/a/b/y', ''],
    ['/a/b', '//y/', 'y', '/a/b/y', '/'],
    ['/a/b', '/./y', 'y', '/a/b/y', ''],
    ['/a/b', '/./y/', 'y', '/a/b/y', '/'],
    ['/a/b', '///./..//y/.//', '..', '/a', '/y/'],
    ['/a/b', '///', '', '/a/b/', ''],
    ['/a/b', '/.//', '', '/a/b/', ''],
    ['/a/b', '/x//', 'x', '/a/b/x', '/'],
    ['/a/b', '/.', null, '/a/b', ''],
  ];
  for (const [script, path, shifted, scriptAfter, pathAfter] of rows) {
    test(`'${script}' + '${path}'`, () => {
      const given = { SCRIPT_NAME: script, PATH_INFO: path };
      assert.equal(shiftPathInfo(given), shifted);
      assert.deepEqual(given, { SCRIPT_NAME: scriptAfter, PATH_INFO: pathAfter });
    });
  }

  test('takes absent variables for empty ones', () => {
    assert.equal(shiftPathInfo({} as never), null);
    const given = { PATH_INFO: '/x' } as { PATH_INFO: string; SCRIPT_NAME: string };
    assert.equal(shiftPathInfo(given), 'x');
    assert.equal(given.SCRIPT_NAME, '/x');
  });

  test('refuses a path that is none', () => {
    assert.throws(
      () => shiftPathInfo({ SCRIPT_NAME: '', PATH_INFO: 'x' }),
      /^RangeError: PATH_INFO is "x"; it is empty or begins with '\/'$/,
    );
  });
});

describe('setupTestingDefaults', () => {
  // CPython: testDefaults
  test('fills an empty object', () => {
    const made: Partial<WSGIEnvironment> = {};
    setupTestingDefaults(made);
    const { 'wsgi.input': input, 'wsgi.errors': errors, ...rest } = made;
    assert.ok(input instanceof BytesIO);
    assert.ok(errors instanceof StringIO);
    assert.deepEqual(rest, {
      SERVER_NAME: '127.0.0.1',
      SERVER_PROTOCOL: 'HTTP/1.0',
      HTTP_HOST: '127.0.0.1',
      REQUEST_METHOD: 'GET',
      SCRIPT_NAME: '',
      PATH_INFO: '/',
      SERVER_PORT: '80',
      'wsgi.version': [1, 0],
      'wsgi.run_once': false,
      'wsgi.multithread': false,
      'wsgi.multiprocess': false,
      'wsgi.url_scheme': 'http',
    });
  });

  test('keeps every value, an undefined one as well', () => {
    const given = environ({ REQUEST_METHOD: 'POST', PATH_INFO: '/x', HTTP_HOST: undefined });
    assert.equal(given.REQUEST_METHOD, 'POST');
    assert.equal(given['HTTP_HOST'], undefined);
    assert.equal('SCRIPT_NAME' in given, false, 'one of the two paths is enough');
  });

  // CPython: testCrossDefaults
  test('derives one from another', () => {
    assert.equal(environ({ SERVER_NAME: 'foo.com' })['HTTP_HOST'], 'foo.com');
    assert.equal(environ({ HTTPS: 'on' })['wsgi.url_scheme'], 'https');
    assert.equal(environ({ HTTPS: 'on' }).SERVER_PORT, '443');
    assert.equal(environ({ 'wsgi.url_scheme': 'https' }).SERVER_PORT, '443');
  });
});

// CPython: testGuessScheme
test('guessScheme knows three ways to say yes', () => {
  for (const yes of ['on', 'yes', '1']) assert.equal(guessScheme({ HTTPS: yes }), 'https', yes);
  for (const no of ['off', 'no', '', 'ON']) assert.equal(guessScheme({ HTTPS: no }), 'http', no);
  assert.equal(guessScheme({}), 'http');
});

describe('the URI', () => {
  // CPython: testAppURIs
  const applications: Array<[string, Partial<WSGIEnvironment>]> = [
    ['http://127.0.0.1/', {}],
    ['http://127.0.0.1/spam', { SCRIPT_NAME: '/spam' }],
    ['http://127.0.0.1/sp%E4m', { SCRIPT_NAME: '/sp\xe4m' }],
    ['http://spam.example.com:2071/', { HTTP_HOST: 'spam.example.com:2071', SERVER_PORT: '2071' }],
    ['http://spam.example.com/', { SERVER_NAME: 'spam.example.com' }],
    ['http://127.0.0.1/', { HTTP_HOST: '127.0.0.1', SERVER_NAME: 'spam.example.com' }],
    ['https://127.0.0.1/', { HTTPS: 'on' }],
    ['http://127.0.0.1:8000/', { SERVER_PORT: '8000', HTTP_HOST: undefined }],
    ['https://127.0.0.1:80/', { HTTPS: 'on', SERVER_PORT: '80', HTTP_HOST: undefined }],
  ];
  for (const [expected, given] of applications) {
    test(`of the application: ${expected} of ${JSON.stringify(given)}`, () => {
      assert.equal(applicationUri(environ({ SCRIPT_NAME: '', ...given })), expected);
    });
  }

  // CPython: testReqURIs
  const requests: Array<[string, Partial<WSGIEnvironment>, boolean?]> = [
    ['http://127.0.0.1/', {}],
    ['http://127.0.0.1/spam', { SCRIPT_NAME: '/spam', PATH_INFO: '' }],
    ['http://127.0.0.1/sp%E4m', { SCRIPT_NAME: '/sp\xe4m', PATH_INFO: '' }],
    ['http://127.0.0.1/spammity/spam', { SCRIPT_NAME: '/spammity', PATH_INFO: '/spam' }],
    ['http://127.0.0.1/spammity/sp%E4m', { SCRIPT_NAME: '/spammity', PATH_INFO: '/sp\xe4m' }],
    ['http://127.0.0.1/spammity/spam;ham', { SCRIPT_NAME: '/spammity', PATH_INFO: '/spam;ham' }],
    [
      'http://127.0.0.1/spammity/spam;cookie=1234,5678',
      { SCRIPT_NAME: '/spammity', PATH_INFO: '/spam;cookie=1234,5678' },
    ],
    [
      'http://127.0.0.1/spammity/spam?say=ni',
      { SCRIPT_NAME: '/spammity', PATH_INFO: '/spam', QUERY_STRING: 'say=ni' },
    ],
    [
      'http://127.0.0.1/spammity/spam?s%E4y=ni',
      { SCRIPT_NAME: '/spammity', PATH_INFO: '/spam', QUERY_STRING: 's%E4y=ni' },
    ],
    [
      'http://127.0.0.1/spammity/spam',
      { SCRIPT_NAME: '/spammity', PATH_INFO: '/spam', QUERY_STRING: 'say=ni' }, false,
    ],
    ['http://127.0.0.1/a%3Fb%25c%20d', { PATH_INFO: '/a?b%c d', SCRIPT_NAME: '' }],
  ];
  for (const [expected, given, query] of requests) {
    test(`of the request: ${expected}`, () => {
      assert.equal(requestUri(environ(given), query), expected);
    });
  }
});

// CPython: testHopByHop
test('isHopByHop knows its names in any case', () => {
  const names = [
    'Connection', 'Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authorization', 'TE', 'Trailers',
    'Transfer-Encoding', 'Upgrade', 'Trailer',
  ];
  for (const name of names) {
    for (const spelling of [name, name.toLowerCase(), name.toUpperCase()]) {
      assert.ok(isHopByHop(spelling), spelling);
    }
  }
  for (const name of [
    'Via', 'Cache-Control', 'Date', 'Pragma', 'Warning', 'Content-Type', 'connection2',
  ]) {
    assert.equal(isHopByHop(name), false, name);
  }
});

test('decodePath reads UTF-8, and Latin-1 where it is none', () => {
  assert.equal(decodePath('/cafÃ©'), '/café');
  assert.equal(decodePath('/caf\xe9'), '/café');
  assert.equal(decodePath('/plain'), '/plain');
  assert.equal(decodePath('/€'), '/€', 'text remains text');
});

describe('FileWrapper', () => {
  const file = fileURLToPath(import.meta.url);
  const joined = async (wrapper: FileWrapper): Promise<string> =>
    Buffer.concat(await collect(wrapper)).toString();

  // CPython: testFileWrapper
  test('cuts a file into blocks, and is its own iterator', async () => {
    const wrapper = new FileWrapper(new BytesIO(bytes('xyz'.repeat(50))), 120);
    assert.equal(wrapper[Symbol.asyncIterator](), wrapper);
    assert.deepEqual((await collect(wrapper)).map((block) => block.length), [120, 30]);
    assert.equal('close' in wrapper, false, 'what has no close() gets none');
    assert.deepEqual(
      (await collect(new FileWrapper(new BytesIO(new Uint8Array(10_000))))).map(
        (block) => block.length,
      ),
      [8192, 1808],
    );
  });

  test("passes close() on, and does not call it in iterating", async () => {
    let closed = 0;
    const source = Object.assign(new BytesIO(bytes('abc')), { close: () => { closed += 1; } });
    const wrapper = new FileWrapper(source);
    await collect(wrapper);
    assert.equal(closed, 0);
    await wrapper.close?.();
    assert.equal(closed, 1);
  });

  test('takes a synchronous read()', async () => {
    const parts = ['ab', 'c', ''];
    assert.equal(await joined(new FileWrapper({ read: () => bytes(parts.shift() ?? '') })), 'abc');
  });

  test('reads a FileHandle from its current position', async () => {
    const handle = await open(file);
    await handle.read(new Uint8Array(3), 0, 3, null);
    const wrapper = new FileWrapper(handle, 1000);
    assert.match(await joined(wrapper), /^The helpers over environ/);
    await wrapper.close?.();
    assert.equal(handle.fd, -1);
  });

  test('takes a Node Readable, whose read() is another one, and releases its file', async () => {
    const stream = createReadStream(file, { highWaterMark: 100 });
    const wrapper = new FileWrapper(stream);
    const { value } = await wrapper.next();
    assert.equal(text(value), text(value).slice(0, 100));
    await wrapper.return();
    await wrapper.close?.();
    assert.equal(stream.destroyed, true);

    const unread = Readable.from([bytes('x')]);
    await new FileWrapper(unread).close?.();
    assert.equal(unread.destroyed, true);
  });

  test('takes an async iterable', async () => {
    async function* source(): AsyncGenerator<Uint8Array> {
      yield bytes('a');
      yield bytes('b');
    }
    assert.equal(await joined(new FileWrapper(source())), 'ab');
    assert.equal(
      await joined(
        new FileWrapper(new Blob(['blob']).stream() as unknown as AsyncIterable<Uint8Array>),
      ),
      'blob',
    );
  });

  test(
    'explains why a path, or a read() that returns something else than bytes, is wrong',
    async () => {
      for (const [wrong, shown] of [
        ['/etc/motd', '"/etc/motd"'], [null, 'null'], [5, 'the number 5'],
      ]) {
        assert.throws(
          () => new FileWrapper(wrong as never),
          (error: Error) => error instanceof TypeError && error.message.endsWith(`not ${shown}`),
        );
      }
      for (const wrong of [null, undefined, 'text']) {
        await assert.rejects(
          collect(new FileWrapper({ read: () => wrong as never })),
          /^TypeError: the file's read\(size\) returns bytes, and no bytes at its end, not (null|undefined|"text")$/,
        );
      }
    },
  );

  test('refuses anything else, and an odd block size', () => {
    assert.throws(
      () => new FileWrapper({} as never),
      /^TypeError: wsgi\.file_wrapper takes an object with read\(size\), a FileHandle or a Readable, not an object$/,
    );
    for (const size of [0, -1, 1.5, NaN]) {
      assert.throws(() => new FileWrapper(new BytesIO(), size), RangeError);
    }
  });
});
