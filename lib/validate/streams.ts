// The objects in environ that the application uses: wsgi.input, wsgi.errors and
// wsgi.file_wrapper. How it may use them, and what the server must then give.
// (PEP 3333, "Input and Error Streams" and "Optional Platform-Specific File Handling")

import { count, describe, isClass, isObject, isThenable, property } from '../describe.ts';
import { originalVariable, replaceVariable } from './environ.ts';
import {
  type Exchange,
  Guard,
  GuardedIterator,
  type GuardedMethod,
  type IterationHooks,
  type Method,
  type WrappedFile,
  call,
  hasMethod,
  isBytes,
  markGuarded,
} from './mechanism.ts';
import { ENVIRON, FILE_HANDLING, STREAMS, STRING_TYPES, type Rule, rule } from './rule.ts';

/** Puts guards around the streams and the file wrapper. */
export function guardStreams(exchange: Exchange, environ: Record<string, unknown>): void {
  const input = originalVariable(exchange, 'wsgi.input');
  const errors = originalVariable(exchange, 'wsgi.errors');
  const wrapFile = originalVariable(exchange, 'wsgi.file_wrapper');
  if (isObject(input)) {
    replaceVariable(exchange, 'wsgi.input', new InputGuard(exchange, input).proxy());
  }
  if (isObject(errors)) {
    replaceVariable(exchange, 'wsgi.errors', new ErrorsGuard(exchange, errors).proxy());
  }
  if ('wsgi.file_wrapper' in environ) checkFileWrapper(exchange, wrapFile);
  if (typeof wrapFile === 'function') {
    const guarded: Method = (...args) => exchange.answer(() => wrap(exchange, wrapFile, args));
    replaceVariable(exchange, 'wsgi.file_wrapper', markGuarded(exchange, guarded));
  }
}

// ---- wsgi.input: how the application reads

const readArguments = rule('application', 'read-argc', 'error', STREAMS,
  'read() takes a size or nothing.', 'Call read(size), or read() for all that is left.');

const readlineArguments = rule('application', 'readline-argc', 'error', STREAMS,
  'readline() takes a size or nothing.', 'Call readline(), or readline(size).');

const readlinesArguments = rule('application', 'readlines-argc', 'error', STREAMS,
  'readlines() takes a hint or nothing.', 'Call readlines(), or readlines(hint).');

const sizeInteger = rule('application', 'read-size-int', 'error', STREAMS,
  'A size is a whole number of bytes.', 'Pass a whole number, or nothing for all that is left.',
  (size) => {
    if (typeof size === 'string') return 'Convert it: Number.parseInt(text, 10).';
    if (typeof size === 'bigint') return 'Convert it: Number(size).';
    if (size === Infinity) return 'Call read() without a size for all that is left.';
    if (typeof size === 'number' && !Number.isNaN(size)) return 'Round it: Math.floor(size).';
    return Number.isNaN(size)
      ? 'CONTENT_LENGTH may be missing or empty: call read() without a size then.'
      : 'Call read() without a size for all that is left.';
  });

const sizeNotNegative = rule('application', 'read-size-nonneg', 'error', STREAMS,
  'A size is not negative, except for -1, which means all that is left.',
  'Pass 0 or more, or nothing for all that is left.');

const overlap = rule('application', 'read-overlap', 'error', 'tsgiref/types, InputStream',
  'A read begins when the one before it has settled.', 'Await each read before the next.');

const unawaited = rule('application', 'read-unawaited', 'warning', 'tsgiref/types, InputStream',
  'A response ends after its reads.', 'Await each read, or do not begin it.');

const afterResponse = rule('application', 'input-after-response', 'error', STREAMS,
  'The input is read while the request lasts.',
  'Read what you need before the body ends, and keep what you have read.');

const pastLength = rule('application', 'input-past-length', 'warning', STREAMS,
  'An application does not try to read more than CONTENT_LENGTH.',
  'Ask for no more than is left, or check that wsgi.input_terminated is true.');

const noClose = rule('application', 'input-no-close', 'error', STREAMS,
  'The application never closes wsgi.input, which is the server\'s.',
  'Leave it open; the server disposes of what was not read.');

const noOther = rule('application', 'input-no-other-attr', 'error', STREAMS,
  'wsgi.input has read(), readline(), readlines() and asynchronous iteration, and nothing else.',
  'Use these: the stream of another server may have nothing else.');

