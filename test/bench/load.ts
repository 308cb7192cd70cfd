// The load, in a process of its own: `load.js PORT CONNECTIONS SECONDS HEADERS` keeps
// so many connections busy, one request at a time on each, and sends its parent the
// requests answered per second.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { ask, open, requestText } from './client.ts';

export interface Load {
  port: number;
  connections: number;
  seconds: number;
  headers: 3 | 15;
}

/** Requests per second that the server on `port` answers under this load. */
export async function requestRate({ port, connections, seconds, headers }: Load): Promise<number> {
  const child =
    fork(fileURLToPath(import.meta.url), [port, connections, seconds, headers].map(String));
  const [rate] = (await once(child, 'message')) as [number];
  child.disconnect();
  await once(child, 'exit');
  return rate;
}

// All responses of a case are of one length, so that after the first one bytes are
// counted and nothing is parsed.
async function generate({ port, connections, seconds, headers }: Load): Promise<number> {
  const request = Buffer.from(requestText(headers), 'latin1');
  const sockets = await Promise.all(Array.from({ length: connections }, () => open(port)));
  const [first] =
    await Promise.all(sockets.map((socket) => ask(socket, request.toString('latin1'))));
  const length = first?.length ?? 0;
  let answered = 0;
  for (const socket of sockets) {
    let received = 0;
    socket.on('data', (data) => {
      received += data.length;
      if (received < length) return;
      received -= length;
      answered += 1;
      socket.write(request);
    });
    socket.write(request);
  }
  const began = performance.now();
  while (performance.now() - began < seconds * 1000) await awake();
  const rate = (answered * 1000) / (performance.now() - began);
  for (const socket of sockets) socket.destroy();
  return rate;
}

// A load that sleeps must be woken by the server's write(). On a virtual machine that costs
// the server more than the request, and the slower server has to do it more often.
function awake(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port = 0, connections = 0, seconds = 0, headers = 0] = process.argv.slice(2).map(Number);
  const rate = await generate({ port, connections, seconds, headers: headers === 3 ? 3 : 15 });
  process.send?.(rate);
}
