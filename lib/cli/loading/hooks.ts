// Teaches Node's module loader two things for the application's sake: where 'tsgiref'
// is, and how to load TypeScript that Node cannot load by itself.
//
// Node 22.15 and later run hooks in this thread, for `import` and `require` alike.
// Older ones load this file a second time, in a thread of its own, and take its
// exports `resolve` and `load`.

import * as module from 'node:module';
import type { LoadHook, ResolveHook } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { findElsewhere, replaceFound } from './resolve.ts';
import { isTypeScript, toJavaScript } from './typescript.ts';

/** Called with the URL of each file that is loaded, where hooks run in this thread. */
type OnLoad = (url: string) => void;

// What `module.registerHooks` takes, which Node 20 does not have yet.
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
  } else if (isTypeScript(file) || !isInstalledBeside(file)) {
    areInstalled = true;
    // Starting a thread takes as long as everything else.
    module.register(import.meta.url);
    process.setSourceMapsEnabled(true);
    requireOwnModules();
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
    const compiled = wantsTypesAway(url) ? toJavaScript(url) : undefined;
    return compiled === undefined ? next(url, context) : { ...compiled, shortCircuit: true };
  };
}

// A package's own TypeScript is Node's to refuse.
function wantsTypesAway(url: string): boolean {
  return url.startsWith('file:') && isTypeScript(url) && !url.includes('/node_modules/');
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
  const compiled = wantsTypesAway(url) ? toJavaScript(url) : undefined;
  return compiled === undefined ? next(url, context) : { ...compiled, shortCircuit: true };
};

// The thread's hooks do not see `require('tsgiref')` in a CommonJS file.
function requireOwnModules(): void {
  interface Resolver {
    _resolveFilename(specifier: string, ...more: unknown[]): string;
  }
  const resolver = module.Module as unknown as Resolver;
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

function isInstalledBeside(file: string): boolean {
  try {
    module.createRequire(pathToFileURL(file)).resolve('tsgiref/package.json');
    return true;
  } catch {
    return false;
  }
}

