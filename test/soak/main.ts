// `npm run soak`: long runs of the tests with random values, load and large bodies.
// TSGIREF_ROUNDS is the number of random rounds (5000 by default). The exit status is not
// zero if any part fails.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { ROOT } from '../support/command.ts';

const built = (path: string): string => join(ROOT, 'dist/test', path);
const reporter = ['--test-reporter', built('support/reporter.js')];
const parts: Array<[title: string, args: string[]]> = [
  ['bodies of 1 GiB', [built('soak/memory.js')]],
  ['a million requests', [built('soak/load.js')]],
  ['requests by chance', ['--test', ...reporter, built('fuzz-requests.test.js')]],
  ['applications by chance', ['--test', ...reporter, built('fuzz-applications.test.js')]],
  ['wsgiref by chance', ['--test', ...reporter, built('wsgiref-corpus.test.js')]],
];
const env = { TSGIREF_ROUNDS: '5000', ...process.env };

for (const [title, args] of parts) {
  console.log(`\n== ${title}, Node ${process.versions.node}`);
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit', env });
  if (status !== 0) process.exitCode = 1;
}
