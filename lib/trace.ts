// Middleware for learning: draws the conversation between server and application
// as it happens, an arrow for each thing that is said.

import { describe } from './describe.ts';
import { maskText, maskValue } from './secrets.ts';
import { traceBody, traceClose } from './trace/body.ts';
import { Printer, type TraceOptions, cut, oneLine, showBytes } from './trace/printer.ts';
import { TracedErrors, TracedInput } from './trace/streams.ts';
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
 * `startResponse`, each chunk, `write`, reads of the input, `close`, and when.
 * Secrets in the request's headers are left out.
 */
export function trace(app: WSGIApplication, options: TraceOptions = {}): WSGIApplication {
  return (environ, startResponse) => {
    const printer = new Printer(options);
    drawRequest(environ, printer);
    const files = new WeakSet<object>();
    environ['wsgi.input'] = new TracedInput(environ['wsgi.input'], printer);
    environ['wsgi.errors'] = new TracedErrors(environ['wsgi.errors'], printer);
    const wrapFile = environ['wsgi.file_wrapper'];
    if (wrapFile !== undefined) environ['wsgi.file_wrapper'] = traceFiles(wrapFile, files, printer);

    printer.toApplication('app(environ, startResponse)');
    const finish = (body: ResponseBody, verb: string): ResponseBody => {
      const isFile = body instanceof FileWrapper || (isObject(body) && files.has(body));
      printer.toServer(`${verb} ${isFile ? 'a file, for the server to send' : nameBody(body)}`);
      if (!isObject(body)) return body;
      return isFile ? traceFile(body, printer) : traceBody(body, printer);
    };
    const returned = printer.attempt(() => app(environ, traceStart(startResponse, printer)));
    if (!(returned instanceof Promise)) return finish(returned, 'returns');
    printer.toServer('returns a promise');
    return returned.then((body) => finish(body, 'the promise gives'));
  };
}

// The keys that differ from one request to the next; the rest is the server's own.
const REQUEST_KEYS = /^(HTTP_.*|PATH_INFO|SCRIPT_NAME|QUERY_STRING|CONTENT_TYPE|CONTENT_LENGTH)$/;

function drawRequest(environ: WSGIEnvironment, printer: Printer): void {
  const target = environ.REQUEST_URI ?? `${environ.SCRIPT_NAME}${environ.PATH_INFO}`;
  const line = `${environ.REQUEST_METHOD} ${maskText(target)} ${environ.SERVER_PROTOCOL}`;
  printer.request(oneLine(line));
  for (const [key, value] of Object.entries(environ)) {
    if (!REQUEST_KEYS.test(key) || value === '') continue;
    printer.serverNote(`${key} = '${oneLine(maskValue(key, String(value)))}'`);
  }
}

function traceStart(startResponse: StartResponse, printer: Printer): StartResponse {
  return (...args) => {
    const [status, headers] = args;
    const third = args.length > 2 ? ', error' : '';
    printer.toServer(`startResponse('${cut(oneLine(String(status)), 32)}', headers${third})`);
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
  const [name, ...values] = header.map(String);
  return [name, ...values.map((value) => maskValue(name ?? '', value))].join(': ');
}

function traceWrite(write: Write, printer: Printer): Write {
  return (data) => {
    printer.toServer(`write(${showBytes(data)})`);
    return printer.attemptServer(() => write(data));
  };
}

// A server may know its own file wrapper only by identity, so what it made is
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

function traceFile(body: ResponseBody, printer: Printer): ResponseBody {
  const { close } = body;
  if (typeof close === 'function' && Object.isExtensible(body)) {
    body.close = traceClose(close.bind(body), printer);
  }
  return body;
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
