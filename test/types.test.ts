// Programs that the compiler refuses. Each `@ts-expect-error` fails the build if the line
// below it compiles.

import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { test } from 'node:test';

import type {
  FileWrapperFunction,
  ResponseBody,
  ResponseHeaders,
  StartResponse,
  Status,
  WSGIApplication,
  WSGIEnvironment,
} from '../lib/index.ts';
import { Headers } from '../lib/index.ts';
import { bytes } from './support/bytes.ts';

// Everything in here is compiled and never called.
function refused(
  environ: WSGIEnvironment, startResponse: StartResponse, wrap: FileWrapperFunction,
): unknown[] {
  // @ts-expect-error a status is a string
  startResponse(200, []);
  // @ts-expect-error the headers are not left out
  startResponse('200 OK');
  // @ts-expect-error the headers are an array of pairs
  startResponse('200 OK', { 'Content-Type': 'text/plain' });
  // @ts-expect-error Node's global Headers differ from ours, and neither is a list
  startResponse('200 OK', new globalThis.Headers());
  // @ts-expect-error a value is a string
  const numberValue: ResponseHeaders = [['Content-Length', 5]];
  // @ts-expect-error a header is a pair
  const triple: ResponseHeaders = [['a', 'b', 'c']];
  // @ts-expect-error Headers change their list, so it cannot be a constant
  new Headers(numberValue as ResponseHeaders);
  // @ts-expect-error our Headers hold strings, too
  new Headers([['a', 1]]);

  // @ts-expect-error a body is not a string
  const stringBody: ResponseBody = 'text';
  // @ts-expect-error a body's chunks are not strings
  const stringsBody: ResponseBody = ['text'];
  // @ts-expect-error bytes alone are not a body: they go into an array
  const bytesBody: ResponseBody = new Uint8Array(1);
  // @ts-expect-error nor is a Buffer
  const bufferBody: ResponseBody = Buffer.from('text');
  // @ts-expect-error chunks are not promises
  const promisesBody: ResponseBody = [Promise.resolve(bytes('x'))];
  // @ts-expect-error a body is returned
  const nothing: WSGIApplication = () => undefined;
  // @ts-expect-error an application takes two arguments
  const three: WSGIApplication = (
    _environ: WSGIEnvironment, _start: StartResponse, _more: string,
  ) => [];
  // @ts-expect-error an object with fetch is not an application
  const worker: WSGIApplication = { fetch: () => new Response() };
  // @ts-expect-error write takes bytes
  startResponse('200 OK', [])('text');

  // @ts-expect-error environ knows its keys
  const misspelt = environ.PATHINFO;
  // @ts-expect-error a header may be absent
  const host: string = environ['HTTP_HOST'];
  // @ts-expect-error so may the type of the body
  const type: string = environ.CONTENT_TYPE;
  // @ts-expect-error the type of an extension is unknown
  const extension: string = environ['my.extension'];
  // @ts-expect-error the version is read-only
  environ['wsgi.version'][0] = 2;
  // @ts-expect-error reading gives a promise
  const body: Uint8Array = environ['wsgi.input'].read();
  // @ts-expect-error a wrapper takes a file
  wrap({});
  return [
    numberValue, triple, stringBody, stringsBody, bytesBody, bufferBody, promisesBody, nothing,
    three, worker, misspelt, host, type, extension, body,
  ];
}

// Everything in here must compile.
async function accepted(
  environ: WSGIEnvironment, startResponse: StartResponse, wrap: FileWrapperFunction,
): Promise<unknown[]> {
  const plain: WSGIApplication = (_environ, start) => (start('200 OK', [['a', 'b']]), [bytes('x')]);
  const asynchronous: WSGIApplication = async (_environ, start) =>
    (start('200 OK', []), [bytes('x')]);
  const generator: WSGIApplication = function* (_environ, start) {
    start('200 OK', []);
    yield bytes('x');
  };
  const asyncGenerator: WSGIApplication = async function* (_environ, start) {
    start('200 OK', []);
    yield bytes('x');
  };
  const bodies: ResponseBody[] = [
    [],
    [Buffer.from('x')],
    new Set([bytes('x')]),
    Readable.from([bytes('x')]),
    createReadStream('/dev/null'),
    new Response('x').body as ReadableStream<Uint8Array>,
    { *[Symbol.iterator]() { yield bytes('x'); }, close() {} },
    { async *[Symbol.asyncIterator]() { yield bytes('x'); }, async close() {} },
  ];
  let status = '200 OK';
  status = `${404} Not Found`;
  const hoisted = [['Content-Type', 'text/plain'], ['X-Frame-Options', 'DENY']] as const;
  const list: ResponseHeaders = hoisted;
  startResponse(status, hoisted);
  startResponse(status satisfies Status, [...list, ['Allow', 'GET']]);
  // The arguments of a middleware's startResponse have types without being named.
  const outer: StartResponse = (given, headers, error) =>
    startResponse(given, [...headers, ['A', 'b']], error);
  const input = environ['wsgi.input'];
  const responses = [new Response(await input.read(1000)), new Response(await input.readline())];
  for await (const line of input) responses.push(new Response(line));
  const blob = new Blob(await input.readlines());
  const pathInfo: string = environ.PATH_INFO;
  const host: string | undefined = environ['HTTP_HOST'];
  environ['my.extension'] = { anything: true };
  environ['HTTP_X_FORWARDED_FOR'] = '127.0.0.1';
  startResponse('404 Not Found', [], new Error('third argument'))(bytes('x'));
  const wrapped: Array<Promise<ResponseBody> | ResponseBody> = [
    open('/dev/null').then((handle) => wrap(handle, 1024)),
    wrap(createReadStream('/dev/null')),
    wrap({ read: () => bytes('') }),
  ];
  return [
    outer, responses, blob, plain, asynchronous, generator, asyncGenerator, bodies, pathInfo, host,
    wrapped,
  ];
}

test('the types refuse what they can, which the build has checked', () => {
  assert.equal(typeof refused, 'function');
  assert.equal(typeof accepted, 'function');
});
