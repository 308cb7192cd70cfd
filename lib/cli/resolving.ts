// Where an import of the application leads, in the two cases in which Node's own
// answer is not the last word. Shared by the hooks of both kinds.

import { existsSync } from 'node:fs';

import { OWN_FOLDER, PUBLIC_MODULES, namesUs, ownModule } from './own-modules.ts';
import { Problem, nearest } from './problem.ts';
import { isTypeScript } from './typescript.ts';

/**
 * The URL to load in place of `found`, which Node resolved. An import inside this
 * project finds `dist/`, even while it is the source that runs.
 */
export function replaceFound(specifier: string, found: string): string {
  if (!namesUs(specifier) || !found.startsWith(OWN_FOLDER)) return found;
  return ownModule(specifier) ?? found;
}

/**
 * The URL that `specifier` stands for, where Node found nothing; undefined if there
 * is none. Throws a Problem for a module of ours that does not exist.
 */
export function findElsewhere(specifier: string, importer: string | undefined): string | undefined {
  const ours = ownModule(specifier);
  if (ours !== undefined) return ours;
  if (namesUs(specifier)) throw new Problem(explainNoSuchModule(specifier));
  return sourceOf(specifier, importer);
}

// In a project that is compiled, './part.js' is how TypeScript names part.ts.
function sourceOf(specifier: string, importer: string | undefined): string | undefined {
  if (importer === undefined || !isTypeScript(importer)) return undefined;
  if (!/^\.{1,2}\/.*\.[mc]?js$/.test(specifier)) return undefined;
  const source = new URL(specifier.replace(/js$/, 'ts'), importer);
  return existsSync(source) ? source.href : undefined;
}

function explainNoSuchModule(specifier: string): string {
  const meant = nearest(
    specifier,
    PUBLIC_MODULES.map((name) => `tsgiref/${name}`),
  );
  return (
    `tsgiref has no module '${specifier}'; ` +
    (meant ? `did you mean '${meant}'?` : `it has ${PUBLIC_MODULES.join(', ')}`)
  );
}
