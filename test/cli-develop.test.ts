// The command as a development server: what is around the application, and what
// else can be done with it.

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { COMMAND, type Ended, Serving, makeFolder, run, runHere } from './support/command.ts';
import { scgiFormat, uwsgiFormat } from './support/doors.ts';
import { exchange } from './support/wire.ts';

const APP = `
const enc = (text) => new TextEncoder().encode(text);
const ok = (start, type = 'text/plain') => start('200 OK', [['Content-Type', type]]);
export default async (environ, start) => {
  switch (environ.PATH_INFO) {
    case '/throw': throw new Error('on purpose');
    case '/string': ok(start); return 'a string';
    case '/number': start('200 OK', [['Content-Type', 'text/plain'], ['X-Size', 5]]); return [];
    case '/forgot': return [enc('x')];
    case '/nothing': ok(start); return;
    case '/promise': ok(start); return [Promise.resolve(enc('x'))];
    case '/warn': start('200 OK', [['Content-Type', 'text/plain'], ['ETag', 'unquoted']]); return [enc('x')];
    case '/status': start('404 Not Found', [['Content-Type', 'text/plain']]); return [enc('none')];
    case '/body': {
      const body = await environ['wsgi.input'].read();
      ok(start);
      return [enc([environ.REQUEST_METHOD, environ.QUERY_STRING, environ.CONTENT_TYPE, environ.HTTP_X_A, ''].join(' ')), body];
    }
    case '/binary': ok(start, 'image/png'); return [new Uint8Array([137, 80, 0, 255])];
    case '/scheme': ok(start); return [enc(environ['wsgi.url_scheme'] + ' ' + environ.HTTPS)];
    default: ok(start); return [enc('hello')];
  }
};
export const object = { fetch: (request) => new Response('fetched ' + new URL(request.url).pathname) };
export const make = () => (environ, start) => { ok(start); return [enc('made')]; };
export const makeLater = async () => make();
export const wrong = () => 5;
`;

async function once_(
  args: string[],
  options: { env?: NodeJS.ProcessEnv; input?: string; files?: Record<string, string> } = {},
): Promise<Ended> {
  const folder = makeFolder({ 'app.mjs': APP, ...options.files });
  try {
    const { env, input } = options;
    return await run([COMMAND, ...args], {
      cwd: folder.path, ...(env && { env: { ...process.env, ...env } }),
      ...(input !== undefined && { input }),
    });
  } finally {
    folder.remove();
  }
}

const here = (args: string[], files: Record<string, string> = {}, isTTY = false): Promise<Ended> =>
  runHere({ 'app.mjs': APP, ...files }, args, isTTY);

async function serving(
  args: string[],
  use: (server: Serving, folder: string) => Promise<void>,
  files: Record<string, string> = {},
): Promise<void> {
  const folder = makeFolder({ 'app.mjs': APP, ...files });
  try {
    const server = await Serving.start(args, { cwd: folder.path });
    try {
      await use(server, folder.path);
    } finally {
      await server.stop();
    }
  } finally {
    folder.remove();
  }
}

const HTML = { headers: { accept: 'text/html' } };

