// The conformance kit, measured: it must find each fault of the gallery, and none in
// servers that are correct in another way.

import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { after, describe, test } from 'node:test';

import { type CheckResult, checks } from '../../lib/index.ts';
import type { Order } from '../gallery/child.ts';
import { faults } from '../gallery/faults.ts';
import { variants } from '../gallery/variants.ts';

// Most of the time is spent waiting for servers that do not answer.
const AT_ONCE = 6;
// Such a server is given up soon: a correct one answers in a few milliseconds.
const SHORT_MS = 500;
// Of so many faulty servers, one is also checked as a whole.
const SAMPLE = 40;

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const idle: ChildProcess[] = [];
const all: ChildProcess[] = [];

/** The checks that fail on one server of the gallery. */
async function failures(order: Order): Promise<CheckResult[]> {
  const child = idle.pop() ?? fork(new URL(`../gallery/child.${extension}`, import.meta.url));
  if (!all.includes(child)) all.push(child);
  child.send(order);
  const [failed] = await once(child, 'message');
  idle.push(child);
  return failed;
}

after(() => {
  for (const child of all) child.kill();
});

describe('a faulty server is found out that', { concurrency: AT_ONCE }, () => {
  for (const [index, { name, finds }] of faults.entries()) {
    const order: Order = { gallery: 'faults', name, timeLimit: SHORT_MS };
    test(`${name}: ${finds}`, async () => {
      const failed = await failures({ ...order, only: finds });
      assert.deepEqual(failed.map(({ id }) => id), [finds]);
    });
    if (index % SAMPLE !== 0) continue;
    test(`${name}: ${finds}, among all checks`, async () => {
      const failed = await failures(order);
      assert.ok(failed.some(({ id }) => id === finds), failed.map(({ id }) => id).join(', '));
    });
  }
});

describe('a correct server passes that', { concurrency: 2 }, () => {
  for (const name of Object.keys(variants)) {
    test(name, async () => {
      const failed = await failures({ gallery: 'variants', name });
      assert.deepEqual(failed, []);
    });
  }
});

test('the gallery is large enough', () => {
  assert.ok(faults.length >= 100, `${faults.length} faults`);
  assert.ok(Object.keys(variants).length >= 15, `${Object.keys(variants).length} variants`);
  const names = faults.map(({ name }) => name);
  assert.deepEqual(names, [...new Set(names)], 'each fault has a name of its own');
  const ids = new Set(checks.map(({ id }) => id));
  for (const { finds } of faults) assert.ok(ids.has(finds), finds);
});
