// The body in a trace: whatever the server does with it is passed through, and
// drawn where it is part of the interface.

import { asyncIteratorOf } from '../handlers/body.ts';
import type { ResponseBody } from '../types.ts';
import { type Printer, showBytes } from './printer.ts';

/**
 * A body that is what `body` is, also by its class and its other members, and draws
 * each step. What is no body is given back as it is, for the server to name.
 */
export function traceBody(body: ResponseBody, printer: Printer): ResponseBody {
  const isBody = Symbol.asyncIterator in body || Symbol.iterator in body;
  if (!isBody || ArrayBuffer.isView(body)) return body;
  const chunks = body as AsyncIterable<Uint8Array>;
  return new Proxy(body, {
    get: (_, key) => {
      const member: unknown = Reflect.get(body, key, body);
      // What cannot change, a proxy may not show changed.
      if (typeof member !== 'function' || isFixed(body, key)) return member;
      if (key === 'constructor') return member;
      // Bound, since a class may keep its state in private fields.
      const call = member.bind(body) as () => never;
      if (key === Symbol.asyncIterator) return () => traceAsync(asyncIteratorOf(chunks), printer);
      if (key === Symbol.iterator) return () => traceSync(call(), printer);
      return key === 'close' ? traceClose(call, printer) : call;
    },
  });
}

/** The body's `close()`, drawn. */
export function traceClose<Result>(close: () => Result, printer: Printer): () => Result {
  return () => {
    printer.toApplication('close()');
    return printer.attempt(close);
  };
}

function traceSync(inner: Iterator<Uint8Array>, printer: Printer): Iterator<Uint8Array> {
  const traced: Iterator<Uint8Array> = {
    next: () => {
      printer.toApplication('next chunk?');
      const step = printer.attempt(() => inner.next());
      drawStep(step, printer);
      return step;
    },
  };
  if (typeof inner.return === 'function') {
    traced.return = (value) => {
      printer.toApplication('return(): stop early');
      return printer.attempt(() => inner.return?.(value) ?? DONE);
    };
  }
  return traced;
}

function traceAsync(inner: AsyncIterator<Uint8Array>, printer: Printer): AsyncIterator<Uint8Array> {
  const traced: AsyncIterator<Uint8Array> = {
    next: async () => {
      printer.toApplication('next chunk?');
      const step = await printer.attempt(() => inner.next());
      drawStep(step, printer);
      return step;
    },
  };
  if (typeof inner.return === 'function') {
    traced.return = async (value) => {
      printer.toApplication('return(): stop early');
      return (await printer.attempt(() => inner.return?.(value))) ?? DONE;
    };
  }
  return traced;
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

function drawStep(step: IteratorResult<Uint8Array> | undefined | null, printer: Printer): void {
  printer.toServer(step?.done ? 'no more' : showBytes(step?.value));
}

function isFixed(body: object, key: string | symbol): boolean {
  const own = Reflect.getOwnPropertyDescriptor(body, key);
  return own !== undefined && own.configurable === false && own.writable === false;
}
