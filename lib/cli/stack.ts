// What the command puts around an application, from the inside out.

import type { WSGIApplication } from '../types.ts';
import { type Settings, isLoopback } from './arguments.ts';

type Middleware = (app: WSGIApplication) => WSGIApplication;

/**
 * Loads what stands around an application under these settings. Only what is wanted
 * is read, and all of it at once: the first answer waits for it.
 */
export async function loadStack(settings: Settings): Promise<Middleware> {
  const parts = await Promise.all([
    settings.trace && loadTrace(),
    settings.validate && loadValidator(),
    settings.errorPage && loadErrorPage(),
    wantsHostCheck(settings) && loadHostCheck(settings.allowedHosts),
  ]);
  return (app) => parts.reduce<WSGIApplication>((inner, part) => (part ? part(inner) : inner), app);
}

// Only a browser can be led here under another name, and only to a server.
function wantsHostCheck({ host, request, cgi }: Settings): boolean {
  return isLoopback(host) && request === undefined && !cgi;
}

async function loadTrace(): Promise<Middleware> {
  const { trace } = await import('../trace.ts');
  return (app) => trace(app);
}

async function loadValidator(): Promise<Middleware> {
  const { validateOnce } = await import('./warnings.ts');
  return validateOnce;
}

async function loadErrorPage(): Promise<Middleware> {
  const { errorPage } = await import('../error-page.ts');
  return errorPage;
}

async function loadHostCheck(allowed: readonly string[]): Promise<Middleware> {
  const { hostCheck } = await import('./host-check.ts');
  return (app) => hostCheck(app, allowed);
}
