// The streams behind `wsgi.input` and `wsgi.errors`: in memory for tests, and over
// any source of chunks for servers.
//
// Mirrors what wsgiref takes from Python's io.

import { describe } from './describe.ts';
import type { Bytes, ErrorStream, InputStream } from './types.ts';

const LF = 0x0a;
const NOTHING: Bytes = new Uint8Array(0);

/**
 * Bytes in memory, read and written at one position that starts at 0.
 *
 * @example
 * const input = new BytesIO(new TextEncoder().encode('one\ntwo\n'));
 * await input.readline(); // the bytes of 'one\n'
 */
export class BytesIO implements InputStream {
  private buffer: Bytes;
  private length: number;
  private position = 0;

  /**
   * Bytes in memory.
   *
   * @param initial - The bytes to begin with. They are copied.
   * @throws TypeError if `initial` is not a Uint8Array.
   */
  constructor(initial: Uint8Array = NOTHING) {
    this.buffer = new Uint8Array(checkBytes('BytesIO takes', initial));
    this.length = initial.length;
  }

  async read(size?: number): Promise<Bytes> {
    return this.take(checkSize('read', size));
  }

  async readline(size?: number): Promise<Bytes> {
    const limit = Math.min(checkSize('readline', size), this.length - this.position);
    const newline = this.buffer.subarray(this.position, this.position + limit).indexOf(LF);
    return this.take(newline === -1 ? limit : newline + 1);
  }

  readlines(hint?: number): Promise<Bytes[]> {
    return collectLines(this, hint);
  }

  /** Gives the lines. */
  [Symbol.asyncIterator](): AsyncIterator<Bytes> {
    return iterateLines(this);
  }

  /**
   * Writes bytes at the position, over those that are there.
   *
   * @param data - The bytes to write.
   * @returns How many bytes were written.
   * @throws TypeError if `data` is not a Uint8Array.
   */
  write(data: Uint8Array): number {
    const end = this.position + checkBytes('write() takes', data).length;
    this.reserve(end);
    this.buffer.set(data, this.position);
    this.position = end;
    this.length = Math.max(this.length, end);
    return data.length;
  }

  /** Returns a copy of all bytes, whatever the position is. */
  getValue(): Bytes {
    return this.buffer.slice(0, this.length);
  }

  private take(size: number): Bytes {
    const end = Math.min(this.position + size, this.length);
    const taken = this.buffer.slice(this.position, end);
    this.position = end;
    return taken;
  }

  // Doubling makes the cost of many small writes proportional to their sum.
  private reserve(size: number): void {
    if (size <= this.buffer.length) return;
    const larger = new Uint8Array(Math.max(size, 2 * this.buffer.length));
    larger.set(this.buffer);
    this.buffer = larger;
  }
}

/** Text in memory, for `wsgi.errors` in tests. */
export class StringIO implements ErrorStream {
  private text: string;

  /**
   * Text in memory.
   *
   * @param initial - The text to begin with.
   */
  constructor(initial = '') {
    this.text = initial;
  }

  write(text: string): void {
    this.text += checkText(text);
  }

  writelines(lines: Iterable<string>): void {
    writeEach(this, lines);
  }

  flush(): void {}

  /** Returns all text that was written. */
  getValue(): string {
    return this.text;
  }
}

/**
 * An error stream over an object that takes text.
 *
 * @example
 * environ['wsgi.errors'] = new ErrorOutput(process.stderr);
 */
export class ErrorOutput implements ErrorStream {
  private readonly sink: { write(text: string): unknown };

  /**
   * An error stream over an object that takes text.
   *
   * @param sink - Takes the text, such as `process.stderr`.
   */
  constructor(sink: { write(text: string): unknown }) {
    this.sink = sink;
  }

  write(text: string): void {
    this.sink.write(checkText(text));
  }

  writelines(lines: Iterable<string>): void {
    writeEach(this, lines);
  }

  flush(): void {}
}

