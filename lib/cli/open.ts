// `--open`: shows the page in the browser that the system would take.

import { spawn } from 'node:child_process';

/** Opens `url`; says so, and no more, where there is no way to. */
export function openBrowser(url: string): Promise<void> {
  const [program, ...args] = opener(url);
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: 'ignore', detached: true });
    child.once('error', () => {
      process.stderr.write(`No browser could be opened; the page is at ${url}\n`);
      resolve();
    });
    child.once('spawn', () => {
      child.unref();
      resolve();
    });
  });
}

function opener(url: string): [program: string, ...args: string[]] {
  if (process.env['BROWSER']) return [process.env['BROWSER'], url];
  if (process.platform === 'darwin') return ['open', url];
  if (process.platform === 'win32') return ['cmd', '/c', 'start', '', url];
  return ['xdg-open', url];
}
