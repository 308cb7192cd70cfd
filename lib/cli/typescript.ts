// TypeScript that Node does not run by itself: the compiler that is installed
// beside the application makes JavaScript of one file at a time. Only its command
// is used, since version 7 has no other way to make one file.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { cacheFolder, keep, recall } from './cache.ts';
import { type Compiler, findCompiler } from './compiler.ts';
import { showPlace } from './place.ts';
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
  if (!nodeStripsTypes()) requireCompiler(path);
}

function requireCompiler(path: string): Compiler {
  const found = findCompiler(path);
  if (typeof found !== 'string') return found;
  throw new Problem(
    `Node ${process.versions.node} does not run TypeScript, and ${found}:\n` +
      'use Node 22.18 or later, or run: npm install --save-dev typescript',
  );
}

// Syntax that is more than types. A false alarm, in a comment say, costs a run of the
// compiler and nothing else.
const MORE_THAN_TYPES: readonly RegExp[] = [
  /^\s*(?:export\s+)?(?:const\s+)?enum\s+[\w$]/m,
  /^\s*(?:export\s+)?(?:namespace|module)\s+[\w$.]+\s*\{/m,
  /^\s*(?:export\s+)?import\s+[\w$]+\s*=/m,
  /^\s*export\s*=/m,
  // A decorator is JavaScript, but no engine runs it yet.
  /^\s*@[\w$]/m,
  /\bconstructor\s*\([^)]*\b(?:public|private|protected|readonly)\s/,
];

/** Whether Node cannot load the module at `url` and a compiler can. */
export function needsCompiler(url: string): boolean {
  if (!url.startsWith('file:') || !isTypeScript(url)) return false;
  if (!nodeStripsTypes()) return true;
  const path = fileURLToPath(url);
  const text = readFileSync(path, 'utf8');
  if (!MORE_THAN_TYPES.some((syntax) => syntax.test(text))) return false;
  // Without a compiler, Node's own error says which line it is.
  return typeof findCompiler(path) !== 'string';
}

/**
 * Whether the TypeScript at `url` is a module by its syntax, whatever package.json
 * says: "type": "commonjs", which `npm init` writes, is about what is compiled.
 */
export function isModule(url: string): boolean {
  if (!url.endsWith('.ts')) return false;
  return /^(?:import|export)\b/m.test(readFileSync(fileURLToPath(url), 'utf8'));
}

/** Compiles the file at `url`, or takes it from the cache. Throws a Problem if it cannot. */
export function compile(url: string): Compiled {
  const path = fileURLToPath(url);
  const compiler = requireCompiler(path);
  const content = readFileSync(path);
  const key = createHash('sha256')
    .update(`${compiler.version}\0${url}\0`)
    .update(content)
    .digest('hex');
  const folder = cacheFolder(compiler.folder);
  const cached = folder === undefined ? undefined : join(folder, `${key}.js`);

  let source = cached === undefined ? undefined : recall(cached);
  if (source === undefined) {
    source = pointMapAt(url, runCompiler(compiler, path));
    if (cached !== undefined) keep(cached, source);
  }
  return { format: path.endsWith('.cts') ? 'commonjs' : 'module', source };
}

// No library and no check of types: an editor does that better, and it would take
// three times as long.
const OPTIONS = [
  ...['--target', 'es2022', '--noCheck', '--noLib', '--noResolve', '--isolatedModules'],
  ...['--inlineSourceMap', '--inlineSources', '--pretty', 'false'],
];

function runCompiler({ version, command }: Compiler, path: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsgiref-'));
  const kind = path.endsWith('.cts') ? 'commonjs' : 'esnext';
  const options = ['--outDir', folder, '--module', kind, ...OPTIONS];
  // Older ones do not look for a tsconfig.json when they are given a file.
  if (Number.parseInt(version, 10) >= 6) options.push('--ignoreConfig');
  try {
    const words = [command, path, ...options];
    const { stdout } = spawnSync(process.execPath, words, { encoding: 'utf8' });
    const made = join(folder, basename(path).replace(/ts$/, 'js'));
    // It complains of the library that it was not given, so its status says nothing.
    const [error, line, reason] = /^.*\((\d+),\d+\): error TS1\d{3}: (.*)$/m.exec(stdout) ?? [];
    if (error !== undefined) {
      throw new Problem(showPlace({ path, line: Number(line) }, reason ?? error));
    }
    if (!existsSync(made)) {
      const said = stdout.split('\n')[0];
      throw new Problem(`TypeScript ${version} could not compile ${path}:\n${said}`);
    }
    return readFileSync(made, 'utf8');
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
  const moved = JSON.stringify({ ...map, sourceRoot: '', sources: [url] });
  const text = Buffer.from(moved).toString('base64');
  return source.replace(MAP, `//# sourceMappingURL=data:application/json;base64,${text}\n`);
}
