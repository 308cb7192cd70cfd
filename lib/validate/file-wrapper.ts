// wsgi.file_wrapper: the server's own way to send a file. What it returns must stay
// the server's own object, or the server would not know it again.

import { describe } from '../describe.ts';
import type { Exchange } from './exchange.ts';
import { hasMethod, isClass, isObject, property } from './probe.ts';
import { FILE_HANDLING, application, server } from './rule.ts';

const shape = server.error('file-wrapper-shape', FILE_HANDLING,
  'wsgi.file_wrapper is a function of a file and perhaps a block size, and gives an iterable.',
  'Make it (file, blockSize) => body, or leave it out of environ.');

const argument = application.error('file-wrapper-arg', FILE_HANDLING,
  'A file wrapper takes an object that can be read, and perhaps a block size.',
  'Pass an object with read(size), a FileHandle, or a Readable: not a path, not bytes.');

const close = server.error('file-wrapper-close', FILE_HANDLING,
  'If the file has close(), what the wrapper returns has one that calls it.',
  'Add close() to the wrapper\'s result.');

const lazy = server.error('file-wrapper-lazy', FILE_HANDLING,
  'A file wrapper reads nothing before the application has returned its result.',
  'Begin to read when the result is iterated.');

// That the file is sent from where it stands to its end is for a server's tests.

/** Checks the wrapper that a server offers, before it is used. */
export function checkFileWrapper(exchange: Exchange, wrapFile: unknown): void {
  if (typeof wrapFile !== 'function') {
    exchange.fault(shape, `set wsgi.file_wrapper to ${describe(wrapFile)}`);
  } else if (wrapFile.length > 2) {
    const deed = `offered a wsgi.file_wrapper that requires ${wrapFile.length} arguments`;
    exchange.fault(shape, deed);
  } else if (isClass(wrapFile)) {
    exchange.fault(shape, 'offered a class as wsgi.file_wrapper, which cannot be called');
  }
}

/** Stands in for `wsgi.file_wrapper`. */
export class FileWrapperCheck {
  readonly #exchange: Exchange;
  readonly #wrapFile: (...args: unknown[]) => unknown;

  constructor(exchange: Exchange, wrapFile: unknown) {
    this.#exchange = exchange;
    this.#wrapFile = wrapFile as (...args: unknown[]) => unknown;
  }

  /** What the application calls. */
  readonly wrap = (...args: unknown[]): unknown => {
    const exchange = this.#exchange;
    const [file, ...rest] = args;
    this.#checkArguments(args);
    const watched = isObject(file) ? this.#watch(file) : file;
    const result = this.#wrapFile(watched, ...rest);

    const isIterable =
      hasMethod(result, Symbol.asyncIterator) || hasMethod(result, Symbol.iterator);
    if (!isObject(result) || !isIterable) {
      exchange.fault(shape, `returned ${describe(result)} from wsgi.file_wrapper`);
      return result;
    }
    if (hasMethod(file, 'close') && !hasMethod(result, 'close')) {
      exchange.fault(close, 'returned a body without close() for a file with one');
    }
    exchange.file = result;
    return result;
  };

  #checkArguments(args: unknown[]): void {
    const exchange = this.#exchange;
    const [file, blockSize] = args;
    if (args.length < 1 || args.length > 2) {
      exchange.misuse(argument, `called wsgi.file_wrapper with ${args.length} arguments`);
    } else if (!hasMethod(file, 'read') && !hasMethod(file, Symbol.asyncIterator)) {
      exchange.misuse(argument, `passed ${describe(file)} to wsgi.file_wrapper`);
    } else if (blockSize !== undefined && !(Number.isInteger(blockSize) && Number(blockSize) > 0)) {
      exchange.misuse(argument, `passed ${describe(blockSize)} as a block size`);
    }
  }

  // The server's view of the file: the file itself, but that reads are noticed
  // which come too early. The application's own reads do not come this way. An
  // empty object in front of the file lets also a frozen one be seen through.
  #watch(file: object): object {
    const check = (): void => {
      const { returned } = this.#exchange;
      if (!returned) this.#exchange.fault(lazy, 'read from a file before it was returned');
    };
    return new Proxy(Object.create(file) as object, {
      set: (_, key, value) => Reflect.set(file, key, value),
      get: (_, key) => {
        const member: unknown = Reflect.get(file, key, file);
        if (typeof member !== 'function' || key === 'constructor') return member;
        // Bound, since a class may keep its state in private fields.
        return (...args: unknown[]): unknown => {
          if (key === 'read') check();
          const result: unknown = Reflect.apply(member, file, args);
          return key === Symbol.asyncIterator ? watchIterator(result, check) : result;
        };
      },
    });
  }
}

// To ask for an iterator is not yet to read.
function watchIterator(result: unknown, check: () => void): AsyncIterator<unknown> {
  const iterator = result as AsyncIterator<unknown>;
  return {
    next: () => {
      check();
      return iterator.next();
    },
    return: async () => {
      await iterator.return?.();
      return { done: true, value: undefined };
    },
  };
}

/** Whether what the application returned is what the file wrapper gave it. */
export function isFileResult(exchange: Exchange, body: unknown): body is object {
  return exchange.file !== undefined && exchange.file === body && !isBuiltIn(body);
}

// A wrapper may give an array; its iteration cannot be told from others'.
function isBuiltIn(body: object): boolean {
  return Array.isArray(body) || property(body, 'constructor') === Set;
}
