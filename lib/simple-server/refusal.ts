// Requests that are answered before any application sees them, since servers and
// proxies are known to read them in different ways. Node's parser has refused
// most of the bad ones already; these it lets through.

import type { IncomingMessage } from 'node:http';

import { quote } from '../describe.ts';
import type { Status } from '../types.ts';

/** Why a request is not served, and what the client is told. */
export interface Refusal {
  status: Status;
  reason: string;
}

// absolute-form = absolute-URI                                 (RFC 9112 §3.2.2)
const ABSOLUTE = /^https?:\/\/([^/?]*)/i;

// Host = uri-host [ ":" port ]                                   (RFC 9110 §7.2)
const HOST = /^(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?$/i;

/** Undefined for a request that can be served. */
export function refuse(request: IncomingMessage): Refusal | undefined {
  if (request.httpVersionMajor !== 1) {
    return {
      status: '505 HTTP Version Not Supported',
      reason: `This server speaks HTTP/1.1, not HTTP/${request.httpVersion}.`,
    };
  }
  return refuseTarget(request) ?? refuseHeaders(request);
}

function refuseTarget({ url = '', method }: IncomingMessage): Refusal | undefined {
  // A fragment is never sent; who sends one wants it to be read in two ways.
  if (url.includes('#')) return badRequest(`The target ${quote(url)} contains '#'.`);
  if (url.startsWith('/')) return undefined;
  if (url === '*' && method === 'OPTIONS') return undefined;
  const [, host] = ABSOLUTE.exec(url) ?? [];
  if (host !== undefined && host !== '' && HOST.test(host)) return undefined;
  return badRequest(`The target ${quote(url)} is neither a path nor an http URL.`);
}

function refuseHeaders({ rawHeaders, httpVersionMinor }: IncomingMessage): Refusal | undefined {
  let hosts = 0;
  let types = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const value = rawHeaders[index + 1] ?? '';
    // Most names have another length, which is cheaper to see than the name.
    if (name.length === 4 && name.toLowerCase() === 'host') {
      hosts += 1;
      if (!HOST.test(value)) return badRequest(`The Host ${quote(value)} is no host and port.`);
    } else if (name.length === 12 && name.toLowerCase() === 'content-type') {
      types += 1;
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      if (value.toLowerCase() !== 'chunked') {
        return {
          status: '501 Not Implemented',
          reason: `The transfer coding ${quote(value)} is not known here; 'chunked' is.`,
        };
      }
      if (httpVersionMinor === 0) return badRequest('HTTP/1.0 has no transfer codings.');
    } else if (name.length === 6 && name.toLowerCase() === 'expect') {
      if (value.toLowerCase() !== '100-continue' && httpVersionMinor > 0) {
        return {
          status: '417 Expectation Failed',
          reason: `The expectation ${quote(value)} is not known here; '100-continue' is.`,
        };
      }
    }
  }
  if (hosts > 1) return badRequest('The request names its Host more than once.');
  if (types > 1) return badRequest('The request names its Content-Type more than once.');
  if (hosts === 0 && httpVersionMinor > 0) return badRequest('The request names no Host.');
  return undefined;
}

function badRequest(reason: string): Refusal {
  return { status: '400 Bad Request', reason };
}
