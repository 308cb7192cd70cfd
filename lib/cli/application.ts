// From FILE:NAME to a function: finds the file, loads it, and picks the export.

import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { describe } from '../describe.ts';
import type { WSGIApplication } from '../types.ts';
import { installHooks } from './hooks.ts';
import { Problem, nearest } from './problem.ts';
import { checkTypeScript, isTypeScript } from './typescript.ts';

const DEFAULT_NAMES = ['default', 'app', 'application', 'fetch'];

/** An application, and what the banner calls it. */
export interface Loaded {
  app: WSGIApplication;
  name: string;
}

/** Loads the application. Throws a Problem that says what was found and what was wanted. */
export async function loadApplication(target: string): Promise<Loaded> {
  const { file, name, factory } = splitTarget(target);
  checkFile(file);
  if (isTypeScript(file)) checkTypeScript(resolve(file));
  installHooks(resolve(file));
  const { value, found } = pick(await load(file), file, name);
  const made = factory ? await callFactory(value, file, found) : value;
  const what = factory ? `what ${found}() gives` : `'${found}'`;
  if (isApplication(made) && found !== 'fetch') return { app: made, name: target };
  const handler = fetchHandler(made, found);
  if (handler === undefined) throw new Problem(explainWrong(made, file, what));
  const { fromFetch } = await import('../fetch.ts');
  return { app: fromFetch(handler), name: `${target} (a fetch handler)` };
}

interface Target {
  file: string;
  name?: string;
  factory: boolean;
}

// `C:\app.ts` has a colon of its own, which no identifier follows.
function splitTarget(target: string): Target {
  const [, file, name, call] = /^(.+):(.*?)(\(\))?$/.exec(target) ?? [];
  const whole = { file: target, factory: false };
  if (file === undefined || name === undefined || existsSync(target)) return whole;
  const factory = call !== undefined;
  return existsSync(file) || /^[A-Za-z_$][\w$]*$/.test(name) ? { file, name, factory } : whole;
}

async function callFactory(value: unknown, file: string, found: string): Promise<unknown> {
  if (!isApplication(value)) {
    throw new Problem(`${file} exports ${describe(value)} as '${found}', which cannot be called`);
  }
  const make = value as unknown as () => unknown;
  return make();
}

type FetchHandler = (request: Request) => Response | Promise<Response>;

// What frameworks for fetch export: an object with the method, or the function.
function fetchHandler(value: unknown, found: string): FetchHandler | undefined {
  if (found === 'fetch' && typeof value === 'function') return value as FetchHandler;
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null)
    return undefined;
  const fetch: unknown = Reflect.get(value, 'fetch');
  return typeof fetch === 'function' ? (request) => fetch.call(value, request) : undefined;
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
    return await Promise.race([import(pathToFileURL(resolve(file)).href), stuck(file)]);
  } catch (error) {
    // Only read where it is needed: every start would wait for it.
    const { explainLoading } = await import('./loading.ts');
    throw explainLoading(error, file);
  }
}

// Nothing is left to happen, and the module is still not there.
function stuck(file: string): Promise<never> {
  const problem = new Problem(`${file} awaits something, at its top level, that never comes`);
  return new Promise((_, reject) => process.once('beforeExit', () => reject(problem)));
}

function pick(
  exports: Record<string, unknown>,
  file: string,
  name: string | undefined,
): { value: unknown; found: string } {
  const wanted = name === undefined ? DEFAULT_NAMES : [name];
  const present = wanted.filter((each) => exports[each] !== undefined);
  const found = present.find((each) => typeof exports[each] === 'function') ?? present[0];
  if (found === undefined) throw new Problem(explainMissing(Object.keys(exports), file, name));
  return { value: exports[found], found };
}

function explainWrong(value: unknown, file: string, what: string): string {
  const found = typeof value === 'function' ? `the class ${value.name}` : describe(value);
  return (
    `${file} exports ${found} as ${what}; ` +
    'an application is a function (environ, startResponse)'
  );
}

// Unlike Python: a class cannot be called.
function isApplication(value: unknown): value is WSGIApplication {
  return typeof value === 'function' && !/^class\b/.test(Function.prototype.toString.call(value));
}

function explainMissing(found: string[], file: string, name: string | undefined): string {
  const seen = found.length === 0 ? 'nothing' : found.map((each) => `'${each}'`).join(', ');
  if (name !== undefined) {
    const meant = nearest(name, found);
    const advice = meant ? `: did you mean '${meant}'?` : '';
    return `${file} does not export '${name}'; it exports ${seen}${advice}`;
  }
  const other = found.length > 0 ? `, or name one: tsgiref ${file}:${found[0]}` : '';
  return (
    `${file} exports ${seen}; wanted is a 'default', an 'app' or an 'application':\n` +
    `write \`export default app\`${other}`
  );
}
