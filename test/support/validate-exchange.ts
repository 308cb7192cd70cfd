// One exchange through the validator, played by hand: every part of it is valid
// unless a test puts another in its place. The result is the list of reports.

import { mock } from 'node:test';

import type {
  ResponseBody,
  ResponseHeaders,
  StartResponse,
  Status,
  WSGIApplication,
  WSGIEnvironment,
} from '../../lib/types.ts';
import { setupTestingDefaults } from '../../lib/util.ts';
import { type ValidatorOptions, WSGIError, validator } from '../../lib/validate.ts';

// A missing close() is looked for a moment later. In tests that moment is now.
mock.timers.enable({ apis: ['setTimeout'] });

/** Lets the time pass in which a server may still close. */
export function passTime(): void {
  // Each tick may set the timer of the next.
  for (let count = 0; count < 4; count += 1) mock.timers.tick(200);
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** An application that answers with this status, these headers and these chunks. */
export function answer(
  status: unknown = '200 OK',
  headers: unknown = [['Content-Type', 'text/plain']],
  body: unknown = [bytes('Hello')],
): WSGIApplication {
  return (_environ, startResponse) => {
    startResponse(status as Status, headers as ResponseHeaders);
    return body as ResponseBody;
  };
}

/** Code that no type would let pass, written as an application. */
export function app(
  code: (environ: Loose, startResponse: (...args: unknown[]) => Loose) => unknown,
): WSGIApplication {
  return code as unknown as WSGIApplication;
}

/** Anything at all: the tests of rules must be able to break the types. */
export type Loose = ReturnType<typeof JSON.parse>;

/** A server in the middle of a request: what its startResponse was told, what was sent. */
export class Server {
  status: string | undefined = undefined;
  headers: ResponseHeaders = [];
  sent: Uint8Array[] = [];

  readonly startResponse: StartResponse = (status, headers, error) => {
    if (error !== undefined && error !== null && this.sent.length > 0) throw error;
    this.status = status;
    this.headers = headers;
    return (data) => this.send(data);
  };

  send(data: Uint8Array): void {
    if (data.length > 0) this.sent.push(data);
  }

  /** Reads the body as a server should: as much as was announced, then close(). */
  async finish(body: ResponseBody): Promise<void> {
    try {
      const length = this.headers.find(([name]) => name === 'Content-Length')?.[1];
      const chunks =
        Symbol.asyncIterator in body ? body[Symbol.asyncIterator]() : body[Symbol.iterator]();
      while (true) {
        const { done, value } = await chunks.next();
        if (done) break;
        this.send(value);
        const sum = this.sent.reduce((bytesSoFar, chunk) => bytesSoFar + chunk.length, 0);
        if (length !== undefined && sum >= Number(length) && sum > 0) {
          await chunks.return?.();
          break;
        }
      }
    } finally {
      await body.close?.();
    }
  }
}

/** An error that an application lets pass, as it should. */
export class Passing extends Error {}

/** How to play an exchange. Everything left out is valid. */
export interface Exchange {
  /** The application. */
  app?: WSGIApplication;
  /** Variables to set in environ; undefined takes one out. */
  environ?: Record<string, unknown>;
  /** Makes another environ of a valid one. */
  environFrom?: (environ: Loose) => unknown;
  /** Middleware, which then has a validator on either side. */
  middleware?: (app: Loose) => unknown;
  /** The server, in place of the valid one. */
  serve?: (app: Loose, environ: Loose, startResponse: Loose, server: Server) => unknown;
  options?: ValidatorOptions;
}

/** Plays the exchange; what it reported, thrown or told, in order. */
export async function play(exchange: Exchange): Promise<WSGIError[]> {
  const reports: WSGIError[] = [];
  const options = {
    onWarning: (warning: WSGIError) => void reports.push(warning),
    ...exchange.options,
  };
  try {
    const inner = validator(exchange.app ?? answer(), options);
    const whole =
      exchange.middleware === undefined
        ? inner
        : validator(exchange.middleware(inner) as WSGIApplication, options);
    const server = new Server();
    const environ = makeEnviron(exchange);
    if (exchange.serve !== undefined) {
      await exchange.serve(whole, environ, server.startResponse, server);
    } else {
      await server.finish(await whole(environ as WSGIEnvironment, server.startResponse));
    }
  } catch (error) {
    if (error instanceof WSGIError) reports.push(error);
    else if (!(error instanceof Passing)) throw error;
  }
  passTime();
  return reports;
}

export function makeEnviron({ environ = {}, environFrom }: Exchange = {}): unknown {
  const made: Record<string, unknown> = { ...environ };
  setupTestingDefaults(made as Partial<WSGIEnvironment>);
  for (const [key, value] of Object.entries(environ)) if (value === undefined) delete made[key];
  return environFrom === undefined ? made : environFrom(made);
}

/** One rule, an exchange that breaks it and nothing else, and one that nearly does. */
export interface Row {
  id: string;
  /** What the message must say. */
  says: RegExp;
  breaks: Exchange;
  nearMiss: Exchange;
}

export function row(id: string, says: RegExp, breaks: Exchange, nearMiss: Exchange): Row {
  return { id, says, breaks, nearMiss };
}
