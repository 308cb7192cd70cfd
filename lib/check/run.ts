// Runs checks against a server: many at once first, since most of their time is spent
// waiting. What failed runs again, beside nothing but other failures: only a fault that
// shows itself twice is reported. Checks that need quiet run last, one at a time.

import { AsyncLocalStorage } from 'node:async_hooks';

import { type Check, Finding, NotApplicable, checks } from './definition.ts';
import { Patience } from './patience.ts';
import { type StartServer, Trial, messageOf, respond } from './trial.ts';
import { UncaughtErrors } from './uncaught.ts';

/** What became of a check. */
export type Outcome = 'passed' | 'failed' | 'not applicable';

/** The result of one check. */
export interface CheckResult {
  id: string;
  group: string;
  outcome: Outcome;
  /** What the server did, if it failed; why the check does not apply to it. Else ''. */
  reason: string;
  /** What was sent on each connection, as Latin-1 text. */
  sent: string[];
  /** What was seen on both sides. */
  seen: {
    /** What the application saw, in sentences. */
    application: string[];
    /** What was received on each connection, as Latin-1 text. */
    client: string[];
  };
  rule: string;
  source: string;
  hint: string;
}

/** How a server is checked. */
export interface RunOptions {
  /**
   * How long a server may take for any one thing, in milliseconds; default ten times as
   * long as for its first answer, from 1000 to 6000.
   */
  timeLimit?: number | undefined;
  /** How many checks run at once; 1 for a server that can be started only once. */
  concurrency?: number | undefined;
  /** Called when a check begins; one may begin twice. */
  onStart?: ((check: Check) => void) | undefined;
  /** Called when the result of a check is final. */
  onResult?: ((result: CheckResult, done: number, total: number) => void) | undefined;
}

/** The check without which no other is run. */
export const FIRST_CHECK = 'connection-answers';
const LEAST_LIMIT_MS = 1000;
const MOST_LIMIT_MS = 6000;
const TIMES_SLOWER = 10;
const AT_ONCE = 8;
const LATE_MS = 100;
const LATE_ALONE_MS = 10;
const GRACE_MS = 100;
const LONGEST_CHECK = 15;
const LONGEST_TEXT = 2000;

/** One run of some checks against one server. */
export class Run {
  private readonly start: StartServer;
  private readonly selected: readonly Check[];
  private readonly options: RunOptions;
  private readonly results = new Map<string, CheckResult>();
  /** The checks that run now, each with whether an error was left uncaught meanwhile. */
  private readonly underWay = new Map<Check, boolean>();
  private readonly uncaught: UncaughtErrors = new UncaughtErrors(() => {
    for (const check of this.underWay.keys()) this.underWay.set(check, true);
    const suspect = this.context.getStore();
    if (suspect !== undefined) this.suspects.add(suspect);
    this.onUncaught();
  });
  private onUncaught = (): void => {};
  private readonly failedBefore = new Set<Check>();
  /**
   * The checks to which errors that nothing caught probably belong: Node does not always
   * know in which context an error was thrown. They do not run beside others again.
   */
  private readonly suspects = new Set<Check>();
  private readonly context = new AsyncLocalStorage<Check>();
  private limit = 0;

  constructor(start: StartServer, selected: readonly Check[], options: RunOptions) {
    this.start = start;
    this.selected = selected;
    this.options = options;
  }

  /** Resolves with the results, in the order of `checks`. */
  async finish(): Promise<CheckResult[]> {
    try {
      if (await this.answers()) await this.runAll();
    } finally {
      this.uncaught.restore();
    }
    return checks.flatMap(({ id }) => this.results.get(id) ?? []);
  }

  // A server that does not answer the simplest request would fail every check, each
  // after its time limit.
  private async answers(): Promise<boolean> {
    const first = checks.find(({ id }) => id === FIRST_CHECK) as Check;
    this.limit = this.options.timeLimit ?? LEAST_LIMIT_MS;
    const begin = performance.now();
    const result = await this.runAlone(first);
    const suggested = TIMES_SLOWER * (performance.now() - begin);
    this.limit = this.options.timeLimit ??
      Math.min(MOST_LIMIT_MS, Math.max(LEAST_LIMIT_MS, Math.round(suggested)));
    if (result.outcome === 'passed') {
      if (this.selected.includes(first)) this.settle(result);
      return true;
    }
    this.settle(result);
    const reason = `the server does not pass ${FIRST_CHECK}, without which nothing can be seen`;
    for (const check of this.selected) {
      if (check !== first) this.settle(resultOf(check, 'not applicable', reason));
    }
    return false;
  }

