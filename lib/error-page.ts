// Middleware for development: when the application throws before its head is sent,
// the client gets a page that shows where and why, in place of the server's 500.
// Put it outside all other middleware, so that it sees everything that they throw.
//
// Never put it around an application that strangers can reach: it shows source.

import { describe, property } from './describe.ts';
import { checkApplication } from './handlers/base.ts';
import { checkBody, checkChunk } from './handlers/body.ts';
import { formatException, isConnectionLost } from './handlers/exception.ts';
import { decodeLatin1 } from './latin1.ts';
import {
  type Watch,
  replaceVariables,
  showAs,
  proxyOf,
  watchBody,
  watchInPlace,
  whenSettled,
} from './proxy.ts';
import type {
  Bytes,
  ResponseBody,
  ResponseHeaders,
  StartResponse,
  WSGIApplication,
  WSGIEnvironment,
} from './types.ts';
import { FileWrapper } from './util.ts';
import { asyncIteratorOf } from './web-stream.ts';

/** Options of `errorPage`. */
export interface ErrorPageOptions {
  /**
   * The path of a request that a server answers when a new version of the application
   * runs. The page makes this request, and reloads itself after it.
   */
  reloadPath?: string;
}

/**
 * An application that answers as `app` does, and where `app` throws before its head
 * is sent, answers 500 with a report of the error: HTML for a client that asks for
 * it, else plain text. The error goes to `wsgi.errors` as well. After the head, an
 * error passes through unchanged, and so does an error that says that a connection
 * was reset.
 *
 * Values whose names speak of secrets are masked. The page shows the source of the
 * JavaScript and TypeScript files in the trace of the error. Its links open the editor
 * that the environment variable `TSGIREF_EDITOR` names: the scheme of its links, by
 * default `vscode`, or a link with `{file}`, `{line}` and `{column}`.
 *
 * @param app - The application.
 * @param options - How the page learns of a new version.
 * @throws TypeError if `app` is not a function.
 *
 * @example
 * await makeServer('127.0.0.1', 8000, errorPage(validator(app))).serveForever();
 */
export function errorPage(app: WSGIApplication, options: ErrorPageOptions = {}): WSGIApplication {
  checkApplication(app);
  return showAs(app, (environ, startResponse) => {
    const exchange = new Exchange(environ, startResponse, options);
    try {
      const returned = app(environ, exchange.startResponse);
      if (typeof property(returned, 'then') !== 'function') {
        return exchange.guard(returned as ResponseBody);
      }
      return Promise.resolve(returned)
        .then((body) => exchange.guard(body))
        .catch((error: unknown) => exchange.fail(error));
    } catch (error) {
      return exchange.fail(error);
    }
  });
}

// The page is many files, and an application that works needs none of them.
let renderer: typeof import('./error-page/page.ts') | undefined;

async function loadRenderer(): Promise<void> {
  renderer ??= await import('./error-page/page.ts');
}

/** One request: whether its head may have been sent, and the answer if it has not. */
class Exchange {
  readonly startResponse: StartResponse;
  private readonly environ: WSGIEnvironment;
  private readonly outer: StartResponse;
  private readonly options: ErrorPageOptions;
  private readonly form: FormText = { text: '' };
  private readonly restore: () => void;
  private started = false;
  private sent = false;
  private closing: Promise<unknown> | undefined = undefined;

  constructor(environ: WSGIEnvironment, startResponse: StartResponse, options: ErrorPageOptions) {
    this.environ = environ;
    this.options = options;
    this.outer = startResponse;
    const watchForm = (input: object): object => watchInput(input, this.form);
    this.restore = replaceVariables(environ, isForm(environ) ? { 'wsgi.input': watchForm } : {});
    this.startResponse = (...args) => {
      const write = startResponse(...args);
      this.started = true;
      return (data) => {
        // Only bytes send the head first; the server refuses anything else.
        if (data instanceof Uint8Array && data.length > 0) this.sent = true;
        return write(data);
      };
    };
  }

  /** The body that goes to the server in place of the application's. */
  guard(body: ResponseBody): ResponseBody {
    // The server recognises its own file wrapper by its class.
    if (body instanceof FileWrapper) {
      watchInPlace(body, this.restore);
      return body;
    }
    try {
      checkBody(body);
      if (Array.isArray(body) || body instanceof Set) {
        this.checkAll(body);
        return watchBody(body, this.restore);
      }
    } catch (error) {
      // A body that the server would refuse fails here, where its failure gets a page.
      return this.guardChunks({
        [Symbol.iterator]: () => { throw error; },
        close: () => closeBody(body),
      });
    }
    return this.guardChunks(body);
  }

  private guardChunks(body: ResponseBody): ResponseBody {
    const isAsync = Symbol.asyncIterator in body;
    const begin = (): Iterator<Uint8Array> => (body as Iterable<Uint8Array>)[Symbol.iterator]();
    const beginAsync = isAsync ? () => asyncIteratorOf(body) : begin;
    const iterate = (): unknown => this.guardSync(begin);
    const iterateAsync = (): unknown => this.guardAsync(body, beginAsync);
    const watch: Watch = (key, method) => {
      switch (key) {
        case Symbol.asyncIterator:
          return iterateAsync;
        case Symbol.iterator:
          return iterate;
        case 'close':
          return () => this.closing ?? method();
        default:
          return undefined;
      }
    };
    // A synchronous step cannot wait for the page to be read, an asynchronous one can; a
    // server prefers it.
    const added = isAsync || renderer === undefined
      ? { [Symbol.asyncIterator]: iterateAsync }
      : { [Symbol.iterator]: iterate };
    return watchBody(body, this.restore, watch, added);
  }

