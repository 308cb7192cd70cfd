// The head of a response: the status and the headers, checked and understood in one pass
// when the application hands them over. The application's own frame is then still on the
// stack of the error. (PEP 3333, "The start_response() Callable")

import { codePoint, describe, fault, quote } from '../describe.ts';
import { type HeaderList, Headers } from '../headers.ts';
import { TOKEN, brokenNameRule, checkHeaderName, checkHeaderValue } from '../latin1.ts';
import type { ResponseHeaders, Status } from '../types.ts';
import { isHopByHop } from '../util.ts';

/** The status and the headers of a response, and the facts that the server needs of them. */
export class ResponseHead {
  /** The status, as it was given: `200 OK`. */
  readonly status: Status;
  /** The status, taken apart. */
  readonly line: StatusLine;
  /** The number of bytes that Content-Length says; undefined without one. */
  contentLength: number | undefined = undefined;
  /** Whether Date is in the headers. */
  hasDate: boolean = false;
  /** Whether Server is in the headers. */
  hasServer: boolean = false;

  /**
   * The headers: names and values in turn, the form that Node takes. A copy, since the
   * application may use its list for every request.
   */
  fields: string[] = [];
  private headers: Headers | undefined = undefined;

  /**
   * Copies and checks status and headers.
   *
   * @param status - Three digits, one space and a reason.
   * @param headers - `[name, value]` pairs of strings.
   * @throws TypeError for a wrong type, RangeError for a value that cannot be sent
   */
  constructor(status: Status, headers: ResponseHeaders) {
    this.status = status;
    this.line = checkStatus(status);
    checkList(headers);
    for (const pair of headers) {
      checkPair(pair);
      const [name, value] = pair;
      const role = checkName(name);
      checkHeaderValue(value);
      if (role !== 'plain') this.note(role, value);
      this.fields.push(name, value);
    }
  }

  /** Whether a response with this status never has a body. (RFC 9110 §6.4.1) */
  get isBodyless(): boolean {
    const { code } = this.line;
    return code === 204 || code === 205 || code === 304;
  }

  /**
   * The headers as an object, which a hook may change. Made by the first call.
   *
   * @param headersClass - The class of the object.
   */
  headersAs(headersClass: typeof Headers): Headers {
    this.headers ??= new headersClass(this.pairs());
    return this.headers;
  }

  /** The headers as `[name, value]` pairs. */
  pairs(): HeaderList {
    const pairs: HeaderList = [];
    const { fields } = this;
    for (let index = 0; index < fields.length; index += 2) {
      pairs.push([fields[index] as string, fields[index + 1] as string]);
    }
    return pairs;
  }

  /**
   * Puts one Content-Length in place of every other.
   *
   * @param length - The number of bytes; undefined removes the header.
   */
  setContentLength(length: number | undefined): void {
    if (this.headers !== undefined) {
      if (length === undefined) this.headers.delete('Content-Length');
      else this.headers.set('Content-Length', String(length));
    } else {
      if (this.contentLength !== undefined) this.removeLength();
      if (length !== undefined) this.fields.push('Content-Length', String(length));
    }
    this.contentLength = length;
  }

  /** Reads the facts again if a hook may have changed the headers. */
  settle(): void {
    if (this.headers === undefined) return;
    const entries = this.headers.entries();
    this.contentLength = undefined;
    this.hasDate = false;
    this.hasServer = false;
    for (const [name, value] of entries) this.note(roleOf(name), value);
    this.fields = entries.flat();
  }

  private note(role: Role, value: string): void {
    if (role === 'date') this.hasDate = true;
    else if (role === 'server') this.hasServer = true;
    else if (role === 'length') {
      if (this.contentLength !== undefined) {
        throw fault(
          RangeError,
          'header-cl-duplicate',
          'Content-Length is in the headers more than once: keep one',
        );
      }
      this.contentLength = checkContentLength(value);
    }
  }

  private removeLength(): void {
    const isLength = (text: string, index: number): boolean =>
      index % 2 === 0 && roleOf(text) === 'length';
    this.fields.splice(this.fields.findIndex(isLength), 2);
  }
}

function checkList(headers: ResponseHeaders): void {
  if (Array.isArray(headers)) return;
  throw fault(
    TypeError,
    'headers-list',
    'startResponse() takes the headers as an array of [name, value] pairs, ' +
      `not ${describe(headers)}`,
  );
}

