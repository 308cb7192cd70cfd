// The server stores only a few chunks of a large body at a time. test/soak/memory.ts
// tests the same with bodies of full size.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import type { WSGIApplication } from '../../lib/index.ts';
import { InMemory } from '../bench/in-memory.ts';
import { bytes } from '../support/bytes.ts';
import { withServer } from '../support/wire.ts';

const MIB = 1024 * 1024;
const SIZE = 32 * MIB;
const CHUNK = 64 * 1024;
const MOST_HELD = SIZE / 4;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as (options?: { type: 'minor' }) => void;

/** Bytes in buffers that are still in use, after a collection of garbage. */
async function held(): Promise<number> {
  let least = Infinity;
  for (let round = 0; round < 10; round += 1) {
    await new Promise(setImmediate);
    collectGarbage();
    least = Math.min(least, process.memoryUsage().arrayBuffers);
  }
  return least;
}

function* chunks(): Generator<Uint8Array> {
  for (let count = 0; count < SIZE / CHUNK; count += 1) yield new Uint8Array(CHUNK);
}

/** Sends one request over a new connection, and returns the response's length. */
async function exchange(
  port: number, headers: Record<string, string>, body?: Iterable<Uint8Array>,
): Promise<number> {
  const method = body === undefined ? 'GET' : 'POST';
  const outgoing = request({ host: '127.0.0.1', port, method, headers, agent: false });
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  await Promise.all([answered, body === undefined ? outgoing.end() : pipeline(body, outgoing)]);
  const [incoming] = await answered;
  let length = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) length += chunk.length;
  return length;
}

describe('a body of 32 MiB', () => {
  for (const headers of [{ 'Content-Length': String(SIZE) }, { 'Transfer-Encoding': 'chunked' }]) {
    test(`is not kept when it is sent with ${Object.keys(headers)[0]}`, async () => {
      let received = 0;
      let after = 0;
      const app: WSGIApplication = async (environ, startResponse) => {
        for (let piece = bytes('.'); piece.length > 0;) {
          piece = await environ['wsgi.input'].read(CHUNK);
          received += piece.length;
        }
        after = await held();
        startResponse('200 OK', []);
        return [bytes('done')];
      };
      await withServer(app, async ({ port }) => {
        const before = await held();
        assert.equal(await exchange(port, headers, chunks()), 4);
        assert.equal(received, SIZE);
        assert.ok(after - before < MOST_HELD, `${after - before} bytes are held`);
      });
    });
  }

  for (const [title, headers] of [
    ['with a Content-Length', [['Content-Length', String(SIZE)]]],
    ['in chunks', []],
  ] as Array<[string, Array<[string, string]>]>) {
    test(`is not kept when it is fetched ${title}`, async () => {
      let after = 0;
      const app: WSGIApplication = (_environ, startResponse) => {
        startResponse('200 OK', headers);
        return (async function* () {
          let last = new Uint8Array();
          for (const chunk of chunks()) {
            if (last.length > 0) yield last;
            last = new Uint8Array(chunk);
          }
          after = await held();
          yield last;
        })();
      };
      await withServer(app, async ({ port }) => {
        const before = await held();
        assert.equal(await exchange(port, {}), SIZE);
        assert.ok(after - before < MOST_HELD, `${after - before} bytes are held`);
      });
    });
  }
});

// Garbage that survives the frequent, small collections is promoted, and makes each of them
// as slow as the number of requests before it. The optimizing compiler hides that at times.
test('a request that is over is taken by the next small collection of garbage', async () => {
  setFlagsFromString('--no-opt');
  const app: WSGIApplication = (_environ, startResponse) => {
    startResponse('200 OK', []);
    return [bytes('done')];
  };
  const server = await InMemory.ofApplication({ app, listener: () => {} }, 3);
  const heap = (): number => {
    for (let round = 0; round < 2; round += 1) collectGarbage({ type: 'minor' });
    return process.memoryUsage().heapUsed;
  };
  await server.measure();
  collectGarbage();
  // A full collection may come in between; it does not come in every round.
  for (let round = 0; round < 4; round += 1) {
    const before = heap();
    await server.measure();
    const kept = (heap() - before) / server.requests;
    assert.ok(kept < 500, `${kept.toFixed()} bytes are kept of each request`);
  }
});
