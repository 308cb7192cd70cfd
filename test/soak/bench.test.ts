// Runs the benchmark for a moment, to see that it measures and prints, not its figures.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { ROOT, run } from '../support/command.ts';

async function bench(...args: string[]): Promise<string> {
  const main = join(ROOT, 'dist/test/bench/main.js');
  const { stdout, stderr, status } =
    await run([main, '--rounds', '2', '--seconds', '0.2', ...args], { cwd: ROOT });
  assert.equal(stderr, '');
  assert.equal(status, 0);
  return stdout;
}

describe('npm run bench', () => {
  test('says what it is run on, and compares in turns', async () => {
    const printed = await bench('--only', 'hello, 3 request headers');
    assert.match(printed, /^Node \d+\.\d+\.\d+, 2 rounds, \d+ processors\n/);
    assert.match(
      printed,
      /\nhello, 3 request headers +[\d,]+\/s +[\d,]+\/s +\d+\.\d\d +\d+\.\d\d–\d+\.\d\d +at least 0.88: (reached|missed)\n$/,
    );
  });

  test('measures JavaScript alone, over connections in memory', async () => {
    const printed = await bench('--only', 'in memory, 3');
    assert.match(
      printed,
      /\nin memory, 3 request headers +\d+\.\d\d µs +\d+\.\d\d µs .* at most 1\.35: (reached|missed)\n$/,
    );
  });

  test('moves 64 MiB, and says what memory that took', async () => {
    const printed = await bench('--only', 'by lines');
    assert.match(
      printed,
      /\nupload, 64 MiB by lines of 80 +\d+ MiB\/s +\d+ MiB\/s .*\n    peak memory grew by -?\d+ MiB/,
    );
  });

  test('lists its options', async () => {
    assert.match(await bench('--help'), /^npm run bench -- \[options\]\n\n  --rounds N /);
  });
});
