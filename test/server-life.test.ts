// How a server lives: it binds, serves, and shuts down.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import dns from 'node:dns';
import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer, isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import {
  type ErrorStream,
  StringIO,
  type WSGIApplication,
  type WSGIEnvironment,
  WSGIRequestHandler,
  WSGIServer,
  demoApp,
  makeServer,
} from '../lib/index.ts';
import { slowlyClosed } from './support/applications.ts';
import { bytes, deferred } from './support/bytes.ts';
import { ROOT, makeFolder, run } from './support/command.ts';
import { RawClient, exchange, withServer, withoutDate } from './support/wire.ts';

const hello: WSGIApplication = (_environ, startResponse) => {
  startResponse('200 OK', [['Content-Type', 'text/plain']]);
  return [bytes('hello')];
};

class Quiet extends WSGIRequestHandler {
  override logMessage(): void {}
}

const GET = 'GET / HTTP/1.1\r\nHost: test\r\n\r\n';
const GET_AND_CLOSE = 'GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n';

/** A port that is taken for as long as `use` runs. */
async function withTakenPort(use: (port: number) => Promise<void>): Promise<void> {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  try {
    await use((holder.address() as AddressInfo).port);
  } finally {
    holder.close();
  }
}

describe('binding', () => {
  test('begins at once, and port 0 is any free port', async () => {
    const server = makeServer('127.0.0.1', 0, hello, { handlerClass: Quiet });
    await server.ready;
    assert.equal(server.listening, true);
    assert.ok(server.serverPort > 0);
    assert.deepEqual(server.serverAddress, ['127.0.0.1', server.serverPort]);
    assert.equal(server.baseEnviron.SERVER_PORT, String(server.serverPort));
    assert.match(await exchange(server.serverPort, GET_AND_CLOSE), /hello$/);
    await server.shutdown();
  });

  test("'' is every interface, and the name is the machine's own", async () => {
    const server = makeServer('', 0, hello, { handlerClass: Quiet });
    await server.ready;
    assert.equal(server.serverName, hostname());
    assert.match(await exchange(server.serverPort, GET_AND_CLOSE), /hello$/);
    await server.shutdown();
  });

  test('an IPv6 address is a name in brackets', async () => {
    const server = makeServer('::1', 0, hello);
    await server.ready;
    assert.equal(server.serverName, '[::1]');
    await server.shutdown();
  });

  test(
    'to a port that is taken makes ready and serveForever reject, and names the address',
    async () => {
      await withTakenPort(async (port) => {
        const message =
          `cannot listen on 127.0.0.1:${port}: another program listens there; stop it, or choose another port (EADDRINUSE)`;
        const server = makeServer('127.0.0.1', port, hello);
        await assert.rejects(server.serveForever(), { message, code: 'EADDRINUSE' });
        await assert.rejects(server.ready, { message });
        await assert.rejects(server.handleRequest(), { message });
        await server.shutdown();
        await server.serverClose();
      });
    },
  );

  test('to an address of another machine fails with the address, too', async () => {
    // 192.0.2.0/24 is for documentation: nobody has it. (RFC 5737)
    const server = makeServer('192.0.2.1', 0, hello);
    await assert.rejects(server.ready, /^Error: cannot listen on 192\.0\.2\.1:0: /);
  });

  test('that failed is told even where the signal has aborted before', async () => {
    await withTakenPort(async (port) => {
      const server = makeServer('127.0.0.1', port, hello);
      const serving = server.serveForever({ signal: AbortSignal.abort() });
      await assert.rejects(serving, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}`));
    });
  });

  test('is not silent when it fails and nobody waits for it', async () => {
    const folder = makeFolder({
      'program.mjs':
        `import { makeServer, demoApp } from ${JSON.stringify(join(ROOT, 'dist/lib/index.js'))};\nmakeServer('127.0.0.1', Number(process.argv[2]), demoApp);\n`,
    });
    await withTakenPort(async (port) => {
      const { status, stderr } = await run(['program.mjs', String(port)], { cwd: folder.path });
      assert.equal(status, 1);
      assert.match(
        stderr,
        new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: another program listens there`),
      );
    });
    folder.remove();
  });

  const wrong: Array<[unknown[], RegExp]> = [
    [[5, 0, hello], /^TypeError: a host is a string, '' for every interface, not the number 5$/],
    [
      ['', 70000, hello],
      /^RangeError: a port is a whole number from 0 to 65535, not the number 70000$/,
    ],
    [['', '80', hello], /^RangeError: a port is a whole number from 0 to 65535, not "80"$/],
    [
      ['', 0, { fetch() {} }],
      /^TypeError: an application is a function \(environ, startResponse\), not an object$/,
    ],
    [
      ['', 0],
      /^TypeError: an application is a function \(environ, startResponse\), not undefined$/,
    ],
  ];
  for (const [args, message] of wrong) {
    test(`refuses ${message.source.slice(1, 50)}…`, () => {
      assert.throws(() => (makeServer as (...args: unknown[]) => WSGIServer)(...args), message);
    });
  }
});

