// The command, as a user runs it: a child process in a folder with a file or two.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { PUBLIC_MODULES } from '../lib/cli/loading/resolve.ts';
import { COMMAND, type Ended, ROOT, Serving, makeFolder, run, runHere } from './support/command.ts';

const HELLO = `
export default function hello(environ, startResponse) {
  startResponse('200 OK', [['Content-Type', 'text/plain']]);
  return [new TextEncoder().encode('Hello from ' + environ.PATH_INFO + '\\n')];
}
`;

const TYPED = `
import type { WSGIApplication } from 'tsgiref';
import { Headers } from 'tsgiref/headers';
interface Greeting {
  word: string;
}
const greeting: Greeting = { word: 'typed' };
const app: WSGIApplication = (environ, startResponse) => {
  if (environ.PATH_INFO === '/fail') throw new Error('on line 9');
  startResponse('200 OK', new Headers([['X-Size', '1']]).entries());
  return [new TextEncoder().encode(greeting.word)];
};
export default app;
`;

/** Runs the command in a folder with these files and returns how it ended. */
async function failing(files: Record<string, string>, ...args: string[]): Promise<Ended> {
  const folder = makeFolder(files);
  try {
    return await run([COMMAND, ...args], { cwd: folder.path });
  } finally {
    folder.remove();
  }
}

/** Serves these files for the time of `use`. */
async function serving(
  files: Record<string, string>,
  args: string[],
  use: (server: Serving) => Promise<void>,
): Promise<void> {
  const folder = makeFolder(files);
  try {
    const server = await Serving.start(args, { cwd: folder.path });
    try {
      await use(server);
    } finally {
      await server.stop();
    }
  } finally {
    folder.remove();
  }
}

