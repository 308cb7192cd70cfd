// The interface itself: what a server and an application promise each other.
//
// Nothing here runs. A server builds a `WSGIEnvironment` for each request and
// calls the `WSGIApplication` with it and with a `StartResponse`; the
// application answers with a `ResponseBody`. The names and the rules are those
// of PEP 3333; if a type can express a rule, it does.
//
// Mirrors wsgiref.types.

/**
 * An application: any function of these two positional arguments. A plain
 * function, an `async` function, a generator and an async generator all fit.
 * The server may call it again before an earlier call has finished.
 * (PEP 3333, "The Application/Framework Side")
 *
 * @example
 * const app: WSGIApplication = (environ, startResponse) => {
 *   startResponse('200 OK', [['Content-Type', 'text/plain']]);
 *   return [new TextEncoder().encode(`Hello from ${environ.PATH_INFO}\n`)];
 * };
 */
export interface WSGIApplication {
  /**
   * Answers one request.
   *
   * @param environ - The request: a plain object of its own for each request,
   *   which the application may change.
   * @param startResponse - Begins the response. The application calls it once,
   *   before its first chunk, even an empty one.
   * @returns The body: an iterable or async iterable of chunks of bytes, or a
   *   promise of one. An empty array is a body without content.
   * @throws Anything. The server reports the error on `wsgi.errors`. If nothing
   *   has been sent yet, the client gets a 500; otherwise the server cuts the
   *   connection.
   */
  (environ: WSGIEnvironment, startResponse: StartResponse): ResponseBody | Promise<ResponseBody>;
}

/**
 * The request, as the server describes it: CGI variables, request headers as
 * `HTTP_*`, and the server's own objects as `wsgi.*`. A plain object, made anew
 * for each request, which the application may change as it likes.
 *
 * Every string holds bytes: each character is one byte, U+0000 to U+00FF.
 * `decodePath` turns such a string into text.
 * (PEP 3333, "environ Variables" and "Unicode Issues")
 */
export interface WSGIEnvironment {
  /** The method as the client sent it, such as `GET`; never empty. */
  REQUEST_METHOD: string;
  /** The leading part of the path that led to this application; `''` at the root. */
  SCRIPT_NAME: string;
  /** The rest of the path, percent-decoded once; `''` or begins with `/`. */
  PATH_INFO: string;
  /** The part of the target after the first `?`, still encoded; `''` without a query. */
  QUERY_STRING: string;
  /** The request's Content-Type. */
  CONTENT_TYPE?: string;
  /** The request's Content-Length in decimal digits; `''` when not known. */
  CONTENT_LENGTH?: string;
  /** Host name or address under which the server was started. */
  SERVER_NAME: string;
  /** Port in decimal digits. */
  SERVER_PORT: string;
  /** Version of the request's protocol, such as `HTTP/1.1`. */
  SERVER_PROTOCOL: string;
  /** Name and version of the server. */
  SERVER_SOFTWARE?: string;
  /** `CGI/1.1`. */
  GATEWAY_INTERFACE?: string;
  /** Address of the client. */
  REMOTE_ADDR?: string;
  /**
   * Name of the client. This server never looks it up, so it is `''`; a server in front
   * may set it.
   */
  REMOTE_HOST?: string;
  /** Name under which the client has logged in, if the server or a middleware has checked it. */
  REMOTE_USER?: string;
  /** The method of the login, such as `Basic`. */
  AUTH_TYPE?: string;
  /** The request target exactly as the client sent it. */
  REQUEST_URI?: string;
  /** `on` when the connection is encrypted. */
  HTTPS?: string;

  /** `[1, 0]`, the version of the interface. */
  'wsgi.version': readonly [number, number];
  /** `http` or `https`. */
  'wsgi.url_scheme': string;
  /** The request's body. */
  'wsgi.input': InputStream;
  /** Where the application reports trouble. */
  'wsgi.errors': ErrorStream;
  /** True if another thread may run the application at the same time. */
  'wsgi.multithread': boolean;
  /** True if another process may run the application at the same time. */
  'wsgi.multiprocess': boolean;
  /** True if the server expects to run the application only once, as under CGI. */
  'wsgi.run_once': boolean;
  /** True if `wsgi.input` ends by itself where the body ends. */
  'wsgi.input_terminated'?: boolean;
  /** Hands a file to the server to send in the server's fastest way. */
  'wsgi.file_wrapper'?: FileWrapperFunction;

  /**
   * This server's extension: gives a signal that aborts when the client leaves, for work
   * that should then stop: `await fetch(url, { signal: environ['tsgiref.signal']?.() })`.
   */
  'tsgiref.signal'?: () => AbortSignal;

  /** A request header: `User-Agent` is `HTTP_USER_AGENT`. */
  [header: `HTTP_${string}`]: string | undefined;
  /** A server's or a middleware's own additions carry a dot in their names. */
  [extension: `${string}.${string}`]: unknown;
}

/**
 * Three digits, one space and a reason: `200 OK`. Any string compiles, since a
 * status is often a variable; `startResponse` checks it when it is called.
 * (PEP 3333, "The start_response() Callable")
 */
export type Status = string;

/**
 * Header names and values in the order in which they are sent; a name may repeat.
 * This server copies the list and never changes it, so a list may be a constant that
 * every request uses. A constant needs `as const` or the type `ResponseHeaders`.
 */
