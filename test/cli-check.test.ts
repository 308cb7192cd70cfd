// `tsgiref --check`: the report of a server's faults, and its survival of the server.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { readArguments } from '../lib/cli/arguments.ts';
import type { CheckResult } from '../lib/index.ts';
import { COMMAND, type Ended, makeFolder, run } from './support/command.ts';

// A gateway of node:http that answers without looking at much.
const GATEWAY = `
import { createServer } from 'node:http';
import { StreamInput, StringIO } from 'tsgiref';

export function start(app) {
  const server = createServer(async (request, response) => {
    const [path, query = ''] = request.url.split('?');
    const environ = {
      REQUEST_METHOD: request.method, SCRIPT_NAME: '', PATH_INFO: decodeURI(path), QUERY_STRING: query,
      SERVER_NAME: '127.0.0.1', SERVER_PORT: String(server.address().port),
      SERVER_PROTOCOL: 'HTTP/' + request.httpVersion, 'wsgi.version': [1, 0], 'wsgi.url_scheme': 'http',
      'wsgi.input': new StreamInput(request), 'wsgi.errors': new StringIO(),
      'wsgi.multithread': false, 'wsgi.multiprocess': false, 'wsgi.run_once': false,
    };
    const chunks = [];
    const body = await app(environ, (status, headers) => {
      response.writeHead(Number(status.slice(0, 3)), status.slice(4), headers.flat());
      return (chunk) => response.write(chunk);
    });
    for await (const chunk of body) response.write(chunk);
    response.end();
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve({ url: 'http://127.0.0.1:' + server.address().port, close: () => server.close() });
    });
  });
}

// Keeps the thread for good, as a loop without an end does, but not the processor.
const stop = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);

export const other = (app) => start((environ, startResponse) => {
  if (environ.QUERY_STRING.startsWith('a=')) stop();
  if (environ.QUERY_STRING === 'b') process.exit(3);
  return app(environ, startResponse);
});

export const notOne = 1;

export const stopped = stop;
`;

async function check(...args: string[]): Promise<Ended> {
  const folder = makeFolder({
    'gateway.mjs': GATEWAY, 'loud.mjs': 'process.exit(4);',
    'waiting.mjs': 'await new Promise(() => {});',
  });
  try {
    return await run([COMMAND, '--check', ...args], { cwd: folder.path });
  } finally {
    folder.remove();
  }
}

describe('tsgiref --check', { concurrency: 2 }, () => {
  test('prints what failed: what the server did, the rule, the remedy, the request', async () => {
    const { status, stdout, stderr } =
      await check('gateway.mjs', '--only', 'environ-path-plus,environ-header-host');
    assert.equal(stderr, '');
    assert.equal(stdout.replace(/127\.0\.0\.1:\d+/, 'HOST'), `\
The server gave undefined for HTTP_HOST; expected was "HOST".
environ-header-host: HTTP_HOST is the Host header, with its port. (PEP 3333, "environ Variables")
Treat Host like every other header.
Sent: GET / HTTP/1.1; received: HTTP/1.1 200 OK

environ        1 passed, 1 failed
all            1 passed, 1 failed
`);
    assert.equal(status, 1);
  });

  test('ends with 0 if nothing failed', async () => {
    const { status, stdout } = await check('gateway.mjs', '--only', 'errors');
    assert.equal(stdout, 'errors         5 passed\nall            5 passed\n');
    assert.equal(status, 0);
  });

  test('--json prints everything that is known of each check', async () => {
    const { status, stdout } = await check('gateway.mjs', '--json', '--only', 'environ-header');
    const [result, ...more] = JSON.parse(stdout) as CheckResult[];
    assert.deepEqual(more, []);
    assert.equal(result?.outcome, 'failed');
    assert.match(
      result.reason,
      /^The server gave \[undefined, undefined, undefined, undefined\] for HTTP_USER_AGENT/,
    );
    assert.match(result.sent[0] ?? '', /^GET \/ HTTP\/1\.1\r\n/);
    assert.match(result.seen.client[0] ?? '', /^HTTP\/1\.1 200 OK\r\n/);
    assert.equal(status, 1);
  });

  test('survives a server that ends the process, and one that never gives it back', async () => {
    const { stdout, status } = await check('gateway.mjs:other', '--only',
      'environ-query-question-mark,environ-query,environ-method,errors');
    assert.match(
      stdout,
      /^The server ended the process with the exit status 3\.\nenviron-query-question-mark: /m,
    );
    assert.match(stdout, /^The server kept the process busy, .*\nenviron-query: /m);
    assert.match(stdout, /^all +6 passed, 2 failed$/m);
    assert.equal(status, 1);
  });

  test('reports a start() that never comes back', async () => {
    const { stdout, status } = await check('gateway.mjs:stopped', '--only', 'errors');
    assert.match(
      stdout,
      /^The server kept the process busy, as a loop without an end does\.\nconnection-answers: /,
    );
    assert.match(stdout, /Not applicable, since the server does not pass connection-answers:/);
    assert.equal(status, 1);
  });

  for (const [args, expected] of [
    [[], '--check takes the FILE that exports start(app): tsgiref --check gateway.ts'],
    [
      ['gateway.mjs', '--only', 'enviorn'],
      'there is no group and no check enviorn; did you mean environ?',
    ],
    [
      ['gateway.mjs', '--only', 'xyz'],
      /no group and no check xyz; the groups are connection, environ, /,
    ],
    [['gateway.mjs:stat'], /does not export 'stat'; it exports .*: did you mean 'start'\?/],
    [['gateway.mjs:notOne'], /exports the number 1 as 'notOne'; expected a function/],
    [['gateway.ms'], 'there is no file gateway.ms; did you mean gateway.mjs?'],
    [['waiting.mjs'], /waiting\.mjs awaits something, at its top level, that never comes/],
    [['loud.mjs'], /loud\.mjs ended the process with the exit status 4 while it loaded/],
  ] as const) {
    test(`${args.join(' ') || 'without a file'}: says what is wrong`, async () => {
      const { status, stderr } = await check(...args);
      if (typeof expected === 'string') assert.equal(stderr, `tsgiref: ${expected}\n`);
      else assert.match(stderr, expected);
      assert.equal(status, 1);
    });
  }

  for (const option of ['--trace', '--reload', '--request=/', '--once', '--port=1', '--plain']) {
    test(`refuses ${option}, which has no effect on it`, () => {
      const words = ['--check', 'gateway.mjs', option];
      const [name = ''] = option.split('=');
      assert.throws(() => readArguments(words, {}), {
        message: new RegExp(`^${name} has no effect with --check`),
      });
    });
  }

  test('takes --env-file and --timeout', async () => {
    const folder = makeFolder({
      'empty.mjs': 'export const start = () => { throw new Error(process.env.WHY); };',
      '.env': 'WHY=because',
    });
    try {
      const words = ['--check', 'empty.mjs', '--env-file', '.env', '--timeout', '1'];
      const { stdout } = await run([COMMAND, ...words], { cwd: folder.path });
      assert.match(stdout, /^The server did not start: Error: because\./);
    } finally {
      folder.remove();
    }
  });

  test('--only and --json belong to it', async () => {
    const { stderr } = await run([COMMAND, '--json'], { cwd: '.' });
    assert.equal(stderr, 'tsgiref: --only and --json belong to --check\n');
  });
});