describe('serveForever', () => {
  test('resolves after shutdown()', async () => {
    const server = makeServer('127.0.0.1', 0, hello, { handlerClass: Quiet });
    const serving = server.serveForever();
    await server.ready;
    await server.shutdown();
    await serving;
    await server.shutdown();
    assert.equal(server.listening, false);
  });

  test('resolves when its signal aborts, even if it has before', async () => {
    for (const before of [true, false]) {
      const stop = new AbortController();
      if (before) stop.abort();
      const server = makeServer('127.0.0.1', 0, hello);
      const serving = server.serveForever({ signal: stop.signal });
      await server.ready;
      stop.abort();
      await serving;
      assert.equal(server.listening, false);
    }
  });

  test('resolves when node:http closes the server', async () => {
    const server = makeServer('127.0.0.1', 0, hello);
    const serving = server.serveForever();
    await server.ready;
    server.close();
    await serving;
  });

  test('lets what is in flight finish when its signal aborts', async () => {
    const arrived = deferred();
    const go = deferred();
    const stop = new AbortController();
    const server = makeServer('127.0.0.1', 0, async (environ, start) => {
      arrived.resolve();
      await go.promise;
      return hello(environ, start);
    }, { handlerClass: Quiet });
    const serving = server.serveForever({ signal: stop.signal });
    await server.ready;
    const client = (await RawClient.connect(server.serverPort)).send(GET);
    await arrived.promise;
    stop.abort();
    go.resolve();
    assert.equal((await client.response()).body, 'hello');
    await serving;
  });

  test('serves requests that came before it was called', async () => {
    const server = makeServer('127.0.0.1', 0, hello, { handlerClass: Quiet });
    await server.ready;
    const client = (await RawClient.connect(server.serverPort)).send(GET);
    assert.equal((await client.response()).body, 'hello');
    const serving = server.serveForever();
    await server.shutdown();
    await serving;
  });
});

