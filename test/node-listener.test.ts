// The application as a listener of Node's own servers.

import assert from 'node:assert/strict';
import cluster from 'node:cluster';
import { once } from 'node:events';
import {
  type IncomingMessage, type RequestListener, type ServerResponse, createServer,
} from 'node:http';
import { type AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { type WSGIApplication, toNodeListener } from '../lib/index.ts';
import { bytes, text } from './support/bytes.ts';
import { run } from './support/command.ts';
import { RawClient } from './support/wire.ts';

const mirror: WSGIApplication = async (environ, start) => {
  const body = text(await environ['wsgi.input'].read());
  start('200 OK', [['Content-Type', 'application/json']]);
  const { SCRIPT_NAME, PATH_INFO, REQUEST_URI, SERVER_NAME, SERVER_PORT, REQUEST_METHOD } = environ;
  return [
    bytes(JSON.stringify({
      SCRIPT_NAME, PATH_INFO, REQUEST_URI, SERVER_NAME, SERVER_PORT, REQUEST_METHOD, body,
    })),
  ];
};

async function serving(
  listener: RequestListener, use: (url: string, port: number) => Promise<void>,
): Promise<void> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    await use(`http://127.0.0.1:${port}`, port);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const self = fileURLToPath(import.meta.url);

/** This file as a program: a process that starts a worker, asks it once and prints the answer. */
async function clustered(): Promise<void> {
  if (cluster.isWorker) {
    createServer(toNodeListener((environ, start) => {
      start('200 OK', [['Content-Type', 'text/plain']]);
      return [bytes(`wsgi.multiprocess: ${environ['wsgi.multiprocess']}`)];
    })).listen(0, '127.0.0.1');
    return;
  }
  const worker = cluster.fork();
  const [{ port }] = (await once(worker, 'listening')) as [AddressInfo];
  process.stdout.write(await (await fetch(`http://127.0.0.1:${port}/`)).text());
  worker.process.kill();
}

if (process.env['TSGIREF_TEST_CLUSTER'] !== undefined) await clustered();
else describe('toNodeListener', () => {
  test('serves under http.createServer', async () => {
    await serving(toNodeListener(mirror), async (url, port) => {
      const response = await fetch(`${url}/a?b`, { method: 'POST', body: 'hello' });
      assert.deepEqual(await response.json(), {
        SCRIPT_NAME: '', PATH_INFO: '/a', REQUEST_URI: '/a?b', SERVER_NAME: '127.0.0.1',
        SERVER_PORT: String(port), REQUEST_METHOD: 'POST', body: 'hello',
      });
    });
  });

  test('knows its mount path, as Express gives it', async () => {
    const listener = toNodeListener(mirror);
    const mounted = (
      request: IncomingMessage & { baseUrl?: string; originalUrl?: string },
      response: ServerResponse,
    ): void => {
      request.originalUrl = request.url ?? '';
      request.baseUrl = '/moun%74';
      request.url = request.originalUrl.slice('/moun%74'.length);
      listener(request, response);
    };
    await serving(mounted, async (url) => {
      const seen = (await (await fetch(`${url}/moun%74/x?y`)).json()) as Record<string, string>;
      assert.equal(seen['SCRIPT_NAME'], '/mount');
      assert.equal(seen['PATH_INFO'], '/x');
      assert.equal(seen['REQUEST_URI'], '/moun%74/x?y');
    });
  });

  test('adds its headers and cookies to those of a middleware', async () => {
    const listener = toNodeListener((_, start) => {
      start('200 OK', [
        ['Set-Cookie', 'b=2'], ['Set-Cookie', 'c=3'], ['Vary', 'Cookie'], ['X-Both', 'application'],
      ]);
      return [];
    });
    const behind = (request: IncomingMessage, response: ServerResponse): void => {
      response.setHeader('Set-Cookie', 'a=1');
      response.setHeader('Vary', 'Origin');
      response.setHeader('X-Both', 'middleware');
      response.setHeader('X-First', 'middleware');
      listener(request, response);
    };
    await serving(behind, async (url) => {
      const { headers } = await fetch(url);
      assert.deepEqual(headers.getSetCookie(), ['a=1', 'b=2', 'c=3']);
      assert.equal(headers.get('vary'), 'Origin, Cookie');
      assert.equal(headers.get('x-both'), 'application');
      assert.equal(headers.get('x-first'), 'middleware');
      assert.equal(headers.get('content-length'), '0');
    });
  });

  test('replaces headers of a middleware that frame the body', async () => {
    const listener = toNodeListener((_, start) => {
      start('200 OK', [['Content-Type', 'text/plain']]);
      return (function* () { yield bytes('one '); yield bytes('two'); })();
    });
    for (const [name, value] of [
      ['Content-Length', '3'], ['Transfer-Encoding', 'identity'], ['Connection', 'close'],
      ['Trailer', 'X-After'], ['Keep-Alive', 'timeout=99'], ['X-Other', 'kept'],
    ] as const) {
      const behind = (request: IncomingMessage, response: ServerResponse): void => {
        response.setHeader(name, value);
        listener(request, response);
      };
      await serving(behind, async (_, port) => {
        const client = (await RawClient.connect(port)).send('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
        const { headers, body } = await client.response();
        assert.equal(body, 'one two', name);
        // Without a coding, the end of the connection ends the body.
        const framing = name === 'Transfer-Encoding' ? undefined : 'chunked';
        assert.equal(
          headers.find(([key]) => key.toLowerCase() === 'transfer-encoding')?.[1], framing, name,
        );
        assert.equal(
          headers.some((pair) => pair.join() === `${name},${value}`), name === 'X-Other', name,
        );
        client.socket.destroy();
      });
    }
  });

  for (const [options, lines] of [[undefined, 0], [{ logRequests: true }, 1]] as const) {
    test(`logs ${lines} lines for a request with ${JSON.stringify(options)}`, async (t) => {
      const written = t.mock.method(process.stderr, 'write', () => true);
      await serving(toNodeListener(mirror, options), async (url) =>
        void (await (await fetch(`${url}/x`)).text()));
      const logged = written.mock.calls.map((call) => String(call.arguments[0]));
      assert.equal(logged.filter((line) => /"GET \/x HTTP\/1\.1" 200 /.test(line)).length, lines);
    });
  }

  test('a middleware may pass pipelined requests on in another order', async () => {
    const listener = toNodeListener(mirror);
    let passOn = (): void => {};
    await serving((request, response) => {
      if (request.url === '/first') {
        passOn = () => listener(request, response);
        return;
      }
      listener(request, response);
      setImmediate(passOn);
    }, async (_url, port) => {
      const client = await RawClient.connect(port);
      const get = (path: string, more = ''): string =>
        `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
      client.send(get('/first') + get('/second', 'Connection: close\r\n'));
      assert.match(await client.rest(), /"\/first"[^]*"\/second"/);
    });
  });

  const pipelines: Array<[kind: string, requests: string, count: number]> = [
    ['a hundred others', 'GET /x HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(100), 100],
    ['HTTP/1.0', 'GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'.repeat(2), 2],
  ];
  for (const [kind, requests, count] of pipelines) {
    test(`a middleware may hold back a request in front of ${kind}`, async () => {
      const listener = toNodeListener((environ, start) => {
        start('200 OK', [['Content-Length', '2']]);
        return [bytes(environ.PATH_INFO)];
      });
      let seen = 0;
      let passOn = (): void => {};
      await serving((request, response) => {
        seen += 1;
        if (request.url === '/s') passOn = () => listener(request, response);
        else listener(request, response);
        if (seen === count + 1) setImmediate(passOn);
      }, async (_url, port) => {
        const client = await RawClient.connect(port);
        client.send(`GET /s HTTP/1.1\r\nHost: x\r\n\r\n${requests}`);
        const bodies = [];
        while (bodies.length <= count) bodies.push((await client.response()).body);
        assert.deepEqual(bodies, ['/s', ...Array.from({ length: count }, () => '/x')]);
      });
    });
  }

  test('does not call the application behind a request that it refuses', async () => {
    const called: string[] = [];
    const listener = toNodeListener((environ, start) => {
      called.push(environ.PATH_INFO);
      start('200 OK', []);
      return [bytes(environ.PATH_INFO)];
    });
    await serving(listener, async (_url, port) => {
      const client = await RawClient.connect(port);
      client.send(['/a', '/b#c', '/d'].map((path) => {
        return `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
      }).join(''));
      const heard = await client.rest();
      assert.deepEqual(heard.match(/HTTP\/1\.1 \d{3}/g), ['HTTP/1.1 200', 'HTTP/1.1 400']);
      assert.deepEqual(called, ['/a']);
    });
  });

  test('sends 100 Continue once, also if the listener before it has sent it', async () => {
    const listener = toNodeListener(mirror);
    const server = createServer(listener).listen(0, '127.0.0.1');
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
      response.writeContinue();
      listener(request, response);
    });
    await once(server, 'listening');
    const client = await RawClient.connect((server.address() as AddressInfo).port);
    client.send(
      'POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n' +
        'Connection: close\r\n\r\n',
    );
    await client.until((heard) => heard.includes('100 Continue'));
    const heard = await client.send('b').rest();
    assert.deepEqual(heard.match(/HTTP\/1\.1 \d{3}/g), ['HTTP/1.1 100', 'HTTP/1.1 200']);
    server.close();
  });

  test('lets the workers of node:cluster know that they are several', async () => {
    const { stdout, stderr } =
      await run([self], { cwd: '.', env: { ...process.env, TSGIREF_TEST_CLUSTER: '1' } });
    assert.equal(stdout, 'wsgi.multiprocess: true', stderr);
  });

  test('takes nothing but an application', () => {
    assert.throws(
      () => toNodeListener(undefined as never),
      /^TypeError: an application is a function \(environ, startResponse\), not undefined$/,
    );
  });

  test('says so when the body has been read before it', async () => {
    let failure = '';
    const listener = toNodeListener(async (environ, start) => {
      try {
        await environ['wsgi.input'].read();
      } catch (error) {
        failure = String(error);
      }
      start('200 OK', []);
      return [];
    });
    const parsing = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      for await (const _ of request);
      listener(request, response);
    };
    await serving((request, response) => void parsing(request, response), async (url) => {
      assert.equal((await fetch(url, { method: 'POST', body: 'taken' })).status, 200);
      assert.match(
        failure,
        /^Error: the request body has been read already, by a middleware before this application/,
      );
    });
  });

  test('destroys the response if even the report fails', async () => {
    const failing: WSGIApplication = (environ) => {
      environ['wsgi.errors'].write = () => {
        throw new Error('no report');
      };
      throw new Error('first');
    };
    const server = createServer(toNodeListener(failing)).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const written = process.stderr.write;
    let printed = '';
    process.stderr.write = ((data: string) => {
      printed += data;
      return true;
    }) as typeof process.stderr.write;
    try {
      const outcome =
        await fetch(`http://127.0.0.1:${port}/`).then((response) => response.status, () => 'cut');
      assert.ok(outcome === 'cut' || outcome === 500, String(outcome));
    } finally {
      process.stderr.write = written;
      server.close();
    }
    assert.match(printed, /first|no report/);
  });
});