describe('the command serves', () => {
  test('a file, with one banner line and a log line for each request', async () => {
    await serving({ 'hello.mjs': HELLO }, ['hello.mjs'], async (server) => {
      const response = await fetch(new URL('/x', server.url));
      assert.equal(await response.text(), 'Hello from /x\n');
      await server.printed(/GET/);
      assert.match(
        server.stderr,
        /^Serving hello\.mjs on http:\/\/127\.0\.0\.1:\d+\/ \(Ctrl-C stops\)\n127\.0\.0\.1 - - \[\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET \/x HTTP\/1\.1" 200 14\n$/,
      );
    });
  });

  test('the demo application, without a file', async () => {
    const { stdout } = await runHere({}, ['--request', '/']);
    assert.match(stdout, /^Hello world!\n\n/);
    assert.match(stdout, /^PATH_INFO = '\/'$/m);
  });

  test('app.ts, app.js or index.ts, without a file, but not for --demo', async () => {
    const app = (name: string): string =>
      `export const app = (e, start) => { start('200 OK', []); return [Buffer.from('${name}')]; };`;
    const files: Record<string, string> = { 'package.json': '{ "type": "module" }' };
    for (const name of ['index.ts', 'app.js', 'app.ts']) {
      files[name] = app(name).replace(
        '(e, start)', name.endsWith('.ts') ? '(e: any, start: any)' : '(e, start)',
      );
      assert.equal((await runHere(files, ['--request', '/'])).stdout, name);
    }
    assert.match((await runHere(files, ['--demo', '--request', '/'])).stdout, /^Hello world!/);
  });

  test('TypeScript, importing tsgiref where nothing is installed', async () => {
    assert.equal(
      (await runHere({ 'typed.ts': TYPED }, ['typed.ts', '--request', '/'])).stdout, 'typed',
    );
  });

  test('with the lines of the TypeScript file in a trace', async () => {
    await serving({ 'typed.ts': TYPED }, ['typed.ts'], async (server) => {
      assert.equal((await fetch(new URL('/fail', server.url))).status, 500);
      await server.printed(/500/);
      assert.match(server.stderr, /Error: on line 9\n {4}at \w+ \(\S*typed\.ts:9:\d+\)\n/);
    });
  });

  test('TypeScript that imports TypeScript', async () => {
    const files = {
      'app.ts': `import { app } from './part.ts';\nexport default app;\n`,
      'part.ts':
        `const word: string = 'part';\nexport const app = (_: unknown, start: any) => { start('200 OK', []); return [new TextEncoder().encode(word)]; };\n`,
    };
    assert.equal((await runHere(files, ['app.ts', '--request', '/'])).stdout, 'part');
  });

  for (const [name, text] of [
    [
      'app.cjs',
      `module.exports = (e, start) => { start('200 OK', []); return [Buffer.from('cjs')]; };`,
    ],
    [
      'app.js',
      `export const app = (e, start) => { start('200 OK', []); return [Buffer.from('app')]; };`,
    ],
    [
      'app.mts',
      `export const application = (e: object, start: any) => { start('200 OK', []); return [Buffer.from('application')]; };`,
    ],
  ] as const) {
    test(`${name}, by its default, app or application`, async () => {
      // A package.json says what kind of module a .js file is.
      const files = { [name]: text, 'package.json': '{ "type": "module" }' };
      assert.match(
        (await runHere(files, [name, '--request', '/'])).stdout, /^(cjs|app|application)$/,
      );
    });
  }

  test('a named export', async () => {
    const files = {
      'two.mjs':
        `${HELLO}\nexport const other = (e, start) => { start('200 OK', []); return [Buffer.from('other')]; };`,
    };
    assert.equal((await runHere(files, ['two.mjs:other', '--request', '/'])).stdout, 'other');
  });

  test('on the address that was asked for', async () => {
    await serving({ 'hello.mjs': HELLO }, ['hello.mjs', '--host', '::1'], async (server) => {
      assert.match(server.banner, / on http:\/\/\[::1\]:\d+\/ /);
      assert.equal((await fetch(server.url)).status, 200);
    });
  });
});

describe('the command stops', () => {
  const slow = `
import { once } from 'node:events';
export default async (environ, startResponse) => {
  process.stderr.write('waiting\\n');
  await once(process, 'SIGINT');
  await new Promise((resolve) => setTimeout(resolve, 50));
  startResponse('200 OK', []);
  return [Buffer.from('finished')];
};`;

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`with status 0 on ${signal}`, async () => {
      await serving({ 'hello.mjs': HELLO }, ['hello.mjs'], async (server) => {
        await fetch(server.url);
        assert.equal(await server.stop(signal), 0);
      });
    });
  }

  test('after the requests in flight, on the first Ctrl-C', async () => {
    await serving({ 'slow.mjs': slow }, ['slow.mjs'], async (server) => {
      const response = fetch(server.url);
      await server.printed(/waiting/);
      const status = server.stop('SIGINT');
      assert.equal(await (await response).text(), 'finished');
      assert.equal(await status, 0);
    });
  });

  // npx passes on the signal that the terminal has sent to both, so that one Ctrl-C
  // comes twice; the second one counts once the command has said so.
  test('at once, on the second', async () => {
    const never =
      `export default () => { process.stderr.write('waiting\\n'); return new Promise(() => {}); };`;
    await serving({ 'never.mjs': never }, ['never.mjs'], async (server) => {
      const response = fetch(server.url).then(() => 'answered', () => 'broken off');
      await server.printed(/waiting/);
      server.child.kill('SIGINT');
      server.child.kill('SIGINT');
      await server.printed(/^Waiting for requests to finish \(Ctrl-C again stops at once\)\n$/m);
      assert.equal(await server.stop('SIGINT'), 130);
      assert.equal(await response, 'broken off');
    });
  });

  test('not for an unhandled rejection, which it prints', async () => {
    const forgetful = `
export default (environ, startResponse) => {
  Promise.reject(new Error('forgotten'));
  startResponse('200 OK', []);
  return [];
};`;
    await serving({ 'app.mjs': forgetful }, ['app.mjs'], async (server) => {
      await fetch(server.url);
      await server.printed(/Unhandled rejection: Error: forgotten\n {4}at .*app\.mjs:3/);
      assert.equal((await fetch(server.url)).status, 200);
    });
  });
});