const iterateAsync = rule('application', 'input-iter-async', 'error', 'tsgiref/types, InputStream',
  'wsgi.input is iterated asynchronously, since its lines have yet to arrive.',
  'Write for await (const line of input), or await input.readlines().');

const CLOSING = new Set(['close', 'destroy', 'cancel', 'return', 'end', 'abort']);

// ---- wsgi.input: what the server gives

const readPromise = rule('server', 'read-thenable', 'error', 'tsgiref/types, InputStream',
  'read(), readline() and readlines() return promises.', 'Make them async methods.');

const readBytes = rule('server', 'read-returns-bytes', 'error', STRING_TYPES,
  'read() gives a Uint8Array.', 'Encode text, and wrap an ArrayBuffer: new Uint8Array(buffer).');

const readNothing = rule('server', 'read-not-nil', 'error', STREAMS,
  'At the end, read() gives an empty Uint8Array.', 'Give new Uint8Array(0), not null.');

const readTooLong = rule('server', 'read-not-too-long', 'error', STREAMS,
  'read(size) gives at most `size` bytes.', 'Keep the rest for the next read.');

const readAfterEnd = rule('server', 'read-after-eof', 'error', STREAMS,
  'An empty result means the end: nothing comes after it.',
  'Wait until there are bytes, and give none only at the end.');

const readlineBytes = rule('server', 'readline-returns-bytes', 'error', STRING_TYPES,
  'readline() gives a Uint8Array.', 'Give new Uint8Array(0) at the end, and encode text.');

const readlineOne = rule('server', 'readline-one-line', 'error', STREAMS,
  'readline(size) gives one line with its LF, and at most `size` bytes of it.',
  'Cut after the first LF or after `size` bytes, whichever comes first.');

const readlinesArray = rule('server', 'readlines-list', 'error', STREAMS,
  'readlines() gives an array.', 'Collect the lines in an array.');

const readlinesItems = rule('server', 'readlines-items', 'error', STRING_TYPES,
  'readlines() gives lines of bytes.', 'Encode them.', lineHint);

const iterationItems = rule('server', 'input-iter-items', 'error', STRING_TYPES,
  'Iteration over wsgi.input gives lines of bytes.', 'Yield Uint8Arrays.', lineHint);

function lineHint(found: unknown): string | undefined {
  return isBytes(found) ? 'Cut after each LF.' : undefined;
}

// For middleware that puts an input of its own into environ.
const NEW_LENGTH = 'Set CONTENT_LENGTH to the length of the new input.';

const overLength = rule('server', 'input-over-length', 'error', STREAMS,
  'wsgi.input ends after CONTENT_LENGTH bytes.', 'Cut it off there.',
  (exchange) => (exchange as Exchange).outer && NEW_LENGTH);

const underLength = rule('server', 'input-under-length', 'warning', 'RFC 9112 §8',
  'A body that ends before CONTENT_LENGTH makes the read fail.',
  'Reject the read, so that half a body is not taken for a whole one.',
  (exchange) => {
    const { outer, sharesInput } = exchange as Exchange;
    // An input that is still the request's has been read before.
    const remedy = 'Put back what you have read: environ[\'wsgi.input\'] = new BytesIO(bytes).';
    return sharesInput ? remedy : outer && NEW_LENGTH;
  });

const LF = 0x0a;

function isOneLine(data: Uint8Array): boolean {
  const newline = data.indexOf(LF);
  return newline === -1 || newline === data.length - 1;
}

/** Takes the place of wsgi.input. */
class InputGuard extends Guard implements IterationHooks {
  private received = 0;
  private ended = false;
  private lines: object = {};

  protected override member(key: PropertyKey): GuardedMethod | undefined {
    switch (key) {
      case 'read':
        return this.reader('read', readArguments, (data, size) => {
          this.checkRead(data, size);
          // All that is left was asked for.
          if (isBytes(data) && (size === undefined || size === -1)) this.checkEnd();
        });
      case 'readline':
        return this.reader('readline', readlineArguments, (line, size) => {
          this.checkLine(line, size);
        });
      case 'readlines':
        return this.reader('readlines', readlinesArguments, (lines, hint) => {
          this.checkLines(lines, hint);
        });
      case 'read1':
        // Not in PEP 3333, but a server may have it, and an application may look for it:
        // it gives what has arrived. (Python's io.BufferedReader)
        return this.reader('read1', readArguments, (data, size) => this.checkRead(data, size));
      case Symbol.asyncIterator:
        return hasMethod(this.real, key) ? () => this.iterate() : undefined;
      case Symbol.iterator:
        return hasMethod(this.real, key) ? undefined : () => this.refuseIteration();
      default:
        return undefined;
    }
  }

