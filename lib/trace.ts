// Middleware for learning: draws the conversation between server and application
// as it happens, an arrow for each call and result.

import { describe } from './describe.ts';
import { checkApplication } from './handlers/base.ts';
import { maskText, maskValue } from './secrets.ts';
import { replaceVariables, showAs } from './proxy.ts';
import { Printer, type TraceOptions, cut, oneLine, showBytes } from './trace/printer.ts';
import { traceBody, traceErrors, traceFile, traceInput } from './trace/streams.ts';
import type {
  FileWrapperFunction,
  ResponseBody,
  StartResponse,
  WSGIApplication,
  WSGIEnvironment,
  Write,
} from './types.ts';
import { FileWrapper } from './util.ts';

export type { TraceOptions } from './trace/printer.ts';

/**
 * An application that does what `app` does, and draws it: the request, the call,
 * `startResponse`, each chunk, `write`, reads of the input, `close`, and when. Secrets in
 * the request's headers are left out. When the response is over, environ has the server's
 * own objects again.
 *
 * @param app - The application.
 * @param options - Where the drawing goes, and whether it has colours.
 * @throws TypeError if `app` is not a function.
 *
 * @example
 * await makeServer('127.0.0.1', 8000, trace(app)).serveForever();
 */
export function trace(app: WSGIApplication, options: TraceOptions = {}): WSGIApplication {
  checkApplication(app);
  return showAs(app, (environ, startResponse) => {
    const printer = new Printer(options);
    drawRequest(environ, printer);
    const files = new WeakSet<object>();
    const restore = replaceVariables(environ, {
      'wsgi.input': (input: object) => traceInput(input, printer),
      'wsgi.errors': (errors: object) => traceErrors(errors, printer),
      'wsgi.file_wrapper': (wrap: FileWrapperFunction) => traceFiles(wrap, files, printer),
    });

    printer.toApplication('app(environ, startResponse)');
    const handOn = (body: ResponseBody, verb: string): ResponseBody => {
      const isFile = body instanceof FileWrapper || (isObject(body) && files.has(body));
      printer.toServer(`${verb} ${isFile ? 'a file, for the server to send' : nameBody(body)}`);
      const traceResult = isFile ? traceFile : traceBody;
      return traceResult(body, printer, restore) as ResponseBody;
    };
    const fail = (error: unknown): never => {
      restore();
      throw error;
    };
    try {
      const returned = printer.attempt(() => app(environ, traceStart(startResponse, printer)));
      if (!isPromise(returned)) return handOn(returned, 'returns');
      printer.toServer('returns a promise');
      return Promise.resolve(returned)
        .then((body) => handOn(body, 'the promise gives'))
        .catch(fail);
    } catch (error) {
      return fail(error);
    }
  });
}

// The keys that differ from one request to the next; the rest is the server's own.
const REQUEST_KEYS = /^(HTTP_.*|PATH_INFO|SCRIPT_NAME|QUERY_STRING|CONTENT_TYPE|CONTENT_LENGTH)$/;

function drawRequest(environ: WSGIEnvironment, printer: Printer): void {
  const target = environ.REQUEST_URI ?? `${environ.SCRIPT_NAME}${environ.PATH_INFO}`;
  const line = `${environ.REQUEST_METHOD} ${maskText(target)} ${environ.SERVER_PROTOCOL}`;
  printer.request(oneLine(line));
  for (const [key, value] of Object.entries(environ)) {
    if (!REQUEST_KEYS.test(key) || value === '') continue;
    const shown = typeof value === 'string' ? `'${maskValue(key, value)}'` : describe(value);
    printer.serverNote(`${key} = ${oneLine(shown)}`);
  }
}

function traceStart(startResponse: StartResponse, printer: Printer): StartResponse {
  return (...args) => {
    const [status, headers] = args;
    const third = args.length > 2 ? ', error' : '';
    const shown = typeof status === 'string' ? `'${cut(oneLine(status), 32)}'` : describe(status);
    printer.toServer(`startResponse(${shown}, headers${third})`);
    if (Array.isArray(headers)) {
      for (const header of headers) {
        printer.applicationNote(oneLine(showHeader(header)));
      }
    }
    return traceWrite(printer.attemptServer(() => startResponse(...args)), printer);
  };
}

function showHeader(header: unknown): string {
  if (!Array.isArray(header)) return describe(header);
  const show = (part: unknown): string => (typeof part === 'string' ? part : describe(part));
  const [name, ...values] = header.map(show);
  return [name, ...values.map((value) => maskValue(name ?? '', value))].join(': ');
}

function traceWrite(write: Write, printer: Printer): Write {
  // The server may have given something else, which the application is to see.
  if (typeof write !== 'function') return write;
  return (...args) => {
    printer.toServer(`write(${showBytes(args[0])})`);
    return printer.attemptServer(() => write(...args));
  };
}

// A server may know its own file wrapper only by identity, so its results are
// remembered, and not put into anything else.
function traceFiles(
  wrapFile: FileWrapperFunction,
  files: WeakSet<object>,
  printer: Printer,
): FileWrapperFunction {
  return (...args) => {
    printer.toServer('wsgi.file_wrapper(file)');
    const body = printer.attemptServer(() => wrapFile(...args));
    if (isObject(body)) files.add(body);
    return body;
  };
}

function nameBody(body: ResponseBody): string {
  if (Array.isArray(body)) return body.length === 1 ? '[1 chunk]' : `[${body.length} chunks]`;
  // Generators have no class, but a tag.
  const tag: unknown = isObject(body) ? Reflect.get(body, Symbol.toStringTag) : undefined;
  if (tag === 'Generator') return 'a generator';
  if (tag === 'AsyncGenerator') return 'an async generator';
  return describe(body);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function isPromise(value: unknown): value is PromiseLike<ResponseBody> {
  return isObject(value) && typeof Reflect.get(value, 'then') === 'function';
}
