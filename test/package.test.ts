// The package as its users get it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

import type * as tsgiref from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import { ROOT, makeFolder } from './support/command.ts';
import { COMPILER } from './support/readme.ts';

const declarationsOf = (file: string): string =>
  readFileSync(join(ROOT, 'dist', file.replace(/\.ts$/, '.d.ts')), 'utf8').replace(
    /\/\*[^]*?\*\/|\/\/.*$/gm, '',
  );

// The program of a check runs inside the kit, and its types belong to the kit.
const INTERNAL = new Set(['Trial']);

interface Exported {
  /** The name in its own file, which may differ from the exported one. */
  name: string;
  file: string;
}

/** All that a module exports, from wherever it comes. */
function exportsOf(file: string): Exported[] {
  const text = declarationsOf(file);
  const own =
    text.matchAll(/^export (?:declare |abstract )*(?:class|function|interface|type|const) (\w+)/gm);
  const found = [...own].map(([, name = '']) => ({ name, file }));
  for (const [, names, from = ''] of text.matchAll(
    /^export (?:type )?(?:\*|\{([^}]*)\}) from '(.*)'/gm,
  )) {
    const wanted = names?.split(',').map((each) => each.replace(/\btype\b| as \w+/g, '').trim());
    const inner = exportsOf(join(dirname(file), from));
    found.push(...inner.filter(({ name }) => wanted?.includes(name) ?? true));
  }
  return found;
}

test('every type in a public signature can be imported', () => {
  const all = exportsOf('lib/index.ts');
  assert.ok(all.length > 40, 'the exports were found');
  const exported = new Set(all.map(({ name }) => name));
  const hidden: string[] = [];
  for (const file of new Set(all.map((each) => each.file))) {
    const text = declarationsOf(file);
    const imported = [...text.matchAll(/^import (?:type )?\{([^}]*)\} from '\./gm)].flatMap(
      ([, names = '']) =>
        names.split(',').map((name) => name.replace(/\btype\b/, '').trim()),
    );
    const declarations = text.split(/^(?=(?:export|declare|interface|type|import)\b)/m);
    const nameOf = (declaration: string): string =>
      /\b(?:class|function|interface|type|const) (\w+)/.exec(declaration)?.[1] ?? '';
    const known = new Set([...imported, ...declarations.map(nameOf)].filter(Boolean));
    for (const declaration of declarations) {
      const name = nameOf(declaration);
      if (!all.some((each) => each.name === name && each.file === file)) continue;
      for (const [used] of declaration.matchAll(/\b[A-Z]\w*\b/g)) {
        if (known.has(used) && !exported.has(used) && !INTERNAL.has(used)) {
          hidden.push(`${used} of ${name} in ${file}`);
        }
      }
    }
  }
  assert.deepEqual([...new Set(hidden)], []);
});

// A bundler puts all modules into one CommonJS file, in which import.meta is an empty
// object. Here the compiler makes a CommonJS file of each module.
test('the package works as CommonJS, where import.meta is empty', async () => {
  const folder = makeFolder({ 'package.json': '{ "type": "commonjs" }' });
  try {
    for (const file of readdirSync(join(ROOT, 'dist/lib'), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.js') || file.startsWith('cli')) continue;
      const source = readFileSync(join(ROOT, 'dist/lib', file), 'utf8');
      mkdirSync(dirname(join(folder.path, 'lib', file)), { recursive: true });
      writeFileSync(join(folder.path, 'lib', file), source.replaceAll('import.meta', '({})'));
    }
    const options = ['--allowJs', '--noCheck', '--module', 'nodenext', '--target', 'es2022'];
    options.push('--types', '', '--rootDir', 'lib', '--outDir', 'commonjs', 'lib/index.js');
    execFileSync(process.execPath, [COMPILER, ...options], { cwd: folder.path });

    const require = createRequire(join(folder.path, 'package.json'));
    const { errorPage, testClient, trace } = require('./commonjs/index.js') as typeof tsgiref;
    const app: tsgiref.WSGIApplication = (environ, startResponse) => {
      if (environ.PATH_INFO === '/throw') throw new Error('meant to fail');
      startResponse('200 OK', [['Content-Type', 'text/plain']]);
      return [bytes('bundled')];
    };
    const { fetch } = testClient(errorPage(trace(app, { write: () => {} })));
    assert.equal(await (await fetch('/')).text(), 'bundled');
    assert.match(await (await fetch('/throw')).text(), /meant to fail/);
  } finally {
    folder.remove();
  }
});

// A bundler leaves out a module that is only imported for its effects, unless the package
// lists it.
test('every module that fills a list when it is loaded is in sideEffects', () => {
  const { sideEffects } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    sideEffects: string[];
  };
  const isListed = (file: string): boolean => sideEffects.some((pattern) =>
    pattern.endsWith('/**') ? file.startsWith(pattern.slice(0, -2)) : file === pattern);
  const files = readdirSync(join(ROOT, 'dist/lib'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.js'));
  const filling = files.filter((file) => {
    const source = readFileSync(join(ROOT, 'dist/lib', file), 'utf8');
    return /^import '|^(const \w+ = )?(rule|valueRules?|check)\(/m.test(source);
  });
  assert.ok(filling.length > 15, `${filling.length} modules`);
  for (const file of filling) assert.ok(isListed(`./dist/lib/${file}`), file);
});

test('npm run test:quick names tests that exist', () => {
  const { scripts } = JSON.parse(
    readFileSync(join(ROOT, 'package.json'), 'utf8'),
  ) as { scripts: Record<string, string> };
  const files = scripts['test:quick']?.match(/dist\/test\/[\w-]+\.test\.js/g) ?? [];
  assert.ok(files.length > 5);
  for (const file of files) assert.ok(existsSync(join(ROOT, file)), file);
});