  protected override reportOther(name: string): void {
    const { exchange } = this;
    const broken = CLOSING.has(name) ? noClose : noOther;
    exchange.answer(() => exchange.reportCall(broken, `used wsgi.input.${name}`));
  }

  private reader(
    name: 'read' | 'read1' | 'readline' | 'readlines',
    tooMany: Rule,
    check: (result: unknown, size: unknown) => void,
  ): GuardedMethod | undefined {
    const method = this.realMethod(name);
    if (method === undefined) return undefined;
    return (self, args) => {
      const { exchange } = this;
      try {
        exchange.answer(() => this.checkCall(name, args, tooMany));
      } catch (error) {
        // A program that handles the failure of a read handles a rejection.
        return Promise.reject(error);
      }
      const result = method(self, args);
      const checkResult = (settled: unknown): void => check(settled, args[0]);
      if (isThenable(result)) return this.settle(`${name}()`, result, checkResult);
      exchange.answer(() => {
        exchange.reportCall(readPromise, `returned ${describe(result)} from wsgi.input.${name}()`);
        checkResult(result);
      });
      return result;
    };
  }

  private checkCall(name: string, args: unknown[], tooMany: Rule): void {
    const { exchange } = this;
    const [size] = args;
    if (args.length > 1) {
      exchange.reportCall(tooMany, `called wsgi.input.${name}() with ${args.length} arguments`);
    }
    const action = (): string => `called wsgi.input.${name}(${describe(size)})`;
    if (size !== undefined && !Number.isInteger(size)) {
      exchange.reportCall(sizeInteger, action(), size);
    } else if (typeof size === 'number' && size < -1) {
      exchange.reportCall(sizeNotNegative, action());
    }
    this.checkTime(`call wsgi.input.${name}()`);
    // A line may end before its limit; only read() asks for as much as its size.
    if (name === 'read' && typeof size === 'number') this.checkDemand(action, size);
  }

  private checkTime(attempt: string): void {
    const { exchange } = this;
    if (exchange.restored) {
      exchange.reportCall(afterResponse, `tried to ${attempt} after the response had ended`);
    }
    if (exchange.pendingReads > 0) {
      exchange.reportCall(overlap, `tried to ${attempt} while an earlier read was pending`);
    }
  }

  // A loop asks once more at the end of the body, to learn that it has ended. A read of
  // more than is left may wait without end, on a server whose input does not end by itself.
  private checkDemand(action: () => string, size: number): void {
    const { inputLength, environ } = this.exchange;
    if (inputLength === undefined) return;
    const left = inputLength - this.received;
    if (left > 0 && size > left && property(environ, 'wsgi.input_terminated') !== true) {
      const whole = `${action()} with ${count(left, 'byte')} left of ${inputLength}`;
      this.exchange.reportCall(pastLength, whole);
    }
  }

  private async settle(
    from: string,
    result: PromiseLike<unknown>,
    check: (result: unknown) => void,
  ): Promise<unknown> {
    const { exchange } = this;
    exchange.pendingReads += 1;
    let settled: unknown;
    try {
      settled = await result;
    } finally {
      exchange.pendingReads -= 1;
    }
    exchange.answer(() => {
      try {
        check(settled);
      } catch (error) {
        exchange.rethrow(error, readBytes, `gave ${describe(settled)} from ${from} of wsgi.input`);
      }
    });
    return settled;
  }

  private checkRead(data: unknown, size: unknown): void {
    const { exchange } = this;
    if (data === null || data === undefined) {
      exchange.reportValue(readNothing, `gave ${describe(data)} from wsgi.input.read()`);
    } else if (!isBytes(data)) {
      exchange.reportValue(readBytes, `gave ${describe(data)} from wsgi.input.read()`);
    } else {
      if (typeof size === 'number' && size >= 0 && data.length > size) {
        const action = `gave ${count(data.length, 'byte')} from wsgi.input.read(${size})`;
        exchange.reportValue(readTooLong, action);
      }
      this.countBytes(data.length, size);
    }
  }

