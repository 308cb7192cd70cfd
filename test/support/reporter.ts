// What `npm test` prints: a line for each file, failures in full, one sum at the end.

import { basename } from 'node:path';
import { inspect } from 'node:util';

interface TestEvent {
  type: string;
  data: {
    name?: string;
    file?: string;
    nesting?: number;
    message?: string;
    skip?: string | boolean;
    todo?: string | boolean;
    details?: { type?: string; duration_ms?: number; error?: unknown };
  };
}

interface FileCount {
  passed: number;
  failed: number;
  skipped: number;
  time: number;
}

export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const files = new Map<string, FileCount>();
  const failures: string[] = [];
  let output = '';

  for await (const { type, data } of source) {
    if (type === 'test:stdout' || type === 'test:stderr') output += data.message ?? '';
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const file = basename(data.file ?? data.name ?? '');
    const count = files.get(file) ?? { passed: 0, failed: 0, skipped: 0, time: 0 };
    files.set(file, count);
    if (data.nesting === 0) count.time += data.details?.duration_ms ?? 0;
    // A suite, or a test that failed only because one inside it did, is no case itself.
    if (data.details?.type === 'suite' || isEcho(data.details?.error)) continue;
    if (data.skip !== undefined || data.todo !== undefined) count.skipped += 1;
    else if (type === 'test:pass') count.passed += 1;
    else {
      count.failed += 1;
      failures.push(`\n✖ ${file}: ${data.name}\n${indent(explain(data.details?.error))}\n`);
    }
  }

  const sum: FileCount = { passed: 0, failed: 0, skipped: 0, time: 0 };
  for (const [file, count] of files) {
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : '';
    const mark = count.failed > 0 ? '✖' : '✔';
    yield `${mark} ${file}: ${count.passed} passed${skipped} (${Math.round(count.time)} ms)\n`;
    sum.passed += count.passed;
    sum.failed += count.failed;
    sum.skipped += count.skipped;
  }
  yield* failures;
  if (failures.length > 0 && output !== '') yield `\nWhat the tests printed:\n${indent(output.slice(-4000))}\n`;
  yield `${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`;
}

function isEcho(error: unknown): boolean {
  return error instanceof Error && Reflect.get(error, 'failureType') === 'subtestsFailed';
}

function explain(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return cause instanceof Error ? (cause.stack ?? cause.message) : inspect(cause);
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ');
}
