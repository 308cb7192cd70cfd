// Middleware: an application to the server, and a server to another application. Two
// validators, one around it and one inside it, find each other, and together see what
// neither could alone: whether the middleware passes on what it must, and when.
// (PEP 3333, "Middleware Handling of Block Boundaries")

import { property } from '../describe.ts';
import { findExchange } from './environ.ts';
import { type Exchange, exchangeOf } from './mechanism.ts';
import { BLOCK_BOUNDARIES, CALL, DETAILS, isCalledByStream, markCall, rule } from './rule.ts';

/** The exchanges whose application is being called just now, the innermost last. */
const active: Exchange[] = [];

/** Calls the application, or the next() of its iterator, which may throw. */
export function runApplication<Result>(exchange: Exchange, step: () => Result): Result {
  exchange.running += 1;
  active.push(exchange);
  try {
    return step();
  } finally {
    active.pop();
    exchange.running -= 1;
  }
}

/**
 * Joins an exchange to the one from within which its application is called, if there is
 * one. It is found by what environ holds, even in a copy.
 */
export function joinOuter(exchange: Exchange, environ: unknown): void {
  // Middleware that passes a wrong environ is known by its call, which is on the stack.
  const caller = (exchange.caller = active.at(-1));
  // Of two applications that are called with the same environ, the second finds the first
  // one's exchange. The caller of both is on the stack, unless it has waited before. But an
  // application that is not running calls nobody.
  const found = findExchange(environ);
  let outer = isWithin(found, caller) ? caller : found;
  while (outer !== undefined && (outer.closed || outer.running === 0)) outer = outer.outer;
  if (outer === undefined) return;
  exchange.outer = outer;
  exchange.origin = outer.origin;
  exchange.sharesInput = isWithin(exchangeOf(property(environ, 'wsgi.input')), outer);
  outer.inner ??= [];
  outer.inner.push(exchange);
}

function isWithin(exchange: Exchange | undefined, outer: Exchange | undefined): boolean {
  if (exchange === undefined) return false;
  return exchange === outer || isWithin(exchange.outer, outer);
}

// Middleware may send a request of its own, with another input and another startResponse, and
// may do with the answer as it likes: the rules here do not bind it. If it only puts another
// input in place, such as one that it has read before, the response is still the outer one's.

const returnsAtOnce = rule('middleware', 'mw-no-direct-each', 'error', BLOCK_BOUNDARIES,
  'Middleware returns its body as soon as the application has returned one.',
  'Return a generator that does the work chunk by chunk.');

const yieldsEach = rule('middleware', 'mw-yield-per-chunk', 'error', BLOCK_BOUNDARIES,
  'Middleware yields at least once for each chunk that its application yields.',
  'Yield new Uint8Array(0) while you gather more.');

/** Looks at middleware that asks its application for another chunk. */
export function checkMiddlewareAsking(exchange: Exchange): void {
  const { outer } = exchange;
  // Middleware asks for one chunk early to learn status and headers.
  if (outer === undefined || !exchange.isSameRequest || exchange.chunks === 0) return;
  // A middleware may read a body to its end after the server has stopped.
  if (outer.running === 0 || outer.stopped) return;
  const hasYielded = exchange.outerChunks !== outer.chunks || exchange.exhausted;
  if (outer.returned && hasYielded) return;
  // A stream of the platform reads ahead, but holds nothing back that the server waits for.
  if (outer.readsAhead || isCalledByStream()) return;
  if (outer.returned) {
    const action = 'asked for another chunk before it had yielded for the last one';
    exchange.reportCall(yieldsEach, action);
  } else if (active.includes(outer)) {
    exchange.reportCall(returnsAtOnce, GATHERED);
  } else {
    // An async function may have returned a stream, which a loop fills, and its promise has
    // yet to settle.
    exchange.early ??= Object.assign(markCall(checkMiddlewareAsking, true), { intro: CALL });
  }
}

const GATHERED = 'iterated its application\'s body before returning its own';

/** Reports async middleware that has gathered chunks, now that its body has come. */
export function checkGathered(exchange: Exchange): void {
  if (exchange.readsAhead) return;
  for (const inner of exchange.inner ?? []) {
    if (inner.early === undefined) continue;
    const { mark } = inner;
    inner.mark = inner.early;
    inner.reportValue(returnsAtOnce, GATHERED);
    inner.mark = mark;
  }
}

const noRelay = rule('middleware', 'mw-write-relay', 'error', BLOCK_BOUNDARIES,
  'Middleware does not write() what its application yields.', 'Yield it.');

/** Reports middleware that writes what it was yielded; false if it did not. */
export function checkRelay(exchange: Exchange): boolean {
  const { inner = [] } = exchange;
  const hasYielded = inner.some(({ isSameRequest, chunks }) => isSameRequest && chunks > 0);
  if (hasYielded) exchange.reportCall(noRelay, 'called write() when its application had yielded');
  return hasYielded;
}

const passesClose = rule('middleware', 'close-propagated', 'error', DETAILS,
  'Middleware whose body is closed closes its application\'s body.',
  'Give your body a close() that calls the inner one\'s; in a generator, use finally.');

/** Reports middleware that was closed and did not close; called when it has had its turn. */
export function checkPropagated(exchange: Exchange, isLate: boolean): void {
  for (const inner of exchange.inner ?? []) {
    if (!inner.isSameRequest || !inner.returned || inner.closed) continue;
    const action = `did not close the body of the application${inner.name}`;
    if (isLate) inner.reportLate(passesClose, action);
    else inner.reportValue(passesClose, action);
  }
}