  // A body that has thrown is closed at once, although the page may not be loaded yet. close()
  // of the guarded body returns that result.
  private closeEarly(body: ResponseBody): void {
    this.closing = Promise.resolve().then(() => closeBody(body));
    this.closing.catch(() => {});
  }

  /** Answers for an application that has thrown, and so is over. */
  fail(error: unknown): Uint8Array[] | Promise<Uint8Array[]> {
    this.restore();
    return this.answer(error);
  }

  /** Starts the 500 and returns its body. Throws `error` itself if that cannot be. */
  private answer(error: unknown): Uint8Array[] | Promise<Uint8Array[]> {
    if (!this.isAnswerable(error)) throw error;
    if (renderer === undefined) return loadRenderer().then(() => this.answer(error));
    const { headers, page } = this.render(error, renderer);
    // Any value can be thrown, but the third argument of startResponse is an error.
    const isError = typeof property(error, 'message') === 'string';
    const reason = isError ? error : new Error(`the application threw ${describe(error)}`);
    this.outer('500 Internal Server Error', headers, reason);
    const stderr = this.environ['wsgi.errors'];
    stderr.write(formatException(error ?? reason));
    stderr.flush();
    return this.environ.REQUEST_METHOD === 'HEAD' ? [] : [page];
  }

  private isAnswerable(error: unknown): boolean {
    // The client may have left, which is not worth a report. Only the server can know.
    return !this.sent && !isConnectionLost(error);
  }

  private render(
    error: unknown,
    { htmlPage, textPage }: NonNullable<typeof renderer>,
  ): { headers: ResponseHeaders; page: Uint8Array } {
    const { environ } = this;
    const isHtml = wantsHtml(environ['HTTP_ACCEPT'] ?? '');
    try {
      const { reloadPath } = this.options;
      const context = { error, environ, form: this.form.text, reloadPath };
      const { text, policy } = isHtml
        ? htmlPage(context)
        : { text: textPage(context), policy: "default-src 'none'" };
      const page = new TextEncoder().encode(text);
      const headers: ResponseHeaders = [
        ['Content-Type', `text/${isHtml ? 'html' : 'plain'}; charset=utf-8`],
        ['Content-Length', String(page.length)],
        ['Content-Security-Policy', policy],
        ['X-Content-Type-Options', 'nosniff'],
        ['Cache-Control', 'no-store'],
      ];
      return { headers, page };
    } catch {
      // An error that is too broken to be shown can still be reported by the server.
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
          // If the page is not read yet, the server answers for this error.
          const answer = renderer === undefined ? undefined : this.answer(error);
          if (!Array.isArray(answer)) throw error;
          page = answer.values();
          return page.next();
        }
      },
      return: () => (page === undefined ? inner?.return?.() : undefined) ?? DONE,
    };
  }

  private guardAsync(
    body: ResponseBody,
    begin: () => Iterator<Uint8Array> | AsyncIterator<Uint8Array>,
  ): AsyncIterator<Uint8Array> {
    let inner: Iterator<Uint8Array> | AsyncIterator<Uint8Array> | undefined;
    let page: Iterator<Uint8Array> | undefined;
    return {
      next: async () => {
        if (page !== undefined) return page.next();
        try {
          inner ??= begin();
          return this.note(await inner.next());
        } catch (error) {
          if (renderer === undefined && this.isAnswerable(error)) this.closeEarly(body);
          page = (await this.answer(error)).values();
          return page.next();
        }
      },
      return: async () => (await (page === undefined ? inner?.return?.() : undefined)) ?? DONE,
    };
  }

  private note(step: IteratorResult<Uint8Array>): IteratorResult<Uint8Array> {
    // It is too late for a page, or it is not a step, which the server reports.
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

const LONGEST_FORM = 2 ** 16;

/** The part of a form that the application has read. */
interface FormText {
  text: string;
}

function isForm({ CONTENT_TYPE = '' }: WSGIEnvironment): boolean {
  return /^application\/x-www-form-urlencoded\b/i.test(CONTENT_TYPE);
}

// The page shows the fields of the form, which by then nobody could read again.
function watchInput<Input extends object>(input: Input, form: FormText): Input {
  const keep = (data: unknown): void => {
    const room = LONGEST_FORM - form.text.length;
    if (Array.isArray(data)) data.forEach(keep);
    else if (data instanceof Uint8Array) form.text += decodeLatin1(data.subarray(0, room));
  };
  return proxyOf(input, (key, method) => {
    switch (key) {
      case 'read':
      case 'read1':
      case 'readline':
      case 'readlines':
        return (...args) => whenSettled(method(...args), keep);
      case Symbol.asyncIterator:
        return () => watchLines(method() as AsyncIterator<Bytes>, keep);
      default:
        return undefined;
    }
  });
}

function watchLines(lines: AsyncIterator<Bytes>, keep: (line: unknown) => void): object {
  return proxyOf(lines, (key, method) => {
    if (key !== 'next') return undefined;
    return () => whenSettled(method(), (step) => keep(property(step, 'value')));
  });
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

// The body may be any value, if the server is going to refuse it.
function closeBody(body: ResponseBody): void | Promise<void> {
  const close = property(body, 'close') as ResponseBody['close'];
  return typeof close === 'function' ? close.call(body) : undefined;
}

// Accept = [ ( media-range [ weight ] ) *( OWS "," OWS ( media-range [ weight ] ) ) ]
// weight = OWS ";" OWS "q=" qvalue                        (RFC 9110 §12.5.1, §12.4.2)
function wantsHtml(accept: string): boolean {
  return accept.split(',').some((range) => {
    return /^\s*text\/html\s*(;|$)/i.test(range) && !/;\s*q=0(\.0*)?\s*$/i.test(range);
  });
}
