// Teaches Node's module loader two things for the application's sake: where
// 'tsgiref' is, and how to load TypeScript if it does not know that itself.

import * as module from 'node:module';

import { ownModule } from './own-modules.ts';
import { nodeStripsTypes } from './typescript.ts';

interface Resolved {
  url: string;
  shortCircuit?: boolean;
}

type Resolve = (
  specifier: string,
  context: object,
  next: (specifier: string, context: object) => Resolved,
) => Resolved;

/** Installs the hooks; modules imported from now on are loaded through them. */
export function installHooks(): void {
  const registerHooks: unknown = Reflect.get(module, 'registerHooks');
  if (nodeStripsTypes() && typeof registerHooks === 'function') {
    // In this thread: a second one takes as long to start as all the rest.
    registerHooks({ resolve });
    return;
  }
  const ending = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  module.register(new URL(`./hooks-thread${ending}`, import.meta.url));
  // What was compiled must show its own lines in a trace.
  process.setSourceMapsEnabled(true);
}

const resolve: Resolve = (specifier, context, next) => {
  try {
    return next(specifier, context);
  } catch (error) {
    const url = ownModule(specifier);
    if (url === undefined) throw error;
    return { url, shortCircuit: true };
  }
};
