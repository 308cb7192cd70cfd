// The stages of a response, in bytes at the socket.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

import type { ResponseBody, WSGIApplication, WSGIEnvironment } from '../lib/index.ts';
import { bytes, deferred } from './support/bytes.ts';
import { RawClient, converse, exchange, withServer, withoutDate } from './support/raw-http.ts';

const request = (line = 'GET / HTTP/1.1', ...headers: string[]): string =>
  [line, 'Host: test', ...headers, '', ''].join('\r\n');
const closing = request('GET / HTTP/1.1', 'Connection: close');

/** An application that answers 200 with this body, made anew for each request. */
const answering =
  (
    body: (environ: WSGIEnvironment) => ResponseBody | Promise<ResponseBody>,
    headers: Array<[string, string]> = [],
  ): WSGIApplication =>
  async (environ, startResponse) => {
    startResponse('200 OK', headers);
    return body(environ);
  };

/** A body that notes its ending. */
function noted<T extends object>(events: string[], body: T): T & { close(): void } {
  return Object.assign(body, { close: () => void events.push('close') });
}

describe('applications of every shape', () => {
  const self = fileURLToPath(import.meta.url);
  const whole = 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc';
  const parts =
    'HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n';
  const shapes: Array<[string, WSGIApplication, string]> = [
    ['a function and an array', (_, start) => (start('200 OK', []), [bytes('abc')]), whole],
    ['an async function', async (_, start) => (start('200 OK', []), [bytes('abc')]), whole],
    [
      'an array of several chunks', (_, start) => (start('200 OK', []), [bytes('a'), bytes('bc')]),
      parts,
    ],
    ['a Set', (_, start) => (start('200 OK', []), new Set([bytes('a'), bytes('bc')])), parts],
    [
      'a generator',
      function* (_, start) {
        start('200 OK', []);
        yield bytes('a');
        yield bytes('');
        yield bytes('bc');
      },
      parts,
    ],
    [
      'an async generator',
      async function* (_, start) {
        start('200 OK', []);
        yield bytes('a');
        await null;
        yield bytes('bc');
      },
      parts,
    ],
    [
      'a Node Readable',
      (_, start) => (start('200 OK', []), Readable.from([bytes('a'), bytes('bc')])), parts,
    ],
    [
      'a web ReadableStream',
      (_, start) => (start('200 OK', []), new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(bytes('a'));
          controller.enqueue(bytes('bc'));
          controller.close();
        },
      })),
      parts,
    ],
    [
      'an object with both iterators: the asynchronous one',
      (_, start) => (start('200 OK', []), {
        *[Symbol.iterator]() { yield bytes('wrong'); },
        async *[Symbol.asyncIterator]() { yield bytes('a'); yield bytes('bc'); },
      }),
      parts,
    ],
    [
      'write() and an iterable',
      (_, start) => { void start('200 OK', [])(bytes('a')); return [bytes('bc')]; }, parts,
    ],
    [
      'a FileHandle in a wrapper',
      async (environ, start) => {
        start('200 OK', [['Content-Length', '3']]);
        return environ['wsgi.file_wrapper']?.(await open(self)) ?? [];
      },
      whole.replace('abc', '// '),
    ],
    [
      'a file stream',
      (_, start) =>
        (start('200 OK', [['Content-Length', '3']]), createReadStream(self, { end: 2 })),
      whole.replace('abc', '// '),
    ],
  ];
  for (const [title, app, expected] of shapes) {
    test(title, async () => {
      await withServer(app, async ({ port, errors }) => {
        assert.equal(
          withoutDate(await exchange(port, closing)).replace(
            /^(Content-Length: 3\r\n)(Connection: close\r\n)/m, '$1$2',
          ),
          expected,
        );
        if (title !== 'a file stream') assert.equal(errors.getValue(), '');
      });
    });
  }
});

