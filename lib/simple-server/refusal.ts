// Bytes that Node's parser refuses. The server answers them itself, with a whole response
// whose body says why. (The requests that the parser accepts, and this server does not,
// are refused in ../request.ts.)

import { RefusedRequest } from '../request.ts';
import type { ServerLimits } from './server.ts';

/** An error of Node's parser, or of a connection. */
export interface ParserError extends Error {
  code?: string;
  /** The parser's sentence about the bytes, such as `Invalid method encountered`. */
  reason?: string;
}

/** The answer to bytes that are not a request; undefined if the connection itself broke. */
export function refusalOf(error: ParserError, limits: ServerLimits): RefusedRequest | undefined {
  const { code = '', reason } = error;
  if (code === 'HPE_HEADER_OVERFLOW') {
    const { maxHeaderSize = 16384 } = limits;
    return new RefusedRequest(
      '431 Request Header Fields Too Large',
      `The target and the headers together have ${maxHeaderSize} bytes or more. ` +
        'The option maxHeaderSize changes this limit.',
    );
  }
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') {
    return new RefusedRequest(
      '413 Content Too Large',
      'The extensions of a chunk are longer than 16384 bytes.',
    );
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return refuseLate(limits);
  if (!code.startsWith('HPE_')) return undefined;
  return new RefusedRequest('400 Bad Request', `These bytes are not an HTTP request: ${reason}.`);
}

/** Whether the client has ended its side in the middle of a request. */
export function isEnd({ code }: ParserError): boolean {
  return code === 'HPE_INVALID_EOF_STATE';
}

/** The answer to a request that takes too long to arrive. */
export function refuseLate(limits: ServerLimits): RefusedRequest {
  const { headersTimeout = 60_000, requestTimeout = 300_000 } = limits;
  return new RefusedRequest(
    '408 Request Timeout',
    `The head took longer than ${headersTimeout} ms, or the whole request longer than ` +
      `${requestTimeout} ms. The options headersTimeout and requestTimeout change these limits.`,
  );
}

/** The answer to CONNECT, which asks for a tunnel. */
export function refuseTunnel(): RefusedRequest {
  return new RefusedRequest('501 Not Implemented', 'CONNECT is for proxies, and this is not one.');
}
