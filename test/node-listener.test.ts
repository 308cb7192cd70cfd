// The application as a listener of Node's own servers.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, type RequestListener, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';

import { type WSGIApplication, toNodeListener } from '../lib/index.ts';
import { bytes, text } from './support/bytes.ts';

const mirror: WSGIApplication = async (environ, start) => {
  const body = text(await environ['wsgi.input'].read());
  start('200 OK', [['Content-Type', 'application/json']]);
  const { SCRIPT_NAME, PATH_INFO, REQUEST_URI, SERVER_NAME, SERVER_PORT, REQUEST_METHOD } = environ;
  return [bytes(JSON.stringify({ SCRIPT_NAME, PATH_INFO, REQUEST_URI, SERVER_NAME, SERVER_PORT, REQUEST_METHOD, body }))];
};

async function serving(listener: RequestListener, use: (url: string, port: number) => Promise<void>): Promise<void> {
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

describe('toNodeListener', () => {
  test('serves under http.createServer', async () => {
    await serving(toNodeListener(mirror), async (url, port) => {
      const response = await fetch(`${url}/a?b`, { method: 'POST', body: 'hello' });
      assert.deepEqual(await response.json(), {
        SCRIPT_NAME: '', PATH_INFO: '/a', REQUEST_URI: '/a?b', SERVER_NAME: '127.0.0.1', SERVER_PORT: String(port), REQUEST_METHOD: 'POST', body: 'hello',
      });
    });
  });

  test('knows its mount path, as Express gives it', async () => {
    const listener = toNodeListener(mirror);
    const mounted = (request: IncomingMessage & { baseUrl?: string; originalUrl?: string }, response: ServerResponse): void => {
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
      assert.match(failure, /^Error: the request body has been read already, by a middleware before this application/);
    });
  });
});
