// Good and bad clients of all kinds. Each uses a connection of its own and throws if the
// answer is wrong.

import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import type { Sample } from './load-server.ts';
import { RawClient } from './wire.ts';

/** The work of a client, and the number of its requests. */
export type Part = (client: RawClient) => Promise<number>;

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: load\r\n\r\n`;

async function expectHello(client: RawClient): Promise<void> {
  const { statusLine, body } = await client.response();
  assert.equal(statusLine, 'HTTP/1.1 200 OK');
  assert.equal(body, 'Hello\n');
}

const UPLOAD = '.'.repeat(10_000);

/** The parts, in the order in which they take turns. */
export const PARTS: Record<string, Part> = {
  async 'one request after the other'(client) {
    for (let count = 0; count < 10; count += 1) await expectHello(client.send(get('/')));
    client.socket.destroy();
    return 10;
  },
  async 'ten requests at once'(client) {
    client.send(get('/').repeat(10));
    for (let count = 0; count < 10; count += 1) await expectHello(client);
    client.socket.destroy();
    return 10;
  },
  async 'an upload'(client) {
    client.send(`POST /upload HTTP/1.1\r\nHost: load\r\nContent-Length: ${UPLOAD.length}\r\n\r\n`)
      .send(UPLOAD);
    assert.equal((await client.response()).body, '10000\n');
    client.socket.destroy();
    return 1;
  },
  async 'an upload in chunks'(client) {
    client.send('POST /upload HTTP/1.1\r\nHost: load\r\nTransfer-Encoding: chunked\r\n\r\n');
    for (let count = 0; count < 10; count += 1) client.send(`3e8\r\n${UPLOAD.slice(0, 1000)}\r\n`);
    client.send('0\r\n\r\n');
    assert.equal((await client.response()).body, '10000\n');
    client.socket.destroy();
    return 1;
  },
  async 'a stream'(client) {
    assert.equal((await client.send(get('/stream')).response()).body.length, 10 * 1024);
    client.socket.destroy();
    return 1;
  },
  async 'a client of HTTP/1.0'(client) {
    assert.match(
      await client.send('GET / HTTP/1.0\r\n\r\n').rest(),
      /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nHello\n$/,
    );
    return 1;
  },
  async 'a slow reader'(client) {
    client.socket.pause();
    client.send(get('/large'));
    // Waits until others have been served and the buffers of this connection are full.
    const other = await RawClient.connect(client.socket.remotePort ?? 0);
    await expectHello(other.send(get('/')));
    other.socket.destroy();
    client.socket.resume();
    assert.equal((await client.response()).body.length, 1024 * 1024);
    client.socket.destroy();
    return 2;
  },
  async 'an application that fails'(client) {
    assert.match((await client.send(get('/fail')).response()).statusLine, / 500 /);
    client.socket.destroy();
    return 1;
  },
  async 'no HTTP at all'(client) {
    assert.match(await client.send('\0\x01\x02 garbage\r\n\r\n').rest(), /^HTTP\/1\.1 400 /);
    return 0;
  },
  async 'a client that leaves in its head'(client) {
    client.send('GET / HTTP/1.1\r\nHost: lo').socket.destroy();
    return 0;
  },
  async 'a client that leaves in its body'(client) {
    client.send('POST /upload HTTP/1.1\r\nHost: load\r\nContent-Length: 100\r\n\r\n.');
    client.socket.destroySoon();
    return 1;
  },
  async 'a client that leaves in the answer'(client) {
    client.send(get('/large'));
    await client.until((heard) => heard.length > 1000);
    client.socket.resetAndDestroy();
    return 1;
  },
};

/** Runs this many clients at once, and returns the number of their requests. */
export async function play(port: number, clients: number): Promise<number> {
  const connected =
    await Promise.all(Array.from({ length: clients }, () => RawClient.connect(port)));
  const parts = Object.entries(PARTS);
  const made = await Promise.all(
    connected.map(async (client, index) => {
      const [name, part] = parts[index % parts.length] ?? ['', async () => 0];
      try {
        return await part(client);
      } catch (error) {
        throw new Error(`${name}, client ${index} of ${clients}`, { cause: error });
      }
    }),
  );
  return made.reduce((sum, count) => sum + count, 0);
}

const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** The server of load-server.ts, in its process. */
export class LoadServer {
  private readonly child: ChildProcess;
  readonly port: number;

  private constructor(child: ChildProcess, port: number) {
    this.child = child;
    this.port = port;
  }

  static async start(): Promise<LoadServer> {
    const child = fork(fileURLToPath(new URL(`load-server.${EXTENSION}`, import.meta.url)));
    const [port] = (await once(child, 'message')) as [number];
    return new LoadServer(child, port);
  }

  /** Its own figures when no connection is left. */
  async settled(): Promise<Sample> {
    while (true) {
      const sample = await this.ask('sample');
      if (sample.connections === 0 && sample.opened === sample.closed) return sample;
    }
  }

  ask(message: 'sample' | 'shutdown'): Promise<Sample> {
    this.child.send(message);
    return once(this.child, 'message').then(([sample]: Sample[]) => sample as Sample);
  }

  async stop(): Promise<void> {
    this.child.disconnect();
    await once(this.child, 'exit');
  }
}
