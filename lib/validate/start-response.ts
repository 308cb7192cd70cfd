// startResponse and write: how often the application may call them, when, and with what;
// and how the server's functions must respond.
// (PEP 3333, "The start_response() Callable" and "The write() Callable")

import { count, describe, isObject, isThenable, property } from '../describe.ts';
import type { ResponseHeaders, StartResponse } from '../types.ts';
import { checkTrapped, chunkHint, countBytes, isDetached, wasDetached } from './body.ts';
import { checkFields, checkHeaders, checkStatus } from './head.ts';
import {
  type Exchange,
  type Method,
  call,
  isArray,
  isBytes,
  isErrorLike,
  isInstance,
} from './mechanism.ts';
import { checkRelay } from './middleware.ts';
import {
  DETAILS,
  START_RESPONSE,
  STRING_TYPES,
  WRITE,
  markCall,
  rule,
} from './rule.ts';

// ---- startResponse, on the application's side

const argumentCount = rule('application', 'sr-arity', 'error', DETAILS,
  'startResponse takes a status, headers, and, to replace a response, an error.',
  'Call startResponse(status, headers).');

const afterEnd = rule('application', 'sr-after-end', 'error', START_RESPONSE,
  'A response begins before its body has ended.',
  'Call startResponse before the first chunk.',
  (isClosed) => (isClosed ? 'Use the startResponse of this very request.' : undefined));

const twice = rule('application', 'sr-twice', 'error', START_RESPONSE,
  'startResponse is called a second time only to report an error.',
  'Call it once, or pass the caught error as the third argument.');

const againAfterThrow = rule('application', 'sr-again-after-throw', 'error', START_RESPONSE,
  'Even a call of startResponse that throws counts as the first.',
  'Pass what was thrown as the third argument of the second call.');

const errorType = rule('application', 'exc-info-type', 'error', START_RESPONSE,
  'The third argument is an error that was caught: the error itself, not a triple.',
  'Pass the value that `catch` gave, an Error, or leave the argument out.',
  (error) => {
    return Array.isArray(error) ? 'Pass the error alone: an error has its own stack.' : undefined;
  });

// ---- startResponse, on the server's side

const callable = rule('server', 'start-response-callable', 'error', DETAILS,
  'The second argument of an application is the function startResponse.',
  'Call application(environ, startResponse).');

const returnsWrite = rule('server', 'sr-returns-write', 'error', DETAILS,
  'startResponse returns the function write.', 'Return (data) => …');

const isSync = rule('server', 'sr-is-sync', 'error', DETAILS,
  'startResponse returns write itself, not a promise of it.',
  'Do not make it an async function: it only stores status and headers.');

const sentMustThrow = rule('server', 'sr-sent-must-throw', 'error', START_RESPONSE,
  'With an error, startResponse throws it if the head has been sent.',
  'Throw the third argument: the application must not go on.');

const rethrowsSame = rule('server', 'sr-rethrows-same', 'warning', START_RESPONSE,
  'The error that startResponse throws back is the one that it was given.',
  'Throw the third argument itself.');

// Whether startResponse sends nothing is a question for --check. Whether a server keeps a
// reference to the error is a question for its own tests.

/** Checks what the server passes as startResponse. */
export function checkCallable(exchange: Exchange, startResponse: unknown): boolean {
  if (typeof startResponse === 'function') return true;
  exchange.reportCall(callable, `passed ${describe(startResponse)} as startResponse`);
  return false;
}

/** The startResponse that the application is given. */
export function guardStartResponse(exchange: Exchange): StartResponse {
  const guarded = (...args: unknown[]): unknown => {
    exchange.mark = markCall(guarded, exchange.inner !== undefined);
    return exchange.answer(() => startResponse(exchange, args));
  };
  return guarded as StartResponse;
}

function startResponse(exchange: Exchange, args: readonly unknown[]): unknown {
  const again = exchange.starts > 0;
  exchange.starts += 1;
  const [status, headers, error] = args;
  if (args.length < 2 || args.length > 3) {
    const action = `called startResponse with ${count(args.length, 'argument')}`;
    exchange.reportCall(argumentCount, action);
  }
  checkMoment(exchange, again, error);

  const code = checkStatus(exchange, status);
  const given = checkHeaders(exchange, headers);
  checkFields(exchange, code, given);
  const isWhole = isArray(headers) && headers.length === given.length;
  const write = callServer(exchange, args, isWhole ? given : undefined);

  exchange.generation += 1;
  exchange.code = code;
  exchange.headers = isWhole ? (headers as ResponseHeaders) : undefined;
  exchange.headersGiven = given;
  return guardWrite(exchange, write);
}

function checkMoment(exchange: Exchange, again: boolean, error: unknown): void {
  checkTrapped(exchange, 'called startResponse again');
  if (exchange.exhausted || exchange.closed) {
    const action = 'called startResponse after the body had ended';
    exchange.reportCall(afterEnd, action, exchange.closed);
  }
  if (error === undefined || error === null) {
    if (!again) return;
    if (exchange.started) exchange.reportCall(twice, 'called startResponse a second time');
    else exchange.reportCall(againAfterThrow, 'called startResponse again after it had thrown');
  } else if (!isObject(error) || !isErrorLike(error)) {
    const action = `passed ${describe(error)} to startResponse as the error`;
    exchange.reportCall(errorType, action, error);
  }
}

