// close(): called once, on the body itself, when the request ends, however it ends.
//
// A close() that is missing shows only afterwards, when nobody is left to throw at,
// and is told as a warning. It is looked for soon after the body has ended or was
// stopped: a server may first see its last bytes off, but does not sleep on it. A
// body that was dropped without ever being iterated is reported when the engine
// collects it, which may be late or never.

import { describe } from '../describe.ts';
import { checkCgiAfter } from './cgi.ts';
import type { Exchange } from './exchange.ts';
import { checkPropagated } from './layers.ts';
import { Overdue } from './overdue.ts';
import { isThenable } from './probe.ts';
import { DETAILS, application, server } from './rule.ts';

const called = server.error('close-called', DETAILS,
  'close() of a body is called when the request ends.',
  'Call it in a finally block around the iteration, if it is there.');

const notReturn = server.error('close-vs-return', DETAILS,
  'return() of the iterator is not close() of the body: a server calls both.',
  'Call body.close() also when a loop over the body was left early.');

const callTwice = server.warning('close-twice', DETAILS,
  'close() is called once.', 'Take note that it was called.');

const onBody = server.error('close-on-iterable', DETAILS,
  'close() belongs to the body that was returned, not to its iterator.', 'Call body.close().');

const awaited = server.warning('close-awaited', 'tsgiref/types, ResponseBody',
  'A close() that gives a promise is waited for.', 'Await body.close().');

const throws = application.warning('close-throws', DETAILS,
  'close() does not throw: the response is over, and nobody can answer it.',
  'Catch and report what may go wrong in closing.');

/** Closes the body for the server: `own` is the application's close(), if it has one. */
export function callClose(exchange: Exchange, own: (() => unknown) | undefined): unknown {
  if (exchange.closed) {
    exchange.misuse(callTwice, 'called close() again');
    return undefined;
  }
  exchange.closed = true;
  exchange.forget();
  exchange.body = undefined;
  open.delete(exchange);
  ended.delete(exchange);
  let result: unknown;
  try {
    result = own?.();
  } catch (error) {
    reportThrow(exchange, error);
    throw error;
  }
  if (!isThenable(result)) {
    checkAfter(exchange);
    return result;
  }
  const waited = WaitedFor.on(settle(exchange, result));
  exchange.closing = waited;
  lookAgain(exchange);
  return waited;
}

/** Reports a server that takes the iterator for the body. */
export function reportCloseOfIterator(exchange: Exchange): void {
  exchange.misuse(onBody, 'called close() of the iterator');
}

async function settle(exchange: Exchange, result: PromiseLike<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await result;
  } catch (error) {
    reportThrow(exchange, error);
    throw error;
  }
  checkAfter(exchange);
  return value;
}

function reportThrow(exchange: Exchange, error: unknown): void {
  exchange.fault(throws, `threw ${describe(error)} from close()`);
}

function checkAfter(exchange: Exchange): void {
  checkPropagated(exchange);
  checkCgiAfter(exchange);
}

/** A promise that knows whether anybody asked for its outcome. */
export class WaitedFor<Value> extends Promise<Value> {
  isWaitedFor = false;

  // What then() gives is an ordinary promise.
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  static on<Value>(promise: Promise<Value>): WaitedFor<Value> {
    return new WaitedFor((resolve, reject) => void promise.then(resolve, reject));
  }

  override then<Result1 = Value, Result2 = never>(
    onFulfilled?: ((value: Value) => Result1 | PromiseLike<Result1>) | null,
    onRejected?: ((reason: unknown) => Result2 | PromiseLike<Result2>) | null,
  ): Promise<Result1 | Result2> {
    this.isWaitedFor = true;
    return super.then(onFulfilled, onRejected);
  }
}

// ---- What has not been done in time

const ended = new Overdue<Exchange>(reportMissing);

/** Looks at the exchange again, a moment later. */
export function lookAgain(exchange: Exchange): void {
  // Middleware may close its application's body whenever its own is closed: the
  // validator around it sees to that.
  if (exchange.outer === undefined || exchange.closed) ended.add(exchange);
}

function reportMissing(exchange: Exchange): void {
  if (exchange.closed) {
    if (exchange.closing?.isWaitedFor === false) {
      exchange.late(awaited, 'did not wait for close()');
    }
  } else if (!exchange.missed) {
    exchange.missed = true;
    const deed = exchange.stopped ? 'stopped the iteration' : 'ended the iteration';
    const rule = exchange.stopped ? notReturn : called;
    exchange.late(rule, `${deed} and did not call close()`);
  }
}

// To have an object watched by the collector costs more than all the checks of an
// exchange together, so it is done only for bodies that live long.
const open = new Overdue<Exchange>((exchange) => {
  const { body } = exchange;
  exchange.body = undefined;
  if (body !== undefined && !exchange.missed) collected?.register(body, exchange);
});

const collected =
  typeof globalThis.FinalizationRegistry === 'function'
    ? new FinalizationRegistry<Exchange>((exchange) => {
        if (exchange.closed || exchange.missed) return;
        exchange.late(called, 'dropped the body and did not call close()');
      })
    : undefined;

/** Notices if the body, as the server has it, is dropped without being closed. */
export function watchForDrop(exchange: Exchange, body: object): void {
  if (exchange.outer !== undefined) return;
  exchange.body = body;
  open.add(exchange);
}