describe('the head', () => {
  test('waits for the first chunk that is not empty, and leaves with it', async () => {
    const go = deferred();
    const turned = deferred();
    await withServer(answering(async function* () {
      yield bytes('');
      turned.resolve();
      await go.promise;
      yield bytes('first');
    }), async ({ port }) => {
      const client = (await RawClient.connect(port)).send(request());
      const packets: string[] = [];
      client.socket.on('data', (packet: string) => packets.push(packet));
      await turned.promise;
      await new Promise(setImmediate);
      assert.equal(client.pending, '');
      go.resolve();
      await client.response();
      assert.match(packets[0] ?? '', /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n5\r\nfirst\r\n/);
    });
  });

  test('and the only chunk are one packet', async () => {
    await withServer(answering(() => [bytes('all')]), async ({ port }) => {
      const client = (await RawClient.connect(port)).send(request());
      const [packet] = (await once(client.socket, 'data')) as [string];
      assert.match(packet, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nall$/);
    });
  });

  test("begins with Date and Server, like wsgiref's", async () => {
    await withServer(answering(() => []), async ({ port }) => {
      assert.match(
        await exchange(port, closing),
        /^HTTP\/1\.1 200 OK\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\nServer: WSGIServer\/0\.1 Node\.js\/[\d.]+\r\nContent-Length: 0\r\nConnection: close\r\n\r\n$/,
      );
    });
  });

  test('keeps the order, the spelling and the repetition of its headers', async () => {
    const headers: Array<[string, string]> = [
      ['sEt-cOOkie', 'a=1'], ['X', 'é\t'], ['Set-Cookie', 'b=2'], ['Date', 'now'],
      ['Server', 'mine'],
    ];
    await withServer(answering(() => [], headers), async ({ port }) => {
      assert.equal(
        await exchange(port, closing),
        'HTTP/1.1 200 OK\r\nsEt-cOOkie: a=1\r\nX: é\t\r\nSet-Cookie: b=2\r\nDate: now\r\nServer: mine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
      );
    });
  });
});

