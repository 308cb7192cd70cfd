// From an error to the page that shows it. Only read when something is thrown.

import { createHash } from 'node:crypto';

import { renderHtml, waitScript } from './html.ts';
import { type ErrorContext, makeReport } from './report.ts';
import { renderText } from './text.ts';

/** A page and the policy that goes with it. */
export interface HtmlPage {
  text: string;
  policy: string;
}

/** The page as HTML. */
export function htmlPage(context: ErrorContext): HtmlPage {
  const { environ, reloadPath } = context;
  const method = environ?.REQUEST_METHOD ?? 'GET';
  const script = reloadPath === undefined ? undefined : waitScript(reloadPath, method);
  const text = renderHtml(makeReport(context), { script });
  return { text, policy: policyFor(script) };
}

/** The page as plain text. */
export function textPage(context: ErrorContext): string {
  return renderText(makeReport(context));
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
