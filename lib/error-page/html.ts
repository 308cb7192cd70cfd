// The report for a browser: one page without scripts or anything from elsewhere.

import type { Entry } from './environ.ts';
import type { ErrorReport, Frame, Report } from './report.ts';

/** The report as an HTML document. Everything that is shown is escaped. */
export function renderHtml({ errors, request, environ }: Report): string {
  const [first, ...causes] = errors;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(first?.name ?? 'Error')}: ${escape(first?.message.slice(0, 80) ?? '')}</title>
<style>${STYLE}</style>
<body>
<p class="request">${escape(request)}</p>
${first === undefined ? '' : renderError(first, 'h1')}
${causes.map(renderCause).join('\n')}
<h2>environ</h2>
${renderTable(environ)}
<p class="foot">Shown by tsgiref while you develop; in production, clients see none of it.</p>
</body>
</html>
`;
}

function renderCause(cause: ErrorReport): string {
  return `<p class="because">because of</p>\n${renderError(cause, 'h2')}`;
}

function renderError({ name, message, frames, rule }: ErrorReport, heading: 'h1' | 'h2'): string {
  const law =
    rule === undefined
      ? ''
      : `<p class="rule"><b>${escape(rule.code)}</b> · ${escape(rule.reference)}` +
        `<br>${escape(rule.hint)}</p>`;
  return `<section>
<${heading}><span class="name">${escape(name)}</span>${escape(message)}</${heading}>
${law}
${groupFrames(frames).map(renderGroup).join('\n')}
</section>`;
}

// Runs of calls that are not the application's own are folded into one line.
function groupFrames(frames: Frame[]): Frame[][] {
  const groups: Frame[][] = [];
  for (const frame of frames) {
    const last = groups.at(-1);
    if (last !== undefined && !frame.own && last[0]?.own === false) last.push(frame);
    else groups.push([frame]);
  }
  return groups;
}

function renderGroup(frames: Frame[]): string {
  const [first] = frames;
  if (first?.own) return renderFrame(first);
  const rows = frames.map((frame) => `<li>${renderPlace(frame)}</li>`).join('\n');
  const count = frames.length === 1 ? 'one call' : `${frames.length} calls`;
  return `<details><summary>${count} in libraries</summary>\n<ul>\n${rows}\n</ul></details>`;
}

function renderFrame(frame: Frame): string {
  const lines = frame.source.map(({ number, text, failing }) => {
    const tag = failing ? 'mark' : 'span';
    return `<${tag}><i>${number}</i>${escape(text) || ' '}</${tag}>`;
  });
  const source = lines.length === 0 ? '' : `<pre>${lines.join('\n')}</pre>`;
  return `<div class="frame"><p>${renderPlace(frame)}</p>${source}</div>`;
}

function renderPlace({ call, file, line }: Frame): string {
  const name = call === '' ? '' : `<b>${escape(call)}</b> `;
  const [folder = '', base = file] = file.split(/(?<=[\\/])(?=[^\\/]*$)/);
  const where = `<span class="folder">${escape(base === file ? '' : folder)}</span>`;
  return `${name}${where}${escape(base)}:${line}`;
}

function renderTable(entries: Entry[]): string {
  const rows = entries.map(([key, value]) => `<tr><th>${escape(key)}<td>${escape(value)}`);
  return `<table>\n${rows.join('\n')}\n</table>`;
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2330; --dim: #697386; --page: #f6f7f9; --card: #fff;
  --line: #e2e5ec; --red: #c0273a; --mark: #ffe9ea; --code: #fbfbfd; --rule: #fff6dd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e8ef; --dim: #8d97aa; --page: #14171d;
  --card: #1c2028; --line: #2c323d; --red: #ff7a85; --mark: #4a2228; --code: #181b22;
  --rule: #37301a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 3rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem 1.25rem 1.25rem; }
h1, h2 { margin: .25rem 0 1rem; line-height: 1.3; font-size: 1.35rem; font-weight: 600;
  overflow-wrap: anywhere; white-space: pre-wrap; }
h2 { font-size: 1.1rem; }
body > h2 { margin: 2rem 0 .5rem; }
.name { color: var(--red); display: block; font-size: .85em; }
.request, .folder, .foot, .because { color: var(--dim); }
.request { margin: 0 0 .75rem; font: .95rem ui-monospace, monospace; overflow-wrap: anywhere; }
.because { margin: .75rem 1.25rem; }
.foot { margin-top: 1.5rem; font-size: .85rem; }
.rule { background: var(--rule); border-radius: .4rem; padding: .6rem .9rem; margin: 0 0 1rem; }
.frame { margin-top: 1rem; }
.frame p, li { margin: 0 0 .35rem; font: .85rem/1.5 ui-monospace, monospace;
  overflow-wrap: anywhere; }
pre { margin: 0; padding: .5rem 0; overflow-x: auto; background: var(--code); tab-size: 2;
  border: 1px solid var(--line); border-radius: .4rem; font: .85rem/1.55 ui-monospace, monospace; }
pre span, pre mark { display: inline-block; min-width: 100%; padding-right: 1rem; color: inherit;
  background: none; border-left: 3px solid transparent; }
pre mark { background: var(--mark); border-left-color: var(--red); font-weight: 600; }
pre i { display: inline-block; width: 3.5rem; padding-right: 1rem; text-align: right;
  color: var(--dim); font-style: normal; font-weight: 400; user-select: none; }
details { margin-top: 1rem; color: var(--dim); font-size: .9rem; }
summary { cursor: pointer; }
ul { margin: .5rem 0 0; padding-left: 1.25rem; }
table { width: 100%; border-collapse: collapse; background: var(--card);
  border: 1px solid var(--line);
  border-radius: .6rem; font: .85rem/1.5 ui-monospace, monospace; }
th, td { padding: .3rem .75rem; text-align: left; vertical-align: top; overflow-wrap: anywhere;
  border-top: 1px solid var(--line); }
tr:first-child > * { border-top: 0; }
th { width: 15rem; font-weight: 500; color: var(--dim); }
@media (max-width: 40rem) { th, td { display: block; width: auto; }
  td { border-top: 0; padding-top: 0; } th { padding-bottom: 0; } }
`;
