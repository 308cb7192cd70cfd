// The validator: middleware between a server and an application that checks what each
// gives to the other, and says in plain words which rule of the interface was broken.
//
// The folder beside this file is the specification as a program. Each rule is written
// above its check. The order is that of an exchange:
//
//   environ.ts         what the server passes: the object, CGI variables, wsgi.*
//   streams.ts         wsgi.input, wsgi.errors and wsgi.file_wrapper, and their use
//   start-response.ts  the calls of startResponse and write
//   head.ts            the status and the headers that it is given
//   body.ts            what is returned: iteration, chunks, length, close
//   middleware.ts      what middleware must pass on, seen by two validators
//
// rule.ts defines what a rule and a report are. mechanism.ts holds the state of an
// exchange, and makes the objects that take the place of those of the other side.
//
// Mirrors wsgiref.validate.

import { count, describe, isClass, isThenable, property } from './describe.ts';
import { showAs } from './proxy.ts';
import type { StartResponse, WSGIApplication } from './types.ts';
import { checkEnviron, readRequest, restoreEnviron } from './validate/environ.ts';
import { guardStreams } from './validate/streams.ts';
import { checkCallable, guardStartResponse } from './validate/start-response.ts';
import { guardBody, settle } from './validate/body.ts';
import {
  Exchange,
  call,
  hasMethod,
} from './validate/mechanism.ts';
import { joinOuter, runApplication } from './validate/middleware.ts';
import {
  APPLICATION_SIDE,
  DETAILS,
  Reporter,
  type Rule,
  type ValidatorOptions,
  rules as allRules,
  rule,
} from './validate/rule.ts';

export {
  type Party,
  type Rule,
  type Severity,
  type ValidatorOptions,
  WSGIError,
} from './validate/rule.ts';

const appCallable = rule('application', 'app-callable', 'error', APPLICATION_SIDE,
  'An application is a function of environ and startResponse.',
  'Pass the function itself.',
  (app) => {
    if (isClass(app)) return 'Pass a function that makes an instance, or a method bound to one.';
    if (hasMethod(app, 'fetch')) return 'Wrap it: fromFetch(handler), from tsgiref/fetch.';
    if (isThenable(app)) return 'Await the promise.';
    if (typeof property(app, 'default') === 'function') return 'Pass the module\'s default export.';
    return undefined;
  });

const appArguments = rule('server', 'app-arity', 'error', DETAILS,
  'An application is called with two arguments: environ and startResponse.',
  'Call application(environ, startResponse).');

// Whether an application can be called again and again is a question for its own tests: it
// may rightly do something else the second time.

/** Every rule that the validator checks, in the order in which the modules are loaded. */
export const rules: readonly Rule[] = Object.freeze([...allRules]);

/**
 * Wraps an application so that every exchange with it is checked, on both sides: what
 * the server passes, what the application answers, and what the server does with the
 * answer. Nothing is changed on the way. Use it in development and in tests, around
 * middleware as well as inside it: two validators check the middleware between them.
 *
 * A broken rule throws a `WSGIError`, at the call that broke it or where the value was
 * to be used. A lesser rule gives a warning. A mistake that shows only after the
 * request, such as a missing close(), gives a warning soon after it.
 *
 * @param app - The application.
 * @param options - The severity of single rules, and the receiver of warnings.
 * @throws WSGIError if `app` is not a function.
 * @throws TypeError if the options name a rule that does not exist.
 *
 * @example
 * const app = validator(session(validator(pages), { secret }));
 */
export function validator(app: WSGIApplication, options: ValidatorOptions = {}): WSGIApplication {
  const reporter = new Reporter(options);
  if (typeof app !== 'function' || isClass(app)) {
    const what = isClass(app) ? 'a class, which cannot be called' : describe(app);
    new Exchange(reporter, app).reportCall(appCallable, `is ${what}`, app);
  }
  const validated = (...args: unknown[]): unknown => serve(new Exchange(reporter, app), app, args);
  return showAs(app, validated as WSGIApplication);
}

function serve(exchange: Exchange, app: WSGIApplication, args: unknown[]): unknown {
  const [environ, startResponse] = args;
  joinOuter(exchange, environ);
  if (args.length !== 2) {
    const action = `called the application with ${count(args.length, 'argument')}`;
    exchange.reportCall(appArguments, action);
  }
  const isEnviron = checkEnviron(exchange, environ);
  const isCallable = checkCallable(exchange, startResponse);
  // Without one of them there is nothing to look through.
  if (!isEnviron || !isCallable) return call(app, undefined, args);

  readRequest(exchange, environ);
  guardStreams(exchange, environ);
  exchange.startResponse = startResponse as StartResponse;
  try {
    const guarded = guardStartResponse(exchange);
    const result = runApplication(exchange, () => app(exchange.environ, guarded) as unknown);
    return isThenable(result) ? receive(exchange, result) : guardBody(exchange, result);
  } catch (error) {
    restoreEnviron(exchange);
    throw exchange.letOut(error);
  }
}

async function receive(exchange: Exchange, result: PromiseLike<unknown>): Promise<unknown> {
  exchange.running += 1;
  try {
    return guardBody(exchange, await settle(exchange, result, 'has not returned'));
  } catch (error) {
    restoreEnviron(exchange);
    throw exchange.letOut(error);
  } finally {
    exchange.running -= 1;
  }
}
