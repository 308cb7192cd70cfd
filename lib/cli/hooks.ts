// Teaches Node's module loader two things for the application's sake: where
// 'tsgiref' is, and how to load TypeScript that Node cannot load by itself.

import * as module from 'node:module';
import { pathToFileURL } from 'node:url';

import { findElsewhere, replaceFound } from './resolving.ts';
import { compile, isModule, isTypeScript, needsCompiler } from './typescript.ts';

// What `module.registerHooks` takes, which Node 20 does not have yet.
interface Resolved {
  url: string;
  shortCircuit?: boolean;
}

interface Loaded {
  format: string;
  source?: unknown;
  shortCircuit?: boolean;
}

interface SynchronousHooks {
  resolve<Context extends { parentURL?: string }>(
    specifier: string,
    context: Context,
    next: (specifier: string, context: Context) => Resolved,
  ): Resolved;
  load<Context extends { format?: string | null }>(
    url: string,
    context: Context,
    next: (url: string, context: Context) => Loaded,
  ): Loaded;
}

/** Installs the hooks: modules imported from now on, for the sake of `file`, pass through them. */
export function installHooks(file: string): void {
  const registerHooks: unknown = Reflect.get(module, 'registerHooks');
  if (typeof registerHooks === 'function') {
    registerHooks(hooks);
  } else if (isTypeScript(file) || !isInstalledBeside(file)) {
    // A thread of its own, which takes as long to start as all the rest.
    module.register(new URL('./hooks-thread.js', import.meta.url));
    process.setSourceMapsEnabled(true);
  }
}

const hooks: SynchronousHooks = {
  resolve(specifier, context, next) {
    try {
      const found = next(specifier, context);
      return { ...found, url: replaceFound(specifier, found.url) };
    } catch (error) {
      const url = findElsewhere(specifier, context.parentURL);
      if (url === undefined) throw error;
      return { url, shortCircuit: true };
    }
  },

  load(url, context, next) {
    if (!url.startsWith('file:') || !isTypeScript(url)) return next(url, context);
    if (!needsCompiler(url)) {
      return next(url, isModule(url) ? { ...context, format: 'module-typescript' } : context);
    }
    // What was compiled must show its own lines in a trace.
    process.setSourceMapsEnabled(true);
    return { ...compile(url), shortCircuit: true };
  },
};

function isInstalledBeside(file: string): boolean {
  try {
    module.createRequire(pathToFileURL(file)).resolve('tsgiref/package.json');
    return true;
  } catch {
    return false;
  }
}
