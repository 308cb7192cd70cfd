// Which TypeScript compiler to use.

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** An installed compiler. */
export interface Compiler {
  version: string;
  /** The path of its `tsc`. */
  command: string;
  /** The node_modules folder that it is in. */
  folder: string;
}

// The first that compiles without checking types and is still in use.
const OLDEST: readonly [number, number] = [5, 7];

/**
 * The compiler for the file at `path`; if there is none, what is there instead, in
 * words. The application's own comes first, so that it means what its author's
 * editor shows; ours is there in a checkout of this project.
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
