// The cases, each of which gives a row of the table.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

import { testClient } from '../../lib/index.ts';
import { COMMAND, ROOT } from '../support/command.ts';
import { ServerChild, program } from './child.ts';
import { ask, exchange, open, requestText } from './client.ts';
import { InMemory } from './in-memory.ts';
import { requestRate } from './load.ts';
import { type Comparison, compare, median } from './measure.ts';
import { LARGE, MIB, PAIRS } from './pairs.ts';

export interface Settings {
  rounds: number;
  /** For how long a load lasts. */
  seconds: number;
  /** How many connections may lie idle. */
  idle: number;
}

export interface Row {
  ours: string;
  bare: string;
  comparison?: Comparison;
  goal?: { is: 'at least' | 'at most'; ratio: number };
  remark?: string;
}

export interface Case {
  name: string;
  run: (settings: Settings) => Promise<Row>;
}

// One transfer is over too soon to be measured.
const TRANSFERS = 8;

const CLOSING = 'Host: 127.0.0.1:8000\r\nConnection: close\r\n';
const perSecond = (rate: number): string => `${Math.round(rate).toLocaleString('en')}/s`;
const mibPerSecond = (rate: number): string => `${Math.round(rate)} MiB/s`;

/** Starts both, checks that they answer the same, and stops them afterwards. */
async function withBoth<T>(
  name: string,
  request: string,
  use: (ours: ServerChild, bare: ServerChild) => Promise<T>,
): Promise<T> {
  const [ours, bare] =
    await Promise.all([ServerChild.start('tsgiref', name), ServerChild.start('bare', name)]);
  try {
    const [one, other] = await Promise.all([ours, bare].map((server) => answerOf(server, request)));
    if (one === undefined || other === undefined || !one.equals(other)) {
      throw new Error(`${name}: the two do not send the same:\n${show(one)}\n${show(other)}`);
    }
    return await use(ours, bare);
  } finally {
    await Promise.all([ours.stop(), bare.stop()]);
  }
}

async function answerOf(server: ServerChild, request: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  await exchange(server.port, request, (data) => pieces.push(data));
  const all = Buffer.concat(pieces);
  const date = all.indexOf('Date: ');
  return Buffer.concat([
    all.subarray(0, date), all.subarray(date + 'Date: Sun, 06 Nov 1994 08:49:37 GMT'.length),
  ]);
}

const show = (answer: Buffer | undefined): string =>
  JSON.stringify(answer?.toString('latin1', 0, 300));

function load(name: string, headers: 3 | 15, ratio: number): Case['run'] {
  return async ({ rounds, seconds }) =>
    withBoth(name, `GET / HTTP/1.1\r\n${CLOSING}\r\n`, async (ours, bare) => {
      const measure = (server: ServerChild, time = seconds) => async (): Promise<number> =>
        requestRate({ port: server.port, connections: 32, seconds: time, headers });
      await compare(1, measure(ours, 1), measure(bare, 1));
      const comparison = await compare(rounds, measure(ours), measure(bare));
      const { ours: one, bare: other } = comparison;
      return {
        ours: perSecond(one), bare: perSecond(other), comparison, goal: { is: 'at least', ratio },
      };
    });
}

function inMemory(headers: 3 | 15): Case['run'] {
  return async ({ rounds }) => {
    const { hello } = PAIRS;
    const ours = await InMemory.ofApplication(hello, headers);
    const bare = InMemory.ofListener(hello, headers);
    const measure = (server: InMemory) => (): Promise<number> => server.measure();
    // The first rounds are slow, and for each side differently: code is compiled meanwhile.
    await compare(30, measure(ours), measure(bare));
    const comparison = await compare(15 * rounds, measure(ours), measure(bare));
    return {
      ours: `${comparison.ours.toFixed(2)} µs`,
      bare: `${comparison.bare.toFixed(2)} µs`,
      comparison,
      goal: { is: 'at most', ratio: 1.35 },
    };
  };
}

function transfer(name: string, ratio: number, body: Uint8Array[] = []): Case['run'] {
  const size = body.reduce((sum, piece) => sum + piece.length, 0);
  const request = (length: number): string =>
    length === 0
      ? `GET / HTTP/1.1\r\n${CLOSING}\r\n`
      : `POST / HTTP/1.1\r\n${CLOSING}Content-Length: ${length}\r\n\r\n`;
  // What is compared byte for byte is the answer to an empty upload.
  const first = size === 0 ? request(0) : `POST / HTTP/1.1\r\n${CLOSING}Content-Length: 0\r\n\r\n`;

  return async ({ rounds }) =>
    withBoth(name, first, async (ours, bare) => {
      const measure = (server: ServerChild) => async (): Promise<number> => {
        const began = performance.now();
        for (let left = TRANSFERS; left > 0; left -= 1) {
          let received = 0;
          await exchange(server.port, request(size), (data) => (received += data.length), body);
          if (size === 0 && received < LARGE) throw new Error(`${name}: ${received} bytes arrived`);
        }
        return ((TRANSFERS * LARGE) / MIB) * (1000 / (performance.now() - began));
      };
      const servers = [ours, bare];
      await compare(1, measure(ours), measure(bare));
      const before = await Promise.all(servers.map((server) => server.memory()));
      const comparison = await compare(rounds, measure(ours), measure(bare));
      const after = await Promise.all(servers.map((server) => server.memory()));
      const [grown, grownBare] =
        after.map(({ peak }, index) => (peak - (before[index]?.peak ?? 0)) / MIB);
      return {
        ours: mibPerSecond(comparison.ours),
        bare: mibPerSecond(comparison.bare),
        comparison,
        goal: { is: 'at least', ratio },
        remark:
          `peak memory grew by ${grown?.toFixed(0)} MiB in ${TRANSFERS * rounds} transfers, bare by ${grownBare?.toFixed(0)}`,
      };
    });
}

