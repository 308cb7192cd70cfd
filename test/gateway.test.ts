// The servers for SCGI and uwsgi: heads that are none, clients that leave, the server's life.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import {
  type GatewayProtocol, type GatewayServer, type GatewaySettings, StringIO, type WSGIApplication,
  makeGatewayServer,
} from '../lib/index.ts';
import { slowlyClosed } from './support/applications.ts';
import { bytes, deferred, text } from './support/bytes.ts';
import { makeFolder } from './support/command.ts';
import { scgiFormat, uwsgiFormat } from './support/doors.ts';
import type { Exchange } from './support/exchanges.ts';
import { RawClient } from './support/wire.ts';

const FORMATS: Readonly<Record<GatewayProtocol, (exchange: Exchange) => string>> = {
  scgi: scgiFormat, uwsgi: uwsgiFormat,
};
const get = (target = '/'): Exchange => ({ method: 'GET', target, headers: [], app: '' });
const post = (body: string): Exchange => ({ ...get('/post'), method: 'POST', body });

const mirror: WSGIApplication = async (environ, start) => {
  const body = text(await environ['wsgi.input'].read());
  start('200 OK', [['Content-Type', 'text/plain']]);
  return [bytes(`${environ.REQUEST_METHOD} ${environ.SCRIPT_NAME}|${environ.PATH_INFO} ${body}`)];
};
const FIRST_LINES: Readonly<Record<GatewayProtocol, string>> = {
  scgi: 'Status: 200 OK', uwsgi: 'HTTP/1.1 200 OK',
};
const mirrored = (protocol: GatewayProtocol): string =>
  `${FIRST_LINES[protocol]}\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n\r\nGET |/ `;

interface Serving {
  server: GatewayServer;
  port: number;
  /** The access log. */
  log: string[];
  /** Resolves with the next line of the log. */
  logged(): Promise<string>;
  errors: StringIO;
}

async function serving(
  protocol: GatewayProtocol,
  app: WSGIApplication,
  use: (serving: Serving) => Promise<void>,
  settings: GatewaySettings = {},
): Promise<void> {
  const errors = new StringIO();
  const log: string[] = [];
  let next = deferred<string>();
  const note = (address: string, message: string): void => {
    log.push(`${address} ${message}`);
    next.resolve(message);
    next = deferred();
  };
  const server = makeGatewayServer(protocol, { host: '127.0.0.1', port: 0 }, app, {
    makeErrors: () => errors, log: note, ...settings,
  });
  await server.ready;
  try {
    await use({
      server, port: (server.address() as AddressInfo).port, log, logged: () => next.promise, errors,
    });
  } finally {
    await server.shutdown();
  }
}

const talk = async (port: number, sent: string): Promise<string> =>
  (await RawClient.connect(port)).send(sent).rest();

const netstring = (...strings: string[]): string => {
  const head = strings.map((string) => `${string}\0`).join('');
  return `${head.length}:${head},`;
};
const packet = (...strings: string[]): string => {
  const short = (size: number): string => String.fromCharCode(size & 255, size >> 8);
  const head = strings.map((string) => short(string.length) + string).join('');
  return `\0${short(head.length)}\0${head}`;
};

const BAD: ReadonlyArray<[GatewayProtocol, title: string, sent: string, reason: string]> = [
  [
    'scgi', 'HTTP', 'GET / HTTP/1.1\r\n\r\n',
    "the head begins with \"GET /\", which is not a length and ':'",
  ],
  [
    'scgi', 'a negative length', '-5:abcde,',
    "the head begins with \"-5\", which is not a length and ':'",
  ],
  [
    'scgi', 'a length with a zero before it', '05:abcde,',
    "the head begins with \"05\", which is not a length and ':'",
  ],
  ['scgi', 'an empty length', ':abc,', "the head begins with \"\", which is not a length and ':'"],
  [
    'scgi', 'a length in many digits', '1234567890:',
    'the length of the head has more than 5 digits',
  ],
  [
    'scgi', 'an oversize head', '99999:',
    'the head has 100006 bytes; the option maxHeaderSize allows 65536',
  ],
  ['scgi', 'no comma', '4:a\0b\0;', 'no comma follows the 4 bytes of the head'],
  ['scgi', 'a string without an end', '3:a\0b,', 'the last string of the head has no end'],
  [
    'scgi', 'a name without a value', netstring('CONTENT_LENGTH', '0', 'SCGI'),
    'the variable "SCGI" has no value',
  ],
  [
    'scgi', 'a length of the body that is none', netstring('CONTENT_LENGTH', '-1'),
    'CONTENT_LENGTH is "-1", which is not a number of bytes',
  ],
  [
    'scgi', 'two lengths of the body', netstring('CONTENT_LENGTH', '1', 'CONTENT_LENGTH', '2'),
    'The request names its Content-Length more than once.',
  ],
  [
    'uwsgi', 'HTTP', 'GET / HTTP/1.1\r\n\r\n',
    'the first byte is 71; it is 0 for a request with variables',
  ],
  [
    'uwsgi', 'a name beyond the head', '\0\x03\0\0\x05\0a',
    'a string at byte 0 of the head is longer than the head',
  ],
  [
    'uwsgi', 'half of a length', '\0\x01\0\0a',
    'a string at byte 0 of the head is longer than the head',
  ],
  [
    'uwsgi', 'a value beyond the head', '\0\x05\0\0\x01\0a\x09\0',
    'a string at byte 3 of the head is longer than the head',
  ],
  [
    'uwsgi', 'a name without a value', packet('REQUEST_METHOD'),
    'the variable "REQUEST_METHOD" has no value',
  ],
  [
    'uwsgi', 'a length of the body that is none', packet('CONTENT_LENGTH', '1e3'),
    'CONTENT_LENGTH is "1e3", which is not a number of bytes',
  ],
];