describe('the command explains', () => {
  const cases: Array<[
    title: string, files: Record<string, string>, args: string[], message: RegExp,
  ]> = [
    [
      'a missing file', { 'hello.mjs': HELLO }, ['helo.mjs'],
      /^tsgiref: there is no file helo\.mjs; did you mean hello\.mjs\?\n$/,
    ],
    [
      'a folder', {}, ['.'],
      /^tsgiref: \. is a folder; name the file in it that exports the application\n$/,
    ],
    [
      'a missing name', { 'a.mjs': HELLO }, ['a.mjs:defualt'],
      /^tsgiref: a\.mjs does not export 'defualt'; it exports 'default': did you mean 'default'\?\n$/,
    ],
    [
      'no export of a known name', { 'a.mjs': 'export const main = 1;' }, ['a.mjs'],
      /^tsgiref: a\.mjs exports 'main'; wanted is a 'default', an 'app' or an 'application':\nwrite `export default app`, or name one: tsgiref a\.mjs:main\n$/,
    ],
    ['an empty module', { 'a.mjs': '' }, ['a.mjs'], /^tsgiref: a\.mjs exports nothing; wanted is/],
    [
      'an empty CommonJS file', { 'a.cjs': '' }, ['a.cjs'],
      /^tsgiref: a\.cjs exports nothing; wanted is a 'default', an 'app' or an 'application':\nwrite `module\.exports = app`\n$/,
    ],
    [
      'no export of a known name in CommonJS', { 'a.cjs': 'exports.main = 1;' }, ['a.cjs'],
      /^tsgiref: a\.cjs exports 'main'; wanted is a 'default', an 'app' or an 'application':\nwrite `module\.exports = app`, or name one: tsgiref a\.cjs:main\n$/,
    ],
    [
      'an export that is not a function', { 'a.mjs': 'export default { fetch: 1 };' }, ['a.mjs'],
      /^tsgiref: a\.mjs exports an object as 'default'; an application is a function \(environ, startResponse\)\n$/,
    ],
    [
      'a syntax error', { 'a.mjs': 'const a = 1;\nconst b = ;\n' }, ['a.mjs'],
      /^tsgiref: a\.mjs:2: Unexpected token ';'\n {4}const b = ;\n$/,
    ],
    [
      'a syntax error in TypeScript', { 'a.ts': 'const a = 1;\nconst b: = 2;\n' }, ['a.ts'],
      /^tsgiref: a\.ts:2: (Unexpected token `=`|Type expected\.)\n {4}const b: = 2;\n$/,
    ],
    [
      'a package that is not installed', { 'a.mjs': 'import "no-such-thing";' }, ['a.mjs'],
      /^tsgiref: a\.mjs:1 imports 'no-such-thing', which is not installed; run: npm install no-such-thing\n$/,
    ],
    [
      'a file that does not exist', { 'a.mjs': 'import "./b";' }, ['a.mjs'],
      /^tsgiref: a\.mjs:1 imports '\.\/b', but there is no file \/\S+b\n$/,
    ],
    [
      'a file of another kind', { 'a.txt': 'hello' }, ['a.txt'],
      /^tsgiref: a\.txt is not JavaScript or TypeScript by its name/,
    ],
    [
      'an unknown option', {}, ['--prot', '80'],
      /^tsgiref: there is no option --prot; did you mean --port\?\n$/,
    ],
    [
      'an option without its value', {}, ['--port'],
      /^tsgiref: --port needs a value; see tsgiref --help\n$/,
    ],
    [
      'an option in place of a value', {}, ['--port', '--host', '::1'],
      /^tsgiref: --port needs a value; see tsgiref --help\n$/,
    ],
    ['a value that is not wanted', {}, ['--help=me'], /^tsgiref: --help takes no value\n$/],
    [
      'a port without its option', {}, ['a.ts', '8001'],
      /^tsgiref: 8001 is not a file; for a port, write --port 8001\n$/,
    ],
    [
      'a port that is none', {}, ['--port', '99999'],
      /^tsgiref: a port is a number from 0 to 65535, not '99999'\n$/,
    ],
    [
      'two files', {}, ['a.ts', 'b.ts'],
      /^tsgiref: one FILE is served at a time, not 2: a\.ts b\.ts\n$/,
    ],
    [
      'an error thrown in loading', { 'a.mjs': '\nthrow new Error("at once");' }, ['a.mjs'],
      /^tsgiref: a\.mjs threw while it was loaded:\nError: at once\n {4}at \S*a\.mjs:2:7\n$/,
    ],
  ];

  for (const [title, files, args, message] of cases) {
    test(title, async () => {
      const { status, stdout, stderr } = await runHere(files, args);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /lib[\\/]cli/, 'no call of our own is shown');
      assert.equal(stdout, '');
      assert.equal(status, 1);
    });
  }

  test('an application that awaits what never comes', async () => {
    const { status, stdout, stderr } = await failing(
      { 'a.mjs': 'export default () => new Promise(() => {});' }, 'a.mjs', '--request', '/',
    );
    assert.match(
      stderr,
      /^Warning \[app-settles\]: [^]*\ntsgiref: a\.mjs awaits something that never comes\n$/,
    );
    assert.equal(stdout, '');
    assert.equal(status, 1);
  });

  test('a port in use, and offers the next that is free', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as AddressInfo;
    const neighbour = createServer().listen(port + 1, '127.0.0.1');
    // Whoever else may have that port holds it just as well.
    await once(neighbour, 'listening').catch(() => {});
    try {
      const { status, stderr } =
        await failing({ 'hello.mjs': HELLO }, 'hello.mjs', '--port', String(port));
      const [, message, offered] = /^([^]*)try --port (\d+)\n$/.exec(stderr) ?? [];
      assert.equal(
        message,
        `tsgiref: cannot listen on 127.0.0.1:${port}: another program listens there; stop it, or choose another port (EADDRINUSE)\n`,
      );
      assert.ok(Number(offered) > port + 1, `${offered} is beyond ${port + 1}`);
      assert.equal(status, 1);
    } finally {
      holder.close();
      neighbour.close();
    }
  });

  test('itself', async () => {
    const help = await runHere({}, ['--help']);
    assert.equal(help.status, 0);
    assert.match(help.stdout, /^Usage: tsgiref \[options\] \[FILE\[:NAME\]\]\n/);
    assert.ok(help.stdout.split('\n').length <= 24, 'it fits on a screen');
    const version = await runHere({}, ['--version']);
    assert.match(version.stdout, /^tsgiref \d+\.\d+\.\d+, Node \d+/);
  });
});

