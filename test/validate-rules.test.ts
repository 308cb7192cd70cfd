// Every rule of the validator: an exchange that breaks it and nothing else, and one
// that comes near and does not.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { rules } from '../lib/validate.ts';
import { type Row, play } from './support/validate-exchange.ts';
import { BODY_ROWS } from './support/validate-rows-body.ts';
import { ENVIRON_ROWS } from './support/validate-rows-environ.ts';
import { LAYER_ROWS } from './support/validate-rows-layers.ts';
import { RESPONSE_ROWS } from './support/validate-rows-response.ts';
import { STREAM_ROWS } from './support/validate-rows-streams.ts';

const ROWS: Row[] = [
  ...ENVIRON_ROWS,
  ...STREAM_ROWS,
  ...RESPONSE_ROWS,
  ...BODY_ROWS,
  ...LAYER_ROWS,
];

describe('validator', () => {
  it('has nothing to say about a valid exchange', async () => {
    assert.deepEqual(await play({}), []);
    assert.deepEqual(await play({ options: { strict: true } }), []);
  });

  for (const { id, says, breaks, nearMiss } of ROWS) {
    const rule = rules.find((each) => each.id === id);

    it(`reports ${id}: ${rule?.text}`, async () => {
      const reports = await play(breaks);
      assert.deepEqual(
        reports.map((report) => report.code),
        [id],
        reports.join('\n\n'),
      );
      const [report] = reports;
      assert.match(report?.message ?? '', says);
      assert.ok(report?.message.includes(rule?.text ?? '-'), 'the message gives the rule');
      assert.equal(report?.reference, rule?.reference);
      assert.ok([3, 4].includes(report?.message.split('\n').length ?? 0), report?.message);
    });

    it(`lets pass what is near ${id}`, async () => {
      assert.deepEqual((await play(nearMiss)).map(String), []);
    });
  }

  it('has a row here for every rule', () => {
    const tested = new Set(ROWS.map((row) => row.id));
    // It takes a process that ends: see validate-process.test.ts.
    tested.add('app-settles');
    assert.deepEqual(
      rules.map((rule) => rule.id).filter((id) => !tested.has(id)),
      [],
    );
    assert.equal(new Set(rules.map((rule) => rule.id)).size, rules.length);
  });
});
