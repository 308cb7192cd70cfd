// The conformance kit, measured: it must find each fault of the gallery, and none in
// servers that are correct in another way.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { checkServer } from '../../lib/index.ts';
import { faults } from '../gallery/faults.ts';
import { variants } from '../gallery/variants.ts';

describe('a faulty server is found out that', () => {
  test('is one of a hundred', () => assert.ok(faults.length >= 100, `${faults.length} faults`));

  for (const { name, finds, Server } of faults) {
    test(`${name}: ${finds}`, async () => {
      const report = await checkServer((app) => new Server(app).start(), {
        only: finds, timeLimit: 1500,
      });
      const result = report.results.find(({ id }) => id === finds);
      assert.equal(result?.outcome, 'failed', JSON.stringify(report.results, null, 2));
    });
  }
});

describe('a correct server passes that', () => {
  test('is one of fifteen', () => assert.ok(Object.keys(variants).length >= 15));

  for (const [name, Server] of Object.entries(variants)) {
    test(name, async () => {
      const { results } = await checkServer((app) => new Server(app).start());
      const failures = results.filter(({ outcome }) => outcome === 'failed');
      assert.deepEqual(failures, []);
    });
  }
});
