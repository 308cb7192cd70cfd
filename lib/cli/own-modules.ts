// `import … from 'tsgiref'` in an application finds this very copy, also where
// nothing is installed beside the application, as under `npx` in an empty folder.
// One copy also means one class `Headers`, so that `instanceof` holds.

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
  'node',
  'testing',
  'trace',
  'error-page',
  'check',
];

// This file's own ending tells whether the source or the built files run.
const BUILT = !import.meta.url.endsWith('.ts');

/** The folder of our package.json: lib/cli and dist/lib/cli stand at different depths. */
export const OWN_FOLDER: string = new URL(BUILT ? '../../../' : '../../', import.meta.url).href;

/** Whether an application that writes this specifier means us. */
export function namesUs(specifier: string): boolean {
  return specifier === 'tsgiref' || specifier.startsWith('tsgiref/');
}

/** The URL of our own module of that name; undefined for any other specifier. */
export function ownModule(specifier: string): string | undefined {
  const [name, module = 'index', ...more] = specifier.split('/');
  if (name !== 'tsgiref' || more.length > 0) return undefined;
  if (module !== 'index' && !PUBLIC_MODULES.includes(module)) return undefined;
  return new URL(`../${module}${BUILT ? '.js' : '.ts'}`, import.meta.url).href;
}
