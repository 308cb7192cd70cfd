// The applications behind the doors. Each says what happens to it, in order.

import { BytesIO, type ResponseHeaders, type WSGIApplication } from '../../lib/index.ts';
import { bytes, text } from './bytes.ts';

const PLAIN: readonly [string, string] = ['Content-Type', 'text/plain'];

/** An application that calls `note` with each event. */
export type Noting = (note: (event: string) => void) => WSGIApplication;

function* noted(note: (event: string) => void, ...chunks: string[]): Generator<Uint8Array> {
  try {
    for (const chunk of chunks) {
      note(`makes ${chunk}`);
      yield bytes(chunk);
    }
    note('ends');
  } finally {
    note('finally');
  }
}

const latin1 = (data: Uint8Array): string => Buffer.from(data).toString('latin1');

const answering = (status: string, headers: ResponseHeaders, ...chunks: string[]): Noting =>
  (note) => (_environ, start) => (start(status, headers), noted(note, ...chunks));

export const ANSWERS: Readonly<Record<string, Noting>> = {
  read: (note) => async (environ, start) => {
    const body = latin1(await environ['wsgi.input'].read());
    note(`read ${JSON.stringify(body)}`);
    start('200 OK', [PLAIN]);
    return [bytes(`${environ.REQUEST_METHOD} with ${body.length} bytes`)];
  },
  lines: (note) => async (environ, start) => {
    for await (const line of environ['wsgi.input']) note(`line ${JSON.stringify(text(line))}`);
    start('200 OK', [PLAIN]);
    return [bytes('lines')];
  },
  part: (note) => async (environ, start) => {
    note(`read ${text(await environ['wsgi.input'].read(2))}`);
    start('200 OK', [PLAIN]);
    return [bytes('part')];
  },
  chunks: answering('200 OK', [PLAIN], 'one ', '', 'two'),
  later: (note) => async (_environ, start) => {
    await null;
    start('201 Created', [PLAIN, ['Location', '/new']]);
    return (async function* () {
      for (const chunk of ['now ', 'later']) {
        await null;
        note(`makes ${chunk}`);
        yield bytes(chunk);
      }
    })();
  },
  write: (note) => async (_environ, start) => {
    const write = start('200 OK', [PLAIN]);
    await write(bytes('written '));
    note('has written');
    return noted(note, 'returned');
  },
  length: answering('200 OK', [PLAIN, ['Content-Length', '7']], 'one ', 'two'),
  headers: answering('200 All Right', [
    PLAIN, ['Set-Cookie', 'a=1; Path=/'], ['X-Between', 'x'], ['Set-Cookie', 'b=2'],
    ['X-Latin', 'caf\xe9'], ['ETag', '"1"'],
    ['Vary', 'Accept'], ['Vary', 'Cookie'], ['X-Empty', ''],
  ], 'headers'),
  noContent: answering('204 No Content', [['X-A', 'b']]),
  reset: answering('205 Reset Content', []),
  notModified: answering('304 Not Modified', [['ETag', '"1"']]),
  empty: () => (_environ, start) => (start('200 OK', [PLAIN]), []),
  emptyChunks: answering('200 OK', [PLAIN], '', ''),
  redirect: answering('302 Found', [PLAIN, ['Location', '/elsewhere?x=1']], 'moved'),
  replaced: () => (_environ, start) => {
    start('200 OK', [PLAIN]);
    start('503 Service Unavailable', [PLAIN, ['Retry-After', '5']], new Error('replaced'));
    return [bytes('busy')];
  },
  missing: answering('404 Not Found', [PLAIN], 'missing'),
  file: () => (environ, start) => {
    start('200 OK', [PLAIN]);
    return environ['wsgi.file_wrapper']?.(new BytesIO(bytes('a file of some length')), 8) ?? [];
  },
  closing: (note) => (_environ, start) => {
    start('200 OK', [PLAIN]);
    return Object.assign([bytes('closed')], { close: () => note('close') });
  },
  long: answering('200 OK', [PLAIN], ...['a', 'b', 'c'].map((letter) => letter.repeat(70_000))),
  fails: () => () => {
    throw new Error('before the head');
  },
  failsInTheMiddle: (note) => (_environ, start) => {
    start('200 OK', [PLAIN, ['Content-Length', '10']]);
    return (function* () {
      note('makes begun');
      yield bytes('begun');
      throw new Error('in the middle');
    })();
  },
  noStart: () => () => [bytes('without startResponse')],
};
