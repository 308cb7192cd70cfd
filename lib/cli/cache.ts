// Keeps what the compiler made. Who can write here can run code as the user, so
// the place is either the application's own or nobody else's.

import { accessSync, constants, lstatSync, mkdirSync } from 'node:fs';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

/**
 * Where to keep files: in this node_modules folder, or else in the temporary folder;
 * undefined if neither can be used.
 */
export function cacheFolder(modules: string): string | undefined {
  const folder = join(modules, '.cache', 'tsgiref');
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    return folder;
  } catch {
    // Installed by another user, or on a disk that cannot be written.
    return privateFolder();
  }
}

function privateFolder(): string | undefined {
  try {
    const { uid } = userInfo();
    const folder = join(tmpdir(), `tsgiref-cache-${uid}`);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const found = lstatSync(folder);
    // Windows has no uid, and a temporary folder for each user.
    const isPrivate = uid === -1 || (found.uid === uid && (found.mode & 0o077) === 0);
    return found.isDirectory() && isPrivate ? folder : undefined;
  } catch {
    return undefined;
  }
}

/** What was kept at `path`; undefined if nothing was. */
export function recall(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Writes a file in one step: a reader finds all of it or nothing. */
export function keep(path: string, text: string): void {
  try {
    const unfinished = `${path}.${process.pid}`;
    writeFileSync(unfinished, text);
    renameSync(unfinished, path);
  } catch {
    // A cache that cannot be written costs time, and nothing else.
  }
}
