// HTTPS as a part of the server: the handshake, its faults and its time limit.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { describe, test } from 'node:test';
import { connect as connectSecurely } from 'node:tls';

import {
  type WSGIApplication, WSGIRequestHandler, type WSGIServer, makeServer,
} from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import { cert, key } from './support/certificate.ts';

const app: WSGIApplication = (environ, startResponse) => {
  startResponse('200 OK', []);
  return [bytes(`${environ['wsgi.url_scheme']} ${environ.HTTPS}`)];
};

class Quiet extends WSGIRequestHandler {
  override logMessage(): void {}
}

async function serving(use: (server: WSGIServer) => Promise<void>, tls = {}): Promise<void> {
  const server =
    makeServer('127.0.0.1', 0, app, { handlerClass: Quiet, tls: { cert, key, ...tls } });
  await server.ready;
  try {
    await use(server);
  } finally {
    await server.shutdown();
  }
}

async function get({ serverPort }: WSGIServer): Promise<string> {
  const socket =
    connectSecurely({ port: serverPort, host: '127.0.0.1', ca: cert, servername: 'localhost' });
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  let heard = '';
  for await (const data of socket) heard += String(data);
  return heard;
}

describe('a server with tls', () => {
  test('serves HTTPS, and says so in url and environ', async () => {
    await serving(async (server) => {
      assert.equal(server.url, `https://127.0.0.1:${server.serverPort}/`);
      assert.match(await get(server), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nhttps on$/);
    });
  });

  test('closes a handshake that takes too long', async () => {
    await serving(async (server) => {
      const silent = connect(server.serverPort, '127.0.0.1');
      await once(silent.on('error', () => {}).resume(), 'close');
      // On a busy machine a correct handshake may exceed the limit, too.
      let answer = '';
      while (answer === '') answer = await get(server).catch(() => '');
      assert.match(answer, /https on$/);
    }, { handshakeTimeout: 50 });
  });

  test('closes a client that does not speak TLS', async () => {
    await serving(async (server) => {
      const plain = connect(server.serverPort, '127.0.0.1');
      plain.on('error', () => {}).resume().write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await once(plain, 'close');
      assert.match(await get(server), /https on$/);
    });
  });

  test('is not held up by an open handshake when it shuts down', async () => {
    const silent = await new Promise<ReturnType<typeof connect>>((resolve) => {
      void serving(async (server) => {
        const socket = connect(server.serverPort, '127.0.0.1');
        await once(server, 'connection');
        resolve(socket);
      });
    });
    await once(silent.on('error', () => {}).resume(), 'close');
  });

  test('lets a connection go whose client leaves during the handshake', async () => {
    // Only the departure can end these connections.
    const handshakeTimeout = 3_600_000;
    await serving(async (server) => {
      const accepted = once(server, 'connection') as Promise<[Socket]>;
      const client = connect(server.serverPort, '127.0.0.1').on('error', () => {});
      const [socket] = await accepted;
      const closed = once(socket, 'close');
      client.destroy();
      await closed;
      assert.match(await get(server), /https on$/);
    }, { handshakeTimeout });
  });

  test('refuses a key of another certificate at once', () => {
    const kinds = [
      generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
      generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ];
    for (const { privateKey } of kinds) {
      const other = privateKey.export({ type: 'pkcs8', format: 'pem' });
      assert.throws(
        () => makeServer('127.0.0.1', 0, app, { tls: { cert, key: other } }),
        /^Error: the TLS key does not belong to the TLS certificate$/,
      );
    }
  });
});
