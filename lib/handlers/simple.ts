// A handler over a pair of streams. The client is any object that takes bytes. Tests use
// it with streams in memory, and every other handler extends it.
//
// Mirrors wsgiref.handlers.SimpleHandler.

import type { ErrorStream, InputStream } from '../types.ts';
import { BaseHandler } from './base.ts';
import type { Sent } from './wait.ts';

/**
 * The output of a handler: a `BytesIO`, a Node `Writable`, or anything with a
 * `write` that takes bytes in the order of its calls. A number it returns is how
 * many bytes it took; a promise is waited for.
 */
export interface ByteSink {
  /** Takes bytes of the response. */
  write(data: Uint8Array): unknown;
  /** Sends the bytes that `write` may have buffered. */
  flush?(): unknown;
}

/**
 * Serves one request from `stdin` to `stdout`, with reports going to `stderr`.
 * `environ` holds the CGI variables; `multithread` and `multiprocess` become the
 * application's `wsgi.multithread` and `wsgi.multiprocess`.
 */
export class SimpleHandler extends BaseHandler {
  /** The stream that becomes `wsgi.input`. */
  stdin: InputStream;
  /** Takes the response. */
  stdout: ByteSink;
  /** The stream that becomes `wsgi.errors`. */
  stderr: ErrorStream;
  /** The CGI variables of the request. */
  baseEnv: Readonly<Record<string, unknown>>;
  private pending: PendingWrites | undefined = undefined;
  private underWay: Sent = undefined;

  /**
   * A handler over streams.
   *
   * @param stdin - Becomes `wsgi.input`.
   * @param stdout - Takes the response.
   * @param stderr - Becomes `wsgi.errors`.
   * @param environ - The CGI variables of the request, which are copied.
   * @param multithread - Becomes `wsgi.multithread`.
   * @param multiprocess - Becomes `wsgi.multiprocess`.
   */
  constructor(
    stdin: InputStream,
    stdout: ByteSink,
    stderr: ErrorStream,
    environ: object,
    multithread = true,
    multiprocess = false,
  ) {
    super();
    this.stdin = stdin;
    this.stdout = stdout;
    this.stderr = stderr;
    this.baseEnv = environ as Record<string, unknown>;
    this.wsgiMultithread = multithread;
    this.wsgiMultiprocess = multiprocess;
  }

  override addCgiVars(): void {
    Object.assign(this.environ, this.baseEnv);
  }

  override getStdin(): InputStream {
    return this.stdin;
  }

  override getStderr(): ErrorStream {
    return this.stderr;
  }

  override _write(data: Uint8Array): Sent {
    if (isNodeStream(this.stdout)) {
      this.pending ??= new PendingWrites(this.stdout);
      return this.pending.write(data);
    }
    // A sink that takes its time may take a part, and the rest comes before the next.
    const { underWay } = this;
    const sent = underWay ? underWay.then(() => this.writeWhole(data)) : this.writeWhole(data);
    this.underWay = sent;
    return sent;
  }

  override _flush(): Sent {
    const flushed = this.stdout.flush?.();
    return flushed instanceof Promise ? flushed.then(() => undefined) : undefined;
  }

  private writeWhole(data: Uint8Array): Sent {
    const taken = this.stdout.write(data);
    if (taken instanceof Promise) return taken.then((count) => this.writeRest(data, count));
    return this.writeRest(data, taken);
  }

  // A write that takes a part only is an old fault of raw streams: Python goes on
  // with the rest, and warns.
  private writeRest(data: Uint8Array, taken: unknown): Sent {
    if (typeof taken !== 'number' || taken >= data.length) return undefined;
    if (!(taken > 0)) throw new Error(`stdout.write() took ${taken} of ${data.length} bytes`);
    globalThis.process?.emitWarning(
      `stdout.write() took ${taken} of ${data.length} bytes; it should take all`,
      'DeprecationWarning',
    );
    return this.writeWhole(data.subarray(taken));
  }
}

/** As much of Node's `Writable` as is needed to wait for it. */
interface NodeStream {
  write(data: Uint8Array, callback: (error?: Error | null) => void): boolean;
  on(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
}

function isNodeStream(stdout: object): stdout is NodeStream {
  return 'on' in stdout && 'off' in stdout && 'write' in stdout;
}

// The writes under way on a stream, and the one listener that they share.
class PendingWrites {
  private readonly stdout: NodeStream;
  private readonly rejecters: Set<(error: Error) => void> = new Set();
  private readonly fail = (error: Error): void => {
    for (const reject of this.rejecters) reject(error);
  };

  constructor(stdout: NodeStream) {
    this.stdout = stdout;
  }

  // The callback says when the bytes are out, or why they are not. The stream
  // then emits the same error, which would end the process if nobody listened.
  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.rejecters.size === 0) this.stdout.on('error', this.fail);
      this.rejecters.add(reject);
      this.stdout.write(data, (error) => {
        if (error) return reject(error);
        this.rejecters.delete(reject);
        if (this.rejecters.size === 0) this.stdout.off('error', this.fail);
        resolve();
      });
    });
  }
}
