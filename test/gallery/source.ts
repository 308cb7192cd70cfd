// The bytes that arrive on a connection, to be taken in lines and in numbers of bytes.

import type { Socket } from 'node:net';

export class Source {
  /** Rejects when the client has left. */
  readonly leaves: Promise<never>;
  /** The error that it rejects with, once it has. */
  left: Error | undefined;
  private received: Buffer = Buffer.alloc(0);
  private wake = (): void => {};

  constructor(socket: Socket) {
    let leave = (_error: Error): void => {};
    this.leaves = new Promise((_resolve, reject) => { leave = reject; });
    this.leaves.catch(() => {});
    const end = (): void => {
      this.left ??= new Error('the client has left');
      leave(this.left);
      this.wake();
    };
    socket.on('data', (data) => {
      this.received = Buffer.concat([this.received, data]);
      this.wake();
    });
    socket.on('end', end).on('close', end);
  }

  /** Everything up to and with `mark`, as Latin-1; undefined if the client leaves before. */
  async until(mark: string): Promise<string | undefined> {
    for (let from = 0; ;) {
      const index = this.received.indexOf(mark, from, 'latin1');
      if (index !== -1) return this.take(index + mark.length).toString('latin1');
      if (this.left !== undefined) return undefined;
      from = Math.max(0, this.received.length - mark.length + 1);
      await this.more();
    }
  }

  /** Whatever has arrived, once something has. */
  async some(): Promise<Buffer> {
    while (this.received.length === 0 && this.left === undefined) await this.more();
    return this.take(this.received.length);
  }

  /** So many bytes, in pieces as they arrive. Throws if the client leaves before. */
  async *bytes(count: number): AsyncGenerator<Uint8Array> {
    for (let rest = count; rest > 0;) {
      while (this.received.length === 0) {
        if (this.left !== undefined) throw this.left;
        await this.more();
      }
      const piece = this.take(rest);
      rest -= piece.length;
      yield piece;
    }
  }

  /** Forgets what has arrived and was not taken. */
  discard(): void {
    this.received = Buffer.alloc(0);
  }

  /** Makes everything that follows unusable: it cannot be told where a request begins. */
  breakOff(): void {
    this.left = new Error('the request is not HTTP');
  }

  private take(count: number): Buffer {
    const taken = this.received.subarray(0, count);
    this.received = this.received.subarray(count);
    return taken;
  }

  private more(): Promise<void> {
    return new Promise((resolve) => { this.wake = resolve; });
  }
}