test('a client that connects and says nothing does not hold the command up', async () => {
  await serving({ 'hello.mjs': HELLO }, ['hello.mjs'], async (server) => {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    await fetch(server.url);
    assert.equal(await server.stop('SIGTERM'), 0);
    socket.destroy();
  });
});

test('every public module of the package can be imported by an application', async () => {
  const manifest = await import(join(ROOT, 'package.json'), { with: { type: 'json' } });
  const exported = Object.keys(manifest.default.exports)
    .filter((path) => path.startsWith('./') && path !== './package.json')
    .map((path) => path.slice(2));
  assert.deepEqual([...PUBLIC_MODULES].sort(), exported.sort());
});

test(
  'the source runs unbuilt where Node strips types',
  { skip: !Reflect.get(process.features, 'typescript') && 'this Node does not' },
  async () => {
    const { stdout, status } = await run([join(ROOT, 'lib/cli/main.ts'), '--help'], { cwd: ROOT });
    assert.match(stdout, /^Usage:/);
    assert.equal(status, 0);
  },
);

test('an application may be in a folder whose name needs escaping', async () => {
  const folder = makeFolder({});
  try {
    mkdirSync(join(folder.path, 'a b#c'));
    const { stderr } = await run([COMMAND, join('a b#c', 'nothing.ts')], { cwd: folder.path });
    assert.match(stderr, /there is no file/);
  } finally {
    folder.remove();
  }
});
