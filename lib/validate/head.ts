// The head of a response, as the application gives it to startResponse: the status, the
// list of headers, and what HTTP says about single headers and about the two together.

import { codePoint, count, describe, isThenable, quote } from '../describe.ts';
import { TOKEN } from '../latin1.ts';
import { quoteValue } from '../secrets.ts';
import type { ResponseHeaders } from '../types.ts';
import { type Exchange, hasMethod, isArray, kindOf } from './mechanism.ts';
import {
  APPLICATION_SIDE,
  OTHER_FEATURES,
  START_RESPONSE,
  STRING_TYPES,
  UNICODE,
  rule,
  table,
} from './rule.ts';

// ---- The status

const statusType = rule('application', 'status-type', 'error', STRING_TYPES,
  'The status is a string.', 'Write it like \'200 OK\'.',
  (status) => {
    if (typeof status === 'number') return `Add the reason, in one string: '${status} …'.`;
    return isThenable(status) ? 'Await the promise.' : undefined;
  });

// status-line = HTTP-version SP status-code SP [ reason-phrase ]  (RFC 9112 §4)
// status-code = 3DIGIT
const STATUS = table<string>('application', [
  // A line break here would let the author of the text write headers.
  ['status-ctl', 'error', START_RESPONSE,
    'A status contains no control character, and no line break ends it.',
    'Keep to printable characters; the server ends the line.',
    (status) => CONTROL.test(status)],

  ['status-lead-ws', 'error', START_RESPONSE,
    'A status begins with its three digits.', 'Trim it.',
    (status) => status.startsWith(' ')],

  ['status-ascii-digits', 'error', 'RFC 9112 §4',
    'The digits of a status are 0 to 9, not those of another script.', 'Write them in ASCII.',
    (status) => /^\p{Nd}{3}/u.test(status) && !/^[0-9]{3}/.test(status)],

  ['status-latin1', 'error', UNICODE,
    'The characters of a status are bytes: U+0000 to U+00FF.', 'Write the reason in English.',
    (status) => /[^\x00-\xff]/u.test(status)],

  ['status-three-digits', 'error', START_RESPONSE,
    'A status begins with three digits.', 'Write it like \'200 OK\'.',
    (status) => !/^ *\p{Nd}{3}/u.test(status)],

  ['status-min-100', 'error', 'RFC 9110 §15',
    'A status code is at least 100.', 'Choose one of RFC 9110 §15, such as 200 or 404.',
    (status) => /^0[0-9]{2}/.test(status)],

  // It announces a final response, and only the server can send both.
  ['status-1xx', 'error', 'RFC 9110 §15.2',
    'An application answers with a final status, which a 1xx is not.',
    'Answer with 200 or above; the server sends 100 Continue.',
    (status) => /^1[0-9]{2}/.test(status)],

  ['status-max-599', 'warning', 'RFC 9110 §15',
    'A status code is at most 599.', 'Choose one of RFC 9110 §15, such as 500.',
    (status) => /^[6-9][0-9]{2}/.test(status)],

  ['status-space', 'error', START_RESPONSE,
    'One space separates the three digits and the reason.', 'Write it like \'200 OK\'.',
    (status) => /^[0-9]{3}(?! )/.test(status)],

  ['status-reason', 'warning', START_RESPONSE,
    'The status has a reason.', 'Write it like \'200 OK\'.',
    (status) => /^[0-9]{3} *$/.test(status) && status.length > 3],

  ['status-trail-ws', 'warning', START_RESPONSE,
    'There is one space before the reason, and none after it.', 'Trim it.',
    (status) => /^[0-9]{3} {2,}\S/.test(status) || /\S +$/.test(status.slice(3))],
]);

const CONTROL = /[\x00-\x1f\x7f]/;

// Nearly every status looks like this, and breaks no rule.
const PLAIN_STATUS = /^[2-5][0-9]{2} [\x21-\x7e]+(?: [\x21-\x7e]+)*$/;

/** Checks the status; returns its code, or 0 if it has none. */
export function checkStatus(exchange: Exchange, status: unknown): number {
  if (typeof status !== 'string') {
    exchange.reportCall(statusType, `passed ${describe(status)} as status`, status);
    return 0;
  }
  if (!PLAIN_STATUS.test(status)) {
    for (const { rule: broken, isBroken } of STATUS) {
      if (!isBroken(status)) continue;
      const control = CONTROL.exec(status);
      const where = control === null ? '' : `, which contains ${codePoint(control[0])}`;
      exchange.reportCall(broken, `passed the status ${quote(status)}${where}`);
    }
  }
  return /^[0-9]{3}/.test(status) ? Number(status.slice(0, 3)) : 0;
}

