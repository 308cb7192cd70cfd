// The interface names every method of its objects. What has more, on one server,
// is missed on the next: so the validator's stand-ins have those methods and answer
// for every other name with a report.

// What the language and its tools look for on any object, without being told to.
const LOOKED_FOR = new Set([
  'then',
  'toJSON',
  'constructor',
  'inspect',
  'asymmetricMatch',
  // Node, printing an object, wants to know whether it is a URL.
  'href',
  'protocol',
  'auth',
  'path',
]);

/**
 * Calls `onTouch` when a member is read that the class of `prototype` has not. What
 * it has is found first and costs nothing: the trap stands behind it. Symbols and
 * what every object has are left alone.
 */
export function watchOtherMembers(
  prototype: object,
  onTouch: (self: object, name: string) => unknown,
): void {
  const trap: ProxyHandler<object> = {
    get(target, key, self: object) {
      if (typeof key === 'symbol' || key in target || LOOKED_FOR.has(key)) {
        return Reflect.get(target, key, self);
      }
      return onTouch(self, key);
    },
  };
  Object.setPrototypeOf(prototype, new Proxy(Object.prototype, trap));
}