  private checkLine(data: unknown, size: unknown): void {
    const { exchange } = this;
    if (!isBytes(data)) {
      exchange.reportValue(readlineBytes, `gave ${describe(data)} from wsgi.input.readline()`);
      return;
    }
    if (!isOneLine(data)) {
      exchange.reportValue(readlineOne, 'gave more than one line from wsgi.input.readline()');
    }
    if (typeof size === 'number' && size >= 0 && data.length > size) {
      const action = `gave ${count(data.length, 'byte')} from wsgi.input.readline(${size})`;
      exchange.reportValue(readlineOne, action);
    }
    this.countBytes(data.length, size);
  }

  private checkLines(lines: unknown, hint: unknown): void {
    if (!Array.isArray(lines)) {
      const action = `gave ${describe(lines)} from wsgi.input.readlines()`;
      this.exchange.reportValue(readlinesArray, action);
      return;
    }
    for (const line of lines) this.checkItem(readlinesItems, 'gave readlines()', line);
    if (hint === undefined) this.checkEnd();
  }

  private checkItem(broken: Rule, gave: string, line: unknown): void {
    if (!isBytes(line) || !isOneLine(line)) {
      const what = isBytes(line) ? 'more than one line' : describe(line);
      this.exchange.reportValue(broken, `${gave} ${what} as a line of wsgi.input`, line);
    }
    if (isBytes(line)) this.countBytes(line.length, undefined);
  }

  private countBytes(length: number, size: unknown): void {
    if (length === 0) {
      if (size !== 0) this.checkEnd();
      return;
    }
    const { exchange } = this;
    if (this.received === 0) exchange.reporter.used.set(this.real, exchange.origin);
    this.received += length;
    if (this.ended) {
      const action = `gave ${count(length, 'byte')} of wsgi.input after it had ended`;
      exchange.reportValue(readAfterEnd, action);
    }
    const { inputLength = Infinity } = exchange;
    if (this.received > inputLength) {
      const action = `gave ${this.received} bytes of wsgi.input for CONTENT_LENGTH ${inputLength}`;
      exchange.reportValue(overLength, action, exchange);
    }
  }

  private checkEnd(): void {
    const { exchange } = this;
    const { inputLength = 0 } = exchange;
    if (!this.ended && this.received < inputLength) {
      const action = `ended wsgi.input after ${this.received} of ${inputLength} bytes`;
      exchange.reportValue(underLength, action, exchange);
    }
    this.ended = true;
  }

  // ---- Iteration

  private iterate(): unknown {
    this.beforeNext();
    this.lines = call(Reflect.get(this.real, Symbol.asyncIterator), this.real, []) as object;
    return new GuardedIterator(this.lines, true, this);
  }

  private refuseIteration(): never {
    const { exchange } = this;
    const action = 'iterated over wsgi.input synchronously';
    exchange.answer(() => exchange.reportCall(iterateAsync, action));
    throw new TypeError('wsgi.input is not iterable: use for await');
  }

  beforeNext(): boolean {
    this.exchange.answer(() => this.checkTime('iterate over wsgi.input'));
    return false;
  }

  callNext(next: () => unknown): unknown {
    return next();
  }

  awaitStep(step: PromiseLike<unknown>): Promise<unknown> {
    return this.settle('iteration', step, () => {});
  }

  afterNext(step: unknown): void {
    this.exchange.answer(() => {
      if (property(step, 'done')) this.checkEnd();
      else this.checkItem(iterationItems, 'gave an iteration', property(step, 'value'));
    });
  }

  beforeStop(): boolean {
    return true;
  }

  afterStop(): void {}

  close(): void {
    this.reportOther('close');
  }
}

/** Reports a read that is pending when the body has ended by itself. */
export function checkReads(exchange: Exchange): void {
  if (exchange.pendingReads > 0) {
    exchange.reportValue(unawaited, 'ended its body while a read of wsgi.input was pending');
  }
}

// ---- wsgi.errors

const writeString = rule('application', 'errors-write-str', 'error', STREAMS,
  'write() of wsgi.errors takes one string.', 'Use a template literal, or String(value).',
  (found) => (isBytes(found) ? 'Decode it: new TextDecoder().decode(bytes).' : undefined));

const writeStrings = rule('application', 'errors-writelines-str', 'error', STREAMS,
  'writelines() of wsgi.errors takes several strings.',
  'Pass an array of strings, or use write() for one.');

const errorsNoClose = rule('application', 'errors-no-close', 'error', STREAMS,
  'The application never closes wsgi.errors, which is the server\'s.',
  'Leave it open; flush() makes sure that the written text is kept.');