describe('each chunk reaches the client before the next is asked for', () => {
  // The client lives in a thread of its own: it can hear while the server computes.
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    const heard = new Int32Array(workerData.heard);
    const socket = require('node:net').connect(workerData.port, '127.0.0.1');
    let all = '';
    socket.setEncoding('latin1');
    socket.on('data', (data) => {
      all += data;
      Atomics.store(heard, 0, (all.match(/chunk/g) ?? []).length);
      Atomics.notify(heard, 0);
    });
    socket.on('close', () => parentPort.postMessage(all));
    socket.write(${JSON.stringify(closing)});
  `;

  for (const shape of ['a generator', 'an array that computes', 'an async generator', 'write()']) {
    test(`from ${shape} that does not let go of the thread`, async () => {
      const heard = new Int32Array(new SharedArrayBuffer(4));
      const seen: string[] = [];
      const waitFor = (count: number): void => {
        const result =
          Atomics.load(heard, 0) >= count ? 'heard' : Atomics.wait(heard, 0, count - 1, 5000);
        seen.push(result === 'timed-out' ? 'not heard' : 'heard');
      };
      function* chunks(): Generator<Uint8Array> {
        for (let count = 1; count <= 3; count += 1) {
          yield bytes(`chunk ${count}`);
          waitFor(count);
        }
      }
      const app: WSGIApplication = async (_environ, start) => {
        const write = start('200 OK', []);
        if (shape === 'a generator') return chunks();
        if (shape === 'an array that computes') return { [Symbol.iterator]: chunks };
        if (shape === 'an async generator') return (async function* () { yield* chunks(); })();
        for (let count = 1; count <= 3; count += 1) {
          await write(bytes(`chunk ${count}`));
          waitFor(count);
        }
        return [];
      };
      await withServer(app, async ({ port }) => {
        const client =
          new Worker(program, { eval: true, workerData: { port, heard: heard.buffer } });
        const [all] = (await once(client, 'message')) as [string];
        assert.deepEqual(seen, ['heard', 'heard', 'heard']);
        assert.match(all, /7\r\nchunk 1\r\n7\r\nchunk 2\r\n7\r\nchunk 3\r\n0\r\n\r\n$/);
      });
    });
  }
});

describe('the length of a body', () => {
  const two = (): Uint8Array[] => [bytes('ab'), bytes('cd')];
  const rows: Array<[string, WSGIApplication, string, string]> = [
    [
      'of one chunk is known', answering(() => [bytes('abcd')]), request(),
      'Content-Length: 4\r\nConnection: keep-alive\r\n\r\nabcd',
    ],
    [
      'of several is not: chunked for HTTP/1.1', answering(two), request(),
      'Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n',
    ],
    [
      'of several: a closed connection for HTTP/1.0', answering(two), request('GET / HTTP/1.0'),
      'Connection: close\r\n\r\nabcd',
    ],
    [
      'of one, for HTTP/1.0 that wants to keep it', answering(() => [bytes('abcd')]),
      request('GET / HTTP/1.0', 'Connection: keep-alive'),
      'Content-Length: 4\r\nConnection: keep-alive\r\n\r\nabcd',
    ],
    [
      'as given', answering(two, [['Content-Length', '4']]), request(),
      'Content-Length: 4\r\nConnection: keep-alive\r\n\r\nabcd',
    ],
  ];
  for (const [title, app, asked, expected] of rows) {
    test(title, async () => {
      await withServer(app, async ({ port, server }) => {
        const client = (await RawClient.connect(port)).send(asked);
        await client.until(
          (heard) => heard.endsWith(expected.slice(-4)) && heard.includes('\r\n\r\n'),
        );
        assert.equal(withoutDate(client.pending), `HTTP/1.1 200 OK\r\n${expected}`);
        await server.shutdown();
      });
    });
  }

  test('is enforced: no byte past it, and the fault is reported', async () => {
    await withServer(
      answering(() => [bytes('abc'), bytes('def')], [['Content-Length', '4']]),
      async ({ port, errors }) => {
        const client = (await RawClient.connect(port)).send(request() + request());
        assert.equal((await client.response()).body, 'abcd');
        assert.equal(
          (await client.response()).body, 'abcd', 'the connection is fit for the next request',
        );
        assert.match(errors.getValue(), /the body is longer than its Content-Length of 4 bytes/);
      },
    );
  });

  test('is enforced for write() after the end of it, too, and the server lives on', async () => {
    const app: WSGIApplication = async (_environ, start) => {
      const write = start('200 OK', [['Content-Length', '3']]);
      await write(bytes('abc'));
      for (const _ of [1, 2]) {
        await assert.rejects(async () => write(bytes('d')), /longer than its Content-Length of 3/);
      }
      return [];
    };
    await withServer(app, async ({ port, errors }) => {
      const client = (await RawClient.connect(port)).send(request() + request());
      assert.equal((await client.response()).body, 'abc');
      assert.equal((await client.response()).body, 'abc');
      assert.equal(errors.getValue(), '');
    });
  });

  for (const body of [['abc'], []]) {
    test(
      `is enforced: ${body.length === 0 ? 'no body' : 'a body'} that falls short cuts the connection, and is reported`,
      async () => {
        await withServer(answering(() => body.map(bytes), [['Content-Length', '4']]), async ({
          port, errors, log,
        }) => {
          const answer = await exchange(port, request());
          assert.match(answer, new RegExp(
            `^HTTP/1\\.1 200 OK\r\n[\\s\\S]*\r\nContent-Length: 4\r\n[\\s\\S]*\r\n\r\n${body.join('')}$`,
          ));
          assert.match(
            errors.getValue(), /^Error: the body ended after \d bytes; its Content-Length says 4\n/,
          );
          assert.deepEqual(log, [`"GET / HTTP/1.1" 200 ${body.length === 0 ? '-' : '3'}`]);
        });
      },
    );
  }
});

describe('no body is sent', () => {
  const rows: Array<[string, string, `${number} ${string}`, Array<[string, string]>, string]> = [
    [
      'to HEAD, which keeps the length', 'HEAD', '200 OK', [['Content-Length', '9']],
      'Content-Length: 9\r\n',
    ],
    [
      'to HEAD, which gets the length of the one chunk', 'HEAD', '200 OK', [],
      'Content-Length: 4\r\n',
    ],
    ['with 204', 'GET', '204 No Content', [['Content-Length', '4']], ''],
    ['with 205', 'GET', '205 Reset Content', [], 'Content-Length: 0\r\n'],
    ['with 304', 'GET', '304 Not Modified', [['Content-Length', '4']], 'Content-Length: 4\r\n'],
  ];
  for (const [title, method, status, headers, expected] of rows) {
    test(title, async () => {
      const app: WSGIApplication = (_environ, start) => (start(status, headers), [bytes('body')]);
      await withServer(app, async ({ port, errors }) => {
        const client = (await RawClient.connect(port)).send(
          request(`${method} / HTTP/1.1`) + request(`${method} / HTTP/1.1`, 'Connection: close'),
        );
        const answer = withoutDate(await client.rest());
        const head = (connection: string): string =>
          `HTTP/1.1 ${status}\r\n${expected}Connection: ${connection}\r\n\r\n`;
        assert.equal(answer, head('keep-alive') + head('close'));
        assert.equal(errors.getValue(), '');
      });
    });
  }

  test('and an endless one is not read', async () => {
    const events: string[] = [];
    await withServer(
      answering(() =>
        noted(events, (function* () {
          try { while (true) yield bytes('x'); } finally { events.push('finally'); }
        })())),
      async ({ port }) => {
        await exchange(port, request('HEAD / HTTP/1.1', 'Connection: close'));
        assert.deepEqual(events, ['finally', 'close']);
      },
    );
  });
});

describe('an application that fails', () => {
  const failure = (): never => {
    throw new Error('secret of the application');
  };
  const before: Array<[string, WSGIApplication]> = [
    ['at once', failure],
    ['asynchronously', async () => failure()],
    ['after startResponse', (_, start) => (start('200 OK', [['X-Secret', 'yes']]), failure())],
    ['in the first step of a generator', function* () { failure(); }],
    [
      'after an empty chunk',
      async function* (_, start) { start('200 OK', []); yield bytes(''); failure(); },
    ],
  ];
  for (const [title, app] of before) {
    test(`${title} gives a 500 that tells nothing, a trace, and goes on serving`, async () => {
      let fail = true;
      await withServer(
        (environ, start) =>
          (fail ? app(environ, start) : answering(() => [bytes('fine')])(environ, start)),
        async ({ port, errors, log }) => {
          const client = (await RawClient.connect(port)).send(request());
          const { statusLine, headers, body } = await client.response();
          assert.equal(statusLine, 'HTTP/1.1 500 Internal Server Error');
          assert.equal(body, 'A server error occurred.  Please contact the administrator.');
          assert.doesNotMatch(JSON.stringify(headers), /secret/i);
          assert.equal(errors.getValue().match(/secret of the application/g)?.length, 1);
          assert.deepEqual(log, ['"GET / HTTP/1.1" 500 59']);
          fail = false;
          client.send(request());
          assert.equal((await client.response()).body, 'fine');
        },
      );
    });
  }

  test('after the head has its connection cut', async () => {
    const events: string[] = [];
    let fail = true;
    await withServer(
      answering(
        () => noted(events, (function* () { yield bytes('begun'); if (fail) failure(); })()),
      ),
      async ({ port, errors, log }) => {
        assert.match(await exchange(port, request()), /\r\n\r\n5\r\nbegun\r\n$/);
        assert.deepEqual(events, ['close']);
        assert.equal(errors.getValue().match(/secret of the application/g)?.length, 1);
        assert.deepEqual(log, ['"GET / HTTP/1.1" 200 5']);
        fail = false;
        assert.match(await exchange(port, closing), /5\r\nbegun\r\n0\r\n\r\n$/);
      },
    );
  });
});

describe('a client that leaves', () => {
  const phases: Array<[string, (events: string[], reached: () => void) => WSGIApplication]> = [
    ['while the application waits, before it returned', (events, reached) =>
      async (_environ, start) => {
        reached();
        await new Promise<void>((resolve) => setTimeout(resolve, 20));
        start('200 OK', []);
        return noted(events, [bytes('late')]);
      }],
    ['before the first chunk', (events, reached) =>
      answering(() => noted(events, (async function* () {
        try {
          reached();
          await new Promise((resolve) => setTimeout(resolve, 20));
          yield bytes('late');
        } finally {
          events.push('finally');
        }
      })()))],
    ['between two chunks', (events, reached) => answering(() => noted(events, (async function* () {
      try {
        yield bytes('one');
        reached();
        while (true) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          yield bytes('more');
        }
      } finally {
        events.push('finally');
      }
    })()))],
    ['while a synchronous generator goes on and on', (events, reached) =>
      answering(() => noted(events, (function* () {
        try { while (true) { reached(); yield bytes('more'); } } finally { events.push('finally'); }
      })()))],
    ['and does not read what it is sent', (events, reached) =>
      answering(() => noted(events, (function* () {
        let count = 0;
        try {
          while (true) { count += 1; if (count === 40) reached(); yield new Uint8Array(65536); }
        } finally {
          events.push('finally');
        }
      })()))],
    ['in the middle of its body', (events, reached) => async (environ, start) => {
      reached();
      await environ['wsgi.input'].read();
      start('200 OK', []);
      return noted(events, []);
    }],
  ];
  for (const [title, make] of phases) {
    test(title, async () => {
      const events: string[] = [];
      const reached = deferred();
      const app = make(events, () => reached.resolve());
      let first = true;
      await withServer((environ, start) => {
        if (!first) return answering(() => [bytes('next')])(environ, start);
        first = false;
        return app(environ, start);
      }, async ({ port, errors, log }) => {
        const client = await RawClient.connect(port);
        if (title.includes('read what')) client.socket.pause();
        client.send(
          title.includes('its body')
            ? request('POST / HTTP/1.1', 'Content-Length: 10') + 'half'
            : request(),
        );
        await reached.promise;
        client.socket.resetAndDestroy();
        while (log.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
        const expected = title.includes('its body')
          ? []
          : title.includes('returned') ? ['close'] : ['finally', 'close'];
        assert.deepEqual([...events].sort().reverse(), expected);
        assert.equal(errors.getValue(), '');
        assert.match(await exchange(port, closing), /next$/);
      });
    });
  }
});

test('a body is asked for nothing after its client has left during back pressure', async () => {
  const events: string[] = [];
  const stalled = deferred();
  const body = {
    [Symbol.iterator]: () => ({
      next() {
        events.push(events.includes('close') ? 'next after close' : 'next');
        if (events.length === 40) stalled.resolve();
        return { done: false, value: new Uint8Array(65536) };
      },
    }),
    close: () => void events.push('close'),
  };
  await withServer(answering(() => body), async ({ port, log }) => {
    const client = await RawClient.connect(port);
    client.socket.pause();
    client.send(request());
    await stalled.promise;
    let before = -1;
    while (before !== events.length) {
      before = events.length;
      for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
    }
    client.socket.resetAndDestroy();
    while (log.length === 0) await new Promise(setImmediate);
    assert.equal(events.at(-1), 'close');
    assert.equal(events.filter((event) => event === 'close').length, 1);
  });
});

test("write() out of a body's close() is refused, and the server lives on", async () => {
  await withServer((_environ, start) => {
    const write = start('200 OK', []);
    return Object.assign([bytes('a'), bytes('b')], { close: () => write(bytes('late')) });
  }, async ({ port, errors }) => {
    for (const _ of [1, 2]) {
      assert.match(await exchange(port, closing), /\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n$/);
    }
    assert.match(errors.getValue(), /nothing comes after the end/);
  });
});

describe('an unread body', () => {
  const ignoring: WSGIApplication = answering(() => [bytes('ignored')]);
  const post = (length: number): string => request('POST / HTTP/1.1', `Content-Length: ${length}`);

  test('is taken off the wire, and the connection kept', async () => {
    await withServer(ignoring, async ({ port }) => {
      const client = await RawClient.connect(port);
      client.send(post(300_000)).send('x'.repeat(300_000)).send(request());
      assert.equal((await client.response()).body, 'ignored');
      assert.equal((await client.response()).body, 'ignored');
    });
  });

  test('is taken off even when it was read in part', async () => {
    const reading: WSGIApplication = async (environ, start) => {
      const part = await environ['wsgi.input'].read(10);
      start('200 OK', []);
      return [part];
    };
    await withServer(reading, async ({ port }) => {
      const client = await RawClient.connect(port);
      client.send(post(300_000))
        .send('x'.repeat(300_000))
        .send(request('POST / HTTP/1.1', 'Transfer-Encoding: chunked'))
        .send('3\r\nabc\r\n0\r\n\r\n');
      assert.equal((await client.response()).body, 'xxxxxxxxxx');
      assert.equal((await client.response()).body, 'abc');
    });
  });

  const kinds: Array<[string, WSGIApplication]> = [
    ['an asynchronous', ignoring],
    ['a synchronous', (_environ, start) => (start('200 OK', []), [bytes('ignored')])],
  ];
  for (const [kind, app] of kinds) test(`of ${kind} application has a bound`, async () => {
    await withServer(app, async ({ port }) => {
      const client = await RawClient.connect(port);
      client.send(post(100_000_000));
      const piece = 'x'.repeat(65536);
      let sent = 0;
      const pump = (): void => {
        while (!client.socket.destroyed && sent < 100_000_000) {
          sent += piece.length;
          if (!client.socket.write(piece)) return;
        }
      };
      client.socket.on('drain', pump);
      pump();
      assert.equal((await client.response()).body, 'ignored');
      await client.rest();
      assert.ok(sent < 50_000_000, `${sent} bytes were taken`);
    });
  });
});

test('a body cut short for an HTTP/1.0 client ends in a reset, not like a whole one', async (t) => {
  const app = answering(async function* () {
    yield bytes('half');
    await new Promise(setImmediate);
    throw new Error('meant to fail');
  });
  await withServer(app, async ({ port, server }) => {
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const client = await RawClient.connect(port);
    const [socket] = await accepted;
    // Node's client takes some resets for an ordinary end, so this looks at the server.
    const reset = t.mock.method(socket, 'resetAndDestroy');
    assert.match(await client.send('GET / HTTP/1.0\r\n\r\n').rest(), /\r\n\r\nhalf$/);
    assert.equal(reset.mock.callCount(), 1);
  });
});

describe('back pressure', () => {
  test('stops a generator whose client does not read, and others are served', async () => {
    let made = 0;
    await withServer((environ, start) => {
      start('200 OK', []);
      if (environ.PATH_INFO === '/small') return [bytes('small')];
      return (function* () { while (true) { made += 1; yield new Uint8Array(65536); } })();
    }, async ({ port }) => {
      const slow = new Socket();
      slow.connect(port, '127.0.0.1');
      slow.pause();
      slow.write(request());
      // When the count is the same after several exchanges, the generator waits.
      let before = -1;
      while (before !== made || made === 0) {
        before = made;
        for (let turn = 0; turn < 5; turn += 1) {
          assert.match(
            await exchange(port, request('GET /small HTTP/1.1', 'Connection: close')), /small$/,
          );
        }
      }
      assert.ok(made < 1000, `${made} chunks were made for a client that takes none`);
      slow.destroy();
    });
  });

  test('holds for write() that is awaited', async () => {
    let written = 0;
    const stalled = deferred();
    await withServer(async (_environ, start) => {
      const write = start('200 OK', []);
      for (let count = 0; count < 2000; count += 1) {
        const timer = setTimeout(() => stalled.resolve(), 100);
        await write(new Uint8Array(65536));
        clearTimeout(timer);
        written += 1;
      }
      return [];
    }, async ({ port }) => {
      const slow = new Socket();
      slow.connect(port, '127.0.0.1');
      slow.pause();
      slow.write(request());
      await stalled.promise;
      assert.ok(written < 2000);
      slow.resume();
      await once(slow, 'data');
      slow.destroy();
    });
  });
});

test(
  'write() that is not awaited waits no longer than its client stays, and warns of nothing',
  async () => {
    const warnings: string[] = [];
    const listen = (warning: Error): void => void warnings.push(warning.name);
    process.on('warning', listen);
    const stalled = deferred();
    const settled = deferred<number>();
    await withServer(async (_environ, start) => {
      const write = start('200 OK', []);
      const sent: unknown[] = [];
      for (let count = 0; count < 200; count += 1) sent.push(write(new Uint8Array(65536)));
      stalled.resolve();
      settled.resolve((await Promise.allSettled(sent)).length);
      return [];
    }, async ({ port, errors, log }) => {
      const client = await RawClient.connect(port);
      client.socket.pause();
      client.send(request());
      await stalled.promise;
      client.socket.resetAndDestroy();
      assert.equal(await settled.promise, 200);
      while (log.length === 0) await new Promise(setImmediate);
      assert.equal(errors.getValue(), '');
    });
    process.off('warning', listen);
    assert.deepEqual(warnings, []);
  },
);

test('a generator without an end leaves room for others', async () => {
  await withServer((environ, start) => {
    start('200 OK', []);
    return environ.PATH_INFO === '/small'
      ? [bytes('small')]
      : (function* () { while (true) yield bytes('more'); })();
  }, async ({ port }) => {
    const endless = (await RawClient.connect(port)).send(request());
    endless.socket.on('data', () => {});
    await endless.until((heard) => heard.length > 10_000);
    assert.match(
      await exchange(port, request('GET /small HTTP/1.1', 'Connection: close')), /small$/,
    );
    endless.socket.destroy();
  });
});

for (const kind of ['generator', 'async generator']) {
  test(`so does ${kind === 'generator' ? 'a' : 'an'} ${kind} of empty chunks`, async () => {
    await withServer((environ, start) => {
      start('200 OK', []);
      if (environ.PATH_INFO === '/small') return [bytes('small')];
      if (kind === 'generator') return (function* () { while (true) yield bytes(''); })();
      return (async function* () { while (true) yield bytes(''); })();
    }, async ({ port, errors }) => {
      const endless = (await RawClient.connect(port)).send(request());
      for (let turn = 0; turn < 3; turn += 1) {
        assert.match(
          await exchange(port, request('GET /small HTTP/1.1', 'Connection: close')), /small$/,
        );
      }
      assert.equal(endless.pending, '');
      endless.socket.destroy();
      assert.equal(errors.getValue(), '');
    });
  });
}

test('HEAD of a body of several chunks, and an HTTP/1.0 one, have no body either', async () => {
  await withServer(answering(() => [bytes('ab'), bytes('cd')]), async ({ port }) => {
    for (const version of ['HTTP/1.1', 'HTTP/1.0']) {
      const sent = request(`HEAD / ${version}`, 'Connection: close');
      const [answer, ...more] = await converse(port, sent, ['HEAD']);
      assert.equal(answer?.status, '200');
      assert.deepEqual(more, []);
    }
  });
});
