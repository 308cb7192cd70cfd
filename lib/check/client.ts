// The client's side of a check: a connection that sends any bytes and records all
// that it receives.

import { type Socket, connect } from 'node:net';
import { connect as connectSecurely } from 'node:tls';

import { quote } from '../describe.ts';
import { Finding, NotApplicable } from './definition.ts';
import type { Patience } from './patience.ts';
import {
  type Response, announcesClose, readChunkSize, readHead,
} from './response.ts';

/** One connection to the server under test. */
export class Client {
  readonly socket: Socket;
  /** The socket that carries `socket`, which may be encrypted; otherwise the same. */
  private readonly carrier: Socket;
  /** Everything that was sent on it, as Latin-1 characters. */
  sent = '';
  /** Everything that was received on it, as Latin-1 characters. */
  received = '';
  /** True once the server has closed the connection, or broken it off. */
  ended = false;

  private isOpen = false;
  private taken = 0;
  private readonly host: string;
  private readonly patience: Patience;

  private constructor(socket: Socket, carrier: Socket, host: string, patience: Patience) {
    this.socket = socket;
    this.carrier = carrier;
    this.host = host;
    this.patience = patience;
    socket.setEncoding('latin1');
    socket.on('data', (data: string) => {
      this.received += data;
      patience.wake();
    });
    const end = (): void => {
      this.ended = true;
      patience.wake();
    };
    socket.on('end', end).on('close', end).on('error', end);
  }

  /** Begins to connect to the server at `url`; `opens()` waits for the connection. */
  static to(url: URL, patience: Patience): Client {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
    const secure = url.protocol === 'https:';
    const carrier = connect({ host, port }).setNoDelay(true);
    // A server under test has a certificate that it has signed itself.
    const encryption = { socket: carrier, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] };
    const socket = secure ? connectSecurely(encryption) : carrier;
    const client = new Client(socket, carrier, url.host, patience);
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      client.isOpen = true;
      patience.wake();
    });
    return client;
  }

  /**
   * Waits until the server has accepted the connection.
   *
   * @throws Finding if it refuses the connection, or does not accept it
   */
  async opens(): Promise<this> {
    await this.patience.until(
      () => this.isOpen || this.ended,
      () => `did not accept a connection ${this.patience.inSeconds}`,
    );
    if (!this.isOpen) throw new Finding(`refused the connection to ${this.host}`);
    return this;
  }

  /** The text that has been received and belongs to no response that was taken. */
  get pending(): string {
    return this.received.slice(this.taken);
  }

  /** Sends bytes, or text as Latin-1 bytes. */
  send(data: string | Uint8Array): this {
    const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
    this.sent += Buffer.from(bytes).toString('latin1');
    if (!this.ended) this.socket.write(bytes);
    return this;
  }

  /** Breaks the connection off, as a browser does whose tab is closed. */
  leave(): void {
    this.socket.destroy();
  }

  /** Breaks the connection off with a reset, as a program does that crashes. */
  reset(): void {
    this.carrier.resetAndDestroy();
    this.socket.destroy();
  }

  /** Waits until all that was received, from its beginning, contains `text`. */
  async receives(text: string, what: string): Promise<void> {
    await this.patience.until(
      () => this.received.includes(text) || this.ended,
      () => `did not send ${what} ${this.patience.inSeconds}`,
    );
    if (!this.received.includes(text)) throw new Finding(`ended the connection before ${what}`);
  }

  /** Waits until the server ends the connection. */
  async ends(complaint: string): Promise<void> {
    await this.patience.until(() => this.ended, () => complaint);
  }

  /**
   * The next response, which may be cut off; undefined if the connection ended without
   * one.
   *
   * @param method - The method of its request.
   * @throws Finding if it is not HTTP, or does not come
   */
  async nextResponse(method = 'GET'): Promise<Response | undefined> {
    const head = await this.nextHead(method);
    if (head === undefined) return undefined;
    const { response, bodyLength } = head;
    if (response.framing === 'length') {
      response.body = await this.take(bodyLength);
      response.whole = response.body.length === bodyLength;
    } else if (response.framing === 'chunked') {
      await this.takeChunks(response);
    } else if (response.framing === 'close') {
      await this.ends('ended its response with neither a Content-Length, nor chunked coding, ' +
        `nor the end of the connection, ${this.patience.inSeconds}`);
      response.body = await this.take(Infinity);
    }
    return response;
  }

  /** The next response, which must be complete. */
  async response(method = 'GET'): Promise<Response> {
    const response = await this.nextResponse(method);
    if (response === undefined) throw new Finding('closed the connection without a response');
    if (!response.whole) {
      throw new Finding(`ended the connection within the body of its ${response.code} response`);
    }
    return response;
  }

  /**
   * Ends the check as not applicable unless the server keeps the connection open after
   * this response.
   */
  async staysOpen(response: Response): Promise<void> {
    if (announcesClose(response)) {
      throw new NotApplicable('the server closes the connection after each response');
    }
    await this.patience.quiet();
    if (this.ended) throw new NotApplicable('the server closed the connection');
  }

  private async nextHead(method: string): Promise<ReturnType<typeof readHead>> {
    for (;;) {
      let head = readHead(this.pending, method);
      await this.patience.until(
        () => (head = readHead(this.pending, method)) !== undefined || this.ended,
        () => this.complainAboutHead(),
      );
      if (head === undefined) {
        if (this.pending === '') return undefined;
        throw new Finding(`ended the connection after ${quote(this.pending)}`);
      }
      this.taken += head.length;
      if (head.response.code >= 200) return head;
    }
  }

  private complainAboutHead(): string {
    const { pending } = this;
    const time = this.patience.inSeconds;
    return pending === '' ? `did not answer ${time}` : `sent only ${quote(pending)} ${time}`;
  }

  private async takeChunks(response: Response): Promise<void> {
    for (;;) {
      const line = await this.takeLine();
      if (line === undefined) break;
      const size = readChunkSize(line);
      if (size === 0) break;
      const chunk = await this.take(size + 2);
      response.body += chunk.slice(0, size);
      if (chunk.length < size + 2) {
        response.whole = false;
        return;
      }
      if (!chunk.endsWith('\r\n')) {
        throw new Finding(`sent ${quote(chunk.slice(size))} where the end of a chunk belongs`);
      }
    }
    // The trailer section ends with an empty line.
    let trailer = await this.takeLine();
    while (trailer !== undefined && trailer !== '') trailer = await this.takeLine();
    response.whole = trailer === '';
  }

  // Undefined if the connection ended before.
  private async takeLine(): Promise<string | undefined> {
    await this.patience.until(
      () => this.received.includes('\r\n', this.taken) || this.ended,
      () => `did not send its next chunk ${this.patience.inSeconds}`,
    );
    const end = this.received.indexOf('\r\n', this.taken);
    if (end === -1) return undefined;
    const line = this.received.slice(this.taken, end);
    this.taken = end + 2;
    return line;
  }

  // Fewer characters if the connection ended before.
  private async take(count: number): Promise<string> {
    await this.patience.until(
      () => this.received.length - this.taken >= count || this.ended,
      () => `did not send the rest of its response ${this.patience.inSeconds}: it sent ${
        this.received.length - this.taken} of ${count} bytes`,
    );
    const taken = this.received.slice(this.taken, this.taken + count);
    this.taken += taken.length;
    return taken;
  }
}
