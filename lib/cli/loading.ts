// From FILE:NAME to an application: finds the file, loads it, and picks the export.
// Nothing else in the command loads code of the application's.

import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { describe } from '../describe.ts';
import type { FetchTarget } from '../fetch.ts';
import { isApplication } from '../handlers/base.ts';
import type { WSGIApplication } from '../types.ts';
import { installHooks } from './loading/hooks.ts';
import { Problem, nearest } from './problem.ts';

const DEFAULT_NAMES = ['default', 'app', 'application', 'fetch'];

/** An application, and its name in the banner. */
export interface Loaded {
  app: WSGIApplication;
  name: string;
}

/**
 * Loads the application that `target` names: FILE, FILE:NAME or FILE:FACTORY().
 *
 * @param onLoad - Called with the URL of each file that is loaded, then and later.
 * @throws Problem that says what was found and what was expected.
 */
export async function loadApplication(
  target: string,
  onLoad: (url: string) => void = () => {},
): Promise<Loaded> {
  const { file, name, factory } = splitTarget(target);
  checkFile(file);
  installHooks(resolve(file), onLoad);
  // The loader names each file by its real path; a link to it may be changed, too.
  onLoad(pathToFileURL(resolve(file)).href);
  const { value, found } = pick(await load(file), file, name);
  const made = factory ? await callFactory(value, file, found) : value;
  const what = factory ? `the result of ${found}()` : `'${found}'`;
  if (isApplication(made) && found !== 'fetch' && !isServerOfItsOwn(made)) {
    return { app: made, name: target };
  }
  const fetches = fetchTarget(made, found);
  if (fetches === undefined) throw new Problem(explainWrong(made, file, what));
  const { fromFetch } = await import('../fetch.ts');
  return { app: fromFetch(fetches), name: `${target} (a fetch handler)` };
}

/**
 * Loads the function that `target` names, FILE or FILE:NAME.
 *
 * @param usual - The name of the export if `target` gives none.
 * @throws Problem if there is no such function.
 */
export async function loadFunction(
  target: string,
  usual: string,
): Promise<(...args: never[]) => unknown> {
  const { file, name = usual } = splitTarget(target);
  checkFile(file);
  installHooks(resolve(file), () => {});
  const { value, found } = pick(await load(file), file, name);
  if (typeof value === 'function') return value as () => unknown;
  throw new Problem(`${file} exports ${describe(value)} as '${found}'; expected a function`);
}

const USUAL_FILES = ['app.ts', 'app.js', 'index.ts'];

