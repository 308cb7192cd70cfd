// Why an application's file could not be loaded, in words.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { property } from '../handlers/exception.ts';
import { Problem } from './problem.ts';

/** A Problem for the mistakes that are made again and again; else the error itself. */
export function explainLoading(error: unknown, file: string): unknown {
  // The hooks' thread hands errors over as copies.
  if (property(error, 'name') === 'Problem') return new Problem(String(property(error, 'message')));
  const code = property(error, 'code');
  const message = String(property(error, 'message') ?? error);
  if (code === 'ERR_MODULE_NOT_FOUND') return new Problem(explainNotFound(message, file));
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION') {
    return new Problem(
      `${file} is not JavaScript or TypeScript by its name: ` +
        '.js, .mjs, .cjs, .ts, .mts and .cts are',
    );
  }
  if (error instanceof SyntaxError) return new Problem(explainSyntax(error, file));
  return error;
}

// Cannot find package 'x' imported from /path/app.ts
// Cannot find module '/path/y.ts' imported from /path/app.ts
function explainNotFound(message: string, file: string): string {
  const [, kind, missing = '', importer = file] =
    /Cannot find (package|module) '([^']*)'(?: imported from (\S+))?/.exec(message) ?? [];
  const where = basename(toPath(importer));
  if (kind === 'package') {
    return `${where} imports '${missing}', which is not installed; run: npm install ${missing}`;
  }
  const path = toPath(missing);
  return (
    `${where} imports ${path}, which does not exist; ` +
    "write the path with the file's own ending"
  );
}

function explainSyntax(error: SyntaxError, file: string): string {
  const place = findPlace(String(error.stack)) ?? findPlace(reportOf(file));
  // The first sentence says what is wrong; a list of all that may stand there can follow.
  const [reason = ''] = error.message.trim().split(/\.? Expected |\n/);
  const advice = advise(String(property(error, 'code')));
  if (place === undefined) return `${file}: ${reason}${advice}`;
  return `${basename(place.path)}:${place.line}: ${reason}\n    ${readLine(place)}${advice}`;
}

interface Place {
  path: string;
  line: number;
}

// What Node prints of a syntax error begins with its place: `file:///path/app.ts:3`.
function findPlace(report: string): Place | undefined {
  const [, place, line] = /^(\S+):(\d+)\n/.exec(report) ?? [];
  return place === undefined ? undefined : { path: toPath(place), line: Number(line) };
}

// Some Nodes tell the place only when the error ends the process. A module with a
// syntax error is not run, so nothing happens twice.
function reportOf(file: string): string {
  const program = `await import(${JSON.stringify(pathToFileURL(resolve(file)).href)})`;
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
  });
  return child.stderr.trimStart();
}

function readLine({ path, line }: Place): string {
  try {
    return (readFileSync(path, 'utf8').split('\n')[line - 1] ?? '').trim();
  } catch {
    return '';
  }
}

function advise(code: string): string {
  if (code !== 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') return '';
  return '\nNode only takes types away; use syntax that needs no more, or compile the file first';
}

function toPath(place: string): string {
  return place.startsWith('file:') ? fileURLToPath(place) : place;
}
