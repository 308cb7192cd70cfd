// The objects in a trace: each is replaced by one that does the same and draws the calls
// that belong to the interface.

import {
  type Method,
  type Watch,
  proxyOf,
  watchBody,
  watchInPlace,
  whenSettled,
} from '../proxy.ts';
import { asyncIteratorOf } from '../web-stream.ts';
import { type Printer, cut, oneLine, showBytes } from './printer.ts';

/** An input stream that draws what is asked of it and what it gives. */
export function traceInput<Input extends object>(input: Input, printer: Printer): Input {
  const give = (data: unknown): void => {
    const isEmpty = data instanceof Uint8Array && data.length === 0;
    printer.toApplication(isEmpty ? 'nothing: it has ended' : showBytes(data));
  };
  return proxyOf(input, (key, method) => {
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
  return proxyOf(lines, (key, method) => {
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
  return proxyOf(errors, (key, method) => {
    if (key !== 'write' && key !== 'writelines') return undefined;
    return (...args) => {
      const shown = typeof args[0] === 'string' ? `"${oneLine(cut(args[0], 32))}"` : '…';
      printer.toServer(`wsgi.errors.${key}(${shown})`);
      return printer.attemptServer(() => method(...args));
    };
  });
}

/** A body that draws each step. It calls `finish` when the response is over. */
export function traceBody(body: unknown, printer: Printer, finish: () => void): unknown {
  // The server refuses anything that is not a body, and says what is wrong with it.
  if (!isBody(body)) {
    finish();
    return body;
  }
  const watch: Watch = (key, method) => {
    switch (key) {
      case Symbol.asyncIterator:
        return () => traceIterator(asyncIteratorOf(body as AsyncIterable<unknown>), printer);
      case Symbol.iterator:
        return () => traceIterator(method() as object, printer);
      default:
        return traceClose(key, method, printer);
    }
  };
  return watchBody(body, finish, watch);
}

/** A file that draws its end, and stays the same object. */
export function traceFile<File extends object>(
  file: File,
  printer: Printer,
  finish: () => void,
): File {
  watchInPlace(file, finish, (key, method) => traceClose(key, method, printer));
  return file;
}

function isBody(body: unknown): body is object {
  if (typeof body !== 'object' || body === null || ArrayBuffer.isView(body)) return false;
  return Symbol.asyncIterator in body || Symbol.iterator in body;
}

function traceClose(key: string | symbol, close: Method, printer: Printer): Method | undefined {
  if (key !== 'close') return undefined;
  return (...args) => {
    printer.toApplication('close()');
    return printer.attempt(() => close(...args));
  };
}

function traceIterator(chunks: object, printer: Printer): object {
  return proxyOf(chunks, (key, method) => {
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
