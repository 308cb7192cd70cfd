// The TypeScript compiler that is installed beside the application: where it is, one
// run of it for all files of the application, and what is kept of that. Only its
// command is used, since version 7 has no function that compiles a file.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir, userInfo } from 'node:os';
import { basename, join, parse } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { Problem } from '../problem.ts';
import { type Compiled, isModule } from './typescript.ts';

/** An installed compiler. */
export interface Compiler {
  version: string;
  /** The path of its `tsc`. */
  command: string;
  /** The node_modules folder that it is in. */
  folder: string;
}

// The first that compiles without checking types and that is still in use.
const OLDEST: readonly [number, number] = [5, 7];

/**
 * The compiler for the file at `path`; if there is none, the reason in words. The
 * application's own comes first, so that it means what its author's editor shows;
 * ours is there in a checkout of this project.
 */
export function findCompiler(path: string): Compiler | string {
  let outdated: string | undefined;
  for (const from of [path, fileURLToPath(import.meta.url)]) {
    for (const folder of createRequire(from).resolve.paths('typescript') ?? []) {
      const compiler = readCompiler(folder);
      if (compiler === undefined) continue;
      if (isRecent(compiler.version)) return compiler;
      outdated ??= compiler.version;
    }
  }
  return outdated === undefined
    ? `no compiler is installed beside ${basename(path)}`
    : `TypeScript ${outdated} is installed, which is older than ${OLDEST.join('.')}`;
}

function readCompiler(folder: string): Compiler | undefined {
  const manifest = join(folder, 'typescript', 'package.json');
  if (!existsSync(manifest)) return undefined;
  const { version, bin } = JSON.parse(readFileSync(manifest, 'utf8'));
  return { version, command: join(folder, 'typescript', bin.tsc), folder };
}

function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

// No library and no check of types: an editor does that better, and it would take
// three times as long. `preserve` leaves each import in the form in which it was written.
const OPTIONS = [
  ...['--target', 'es2022', '--noCheck', '--noLib', '--isolatedModules'],
  ...['--inlineSourceMap', '--inlineSources', '--pretty', 'false'],
];

const LONG_MS = 1000;

/** Compiles files of one application, as few times as possible. */
export class Compilation {
  // The JavaScript that a run made, by the path of its source.
  private readonly made = new Map<string, string>();

  /**
   * The JavaScript of the file at `path`: from this process, from the cache, or from a
   * run of the compiler for the file and all that it imports.
   *
   * @throws Problem if there is no compiler, or it refuses the file.
   */
  compile(path: string): Compiled {
    const compiler = requireCompiler(path);
    let source = this.made.get(path) ?? recall(cachePath(compiler, path));
    if (source === undefined) {
      this.run(compiler, path);
      source = this.made.get(path);
    }
    if (source === undefined) throw new Problem(`TypeScript made no JavaScript of ${path}`);
    return { format: isModule(path, source) ? 'module' : 'commonjs', source };
  }

  private run(compiler: Compiler, path: string): void {
    const { version, command } = compiler;
    const made = mkdtempSync(join(tmpdir(), 'tsgiref-'));
    const { root } = parse(path);
    const kind = path.endsWith('.cts') ? 'commonjs' : 'preserve';
    // The folder is still empty when the compiler looks there for declarations of types:
    // only version 7 takes an empty list of them.
    const folders = ['--outDir', made, '--typeRoots', made, '--rootDir', root];
    const options = [...folders, '--module', kind, ...OPTIONS];
    // Older ones do not look for a tsconfig.json when they are given a file.
    if (Number.parseInt(version, 10) >= 6) options.push('--ignoreConfig');
    try {
      const start = performance.now();
      const words = [command, path, ...options];
      const { stdout } = spawnSync(process.execPath, words, { encoding: 'utf8' });
      const failure = explainOutput(stdout);
      if (failure !== undefined) throw failure;
      const all = readdirSync(made, { recursive: true, encoding: 'utf8' });
      const compiled = all.filter((file) => /\.[mc]?js$/.test(file));
      for (const file of compiled) {
        this.add(compiler, join(root, file.replace(/js$/, 'ts')), join(made, file));
      }
      if (!this.made.has(path)) {
        const said = stdout.split('\n')[0];
        throw new Problem(`TypeScript ${version} could not compile ${path}:\n${said}`);
      }
      const time = performance.now() - start;
      if (time > LONG_MS) {
        const files = compiled.length === 1 ? '1 file' : `${compiled.length} files`;
        process.stderr.write(
          `TypeScript ${version} took ${(time / 1000).toFixed(1)} s to compile ${files}; ` +
            'files that do not change are not compiled again\n',
        );
      }
    } finally {
      rmSync(made, { recursive: true, force: true });
    }
  }

