// The duties of a connection to its requests: each is answered in full and in order, or its client
// has left; and every application that was called learns of that, once.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';

import {
  type MakeServerOptions,
  ServerHandler,
  type WSGIApplication,
  WSGIRequestHandler,
  type WSGIServer,
  makeServer,
  toNodeListener,
} from '../lib/index.ts';
import { bodyOf } from './support/applications.ts';
import { bytes, deferred } from './support/bytes.ts';
import { ROOT } from './support/command.ts';
import { RawClient, exchange, withServer } from './support/wire.ts';

const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;

const echo: WSGIApplication = (environ, startResponse) => {
  startResponse('200 OK', []);
  return [bytes(environ.PATH_INFO)];
};

class Quiet extends WSGIRequestHandler {
  override logMessage(): void {}
}

const statuses = (heard: string): string[] =>
  [...heard.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, code]) => code ?? '');

describe('a response on its way to a slow reader', () => {
  const big = new Uint8Array(4 * 1024 * 1024).fill(0x61);
  const stops: Array<[
    string, (server: WSGIServer, abort: AbortController) => unknown, MakeServerOptions,
  ]> = [
    ['shutdown()', (server) => server.shutdown(), {}],
    ['a signal', (_server, abort) => abort.abort(), {}],
    ['close()', (server) => server.close(), {}],
    ['maxRequests', () => {}, { maxRequests: 1 }],
  ];
  for (const [title, stop, options] of stops) {
    test(`is not cut by ${title}`, async () => {
      const server = makeServer('127.0.0.1', 0, (_environ, start) => (start('200 OK', []), [big]), {
        handlerClass: Quiet, ...options,
      });
      const abort = new AbortController();
      const serving = server.serveForever({ signal: abort.signal });
      await server.ready;
      const socket = connect(server.serverPort, '127.0.0.1');
      const begun = once(server, 'request');
      socket.write(get('/'));
      await begun;
      await new Promise(setImmediate);
      stop(server, abort);
      let size = 0;
      for await (const data of socket) size += (data as Buffer).length;
      assert.ok(size > big.length, `${size} bytes`);
      await serving;
    });
  }

  test('is not cut by bytes that come behind shutdown()', async () => {
    const body = new Uint8Array(300_000);
    await withServer((_environ, start) => (start('200 OK', []), [body]), async ({ server, port }) => {
      const finished = new Promise((resolve) => {
        server.once('request', (_request, response) => response.once('finish', resolve));
      });
      const socket = connect(port, '127.0.0.1').pause();
      socket.write(get('/'));
      await finished;
      const stopped = server.shutdown();
      socket.write(get('/late'));
      let size = 0;
      for await (const data of socket) size += (data as Buffer).length;
      assert.ok(size > body.length, `${size} bytes`);
      await stopped;
    });
  });
});

