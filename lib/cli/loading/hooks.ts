// Adds two steps to Node's module loader: it finds 'tsgiref', and it compiles TypeScript
// that Node cannot load.
//
// Node 22.15 and later run hooks in this thread, for `import` and `require` alike.
// Older ones load this file a second time, in a thread of its own, and take its
// exports `resolve` and `load`.

import * as module from 'node:module';
import type { LoadFnOutput, LoadHook, ResolveHook } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { findElsewhere, replaceFound } from './resolve.ts';
import { isTypeScript, toJavaScript } from './typescript.ts';

/** Called with the URL of each file that is loaded, where hooks run in this thread. */
type OnLoad = (url: string) => void;

// The arguments of `module.registerHooks`, which Node 20 does not have yet.
type Next<Context, Result> = (name: string, context: Context) => Result;
interface Found {
  url: string;
  shortCircuit?: boolean;
}
interface Source {
  format: string;
  source?: unknown;
  shortCircuit?: boolean;
}
interface ResolveContext {
  parentURL?: string;
}

let areInstalled = false;

/** Installs the hooks for the application in `file`: later imports pass through them. */
export function installHooks(file: string, onLoad: OnLoad): void {
  // A process has one application, or is a test, which has no use for `onLoad`.
  if (areInstalled) return;
  const registerHooks: unknown = Reflect.get(module, 'registerHooks');
  if (typeof registerHooks === 'function') {
    areInstalled = true;
    registerHooks({ resolve: resolveNow, load: loadWith(onLoad) });
    compileRequired();
  } else if (isTypeScript(file) || !isInstalledBeside(file)) {
    areInstalled = true;
    // Starting a thread takes as long as everything else.
    module.register(import.meta.url);
    process.setSourceMapsEnabled(true);
    requireOwnModules();
    compileRequired();
  }
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
  return (url: string, context: unknown, next: Next<unknown, Source>): Source => {
    onLoad(url);
    return compile(url) ?? next(url, context);
  };
}

function compile(url: string): Source | undefined {
  const compiled = toJavaScript(url);
  if (compiled === undefined) return undefined;
  // Without a source, Node loads CommonJS as require() does; see compileRequired().
  const isCommonJs = compiled.format === 'commonjs';
  return { ...compiled, ...(isCommonJs && { source: null }), shortCircuit: true };
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
  return (compile(url) as LoadFnOutput | undefined) ?? next(url, context);
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
  _compile(source: string, path: string): void;
}

// A CommonJS file in TypeScript, which may itself require() others and 'tsgiref'.
function compileRequired(): void {
  const { _extensions: extensions } = module.Module as unknown as Loader;
  for (const ending of ['.ts', '.cts']) {
    const usual = extensions[ending] ?? extensions['.js'];
    extensions[ending] = (loaded, path) => {
      const url = pathToFileURL(path).href;
      const compiled = toJavaScript(url);
      if (compiled?.format === 'commonjs') loaded._compile(compiled.source, path);
      else usual?.(loaded, path);
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

