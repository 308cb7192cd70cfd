// The report for a browser: one page without scripts or anything from elsewhere.

import type { Entry } from './environ.ts';
import type { Frame } from './frames.ts';
import type { ErrorReport, Report, Rule } from './report.ts';
import { STYLE } from './style.ts';

/** The report as an HTML document. Everything that is shown is escaped. */
export function renderHtml({ errors, environ }: Report): string {
  const [first] = errors;
  const title = first === undefined ? 'Error' : `${first.name}: ${first.message.slice(0, 80)}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<p class="request"><b>500</b> ${escape(environ.line)}</p>
<main>
${errors.map(renderError).join('\n')}
</main>
<h2>The request in environ</h2>
${renderTable(environ.request)}
<details class="server">
<summary>What the server added</summary>
${renderTable(environ.server)}
</details>
<footer>Shown by tsgiref’s <code>errorPage</code> while you develop.
The same error stands on <code>wsgi.errors</code>.</footer>
</body>
</html>
`;
}

function renderError(error: ErrorReport): string {
  const { relation, name, message, frames, rule } = error;
  const heading = relation === '' ? 'h1' : 'h2';
  const link = relation === '' ? '' : `<p class="relation">${escape(relation)}</p>\n`;
  return `${link}<section>
<${heading}><span class="name">${escape(name)}</span>${escape(message)}</${heading}>
${rule === undefined ? '' : renderRule(rule)}
${groupFrames(frames).map(renderGroup).join('\n')}
</section>`;
}

function renderRule({ code, party, law, hint }: Rule): string {
  const who = party === '' ? '' : ` broken by the ${party}`;
  return `<div class="rule">
<p><b>${escape(code)}</b>${escape(who)}</p>
<p>${escape(hint)}</p>
<p class="law">${escape(law)}</p>
</div>`;
}

// Runs of calls that need not be seen are folded into one line.
function groupFrames(frames: Frame[]): Frame[][] {
  const groups: Frame[][] = [];
  for (const frame of frames) {
    const last = groups.at(-1);
    if (frame.kind !== 'own' && last?.[0]?.kind === frame.kind) last.push(frame);
    else groups.push([frame]);
  }
  return groups;
}

function renderGroup(frames: Frame[]): string {
  const [first] = frames;
  if (first?.kind === 'own') return renderFrame(first);
  const calls = frames.length === 1 ? 'one call' : `${frames.length} calls`;
  const summary = first?.kind === 'library' ? `${calls} in libraries` : `${calls} shown above`;
  const rows = frames.map((frame) => `<li>${renderPlace(frame)}</li>`);
  return `<details>
<summary>${summary}</summary>
<ul>
${rows.join('\n')}
</ul>
</details>`;
}

function renderFrame(frame: Frame): string {
  const lines = frame.source.map(({ number, text, failing }) => {
    const tag = failing ? 'mark' : 'span';
    return `<${tag}><i>${number}</i>${escape(text) || ' '}</${tag}>`;
  });
  // What scrolls must also scroll by key.
  const source = lines.length === 0 ? '' : `\n<pre tabindex="0">${lines.join('\n')}</pre>`;
  return `<div class="frame">
<p>${renderPlace(frame)}</p>${source}
</div>`;
}

function renderPlace({ call, file, line }: Frame): string {
  const name = call === '' ? '' : `<b>${escape(call)}</b> `;
  const cut = Math.max(file.lastIndexOf('/'), file.lastIndexOf('\\')) + 1;
  const folder = `<span class="folder">${escape(file.slice(0, cut))}</span>`;
  return `${name}${folder}${escape(file.slice(cut))}:${line}`;
}

function renderTable(entries: Entry[]): string {
  const rows = entries.map(([key, value]) => {
    const shown = value === '' ? '<i>empty</i>' : escape(value);
    return `<tr><th scope="row">${escape(key)}</th><td>${shown}</td></tr>`;
  });
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