describe('a head that is none', () => {
  for (const [protocol, title, sent, reason] of BAD) {
    test(`${protocol}: ${title}: is reported, and nothing else is harmed`, async () => {
      await serving(protocol, mirror, async ({ port, log, errors }) => {
        const other = (await RawClient.connect(port)).send(FORMATS[protocol](get()).slice(0, 10));
        assert.equal(await talk(port, sent), '');
        assert.deepEqual(log, [`127.0.0.1 not a request of ${protocol}: ${reason}`]);
        assert.equal(errors.getValue(), '');
        assert.equal(
          await other.send(FORMATS[protocol](get()).slice(10)).rest(), mirrored(protocol),
        );
      });
    });
  }

  for (const protocol of ['scgi', 'uwsgi'] as const) {
    test(`${protocol}: a truncated head`, async () => {
      await serving(protocol, mirror, async ({ port, logged }) => {
        const line = logged();
        (await RawClient.connect(port)).send(FORMATS[protocol](get()).slice(0, 9)).socket.end();
        assert.equal(
          await line,
          `not a request of ${protocol}: the connection ended after 9 bytes of the head`,
        );
      });
    });

    test(`${protocol}: a head beyond maxHeaderSize`, async () => {
      await serving(protocol, mirror, async ({ port, log }) => {
        assert.equal(await talk(port, FORMATS[protocol](get())), '');
        assert.match(log[0] ?? '', /the head has \d+ bytes; the option maxHeaderSize allows 100$/);
      }, { maxHeaderSize: 100 });
    });

    test(`${protocol}: a head that does not arrive`, async () => {
      await serving(protocol, mirror, async ({ port, log }) => {
        assert.equal(await talk(port, FORMATS[protocol](get()).slice(0, 9)), '');
        assert.deepEqual(log, [
          `127.0.0.1 not a request of ${protocol}: the head did not arrive within 20 ms`,
        ]);
      }, { headersTimeout: 20 });
    });

    test(`${protocol}: nothing is reported of a client that sends nothing`, async () => {
      await serving(protocol, mirror, async ({ port, log }) => {
        const client = await RawClient.connect(port);
        client.socket.end();
        await client.rest();
        assert.deepEqual(log, []);
      });
    });
  }
});

