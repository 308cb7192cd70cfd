// Large bodies in little memory: sends and fetches SIZE MiB (1024 by default) and
// reports by how much the server's resident memory grew at its highest.
//
//     node test/soak/memory.ts [SIZE [LIMIT]]
//
// Exit status 1 if any transfer took LIMIT MiB (100 by default) or more. The server
// is a process of its own, so that the client's memory does not count.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';

import { type WSGIApplication, WSGIRequestHandler, makeServer } from '../../lib/index.ts';

const MIB = 1024 * 1024;
const CHUNK = 64 * 1024;

class Quiet extends WSGIRequestHandler {
  override logMessage(): void {}
}

/** `/peak`, `/upload`, and downloads of each kind, `/KIND?BYTES`. */
const app: WSGIApplication = async (environ, startResponse) => {
  const size = Number(environ.QUERY_STRING);
  const path = environ.PATH_INFO;
  if (path === '/peak') {
    startResponse('200 OK', []);
    return [Buffer.from(String(process.resourceUsage().maxRSS * 1024))];
  }
  if (path === '/upload') {
    let received = 0;
    let piece = await environ['wsgi.input'].read(CHUNK);
    while (piece.length > 0) {
      received += piece.length;
      piece = await environ['wsgi.input'].read(CHUNK);
    }
    startResponse('200 OK', []);
    return [Buffer.from(String(received))];
  }
  startResponse('200 OK', path === '/chunked' ? [] : [['Content-Length', String(size)]]);
  if (path === '/file') return environ['wsgi.file_wrapper']?.(await sparseFile(size)) ?? [];
  return path === '/async' ? later(size) : chunks(size);
};

function* chunks(size: number): Generator<Uint8Array> {
  for (let sent = 0; sent < size; sent += CHUNK) yield new Uint8Array(Math.min(CHUNK, size - sent));
}

async function* later(size: number): AsyncGenerator<Uint8Array> {
  yield* chunks(size);
}

async function sparseFile(size: number): Promise<FileHandle> {
  const folder = await mkdtemp(join(tmpdir(), 'tsgiref-soak-'));
  const file = await open(join(folder, 'file'), 'w+');
  await file.truncate(size);
  // An open file outlives its name, but not on every system.
  await rm(folder, { recursive: true }).catch(() => {});
  return file;
}

async function serve(): Promise<void> {
  const server = makeServer('127.0.0.1', 0, app, { handlerClass: Quiet });
  await server.ready;
  process.send?.(server.serverPort);
  process.once('disconnect', () => void server.serverClose());
}

/** Sends `body` if there is one, and returns the response's length and its beginning. */
async function transfer(
  port: number,
  path: string,
  headers: Record<string, string> = {},
  body?: Iterable<Uint8Array>,
): Promise<{ length: number; beginning: string }> {
  const method = body === undefined ? 'GET' : 'POST';
  const outgoing = request({ host: '127.0.0.1', port, path, method, headers, agent: false });
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  await Promise.all([answered, body === undefined ? outgoing.end() : pipeline(body, outgoing)]);
  const [incoming] = await answered;
  let length = 0;
  let beginning = '';
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    if (length === 0) beginning = chunk.subarray(0, 20).toString('latin1');
    length += chunk.length;
  }
  return { length, beginning };
}

async function peak(port: number): Promise<number> {
  return Number((await transfer(port, '/peak')).beginning);
}

/** Transfers this many bytes; resolves with the number that has arrived. */
type Transfer = (port: number, size: number) => Promise<number>;

const download =
  (path: string): Transfer =>
  async (port, size) =>
    (await transfer(port, `${path}?${size}`)).length;
const upload =
  (headers: (size: number) => Record<string, string>): Transfer =>
  async (port, size) =>
    Number((await transfer(port, '/upload', headers(size), chunks(size))).beginning);

const TRANSFERS: Array<[title: string, run: Transfer]> = [
  ['upload, Content-Length', upload((size) => ({ 'Content-Length': String(size) }))],
  ['upload, chunked', upload(() => ({ 'Transfer-Encoding': 'chunked' }))],
  ['download, generator', download('/generator')],
  ['download, async generator', download('/async')],
  ['download, generator, chunked', download('/chunked')],
  ['download, file', download('/file')],
];

/** How much a new server's memory grows by one transfer of `size` bytes, in MiB. */
async function growth(run: Transfer, size: number): Promise<number> {
  const env = { ...process.env, TSGIREF_SOAK: 'serve' };
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), { env });
  try {
    const [port] = (await once(child, 'message')) as [number];
    // The first requests load code, which is not part of a long body's cost.
    await run(port, MIB);
    const before = await peak(port);
    const moved = await run(port, size);
    if (moved !== size) throw new Error(`${moved} of ${size} bytes arrived`);
    return ((await peak(port)) - before) / MIB;
  } finally {
    child.disconnect();
    await once(child, 'exit');
  }
}

async function main(size = 1024, limit = 100): Promise<void> {
  for (const [title, run] of TRANSFERS) {
    const began = performance.now();
    const grown = await growth(run, size * MIB);
    const seconds = (performance.now() - began) / 1000;
    console.log(`${title}: ${size} MiB, grew by ${grown.toFixed(1)} MiB, ${seconds.toFixed(1)} s`);
    if (grown >= limit) process.exitCode = 1;
  }
}

if (process.env['TSGIREF_SOAK'] === 'serve') await serve();
else await main(...process.argv.slice(2).map(Number));
