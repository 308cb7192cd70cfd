// One list of requests goes through every door: the test client, a socket, CGI, and a
// chain of bridges. The answers must be equal.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { CGIHandler, type WSGIApplication, WSGIRequestHandler, type WSGIServer, fromFetch, makeServer, testClient, toFetch } from '../lib/index.ts';
import { bytes, text } from './support/bytes.ts';
import { run } from './support/command.ts';
import { RawClient } from './support/wire.ts';

const app: WSGIApplication = async (environ, start) => {
  const body = text(await environ['wsgi.input'].read());
  const seen = [environ.REQUEST_METHOD, environ.SCRIPT_NAME + environ.PATH_INFO, environ.QUERY_STRING, environ.CONTENT_TYPE ?? '-', environ['HTTP_X_A'] ?? '-', body].join('|');
  const plain: [string, string] = ['Content-Type', 'text/plain'];
  switch (environ.PATH_INFO) {
    case '/chunks':
      start('200 OK', [plain]);
      return (function* () { yield bytes('one '); yield bytes(''); yield bytes('two'); })();
    case '/later':
      start('201 Created', [plain]);
      return (async function* () { await null; yield bytes(seen); })();
    case '/write':
      await start('200 OK', [plain])(bytes('written '));
      return [bytes('returned')];
    case '/cookies':
      start('200 OK', [plain, ['Set-Cookie', 'a=1'], ['X-Between', 'x'], ['Set-Cookie', 'b=2']]);
      return [];
    case '/empty':
      start('204 No Content', []);
      return [];
    case '/missing':
      start('404 Not Found', [plain]);
      return [bytes('missing')];
    case '/replaced':
      start('200 OK', [plain]);
      start('503 Service Unavailable', [plain], new Error('x'));
      return [bytes('busy')];
    case '/fail':
      throw new Error('corpus');
    default:
      start('200 OK', [plain, ['X-Latin', 'caf\xe9']]);
      return [bytes(seen)];
  }
};

interface Asked {
  method: string;
  target: string;
  headers: Array<[string, string]>;
  body?: string;
}

interface Answer {
  status: number;
  headers: string[];
  body: string;
}

const corpus: Asked[] = [
  { method: 'GET', target: '/', headers: [] },
  { method: 'GET', target: '/a%20b/c%2Fd?x=1&y=%20', headers: [['X-A', 'value']] },
  { method: 'HEAD', target: '/', headers: [] },
  { method: 'POST', target: '/form', headers: [['Content-Type', 'application/x-www-form-urlencoded']], body: 'a=b&c=d' },
  { method: 'PUT', target: '/', headers: [['Content-Type', 'text/plain']], body: 'héllo\r\n' },
  { method: 'DELETE', target: '/x', headers: [] },
  ...['/chunks', '/later', '/write', '/cookies', '/empty', '/missing', '/replaced', '/fail'].map((target) => ({ method: 'GET', target, headers: [] as Array<[string, string]> })),
];

// Headers that a transport adds.
const ADDED = /^(date|server|connection|keep-alive|transfer-encoding|content-length):/;

const answer = (status: number, headers: Iterable<[string, string]>, body: string): Answer => ({
  status,
  headers: [...headers].map(([name, value]) => `${name.toLowerCase()}: ${value}`).filter((line) => !ADDED.test(line)).sort(),
  body,
});

async function overFetch(fetch: (input: string, init: RequestInit) => Promise<Response>, { method, target, headers, body }: Asked): Promise<Answer> {
  const response = await fetch(target, { method, headers, ...(body !== undefined && { body }) });
  return answer(response.status, response.headers, await response.text());
}

