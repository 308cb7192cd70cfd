// The README taken apart: its programs, its sessions in a terminal, and its other blocks.

import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ROOT, run } from './command.ts';

/** The compiler that this project is built with. */
export const COMPILER: string = join(ROOT, 'node_modules/typescript/bin/tsc');

/** The text of README.md. */
export const readme: string = readFileSync(join(ROOT, 'README.md'), 'utf8');

/** A fenced block of the README. */
export interface Block {
  language: string;
  text: string;
  line: number;
  /** The paragraph above it. */
  above: string;
}

/** All fenced blocks, in order. */
export const blocks: Block[] =
  [...readme.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1] ?? '',
    text: match[2] ?? '',
    line: readme.slice(0, match.index).split('\n').length,
    above: readme.slice(0, match.index).trimEnd().split('\n').at(-1) ?? '',
  }));

/** The blocks that are files of their own. */
export const programs: Block[] =
  blocks.filter(({ language }) => language === 'ts' || language === 'js');

/** The name that a program gives itself in its first line, or `''`. */
export const fileName = (program: Block): string =>
  /^\/\/ (\S+\.c?[tj]s)\n/.exec(program.text)?.[1] ?? '';

// The result of the README's `tsc --init`, without its comments.
const TSCONFIG = {
  compilerOptions: {
    module: 'nodenext',
    target: 'es2022',
    types: ['node'],
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    verbatimModuleSyntax: true,
    noEmit: true,
    allowImportingTsExtensions: true,
  },
};

/** Stores these programs in `folder`, changed by `change`, as a reader would. */
export function writePrograms(
  folder: string, chosen: readonly Block[], change: (text: string) => string,
): void {
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
  for (const program of chosen) {
    writeFileSync(join(folder, fileName(program)), change(program.text));
  }
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(ROOT, join(folder, 'node_modules/tsgiref'), 'junction');
  symlinkSync(join(ROOT, 'node_modules/@types'), join(folder, 'node_modules/@types'), 'junction');
}

/**
 * The programs that a reader has at this line: of each name, the last one above it; or
 * else the first one below it.
 */
export function programsAt(line: number): Block[] {
  const byName = new Map<string, Block>();
  for (const program of programs) {
    const name = fileName(program);
    if (program.line < line || !byName.has(name)) byName.set(name, program);
  }
  return [...byName.values()];
}

/** The lines from which on a program replaces an earlier one of its name. */
export const replacements: number[] = programs
  .filter((program, index) =>
    programs.slice(0, index).some((earlier) => fileName(earlier) === fileName(program)))
  .map(({ line }) => line);

/** Checks the types of the programs in `folder`, and compiles them into `folder/built`. */
export async function compilePrograms(folder: string): Promise<string> {
  const options = ['--noEmit', 'false', '--rewriteRelativeImportExtensions', '--outDir', 'built'];
  const args = [COMPILER, '--project', 'tsconfig.json', ...options];
  return (await run(args, { cwd: folder })).stdout;
}
