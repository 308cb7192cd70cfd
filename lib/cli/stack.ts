// What the command puts around an application, from the inside out.

import type { WSGIApplication } from '../types.ts';
import { type Settings, isLoopback } from './arguments.ts';

/** The application as it is served under these settings. */
export async function buildStack(
  app: WSGIApplication,
  settings: Settings,
): Promise<WSGIApplication> {
  let stack = app;
  // Each part is only read when it is wanted: the first answer waits for all of them.
  if (settings.trace) {
    const { trace } = await import('../trace.ts');
    stack = trace(stack);
  }
  if (settings.validate) {
    const { validateOnce } = await import('./warnings.ts');
    stack = validateOnce(stack);
  }
  if (settings.errorPage) {
    const { errorPage } = await import('../error-page.ts');
    stack = errorPage(stack);
  }
  const exposed = !isLoopback(settings.host);
  if (!exposed && settings.request === undefined && !settings.cgi) {
    const { hostCheck } = await import('./host-check.ts');
    stack = hostCheck(stack, settings.allowedHosts);
  }
  return stack;
}
