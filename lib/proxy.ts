// Proxies. A middleware takes the name of its application. A watched stream or body behaves
// like the original, except for the watched methods.
// When the response is over, environ has the server's own objects again.

import { isObject, isThenable } from './describe.ts';
import type { WSGIApplication, WSGIEnvironment } from './types.ts';

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

/** Gives the method to call in place of the real one; undefined for a member as it is. */
export type Watch = (key: string | symbol, method: Method) => Method | undefined;

/**
 * A proxy of `real`: the same class and members, except for a list of its own keys.
 * `watch(name, method)` may return a replacement for a method.
 *
 * @param added - Methods that it has where `real` has no method of their names.
 */
export function proxyOf<Real extends object>(
  real: Real,
  watch: Watch,
  added: Readonly<Record<string | symbol, Method>> = {},
): Real {
  // The target is not the real object: a proxy must show the members of a frozen target as
  // they are. Array.isArray looks at the target, and so does console.log.
  const target: object = Array.isArray(real) ? [] : {};
  Object.setPrototypeOf(target, Reflect.getPrototypeOf(real));
  const proxy: object = new Proxy(target, {
    get: (_, key) => {
      const value: unknown = Reflect.get(real, key, real);
      if (typeof value !== 'function' && Object.hasOwn(added, key)) return added[key];
      if (typeof value !== 'function' || key === 'constructor') return value;
      return function (this: unknown, ...args: unknown[]): unknown {
        // The real method has the real object as `this`: a class may keep its state in private
        // fields. A detached method keeps the `this` of its call.
        const method = value.bind(this === proxy ? real : this) as Method;
        return (watch(key, method) ?? method)(...args);
      };
    },
    has: (_, key) => Reflect.has(real, key) || Object.hasOwn(added, key),
    set: (_, key, value) => Reflect.set(real, key, value, real),
    defineProperty: (_, key, property) => Reflect.defineProperty(real, key, property),
    deleteProperty: (_, key) => Reflect.deleteProperty(real, key),
  });
  return proxy as Real;
}

/**
 * Replaces objects in environ.
 *
 * @param makers - For each variable, the function that makes its proxy.
 * @returns a function that puts the real objects back, if the application has left the
 *   proxies there
 */
export function replaceVariables(
  environ: WSGIEnvironment,
  makers: Readonly<Record<string, (real: never) => object>>,
): () => void {
  const replaced = Object.entries(makers).flatMap(([key, make]) => {
    const real: unknown = Reflect.get(environ, key);
    if (!isObject(real)) return [];
    const proxy = make(real as never);
    Reflect.set(environ, key, proxy);
    return [{ key, real, proxy }];
  });
  return () => {
    for (const { key, real, proxy } of replaced) {
      if (Reflect.get(environ, key) === proxy) Reflect.set(environ, key, real);
    }
  };
}

/**
 * The proxy of a body. It calls `finish` when the server's close() of it is over.
 *
 * @param added - As for `proxyOf`.
 */
export function watchBody<Body extends object>(
  body: Body,
  finish: () => void,
  watch: Watch = () => undefined,
  added: Readonly<Record<symbol, Method>> = {},
): Body {
  const watchToEnd: Watch = (key, method) => {
    const watched = watch(key, method);
    if (key !== 'close') return watched;
    return (...args) => whenDone(() => (watched ?? method)(...args), finish);
  };
  // A server closes only a body that has close(). A close that is not a function stays, so
  // that it can be reported.
  const close: unknown = Reflect.get(body, 'close');
  const hasNone = close === undefined || close === null;
  return proxyOf(body, watchToEnd, hasNone ? { ...added, close: finish } : added);
}

/**
 * Watches the close() of a body in the body itself, which stays the same object. Calls
 * `finish` when close() is over, or at once if the body cannot be changed.
 */
export function watchInPlace(body: object, finish: () => void, watch?: Watch): void {
  const { close: value } = watchBody(body, finish, watch) as { close?: unknown };
  const property = { value, writable: true, enumerable: true, configurable: true };
  if (!Reflect.defineProperty(body, 'close', property)) finish();
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
export function whenDone(step: () => unknown, finish: () => void): unknown {
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
