// CGI programs as a web server starts them: a process for each request. This file
// is its own CGI program.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { CGIHandler, IISCGIHandler, type WSGIApplication, readEnviron } from '../lib/index.ts';
import { bytes, text } from './support/bytes.ts';
import { type Ended, findFreePort, makeFolder, run } from './support/command.ts';

const app: WSGIApplication = async (environ, startResponse) => {
  if (environ.PATH_INFO === '/fail') throw new Error('cgi failure');
  if (environ.PATH_INFO === '/endless') {
    startResponse('200 OK', []);
    return (function* () { while (true) yield new Uint8Array(65536); })();
  }
  if (environ.PATH_INFO === '/push') {
    const write = startResponse('200 OK', []);
    for (let count = 0; count < 100; count += 1) void write(new Uint8Array(65536));
    return [];
  }
  if (environ.PATH_INFO === '/cut') {
    void startResponse('200 OK', [])(bytes('begun'));
    throw new Error('cut');
  }
  const seen = {
    path: environ.PATH_INFO,
    script: environ.SCRIPT_NAME,
    query: environ.QUERY_STRING,
    proxy: environ['HTTP_PROXY'] ?? process.env['HTTP_PROXY'] ?? 'none',
    home: (environ as unknown as Record<string, string>)['HOME'] ?? 'none',
    once: environ['wsgi.run_once'],
    processes: environ['wsgi.multiprocess'],
    body: environ.PATH_INFO === '/part'
      ? text(await environ['wsgi.input'].read(2))
      : text(await environ['wsgi.input'].read()),
  };
  startResponse('200 OK', [['Content-Type', 'application/json']]);
  return [bytes(JSON.stringify(seen))];
};

const self = fileURLToPath(import.meta.url);

if (process.env['TSGIREF_TEST_CGI'] === 'iis') await new IISCGIHandler().run(app);
else if (process.env['TSGIREF_TEST_CGI'] !== undefined) await new CGIHandler().run(app);
else tests();

