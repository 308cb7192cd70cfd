// The process in which `--check` runs a server: loads the file, runs the checks, and
// reports each of them as it begins and ends.

import { checkServer } from '../check.ts';
import type { StartServer } from '../check.ts';
import { loadFunction } from './loading.ts';
import type { CheckMessage, CheckOrder } from './check.ts';
import { explain } from './problem.ts';

const ALIVE_MS = 500;

function send(message: CheckMessage): Promise<void> {
  return new Promise((resolve) => process.send?.(message, undefined, {}, () => resolve()));
}

async function run({ target, ids, timeLimit, concurrency }: CheckOrder): Promise<void> {
  // The channel to the parent must not keep a process alive that has nothing else to wait for.
  process.channel?.unref();
  const start = (await loadFunction(target, 'start')) as unknown as StartServer;
  process.channel?.ref();
  await send({ kind: 'loaded' });
  setInterval(() => void send({ kind: 'alive' }), ALIVE_MS);
  await checkServer(start, {
    only: ids,
    timeLimit,
    concurrency,
    onStart: ({ id }) => void send({ kind: 'started', id }),
    onResult: (result) => void send({ kind: 'result', result }),
  });
  await send({ kind: 'finished' });
}

// Without its parent, nobody reads the results.
process.once('disconnect', () => process.exit());

process.once('message', (order: CheckOrder) => {
  run(order)
    .catch((error: unknown) => {
      return send({ kind: 'problem', text: explain(error).trimEnd() });
    })
    // The server may have timers of its own.
    .finally(() => process.exit());
});
