// The middleware that the command puts around an application, from the inside out:
// trace, validator, error page, check of the Host.

import type { ErrorPageOptions } from '../error-page.ts';
import type { WSGIApplication } from '../types.ts';
import { type Settings, isLoopback } from './arguments.ts';
import type { Terminal } from './request.ts';

/** Puts middleware around an application. The options are the error page's. */
type Middleware = (app: WSGIApplication, pageOptions?: ErrorPageOptions) => WSGIApplication;

/**
 * Loads the middleware for these settings, and returns the function that puts it
 * around an application. Only what is wanted is read.
 */
export async function loadStack(
  settings: Settings,
  stderr: Terminal['stderr'],
): Promise<Middleware> {
  const check = hostCheck(settings);
  const parts: Array<Middleware | false> = await Promise.all([
    settings.trace && loadTrace(stderr),
    settings.validate && loadValidator(stderr),
    settings.errorPage && loadErrorPage(),
    check !== undefined && ((app: WSGIApplication) => refuseOtherHosts(app, check)),
  ]);
  return (app, pageOptions) =>
    parts.reduce((inner, part) => (part ? part(inner, pageOptions) : inner), app);
}

async function loadTrace(stderr: Terminal['stderr']): Promise<Middleware> {
  const { trace } = await import('../trace.ts');
  const colour = stderr.isTTY === true && !process.env['NO_COLOR'];
  return (app) => trace(app, { write: (line) => void stderr.write(line), colour });
}

async function loadErrorPage(): Promise<Middleware> {
  return (await import('../error-page.ts')).errorPage;
}

// The validator warns once for each rule and place, and again when the count has grown.
async function loadValidator(stderr: Terminal['stderr']): Promise<Middleware> {
  const { validator } = await import('../validate.ts');
  return (app) =>
    validator(app, {
      onWarning({ code, message }): void {
        stderr.write(`Warning [${code}]: ${message}\n`);
      },
    });
}

/** The text that refuses a request for this Host; undefined if it may be answered. */
export type HostCheck = (host: string) => string | undefined;

/** The check of each request's Host; undefined if these settings want none. */
export function hostCheck(settings: Settings): HostCheck | undefined {
  const { host: bound, request, cgi, gateway, allowedHosts } = settings;
  // Only a browser can be led here by another name, and only to a server of HTTP.
  if (!isLoopback(bound) || request !== undefined || cgi || gateway !== undefined) return undefined;
  const allowed = new Set(allowedHosts);
  // Against DNS rebinding: a page from elsewhere can point a name of its own at this
  // machine, and then read what a server on the loopback answers. Such a request carries
  // that name as its Host.
  return (host) => {
    const name = host.replace(/:\d*$/, '').toLowerCase();
    if (name === '' || isLocal(name) || allowed.has(name)) return undefined;
    return (
      "This server answers to this machine's own names alone, " +
      `and not to ${JSON.stringify(name)}.\n` +
      `If the name is yours, start it with: --allow-host ${name}\n`
    );
  };
}

function refuseOtherHosts(app: WSGIApplication, check: HostCheck): WSGIApplication {
  return (environ, startResponse) => {
    const refusal = check(environ['HTTP_HOST'] ?? '');
    if (refusal === undefined) return app(environ, startResponse);
    startResponse('403 Forbidden', [['Content-Type', 'text/plain; charset=utf-8']]);
    return [new TextEncoder().encode(refusal)];
  };
}

function isLocal(name: string): boolean {
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  return /^\d+(\.\d+){3}$/.test(name) || /^\[[0-9a-f:.]+\]$/.test(name);
}
