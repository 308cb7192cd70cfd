// write(): the older way to send, before the returned body's own chunks.

import { describe } from '../describe.ts';
import type { Write } from '../types.ts';
import { chunkDetached, chunkHint, isDetached } from './chunk.ts';
import type { Exchange } from './exchange.ts';
import { checkRelay } from './layers.ts';
import { countBytes } from './length.ts';
import { isBytes, isThenable } from './probe.ts';
import { DETAILS, START_RESPONSE, STRING_TYPES, WRITE, application } from './rule.ts';
import { checkTrapped } from './started.ts';

const argumentCount = application.error('write-argc', DETAILS,
  'write() takes one chunk.', 'Call write(bytes).');

const takesBytes = application.error('write-bytes', STRING_TYPES,
  'write() takes a Uint8Array.', 'Encode text: new TextEncoder().encode(text).');

const stale = application.error('write-stale', START_RESPONSE,
  'The write() of a response that was replaced is of no more use.',
  'Use what the last call of startResponse returned.');

const afterEnd = application.error('write-after-end', WRITE,
  'write() is called before the body has ended.',
  'Await what still writes before the body ends, or yield chunks instead.');

const inIterable = application.error('write-in-iterable', WRITE,
  'write() is not called from within the returned iterable: what it sends comes first.',
  'Yield the chunk.');

const unawaited = application.warning('write-unawaited', 'tsgiref/types, Write',
  'A chunk is written when the one before it has left.', 'Await each write().');

const used = application.option('write-used', WRITE,
  'New applications return their chunks, and do not use write().',
  'Return an iterable, such as a generator.');

/** What the application calls as write. */
export function callWrite(
  exchange: Exchange,
  generation: number,
  write: Write,
  args: readonly unknown[],
): unknown {
  const [data] = args;
  checkMoment(exchange, generation);
  checkArguments(exchange, args);
  if (isBytes(data)) countBytes(exchange, data.length, true);

  const result: unknown = Reflect.apply(write, undefined, args);
  if (isBytes(data) && data.length > 0) exchange.headSent = true;
  return isThenable(result) ? wait(exchange, result) : result;
}

function checkMoment(exchange: Exchange, generation: number): void {
  checkTrapped(exchange, 'called write()');
  if (exchange.exhausted || exchange.closed) {
    exchange.misuse(afterEnd, 'called write() after the body had ended');
  } else if (generation !== exchange.generation) {
    exchange.misuse(stale, 'called the write() of an earlier startResponse');
  } else if (!checkRelay(exchange) && exchange.iterating) {
    exchange.misuse(inIterable, 'called write() while its body was iterated');
  }
  if (exchange.writing) exchange.misuse(unawaited, 'called write() while the one before waited');
  exchange.misuse(used, 'called write()');
}

function checkArguments(exchange: Exchange, args: readonly unknown[]): void {
  const [data] = args;
  if (args.length !== 1) {
    exchange.misuse(argumentCount, `called write() with ${args.length} arguments`);
  } else if (!isBytes(data)) {
    exchange.misuse(takesBytes, `called write() with ${describe(data)}`, chunkHint(data));
  } else if (data.length === 0 && isDetached(data)) {
    exchange.misuse(chunkDetached, 'called write() with a chunk whose buffer was transferred');
  }
}

async function wait(exchange: Exchange, result: PromiseLike<unknown>): Promise<unknown> {
  exchange.writing = true;
  try {
    return await result;
  } finally {
    exchange.writing = false;
  }
}
