// Text to bytes and back, as tests need it everywhere.

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export const text = (data: Uint8Array): string => new TextDecoder().decode(data);

/** All chunks of a body or a stream, in an array. */
export async function collect<T>(chunks: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

/** A promise and the functions that settle it. */
export function deferred<T = void>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (reason: unknown) => void;
} {
  let resolve: (value: T) => void = () => {};
  let reject: (reason: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
