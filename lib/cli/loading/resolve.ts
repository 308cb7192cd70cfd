// Where an import of the application leads, in the cases that Node alone decides
// otherwise.
//
// `import … from 'tsgiref'` finds this very copy, even where nothing is installed
// beside the application, as under `npx` in an empty folder. One copy also means one
// class `Headers`, so that `instanceof` holds.

import { existsSync } from 'node:fs';

import { Problem, nearest } from '../problem.ts';
import { isTypeScript } from './typescript.ts';

/** The modules that the package exports, by the name after `tsgiref/`. */
export const PUBLIC_MODULES: readonly string[] = [
  'types',
  'headers',
  'util',
  'io',
  'handlers',
  'simple-server',
  'validate',
  'fetch',
  'gateway',
  'node',
  'testing',
  'trace',
  'error-page',
  'check',
];

// The ending of this file says whether the source or the built files run, which lie
// at different depths below package.json.
const BUILT = !import.meta.url.endsWith('.ts');

/** The URL of the folder that holds our package.json. */
const OWN_FOLDER = new URL(BUILT ? '../../../../' : '../../../', import.meta.url)
  .href;

/**
 * The URL to load in place of `found`, which Node resolved. An import inside this
 * project finds `dist/`, even while it is the source that runs.
 */
export function replaceFound(specifier: string, found: string): string {
  if (!namesUs(specifier) || !found.startsWith(OWN_FOLDER)) return found;
  return ownModule(specifier) ?? found;
}

/**
 * The URL to load for a specifier that Node could not resolve; undefined if there is
 * none.
 *
 * @throws Problem for a module of ours that does not exist.
 */
export function findElsewhere(specifier: string, importer: string | undefined): string | undefined {
  const ours = ownModule(specifier);
  if (ours !== undefined) return ours;
  if (namesUs(specifier)) throw new Problem(explainNoSuchModule(specifier));
  return sourceOf(specifier, importer);
}

function namesUs(specifier: string): boolean {
  return specifier === 'tsgiref' || specifier.startsWith('tsgiref/');
}

function ownModule(specifier: string): string | undefined {
  const [name, module = 'index', ...more] = specifier.split('/');
  if (name !== 'tsgiref' || more.length > 0) return undefined;
  if (module !== 'index' && !PUBLIC_MODULES.includes(module)) return undefined;
  return new URL(`../../${module}${BUILT ? '.js' : '.ts'}`, import.meta.url).href;
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