async function overSocket(port: number, { method, target, headers, body }: Asked): Promise<Answer> {
  const client = await RawClient.connect(port);
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: testserver', ...headers.map((pair) => pair.join(': '))];
  if (body !== undefined) lines.push(`Content-Length: ${bytes(body).length}`);
  client.send(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), Buffer.from(body ?? '')]));
  const response = await client.response(method);
  client.socket.destroy();
  return answer(Number(response.statusLine.slice(9, 12)), response.headers, Buffer.from(response.body, 'latin1').toString());
}

const self = fileURLToPath(import.meta.url);

async function overCgi({ method, target, headers, body }: Asked): Promise<Answer> {
  const [path = '', query = ''] = target.split('?');
  const env: Record<string, string> = {
    TSGIREF_TEST_CORPUS: '1', REQUEST_METHOD: method, SCRIPT_NAME: '', PATH_INFO: decodeURIComponent(path), QUERY_STRING: query,
    SERVER_NAME: 'testserver', SERVER_PORT: '80', SERVER_PROTOCOL: 'HTTP/1.1',
  };
  for (const [name, value] of headers) env[name === 'Content-Type' ? 'CONTENT_TYPE' : `HTTP_${name.toUpperCase().replaceAll('-', '_')}`] = value;
  if (body !== undefined) env['CONTENT_LENGTH'] = String(bytes(body).length);
  const { stdout } = await run([self], { cwd: '.', env, input: body ?? '', encoding: 'latin1' });
  const [head = '', ...rest] = stdout.split('\r\n\r\n');
  const [status = '', ...lines] = head.split('\r\n');
  const pairs = lines.map((line): [string, string] => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]);
  return answer(Number(status.slice(8, 11)), pairs, Buffer.from(rest.join('\r\n\r\n'), 'latin1').toString());
}

if (process.env['TSGIREF_TEST_CORPUS'] !== undefined) await new CGIHandler().run(app);
else tests();

function tests(): void {
  class Quiet extends WSGIRequestHandler {
    override logMessage(): void {}
    override getStderr(): never {
      return { write() {}, writelines() {}, flush() {} } as never;
    }
  }
  const servers = new Map<string, WSGIServer>();
  const silently = async <T>(use: () => Promise<T>): Promise<T> => {
    const { error } = console;
    console.error = () => {};
    try {
      return await use();
    } finally {
      console.error = error;
    }
  };
  // The platform's fetch takes absolute URLs only.
  const whole = (fetch: (request: Request) => Promise<Response>) => (input: string, init: RequestInit) => fetch(new Request(new URL(input, 'http://testserver/'), init));
  const round = fromFetch(toFetch(app));

  const ways: Array<[string, (asked: Asked) => Promise<Answer>]> = [
    ['the test client', (asked) => overFetch(testClient(app, { catchErrors: true }).fetch, asked)],
    ['the test client, without the validator', (asked) => overFetch(testClient(app, { catchErrors: true, validate: false }).fetch, asked)],
    ['CGI', overCgi],
    ['toFetch', (asked) => silently(() => overFetch(whole(toFetch(app)), asked))],
    ['fromFetch(toFetch(app)) on a socket', (asked) => silently(() => overSocket(servers.get('round')?.serverPort ?? 0, asked))],
    ['toFetch(fromFetch(toFetch(app)))', (asked) => silently(() => overFetch(whole(toFetch(round)), asked))],
  ];

  describe('the same answer', () => {
    before(async () => {
      servers.set('plain', makeServer('127.0.0.1', 0, app, { handlerClass: Quiet }));
      servers.set('round', makeServer('127.0.0.1', 0, round, { handlerClass: Quiet }));
      for (const server of servers.values()) await server.ready;
    });
    after(async () => {
      for (const server of servers.values()) await server.serverClose();
    });

    for (const asked of corpus) {
      for (const [way, ask] of ways) {
        test(`${asked.method} ${asked.target} by ${way}`, async () => {
          const expected = await overSocket(servers.get('plain')?.serverPort ?? 0, asked);
          assert.deepEqual(await ask(asked), expected);
        });
      }
    }
  });
}
