// A client in a thread of its own. While the server's thread is blocked, it sees
// what has already left the process.

import { connect } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import { workerData } from 'node:worker_threads';

/** The task of the thread. */
export interface WatchOrder {
  url: string;
  request: string;
  /** The text to wait for in the response. */
  text: string;
  /** Set to 1 when it has arrived. */
  flag: Int32Array;
}

const { url, request, text, flag } = workerData as WatchOrder;
const { hostname, port, protocol } = new URL(url);
const host = hostname.replace(/^\[|\]$/g, '');
const socket = protocol === 'https:'
  ? connectSecurely({ host, port: Number(port || 443), rejectUnauthorized: false })
  : connect({ host, port: Number(port || 80) });

let received = '';
socket.setEncoding('latin1').on('error', () => {});
socket.on('data', (data: string) => {
  received += data;
  if (!received.includes(text)) return;
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
});
socket.write(request, 'latin1');
