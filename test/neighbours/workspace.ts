// A folder of somebody who uses this package beside others: the README's programs, this
// package as npm packs it, and whatever npm can bring.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';

import { ROOT } from '../support/command.ts';
import { blocks, fileName, programsAt } from '../support/readme.ts';

const execute = promisify(execFile);

// How long npm may take for all packages together. What is missing then is skipped.
const INSTALL_MS = 240_000;

export interface Printed {
  status: number;
  output: string;
}

/** A program that serves, from its first address on. */
export interface Serving {
  url: string;
  stop(): Promise<void>;
}

export class Workspace {
  readonly path: string = realpathSync(mkdtempSync(join(tmpdir(), 'tsgiref-neighbours-')));
  private readonly installed = new Map<string, Promise<string | undefined>>();
  private timeLeft = INSTALL_MS;

  /** Writes the programs of the README, and installs this package as npm packs it. */
  static async make(): Promise<Workspace> {
    const workspace = new Workspace();
    workspace.write('package.json', '{ "type": "module", "private": true }');
    for (const program of programsAt(Infinity)) workspace.write(fileName(program), program.text);
    const { path } = workspace;
    await workspace.npm('pack', '--ignore-scripts', '--pack-destination', path, ROOT);
    const [tarball = ''] = readdirSync(path).filter((name) => name.endsWith('.tgz'));
    await workspace.npm('install', `./${tarball}`);
    return workspace;
  }

  write(name: string, text: string): void {
    mkdirSync(dirname(join(this.path, name)), { recursive: true });
    writeFileSync(join(this.path, name), text);
  }

  /** Installs packages. Resolves with the reason if npm cannot. */
  install(...packages: string[]): Promise<string | undefined> {
    const names = packages.join(' ');
    const known = this.installed.get(names);
    if (known !== undefined) return known;
    // npm changes one folder at a time.
    const before = [...this.installed.values()].at(-1);
    const installing = Promise.resolve(before)
      .then(() => this.npm('install', ...packages))
      .then(
        () => undefined,
        (error: Error) => `npm cannot install ${names}: ${error.message.split('\n')[0]}`,
      );
    this.installed.set(names, installing);
    return installing;
  }

  /** The version of an installed package. */
  version(name: string): string {
    const file = join(this.path, 'node_modules', name, 'package.json');
    return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
  }

  /** Runs a command of the README to its end. */
  async run(command: string, env: NodeJS.ProcessEnv = {}): Promise<Printed> {
    const child = this.spawn(command, env);
    const output = collect(child);
    const [status] = (await once(child, 'close')) as [number | null];
    return { status: status ?? -1, output: output() };
  }

  /**
   * Starts a command of the README that serves.
   *
   * @param address where it serves; without it, the first address that it prints
   * @returns a promise that resolves when something answers there
   */
  async serve(command: string, env: NodeJS.ProcessEnv = {}, address?: string): Promise<Serving> {
    const child = this.spawn(command, env);
    const output = collect(child);
    const closed = once(child, 'close');
    let ended = false;
    void closed.then(() => (ended = true));
    const stop = async (): Promise<void> => {
      if (child.pid !== undefined && !ended) process.kill(-child.pid, 'SIGKILL');
      await closed;
    };
    let url = address;
    // Not every program says when it is ready.
    while (!ended && (url === undefined || !(await answers(url)))) {
      await wait(50);
      const [, port] = /https?:\/\/[\w.[\]:]+:(\d+)/.exec(output()) ?? [];
      if (port !== undefined) url ??= `http://127.0.0.1:${port}`;
    }
    if (url === undefined || ended) throw new Error(`${command} has ended:\n${output()}`);
    return { url, stop };
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true, maxRetries: 5 });
  }

  // A group of its own, so that the programs that it starts are stopped with it.
  private spawn(command: string, env: NodeJS.ProcessEnv): ChildProcess {
    const bin = join(this.path, 'node_modules/.bin');
    const PATH = `${bin}:${dirname(process.execPath)}:${process.env['PATH']}`;
    // npx does this for a command that is installed.
    return spawn('sh', ['-c', command.replace(/\bnpx /g, '')], {
      cwd: this.path,
      env: { ...process.env, ...env, PATH, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
  }

  private async npm(...args: string[]): Promise<void> {
    if (this.timeLeft <= 0) throw new Error('the time for installing is over');
    const quiet = ['--no-audit', '--no-fund', '--loglevel=error', '--prefer-offline'];
    const began = performance.now();
    try {
      await execute('npm', [...args, ...quiet], {
        cwd: this.path, timeout: Math.ceil(this.timeLeft),
      });
    } finally {
      this.timeLeft -= performance.now() - began;
    }
  }
}

function collect(child: ChildProcess): () => string {
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (data: string) => (text += data));
  }
  return () => text;
}

/** The one block of the README that contains this text. */
export function blockWith(text: string): string {
  const found = blocks.filter((block) => block.text.includes(text));
  if (found.length !== 1) throw new Error(`${found.length} blocks of the README contain ${text}`);
  return found[0]?.text ?? '';
}

/** The line of the README's block that begins so. */
export function lineWith(start: string): string {
  const line = blockWith(start).split('\n').find((each) => each.startsWith(start));
  if (line === undefined) throw new Error(`no line of the README begins with ${start}`);
  return line;
}

// A server in front answers 502 for as long as there is nothing behind it.
async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { headers: { Connection: 'close' } })).status !== 502;
  } catch {
    return false;
  }
}
