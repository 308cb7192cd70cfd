// The report for a terminal: the same as the page, without its looks.

import type { ErrorReport, Frame, Report } from './report.ts';

/** The report as plain text. */
export function renderText({ errors, request, environ }: Report): string {
  const chain = errors.map(
    (error, index) => (index === 0 ? '' : 'Caused by ') + renderError(error),
  );
  const rows = environ.map(([key, value]) => `  ${key} = ${value}\n`).join('');
  return `${request}\n\n${chain.join('\n')}\nenviron\n${rows}`;
}

function renderError({ name, message, frames, rule }: ErrorReport): string {
  const law = rule === undefined ? '' : `${rule.hint}\n(rule ${rule.code}: ${rule.reference})\n`;
  const own = frames.filter((frame) => frame.own);
  return `${name}: ${message}\n${law}${(own.length > 0 ? own : frames).map(renderFrame).join('')}`;
}

function renderFrame({ call, file, line, source }: Frame): string {
  const lines = source.map((each) => {
    const mark = each.failing ? '>' : ' ';
    return `  ${mark} ${String(each.number).padStart(5)} | ${each.text}\n`;
  });
  return `  at ${call === '' ? '' : `${call}, `}${file}:${line}\n${lines.join('')}`;
}
