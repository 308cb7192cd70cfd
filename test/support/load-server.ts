// The server under load. A process of its own separates its memory, its descriptors and
// its delays from those of the clients. The parent asks for figures by messages.

import { readdirSync } from 'node:fs';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import {
  type ResponseBody, type WSGIApplication, WSGIRequestHandler, StringIO, makeServer,
} from '../../lib/index.ts';

/** Figures of the server. */
export interface Sample {
  /** Calls of the application. */
  calls: number;
  /** Bodies handed to the server, and how many of them it has closed. */
  opened: number;
  closed: number;
  connections: number;
  /** Bytes, after a collection of garbage. */
  heap: number;
  resident: number;
  /** Open descriptors; 0 if the system does not report them. */
  descriptors: number;
  /** The 99th percentile of the event loop's delay since the last sample, in milliseconds. */
  delay: number;
  /** Unexpected traces and unhandled rejections. */
  troubles: string[];
}

const CHUNK = new Uint8Array(64 * 1024).fill(46);
const sample: Sample = {
  calls: 0,
  opened: 0,
  closed: 0,
  connections: 0,
  heap: 0,
  resident: 0,
  descriptors: 0,
  delay: 0,
  troubles: [],
};

function counted(chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): ResponseBody {
  sample.opened += 1;
  return Object.assign(chunks, {
    close() {
      sample.closed += 1;
    },
  });
}

async function* later(): AsyncGenerator<Uint8Array> {
  for (let count = 0; count < 10; count += 1) {
    await turn();
    yield CHUNK.subarray(0, 1024);
  }
}

function* large(): Generator<Uint8Array> {
  for (let count = 0; count < 16; count += 1) yield CHUNK;
}

const app: WSGIApplication = async (environ, startResponse) => {
  sample.calls += 1;
  const path = environ.PATH_INFO;
  if (path === '/fail') throw new Error('meant to fail');
  let received = 0;
  if (path === '/upload') {
    for (let size = 1; size > 0; received += size) {
      size = (await environ['wsgi.input'].read(4096)).length;
    }
  }
  startResponse('200 OK', [['Content-Type', 'text/plain']]);
  if (path === '/stream') return counted(later());
  if (path === '/large') return counted(large());
  return counted([Buffer.from(path === '/upload' ? `${received}\n` : 'Hello\n')]);
};

class Quiet extends WSGIRequestHandler {
  override logMessage(): void {}

  override getStderr(): StringIO {
    const errors = new StringIO();
    errors.write = (text) => {
      if (/^\w*Error/.test(text) && !text.startsWith('Error: meant to fail')) {
        sample.troubles.push(text);
      }
    };
    return errors;
  }
}

async function listen(): Promise<void> {
  // A slow machine needs longer than the usual five seconds to connect all clients.
  const limits = { requestQueueSize: 2048, keepAliveTimeout: 60_000 };
  const server = makeServer('127.0.0.1', 0, app, { handlerClass: Quiet, ...limits });
  await server.ready;
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const delays: IntervalHistogram = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  process.on('unhandledRejection', (reason) => sample.troubles.push(String(reason)));

  async function takeSample(): Promise<Sample> {
    sample.delay = delays.percentile(99) / 1e6;
    collectGarbage();
    await turn();
    collectGarbage();
    const { heapUsed, rss } = process.memoryUsage();
    sample.heap = heapUsed;
    sample.resident = rss;
    sample.connections =
      await new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
    sample.descriptors = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
    delays.reset();
    return sample;
  }

  process.on('message', async (message) => {
    if (message === 'shutdown') await server.shutdown();
    process.send?.(await takeSample());
  });
  process.once('disconnect', () => process.exit());
  process.send?.(server.serverPort);
}

await listen();
