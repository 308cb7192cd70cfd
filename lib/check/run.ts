// Runs checks against a server: many at once first, since most of their time is spent
// waiting. A check that failed runs again together with the other failed ones. Only a
// second failure is reported. A check runs alone if it needs quiet, or if the server left
// an error uncaught in it.

import { AsyncLocalStorage } from 'node:async_hooks';

import { type Check, Finding, NotApplicable, checks } from './definition.ts';
import { Patience } from './patience.ts';
import { type StartServer, Trial, messageOf, respond } from './trial.ts';
import { UncaughtErrors } from './uncaught.ts';

/** The outcome of a check. */
export type Outcome = 'passed' | 'failed' | 'not applicable';

/** The result of one check. */
export interface CheckResult {
  /** The id of the check, such as `environ-query`. */
  id: string;
  /** The group of the check. */
  group: string;
  /** Whether the server passed, failed, or the check does not apply to it. */
  outcome: Outcome;
  /** The fault of a server that failed; the reason why a check does not apply. Else ''. */
  reason: string;
  /** All that was sent, for each connection, as Latin-1 text. */
  sent: string[];
  /** The observations on both sides. */
  seen: {
    /** The observations of the application, in sentences. */
    application: string[];
    /** All that was received, for each connection, as Latin-1 text. */
    client: string[];
  };
  /** The rule that was checked, one sentence. */
  rule: string;
  /** The source of the rule: a section of PEP 3333 or of an RFC. */
  source: string;
  /** How to fix a server that breaks the rule, one sentence. */
  hint: string;
}

/** How a server is checked. */
export interface CheckRunOptions {
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

/** A check that runs, and the errors that the server leaves uncaught meanwhile. */
class Attempt {
  readonly check: Check;
  result: CheckResult;
  /** The first error of this attempt; undefined without one. */
  error: { value: unknown } | undefined = undefined;
  /** Resolves soon after that error: the server need not be waited for any longer. */
  readonly interruption: Promise<void>;
  /** The checks to which the other errors belong; undefined where that is not known. */
  readonly doubts = new Set<Check | undefined>();
  private interrupt: () => void = () => {};

  constructor(check: Check) {
    this.check = check;
    this.result = resultOf(check, 'passed');
    this.interruption = new Promise((resolve) => { this.interrupt = resolve; });
  }

  addError(value: unknown): void {
    this.error ??= { value };
    setTimeout(this.interrupt, GRACE_MS);
  }
}

/** One run of some checks against one server. */
export class Run {
  private readonly start: StartServer;
  private readonly selected: readonly Check[];
  private readonly options: CheckRunOptions;
  private readonly results = new Map<string, CheckResult>();
  private readonly underWay = new Set<Attempt>();
  private readonly context = new AsyncLocalStorage<Attempt>();
  private readonly uncaught = new UncaughtErrors((error) => this.assign(error));
  private readonly failedBefore = new Set<Check>();
  /** The checks in which the server left an error uncaught while others ran. */
  private readonly suspects = new Set<Check>();
  /** The suspects in which it did so again while nothing else ran. */
  private readonly confirmed = new Set<Check | undefined>();
  /** The attempts whose results count if all their doubts are confirmed. */
  private readonly doubtful: Attempt[] = [];
  private limit = 0;

  constructor(start: StartServer, selected: readonly Check[], options: CheckRunOptions) {
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
    const isWaiting = ({ id }: Check): boolean => !this.results.has(id);
    const beside = this.selected.filter((check) => isWaiting(check) && !check.alone);
    const atOnce = this.options.concurrency ?? AT_ONCE;
    if (atOnce > 1 && beside.length > 1 && (await this.runsTwice())) {
      await this.runTogether(beside, atOnce);
      await this.runTogether(beside.filter((check) => this.failedBefore.has(check)), atOnce);
      for (const check of this.suspects) this.settle(await this.runAlone(check));
      for (const { result, doubts } of this.doubtful) {
        if ([...doubts].every((check) => this.confirmed.has(check))) this.settle(result);
      }
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
    }
  }

  // An error belongs to the check in whose context it is thrown. If the server shares
  // something among its requests, another check may have caused it. So the results of
  // the others count only if that check provokes the error alone, too.
  private assign(error: unknown): void {
    const context = this.context.getStore();
    const known = context !== undefined && this.underWay.has(context) ? context : undefined;
    const [first] = this.underWay;
    const source = this.underWay.size === 1 ? first : known;
    source?.addError(error);
    for (const attempt of this.underWay) {
      if (attempt !== source) attempt.doubts.add(source?.check);
    }
  }

  // Settles the checks that pass, and those that fail for the second time.
  private async runTogether(group: readonly Check[], atOnce: number): Promise<void> {
    const waiting = [...group];
    const late: Array<Promise<void>> = [];
    const finish = async (attempt: Attempt): Promise<void> => {
      await this.end(attempt, LATE_MS);
      const { check, result, error, doubts } = attempt;
      if (error !== undefined) this.suspects.add(check);
      else if (result.outcome === 'failed' && !this.failedBefore.has(check)) {
        this.failedBefore.add(check);
      } else if (doubts.size > 0) this.doubtful.push(attempt);
      else this.settle(result);
    };
    const take = async (): Promise<void> => {
      for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
        const attempt = this.begin(check);
        await this.perform(attempt);
        late.push(finish(attempt));
      }
    };
    await Promise.all(Array.from({ length: atOnce }, take));
    await Promise.all(late);
  }

  private async runAlone(check: Check): Promise<CheckResult> {
    const attempt = this.begin(check);
    await this.perform(attempt);
    await this.end(attempt, LATE_ALONE_MS);
    const { error, result } = attempt;
    if (error === undefined) return result;
    this.confirmed.add(check);
    if (result.outcome === 'failed') return result;
    const message = messageOf(error.value);
    const reason = `The server left an error uncaught, which ends a Node process: ${message}`;
    return { ...result, outcome: 'failed', reason };
  }

  private begin(check: Check): Attempt {
    if (this.selected.includes(check)) this.options.onStart?.(check);
    const attempt = new Attempt(check);
    this.underWay.add(attempt);
    return attempt;
  }

  // The server may throw after its last answer, too.
  private async end(attempt: Attempt, lateMs: number): Promise<void> {
    await new Promise((resolve) => setTimeout(() => setImmediate(resolve), lateMs));
    this.underWay.delete(attempt);
  }

  private async perform(attempt: Attempt): Promise<void> {
    const { check, interruption } = attempt;
    const trial = this.makeTrial();
    const whole = new Patience(this.limit * LONGEST_CHECK);
    const complaint = (): string => `kept the check from ending ${whole.inSeconds}`;
    const run = this.context.run(attempt, () => check.run(trial));
    let result: CheckResult;
    try {
      const ends = Promise.race([run, interruption]);
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
    attempt.result = result;
  }

  private makeTrial(): Trial {
    return new Trial(this.start, new Patience(this.limit));
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

function shorten(text: string): string {
  if (text.length <= LONGEST_TEXT) return text;
  return `${text.slice(0, LONGEST_TEXT)}… (${text.length} bytes)`;
}