export type ResponseHeaders = ReadonlyArray<readonly [name: string, value: string]>;

/** The function that a server passes to an application to begin the response. */
export interface StartResponse {
  /**
   * Begins the response. Sends nothing yet: status and headers wait for the first
   * non-empty chunk of the body. An application that fails before that chunk can
   * call again, with the error that it has caught, and answer something else.
   * Every error of this function, except `error` itself, has a `code`: the id of the rule.
   * (PEP 3333, "The start_response() Callable")
   *
   * @param status - Three digits, one space and a reason: `'404 Not Found'`.
   * @param headers - `[name, value]` pairs of strings, in the order in which they
   *   are sent: `[['Content-Type', 'text/plain']]`.
   * @param error - The error that the application has caught, only when this call
   *   replaces an earlier one.
   * @returns A function that sends a chunk at once. New applications ignore it and
   *   return or yield their chunks.
   * @throws TypeError or RangeError if the status or a header breaks the rules.
   * @throws Error on a second call without `error`, and after the response's end.
   * @throws `error` itself if status and headers have already been sent. The
   *   application must let it pass.
   *
   * @example
   * startResponse('200 OK', [['Content-Type', 'text/html; charset=utf-8']]);
   */
  (status: Status, headers: ResponseHeaders, error?: unknown): Write;
}

/** The function that `startResponse` returns. */
export interface Write {
  /**
   * Sends one chunk before those of the returned body: an older way, for
   * applications that must push. (PEP 3333, "The write() Callable")
   *
   * @param data - The chunk. The first one that is not empty sends status and
   *   headers first.
   * @returns Nothing, or a promise that resolves when the client keeps up. Await
   *   it before the next chunk.
   * @throws TypeError if `data` is not a Uint8Array, and an error after the
   *   response's end or when the client has left.
   */
  (data: Uint8Array): void | Promise<void>;
}

/**
 * The body: chunks of bytes, one at a time. Where an object has both kinds of
 * iterator, the asynchronous one is used. `close`, if there is one, is called
 * once when the request ends, however it ends.
 */
export type ResponseBody = (Iterable<Uint8Array> | AsyncIterable<Uint8Array>) & {
  close?(): void | Promise<void>;
};

/**
 * Bytes whose buffer no other thread can change. `new Response(bytes)` takes only
 * such bytes.
 */
export type Bytes = Uint8Array<ArrayBuffer>;

/**
 * The request's body, as bytes. Await each call before the next. At the end of
 * the body, every method gives an empty result. Iterating gives the lines.
 * (PEP 3333, "Input and Error Streams")
 */
export interface InputStream extends AsyncIterable<Bytes> {
  /**
   * Reads bytes. Waits until `size` bytes have arrived or the body has ended.
   *
   * @param size - How many bytes; all that are left if it is not given or -1.
   * @returns Exactly `size` bytes, or fewer where the body ends.
   * @throws The promise rejects if the body breaks off before its Content-Length,
   *   and with a TypeError if `size` is not a whole number of bytes.
   */
  read(size?: number): Promise<Bytes>;
  /**
   * Reads one line.
   *
   * @param size - The most bytes to read, if it is given.
   * @returns The line with its LF, the first `size` bytes of it, or the last line,
   *   which may have no LF.
   * @throws As `read` does.
   */
  readline(size?: number): Promise<Bytes>;
  /**
   * Reads lines.
   *
   * @param hint - Stop after the line that reaches this many bytes in total; read
   *   all lines if it is not given.
   * @throws As `read` does.
   */
  readlines(hint?: number): Promise<Bytes[]>;
}

/** A text stream for reports; takes any string. Lines end in LF. */
export interface ErrorStream {
  /**
   * Writes text as it is.
   *
   * @param text - Any string. No line break is added.
   * @throws TypeError if `text` is not a string.
   */
  write(text: string): void;
  /**
   * Writes strings one after another.
   *
   * @param lines - The strings. No line breaks are added.
   * @throws TypeError if one of them is not a string.
   */
  writelines(lines: Iterable<string>): void;
  /** Passes on all that was written. */
  flush(): void;
}

/**
 * An argument of `wsgi.file_wrapper`: an object with `read(size)` giving bytes, a
 * `node:fs/promises` FileHandle, or an async iterable of bytes such as a Node
 * `Readable`. If it has `close()`, the server calls it when the request ends.
 */
export type FileLike = (
  | { read(size: number): Uint8Array | Promise<Uint8Array> }
  | FileHandleLike
  | AsyncIterable<Uint8Array>
) & { close?(): unknown };

/** The part of a `node:fs/promises` FileHandle that a file wrapper uses. */
export interface FileHandleLike {
  /** The number by which the operating system knows the file. */
  readonly fd: number;
  /**
   * Reads bytes into a buffer.
   *
   * @param buffer - Takes the bytes.
   * @param offset - The place of the first byte in the buffer.
   * @param length - The most bytes to read.
   * @param position - The place in the file; null for the file's own position.
   * @returns How many bytes were read; 0 at the end of the file.
   */
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ bytesRead: number }>;
}

/**
 * `wsgi.file_wrapper(file, blockSize?)`: makes a body of a file, read in blocks
 * of `blockSize` bytes. (PEP 3333, "Optional Platform-Specific File Handling")
 */
export type FileWrapperFunction = (file: FileLike, blockSize?: number) => ResponseBody;
