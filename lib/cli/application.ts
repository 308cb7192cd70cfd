// From FILE:NAME to a function: finds the file, loads it, and picks the export.

import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { describe } from '../describe.ts';
import type { WSGIApplication } from '../types.ts';
import { installHooks } from './hooks.ts';
import { explainLoading } from './loading.ts';
import { Problem, nearest } from './problem.ts';
import { checkTypeScript, isTypeScript } from './typescript.ts';

const DEFAULT_NAMES = ['default', 'app', 'application'];

/** Loads the application. Throws a Problem that says what was found and what was wanted. */
export async function loadApplication(target: string): Promise<WSGIApplication> {
  const { file, name } = splitTarget(target);
  checkFile(file);
  if (isTypeScript(file)) checkTypeScript(resolve(file));
  installHooks();
  return pick(await load(file), file, name);
}

// A Windows path has a colon of its own, which no identifier follows.
function splitTarget(target: string): { file: string; name?: string } {
  const [, file, name] = /^(.+):([A-Za-z_$][\w$]*)$/.exec(target) ?? [];
  if (file === undefined || name === undefined || existsSync(target)) return { file: target };
  return { file, name };
}

function checkFile(file: string): void {
  if (!existsSync(file)) {
    const meant = nearest(basename(file), filesBeside(file));
    throw new Problem(`there is no file ${file}${meant ? `; did you mean ${meant}?` : ''}`);
  }
  if (statSync(file).isDirectory()) {
    throw new Problem(`${file} is a folder; name the file in it that exports the application`);
  }
}

function filesBeside(file: string): string[] {
  try {
    return readdirSync(dirname(file));
  } catch {
    return [];
  }
}

async function load(file: string): Promise<Record<string, unknown>> {
  try {
    return await import(pathToFileURL(resolve(file)).href);
  } catch (error) {
    throw explainLoading(error, file);
  }
}

function pick(
  exports: Record<string, unknown>,
  file: string,
  name: string | undefined,
): WSGIApplication {
  const wanted = name === undefined ? DEFAULT_NAMES : [name];
  const found = wanted.find((each) => exports[each] !== undefined);
  if (found === undefined) throw new Problem(explainMissing(Object.keys(exports), file, name));

  const value = exports[found];
  if (typeof value === 'function') return value as WSGIApplication;
  throw new Problem(
    `${file} exports ${describe(value)} as '${found}'; ` +
      'an application is a function (environ, startResponse)',
  );
}

function explainMissing(found: string[], file: string, name: string | undefined): string {
  const seen = found.length === 0 ? 'nothing' : found.map((each) => `'${each}'`).join(', ');
  if (name !== undefined) {
    const meant = nearest(name, found);
    const advice = meant === undefined ? '' : `: did you mean '${meant}'?`;
    return `${file} does not export '${name}'; it exports ${seen}${advice}`;
  }
  const other = found.length > 0 ? `, or name one: tsgiref ${file}:${found[0]}` : '';
  return (
    `${file} exports ${seen}; wanted is a 'default', an 'app' or an 'application':\n` +
    `write \`export default app\`${other}`
  );
}