describe('handleRequest', () => {
  test('serves one request; others wait until they are asked for', async () => {
    const served: string[] = [];
    const server = makeServer('127.0.0.1', 0, (environ, start) => {
      served.push(environ.PATH_INFO);
      return hello(environ, start);
    }, { handlerClass: Quiet });
    const first = server.handleRequest();
    await server.ready;
    const clients = [];
    for (const path of ['/1', '/2', '/3']) {
      const client = await RawClient.connect(server.serverPort);
      clients.push(client.send(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`));
    }
    await first;
    assert.deepEqual(served, ['/1']);
    await server.handleRequest();
    assert.deepEqual(served, ['/1', '/2']);
    assert.equal((await clients[1]?.response())?.body, 'hello');
    void server.serveForever();
    assert.equal((await clients[2]?.response())?.body, 'hello');
    await server.shutdown();
  });

  test('passes over a client that has left', async () => {
    const served: string[] = [];
    const server = makeServer('127.0.0.1', 0, (environ, start) => {
      served.push(environ.PATH_INFO);
      return hello(environ, start);
    }, { handlerClass: Quiet });
    const first = server.handleRequest();
    await server.ready;
    const one =
      (await RawClient.connect(server.serverPort)).send('GET /1 HTTP/1.1\r\nHost: x\r\n\r\n');
    await first;
    await one.response();
    const gone = await RawClient.connect(server.serverPort);
    const arrived = once(server, 'request') as Promise<[{ socket: import('node:net').Socket }]>;
    gone.send('GET /gone HTTP/1.1\r\nHost: x\r\n\r\n');
    const [request] = await arrived;
    const left = once(request.socket, 'close');
    gone.socket.destroy();
    await left;
    const second = server.handleRequest();
    one.send('GET /2 HTTP/1.1\r\nHost: x\r\n\r\n');
    await second;
    assert.deepEqual(served, ['/1', '/2']);
    await server.shutdown();
  });

  for (const [kind, bytesSent] of [
    ['bytes that are not a request', 'rubbish\r\n\r\n'],
    ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n'],
    ['a request without a Host', 'GET / HTTP/1.1\r\n\r\n'],
  ] as const) {
    test(`resolves when the server has refused ${kind}`, async () => {
      const server = makeServer('127.0.0.1', 0, hello, { handlerClass: Quiet });
      const handled = server.handleRequest();
      await server.ready;
      const client = (await RawClient.connect(server.serverPort)).send(bytesSent);
      assert.match((await client.response()).statusLine, /^HTTP\/1\.1 (400|501) /);
      await handled;
      await server.shutdown();
    });
  }

  test('does not begin those that still wait when the server shuts down', async () => {
    const served: string[] = [];
    const server = makeServer('127.0.0.1', 0, (environ, start) => {
      served.push(environ.PATH_INFO);
      return hello(environ, start);
    }, { handlerClass: Quiet });
    const first = server.handleRequest();
    await server.ready;
    const clients = [];
    for (const path of ['/1', '/2']) {
      const arrived = once(server, 'request');
      clients.push((await RawClient.connect(server.serverPort)).send(
        `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`,
      ));
      await arrived;
    }
    await first;
    await server.shutdown();
    assert.deepEqual(served, ['/1']);
    assert.equal(await clients[1]?.rest(), '');
  });

  test('twice serves two, each its own', async () => {
    const go = [deferred(), deferred()];
    const served: string[] = [];
    const server = makeServer('127.0.0.1', 0, async (environ, start) => {
      await go[Number(environ.PATH_INFO.slice(1))]?.promise;
      return hello(environ, start);
    }, { handlerClass: Quiet });
    const one = server.handleRequest().then(() => served.push('one'));
    const two = server.handleRequest().then(() => served.push('two'));
    await server.ready;
    for (const path of ['/0', '/1']) {
      const arrived = once(server, 'request');
      (await RawClient.connect(server.serverPort)).send(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await arrived;
    }
    go[1]?.resolve();
    await two;
    go[0]?.resolve();
    await one;
    assert.deepEqual(served, ['two', 'one']);
    await server.shutdown();
  });

  test('resolves when node:http closes the server', async () => {
    const server = makeServer('127.0.0.1', 0, hello, { handlerClass: Quiet });
    await server.ready;
    const [one, another] = [server.handleRequest(), server.handleRequest()];
    server.close();
    await Promise.all([one, another]);
  });

  test('resolves when the server is closed', async () => {
    const server = makeServer('127.0.0.1', 0, hello);
    const waiting = server.handleRequest();
    await server.ready;
    await server.shutdown();
    await waiting;
  });
});

describe('shutdown', () => {
  test('lets a body close that closes more slowly than its connection', async () => {
    const { app, closing, go, events } = slowlyClosed();
    await withServer(app, async ({ server, port }) => {
      const client = (await RawClient.connect(port)).send(GET);
      await closing;
      const down = server.shutdown().then(() => events.push('down'));
      await Promise.all([once(server, 'close'), client.rest()]);
      setImmediate(go);
      await down;
      assert.deepEqual(events, ['closed', 'down']);
    });
  });

  test('lets requests in flight finish, and takes no more', async () => {
    const arrived = deferred();
    const go = deferred();
    await withServer(async (_environ, start) => {
      arrived.resolve();
      await go.promise;
      start('200 OK', []);
      return [bytes('in flight')];
    }, async ({ server, port }) => {
      const client = (await RawClient.connect(port)).send(GET);
      await arrived.promise;
      const closed = server.shutdown();
      while (server.listening) await new Promise(setImmediate);
      await assert.rejects(RawClient.connect(port), /ECONNREFUSED/);
      go.resolve();
      const { body, headers } = await client.response();
      assert.equal(body, 'in flight');
      assert.ok(headers.some(([name, value]) => name === 'Connection' && value === 'close'));
      assert.equal(await client.rest(), '');
      await closed;
    });
  });

  test('closes what is idle: kept connections, and those that never sent a byte', async () => {
    await withServer(hello, async ({ server, port }) => {
      const silent = await RawClient.connect(port);
      const begun = (await RawClient.connect(port)).send('GET / HT');
      const kept = (await RawClient.connect(port)).send(GET);
      await kept.response();
      await server.shutdown();
      for (const client of [silent, begun, kept]) assert.equal(await client.rest(), '');
    });
  });

  test('does not begin a pipelined request', async () => {
    const served: string[] = [];
    const arrived = deferred();
    const go = deferred();
    await withServer(async (environ, start) => {
      served.push(environ.PATH_INFO);
      arrived.resolve();
      await go.promise;
      return hello(environ, start);
    }, async ({ server, port }) => {
      const client = (await RawClient.connect(port)).send('GET /1 HTTP/1.1\r\nHost: x\r\n\r\n');
      await arrived.promise;
      const closed = server.shutdown();
      client.send('GET /2 HTTP/1.1\r\nHost: x\r\n\r\n');
      go.resolve();
      assert.match(await client.rest(), /hello$/);
      await closed;
      assert.deepEqual(served, ['/1']);
    });
  });

  test(
    'lets all requests in a row on one connection finish, and closes with the last',
    async () => {
      const [called, release] = [deferred(), deferred()];
      let calls = 0;
      const waiting: WSGIApplication = async (_environ, startResponse) => {
        calls += 1;
        if (calls === 3) called.resolve();
        await release.promise;
        startResponse('200 OK', []);
        return [bytes('done')];
      };
      await withServer(waiting, async ({ server, port }) => {
        const client = await RawClient.connect(port);
        client.send(GET.repeat(3));
        await called.promise;
        const closed = server.shutdown();
        release.resolve();
        const responses = (await client.rest()).split(/(?=HTTP\/1\.1 200 OK\r\n)/);
        assert.deepEqual(
          responses.map((response) => [
            /^Connection: (.*)\r$/m.exec(response)?.[1], response.endsWith('\r\n\r\ndone'),
          ]),
          [['keep-alive', true], ['keep-alive', true], ['close', true]],
        );
        await closed;
      });
    },
  );

  const uploads: Array<[title: string, act: (client: RawClient) => unknown, answer: RegExp]> = [
    ['leaves', (client) => client.socket.destroy(), /^$/],
    ['ends its side', (client) => client.socket.end(), /^HTTP\/1\.1 400 Bad Request\r\n/],
    [
      'sends what is not its body', (client) => client.send('zz\r\n'),
      /^HTTP\/1\.1 400 Bad Request\r\n/,
    ],
    ['sends nothing more', () => {}, /^HTTP\/1\.1 408 Request Timeout\r\n/],
  ];
  for (const [title, act, answer] of uploads) {
    test(`does not wait for an upload whose client ${title}`, async () => {
      const called = deferred();
      await withServer(async (environ, start) => {
        called.resolve();
        await environ['wsgi.input'].read();
        return hello(environ, start);
      }, async ({ server, port, errors, log }) => {
        const client = await RawClient.connect(port);
        client.send('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
        await called.promise;
        const closed = server.shutdown();
        act(client);
        await closed;
        assert.match(await client.rest(), answer);
        assert.equal(errors.getValue(), '');
        assert.equal(log.length, 1);
      }, title.includes('nothing') ? { requestTimeout: 100, headersTimeout: 100 } : {});
    });
  }

  test('is not held up by a client that sent too much and left', async () => {
    let told = 0;
    const app: WSGIApplication = async (environ) => {
      await once(environ['tsgiref.signal']?.() as AbortSignal, 'abort');
      told += 1;
      return [];
    };
    const server = makeServer('127.0.0.1', 0, app, { handlerClass: Quiet });
    await server.ready;
    const socket = connect(server.serverPort, '127.0.0.1');
    const [accepted] = (await once(server, 'connection')) as [Socket];
    const paused = once(accepted, 'pause');
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(150));
    await paused;
    socket.destroy();
    await server.shutdown();
    await new Promise(setImmediate);
    assert.equal(told, 100);
  });

  test('close() before it is bound settles every wait', async () => {
    const server = makeServer('127.0.0.1', 0, hello, { handlerClass: Quiet });
    const serving = server.serveForever();
    server.close();
    await Promise.all([serving, server.ready, server.shutdown()]);
  });

  test('before it is bound is a shutdown, too', async () => {
    const server = makeServer('127.0.0.1', 0, hello);
    await server.shutdown();
    assert.equal(server.listening, false);
  });

  test('is what leaving an `await using` block does', async () => {
    const server = makeServer('127.0.0.1', 0, hello);
    await server[Symbol.asyncDispose]();
    assert.equal(server.listening, false);
  });
});

test('serverClose() breaks requests in flight off, and their bodies are closed', async () => {
  const begun = deferred();
  const closed = deferred();
  await withServer((_environ, start) => {
    start('200 OK', []);
    const body = (
      async function* () { yield bytes('begun'); begun.resolve(); await new Promise(() => {}); }
    )();
    return Object.assign(body, { close: () => closed.resolve() });
  }, async ({ server, port }) => {
    const client = (await RawClient.connect(port)).send(GET);
    await begun.promise;
    await server.serverClose();
    await closed.promise;
    assert.match(await client.rest(), /5\r\nbegun\r\n$/);
  });
});

describe('limits', () => {
  test('maxRequests: serves so many, then shuts down', async () => {
    const server = makeServer('127.0.0.1', 0, hello, { handlerClass: Quiet, maxRequests: 2 });
    const serving = server.serveForever();
    await server.ready;
    const client = (await RawClient.connect(server.serverPort)).send(GET);
    assert.equal((await client.response()).body, 'hello');
    client.send(GET);
    const last = await client.response();
    assert.ok(last.headers.some(([name, value]) => name === 'Connection' && value === 'close'));
    await serving;
  });

  test('maxRequests: counts what is in flight, and lets it finish', async () => {
    const go = deferred();
    const server = makeServer('127.0.0.1', 0, async (environ, start) => {
      if (environ.PATH_INFO === '/slow') await go.promise;
      return hello(environ, start);
    }, { handlerClass: Quiet, maxRequests: 2 });
    const serving = server.serveForever();
    await server.ready;
    const arrived = once(server, 'request');
    const slow =
      (await RawClient.connect(server.serverPort)).send('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n');
    await arrived;
    const quick = (await RawClient.connect(server.serverPort)).send(GET);
    assert.equal((await quick.response()).body, 'hello');
    await assert.rejects(RawClient.connect(server.serverPort), /ECONNREFUSED/);
    go.resolve();
    assert.equal((await slow.response()).body, 'hello');
    await serving;
  });

  test('maxHeaderSize: more gets 431', async () => {
    await withServer(hello, async ({ port }) => {
      const answer =
        await exchange(port, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(2000)}\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/);
      assert.match(await exchange(port, GET_AND_CLOSE), /hello$/);
    }, { maxHeaderSize: 1024, handlerClass: Quiet });
  });

  test('maxConnections: more are dropped', async () => {
    await withServer(hello, async ({ port }) => {
      const first = (await RawClient.connect(port)).send(GET);
      await first.response();
      const second = await RawClient.connect(port);
      assert.equal(await second.rest(), '');
      first.send(GET);
      assert.equal((await first.response()).body, 'hello');
    }, { maxConnections: 1 });
  });

  test('headersTimeout and requestTimeout: later gets 408', async () => {
    await withServer(hello, async ({ port }) => {
      assert.match(
        await exchange(port, 'GET / HTTP/1.1\r\nHost: x\r\n'),
        /^HTTP\/1\.1 408 Request Timeout\r\n/,
      );
    }, { headersTimeout: 50 });
    await withServer(async (environ, start) => {
      await environ['wsgi.input'].read();
      return hello(environ, start);
    }, async ({ port, errors }) => {
      const answer =
        await exchange(port, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab');
      assert.match(answer, /^HTTP\/1\.1 408 Request Timeout\r\n/);
      assert.equal(errors.getValue(), '');
    }, { requestTimeout: 50, headersTimeout: 50 });
  });

  test('keepAliveTimeout: an idle connection is closed', async () => {
    await withServer(hello, async ({ port }) => {
      const client = (await RawClient.connect(port)).send(GET);
      await client.response();
      assert.equal(await client.rest(), '');
    }, { keepAliveTimeout: 1 });
  });

  test('requestTimeout: may be shorter than what headers have by default', async () => {
    await withServer(hello, async ({ port }) => {
      assert.match(await exchange(port, 'GET / HTTP/1.1\r\n'), /^HTTP\/1\.1 408 /);
    }, { requestTimeout: 50 });
  });

  test('requestQueueSize: is the backlog', async () => {
    const asked: unknown[] = [];
    class Listening extends WSGIServer {
      override listen(...args: unknown[]): this {
        asked.push((args[0] as { backlog?: number }).backlog);
        return (super.listen as (...args: unknown[]) => this)(...args);
      }
    }
    const server =
      makeServer('127.0.0.1', 0, hello, { serverClass: Listening, requestQueueSize: 7 });
    assert.equal(server.requestQueueSize, 7);
    assert.deepEqual(asked, [7]);
    await server.shutdown();
  });
});

// The system closes the connections for which the process has no descriptor.
test('a server that ran out of descriptors serves when there are some again', {
  skip: process.platform === 'win32',
}, async () => {
  const command = join(ROOT, 'dist/lib/cli/main.js');
  const app = join(ROOT, 'dist/test/apps/hello.js');
  const script = 'ulimit -n 60 && exec "$0" "$@"';
  const child = spawn('sh', ['-c', script, process.execPath, command, '--port', '0', app], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  try {
    const ended = once(child, 'close');
    let printed = '';
    child.stderr.on('data', (data: Buffer) => (printed += String(data)));
    while (!/:\d+\//.test(printed)) await once(child.stderr, 'data');
    const port = Number(/:(\d+)\//.exec(printed)?.[1]);

    const clients = Array.from({ length: 150 }, () => connect(port, '127.0.0.1'));
    const outcomes = await Promise.all(
      clients.map((client) => {
        client.write(GET);
        client.on('error', () => {});
        return Promise.race([
          once(client, 'data').then(() => 'answered', () => 'closed'),
          once(client, 'close').then(() => 'closed'),
        ]);
      }),
    );
    assert.ok(outcomes.includes('answered'));
    assert.ok(outcomes.includes('closed'), 'there were fewer descriptors than clients');
    for (const client of clients) client.destroy();

    // It takes the server a moment to see that they have left.
    let answer = '';
    while (answer === '') {
      answer =
        await fetch(`http://127.0.0.1:${port}/`).then((response) => response.text(), () => '');
    }
    assert.equal(answer, 'Hello world!\n');
    child.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
  } finally {
    child.kill('SIGKILL');
  }
});

test('no name is looked up, neither of the server nor of a client', async (t) => {
  for (const method of ['lookup', 'lookupService', 'reverse'] as const) {
    const real = dns[method] as (...args: unknown[]) => unknown;
    t.mock.method(dns, method, (...args: unknown[]) => {
      // Node passes addresses through lookup(), too, which gives them back.
      assert.equal(method === 'lookup' && isIP(String(args[0])) > 0, true, `${method}(${args[0]})`);
      return real.apply(dns, args);
    });
  }
  let environ: WSGIEnvironment | undefined;
  await withServer((given, start) => {
    environ = given;
    return hello(given, start);
  }, async ({ server, port }) => {
    await exchange(port, GET_AND_CLOSE);
    assert.equal(server.serverName, '127.0.0.1');
    assert.equal(environ?.REMOTE_HOST, '');
    assert.equal(environ?.REMOTE_ADDR, '127.0.0.1');
  });
});

describe('a subclass', () => {
  test('of the server may add to every environ, and choose the application', async () => {
    class Custom extends WSGIServer {
      override setupEnviron(): void {
        super.setupEnviron();
        Object.assign(this.baseEnviron, { 'custom.key': 'value', SERVER_NAME: 'renamed' });
      }
      override getApp(): WSGIApplication {
        return (environ, start) => {
          start('200 OK', []);
          return [bytes(`${environ['custom.key']} ${environ.SERVER_NAME}`)];
        };
      }
    }
    const server = makeServer('127.0.0.1', 0, hello, { serverClass: Custom, handlerClass: Quiet });
    await server.ready;
    assert.match(await exchange(server.serverPort, GET_AND_CLOSE), /\r\n\r\nvalue renamed$/);
    await server.shutdown();
  });

  test('of the request handler may override anything', async () => {
    const messages: string[] = [];
    const errors = new StringIO();
    class Custom extends WSGIRequestHandler {
      override serverVersion = 'Custom/2';
      override getEnviron(): WSGIEnvironment {
        return { ...super.getEnviron(), 'custom.key': 'value' };
      }
      override getStderr(): ErrorStream {
        return errors;
      }
      override addressString(): string {
        return 'somewhere';
      }
      override logMessage(message: string): void {
        messages.push(`${this.addressString()} ${message}`);
      }
    }
    const server = makeServer('127.0.0.1', 0, (environ, start) => {
      environ['wsgi.errors'].write(`${environ['custom.key']} ${environ.SERVER_SOFTWARE}`);
      return hello(environ, start);
    }, { handlerClass: Custom });
    await server.ready;
    const answer = await exchange(server.serverPort, GET_AND_CLOSE);
    await server.shutdown();
    assert.match(answer, /\r\nServer: Custom\/2\r\n/);
    assert.equal(errors.getValue(), 'value Custom/2');
    assert.deepEqual(messages, ['somewhere "GET / HTTP/1.1" 200 5']);
  });

  test('of the request handler may log in its own way', async () => {
    const logged: string[] = [];
    class Logging extends WSGIRequestHandler {
      override logRequest(code: string, size: number): void {
        logged.push(`${this.request.url} ${code} ${size}`);
      }
    }
    const server = makeServer('127.0.0.1', 0, hello, { handlerClass: Logging });
    await server.ready;
    await exchange(server.serverPort, GET_AND_CLOSE);
    await exchange(server.serverPort, 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n');
    await server.shutdown();
    assert.deepEqual(logged, ['/ 200 5', '/ 400 43']);
  });

  test('of the request handler may replace handle()', async () => {
    class Teapot extends Quiet {
      override async handle(): Promise<void> {
        this.response.writeHead(418, "I'm a teapot", { 'Content-Length': 0, Connection: 'close' })
          .end();
      }
    }
    await withServer(hello, async ({ port }) => {
      assert.match(await exchange(port, GET), /^HTTP\/1\.1 418 I'm a teapot\r\n/);
    }, { handlerClass: Teapot });
  });

  test("of the request handler gives errors to logMessage, unless it takes them itself", () => {
    const messages: string[] = [];
    class Logging extends WSGIRequestHandler {
      override logMessage(message: string): void {
        messages.push(message);
      }
    }
    new Logging({} as never, {} as never, {} as never).logError('it is broken');
    assert.deepEqual(messages, ['it is broken']);
  });

  test('of the request handler that fails itself costs one connection', async () => {
    let fail = true;
    class Failing extends Quiet {
      override getEnviron(): WSGIEnvironment {
        if (fail) throw new Error('handler failure (this is expected in the output)');
        return super.getEnviron();
      }
    }
    const server = makeServer('127.0.0.1', 0, hello, { handlerClass: Failing });
    await server.ready;
    assert.equal(await exchange(server.serverPort, GET_AND_CLOSE), '');
    fail = false;
    assert.match(await exchange(server.serverPort, GET_AND_CLOSE), /hello$/);
    await server.shutdown();
  });
});

describe('the access log', () => {
  test('has what was asked, what was answered, and how many bytes of body', async () => {
    await withServer(hello, async ({ port, log }) => {
      await exchange(port, GET_AND_CLOSE);
      await exchange(port, 'HEAD /a?b=c HTTP/1.0\r\n\r\n');
      await exchange(port, 'GET /# HTTP/1.1\r\nHost: x\r\n\r\n');
      assert.deepEqual(log, [
        '"GET / HTTP/1.1" 200 5',
        '"HEAD /a?b=c HTTP/1.0" 200 -',
        '"GET /# HTTP/1.1" 400 30',
      ]);
    });
  });

  test('keeps a client from ending the quoted part', async () => {
    await withServer(hello, async ({ port, log }) => {
      await exchange(port, 'GET /"-\\x1b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      assert.deepEqual(log, ['"GET /\\"-\\\\x1b\\" HTTP/1.1" 200 5']);
    });
  });

  test('escapes what a terminal could act on', () => {
    const printed: string[] = [];
    class Printing extends WSGIRequestHandler {
      override addressString(): string {
        return '127.0.0.1';
      }
    }
    const handler = new Printing({} as never, {} as never, {} as never);
    const { write } = process.stderr;
    process.stderr.write = (text: string | Uint8Array): boolean => printed.push(String(text)) > 0;
    try {
      handler.logMessage('\x1b[2J\n"GET');
    } finally {
      process.stderr.write = write;
    }
    assert.match(
      printed.join(''),
      /^127\.0\.0\.1 - - \[\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d \+0000\] \\x1b\[2J\\x0a"GET\n$/,
    );
  });
});

// CPython: test_plain_hello
test('demoApp greets and shows its environ', async () => {
  await withServer(demoApp, async ({ port }) => {
    const answer = withoutDate(await exchange(port, 'GET /x?y HTTP/1.0\r\nHost: test\r\n\r\n'));
    assert.match(
      answer,
      /^HTTP\/1\.1 200 OK\r\nContent-Type: text\/plain; charset=utf-8\r\nContent-Length: \d+\r\nConnection: close\r\n\r\nHello world!\n\nCONTENT_LENGTH = ''\n/,
    );
    assert.match(answer, /\nPATH_INFO = '\/x'\nQUERY_STRING = 'y'\n/);
    assert.match(answer, /\nwsgi\.version = \[ 1, 0 \]\n$/);
  });
});

describe('a server', () => {
  test('without an application says so', async () => {
    const bare = new WSGIServer(['127.0.0.1', 0]);
    assert.throws(
      () => bare.getApp(), /^Error: this server has no application yet: call setApp\(app\)$/,
    );
    assert.deepEqual(bare.serverAddress, ['127.0.0.1', 0], 'what was asked for, until it is bound');
    await bare.serverClose();
  });

  test('names an address that it cannot bind, and every interface as *', async () => {
    const held = createServer().listen(0);
    await new Promise((resolve) => held.once('listening', resolve));
    const { port } = held.address() as AddressInfo;
    try {
      await assert.rejects(
        makeServer('', port, () => []).ready,
        new RegExp(`cannot listen on \\*:${port}: another program`),
      );
      await assert.rejects(makeServer('::1', port, () => []).ready, (error: Error) =>
        // A machine without IPv6 has no such address.
        new RegExp(`cannot listen on \\[::1\\]:${port}: `).test(error.message));
    } finally {
      held.close();
    }
  });
});
