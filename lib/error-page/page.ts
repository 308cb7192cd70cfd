// From an error to the page that shows it. Only read when something is thrown.

import { createHash } from 'node:crypto';

import type { WSGIEnvironment } from '../types.ts';
import { renderHtml, waitScript } from './html.ts';
import { type Place, makeReport } from './report.ts';
import { renderText } from './text.ts';

/** What there is to know of an error. */
export interface Occasion {
  error: unknown;
  /** Of the request that was being served. */
  environ?: WSGIEnvironment;
  /** The place of an error that has no trace of its own. */
  place?: Place | undefined;
  /** A request for this path is answered when a new version of the application runs. */
  reloadPath?: string | undefined;
}

/** A page and the policy that goes with it. */
export interface HtmlPage {
  text: string;
  policy: string;
}

/** The page as HTML. */
export function htmlPage({ error, environ, place, reloadPath }: Occasion): HtmlPage {
  const method = environ?.REQUEST_METHOD ?? 'GET';
  const script = reloadPath === undefined ? undefined : waitScript(reloadPath, method);
  const text = renderHtml(makeReport(error, environ, place), { script });
  return { text, policy: policyFor(script) };
}

/** The page as plain text. */
export function textPage({ error, environ, place }: Occasion): string {
  return renderText(makeReport(error, environ, place));
}

// Nothing but this one script may run, so that no text on the page can.
function policyFor(script: string | undefined): string {
  const hash = script && createHash('sha256').update(script).digest('base64');
  const scripts = hash === undefined ? '' : ` script-src 'sha256-${hash}'; connect-src 'self';`;
  return (
    `default-src 'none'; style-src 'unsafe-inline';${scripts} base-uri 'none'; ` +
    "form-action 'none'; frame-ancestors 'none'"
  );
}
