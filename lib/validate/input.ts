// wsgi.input: how the application may read, and what the server must then give.

import { describe } from '../describe.ts';
import type { Exchange } from './exchange.ts';
import { watchOtherMembers } from './members.ts';
import { isBytes, isThenable, property } from './probe.ts';
import { STREAMS, STRING_TYPES, type Rule, application, server } from './rule.ts';

// ---- The application's side

const readArguments = application.error('read-argc', STREAMS,
  'read() takes a size or nothing.', 'Call read(size), or read() for all that is left.');

const readlineArguments = application.error('readline-argc', STREAMS,
  'readline() takes a size or nothing.', 'Call readline(), or readline(size).');

const readlinesArguments = application.error('readlines-argc', STREAMS,
  'readlines() takes a hint or nothing.', 'Call readlines(), or readlines(hint).');

const sizeInteger = application.error('read-size-int', STREAMS,
  'A size is a whole number of bytes.', 'Convert it: Number.parseInt(text, 10).');

const sizeNotNegative = application.error('read-size-nonneg', STREAMS,
  'A size is not negative, but for -1, which is all that is left.',
  'Pass 0 or more, or nothing for all that is left.');

const overlap = application.error('read-overlap', 'tsgiref/types, InputStream',
  'A read waits for the one before it.', 'Await each read before the next.');

const unawaited = application.warning('read-unawaited', 'tsgiref/types, InputStream',
  'A response ends after its reads.', 'Await each read, or do not begin it.');

const afterResponse = application.error('input-after-response', STREAMS,
  'The input is read while the request lasts.',
  'Read what you need before the body ends, or keep what you have read.');

const pastLength = application.warning('input-past-length', STREAMS,
  'An application does not try to read more than CONTENT_LENGTH.',
  'Ask for no more than is left, or check that wsgi.input_terminated is true.');

const noClose = application.error('input-no-close', STREAMS,
  'The application never closes wsgi.input: it is the server\'s.',
  'Leave it open; the server disposes of what was not read.');

const noOther = application.error('input-no-other-attr', STREAMS,
  'wsgi.input has read(), readline(), readlines() and asynchronous iteration, no more.',
  'Use these: another server\'s stream may have nothing else.');

const CLOSING = new Set(['close', 'destroy', 'cancel', 'return', 'end', 'abort']);

// ---- The server's side

const readPromise = server.error('read-thenable', 'tsgiref/types, InputStream',
  'read(), readline() and readlines() return promises.', 'Make them async methods.');

const readBytes = server.error('read-returns-bytes', STRING_TYPES,
  'read() gives a Uint8Array.', 'Encode text, and wrap an ArrayBuffer: new Uint8Array(buffer).');

const readNothing = server.error('read-not-nil', STREAMS,
  'At the end, read() gives an empty Uint8Array.', 'Give new Uint8Array(0), not null.');

const readTooLong = server.error('read-not-too-long', STREAMS,
  'read(size) gives size bytes at most.', 'Keep the rest for the next read.');

const readAfterEnd = server.error('read-after-eof', STREAMS,
  'After an empty result nothing more comes: it was the end.',
  'Wait until there are bytes; give none only at the end.');

const readlineBytes = server.error('readline-returns-bytes', STRING_TYPES,
  'readline() gives a Uint8Array.', 'Give new Uint8Array(0) at the end, and encode text.');

const readlineOne = server.error('readline-one-line', STREAMS,
  'readline(size) gives one line, LF and all, and size bytes at most.',
  'Cut after the first LF or after size bytes, whichever comes first.');

const readlinesArray = server.error('readlines-list', STREAMS,
  'readlines() gives an array.', 'Collect the lines in one.');

const readlinesItems = server.error('readlines-items', STRING_TYPES,
  'readlines() gives lines of bytes.', 'Encode them.');

const iterationItems = server.error('input-iter-items', STRING_TYPES,
  'Iteration over wsgi.input gives lines of bytes.', 'Yield Uint8Arrays.');

const overLength = server.error('input-over-length', STREAMS,
  'wsgi.input ends after CONTENT_LENGTH bytes.', 'Cut it off there.');