function tests(): void {
  /** Runs this file as a CGI program with these variables and this standard input. */
  async function cgi(environ: Record<string, string>, input = ''): Promise<Ended> {
    const env = {
      TSGIREF_TEST_CGI: 'plain', REQUEST_METHOD: 'GET', SERVER_PROTOCOL: 'HTTP/1.1',
      HOME: '/home/cgi', ...environ,
    };
    return run([self], { cwd: '.', env, input });
  }
  const body = (output: string): Record<string, unknown> =>
    JSON.parse(output.slice(output.indexOf('\r\n\r\n') + 4));

  describe('CGIHandler', () => {
    test('answers on standard output, with a Status line and no Date', async () => {
      const { stdout, stderr, status } = await cgi({ PATH_INFO: '/x' });
      assert.match(
        stdout,
        /^Status: 200 OK\r\nContent-Type: application\/json\r\nContent-Length: \d+\r\n\r\n\{/,
      );
      assert.equal(stderr, '');
      assert.equal(status, 0);
    });

    test('informs the application that it runs once, among other processes', async () => {
      const seen = body((await cgi({})).stdout);
      assert.equal(seen['once'], true);
      assert.equal(seen['processes'], true);
      assert.equal(seen['home'], '/home/cgi', 'the process environment is in environ');
    });

    test('adds the path and the query if the server has left out empty variables', async () => {
      const seen = body((await cgi({})).stdout);
      assert.deepEqual([seen['script'], seen['path'], seen['query']], ['', '', '']);
    });

    test('reads no further than CONTENT_LENGTH', async () => {
      const seen =
        body((await cgi({ REQUEST_METHOD: 'POST', CONTENT_LENGTH: '4' }, 'bodyandmore')).stdout);
      assert.equal(seen['body'], 'body');
    });

    test('reads nothing without CONTENT_LENGTH', async () => {
      assert.equal(body((await cgi({ CONTENT_LENGTH: '' }, 'ignored')).stdout)['body'], '');
    });

    test('gives a 500 where the body ends before CONTENT_LENGTH', async () => {
      const { stdout, stderr } = await cgi({ CONTENT_LENGTH: '10' }, 'short');
      assert.match(stdout, /^Status: 500 Internal Server Error\r\n/);
      assert.match(stderr, /the request's body ended after 5 of 10 bytes/);
    });

    test('ends though standard input stays open', async () => {
      for (const path of ['/', '/part']) {
        const env = { TSGIREF_TEST_CGI: 'plain', CONTENT_LENGTH: '4', PATH_INFO: path };
        const child = spawn(process.execPath, [self], { env, stdio: ['pipe', 'ignore', 'ignore'] });
        child.stdin.write('body');
        const [status] = (await once(child, 'close')) as [number];
        assert.equal(status, 0);
      }
    });

    test('gives the bytes of a path as characters', async () => {
      assert.equal(body((await cgi({ PATH_INFO: '/café' })).stdout)['path'], '/cafÃ©');
    });

    test('passes HTTP_PROXY on neither in environ nor in process.env', async () => {
      assert.equal(
        body((await cgi({ HTTP_PROXY: 'http://evil.example' })).stdout)['proxy'], 'none',
      );
    });

    test('gives a 500 and reports when the application fails', async () => {
      const { stdout, stderr } = await cgi({ PATH_INFO: '/fail' });
      assert.equal(
        stdout,
        'Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: 59\r\n\r\n' +
          'A server error occurred.  Please contact the administrator.',
      );
      assert.match(stderr, /^Error: cgi failure\n/);
    });

    test('ends with status 0 after an error, which has been answered', async () => {
      assert.equal((await cgi({ PATH_INFO: '/fail' })).status, 0);
    });

    test('leaves what was sent before an error', async () => {
      const { stdout, stderr } = await cgi({ PATH_INFO: '/cut' });
      assert.equal(stdout, 'Status: 200 OK\r\n\r\nbegun');
      assert.match(stderr, /^Error: cut\n/);
    });

    test('sends everything that was written, even if it was not awaited', async () => {
      const { stdout, stderr } = await cgi({ PATH_INFO: '/push' });
      assert.equal(stdout.length, 'Status: 200 OK\r\n\r\n'.length + 100 * 65536);
      assert.equal(stderr, '');
    });

    for (const path of ['/endless', '/push']) {
      test(`ends quietly when the server stops reading: ${path}`, async () => {
        const env = { TSGIREF_TEST_CGI: 'plain', PATH_INFO: path };
        const child = spawn(process.execPath, [self], { env, stdio: ['ignore', 'pipe', 'pipe'] });
        let errors = '';
        child.stderr.setEncoding('utf8').on('data', (data: string) => (errors += data));
        await once(child.stdout, 'readable');
        child.stdout.destroy();
        const [status] = (await once(child, 'close')) as [number];
        assert.equal(errors, '');
        assert.equal(status, 0);
      });
    }
  });

  describe('IISCGIHandler', () => {
    const iis = async (script: string, path: string): Promise<unknown> =>
      body(
        (await cgi({ TSGIREF_TEST_CGI: 'iis', SCRIPT_NAME: script, PATH_INFO: path })).stdout,
      )['path'];

    test('takes SCRIPT_NAME off the beginning of PATH_INFO', async () => {
      assert.equal(await iis('/app', '/app/page'), '/page');
      assert.equal(await iis('/app', '/app'), '');
    });

    test('keeps a PATH_INFO that only begins in the same way', async () => {
      assert.equal(await iis('/app', '/apple'), '/apple');
    });
  });

  test('readEnviron gives the process environment as bytes in characters', () => {
    process.env['TSGIREF_TEST_TEXT'] = 'é€';
    assert.equal(readEnviron()['TSGIREF_TEST_TEXT'], 'Ã©\xe2\x82\xac');
    delete process.env['TSGIREF_TEST_TEXT'];
  });

  // Like `python3 -m http.server --cgi`, but without giving up root's rights, because
  // the program may then be unable to read its own file.
  const program =
    'import http.server as h, os, sys\n' +
    'h.nobody_uid = os.getuid\n' +
    'h.test(HandlerClass=h.CGIHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")\n';
  const has =
    spawnSync('python3', ['-c', 'import http.server as h; h.CGIHTTPRequestHandler']).status === 0;
  const reason = process.platform === 'win32'
    ? 'needs a POSIX shell'
    : has ? false : 'there is no python3 with CGI here';

  test("it runs under Python's CGI server", { skip: reason }, async () => {
    const folder = makeFolder({});
    let server: ChildProcess | undefined;
    try {
      mkdirSync(join(folder.path, 'cgi-bin'));
      const script = join(folder.path, 'cgi-bin/app.sh');
      writeFileSync(
        script, `#!/bin/sh\nTSGIREF_TEST_CGI=plain exec '${process.execPath}' '${self}'\n`,
      );
      chmodSync(script, 0o755);
      const port = await findFreePort();
      server = spawn('python3', ['-u', '-W', 'ignore', '-c', program, String(port)], {
        cwd: folder.path,
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      await once(server.stdout ?? server, 'data');
      const response = await fetch(`http://127.0.0.1:${port}/cgi-bin/app.sh/page`, {
        method: 'POST', body: 'hello',
      });
      const seen = (await response.json()) as Record<string, unknown>;
      assert.equal(seen['path'], '/page');
      assert.equal(seen['script'], '/cgi-bin/app.sh');
      assert.equal(seen['body'], 'hello');
    } finally {
      server?.kill();
      folder.remove();
    }
  });
}
