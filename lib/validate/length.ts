// The bytes of the body, against the status and the Content-Length they were
// announced with. What write() sends counts with what the body yields.

import type { Exchange } from './exchange.ts';
import { CONTENT_LENGTH, type Rule, application, server } from './rule.ts';
import { checkUnchanged } from './started.ts';

const onHead = application.warning('body-on-head', 'RFC 9110 §9.3.2',
  'The answer to HEAD has no content; the server throws it away.',
  'Do not make it: return [] if REQUEST_METHOD is HEAD, with the headers of a GET.');

const FORBIDDING: ReadonlyMap<number, Rule> = new Map([
  [204, application.error('body-on-204', 'RFC 9110 §15.3.5',
    'A 204 response has no content.', 'Return [], or answer with 200.')],
  [205, application.error('body-on-205', 'RFC 9110 §15.3.6',
    'A 205 response has no content.', 'Return [], or answer with 200.')],
  [304, application.error('body-on-304', 'RFC 9110 §15.4.5',
    'A 304 response has no content: the client has it already.',
    'Return [], or answer with 200.')],
]);

const on1xx = application.error('body-on-1xx', 'RFC 9110 §15.2',
  'A 1xx response has no content.', 'Answer with a final status.');

const tooLong = application.error('body-too-long', CONTENT_LENGTH,
  'A body has no more bytes than its Content-Length says.',
  'Count bytes, not characters, or leave Content-Length to the server.');

const writtenTooLong = application.error('write-past-length', CONTENT_LENGTH,
  'No more bytes are written than Content-Length says.',
  'Count bytes, not characters, or leave Content-Length to the server.');

const tooShort = application.error('body-too-short', CONTENT_LENGTH,
  'A body has as many bytes as its Content-Length says.',
  'Count bytes, not characters, or leave Content-Length to the server.');

const contentType = application.warning('content-type-required', 'RFC 9110 §8.3',
  'A response with content says what it is, in Content-Type.',
  'Add it, such as [\'Content-Type\', \'text/plain; charset=utf-8\'].');

const pastLength = server.warning('server-past-length', CONTENT_LENGTH,
  'A server stops iterating when as much was sent as Content-Length says.',
  'Stop there: call return() of the iterator and close() of the body.');

// That no byte past the length is sent, and that a body which falls short closes
// the connection, is for a server's tests.

/** Counts a chunk, and reports the one that is too much. */
export function countBytes(exchange: Exchange, length: number, isWrite: boolean): void {
  if (length === 0) return;
  if (!exchange.headLooked) checkFirst(exchange, isWrite);
  exchange.bytes += length;
  const { bytes, length: announced, isHead, code } = exchange;
  if (announced === undefined || isHead || bytes <= announced || isBodyless(code)) return;
  const deed = `sent ${bytes} bytes with a Content-Length of ${announced}`;
  if (isWrite) exchange.misuse(writtenTooLong, deed);
  else exchange.fault(tooLong, deed);
}

// The first byte takes the head with it.
function checkFirst(exchange: Exchange, isWrite: boolean): void {
  exchange.headLooked = true;
  const { code, isHead } = exchange;
  checkUnchanged(exchange);
  const forbidden = code >= 100 && code < 200 ? on1xx : FORBIDDING.get(code);
  if (forbidden !== undefined) {
    const deed = `sent content with the status ${code}`;
    if (isWrite) exchange.misuse(forbidden, deed);
    else exchange.fault(forbidden, deed);
  } else if (isHead) exchange.fault(onHead, 'sent content in answer to HEAD');
  else if (!exchange.hasContentType) {
    exchange.fault(contentType, 'sent content without a Content-Type');
  }
}

/** Checks the sum, when the body has ended by itself. */
export function checkSum(exchange: Exchange): void {
  if (!exchange.headLooked) checkUnchanged(exchange);
  const { bytes, length, isHead, code } = exchange;
  if (length === undefined || bytes >= length || isHead || isBodyless(code)) return;
  exchange.fault(tooShort, `ended its body after ${bytes} bytes of a Content-Length of ${length}`);
}

// A 304 may announce the length that a 200 would have had.
function isBodyless(code: number): boolean {
  return code === 304 || code === 204 || code === 205;
}

/**
 * Looks at a server that asks for another chunk. To ask once after the last byte is
 * how a loop learns of the end; to ask again is to ignore the length.
 */
export function checkAsking(exchange: Exchange): void {
  const { bytes, length, isHead, code } = exchange;
  if (length === undefined || bytes < length || isHead || isBodyless(code)) return;
  exchange.askedPastLength += 1;
  if (exchange.askedPastLength === 2 && !exchange.exhausted) {
    exchange.misuse(pastLength, `went on to ask for chunks after the ${length} bytes announced`);
  }
}
