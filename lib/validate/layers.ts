// Two validators, one around a middleware and one inside it, find each other
// through environ. Between them they see what no single one can: whether the
// middleware passes on what it must, and when.

import type { Exchange } from './exchange.ts';
import { property } from './probe.ts';
import { BLOCK_BOUNDARIES, DETAILS, middleware } from './rule.ts';

const returnsAtOnce = middleware.error('mw-no-direct-each', BLOCK_BOUNDARIES,
  'Middleware returns its body as soon as the application has returned one.',
  'Return a generator that does the work chunk by chunk.');

const yieldsEach = middleware.error('mw-yield-per-chunk', BLOCK_BOUNDARIES,
  'Middleware yields at least once for each chunk that its application yields.',
  'Yield new Uint8Array(0) while you gather more.');

const noRelay = middleware.error('mw-write-relay', BLOCK_BOUNDARIES,
  'Middleware does not write() what its application yields.', 'Yield it.');

const passesClose = middleware.error('close-propagated', DETAILS,
  'Middleware whose body is closed closes its application\'s body.',
  'Give your body a close() that calls the inner one\'s; in a generator, use finally.');

/** The key under which an outer validator leaves word for inner ones. */
export const LINK = 'tsgiref.validator';

/** What is left in environ: empty to all who print or copy it. */
export class Link {
  readonly #exchange: Exchange;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  toJSON(): undefined {}

  /** The last exchange that used this environ, or the one it was copied from. */
  static find(environ: unknown): Exchange | undefined {
    const link = property(environ, LINK);
    return typeof link === 'object' && link !== null && #exchange in link
      ? link.#exchange
      : undefined;
  }
}

/**
 * The exchange from within which this application is called, if there is one. Of
 * two applications called one after the other with the same environ, the second
 * finds the first one's link; but that one is not at work now.
 */
export function findOuter(last: Exchange | undefined): Exchange | undefined {
  let found = last;
  while (found !== undefined && (found.closed || found.running === 0)) found = found.outer;
  return found;
}

/** Joins an exchange to the one around it. */
export function join(exchange: Exchange, outer: Exchange | undefined): void {
  if (outer === undefined) return;
  exchange.outer = outer;
  outer.inner ??= [];
  outer.inner.push(exchange);
}

/** Looks at middleware that asks its application for another chunk. */
export function checkMiddlewareAsking(exchange: Exchange): void {
  const { outer } = exchange;
  // To ask for one chunk early is how middleware learns status and headers.
  if (outer === undefined || exchange.chunks === 0) return;
  // A body that was stopped may be read to its end to be done with it.
  if (outer.running === 0 || outer.stopped) return;
  if (!outer.returned) {
    exchange.misuse(returnsAtOnce, 'iterated its application\'s body before returning its own');
  } else if (exchange.outerChunks === outer.chunks && !exchange.exhausted) {
    exchange.misuse(yieldsEach, 'asked for another chunk before it had yielded for the last one');
  }
}

/** Reports middleware that writes what it was yielded; false if it did not. */
export function checkRelay(exchange: Exchange): boolean {
  const yielded = exchange.inner?.some((inner) => inner.chunks > 0) ?? false;
  if (yielded) exchange.misuse(noRelay, 'called write() when its application had yielded');
  return yielded;
}

/** Reports middleware that was closed and did not close; called when it has had its turn. */
export function checkPropagated(exchange: Exchange): void {
  for (const inner of exchange.inner ?? []) {
    if (!inner.returned || inner.closed) continue;
    inner.fault(passesClose, `did not close the body of the application${inner.name}`);
  }
}
