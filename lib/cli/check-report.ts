// The report of `--check`: every failure in the validator's voice, then a line for each
// group.

import type { CheckResult } from '../check.ts';

/** The report of a run, for a person. */
export function printReport(results: readonly CheckResult[]): string {
  const failures = results.filter(({ outcome }) => outcome === 'failed').map(printFailure);
  const others = results.filter(({ outcome }) => outcome === 'not applicable');
  return [...failures, printGroups(results), ...printChoices(others)].join('\n');
}

function printFailure({ id, reason, rule, source, hint, sent, seen }: CheckResult): string {
  const lines = [`${reason}.`, `${id}: ${rule} (${source})`, hint];
  const [request, response] = [firstLine(sent), firstLine(seen.client)];
  if (request !== '') lines.push(`Sent: ${request}; received: ${response || 'nothing'}`);
  return `${lines.join('\n')}\n`;
}

function printGroups(results: readonly CheckResult[]): string {
  const groups = [...new Set(results.map(({ group }) => group))];
  const lines = groups.map((group) => {
    const ofGroup = results.filter((result) => result.group === group);
    return `${group.padEnd(14)} ${count(ofGroup)}`;
  });
  return `${lines.join('\n')}\n${'all'.padEnd(14)} ${count(results)}\n`;
}

function count(results: readonly CheckResult[]): string {
  const of = (outcome: string): number =>
    results.filter((result) => result.outcome === outcome).length;
  const parts = [`${of('passed')} passed`];
  if (of('failed') > 0) parts.push(`${of('failed')} failed`);
  if (of('not applicable') > 0) parts.push(`${of('not applicable')} not applicable`);
  return parts.join(', ');
}

// Checks that do not apply for the same reason are one line.
function printChoices(results: readonly CheckResult[]): string[] {
  const reasons = [...new Set(results.map(({ reason }) => reason))];
  return reasons.map((reason) => {
    const ids = results.filter((result) => result.reason === reason).map(({ id }) => id);
    return `Not applicable, since ${reason}:\n  ${ids.join(', ')}\n`;
  });
}

function firstLine([text = '']: readonly string[]): string {
  return text.split('\r\n', 1)[0] ?? '';
}