const errorsNoOther = rule('application', 'errors-no-other-attr', 'error', STREAMS,
  'wsgi.errors has write(), writelines() and flush(), and nothing else.',
  'Use these: the stream of another server may have nothing else.');

const newline = rule('application', 'errors-newline', 'off', ENVIRON,
  'Lines on wsgi.errors end in LF; the server converts it for its platform.',
  'Write \\n, not \\r\\n.');

const anyText = rule('server', 'errors-any-unicode', 'warning', ENVIRON,
  'wsgi.errors takes any text.', 'Escape what cannot be encoded.');

/** Takes the place of wsgi.errors. */
class ErrorsGuard extends Guard {
  protected override member(key: PropertyKey): GuardedMethod | undefined {
    if (key === 'flush') return this.realMethod(key);
    if (key !== 'write' && key !== 'writelines') return undefined;
    const method = this.realMethod(key);
    if (method === undefined) return undefined;
    return (self, args) => {
      const { exchange } = this;
      const checked = exchange.answer(() => {
        return key === 'write' ? this.checkText(args) : this.checkLines(args);
      });
      try {
        return method(self, checked ?? args);
      } catch (error) {
        const action = `threw ${describe(error)} from wsgi.errors.${key}()`;
        // A method that was taken off its stream has nowhere to write to.
        if (checked !== undefined && self === this.real) exchange.reportCall(anyText, action);
        throw error;
      }
    };
  }

  protected override reportOther(name: string): void {
    const { exchange } = this;
    const broken = CLOSING.has(name) ? errorsNoClose : errorsNoOther;
    exchange.answer(() => exchange.reportCall(broken, `used wsgi.errors.${name}`));
  }

  /** The arguments, if they are what they should be. */
  private checkText(args: unknown[]): unknown[] | undefined {
    const { exchange } = this;
    const [text] = args;
    if (args.length === 1 && typeof text === 'string') {
      this.checkLineEnd(text);
      this.noteReported(text);
      return args;
    }
    const what = args.length === 1 ? describe(text) : count(args.length, 'argument');
    exchange.reportCall(writeString, `called wsgi.errors.write() with ${what}`, text);
    return undefined;
  }

  // The lines may come from a generator, which runs only once: the lines that were
  // checked are passed on.
  private checkLines(args: unknown[]): unknown[] | undefined {
    const { exchange } = this;
    const [lines] = args;
    const isOne = args.length === 1;
    if (!isOne || typeof lines === 'string' || !hasMethod(lines, Symbol.iterator)) {
      const what = isOne ? describe(lines) : count(args.length, 'argument');
      exchange.reportCall(writeStrings, `called wsgi.errors.writelines() with ${what}`);
      return undefined;
    }
    const all: unknown[] = [...(lines as Iterable<unknown>)];
    for (const line of all) {
      if (typeof line === 'string') this.checkLineEnd(line);
      else exchange.reportCall(writeStrings, `passed writelines() ${describe(line)} as a line`);
    }
    return [all];
  }

  // Middleware that answers for its application, as a server does, gives the author the
  // report here.
  private noteReported(text: string): void {
    const { inner, raised } = this.exchange;
    if (inner === undefined || raised === undefined || !text.includes(raised.message)) return;
    this.exchange.raised = undefined;
  }

  private checkLineEnd(text: string): void {
    if (text.includes('\r\n')) {
      this.exchange.reportCall(newline, `wrote ${describe(text)} to wsgi.errors`);
    }
  }
}

// ---- wsgi.file_wrapper: the server's own way to send a file. Its result stays the
// server's own object, or the server would not recognise it.

const wrapperShape = rule('server', 'file-wrapper-shape', 'error', FILE_HANDLING,
  'wsgi.file_wrapper is a function of a file and a block size that returns an iterable.',
  'Make it (file, blockSize) => body, or leave it out of environ.');

const wrapperArgument = rule('application', 'file-wrapper-arg', 'error', FILE_HANDLING,
  'A file wrapper takes an object that can be read, and perhaps a block size.',
  'Pass an object with read(size), a FileHandle or a Readable.',
  (found) => {
    if (typeof found === 'string') return 'Open the file: await open(path), from node:fs/promises.';
    if (isThenable(found)) return 'Await the promise.';
    return isBytes(found) ? 'Return [bytes] itself: a wrapper is for files.' : undefined;
  });

const wrapperClose = rule('server', 'file-wrapper-close', 'error', FILE_HANDLING,
  'If the file has close(), what the wrapper returns has one that calls it.',
  'Give the wrapper\'s result a close() that calls the file\'s.');

