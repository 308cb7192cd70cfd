// The form of a check, and the list of all checks. Each file of groups/ declares the
// checks of one group; to declare a check is to put it on the list.

import type { Trial } from './trial.ts';

/** The name of a group of checks. */
export type CheckGroup =
  | 'connection' | 'environ' | 'input' | 'errors' | 'startResponse' | 'write' | 'body' | 'close'
  | 'framing' | 'failure' | 'client-leaves' | 'hygiene';

/** The groups, in the order in which a server is best built. */
export const GROUPS: readonly CheckGroup[] = [
  'connection', 'environ', 'input', 'errors', 'startResponse', 'write', 'body', 'close',
  'framing', 'failure', 'client-leaves', 'hygiene',
];

/**
 * The finding of a check: undefined if the server passed, otherwise its fault, as the
 * rest of a sentence that begins with "The server".
 */
export type CheckVerdict = string | undefined;

/** One check: a rule, and an experiment that shows whether the server keeps it. */
export interface Check {
  /** Its name in reports and in the `only` option, such as `environ-query`. */
  readonly id: string;
  /** The group it belongs to; the `only` option takes its name, too. */
  readonly group: CheckGroup;
  /** The rule, one sentence. */
  readonly rule: string;
  /** The source of the rule: a section of PEP 3333 or of an RFC. */
  readonly source: string;
  /** How to fix a server that breaks the rule, one sentence. */
  readonly hint: string;
  /** True if nothing else may run in the process at the same time. */
  readonly alone: boolean;
  /** Runs the experiment. Throws a Finding or a NotApplicable where it ends early. */
  readonly run: (trial: Trial) => Promise<CheckVerdict>;
}

/** Every check, in the order of the groups. */
export const checks: Check[] = [];

/**
 * The checks of these groups and with these ids, in their order.
 *
 * @throws TypeError if a name is neither a group nor an id
 */
export function selectChecks(only?: string | readonly string[]): Check[] {
  if (only === undefined) return [...checks];
  const names = typeof only === 'string' ? [only] : only;
  const matches = ({ group, id }: Check, name: string): boolean => name === group || name === id;
  for (const name of names) {
    if (checks.some((check) => matches(check, name))) continue;
    throw new TypeError(`there is no group and no check ${name}; the groups are ${
      GROUPS.join(', ')}`);
  }
  return checks.filter((check) => names.some((name) => matches(check, name)));
}

type Declare = (
  id: string,
  source: string,
  rule: string,
  hint: string,
  run: (trial: Trial) => Promise<CheckVerdict>,
) => void;

/** Declares the checks of one group. */
export interface CheckMaker extends Declare {
  /** Declares a check that runs while nothing else does. */
  readonly alone: Declare;
}

/** The function that declares checks of `group`. */
export function checksOf(group: CheckGroup): CheckMaker {
  const declare = (alone: boolean): Declare => (id, source, rule, hint, run) => {
    checks.push({ id, group, rule, source, hint, alone, run });
  };
  return Object.assign(declare(false), { alone: declare(true) });
}

/** Ends a check: the server broke the rule. The message is a verdict. */
export class Finding extends Error {
  override readonly name: string = 'Finding';
}

/** Ends a check: the rule does not bind this server. The message is the reason. */
export class NotApplicable extends Error {
  override readonly name: string = 'NotApplicable';
}

// The sources that several groups quote.
export {
  CONTENT_LENGTH, DETAILS, ENVIRON, ERROR_HANDLING, FILE_HANDLING, OTHER_FEATURES, START_RESPONSE,
  STREAMING, STREAMS, UNICODE, WRITE,
} from '../validate/rule.ts';
