// The list of headers that the application gives to startResponse: an array of
// pairs of strings, each fit to be sent as it is.

import { codePoint, describe, quote } from '../describe.ts';
import type { HeaderList } from '../headers.ts';
import type { ResponseHeaders } from '../types.ts';
import { isHopByHop } from '../util.ts';
import type { Exchange } from './exchange.ts';
import {
  APPLICATION_SIDE,
  type Check,
  OTHER_FEATURES,
  START_RESPONSE,
  STRING_TYPES,
  UNICODE,
  application,
  type Rule,
  check,
} from './rule.ts';

// ---- The list and its pairs

/** Also what a list that cannot be read breaks. */
export const isList: Rule = application.error('headers-list', START_RESPONSE,
  'The headers are an array of [name, value] pairs.',
  'Use an array; of a Headers or a Map make one: [...headers].');

const notFrozen = application.error('headers-not-frozen', START_RESPONSE,
  'The server may change the list it is given, to add headers or to remove some.',
  'Make a new array for each response: no Object.freeze.');

const isPair = application.error('header-pair-tuple', APPLICATION_SIDE,
  'Each header is an array of its name and its value.',
  'Write it like [\'Content-Type\', \'text/plain\'].');

const pairLength = application.error('header-pair-len', APPLICATION_SIDE,
  'Each header has two items: a name and a value.',
  'Write it like [\'Content-Type\', \'text/plain\']; repeat the name for a second value.');

const nameString = application.error('header-name-string', STRING_TYPES,
  'A header\'s name is a string.', 'Write it like \'Content-Type\'.');

const valueString = application.error('header-value-string', STRING_TYPES,
  'A header\'s value is a string.', 'Use String(value); join a list with commas.');

// ---- Names

// field-name = token = 1*tchar                                 (RFC 9110 §5.6.2)
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

const NAME_CHECKS: ReadonlyArray<Check<string>> = [
  check(application.error('header-name-nonempty', START_RESPONSE,
    'A header has a name.', 'Leave the header out, or name it.'),
    (name) => name === ''),

  check(application.error('header-name-colon-nl', START_RESPONSE,
    'No colon and no line break stands in a header\'s name.',
    'Leave the colon to the server: [\'Content-Type\', …].'),
    (name) => /[:\r\n]/.test(name)),

  check(application.error('header-name-token', 'RFC 9110 §5.6.2',
    'A header\'s name is a token: letters, digits and !#$%&\'*+-.^_`|~.',
    'Write it like \'Content-Type\', with dashes and without spaces.'),
    (name) => name !== '' && !/[:\r\n]/.test(name) && !TOKEN.test(name)),

  check(application.error('header-no-status', APPLICATION_SIDE,
    'The status is not among the headers: under CGI, Status is how the server passes it on.',
    'Give it to startResponse as first argument.'),
    (name) => name.toLowerCase() === 'status'),

  check(application.warning('header-name-trail-punct', START_RESPONSE,
    'A header\'s name does not end in punctuation.', 'Remove the trailing - or _.'),
    (name) => /[-_]$/.test(name)),

  // These speak of the connection, not of the response; the server owns it.
  check(application.error('header-hop-by-hop', OTHER_FEATURES,
    'Headers that concern only the connection are the server\'s: Connection and its kin.',
    'Leave it out; the server frames and closes as it must.'),
    (name) => isHopByHop(name) || name.toLowerCase() === 'proxy-connection'),
];

// ---- Values

// field-value = *( VCHAR / obs-text / SP / HTAB ), no blank at either end
//                                                                (RFC 9110 §5.5)
const VALUE_CHECKS: ReadonlyArray<Check<string>> = [
  check(application.error('header-value-crlf-nul', START_RESPONSE,
    'No CR, LF or NUL stands in a header\'s value: it would begin another header.',
    'Write long values on one line, and encode what comes from outside.'),
    (value) => /[\x00\r\n]/.test(value)),

  check(application.error('header-value-c0', START_RESPONSE,
    'No control character stands in a header\'s value.', 'Remove or encode it.'),
    (value) => /[\x01-\x08\x0b\x0c\x0e-\x1f]/.test(value)),

  check(application.error('header-value-del', START_RESPONSE,
    'No control character stands in a header\'s value, and U+007F is one.',
    'Remove or encode it.'),
    (value) => /\x7f/.test(value)),

  check(application.error('header-value-latin1', UNICODE,
    'The characters of a header stand for bytes: U+0000 to U+00FF.',
    'Encode it as the header prescribes, such as filename*=UTF-8\'\'… or encodeURI(url).'),
    (value) => /[^\x00-\xff]/u.test(value)),

  check(application.warning('header-value-ows', 'RFC 9110 §5.5',
    'A header value does not begin or end with a space or tab.', 'Trim it.'),
    (value) => /^[ \t]|[ \t]$/.test(value)),
];

const HAS_TAB = /\t/;
const TAB_RULE = VALUE_CHECKS[1];

/**
 * Checks the list of headers. Returns those that are pairs of strings, as copies:
 * what has been given no longer changes.
 */
export function checkHeaders(exchange: Exchange, headers: unknown): ResponseHeaders {
  const good: HeaderList = [];
  if (!Array.isArray(headers)) {
    exchange.misuse(isList, `passed ${describe(headers)} as headers`);
    return good;
  }
  if (Object.isFrozen(headers)) exchange.misuse(notFrozen, 'passed a frozen array as headers');
  for (const pair of headers) {
    const [name, value] = checkPair(exchange, pair);
    if (typeof name !== 'string' || typeof value !== 'string') continue;
    checkName(exchange, name);
    checkValue(exchange, name, value);
    good.push([name, value]);
  }
  return good;
}

function checkPair(exchange: Exchange, pair: unknown): readonly unknown[] {
  if (!Array.isArray(pair)) {
    exchange.misuse(isPair, `passed ${describe(pair)} as a header`);
    return [];
  }
  if (pair.length !== 2) {
    const deed = `passed a header of ${pair.length} items, ${describe(pair[0])} first`;
    exchange.misuse(pairLength, deed);
    return [];
  }
  if (Object.isFrozen(pair)) {
    const deed = `passed a frozen pair as the header ${describe(pair[0])}`;
    exchange.misuse(notFrozen, deed, undefined, 'warning');
  }
  const [name, value]: unknown[] = pair;
  if (typeof name !== 'string') {
    exchange.misuse(nameString, `passed ${describe(name)} as a header's name`);
  }
  if (typeof value !== 'string') {
    exchange.misuse(valueString, `passed ${describe(value)} as value of ${describe(name)}`);
  }
  return [name, value];
}

function checkName(exchange: Exchange, name: string): void {
  for (const { rule, isBroken } of NAME_CHECKS) {
    if (isBroken(name)) exchange.misuse(rule, `passed the header name ${quote(name)}`);
  }
}

function checkValue(exchange: Exchange, name: string, value: string): void {
  for (const { rule, isBroken } of VALUE_CHECKS) {
    if (isBroken(value)) exchange.misuse(rule, describeValue(name, value));
  }
  // PEP 3333 forbids it with the rest, RFC 9110 and every server allow it.
  if (HAS_TAB.test(value) && TAB_RULE !== undefined) {
    exchange.misuse(TAB_RULE.rule, describeValue(name, value), undefined, 'warning');
  }
}

function describeValue(name: string, value: string): string {
  const odd = /[\x00-\x1f\x7f]|[^\x00-\xff]/u.exec(value);
  const where = odd === null ? '' : `, in which stands ${codePoint(odd[0])}`;
  return `passed the header ${quote(name)} with the value ${quote(value)}${where}`;
}
