// Random requests. Well-formed ones must be read as they were meant. The meaning of
// ones with a few damaged bytes is unknown, but some results are never allowed.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';

import {
  type WSGIApplication, WSGIRequestHandler, type WSGIServer, StringIO, makeServer, validator,
} from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import { type Chance, eachRound, makeChance } from './support/random.ts';
import { readResponses } from './support/strict.ts';
import { connectionsLeft } from './support/wire.ts';

const latin1 = (data: Uint8Array): string => Buffer.from(data).toString('latin1');

let opened = 0;
let closed = 0;

/** A body that counts whether it is closed. */
function counted(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncIterable<Uint8Array> & { close(): void } {
  opened += 1;
  return {
    async *[Symbol.asyncIterator]() {
      yield* chunks;
    },
    close() {
      closed += 1;
    },
  };
}

// The response depends on the path alone, so that the test knows it in advance.
const app: WSGIApplication = async (environ, startResponse) => {
  const input = environ['wsgi.input'];
  const kind =
    [...environ.PATH_INFO].reduce((sum, character) => sum + character.charCodeAt(0), 0) % 6;
  if (kind === 1) {
    startResponse('204 No Content', []);
    return counted([]);
  }
  if (kind === 2) throw new Error('meant to fail');
  if (kind === 3) {
    startResponse('200 OK', [['Content-Type', 'text/plain']]);
    return counted([bytes('not '), bytes('read')]);
  }
  const body = kind === 4 ? await input.read(10) : await input.read();
  const seen = [
    environ.REQUEST_METHOD, environ.PATH_INFO, environ.QUERY_STRING, environ['HTTP_X_A'] ?? '-',
    latin1(body),
  ];
  startResponse('200 OK', [['Content-Type', 'application/json']]);
  return counted([Buffer.from(JSON.stringify(seen), 'latin1')]);
};

interface Request {
  bytes: string;
  method: string;
  /** Status and body of the answer to it. */
  answer: [status: number, body: string];
}

function wellFormed(chance: Chance, isLast: boolean): Request {
  const { below, happens, latin1, pick, times } = chance;
  const method = pick(['GET', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']);
  const path = `/${times(below(4), () => pick(['a', 'b', '~', '.', '//'])).join('')}`;
  const query = latin1(4, /[a-z=&?/]/);
  const value = latin1(6, /[\x21-\x7e\xa1-\xff]/);
  const body = happens(0.5) ? latin1(40) : undefined;
  const headers = [
    'Host: fuzz', `X-A:${pick(['', ' ', '\t'])}${value}`, ...times(below(4), () => 'X-B: 1'),
  ];
  if (isLast) headers.push('Connection: close');
  let sent = '';
  if (body !== undefined && happens(0.5)) {
    headers.push(`Content-Length: ${body.length}`);
    sent = body;
  } else if (body !== undefined) {
    headers.push('Transfer-Encoding: chunked');
    sent = chunked(chance, body);
  }
  const target = query === '' && happens(0.5) ? path : `${path}?${query}`;
  return {
    bytes: [`${method} ${target} HTTP/1.1`, ...headers, '', sent].join('\r\n'),
    method,
    answer: expectedAnswer(method, path, query, value, body ?? ''),
  };
}

function chunked({ below, happens, pick }: Chance, body: string): string {
  let sent = '';
  for (let offset = 0; offset < body.length;) {
    const size = 1 + below(body.length - offset);
    const extension = happens(0.2) ? pick([';a', ';a=b', ';a="b"']) : '';
    sent += `${size.toString(16)}${extension}\r\n${body.slice(offset, offset + size)}\r\n`;
    offset += size;
  }
  return `${sent}0\r\n${happens(0.2) ? 'X-Trailer: 1\r\n' : ''}\r\n`;
}

function expectedAnswer(
  method: string, path: string, query: string, value: string, body: string,
): Request['answer'] {
  const kind = [...path].reduce((sum, character) => sum + character.charCodeAt(0), 0) % 6;
  const known: Record<number, Request['answer']> = {
    1: [204, ''],
    2: [500, 'A server error occurred.  Please contact the administrator.'],
    3: [200, 'not read'],
  };
  const read = kind === 4 ? body.slice(0, 10) : body;
  const [status, whole] = known[kind] ?? [200, JSON.stringify([method, path, query, value, read])];
  return [status, method === 'HEAD' ? '' : whole];
}

/** The same requests with a few damaged bytes. */
function spoil({ below, latin1, pick, times }: Chance, sent: string): string {
  let spoilt = sent;
  for (let left = 1 + below(4); left > 0; left -= 1) {
    const at = below(spoilt.length + 1);
    const length = below(8);
    const [head, cut, tail] = [
      spoilt.slice(0, at), spoilt.slice(at, at + length), spoilt.slice(at + length),
    ];
    spoilt = pick([
      () => head + tail,
      () => head + cut + cut + tail,
      () => head + latin1(4) + cut + tail,
      () =>
        head + pick(['\r', '\n', '\r\n', '\0', ' ', '\t', ':', ',', '%', '#', '-1', '\r\n\r\n']) +
        cut + tail,
      () =>
        head + pick([
          'Content-Length: 3\r\n', 'Transfer-Encoding: chunked\r\n', 'Host: b\r\n',
          'Expect: 100-continue\r\n',
        ]) + cut + tail,
      () => head + times(below(3), () => 'GET / HTTP/1.1\r\n').join('') + cut + tail,
      () => head,
    ])();
  }
  return spoilt;
}

/** The records of the server about one connection. */
interface Connection {
  socket: Socket;
  requests: IncomingMessage[];
  responses: ServerResponse[];
}

describe('requests made by chance', () => {
  const errors = new StringIO();
  const connections = new Map<number, Connection>();
  const rejections: unknown[] = [];
  let server: WSGIServer;

  const noteRejection = (error: unknown): void => void rejections.push(error);

  before(async () => {
    process.on('unhandledRejection', noteRejection);
    class Quiet extends WSGIRequestHandler {
      override getStderr(): StringIO {
        return errors;
      }
      override logMessage(): void {}
    }
    server = makeServer('127.0.0.1', 0, validator(app), { handlerClass: Quiet });
    server.on('connection', (socket: Socket) => {
      connections.set(socket.remotePort ?? 0, { socket, requests: [], responses: [] });
    });
    for (const event of ['request', 'checkContinue', 'checkExpectation']) {
      server.prependListener(event, (request: IncomingMessage, response: ServerResponse) => {
        const connection = connections.get(request.socket.remotePort ?? 0);
        connection?.requests.push(request);
        connection?.responses.push(response);
      });
    }
    await server.ready;
  });

  after(async () => {
    process.off('unhandledRejection', noteRejection);
    await server.serverClose();
  });

  /** Sends the requests in pieces, and reads the whole answer. */
  async function converse(
    { below, happens }: Chance, sent: string,
  ): Promise<{ heard: string; methods: string[] }> {
    const client = connect(server.serverPort, '127.0.0.1').setNoDelay(true).setEncoding('latin1');
    let heard = '';
    client.on('data', (data: string) => (heard += data)).on('error', () => {});
    const over = new Promise((resolve) => client.once('close', resolve));
    await once(client, 'connect');
    const port = client.localPort ?? 0;
    while (!connections.has(port)) await turn();
    const connection = connections.get(port);
    assert.ok(connection);

    for (let offset = 0; offset < sent.length;) {
      const size = happens(0.5) ? sent.length : 1 + below(sent.length);
      client.write(sent.slice(offset, offset + size), 'latin1');
      offset += size;
      await turn();
    }
    // The server has read every byte; a request without an answer waits for more.
    while (!connection.socket.destroyed) {
      const isRead = connection.socket.bytesRead === sent.length;
      const isAnswered = connection.responses.every(
        (response, index) => response.closed || !connection.requests[index]?.complete,
      );
      if (isRead && isAnswered) break;
      await turn();
    }
    client.end();
    await over;
    connections.delete(port);
    return { heard, methods: connection.requests.map(({ method }) => method ?? '') };
  }

  /** What must hold after every exchange. */
  async function assertSound(): Promise<void> {
    const { heard } = await converse(
      makeChance(0), 'GET /clean HTTP/1.1\r\nHost: fuzz\r\nConnection: close\r\n\r\n',
    );
    const [response, ...more] = readResponses(heard, ['GET']);
    assert.deepEqual([response?.status, more], [200, []], 'the next client is served');
    assert.equal(closed, opened, 'each body is closed once');
    assert.deepEqual(rejections, []);
    for (const line of errors.getValue().split('\n')) {
      if (/^\w*Error/.test(line)) {
        assert.match(
          line, /^(Error: meant to fail|RequestError|Error: the request's body)/, errors.getValue(),
        );
      }
    }
  }

  test('are read as they were meant, if they are well-formed', async (context) => {
    await eachRound(context, 150, async (chance) => {
      const count = 1 + chance.below(4);
      const requests =
        Array.from({ length: count }, (_, index) => wellFormed(chance, index === count - 1));
      const sent = requests.map((request) => request.bytes).join('');
      const { heard, methods } = await converse(chance, sent);
      assert.deepEqual(methods, requests.map(({ method }) => method), sent);
      const responses = readResponses(heard, methods);
      assert.deepEqual(
        responses.map(({ status, body, isWhole }) => [status, body, isWhole]),
        requests.map(({ answer }) => [...answer, true]),
        sent,
      );
    });
    await assertSound();
  });

  test('break nothing, if they are spoilt', async (context) => {
    await eachRound(context, 300, async (chance) => {
      const sent = spoil(chance, Array.from(
        { length: 1 + chance.below(2) }, () => wellFormed(chance, chance.happens(0.5)).bytes,
      ).join(''));
      const { heard, methods } = await converse(chance, sent);
      const responses = readResponses(heard, methods);
      // A response without a request is a refusal by the parser.
      assert.ok(
        responses.length <= methods.length + 1,
        `${responses.length} answers to ${JSON.stringify(sent)}`,
      );
      for (const { status } of responses.slice(methods.length)) {
        assert.ok(status >= 400, String(status));
      }
      await assertSound();
    });
    assert.equal(await connectionsLeft(server), 0, 'no connection is left');
  });
});
