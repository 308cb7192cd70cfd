// The README is documentation that runs: its programs are put into one folder, and
// its commands are run there, in order, with what they print compared.

import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { OPTIONS } from '../lib/cli/arguments.ts';
import * as everything from '../lib/index.ts';
import { COMMAND, ROOT, Serving, makeFolder } from './support/command.ts';

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');

interface Block {
  language: string;
  text: string;
  line: number;
}

const blocks: Block[] = [...readme.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({
  language: match[1] ?? '',
  text: match[2] ?? '',
  line: readme.slice(0, match.index).split('\n').length,
}));

const programs = blocks.filter(({ language }) => language === 'ts');
const sessions = blocks.filter(({ language }) => language === 'console');

const fileName = (program: Block): string | undefined => /^\/\/ (\S+\.ts)\n/.exec(program.text)?.[1];

function has(program: string): boolean {
  return spawnSync(program, ['--version']).error === undefined;
}

const stripsTypes = Boolean(Reflect.get(process.features, 'typescript'));

describe('README.md', () => {
  const folder = makeFolder({});
  let serving: Serving | undefined;

  before(() => {
    writeFileSync(join(folder.path, 'package.json'), '{ "type": "module" }');
    for (const program of programs) writeFileSync(join(folder.path, fileName(program) ?? ''), program.text);
    mkdirSync(join(folder.path, 'node_modules'));
    symlinkSync(ROOT, join(folder.path, 'node_modules/tsgiref'), 'junction');
    symlinkSync(join(ROOT, 'node_modules/@types'), join(folder.path, 'node_modules/@types'), 'junction');
  });

  after(async () => {
    await serving?.stop('SIGKILL');
    folder.remove();
  });

  test('has programs and sessions, and nothing else that looks like code', () => {
    assert.ok(programs.length >= 5 && sessions.length >= 3, 'blocks were found');
    for (const program of programs) assert.ok(fileName(program), `line ${program.line} names its file`);
    const others = blocks.filter(({ language }) => !['ts', 'console', 'text'].includes(language));
    assert.deepEqual(others, []);
  });

  test('has programs that type-check', () => {
    const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node'];
    options.push('--erasableSyntaxOnly', '--verbatimModuleSyntax', '--allowImportingTsExtensions');
    const files = programs.map((program) => fileName(program) ?? '');
    const { stdout } = spawnSync(process.execPath, [compiler, ...options, ...files], {
      cwd: folder.path,
      encoding: 'utf8',
    });
    assert.equal(stdout, '');
  });

  for (const session of sessions) {
    const [, command = '', expected = ''] = /^\$ (.*)\n([\s\S]*)$/.exec(session.text) ?? [];
    test(`line ${session.line}: ${command}`, async (context) => {
      if (command.startsWith('npx tsgiref ') && !command.includes('--request')) {
        await serving?.stop();
        serving = await Serving.start(command.split(' ').slice(2), { cwd: folder.path });
        const banner = serving.banner.replace(/:\d+\//, ':8000/');
        assert.equal(`${banner}\n`, expected);
        return;
      }
      const program = /\bcurl\b/.test(command) ? 'curl' : 'node';
      if (!has(program)) return context.skip(`there is no ${program} on this machine`);
      if (/\bnode \S+\.ts/.test(command) && !stripsTypes) return context.skip('this Node does not strip types');
      if (process.platform === 'win32') return context.skip('the commands are for a POSIX shell');
      const printed = runInShell(command).stdout.replace(/(file:\/\/)?\S*tsgiref-test-\w+\//g, '');
      assert.equal(normalize(printed), normalize(expected));
    });
  }

  function runInShell(command: string): SpawnSyncReturns<string> {
    const port = new URL(serving?.url ?? 'http://127.0.0.1:1/').port;
    const here = command.replaceAll(':8000/', `:${port}/`).replace(/\bcurl\b/, 'curl --silent --max-time 10');
    const path = `${join(process.execPath, '..')}:${process.env['PATH']}`;
    const env = { PATH: path };
    const built = here.replace(/^npx tsgiref /, `node '${COMMAND}' `);
    const both = built.includes('2>') ? built : `${built} 2>&1`;
    return spawnSync('sh', ['-c', both], { cwd: folder.path, encoding: 'utf8', env, timeout: 20_000 });
  }

  test('has a test among its programs that passes', (context) => {
    if (!stripsTypes) return context.skip('this Node does not strip types');
    const { status, stdout } = spawnSync(process.execPath, ['--test', 'hello.test.ts'], {
      cwd: folder.path,
      encoding: 'utf8',
      // The runner marks its children so that they report in its own form.
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    });
    assert.equal(status, 0, stdout);
  });

  test('has every rule of the validator in its table, as the validator has it', () => {
    const kinds = { error: 'error', warning: 'warning', off: 'option' };
    const rows = everything.rules.map(({ id, severity, party, text, reference }) =>
      `| \`${id}\` | ${kinds[severity]} | ${party} | ${text.replaceAll('|', '\\|')} | ${reference} |`,
    );
    const [, table = ''] = /\| rule \| kind .*\n\|[-|]+\n([\s\S]*?)\n\n/.exec(readme) ?? [];
    assert.deepEqual(table.split('\n'), rows);
  });

  test('names every option of the command', () => {
    const named = new Set([...readme.matchAll(/--([a-z][a-z-]+)/g)].map((match) => match[1]));
    for (const option of Object.keys(OPTIONS)) assert.ok(named.has(option), `--${option}`);
  });

  test('names every value that the package exports, and no other', () => {
    const table = /\| module \| holds[\s\S]*?\n\n/.exec(readme)?.[0] ?? '';
    const named = [...table.matchAll(/`([A-Za-z]+)`/g)].map((match) => match[1] ?? '');
    assert.ok(named.length > 20, 'the table was found');
    for (const name of Object.keys(everything)) assert.ok(named.includes(name), `${name} is in the table`);
    const types = readFileSync(join(ROOT, 'lib/types.ts'), 'utf8');
    for (const name of named) {
      const known = name in everything || new RegExp(`export (type|interface) ${name}\\b`).test(types);
      assert.ok(known || name === 'io', `${name} is exported`);
    }
  });

  test('has links that lead somewhere', () => {
    const headings = [...readme.matchAll(/^#+ (.*)$/gm)].map((match) =>
      (match[1] ?? '').toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-'),
    );
    const anchors = [...readme.matchAll(/\]\(#([^)]*)\)/g)].map((match) => match[1] ?? '');
    assert.ok(anchors.length > 0);
    for (const anchor of anchors) assert.ok(headings.includes(anchor), `#${anchor} is a heading`);
  });
});

// What differs from one run to the next, or from one Node to the next.
function normalize(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(/^#1 +\d+\.\d ms/gm, '#1 … ms')
    .replace(/^Date: .*$/gm, 'Date: …')
    .replace(/Node\.js\/[\d.]+/g, 'Node.js/…');
}
