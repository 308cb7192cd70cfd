// The body in a trace: passes every call through, and prints it.

import type { ResponseBody } from '../types.ts';
import { type Printer, showBytes } from './printer.ts';

/** A body that does what `body` does and prints each step. Stays what it was: sync or async. */
export function traceBody(body: ResponseBody, printer: Printer): ResponseBody {
  const traced: ResponseBody =
    Symbol.asyncIterator in body
      ? { [Symbol.asyncIterator]: () => traceAsync(body[Symbol.asyncIterator](), printer) }
      : { [Symbol.iterator]: () => traceSync(body[Symbol.iterator](), printer) };
  const { length } = body as { length?: unknown };
  if (typeof length === 'number') Object.assign(traced, { length });
  if (typeof body.close === 'function') traced.close = traceClose(body, printer);
  return traced;
}

/** The body's `close()`, printed. */
export function traceClose(body: ResponseBody, printer: Printer): () => void | Promise<void> {
  const close = body.close?.bind(body);
  return () => {
    printer.toApplication('close()');
    return close?.();
  };
}

function traceSync(inner: Iterator<Uint8Array>, printer: Printer): Iterator<Uint8Array> {
  const traced: Iterator<Uint8Array> = {
    next() {
      printer.toApplication('next chunk?');
      try {
        return printStep(inner.next(), printer);
      } catch (error) {
        printer.failure(error);
        throw error;
      }
    },
  };
  if (inner.return !== undefined) {
    traced.return = (value) => {
      printer.toApplication('return(), stop early');
      return inner.return?.(value) ?? { done: true, value: undefined };
    };
  }
  return traced;
}

function traceAsync(inner: AsyncIterator<Uint8Array>, printer: Printer): AsyncIterator<Uint8Array> {
  const traced: AsyncIterator<Uint8Array> = {
    async next() {
      printer.toApplication('next chunk?');
      try {
        return printStep(await inner.next(), printer);
      } catch (error) {
        printer.failure(error);
        throw error;
      }
    },
  };
  if (inner.return !== undefined) {
    traced.return = async (value) => {
      printer.toApplication('return(), stop early');
      return (await inner.return?.(value)) ?? { done: true, value: undefined };
    };
  }
  return traced;
}

function printStep(step: IteratorResult<Uint8Array>, printer: Printer): IteratorResult<Uint8Array> {
  printer.toServer(step.done ? 'no more' : showBytes(step.value));
  return step;
}
