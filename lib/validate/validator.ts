// Between a server and an application: the call that starts it all.

import { describe } from '../describe.ts';
import type { StartResponse, WSGIApplication, WSGIEnvironment } from '../types.ts';
import { guardBody } from './body.ts';
import { checkEnviron, put, wrapStreams } from './environ.ts';
import { Exchange } from './exchange.ts';
import { inputLengthOf } from './input.ts';
import { LINK, Link, findOuter, join } from './layers.ts';
import { isClass, isThenable, property } from './probe.ts';
import { Reporter, type ValidatorOptions } from './report.ts';
import { APPLICATION_SIDE, DETAILS, application, server } from './rule.ts';
import { settle } from './settle.ts';
import { checkCallable, guardStartResponse } from './start-response.ts';

const appCallable = application.error('app-callable', APPLICATION_SIDE,
  'An application is a function of environ and startResponse.',
  'Pass the function itself; of a module, its default export.');

const appArguments = server.error('app-arity', DETAILS,
  'An application is called with two arguments: environ and startResponse.',
  'Call application(environ, startResponse).');

// That an application can be called again and again is for its own tests: what it
// did the first time may rightly differ from what it does the second time.

/**
 * Wraps an application so that every exchange with it is checked, on both sides:
 * what the server passes, what the application answers, and what the server does
 * with that. Nothing is changed on the way. Use it in development and in tests, and
 * around middleware as well as inside it: two validators check what lies between.
 *
 * A rule that is broken throws a `WSGIError`, at the call that broke it or where
 * the value was to be used; a rule of taste or of prudence is told as a warning.
 * What shows only when the request is over, such as a missing close(), is told as
 * a warning, too, up to a few hundredths of a second later.
 *
 * Throws a WSGIError if `app` is no function, and a TypeError for options that name
 * no rule. (wsgiref.validate.validator)
 */
export function validator(app: WSGIApplication, options: ValidatorOptions = {}): WSGIApplication {
  const reporter = new Reporter(options);
  if (typeof app !== 'function' || isClass(app)) {
    const what = isClass(app) ? 'a class, which cannot be called' : describe(app);
    new Exchange(reporter, app).misuse(appCallable, `is ${what}`);
  }
  const validated = (...args: unknown[]): unknown => serve(new Exchange(reporter, app), app, args);
  // Also in traces, and for a validator around this one, it is the application.
  Object.defineProperty(validated, 'name', { value: property(app, 'name'), configurable: true });
  return validated as WSGIApplication;
}

function serve(exchange: Exchange, app: WSGIApplication, args: unknown[]): unknown {
  const [environ, startResponse] = args;
  if (args.length !== 2) {
    exchange.fault(appArguments, `called the application with ${args.length} arguments`);
  }
  const last = Link.find(environ);
  join(exchange, findOuter(last));
  const isEnviron = checkEnviron(exchange, environ, last);
  const isCallable = checkCallable(exchange, startResponse);
  // With nothing to look through, there is nothing to see.
  if (!isEnviron || !isCallable) return Reflect.apply(app, undefined, args);

  prepare(exchange, environ);
  exchange.startResponse = startResponse as StartResponse;
  exchange.running += 1;
  try {
    const result: unknown = app(exchange.environ, guardStartResponse(exchange));
    return isThenable(result) ? receive(exchange, result) : guardBody(exchange, result);
  } finally {
    exchange.running -= 1;
  }
}

function prepare(exchange: Exchange, environ: Record<string, unknown>): void {
  exchange.environ = environ as unknown as WSGIEnvironment;
  exchange.isHead = property(environ, 'REQUEST_METHOD') === 'HEAD';
  exchange.inputLength = inputLengthOf(environ);
  wrapStreams(exchange, environ);
  put(environ, LINK, new Link(exchange));
}

async function receive(exchange: Exchange, result: PromiseLike<unknown>): Promise<unknown> {
  exchange.running += 1;
  try {
    const body = await settle(exchange, result, 'waited for ever and returned nothing');
    return guardBody(exchange, body);
  } finally {
    exchange.running -= 1;
  }
}
