// What the application returns: an iterable of chunks. A stand-in goes to the
// server in its place, synchronous where the body is, with `length` if the body has
// one; iterating it hands out the body's own chunks, each looked at on its way.

import { describe } from '../describe.ts';
import { asyncIteratorOf } from '../handlers/body.ts';
import { callClose, watchForDrop } from './close.ts';
import type { Exchange } from './exchange.ts';
import { isFileResult } from './file-wrapper.ts';
import { watchOtherMembers } from './members.ts';
import { AsyncChunks, Pass, SyncChunks } from './pass.ts';
import { hasMethod, isInstance, isObject, isThenable, property } from './probe.ts';
import { APPLICATION_SIDE, DETAILS, WRITE, type Rule, application, server } from './rule.ts';

// ---- What is returned

const notNone = application.error('body-not-none', WRITE,
  'An application returns an iterable, if only an empty array.',
  'Look for a missing return; return [] for no content.');

const notString = application.error('body-not-string', APPLICATION_SIDE,
  'The body is an iterable of chunks, and not itself a string or bytes.',
  'Return [new TextEncoder().encode(text)], or [bytes].');

const iterable = application.error('body-iterable', APPLICATION_SIDE,
  'The body can be iterated.', 'Return an array of chunks, a generator or a stream.');

const closeCallable = application.error('close-callable', DETAILS,
  'close of a body is a function, if it is there.', 'Make it a method, or name it otherwise.');

// ---- How it is iterated

const asyncFirst = server.error('body-each-or-call', 'tsgiref/types, ResponseBody',
  'If a body has both kinds of iterator, the asynchronous one is used.',
  'Look for Symbol.asyncIterator first.');

const otherMembers = server.warning('body-attr-access', DETAILS,
  'A server knows of a body only that it can be iterated, its length and its close().',
  'Leave other members alone, unless it is your own file wrapper\'s result.');

/** Checks what the application returned, and gives what goes to the server. */
export function guardBody(exchange: Exchange, body: unknown): unknown {
  exchange.returned = true;
  if (!checkBody(exchange, body)) return body;
  const guarded = isFileResult(exchange, body) ? shadow(exchange, body) : standIn(exchange, body);
  exchange.file = undefined;
  watchForDrop(exchange, guarded);
  return guarded;
}

function checkBody(exchange: Exchange, body: unknown): body is object {
  const wrong = wrongBody(body);
  if (wrong !== undefined) {
    exchange.fault(wrong, `returned ${describe(body)}`, bodyHint(body));
    return false;
  }
  const close = property(body, 'close');
  if (close !== undefined && close !== null && typeof close !== 'function') {
    exchange.fault(closeCallable, `returned a body whose close is ${describe(close)}`);
  }
  return isObject(body);
}

function wrongBody(body: unknown): Rule | undefined {
  if (body === undefined || body === null || body === false) return notNone;
  // A string is iterated by letters, and bytes by numbers.
  if (typeof body === 'string' || ArrayBuffer.isView(body) || isInstance(body, ArrayBuffer)) {
    return notString;
  }
  const canIterate = hasMethod(body, Symbol.asyncIterator) || hasMethod(body, Symbol.iterator);
  return canIterate ? undefined : iterable;
}

// Some return what can be asked for an iterator and then gives none.
function checkIterator<Chunks>(exchange: Exchange, chunks: Chunks): Chunks {
  if (!hasMethod(chunks, 'next')) {
    exchange.fault(iterable, `returned a body whose iterator is ${describe(chunks)}`);
  }
  return chunks;
}

function bodyHint(body: unknown): string | undefined {
  if (typeof body === 'function') return 'Call it: what is returned is a function.';
  if (isThenable(body)) return 'Await the promise.';
  if (hasMethod(body, 'arrayBuffer')) return 'Return its own body, or [await it.bytes()].';
  return undefined;
}

function standIn(exchange: Exchange, body: object): object {
  const length = lengthOf(body);
  if (!hasMethod(body, Symbol.asyncIterator)) {
    if (length === undefined) return new SyncBody(exchange, body);
    return new CountedBody(exchange, body, length);
  }
  return hasMethod(body, Symbol.iterator)
    ? new TwofoldBody(exchange, body)
    : new AsyncBody(exchange, body);
}

