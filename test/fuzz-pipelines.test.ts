// Random rows of requests on one connection, some of them waiting, expecting 100 Continue,
// closing, failing or spoilt, and a server that stops at a random moment. A request for which
// the application was called is always answered in full and in its place, unless its own
// response or one before it fails: then the connection ends there.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { StringIO, type WSGIApplication, WSGIRequestHandler, makeServer } from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import { type Chance, eachRound } from './support/random.ts';
import { parseResponses } from './support/raw-http.ts';
import { RawClient } from './support/wire.ts';

class Quiet extends WSGIRequestHandler {
  override logMessage(): void {}
  override getStderr(): StringIO {
    return new StringIO();
  }
}

function makeRow(chance: Chance): string[] {
  const row: string[] = [];
  const count = 1 + chance.below(8);
  for (let number = 0; number < count; number += 1) {
    const line = `/${number}?${chance.below(4)} HTTP/1.1\r\nHost: x\r\n`;
    const kind = chance.below(12);
    if (kind === 0) row.push(`POST ${line}Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok`);
    else if (kind === 1) row.push(`POST ${line}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`);
    else if (kind === 2) row.push(`GET ${line}Connection: close\r\n\r\n`);
    else if (kind === 3) row.push('these bytes are not a request\r\n\r\n');
    else if (kind === 4) row.push(`GET /${number}?1&fail HTTP/1.1\r\nHost: x\r\n\r\n`);
    else if (kind === 5) row.push(`GET /${number}?2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`);
    else row.push(`GET ${line}\r\n`);
  }
  return row;
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
};

async function* failAfter(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  yield chunk;
  await new Promise(setImmediate);
  throw new Error('fails after its first chunk');
}

test('every request that was begun is answered, in order', async (t) => {
  await eachRound(t, 150, async (chance) => {
    const called: string[] = [];
    const failing: string[] = [];
    const app: WSGIApplication = async (environ, startResponse) => {
      const [waits = '', fails] = environ.QUERY_STRING.split('&');
      called.push(environ.PATH_INFO);
      await turns(Number(waits));
      await environ['wsgi.input'].read();
      startResponse('200 OK', []);
      // Several chunks, or one: framed in two ways.
      const answer = bytes(`answer to ${environ.PATH_INFO}`);
      if (fails !== undefined) {
        failing.push(environ.PATH_INFO);
        return failAfter(answer);
      }
      return waits === '1' ? [answer.subarray(0, 4), answer.subarray(4)] : [answer];
    };
    const maxRequests = chance.below(3) === 0 ? { maxRequests: 1 + chance.below(4) } : {};
    const server = makeServer('127.0.0.1', 0, app, { handlerClass: Quiet, ...maxRequests });
    await server.ready;
    const client = await RawClient.connect(server.serverPort);
    const row = makeRow(chance);
    // In one packet, or in pieces that end anywhere.
    const all = row.join('');
    const cut = chance.below(all.length);
    client.send(all.slice(0, cut));
    await turns(chance.below(3));
    client.send(all.slice(cut));
    await turns(chance.below(12));
    const closed = server.shutdown();
    const responses = parseResponses(await client.rest(), row.map(() => 'GET')).filter(
      ({ status }) => status !== '100',
    );
    await closed;
    const whole = responses.filter((response) => response.whole && response.status === '200');
    const end = called.findIndex((path) => failing.includes(path));
    const expected = end === -1 ? called : called.slice(0, end);
    assert.deepEqual(whole.map(({ body }) => body), expected.map((path) => `answer to ${path}`));
    // A refusal is the last response, and there is one at the most; so is one that is cut.
    const others = responses.filter((response) => !whole.includes(response));
    assert.ok(others.length <= 1 && (others.length === 0 || responses.at(-1) === others[0]));
    assert.ok(end !== -1 || others.every((response) => response.whole));
  });
});
