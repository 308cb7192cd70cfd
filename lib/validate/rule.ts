// What a rule of the interface is, and the list of all of them. Each file of this
// folder declares the rules of its part of the interface beside the checks that
// hold them; to declare a rule is to put it on the list.

/** Who breaks a rule. Middleware is bound by the rules of both its neighbours. */
export type Party = 'application' | 'server' | 'middleware';

/** What happens when a rule is broken: it throws, it is told, or nothing. */
export type Severity = 'error' | 'warning' | 'off';

/** One rule of the interface. */
export interface Rule {
  /** Its name in messages and in the `severity` option, such as `status-space`. */
  readonly id: string;
  /** Who breaks it, as a rule; a report names the one who did. */
  readonly party: Party;
  /** Unless the `severity` option says otherwise; `off` becomes `warning` when strict. */
  readonly severity: Severity;
  /** Where the rule stands: a section of PEP 3333 or of an RFC. */
  readonly reference: string;
  /** The rule itself, one sentence. */
  readonly text: string;
  /** How to mend what breaks it, one sentence. */
  readonly hint: string;
}

/** Every rule that the validator knows, in the order of the exchange. */
export const rules: Rule[] = [];

type Declare = (id: string, reference: string, text: string, hint: string) => Rule;

/** Declares the rules that bind one party. */
export interface RuleMaker {
  /** A rule whose breach throws. */
  readonly error: Declare;
  /** A rule whose breach is told. */
  readonly warning: Declare;
  /** A rule that is checked only when asked for. */
  readonly option: Declare;
}

export const application: RuleMaker = rulesFor('application');
export const server: RuleMaker = rulesFor('server');
export const middleware: RuleMaker = rulesFor('middleware');

function rulesFor(party: Party): RuleMaker {
  const declare = (severity: Severity): Declare => (id, reference, text, hint) => {
    const rule: Rule = { id, party, severity, reference, text, hint };
    rules.push(rule);
    return rule;
  };
  return { error: declare('error'), warning: declare('warning'), option: declare('off') };
}

/** A rule together with the question whether a value breaks it. */
export interface Check<Value> {
  readonly rule: Rule;
  readonly isBroken: (value: Value) => boolean;
}

/** One row of a table of rules that are alike. */
export function check<Value>(rule: Rule, isBroken: (value: Value) => boolean): Check<Value> {
  return { rule, isBroken };
}

// The chapters of PEP 3333 that the rules come from.
export const STRING_TYPES = 'PEP 3333, "A Note On String Types"';
export const APPLICATION_SIDE = 'PEP 3333, "The Application/Framework Side"';
export const DETAILS = 'PEP 3333, "Specification Details"';
export const ENVIRON = 'PEP 3333, "environ Variables"';
export const STREAMS = 'PEP 3333, "Input and Error Streams"';
export const START_RESPONSE = 'PEP 3333, "The start_response() Callable"';
export const CONTENT_LENGTH = 'PEP 3333, "Handling the Content-Length Header"';
export const STREAMING = 'PEP 3333, "Buffering and Streaming"';
export const BLOCK_BOUNDARIES = 'PEP 3333, "Middleware Handling of Block Boundaries"';
export const WRITE = 'PEP 3333, "The write() Callable"';
export const UNICODE = 'PEP 3333, "Unicode Issues"';
export const ERROR_HANDLING = 'PEP 3333, "Error Handling"';
export const OTHER_FEATURES = 'PEP 3333, "Other HTTP Features"';
export const FILE_HANDLING = 'PEP 3333, "Optional Platform-Specific File Handling"';

// What PEP 3333 cannot say, since only JavaScript needs it said.
export const ITERATION = 'ECMA-262, "Iteration"';
