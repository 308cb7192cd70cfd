// The structure of the source: which module may import which, and what is published.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';

import { COMMAND, ROOT } from './support/command.ts';

// The order of the map in lib/README.md. A module may import those before it, and its own parts.
const ORDER = [
  'types', 'describe', 'latin1', 'secrets', 'headers', 'io', 'util', 'web-stream', 'proxy',
  'request', 'handlers', 'simple-server',
  'validate', 'fetch', 'node', 'gateway', 'testing', 'trace', 'error-page', 'check',
  'index', 'cli',
];
const WITHOUT_NODE = [
  'types', 'describe', 'latin1', 'secrets', 'headers', 'io', 'util', 'web-stream', 'proxy',
  'request', 'handlers', 'validate', 'fetch',
];

const LIB = join(ROOT, 'lib');
const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.replaceAll('\\', '/'));
const moduleOf = (file: string): string => file.split('/')[0]?.replace(/\.ts$/, '') ?? '';

function imports(file: string): string[] {
  const source = readFileSync(join(LIB, file), 'utf8');
  return [
    ...source.matchAll(
      /^(?:import|export)\s+(?:[^'";]*?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'/gm,
    ),
  ].map(
    (match) => match[1] ?? match[2] ?? '',
  );
}

test('the build leaves a command that can be run', { skip: process.platform === 'win32' }, () => {
  assert.ok(statSync(COMMAND).mode & 0o111, `${COMMAND} is executable: npx marks it only once`);
});

describe('lib', () => {
  assert.ok(files.length > 15, 'the files were found');
  for (const file of files) {
    test(`${file} imports only from modules above it`, () => {
      const own = moduleOf(file);
      assert.ok(ORDER.includes(own), `${own} has a place in the order`);
      for (const specifier of imports(file)) {
        if (specifier.startsWith('node:')) {
          assert.ok(!WITHOUT_NODE.includes(own), `${specifier} in a module for any engine`);
          continue;
        }
        assert.match(specifier, /^\.{1,2}\/.*\.ts$/);
        const other =
          moduleOf(relative(LIB, join(LIB, dirname(file), specifier)).replaceAll('\\', '/'));
        assert.ok(ORDER.indexOf(other) <= ORDER.indexOf(own), `${other} comes after ${own}`);
        if (other === own) {
          assert.ok(
            file.includes('/') || specifier.startsWith(`./${own}/`), 'a part, or the door to it',
          );
        }
      }
    });

    test(`${file} begins with a comment and contains no open question`, () => {
      const source = readFileSync(join(LIB, file), 'utf8');
      assert.match(source, /^(#!.*\n)?\/\/ /);
      assert.doesNotMatch(source, /\b(TODO|FIXME|XXX)\b/);
      for (const line of source.split('\n')) assert.ok(line.length <= 100, line);
    });
  }
});

describe('the package', () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

  test('depends on nothing, and is developed with two packages', () => {
    for (const kind of ['dependencies', 'optionalDependencies', 'peerDependencies']) {
      assert.equal(manifest[kind], undefined);
    }
    assert.deepEqual(Object.keys(manifest.devDependencies).sort(), ['@types/node', 'typescript']);
  });

  test('exports each of its modules, with types', () => {
    for (const path of Object.values<string>(manifest.exports)) {
      if (path === './package.json') continue;
      assert.ok(existsSync(join(ROOT, path.replace('./dist/', '').replace(/\.js$/, '.ts'))), path);
      assert.ok(existsSync(join(ROOT, path.replace(/\.js$/, '.d.ts'))), `${path} has types`);
    }
  });

  test('carries what it needs, and nothing of the tests', () => {
    const npm = ['pack', '--dry-run', '--json', '--ignore-scripts'];
    const printed = execFileSync('npm', npm, {
      cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'],
      shell: process.platform === 'win32',
    });
    const [packed] =
      Object.values(JSON.parse(printed)) as Array<{ files: Array<{ path: string }> }>;
    const paths = (packed?.files ?? []).map(({ path }) => path);
    for (const wanted of [
      'package.json', 'README.md', 'dist/lib/index.js', 'dist/lib/index.d.ts',
      'dist/lib/cli/main.js',
    ]) {
      assert.ok(paths.includes(wanted), wanted);
    }
    assert.deepEqual(paths.filter((path) => /(^|\/)(test|\.ci)\//.test(path)), []);
  });

  test('has a lock file that names no registry', () => {
    assert.doesNotMatch(
      readFileSync(join(ROOT, 'package-lock.json'), 'utf8'), /"resolved"|https?:\/\/[^"]*registry/,
    );
  });
});
