// Middleware for development: when the application throws before its head is sent,
// the client gets a page that shows where and why, in place of the server's 500.
// It stands outermost, so that it sees what every other middleware throws, too.
//
// Never put it before an application that strangers can reach: it shows source.

import { renderHtml } from './error-page/html.ts';
import { makeReport } from './error-page/report.ts';
import { renderText } from './error-page/text.ts';
import { BodyReader } from './handlers/body.ts';
import { checkChunk } from './handlers/body.ts';
import { formatException, property } from './handlers/exception.ts';
import { asyncIteratorOf } from './handlers/body.ts';
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
 * error passes through unchanged, and so does one that says a connection was reset.
 *
 * Values whose names speak of secrets are masked. The source that is shown is that
 * of the JavaScript and TypeScript files in the error's own trace.
 */
export function errorPage(app: WSGIApplication): WSGIApplication {
  return (environ, startResponse) => {
    const exchange = new Exchange(environ, startResponse);
    try {
      const returned = app(environ, exchange.startResponse);
      if (typeof property(returned, 'then') !== 'function') {
        return exchange.guard(returned as ResponseBody);
      }
      return Promise.resolve(returned).then(
        (body) => exchange.guard(body),
        (error: unknown) => exchange.answer(error),
      );
    } catch (error) {
      return exchange.answer(error);
    }
  };
}

/** One request: whether its head may have gone, and what is said if it has not. */
class Exchange {
  readonly startResponse: StartResponse;
  private readonly environ: WSGIEnvironment;
  private readonly outer: StartResponse;
  private started = false;
  private sent = false;

  constructor(environ: WSGIEnvironment, startResponse: StartResponse) {
    this.environ = environ;
    this.outer = startResponse;
    this.startResponse = (...args) => {
      const write = startResponse(...args);
      this.started = true;
      return (data) => {
        // Only bytes can take the head with them; the server refuses all else.
        if (data instanceof Uint8Array && data.length > 0) this.sent = true;
        return write(data);
      };
    };
  }

  /** The body that goes to the server in place of the application's. */
  guard(body: ResponseBody): ResponseBody {
    // The server knows its own file wrapper by sight, so it is not put into another.
    if (body instanceof FileWrapper) return body;
    try {
      // What the server is going to refuse is refused here, where it gets a page.
      new BodyReader(body, () => {});
      if (Array.isArray(body) || body instanceof Set) {
        this.checkAll(body);
        return body;
      }
    } catch (error) {
      return passOn(body, this.answer(error));
    }
    if (Symbol.asyncIterator in body) {
      const begin = (): AsyncIterator<Uint8Array> => asyncIteratorOf(body);
      return passOn(body, { [Symbol.asyncIterator]: () => this.guardAsync(begin) });
    }
    const begin = body[Symbol.iterator].bind(body);
    return passOn(body, { [Symbol.iterator]: () => this.guardSync(begin) });
  }

  /** Starts the 500 and returns its body. Throws `error` itself if that cannot be. */
  answer(error: unknown): Uint8Array[] {
    if (this.sent || isReset(error)) throw error;
    const html = wantsHtml(this.environ['HTTP_ACCEPT'] ?? '');
    const page = this.render(error, html);
    const headers: ResponseHeaders = [
      ['Content-Type', `text/${html ? 'html' : 'plain'}; charset=utf-8`],
      ['Content-Length', String(page.length)],
      ['Content-Security-Policy', POLICY],
      ['X-Content-Type-Options', 'nosniff'],
      ['Cache-Control', 'no-store'],
    ];
    // An error that is undefined would look like a second call without one.
    this.outer('500 Internal Server Error', headers, error ?? new Error(`thrown: ${error}`));
    const stderr = this.environ['wsgi.errors'];
    stderr.write(formatException(error));
    stderr.flush();
    return this.environ.REQUEST_METHOD === 'HEAD' ? [] : [page];
  }

