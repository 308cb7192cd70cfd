// One server in a process of its own: `server.js tsgiref hello` or `server.js bare hello`.
// It sends its port to its parent, and its memory when asked; it ends with its parent.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { WSGIRequestHandler, makeServer } from '../../lib/index.ts';
import { PAIRS } from './pairs.ts';

/** The memory that a server uses, in bytes. */
export interface Memory {
  resident: number;
  /** The most that was resident so far. */
  peak: number;
}

// Connections that lie idle in a case must not be closed for it, and both say so.
const IDLE = 600_000;

// As the command is with --quiet: the bare server has no access log.
class Quiet extends WSGIRequestHandler {
  override logRequest(): void {}
}

async function listen(kind: string, name: string): Promise<number> {
  const pair = PAIRS[name];
  if (pair === undefined) throw new Error(`no case is named ${name}`);
  if (kind === 'tsgiref') {
    const server =
      makeServer('127.0.0.1', 0, pair.app, { handlerClass: Quiet, keepAliveTimeout: IDLE });
    await server.ready;
    return server.serverPort;
  }
  const server = createServer({ keepAliveTimeout: IDLE }, pair.listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 511, resolve));
  return (server.address() as AddressInfo).port;
}

const [, , kind = '', name = ''] = process.argv;
const port = await listen(kind, name);
process.on('message', () => {
  const memory: Memory = {
    resident: process.memoryUsage().rss,
    peak: process.resourceUsage().maxRSS * 1024,
  };
  process.send?.(memory);
});
process.once('disconnect', () => process.exit());
process.send?.(port);
