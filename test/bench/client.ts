// The other end of the wire, on bare sockets: it knows of HTTP only where a response
// ends, so that it costs little beside the server it measures.

import { once } from 'node:events';
import { type Socket, connect } from 'node:net';

/** A connection to this machine's `port`. */
export async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  await once(socket, 'connect');
  return socket;
}

/** Where the response ends that these bytes begin with; -1 if more of it must come. */
export function responseLength(bytes: Buffer): number {
  const headEnd = bytes.indexOf('\r\n\r\n') + 4;
  if (headEnd === 3) return -1;
  const head = bytes.toString('latin1', 0, headEnd).toLowerCase();
  const length = /\r\ncontent-length: (\d+)\r\n/.exec(head);
  if (length !== null) {
    const end = headEnd + Number(length[1]);
    return bytes.length >= end ? end : -1;
  }
  const last = bytes.indexOf('\r\n0\r\n\r\n', headEnd - 2);
  return last === -1 ? -1 : last + 7;
}

/** Sends one request and gives the whole response. */
export async function ask(socket: Socket, request: string): Promise<Buffer> {
  let heard = Buffer.alloc(0);
  socket.write(request, 'latin1');
  while (responseLength(heard) === -1) {
    const [data] = (await once(socket, 'data')) as [Buffer];
    heard = Buffer.concat([heard, data]);
  }
  return heard;
}

/** A request for `/` with so many headers; with fifteen, those of a browser. */
export function requestText(headers: 3 | 15): string {
  const few = ['Host: 127.0.0.1:8000', 'User-Agent: bench', 'Accept: */*'];
  const many = [
    'Host: 127.0.0.1:8000',
    'Connection: keep-alive',
    'Cache-Control: max-age=0',
    'sec-ch-ua: "Chromium";v="142", "Not_A Brand";v="99"',
    'sec-ch-ua-mobile: ?0',
    'sec-ch-ua-platform: "Linux"',
    'Upgrade-Insecure-Requests: 1',
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
    'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
    'Sec-Fetch-Site: none',
    'Sec-Fetch-Mode: navigate',
    'Sec-Fetch-User: ?1',
    'Sec-Fetch-Dest: document',
    'Accept-Encoding: gzip, deflate, br, zstd',
    'Accept-Language: en-GB,en;q=0.9',
  ];
  return `GET / HTTP/1.1\r\n${(headers === 3 ? few : many).join('\r\n')}\r\n\r\n`;
}

/** The answer of a server on a connection of its own; `take` is given each piece. */
export async function exchange(
  port: number,
  request: string,
  take: (data: Buffer) => void,
  body: Uint8Array[] = [],
): Promise<void> {
  const socket = await open(port);
  const ended = once(socket, 'end');
  socket.on('data', take);
  socket.write(request, 'latin1');
  for (const piece of body) {
    if (!socket.write(piece)) await once(socket, 'drain');
  }
  await ended;
  socket.destroy();
}
