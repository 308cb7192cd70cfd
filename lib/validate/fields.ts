// What single headers mean, and which of them a status demands or forbids: where
// HTTP itself binds the application.

import { quote } from '../describe.ts';
import type { ResponseHeaders } from '../types.ts';
import type { Exchange } from './exchange.ts';
import { type Rule, application } from './rule.ts';

// ---- Length

const lengthSyntax = application.error('header-cl-syntax', 'RFC 9110 §8.6',
  'Content-Length is a number of bytes in digits.', 'Use String(bytes.length).');

const lengthOnce = application.error('header-cl-duplicate', 'RFC 9110 §8.6',
  'Content-Length stands in the headers once.', 'Keep one.');

const lengthForbidden = application.error('content-length-on-1xx-204', 'RFC 9110 §8.6',
  'A 1xx or 204 response has no Content-Length, since it can have no content.',
  'Leave Content-Length out, or answer with 200.');

// ---- Once only

const once = application.error('header-singleton-dup', 'RFC 9110 §5.3',
  'A header whose value is not a list appears only once.', 'Keep one.');

const SINGLE = new Set([
  'content-type', 'location', 'etag', 'date', 'last-modified', 'expires', 'age', 'retry-after',
  'content-location', 'content-range', 'content-disposition',
]);

// ---- What a status forbids

const typeWithoutContent = application.warning('content-type-on-204-304', 'RFC 9110 §15.3.5',
  'A 204 or 304 response has no Content-Type, since it has no content.',
  'Leave Content-Type out.');

// Those that describe the content, other than to tell versions of it apart.
const describesNothing = application.warning('entity-headers-on-304', 'RFC 9110 §15.4.5',
  'A 304 response has no headers that describe its content, but for those of its cache entry.',
  'Keep Cache-Control, Content-Location, Date, ETag, Expires and Vary.');

const OF_CONTENT = new Set(['content-encoding', 'content-language', 'content-range']);

// ---- What a status demands

interface Demand {
  readonly codes: readonly number[];
  readonly header: string;
  readonly rule: Rule;
}

const DEMANDS: readonly Demand[] = [
  {
    codes: [301, 302, 303, 307, 308],
    header: 'location',
    rule: application.warning('location-on-3xx', 'RFC 9110 §15.4',
      'A redirection says where to: 301, 302, 303, 307 and 308 have a Location.',
      'Add [\'Location\', url].'),
  },
  {
    codes: [401],
    header: 'www-authenticate',
    rule: application.warning('www-authenticate-401', 'RFC 9110 §15.5.2',
      'A 401 says how to authenticate, in WWW-Authenticate.',
      'Add it, or answer with 403.'),
  },
  {
    codes: [405],
    header: 'allow',
    rule: application.warning('allow-405', 'RFC 9110 §15.5.6',
      'A 405 says which methods there are, in Allow.', 'Add [\'Allow\', \'GET, HEAD\'].'),
  },
];

const contentRange = application.warning('content-range-206-416', 'RFC 9110 §15.3.7',
  'A 206 says which part it is, in Content-Range or as multipart/byteranges; a 416, of how much.',
  'Add [\'Content-Range\', \'bytes 0-99/1000\'], or \'bytes */1000\' to a 416.');

// ---- Values

// entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE                    (RFC 9110 §8.8.3)
// etagc      = %x21 / %x23-7E / obs-text
const ENTITY_TAG = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/;

const tagQuoted = application.warning('etag-quoted', 'RFC 9110 §8.8.3',
  'An ETag is in double quotes, with no blank or quote between them.',
  'Write it like \'"abc"\', or \'W/"abc"\' for a weak one.');

const tagWeak = application.warning('etag-weak-case', 'RFC 9110 §8.8.3',
  'The mark of a weak ETag is W/, a capital.', 'Write W/ before the quotes.');