for (const protocol of ['scgi', 'uwsgi'] as const) {
  const format = FORMATS[protocol];

  describe(protocol, () => {
    test('reads a head and a body that arrive byte by byte', async () => {
      await serving(protocol, mirror, async ({ port, log }) => {
        const client = await RawClient.connect(port);
        for (const byte of format(post('hello'))) {
          client.send(byte);
          await new Promise(setImmediate);
        }
        assert.match(await client.rest(), /\r\n\r\nPOST \|\/post hello$/);
        assert.deepEqual(log, ['127.0.0.1 "POST /post HTTP/1.1" 200 17']);
      });
    });

    test('answers a server that sends a long body before it reads, unread or not', async () => {
      const ignoring: WSGIApplication = (_environ, start) => (start('200 OK', []), [bytes('done')]);
      await serving(protocol, ignoring, async ({ port }) => {
        const client = await RawClient.connect(port);
        client.socket.pause();
        const request = Buffer.from(format(post('x'.repeat(8_000_000))), 'latin1');
        await new Promise((resolve) => client.socket.write(request, resolve));
        client.socket.resume();
        assert.match(await client.rest(), /\r\n\r\ndone$/);
      });
    });

    test('reads no further than CONTENT_LENGTH', async () => {
      await serving(protocol, mirror, async ({ port }) => {
        assert.match(await talk(port, `${format(post('hello'))}and more`), /POST \|\/post hello$/);
      });
    });

    test('rejects a read when the body breaks off', async () => {
      const failure = deferred<unknown>();
      const app: WSGIApplication = async (environ) => {
        await environ['wsgi.input'].read().catch(failure.resolve);
        return [];
      };
      await serving(protocol, app, async ({ port }) => {
        (await RawClient.connect(port)).send(format(post('hello')).slice(0, -2)).socket.end();
        assert.match(String(await failure.promise), /the request's body ended after 3 of 5 bytes/);
      });
    });

    test('aborts, closes the body and prints no trace when the client leaves', async () => {
      const closed = deferred();
      const app: WSGIApplication = (_, start) => {
        start('200 OK', []);
        const body = (async function* () {
          while (true) {
            yield bytes('x'.repeat(1000));
            await new Promise(setImmediate);
          }
        })();
        return Object.assign(body, { close: () => closed.resolve() });
      };
      await serving(protocol, app, async ({ port, errors }) => {
        const client = (await RawClient.connect(port)).send(format(get()));
        await client.until((heard) => heard.includes('xx'));
        client.socket.destroy();
        await closed.promise;
        assert.equal(errors.getValue(), '');
      });
    });

    test('prints no trace when the client leaves during its upload', async () => {
      const rejected = deferred<unknown>();
      const called = deferred();
      const app: WSGIApplication = async (environ, start) => {
        called.resolve();
        try {
          await environ['wsgi.input'].read();
        } catch (error) {
          rejected.resolve(error);
          throw error;
        }
        return mirror(environ, start);
      };
      await serving(protocol, app, async ({ port, errors, logged }) => {
        const request = format(post('a body'));
        const line = logged();
        const client = (await RawClient.connect(port)).send(request.slice(0, -3));
        await called.promise;
        client.socket.destroy();
        assert.match(String(await rejected.promise), /the request's body ended after 3 of 6 bytes/);
        await line;
        assert.equal(errors.getValue(), '');
      });
    });

    test('lets a body close that closes more slowly than its connection', async () => {
      const { app, closing, go, events } = slowlyClosed();
      await serving(protocol, app, async ({ server, port }) => {
        const client = (await RawClient.connect(port)).send(format(get()));
        await closing;
        const down = server.shutdown().then(() => events.push('down'));
        await Promise.all([once(server, 'close'), client.rest()]);
        setImmediate(go);
        await down;
        assert.deepEqual(events, ['closed', 'down']);
      });
    });

    test('cuts a response that an error ends, so that it does not look whole', async () => {
      const received = deferred();
      const app: WSGIApplication = async (_, start) => {
        await start('200 OK', [])(bytes('begun'));
        await received.promise;
        throw new Error('cut');
      };
      await serving(protocol, app, async ({ port, errors, log }) => {
        const client = (await RawClient.connect(port)).send(format(get()));
        await client.until((heard) => heard.includes('begun'));
        const failed = once(client.socket, 'error');
        received.resolve();
        const [error] = (await failed) as [NodeJS.ErrnoException];
        assert.equal(error.code, 'ECONNRESET');
        assert.match(errors.getValue(), /^Error: cut\n/);
        assert.deepEqual(log, ['127.0.0.1 "GET / HTTP/1.1" 200 5']);
      });
    });

    test('gives a 500 for an application that throws, and serves the next request', async () => {
      const app: WSGIApplication = (environ, start) => {
        if (environ.PATH_INFO === '/fail') throw new Error('early');
        return mirror(environ, start);
      };
      await serving(protocol, app, async ({ port, errors }) => {
        assert.match(
          await talk(port, format(get('/fail'))),
          /^(Status:|HTTP\/1\.1) 500 Internal Server Error\r\n/,
        );
        assert.match(errors.getValue(), /^Error: early\n/);
        assert.equal(await talk(port, format(get())), mirrored(protocol));
      });
    });

    test('answers a client that still sends a body which nobody reads', async () => {
      const app: WSGIApplication = (_, start) =>
        (start('413 Content Too Large', []), [bytes('no')]);
      await serving(protocol, app, async ({ port }) => {
        assert.match(
          await talk(port, format(post('x'.repeat(500_000)))),
          /^(?:Status:|HTTP\/1\.1) 413 .*\r\n[^]*no$/,
        );
      });
    });

    test('finds the path where the server in front sends none', async () => {
      const encode = protocol === 'scgi' ? netstring : packet;
      const head = encode(
        'CONTENT_LENGTH', '0', 'REQUEST_METHOD', 'GET', 'SERVER_NAME', 'x', 'SERVER_PORT', '1',
        'REQUEST_URI', '/m%6funt/a%2Fb?c', 'SCRIPT_NAME', '/mount',
      );
      await serving(protocol, mirror, async ({ port }) => {
        assert.match(await talk(port, head), /GET \/mount\|\/a\/b $/);
      });
    });

    test('joins repeated headers, and drops HTTP_PROXY and what nginx sends twice', async () => {
      const encode = protocol === 'scgi' ? netstring : packet;
      const head = encode(
        'CONTENT_LENGTH', '0', 'REQUEST_METHOD', 'GET', 'HTTP_X', '1', 'HTTP_X', '2', 'HTTP_COOKIE',
        'a=1', 'HTTP_COOKIE', 'b=2', 'HTTP_PROXY', 'evil', 'HTTP_CONTENT_LENGTH', '0',
        'HTTP_CONTENT_TYPE', 'a/b', 'HTTP_TRANSFER_ENCODING', 'chunked',
      );
      const app: WSGIApplication = (environ, start) => {
        start('200 OK', []);
        return [
          bytes([
            environ['HTTP_X'], environ['HTTP_COOKIE'], environ['HTTP_PROXY'],
            environ['HTTP_CONTENT_LENGTH'], environ['HTTP_CONTENT_TYPE'],
            environ['HTTP_TRANSFER_ENCODING'],
          ].join('|')),
        ];
      };
      await serving(protocol, app, async ({ port }) => {
        assert.match(await talk(port, head), /\r\n\r\n1, 2\|a=1; b=2\|\|\|\|$/);
      });
    });

    test('shuts down when the requests under way are over', async () => {
      const [arrived, answer] = [deferred(), deferred()];
      const app: WSGIApplication = async (environ, start) => {
        arrived.resolve();
        await answer.promise;
        return mirror(environ, start);
      };
      await serving(protocol, app, async ({ server, port }) => {
        const served = server.serveForever();
        const idle = await RawClient.connect(port);
        const client = (await RawClient.connect(port)).send(format(get()));
        await arrived.promise;
        const down = server.shutdown();
        assert.equal(await idle.rest(), '');
        answer.resolve();
        assert.equal(await client.rest(), mirrored(protocol));
        await Promise.all([down, served]);
      });
    });

    test('serves on a Unix socket', { skip: process.platform === 'win32' }, async () => {
      const folder = makeFolder({});
      try {
        const path = join(folder.path, 'app.sock');
        const server = makeGatewayServer(protocol, { path }, mirror, { log() {} });
        await server.ready;
        const { connect } = await import('node:net');
        const socket = connect(path);
        await once(socket, 'connect');
        assert.equal(await RawClient.over(socket).send(format(get())).rest(), mirrored(protocol));
        await server.shutdown();
        assert.equal(existsSync(path), false);
      } finally {
        rmSync(folder.path, { recursive: true });
      }
    });
  });
}

test('a failed bind rejects ready and serveForever, and names the address', async () => {
  await serving('scgi', mirror, async ({ port }) => {
    const second = makeGatewayServer('scgi', { host: '127.0.0.1', port }, mirror);
    await assert.rejects(second.ready, new RegExp(`EADDRINUSE.*127\\.0\\.0\\.1:${port}`));
    await assert.rejects(second.serveForever(), /EADDRINUSE/);
  });
});

test('takes nothing but an application', () => {
  assert.throws(
    () => makeGatewayServer('scgi', { host: '127.0.0.1', port: 0 }, undefined as never),
    /^TypeError: an application is a function/,
  );
});

describe('makeGatewayServer refuses at once', () => {
  const address = { host: '127.0.0.1', port: 0 };

  test('a protocol that it does not speak', () => {
    const message = "a gateway server speaks 'scgi' or 'uwsgi', not \"fcgi\"";
    assert.throws(
      () => makeGatewayServer('fcgi' as 'scgi', address, mirror), { name: 'TypeError', message },
    );
  });

  test('a port that cannot be one', () => {
    assert.throws(
      () => makeGatewayServer('scgi', { ...address, port: 99999 }, mirror),
      { name: 'RangeError', message: /port/ },
    );
  });
});