function callServer(
  exchange: Exchange,
  args: readonly unknown[],
  given: Pairs | undefined,
): unknown {
  const [status, headers, ...rest] = args;
  const [error] = rest;
  // The server may change its list, so it gets one of its own. If a rule is off, the server
  // receives the wrong list unchanged.
  const passed = given === undefined ? headers : copyPairs(given);
  const hasError = error !== undefined && error !== null;
  const { outer } = exchange;
  const outerStarts = outer?.starts;
  let write: unknown;
  try {
    write = call(exchange.startResponse, undefined, [status, passed, ...rest]);
  } catch (thrown) {
    if (hasError && exchange.headSent) checkThrown(exchange, error, thrown);
    throw thrown;
  } finally {
    if (outer?.starts !== outerStarts) exchange.sharesResponse = true;
  }
  // Middleware may have buffered what was yielded, or have dealt with the error.
  if (hasError && exchange.headSent && outer === undefined) {
    const action = 'took an error after the head was sent, and did not throw it';
    exchange.reportCall(sentMustThrow, action);
  }
  if (given !== undefined) giveBack(headers as Pairs, given, passed as Pairs);
  return write;
}

// Middleware that changes the list during the call changes the application's own list, as
// it does without a validator. The list may be a constant of the application.
function giveBack(own: Pairs, given: Pairs, passed: Pairs): void {
  const isSame = passed.length === given.length && passed.every(([name, value], index) => {
    return name === given[index]?.[0] && value === given[index][1];
  });
  if (isSame || !Object.isExtensible(own)) return;
  own.splice(0, own.length, ...copyPairs(passed));
  given.splice(0, given.length, ...copyPairs(passed));
}

type Pairs = Array<[string, string]>;

function copyPairs(pairs: Pairs): Pairs {
  return pairs.map(([name, value]) => [name, value]);
}

function checkThrown(exchange: Exchange, error: unknown, thrown: unknown): void {
  exchange.thrownBack = thrown;
  const isReport = isInstance(thrown, Error) && property(thrown, 'name') === 'WSGIError';
  if (thrown === error || exchange.outer !== undefined || isReport) return;
  const action = `threw ${describe(thrown)} in place of the error it was given`;
  exchange.reportCall(rethrowsSame, action);
}

// ---- write

const writeArguments = rule('application', 'write-argc', 'error', DETAILS,
  'write() takes one chunk.', 'Call write(bytes).');

const writeBytes = rule('application', 'write-bytes', 'error', STRING_TYPES,
  'write() takes a Uint8Array.', 'Encode text: new TextEncoder().encode(text).', chunkHint);

const stale = rule('application', 'write-stale', 'error', START_RESPONSE,
  'The write() of a response that was replaced is no longer used.',
  'Use what the last call of startResponse returned.');

const writeAfterEnd = rule('application', 'write-after-end', 'error', WRITE,
  'write() is called before the body has ended.',
  'Await what still writes before the body ends, or yield chunks instead.');

const inIterable = rule('application', 'write-in-iterable', 'error', WRITE,
  'write() is not called from within the returned iterable: its chunks come first.',
  'Yield the chunk.');

const unawaited = rule('application', 'write-unawaited', 'warning', 'tsgiref/types, Write',
  'A chunk is written when the one before it has been sent.', 'Await each write().');

const used = rule('application', 'write-used', 'off', WRITE,
  'New applications return their chunks, and do not use write().',
  'Return an iterable, such as a generator.');

function guardWrite(exchange: Exchange, write: unknown): unknown {
  if (isThenable(write)) {
    exchange.reportCall(isSync, 'returned a promise from startResponse');
    return write;
  }
  if (typeof write !== 'function') {
    exchange.reportCall(returnsWrite, `returned ${describe(write)} from startResponse`);
    return write;
  }
  const generation = exchange.generation;
  const guarded: Method = (...args) => {
    exchange.answer(() => checkWrite(exchange, generation, args));
    return callWrite(exchange, write, args);
  };
  exchange.write = guarded;
  return guarded;
}

function callWrite(exchange: Exchange, write: unknown, args: readonly unknown[]): unknown {
  const [data] = args;
  const result = call(write, undefined, args);
  if (isBytes(data) && data.length > 0) exchange.headSent = true;
  if (!isThenable(result)) return result;
  exchange.writing = true;
  return Promise.resolve(result).finally(() => {
    exchange.writing = false;
  });
}

function checkWrite(exchange: Exchange, generation: number, args: readonly unknown[]): void {
  checkTrapped(exchange, 'called write()');
  if (exchange.exhausted || exchange.closed) {
    exchange.reportCall(writeAfterEnd, 'called write() after the body had ended');
  } else if (generation !== exchange.generation) {
    exchange.reportCall(stale, 'called the write() of an earlier startResponse');
  } else if (!checkRelay(exchange) && exchange.iterating) {
    exchange.reportCall(inIterable, 'called write() while its body was iterated');
  }
  if (exchange.writing) {
    exchange.reportCall(unawaited, 'called write() while an earlier one was pending');
  }
  exchange.reportCall(used, 'called write()');

  const [data] = args;
  if (args.length !== 1) {
    exchange.reportCall(writeArguments, `called write() with ${count(args.length, 'argument')}`);
  } else if (!isBytes(data)) {
    exchange.reportCall(writeBytes, `called write() with ${describe(data)}`, data);
  } else if (data.length === 0 && isDetached(data)) {
    exchange.reportCall(wasDetached, 'called write() with a chunk whose buffer was transferred');
  }
  if (isBytes(data)) countBytes(exchange, data.length, true);
}
