// Middleware for development: when the application throws before its head is sent,
// the client gets a page that shows where and why, in place of the server's 500.
//
// Never put it before an application that strangers can reach: it shows source.

import { renderHtml } from './error-page/html.ts';
import { makeReport } from './error-page/report.ts';
import { renderText } from './error-page/text.ts';
import { formatException } from './handlers/exception.ts';
import type {
  ResponseBody,
  ResponseHeaders,
  StartResponse,
  WSGIApplication,
  WSGIEnvironment,
} from './types.ts';
import { FileWrapper } from './util.ts';

/**
 * An application that answers as `app` does, and where `app` throws before its head
 * is sent, answers 500 with a report of the error: HTML for a client that asks for
 * it, else plain text. The error goes to `wsgi.errors` as well. After the head, an
 * error passes through unchanged.
 *
 * Values whose names speak of secrets are masked.
 */
export function errorPage(app: WSGIApplication): WSGIApplication {
  return async (environ, startResponse) => {
    const exchange = new Exchange(environ, startResponse);
    try {
      const body = await app(environ, exchange.startResponse);
      return exchange.guard(body);
    } catch (error) {
      return [exchange.answer(error)];
    }
  };
}

/** One request: whether its head may have gone, and what is said if it has not. */
class Exchange {
  readonly startResponse: StartResponse;
  private readonly environ: WSGIEnvironment;
  private readonly outer: StartResponse;
  private sent = false;

  constructor(environ: WSGIEnvironment, startResponse: StartResponse) {
    this.environ = environ;
    this.outer = startResponse;
    this.startResponse = (...args) => {
      const write = startResponse(...args);
      return (data) => {
        this.noteChunk(data);
        return write(data);
      };
    };
  }

  /** The body that goes to the server in place of the application's. */
  guard(body: ResponseBody): ResponseBody {
    // Those that cannot fail half-way, and those the server knows by sight, may pass.
    if (typeof body !== 'object' || body === null) return body;
    if (Array.isArray(body) || body instanceof FileWrapper) return body;
    const guarded = Symbol.asyncIterator in body ? this.guardAsync(body) : this.guardSync(body);
    const { close, length } = body as ResponseBody & { length?: unknown };
    // The server asks for these two beside the chunks. (PEP 3333)
    if (typeof close === 'function') Object.assign(guarded, { close: () => body.close?.() });
    if (typeof length === 'number') Object.assign(guarded, { length });
    return guarded;
  }

  /** Starts the 500 and returns its body. Throws `error` itself if the head has gone. */
  answer(error: unknown): Uint8Array {
    if (this.sent) throw error;
    const stderr = this.environ['wsgi.errors'];
    stderr.write(formatException(error));
    stderr.flush();

    const report = makeReport(error, this.environ);
    const wantsHtml = /\btext\/html\b/.test(this.environ['HTTP_ACCEPT'] ?? '');
    const page = new TextEncoder().encode(wantsHtml ? renderHtml(report) : renderText(report));
    const headers: ResponseHeaders = [
      ['Content-Type', `text/${wantsHtml ? 'html' : 'plain'}; charset=utf-8`],
      ['Content-Length', String(page.length)],
      ['Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'"],
      ['X-Content-Type-Options', 'nosniff'],
      ['Cache-Control', 'no-store'],
    ];
    this.outer('500 Internal Server Error', headers, error ?? new Error('thrown: undefined'));
    return page;
  }

  private *guardSync(body: Iterable<Uint8Array>): Generator<Uint8Array> {
    try {
      for (const chunk of body) {
        this.noteChunk(chunk);
        yield chunk;
      }
    } catch (error) {
      yield this.answer(error);
    }
  }

  private async *guardAsync(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of body) {
        this.noteChunk(chunk);
        yield chunk;
      }
    } catch (error) {
      yield this.answer(error);
    }
  }

  private noteChunk(chunk: Uint8Array): void {
    if (chunk.length > 0) this.sent = true;
  }
}
