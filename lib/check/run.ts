// Runs checks against a server: many at once first, since most of their time is spent
// waiting, then one at a time all that need quiet or that found a fault. Only a fault
// that shows itself when nothing else runs is reported.

import { type Check, Finding, NotApplicable, checks } from './definition.ts';
import { Patience } from './patience.ts';
import { type StartServer, Trial, messageOf } from './trial.ts';
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
  /** How long a server may take for any one thing, in milliseconds. */
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
const LEAST_LIMIT_MS = 2000;
const MOST_LIMIT_MS = 6000;
const TIMES_SLOWER = 3;
const AT_ONCE = 8;
const LATE_MS = 100;
const LATE_ALONE_MS = 10;
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
  });
  private readonly late: Array<Promise<void>> = [];
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
    const waiting = this.selected.filter((check) => !this.results.has(check.id));
    const parallel = waiting.filter((check) => !check.alone);
    const atOnce = this.options.concurrency ?? AT_ONCE;
    if (atOnce > 1 && parallel.length > 1 && (await this.startsTwice())) {
      const take = async (): Promise<void> => {
        for (let check = parallel.shift(); check !== undefined; check = parallel.shift()) {
          await this.runBesideOthers(check);
        }
      };
      await Promise.all(Array.from({ length: atOnce }, take));
      await Promise.all(this.late);
    }
    for (const check of waiting) {
      if (!this.results.has(check.id)) this.settle(await this.runAlone(check));
    }
  }

  // Two checks at once need two servers, on two ports.
  private async startsTwice(): Promise<boolean> {
    const trials = [this.makeTrial(), this.makeTrial()];
    try {
      const ports: string[] = [];
      for (const trial of trials) ports.push((await trial.serve(() => [])).port);
      return new Set(ports).size === 2;
    } catch {
      return false;
    } finally {
      for (const trial of trials) await trial.end();
      this.uncaught.take();
    }
  }

  // An error that nothing caught may belong to any check that was under way, and a
  // fault to the load that the others make: those checks run again, alone.
  private async runBesideOthers(check: Check): Promise<void> {
    this.announce(check);
    this.underWay.set(check, false);
    const result = await this.perform(check);
    this.late.push(afterLateEvents(LATE_MS).then(() => {
      const isDisturbed = this.underWay.get(check) ?? false;
      this.underWay.delete(check);
      if (result.outcome !== 'failed' && !isDisturbed) this.settle(result);
    }));
  }

  private async runAlone(check: Check): Promise<CheckResult> {
    this.announce(check);
    this.uncaught.take();
    const result = await this.perform(check);
    await afterLateEvents(LATE_ALONE_MS);
    const [error] = this.uncaught.take();
    if (error === undefined || result.outcome === 'failed') return result;
    const reason = `left an error uncaught, which ends a Node process: ${messageOf(error)}`;
    return { ...result, outcome: 'failed', reason: `The server ${reason}` };
  }

  private async perform(check: Check): Promise<CheckResult> {
    const trial = this.makeTrial();
    const whole = new Patience(this.limit * LONGEST_CHECK);
    const complaint = (): string => `kept the check from ending ${whole.inSeconds}`;
    let result: CheckResult;
    try {
      const verdict = await whole.within(check.run(trial), complaint);
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