describe('what comes behind a request', () => {
  test('is refused behind its answer, if it is not a request', async () => {
    const go = deferred();
    await withServer(async (environ, start) => {
      await go.promise;
      return echo(environ, start);
    }, async ({ port, log }) => {
      const client = (await RawClient.connect(port)).send(`${get('/good')}not a request\r\n\r\n`);
      setImmediate(go.resolve);
      const heard = await client.rest();
      assert.deepEqual(statuses(heard), ['200', '400']);
      assert.match(
        heard, /\r\n\r\n\/goodHTTP\/1\.1 400 Bad Request\r\n[^]*\r\nConnection: close\r\n/,
      );
      assert.deepEqual(log.map((line) => line.replace(/\d+$/, 'n')), [
        '"GET /good HTTP/1.1" 200 n', '"-" 400 n',
      ]);
    });
  });

  test('does not count behind Connection: close', async () => {
    for (const behind of ['not a request\r\n\r\n', get('/second')]) {
      await withServer(echo, async ({ port }) => {
        const heard = await exchange(port, get('/last', 'Connection: close\r\n') + behind);
        assert.deepEqual(statuses(heard), ['200']);
        assert.match(heard, /\/last$/);
      });
    }
  });

  test('is a CONNECT: the response before it goes on, however slow its reader', async () => {
    const piece = new Uint8Array(65536);
    async function* big(): AsyncGenerator<Uint8Array> {
      for (let count = 0; count < 100; count += 1) yield piece;
    }
    await withServer(bodyOf(big), async ({ port, log }) => {
      const client = await RawClient.connect(port);
      client.send(`${get('/')}CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n`);
      const heard = await client.rest();
      assert.deepEqual(statuses(heard), ['200', '501']);
      assert.ok(heard.length > 100 * piece.length);
      assert.deepEqual(log.map((line) => line.split(' ')[0]), ['"GET', '"CONNECT']);
    });
  });

  test('is a CONNECT, and then the client leaves: the application learns of it', async () => {
    const closed = deferred();
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield new Uint8Array(65536);
      } finally {
        closed.resolve();
      }
    }
    await withServer(bodyOf(endless), async ({ port, server }) => {
      const client = await RawClient.connect(port);
      const refused = once(server, 'connect');
      client.send(`${get('/')}CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n`);
      await refused;
      client.socket.resetAndDestroy();
      await closed.promise;
    });
  });

  test(
    'is not begun behind a response that ends the connection of an HTTP/1.0 client',
    async () => {
      const called: string[] = [];
      await withServer(function* (environ, start) {
        called.push(environ.PATH_INFO);
        start('200 OK', []);
        yield bytes('one');
        yield bytes('two');
      }, async ({ port }) => {
        const old = (path: string): string =>
          `GET ${path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`;
        assert.match(await exchange(port, old('/1') + old('/2')), /\r\n\r\nonetwo$/);
        assert.deepEqual(called, ['/1']);
      });
    },
  );

  test('is not begun behind a request for an upgrade, even in a later packet', async () => {
    const go = deferred();
    const called: string[] = [];
    await withServer(async (environ, start) => {
      called.push(environ.PATH_INFO);
      await go.promise;
      return echo(environ, start);
    }, async ({ port, server }) => {
      const client = await RawClient.connect(port);
      const first = once(server, 'request');
      client.send(get('/a', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'));
      await first;
      const second = Promise.race([once(server, 'request'), once(client.socket, 'close')]);
      client.send(get('/b'));
      setImmediate(go.resolve);
      assert.match(await client.rest(), /\/a$/);
      await second;
      assert.deepEqual(called, ['/a']);
    });
  });

  test('does not reset the connection before its response has arrived', async () => {
    const big = new Uint8Array(1024 * 1024);
    await withServer((_environ, start) => (start('200 OK', []), [big]), async ({ port }) => {
      const client = await RawClient.connect(port);
      client.socket.pause();
      client.send(get('/').repeat(20_000));
      client.socket.resume();
      const heard = await client.rest();
      assert.deepEqual(statuses(heard), ['200', '200', '200']);
      assert.ok(heard.length > 3 * big.length, `${heard.length} bytes`);
    }, { maxRequests: 3, handlerClass: Quiet });
  });

  test('is answered though a request between was refused late', async () => {
    class Late extends Quiet {
      override async handle(): Promise<void> {
        if (this.request.url !== '/c') await new Promise(setImmediate);
        return super.handle();
      }
    }
    await withServer(echo, async ({ port }) => {
      const heard = await exchange(port, get('/a') + get('/b', 'Host: y\r\n') + get('/c'));
      assert.deepEqual(statuses(heard), ['200', '400', '200']);
      assert.match(heard, /\/a[^]*\/c$/);
    }, { handlerClass: Late });
  });

  test('has a body that nobody reads: the responses before it are sent first', async () => {
    const go = deferred();
    const called = deferred();
    await withServer(async (environ, start) => {
      if (environ.PATH_INFO === '/slow') await go.promise;
      else called.resolve();
      return echo(environ, start);
    }, async ({ port }) => {
      const client = await RawClient.connect(port);
      const head = 'POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n';
      client.send(get('/slow') + head).send(new Uint8Array(3_000_000));
      await called.promise;
      setImmediate(go.resolve);
      assert.match(await client.rest(), /\/slowHTTP\/1.1 200 OK\r\n[^]*\/p$/);
    });
  });

  test('is cut in its turn, if it fails before that', async () => {
    const go = deferred();
    const failed = deferred();
    await withServer(async (environ, start) => {
      if (environ.PATH_INFO === '/slow') await go.promise;
      if (environ.PATH_INFO !== '/fail') return echo(environ, start);
      start('200 OK', []);
      return (async function* () {
        yield bytes('never sent');
        failed.resolve();
        throw new Error('fails before its turn');
      })();
    }, async ({ server, port, log }) => {
      const client = await RawClient.connect(port);
      client.send(get('/slow') + get('/fail') + get('/behind'));
      await failed.promise;
      setImmediate(go.resolve);
      assert.match(await client.rest(), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n\/slow$/);
      await server.shutdown();
      assert.deepEqual(log.sort(), [
        '"GET /behind HTTP/1.1" - -',
        '"GET /fail HTTP/1.1" - -',
        '"GET /slow HTTP/1.1" 200 5',
      ]);
    });
  });

  test('is cut, and the response before it arrives whole', async () => {
    const big = new Uint8Array(400_000).fill(0x61);
    const upload = 'POST /fail HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n';
    const requests = [get('/fail'), upload + 'x'.repeat(3_000_000)];
    for (const request of requests) {
      await withServer((environ, start) => {
        start('200 OK', []);
        if (environ.PATH_INFO === '/big') return [big];
        return (async function* () {
          yield bytes('part');
          await new Promise(setImmediate);
          throw new Error('fails late');
        })();
      }, async ({ port, errors }) => {
        const client = await RawClient.connect(port);
        client.socket.pause();
        client.send(get('/big') + request);
        while (!errors.getValue().includes('fails late')) await new Promise(setImmediate);
        client.socket.resume();
        const heard = await client.rest();
        assert.deepEqual(statuses(heard), ['200', '200']);
        assert.ok(heard.includes('a'.repeat(big.length)), `${heard.length} bytes`);
        assert.ok(heard.endsWith('\r\n4\r\npart\r\n'), heard.slice(-100));
      });
    }
  });

  test('is not begun behind an HTTP/1.0 response that ends the connection', async () => {
    const called: string[] = [];
    await withServer(async (environ, start) => {
      called.push(environ.PATH_INFO);
      start('200 OK', []);
      return (async function* () {
        yield bytes('no ');
        yield bytes('length');
      })();
    }, async ({ port }) => {
      const old = 'GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n';
      assert.match(await exchange(port, old + get('/new')), /\r\n\r\nno length$/);
      assert.deepEqual(called, ['/old']);
    });
  });

  const behind: Array<[kind: string, first: string, more: string]> = [
    ['many requests behind Connection: close', get('/', 'Connection: close\r\n'), get('/b')],
    ['many bytes that are not a request', get('/'), 'z'],
    ['requests behind HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n', get('/b')],
  ];
  for (const [kind, first, more] of behind) {
    test(`cuts nothing of the response before it: ${kind}`, async () => {
      const chunks = [new Uint8Array(400_000).fill(0x61), bytes('END')];
      await withServer((_environ, start) => (start('200 OK', []), chunks), async ({ port }) => {
        const client = await RawClient.connect(port);
        client.send(first + more.repeat(1_000_000 / more.length));
        assert.match((await client.rest()).slice(400_000), /END/);
      });
    });
  }

  test('is served though maxRequests is reached on this connection', async () => {
    await withServer(async (environ, start) => {
      await new Promise(setImmediate);
      return echo(environ, start);
    }, async ({ port }) => {
      const heard = await exchange(port, get('/1') + get('/2') + get('/3') + get('/4'));
      assert.deepEqual([...heard.matchAll(/\r\n\r\n(\/\d)/g)].map(([, path]) => path), [
        '/1', '/2', '/3',
      ]);
    }, { maxRequests: 3 });
  });

  test('is refused in its turn, if the rest of it cannot be read', async () => {
    const go = deferred();
    await withServer(async (environ, start) => {
      await go.promise;
      return echo(environ, start);
    }, async ({ port, log }) => {
      const expecting = 'POST /2 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1';
      const broken = 'POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n';
      const client = await RawClient.connect(port);
      client.send(`${get('/1')}${expecting}\r\n\r\na${broken}`);
      setImmediate(go.resolve);
      assert.deepEqual(statuses(await client.rest()), ['200', '100', '200', '400']);
      assert.deepEqual(log.map((line) => line.split(' ').slice(1, 4)), [
        ['/1', 'HTTP/1.1"', '200'], ['/2', 'HTTP/1.1"', '200'], ['/3', 'HTTP/1.1"', '400'],
      ]);
    });
  });

  test('is answered behind a body of which the application has given up a read', async () => {
    const givenUp = deferred();
    await withServer(async (environ, start) => {
      if (environ.REQUEST_METHOD === 'POST') {
        const read = environ['wsgi.input'].read(10);
        await Promise.race([read, new Promise(setImmediate)]);
        givenUp.resolve();
      }
      return echo(environ, start);
    }, async ({ port }) => {
      const client = await RawClient.connect(port);
      client.send('POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n');
      await givenUp.promise;
      client.send('x'.repeat(500_000) + get('/b'));
      await client.response();
      assert.equal((await client.response()).body, '/b');
    });
  });

  test('is the rest of a long upload: a client that reads nothing yet gets its answer', async () => {
    await withServer(echo, async ({ port }) => {
      const client = await RawClient.connect(port);
      client.socket.pause();
      const size = 8 * 1024 * 1024;
      client.send(`POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`);
      await new Promise((resolve) => client.socket.write(new Uint8Array(size), resolve));
      client.socket.resume();
      assert.match(await client.rest(), /^HTTP\/1\.1 200 OK\r\n[^]*\/upload$/);
    });
  });

  test('gets its 100 Continue in its turn', async () => {
    const go = deferred();
    const post =
      'POST /2 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n';
    await withServer(async (environ, start) => {
      if (environ.PATH_INFO === '/1') await go.promise;
      await environ['wsgi.input'].read();
      return echo(environ, start);
    }, async ({ port }) => {
      const client = (await RawClient.connect(port)).send(get('/1') + post);
      setImmediate(go.resolve);
      await client.until((heard) => heard.includes('100 Continue'));
      const heard = await client.send('ok').rest();
      assert.deepEqual(statuses(heard), ['200', '100', '200']);
      assert.match(heard, /\/1HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*\/2$/);
    });
  });

  test('waits while a hundred of its connection are under way', async () => {
    let running = 0;
    let most = 0;
    await withServer(async (environ, start) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise(setImmediate);
      running -= 1;
      return echo(environ, start);
    }, async ({ port }) => {
      const client = (await RawClient.connect(port)).send(
        get('/a').repeat(3000) + get('/z', 'Connection: close\r\n'),
      );
      assert.equal(statuses(await client.rest()).length, 3001);
      assert.ok(most <= 100, `${most} at once`);
    }, { handlerClass: Quiet });
  });
});