// The characters of a URI-reference, and % only before two hex digits.
//                                                                  (RFC 3986 §4.1)
const URI_REFERENCE = /^(?:[A-Za-z0-9._~:/?#[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*$/;

const locationUri = application.warning('location-uri', 'RFC 9110 §10.2.2',
  'Location is a URI reference: ASCII, with the rest percent-encoded.',
  'Use encodeURI(url), or new URL(path, base).href.');

// IMF-fixdate = day-name "," SP date1 SP time-of-day SP GMT      (RFC 9110 §5.6.7)
const DAY = 'Mon|Tue|Wed|Thu|Fri|Sat|Sun';
const MONTH = 'Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec';
const FIXDATE = new RegExp(`^(?:${DAY}), \\d\\d (?:${MONTH}) \\d{4} \\d\\d:\\d\\d:\\d\\d GMT$`);

const dateFormat = application.option('date-format', 'RFC 9110 §5.6.7',
  'Dates are written like Sun, 06 Nov 1994 08:49:37 GMT.', 'Use date.toUTCString().');

const cookieFolded = application.option('set-cookie-folded', 'RFC 6265 §3',
  'Each cookie has a Set-Cookie of its own.', 'Repeat the header: commas do not join cookies.');

/** Checks single headers, and the list against the status code. */
export function checkFields(exchange: Exchange, code: number, headers: ResponseHeaders): void {
  const seen = new Map<string, string>();
  for (const [name, value] of headers) {
    const key = name.toLowerCase();
    const before = seen.get(key);
    if (before !== undefined) checkRepeated(exchange, key, before, value);
    seen.set(key, value);
    const byValue = brokenByValue(key, value);
    if (byValue !== undefined) {
      exchange.misuse(byValue, `passed the header ${key} with the value ${quote(value)}`);
    }
    const byStatus = brokenByStatus(code, key);
    if (byStatus !== undefined) {
      exchange.misuse(byStatus, `passed the header ${key} with the status ${code}`);
    }
  }
  checkDemanded(exchange, code, seen);

  const length = seen.get('content-length');
  exchange.length = length !== undefined && /^[0-9]+$/.test(length) ? Number(length) : undefined;
  exchange.hasContentType = seen.has('content-type');
}

function checkRepeated(exchange: Exchange, key: string, before: string, value: string): void {
  const deed = `passed ${key} twice, as ${quote(before)} and ${quote(value)}`;
  if (key === 'content-length') {
    exchange.misuse(lengthOnce, deed, undefined, before === value ? 'warning' : 'error');
  } else if (SINGLE.has(key)) {
    const severity = key === 'content-type' || key === 'location' ? 'error' : 'warning';
    exchange.misuse(once, deed, undefined, severity);
  }
}

function brokenByValue(key: string, value: string): Rule | undefined {
  switch (key) {
    case 'content-length':
      return /^[0-9]+$/.test(value) ? undefined : lengthSyntax;
    case 'etag':
      if (value.startsWith('w/"')) return tagWeak;
      return ENTITY_TAG.test(value) ? undefined : tagQuoted;
    case 'location':
      return URI_REFERENCE.test(value) ? undefined : locationUri;
    case 'date':
    case 'last-modified':
      return FIXDATE.test(value) ? undefined : dateFormat;
    case 'expires':
      // 0 and -1 are the usual ways to say "now".
      return /^(?:0|-1)$/.test(value) || FIXDATE.test(value) ? undefined : dateFormat;
    case 'set-cookie':
      // The comma of a date has no name and equals sign after it.
      return /,\s*[^\s;,="]+=/.test(value) ? cookieFolded : undefined;
    default:
      return undefined;
  }
}

function brokenByStatus(code: number, key: string): Rule | undefined {
  if (code === 204 || (code >= 100 && code < 200)) {
    if (key === 'content-length') return lengthForbidden;
    if (key === 'content-type' && code === 204) return typeWithoutContent;
  }
  if (code === 304 && key === 'content-type') return typeWithoutContent;
  if (code === 304 && OF_CONTENT.has(key)) return describesNothing;
  return undefined;
}

function checkDemanded(exchange: Exchange, code: number, seen: ReadonlyMap<string, string>): void {
  for (const { codes, header, rule } of DEMANDS) {
    if (codes.includes(code) && !seen.has(header)) {
      exchange.misuse(rule, `answered ${code} without ${header}`);
    }
  }
  const isMultipart = seen.get('content-type')?.toLowerCase().startsWith('multipart/byteranges');
  if ((code === 416 || (code === 206 && isMultipart !== true)) && !seen.has('content-range')) {
    exchange.misuse(contentRange, `answered ${code} without content-range`);
  }
}
