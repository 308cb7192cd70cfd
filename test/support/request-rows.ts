// One request and what must come of it, and the few ways to write such a row.

/** Which status, on which line of Node: their parsers differ. */
export type PerLine = string | { readonly [line: number]: string; readonly other: string };

export interface Row {
  title: string;
  /** The bytes, as Latin-1. A second request follows them in the same packet. */
  send: string;
  /** Of the first response that is not interim; '' if the connection ends without one. */
  status: PerLine;
  /** Whether the application was called for it. */
  called: boolean;
  /** Whether the second request on the connection is answered. */
  kept: boolean;
  /** The text with which this server refuses; undefined where Node's parser does. */
  reason?: string | RegExp;
  /** What the application read. */
  body?: string;
  environ?: Record<string, unknown>;
  /** Whether 100 Continue comes first. */
  interim?: boolean;
  /** No second request follows: Node takes bytes behind a last request for a fault. */
  alone?: boolean;
  /** The client closes its side behind the request, and sends no second one. */
  halfClosed?: boolean;
}

/** Served, and the connection is kept. */
export function good(
  title: string,
  send: string,
  environ: Record<string, unknown> = {},
  body = '',
): Row {
  return { title, send, status: '200', called: true, kept: true, environ, body };
}

/** Served, and the connection is closed, as the client wants it. */
export function last(title: string, send: string, environ: Record<string, unknown> = {}): Row {
  return { title, send, status: '200', called: true, kept: false, environ, body: '', alone: true };
}

/** Refused by Node's parser, before this server knows of it. */
export function bad(title: string, send: string, status: PerLine = '400'): Row {
  return { title, send, status, called: false, kept: false };
}

/** Refused by this server, which says why. */
export function refused(
  title: string,
  send: string,
  reason: string | RegExp,
  status: PerLine = '400',
): Row {
  return { title, send, status, called: false, kept: false, reason };
}

/** The application has been called when its body turns out to be none. */
export function breaks(title: string, send: string, status: PerLine = '400'): Row {
  return { title, send, status, called: true, kept: false, body: 'not read' };
}

/** A GET of HTTP/1.1 with a Host. */
export function get(target: string, ...headers: string[]): string {
  return [`GET ${target} HTTP/1.1`, 'Host: x', ...headers, '', ''].join('\r\n');
}

/** A POST of HTTP/1.1 with a Host. */
export function post(body: string, ...headers: string[]): string {
  return ['POST / HTTP/1.1', 'Host: x', ...headers, '', body].join('\r\n');
}

/** A POST with this transfer coding. */
export function coded(body: string, coding = 'chunked'): string {
  return post(body, `Transfer-Encoding: ${coding}`);
}
