// A client for tests: the platform's own fetch, with the application at the other
// end in place of a network. No socket, no port, and errors with their own traces.

import { StringIO } from './io.ts';
import { CookieJar } from './testing/cookies.ts';
import { type EnvironOption, type Outgoing, TestHandler, prepare } from './testing/exchange.ts';
import type { WSGIApplication } from './types.ts';
import { validator } from './validate.ts';

export type { EnvironOption } from './testing/exchange.ts';

/** How a test client behaves. */
export interface TestClientOptions {
  /** The base of relative URLs. Default `http://testserver/`. */
  base?: string;
  /** Whether the validator watches the application. Default true. */
  validate?: boolean;
  /** Whether an error of the application gives a 500, as a server's would. Default false. */
  catchErrors?: boolean;
  /** Keys to add to every environ, or a function that changes it. */
  environ?: EnvironOption;
  /** Whether cookies are kept from one response for the next request. Default false. */
  cookies?: boolean;
}

/** A client of one application. */
export interface TestClient {
  /**
   * The platform's `fetch`, with the application in place of a network. Needs no `this`.
   *
   * @param input - A URL, relative to the option `base`, or a Request.
   * @param init - Method, headers, body, signal and redirect, as for the platform's `fetch`.
   * @throws The promise rejects with the error that the application throws, unless the
   *   option `catchErrors` is true, and with a TypeError for a request that cannot be made.
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** All that was written to `wsgi.errors`. */
  readonly errors: string;
}

/**
 * A client for tests of `app`. Its `fetch` rejects with the very error that the application
 * throws. The body of a response is made while it is read, and ends when the application's
 * close() has returned: reading rejects with the error that comes so late. Cancel the body,
 * or abort the signal, to leave early.
 *
 * @param app - The application.
 * @param options - The base of URLs, the validator, errors, environ and cookies.
 * @throws WSGIError if `app` is not a function.
 *
 * @example
 * const { fetch } = testClient(app);
 * const response = await fetch('/hello?x=1');
 */
export function testClient(app: WSGIApplication, options: TestClientOptions = {}): TestClient {
  const { base = 'http://testserver/', validate = true, cookies = false } = options;
  const application = validate ? validator(app) : app;
  const errors = new StringIO();
  const jar = cookies ? new CookieJar() : undefined;

  async function send(outgoing: Outgoing): Promise<Response> {
    const cookie = jar?.header(outgoing.url);
    const handler = new TestHandler(withCookie(outgoing, cookie), errors);
    handler.catchErrors = options.catchErrors ?? false;
    handler.environOption = options.environ;
    const response = await handler.respond(application);
    jar?.store(response, outgoing.url);
    return response;
  }

  return {
    async fetch(input, init) {
      const outgoing = await prepare(input, init, base);
      const redirect = init?.redirect ?? (input instanceof Request ? input.redirect : 'follow');
      return follow(outgoing, redirect, send);
    },
    get errors() {
      return errors.getValue();
    },
  };
}

function withCookie(outgoing: Outgoing, cookie: string | undefined): Outgoing {
  if (cookie === undefined) return outgoing;
  const headers = new globalThis.Headers(outgoing.headers);
  headers.append('cookie', cookie);
  return { ...outgoing, headers };
}

const MOST_REDIRECTS = 20;

// The rules of fetch: https://fetch.spec.whatwg.org/#http-redirect-fetch
async function follow(
  first: Outgoing,
  redirect: NonNullable<RequestInit['redirect']>,
  send: (outgoing: Outgoing) => Promise<Response>,
): Promise<Response> {
  let outgoing = first;
  for (let redirects = 0; ; redirects += 1) {
    const response = await send(outgoing);
    const location = response.headers.get('location');
    const isRedirect = [301, 302, 303, 307, 308].includes(response.status) && location !== null;
    if (!isRedirect || redirect === 'manual') return finish(response, outgoing.url, redirects > 0);
    if (redirect === 'error') throw new TypeError(`fetch failed: redirected to ${location}`);
    if (redirects === MOST_REDIRECTS) {
      throw new TypeError(
        `fetch failed: more than ${MOST_REDIRECTS} redirects, last to ${location}`,
      );
    }
    await response.body?.cancel();
    outgoing = redirected(outgoing, response.status, new URL(location, outgoing.url));
  }
}

function redirected(outgoing: Outgoing, status: number, url: URL): Outgoing {
  if (url.hostname !== outgoing.url.hostname) {
    throw new TypeError(
      `fetch failed: redirected to ${url.href}, and only the application at ` +
        `${outgoing.url.host} is here; look at the redirect with { redirect: 'manual' }`,
    );
  }
  const { method } = outgoing;
  const becomesGet =
    (status === 303 && method !== 'GET' && method !== 'HEAD') ||
    ((status === 301 || status === 302) && method === 'POST');
  if (!becomesGet) {
    if (outgoing.body !== null && !(outgoing.body instanceof Uint8Array)) {
      throw new TypeError(`fetch failed: a body that streams cannot be sent again to ${url.href}`);
    }
    return { ...outgoing, url };
  }
  const headers = new globalThis.Headers(outgoing.headers);
  for (const name of ['content-type', 'content-length', 'content-encoding', 'content-language']) {
    headers.delete(name);
  }
  return { ...outgoing, url, method: 'GET', body: null, headers };
}

// A Response that was constructed has no URL; one that was fetched has.
function finish(response: Response, url: URL, wasRedirected: boolean): Response {
  Object.defineProperty(response, 'url', { value: url.href });
  Object.defineProperty(response, 'redirected', { value: wasRedirected });
  return response;
}
