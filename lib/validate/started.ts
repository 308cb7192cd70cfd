// What an application must leave alone once it has called startResponse.

import type { Exchange } from './exchange.ts';
import { ERROR_HANDLING, START_RESPONSE, application } from './rule.ts';

const throwTrapped = application.error('sr-throw-trapped', ERROR_HANDLING,
  'An error that startResponse throws back is not caught: the head is out, it is too late.',
  'Let the error pass, and nothing more is sent.');

const changedLater = application.error('headers-changed-later', START_RESPONSE,
  'The headers belong to the server once they have been given to startResponse.',
  'Complete the list before the call, or keep a copy of your own.');

/** Reports an application that goes on after startResponse threw its error back. */
export function checkTrapped(exchange: Exchange, deed: string, isCall = true): void {
  if (exchange.thrownBack === undefined) return;
  exchange.thrownBack = undefined;
  const whole = `caught the error that startResponse threw back, and ${deed}`;
  if (isCall) exchange.misuse(throwTrapped, whole);
  else exchange.fault(throwTrapped, whole);
}

/** Compares the application's list with what it gave; called when the head is due. */
export function checkUnchanged(exchange: Exchange): void {
  const { headers, headersGiven } = exchange;
  if (headers === undefined) return;
  try {
    const isSame = headers.length === headersGiven.length && headers.every((pair, index) => {
      const given = headersGiven[index];
      return pair[0] === given?.[0] && pair[1] === given[1];
    });
    if (!isSame) exchange.fault(changedLater, 'changed its list of headers after startResponse');
  } catch (error) {
    exchange.rethrow(error, changedLater, 'changed its list of headers after startResponse');
  }
}
