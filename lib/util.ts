// Helpers over environ, for servers, middleware and tests, and files as bodies.
//
// Mirrors wsgiref.util.

import { describe } from './describe.ts';
import { BytesIO, StringIO } from './io.ts';
import { encodeLatin1 } from './latin1.ts';
import type { FileHandleLike, FileLike, WSGIEnvironment } from './types.ts';

/**
 * Guesses the scheme of a request from the CGI variable `HTTPS`.
 *
 * @param environ - Only `HTTPS` is read.
 * @returns `https` if `HTTPS` is `yes`, `on` or `1`, else `http`.
 */
export function guessScheme(environ: { HTTPS?: string }): 'http' | 'https' {
  return ['yes', 'on', '1'].includes(environ.HTTPS ?? '') ? 'https' : 'http';
}

/**
 * The URL of the application itself: scheme, host and `SCRIPT_NAME`, without
 * path and query. (PEP 3333, "URL Reconstruction")
 *
 * @param environ - The request.
 * @throws RangeError if `SCRIPT_NAME` contains a character above U+00FF.
 */
export function applicationUri(environ: WSGIEnvironment): string {
  const scheme = environ['wsgi.url_scheme'];
  const path = percentEncode(environ.SCRIPT_NAME || '/', '/');
  return `${scheme}://${authority(environ, scheme)}${path}`;
}

/**
 * The URL of the request. (PEP 3333, "URL Reconstruction")
 *
 * @param environ - The request.
 * @param includeQuery - Whether the result contains the query.
 * @throws RangeError if the path contains a character above U+00FF.
 */
export function requestUri(environ: WSGIEnvironment, includeQuery = true): string {
  const path = percentEncode(environ.PATH_INFO ?? '', '/;=,');
  // Where there is no SCRIPT_NAME, applicationUri already ends in the slash.
  const rest = environ.SCRIPT_NAME ? path : path.slice(1);
  const query = includeQuery && environ.QUERY_STRING ? `?${environ.QUERY_STRING}` : '';
  return applicationUri(environ) + rest + query;
}

/**
 * Moves the first segment of `PATH_INFO` to the end of `SCRIPT_NAME`. An
 * application does this before it passes a request to another application that
 * is mounted below it.
 *
 * Empty segments and `.` are skipped; `..` removes a segment from `SCRIPT_NAME`.
 * A `PATH_INFO` of `/` alone returns `''` and leaves a slash at the end of
 * `SCRIPT_NAME`, so that `/x` and `/x/` differ.
 *
 * @param environ - The request; both variables are changed.
 * @returns The segment, or null if `PATH_INFO` is empty.
 * @throws RangeError if `PATH_INFO` is not empty and does not begin with a slash.
 *
 * @example
 * // SCRIPT_NAME '', PATH_INFO '/blog/2026'
 * shiftPathInfo(environ); // 'blog'
 * // SCRIPT_NAME '/blog', PATH_INFO '/2026'
 */
export function shiftPathInfo(
  environ: Pick<WSGIEnvironment, 'SCRIPT_NAME' | 'PATH_INFO'>,
): string | null {
  const path = environ.PATH_INFO ?? '';
  if (path === '') return null;
  if (!path.startsWith('/')) {
    throw new RangeError(`PATH_INFO is ${describe(path)}; it is empty or begins with '/'`);
  }

  // '/a/b/' is ['a', 'b', '']: the last segment counts even when it is empty.
  const segments = path.split('/').slice(1);
  const last = segments.pop() ?? '';
  const [name = '', ...rest] = [...segments.filter((part) => part !== '' && part !== '.'), last];

  environ.SCRIPT_NAME = appendSegment(environ.SCRIPT_NAME ?? '', name);
  environ.PATH_INFO = rest.map((part) => `/${part}`).join('');
  return name === '.' ? null : name;
}

