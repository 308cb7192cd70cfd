// How the command loads an application: TypeScript on every Node, imports of
// tsgiref from anywhere, and what it says when that fails. The command is copied
// into a node_modules folder, as npm would install it, where no compiler is found
// but the one that a test puts there.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { type Ended, ROOT, Serving, makeFolder, run, runHere } from './support/command.ts';

const STRIPS = Boolean(Reflect.get(process.features, 'typescript'));

// As on a Node that does not strip types; the oldest has no such option.
const WITHOUT_STRIPPING = STRIPS
  ? { ...process.env, NODE_OPTIONS: '--no-experimental-strip-types' }
  : process.env;

interface Project {
  path: string;
  command: string;
}

/** A folder with these files, in which tsgiref is installed. */
async function inProject(
  files: Record<string, string>,
  use: (project: Project) => Promise<void>,
): Promise<void> {
  const folder = makeFolder(files);
  const installed = join(folder.path, 'node_modules/tsgiref');
  try {
    cpSync(join(ROOT, 'dist/lib'), join(installed, 'dist/lib'), { recursive: true });
    cpSync(join(ROOT, 'package.json'), join(installed, 'package.json'));
    await use({ path: folder.path, command: join(installed, 'dist/lib/cli/main.js') });
  } finally {
    folder.remove();
  }
}

