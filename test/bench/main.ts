// `npm run bench`: this server beside a bare `node:http` server that sends the same
// bytes. The ratios count; a number that misses its goal is not a failure.

import { availableParallelism, tmpdir } from 'node:os';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { CASES, type Row, type Settings } from './cases.ts';
import { LARGE } from './pairs.ts';
import { SIZES, measureScaling } from './scaling.ts';

const HELP = `npm run bench -- [options]

  --rounds N      measurements of each side in each case (7)
  --seconds N     how long each load lasts (1)
  --only TEXT     the cases whose names contain TEXT; "scaling" for that table
  --idle N        idle connections (10000)
`;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    idle: { type: 'string', default: '10000' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(HELP);
  process.exit();
}

const settings: Settings = {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  idle: Number(values.idle),
};

function line(
  name: string, ours: string, bare: string, ratio: string, spread: string, goal: string,
): string {
  const cells = [name.padEnd(34), ours.padStart(12), bare.padStart(21), ratio.padStart(7)];
  return [...cells, spread.padStart(11), ` ${goal}`].join('  ').trimEnd();
}

function describe(name: string, { ours, bare, comparison, goal, remark }: Row): string {
  let ratio = '';
  let spread = '';
  let verdict = '';
  if (comparison !== undefined) {
    ratio = comparison.ratio.toFixed(2);
    spread = `${comparison.lowest.toFixed(2)}–${comparison.highest.toFixed(2)}`;
  }
  if (comparison !== undefined && goal !== undefined) {
    const isReached =
      goal.is === 'at least' ? comparison.ratio >= goal.ratio : comparison.ratio <= goal.ratio;
    verdict = `${goal.is} ${goal.ratio}: ${isReached ? 'reached' : 'missed'}`;
  }
  const row = line(name, ours, bare, ratio, spread, verdict);
  return remark === undefined ? row : `${row}\n    ${remark}`;
}

const folder = mkdtempSync(join(tmpdir(), 'tsgiref-bench-'));
process.env['TSGIREF_BENCH_FILE'] = join(folder, 'file');
writeFileSync(join(folder, 'file'), Buffer.alloc(LARGE, '0123456789abcdef'));

try {
  const machine = `${availableParallelism()} processors`;
  console.log(`Node ${process.versions.node}, ${settings.rounds} rounds, ${machine}\n`);
  console.log(line('', 'tsgiref', 'bare node:http', 'median', 'spread', 'goal'));
  for (const { name, run } of CASES) {
    if (name.includes(values.only)) console.log(describe(name, await run(settings)));
  }
  if ('scaling'.includes(values.only)) {
    console.log(
      `\n${'nanoseconds for'.padEnd(36)}${SIZES.map((size) => String(size).padStart(9)).join('')}`,
    );
    for (const [name, ...times] of await measureScaling()) {
      console.log(`${name.padEnd(36)}${times.map((time) => time.toFixed(1).padStart(9)).join('')}`);
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
