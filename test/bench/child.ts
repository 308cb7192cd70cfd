// A server in a process of its own, as its measurer sees it.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import type { Memory } from './server.ts';

const FOLDER = new URL('.', import.meta.url);
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** The path of a program beside this one. */
export function program(name: string): string {
  return fileURLToPath(new URL(`${name}.${EXTENSION}`, FOLDER));
}

export class ServerChild {
  private readonly child: ChildProcess;
  readonly port: number;

  private constructor(child: ChildProcess, port: number) {
    this.child = child;
    this.port = port;
  }

  /** Starts a server of this kind for the named pair, and waits until it listens. */
  static async start(kind: 'tsgiref' | 'bare', name: string): Promise<ServerChild> {
    const child = fork(program('server'), [kind, name]);
    const [port] = (await once(child, 'message')) as [number];
    return new ServerChild(child, port);
  }

  async memory(): Promise<Memory> {
    this.child.send('memory');
    const [memory] = (await once(this.child, 'message')) as [Memory];
    return memory;
  }

  async stop(): Promise<void> {
    this.child.disconnect();
    await once(this.child, 'exit');
  }
}
