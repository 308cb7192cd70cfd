// What JavaScript costs for a request: the servers read from connections in memory and
// write to them, so that neither the system nor a client takes a share.

import { type Server, createServer } from 'node:http';
import { Duplex } from 'node:stream';

import { WSGIRequestHandler, makeServer } from '../../lib/index.ts';
import { requestText } from './client.ts';
import type { Pair } from './pairs.ts';

const CONNECTIONS = 8;
const REQUESTS = 400;

/** A connection whose client sends one request after the other, each behind an answer. */
class MemoryConnection extends Duplex {
  readonly remoteAddress: string = '127.0.0.1';
  private readonly request: Buffer;
  private left = 0;
  private finish: () => void = () => {};

  constructor(request: Buffer) {
    super();
    this.request = request;
  }

  /** Sends so many requests; resolves when the last has been answered. */
  ask(count: number): Promise<void> {
    this.left = count;
    this.push(this.request);
    return new Promise((resolve) => (this.finish = resolve));
  }

  override _read(): void {}

  override _write(_data: unknown, _encoding: string, done: () => void): void {
    done();
    this.answered();
  }

  override _writev(_data: unknown, done: () => void): void {
    done();
    this.answered();
  }

  private answered(): void {
    this.left -= 1;
    if (this.left === 0) this.finish();
    else setImmediate(() => this.push(this.request));
  }

  // What node:http calls on a socket.
  setTimeout(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  destroySoon(): void {
    this.destroy();
  }
}

class Silent extends WSGIRequestHandler {
  override logMessage(): void {}
}

/** A server with its connections, which is not bound to an address. */
export class InMemory {
  /** How many requests `measure` sends. */
  readonly requests: number = CONNECTIONS * REQUESTS;
  private readonly connections: MemoryConnection[];

  private constructor(server: Server, headers: 3 | 15) {
    const request = Buffer.from(requestText(headers));
    this.connections = Array.from({ length: CONNECTIONS }, () => new MemoryConnection(request));
    for (const connection of this.connections) server.emit('connection', connection);
  }

  static async ofApplication({ app }: Pair, headers: 3 | 15): Promise<InMemory> {
    const server = makeServer('127.0.0.1', 0, app, { handlerClass: Silent, listen: false });
    await server.ready;
    return new InMemory(server, headers);
  }

  static ofListener({ listener }: Pair, headers: 3 | 15): InMemory {
    return new InMemory(createServer(listener), headers);
  }

  /** How long the processor works for a request, in microseconds. */
  async measure(): Promise<number> {
    const before = process.cpuUsage();
    await Promise.all(this.connections.map((connection) => connection.ask(REQUESTS)));
    const { user, system } = process.cpuUsage(before);
    return (user + system) / this.requests;
  }
}
