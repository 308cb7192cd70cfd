// Questions about values of which nothing is known yet. What is handed to the
// validator may be a Proxy whose traps throw, or have getters that do: asking must
// not fail, since it is the validator's business to say what is wrong.

/** A property of anything; undefined where there is none or it cannot be read. */
export function property(value: unknown, key: PropertyKey): unknown {
  if (value === null || value === undefined) return undefined;
  try {
    return Reflect.get(Object(value), key, value);
  } catch {
    return undefined;
  }
}

/** Whether `value` has a method of this name. */
export function hasMethod(value: unknown, key: PropertyKey): boolean {
  return typeof property(value, key) === 'function';
}

/** Whether `value` is an object or a function, so that it can have properties. */
export function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/** Whether `await` would wait for `value`. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return isObject(value) && hasMethod(value, 'then');
}

// This getter looks at the object itself, not at what it claims to be, knows the
// arrays of other realms, and throws for nothing.
const typedArrayName = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  Symbol.toStringTag,
)?.get;

/** Whether `value` is a Uint8Array, a Buffer included. */
export function isBytes(value: unknown): value is Uint8Array {
  return typedArrayName?.call(value) === 'Uint8Array';
}

/** Whether `value` is an Error or looks enough like one to be reported. */
export function isErrorLike(value: unknown): boolean {
  return isObject(value) && typeof property(value, 'message') === 'string';
}

/** `instanceof`, which a Proxy can make throw. */
export function isInstance<Class extends object>(
  value: unknown,
  of: abstract new (...args: never[]) => Class,
): value is Class {
  try {
    return value instanceof of;
  } catch {
    return false;
  }
}

/** Whether `value` is a class, which is a function but cannot be called as one. */
export function isClass(value: unknown): boolean {
  if (typeof value !== 'function') return false;
  return Object.getOwnPropertyDescriptor(value, 'prototype')?.writable === false;
}
