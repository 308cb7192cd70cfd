// A long load: REQUESTS (a million by default), made by a hundred clients at a time, good
// and bad, with a look at the server at each tenth of the way.
//
//     node dist/test/soak/load.js [REQUESTS]
//
// Exit status 1 if it does not stay flat: at the end the heap may be 2 MiB larger than
// at the second look, no descriptor and no body may be left open, and the event loop's
// delay may have doubled.

import type { Sample } from '../support/load-server.ts';
import { LoadServer, play } from '../support/traffic.ts';

const MIB = 1024 * 1024;
const LOOKS = 10;
const CLIENTS = 100;

function show(
  requests: number, seconds: number, { heap, resident, descriptors, delay }: Sample,
): string {
  const cells = [
    requests.toLocaleString('en'),
    `${Math.round(requests / seconds).toLocaleString('en')}/s`,
    `${(heap / MIB).toFixed(1)} MiB`,
    `${(resident / MIB).toFixed(0)} MiB`,
    String(descriptors),
    `${delay.toFixed(1)} ms`,
  ];
  return cells.map((cell) => cell.padStart(12)).join('');
}

function faults(second: Sample, last: Sample): string[] {
  const found = [...last.troubles];
  if (last.heap > second.heap + 2 * MIB) found.push('the heap has grown');
  if (last.descriptors !== second.descriptors) found.push('descriptors are left open');
  if (last.delay > 2 * second.delay + 10) found.push('the event loop has slowed down');
  return found;
}

async function main(wanted = 1_000_000): Promise<void> {
  const server = await LoadServer.start();
  const samples: Sample[] = [];
  const began = performance.now();
  const head = ['requests', 'rate', 'heap', 'resident', 'descriptors', 'delay'];
  console.log(head.map((cell) => cell.padStart(12)).join(''));
  let made = 0;
  for (let look = 1; look <= LOOKS; look += 1) {
    while (made < (wanted * look) / LOOKS) made += await play(server.port, CLIENTS);
    const sample = await server.settled();
    samples.push(sample);
    console.log(show(made, (performance.now() - began) / 1000, sample));
  }
  await server.stop();
  const [, second] = samples;
  const last = samples.at(-1);
  const found = second === undefined || last === undefined ? [] : faults(second, last);
  console.log(found.length === 0 ? 'flat' : found.join('\n'));
  if (found.length > 0) process.exitCode = 1;
}

await main(...process.argv.slice(2).map(Number));
