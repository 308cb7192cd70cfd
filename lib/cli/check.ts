// `--check`: runs the checks of a server in a process of their own, and prints what
// they found. When a server ends that process, or stops it with a loop, another one
// goes on with the rest, one check at a time.

import { type ChildProcess, fork } from 'node:child_process';

import { type CheckResult, checks } from '../check.ts';
import { GROUPS, selectChecks } from '../check/definition.ts';
import { FIRST_CHECK, resultOf } from '../check/run.ts';
import type { Settings } from './arguments.ts';
import { Problem, nearest } from './problem.ts';
import { printReport } from './check-report.ts';
import type { Terminal } from './request.ts';

/** The task of a process of checks. */
export interface CheckOrder {
  target: string;
  ids: string[];
  timeLimit: number | undefined;
  concurrency: number | undefined;
}

/** The reports of the child, one at a time; `alive` several times a second. */
export type CheckMessage =
  | { kind: 'loaded' | 'alive' | 'finished' }
  | { kind: 'problem'; text: string }
  | { kind: 'started'; id: string }
  | { kind: 'result'; result: CheckResult };

const LONGEST_SILENCE_MS = 10_000;
const LONGEST_LOADING_MS = 60_000;
const LAST_WORDS = 1000;

/** Checks the server that FILE starts; resolves with the exit status. */
export async function check(
  { only, json }: { only: string[]; json: boolean },
  { target, limits, envFile }: Settings,
  { stdout, stderr }: Terminal,
): Promise<number> {
  if (target === undefined) {
    throw new Problem('--check takes the FILE that exports start(app): tsgiref --check gateway.ts');
  }
  const ids = select(only);
  // The process of the checks inherits the variables.
  if (envFile !== undefined) process.loadEnvFile(envFile);
  const progress = new Progress(ids.length, stderr);
  const order = { target, timeLimit: limits.requestTimeout };
  const results = await runAll(ids, order, progress);
  progress.end();
  stdout.write(json ? `${JSON.stringify(results, null, 2)}\n` : printReport(results));
  return results.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
}

function select(only: string[]): string[] {
  const names = new Set(checks.flatMap(({ id, group }) => [group, id]));
  for (const name of only) {
    if (names.has(name)) continue;
    const meant = nearest(name, names);
    const advice = meant ? `did you mean ${meant}?` : `the groups are ${GROUPS.join(', ')}`;
    throw new Problem(`there is no group and no check ${name}; ${advice}`);
  }
  return selectChecks(only.length === 0 ? undefined : only).map(({ id }) => id);
}

// The line that says how far it is; only people at a terminal need it.
class Progress {
  private readonly total: number;
  private readonly stderr: Terminal['stderr'];
  private done = 0;

  constructor(total: number, stderr: Terminal['stderr']) {
    this.total = total;
    this.stderr = stderr;
  }

  add({ group }: CheckResult): void {
    this.done += 1;
    this.print(`${this.done}/${this.total} ${group}`);
  }

  end(): void {
    this.print('');
  }

  private print(line: string): void {
    if (this.stderr.isTTY) this.stderr.write(`\r\x1b[K${line}`);
  }
}

async function runAll(
  ids: string[], order: Omit<CheckOrder, 'ids' | 'concurrency'>, progress: Progress,
): Promise<CheckResult[]> {
  const results = new Map<string, CheckResult>();
  const settle = (result: CheckResult): void => {
    results.set(result.id, result);
    progress.add(result);
  };
  let concurrency: number | undefined;
  for (let waiting = ids; waiting.length > 0; waiting = ids.filter((id) => !results.has(id))) {
    const { underWay, ending } = await runBatch({ ...order, ids: waiting, concurrency }, settle);
    if (ending === undefined) break;
    // Of several checks at once, nobody knows which one ended the process.
    concurrency = 1;
    if (underWay.size > 1) continue;
    // The first check runs in every process, whether it was asked for or not.
    const [failedId = FIRST_CHECK] = underWay;
    settle(failed(failedId, ending));
    if (failedId !== FIRST_CHECK) continue;
    for (const id of waiting) if (!results.has(id)) settle(notApplicable(id));
    break;
  }
  return checks.flatMap(({ id }) => results.get(id) ?? []);
}

/** How a process of checks ended: the checks that were under way, if it did not finish. */
interface Ending {
  underWay: Set<string>;
  ending: string | undefined;
}

function runBatch(order: CheckOrder, settle: (result: CheckResult) => void): Promise<Ending> {
  const child = fork(new URL('./check-child.js', import.meta.url), {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const lastOutput = collect(child);
  const underWay = new Set<string>();
  let isLoaded = false;
  let isFinished = false;
  let isSilent = false;
  let problem: string | undefined;
  const stop = (): void => {
    isSilent = true;
    child.kill('SIGKILL');
  };
  let silence = setTimeout(stop, LONGEST_LOADING_MS);

  child.on('message', (message: CheckMessage) => {
    silence.refresh();
    if (message.kind === 'loaded') {
      isLoaded = true;
      clearTimeout(silence);
      silence = setTimeout(stop, LONGEST_SILENCE_MS);
    } else if (message.kind === 'finished') isFinished = true;
    else if (message.kind === 'problem') problem = message.text;
    else if (message.kind === 'started') underWay.add(message.id);
    else if (message.kind === 'result') {
      underWay.delete(message.result.id);
      settle(message.result);
    }
  });
  child.send(order);

  return new Promise((resolve, reject) => {
    child.on('close', (code, signal) => {
      clearTimeout(silence);
      if (problem !== undefined) return reject(new Problem(problem));
      if (isFinished) return resolve({ underWay: new Set(), ending: undefined });
      const how = signal === null ? `with the exit status ${code}` : `by the signal ${signal}`;
      const words = lastOutput();
      if (!isLoaded) {
        const reason = isSilent
          ? `did not finish loading within ${LONGEST_LOADING_MS / 1000} seconds${words}`
          : `ended the process ${how} while it loaded${words}`;
        return reject(new Problem(`${order.target} ${reason}`));
      }
      const ending = isSilent
        ? 'kept the process busy, as a loop without an end does'
        : `ended the process ${how}${words}`;
      resolve({ underWay, ending });
    });
  });
}

// The server's output is not part of the report; but it may say why the process ended.
function collect({ stdout, stderr }: ChildProcess): () => string {
  let text = '';
  stdout?.resume();
  stderr?.setEncoding('utf8').on('data', (data: string) => {
    text = (text + data).slice(-LAST_WORDS);
  });
  return () => (text.trim() === '' ? '' : `; it printed:\n${text.trim()}`);
}

function find(id: string): (typeof checks)[number] {
  const found = checks.find((each) => each.id === id);
  if (found === undefined) throw new Error(`there is no check ${id}`);
  return found;
}

function failed(id: string, ending: string): CheckResult {
  return resultOf(find(id), 'failed', `The server ${ending}`);
}

function notApplicable(id: string): CheckResult {
  return resultOf(find(id), 'not applicable', `the server does not pass ${FIRST_CHECK}`);
}
