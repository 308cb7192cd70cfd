// How `npm test` reports: one line for each test file, the reason of each skipped test,
// every failure in full, and a last line `N passed, N failed, N skipped` that a script can read.
//
// Only leaves are counted: a test with subtests, a suite and a file count only if
// they fail for a reason of their own. The output of a file is shown only if the file
// fails.

import { basename, relative, resolve } from 'node:path';
import { inspect } from 'node:util';

/** The parts of node:test's events that are read here; they vary with Node's version. */
interface TestEvent {
  type: string;
  data: {
    name?: string;
    nesting?: number;
    file?: string;
    line?: number;
    // The file that was run, where `file` may be a module it imports (Node 24 and later).
    entryFile?: string;
    message?: string;
    skip?: string | boolean;
    todo?: string | boolean;
    details?: { duration_ms?: number; passed?: boolean; type?: string; error?: TestFailure };
  };
}

interface TestFailure extends Error {
  failureType?: string;
  exitCode?: number | null;
  signal?: string | null;
}

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** The results of one test file so far. */
class FileReport implements Counts {
  passed = 0;
  failed = 0;
  skipped = 0;
  milliseconds = 0;
  // The seed of its random numbers, if it has reported one.
  seed = '';
  broken = false;
  output = '';
  readonly path: string;
  readonly failures: string[] = [];
  // The names of the tests that were skipped, each with its reason.
  readonly skips: string[] = [];
  // The names of the tests that run now, one for each level.
  readonly names: string[] = [];
  // How many results each level has given since its parent began.
  readonly results: number[] = [];

  constructor(path: string) {
    this.path = relative(process.cwd(), path);
  }

  toString(): string {
    const tests = this.passed + this.failed + this.skipped;
    let text =
      `${this.broken ? 'FAIL' : 'ok  '} ${this.path} (${tests} tests, ${this.failed} failed`;
    if (this.skipped > 0) text += `, ${this.skipped} skipped`;
    if (this.seed !== '') text += `, ${this.seed}`;
    text += `, ${Math.round(this.milliseconds)} ms)\n`;
    for (const skip of this.skips) text += `     skipped: ${skip}\n`;
    if (!this.broken) return text;
    for (const failure of this.failures) text += `\n${failure}\n`;
    return `${text}${formatOutput(this.output)}\n`;
  }
}

export default async function* reporter(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const files = new Map<string, FileReport>();
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  let current: FileReport | undefined;

  for await (const { type, data } of events) {
    const path = data.entryFile ?? data.file;
    if (path === undefined) continue;
    const file = reportOf(files, resolve(path));
    if (type === 'test:pass' || type === 'test:fail') {
      // Results arrive file after file, so a result of another file completes this one.
      if (current !== undefined && current !== file) yield finish(current, files, total);
      current = file;
    }
    record(file, type, data);
  }
  for (const file of [...files.values()]) yield finish(file, files, total);
  yield `\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`;
}

function reportOf(files: Map<string, FileReport>, path: string): FileReport {
  let file = files.get(path);
  if (file === undefined) {
    file = new FileReport(path);
    files.set(path, file);
  }
  return file;
}

function finish(file: FileReport, files: Map<string, FileReport>, total: Counts): string {
  for (const [path, known] of files) if (known === file) files.delete(path);
  // A process may fail without a failed test; the counts must show that, too.
  if (file.broken && file.failed === 0) file.failed = 1;
  total.passed += file.passed;
  total.failed += file.failed;
  total.skipped += file.skipped;
  return file.toString();
}

function record(file: FileReport, type: string, data: TestEvent['data']): void {
  switch (type) {
    case 'test:stdout':
    case 'test:stderr':
      file.output += data.message ?? '';
      break;
    case 'test:diagnostic':
      // This is the only report of an error after a test's end.
      if (/^seed \d+$/.test(data.message ?? '')) file.seed = data.message ?? '';
      if (/^(Error|Warning):/.test(data.message ?? '')) file.output += `${data.message}\n`;
      break;
    case 'test:start':
      file.names.length = data.nesting ?? 0;
      file.names.push(data.name ?? '');
      break;
    case 'test:complete':
      if (isWholeFile(data)) {
        file.milliseconds = data.details?.duration_ms ?? 0;
        if (data.details?.passed === false) file.broken = true;
      }
      break;
    case 'test:pass':
    case 'test:fail':
      recordResult(file, type === 'test:fail', data);
  }
}

