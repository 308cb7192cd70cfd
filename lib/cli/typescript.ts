// TypeScript where Node does not strip the types itself: the compiler that is
// installed beside the application makes JavaScript of one file at a time. Only
// its command is used, since version 7 has no other way to make one file.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Problem } from './problem.ts';

/** JavaScript and the kind of module it is. */
export interface Compiled {
  format: 'module' | 'commonjs';
  source: string;
}

/** Whether a URL or path names a TypeScript file. */
export function isTypeScript(path: string): boolean {
  return /\.[mc]?ts$/.test(path);
}

/** Whether this Node strips types without being asked to: 22.18, 23.6 and later. */
export function nodeStripsTypes(): boolean {
  return Boolean(Reflect.get(process.features, 'typescript'));
}

/** Throws a Problem unless there is a way to run the TypeScript file at `path`. */
export function checkTypeScript(path: string): void {
  if (!nodeStripsTypes()) findCompiler(path);
}

/** Compiles the file at `url`, or takes it from the cache. Throws a Problem if it cannot. */
export function compile(url: string): Compiled {
  const path = fileURLToPath(url);
  const compiler = findCompiler(path);
  const commonjs = path.endsWith('.cts');
  const content = readFileSync(path);
  const key = createHash('sha256')
    .update(`${compiler.version}\0${url}\0`)
    .update(content)
    .digest('hex');
  const cached = join(compiler.cache, `${key}.js`);

  const format = commonjs ? 'commonjs' : 'module';
  if (existsSync(cached)) return { format, source: readFileSync(cached, 'utf8') };
  const source = pointMapAt(url, runCompiler(compiler, path, commonjs ? 'commonjs' : 'esnext'));
  keep(cached, source);
  return { format, source };
}

interface Compiler {
  version: string;
  command: string;
  cache: string;
}

// The application's own, so that it means what its author's editor shows; ours is
// there in a checkout of this project.
function findCompiler(path: string): Compiler {
  for (const from of [path, fileURLToPath(import.meta.url)]) {
    try {
      const manifest = createRequire(from).resolve('typescript/package.json');
      const { version, bin } = JSON.parse(readFileSync(manifest, 'utf8'));
      const folder = dirname(manifest);
      return {
        version,
        command: join(folder, bin.tsc),
        cache: join(folder, '..', '.cache', 'tsgiref'),
      };
    } catch {
      // None there; the next place may have one.
    }
  }
  throw new Problem(
    `Node ${process.versions.node} does not run TypeScript, and no compiler is installed beside ` +
      `${basename(path)}:\nuse Node 22.18 or later, or run: npm install --save-dev typescript`,
  );
}

function runCompiler({ version, command }: Compiler, path: string, module: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsgiref-'));
  const options = ['--outDir', folder, '--module', module, '--target', 'es2022', '--noCheck'];
  options.push('--noResolve', '--isolatedModules', '--inlineSourceMap', '--inlineSources');
  // Older ones do not look for a tsconfig.json when they are given a file.
  if (Number.parseInt(version, 10) >= 6) options.push('--ignoreConfig');
  try {
    execFileSync(process.execPath, [command, path, ...options, '--pretty', 'false'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const made = basename(path).replace(/ts$/, 'js');
    return readFileSync(join(folder, made), 'utf8');
  } catch (error) {
    const said = String(Reflect.get(Object(error), 'stdout') ?? '').trim();
    const first = said.split('\n').find((line) => line.includes('error')) ?? String(error);
    throw new Problem(
      `${basename(path)} could not be compiled by TypeScript ${version}:\n${first}`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const MAP = /\/\/# sourceMappingURL=data:application\/json;base64,(\S+)\s*$/;

// Traces should name the file that the author knows, and not where it was compiled.
function pointMapAt(url: string, source: string): string {
  const [comment, encoded] = MAP.exec(source) ?? [];
  if (comment === undefined || encoded === undefined) return source;
  const map = JSON.parse(Buffer.from(encoded, 'base64').toString());
  const moved = Buffer.from(JSON.stringify({ ...map, sourceRoot: '', sources: [url] })).toString(
    'base64',
  );
  return source.replace(MAP, `//# sourceMappingURL=data:application/json;base64,${moved}\n`);
}

// A cache that cannot be written costs time, and nothing else.
function keep(cached: string, source: string): void {
  try {
    mkdirSync(dirname(cached), { recursive: true });
    const unfinished = `${cached}.${process.pid}`;
    writeFileSync(unfinished, source);
    renameSync(unfinished, cached);
  } catch {
    return;
  }
}
