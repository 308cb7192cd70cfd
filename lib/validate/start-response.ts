// startResponse: how often the application may call it, when, and with what; and
// what the server's own must do in answer.

import { describe } from '../describe.ts';
import type { ResponseHeaders, StartResponse, Status, Write } from '../types.ts';
import type { Exchange } from './exchange.ts';
import { checkFields } from './fields.ts';
import { checkHeaders, isList } from './headers.ts';
import { isErrorLike, isObject, isThenable } from './probe.ts';
import { DETAILS, START_RESPONSE, application, server } from './rule.ts';
import { checkTrapped } from './started.ts';
import { checkStatus } from './status.ts';
import { callWrite } from './write.ts';

// ---- The application's side

const argumentCount = application.error('sr-arity', DETAILS,
  'startResponse takes a status, headers, and, to replace a response, an error.',
  'Call startResponse(status, headers).');

const afterEnd = application.error('sr-after-end', START_RESPONSE,
  'A response begins before its body has ended.',
  'Call startResponse before the first chunk.');

const twice = application.error('sr-twice', START_RESPONSE,
  'startResponse is called a second time only to report an error.',
  'Call it once, or pass the caught error as third argument.');

const againAfterThrow = application.error('sr-again-after-throw', START_RESPONSE,
  'A call of startResponse counts as the first also when it threw.',
  'Pass what was thrown as third argument of the second call.');

const errorType = application.error('exc-info-type', START_RESPONSE,
  'The third argument is an error that has been caught.',
  'Pass the value that `catch` gave, an Error, or leave the argument out.');

const errorShape = application.error('exc-info-shape', START_RESPONSE,
  'The third argument is the error itself: an object with a message, and no triple.',
  'Pass the value that `catch` gave.');

// ---- The server's side

const callable = server.error('start-response-callable', DETAILS,
  'The second argument of an application is the function startResponse.',
  'Call application(environ, startResponse).');

const returnsWrite = server.error('sr-returns-write', DETAILS,
  'startResponse returns the function write.', 'Return (data) => …');

const isSync = server.error('sr-is-sync', DETAILS,
  'startResponse returns write itself, not a promise of it.',
  'Make it no async function: it has only to take note of status and headers.');

const sentMustThrow = server.error('sr-sent-must-throw', START_RESPONSE,
  'With an error, startResponse throws it if the head has been sent.',
  'Throw the third argument: the application must not go on.');

const rethrowsSame = server.warning('sr-rethrows-same', START_RESPONSE,
  'The error that startResponse throws back is the one it was given.',
  'Throw the third argument itself.');

// That startResponse sends nothing, and that a server passes on no reference to the
// error, is for a server's tests.

/** Checks what the server passes as startResponse. */
export function checkCallable(exchange: Exchange, startResponse: unknown): boolean {
  if (typeof startResponse === 'function') return true;
  exchange.fault(callable, `passed ${describe(startResponse)} as startResponse`);
  return false;
}

/** What the application calls as startResponse. */
export function callStartResponse(exchange: Exchange, args: readonly unknown[]): unknown {
  const again = exchange.starts > 0;
  exchange.starts += 1;
  const [status, headers, error] = args;
  checkCount(exchange, args.length);
  checkMoment(exchange, again, error);

  const head = checkHead(exchange, status, headers);
  const write = answer(exchange, args, head);
  exchange.generation += 1;
  exchange.code = head.code;
  exchange.headers = head.whole ? (headers as ResponseHeaders) : undefined;
  exchange.headersGiven = head.given;
  return guardWrite(exchange, write);
}

function checkCount(exchange: Exchange, count: number): void {
  if (count < 2 || count > 3) {
    exchange.misuse(argumentCount, `called startResponse with ${count} arguments`);
  }
}

function checkMoment(exchange: Exchange, again: boolean, error: unknown): void {
  checkTrapped(exchange, 'called startResponse again');
  if (exchange.exhausted || exchange.closed) {
    exchange.misuse(afterEnd, 'called startResponse after the body had ended');
  }
  if (error === undefined || error === null) {
    if (!again) return;
    if (exchange.started) exchange.misuse(twice, 'called startResponse a second time');
    else exchange.misuse(againAfterThrow, 'called startResponse again after it had thrown');
  } else if (!isObject(error)) {
    exchange.misuse(errorType, `passed ${describe(error)} to startResponse as error`);
  } else if (!isErrorLike(error)) {
    exchange.misuse(errorShape, `passed ${describe(error)} to startResponse as error`);
  }
}

/** What startResponse was given, as far as it is what it should be. */
interface Head {
  code: number;
  /** A copy of the headers: the application's own list is compared with it later. */
  given: ResponseHeaders;
  /** Whether that is all of them. */
  whole: boolean;
}

function checkHead(exchange: Exchange, status: unknown, headers: unknown): Head {
  const code = checkStatus(exchange, status);
  let given: ResponseHeaders = [];
  try {
    given = checkHeaders(exchange, headers);
  } catch (error) {
    exchange.rethrow(error, isList, 'passed headers that cannot be read', true);
  }
  checkFields(exchange, code, given);
  const whole = Array.isArray(headers) && headers.length === given.length;
  return { code, given, whole };
}

function answer(exchange: Exchange, args: readonly unknown[], { given, whole }: Head): unknown {
  const [status, headers, error, ...rest] = args;
  // The server may change its list, so it gets one of its own; one that is not what
  // it should be, if that is let pass, it gets as it is.
  const passed = whole ? given.map(([name, value]) => [name, value]) : headers;
  if (args.length > 2) rest.unshift(error);
  const call = exchange.startResponse as (...args: unknown[]) => unknown;
  if (error === undefined || error === null) return call(status, passed, ...rest);

  try {
    const write = call(status, passed, ...rest);
    // Middleware may have buffered what was yielded, or have dealt with the error.
    if (exchange.headSent && exchange.outer === undefined) {
      exchange.fault(sentMustThrow, 'took an error after the head was sent, and did not throw it');
    }
    return write;
  } catch (thrown) {
    if (exchange.headSent) checkThrown(exchange, error, thrown);
    throw thrown;
  }
}

function checkThrown(exchange: Exchange, error: unknown, thrown: unknown): void {
  if (thrown === error) exchange.thrownBack = error;
  else if (exchange.outer === undefined && !(isErrorLike(thrown) && isReport(thrown))) {
    exchange.fault(rethrowsSame, `threw ${describe(thrown)} in place of the error it was given`);
  }
}

function isReport(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'WSGIError';
}

function guardWrite(exchange: Exchange, write: unknown): unknown {
  if (isThenable(write)) {
    exchange.fault(isSync, 'returned a promise from startResponse');
    return write;
  }
  if (typeof write !== 'function') {
    exchange.fault(returnsWrite, `returned ${describe(write)} from startResponse`);
    return write;
  }
  const { generation } = exchange;
  return (...args: unknown[]) => callWrite(exchange, generation, write as Write, args);
}

/** The startResponse that the application is given. */
export function guardStartResponse(exchange: Exchange): StartResponse {
  const call = (...args: [Status, ResponseHeaders, unknown?]): Write => {
    return callStartResponse(exchange, args) as Write;
  };
  return call as StartResponse;
}