describe('the layers around the application', () => {
  test('an error page, for a browser and for a terminal', async () => {
    await serving(['app.mjs'], async (server) => {
      const page = await (await fetch(`${server.url}throw`, HTML)).text();
      assert.match(page, /^<!doctype html>[\s\S]*on purpose[\s\S]*<mark>.*case &#39;\/throw&#39;/);
      assert.match(
        await (await fetch(`${server.url}throw`)).text(),
        /\nGET \/throw\n\nError: on purpose\n {2}at /,
      );
      await server.printed(/Error: on purpose\n {4}at .*app\.mjs:6/);
    });
  });

  const mistakes: Array<[path: string, message: RegExp]> = [
    ['string', /WSGIError.*"a string"[\s\S]*\[new TextEncoder\(\)\.encode\(text\)\]/],
    ['number', /WSGIError.*number 5[\s\S]*String/],
    ['forgot', /WSGIError.*startResponse/],
    ['nothing', /WSGIError.*undefined/],
    ['promise', /WSGIError.*[Pp]romise[\s\S]*Await/],
  ];
  for (const [path, message] of mistakes) {
    test(`the validator, with a word for /${path}`, async () => {
      const { stdout } = await here(['app.mjs', '--request', `/${path}`, '-i']);
      assert.match(stdout, /^HTTP\/1\.1 500 /);
      assert.match(stdout, message);
    });
  }

  test(
    'the validator, which does not take the wait for the first error page for a mistake',
    async () => {
      const files = {
        'late.mjs':
          `export default () => Object.assign([new Uint8Array(1)], { close: () => process.stderr.write('closed\\n') });`,
      };
      const { stderr } = await once_(['late.mjs', '--request', '/'], { files });
      assert.match(stderr, /^closed\nWSGIError: .*before startResponse/);
      assert.equal(stderr.match(/^closed$/gm)?.length, 1);
    },
  );

  test('warnings, each of them once', async () => {
    await serving(['app.mjs'], async (server) => {
      for (const _ of [1, 2, 3]) await (await fetch(`${server.url}warn`)).text();
      await fetch(`${server.url}last`);
      await server.printed(/last/);
      assert.equal(server.stderr.match(/Warning \[etag-quoted\]/g)?.length, 1);
    });
  });

  test('nothing with --plain, and no validator with --no-validate', async () => {
    const warned = await here(['app.mjs', '--request', '/warn']);
    assert.match(warned.stderr, /^Warning \[etag-quoted\]: /);
    const plain = await here(['app.mjs', '--plain', '--request', '/throw']);
    assert.equal(plain.stdout, 'A server error occurred.  Please contact the administrator.');
    for (const option of ['--plain', '--no-validate']) {
      assert.deepEqual(await here(['app.mjs', option, '--request', '/warn']), {
        status: 0, stdout: 'x', stderr: '',
      });
    }
    assert.match(
      (await here(['app.mjs', '--no-validate', '--request', '/throw'])).stdout, /on purpose/,
    );
  });

  test('no error page for strangers, unless asked for; and the banner warns', async () => {
    for (const debug of [false, true]) {
      await serving([
        'app.mjs', '--host', '0.0.0.0', ...(debug ? ['--debug'] : []),
      ], async (server) => {
        const url = server.url.replace('0.0.0.0', '127.0.0.1');
        assert.equal(/on purpose/.test(await (await fetch(`${url}throw`)).text()), debug);
        assert.match(
          server.stderr,
          /\n {2}http:\/\/127\.0\.0\.1:\d+\/\n[\s\S]*Anyone who can reach this machine can use it/,
        );
        assert.equal(
          /The page that explains errors is off; --debug shows it to everyone\.\n/.test(
            server.stderr,
          ),
          !debug,
        );
      });
    }
  });

  test('a check of the Host, against names that others point here', async () => {
    await serving(['app.mjs', '--allow-host', 'my.test'], async (server) => {
      const ask = (host: string): Promise<string> =>
        exchange(
          Number(new URL(server.url).port),
          `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
        );
      for (const host of [
        'localhost:80', 'app.localhost', '127.0.0.1', '[::1]:80', '10.1.2.3', 'my.test:8000',
        'MY.TEST',
      ]) {
        assert.match(await ask(host), /^HTTP\/1\.1 200 /, host);
      }
      const refused = await ask('evil.example:8000');
      assert.match(refused, /^HTTP\/1\.1 403 Forbidden\r\n/);
      assert.match(
        refused,
        /not to "evil\.example"\.\nIf the name is yours, start it with: --allow-host evil\.example\n$/,
      );
    });
  });

  test('a server that goes on when nobody reads what the application prints', async () => {
    const files = {
      'log.mjs': `export default (_, start) => { process.stdout.write('a line\\n'); start('204 No Content', []); return []; };`,
    };
    await serving(['log.mjs'], async (server) => {
      server.child.stdout?.destroy();
      for (const _ of [1, 2, 3]) assert.equal((await fetch(server.url)).status, 204);
    }, files);
  });

  test('--trace, which draws the conversation', async () => {
    await serving(['app.mjs', '--trace'], async (server) => {
      await (await fetch(server.url)).text();
      await server.printed(/"GET \/ HTTP/);
      assert.match(
        server.stderr,
        /GET \/ HTTP\/1\.1\n[\s\S]*├─ app\(environ, startResponse\) ─+▶│\n[\s\S]*│◀─+ 5 bytes "hello" ─┤\n/,
      );
      assert.doesNotMatch(server.stderr, /\x1b/);
    });
  });

  test('--quiet: no banner and no log, but errors', async () => {
    const folder = makeFolder({ 'app.mjs': APP });
    const port = 20_000 + (process.pid % 20_000);
    const child = spawn(process.execPath, [COMMAND, 'app.mjs', '--quiet', '--port', String(port)], {
      cwd: folder.path, stdio: 'pipe',
    });
    let stderr = '';
    child.stderr.on('data', (data) => (stderr += String(data)));
    try {
      let answer: Response | undefined;
      while (answer === undefined) {
        answer = await fetch(`http://127.0.0.1:${port}/throw`).catch(() => undefined);
      }
      await answer.text();
      await fetch(`http://127.0.0.1:${port}/`);
    } finally {
      child.kill();
      await once(child, 'close');
      folder.remove();
    }
    assert.match(stderr, /^Error: on purpose\n/);
    assert.doesNotMatch(stderr, /Serving|GET/);
  });
});

describe('--request', () => {
  test('prints the body alone into a pipe', async () => {
    const { stdout, stderr, status } = await here(['app.mjs', '--request', '/']);
    assert.deepEqual([stdout, stderr, status], ['hello', '', 0]);
  });

  test('prints the head, too, with -i, and ends with 0', async () => {
    const { stdout, stderr, status } = await here(['app.mjs', '--request', '/', '-i']);
    assert.match(
      stdout,
      /^HTTP\/1\.1 200 OK\r\nDate: .*\r\nContent-Type: text\/plain\r\nContent-Length: 5\r\n\r\nhello$/,
    );
    assert.equal(stderr, '');
    assert.equal(status, 0);
  });

  const bodies: Array<[title: string, args: string[], expected: string]> = [
    [
      'a method, a query and headers',
      ['PUT /body?q=1', '-H', 'X-A: b', '-H', 'Content-Type: text/x', '--data', 'hello'],
      'PUT q=1 text/x b hello',
    ],
    [
      'a method as it is typed', ['pUT /body', '-d', ''],
      'pUT  application/x-www-form-urlencoded  ',
    ],
    [
      'data, which means POST', ['/body', '-d', 'a=1'],
      'POST  application/x-www-form-urlencoded  a=1',
    ],
    [
      'several pieces of data, as fields of one form', ['/body', '-d', 'a=1', '-d', 'b=2'],
      'POST  application/x-www-form-urlencoded  a=1&b=2',
    ],
    [
      'a file, without its line breaks', ['/body', '-d', '@data.txt'],
      'POST  application/x-www-form-urlencoded  from a file',
    ],
    [
      'a file as it is', ['/body', '--data-binary', '@data.txt'],
      'POST  application/x-www-form-urlencoded  from a\n file\n',
    ],
    [
      'pieces of both kinds, in their order',
      ['/body', '--data-binary', 'a', '-d', 'b', '--data-binary', 'c'],
      'POST  application/x-www-form-urlencoded  a&b&c',
    ],
    ['text that is not ASCII, as UTF-8', ['/body?q=ü', '-H', 'X-A: ü'], 'GET q=%C3%BC  Ã¼'],
  ];
  for (const [title, args, expected] of bodies) {
    test(`sends ${title}`, async () => {
      const files = { 'data.txt': 'from a\n file\n' };
      const { stdout } = await here(['app.mjs', '--request', ...args], files);
      assert.equal(stdout.trimEnd(), expected.trimEnd());
    });
  }

  test('sends standard input', async () => {
    const { stdout } =
      await once_(['app.mjs', '--request', '/body', '-d', '@-'], { input: 'from stdin\n' });
    assert.equal(stdout, 'POST  application/x-www-form-urlencoded  from stdin');
  });

  test('shows the head on a terminal, and no binary body', async () => {
    const text = await here(['app.mjs', '--request', '/'], {}, true);
    assert.match(text.stdout, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nhello$/);
    const binary = await here(['app.mjs', '--request', '/binary'], {}, true);
    assert.match(binary.stdout, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n$/);
    assert.equal(
      binary.stderr, 'The body is image/png and not text: send it to a file with > FILE\n',
    );
  });

  test('keeps standard output clean of what the application prints', async () => {
    const files = {
      'loud.mjs':
        `console.log('loading');\n${APP.replace("case '/throw':", "case '/loud': console.table([1]); console.log('answering'); ok(start); return [enc('quiet')]; case '/throw':")}`,
    };
    const { stdout, stderr } = await here(['loud.mjs', '--request', '/loud'], files);
    assert.equal(stdout, 'quiet');
    assert.match(stderr, /^loading\n[^]*answering\n$/);
  });

  test('nor what it prints with functions of node:console', async () => {
    const files = {
      'loud.mjs': `import { log } from 'node:console';
export default (_, start) => { log('answering'); start('200 OK', [['Content-Type', 'text/plain']]); return []; };`,
    };
    const { stdout, stderr } = await here(['loud.mjs', '--request', '/'], files);
    assert.equal(stdout, '');
    assert.equal(stderr, 'answering\n');
  });

  for (const how of ['--request=/', '--cgi']) {
    test(`fails if the application ends the process: ${how}`, async () => {
      const files = { 'exit.mjs': 'export default () => process.exit(0);' };
      const env = {
        REQUEST_METHOD: 'GET', PATH_INFO: '/', SERVER_NAME: 'localhost', SERVER_PORT: '80',
        SERVER_PROTOCOL: 'HTTP/1.1', SCRIPT_NAME: '',
      };
      const { status, stderr } = await once_(['exit.mjs', how], { files, env });
      assert.match(stderr, /^tsgiref: exit\.mjs ended the process with status 0$/m);
      assert.equal(status, 1);
    });
  }

  test('ends with 22 for 4xx and 5xx, and says why', async () => {
    const missing = await here(['app.mjs', '--request', '/status']);
    assert.equal(missing.status, 22);
    assert.equal(missing.stdout, 'none');
    assert.equal(missing.stderr, 'tsgiref: the response is 404 Not Found\n');
    const failed = await here(['app.mjs', '--request', '/throw', '-i']);
    assert.equal(failed.status, 22);
    assert.match(failed.stdout, /^HTTP\/1\.1 500 /);
  });
});

describe('other ways to run it', () => {
  test('--cgi is a CGI program', async () => {
    const env = {
      REQUEST_METHOD: 'GET', PATH_INFO: '/', SERVER_NAME: 'localhost', SERVER_PORT: '80',
      SERVER_PROTOCOL: 'HTTP/1.1', SCRIPT_NAME: '',
    };
    const { stdout, status } = await once_(['app.mjs', '--cgi'], { env });
    assert.equal(
      stdout, 'Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello',
    );
    assert.equal(status, 0);
  });

  for (const [path, answer, status] of [['', 'hello', 0], ['status', 'none', 22]] as const) {
    test(`--once serves one request and ends with ${status}: /${path}`, async () => {
      await serving(['app.mjs', '--once'], async (server) => {
        assert.equal(await (await fetch(server.url + path)).text(), answer);
        if (server.child.exitCode === null) await once(server.child, 'close');
        assert.equal(server.child.exitCode, status);
      });
    });
  }

  test('--scgi and --uwsgi serve behind another server', async () => {
    for (const [protocol, format, line] of [
      ['scgi', scgiFormat, 'Status: 200 OK'], ['uwsgi', uwsgiFormat, 'HTTP/1.1 200 OK'],
    ] as const) {
      await serving(['app.mjs', `--${protocol}`, '0'], async (server) => {
        const [, port] =
          /^Serving app\.mjs by (?:SCGI|uwsgi) on 127\.0\.0\.1:(\d+) \(Ctrl-C stops\)\nThe page that explains errors is off/
            .exec(server.stderr) ?? [];
        const request = (target: string): string =>
          format({ method: 'GET', target, headers: [], app: '' });
        assert.equal(
          await exchange(Number(port), request('/')),
          `${line}\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello`,
        );
        // Its clients are strangers.
        assert.doesNotMatch(await exchange(Number(port), request('/throw')), /on purpose/);
        assert.match(await exchange(Number(port), request('/string')), / 500 /);
        await server.printed(/WSGIError/);
        assert.equal(await server.stop(), 0);
      });
    }
  });

  test('--scgi replaces the socket of a dead process, and not of a live one', {
    skip: process.platform === 'win32' && 'there are no such sockets',
  }, async () => {
    const folder = makeFolder({ 'app.mjs': APP });
    const start = (): Promise<Serving> =>
      Serving.start(['app.mjs', '--scgi', './app.sock'], { cwd: folder.path });
    try {
      const first = await start();
      const { status, stderr } =
        await run([COMMAND, 'app.mjs', '--scgi', './app.sock'], { cwd: folder.path });
      assert.equal(
        stderr,
        'tsgiref: cannot listen on ./app.sock: another program listens there; stop it, or choose another path (EADDRINUSE)\n',
      );
      assert.equal(status, 1);
      await first.stop('SIGKILL');
      assert.ok(existsSync(join(folder.path, 'app.sock')), 'it was left behind');
      const second = await start();
      assert.equal(await second.stop(), 0);
      assert.equal(existsSync(join(folder.path, 'app.sock')), false);
    } finally {
      folder.remove();
    }
  });

  test('FILE:FACTORY() and fetch handlers, which the banner says', async () => {
    assert.equal((await here(['app.mjs:make()', '--request', '/'])).stdout, 'made');
    assert.equal((await here(['app.mjs:makeLater()', '--request', '/'])).stdout, 'made');
    assert.match(
      (await here(['app.mjs:wrong()', '--request', '/'])).stderr,
      /exports the number 5 as the result of wrong\(\); an application is a function/,
    );
    await serving(['app.mjs:object'], async (server) => {
      assert.match(server.banner, /^Serving app\.mjs:object \(a fetch handler\) on /);
      assert.equal(await (await fetch(`${server.url}x`)).text(), 'fetched /x');
    });
  });

  const openssl = spawnSync('openssl', ['version']).error === undefined;
  test('--tls-cert and --tls-key serve HTTPS', {
    skip: openssl ? false : 'there is no openssl here',
  }, async () => {
    const folder = makeFolder({ 'app.mjs': APP });
    try {
      execFileSync(
        'openssl',
        [
          'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'key.pem', '-out', 'cert.pem',
          '-days', '1', '-subj', '/CN=localhost',
        ],
        { cwd: folder.path, stdio: 'ignore' },
      );
      const server = await Serving.start(
        ['app.mjs', '--tls-cert', 'cert.pem', '--tls-key', 'key.pem'], { cwd: folder.path },
      );
      try {
        const [, port] = /https:\/\/127\.0\.0\.1:(\d+)\//.exec(server.stderr) ?? [];
        const ca = readFileSync(join(folder.path, 'cert.pem'));
        const answer = await new Promise<string>((resolve, reject) => {
          const request = httpsRequest(
            { port, host: '127.0.0.1', path: '/scheme', ca, servername: 'localhost', agent: false },
            (response) => {
              let all = '';
              response.on('data', (data) => (all += String(data))).on('end', () => resolve(all));
            },
          );
          request.on('error', reject).end();
        });
        assert.equal(answer, 'https on');
        await exchange(Number(port), 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
        assert.equal(await server.stop('SIGINT'), 0);
      } finally {
        await server.stop();
      }
    } finally {
      folder.remove();
    }
  });

  test('an address by --bind, or by HOST and PORT', async () => {
    const probe = async (args: string[], env: NodeJS.ProcessEnv): Promise<string> => {
      const folder = makeFolder({ 'app.mjs': APP });
      const child = spawn(process.execPath, [COMMAND, 'app.mjs', ...args], {
        cwd: folder.path, env: { ...process.env, ...env }, stdio: 'pipe',
      });
      const [data] = (await once(child.stderr, 'data')) as [Buffer];
      child.kill();
      await once(child, 'close');
      folder.remove();
      return String(data);
    };
    assert.match(await probe(['--bind', '127.0.0.2:0'], {}), /on http:\/\/127\.0\.0\.2:\d+\//);
    assert.match(await probe(['--bind', '[::1]:0'], {}), /on http:\/\/\[::1\]:\d+\//);
    assert.match(
      await probe(['--host', '[::1]', '--port', '0'], {}), /on http:\/\/\[::1\]:\d+\//,
    );
    assert.match(
      await probe([], { HOST: '127.0.0.3', PORT: '0' }), /on http:\/\/127\.0\.0\.3:\d+\//,
    );
    assert.match(
      await probe(['--host', '127.0.0.1'], { HOST: '127.0.0.3', PORT: '0' }),
      /on http:\/\/127\.0\.0\.1:\d+\//,
    );
  });

  test('limits reach the server', async () => {
    await serving(
      ['app.mjs', '--max-requests', '1', '--max-header-size', '1000'],
      async (server) => {
        const answer = await exchange(
          Number(new URL(server.url).port),
          `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(2000)}\r\n\r\n`,
        );
        assert.match(answer, /^HTTP\/1\.1 431 /);
        await (await fetch(server.url)).text();
        if (server.child.exitCode === null) await once(server.child, 'close');
        assert.equal(server.child.exitCode, 0);
      },
    );
  });

  const wrong: Array<[string[], RegExp]> = [
    [['--bind', 'x:y'], /--bind takes HOST:PORT, not 'x:y'/],
    [['--bind', '18340'], /for a port, write --bind :18340$/m],
    [['--bind', ':1', '--port', '2'], /--bind says both host and port/],
    [['--request', 'G@T /'], /--request takes 'METHOD \/path' or '\/path', not 'G@T \/'/],
    [['--request', 'a b c'], /--request takes 'METHOD \/path' or '\/path', not 'a b c'/],
    [['--request', '/', '-H', 'nothing'], /-H takes 'Name: value', not 'nothing'/],
    [['--request', '/', '-H', 'A B: c'], /-H takes 'Name: value', not 'A B: c'/],
    [
      ['--request', '/', '-H', 'X: a\r\nb'],
      /the value of a header has no control characters; -H "X: a\\r\\nb" has one/,
    ],
    [
      ['--request', '/', '-H', 'Content-Length: 99', '-d', 'abc'],
      /sends a body of 3 bytes, and not 'Content-Length: 99': leave out this header/,
    ],
    [
      ['--request', '/', '-H', 'Transfer-Encoding: chunked', '-d', 'x'],
      /sends a body of 1 byte, and not 'Transfer-Encoding: chunked': leave out this header/,
    ],
    [['--request', '/', '-d', '@'], /@ names no file: write @FILE, or @- for standard input/],
    [['--request', '/', '-d', '@missing'], /there is no file missing to take the data from/],
    [['--request', '/', '-d', '@.'], /the data cannot be read from \.: EISDIR/],
    [['--tls-cert', 'x'], /HTTPS takes both --tls-cert FILE and --tls-key FILE/],
    [
      ['--tls-cert', 'x', '--tls-key', 'y'],
      /there is no file x; --tls-cert and --tls-key take PEM files/,
    ],
    [
      ['--tls-cert', 'app.mjs', '--tls-key', 'app.mjs'],
      /app\.mjs and app\.mjs are not a certificate and its key in PEM/,
    ],
    [['--timeout', 'soon'], /--timeout takes a whole number, not 'soon'/],
    [['--timeout', '2147484'], /--timeout takes at most 2147483 seconds, not 2147484/],
    [['--max-requests', '-1'], /--max-requests takes a whole number, not '-1'/],
    [['-p', '-1'], /a port is a number from 0 to 65535, not '-1'/],
    [['--demo'], /--demo serves the demo application, and not app\.mjs: leave out one of them/],
    [
      ['--plain', '--debug'],
      /--debug shows the error page to everyone, and --plain leaves it out: leave out one of them/,
    ],
    [
      ['--request', '/', '--once'],
      /--once is for a server that listens, and --request starts none: leave out one of them/,
    ],
    [['--request', '/', '--cgi'], /--request makes a request by itself, and --cgi takes one from/],
    [['-d', 'x=1'], /--data belongs to --request: tsgiref FILE --request \/path --data …/],
    [['--reload', '--once'], /--reload serves until Ctrl-C, and --once does not/],
    [['--watch', 'x'], /--watch belongs to --reload/],
    [
      ['--watch'],
      /--watch takes a PATH to watch beside the application; to restart on changes: --reload/,
    ],
    [['--env-file', 'missing'], /there is no file missing to read environment variables from/],
    [
      ['--scgi', '4000', '--uwsgi', '3031'],
      /one protocol is served at a time: leave out --scgi or --uwsgi/,
    ],
    [
      ['--scgi', 'app'],
      /--scgi takes a PORT, HOST:PORT or the PATH of a Unix socket with a slash in it, such as \.\/app\.sock, not 'app'/,
    ],
    [
      ['--scgi', '4000', '--reload'],
      /--reload is for HTTP, and --scgi is not: leave out one of them/,
    ],
    [
      ['--uwsgi', '4000', '--port', '80'],
      /--port is for HTTP, and --uwsgi is not: leave out one of them/,
    ],
    [
      ['--scgi', './missing/app.sock'],
      /cannot listen on \.\/missing\/app\.sock: there is no such folder/,
    ],
    [
      ['--scgi', './app.mjs'],
      /cannot listen on \.\/app\.mjs: it is a file that is not a socket; choose another path \(EADDRINUSE\)/,
    ],
    [['--allow-hots', 'x'], /there is no option --allow-hots; did you mean --allow-host\?/],
  ];
  test('a PORT that is not a port', async () => {
    const { stderr, status } = await once_(['app.mjs'], { env: { PORT: 'abc' } });
    assert.equal(
      stderr,
      "tsgiref: the environment variable PORT: a port is a number from 0 to 65535, not 'abc'\n",
    );
    assert.equal(status, 1);
  });

  for (const [args, message] of wrong) {
    test(`a mistake in ${args.join(' ')}`, async () => {
      const { stderr, status } = await here(['app.mjs', ...args]);
      assert.match(stderr, message);
      assert.equal(status, 1);
    });
  }
});