/**
 * An input stream over a source of chunks of any sizes. It stores at most one chunk
 * and the bytes that one call asks for.
 *
 * A read rejects if the source throws, if it ends before `length` bytes, and if an
 * earlier read still waits.
 */
export class StreamInput implements InputStream {
  private readonly source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  private readonly length: number;
  private iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array> | undefined;
  private received = 0;
  private chunk: Bytes = NOTHING;
  private offset = 0;
  private reading = false;
  private onIdle: () => void = () => {};
  private ended = false;
  private failure: { error: unknown } | undefined = undefined;

  /**
   * An input stream over a source of chunks.
   *
   * @param source - Gives the chunks, such as a Node request or a web stream.
   * @param length - The body's length in bytes, if it is known. Further bytes of the
   *   source are not read.
   *
   * @example
   * environ['wsgi.input'] = new StreamInput(request, Number(request.headers['content-length']));
   */
  constructor(
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    length: number = Infinity,
  ) {
    this.source = source;
    this.length = length;
  }

  read(size?: number): Promise<Bytes> {
    return this.take('read', size, false);
  }

  readline(size?: number): Promise<Bytes> {
    const line = size === undefined ? this.lineAtHand() : undefined;
    return line === undefined ? this.take('readline', size, true) : Promise.resolve(line);
  }

  /**
   * Reads the bytes that have arrived, and waits only if there are none: for passing a
   * body on while it arrives. PEP 3333 has no such method, so another server's input
   * may not have it.
   *
   * @param size - The most bytes to read.
   * @returns At least one byte, unless the body has ended or `size` is 0.
   * @throws As `read` does.
   */
  async read1(size?: number): Promise<Bytes> {
    const first = await this.take('read1', Math.min(1, checkSize('read1', size)), false);
    if (first.length === 0 || this.offset === this.chunk.length) return first;
    const rest = this.cut(checkSize('read1', size) - 1, false);
    // Both are views of one chunk, one behind the other.
    return new Uint8Array(first.buffer, first.byteOffset, 1 + rest.length);
  }

  readlines(hint?: number): Promise<Bytes[]> {
    return collectLines(this, hint);
  }

  /** Whether a read waits. PEP 3333 has no such member. */
  get isReading(): boolean {
    return this.reading;
  }

