// The objects in a trace: each is replaced by one that does the same and draws the calls
// that belong to the interface.

import { type Method, standIn, whenOver, whenSettled } from '../stand-in.ts';
import { asyncIteratorOf } from '../web-stream.ts';
import { type Printer, cut, oneLine, showBytes } from './printer.ts';

/** An input stream that draws what is asked of it and what it gives. */
export function traceInput<Input extends object>(input: Input, printer: Printer): Input {
  const give = (data: unknown): void => {
    const isEmpty = data instanceof Uint8Array && data.length === 0;
    printer.toApplication(isEmpty ? 'nothing: it has ended' : showBytes(data));
  };
  return standIn(input, (key, method) => {
    switch (key) {
      case 'read':
      case 'read1':
      case 'readline':
        return (...args) => {
          printer.toServer(`wsgi.input.${key}(${args.map(String).join()})`);
          return whenSettled(printer.attemptServer(() => method(...args)), give);
        };
      case 'readlines':
        return (...args) => {
          printer.toServer(`wsgi.input.readlines(${args.map(String).join()})`);
          return whenSettled(printer.attemptServer(() => method(...args)), (lines) => {
            const count = Array.isArray(lines) ? lines.length : 0;
            printer.toApplication(count === 1 ? '1 line' : `${count} lines`);
          });
        };
      case Symbol.asyncIterator:
        return () => traceLines(method() as AsyncIterator<unknown>, give, printer);
      default:
        return undefined;
    }
  });
}

function traceLines(
  lines: AsyncIterator<unknown>,
  give: (line: unknown) => void,
  printer: Printer,
): AsyncIterator<unknown> {
  return standIn(lines, (key, method) => {
    if (key !== 'next') return undefined;
    return () => {
      printer.toServer('next line of wsgi.input?');
      return whenSettled(printer.attemptServer(method), (step) => {
        const { done, value } = Object(step) as IteratorResult<unknown>;
        give(done ? new Uint8Array(0) : value);
      });
    };
  });
}

/** An error stream that draws what is written to it. */
export function traceErrors<Errors extends object>(errors: Errors, printer: Printer): Errors {
  return standIn(errors, (key, method) => {
    if (key !== 'write' && key !== 'writelines') return undefined;
    return (...args) => {
      const shown = typeof args[0] === 'string' ? `"${oneLine(cut(args[0], 32))}"` : '…';
      printer.toServer(`wsgi.errors.${key}(${shown})`);
      return printer.attemptServer(() => method(...args));
    };
  });
}

/** A body that draws each step, and calls `finish` when it is closed. */
export function traceBody<Body extends object>(
  body: Body,
  printer: Printer,
  finish: () => void,
): Body {
  const isBody = Symbol.asyncIterator in body || Symbol.iterator in body;
  // The server will say what is wrong with anything else.
  if (!isBody || ArrayBuffer.isView(body)) return body;
  const member = (key: string | symbol, method: Method): Method | undefined => {
    if (key === Symbol.asyncIterator) {
      return () => traceIterator(asyncIteratorOf(body as AsyncIterable<Uint8Array>), printer);
    }
    if (key === Symbol.iterator) return () => traceIterator(method() as object, printer);
    return key === 'close' ? traceClose(method, printer, finish) : undefined;
  };
  // By its close(), a server says that the response is over.
  return standIn(body, member, { close: finish });
}

/** The body's `close()`, drawn. */
export function traceClose(close: Method, printer: Printer, finish: () => void): Method {
  return (...args) => {
    printer.toApplication('close()');
    return whenOver(() => printer.attempt(() => close(...args)), finish);
  };
}

function traceIterator(chunks: object, printer: Printer): object {
  return standIn(chunks, (key, method) => {
    if (key === 'next') {
      return (...args) => {
        printer.toApplication('next chunk?');
        return whenSettled(printer.attempt(() => method(...args)), (step) => {
          const { done, value } = Object(step) as IteratorResult<unknown>;
          printer.toServer(done ? 'no more' : showBytes(value));
        });
      };
    }
    if (key !== 'return') return undefined;
    return (...args) => {
      printer.toApplication('return(): stop early');
      return printer.attempt(() => method(...args));
    };
  });
}
