// Notices every change of the files that an application is made of, however they are
// saved: the content at a path counts, and not its inode. Watches on folders only say
// when to look; a look each second finds the changes that they miss, on network disks or
// in folders that were deleted and made again.

import { type FSWatcher, readdirSync, realpathSync, statSync, watch } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

// Long enough for an editor to write the whole file.
const QUIET_MS = 25;
const LOOK_MS = 1000;

// Our own files, which change only for those who work on them.
const OWN = fileURLToPath(new URL('../../', import.meta.url));

/** Watches files and folders; its owner says which. */
export class Watcher {
  private readonly onChange: (path: string) => void;
  // The stamp that was last found at each path.
  private readonly stamps = new Map<string, string>();
  private readonly trees = new Set<string>();
  private readonly folders = new Map<string, FSWatcher>();
  // The files that the present child loaded.
  private loaded = new Set<string>();
  private began = 0;
  private broken = false;
  private soon: NodeJS.Timeout | undefined = undefined;

  constructor(onChange: (path: string) => void) {
    this.onChange = onChange;
    setInterval(() => this.look(), LOOK_MS).unref();
  }

  /** Adds a file, or a folder with all that is in it. */
  addTree(path: string): void {
    this.trees.add(resolve(path));
  }

  /** A new child is about to load files. */
  begin(): void {
    for (const watcher of this.folders.values()) watcher.close();
    this.folders.clear();
    this.broken = false;
    this.began = Date.now();
    this.loaded = new Set();
    // A folder that was deleted and made again needs a new watch.
    for (const [path, stamp] of this.stamps) this.know(path, stamp);
    for (const path of this.wanted()) this.know(path, stampOf(path));
  }

  /** The child has loaded these files: URLs or paths. Anything else names no file. */
  add(files: readonly unknown[]): void {
    for (const file of files) {
      if (typeof file !== 'string') continue;
      if (file.includes(':') && !/^file:|^[a-z]:\\/i.test(file)) continue;
      const path = file.startsWith('file:') ? fileURLToPath(file) : file;
      if (path.startsWith(OWN)) continue;
      this.loaded.add(path);
      if (this.stamps.has(path)) continue;
      this.know(path, stampOf(path));
      // Saved while the child was starting: nobody knows which version it has read.
      const changed = changeTime(path);
      if (changed > this.began && changed <= Date.now()) this.lookSoon(path);
    }
  }

  /** The child serves: files that only its predecessors loaded do not matter any more. */
  settle(): void {
    const wanted = this.wanted();
    for (const path of this.stamps.keys()) {
      if (!this.loaded.has(path) && !wanted.has(path)) this.stamps.delete(path);
    }
  }

  /** The child failed: a file or package beside those that it loaded may be what it lacked. */
  watchBeside(): void {
    this.broken = true;
    for (const path of this.wanted()) this.know(path, stampOf(path));
  }

  private know(path: string, stamp: string): void {
    this.stamps.set(path, stamp);
    const folder = stamp.startsWith('folder') ? path : dirname(path);
    if (this.folders.has(folder)) return;
    try {
      const watcher = watch(folder, () => this.lookSoon());
      watcher.on('error', () => watcher.close());
      watcher.unref();
      this.folders.set(folder, watcher);
    } catch {
      // The folder is not there yet, or the system has no more watches.
    }
  }

  private lookSoon(path?: string): void {
    if (path !== undefined) this.stamps.set(path, 'unknown');
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.look(), QUIET_MS);
  }

  private look(): void {
    const paths = new Set([...this.stamps.keys(), ...this.wanted()]);
    let changed: string | undefined;
    for (const path of paths) {
      const stamp = stampOf(path);
      if (this.stamps.get(path) === stamp) continue;
      changed ??= path;
      this.know(path, stamp);
    }
    if (changed !== undefined) this.onChange(changed);
  }

  // Beside the files that were loaded.
  private wanted(): Set<string> {
    const paths = new Set<string>();
    for (const tree of this.trees) for (const path of listTree(tree)) paths.add(path);
    if (!this.broken) return paths;
    const folders = new Set([...this.loaded].map((path) => dirname(path)));
    for (const folder of folders) paths.add(folder);
    for (const folder of folders) {
      for (const path of listPackages(folder)) paths.add(path);
      // Node looks in the folders above, too; this loop goes on to them.
      folders.add(dirname(folder));
    }
    return paths;
  }
}

/** What decides in this folder which packages are found, and how its files are read. */
function listPackages(folder: string): string[] {
  const packages = join(folder, 'node_modules');
  const scopes = namesIn(packages).filter((name) => name.startsWith('@'));
  return [join(folder, 'package.json'), packages, ...scopes.map((name) => join(packages, name))];
}

/**
 * The path and, if it is a folder, all paths in it, without node_modules, hidden folders
 * and files that only an editor reads.
 *
 * @param seen - The folders that are listed already: a link may lead back to one.
 */
function listTree(path: string, seen: Set<string> = new Set()): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const folder = realpathSync(path);
    if (seen.has(folder)) return [];
    seen.add(folder);
    const inside = readdirSync(path, { withFileTypes: true }).filter((entry) => {
      const isHidden = entry.name.startsWith('.') && entry.isDirectory();
      return entry.name !== 'node_modules' && !isHidden && !isOfEditor(entry.name);
    });
    return [path, ...inside.flatMap(({ name }) => listTree(join(path, name), seen))];
  } catch {
    return [path];
  }
}

// a.html~    .a.html.swp    .#a.html    #a.html#    4913, by which vim tries a folder
function isOfEditor(name: string): boolean {
  return /~$|^\..*\.sw.$|^\.?#|^4913$/.test(name);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** Text that differs whenever the path has something else: of a folder, other names. */
function stampOf(path: string): string {
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) {
      return `folder ${namesIn(path).filter((name) => !isOfEditor(name)).join('/')}`;
    }
    return `${stat.mtimeMs} ${stat.ctimeMs} ${stat.size} ${stat.ino}`;
  } catch {
    return 'nothing';
  }
}

function changeTime(path: string): number {
  try {
    const { mtimeMs, ctimeMs } = statSync(path);
    return Math.max(mtimeMs, ctimeMs);
  } catch {
    return 0;
  }
}
