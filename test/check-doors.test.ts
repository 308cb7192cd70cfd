// The package's own servers pass the checks that the package has for servers.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';

import {
  type GatewayProtocol, type RunningServer, type StartServer, type WSGIApplication,
  WSGIRequestHandler, checkServer, checks, makeGatewayServer, makeServer, toFetch, toNodeListener,
} from '../lib/index.ts';
import { GROUPS } from '../lib/check/definition.ts';
import { cert, key } from './support/certificate.ts';
import { scgiFormat, uwsgiFormat } from './support/doors.ts';

class Quiet extends WSGIRequestHandler {
  override logMessage(): void {}
}

const serve = (scheme: string, tls?: { cert: string; key: string }): StartServer =>
  async (app) => {
    const server = makeServer('127.0.0.1', 0, app, { handlerClass: Quiet, ...(tls && { tls }) });
    await server.ready;
    const url = `${scheme}://127.0.0.1:${server.serverPort}/`;
    return { url, close: () => server.shutdown() };
  };

type Listener = (request: IncomingMessage, response: ServerResponse) => unknown;

async function listen(listener: Listener, close = async (): Promise<void> => {}): Promise<RunningServer> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.closeAllConnections();
      server.close();
      await close();
    },
  };
}

/** The ids and reasons of what failed. */
async function failures(start: StartServer, only?: readonly string[]): Promise<string[]> {
  const { results } = await checkServer(start, { only });
  return results
    .filter(({ outcome }) => outcome === 'failed')
    .map(({ id, reason }) => `${id}: ${reason}`);
}

describe('every check is passed by', () => {
  test('makeServer', async () => {
    assert.deepEqual(await failures(serve('http')), []);
  });

  test('makeServer with HTTPS', async () => {
    assert.deepEqual(await failures(serve('https', { cert, key })), []);
  });

  test('toNodeListener', async () => {
    assert.deepEqual(await failures((app) => listen(toNodeListener(app))), []);
  });
});
