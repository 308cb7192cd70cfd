// Explains why an application's file could not be loaded.

import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { property } from '../../describe.ts';
import { fileLike } from '../loading.ts';
import { Problem, applicationTrace, isFromApplication, nearest } from '../problem.ts';
import { explainNoCompiler, findCompiler } from './compiler.ts';
import { findSyntaxErrorLine, isTypeScript, stripTypes } from './typescript.ts';

/** A line, counted from 1, of the file at `path`. */
interface Place {
  path: string;
  line: number;
}

/**
 * A Problem that says why importing `file`, as the user wrote it, threw `error`. The
 * error is its cause where the application's own code threw it.
 */
export function explainLoading(error: unknown, file: string): Problem {
  // The hooks' thread hands errors over as copies.
  if (property(error, 'name') === 'Problem') return new Problem(String(property(error, 'message')));
  const message = String(property(error, 'message') ?? '');
  switch (property(error, 'code')) {
    case 'ERR_MODULE_NOT_FOUND':
    case 'MODULE_NOT_FOUND':
      return explainNotFound(message, file);
    case 'ERR_UNKNOWN_FILE_EXTENSION':
      return explainExtension(message, file);
    case 'ERR_IMPORT_ATTRIBUTE_MISSING':
    // Its name in Node 20.
    case 'ERR_IMPORT_ASSERTION_TYPE_MISSING':
    case 'ERR_UNKNOWN_BUILTIN_MODULE':
    case 'ERR_PACKAGE_PATH_NOT_EXPORTED':
    case 'ERR_PACKAGE_IMPORT_NOT_DEFINED':
    case 'ERR_UNSUPPORTED_DIR_IMPORT':
      return explainOther(message, file);
  }
  // JSON.parse and its like throw SyntaxErrors too, from a line that runs.
  if (error instanceof SyntaxError && (placeOf(error) || !isFromApplication(error))) {
    return explainSyntax(error, file);
  }
  const trace = applicationTrace(error).trimEnd();
  return new Problem(`${file} threw while it was loaded:\n${trace}`, { cause: error });
}

function explainOther(message: string, file: string): Problem {
  return new Problem(`${file} could not be loaded: ${firstLine(message)}`);
}

// Unknown file extension ".ts" for /path/part.ts
function explainExtension(message: string, file: string): Problem {
  const [, path] = /"\.[mc]?ts" for (.+)/.exec(message) ?? [];
  const found = path === undefined ? undefined : findCompiler(path);
  return typeof found === 'string' ? explainNoCompiler(found) : explainOther(message, file);
}

// Cannot find package 'x' imported from /path/app.ts
// Cannot find module '/path/y.ts' imported from /path/app.ts
// Cannot find module 'x'\nRequire stack:\n- /path/app.cjs
function explainNotFound(message: string, file: string): Problem {
  const [, missing = ''] = /^Cannot find (?:package|module) '([^']*)'/.exec(message) ?? [];
  const [, from = file] = /(?: imported from |\nRequire stack:\n- )(.+)/.exec(message) ?? [];
  const importer = resolve(toPath(from));
  const found = findImport(importer, missing);
  const where = basename(importer) + (found ? `:${found.line}` : '');
  const specifier = found?.specifier ?? missing;
  const isPath = /^(?:[./]|file:|[A-Za-z]:[\\/])/.test(missing);
  const path = resolve(dirname(importer), toPath(missing));

  const reason = isPath
    ? explainNoFile(path, importer)
    : explainNoPackage(specifier, missing, importer);
  const problem = new Problem(`${where} imports '${specifier}', ${reason}`);
  if (isPath) problem.files = [path];
  if (found !== undefined) problem.place = { path: importer, line: found.line };
  return problem;
}

function explainNoFile(path: string, importer: string): string {
  const meant = fileLike(path, importer);
  return meant === undefined
    ? `but there is no file ${path}`
    : `but there is no such file; did you mean ${meant}?`;
}

function explainNoPackage(specifier: string, missing: string, importer: string): string {
  if (!isAlias(specifier, importer)) return `which is not installed; run: npm install ${missing}`;
  return (
    'which only the paths of tsconfig.json define; Node does not read them:\n' +
    "write a relative path, such as './other.ts', " +
    'or define a name that begins with # as "imports" in package.json'
  );
}