// ---- The list of headers

const headersList = rule('application', 'headers-list', 'error', START_RESPONSE,
  'The headers are an array of [name, value] pairs.',
  'Write them like [[\'Content-Type\', \'text/plain\']].',
  (headers) => {
    if (isThenable(headers)) return 'Await the promise.';
    if (hasMethod(headers, 'entries') || hasMethod(headers, 'next')) {
      return 'Make an array of it: [...headers].';
    }
    if (headers === undefined || headers === null) return 'Pass an empty array for no headers: [].';
    return typeof headers === 'object' ? 'Make pairs of it: Object.entries(headers).' : undefined;
  });

const headersNotFrozen = rule('application', 'headers-not-frozen', 'warning', START_RESPONSE,
  'The server may change the list that it is given, to add headers or to remove some.',
  'Make a new array for each response, or copy a constant: [...headers].');

const pairTuple = rule('application', 'header-pair-tuple', 'error', APPLICATION_SIDE,
  'Each header is an array of its name and its value.',
  'Write it like [\'Content-Type\', \'text/plain\'].',
  (pair) => {
    if (typeof pair !== 'string') return undefined;
    const [name, value] = pair.split(/:\s*/, 2);
    if (value !== undefined) return `Write it as ${show(name, value)}.`;
    return 'Put each header into an array of its own: [[\'Content-Type\', \'text/plain\']].';
  });

const pairLength = rule('application', 'header-pair-len', 'error', APPLICATION_SIDE,
  'Each header has two items: a name and a value.',
  'Write it like [\'Content-Type\', \'text/plain\'].',
  (found) => {
    const [name, ...values] = found as unknown[];
    if (values.length < 2) return undefined;
    const pairs = values.map((value) => show(name, value)).join(', ');
    return `Repeat the name for a second value: ${pairs}.`;
  });

const nameString = rule('application', 'header-name-string', 'error', STRING_TYPES,
  'A header\'s name is a string.', 'Write it like \'Content-Type\'.');

const valueString = rule('application', 'header-value-string', 'error', STRING_TYPES,
  'A header\'s value is a string.', 'Use String(value).',
  (found) => {
    const [name, value] = found as [name: unknown, value: unknown];
    if (Array.isArray(value)) {
      return `Repeat the header: ${value.map((each) => show(name, each)).slice(0, 3).join(', ')}.`;
    }
    if (value === undefined || value === null) return 'Leave the header out when it has no value.';
    if (kindOf(value) === 'Date') return 'Use date.toUTCString().';
    if (kindOf(value) === 'URL') return 'Use url.href.';
    if (isThenable(value)) return 'Await the promise.';
    if (typeof value !== 'object') return undefined;
    return 'Make text of it, such as by JSON.stringify(value).';
  });

const show = (name: unknown, value: unknown): string => `['${String(name)}', '${String(value)}']`;

/**
 * Checks the list of headers. Returns those that are pairs of strings, as copies: they
 * stay what they were at the call.
 */
export function checkHeaders(exchange: Exchange, headers: unknown): Array<[string, string]> {
  const good: Array<[string, string]> = [];
  try {
    if (!isArray(headers)) {
      exchange.reportCall(headersList, `passed ${describe(headers)} as headers`, headers);
      return good;
    }
    if (Object.isFrozen(headers)) {
      exchange.reportCall(headersNotFrozen, 'passed a frozen array as headers');
    }
    for (const pair of headers) {
      const [name, value] = checkPair(exchange, pair);
      if (typeof name !== 'string' || typeof value !== 'string') continue;
      checkName(exchange, name);
      checkValue(exchange, name, value);
      good.push([name, value]);
    }
  } catch (error) {
    exchange.rethrow(error, headersList, 'passed headers that cannot be read');
  }
  return good;
}

function checkPair(exchange: Exchange, pair: unknown): readonly unknown[] {
  if (!Array.isArray(pair)) {
    exchange.reportCall(pairTuple, `passed ${describe(pair)} as a header`, pair);
    return [];
  }
  if (pair.length !== 2) {
    const action = `passed a header of ${count(pair.length, 'item')}, ${describe(pair[0])} first`;
    exchange.reportCall(pairLength, action, pair);
    return [];
  }
  const [name, value]: unknown[] = pair;
  if (typeof name !== 'string') {
    exchange.reportCall(nameString, `passed ${describe(name)} as a header's name`);
  } else if (typeof value !== 'string') {
    const action = `passed ${describe(value)} as the value of ${describe(name)}`;
    exchange.reportCall(valueString, action, [name, value]);
  }
  return pair;
}

