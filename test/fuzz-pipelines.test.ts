// Random rows of requests on one connection, some of them waiting, expecting 100 Continue,
// closing or spoilt, and a server that stops at a random moment. A request for which the
// application was called is always answered in full and in its place.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { type WSGIApplication, WSGIRequestHandler, makeServer } from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import { type Chance, eachRound } from './support/random.ts';
import { parseResponses } from './support/raw-http.ts';
import { RawClient } from './support/wire.ts';

class Quiet extends WSGIRequestHandler {
  override logMessage(): void {}
}

function makeRow(chance: Chance): string[] {
  const row: string[] = [];
  const count = 1 + chance.below(8);
  for (let number = 0; number < count; number += 1) {
    const line = `/${number}?${chance.below(4)} HTTP/1.1\r\nHost: x\r\n`;
    const kind = chance.below(10);
    if (kind === 0) row.push(`POST ${line}Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok`);
    else if (kind === 1) row.push(`POST ${line}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`);
    else if (kind === 2) row.push(`GET ${line}Connection: close\r\n\r\n`);
    else if (kind === 3) row.push('these bytes are not a request\r\n\r\n');
    else row.push(`GET ${line}\r\n`);
  }
  return row;
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
};

test('every request that was begun is answered, in order', async (t) => {
  await eachRound(t, 150, async (chance) => {
    const called: string[] = [];
    const app: WSGIApplication = async (environ, startResponse) => {
      called.push(environ.PATH_INFO);
      await turns(Number(environ.QUERY_STRING));
      await environ['wsgi.input'].read();
      startResponse('200 OK', []);
      // Several chunks, or one: framed in two ways.
      const answer = bytes(`answer to ${environ.PATH_INFO}`);
      return environ.QUERY_STRING === '1' ? [answer.subarray(0, 4), answer.subarray(4)] : [answer];
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
    const answered = responses.filter(({ status }) => status === '200').map(({ body }) => body);
    assert.deepEqual(answered, called.map((path) => `answer to ${path}`));
    assert.ok(responses.every(({ whole }) => whole));
    // A refusal is the last response, and there is one at the most.
    const refusals = responses.filter(({ status }) => status !== '200');
    assert.ok(refusals.length === 0 || (refusals.length === 1 && responses.at(-1) === refusals[0]));
  });
});
