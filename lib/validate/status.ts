// The status that the application gives to startResponse: three digits, one space,
// a reason, and nothing around it.

import { codePoint, describe, quote } from '../describe.ts';
import type { Exchange } from './exchange.ts';
import {
  type Check,
  START_RESPONSE,
  STRING_TYPES,
  UNICODE,
  application,
  check,
} from './rule.ts';

const isString = application.error('status-type', STRING_TYPES,
  'The status is a string.', 'Write it like \'200 OK\'.');

const CONTROL = /[\x00-\x1f\x7f]/;

// status-line = HTTP-version SP status-code SP [ reason-phrase ]  (RFC 9112 §4)
// status-code = 3DIGIT
const CHECKS: ReadonlyArray<Check<string>> = [
  // A line break here would let whoever supplied the text write headers of his own.
  check(application.error('status-ctl', START_RESPONSE,
    'No control character stands in the status, and no line break ends it.',
    'Keep to printable characters; the server ends the line.'),
    (status) => CONTROL.test(status)),

  check(application.error('status-lead-ws', START_RESPONSE,
    'Nothing stands before the three digits.', 'Trim it.'),
    (status) => status.startsWith(' ')),

  check(application.error('status-ascii-digits', 'RFC 9112 §4',
    'The digits are 0 to 9, and none of another script.', 'Write them in ASCII.'),
    (status) => /^\p{Nd}{3}/u.test(status) && !/^[0-9]{3}/.test(status)),

  check(application.error('status-latin1', UNICODE,
    'The characters of a status stand for bytes: U+0000 to U+00FF.',
    'Write the reason in English.'),
    (status) => /[^\x00-\xff]/u.test(status)),

  check(application.error('status-three-digits', START_RESPONSE,
    'The status begins with three digits.', 'Write it like \'200 OK\'.'),
    (status) => !/^ *\p{Nd}{3}/u.test(status)),

  check(application.error('status-min-100', 'RFC 9110 §15',
    'A status code is 100 at least.', 'Choose one of RFC 9110 §15, such as 200 or 404.'),
    (status) => /^0[0-9]{2}/.test(status)),

  // It announces a final response, and only the server can send both.
  check(application.error('status-1xx', 'RFC 9110 §15.2',
    'An application answers with a final status, and a 1xx is not one.',
    'Answer with 200 or above; 100 Continue is sent by the server.'),
    (status) => /^1[0-9]{2}/.test(status)),

  check(application.warning('status-max-599', 'RFC 9110 §15',
    'A status code is 599 at most.', 'Choose one of RFC 9110 §15, such as 500.'),
    (status) => /^[6-9][0-9]{2}/.test(status)),

  check(application.error('status-space', START_RESPONSE,
    'One space stands between the three digits and the reason.', 'Write it like \'200 OK\'.'),
    (status) => /^[0-9]{3}(?! )/.test(status)),

  check(application.warning('status-reason', START_RESPONSE,
    'The status has a reason.', 'Write it like \'200 OK\'.'),
    (status) => /^[0-9]{3} *$/.test(status) && status.length > 3),

  check(application.warning('status-trail-ws', START_RESPONSE,
    'There is one space before the reason, and none after it.', 'Trim it.'),
    (status) => /^[0-9]{3} {2,}\S/.test(status) || /\S +$/.test(status.slice(3))),
];

/** Checks the status; returns its code, or 0 if it has none. */
export function checkStatus(exchange: Exchange, status: unknown): number {
  if (typeof status !== 'string') {
    const hint =
      typeof status === 'number' ? `Give it a reason, in one string: '${status} …'.` : undefined;
    exchange.misuse(isString, `passed ${describe(status)} as status`, hint);
    return 0;
  }
  for (const { rule, isBroken } of CHECKS) {
    if (!isBroken(status)) continue;
    const control = CONTROL.exec(status);
    const where = control === null ? '' : `, in which stands ${codePoint(control[0])}`;
    exchange.misuse(rule, `passed the status ${quote(status)}${where}`);
  }
  return /^[0-9]{3}/.test(status) ? Number(status.slice(0, 3)) : 0;
}
