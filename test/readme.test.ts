// The README is documentation that runs: its programs are put into one folder, its
// commands are run there, and what they print is compared. Where a program is replaced
// by a later one of the same name, the commands below it run in another folder.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { OPTIONS } from '../lib/cli/arguments.ts';
import * as everything from '../lib/index.ts';
import {
  COMMAND, ROOT, Serving, findFreePort, makeFolder, run, withoutDelays,
} from './support/command.ts';
import { readmeRows } from './support/readme-rows.ts';
import {
  type Block, COMPILER, blocks, compilePrograms, fileName, programs, programsAt, readme,
  replacements, writePrograms,
} from './support/readme.ts';

const sessions = blocks.filter(({ language }) => language === 'console');
// The commands of these are run by .ci/run, in a fresh copy.
const setups = blocks.filter(({ language }) => language === 'sh');
const shown = blocks.filter((block) => ![...programs, ...sessions, ...setups].includes(block));

function has(program: string): boolean {
  return spawnSync(program, ['--version']).error === undefined;
}

const stripsTypes = Boolean(Reflect.get(process.features, 'typescript'));

// A Node that does not run TypeScript runs what the compiler has made of it.
function forThisNode(command: string): string {
  return stripsTypes
    ? command
    : command.replace(/\b(node .*?)([\w-]+(?:\.test)?)\.ts\b/, '$1built/$2.js');
}

/** A server that a program of the README is, once it has said that it serves. */
class ProgramServing {
  private readonly child: ChildProcess;
  readonly banner: string;

  private constructor(child: ChildProcess, banner: string) {
    this.child = child;
    this.banner = banner;
  }

  static async start(args: string[], cwd: string): Promise<ProgramServing> {
    const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    return new ProgramServing(child, line.toString().trimEnd());
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }
}

/** A command of the README, and what it prints. */
interface Session {
  line: number;
  command: string;
  expected: string;
  /** Whether it is a server, which goes on while those after it run. */
  serves: boolean;
  /** Whether it needs what the sessions above it have left: a server, a file. */
  inOrder: boolean;
}

function readSession({ text, line }: Block): Session {
  const [, command = '', expected = ''] = /^\$ (.*)\n([\s\S]*)$/.exec(text) ?? [];
  const serves = expected.startsWith('Serving ');
  const [name = ''] = /[\w-]+\.ts\b/.exec(command) ?? [];
  const source = programs.find((program) => fileName(program) === name)?.text ?? '';
  const needs =
    /\b(curl|mkdir|tsc|dist|public)\b/.test(command) || /public|:[89]000\b/.test(source);
  return { line, command, expected, serves, inOrder: serves || needs };
}