async function validator({ rounds, seconds }: Settings): Promise<Row> {
  const servers = [
    await ServerChild.start('tsgiref', 'validated'), await ServerChild.start('tsgiref', 'hello'),
  ];
  const measure = (server: ServerChild | undefined) => async (): Promise<number> =>
    requestRate({ port: server?.port ?? 0, connections: 32, seconds, headers: 3 });
  const comparison = await compare(rounds, measure(servers[0]), measure(servers[1]));
  for (const server of servers) await server.stop();
  return {
    ours: perSecond(comparison.ours),
    bare: `${perSecond(comparison.bare)} unvalidated`,
    comparison,
    goal: { is: 'at least', ratio: 0.5 },
  };
}

function inProcess(validate: boolean): Case['run'] {
  return async ({ rounds, seconds }) => {
    const { fetch } = testClient(PAIRS.hello.app, { validate });
    const rates: number[] = [];
    for (let round = 0; round <= rounds; round += 1) {
      const began = performance.now();
      let count = 0;
      for (; performance.now() - began < seconds * 500; count += 1) await (await fetch('/')).text();
      rates.push((count * 1000) / (performance.now() - began));
    }
    return { ours: perSecond(median(rates.slice(1))), bare: '–' };
  };
}

/** Milliseconds from starting a program to the end of the first answer. */
async function startTime(args: string[]): Promise<number> {
  const began = performance.now();
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const output of [child.stdout, child.stderr]) {
    output.setEncoding('utf8').on('data', (text: string) => (printed += text));
  }
  while (!/http:\S+\//.test(printed)) {
    await Promise.race([once(child.stdout, 'data'), once(child.stderr, 'data')]);
  }
  const socket = await open(Number(/:(\d+)\//.exec(printed)?.[1]));
  await ask(socket, requestText(3));
  const time = performance.now() - began;
  socket.destroy();
  child.kill('SIGKILL');
  await once(child, 'close');
  return time;
}

function start(...options: string[]): Case['run'] {
  return async ({ rounds }) => {
    const hello = program('../apps/hello');
    const comparison = await compare(
      3 * rounds,
      () => startTime([COMMAND, '--port', '0', ...options, hello]),
      () => startTime([program('bare')]),
    );
    return {
      ours: `${comparison.ours.toFixed(0)} ms`,
      bare: `${comparison.bare.toFixed(0)} ms`,
      comparison,
      goal: { is: 'at most', ratio: 1.4 },
    };
  };
}

async function idle({ rounds, seconds, idle: wanted }: Settings): Promise<Row> {
  const count = Math.min(wanted, Math.floor((descriptorLimit() - 200) / 2));
  return withBoth('hello', `GET / HTTP/1.1\r\n${CLOSING}\r\n`, async (ours, bare) => {
    const sockets: Array<{ destroy(): void }> = [];
    const perConnection: number[] = [];
    for (const server of [ours, bare]) {
      await requestRate({ port: server.port, connections: 32, seconds: 1, headers: 3 });
      const before = await server.memory();
      for (let opened = 0; opened < count; opened += 100) {
        const group = await Promise.all(Array.from({ length: 100 }, () => open(server.port)));
        await Promise.all(group.map((socket) => ask(socket, requestText(3))));
        sockets.push(...group);
      }
      perConnection.push(((await server.memory()).resident - before.resident) / count / 1024);
    }
    const measure = (server: ServerChild) => async (): Promise<number> =>
      requestRate({ port: server.port, connections: 32, seconds, headers: 3 });
    const comparison = await compare(rounds, measure(ours), measure(bare));
    for (const socket of sockets) socket.destroy();
    const [one, other] = perConnection.map((size) => size.toFixed(1));
    return {
      ours: perSecond(comparison.ours),
      bare: perSecond(comparison.bare),
      comparison,
      goal: { is: 'at least', ratio: 0.95 },
      remark: `${count} connections of ${one} KiB, bare ${other} KiB`,
    };
  });
}

function descriptorLimit(): number {
  const report =
    process.report?.getReport() as { userLimits?: { open_files?: { soft: number | string } } };
  const limit = Number(report.userLimits?.open_files?.soft);
  return Number.isNaN(limit) ? Infinity : limit;
}

function pieces(line: number): Uint8Array[] {
  const text = Buffer.alloc(64 * 1024 - ((64 * 1024) % line), `${'.'.repeat(line - 1)}\n`);
  return Array.from({ length: Math.ceil(LARGE / text.length) }, () => text);
}

export const CASES: Case[] = [
  { name: 'in memory, 3 request headers', run: inMemory(3) },
  { name: 'in memory, 15 request headers', run: inMemory(15) },
  { name: 'hello, 3 request headers', run: load('hello', 3, 0.88) },
  { name: 'hello, 15 request headers', run: load('hello', 15, 0.85) },
  { name: 'generator, 100 chunks of 1 KiB', run: load('generator', 3, 0.9) },
  { name: 'async generator, 64 MiB by 64 KiB', run: transfer('asyncGenerator', 0.95) },
  { name: 'file, 64 MiB', run: transfer('file', 0.95) },
  { name: 'upload, 64 MiB by 64 KiB', run: transfer('upload', 0.9, pieces(64 * 1024)) },
  { name: 'upload, 64 MiB by lines of 80', run: transfer('lines', 1, pieces(80)) },
  { name: 'hello through the validator', run: validator },
  { name: 'testClient', run: inProcess(false) },
  { name: 'testClient with the validator', run: inProcess(true) },
  { name: 'start', run: start() },
  { name: 'start --plain', run: start('--plain') },
  { name: 'hello beside idle connections', run: idle },
];