  /** Resolves when the read that waits now is over. PEP 3333 has no such member. */
  whenIdle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.reading) this.onIdle = resolve;
      else resolve();
    });
  }

  /** Gives the lines. */
  [Symbol.asyncIterator](): AsyncIterator<Bytes> {
    return { next: () => this.nextLine() };
  }

  // Gathers pieces of chunks up to `size` bytes, the first LF if `line`, or the end.
  private async take(method: string, size: number | undefined, line: boolean): Promise<Bytes> {
    const limit = checkSize(method, size);
    if (this.reading) {
      throw new Error(
        `wsgi.input.${method}() was called while an earlier read still waits: await each read`,
      );
    }
    this.reading = true;
    try {
      const pieces: Bytes[] = [];
      let length = 0;
      while (length < limit && (this.offset < this.chunk.length || (await this.pull()))) {
        const piece = this.cut(limit - length, line);
        pieces.push(piece);
        length += piece.length;
        if (line && piece[piece.length - 1] === LF) break;
      }
      return concat(pieces, length);
    } finally {
      this.reading = false;
      this.onIdle();
    }
  }

  // Takes the next piece of the current chunk: a view, not a copy. The result is a
  // plain Uint8Array, since a Buffer's toString() differs.
  private cut(limit: number, line: boolean): Bytes {
    const { buffer, byteOffset, length } = this.chunk;
    const size = Math.min(limit, length - this.offset);
    const piece = new Uint8Array(buffer, byteOffset + this.offset, size);
    const newline = line ? piece.indexOf(LF) : -1;
    const taken = newline === -1 ? piece : piece.subarray(0, newline + 1);
    this.offset += taken.length;
    return taken;
  }

  // Most lines are complete in the current chunk and need no waiting.
  private nextLine(): Promise<IteratorResult<Bytes>> {
    const value = this.lineAtHand();
    return value === undefined ? this.waitForLine() : Promise.resolve({ done: false, value });
  }

  private async waitForLine(): Promise<IteratorResult<Bytes>> {
    const value = await this.readline();
    return value.length === 0 ? { done: true, value: undefined } : { done: false, value };
  }

  private lineAtHand(): Bytes | undefined {
    if (this.reading) return undefined;
    const start = this.offset;
    const newline = this.chunk.indexOf(LF, start);
    if (newline === -1) return undefined;
    this.offset = newline + 1;
    const { buffer, byteOffset } = this.chunk;
    return new Uint8Array(buffer, byteOffset + start, newline + 1 - start);
  }

  // Fetches the next chunk that is not empty. Returns false at the end.
  private async pull(): Promise<boolean> {
    this.chunk = NOTHING;
    this.offset = 0;
    while (!this.ended && this.received < this.length) {
      const { done, value } = await this.nextChunk();
      if (done) {
        this.ended = true;
        break;
      }
      const room = this.length - this.received;
      this.chunk = value.length > room ? value.subarray(0, room) : value;
      this.received += this.chunk.length;
      if (this.chunk.length > 0) return true;
    }
    if (this.received < this.length && this.length !== Infinity) {
      throw new Error(`the request's body ended after ${this.received} of ${this.length} bytes`);
    }
    return false;
  }

  // An iterator that has thrown reports afterwards that it is done, as if the body
  // were complete, so the error is stored and thrown again.
  private async nextChunk(): Promise<IteratorResult<Bytes>> {
    if (this.failure !== undefined) throw this.failure.error;
    try {
      this.iterator ??=
        Symbol.asyncIterator in this.source
          ? this.source[Symbol.asyncIterator]()
          : this.source[Symbol.iterator]();
      const result = await this.iterator.next();
      if (!result.done) checkBytes("the source of a request's body gives", result.value);
      // No platform delivers a request's body in memory that threads share.
      return result as IteratorResult<Bytes>;
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }
}

async function* iterateLines(input: InputStream): AsyncGenerator<Bytes, undefined> {
  while (true) {
    const line = await input.readline();
    if (line.length === 0) return;
    yield line;
  }
}

async function collectLines(input: InputStream, hint: number | undefined): Promise<Bytes[]> {
  const enough = checkSize('readlines', hint) || Infinity;
  const lines: Bytes[] = [];
  let total = 0;
  while (total < enough) {
    const line = await input.readline();
    if (line.length === 0) break;
    lines.push(line);
    total += line.length;
  }
  return lines;
}

function concat(pieces: readonly Bytes[], length: number): Bytes {
  if (pieces.length === 1 && pieces[0] !== undefined) return pieces[0];
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

// No size and -1 both mean "all", as in Python.
function checkSize(method: string, size: number | undefined): number {
  if (size === undefined || size === -1) return Infinity;
  if (Number.isSafeInteger(size) && size >= 0) return size;
  throw new TypeError(
    `${method}() takes a whole number of bytes, or nothing for all of them, not ${describe(size)}`,
  );
}

// Without this check, other values would silently be read as zeros or as nothing.
function checkBytes(rule: string, data: Uint8Array): Uint8Array {
  if (data instanceof Uint8Array) return data;
  throw new TypeError(`${rule} bytes, a Uint8Array or Buffer, not ${describe(data)}`);
}

function checkText(text: string): string {
  if (typeof text === 'string') return text;
  throw new TypeError(`wsgi.errors takes text, not ${describe(text)}`);
}

function writeEach(stream: ErrorStream, lines: Iterable<string>): void {
  // A string is iterable too, but its letters are not the lines that were meant.
  if (typeof lines === 'string') {
    throw new TypeError(`writelines() takes several lines, not one string: use write()`);
  }
  for (const line of lines) stream.write(line);
}
