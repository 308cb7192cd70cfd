// Middleware against DNS rebinding: a page from elsewhere can point a name of its
// own at this machine, and then read what a server on the loopback answers. Such a
// request carries that name as its Host.

import type { WSGIApplication } from '../types.ts';

/** Answers 403 to a Host that is no loopback name, IP address or one of `allowed`. */
export function hostCheck(app: WSGIApplication, allowed: readonly string[]): WSGIApplication {
  const names = new Set(allowed.map((name) => name.toLowerCase()));
  return (environ, startResponse) => {
    const host = environ['HTTP_HOST'] ?? '';
    const name = host.replace(/:\d*$/, '').toLowerCase();
    if (name === '' || isLocal(name) || names.has(name)) return app(environ, startResponse);
    startResponse('403 Forbidden', [['Content-Type', 'text/plain; charset=utf-8']]);
    const text =
      "This server answers to this machine's own names alone, " +
      `and not to ${JSON.stringify(name)}.\n` +
      `If the name is yours, start it with: --allow-host ${name}\n`;
    return [new TextEncoder().encode(text)];
  };
}

function isLocal(name: string): boolean {
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  return /^\d+(\.\d+){3}$/.test(name) || /^\[[0-9a-f:.]+\]$/.test(name);
}
