// Bridges to the platform's fetch, in both directions. Nothing of Node is used, so
// an application can move to Deno, Bun or a Worker:
//
//     export default { fetch: toFetch(app) };

import { FetchHandler, type RequestParts } from './fetch/handler.ts';
import { checkApplication } from './handlers/base.ts';
import type { WSGIApplication } from './types.ts';

export { type FetchTarget, fromFetch } from './fetch/application.ts';

/**
 * Makes a fetch handler that calls `app`. Both bodies stream: a chunk is made when it is
 * read. An application that throws before its head gives a 500, and its trace goes to
 * `console.error`; after the head, reading the body fails. Cancelling the body, or aborting
 * the request's signal, stops the application and closes its body.
 *
 * @param app - The application.
 * @throws TypeError if `app` is not a function.
 *
 * @example
 * export default { fetch: toFetch(app) };
 */
export function toFetch(app: WSGIApplication): (request: Request) => Promise<Response> {
  checkApplication(app);
  return (request) => new FetchHandler(partsOf(request)).respond(app);
}

function partsOf(request: Request): RequestParts {
  const headers: string[] = [];
  for (const [name, value] of request.headers) headers.push(name, value);
  // `OPTIONS *` as `fromFetch` and Deno pass it on: it has no URL.
  const isAsterisk = request.url === '*';
  const host = request.headers.get('host') ?? 'localhost';
  return {
    url: new URL(isAsterisk ? `http://${host}` : request.url),
    ...(isAsterisk && { target: '*' }),
    method: request.method,
    headers,
    body: request.bodyUsed ? takenBody() : request.body,
    signal: request.signal,
    remoteAddress: '',
  };
}

async function* takenBody(): AsyncGenerator<Uint8Array> {
  throw new Error(
    "the request's body has been read already, before toFetch() was given the request: " +
      'give it request.clone(), or do not read the body',
  );
}
