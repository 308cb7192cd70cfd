// The package's own servers pass the checks that the package has for servers.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { after, before, describe, mock, test } from 'node:test';

import {
  type GatewayProtocol, type RunningServer, type StartServer, WSGIRequestHandler, checkServer,
  checks, makeGatewayServer, makeServer, toNodeListener,
} from '../../lib/index.ts';
import { cert, key } from '../support/certificate.ts';
import { scgiHead, uwsgiHead, variablesOf } from '../support/doors.ts';

class Quiet extends WSGIRequestHandler {
  override logMessage(): void {}
}

const serve = (scheme: string, options: object = {}): StartServer => async (app) => {
  const server = makeServer('127.0.0.1', 0, app, { handlerClass: Quiet, ...options });
  await server.ready;
  const url = `${scheme}://127.0.0.1:${server.serverPort}/`;
  return { url, close: () => server.shutdown() };
};

type Listener = (request: IncomingMessage, response: ServerResponse) => unknown;

async function listen(listener: Listener): Promise<RunningServer> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** A web server in front of a gateway server, which hands over whole requests, as nginx does. */
const behindFront = (protocol: GatewayProtocol): StartServer => async (app) => {
  const gateway = makeGatewayServer(protocol, { host: '127.0.0.1', port: 0 }, app);
  await gateway.ready;
  const { port } = gateway.address() as AddressInfo;
  const format = protocol === 'scgi' ? scgiHead : uwsgiHead;

  // The requests of one connection, one after another.
  const turns = new WeakMap<Socket, Promise<void>>();

  const passOn = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    response.strictContentLength = true;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const upstream = connect(port, '127.0.0.1');
    response.once('close', () => upstream.destroy());
    upstream.write(format(describeRequest(request, Buffer.concat(chunks))), 'latin1');
    upstream.write(Buffer.concat(chunks));
    let head = '';
    for await (const data of upstream as AsyncIterable<Buffer>) {
      let rest = data;
      if (!response.headersSent) {
        head += data.toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end === -1) continue;
        rest = Buffer.from(head.slice(end + 4), 'latin1');
        const [status = '', ...lines] = head.slice(0, end).split('\r\n');
        const [, code, reason] = /^\S+ (\d{3}) ?(.*)$/.exec(status) ?? assert.fail(status);
        response.writeHead(Number(code), reason, lines.flatMap((line) => line.split(/: (.*)/s, 2)));
      }
      if (rest.length > 0 && !response.write(rest)) await once(response, 'drain');
    }
    response.end();
  };

  const front = await listen((request, response) => {
    const turn = (turns.get(request.socket) ?? Promise.resolve())
      .then(() => passOn(request, response))
      // A connection that was reset is a response that is not whole.
      .catch(() => void response.destroy());
    turns.set(request.socket, turn);
  });
  return {
    url: front.url,
    async close() {
      await front.close();
      await gateway.shutdown();
    },
  };
};

function describeRequest(request: IncomingMessage, body: Buffer): Map<string, string> {
  const { method = '', url = '', rawHeaders } = request;
  const headers: Array<[string, string]> = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const [name = '', value = ''] = rawHeaders.slice(index, index + 2);
    if (!/^(host|content-length|transfer-encoding|connection)$/i.test(name)) {
      headers.push([name, value]);
    }
  }
  const framed = request.headers['content-length'] ?? request.headers['transfer-encoding'];
  const text = framed === undefined ? {} : { body: body.toString('latin1') };
  const target = url.replace(/^http:\/\/[^/]*/, '');
  const variables = variablesOf({ method, target, headers, ...text, app: '' });
  variables.set('SERVER_NAME', '127.0.0.1').set('SERVER_PORT', String(request.socket.localPort));
  variables.set('HTTP_HOST', request.headers.host ?? '');
  return variables.set('SERVER_PROTOCOL', `HTTP/${request.httpVersion}`);
}

// The part that a gateway server does by itself. The rest is the work of the server in front.
const GATEWAY_GROUPS = [
  'environ', 'input', 'errors', 'startResponse', 'write', 'body', 'close', 'failure',
  'client-leaves',
];
const LIMITS_OF_THE_FRONT = [
  // It is in this process, which this check stops.
  'body-chunk-before-next',
  // Node takes a reset that arrives together with data for an ordinary end. That the
  // connection is reset is a test of its own in gateway.test.ts.
  'failure-cuts', 'failure-in-write',
];
const gatewayChecks = checks
  .filter(({ id, group }) => GATEWAY_GROUPS.includes(group) && !LIMITS_OF_THE_FRONT.includes(id))
  .map(({ id }) => id);

/** The ids and reasons of what failed. */
async function failures(start: StartServer, only?: readonly string[]): Promise<string[]> {
  const { results } = await checkServer(start, { only });
  assert.ok(results.length >= 150, `${results.length} checks`);
  return results
    .filter(({ outcome }) => outcome === 'failed')
    .map(({ id, reason }) => `${id}: ${reason}`);
}

describe('every check is passed by', () => {
  // The applications of the checks throw on purpose, and each error is reported.
  before(() => void mock.method(process.stderr, 'write', () => true));
  after(() => mock.restoreAll());

  test('makeServer', async () => {
    assert.deepEqual(await failures(serve('http')), []);
  });

  test('makeServer with HTTPS', async () => {
    assert.deepEqual(await failures(serve('https', { tls: { key, cert } })), []);
  });

  test('toNodeListener', async () => {
    assert.deepEqual(await failures((app) => listen(toNodeListener(app))), []);
  });

  for (const protocol of ['scgi', 'uwsgi'] as const) {
    test(
      `makeGatewayServer with ${protocol}, where it is not the work of the server in front`,
      async () => {
        assert.deepEqual(await failures(behindFront(protocol), gatewayChecks), []);
      },
    );
  }
});