/**
 * Adds the variables that a server would have set, for tests. The values are
 * invented, so no server should use this function.
 *
 * @param environ - Changed in place. Every key that it already has keeps its value,
 *   even if the value is undefined.
 *
 * @example
 * const environ = { PATH_INFO: '/test', SCRIPT_NAME: '' };
 * setupTestingDefaults(environ);
 * environ.REQUEST_METHOD; // 'GET'
 */
export function setupTestingDefaults(
  environ: Partial<WSGIEnvironment>,
): asserts environ is WSGIEnvironment {
  const setDefault = (key: keyof WSGIEnvironment, value: unknown): void => {
    if (!(key in environ)) Object.assign(environ, { [key]: value });
  };

  setDefault('SERVER_NAME', '127.0.0.1');
  setDefault('SERVER_PROTOCOL', 'HTTP/1.0');
  setDefault('HTTP_HOST', environ.SERVER_NAME);
  setDefault('REQUEST_METHOD', 'GET');
  if (!('SCRIPT_NAME' in environ) && !('PATH_INFO' in environ)) {
    setDefault('SCRIPT_NAME', '');
    setDefault('PATH_INFO', '/');
  }
  setDefault('wsgi.version', [1, 0]);
  setDefault('wsgi.run_once', false);
  setDefault('wsgi.multithread', false);
  setDefault('wsgi.multiprocess', false);
  setDefault('wsgi.input', new BytesIO());
  setDefault('wsgi.errors', new StringIO());
  setDefault('wsgi.url_scheme', guessScheme(environ));
  if (environ['wsgi.url_scheme'] === 'http') setDefault('SERVER_PORT', '80');
  if (environ['wsgi.url_scheme'] === 'https') setDefault('SERVER_PORT', '443');
}

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  // Python's spelling of the line above, so that both are refused.
  'trailers',
  'transfer-encoding',
  'upgrade',
]);

/**
 * Whether a header concerns only the connection to the next machine on the way.
 * Such headers belong to the server, and an application must not send them.
 * Unlike Python: `Trailer` is one of them. (RFC 9110 §7.6.1)
 *
 * @param headerName - The name, in any case.
 */
export function isHopByHop(headerName: string): boolean {
  return HOP_BY_HOP.has(headerName.toLowerCase());
}

/**
 * Decodes a path of environ into text. Each character of the path is one byte; the
 * bytes are read as UTF-8, or as Latin-1 if they are not valid UTF-8.
 *
 * @param value - `PATH_INFO`, `SCRIPT_NAME`, or a part of them.
 *
 * @example
 * decodePath('/\xc3\xbcber'); // '/über'
 */
export function decodePath(value: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(encodeLatin1(value));
  } catch {
    return value;
  }
}

/**
 * A file as a body. Iterating reads one block after another until the file ends,
 * and does not close the file; `close` does, and exists if the file can be closed.
 * (PEP 3333, "Optional Platform-Specific File Handling")
 */
export class FileWrapper implements AsyncIterableIterator<Uint8Array> {
  /** The file, as it was given. */
  readonly file: FileLike;
  /** The most bytes of a block. */
  readonly blockSize: number;
  /** The file, if it is a FileHandle, so that a server may send it in its own way. */
  readonly handle: FileHandleLike | undefined;
  /** Closes the file. Missing if the file cannot be closed. */
  declare close?: () => Promise<void>;
  private readonly blocks: AsyncIterator<Uint8Array>;

  /**
   * A body of a file, read in blocks.
   *
   * @param file - An object with `read(size)`, a FileHandle or a Node `Readable`.
   * @param blockSize - The most bytes of a block, from 1.
   * @throws TypeError if `file` is none of these, RangeError if `blockSize` is not a
   *   whole number from 1.
   */
  constructor(file: FileLike, blockSize = 8192) {
    if (!Number.isInteger(blockSize) || blockSize < 1) {
      throw new RangeError(
        `a file wrapper's block size is a whole number of bytes from 1, not ${describe(blockSize)}`,
      );
    }
    this.blocks = readBlocks(file, blockSize);
    this.file = file;
    this.blockSize = blockSize;
    this.handle = isFileHandle(file) ? file : undefined;

    const close = closer(file);
    if (close !== undefined) this.close = close;
  }