test('100 Continue is sent once under toNodeListener, by Node or by the listener', async () => {
  for (const event of ['request', 'checkContinue']) {
    const server = createServer().on(event, toNodeListener(async (environ, start) => {
      await environ['wsgi.input'].read();
      return echo(environ, start);
    }));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const heard = await exchange(
      port,
      'POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok',
    );
    assert.deepEqual(statuses(heard), ['100', '200'], event);
    server.close();
  }
});

describe('a client that leaves', () => {
  const doors: Array<[
    string, (app: WSGIApplication) => Promise<{ port: number; close: () => unknown }>,
  ]> = [
    ['makeServer', async (app) => {
      const server = makeServer('127.0.0.1', 0, app, { handlerClass: Quiet });
      await server.ready;
      return { port: server.serverPort, close: () => server.shutdown() };
    }],
    ['toNodeListener', async (app) => {
      const server = createServer(toNodeListener(app)).listen(0, '127.0.0.1');
      await once(server, 'listening');
      return { port: (server.address() as AddressInfo).port, close: () => server.close() };
    }],
  ];
  for (const [door, open] of doors) {
    test(`aborts the signal of each of its requests under ${door}`, async () => {
      const all = deferred();
      const left = deferred();
      let called = 0;
      let aborted = 0;
      const { port, close } = await open(async (environ, start) => {
        const signal = environ['tsgiref.signal']?.();
        called += 1;
        if (called === 5) all.resolve();
        await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve()));
        aborted += 1;
        if (aborted === 5) left.resolve();
        return echo(environ, start);
      });
      const client = (await RawClient.connect(port)).send(get('/').repeat(5));
      await all.promise;
      client.socket.destroy();
      await left.promise;
      assert.equal(aborted, 5);
      await close();
    });

    const half = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf';
    for (const [how, behind, leave] of [
      ['ends its side in the head of a request', 'GET /ne', (socket) => socket.end()],
      ['goes in the middle of a body', half, (socket) => socket.destroy()],
      [
        'resets the connection before long responses', get('/long') + get('/short'),
        (socket) => socket.resetAndDestroy(),
      ],
    ] as ReadonlyArray<[string, string, (socket: Socket) => unknown]>) {
      test(`is missed by the request that waits, if it ${how} under ${door}`, async () => {
        const called = deferred();
        const aborted = deferred();
        const { port, close } = await open(async (environ, start) => {
          start('200 OK', []);
          if (environ.PATH_INFO === '/long') return [new Uint8Array(200_000)];
          if (environ.PATH_INFO !== '/waits') return [];
          environ['tsgiref.signal']?.().addEventListener('abort', () => aborted.resolve());
          called.resolve();
          await aborted.promise;
          return [];
        });
        const client = (await RawClient.connect(port)).send(get('/waits') + behind);
        await called.promise;
        leave(client.socket);
        await aborted.promise;
        await close();
      });
    }

    test(`cancels a web stream that comes too late under ${door}`, async () => {
      const called = deferred();
      const go = deferred();
      const cancelled = deferred();
      const { port, close } = await open(async (environ, start) => {
        start('200 OK', []);
        environ['tsgiref.signal']?.().addEventListener('abort', () => go.resolve());
        called.resolve();
        await go.promise;
        return new ReadableStream({ cancel: () => cancelled.resolve() });
      });
      const client = (await RawClient.connect(port)).send(get('/'));
      await called.promise;
      client.socket.destroy();
      await cancelled.promise;
      await close();
    });
  }

  test('while an override of handle() waits: the application is not called', async () => {
    const handling = deferred();
    const handled = deferred();
    let called = false;
    class Slow extends Quiet {
      override async handle(): Promise<void> {
        handling.resolve();
        await once(this.request.socket, 'close');
        await super.handle();
        handled.resolve();
      }
    }
    const server = makeServer('127.0.0.1', 0, (environ, start) => {
      called = true;
      return echo(environ, start);
    }, { handlerClass: Slow });
    await server.ready;
    const client = (await RawClient.connect(server.serverPort)).send(get('/'));
    await handling.promise;
    client.socket.destroy();
    await handled.promise;
    assert.equal(called, false);
    await server.shutdown();
  });
});