/** The answer to `GET /`, and what the command printed until it was stopped. */
async function answer(
  { path, command }: Project,
  file: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ text: string; stderr: string }> {
  const server = await Serving.start([file], { cwd: path, command, env });
  try {
    const text = await (await fetch(server.url)).text();
    await server.printed(/"GET \/ HTTP/);
    return { text, stderr: server.stderr };
  } finally {
    await server.stop();
  }
}

function fail({ path, command }: Project, file: string, env = process.env): Promise<Ended> {
  return run([command, file], { cwd: path, env });
}

function installCompiler({ path }: Project): void {
  symlinkSync(
    join(ROOT, 'node_modules/typescript'), join(path, 'node_modules/typescript'), 'junction',
  );
}

const RICH = `
import type { WSGIApplication } from 'tsgiref';

enum Colour {
  Red = 'red',
}
class Point {
  constructor(private readonly x: number) {}
  show(): string { return Colour.Red + this.x; }
}
interface Gone {
  away: boolean;
}
export const app: WSGIApplication = (environ, startResponse) => {
  const gone: Gone = { away: true };
  environ['wsgi.errors'].write(String(new Error('line 16').stack) + '\\n');
  startResponse('200 OK', []);
  return [new TextEncoder().encode(new Point(1).show() + gone.away)];
};
`;

const PLAIN = `
export const app = (environ: object, startResponse: any) => {
  startResponse('200 OK', []);
  return [new TextEncoder().encode('plain')];
};
`;

describe('TypeScript with syntax that is more than types', () => {
  for (const [where, env] of [
    ['on this Node', process.env],
    ['on a Node that does not strip types', WITHOUT_STRIPPING],
  ] as const) {
    test(`is compiled ${where}, and keeps its lines`, async () => {
      await inProject({ 'app.ts': RICH }, async (project) => {
        installCompiler(project);
        const { text, stderr } = await answer(project, 'app.ts', env);
        assert.equal(text, 'red1true');
        assert.match(stderr, /^Error: line 16\n {4}at \w+ \(\S*app\.ts:16:\d+\)\n/m);
      });
    });
  }

  test('is not shown as the place of a call in a function of the compiler', async () => {
    const text = `enum Colour { Red }
class Box { [Symbol.dispose]() { throw new Error('closing'); } }
function open() { using box = new Box(); }
try { open(); } catch (error: any) { process.stderr.write(error.stack + '\\n'); }
${PLAIN}`;
    await inProject({ 'app.ts': text }, async (project) => {
      installCompiler(project);
      const { stderr } = await answer(project, 'app.ts');
      assert.match(stderr, /^Error: closing\n {4}at \S+ \(\S*app\.ts:2:\d+\)\n/m);
      assert.doesNotMatch(stderr, /__dispose\w+ \(\S*app\.ts/);
      assert.match(stderr, /__dispose\w+ \(\S*node_modules\S+helpers\.js:1:1\)\n/);
    });
  });

  const refused: Array<[title: string, text: string]> = [
    ['a field with accessors', `class Box { accessor word = 'plain'; }`],
    ['a resource', `const open = () => { using box = { [Symbol.dispose]() {} }; };`],
    [
      'a decorator on the line of its class',
      `const mark = (method: any, _: any) => method;\nclass Box { @mark word() { return 'plain'; } }`,
    ],
  ];
  for (const [title, text] of refused) {
    test(`is compiled where the engine refuses it: ${title}`, async () => {
      await inProject({ 'app.ts': `${text}\n${PLAIN}` }, async (project) => {
        installCompiler(project);
        assert.equal((await answer(project, 'app.ts')).text, 'plain');
      });
    });
  }

  test(
    'says which line, where there is no compiler',
    { skip: !STRIPS && 'this Node needs one for all' },
    async () => {
      await inProject({ 'app.ts': RICH }, async (project) => {
        const { status, stderr } = await fail(project, 'app.ts');
        assert.match(
          stderr,
          /^tsgiref: app\.ts:4: TypeScript enum is not supported in strip-only mode\n {4}enum Colour \{\n.* npm install --save-dev typescript\n$/,
        );
        assert.equal(status, 1);
      });
    },
  );
});

describe('without stripping', () => {
  test('the compiler runs once for a file, until the file changes', async () => {
    await inProject({ 'app.ts': PLAIN }, async (project) => {
      installCompiler(project);
      assert.equal((await answer(project, 'app.ts', WITHOUT_STRIPPING)).text, 'plain');

      const cache = join(project.path, 'node_modules/.cache/tsgiref');
      const [kept = '', ...more] = readdirSync(cache);
      assert.deepEqual(more, []);
      const compiled = readFileSync(join(cache, kept), 'utf8');
      writeFileSync(join(cache, kept), compiled.replace("'plain'", "'kept'"));
      assert.equal((await answer(project, 'app.ts', WITHOUT_STRIPPING)).text, 'kept');

      writeFileSync(join(project.path, 'app.ts'), PLAIN.replace('plain', 'changed'));
      assert.equal((await answer(project, 'app.ts', WITHOUT_STRIPPING)).text, 'changed');
    });
  });

  test('and without a compiler, the message offers both', async () => {
    await inProject({ 'app.ts': PLAIN }, async (project) => {
      const { status, stderr } = await fail(project, 'app.ts', WITHOUT_STRIPPING);
      assert.match(
        stderr,
        /^tsgiref: Node [\d.]+ does not run TypeScript, and no compiler is installed beside app\.ts:\nuse Node 22\.18 or later, or run: npm install --save-dev typescript\n$/,
      );
      assert.equal(status, 1);
    });
  });

  test('a compiler that is too old is named', async () => {
    await inProject({ 'app.ts': PLAIN }, async (project) => {
      const folder = join(project.path, 'node_modules/typescript');
      mkdirSync(folder);
      writeFileSync(
        join(folder, 'package.json'), '{ "version": "5.0.4", "bin": { "tsc": "bin/tsc" } }',
      );
      const { stderr } = await fail(project, 'app.ts', WITHOUT_STRIPPING);
      assert.match(
        stderr,
        /and TypeScript 5\.0\.4 is installed, which is older than 5\.7:\n.*npm install --save-dev typescript@5\n$/,
      );
    });
  });

  test('a syntax error has its line', async () => {
    await inProject({ 'app.ts': 'const a = 1;\nconst b: = 2;\n' }, async (project) => {
      installCompiler(project);
      const { stderr } = await fail(project, 'app.ts', WITHOUT_STRIPPING);
      assert.equal(stderr, 'tsgiref: app.ts:2: Type expected.\n    const b: = 2;\n');
    });
  });
});

test('CommonJS in TypeScript, which requires other files of its kind and tsgiref', async () => {
  const files = {
    'a.cts': `import part = require('./b.cts');
enum Word { And = ' and ' }
export const app = (_: unknown, start: any) => { start('200 OK', []); return [Buffer.from(part.word + Word.And + require('./c.cjs').word)]; };`,
    'b.cts': `const { Headers } = require('tsgiref');\nexports.word = (Headers.name as string);`,
    'c.cjs': `const { FileWrapper } = require('tsgiref/util');\nexports.word = FileWrapper.name;`,
  };
  await inProject(files, async (project) => {
    installCompiler(project);
    const { stdout } =
      await run([project.command, 'a.cts', '--request', '/'], { cwd: project.path });
    assert.equal(stdout, 'Headers and FileWrapper');
  });
});

describe('CommonJS', () => {
  const answering = (word: string): string =>
    `(_, start) => { start('200 OK', []); return [Buffer.from(${word})]; }`;
  const name = `require('tsgiref').Headers.name`;
  const cases: Array<[title: string, files: Record<string, string>]> = [
    ['as JavaScript', { 'a.cjs': `exports.app = ${answering(name)};` }],
    ['as JavaScript by its syntax', { 'a.js': `exports.app = ${answering(name)};` }],
    ['as TypeScript by its syntax', { 'a.ts': `module.exports = ${answering(`${name} as string`)};` }],
    [
      'that a module imports',
      {
        'a.mjs': `import { word } from './b.cjs';\nexport const app = ${answering('word')};`,
        'b.cjs': `exports.word = ${name};`,
      },
    ],
    [
      'as TypeScript that a module imports',
      {
        'a.mjs': `import b from './b.ts';\nexport const app = ${answering('b.word')};`,
        'b.ts': `exports.word = ${name} as string;`,
      },
    ],
    [
      'that requires TypeScript with an enum',
      {
        'a.ts': `exports.app = ${answering(`require('./b').word`)};`,
        'b.ts': `enum Word { Headers = 'Headers' }\nexports.word = Word.Headers;`,
      },
    ],
    [
      'that requires a module in TypeScript with an enum',
      {
        'a.cjs': `exports.app = ${answering(`require('./b.mts').word`)};`,
        'b.mts': `enum Word { Headers = 'Headers' }\nexport const word = Word.Headers;`,
      },
    ],
    [
      'with a line of text that looks like an export',
      { 'a.ts': `const text: string = \`\nexport default x\`;\nexports.app = ${answering(name)};` },
    ],
  ];
  for (const [title, files] of cases) {
    test(`that requires tsgiref: ${title}`, async () => {
      await inProject(files, async (project) => {
        installCompiler(project);
        const words = [project.command, Object.keys(files)[0] ?? '', '--request', '/'];
        const { stdout, stderr } = await run(words, { cwd: project.path });
        assert.equal(stdout, 'Headers', stderr);
      });
    });
  }
});

describe('JavaScript that uses TypeScript', () => {
  const files = {
    'a.mjs': `import { word } from './b.ts';\nexport { app } from './c.ts';`,
    'a.cjs': `const { word } = require('./b.ts');
exports.app = (_, start) => { start('200 OK', []); return [Buffer.from(word)]; };`,
    'b.ts': `export const word: string = 'plain';`,
    'c.ts': PLAIN,
  };
  for (const file of ['a.mjs', 'a.cjs']) {
    test(`is served where Node does not strip types: ${file}`, async () => {
      await inProject(files, async (project) => {
        installCompiler(project);
        assert.equal((await answer(project, file, WITHOUT_STRIPPING)).text, 'plain');
      });
    });

    test(`names the compiler that it needs: ${file}`, async () => {
      await inProject(files, async (project) => {
        const { stderr } = await fail(project, file, WITHOUT_STRIPPING);
        assert.match(
          stderr,
          /^tsgiref: Node [\d.]+ does not run TypeScript, .* beside b\.ts:\nuse Node 22\.18 or later/,
        );
      });
    });
  }
});

describe('an import', () => {
  test("of './part.js' finds part.ts, as tsc would", async () => {
    const files = { 'app.ts': `export { app } from './part.js';\n`, 'part.ts': PLAIN };
    await inProject(files, async (project) => {
      installCompiler(project);
      assert.equal((await answer(project, 'app.ts')).text, 'plain');
    });
  });

  test('or an export makes a module of a .ts file, wherever in its line it is', async () => {
    const text = PLAIN.replace('export', '/* The application. */ export');
    await inProject({ 'app.ts': text }, async (project) => {
      installCompiler(project);
      assert.equal((await answer(project, 'app.ts')).text, 'plain');
    });
  });

  test('makes a module of a .ts file, though package.json says "commonjs"', async () => {
    const files = { 'app.ts': PLAIN, 'package.json': '{ "type": "commonjs" }' };
    await inProject(files, async (project) => {
      installCompiler(project);
      const { text, stderr } = await answer(project, 'app.ts');
      assert.equal(text, 'plain');
      assert.match(stderr, /^(TypeScript .* took .*\n)?Serving/, 'Node warns of nothing');
    });
  });

  test('of a module that tsgiref does not have names the nearest', async () => {
    // An application elsewhere, so that it is the command that looks for tsgiref.
    const elsewhere = makeFolder({ 'app.mjs': `import 'tsgiref/header';\n` });
    try {
      await inProject({}, async (project) => {
        const { stderr } = await fail(project, join(elsewhere.path, 'app.mjs'));
        assert.equal(
          stderr,
          "tsgiref: tsgiref has no module 'tsgiref/header'; did you mean 'tsgiref/headers'?\n",
        );
      });
    } finally {
      elsewhere.remove();
    }
  });

  test(
    'of a type as if it were a value is explained',
    { skip: !STRIPS && 'the compiler takes it away' },
    async () => {
      const text = `import { WSGIApplication } from 'tsgiref';\n${PLAIN}`;
      const near = `import { Part } from './part.ts';\n${PLAIN}`;
      const part = 'export interface Part {}\nexport const part = 1;';
      await inProject({ 'app.ts': text, 'near.ts': near, 'part.ts': part }, async (project) => {
        assert.match((await fail(project, 'near.ts')).stderr, /\nif Part is a type, write: /);
        const { stderr } = await fail(project, 'app.ts');
        assert.match(
          stderr,
          /^tsgiref: app\.ts:1: .*\n.*\nif WSGIApplication is a type, write: import type \{ WSGIApplication \} from 'tsgiref'\n$/,
        );
      });
    },
  );
});

describe('a failed load says', () => {
  const cases: Array<[title: string, files: Record<string, string>, message: string | RegExp]> = [
    [
      'the line of an import, and the file that was meant',
      { 'a.mjs': `\nimport { x } from './util';\n`, 'util.mjs': '' },
      "tsgiref: a.mjs:2 imports './util', but there is no such file; did you mean util.mjs?\n",
    ],
    [
      'no name of a file that cannot be meant',
      { 'main.mjs': `import './min.mjs';` },
      /^tsgiref: main\.mjs:1 imports '\.\/min\.mjs', but there is no file \S+min\.mjs\n$/,
    ],
    [
      'that a path leads through a file',
      { 'a.mjs': `import './b.mjs/c.mjs';`, 'b.mjs': '' },
      /^tsgiref: a\.mjs:1 imports '\.\/b\.mjs\/c\.mjs', but there is no file \S+c\.mjs\n$/,
    ],
    [
      'which export was meant',
      { 'a.mjs': `import { words } from './b.mjs';`, 'b.mjs': `const word = 1;\nexport { word };` },
      /^tsgiref: a\.mjs:1: .* does not provide an export named 'words'\n.*\ndid you mean word\?\n$/,
    ],
    [
      'how to import from a file without a default',
      { 'a.mjs': `import word from './b.mjs';`, 'b.mjs': `export const word = 1;` },
      /^tsgiref: a\.mjs:1: .*\n.*\nwrite: import \{ word \} from '\.\/b\.mjs'\n$/,
    ],
    [
      'how JSON is imported',
      { 'a.mjs': `import './b.json';`, 'b.json': '{}' },
      /^tsgiref: a\.mjs could not be loaded: Module "file:\S+b\.json" needs an import attribute of /,
    ],
    [
      'which package is not installed, though only a part of it is imported',
      { 'a.mjs': `import 'no-such-thing/part';` },
      "tsgiref: a.mjs:1 imports 'no-such-thing/part', which is not installed; run: npm install no-such-thing\n",
    ],
    [
      'the same of require()',
      { 'a.cjs': `require('no-such-thing');` },
      "tsgiref: a.cjs:1 imports 'no-such-thing', which is not installed; run: npm install no-such-thing\n",
    ],
    [
      'where the syntax error is in a file that is imported',
      { 'a.mjs': `import './b.mjs';\nimport 'tsgiref';\n`, 'b.mjs': `\nconst b = ;\n` },
      "tsgiref: b.mjs:2: Unexpected token ';'\n    const b = ;\n",
    ],
    [
      'how to import in a file that is CommonJS by its name',
      { 'a.cjs': `\nimport './b.mjs';\n` },
      "tsgiref: a.cjs:2: Cannot use import statement outside a module\n    import './b.mjs';\n" +
        'a .cjs file is CommonJS: name it .mjs, or write module.exports = and require()\n',
    ],
    [
      'that a class cannot be called',
      { 'a.mjs': 'export default class App {}' },
      "tsgiref: a.mjs exports the class App as 'default'; an application is a function (environ, startResponse)\n",
    ],
    [
      'the value that was thrown, though it is not an error',
      { 'a.mjs': 'throw 42;' },
      'tsgiref: a.mjs threw while it was loaded:\nThrown, although it is not an Error: the number 42\n',
    ],
  ];
  for (const [title, files, message] of cases) {
    test(title, async () => {
      const { status, stderr } = await runHere(files, [Object.keys(files)[0] ?? '']);
      if (typeof message === 'string') assert.equal(stderr, message);
      else assert.match(stderr, message);
      assert.equal(status, 1);
    });
  }

  test('that FILE leads through a file', async () => {
    const { stderr } = await runHere({ 'a.mjs': '' }, ['a.mjs/app']);
    assert.equal(stderr, 'tsgiref: there is no file a.mjs/app\n');
  });

  test('a top level that awaits a promise nobody settles', async () => {
    await inProject({ 'a.mjs': 'await new Promise(() => {});' }, async (project) => {
      const { stderr } = await fail(project, 'a.mjs');
      assert.equal(stderr, 'tsgiref: a.mjs awaits something, at its top level, that never comes\n');
    });
  });

  test('a factory that returns a promise nobody settles', async () => {
    const text = 'export const make = () => new Promise(() => {});';
    await inProject({ 'a.mjs': text }, async (project) => {
      const { stderr, status } = await fail(project, 'a.mjs:make()');
      assert.equal(stderr, 'tsgiref: a.mjs awaits something, in make(), that never comes\n');
      assert.equal(status, 1);
    });
  });

  test('no name of a link that leads nowhere', {
    skip: process.platform === 'win32',
  }, async () => {
    await inProject({ 'a.mjs': `import './link.mjs';` }, async (project) => {
      symlinkSync('nowhere.mjs', join(project.path, 'link.mjs'));
      const { stderr } = await fail(project, 'a.mjs');
      assert.match(stderr, /imports '\.\/link\.mjs', but there is no file \S+link\.mjs\n$/);
    });
  });

  test('a top level that ends the process', async () => {
    await inProject({ 'a.mjs': 'process.exit(0);' }, async (project) => {
      const { stderr, status } = await fail(project, 'a.mjs');
      assert.equal(stderr, 'tsgiref: a.mjs ended the process with status 0 while it was loaded\n');
      assert.equal(status, 1);
    });
  });

  test('a factory that throws', async () => {
    const text = "export const make = () => { throw new Error('in factory'); };";
    await inProject({ 'a.mjs': text }, async (project) => {
      const { stderr } = await fail(project, 'a.mjs:make()');
      assert.match(
        stderr,
        /^tsgiref: a\.mjs threw while it was loaded:\nError: in factory\n {4}at \S*make .*a\.mjs:1:35\)\n$/,
      );
    });
  });

  test('an application that is called as a factory', async () => {
    const text = 'export default (environ, start) => { start(); };';
    await inProject({ 'a.mjs': text }, async (project) => {
      const { stderr } = await fail(project, 'a.mjs:default()');
      assert.match(
        stderr,
        /TypeError: start is not a function\n[^]*\ndefault takes two arguments, .*, write a\.mjs:default\n$/,
      );
    });
  });

  test('after five seconds, a top level that awaits while a timer lives', async () => {
    await inProject(
      { 'a.mjs': 'setTimeout(() => process.exit(9), 20_000);\nawait new Promise(() => {});' },
      async (project) => {
        const child = spawn(process.execPath, [project.command, 'a.mjs', '--request', '/'], {
          cwd: project.path, stdio: ['ignore', 'ignore', 'pipe'],
        });
        const [text] = (await once(child.stderr, 'data')) as [Buffer];
        child.kill();
        await once(child, 'close');
        assert.match(
          String(text),
          /^a\.mjs is still loading after 5 seconds: it awaits something at its top level, /,
        );
      },
    );
  });

  test('of a SyntaxError that a line threw, the trace; and runs that line once', async () => {
    const text = `process.stderr.write('runs\\n');\nJSON.parse('{');\n`;
    await inProject({ 'a.mjs': text }, async (project) => {
      const { stderr } = await fail(project, 'a.mjs');
      assert.match(
        stderr,
        /^runs\ntsgiref: a\.mjs threw while it was loaded:\nSyntaxError: .* in JSON .*\n {4}at JSON\.parse .*\n {4}at \S*a\.mjs:2:6\n$/,
      );
    });
  });
});

test('a function is preferred to a default that is none', async () => {
  const text = `export default { name: 'settings' };\n${PLAIN.replace(/: \w+/g, '')}`;
  assert.equal((await runHere({ 'a.mjs': text }, ['a.mjs', '--request', '/'])).stdout, 'plain');
});

test('a rejection while the application is loaded does not end the command', async () => {
  const text =
    `Promise.reject(new Error('early'));\nawait new Promise(setImmediate);\n${PLAIN.replace(/: \w+/g, '')}`;
  await inProject({ 'a.mjs': text }, async (project) => {
    const { text: body, stderr } = await answer(project, 'a.mjs');
    assert.equal(body, 'plain');
    assert.match(stderr, /^Unhandled rejection: Error: early\n {4}at \S*a\.mjs:1:\d+\nServing /);
  });
});
