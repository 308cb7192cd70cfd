// How an error message shows a wrong value: short, on one line, and printable for
// every value.

const LONGEST = 60;

/**
 * Names a value for an error message: `"a\nb"`, `the number 42`, `undefined`,
 * `an Array of 3 items`, `the TypeError "no"`, `an object of class Map`. Never throws.
 */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'number':
    case 'boolean':
      return `the ${typeof value} ${value}`;
    case 'bigint':
      return `the bigint ${shorten(String(value))}`;
    case 'symbol':
      return 'a symbol';
    case 'undefined':
      return 'undefined';
    case 'function':
      return 'a function';
    default:
      return value === null ? 'null' : describeObject(value as object);
  }
}

/** Whether a value is a class: a function that cannot be called as one. */
export function isClass(value: unknown): boolean {
  return typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value));
}

/** Puts a string in quotes, with control characters escaped, cut after 60 characters. */
export function quote(text: string): string {
  return JSON.stringify(shorten(text)).replace(/[\x7f-\uffff]/g, escapeUnprintable);
}

/** Writes a character's code point as `U+000A`. */
export function codePoint(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
}

/**
 * Makes the error for a broken rule, such as `fault(TypeError, 'chunk-bytes', …)`.
 *
 * @param code - The id of the rule that the validator has for the same fault; the error has
 *   it as `code`, as a WSGIError does.
 */
export function fault(
  ErrorClass: ErrorConstructor | TypeErrorConstructor | RangeErrorConstructor,
  code: string,
  message: string,
): Error & { code: string } {
  const error = Object.assign(new ErrorClass(message), { code });
  // The trace begins where the fault was found. (Not every platform can do this.)
  Error.captureStackTrace?.(error, fault);
  return error;
}

/** A property of any value; undefined where there is none or it cannot be read. */
export function property(value: unknown, key: PropertyKey): unknown {
  if (value === null || value === undefined) return undefined;
  try {
    return (value as Record<PropertyKey, unknown>)[key];
  } catch {
    return undefined;
  }
}

/** Whether `value` is an object or a function, so that it can have properties. */
export function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/** Whether `await` would wait for `value`. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return isObject(value) && typeof property(value, 'then') === 'function';
}

function describeObject(value: object): string {
  try {
    if (Array.isArray(value)) return `an Array of ${count(value.length, 'item')}`;
    if (value instanceof Uint8Array) return `a Uint8Array of ${count(value.length, 'byte')}`;
    if (value instanceof Error) {
      return `the ${shorten(String(value.name))} ${quote(String(value.message))}`;
    }
    const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
    return typeof name === 'string' && name !== '' && name !== 'Object'
      ? `an object of class ${shorten(name)}`
      : 'an object';
  } catch {
    // A Proxy or a getter may throw; the message must still be written.
    return 'an object that cannot be inspected';
  }
}

/** `1 item`, `2 items`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function shorten(text: string): string {
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST)}…`;
}

// Printable text of any language stays readable. Characters that a terminal or a log
// would act on, or cannot show, are escaped.
function escapeUnprintable(character: string): string {
  if (/[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(character)) return character;
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