describe('nothing is dropped silently', () => {
  test('a second Host behind a thousand headers', async () => {
    const many = Array.from({ length: 1500 }, (_, index) => `X${index}: y\r\n`).join('');
    await withServer(echo, async ({ port }) => {
      const heard = await exchange(port, get('/', `${many}Host: evil\r\nConnection: close\r\n`));
      assert.match(heard, /^HTTP\/1\.1 400 [^]*The request names its Host more than once\.\n$/);
    }, { maxHeaderSize: 65536, handlerClass: Quiet });
    const server =
      createServer({ maxHeaderSize: 65536 }, toNodeListener(echo)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const heard = await exchange(
      (server.address() as AddressInfo).port,
      get('/', `${many}Host: evil\r\nConnection: close\r\n`),
    );
    assert.match(heard, /^HTTP\/1\.1 4(00|31) /);
    server.close();
  });

  test('a request that an override of handle() does not answer', async () => {
    class Idle extends Quiet {
      override async handle(): Promise<void> {}
    }
    await withServer(echo, async ({ port }) => {
      assert.equal(await exchange(port, get('/')), '');
    }, { handlerClass: Idle });
  });

  test('a request that a synchronous override of handle() does not answer', async () => {
    class Idle extends Quiet {
      override handle(): Promise<void> {
        return undefined as unknown as Promise<void>;
      }
    }
    await withServer(echo, async ({ port }) => {
      assert.equal(await exchange(port, get('/')), '');
    }, { handlerClass: Idle });
  });

  test('the answer of a stream that an override of handle() has begun', async () => {
    class Streaming extends Quiet {
      override async handle(): Promise<void> {
        Readable.from([bytes('streamed')]).pipe(this.response);
      }
    }
    await withServer(echo, async ({ port }) => {
      const client = (await RawClient.connect(port)).send(get('/'));
      assert.equal((await client.response()).body, 'streamed');
    }, { handlerClass: Streaming });
  });

  // As handle() is written in Python's wsgiref.simple_server.
  class OfItsOwn extends Quiet {
    override handle(): Promise<void> {
      const environ = this.getEnviron();
      const handler = new ServerHandler(
        this.request, this.response, this.getStdin(), this.getStderr(), environ,
      );
      handler.requestHandler = this;
      return handler.run(this.server.getApp());
    }
  }

  test('a refusal, and 100 Continue, where handle() is overridden', async () => {
    const reading: WSGIApplication = async (environ, start) => {
      await environ['wsgi.input'].read();
      return echo(environ, start);
    };
    await withServer(reading, async ({ port }) => {
      const client = await RawClient.connect(port);
      client.send('POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n');
      await client.until((heard) => heard.startsWith('HTTP/1.1 100 Continue\r\n\r\n'));
      client.send('aGET /nohost HTTP/1.1\r\n\r\n');
      assert.deepEqual(statuses(await client.rest()), ['100', '200', '400']);
    }, { handlerClass: OfItsOwn });
  });

  test('maxHeaderSize counts the target and the names and values of headers', async () => {
    await withServer(echo, async ({ port }) => {
      const size = (value: number): string =>
        `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ${'y'.repeat(value)}\r\n\r\n`;
      const others = '/'.length + 'Hostx'.length + 'Connectionclose'.length + 'X'.length;
      assert.deepEqual(statuses(await exchange(port, size(1024 - others - 1))), ['200']);
      assert.deepEqual(statuses(await exchange(port, size(1024 - others))), ['431']);
    }, { maxHeaderSize: 1024, handlerClass: Quiet });
  });
});

describe('the access log', () => {
  test('has a line for a request that breaks off after the head of its response', async () => {
    const gone = deferred();
    async function* waiting(): AsyncGenerator<Uint8Array> {
      yield bytes('part');
      await gone.promise;
    }
    await withServer(
      bodyOf(() => Object.assign(waiting(), { close: () => gone.resolve() })),
      async ({ port, log }) => {
        const client = await RawClient.connect(port);
        client.send('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
        await client.until((heard) => heard.includes('part'));
        client.send('not a size\r\n');
        await client.rest();
        await gone.promise;
        assert.deepEqual(log, ['"POST / HTTP/1.1" 200 4']);
      },
    );
  });

  test('says of a response that waited behind others whether it was sent', async () => {
    const [answered, left] = [deferred(), deferred()];
    await withServer((environ, start) => {
      start('200 OK', []);
      if (environ.PATH_INFO === '/fast') {
        return Object.assign([bytes('fast')], { close: answered.resolve });
      }
      const never = (async function* () { await left.promise; yield bytes('late'); })();
      return Object.assign(never, { close: left.resolve });
    }, async ({ port, log }) => {
      const client = await RawClient.connect(port);
      client.send(get('/never') + get('/fast') + get('/late'));
      await answered.promise;
      client.socket.destroy();
      await left.promise;
      await new Promise(setImmediate);
      const paths = ['/fast', '/late', '/never'];
      assert.deepEqual(log.sort(), paths.map((path) => `"GET ${path} HTTP/1.1" - -`));
    });
  });

  test('says of a refusal that waited behind others whether it was sent', async () => {
    const [called, left] = [deferred(), deferred()];
    await withServer(async (environ, start) => {
      environ['tsgiref.signal']?.().addEventListener('abort', () => left.resolve());
      called.resolve();
      await left.promise;
      return echo(environ, start);
    }, async ({ port, log }) => {
      const client = await RawClient.connect(port);
      client.send(`${get('/waits')}GET /nohost HTTP/1.1\r\n\r\n`);
      await called.promise;
      client.socket.destroy();
      await left.promise;
      await new Promise(setImmediate);
      assert.deepEqual(log.sort(), ['"GET /nohost HTTP/1.1" - -', '"GET /waits HTTP/1.1" - -']);
    });
  });

  test('says of a response that breaks off before its turn that nothing was sent', async () => {
    const broken = deferred();
    await withServer(async (environ, start) => {
      const write = start('200 OK', []);
      if (environ.PATH_INFO === '/first') {
        await broken.promise;
        return [bytes('first')];
      }
      environ['tsgiref.signal']?.().addEventListener('abort', () => broken.resolve());
      void write(bytes('never sent'));
      await environ['wsgi.input'].read();
      return [];
    }, async ({ port, log }) => {
      const client = await RawClient.connect(port);
      const second = 'POST /second HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
      client.send(`${get('/first')}${second}no size\r\n`);
      assert.match(await client.rest(), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nfirst$/);
      while (log.length < 2) await new Promise(setImmediate);
      assert.deepEqual(log.sort(), ['"GET /first HTTP/1.1" 200 5', '"POST /second HTTP/1.1" - -']);
    });
  });

  test('that fails costs no response, no close() and no process', async () => {
    const closed = deferred();
    class Full extends WSGIRequestHandler {
      override logRequest(): void {
        throw new Error('the log is full (this is expected in the output)');
      }
    }
    const body = (): Iterable<Uint8Array> =>
      Object.assign([bytes('whole')], { close: closed.resolve });
    await withServer(bodyOf(body), async ({ port }) => {
      assert.match(await exchange(port, 'garbage\r\n\r\n'), /^HTTP\/1.1 400 /);
      assert.match(await exchange(port, get('/', 'Connection: close\r\n')), /whole$/);
      await closed.promise;
    }, { handlerClass: Full });
  });

  test('has a line for a request whose handler fails', async () => {
    const log: string[] = [];
    class Failing extends WSGIRequestHandler {
      override getEnviron(): never {
        throw new Error('handler failure (this is expected in the output)');
      }
      override logMessage(message: string): void {
        log.push(message);
      }
    }
    await withServer(echo, async ({ port }) => {
      assert.equal(await exchange(port, get('/')), '');
      assert.deepEqual(log, ['"GET / HTTP/1.1" - -']);
    }, { handlerClass: Failing });
  });
});

describe('the server survives', () => {
  test('a class of handlers that cannot be made', async () => {
    let fails = true;
    class Unmade extends Quiet {
      constructor(...args: ConstructorParameters<typeof WSGIRequestHandler>) {
        super(...args);
        if (fails) throw new Error('no handler (this is expected in the output)');
      }
    }
    await withServer(echo, async ({ port }) => {
      assert.equal(await exchange(port, get('/')), '');
      fails = false;
      assert.match(await exchange(port, get('/', 'Connection: close\r\n')), /\/$/);
    }, { handlerClass: Unmade });
  });

  test('a stream that nobody waits for, and that fails', async () => {
    const failed = deferred();
    const stream = new Readable({
      read() {},
      destroy(_error, done) {
        setImmediate(() => {
          done(new Error('the file is missing'));
          setImmediate(failed.resolve);
        });
      },
    });
    await withServer((_environ, start) => {
      void start('200 OK', [['Content-Length', '1']])(bytes('x'));
      return stream;
    }, async ({ port }) => {
      assert.match(await exchange(port, get('/', 'Connection: close\r\n')), /x$/);
      await failed.promise;
    });
  });

  test('a closed standard error', async () => {
    const source = `
      import { makeServer } from ${JSON.stringify(`${ROOT}/dist/lib/index.js`)};
      const server = makeServer('127.0.0.1', 0, (environ, start) => (start('200 OK', []), []));
      await server.ready;
      console.log(server.serverPort);
      process.stdin.on('end', () => process.exit()).resume();`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stderr.destroy();
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    for (let count = 0; count < 3; count += 1) {
      assert.deepEqual(
        statuses(await exchange(Number(line), get('/', 'Connection: close\r\n'))), ['200'],
      );
    }
    child.stdin.end();
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });

  test('handleRequest() beside serveForever()', async () => {
    await withServer(echo, async ({ server, port }) => {
      void server.serveForever();
      await server.ready;
      const one = server.handleRequest();
      await exchange(port, get('/1', 'Connection: close\r\n'));
      await one;
      assert.match(await exchange(port, get('/2', 'Connection: close\r\n')), /\/2$/);
    });
  });

  test('a second listen() says why not', async () => {
    await withServer(echo, async ({ server }) => {
      assert.throws(() => server.listen(0), /this server has its address already/);
    });
  });
});

describe('a client that closes its side of the connection', () => {
  test('has left: a waiting application is closed, and nothing more is sent', async () => {
    const [called, closed] = [deferred(), deferred()];
    async function* waiting(): AsyncGenerator<Uint8Array> {
      called.resolve();
      await closed.promise;
      yield bytes('too late');
    }
    const app = bodyOf(() => Object.assign(waiting(), { close: () => closed.resolve() }));
    await withServer(app, async ({ port, errors }) => {
      const client = await RawClient.connect(port);
      client.send('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
      await called.promise;
      client.socket.end();
      assert.equal(await client.rest(), '');
      await closed.promise;
      assert.equal(errors.getValue(), '');
    });
  });

  test('gets the response that was ready by then', async () => {
    await withServer(bodyOf(() => [bytes('ready')]), async ({ port }) => {
      const client = await RawClient.connect(port);
      client.socket.end('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
      assert.match(await client.rest(), /\r\n\r\nready$/);
    });
  });
});