function checkPair(pair: readonly [string, string]): void {
  if (!Array.isArray(pair) || pair.length !== 2) {
    throw fault(
      TypeError,
      Array.isArray(pair) ? 'header-pair-len' : 'header-pair-tuple',
      `each header is a [name, value] pair, not ${describe(pair)}`,
    );
  }
}

// status-line = HTTP-version SP 3DIGIT SP [ reason-phrase ]      (RFC 9112 §4)
const STATUS = /^[0-9]{3} /;

// Unlike a header's value, a status has no room for a TAB.
const NOT_IN_STATUS = /[\x00-\x1f\x7f]|[^\x00-\xff]/u;

// Applications send the same few statuses and names again and again. The bound is
// against an application that invents new ones.
const MOST_KNOWN = 200;
const lines = new Map<string, StatusLine>();
const roles = new Map<string, Role>();

/** A status that can be sent as a response's first line, taken apart. */
export interface StatusLine {
  /** From 200. */
  readonly code: number;
  /** The code as it was given: three digits. */
  readonly digits: string;
  /** The text behind the space, which may be empty. */
  readonly reason: string;
}

function checkStatus(status: Status): StatusLine {
  const known = lines.get(status);
  if (known !== undefined) return known;
  const wanted = "a string such as '200 OK'";
  if (typeof status !== 'string') {
    throw fault(
      TypeError,
      'status-type',
      `startResponse() takes a status that is ${wanted}, not ${describe(status)}`,
    );
  }
  const forbidden = NOT_IN_STATUS.exec(status);
  if (forbidden !== null) {
    throw fault(
      RangeError,
      forbidden[0] > '\xff' ? 'status-latin1' : 'status-ctl',
      `the status ${quote(status)} contains ${codePoint(forbidden[0])}: ` +
        'control characters and characters above U+00FF are not allowed',
    );
  }
  if (!STATUS.test(status)) {
    throw fault(
      RangeError,
      /^[0-9]{3}/.test(status) ? 'status-space' : 'status-three-digits',
      `the status ${quote(status)} is not three digits, a space and a reason: use ${wanted}`,
    );
  }
  if (status < '200') {
    throw fault(
      RangeError,
      status < '100' ? 'status-min-100' : 'status-1xx',
      `the status ${quote(status)} cannot end a request: 1xx only announce another`,
    );
  }
  const digits = status.slice(0, 3);
  const line = { code: Number(digits), digits, reason: status.slice(4) };
  if (lines.size < MOST_KNOWN) lines.set(status, line);
  return line;
}

/** The meaning of a header for the server. */
type Role = 'plain' | 'length' | 'date' | 'server';

function roleOf(name: string): Role {
  switch (name.toLowerCase()) {
    case 'content-length':
      return 'length';
    case 'date':
      return 'date';
    case 'server':
      return 'server';
    default:
      return 'plain';
  }
}

function checkName(name: string): Role {
  const known = roles.get(name);
  if (known !== undefined) return known;
  if (!TOKEN.test(checkHeaderName(name))) {
    throw fault(
      RangeError,
      brokenNameRule(name),
      `${quote(name)} is not a header name: letters, digits and any of ` +
        "!#$%&'*+-.^_`|~ are allowed",
    );
  }
  if (isHopByHop(name)) {
    throw fault(
      RangeError,
      'header-hop-by-hop',
      `the application may not send ${name}: this header belongs to the connection, ` +
        'and the connection belongs to the server',
    );
  }
  const role = roleOf(name);
  if (roles.size < MOST_KNOWN) roles.set(name, role);
  return role;
}

function checkContentLength(value: string): number {
  if (/^[0-9]+$/.test(value)) return Number(value);
  throw fault(
    RangeError,
    'header-cl-syntax',
    `Content-Length is ${quote(value)}; it is a number of bytes in digits`,
  );
}

/**
 * A time in the form of the Date header: `Sun, 06 Nov 1994 08:49:37 GMT`.
 * (RFC 9110 §5.6.7)
 *
 * @param time - Milliseconds since 1970, as `Date.now()` gives them.
 * @throws RangeError if `time` is not a date, such as NaN.
 */
export function formatDateTime(time: number): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) {
    throw new RangeError(`a time is a number of milliseconds since 1970, not ${describe(time)}`);
  }
  return date.toUTCString();
}