const wrapperLazy = rule('server', 'file-wrapper-lazy', 'error', FILE_HANDLING,
  'A file wrapper reads nothing before the application has returned its result.',
  'Begin to read when the result is iterated.');

// Whether a file is sent from its current position to its end is a question for a server's
// own tests.

function checkFileWrapper(exchange: Exchange, wrapFile: unknown): void {
  if (typeof wrapFile !== 'function') {
    exchange.reportCall(wrapperShape, `set wsgi.file_wrapper to ${describe(wrapFile)}`);
  } else if (wrapFile.length > 2) {
    const action = `offered a wsgi.file_wrapper that requires ${wrapFile.length} arguments`;
    exchange.reportCall(wrapperShape, action);
  } else if (isClass(wrapFile)) {
    const action = 'offered a class as wsgi.file_wrapper, which cannot be called';
    exchange.reportCall(wrapperShape, action);
  }
}

function wrap(exchange: Exchange, wrapFile: unknown, args: unknown[]): unknown {
  const [file, ...rest] = args;
  checkWrapperArguments(exchange, args);
  const guard =
    isObject(file) && !hasMethod(file, 'pipe') ? new FileGuard(exchange, file) : undefined;
  const watched = guard === undefined ? file : guard.proxy();
  const result = call(wrapFile, undefined, args.length === 0 ? [] : [watched, ...rest]);

  const isIterable = hasMethod(result, Symbol.asyncIterator) || hasMethod(result, Symbol.iterator);
  if (!isObject(result) || !isIterable) {
    exchange.reportCall(wrapperShape, `returned ${describe(result)} from wsgi.file_wrapper`);
    return result;
  }
  if (hasMethod(file, 'close') && !hasMethod(result, 'close')) {
    exchange.reportCall(wrapperClose, 'returned a body without close() for a file with one');
  }
  // Of two validators, the one next to the server watches its file wrapper.
  const isWatched = guard !== undefined && !exchange.outer?.files?.has(result);
  exchange.files ??= new WeakMap();
  exchange.files.set(result, isWatched ? guard : { isOpen: false });
  return result;
}

function checkWrapperArguments(exchange: Exchange, args: unknown[]): void {
  const [file, blockSize] = args;
  if (args.length < 1 || args.length > 2) {
    const action = `called wsgi.file_wrapper with ${count(args.length, 'argument')}`;
    exchange.reportCall(wrapperArgument, action);
  } else if (!hasMethod(file, 'read') && !hasMethod(file, Symbol.asyncIterator)) {
    exchange.reportCall(wrapperArgument, `passed ${describe(file)} to wsgi.file_wrapper`, file);
  } else if (blockSize !== undefined && !(Number.isInteger(blockSize) && Number(blockSize) > 0)) {
    exchange.reportCall(wrapperArgument, `passed ${describe(blockSize)} as a block size`);
  }
}

/** Reports a file wrapper whose result was closed, and its file was not. */
export function checkFileClosed(exchange: Exchange): void {
  if (exchange.file?.isOpen) {
    exchange.reportValue(wrapperClose, 'closed what wsgi.file_wrapper returned, but not its file');
  }
}

/** The server's view of a file. The application's own reads do not come this way. */
class FileGuard extends Guard implements WrappedFile {
  isOpen: boolean = hasMethod(this.real, 'close');

  protected override member(key: PropertyKey): GuardedMethod | undefined {
    const method = this.realMethod(key);
    if (method === undefined) return undefined;
    if (key === 'close') return (self, args) => ((this.isOpen = false), method(self, args));
    if (key === 'read') return (self, args) => (this.checkTime(), method(self, args));
    // To ask for an iterator is not yet to read.
    if (key !== Symbol.asyncIterator) return undefined;
    return (self) => this.watch(method(self, []) as object);
  }

  // A server that knows more of a file, such as its descriptor, may close it by that.
  protected override reportOther(): void {
    this.isOpen = false;
  }

  private watch(blocks: object): object {
    return {
      next: () => {
        this.checkTime();
        return call(property(blocks, 'next'), blocks, []);
      },
      return: async () => {
        if (hasMethod(blocks, 'return')) await call(property(blocks, 'return'), blocks, []);
        return { done: true, value: undefined };
      },
    };
  }

  private checkTime(): void {
    const { exchange } = this;
    if (!exchange.returned) {
      exchange.reportCall(wrapperLazy, 'read from a file before it was returned');
    }
  }
}
