// Why an application's file could not be loaded, in words.

import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { property } from '../handlers/exception.ts';
import { type Place, readLines, showPlace } from './place.ts';
import { Problem, nearest } from './problem.ts';
import { findSyntaxError } from './syntax.ts';
import { applicationTrace, isFromApplication } from './traces.ts';
import { isTypeScript } from './typescript.ts';

/** A Problem that says why importing `file`, as the user wrote it, threw `error`. */
export function explainLoading(error: unknown, file: string): Problem {
  // The hooks' thread hands errors over as copies.
  if (property(error, 'name') === 'Problem') return new Problem(String(property(error, 'message')));
  const message = String(property(error, 'message') ?? '');
  switch (property(error, 'code')) {
    case 'ERR_MODULE_NOT_FOUND':
    case 'MODULE_NOT_FOUND':
      return new Problem(explainNotFound(message, file));
    case 'ERR_UNKNOWN_FILE_EXTENSION':
      return new Problem(
        `${file} is not JavaScript or TypeScript by its name: ` +
          '.js, .mjs, .cjs, .ts, .mts and .cts are',
      );
    case 'ERR_UNKNOWN_BUILTIN_MODULE':
    case 'ERR_PACKAGE_PATH_NOT_EXPORTED':
    case 'ERR_UNSUPPORTED_DIR_IMPORT':
      return new Problem(`${file} could not be loaded: ${firstLine(message)}`);
  }
  // JSON.parse and its like throw SyntaxErrors too, from a line that runs.
  if (error instanceof SyntaxError && (placeOf(error) || !isFromApplication(error))) {
    return new Problem(explainSyntax(error, file));
  }
  return new Problem(`${file} threw while it was loaded:\n${applicationTrace(error).trimEnd()}`);
}

// Cannot find package 'x' imported from /path/app.ts
// Cannot find module '/path/y.ts' imported from /path/app.ts
// Cannot find module 'x'\nRequire stack:\n- /path/app.cjs
function explainNotFound(message: string, file: string): string {
  const [, missing = ''] = /^Cannot find (?:package|module) '([^']*)'/.exec(message) ?? [];
  const [, from = file] = /(?: imported from |\nRequire stack:\n- )(.+)/.exec(message) ?? [];
  const importer = resolve(toPath(from));
  const found = findImport(importer, missing);
  const where = basename(importer) + (found ? `:${found.line}` : '');
  const specifier = found?.specifier ?? missing;

  if (!/^(?:[./]|file:|[A-Za-z]:[\\/])/.test(missing)) {
    return `${where} imports '${specifier}', which is not installed; run: npm install ${missing}`;
  }
  const path = resolve(dirname(importer), toPath(missing));
  const meant = fileLike(path);
  return meant === undefined
    ? `${where} imports '${specifier}', but there is no file ${path}`
    : `${where} imports '${specifier}', but there is no such file; did you mean ${meant}?`;
}

// Node tells the file that imports, but not the line.
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

/** The name of a file in the same folder that may have been meant. */
function fileLike(path: string): string | undefined {
  const folder = dirname(path);
  if (!existsSync(folder)) return undefined;
  const names = readdirSync(folder);
  const stem = basename(path).replace(/\.\w+$/, '');
  const sameStem = names.find(
    (name) => name !== stem && name.replace(/\.[mc]?[jt]s$/, '') === stem,
  );
  return sameStem ?? nearest(basename(path), names);
}

function explainSyntax(error: SyntaxError, file: string): string {
  const place = placeOf(error) ?? findSyntaxError(resolve(file));
  if (place === undefined) return `${file} could not be loaded: ${firstLine(error.message)}`;
  // The first sentence says what is wrong; a list of all that may stand there can follow.
  const [reason = ''] = error.message.trim().split(/\.? Expected |\n/);
  return showPlace(place, reason) + advise(error, place);
}

// What Node puts before some syntax errors is their place: `file:///path/app.ts:3`.
function placeOf(error: SyntaxError): Place | undefined {
  const [, where = '', line] = /^(.+):(\d+)\n/.exec(String(error.stack)) ?? [];
  const path = toPath(where);
  return existsSync(path) ? { path, line: Number(line) } : undefined;
}

function advise(error: SyntaxError, { path }: Place): string {
  if (property(error, 'code') === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') {
    return (
      '\nNode only takes types away: write it without, ' +
      'or run: npm install --save-dev typescript'
    );
  }
  if (/\bimport statement outside a module|Unexpected token 'export'/.test(error.message)) {
    return '\nname the file .mjs, or write "type": "module" in package.json';
  }
  const [, module, name] =
    /module '(.+)' does not provide an export named '(.+)'/.exec(error.message) ?? [];
  if (name === undefined || !isTypeScript(path)) return '';
  return `\nif ${name} is a type, write: import type { ${name} } from '${module}'`;
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

function toPath(place: string): string {
  return place.startsWith('file:') ? fileURLToPath(place) : place;
}
