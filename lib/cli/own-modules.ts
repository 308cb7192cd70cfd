// `import … from 'tsgiref'` in an application finds this very copy, also where
// nothing is installed beside the application, as under `npx` in an empty folder.

/** The modules that the package exports, by the name after `tsgiref/`. */
export const PUBLIC_MODULES: readonly string[] = [
  'types',
  'headers',
  'util',
  'io',
  'handlers',
  'simple-server',
];

/** The URL of our own module of that name; undefined for any other specifier. */
export function ownModule(specifier: string): string | undefined {
  const [name, module = 'index', ...more] = specifier.split('/');
  if (name !== 'tsgiref' || more.length > 0) return undefined;
  if (module !== 'index' && !PUBLIC_MODULES.includes(module)) return undefined;
  // This file's own ending tells whether the source or the built files run.
  const ending = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  return new URL(`../${module}${ending}`, import.meta.url).href;
}
