// The response headers, as the handlers store them: an ordered list of names and
// values. A name may repeat, and upper and lower case do not matter in it.
//
// Node and browsers have a global `Headers`, too. The global one writes names in
// lower case and joins repeated headers; this one keeps what it is given. Import it.
//
// Mirrors wsgiref.headers.

import { describe } from './describe.ts';
import { checkHeaderName, checkHeaderValue, encodeLatin1 } from './latin1.ts';

/** The list that `Headers` keeps: unlike `ResponseHeaders`, it can be changed. */
export type HeaderList = Array<[name: string, value: string]>;

/**
 * A list of response headers, in order.
 *
 * Every method that takes a name or a value throws a TypeError if it is not a
 * string, and a RangeError if it contains a control character (TAB is allowed in
 * values) or a character above U+00FF. Methods that only read throw, too.
 *
 * @example
 * const headers = new Headers([['Content-Type', 'text/plain']]);
 * headers.set('content-type', 'text/html');
 * headers.addHeader('Content-Disposition', 'attachment', { filename: 'bud.gif' });
 * headers.toString();
 * // content-type: text/html
 * // Content-Disposition: attachment; filename="bud.gif"
 */
export class Headers {
  private readonly list: HeaderList;

  /**
   * A list of headers over an array of pairs.
   *
   * @param headers - Pairs of a name and a value. The array itself is kept, not a
   *   copy: methods that change the headers change it.
   * @throws TypeError if `headers` is not an array of pairs.
   */
  constructor(headers: HeaderList = []) {
    if (!Array.isArray(headers)) {
      throw new TypeError(
        `Headers takes an array of [name, value] pairs, not ${describe(headers)}`,
      );
    }
    for (const pair of headers) checkPair(pair);
    this.list = headers;
  }

  /** The number of headers. A name that repeats counts each time. */
  get size(): number {
    return this.list.length;
  }

  /**
   * The first value under a name.
   *
   * @param name - The header's name, in any case.
   * @returns The value; undefined without a header of this name.
   * @throws TypeError if `name` is not a string, RangeError if it cannot be a name.
   */
  get(name: string): string | undefined;
  /**
   * The first value under a name, or another value in its place.
   *
   * @param name - The header's name, in any case.
   * @param fallback - The result without a header of this name.
   * @throws TypeError if `name` is not a string, RangeError if it cannot be a name.
   */
  get<T>(name: string, fallback: T): string | T;
  get<T>(name: string, fallback?: T): string | T | undefined {
    checkHeaderName(name);
    for (const [key, value] of this.list) {
      if (isSameName(key, name)) return value;
    }
    return fallback;
  }

  /**
   * All values under a name, in order; an empty array if there is none.
   *
   * @param name - The header's name, in any case.
   * @throws TypeError if `name` is not a string, RangeError if it cannot be a name.
   */
  getAll(name: string): string[] {
    checkHeaderName(name);
    return this.list.filter(([key]) => isSameName(key, name)).map(([, value]) => value);
  }

  /**
   * Whether there is a header of this name.
   *
   * @param name - The header's name, in any case.
   * @throws TypeError if `name` is not a string, RangeError if it cannot be a name.
   */
  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  /**
   * Removes every header of this name and adds one at the end.
   *
   * @param name - The header's name. It is sent as it is written here.
   * @param value - The value, in characters up to U+00FF.
   * @throws TypeError or RangeError for a name or a value that cannot be sent.
   */
  set(name: string, value: string): void {
    checkHeaderName(name);
    checkHeaderValue(value);
    this.delete(name);
    this.list.push([name, value]);
  }

  /**
   * Removes every header of this name.
   *
   * @param name - The header's name, in any case.
   * @returns Whether there was one.
   * @throws TypeError if `name` is not a string, RangeError if it cannot be a name.
   */
  delete(name: string): boolean {
    checkHeaderName(name);
    const kept = this.list.filter(([key]) => !isSameName(key, name));
    const found = kept.length < this.list.length;
    if (found) this.list.splice(0, this.list.length, ...kept);
    return found;
  }

  /**
   * The first value under a name. If there is none, `value` is added.
   *
   * @param name - The header's name, in any case.
   * @param value - The value to add.
   * @returns The value that the header now has.
   * @throws TypeError or RangeError for a name or a value that cannot be sent.
   */
  setDefault(name: string, value: string): string {
    const found = this.get(name);
    if (found !== undefined) return found;
    this.list.push([name, checkHeaderValue(value)]);
    return value;
  }

  /**
   * Adds a header at the end, with parameters. Other headers of the name remain.
   *
   * @param name - The header's name.
   * @param value - The value before the parameters, or null for none.
   * @param params - Names and values. An underscore in a name becomes a dash. If a
   *   value is null or empty, only the name is written.
   * @throws TypeError or RangeError for a name, a value or a parameter that cannot be sent.
   *
   * @example
   * headers.addHeader('Content-Disposition', 'attachment', { filename: 'bud.gif' });
   * // Content-Disposition: attachment; filename="bud.gif"
   */
  addHeader(
    name: string,
    value: string | null,
    params: Readonly<Record<string, string | null>> = {},
  ): void {
    const parts = value === null ? [] : [checkHeaderValue(value)];
    for (const [key, param] of Object.entries(params)) parts.push(formatParam(key, param));
    this.list.push([checkHeaderName(name), parts.join('; ')]);
  }

  /** All names, in order, as a new array. */
  keys(): string[] {
    return this.list.map(([name]) => name);
  }

  /** All values, in order, as a new array. */
  values(): string[] {
    return this.list.map(([, value]) => value);
  }

  /** All headers, in order, as a new array of pairs. */
  entries(): HeaderList {
    return [...this.list];
  }

  /** Gives the headers as pairs, in order. */
  [Symbol.iterator](): IterableIterator<[name: string, value: string]> {
    return this.entries().values();
  }

  /** The headers as a response carries them, with the empty line after them. */
  toString(): string {
    let text = '';
    for (const [name, value] of this.list) text += `${name}: ${value}\r\n`;
    return `${text}\r\n`;
  }

  /** `toString()` as bytes. */
  toBytes(): Uint8Array {
    return encodeLatin1(this.toString());
  }
}

// Most names differ in length, which is faster to compare than letters.
function isSameName(one: string, other: string): boolean {
  return one.length === other.length && one.toLowerCase() === other.toLowerCase();
}

function checkPair(pair: [string, string]): void {
  if (!Array.isArray(pair) || pair.length !== 2) {
    throw new TypeError(`each header is a [name, value] pair, not ${describe(pair)}`);
  }
  checkHeaderName(pair[0]);
  checkHeaderValue(pair[1]);
}

function formatParam(key: string, param: string | null): string {
  const name = checkHeaderName(key).replaceAll('_', '-');
  if (param === null || checkHeaderValue(param) === '') return name;
  return `${name}="${param.replace(/[\\"]/g, '\\$&')}"`;
}
