// Bridges to the platform's fetch, in both directions. Nothing of Node is used, so
// an application can move to Deno, Bun or a Worker:
//
//     export default { fetch: toFetch(app) };

import { FetchHandler } from './fetch/handler.ts';
import { checkApplication } from './handlers/checks.ts';
import type { WSGIApplication } from './types.ts';

export { type FetchTarget, fromFetch } from './fetch/application.ts';

/**
 * A fetch handler that asks `app`. Both bodies stream: a chunk is made when it is
 * read. An application that throws before its head gives a 500, and its trace goes
 * to `console.error`; after it, reading the body fails. Cancelling the body, or
 * aborting the request's signal, stops the application and closes its body. Throws a
 * TypeError if `app` is no function.
 */
export function toFetch(app: WSGIApplication): (request: Request) => Promise<Response> {
  checkApplication(app);
  return (request) => new FetchHandler(request).respond(app);
}
