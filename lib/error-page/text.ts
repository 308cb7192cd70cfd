// The report for a terminal: the same as the page, without its looks.

import type { Entry } from './environ.ts';
import type { Frame } from './frames.ts';
import type { ErrorReport, Report, Rule } from './report.ts';

/** The report as plain text. */
export function renderText({ errors, environ }: Report): string {
  return `${environ.line}

${errors.map(renderError).join('\n')}
environ, of the request
${renderEntries(environ.request)}
environ, of the server
${renderEntries(environ.server)}`;
}

function renderError({ relation, name, message, frames, rule }: ErrorReport): string {
  const head = `${relation === '' ? '' : `${relation}:\n`}${name}: ${message}\n`;
  return head + (rule === undefined ? '' : renderRule(rule)) + renderFrames(frames);
}

function renderRule({ code, party, law, hint }: Rule): string {
  const who = party === '' ? '' : `, broken by the ${party}`;
  return `  hint: ${hint}\n  rule: ${code}${who}\n        ${law}\n`;
}

// Places of libraries are given only where there is nothing else to go by.
function renderFrames(frames: Frame[]): string {
  const own = frames.filter(({ kind }) => kind !== 'library');
  return (own.length > 0 ? own : frames).map(renderFrame).join('');
}

function renderFrame({ call, file, line, kind, source }: Frame): string {
  const place = `  at ${call === '' ? '' : `${call}, `}${file}:${line}\n`;
  if (kind !== 'own') return place;
  const lines = source.map(({ number, text, failing }) => {
    return `  ${failing ? '>' : ' '} ${String(number).padStart(5)} | ${text}`.trimEnd();
  });
  return place + lines.map((each) => `${each}\n`).join('');
}

function renderEntries(entries: Entry[]): string {
  return entries.map(([key, value]) => `  ${key} = ${value}\n`).join('');
}
