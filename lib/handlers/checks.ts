// What a server, `startResponse` and `write` refuse. The server cannot send these, or must
// not; whoever calls them learns it while the application's own frame is still
// on the stack. (PEP 3333, "The start_response() Callable")

import { codePoint, describe, quote } from '../describe.ts';
import type { ResponseHeaders } from '../types.ts';
import { isHopByHop } from '../util.ts';

// status-line = HTTP-version SP 3DIGIT SP [ reason-phrase ]      (RFC 9112 §4)
const STATUS = /^[0-9]{3} /;

// Unlike a header's value, a status has no room for a TAB.
const NOT_IN_STATUS = /[\x00-\x1f\x7f]|[^\x00-\xff]/u;

// token = 1*tchar                                              (RFC 9110 §5.6.2)
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Throws a TypeError unless `application` can be called. */
export function checkApplication(application: unknown): void {
  if (typeof application === 'function') return;
  throw new TypeError(
    `an application is a function (environ, startResponse), not ${describe(application)}`,
  );
}

/** Throws unless `status` can stand in a response's first line. */
export function checkStatus(status: string): void {
  const wanted = "a string such as '200 OK'";
  if (typeof status !== 'string') {
    throw new TypeError(
      `startResponse() takes a status that is ${wanted}, not ${describe(status)}`,
    );
  }
  const forbidden = NOT_IN_STATUS.exec(status);
  if (forbidden !== null) {
    throw new RangeError(
      `the status ${quote(status)} contains ${codePoint(forbidden[0])}: ` +
        'control characters and characters above U+00FF are not allowed',
    );
  }
  if (!STATUS.test(status)) {
    throw new RangeError(
      `the status ${quote(status)} is not three digits, a space and a reason: use ${wanted}`,
    );
  }
  if (status < '200') {
    throw new RangeError(
      `the status ${quote(status)} cannot end a request: 1xx only announce another`,
    );
  }
}

/** Throws unless `headers` is an array of pairs that an application may send. */
export function checkHeaders(headers: ResponseHeaders): void {
  if (!Array.isArray(headers)) {
    throw new TypeError(
      'startResponse() takes the headers as an array of [name, value] pairs, ' +
        `not ${describe(headers)}`,
    );
  }
  let lengths = 0;
  for (const pair of headers) {
    if (!Array.isArray(pair) || pair.length !== 2) {
      throw new TypeError(`each header is a [name, value] pair, not ${describe(pair)}`);
    }
    const [name, value] = pair;
    // The types and the forbidden characters are checked by Headers, for all.
    if (typeof name !== 'string' || typeof value !== 'string') continue;
    checkName(name);
    if (name.length === 14 && name.toLowerCase() === 'content-length') {
      lengths += 1;
      checkContentLength(value);
    }
  }
  if (lengths > 1) {
    throw new RangeError('Content-Length stands in the headers more than once: keep one');
  }
}

/** Throws a TypeError, with a hint, unless `chunk` is bytes. */
export function checkChunk(chunk: unknown): asserts chunk is Uint8Array {
  if (chunk instanceof Uint8Array) return;
  let hint = '';
  if (typeof chunk === 'string') hint = ': use new TextEncoder().encode(text)';
  if (chunk instanceof Promise) hint = ': await it, or use an async generator';
  if (typeof chunk === 'number') hint = ': was the Uint8Array itself returned, and not [bytes]?';
  throw new TypeError(`a chunk of the body is a Uint8Array, not ${describe(chunk)}${hint}`);
}

function checkName(name: string): void {
  if (!TOKEN.test(name)) {
    throw new RangeError(
      `${quote(name)} is no header name: letters, digits and any of !#$%&'*+-.^_\`|~ are allowed`,
    );
  }
  if (isHopByHop(name)) {
    throw new RangeError(
      `the application may not send ${name}: it speaks of the connection, which is the server's`,
    );
  }
}

function checkContentLength(value: string): void {
  if (!/^[0-9]+$/.test(value)) {
    throw new RangeError(`Content-Length is ${quote(value)}; it is a number of bytes in digits`);
  }
}