describe('README.md', { concurrency: true }, () => {
  const folder = makeFolder({});
  // One for each replacement of a program, by the line of the replacement.
  const editions = new Map(replacements.map((line) => [line, makeFolder({})]));
  // The ports that the README names, and those that are used here.
  const ports = new Map<string, string>();
  const compilerOutputs: string[] = [];
  const serving = new Map<string, Serving | ProgramServing>();

  const withOurPorts = (text: string): string =>
    text.replace(/\b[89]000\b/g, (port) => ports.get(port) ?? port);
  const withItsPorts = (text: string): string =>
    [...ports].reduce((replaced, [its, ours]) => replaced.replaceAll(ours, its), text);

  before(async () => {
    for (const port of ['8000', '9000']) ports.set(port, String(await findFreePort()));
    const prepare = async (path: string, line: number): Promise<void> => {
      writePrograms(path, programsAt(line), withOurPorts);
      compilerOutputs.push(await compilePrograms(path));
    };
    await prepare(folder.path, 0);
    for (const [line, { path }] of editions) await prepare(path, line + 1);
    // The compiled programs find the same files beside them.
    for (const name of ['public', 'public-not']) {
      mkdirSync(join(folder.path, 'built', name));
      writeFileSync(join(folder.path, 'built', name, 'index.html'), '<h1>Hello</h1>\n');
    }
    // Windows lets only administrators make links.
    if (process.platform !== 'win32') {
      symlinkSync('../../hello.ts', join(folder.path, 'built/public/link.js'));
    }
  });

  after(async () => {
    for (const server of serving.values()) await server.stop();
    for (const { remove } of [folder, ...editions.values()]) remove();
  });

  test(
    'has programs and sessions, and says of all else that looks like code why it is not run',
    () => {
      assert.ok(programs.length >= 20 && sessions.length >= 30, 'blocks were found');
      for (const program of programs) {
        assert.ok(fileName(program), `line ${program.line} names its file`);
      }
      const replaced = programs.filter(({ line }) => replacements.includes(line)).map(fileName);
      assert.deepEqual(
        replaced, ['gateway.ts', 'respond.ts', 'respond.ts'], 'only these are there more than once',
      );
      for (const { language, text, above, line } of shown) {
        const isDrawing = language === 'text' && text.includes('─▶');
        assert.ok(isDrawing || /^\*(Not run|Run) by this project/.test(above), `line ${line}`);
      }
    },
  );

  test('has programs that type-check', () => {
    assert.deepEqual(compilerOutputs, compilerOutputs.map(() => ''));
  });

  for (const { program, request, init, status, body, headers } of readmeRows) {
    test(`${program} answers ${request} with ${status}`, async () => {
      const app = await load(program);
      const [, method = 'GET', target = request] = /^(?:([A-Z]+) )?(\S+)$/.exec(request) ?? [];
      const client = everything.testClient(app);
      const response = await client.fetch(target, { method, ...init });
      assert.equal(response.status, status);
      const text = await response.text();
      if (typeof body === 'string') assert.equal(text, body);
      if (body instanceof RegExp) assert.match(text, body);
      for (const [name, expected] of Object.entries(headers ?? {})) {
        const value = response.headers.get(name);
        if (expected instanceof RegExp) assert.match(value ?? '', expected);
        else assert.equal(value, expected);
      }
    });
  }

  test('events are sent one by one, until the client leaves', async () => {
    const { fetch } = everything.testClient(await load('events'));
    const response = await fetch('/');
    const chunks = (response.body as ReadableStream<Uint8Array>).getReader();
    const { value } = await chunks.read();
    assert.match(new TextDecoder().decode(value), /^id: 1\ndata: .*Z\n\n$/);
    await chunks.cancel();
  });

  test('a session goes on with its cookie, and not with one that was changed', async () => {
    const app = await load('session');
    const { fetch } = everything.testClient(app, { cookies: true });
    assert.equal(await (await fetch('/')).text(), 'Visit 1\n');
    const [cookie = ''] = (await fetch('/')).headers.getSetCookie();
    assert.equal(await (await fetch('/')).text(), 'Visit 3\n');

    const [, text = '', signature = ''] = /^session=(.*)\.(.*?);/.exec(cookie) ?? [];
    const forged = Buffer.from('{"visits":99}').toString('base64url');
    const ask = async (value: string): Promise<string> => {
      const stranger = everything.testClient(app);
      return (await stranger.fetch('/', { headers: { Cookie: `a=b; session=${value}` } })).text();
    };
    assert.equal(await ask(`${text}.${signature}`), 'Visit 3\n');
    assert.equal(await ask(`${forged}.${signature}`), 'Visit 1\n');
    assert.equal(await ask(`${text}.${signature.slice(1)}`), 'Visit 1\n');
    assert.equal(await ask('nonsense'), 'Visit 1\n');
  });

  test('the log has a line for each request, and no more', async () => {
    const client = everything.testClient(await load('log'));
    await client.fetch('/a%0Ab');
    assert.match(
      client.errors, /^\{"method":"GET","path":"\/a\\nb","status":"200 OK","milliseconds":\d+\}\n$/,
    );
  });

  test('notes belong to the one who wrote them', async () => {
    const { app } = await import(pathToFileURL(join(folder.path, 'built/notes.js')).href);
    const ada = everything.testClient(app, { cookies: true });
    const written =
      await ada.fetch('/', { method: 'POST', body: new URLSearchParams({ note: '<i>' }) });
    assert.match(await written.text(), /<ul><li>&#60;i&#62;<\/li><\/ul>/);
    assert.match(await (await everything.testClient(app).fetch('/')).text(), /<ul><\/ul>/);
  });

  test('the answer to exercise 14 makes the gateway pass two more checks', async () => {
    const [, answer = ''] = /^\*\*14\.\*\* .*`(if \(.*? continue;)`$/m.exec(readme) ?? [];
    const edition = makeFolder({});
    try {
      writePrograms(edition.path, programsAt(Infinity), withOurPorts);
      const file = join(edition.path, 'make-environ.ts');
      const loop = /^  for .*\{$/m;
      writeFileSync(
        file, readFileSync(file, 'utf8').replace(loop, (line) => `${line}\n    ${answer}`),
      );
      const only = 'hygiene-underscore,hygiene-httpoxy,environ-header';
      const { stdout } =
        await run([COMMAND, '--check', 'gateway.ts', '--only', only], { cwd: edition.path });
      assert.match(stdout, /^all +3 passed$/m);
    } finally {
      edition.remove();
    }
  });

  test('has setup commands, which .ci/run runs', () => {
    assert.equal(setups.length, 2);
    assert.match(readFileSync(join(ROOT, '.ci/run'), 'utf8'), /\.ci\/first-steps/);
  });

  const runSession = async (session: Session, context: TestContext): Promise<void> => {
    const { command, expected, serves, line } = session;
    if (process.platform === 'win32') return context.skip('the commands are for a POSIX shell');
    const [port = '8000'] = /\b[89]000\b/.exec(command + expected) ?? [];
    if (serves) {
      await serving.get(port)?.stop();
      serving.delete(port);
      const server = await startServer(command, port);
      serving.set(port, server);
      assert.equal(`${withItsPorts(server.banner)}\n`, expected);
      return;
    }
    const isCurl = /\bcurl\b/.test(command);
    if (isCurl && !has('curl')) return context.skip('there is no curl on this machine');
    if (isCurl && !serving.has(port)) return context.skip('its server could not be started');
    const printed = withoutDelays(await runInShell(command, folderAt(line)))
      .replace(/(file:\/\/)?\S*tsgiref-test-\w+\//g, '');
    assert.equal(normalize(withItsPorts(printed)), normalize(expected));
  };

  const declare = (session: Session): void => {
    const { line, command } = session;
    void test(`line ${line}: ${command}`, (context) => runSession(session, context as TestContext));
  };
  const all = sessions.map(readSession);

  describe('servers, and commands that need them', { concurrency: 1 }, () => {
    all.filter(({ inOrder }) => inOrder).forEach(declare);
  });

  describe('commands on their own', { concurrency: 2 }, () => {
    all.filter(({ inOrder }) => !inOrder).forEach(declare);
  });

  function folderAt(line: number): string {
    const edition = replacements.filter((replacement) => replacement < line).at(-1) ?? 0;
    return (editions.get(edition) ?? folder).path;
  }

  async function load(program: string): Promise<everything.WSGIApplication> {
    const module = await import(pathToFileURL(join(folder.path, `built/${program}.js`)).href);
    return module.default ?? module.app;
  }

  async function startServer(command: string, port: string): Promise<Serving | ProgramServing> {
    const [program, ...args] = forThisNode(withOurPorts(command)).split(' ');
    if (program === 'node') return ProgramServing.start(args, folder.path);
    return Serving.start([...args.slice(1), '--port', ports.get(port) ?? ''], { cwd: folder.path });
  }

  async function runInShell(command: string, cwd: string): Promise<string> {
    const here = forThisNode(withOurPorts(command))
      .replace(/\bcurl\b/, 'curl --silent --show-error --max-time 60')
      .replace(/\bnpx tsgiref /, `node '${COMMAND}' `)
      .replace(/\bnpx tsc /, `node '${COMPILER}' --project tsconfig.json `);
    const both = here.includes('2>') ? here : `${here} 2>&1`;
    const env = { PATH: `${join(process.execPath, '..')}:${process.env['PATH']}` };
    const child = spawn('sh', ['-c', both], { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
    await once(child, 'close');
    return printed;
  }

  const ruleRows = (text: string): string[] =>
    [...text.matchAll(/\| rule \| kind .*\n\|[-|]+\n((?:\|.*\n)+)/g)].flatMap(
      ([, table = '']) => table.trim().split('\n'),
    );
  const kinds = { error: 'error', warning: 'warning', off: 'option' };
  const everyRule = everything.rules.map(({ id, severity, party, text, reference }) =>
    `| \`${id}\` | ${kinds[severity]} | ${party} | ${text.replaceAll('|', '\\|')} | ${reference} |`,
  );

  test('shows five rules of the validator as the validator has them', () => {
    const rows = ruleRows(readme);
    assert.equal(rows.length, 5);
    for (const row of rows) assert.ok(everyRule.includes(row), row);
  });

  test('lib/validate/README.md has every rule, under the file that checks it', () => {
    const text = readFileSync(join(ROOT, 'lib/validate/README.md'), 'utf8');
    assert.deepEqual(ruleRows(text).sort(), [...everyRule].sort());
    assert.ok(text.includes(`checks: ${everyRule.length} rules`));
    for (const chapter of text.split('\n## ').slice(1)) {
      const [, file = ''] = /^\[.*?\]\((.*?)\)/.exec(chapter) ?? [];
      const source = readFileSync(join(ROOT, 'lib/validate', file), 'utf8');
      for (const row of ruleRows(chapter)) {
        const [, id] = /`(.*?)`/.exec(row) ?? [];
        assert.ok(source.includes(`'${id}'`), `${id} in ${file}`);
      }
    }
  });

  test('names every option of the command', () => {
    const named = new Set([...readme.matchAll(/--([a-z][a-z-]+)/g)].map((match) => match[1]));
    for (const option of Object.keys(OPTIONS)) assert.ok(named.has(option), `--${option}`);
  });

  const reference =
    readme.slice(readme.indexOf('\n### Names\n'), readme.indexOf('\n### Environ\n'));
  const firstCells = (table: string): string[] =>
    [...table.matchAll(/^\| (.*?) \|/gm)].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''),
    );

  test('names what each module exports, and nothing else', async () => {
    const tables = [
      ...reference.matchAll(/^\| `tsgiref\/([a-z-]+)` \|.*\n\|[-|]+\n([\s\S]*?)\n\n/gm),
    ];
    assert.equal(tables.length, 7);
    for (const [, module = '', table = ''] of tables) {
      const source = readFileSync(join(ROOT, `lib/${module}.ts`), 'utf8');
      const types =
        module === 'types' ? [...source.matchAll(/^export (?:type|interface) (\w+)/gm)] : [];
      const values = Object.keys(
        await import(`../lib/${module}.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`),
      );
      const exported = [...types.map((match) => match[1]), ...values];
      assert.deepEqual(firstCells(table).sort(), exported.sort(), module);
    }
    for (const name of Object.keys(everything)) {
      assert.ok(reference.includes(`\`${name}\``), `${name} is in a table`);
    }
  });

  test('names every key of environ that its type has, and no other', () => {
    const table = /\n### Environ\n[\s\S]*?\n\n\|([\s\S]*?)\n\n/.exec(readme)?.[1] ?? '';
    const source = readFileSync(join(ROOT, 'lib/types.ts'), 'utf8');
    const [, members = ''] = /interface WSGIEnvironment \{([\s\S]*?)\n\}/.exec(source) ?? [];
    const keys = [...members.matchAll(/^  '?([A-Z][A-Z_]+|(?:wsgi|tsgiref)\.\w+)'?\??:/gm)].map(
      (match) => match[1] ?? '',
    );
    assert.ok(keys.length > 20, 'the keys were found');
    assert.deepEqual(firstCells(table).sort(), [...keys, 'HTTP_…'].sort());
  });

  test('has links that lead somewhere', () => {
    const headings = [...readme.matchAll(/^#+ (.*)$/gm)].map((match) =>
      (match[1] ?? '').toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-'),
    );
    const anchors = [...readme.matchAll(/\]\(#([^)]*)\)/g)].map((match) => match[1] ?? '');
    assert.ok(anchors.length > 0);
    for (const anchor of anchors) assert.ok(headings.includes(anchor), `#${anchor} is a heading`);
  });

  test('names files that exist', () => {
    const files = [...readme.matchAll(/`((?:lib|test)\/[\w./-]+)`|\]\((lib\/[^)]*)\)/g)].map(
      (match) => match[1] ?? match[2] ?? '',
    );
    assert.ok(files.length > 1);
    for (const file of files) assert.ok(existsSync(join(ROOT, file)), file);
  });
});

test('lib/README.md names files that exist', () => {
  const text = readFileSync(join(ROOT, 'lib/README.md'), 'utf8');
  const files = [...text.matchAll(/`((?:test\/)?[\w-]+(?:\/[\w-]+)*(?:\/|\.ts))`/g)].map(
    (match) => match[1] ?? '',
  );
  assert.ok(files.length > 20);
  for (const file of files) {
    if (file === 'dist/') continue;
    assert.ok(existsSync(join(ROOT, file.startsWith('test/') ? file : `lib/${file}`)), file);
  }
  for (const entry of readdirSync(join(ROOT, 'lib'), { withFileTypes: true })) {
    const name = entry.isDirectory() ? `${entry.name}/` : entry.name;
    assert.ok(name === 'README.md' || files.includes(name), `${name} is on the map`);
  }
});

// Parts that differ from one run to the next, or from one Node to the next.
function normalize(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    // A response need not end in a line end; a terminal shows the same.
    .replace(/(?<=.)$/, '\n')
    .replace(/^#1 +\d+\.\d ms/gm, '#1 … ms')
    .replace(/^Date: .*$/gm, 'Date: …')
    .replace(/dur=\d+$/gm, 'dur=…')
    .replace(/^[#ℹ] pass/gm, 'ℹ pass')
    .replace(/^curl: \(18\) .*$/gm, 'curl: (18) …')
    .replace(/Node\.js\/[\d.]+/g, 'Node.js/…');
}
