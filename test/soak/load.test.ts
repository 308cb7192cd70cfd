// Many clients at once, good and bad: each good one gets its own answer, and the bad
// ones leave nothing open. `npm run soak` does this a million times.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { LoadServer, play } from '../support/traffic.ts';
import { RawClient } from '../support/wire.ts';

describe('under load', () => {
  test('a thousand clients at once are served, and leave nothing behind', async () => {
    const server = await LoadServer.start();
    try {
      await play(server.port, 100);
      const before = await server.settled();
      await play(server.port, 1000);
      const after = await server.settled();
      assert.equal(after.descriptors, before.descriptors);
      assert.deepEqual(after.troubles, []);
      const grown = (after.heap - before.heap) / 1024 / 1024;
      assert.ok(grown < 4, `the heap grew by ${grown.toFixed(1)} MiB`);
    } finally {
      await server.stop();
    }
  });

  test('a shutdown loses no request that the application was called for', async () => {
    const server = await LoadServer.start();
    try {
      let answered = 0;
      let isStopping = false;
      let reachHalfway = (): void => {};
      const halfway = new Promise<void>((resolve) => (reachHalfway = resolve));
      const clients = Array.from({ length: 100 }, async (_, index) => {
        const client = await RawClient.connect(server.port);
        const path = index % 3 === 0 ? '/stream' : '/';
        const atOnce = index % 2 === 0 ? 1 : 3;
        while (true) {
          client.send(`GET ${path} HTTP/1.1\r\nHost: load\r\n\r\n`.repeat(atOnce));
          for (let count = 0; count < atOnce; count += 1) {
            const response = await client.response().catch(() => undefined);
            if (response === undefined) {
              assert.ok(isStopping, 'a connection ended before the shutdown');
              assert.equal(client.pending, '', 'a response was cut off');
              return;
            }
            assert.equal(response.body.length, path === '/' ? 6 : 10_240);
            answered += 1;
            if (answered === 1000) reachHalfway();
          }
        }
      });
      await halfway;
      isStopping = true;
      const { calls, opened, closed, connections } = await server.ask('shutdown');
      await Promise.all(clients);
      assert.equal(connections, 0);
      assert.equal(closed, opened);
      assert.equal(answered, calls, 'each call of the application reached its client');
    } finally {
      await server.stop();
    }
  });
});
