// Module hooks for a Node that runs them in a thread of their own: before 22.15,
// where files must be built to run at all.

import type { LoadHook, ResolveHook } from 'node:module';

import { findElsewhere, replaceFound } from './resolving.ts';
import { compile, needsCompiler } from './typescript.ts';

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  try {
    const found = await nextResolve(specifier, context);
    return { ...found, url: replaceFound(specifier, found.url) };
  } catch (error) {
    const url = findElsewhere(specifier, context.parentURL);
    if (url === undefined) throw error;
    return { url, shortCircuit: true };
  }
};

export const load: LoadHook = async (url, context, nextLoad) => {
  if (!needsCompiler(url)) return nextLoad(url, context);
  return { ...compile(url), shortCircuit: true };
};
