// Where a syntax error is, for modules: Node tells that only when the error ends
// the process. So each file is looked at again, by a Node that does not run it.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

import type { Place } from './place.ts';
import { isTypeScript } from './typescript.ts';

// Whoever imports more files than this still gets the message, without the line.
const MOST_FILES = 50;

/** The first syntax error in the JavaScript at `path` or in the files that it imports. */
export function findSyntaxError(path: string): Place | undefined {
  const seen = new Set([path]);
  for (const file of seen) {
    if (seen.size > MOST_FILES) return undefined;
    if (!/\.m?[jt]s$/.test(file) || !existsSync(file)) continue;
    const text = readFileSync(file, 'utf8');
    const line = checkModule(isTypeScript(file) ? stripTypes(text) : text);
    if (line !== undefined) return { path: file, line };
    for (const specifier of relativeImports(text)) seen.add(resolve(dirname(file), specifier));
  }
  return undefined;
}

function checkModule(text: string): number | undefined {
  const { stderr } = runNode(['--check', '--input-type=module', '-'], text);
  const [, line] = /^\s*\[stdin\]:(\d+)\n/.exec(stderr) ?? [];
  return line === undefined ? undefined : Number(line);
}

// The types become blanks, so that lines stay where they are. In another process,
// since the function may still warn that it is new.
const STRIP = `
const { stripTypeScriptTypes } = require('node:module');
process.stdout.write(stripTypeScriptTypes(require('node:fs').readFileSync(0, 'utf8')));
`;

function stripTypes(text: string): string {
  return runNode(['--no-warnings', '--eval', STRIP], text).stdout;
}

function runNode(args: string[], input: string): { stdout: string; stderr: string } {
  return spawnSync(process.execPath, args, { encoding: 'utf8', input });
}

function relativeImports(text: string): string[] {
  const found = text.matchAll(/\b(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g);
  return [...found].map(([, specifier = '']) => specifier);
}