// Node names the file that imports, but not the line.
function findImport(
  importer: string,
  missing: string,
): { specifier: string; line: number } | undefined {
  const path = toPath(missing);
  const leadsThere = (specifier: string): boolean =>
    specifier === missing ||
    specifier.startsWith(`${missing}/`) ||
    (specifier.startsWith('.') && resolve(dirname(importer), specifier) === path);

  for (const [index, text] of readLines(importer).entries()) {
    for (const [, , specifier = ''] of text.matchAll(/(['"])([^'"]+)\1/g)) {
      if (leadsThere(specifier)) return { specifier, line: index + 1 };
    }
  }
  return undefined;
}

// A tsconfig.json may have comments, so it is searched and not parsed.
function isAlias(specifier: string, importer: string): boolean {
  // No package has such a name.
  if (/^[@~]\//.test(specifier)) return true;
  for (let folder = dirname(importer); ; folder = dirname(folder)) {
    const text = readLines(join(folder, 'tsconfig.json')).join('\n');
    const [, paths = ''] = /"paths"\s*:\s*\{([^}]*)\}/.exec(text) ?? [];
    for (const [, pattern = ''] of paths.matchAll(/"([^"]+)"\s*:/g)) {
      const matches = pattern.endsWith('*')
        ? specifier.startsWith(pattern.slice(0, -1))
        : specifier === pattern;
      if (matches && pattern !== '*') return true;
    }
    if (folder === dirname(folder)) return false;
  }
}

function explainSyntax(error: SyntaxError, file: string): Problem {
  const place = placeOf(error) ?? findSyntaxError(resolve(file));
  if (place === undefined) return explainOther(error.message, file);
  // The first sentence says what is wrong; a list of everything that may follow comes next.
  const [reason = ''] = error.message.trim().split(/\.? Expected |\n/);
  const problem = new Problem(showPlace(place, reason) + advise(error, place));
  problem.place = place;
  return problem;
}

// Node begins the stack of some syntax errors with their place: `file:///path/app.ts:3`.
function placeOf(error: SyntaxError): Place | undefined {
  const [, where = '', line] = /^(.+):(\d+)\n/.exec(String(error.stack)) ?? [];
  const path = toPath(where);
  return existsSync(path) ? { path, line: Number(line) } : undefined;
}

function advise(error: SyntaxError, { path }: Place): string {
  if (property(error, 'code') === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') {
    return (
      '\nNode only takes types away: write it in JavaScript, ' +
      'or run: npm install --save-dev typescript'
    );
  }
  const isModuleSyntax = /\bimport statement outside a module|Unexpected token 'export'/;
  if (isModuleSyntax.test(error.message)) {
    const [, kind] = /\.c([jt]s)$/.exec(path) ?? [];
    if (kind !== undefined) {
      const advice = `name it .m${kind}, or write module.exports = and require()`;
      return `\na .c${kind} file is CommonJS: ${advice}`;
    }
    return '\nname the file .mjs, or write "type": "module" in package.json';
  }
  const [, module, name] =
    /module '(.+)' does not provide an export named '(.+)'/.exec(error.message) ?? [];
  return module === undefined || name === undefined ? '' : adviseExport(name, module, path);
}

function adviseExport(name: string, module: string, importer: string): string {
  const path = resolve(dirname(importer), module);
  const text = module.startsWith('.') ? readLines(path).join('\n') : '';
  const values = exportedNames(text, 'const|let|var|class|enum|function\\*?');
  if (name === 'default') {
    return values.length === 0 ? '' : `\nwrite: import { ${values[0]} } from '${module}'`;
  }
  const isType = exportedNames(text, 'interface|type').includes(name);
  const meant = isType ? undefined : nearest(name, values);
  if (meant !== undefined) return `\ndid you mean ${meant}?`;
  if (!isTypeScript(importer)) return '';
  return `\nif ${name} is a type, write: import type { ${name} } from '${module}'`;
}

// export const name    export async function name    export { name, other as name }
function exportedNames(text: string, kinds: string): string[] {
  const declared = new RegExp(`\\bexport\\s+(?:async\\s+)?(?:${kinds})\\s+([\\w$]+)`, 'g');
  const lists = [...text.matchAll(/\bexport\s*\{([^}]*)\}/g)].flatMap(([, list = '']) =>
    list.split(',').map((each) => each.trim().split(/\s+/).at(-1) ?? ''),
  );
  const names = [...[...text.matchAll(declared)].map(([, name = '']) => name), ...lists];
  return names.filter((name) => name !== '' && name !== 'default');
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

function toPath(place: string): string {
  return place.startsWith('file:') ? fileURLToPath(place) : place;
}

// A module with more imports than this still gets the message, without the line.
const MOST_FILES = 50;

/** The first syntax error in the file at `path` or in the files that it imports. */
function findSyntaxError(path: string): Place | undefined {
  const seen = new Set([path]);
  for (const file of seen) {
    if (seen.size > MOST_FILES) return undefined;
    if (!/\.m?[jt]s$/.test(file) || !existsSync(file)) continue;
    const text = readFileSync(file, 'utf8');
    const script = isTypeScript(file) ? stripTypes(text) : text;
    const line = typeof script === 'string' ? findSyntaxErrorLine(script) : undefined;
    if (line !== undefined) return { path: file, line };
    for (const specifier of relativeImports(text)) seen.add(resolve(dirname(file), specifier));
  }
  return undefined;
}

function relativeImports(text: string): string[] {
  const found = text.matchAll(/\b(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g);
  return [...found].map(([, specifier = '']) => specifier);
}

/** `app.ts:3: reason`, with the line itself below it. */
function showPlace(place: Place, reason: string): string {
  const text = readLines(place.path)[place.line - 1]?.trim();
  return `${basename(place.path)}:${place.line}: ${reason}${text ? `\n    ${text}` : ''}`;
}

/** The lines of a text file; none if it cannot be read. */
function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}
