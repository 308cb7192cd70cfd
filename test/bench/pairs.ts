// The pairs that are compared: an application, and a bare listener that sends the same bytes in
// the way a reader of Node's own documentation would write it.

import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';

import { type WSGIApplication, validator } from '../../lib/index.ts';

export interface Pair {
  app: WSGIApplication;
  listener: (request: IncomingMessage, response: ServerResponse) => unknown;
}

export const MIB: number = 1024 * 1024;
export const LARGE: number = 64 * MIB;
const CHUNK = new Uint8Array(64 * 1024).fill(46);
const KIB = new Uint8Array(1024).fill(46);
const HELLO = new TextEncoder().encode('Hello world!\n');
const SERVER = `WSGIServer/0.1 Node.js/${process.versions.node}`;

let second = 0;
let date = '';

// Node itself makes one Date a second.
function head(...headers: string[]): string[] {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) date = new Date().toUTCString();
  second = now;
  return ['Date', date, 'Server', SERVER, 'Content-Type', 'text/plain', ...headers];
}

const hello: Pair = {
  app: (_environ, startResponse) => {
    startResponse('200 OK', [['Content-Type', 'text/plain']]);
    return [HELLO];
  },
  listener: (_request, response) => {
    response.writeHead(200, 'OK', head('Content-Length', String(HELLO.length)));
    response.end(HELLO);
  },
};

const validated: Pair = { app: validator(hello.app), listener: hello.listener };

// A generator may work long before it yields again, so each chunk of ours is handed to
// the system before the next is asked for. Node holds writes back to the end of the turn.
const generator: Pair = {
  app: function* (_environ, startResponse) {
    startResponse('200 OK', [['Content-Type', 'text/plain']]);
    for (let count = 0; count < 100; count += 1) yield KIB;
  },
  listener: (_request, response) => {
    response.writeHead(200, 'OK', head());
    for (let count = 0; count < 100; count += 1) {
      response.socket?.cork();
      response.write(KIB);
      response.socket?.uncork();
    }
    response.end();
  },
};

const asyncGenerator: Pair = {
  app: async function* (_environ, startResponse) {
    startResponse('200 OK', [['Content-Type', 'text/plain']]);
    for (let sent = 0; sent < LARGE; sent += CHUNK.length) yield CHUNK;
  },
  listener: async (_request, response) => {
    response.writeHead(200, 'OK', head());
    for (let sent = 0; sent < LARGE; sent += CHUNK.length) {
      if (!response.write(CHUNK)) await once(response, 'drain');
    }
    response.end();
  },
};

/** Where the main program has put a file of `LARGE` bytes. */
const filePath = (): string => process.env['TSGIREF_BENCH_FILE'] ?? '';

const file: Pair = {
  app: async (environ, startResponse) => {
    const handle = await open(filePath());
    startResponse('200 OK', [
      ['Content-Type', 'text/plain'],
      ['Content-Length', String(LARGE)],
    ]);
    return environ['wsgi.file_wrapper']?.(handle) ?? [];
  },
  listener: async (_request, response) => {
    response.writeHead(200, 'OK', head('Content-Length', String(LARGE)));
    await pipeline(createReadStream(filePath()), response);
  },
};

const answer = (count: number): Uint8Array => new TextEncoder().encode(`${count}\n`);

function answerBare(response: ServerResponse, count: number): void {
  const body = answer(count);
  response.writeHead(200, 'OK', head('Content-Length', String(body.length)));
  response.end(body);
}

const upload: Pair = {
  app: async (environ, startResponse) => {
    let received = 0;
    for (let size = 1; size > 0; received += size) {
      size = (await environ['wsgi.input'].read(64 * 1024)).length;
    }
    startResponse('200 OK', [['Content-Type', 'text/plain']]);
    return [answer(received)];
  },
  listener: async (request, response) => {
    let received = 0;
    for await (const chunk of request) received += (chunk as Buffer).length;
    answerBare(response, received);
  },
};

const lines: Pair = {
  app: async (environ, startResponse) => {
    let count = 0;
    for await (const line of environ['wsgi.input']) if (line.length > 0) count += 1;
    startResponse('200 OK', [['Content-Type', 'text/plain']]);
    return [answer(count)];
  },
  listener: async (request, response) => {
    let count = 0;
    for await (const line of createInterface({ input: request })) if (line !== '') count += 1;
    answerBare(response, count);
  },
};

export const PAIRS: Record<string, Pair> & { hello: Pair } = {
  hello,
  validated,
  generator,
  asyncGenerator,
  file,
  upload,
  lines,
};