  private async runAll(): Promise<void> {
    const isWaiting = (check: Check): boolean => !this.results.has(check.id);
    const beside = this.selected.filter((check) => isWaiting(check) && !check.alone);
    const atOnce = this.options.concurrency ?? AT_ONCE;
    if (atOnce > 1 && beside.length > 1 && (await this.runsTwice())) {
      await this.runTogether(beside, atOnce);
      const again = beside.filter((check) => isWaiting(check) && !this.suspects.has(check));
      await this.runTogether(again, atOnce);
    }
    for (const check of this.selected.filter(isWaiting)) this.settle(await this.runAlone(check));
  }

  // Two checks at once need two servers, each with a port and an application of its own.
  private async runsTwice(): Promise<boolean> {
    const trials = new Map(['one', 'another'].map((name) => [name, this.makeTrial()]));
    try {
      for (const [name, trial] of trials) await trial.serve(respond([name]));
      for (const [name, trial] of trials) {
        const client = await trial.send();
        if ((await client.response()).body !== name) return false;
      }
      return true;
    } catch {
      return false;
    } finally {
      for (const trial of trials.values()) await trial.end();
      this.uncaught.take();
    }
  }

  // Settles the checks that pass, and those that fail for the second time. An error that
  // nothing caught may belong to any check that was under way: those stay unsettled.
  private async runTogether(group: readonly Check[], atOnce: number): Promise<void> {
    const waiting = [...group];
    const late: Array<Promise<void>> = [];
    const finish = async (check: Check, result: CheckResult): Promise<void> => {
      await afterLateEvents(LATE_MS);
      const isDisturbed = this.underWay.get(check) ?? false;
      this.underWay.delete(check);
      const isSure = result.outcome !== 'failed' || this.failedBefore.has(check);
      if (result.outcome === 'failed') this.failedBefore.add(check);
      if (isSure && !isDisturbed) this.settle(result);
    };
    const take = async (): Promise<void> => {
      for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
        const current = check;
        this.announce(check);
        this.underWay.set(check, false);
        late.push(finish(check, await this.context.run(check, () => this.perform(current))));
      }
    };
    await Promise.all(Array.from({ length: atOnce }, take));
    await Promise.all(late);
  }

  // A check during which the server throws does not go on to its time limit.
  private async runAlone(check: Check): Promise<CheckResult> {
    this.announce(check);
    this.uncaught.take();
    const thrown = new Promise<void>((resolve) => {
      this.onUncaught = () => void setTimeout(resolve, GRACE_MS);
    });
    const result = await this.perform(check, thrown);
    await afterLateEvents(LATE_ALONE_MS);
    const [error] = this.uncaught.take();
    if (error === undefined || result.outcome === 'failed') return result;
    const reason = `left an error uncaught, which ends a Node process: ${messageOf(error)}`;
    return { ...result, outcome: 'failed', reason: `The server ${reason}` };
  }

  /** @param interruption ends the check when it resolves, as one that has passed */
  private async perform(check: Check, interruption?: Promise<void>): Promise<CheckResult> {
    const trial = this.makeTrial();
    const whole = new Patience(this.limit * LONGEST_CHECK);
    const complaint = (): string => `kept the check from ending ${whole.inSeconds}`;
    const run = check.run(trial);
    let result: CheckResult;
    try {
      const ends = interruption === undefined ? run : Promise.race([run, interruption]);
      const verdict = (await whole.within(ends, complaint)) ?? undefined;
      result = verdict === undefined
        ? resultOf(check, 'passed')
        : resultOf(check, 'failed', `The server ${verdict}`);
    } catch (error) {
      result = explain(check, error);
    }
    await trial.end();
    result.sent = trial.clients.map(({ sent }) => shorten(sent));
    result.seen = {
      application: trial.describeApplication(),
      client: trial.clients.map(({ received }) => shorten(received)),
    };
    return result;
  }

  private makeTrial(): Trial {
    return new Trial(this.start, new Patience(this.limit));
  }

  private announce(check: Check): void {
    if (this.selected.includes(check)) this.options.onStart?.(check);
  }

  private settle(result: CheckResult): void {
    this.results.set(result.id, result);
    this.options.onResult?.(result, this.results.size, this.selected.length);
  }
}

/** The result of a check that did not run, or of which nothing else is known. */
export function resultOf(check: Check, outcome: Outcome, reason: string = ''): CheckResult {
  const { id, group, rule, source, hint } = check;
  const seen = { application: [], client: [] };
  return { id, group, outcome, reason, sent: [], seen, rule, source, hint };
}

function explain(check: Check, error: unknown): CheckResult {
  if (error instanceof NotApplicable) return resultOf(check, 'not applicable', error.message);
  if (error instanceof Finding) return resultOf(check, 'failed', `The server ${error.message}`);
  return resultOf(check, 'failed', `The server broke the check: ${messageOf(error)}`);
}

// Time for the errors that a server throws after its last answer.
function afterLateEvents(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(() => setImmediate(resolve), milliseconds));
}

function shorten(text: string): string {
  if (text.length <= LONGEST_TEXT) return text;
  return `${text.slice(0, LONGEST_TEXT)}… (${text.length} bytes)`;
}
