// The report for a browser: one page that needs nothing from elsewhere.

import { escapeControls } from '../secrets.ts';
import type { Entry } from './environ.ts';
import type { Frame } from './frames.ts';
import type { ErrorReport, Report, Rule } from './report.ts';
import { STYLE } from './style.ts';
import { markColumn, renderText } from './text.ts';

/** Where the page waits for the next version of the application; see `waitScript`. */
export interface HtmlOptions {
  script?: string | undefined;
}

/** The report as an HTML document. Everything that is shown is escaped. */
export function renderHtml(report: Report, { script }: HtmlOptions = {}): string {
  const { errors, environ } = report;
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
<p class="request"><b>500</b> ${escape(environ?.line ?? 'The application cannot answer')}</p>
<main>
${errors.map((error, index) => renderError(error, index, errors)).join('\n')}
</main>
${environ === undefined ? '' : renderEnviron(environ)}
<details class="text">
<summary>All of this as plain text, to copy</summary>
<pre tabindex="0">${escape(renderText(report))}</pre>
</details>
<footer>Shown by tsgiref while you develop. The terminal has the error as well.${
    script === undefined ? '' : '\n<span id="wait">This page reloads itself when you save.</span>'
  }</footer>${script === undefined ? '' : `\n<script>${script}</script>`}
</body>
</html>
`;
}

/** The script that reloads a page when the request for `path` is answered. */
export function waitScript(path: string, method: string): string {
  // A form is not sent again by itself.
  const act =
    method === 'GET' || method === 'HEAD'
      ? 'location.reload()'
      : "document.getElementById('wait').textContent = 'A new version runs: send the form again.'";
  return `fetch('${path}').catch(() => {}).then(() => { ${act}; });`;
}

function renderError(error: ErrorReport, index: number, errors: ErrorReport[]): string {
  const { relation, name, message, frames, rule, properties } = error;
  const heading = index === 0 ? 'h1' : 'h2';
  const link = index === 0 ? '' : `<p class="relation">${renderRelation(error)}</p>\n`;
  return `${link}<section id="error-${index + 1}"${relation === '' ? '' : ' class="part"'}>
<${heading}><span class="name">${escape(name)}</span>${escape(message)}</${heading}>
${index === 0 ? renderChain(errors) : ''}${properties.length === 0 ? '' : renderTable(properties)}
${rule === undefined ? '' : renderRule(rule)}
${renderFrames(frames)}
</section>`;
}

function renderRelation({ relation, isRootCause }: ErrorReport): string {
  return escape(relation) + (isRootCause ? ' <b>root cause</b>' : '');
}

// The errors behind the one that was thrown, each a link to its section.
function renderChain([, ...others]: ErrorReport[]): string {
  if (others.length === 0) return '';
  const items = others.map((error, index) => {
    const { name, message } = error;
    const [line = ''] = message.split('\n');
    const text = `${name}: ${line.slice(0, 120)}`;
    return `<li>${renderRelation(error)} <a href="#error-${index + 2}">${escape(text)}</a></li>`;
  });
  return `<ul class="chain">\n${items.join('\n')}\n</ul>\n`;
}

function renderRule({ code, party, ruleText, hint }: Rule): string {
  const who = party === '' ? '' : ` broken by the ${party}`;
  return `<div class="rule">
<p><b>${escape(code)}</b>${escape(who)}</p>
<p>${escape(hint)}</p>
<p class="rule-text">${escape(ruleText)}</p>
</div>`;
}

// The first call of the application's own is open; the others are one click away.
function renderFrames(frames: Frame[]): string {
  const groups: Frame[][] = [];
  for (const frame of frames) {
    const last = groups.at(-1);
    if (frame.kind !== 'own' && last?.[0]?.kind === frame.kind) last.push(frame);
    else groups.push([frame]);
  }
  const open = frames.find(({ kind }) => kind === 'own');
  return groups.map((group) => renderGroup(group, open)).join('\n');
}

function renderGroup(frames: Frame[], open: Frame | undefined): string {
  const [first] = frames;
  if (first?.kind === 'own') return renderFrame(first, first === open);
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

function renderFrame(frame: Frame, isOpen: boolean): string {
  const lines = frame.source.flatMap(({ number, text, failing }) => {
    const tag = failing ? 'mark' : 'span';
    const line = `<${tag}><i>${number}</i>${escape(text) || ' '}</${tag}>`;
    if (!failing || frame.column === 0) return [line];
    return [line, `<span class="column"><i></i>${markColumn(text, frame.column)}</span>`];
  });
  // Content that scrolls must also scroll by key.
  const source = lines.length === 0 ? '' : `\n<pre tabindex="0">${lines.join('\n')}</pre>`;
  return `<details class="frame"${isOpen ? ' open' : ''}>
<summary>${renderPlace(frame)}</summary>${source}
</details>`;
}

function renderPlace({ call, file, path, line, column, kind }: Frame): string {
  const name = call === '' ? '' : `<b>${escape(call)}</b> `;
  const cut = Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1;
  const folder = `<span class="folder">${escape(path.slice(0, cut))}</span>`;
  const place = `${folder}${escape(path.slice(cut))}:${line}${column > 0 ? `:${column}` : ''}`;
  if (kind === 'library') return name + place;
  return `${name}<a href="${escape(editorLink(file, line, column))}">${place}</a>`;
}

// TSGIREF_EDITOR is the scheme of an editor's links, such as `vscode` or `cursor`, or
// a whole link with {file}, {line} and {column} in it.
function editorLink(file: string, line: number, column: number): string {
  const editor = process.env['TSGIREF_EDITOR'] || 'vscode';
  const link = editor.includes('{file}') ? editor : `${editor}://file/{file}:{line}:{column}`;
  const path = encodeURI(file.replaceAll('\\', '/')).replace(/[#?]/g, encodeURIComponent);
  return link
    .replace('/{file}', path.startsWith('/') ? path : `/${path}`)
    .replace('{file}', path)
    .replace('{line}', String(line))
    .replace('{column}', String(column || 1));
}

function renderEnviron(environ: NonNullable<Report['environ']>): string {
  const { query, form, request, headers, server } = environ;
  const parameters = (title: string, entries: Entry[]): string =>
    entries.length === 0 ? '' : `<h2>${title}</h2>\n${renderTable(entries)}\n`;
  const sent = parameters('The query', query) + parameters('The form', form);
  return `${sent}<h2>The request in environ</h2>
${renderTable(request)}
<details class="server">
<summary>The headers of the request</summary>
${renderTable(headers)}
</details>
<details class="server">
<summary>Keys that the server added</summary>
${renderTable(server)}
</details>`;
}

function renderTable(entries: Entry[]): string {
  const rows = entries.map(([key, value]) => {
    const shown = value === '' ? '<i>empty</i>' : escape(value);
    return `<tr><th scope="row">${escape(key)}</th><td>${shown}</td></tr>`;
  });
  return `<table>\n${rows.join('\n')}\n</table>`;
}

function escape(text: string): string {
  return escapeControls(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
