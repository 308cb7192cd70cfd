// Proxies. A middleware takes the name of its application. A watched stream or body behaves
// like the original, except for the watched methods.

import type { WSGIApplication } from './types.ts';

/**
 * Gives a middleware the name and the length of its application, so that traces and reports
 * name the function that the author wrote.
 *
 * @returns the middleware
 */
export function showAs<Middleware extends object>(
  app: WSGIApplication,
  middleware: Middleware,
): Middleware {
  try {
    for (const key of ['name', 'length']) {
      Object.defineProperty(middleware, key, { value: Reflect.get(app, key), configurable: true });
    }
  } catch {
    // The call reports an application that is not a function. A Proxy may throw here, too.
  }
  return middleware;
}

/** A method of an object that is replaced. */
export type Method = (...args: unknown[]) => unknown;

/**
 * A proxy of `real`: the same class and members. `member(name, method)` may return a
 * replacement for a method.
 *
 * @param added - Methods to add if `real` does not have them.
 */
export function standIn<Real extends object>(
  real: Real,
  member: (key: string | symbol, method: Method) => Method | undefined,
  added: Readonly<Record<string, Method>> = {},
): Real {
  const stand: Real = new Proxy(real, {
    get: (_, key) => {
      const value: unknown = Reflect.get(real, key, real);
      if (value === undefined && Object.hasOwn(added, key)) return added[key as string];
      // A proxy must show a fixed property as it is.
      if (typeof value !== 'function' || key === 'constructor' || isFixed(real, key)) return value;
      return function (this: unknown, ...args: unknown[]): unknown {
        // The real method has the real object as `this`: a class may keep its state in private
        // fields. A detached method keeps the `this` of its call.
        const method = value.bind(this === stand ? real : this) as Method;
        return (member(key, method) ?? method)(...args);
      };
    },
    set: (_, key, value) => Reflect.set(real, key, value, real),
  });
  return stand;
}

function isFixed(real: object, key: string | symbol): boolean {
  const own = Reflect.getOwnPropertyDescriptor(real, key);
  return own !== undefined && own.configurable === false && own.writable === false;
}

/**
 * Shows a result to `look` when it is there.
 *
 * @returns the result as it is, or a promise of it
 */
export function whenSettled(result: unknown, look: (value: unknown) => void): unknown {
  if (!(result instanceof Promise)) {
    look(result);
    return result;
  }
  return result.then((value: unknown) => {
    look(value);
    return value;
  });
}

/**
 * Calls `finish` when a step is over: it has returned or thrown, and its promise has settled.
 *
 * @returns what the step gave; a promise of it if it is a promise
 */
export function whenOver(step: () => unknown, finish: () => void): unknown {
  let result: unknown;
  try {
    result = step();
  } catch (error) {
    finish();
    throw error;
  }
  if (isThenable(result)) return Promise.resolve(result).finally(finish);
  finish();
  return result;
}

function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value &&
    typeof value.then === 'function';
}
