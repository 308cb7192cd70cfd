// One chunk of the body: bytes, and bytes that stay what they are.

import { describe } from '../describe.ts';
import type { Exchange } from './exchange.ts';
import { isBytes, isInstance, isThenable } from './probe.ts';
import { ITERATION, STREAMING, STRING_TYPES, type Rule, application } from './rule.ts';

const chunkBytes = application.error('chunk-bytes', STRING_TYPES,
  'Every chunk of the body is a Uint8Array.', 'Encode text: new TextEncoder().encode(text).');

/** Also what a synchronous `next()` must not give. */
export const syncPromise: Rule = application.error('iter-sync-promise', ITERATION,
  'A synchronous iterator yields chunks, not promises of them.',
  'Await the chunk, or make the generator an async one.');

/** Also what `write()` must not be given. */
export const chunkDetached: Rule = application.error(
  'chunk-detached', 'ECMA-262, "ArrayBuffer Objects"',
  'The bytes of a chunk are still there when it is yielded.',
  'Yield it before its buffer is transferred, or yield a copy.');

const chunkReused = application.option('chunk-reused', STREAMING,
  'The bytes of a chunk stay as they are: they may still be on their way.',
  'Use a new Uint8Array for each chunk.');

/** Checks a chunk; returns its length, or 0 if it has none. */
export function checkChunk(exchange: Exchange, chunk: unknown, isAsync: boolean): number {
  if (isBytes(chunk)) {
    if (chunk.length === 0 && isDetached(chunk)) {
      exchange.fault(chunkDetached, 'yielded a chunk whose buffer has been transferred');
    }
    return chunk.length;
  }
  if (!isAsync && isThenable(chunk)) exchange.fault(syncPromise, 'yielded a promise');
  else exchange.fault(chunkBytes, `yielded ${describe(chunk)}`, chunkHint(chunk));
  return 0;
}

/** What was probably meant; undefined for the usual hint. */
export function chunkHint(chunk: unknown): string | undefined {
  if (typeof chunk === 'number') return 'Return [bytes], not the Uint8Array itself.';
  if (isInstance(chunk, ArrayBuffer)) return 'Wrap it: new Uint8Array(buffer).';
  if (ArrayBuffer.isView(chunk)) {
    return 'Wrap it: new Uint8Array(view.buffer, view.byteOffset, view.byteLength).';
  }
  if (chunk === undefined || chunk === null) return 'Yield new Uint8Array(0) for nothing.';
  return isThenable(chunk) ? 'Await it.' : undefined;
}

/** Whether the buffer of an empty chunk has been taken away from it. */
export function isDetached(chunk: Uint8Array): boolean {
  try {
    // Not all engines have `buffer.detached` yet; none makes a view of such a one.
    return new Uint8Array(chunk.buffer).length < 0;
  } catch {
    return true;
  }
}

/** Remembers the last chunk, to see whether it is still the same later. */
export class ReuseCheck {
  private chunk: Uint8Array | undefined = undefined;
  private sum = 0;
  private reported = false;

  /** Looks at the last chunk again, and takes note of the next. */
  follow(exchange: Exchange, chunk: unknown): void {
    if (this.reported) return;
    if (this.chunk !== undefined && checksum(this.chunk) !== this.sum) {
      this.reported = true;
      exchange.fault(chunkReused, 'changed a chunk after it had yielded it');
    }
    this.chunk = isBytes(chunk) ? chunk : undefined;
    this.sum = this.chunk === undefined ? 0 : checksum(this.chunk);
  }

  /** Whether anybody wants to know: to look at every byte twice costs time. */
  static isWanted(exchange: Exchange): boolean {
    return exchange.reporter.severityOf(chunkReused) !== 'off';
  }
}

// FNV-1a, 32 bits.
function checksum(chunk: Uint8Array): number {
  let sum = 0x811c9dc5;
  for (const byte of chunk) sum = Math.imul(sum ^ byte, 0x01000193);
  return sum;
}
