// One request and its response, as the validator has seen them so far. The files
// with the rules look here for what has happened, and note here what does.

import { describe } from '../describe.ts';
import type { ResponseHeaders, StartResponse, WSGIEnvironment } from '../types.ts';
import { property } from './probe.ts';
import { callPlace, type Reporter, WSGIError } from './report.ts';
import type { Rule, Severity } from './rule.ts';

export class Exchange {
  readonly reporter: Reporter;
  /** The application as a message names it: ` hello`, or nothing. */
  readonly name: string;

  // ---- Layers
  /** The exchange of the validator around the middleware that called this one. */
  outer: Exchange | undefined = undefined;
  /** The exchanges of validators that the application, a middleware, has called. */
  inner: Exchange[] | undefined = undefined;
  /** The rules of which a warning was given here. */
  private warned: Set<string> | undefined = undefined;
  /** How many calls of the application, or of its iterator's next(), are under way. */
  running = 0;
  /** How many chunks the outer exchange had yielded when this one last did. */
  outerChunks = -1;

  // ---- The request
  environ!: WSGIEnvironment;
  /** CGI variables that the server has set to what they must not be. */
  badVariables: Set<string> | undefined = undefined;
  isHead = false;
  /** The request's Content-Length; undefined if it is not known. */
  inputLength: number | undefined = undefined;
  pendingReads = 0;

  // ---- startResponse
  startResponse!: StartResponse;
  /** Calls so far, those that threw included. */
  starts = 0;
  /** Counts accepted calls; the `write` of an earlier one is stale. */
  generation = 0;
  code = 0;
  /** The application's own list, if it is one of pairs, and what was then on it. */
  headers: ResponseHeaders | undefined = undefined;
  headersGiven: ResponseHeaders = [];
  hasContentType = false;
  /** The response's Content-Length; undefined if it has none. */
  length: number | undefined = undefined;
  /** The error that the server threw back, which the application must not keep. */
  thrownBack: unknown = undefined;

  // ---- The body
  /** What the server's file wrapper returned to the application. */
  file: object | undefined = undefined;
  /** Whether the application has returned its body. */
  returned = false;
  /** Whether iteration has begun. */
  iterating = false;
  /** Whether a first byte has been seen on its way to the server. */
  headLooked = false;
  /** Whether the server has taken a byte, and so has sent the head. */
  headSent = false;
  chunks = 0;
  bytes = 0;
  /** How often the server has asked for more after the announced length. */
  askedPastLength = 0;
  /** Whether a promise of the application's write() still waits. */
  writing = false;
  /** Whether the body has ended by itself. */
  exhausted = false;
  /** Whether the server has ended the iteration with return() or throw(). */
  stopped = false;
  closed = false;
  /** What the application's close() promised. */
  closing: { readonly isWaitedFor: boolean } | undefined = undefined;
  /** What the server has, for the first moment of it. */
  body: object | undefined = undefined;
  /** Whether a missing close() has been reported. */
  missed = false;
  /** Gives up waiting for the application, which need not settle once it was stopped. */
  forget: () => void = nothing;

  constructor(reporter: Reporter, app: unknown) {
    this.reporter = reporter;
    const name = property(app, 'name');
    this.name = typeof name === 'string' && name !== '' ? ` ${name.slice(0, 60)}` : '';
  }

  /** Whether startResponse has been called and what it was given is valid. */
  get started(): boolean {
    return this.generation > 0;
  }

  /** Reports a value that breaks `rule`; `deed` says who did what, without the who. */
  fault(rule: Rule, deed: string, hint: string = rule.hint, severity?: Severity): void {
    this.report(rule, deed, hint, severity, false);
  }

  /** Reports a call that breaks `rule`, while the caller is still on the stack. */
  misuse(rule: Rule, deed: string, hint: string = rule.hint, severity?: Severity): void {
    this.report(rule, deed, hint, severity, true);
  }

  /** Reports what came to light when nobody was left to throw at: as a warning. */
  late(rule: Rule, deed: string): void {
    this.reminder(rule, deed)();
  }

  /** Such a report, to be made later. It does not keep the exchange in memory. */
  reminder(rule: Rule, deed: string): () => void {
    const { reporter } = this;
    const severity = reporter.severityOf(rule) === 'off' ? 'off' : 'warning';
    const breach = { ...this.blame(rule), deed, hint: rule.hint, place: undefined };
    return () => reporter.deliver(severity, breach);
  }

  /**
   * Passes on a report; anything else that was thrown while a value was looked at
   * comes out of the value itself, and breaks `rule`.
   */
  rethrow(error: unknown, rule: Rule, deed: string, isCall = false): void {
    if (error instanceof WSGIError || error === this.reporter.thrown) throw error;
    const whole = `${deed} (looking at it throws ${describe(error)})`;
    this.report(rule, whole, rule.hint, undefined, isCall);
  }

  private report(
    rule: Rule,
    deed: string,
    hint: string,
    usual: Severity | undefined,
    isCall: boolean,
  ): void {
    const severity = this.reporter.severityOf(rule, usual);
    if (severity === 'off') return;
    // What the application did, the middleware around it need not hear again.
    if (this.inner?.some((inner) => inner.warned?.has(rule.id))) return;
    if (severity === 'warning') this.warned = new Set(this.warned).add(rule.id);
    const place = isCall ? callPlace() : undefined;
    this.reporter.deliver(severity, { ...this.blame(rule), deed, hint, place });
  }

  // Between two validators there is middleware: what the outer one sees coming out
  // of its application, or the inner one from its server, is the middleware's doing,
  // since the other of the two has let it pass.
  private blame(rule: Rule): { rule: Rule; party: Rule['party']; subject: string } {
    if (rule.party === 'server') {
      if (this.outer === undefined) return { rule, party: 'server', subject: 'The server' };
      return { rule, party: 'middleware', subject: `The middleware${this.outer.name}` };
    }
    if (rule.party === 'middleware' || this.inner !== undefined) {
      const name = rule.party === 'middleware' ? (this.outer ?? this).name : this.name;
      return { rule, party: 'middleware', subject: `The middleware${name}` };
    }
    return { rule, party: 'application', subject: `The application${this.name}` };
  }
}

function nothing(): void {}
