// The interface itself: what a server and an application promise each other.
//
// Nothing here runs. A server builds a `WSGIEnvironment` for each request and
// calls the `WSGIApplication` with it and with a `StartResponse`; the
// application answers with a `ResponseBody`. The names and the rules are those
// of PEP 3333; where TypeScript can hold a rule, the type does.
//
// Mirrors wsgiref.types.

/**
 * An application: any function of these two positional arguments. A plain
 * function, an `async` function, a generator and an async generator all fit.
 *
 * It calls `startResponse` once, before its first non-empty chunk, and returns
 * (or yields) the body. It may be called many times, also while an earlier
 * call still waits. (PEP 3333, "The Application/Framework Side")
 */
export type WSGIApplication = (
  environ: WSGIEnvironment,
  startResponse: StartResponse,
) => ResponseBody | Promise<ResponseBody>;

/**
 * What the server knows of the request: CGI variables, request headers as
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
  /** What follows the first `?` of the target, still encoded; `''` if nothing does. */
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
  /** Name of the client; `''`, since no name is ever looked up. */
  REMOTE_HOST?: string;
  /** Name under which the client has logged in, where something has checked it. */
  REMOTE_USER?: string;
  /** How it has logged in, such as `Basic`. */
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
  /** Hands a file to the server to send in the way it knows best. */
  'wsgi.file_wrapper'?: FileWrapperFunction;

  /** A request header: `User-Agent` stands under `HTTP_USER_AGENT`. */
  [header: `HTTP_${string}`]: string | undefined;
  /** A server's or a middleware's own additions carry a dot in their names. */
  [extension: `${string}.${string}`]: unknown;
}

/** Three digits, one space, a reason: `200 OK`. (PEP 3333, "The start_response() Callable") */
export type Status = `${number} ${string}`;

/** Header names and values in the order in which they are sent; a name may repeat. */
export type ResponseHeaders = Array<[name: string, value: string]>;

/**
 * Begins the response. Nothing is sent yet: status and headers wait for the
 * first non-empty chunk, so that an application which fails before it can still
 * call again, with the caught value as `error`, and answer something else.
 *
 * Throws when an argument breaks the rules, on a second call without `error`,
 * and, with `error`, that very error if the head has already been sent.
 */
export type StartResponse = (status: Status, headers: ResponseHeaders, error?: unknown) => Write;

/**
 * Sends a chunk before the returned body's own: an older way, for applications
 * that must push. Awaiting the result waits until the client keeps up.
 */
export type Write = (data: Uint8Array) => void | Promise<void>;

/**
 * The body: chunks of bytes, one at a time. Where an object has both kinds of
 * iterator, the asynchronous one is used. `close`, if there is one, is called
 * once when the request ends, however it ends.
 */
export type ResponseBody = (Iterable<Uint8Array> | AsyncIterable<Uint8Array>) & {
  close?(): void | Promise<void>;
};

/**
 * The request's body, as bytes. Each call waits for the one before it to
 * settle. At the end every method gives something empty.
 * (PEP 3333, "Input and Error Streams")
 */
export interface InputStream extends AsyncIterable<Uint8Array> {
  /** Exactly `size` bytes, or fewer where the body ends; without `size`, all that is left. */
  read(size?: number): Promise<Uint8Array>;
  /** One line with its LF, or at most `size` bytes of it. */
  readline(size?: number): Promise<Uint8Array>;
  /** All lines that are left, or as many as it takes to reach `hint` bytes. */
  readlines(hint?: number): Promise<Uint8Array[]>;
}

/** A text stream for reports; takes any string. Lines end in LF. */
export interface ErrorStream {
  write(text: string): void;
  writelines(lines: Iterable<string>): void;
  flush(): void;
}

/**
 * What `wsgi.file_wrapper` takes: an object with `read(size)` giving bytes, a
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
  readonly fd: number;
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
