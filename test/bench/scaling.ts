// Whether cost stays linear: the time for one of ten, of a hundred, of ten thousand.

import {
  SimpleHandler, StreamInput, StringIO, BytesIO, setupTestingDefaults,
} from '../../lib/index.ts';
import { makeEnviron } from '../../lib/request.ts';
import { median } from './measure.ts';

export const SIZES: readonly number[] = [10, 100, 1000, 10_000];

const BASE = {
  SERVER_NAME: '127.0.0.1',
  SERVER_PORT: '8000',
  GATEWAY_INTERFACE: 'CGI/1.1',
  SCRIPT_NAME: '',
  REMOTE_HOST: '',
  CONTENT_LENGTH: '',
};

function environ(headers: number): void {
  const rawHeaders = Array.from({ length: headers }, (_, index) => [`X-${index}`, 'value']).flat();
  const head = {
    url: '/', method: 'GET', httpVersion: '1.1', rawHeaders: ['Host', 'x', ...rawHeaders],
  };
  makeEnviron(head, BASE, { remoteAddress: '127.0.0.1', secure: false }, 'bench');
}

async function chunks(count: number): Promise<void> {
  const chunk = new Uint8Array(10);
  const vars = {};
  setupTestingDefaults(vars);
  const sink = { write() {} };
  await new SimpleHandler(new BytesIO(), sink, new StringIO(), vars).run(
    function* (_, startResponse) {
      startResponse('200 OK', []);
      for (let sent = 0; sent < count; sent += 1) yield chunk;
    },
  );
}

const TEXT = 10_000_000;

/** Ten million bytes in lines of this length. */
async function lines(length: number): Promise<void> {
  const whole = Buffer.alloc(TEXT, `${'.'.repeat(length - 1)}\n`);
  async function* source(): AsyncGenerator<Uint8Array> {
    for (let start = 0; start < TEXT; start += 65_536) yield whole.subarray(start, start + 65_536);
  }
  for await (const line of new StreamInput(source())) if (line.length === 0) return;
}

async function nanoseconds(run: () => unknown, items: number): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 7; round += 1) {
    const began = performance.now();
    let done = 0;
    for (; performance.now() - began < 20; done += 1) await run();
    times.push(((performance.now() - began) * 1e6) / done / items);
  }
  return median(times);
}

/** Rows of a name and the nanoseconds for one item at each of `SIZES`. */
export async function measureScaling(): Promise<Array<[name: string, ...times: number[]]>> {
  const rows: Array<[string, ...number[]]> = [
    ['a header, of so many in a request'],
    ['a chunk, of so many in a body'],
    ['a byte, in lines of so many'],
  ];
  for (const size of SIZES) {
    rows[0]?.push(await nanoseconds(() => environ(size), size));
    rows[1]?.push(await nanoseconds(() => chunks(size), size));
    rows[2]?.push(await nanoseconds(() => lines(size), TEXT));
  }
  return rows;
}
