// Adds two steps to Node's module loader: it finds 'tsgiref', and it compiles TypeScript
// that Node cannot load.
//
// Node 22.23, 24.12 and later run hooks in this thread, for `import` and `require` alike.
// Older ones load this file a second time, in a thread of its own, and take its
// exports `initialize`, `resolve` and `load`.
//
// All of them load CommonJS as require() does, even where a module imports it. Node's
// other way, by the source that a hook returns, does not see the hooks in some versions,
// and cannot require a module such as 'tsgiref' in others.

import { readFileSync } from 'node:fs';
import * as module from 'node:module';
import type { LoadFnOutput, LoadHook, ResolveHook } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MessageChannel, type MessagePort } from 'node:worker_threads';

import { findCompiler } from './compiler.ts';
import { findElsewhere, replaceFound } from './resolve.ts';
import { isTypeScript, toJavaScript } from './typescript.ts';

/** Called with the URL of each file that is loaded. */
type OnLoad = (url: string) => void;

// The arguments of `module.registerHooks`, which Node 20 does not have yet.
type Next<Context, Result> = (name: string, context: Context) => Result;
interface Found {
  url: string;
  shortCircuit?: boolean;
}
interface Source {
  format: string | null | undefined;
  source?: unknown;
  shortCircuit?: boolean | undefined;
}
interface ResolveContext {
  parentURL?: string;
}
interface LoadContext {
  conditions: readonly string[];
}
type RegisterHooks = (hooks: { resolve: unknown; load: unknown }) => void;

let areInstalled = false;

/** Installs the hooks for the application in `file`: later imports pass through them. */
export function installHooks(file: string, onLoad: OnLoad): void {
  // A process has one application, or is a test, which has no use for `onLoad`.
  if (areInstalled) return;
  areInstalled = true;
  compileRequired();
  if (hooksRunHere()) {
    const registerHooks = Reflect.get(module, 'registerHooks') as RegisterHooks;
    registerHooks({ resolve: resolveNow, load: loadWith(onLoad) });
  } else if (isTypeScript(file) || !isInstalledBeside(file) || importsTypeScript(file)) {
    const { port1, port2 } = new MessageChannel();
    port1.on('message', onLoad).unref();
    // Starting a thread takes as long as everything else.
    module.register(import.meta.url, { data: port2, transferList: [port2] });
    process.setSourceMapsEnabled(true);
    requireOwnModules();
  }
}

// The first versions that let such a hook leave the source of CommonJS to require().
const FIRST_MINOR: Record<number, number> = { 22: 23, 24: 12 };

function hooksRunHere(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major >= 26 || minor >= (FIRST_MINOR[major] ?? Infinity);
}

// An application in JavaScript may import TypeScript. Only its own file is looked at: to start
// the thread for every application would cost more than it helps.
function importsTypeScript(file: string): boolean {
  const names = /\.[cm]?ts['"`]/.test(readFileSync(file, 'utf8'));
  return names && typeof findCompiler(file) !== 'string';
}

function resolveNow(
  specifier: string,
  context: ResolveContext,
  next: Next<ResolveContext, Found>,
): Found {
  try {
    const found = next(specifier, context);
    return { ...found, url: replaceFound(specifier, found.url) };
  } catch (error) {
    const url = findElsewhere(specifier, context.parentURL);
    if (url === undefined) throw error;
    return { url, shortCircuit: true };
  }
}

function loadWith(onLoad: OnLoad) {
  return (url: string, context: LoadContext, next: Next<LoadContext, Source>): Source => {
    onLoad(url);
    const loaded = compile(url) ?? next(url, context);
    // require() asks, too, and takes no answer without a source.
    return context.conditions.includes('import') ? leaveCommonJs(loaded) : loaded;
  };
}

function compile(url: string): Source | undefined {
  const compiled = toJavaScript(url);
  return compiled && { ...compiled, shortCircuit: true };
}

// Without a source, Node loads CommonJS as require() does; see compileRequired().
function leaveCommonJs(loaded: Source): Source {
  if (!loaded.format?.startsWith('commonjs')) return loaded;
  return { ...loaded, format: 'commonjs', source: null };
}

let report: OnLoad = () => {};

/** Called in the thread, with the other end of the channel. */
export function initialize(port: MessagePort): void {
  report = (url) => port.postMessage(url);
}

/** The same for a Node that runs hooks in a thread. */
export const resolve: ResolveHook = async (specifier, context, next) => {
  try {
    const found = await next(specifier, context);
    return { ...found, url: replaceFound(specifier, found.url) };
  } catch (error) {
    const url = findElsewhere(specifier, context.parentURL);
    if (url === undefined) throw error;
    return { url, shortCircuit: true };
  }
};

/** The same for a Node that runs hooks in a thread. */
export const load: LoadHook = async (url, context, next) => {
  report(url);
  return leaveCommonJs(compile(url) ?? (await next(url, context))) as LoadFnOutput;
};

// The thread's hooks do not see `require('tsgiref')` in a CommonJS file.
function requireOwnModules(): void {
  const resolver = module.Module as unknown as Loader;
  const resolveFilename = resolver._resolveFilename;
  resolver._resolveFilename = function (specifier, ...more) {
    try {
      return resolveFilename.call(this, specifier, ...more);
    } catch (error) {
      const url = specifier.startsWith('tsgiref') ? findElsewhere(specifier, undefined) : undefined;
      if (url === undefined) throw error;
      return resolveFilename.call(this, fileURLToPath(url), ...more);
    }
  };
}

// Node's own require(), whose parts have no public name, calls a function by the ending
// of a file.
interface Loader {
  _resolveFilename(specifier: string, ...more: unknown[]): string;
  _extensions: Record<string, ((loaded: Loaded, path: string) => void) | undefined>;
}
interface Loaded {
  _compile(source: string, path: string, format: string): void;
}

// A file in TypeScript that CommonJS requires, and which may itself require() others.
function compileRequired(): void {
  const { _extensions: extensions } = module.Module as unknown as Loader;
  for (const ending of ['.ts', '.cts', '.mts']) {
    const usual = extensions[ending] ?? extensions['.js'];
    extensions[ending] = (loaded, path) => {
      const compiled = toJavaScript(pathToFileURL(path).href);
      if (compiled === undefined) usual?.(loaded, path);
      else loaded._compile(compiled.source, path, compiled.format);
    };
  }
}

function isInstalledBeside(file: string): boolean {
  try {
    module.createRequire(pathToFileURL(file)).resolve('tsgiref/package.json');
    return true;
  } catch {
    return false;
  }
}

