// wsgi.errors: how the application reports trouble.

import { describe } from '../describe.ts';
import type { Exchange } from './exchange.ts';
import { watchOtherMembers } from './members.ts';
import { hasMethod, property } from './probe.ts';
import { ENVIRON, STREAMS, application, server } from './rule.ts';

const writeString = application.error('errors-write-str', STREAMS,
  'write() of wsgi.errors takes one string.', 'Use a template literal, or String(value).');

const writeStrings = application.error('errors-writelines-str', STREAMS,
  'writelines() of wsgi.errors takes several strings.',
  'Pass an array of strings, or use write() for one.');

const noClose = application.error('errors-no-close', STREAMS,
  'The application never closes wsgi.errors: it is the server\'s.',
  'Leave it open; flush() sees to it that what was written is kept.');

const noOther = application.error('errors-no-other-attr', STREAMS,
  'wsgi.errors has write(), writelines() and flush(), no more.',
  'Use these: another server\'s stream may have nothing else.');

const newline = application.option('errors-newline', ENVIRON,
  'Lines on wsgi.errors end in LF; the server makes of it what the platform wants.',
  'Write \\n, not \\r\\n.');

const anyText = server.warning('errors-any-unicode', ENVIRON,
  'wsgi.errors takes any text.', 'Escape what cannot be encoded.');

const CLOSING = new Set(['close', 'end', 'destroy', 'abort']);

/** Stands in for `wsgi.errors`. */
export class ErrorsCheck {
  readonly #exchange: Exchange;
  readonly #errors: object;

  static {
    watchOtherMembers(this.prototype, (self, name) => {
      return #errors in self ? self.#touch(name) : undefined;
    });
  }

  constructor(exchange: Exchange, errors: object) {
    this.#exchange = exchange;
    this.#errors = errors;
  }

  write(...args: unknown[]): unknown {
    const exchange = this.#exchange;
    const [text] = args;
    const takesText = args.length === 1 && typeof text === 'string';
    if (args.length !== 1) {
      exchange.misuse(writeString, `called wsgi.errors.write() with ${args.length} arguments`);
    } else if (typeof text !== 'string') {
      exchange.misuse(writeString, `called wsgi.errors.write() with ${describe(text)}`);
    } else {
      this.#checkLineEnd(text);
    }
    return this.#call('write', args, takesText);
  }

  writelines(...args: unknown[]): unknown {
    const checked = this.#checkLines(args);
    return this.#call('writelines', checked, checked !== args);
  }

  flush(...args: unknown[]): unknown {
    return this.#call('flush', args, false);
  }

  // The lines may come from a generator, which runs only once: what is checked is
  // what is passed on.
  #checkLines(args: unknown[]): unknown[] {
    const exchange = this.#exchange;
    const [lines] = args;
    if (args.length !== 1) {
      const deed = `called wsgi.errors.writelines() with ${args.length} arguments`;
      exchange.misuse(writeStrings, deed);
    } else if (typeof lines === 'string' || !hasMethod(lines, Symbol.iterator)) {
      exchange.misuse(writeStrings, `called wsgi.errors.writelines() with ${describe(lines)}`);
    } else {
      const all: unknown[] = [...(lines as Iterable<unknown>)];
      for (const line of all) {
        if (typeof line === 'string') this.#checkLineEnd(line);
        else exchange.misuse(writeStrings, `passed writelines() ${describe(line)} as a line`);
      }
      return [all];
    }
    return args;
  }

  #checkLineEnd(text: string): void {
    if (text.includes('\r\n')) {
      this.#exchange.misuse(newline, `wrote ${describe(text)} to wsgi.errors`);
    }
  }

  #call(method: string, args: unknown[], isText: boolean): unknown {
    try {
      const own = property(this.#errors, method) as (...args: unknown[]) => unknown;
      return Reflect.apply(own, this.#errors, args);
    } catch (error) {
      const deed = `threw ${describe(error)} from wsgi.errors.${method}()`;
      if (isText) this.#exchange.fault(anyText, deed);
      throw error;
    }
  }

  #touch(name: string): unknown {
    const exchange = this.#exchange;
    if (CLOSING.has(name)) exchange.misuse(noClose, `reached for wsgi.errors.${name}`);
    else exchange.misuse(noOther, `reached for wsgi.errors.${name}`);
    const member = property(this.#errors, name);
    return typeof member === 'function' ? member.bind(this.#errors) : member;
  }
}
