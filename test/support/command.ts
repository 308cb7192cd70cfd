// Runs the real command as a child process, in a folder made for the test.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

import { runCommand } from '../../lib/cli/command.ts';

/** The repository's root, whether this runs from test/ or from dist/test/. */
export const ROOT: string = findRoot(dirname(fileURLToPath(import.meta.url)));

/** The built command. */
export const COMMAND: string = join(ROOT, 'dist/lib/cli/main.js');

function findRoot(folder: string): string {
  const [above] = folder.split(/[\\/](?:dist[\\/])?test(?:[\\/]|$)/);
  return above ?? folder;
}

/** A new folder with these files in it, and the function that removes it. */
export function makeFolder(files: Record<string, string>): { path: string; remove: () => void } {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'tsgiref-test-')));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

// The child's code counts in the coverage, even if the child gets no other variable.
function childEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const { NODE_V8_COVERAGE } = process.env;
  return NODE_V8_COVERAGE === undefined ? env : { ...env, NODE_V8_COVERAGE };
}

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. */
export async function run(
  args: readonly string[],
  options: { cwd: string; env?: NodeJS.ProcessEnv; input?: string; encoding?: BufferEncoding },
): Promise<Ended> {
  const child = spawn(process.execPath, args, {
    cwd: options.cwd,
    env: childEnv(options.env),
    stdio: 'pipe',
  });
  child.stdin.end(options.input ?? '');
  const output = collect(child, options.encoding);
  const [status] = (await once(child, 'close')) as [number | null];
  const { stdout, stderr } = output();
  return { status, stdout, stderr: withoutDelays(stderr) };
}

/** Text without the lines in which the command says, on a slow machine, that it takes time. */
export function withoutDelays(text: string): string {
  return text.replace(/^(?:TypeScript \S+ took|\S+ is still loading after) .*\n/gm, '');
}

/**
 * Runs the command in this process, in a folder with these files. For everything but a
 * server, standard input, and the end of a process.
 */
export async function runHere(
  files: Record<string, string>, words: readonly string[], isTTY: boolean = false,
): Promise<Ended> {
  const folder = makeFolder(files);
  const before = process.cwd();
  process.chdir(folder.path);
  const stdout = new Collector(isTTY);
  const stderr = new Collector(isTTY);
  try {
    const status = await runCommand(words, { stdout, stderr });
    return { status, stdout: stdout.text, stderr: withoutDelays(stderr.text) };
  } finally {
    process.chdir(before);
    folder.remove();
  }
}

/** A stream that keeps what is written to it. */
class Collector extends Writable {
  readonly isTTY: boolean;
  text = '';

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  override _write(data: Uint8Array, _encoding: string, done: () => void): void {
    this.text += Buffer.from(data).toString();
    done();
  }
}

/** The command, serving. */
export class Serving {
  readonly child: ChildProcess;
  readonly banner: string;
  readonly url: string;
  private readonly output: () => { stdout: string; stderr: string };

  private constructor(child: ChildProcess, output: () => { stdout: string; stderr: string }) {
    this.child = child;
    this.output = output;
    this.banner = /^Serving .*$/m.exec(output().stderr)?.[0] ?? '';
    this.url = /http:\S+/.exec(this.banner)?.[0] ?? '';
  }

  /** Starts the command on a free port and waits for its banner. */
  static async start(
    args: readonly string[],
    {
      cwd, env = process.env, command = COMMAND,
    }: { cwd: string; env?: NodeJS.ProcessEnv; command?: string },
  ): Promise<Serving> {
    const port = args.some((word) => /^--(scgi|uwsgi)$/.test(word)) ? [] : ['--port', '0'];
    const child = spawn(process.execPath, [command, ...port, ...args], {
      cwd, env: childEnv(env), stdio: 'pipe',
    });
    const output = collect(child);
    while (!/^Serving .*\n/m.test(output().stderr)) {
      const event = await Promise.race([
        once(child.stderr, 'data').then(() => 'data'),
        once(child, 'close').then(() => 'close'),
      ]);
      if (event === 'close') throw new Error(`the command ended:\n${output().stderr}`);
    }
    return new Serving(child, output);
  }

  get stderr(): string {
    return this.output().stderr;
  }

  /** Waits until standard error matches. */
  async printed(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.stderr)) await once(this.child.stderr ?? this.child, 'data');
  }

  /** Sends a signal and resolves with the exit status. */
  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
    const { exitCode, signalCode } = this.child;
    if (exitCode !== null || signalCode !== null) return exitCode;
    const closed = once(this.child, 'close');
    this.child.kill(signal);
    const [status] = (await closed) as [number | null];
    return status;
  }
}

function collect(
  child: ChildProcess, encoding: BufferEncoding = 'utf8',
): () => { stdout: string; stderr: string } {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding(encoding).on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return () => ({ stdout, stderr });
}

/** A port below those that systems hand out by themselves, so that nobody else takes it. */
export async function findFreePort(): Promise<number> {
  while (true) {
    const server = createServer().listen(20_000 + Math.floor(Math.random() * 10_000), '127.0.0.1');
    const [event] = await Promise.race([
      once(server, 'listening').then(() => ['listening']),
      once(server, 'error').then(() => ['error']),
    ]);
    if (event === 'error') continue;
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
