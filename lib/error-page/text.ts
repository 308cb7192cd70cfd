// The report for a terminal. A terminal shows the end of a text, so the error comes last.

import { escapeControls } from '../secrets.ts';
import type { Entry } from './environ.ts';
import type { Frame } from './frames.ts';
import type { ErrorReport, Report, Rule } from './report.ts';

/** The report as plain text, without characters that a terminal would act on. */
export function renderText({ errors, environ }: Report): string {
  const parts = errors.map(renderError);
  if (environ !== undefined) {
    const { server, headers, request, query, form } = environ;
    parts.unshift(
      renderEntries('environ, from the server', server),
      renderEntries('environ, headers of the request', headers),
      renderEntries('environ, of the request', request),
      renderEntries('form', form),
      renderEntries('query', query),
      `${environ.line}\n`,
    );
  }
  return escapeControls(parts.filter((part) => part !== '').join('\n'));
}

function renderError(error: ErrorReport): string {
  const { relation, name, message, frames, properties, rule, isRootCause } = error;
  const root = isRootCause ? ', the root cause' : '';
  const head = `${relation === '' ? '' : `${relation}${root}:\n`}${name}: ${message}\n`;
  const details = properties.map(([key, value]) => `  ${key}: ${value}\n`).join('');
  return head + details + (rule === undefined ? '' : renderRule(rule)) + renderFrames(frames);
}

function renderRule({ code, party, ruleText, hint }: Rule): string {
  const who = party === '' ? '' : `, broken by the ${party}`;
  return `  hint: ${hint}\n  rule: ${code}${who}\n        ${ruleText}\n`;
}

// Calls in libraries are listed only where there are no others.
function renderFrames(frames: Frame[]): string {
  const own = frames.filter(({ kind }) => kind !== 'library');
  return (own.length > 0 ? own : frames).map(renderFrame).join('');
}

function renderFrame({ call, path, line, column, kind, source }: Frame): string {
  const position = column > 0 ? `${line}:${column}` : line;
  const place = `  at ${call === '' ? '' : `${call}, `}${path}:${position}\n`;
  if (kind !== 'own') return place;
  const lines = source.flatMap(({ number, text, failing }) => {
    const shown = `  ${failing ? '>' : ' '} ${String(number).padStart(5)} | ${text}`.trimEnd();
    return failing && column > 0 ? [shown, `          | ${markColumn(text, column)}`] : [shown];
  });
  return place + lines.map((each) => `${each}\n`).join('');
}

/** Blanks and a mark that is below that column, counted from 1, of the text. */
export function markColumn(text: string, column: number): string {
  return `${text.slice(0, column - 1).replace(/[^\t]/g, ' ')}^`;
}

function renderEntries(title: string, entries: Entry[]): string {
  if (entries.length === 0) return '';
  return `${title}\n${entries.map(([key, value]) => `  ${key} = ${value}\n`).join('')}`;
}
