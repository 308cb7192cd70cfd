// A server for tests in bytes, and a client that sends and receives bytes.

import { once } from 'node:events';
import { type Socket, connect } from 'node:net';

import {
  type MakeServerOptions,
  type WSGIApplication,
  WSGIRequestHandler,
  type WSGIServer,
  StringIO,
  makeServer,
} from '../../lib/index.ts';

export interface Wire {
  server: WSGIServer;
  port: number;
  /** The text that was written to `wsgi.errors`. */
  errors: StringIO;
  /** The access log: a message for each request. */
  log: string[];
}

/** Serves `app` while `use` runs, and then closes everything. */
export async function withServer(
  app: WSGIApplication,
  use: (wire: Wire) => Promise<void>,
  options: MakeServerOptions = {},
): Promise<void> {
  const errors = new StringIO();
  const log: string[] = [];
  class Recording extends WSGIRequestHandler {
    override getStderr(): StringIO {
      return errors;
    }
    override logMessage(message: string): void {
      log.push(message);
    }
  }
  const server = makeServer('127.0.0.1', 0, app, { handlerClass: Recording, ...options });
  await server.ready;
  try {
    await use({ server, port: server.serverPort, errors, log });
  } finally {
    await server.serverClose();
  }
}

export interface RawResponse {
  statusLine: string;
  headers: Array<[name: string, value: string]>;
  /** The body as it was sent, chunk sizes included. */
  raw: string;
  /** The body, decoded. */
  body: string;
}

/** A connection. Received bytes are Latin-1 text. */
export class RawClient {
  readonly socket: Socket;
  private heard = '';
  private received = '';
  private ended = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (data: string) => {
      this.heard += data;
      this.received += data;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.ended = true;
    });
    socket.on('end', () => {
      this.ended = true;
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** A client over a connection that is open, such as one with TLS. */
  static over(socket: Socket): RawClient {
    return new RawClient(socket);
  }

  send(text: string | Uint8Array): this {
    if (typeof text === 'string') this.socket.write(text, 'latin1');
    else this.socket.write(text);
    return this;
  }

  /** Bytes that were received and not yet read. */
  get pending(): string {
    return this.heard;
  }

  /** All bytes that were ever received. */
  get everything(): string {
    return this.received;
  }

  /** Waits until the received text passes `test`; throws if the connection ends first. */
  async until(test: (heard: string) => boolean): Promise<void> {
    while (!test(this.heard)) {
      if (this.ended) throw new Error(`the connection ended after: ${JSON.stringify(this.heard)}`);
      await this.anything();
    }
  }

  /** Everything up to the end of the connection. */
  async rest(): Promise<string> {
    while (!this.ended) await this.anything();
    const all = this.heard;
    this.heard = '';
    return all;
  }

  /** The next response, framed strictly by RFC 9112. `method` is that of its request. */
  async response(method = 'GET'): Promise<RawResponse> {
    await this.until((heard) => heard.includes('\r\n\r\n'));
    const head = this.heard.slice(0, this.heard.indexOf('\r\n\r\n'));
    this.heard = this.heard.slice(head.length + 4);
    const [statusLine = '', ...lines] = head.split('\r\n');
    const headers = lines.map((line): [string, string] => {
      const colon = line.indexOf(': ');
      return [line.slice(0, colon), line.slice(colon + 2)];
    });
    const find = (wanted: string): string | undefined =>
      headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
    const code = statusLine.slice(9, 12);

    if (method === 'HEAD' || code === '204' || code === '304') {
      return { statusLine, headers, raw: '', body: '' };
    }
    if (find('transfer-encoding') === 'chunked') {
      return { statusLine, headers, ...(await this.chunked()) };
    }
    const length = find('content-length');
    const raw = length === undefined ? await this.rest() : await this.take(Number(length));
    return { statusLine, headers, raw, body: raw };
  }

  private async chunked(): Promise<{ raw: string; body: string }> {
    let raw = '';
    let body = '';
    while (true) {
      await this.until((heard) => heard.includes('\r\n'));
      const line = await this.take(this.heard.indexOf('\r\n') + 2);
      const size = Number.parseInt(line, 16);
      if (!/^[0-9a-f]+\r\n$/i.test(line)) throw new Error(`no chunk size: ${JSON.stringify(line)}`);
      const chunk = await this.take(size + 2);
      raw += line + chunk;
      body += chunk.slice(0, -2);
      if (size === 0) return { raw, body };
    }
  }

  private async take(count: number): Promise<string> {
    await this.until((heard) => heard.length >= count);
    const taken = this.heard.slice(0, count);
    this.heard = this.heard.slice(count);
    return taken;
  }

  private async anything(): Promise<void> {
    const settled = new AbortController();
    const { signal } = settled;
    await Promise.race([
      once(this.socket, 'data', { signal }),
      once(this.socket, 'end', { signal }),
      once(this.socket, 'close', { signal }),
    ]).catch(() => {
      // A reset ends the connection, too.
      this.ended = true;
    });
    settled.abort();
  }
}

/** Sends bytes on a connection of their own and returns everything up to its end. */
export async function exchange(port: number, request: string | Uint8Array): Promise<string> {
  const client = await RawClient.connect(port);
  return client.send(request).rest();
}

/** The number of connections after the server has had time to notice their ends. */
export async function connectionsLeft(server: WSGIServer): Promise<number> {
  for (let left = 1000; ; left -= 1) {
    const count = await new Promise<number>(
      (resolve) => server.getConnections((_error, open) => resolve(open)),
    );
    if (count === 0 || left === 0) return count;
    await new Promise(setImmediate);
  }
}

/** A response without the lines that differ from run to run. */
export function withoutDate(response: string): string {
  return response
    .replace(/^Date: .*\r\n/gm, '')
    .replace(/^Server: .*\r\n/gm, '')
    .replace(/^Keep-Alive: .*\r\n/gm, '');
}