// ---- Names

// Headers that concern the connection, not the response. (RFC 9110 §7.6.1)
const HOP_BY_HOP = new Set([
  'connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection',
  'te', 'trailer', 'trailers', 'transfer-encoding', 'upgrade',
]);

const NAMES = table<string>('application', [
  ['header-name-nonempty', 'error', START_RESPONSE,
    'A header has a name.', 'Leave the header out, or name it.',
    (name) => name === ''],

  ['header-name-colon-nl', 'error', START_RESPONSE,
    'A header\'s name contains no colon and no line break.',
    'Leave the colon to the server: [\'Content-Type\', …].',
    (name) => /[:\r\n]/.test(name)],

  ['header-name-token', 'error', 'RFC 9110 §5.6.2',
    'A header\'s name is a token: letters, digits and !#$%&\'*+-.^_`|~.',
    'Write it like \'Content-Type\', with dashes and without spaces.',
    (name) => name !== '' && !/[:\r\n]/.test(name) && !TOKEN.test(name)],

  ['header-no-status', 'error', APPLICATION_SIDE,
    'The status is not a header: Status is how a CGI program passes it on.',
    'Give it to startResponse as the first argument.',
    (name) => name.toLowerCase() === 'status'],

  ['header-name-trail-punct', 'warning', START_RESPONSE,
    'A header\'s name does not end in punctuation.', 'Remove the trailing - or _.',
    (name) => /[-_]$/.test(name)],

  ['header-hop-by-hop', 'error', OTHER_FEATURES,
    'A header that concerns only the connection belongs to the server: Connection and its like.',
    'Leave it out: the server decides how the body is framed and when it closes.',
    (name) => HOP_BY_HOP.has(name.toLowerCase())],
]);

// Applications send the same few names again and again.
const MOST_NAMES = 1000;
const goodNames = new Set<string>();

function checkName(exchange: Exchange, name: string): void {
  if (goodNames.has(name)) return;
  const broken = NAMES.filter(({ isBroken }) => isBroken(name));
  if (broken.length === 0 && goodNames.size < MOST_NAMES) goodNames.add(name);
  for (const each of broken) {
    exchange.reportCall(each.rule, `passed the header name ${quote(name)}`);
  }
}

// ---- Values

