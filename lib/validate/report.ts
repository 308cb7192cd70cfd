// How a broken rule is told: as an error that is thrown where it was broken, or as
// a warning. Either names who did what, the rule with its place, and a remedy.

import { quote } from '../describe.ts';
import { type Party, type Rule, type Severity, rules } from './rule.ts';

/** How a validator reports. */
export interface ValidatorOptions {
  /**
   * Called with each warning, in place of `process.emitWarning`. May throw, so
   * that a test fails on a warning, too.
   */
  onWarning?: (warning: WSGIError) => void;
  /** What to do about single rules, by id, in place of their own severity. */
  severity?: Readonly<Record<string, Severity>>;
  /** Checks the optional rules as well. */
  strict?: boolean;
}

/**
 * A broken rule. The message is two to four lines: what was done and by whom, the
 * rule and where it stands, how to mend it, and, where a call of the application's
 * did it, the file and line of that call.
 */
export class WSGIError extends Error {
  override readonly name: string = 'WSGIError';
  /** The id of the rule. */
  readonly code: string;
  /** Who broke it. */
  readonly party: Party;
  /** Where the rule stands: a section of PEP 3333 or of an RFC. */
  readonly reference: string;
  /** How to mend it. */
  readonly hint: string;

  constructor(message: string, rule: Pick<Rule, 'id' | 'party' | 'reference' | 'hint'>) {
    super(message);
    this.code = rule.id;
    this.party = rule.party;
    this.reference = rule.reference;
    this.hint = rule.hint;
  }
}

/** A broken rule, on its way to a message. */
export interface Breach {
  rule: Rule;
  party: Party;
  /** The party as a message names it: `The application hello`. */
  subject: string;
  /** What it did, as the rest of that sentence. */
  deed: string;
  hint: string;
  /** File and line of the call, where there was one. */
  place: string | undefined;
}

/** Decides between error, warning and silence, and delivers. */
export class Reporter {
  /** What `onWarning` threw last, so that it is told from a fault in what is checked. */
  thrown: unknown = undefined;
  private readonly onWarning: (warning: WSGIError) => void;
  private readonly severities: ReadonlyMap<string, Severity>;
  private readonly strict: boolean;

  /** Throws a TypeError when `severity` names no rule, or none of the three. */
  constructor({ onWarning = emitWarning, severity = {}, strict = false }: ValidatorOptions) {
    this.onWarning = onWarning;
    this.strict = strict;
    this.severities = new Map(Object.entries(severity));
    for (const [id, value] of this.severities) checkSeverity(id, value);
  }

  /** What a breach of `rule` means here. */
  severityOf(rule: Rule, usual: Severity = rule.severity): Severity {
    const chosen = this.severities.get(rule.id);
    if (chosen !== undefined) return chosen;
    return this.strict && usual === 'off' ? 'warning' : usual;
  }

  /** Throws a WSGIError, or warns. */
  deliver(severity: Severity, breach: Breach): void {
    if (severity === 'off') return;
    const error = makeError(breach);
    if (severity === 'error') throw error;
    try {
      this.onWarning(error);
    } catch (thrown) {
      this.thrown = thrown;
      throw thrown;
    }
  }
}

function checkSeverity(id: string, severity: Severity): void {
  if (!rules.some((rule) => rule.id === id)) {
    throw new TypeError(`the option severity names ${quote(id)}, which is no rule: see \`rules\``);
  }
  if (!['error', 'warning', 'off'].includes(severity)) {
    throw new TypeError(`the severity of ${quote(id)} is one of 'error', 'warning' and 'off'`);
  }
}

function makeError({ rule, party, subject, deed, hint, place }: Breach): WSGIError {
  const lines = [`${subject} ${deed}.`, `${rule.id}: ${rule.text} (${rule.reference})`, hint];
  if (place !== undefined) lines.push(`The call is at ${place}`);
  return new WSGIError(lines.join('\n'), { ...rule, party, hint });
}

function emitWarning(warning: WSGIError): void {
  const { process, console } = globalThis;
  if (typeof process?.emitWarning === 'function') {
    process.emitWarning(warning.message, { type: 'WSGIWarning', code: warning.code });
  } else {
    console.warn(`WSGIWarning: ${warning.message}`);
  }
}

// A frame of a stack, in the engines' two spellings:
//
//   V8        at name (file:///app.ts:12:34)     at file:///app.ts:12:34
//   others    name@file:///app.ts:12:34
const FRAME = /(?:^\s*at (?:.*\()?|@)(.+):(\d+):(\d+)\)?$/;

/**
 * File, line and column of the call that led here from outside this library;
 * undefined if the stack does not tell. It takes a stack to find out, so this is
 * for when a rule has been broken.
 */
export function callPlace(): string | undefined {
  const frames = (new Error().stack ?? '').split('\n').map((line) => FRAME.exec(line));
  // The first frame is this function's: it shows in what spelling, compiled or
  // from source, this library's own files appear.
  const files = frames.filter((frame) => frame !== null);
  const here = files[0]?.[1] ?? '';
  const library = here.replace(/validate[/\\]report\.[jt]s$/, '');
  for (const [, file = '', line, column] of files) {
    if (!file.startsWith(library) && !file.startsWith('node:')) return `${file}:${line}:${column}`;
  }
  return undefined;
}
