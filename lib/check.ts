// A conformance kit for servers: it judges a server from both sides at once, as the
// application that the server runs and as the client that talks to it.
//
//     client ──bytes──▶ server under test ──environ──▶ application
//        ◀──bytes──                        ◀──body───
//        └─────────────── one check ───────────────┘
//
// The validator does not see the client's request, nor the response that arrives: it
// cannot know that a header was lost on the way. These checks see both.

import './check/groups/connection.ts';
import './check/groups/environ.ts';
import './check/groups/input.ts';
import './check/groups/errors.ts';
import './check/groups/start-response.ts';
import './check/groups/write.ts';
import './check/groups/body.ts';
import './check/groups/close.ts';
import './check/groups/framing.ts';
import './check/groups/failure.ts';
import './check/groups/client-leaves.ts';
import './check/groups/hygiene.ts';

import { selectChecks } from './check/definition.ts';
import { type CheckResult, Run, type CheckRunOptions } from './check/run.ts';
import type { StartServer } from './check/trial.ts';

export {
  type Check,
  type CheckGroup,
  type CheckVerdict,
  checks,
} from './check/definition.ts';
export type { CheckResult, Outcome, CheckRunOptions } from './check/run.ts';
export type { RunningServer, StartServer } from './check/trial.ts';

/** How `checkServer` works. */
export interface CheckOptions extends CheckRunOptions {
  /** The groups and the ids of checks to run; default all. */
  only?: string | readonly string[] | undefined;
}

/** The results of the checks of a server. */
export interface CheckReport {
  /** How many checks the server passed. */
  passed: number;
  /** How many it failed. */
  failed: number;
  /** How many do not apply to it. */
  notApplicable: number;
  /** One for each check that was selected, in the order of `checks`. */
  results: CheckResult[];
}

// A process has one place for the errors that nothing catches: two runs at once would take
// each other's.
let lastRun: Promise<unknown> = Promise.resolve();

/**
 * Checks the server that `start` starts: whether it keeps PEP 3333 towards the
 * application, and HTTP towards the client. What PEP 3333 leaves open, such as
 * keep-alive or chunked coding, is reported as not applicable.
 *
 * Each check starts a server of its own. Where only one can listen at a time, since its
 * port is fixed, the checks run one after another. A run waits for the one before it in
 * the same process. The server runs in this process: an error that it leaves uncaught is
 * a finding, but a loop without an end, or `process.exit()`, takes the process with it.
 * The command `tsgiref --check` survives these, too.
 *
 * @param start - Starts the server with an application, and returns or resolves with
 *   `{ url, close }`.
 * @param options - `only`: groups or ids; `timeLimit`: milliseconds for each thing that the
 *   server must do (default 1000, up to 6000 if its first answer is slow); `concurrency`.
 * @throws TypeError if `start` is not a function, or `only` names nothing
 *
 * @example
 * const report = await checkServer(async (app) => {
 *   const server = http.createServer(myGateway(app)).listen(0, '127.0.0.1');
 *   await once(server, 'listening');
 *   const url = `http://127.0.0.1:${server.address().port}/`;
 *   return { url, close: () => server.close() };
 * });
 */
export async function checkServer(
  start: StartServer,
  options: CheckOptions = {},
): Promise<CheckReport> {
  if (typeof start !== 'function') {
    throw new TypeError('checkServer takes a function that starts the server: start(app)');
  }
  const selected = selectChecks(options.only);
  const run = lastRun.then(() => new Run(start, selected, options).finish());
  lastRun = run.catch(() => {});
  const results = await run;
  const count = (outcome: string): number =>
    results.filter((result) => result.outcome === outcome).length;
  return {
    passed: count('passed'),
    failed: count('failed'),
    notApplicable: count('not applicable'),
    results,
  };
}
