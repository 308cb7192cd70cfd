// The messages between parent and child under --reload, and the names that both know.
// The child reads nothing of the parent's side: it should answer soon after a save.

import type { HtmlPage } from '../../error-page/page.ts';

/** The environment variable that makes a process the child: the port that it serves. */
export const CHILD = 'TSGIREF_RELOAD_PORT';

/** Whether this process is the child. */
export function isChild(): boolean {
  return process.env[CHILD] !== undefined;
}

/** A request for this path is answered when the application starts anew: pages wait for it. */
export const RELOAD_PATH = '/.tsgiref/reload';

/** The page for an application that cannot answer. */
export interface Page {
  /** Without it, every client gets the text. */
  html: HtmlPage | undefined;
  text: string;
}

export type ToChild =
  /** Comes with a socket, from which these bytes were read. */
  | { tsgiref: 'connection'; id: number; bytes: Uint8Array }
  /** End at once, or as soon as all requests are answered. */
  | { tsgiref: 'retire' | 'stop' };

export type FromChild =
  | { tsgiref: 'ready'; name: string }
  /** The connection is the child's from now on. */
  | { tsgiref: 'taken'; id: number }
  /** It is to end, and still has requests that may finish. */
  | { tsgiref: 'busy' }
  /** The application does not load, or threw where nobody catches it. */
  | { tsgiref: 'broken'; page: Page; files: string[] }
  // Of Node's module loader, for each module: a URL or a path, and for some a message before
  // it that has neither.
  | { 'watch:import': unknown[] }
  | { 'watch:require': unknown[] };
