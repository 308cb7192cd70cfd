// Middleware for learning: prints the conversation between server and application
// as it happens, one line for each thing that is said.

import { describe } from './describe.ts';
import { traceBody, traceClose } from './trace/body.ts';
import { Printer, type TraceOptions, oneLine, showBytes } from './trace/printer.ts';
import { TracedErrors, TracedInput } from './trace/streams.ts';
import type {
  ResponseBody,
  StartResponse,
  WSGIApplication,
  WSGIEnvironment,
  Write,
} from './types.ts';
import { FileWrapper } from './util.ts';

export type { TraceOptions } from './trace/printer.ts';

/**
 * An application that does what `app` does, and prints it: the request, the call,
 * `startResponse`, each chunk, `write`, reads of the input, `close`, and when.
 */
export function trace(app: WSGIApplication, options: TraceOptions = {}): WSGIApplication {
  return async (environ, startResponse) => {
    const printer = new Printer(options);
    printRequest(environ, printer);
    environ['wsgi.input'] = new TracedInput(environ['wsgi.input'], printer);
    environ['wsgi.errors'] = new TracedErrors(environ['wsgi.errors'], printer);

    printer.toApplication('app(environ, startResponse)');
    try {
      const returned = app(environ, traceStartResponse(startResponse, printer));
      if (returned instanceof Promise) printer.toServer('returns a promise');
      const body = await returned;
      printer.toServer(
        `${returned instanceof Promise ? 'which gives' : 'returns'} ${nameBody(body)}`,
      );
      return wrap(body, printer);
    } catch (error) {
      printer.failure(error);
      throw error;
    }
  };
}

// The keys that differ from one request to the next; the rest is the server's own.
const REQUEST_KEYS = /^(HTTP_.*|PATH_INFO|SCRIPT_NAME|QUERY_STRING|CONTENT_TYPE|CONTENT_LENGTH)$/;
const SECRET_KEYS = /^HTTP_(AUTHORIZATION|COOKIE|PROXY_AUTHORIZATION)$|TOKEN|SECRET/;

function printRequest(environ: WSGIEnvironment, printer: Printer): void {
  const target = environ.REQUEST_URI ?? `${environ.SCRIPT_NAME}${environ.PATH_INFO}`;
  printer.request(`${environ.REQUEST_METHOD} ${oneLine(target)} ${environ.SERVER_PROTOCOL}`);
  for (const [key, value] of Object.entries(environ)) {
    if (!REQUEST_KEYS.test(key) || value === '') continue;
    printer.note(`${key} = ${SECRET_KEYS.test(key) ? '…' : `'${oneLine(String(value))}'`}`);
  }
}

function traceStartResponse(startResponse: StartResponse, printer: Printer): StartResponse {
  return (...args) => {
    const [status, headers, error] = args;
    const third = error === undefined ? '' : ', error';
    printer.toServer(`startResponse('${oneLine(String(status))}', headers${third})`);
    if (Array.isArray(headers)) {
      for (const [name, value] of headers) printer.note(oneLine(`${name}: ${value}`));
    }
    return traceWrite(startResponse(...args), printer);
  };
}

function traceWrite(write: Write, printer: Printer): Write {
  return (data) => {
    printer.toServer(`write(${showBytes(data)})`);
    return write(data);
  };
}

function nameBody(body: ResponseBody): string {
  if (body instanceof FileWrapper) return 'a file, which the server sends';
  if (Array.isArray(body))
    return body.length === 1 ? 'an array of 1 chunk' : `an array of ${body.length} chunks`;
  if (typeof body !== 'object' || body === null) return describe(body);
  const kind: unknown = Reflect.get(body, Symbol.toStringTag);
  return typeof kind === 'string' ? `a body: ${kind}` : 'a body';
}

function wrap(body: ResponseBody, printer: Printer): ResponseBody {
  if (typeof body !== 'object' || body === null) return body;
  // The server knows its own file wrapper by sight, so it is not put into another.
  if (body instanceof FileWrapper) {
    if (body.close !== undefined) Object.assign(body, { close: traceClose(body, printer) });
    return body;
  }
  return traceBody(body, printer);
}