  private add(compiler: Compiler, path: string, made: string): void {
    const helpers = pathToFileURL(join(compiler.folder, 'typescript', 'helpers.js'));
    const urls = [pathToFileURL(path).href, helpers.href] as const;
    const source = pointMapAt(urls, readFileSync(made, 'utf8'));
    this.made.set(path, source);
    keep(cachePath(compiler, path), source);
  }
}

function requireCompiler(path: string): Compiler {
  const found = findCompiler(path);
  if (typeof found === 'string') throw explainNoCompiler(found);
  return found;
}

/** The Problem to report where the command has found no compiler, for this reason. */
export function explainNoCompiler(reason: string): Problem {
  // Where package.json asks for an older version, only a named one replaces it.
  const wanted = reason.includes('older') ? 'typescript@5' : 'typescript';
  return new Problem(
    `Node ${process.versions.node} does not run TypeScript, and ${reason}:\n` +
      `use Node 22.18 or later, or run: npm install --save-dev ${wanted}`,
  );
}

// app.ts(2,10): error TS1110: Type expected.
function explainOutput(stdout: string): Problem | undefined {
  // It also complains of the library that it was not given; those codes are not TS1….
  const [, path, line, reason] = /^(.*)\((\d+),\d+\): error TS1\d{3}: (.*)$/m.exec(stdout) ?? [];
  if (path === undefined) return undefined;
  const text = readFileSync(path, 'utf8').split('\n')[Number(line) - 1]?.trim() ?? '';
  return new Problem(`${basename(path)}:${line}: ${reason}\n    ${text}`);
}

const MAP = /\/\/# sourceMappingURL=data:application\/json;base64,(\S+)\s*$/;

// Traces should name the file that the author knows, and not where it was compiled. The
// compiler's own functions, such as __decorate, have no line in that file: they get a file
// of their own, which does not exist.
function pointMapAt(urls: readonly [file: string, helpers: string], source: string): string {
  const [comment, encoded] = MAP.exec(source) ?? [];
  if (comment === undefined || encoded === undefined) return source;
  const map = JSON.parse(Buffer.from(encoded, 'base64').toString());
  const mappings = mapHelpers(map.mappings);
  const moved = JSON.stringify({ ...map, sourceRoot: '', sources: urls, mappings });
  const text = Buffer.from(moved).toString('base64');
  return source.replace(MAP, `//# sourceMappingURL=data:application/json;base64,${text}\n`);
}

// A map has a list of segments for each line, separated by `;`, and a segment has four
// numbers: its column, and the file, line and column that it comes from. All but the first
// are relative to the segment before it; A is 0, C is 1, D is -1. (ECMA-426)
function mapHelpers(mappings: string): string {
  const [, { length } = '', first, rest] =
    /^(;+)([g-z0-9+/]*[A-Za-f])A(.*)$/s.exec(mappings) ?? [];
  if (first === undefined) return mappings;
  return `ACAA${';AAAA'.repeat(length - 1)};${first}D${rest}`;
}

// A compiled file is stored by its own content, so that it is never out of date.
function cachePath({ version, folder }: Compiler, path: string): string | undefined {
  const cache = cacheFolder(folder);
  if (cache === undefined) return undefined;
  const hash = createHash('sha256').update(`3\0${version}\0${path}\0`).update(readFileSync(path));
  return join(cache, `${hash.digest('hex')}.js`);
}

// A user who can write there can run code as this one, so the place is either in the
// application's own folder or private.
function cacheFolder(modules: string): string | undefined {
  const folder = join(modules, '.cache', 'tsgiref');
  try {
    mkdirSync(folder, { recursive: true });
    return folder;
  } catch {
    // Installed by another user, or on a disk that cannot be written.
    return privateFolder();
  }
}

function privateFolder(): string | undefined {
  try {
    const { uid } = userInfo();
    const folder = join(tmpdir(), `tsgiref-cache-${uid}`);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const found = lstatSync(folder);
    // Windows has no uid, and a temporary folder for each user.
    const isPrivate = uid === -1 || (found.uid === uid && (found.mode & 0o077) === 0);
    return found.isDirectory() && isPrivate ? folder : undefined;
  } catch {
    return undefined;
  }
}

function recall(path: string | undefined): string | undefined {
  try {
    return path === undefined ? undefined : readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

// In one step: a reader finds all of the file or nothing.
function keep(path: string | undefined, text: string): void {
  try {
    if (path === undefined) return;
    const unfinished = `${path}.${process.pid}`;
    writeFileSync(unfinished, text);
    renameSync(unfinished, path);
  } catch {
    // A cache that cannot be written costs time, and nothing else.
  }
}