// field-value = *( VCHAR / obs-text / SP / HTAB ), no blank at either end
//                                                                (RFC 9110 §5.5)
const VALUES = table<string>('application', [
  ['header-value-crlf-nul', 'error', START_RESPONSE,
    'A header\'s value contains no CR, LF or NUL: it would begin another header.',
    'Write long values on one line, and encode what comes from outside.',
    (value) => /[\x00\r\n]/.test(value)],

  ['header-value-c0', 'error', START_RESPONSE,
    'A header\'s value contains no control character.', 'Remove or encode it.',
    (value) => /[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(value)],

  ['header-value-latin1', 'error', UNICODE,
    'The characters of a header are bytes: U+0000 to U+00FF.',
    'Encode it as the header prescribes, such as filename*=UTF-8\'\'… or encodeURI(url).',
    (value) => /[^\x00-\xff]/u.test(value)],

  ['header-value-ows', 'warning', 'RFC 9110 §5.5',
    'A header\'s value does not begin or end with a space or tab.', 'Trim it.',
    (value) => /^[ \t]|[ \t]$/.test(value)],
]);

// Nearly all values consist of these characters, which break no rule.
const PLAIN_VALUE = /^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/;

function checkValue(exchange: Exchange, name: string, value: string): void {
  if (PLAIN_VALUE.test(value)) return;
  const odd = /[\x00-\x1f\x7f]|[^\x00-\xff]/u.exec(value);
  const where = odd === null ? '' : `, which contains ${codePoint(odd[0])}`;
  const shown = quoteValue(name, value);
  const action = `passed the header ${quote(name)} with the value ${shown}${where}`;
  for (const { rule: broken, isBroken } of VALUES) {
    if (isBroken(value)) exchange.reportCall(broken, action);
  }
  // PEP 3333 forbids a TAB with the rest; RFC 9110 and every server allow it.
  const control = VALUES.find((each) => each.rule.id === 'header-value-c0');
  if (control !== undefined && value.includes('\t')) {
    exchange.reportCall(control.rule, action, undefined, 'warning');
  }
}

// ---- Single headers

// entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE                    (RFC 9110 §8.8.3)
// etagc      = %x21 / %x23-7E / obs-text
const ENTITY_TAG = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/;

// The characters of a URI-reference, and % only before two hex digits.
//                                                                  (RFC 3986 §4.1)
const URI_REFERENCE = /^(?:[A-Za-z0-9._~:/?#[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*$/;

// IMF-fixdate = day-name "," SP date1 SP time-of-day SP GMT      (RFC 9110 §5.6.7)
const DAY = 'Mon|Tue|Wed|Thu|Fri|Sat|Sun';
const MONTH = 'Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec';
const FIXDATE = new RegExp(`^(?:${DAY}), \\d\\d (?:${MONTH}) \\d{4} \\d\\d:\\d\\d:\\d\\d GMT$`);

const DATES = table<string>('application', [
  ['date-format', 'off', 'RFC 9110 §5.6.7',
    'Dates are written like Sun, 06 Nov 1994 08:49:37 GMT.', 'Use date.toUTCString().',
    (value) => !FIXDATE.test(value)],
]);

const BY_NAME = new Map([
  ['content-length', table<string>('application', [
    ['header-cl-syntax', 'error', 'RFC 9110 §8.6',
      'Content-Length is a number of bytes in digits.', 'Use String(bytes.length).',
      (value) => !/^[0-9]+$/.test(value)],
  ])],
  ['etag', table<string>('application', [
    ['etag-weak-case', 'warning', 'RFC 9110 §8.8.3',
      'The mark of a weak ETag is W/, a capital.', 'Write W/ before the quotes.',
      (value) => value.startsWith('w/"')],
    ['etag-quoted', 'warning', 'RFC 9110 §8.8.3',
      'An ETag is in double quotes, with no space or quote between them.',
      'Write it like \'"abc"\', or \'W/"abc"\' for a weak one.',
      (value) => !value.startsWith('w/"') && !ENTITY_TAG.test(value)],
  ])],
  ['location', table<string>('application', [
    ['location-uri', 'warning', 'RFC 9110 §10.2.2',
      'Location is a URI reference: ASCII, with other characters percent-encoded.',
      'Use encodeURI(url), or new URL(path, base).href.',
      (value) => !URI_REFERENCE.test(value)],
  ])],
  ['date', DATES],
  ['last-modified', DATES],
  // 0 and -1 are the usual ways to say "now".
  ['expires', DATES.map((each) => ({
    ...each,
    isBroken: (value: string) => !/^(?:0|-1)$/.test(value) && each.isBroken(value),
  }))],
  ['set-cookie', table<string>('application', [
    ['set-cookie-folded', 'off', 'RFC 6265 §3',
      'Each cookie has a Set-Cookie of its own.', 'Repeat the header: commas do not join cookies.',
      // No name and equals sign follow the comma in a date.
      (value) => /,\s*[^\s;,="]+=/.test(value)],
  ])],
]);

// ---- Repeated headers

const lengthOnce = rule('application', 'header-cl-duplicate', 'error', 'RFC 9110 §8.6',
  'There is one Content-Length.', 'Keep one.');

const once = rule('application', 'header-singleton-dup', 'error', 'RFC 9110 §5.3',
  'A header whose value is not a list appears only once.', 'Keep one.');

const SINGLE = new Set([
  'content-type', 'location', 'etag', 'date', 'last-modified', 'expires', 'age', 'retry-after',
  'content-location', 'content-range', 'content-disposition',
]);

function checkRepeated(exchange: Exchange, key: string, before: string, value: string): void {
  const action = `passed ${key} twice, as ${quoteValue(key, before)} and ${quoteValue(key, value)}`;
  if (key === 'content-length') {
    exchange.reportCall(lengthOnce, action, value, before === value ? 'warning' : 'error');
  } else if (SINGLE.has(key)) {
    const isGrave = key === 'content-type' || key === 'location';
    exchange.reportCall(once, action, value, isGrave ? 'error' : 'warning');
  }
}

// ---- Headers and status together

/** A status with the names of its headers, in lower case. */
interface Head {
  readonly code: number;
  readonly headers: ReadonlyMap<string, string>;
}

const TOGETHER = table<Head>('application', [
  ['content-length-on-1xx-204', 'error', 'RFC 9110 §8.6',
    'A 1xx or 204 response has no Content-Length, since it can have no content.',
    'Leave Content-Length out, or answer with 200.',
    ({ code, headers }) => (code === 204 || code < 200) && headers.has('content-length')],

  ['content-type-on-204-304', 'warning', 'RFC 9110 §15.3.5',
    'A 204 or 304 response has no Content-Type, since it has no content.',
    'Leave Content-Type out.',
    ({ code, headers }) => (code === 204 || code === 304) && headers.has('content-type')],

  // A cache distinguishes versions of the content by some of its headers.
  ['entity-headers-on-304', 'warning', 'RFC 9110 §15.4.5',
    'A 304 response has no headers that describe its content, except those of its cache entry.',
    'Keep Cache-Control, Content-Location, Date, ETag, Expires and Vary.',
    ({ code, headers }) =>
      code === 304 &&
      ['content-encoding', 'content-language', 'content-range'].some((key) => headers.has(key))],

  ['location-on-3xx', 'warning', 'RFC 9110 §15.4',
    'A redirection names its target: 301, 302, 303, 307 and 308 have a Location.',
    'Add [\'Location\', url].',
    ({ code, headers }) => [301, 302, 303, 307, 308].includes(code) && !headers.has('location')],

  ['www-authenticate-401', 'warning', 'RFC 9110 §15.5.2',
    'A 401 response says how to authenticate, in WWW-Authenticate.',
    'Add it, or answer with 403.',
    ({ code, headers }) => code === 401 && !headers.has('www-authenticate')],

  ['allow-405', 'warning', 'RFC 9110 §15.5.6',
    'A 405 response lists the allowed methods, in Allow.', 'Add [\'Allow\', \'GET, HEAD\'].',
    ({ code, headers }) => code === 405 && !headers.has('allow')],

  ['content-range-206-416', 'warning', 'RFC 9110 §15.3.7',
    'A 206 response says which part it is, in Content-Range or as multipart/byteranges.',
    'Add [\'Content-Range\', \'bytes 0-99/1000\'], or \'bytes */1000\' to a 416.',
    ({ code, headers }) => {
      const type = headers.get('content-type')?.toLowerCase() ?? '';
      const isPart = code === 206 && !type.startsWith('multipart/byteranges');
      return (isPart || code === 416) && !headers.has('content-range');
    }],
]);

// A status of these codes has no rule of its own.
const isOrdinary = (code: number): boolean => code === 200 || code === 404 || code === 500;

/** Checks single headers, and the list against the status code. */
export function checkFields(exchange: Exchange, code: number, list: ResponseHeaders): void {
  const headers = new Map<string, string>();
  for (const [name, value] of list) {
    const key = name.toLowerCase();
    const before = headers.get(key);
    if (before !== undefined) checkRepeated(exchange, key, before, value);
    headers.set(key, value);
    for (const { rule: broken, isBroken } of BY_NAME.get(key) ?? []) {
      if (!isBroken(value)) continue;
      const action = `passed the header ${key} with the value ${quoteValue(key, value)}`;
      exchange.reportCall(broken, action);
    }
  }
  if (code > 0 && !isOrdinary(code)) {
    for (const { rule: broken, isBroken } of TOGETHER) {
      if (!isBroken({ code, headers })) continue;
      const names = [...headers.keys()].join(', ') || 'no headers';
      exchange.reportCall(broken, `passed the status ${code} with ${names}`);
    }
  }
  const length = headers.get('content-length');
  exchange.length = length !== undefined && /^[0-9]+$/.test(length) ? Number(length) : undefined;
  exchange.hasContentType = headers.has('content-type');
  exchange.isEncoded = headers.has('content-encoding');
}

// ---- After the call

const headersChanged = rule('application', 'headers-changed-later', 'error', START_RESPONSE,
  'The headers belong to the server once they have been given to startResponse.',
  'Complete the list before the call, or keep a copy of your own.');

/** Compares the application's list with what it gave, when the head is due. */
export function checkUnchanged(exchange: Exchange): void {
  const { headers, headersGiven } = exchange;
  if (headers === undefined) return;
  try {
    const isSame = headers.length === headersGiven.length && headers.every((pair, index) => {
      const given = headersGiven[index];
      return pair[0] === given?.[0] && pair[1] === given[1];
    });
    if (isSame) return;
    exchange.reportValue(headersChanged, 'changed its list of headers after startResponse');
  } catch (error) {
    exchange.rethrow(error, headersChanged, 'changed its list of headers after startResponse');
  }
}
