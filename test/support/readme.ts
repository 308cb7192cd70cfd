// The README taken apart: its programs, its sessions in a terminal, and its other blocks.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { ROOT } from './command.ts';

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
export const blocks: Block[] = [...readme.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({
  language: match[1] ?? '',
  text: match[2] ?? '',
  line: readme.slice(0, match.index).split('\n').length,
  above: readme.slice(0, match.index).trimEnd().split('\n').at(-1) ?? '',
}));

/** The blocks that are files of their own. */
export const programs: Block[] = blocks.filter(({ language }) => language === 'ts' || language === 'js');

/** The name that a program gives itself in its first line, or `''`. */
export const fileName = (program: Block): string => /^\/\/ (\S+\.c?[tj]s)\n/.exec(program.text)?.[1] ?? '';

// What the README's `tsc --init` makes, without its comments.
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

/** Stores every program in `folder`, changed by `change`, as a reader would. */
export function writePrograms(folder: string, change: (text: string) => string): void {
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
  for (const program of programs) writeFileSync(join(folder, fileName(program)), change(program.text));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(ROOT, join(folder, 'node_modules/tsgiref'), 'junction');
  symlinkSync(join(ROOT, 'node_modules/@types'), join(folder, 'node_modules/@types'), 'junction');
}

/** Checks the types of the programs in `folder`, and compiles them into `folder/built`. */
export function compilePrograms(folder: string): string {
  const options = ['--noEmit', 'false', '--rewriteRelativeImportExtensions', '--outDir', 'built'];
  const args = [COMPILER, '--project', 'tsconfig.json', ...options];
  return spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' }).stdout;
}