  private render(error: unknown, html: boolean): Uint8Array {
    try {
      const report = makeReport(error, this.environ);
      return new TextEncoder().encode(html ? renderHtml(report) : renderText(report));
    } catch {
      // Whatever is so broken that it cannot be shown, the server may still report.
      throw error;
    }
  }

  private guardSync(begin: () => Iterator<Uint8Array>): Iterator<Uint8Array> {
    let inner: Iterator<Uint8Array> | undefined;
    let page: Iterator<Uint8Array> | undefined;
    return {
      next: () => {
        if (page !== undefined) return page.next();
        try {
          inner ??= begin();
          return this.note(inner.next());
        } catch (error) {
          page = this.answer(error).values();
          return page.next();
        }
      },
      return: () => (page === undefined ? inner?.return?.() : undefined) ?? DONE,
    };
  }

  private guardAsync(begin: () => AsyncIterator<Uint8Array>): AsyncIterator<Uint8Array> {
    let inner: AsyncIterator<Uint8Array> | undefined;
    let page: Iterator<Uint8Array> | undefined;
    return {
      next: async () => {
        if (page !== undefined) return page.next();
        try {
          inner ??= begin();
          return this.note(await inner.next());
        } catch (error) {
          page = this.answer(error).values();
          return page.next();
        }
      },
      return: async () => (await (page === undefined ? inner?.return?.() : undefined)) ?? DONE,
    };
  }

  private note(step: IteratorResult<Uint8Array>): IteratorResult<Uint8Array> {
    // Too late for a page; and what is no step at all, the server will name.
    if (this.sent || typeof step !== 'object' || step === null) return step;
    if (!step.done) checkChunk(step.value);
    if (step.done || step.value.length > 0) this.checkStarted();
    if (!step.done && step.value.length > 0) this.sent = true;
    return step;
  }

  private checkAll(chunks: Iterable<unknown>): void {
    if (this.sent) return;
    for (const chunk of chunks) checkChunk(chunk);
    this.checkStarted();
  }

  private checkStarted(): void {
    if (this.started) return;
    throw new Error(
      'the application never called startResponse(), which comes before the first chunk of the ' +
        "body: startResponse('200 OK', [['Content-Type', 'text/plain']])",
    );
  }
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; " +
  "frame-ancestors 'none'";

interface ServerSees {
  close?: unknown;
  length?: unknown;
  destroy?: unknown;
}

/** Gives `to` what a server asks of the body `from`, beside its chunks. */
function passOn(from: ResponseBody, to: ResponseBody): ResponseBody {
  if (typeof from !== 'object' || from === null) return to;
  const { close, length, destroy } = from as ServerSees;
  if (typeof close === 'function') to.close = () => close.call(from);
  // The length of the one chunk there is becomes the Content-Length. (PEP 3333,
  // "Handling the Content-Length Header")
  if (typeof length === 'number' && !Array.isArray(to)) Object.assign(to, { length });
  // How the server gives up a Node stream of which it has read nothing.
  if (typeof destroy === 'function') Object.assign(to, { destroy: () => destroy.call(from) });
  return to;
}

// Accept = [ ( media-range [ weight ] ) *( OWS "," OWS ( media-range [ weight ] ) ) ]
// weight = OWS ";" OWS "q=" qvalue                        (RFC 9110 §12.5.1, §12.4.2)
function wantsHtml(accept: string): boolean {
  return accept.split(',').some((range) => {
    return /^\s*text\/html\s*(;|$)/i.test(range) && !/;\s*q=0(\.0*)?\s*$/i.test(range);
  });
}

// It may be the client that has left, which nobody is to be told. Only the server
// can know, so it decides.
function isReset(error: unknown): boolean {
  let current = error;
  for (let depth = 0; depth < 10; depth += 1) {
    const code = property(current, 'code');
    if (code === 'ECONNRESET' || code === 'EPIPE') return true;
    current = property(current, 'cause');
  }
  return false;
}
