// Module hooks for a Node that runs them in a thread of their own. (Before 22.15)

import type { LoadHook, ResolveHook } from 'node:module';

import { ownModule } from './own-modules.ts';
import { compile, isTypeScript, nodeStripsTypes } from './typescript.ts';

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  try {
    return await nextResolve(specifier, context);
  } catch (error) {
    const url = ownModule(specifier);
    if (url === undefined) throw error;
    return { url, shortCircuit: true };
  }
};

export const load: LoadHook = async (url, context, nextLoad) => {
  if (!isTypeScript(url) || nodeStripsTypes()) return nextLoad(url, context);
  return { ...compile(url), shortCircuit: true };
};