const underLength = server.warning('input-under-length', 'RFC 9112 §8',
  'A body that breaks off before CONTENT_LENGTH makes the read fail.',
  'Reject the read, so that half a body is not taken for a whole one.');

const LF = 0x0a;

type Method = 'read' | 'readline' | 'readlines';

/** Stands in for `wsgi.input`. */
export class InputCheck {
  readonly #exchange: Exchange;
  readonly #input: object;
  #received = 0;
  #ended = false;

  static {
    watchOtherMembers(this.prototype, (self, name) => {
      return #input in self ? self.#touch(name) : undefined;
    });
  }

  constructor(exchange: Exchange, input: object) {
    this.#exchange = exchange;
    this.#input = input;
  }

  read(...args: unknown[]): unknown {
    this.#checkCall('read', args, readArguments);
    return this.#call('read', args, (data) => this.#checkRead(data, args[0]));
  }

  readline(...args: unknown[]): unknown {
    this.#checkCall('readline', args, readlineArguments);
    return this.#call('readline', args, (data) => this.#checkLine(data, args[0]));
  }

  readlines(...args: unknown[]): unknown {
    this.#checkCall('readlines', args, readlinesArguments);
    return this.#call('readlines', args, (lines) => this.#checkLines(lines, args[0]));
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    this.#checkTime('iterate over wsgi.input');
    const input = this.#input as AsyncIterable<unknown>;
    const lines = input[Symbol.asyncIterator]();
    return {
      next: () => {
        this.#checkTime('iterate over wsgi.input');
        return this.#wait('iteration', lines.next(), (step) => {
          if (property(step, 'done')) this.#checkEnd();
          else this.#checkItem(iterationItems, 'gave an iteration', property(step, 'value'));
        }) as Promise<IteratorResult<unknown>>;
      },
      return: async () => {
        await lines.return?.();
        return { done: true, value: undefined };
      },
    };
  }

  #touch(name: string): unknown {
    const exchange = this.#exchange;
    if (CLOSING.has(name)) exchange.misuse(noClose, `reached for wsgi.input.${name}`);
    else exchange.misuse(noOther, `reached for wsgi.input.${name}`);
    const member = property(this.#input, name);
    return typeof member === 'function' ? member.bind(this.#input) : member;
  }

  #checkCall(method: Method, args: unknown[], tooMany: Rule): void {
    const exchange = this.#exchange;
    if (args.length > 1) {
      exchange.misuse(tooMany, `called wsgi.input.${method}() with ${args.length} arguments`);
    }
    const size = args[0];
    const deed = `called wsgi.input.${method}(${describe(size)})`;
    if (size !== undefined && !Number.isInteger(size)) exchange.misuse(sizeInteger, deed);
    else if (typeof size === 'number' && size < -1) exchange.misuse(sizeNotNegative, deed);
    this.#checkTime(`call wsgi.input.${method}()`);
    // A line may end before its limit; only read() asks for as much as it says.
    if (method === 'read') this.#checkDemand(deed, size);
  }

  #checkTime(attempt: string): void {
    const exchange = this.#exchange;
    if (exchange.closed) exchange.misuse(afterResponse, `tried to ${attempt} after its end`);
    if (exchange.pendingReads > 0) {
      exchange.misuse(overlap, `tried to ${attempt} while an earlier read still waited`);
    }
  }

  // Asking again where the body has been read to its length is how a loop learns
  // that it has ended; asking beyond it, on a server whose input does not end by
  // itself, may wait for ever.
  #checkDemand(deed: string, size: unknown): void {
    const { inputLength, environ } = this.#exchange;
    if (typeof size !== 'number' || inputLength === undefined) return;
    const left = inputLength - this.#received;
    if (left > 0 && size > left && property(environ, 'wsgi.input_terminated') !== true) {
      this.#exchange.misuse(pastLength, `${deed} with ${left} bytes left of ${inputLength}`);
    }
  }

  #call(method: Method, args: unknown[], checkResult: (result: unknown) => void): unknown {
    const result: unknown = Reflect.apply(
      property(this.#input, method) as () => unknown, this.#input, args,
    );
    if (isThenable(result)) return this.#wait(`${method}()`, result, checkResult);
    this.#exchange.fault(readPromise, `returned ${describe(result)} from wsgi.input.${method}()`);
    checkResult(result);
    return result;
  }

  async #wait(
    what: string,
    result: unknown,
    checkResult: (result: unknown) => void,
  ): Promise<unknown> {
    const exchange = this.#exchange;
    exchange.pendingReads += 1;
    let settled: unknown;
    try {
      settled = await result;
    } finally {
      exchange.pendingReads -= 1;
    }
    try {
      checkResult(settled);
    } catch (error) {
      exchange.rethrow(error, readBytes, `gave ${describe(settled)} from ${what} of wsgi.input`);
    }
    return settled;
  }

  #checkRead(data: unknown, size: unknown): void {
    const exchange = this.#exchange;
    if (data === null || data === undefined) {
      exchange.fault(readNothing, `gave ${describe(data)} from wsgi.input.read()`);
    } else if (!isBytes(data)) {
      exchange.fault(readBytes, `gave ${describe(data)} from wsgi.input.read()`);
    } else {
      if (typeof size === 'number' && size >= 0 && data.length > size) {
        exchange.fault(readTooLong, `gave ${data.length} bytes from wsgi.input.read(${size})`);
      }
      this.#count(data.length, size);
      if (size === undefined || size === -1) this.#checkEnd();
    }
  }

  #checkLine(data: unknown, size: unknown): void {
    const exchange = this.#exchange;
    if (!isBytes(data)) {
      exchange.fault(readlineBytes, `gave ${describe(data)} from wsgi.input.readline()`);
      return;
    }
    const newline = data.indexOf(LF);
    if (newline !== -1 && newline < data.length - 1) {
      exchange.fault(readlineOne, 'gave more than one line from wsgi.input.readline()');
    }
    if (typeof size === 'number' && size >= 0 && data.length > size) {
      exchange.fault(readlineOne, `gave ${data.length} bytes from wsgi.input.readline(${size})`);
    }
    this.#count(data.length, size);
  }

  #checkLines(lines: unknown, hint: unknown): void {
    if (!Array.isArray(lines)) {
      const deed = `gave ${describe(lines)} from wsgi.input.readlines()`;
      this.#exchange.fault(readlinesArray, deed);
      return;
    }
    for (const line of lines) this.#checkItem(readlinesItems, 'gave readlines()', line);
    if (hint === undefined) this.#checkEnd();
  }

  #checkItem(rule: Rule, gave: string, line: unknown): void {
    if (isBytes(line)) this.#count(line.length, undefined);
    else this.#exchange.fault(rule, `${gave} ${describe(line)} as a line of wsgi.input`);
  }

  #count(length: number, size: unknown): void {
    if (length === 0) {
      if (size !== 0) this.#checkEnd();
      return;
    }
    const exchange = this.#exchange;
    this.#received += length;
    if (this.#ended) {
      exchange.fault(readAfterEnd, `gave ${length} bytes of wsgi.input after it had ended`);
    }
    const { inputLength = Infinity } = exchange;
    if (this.#received > inputLength) {
      const deed = `gave ${this.#received} bytes of wsgi.input for CONTENT_LENGTH ${inputLength}`;
      exchange.fault(overLength, deed);
    }
  }

  #checkEnd(): void {
    const exchange = this.#exchange;
    const { inputLength = 0 } = exchange;
    if (!this.#ended && this.#received < inputLength) {
      const deed = `ended wsgi.input after ${this.#received} of ${inputLength} bytes`;
      exchange.fault(underLength, deed);
    }
    this.#ended = true;
  }
}

/** Reports a read that nobody waits for, when the body has ended by itself. */
export function checkReads(exchange: Exchange): void {
  if (exchange.pendingReads > 0) {
    exchange.fault(unawaited, 'ended its body while a read of wsgi.input still waited');
  }
}

/** The request's Content-Length, if it is a number that can be counted to. */
export function inputLengthOf(environ: object): number | undefined {
  const length = property(environ, 'CONTENT_LENGTH');
  if (typeof length !== 'string' || !/^[0-9]+$/.test(length)) return undefined;
  const number = Number(length);
  return Number.isSafeInteger(number) ? number : undefined;
}
