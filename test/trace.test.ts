// The trace: what is printed, and that nothing else changes.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { type ResponseBody, type WSGIApplication, trace } from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import { exchange, withServer, withoutDate } from './support/wire.ts';

const get = (path = '/', method = 'GET'): string => `${method} ${path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n`;

/** What is printed while one request is served, without numbers and times. */
async function traced(app: WSGIApplication, request: string, colour = false): Promise<{ lines: string[]; answer: string; errors: string }> {
  let printed = '';
  let answer = '';
  let reported = '';
  await withServer(trace(app, { write: (line) => (printed += line), colour }), async ({ port, errors }) => {
    answer = withoutDate(await exchange(port, request));
    reported = errors.getValue();
  });
  const lines = printed.split('\n').slice(0, -1);
  if (!colour) for (const line of lines) assert.match(line, /^#\d+ +\d+\.\d ms {2}/);
  return { lines: lines.map((line) => line.replace(/^#\d+ +\d+\.\d ms {2}/, '')), answer, errors: reported };
}

const answering = (body: () => ResponseBody): WSGIApplication => (_environ, start) => (start('200 OK', [['X', 'y']]), body());

const HEAD = [
  'GET /a?b HTTP/1.1',
  "               PATH_INFO = '/a'",
  "               QUERY_STRING = 'b'",
  "               HTTP_HOST = 'test'",
  "               HTTP_CONNECTION = 'close'",
  'server ──▶ app  app(environ, startResponse)',
  "server ◀── app  startResponse('200 OK', headers)",
  '               X: y',
];
const head = HEAD.map((line) => line.replace(/^ {15}(?=\S)/, `${' '.repeat(14)}  `));

describe('trace prints', () => {
  test('a function and an array', async () => {
    const { lines, answer } = await traced(answering(() => [bytes('hello\n')]), get('/a?b'));
    assert.deepEqual(lines, [
      ...head,
      'server ◀── app  returns an array of 1 chunk',
      'server ──▶ app  next chunk?',
      'server ◀── app  6 bytes "hello\\n"',
      'server ──▶ app  next chunk?',
      'server ◀── app  no more',
    ].slice(0, lines.length));
    assert.equal(answer, 'HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n');
  });

  test('a generator that is closed, a read, a write and a report', async () => {
    const app: WSGIApplication = async (environ, start) => {
      const write = start('200 OK', [['X', 'y']]);
      environ['wsgi.errors'].write('report\n');
      await write(await environ['wsgi.input'].read(2));
      return Object.assign((async function* () { yield bytes('x'.repeat(100)); yield bytes(''); })(), { close() {} });
    };
    const request = 'POST /a?b HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody';
    const { lines, errors } = await traced(app, request);
    assert.deepEqual(lines.slice(lines.indexOf('server ──▶ app  app(environ, startResponse)') + 1), [
      "server ◀── app  startResponse('200 OK', headers)",
      `${' '.repeat(14)}  X: y`,
      'server ◀── app  wsgi.errors.write("report\\n")',
      'server ◀── app  wsgi.input.read(2)',
      'server ◀── app  returns a promise',
      'server ──▶ app  2 bytes "bo"',
      'server ◀── app  write(2 bytes "bo")',
      'server ◀── app  which gives a body: AsyncGenerator',
      'server ──▶ app  next chunk?',
      `server ◀── app  100 bytes "${'x'.repeat(40)}…"`,
      'server ──▶ app  next chunk?',
      'server ◀── app  an empty chunk',
      'server ──▶ app  next chunk?',
      'server ◀── app  no more',
      'server ──▶ app  close()',
    ]);
    assert.equal(errors, 'report\n');
  });

  test('an early stop', async () => {
    const { lines } = await traced(answering(function* () { while (true) yield bytes('x'); }), get('/', 'HEAD'));
    assert.deepEqual(lines.slice(-2), ['server ◀── app  1 byte "x"', 'server ──▶ app  return(), stop early']);
  });

  test('a file, which the server still knows', async () => {
    const self = fileURLToPath(import.meta.url);
    const app: WSGIApplication = async (environ, start) => (start('200 OK', []), environ['wsgi.file_wrapper']?.(await open(self)) ?? []);
    const { lines, answer } = await traced(app, 'GET / HTTP/1.0\r\n\r\n');
    assert.deepEqual(lines.slice(-2), ['server ◀── app  which gives a file, which the server sends', 'server ──▶ app  close()']);
    assert.ok(answer.endsWith(await readFile(self, 'latin1')));
  });

  test('a failure, which passes', async () => {
    const { lines, answer, errors } = await traced(() => { throw new TypeError('on\nthe way'); }, get());
    assert.equal(lines.at(-1), 'server ◀── app  throws TypeError: on\\nthe way');
    assert.match(answer, /^HTTP\/1\.1 500 /);
    assert.match(errors, /^TypeError: on\nthe way\n/);
  });

  test('no secret, and nothing that a terminal acts on', async () => {
    const { lines } = await traced(answering(() => [bytes('\x1b[2J\x07')]), 'GET /%1b HTTP/1.1\r\nHost: x\r\nCookie: session=1\r\nAuthorization: Basic x\r\nConnection: close\r\n\r\n');
    assert.doesNotMatch(lines.join('\n'), /[\x00-\x09\x0b-\x1f]|session|Basic/);
  });

  test('in colour, if it is asked to', async () => {
    const { lines } = await traced(answering(() => []), get(), true);
    assert.match(lines.join('\n'), /\x1b\[36mserver ──▶ app\x1b\[39m {2}app\(environ, startResponse\)/);
  });
});

test('trace gives each request a number of its own', async () => {
  let printed = '';
  await withServer(trace(answering(() => [bytes('x')]), { write: (line) => (printed += line), colour: false }), async ({ port }) => {
    await Promise.all([exchange(port, get('/1')), exchange(port, get('/2'))]);
  });
  const numbers = new Set([...printed.matchAll(/^#(\d+)/gm)].map((match) => match[1]));
  assert.equal(numbers.size, 2);
});