  /**
   * Reads the next block.
   *
   * @throws The promise rejects if the file cannot be read, and with a TypeError if its
   *   `read(size)` gives anything but bytes.
   */
  next(): Promise<IteratorResult<Uint8Array>> {
    return this.blocks.next();
  }

  /** Stops reading, as a loop does on `break`. The file stays open until `close`. */
  async return(): Promise<IteratorResult<Uint8Array>> {
    await this.blocks.return?.();
    return { done: true, value: undefined };
  }

  /** Gives the blocks. */
  [Symbol.asyncIterator](): this {
    return this;
  }
}

function readBlocks(file: FileLike, blockSize: number): AsyncIterator<Uint8Array> {
  // A path is easily passed in place of a file, and `in` would throw for a string.
  if (typeof file === 'object' && file !== null) {
    if (isFileHandle(file)) return blocksOfHandle(file, blockSize);
    // The read() of a Node Readable differs: it returns null while it waits.
    if ('read' in file && !('pipe' in file)) return blocksOfReader(file, blockSize);
    if (Symbol.asyncIterator in file) return file[Symbol.asyncIterator]();
  }
  throw new TypeError(
    `wsgi.file_wrapper takes an object with read(size), a FileHandle or a Readable, ` +
      `not ${describe(file)}`,
  );
}

async function* blocksOfHandle(
  file: FileHandleLike,
  blockSize: number,
): AsyncGenerator<Uint8Array> {
  while (true) {
    // A new block each time, since the one before may not have been sent yet.
    const block = new Uint8Array(blockSize);
    const { bytesRead } = await file.read(block, 0, blockSize, null);
    if (bytesRead === 0) return;
    yield block.subarray(0, bytesRead);
  }
}

async function* blocksOfReader(
  file: { read(size: number): Uint8Array | Promise<Uint8Array> },
  blockSize: number,
): AsyncGenerator<Uint8Array> {
  while (true) {
    const block = await file.read(blockSize);
    if (!(block instanceof Uint8Array)) {
      throw new TypeError(
        `the file's read(size) returns bytes, and no bytes at its end, not ${describe(block)}`,
      );
    }
    if (block.length === 0) return;
    yield block;
  }
}

function isFileHandle(file: FileLike): file is FileHandleLike {
  return 'fd' in file && typeof file.fd === 'number' && 'read' in file && !('pipe' in file);
}

// A Node stream that has not been read keeps its file open until destroy() is
// called; most streams have no close() of their own.
function closer(file: FileLike & { destroy?: unknown }): (() => Promise<void>) | undefined {
  if (typeof file.close === 'function') return async () => void (await file.close?.());
  const { destroy } = file;
  if (typeof destroy === 'function') return async () => void destroy.call(file);
  return undefined;
}

function authority(environ: WSGIEnvironment, scheme: string): string {
  const host = environ['HTTP_HOST'];
  if (host) return host;
  const usual = scheme === 'https' ? '443' : '80';
  const port = environ.SERVER_PORT;
  return port === usual ? environ.SERVER_NAME : `${environ.SERVER_NAME}:${port}`;
}

// Encodes all but unreserved characters (RFC 3986 §2.3) and those in `safe`.
function percentEncode(text: string, safe: string): string {
  let encoded = '';
  for (const byte of encodeLatin1(text)) {
    const character = String.fromCharCode(byte);
    const plain = /[A-Za-z0-9_.~-]/.test(character) || safe.includes(character);
    encoded += plain ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

function appendSegment(scriptName: string, name: string): string {
  const segments: string[] = [];
  for (const part of `${scriptName}/${name}`.split('/')) {
    if (part === '..') segments.pop();
    else if (part !== '' && part !== '.') segments.push(part);
  }
  const path = segments.map((part) => `/${part}`).join('');
  // The slash distinguishes '/x/' from '/x' when there is nothing left to shift.
  return name === '' ? `${path}/` : path;
}