/** Loads the application of this folder, by the usual names of files, or else the demo. */
export async function loadDefault(demo: boolean, onLoad?: (url: string) => void): Promise<Loaded> {
  const file = demo ? undefined : USUAL_FILES.find((each) => existsSync(each));
  if (file !== undefined) return loadApplication(file, onLoad);
  const { demoApp } = await import('../simple-server.ts');
  return { app: demoApp, name: 'the demo application' };
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

const KINDS = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts'];

function checkFile(file: string): void {
  if (!existsSync(file)) {
    const meant = fileLike(resolve(file));
    throw new Problem(`there is no file ${file}${meant ? `; did you mean ${meant}?` : ''}`);
  }
  if (statSync(file).isDirectory()) {
    throw new Problem(`${file} is a folder; name the file in it that exports the application`);
  }
  const kind = extname(file);
  if (kind !== '' && !KINDS.includes(kind)) {
    const list = `${KINDS.slice(0, -1).join(', ')} and ${KINDS.at(-1)}`;
    throw new Problem(`${file} is not JavaScript or TypeScript by its name: ${list} are`);
  }
}

/**
 * The name of a file in the same folder that may have been meant by this path.
 *
 * @param importer - The path of the file that names it, which does not mean itself.
 */
export function fileLike(path: string, importer?: string): string | undefined {
  const folder = dirname(path);
  // A link that leads nowhere has a name, and is not a file.
  const names = readNames(folder).filter((name) => {
    return existsSync(join(folder, name)) && join(folder, name) !== importer;
  });
  const stem = basename(path).replace(/\.\w+$/, '');
  const sameStem = names.find(
    (name) => name !== stem && name.replace(/\.[mc]?[jt]s$/, '') === stem,
  );
  return sameStem ?? nearest(basename(path), names);
}

// The path may lead through a file, as `app.ts/part.ts` does.
function readNames(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

const PATIENCE_MS = 5000;

async function load(file: string): Promise<Record<string, unknown>> {
  const url = pathToFileURL(resolve(file)).href;
  return patiently(() => import(url), file, 'at its top level');
}

/**
 * Runs code of the application that makes it, and says so if that takes long.
 *
 * @throws Problem if the code throws, or waits for what never comes.
 */
async function patiently<Result>(
  work: () => Promise<Result>,
  file: string,
  where: string,
): Promise<Result> {
  const slow = setTimeout(() => {
    process.stderr.write(
      `${file} is still loading after ${PATIENCE_MS / 1000} seconds: ` +
        `it awaits something ${where}, or it has much to load\n`,
    );
  }, PATIENCE_MS);
  // It must not be the timer that keeps the process alive.
  slow.unref();
  try {
    return await unlessStuck(work(), `${file} awaits something, ${where}, that never comes`);
  } catch (error) {
    if (error instanceof Problem) throw error;
    // Only read where it is needed: every start would wait for it.
    const { explainLoading } = await import('./loading/explain.ts');
    throw explainLoading(error, file);
  } finally {
    clearTimeout(slow);
  }
}

/**
 * The result of `promise`.
 *
 * @throws Problem with this message if nothing is left that could settle the promise.
 */
export async function unlessStuck<Result>(
  promise: Promise<Result>,
  message: string,
): Promise<Result> {
  let report: () => void = () => {};
  const never = new Promise<never>((_, reject) => {
    report = () => reject(new Problem(message));
    process.once('beforeExit', report);
  });
  try {
    return await Promise.race([promise, never]);
  } finally {
    process.off('beforeExit', report);
  }
}

function pick(
  module: Record<string, unknown>,
  file: string,
  name: string | undefined,
): { value: unknown; found: string } {
  const exports = flatten(module);
  const wanted = name === undefined ? DEFAULT_NAMES : [name];
  const present = wanted.filter((each) => exports[each] !== undefined);
  const found = present.find((each) => typeof exports[each] === 'function') ?? present[0];
  if (found === undefined) throw new Problem(explainMissing(Object.keys(exports), file, name));
  return { value: exports[found], found };
}

// `module.exports = { app }` arrives as a default that holds the exports.
function flatten(module: Record<string, unknown>): Record<string, unknown> {
  const { default: exported, 'module.exports': marker, ...named } = module;
  if (!isPlainObject(exported) || 'fetch' in exported) {
    return exported === undefined ? named : { ...named, default: exported };
  }
  const names = Object.keys(named);
  const isCommonJs =
    marker !== undefined ||
    (names.length > 0 && names.every((name) => exported[name] === named[name]));
  const isEmpty = Object.keys(exported).length === 0;
  const hasKnownName = DEFAULT_NAMES.some((each) => each in exported);
  const isList = isCommonJs || isEmpty || hasKnownName;
  return isList ? { ...exported, ...named } : { ...named, default: exported };
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return Object.prototype.toString.call(value) === '[object Object]';
}

async function callFactory(value: unknown, file: string, found: string): Promise<unknown> {
  if (!isApplication(value)) {
    throw new Problem(`${file} exports ${describe(value)} as '${found}', which cannot be called`);
  }
  const make = value as unknown as () => unknown;
  try {
    return await patiently(async () => make(), file, `in ${found}()`);
  } catch (error) {
    // The error of an application that was called without its arguments says nothing of that.
    if (error instanceof Problem && make.length === 2) {
      error.message +=
        `\n${found} takes two arguments, as an application does, and a factory takes none; ` +
        `to serve ${found} itself, write ${file}:${found}`;
    }
    throw error;
  }
}

// Frameworks for fetch export the function, or an object with it, which may be a function.
function fetchTarget(value: unknown, found: string): FetchTarget | undefined {
  if (found === 'fetch' && typeof value === 'function') return value as FetchTarget;
  const fetch: unknown = Reflect.get(Object(value), 'fetch');
  if (typeof fetch !== 'function') return undefined;
  if (typeof value === 'object') return value as FetchTarget;
  return { fetch: (request) => fetch.call(value, request) };
}

// Express, Koa, Fastify and Node's own servers listen by themselves.
function isServerOfItsOwn(value: unknown): boolean {
  return typeof Reflect.get(Object(value), 'listen') === 'function';
}

function explainWrong(value: unknown, file: string, what: string): string {
  if (isServerOfItsOwn(value)) {
    return (
      `${file} exports, as ${what}, an application for Node's own interface ` +
      '(request, response), as Express makes them; it serves itself with listen().\n' +
      "To use an application for tsgiref in it, write: app.use('/path', toNodeListener(wsgiApp))"
    );
  }
  const found = typeof value === 'function' ? `the class ${value.name}` : describe(value);
  return (
    `${file} exports ${found} as ${what}; ` +
    'an application is a function (environ, startResponse)'
  );
}

function explainMissing(found: string[], file: string, name: string | undefined): string {
  const seen = found.length === 0 ? 'nothing' : found.map((each) => `'${each}'`).join(', ');
  if (name !== undefined) {
    const meant = nearest(name, found);
    const advice = meant ? `: did you mean '${meant}'?` : '';
    return `${file} does not export '${name}'; it exports ${seen}${advice}`;
  }
  const other = found.length > 0 ? `, or name one: tsgiref ${file}:${found[0]}` : '';
  const example = /\.c[jt]s$/.test(file) ? 'module.exports = app' : 'export default app';
  return (
    `${file} exports ${seen}; wanted is a 'default', an 'app' or an 'application':\n` +
    `write \`${example}\`${other}`
  );
}