/** How many chunks the body says it has. */
function lengthOf(body: object): number | undefined {
  if (isInstance(body, Set)) return body.size;
  const length = property(body, 'length');
  return typeof length === 'number' ? length : undefined;
}

// The server must know its own object again, so that object stays, with the
// iteration and the closing in it replaced.
function shadow(exchange: Exchange, file: object): object {
  const pass = new Pass(exchange);
  const key = hasMethod(file, Symbol.asyncIterator) ? Symbol.asyncIterator : Symbol.iterator;
  const iterate = property(file, key) as () => AsyncIterator<unknown> & Iterator<unknown>;
  const close = closeOf(file);
  const replaceWith = (name: PropertyKey, value: unknown): void => {
    Reflect.defineProperty(file, name, { value, configurable: true, writable: true });
  };
  replaceWith(key, () => {
    pass.begin();
    const inner = checkIterator(exchange, iterate.call(file));
    return key === Symbol.asyncIterator
      ? new AsyncChunks(pass, inner)
      : new SyncChunks(pass, inner);
  });
  replaceWith('close', () => callClose(exchange, close));
  return file;
}

function closeOf(body: object): (() => unknown) | undefined {
  const close = property(body, 'close');
  return typeof close === 'function' ? () => Reflect.apply(close, body, []) as unknown : undefined;
}

/** What all stand-ins for a body have. */
class Body {
  readonly #exchange: Exchange;
  readonly #body: object;

  static {
    watchOtherMembers(this.prototype, (self, name) => {
      return #body in self ? self.#touch(name) : undefined;
    });
  }

  constructor(exchange: Exchange, body: object) {
    this.#exchange = exchange;
    this.#body = body;
  }

  close(): unknown {
    return callClose(this.#exchange, closeOf(this.#body));
  }

  // Node's streams hold on to their files until destroyed, also unread: a server
  // that knows of that may look.
  #touch(name: string): unknown {
    const member = property(this.#body, name);
    if (name !== 'destroy' && name !== 'length' && name !== 'size') {
      this.#exchange.misuse(otherMembers, `reached for ${name} of the body`);
    }
    return typeof member === 'function' ? member.bind(this.#body) : member;
  }
}

class SyncBody extends Body {
  readonly #pass: Pass;
  readonly #body: object;

  constructor(exchange: Exchange, body: object, length?: number) {
    super(exchange, body);
    this.#pass = new Pass(exchange, length);
    this.#body = body;
  }

  [Symbol.iterator](): Iterator<unknown> {
    const pass = this.#pass;
    pass.begin();
    const body = this.#body as Iterable<unknown>;
    return new SyncChunks(pass, checkIterator(pass.exchange, body[Symbol.iterator]()));
  }
}

/** A body that says how many chunks it has. */
class CountedBody extends SyncBody {
  readonly length: number;

  constructor(exchange: Exchange, body: object, length: number) {
    super(exchange, body, length);
    this.length = length;
  }
}

class AsyncBody extends Body {
  readonly #pass: Pass;
  readonly #body: object;

  constructor(exchange: Exchange, body: object) {
    super(exchange, body);
    this.#pass = new Pass(exchange);
    this.#body = body;
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    const pass = this.#pass;
    pass.begin();
    const body = this.#body as AsyncIterable<unknown>;
    return new AsyncChunks(pass, checkIterator(pass.exchange, asyncIteratorOf(body)));
  }
}

/** A body with both kinds of iterator, of which one must not be used. */
class TwofoldBody extends AsyncBody {
  readonly #exchange: Exchange;
  readonly #body: object;

  constructor(exchange: Exchange, body: object) {
    super(exchange, body);
    this.#exchange = exchange;
    this.#body = body;
  }

  [Symbol.iterator](): Iterator<unknown> {
    this.#exchange.misuse(asyncFirst, 'asked for the synchronous iterator of the body');
    return (this.#body as Iterable<unknown>)[Symbol.iterator]();
  }
}
