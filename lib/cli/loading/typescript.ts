// How a TypeScript file becomes JavaScript: Node takes the types away where it can,
// and the compiler gets what Node refuses.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as module from 'node:module';
import { fileURLToPath } from 'node:url';
import { compileFunction } from 'node:vm';

import { Compilation, findCompiler } from './compiler.ts';

/** JavaScript, and the kind of module it is. */
export interface Compiled {
  format: 'module' | 'commonjs';
  source: string;
}

type StripTypes = (text: string) => string;

// @types/node for Node 20 does not know the function.
const stripTypeScriptTypes = Reflect.get(module, 'stripTypeScriptTypes') as StripTypes | undefined;

/** Whether this Node strips types without being asked to: 22.18, 23.6 and later. */
const NODE_STRIPS_TYPES =
  Boolean(Reflect.get(process.features, 'typescript')) && stripTypeScriptTypes !== undefined;

/** Whether a URL or path names a TypeScript file. */
export function isTypeScript(path: string): boolean {
  return /\.[mc]?ts$/.test(path);
}

let compilation: Compilation | undefined;

/**
 * The JavaScript of the file at `url`; undefined if Node should load the file by itself:
 * always if the file is not TypeScript, or belongs to an installed package.
 *
 * @throws Problem if the file needs a compiler, and there is none or it fails.
 */
export function toJavaScript(url: string): Compiled | undefined {
  // A package's own TypeScript is Node's to refuse.
  const isOurs = url.startsWith('file:') && isTypeScript(url) && !url.includes('/node_modules/');
  if (!isOurs) return undefined;
  if (NODE_STRIPS_TYPES) {
    const text = readFileSync(fileURLToPath(url), 'utf8');
    const stripped = stripTypes(text);
    // A file with a syntax error: Node's own message says where.
    if (stripped === undefined) return undefined;
    if (stripped !== REFUSED && !isRefusedByEngine(stripped)) {
      return isModule(url, stripped) ? { format: 'module', source: stripped } : undefined;
    }
    // Without a compiler, Node's own error names the line.
    if (typeof findCompiler(fileURLToPath(url)) === 'string') return undefined;
  }
  // A trace should show the lines of the file that the author wrote.
  process.setSourceMapsEnabled(true);
  compilation ??= new Compilation();
  return compilation.compile(fileURLToPath(url));
}

/** The result for TypeScript that is more than JavaScript with types. */
export const REFUSED: unique symbol = Symbol('refused');

/** JavaScript with blanks where types were, so that each line stays where it is. */
export function stripTypes(text: string): string | typeof REFUSED | undefined {
  const { emitWarning } = process;
  try {
    // The function warns that it is new; the user has not called it.
    process.emitWarning = () => {};
    return stripTypeScriptTypes?.(text);
  } catch (error) {
    const code: unknown = Reflect.get(Object(error), 'code');
    return code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX' ? REFUSED : undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}

// What the function that strips types takes for JavaScript, and not every engine does.
const NEWER_SYNTAX: ReadonlyArray<readonly [sign: RegExp, example: string]> = [
  [/(?:^|[{};]|\bexport|\bdefault)\s*@[\w$(]/m, '@a class A {}'],
  [/\busing\s+[\w$]+\s*=/, '{ using a = null; }'],
  [/\baccessor\s+[\w$#['"]/, 'class A { accessor a; }'],
];

function isRefusedByEngine(source: string): boolean {
  const hasSign = NEWER_SYNTAX.some(([sign, example]) => {
    return sign.test(source) && refusal(example) !== undefined;
  });
  // A comment may have such signs, too.
  return hasSign && findSyntaxErrorLine(source) !== undefined;
}

/** The line of the syntax error in the text of a module; undefined if there is none. */
export function findSyntaxErrorLine(text: string): number | undefined {
  // Node says where a module has a syntax error only when the error ends the process.
  const { stderr } = spawnSync(process.execPath, ['--check', '--input-type=module', '-'], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
    input: text,
  });
  const [, line] = /^\s*\[stdin\]:(\d+)\n/.exec(stderr) ?? [];
  return line === undefined ? undefined : Number(line);
}

/**
 * Whether a TypeScript file that became this JavaScript is a module. A .ts file is one by
 * its syntax, whatever package.json says: the "commonjs" that `npm init` writes there is
 * about compiled files.
 */
export function isModule(path: string, source: string): boolean {
  if (!path.endsWith('.ts')) return path.endsWith('.mts');
  return MODULE_SYNTAX.test(refusal(source.replace(/^#!.*/, '')) ?? '');
}

// What the engine says of `import`, `import.meta`, `export` and `await` in a function.
const MODULE_SYNTAX = /: (?:Cannot use '?import|Unexpected token 'export'|await is only valid)/;

/** The reason why this text cannot be the body of a function; undefined if it can. */
function refusal(text: string): string | undefined {
  try {
    compileFunction(text);
    return undefined;
  } catch (error) {
    return String(error);
  }
}