function recordResult(file: FileReport, failed: boolean, data: TestEvent['data']): void {
  const level = data.nesting ?? 0;
  const parent = (file.results[level + 1] ?? 0) > 0;
  file.results.length = level + 1;
  file.results[level] = (file.results[level] ?? 0) + 1;

  const suite = data.details?.type === 'suite';
  const error = data.details?.error;
  // Some versions report a todo or skip that is not there as false or undefined.
  const passedOver = isSet(data.skip) || isSet(data.todo);
  if (isWholeFile(data)) {
    if (failed) addFailure(file, 'the file itself', data, error);
  } else if (passedOver) {
    if (!parent) file.skipped += 1;
    if (typeof data.skip === 'string') file.skips.push(`${data.name}: ${data.skip}`);
  } else if (failed) {
    if (error?.failureType === 'subtestsFailed') return;
    const names = [...file.names.slice(0, level), data.name ?? ''];
    addFailure(file, names.join(' > '), data, error);
  } else if (!parent && !suite) {
    file.passed += 1;
  }
}

function isSet(mark: string | boolean | undefined): boolean {
  return mark !== undefined && mark !== false;
}

// The runner wraps each file in a test of the file's name.
function isWholeFile({ name = '', file = '', nesting }: TestEvent['data']): boolean {
  return nesting === 0 && resolve(name) === resolve(file) && name.includes(basename(file));
}

function addFailure(
  file: FileReport,
  name: string,
  data: TestEvent['data'],
  error: TestFailure | undefined,
): void {
  file.failed += 1;
  file.broken = true;
  const place = `${relative(process.cwd(), data.file ?? '')}:${data.line ?? 1}`;
  file.failures.push(`  ✖ ${name}\n    ${place}\n${indent(formatError(error), 4)}`);
}

function formatError(error: TestFailure | undefined): string {
  if (error === undefined) return 'failed without an error';
  if (error.signal) return `the process was ended by ${error.signal}`;
  if (typeof error.exitCode === 'number') return `the process ended with status ${error.exitCode}`;
  return formatCause(error.cause ?? error);
}

// node:test wraps what was thrown; the thrown value itself is what helps.
function formatCause(thrown: unknown): string {
  if (!(thrown instanceof Error)) return inspect(thrown, { depth: 5 });
  const stack = thrown.stack ?? '';
  const known = stack.includes(thrown.message) ? stack : `${thrown.message}\n${stack}`;
  const lines =
    known.split('\n').filter((line) => !/^\s+at .*\bnode:(internal\/|async_hooks)/.test(line));
  // An assertion's own message replaces the comparison, so it is added here.
  if ('generatedMessage' in thrown && thrown.generatedMessage === false) {
    if ('actual' in thrown) lines.push(`actual: ${inspect(thrown.actual, { depth: 5 })}`);
    if ('expected' in thrown) lines.push(`expected: ${inspect(thrown.expected, { depth: 5 })}`);
  }
  if (thrown instanceof AggregateError) {
    for (const inner of thrown.errors) lines.push(formatCause(inner));
  }
  if (thrown.cause !== undefined) lines.push(`caused by: ${formatCause(thrown.cause)}`);
  return lines.join('\n').trimEnd();
}

const LONGEST_OUTPUT = 60;

function formatOutput(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) return '';
  const left = lines.length - LONGEST_OUTPUT;
  const shown = left > 0 ? [`… ${left} lines before`, ...lines.slice(left)] : lines;
  return `\n  what it printed:\n${indent(shown.join('\n'), 4)}\n`;
}

function indent(text: string, columns: number): string {
  return text.replace(/^(?=.)/gm, ' '.repeat(columns));
}
