// Everything that one check uses: the server under test, the application that it runs, and
// the clients that talk to it. Everything here belongs to one check alone, so that a
// late event cannot reach another.

import { describe, quote } from '../describe.ts';
import type {
  InputStream, ResponseBody, ResponseHeaders, StartResponse, Status, WSGIApplication,
  WSGIEnvironment,
} from '../types.ts';
import { type BodyOptions, type ObservedBody, type Step, observeBody } from './body.ts';
import { Client } from './client.ts';
import { Finding } from './definition.ts';
import { Patience } from './patience.ts';
import { type Response, valuesOf } from './response.ts';

/** A server under test that runs. */
export interface RunningServer {
  /** Its address, such as `http://127.0.0.1:8000/`; a path in it is the mount point. */
  url: string | URL;
  /** Stops it; may return a promise. */
  close(): unknown;
}

/** Starts the server under test with an application; may return a promise. */
export type StartServer = (app: WSGIApplication) => RunningServer | Promise<RunningServer>;

/** A request to send. Every string holds bytes as Latin-1 characters. */
export interface RequestParts {
  method?: string;
  /** Default `/`. */
  target?: string;
  version?: string;
  /** Whole lines, such as `Accept: text/html`, without their CRLF. */
  headers?: readonly string[];
  /** Sent with its Content-Length, unless `headers` already say how it is framed. */
  body?: string;
  /** False leaves out the Host header. */
  host?: boolean;
}

/** One call of the application by the server. */
export interface Call {
  args: unknown[];
  /** The object that was passed. */
  environ: WSGIEnvironment;
  /** A copy, made when the call began. */
  given: Record<string, unknown>;
}

const LONGEST_END_MS = 300;

/** The experiment of one check. */
export class Trial {
  readonly patience: Patience;
  readonly clients: Client[] = [];
  /** The calls of the application, in their order. */
  readonly calls: Call[] = [];
  /** Where the server listens, once it does. */
  url: URL | undefined = undefined;

  private readonly start: StartServer;
  private readonly bodies: ObservedBody[] = [];
  /** Pending while the server starts, which may take longer than the check waits. */
  private running: Promise<RunningServer> | undefined = undefined;
  private isOver = false;
  private app: WSGIApplication = respond([]);

  constructor(start: StartServer, patience: Patience) {
    this.start = start;
    this.patience = patience;
  }

  /** Starts the server, if it is not running yet, and lets it run `app` from now on. */
  async serve(app: WSGIApplication): Promise<URL> {
    this.app = app;
    if (this.url !== undefined) return this.url;
    this.refuseIfOver();
    this.running = Promise.resolve().then(() => this.start(this.receive)).then(
      checkRunning,
      (error) => { throw new Finding(`did not start: ${messageOf(error)}`); },
    );
    const { url } = await this.patience.within(
      this.running,
      () => `did not start ${this.patience.inSeconds}`,
    );
    this.url = checkUrl(url);
    return this.url;
  }

  /** Opens a connection; the server must have been started. */
  async connect(): Promise<Client> {
    if (this.url === undefined) throw new Error('serve() comes first');
    this.refuseIfOver();
    const client = Client.to(this.url, this.patience);
    this.clients.push(client);
    return client.opens();
  }

  /** The bytes of a request to this server. */
  format(request: RequestParts = {}): string {
    const { method = 'GET', target = '/', version = 'HTTP/1.1', headers = [], body } = request;
    const lines = [`${method} ${this.mounted(target)} ${version}`];
    if (request.host ?? true) lines.push(`Host: ${this.url?.host}`);
    lines.push(...headers);
    const isFramed = headers.some((line) => /^(content-length|transfer-encoding)\s*:/i.test(line));
    if (body !== undefined && !isFramed) lines.push(`Content-Length: ${body.length}`);
    return `${lines.join('\r\n')}\r\n\r\n${body ?? ''}`;
  }

  /** A path of the application's as the server's path, below its mount point. */
  mounted(target: string): string {
    const mount = this.url?.pathname.replace(/\/$/, '') ?? '';
    if (target.startsWith('/')) return mount + target;
    return target.replace(/^http:\/\/[^/]*/, (origin) => origin + mount);
  }

  /** Sends a request on a connection of its own. */
  async send(request: RequestParts = {}): Promise<Client> {
    return (await this.connect()).send(this.format(request));
  }

  /** Lets the server run `app`, sends a request, and returns its complete response. */
  async exchange(app: WSGIApplication, request: RequestParts = {}): Promise<Response> {
    await this.serve(app);
    const client = await this.send(request);
    return client.response(request.method);
  }

  /**
   * The environ that was passed for a request.
   *
   * @throws Finding if the server answered without calling the application
   */
  async environ(request: RequestParts = {}): Promise<Record<string, unknown>> {
    const before = this.calls.length;
    const response = await this.exchange(respond(['ok']), request);
    const call = this.calls[before];
    if (call === undefined) throw new Finding(refused(response));
    return call.given;
  }

  /**
   * Runs `read` inside the application, with `wsgi.input`, and returns its result.
   *
   * @param request - Sent at once, unless `client` is given.
   * @throws Finding if `read` throws or does not end, or is never run
   */
  async inside<Value>(
    read: (input: InputStream, environ: WSGIEnvironment) => Promise<Value>,
    request: RequestParts = {},
    send: (client: Client) => unknown = (client) => client.send(this.format(request)),
  ): Promise<Value> {
    let outcome: { value: Value } | { error: unknown } | undefined;
    let isRunning = false;
    await this.serve(async (environ, startResponse) => {
      if (isRunning) return respond(['another request'])(environ, startResponse);
      isRunning = true;
      try {
        outcome = { value: await read(environ['wsgi.input'], environ) };
      } catch (error) {
        outcome = { error };
      }
      this.patience.wake();
      startResponse('200 OK', [['Content-Type', 'text/plain']]);
      return [bytes('read')];
    });
    const client = await this.connect();
    send(client);
    const result = async (): Promise<Response | undefined> => {
      const response = await client.nextResponse(request.method);
      if (isRunning) await new Promise(() => {});
      return response;
    };
    let answer: Response | undefined;
    let failure: unknown;
    result().then(
      (response) => { answer = response; },
      (error: unknown) => { failure = error; },
    ).finally(() => this.patience.wake());
    await this.patience.until(
      () => outcome !== undefined || (!isRunning && (answer ?? failure) !== undefined),
      () => isRunning
        ? `left a read of wsgi.input waiting ${this.patience.inSeconds}`
        : `did not call the application ${this.patience.inSeconds}`,
    );
    if (outcome === undefined) throw answer === undefined ? failure : new Refusal(answer);
    if ('value' in outcome) return outcome.value;
    throw new Finding(`let wsgi.input fail: ${messageOf(outcome.error)}`);
  }

  /** A body that records its use. */
  body(steps: Iterable<Step>, options: BodyOptions = {}): ObservedBody {
    const observed = observeBody(this.patience, steps, options);
    this.bodies.push(observed);
    return observed;
  }

  /** Waits until `isDone()`; otherwise the verdict is `complaint`, with the limit added. */
  until(isDone: () => boolean, complaint: string): Promise<void> {
    return this.patience.until(isDone, () => `${complaint} ${this.patience.inSeconds}`);
  }

  /** Waits as long as the server needs to do a thing that it must not do. */
  quiet(): Promise<void> {
    return this.patience.quiet();
  }

  /** A verdict if `actual` is not `expected`; `what` names it, as in `PATH_INFO`. */
  same(what: string, actual: unknown, expected: unknown): string | undefined {
    if (isSame(actual, expected)) return undefined;
    return `gave ${show(actual)} for ${what}; expected was ${show(expected)}`;
  }

  /**
   * Closes all connections and the server; waits a while for it, not without end. A
   * server that starts later is closed then.
   */
  async end(): Promise<void> {
    this.isOver = true;
    for (const client of this.clients) client.leave();
    const closing = this.close().catch(() => {});
    await new Patience(LONGEST_END_MS).within(closing, () => '').catch(() => {});
  }

  /** Closes the server; a second call does nothing. */
  async close(): Promise<void> {
    const { running } = this;
    this.running = undefined;
    if (running === undefined) return;
    await this.patience.within(
      running.then((server) => server.close()),
      () => `did not close ${this.patience.inSeconds}`,
    );
  }

  /** The observations of the application's side, as a report shows them. */
  describeApplication(): string[] {
    const calls = this.calls.map(({ given }, index) => {
      const line = ['REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING']
        .map((key) => `${key}=${show(given[key])}`).join(' ');
      return `call ${index + 1}: ${line}`;
    });
    const bodies = this.bodies.map(({ use }) => `the body: ${summarize(use.calls)}`);
    return [...calls, ...bodies];
  }

  // A check that was given up may go on: it must leave nothing behind.
  private refuseIfOver(): void {
    if (this.isOver) throw new Error('the check was given up');
  }

  // The application that the server is started with.
  private readonly receive = (...args: unknown[]): ResponseBody | Promise<ResponseBody> => {
    const environ = args[0] as WSGIEnvironment;
    this.calls.push({ args, environ, given: { ...environ } });
    this.patience.wake();
    return this.app(environ, args[1] as StartResponse);
  };
}

/** A request that was answered without the application. */
export class Refusal extends Finding {
  readonly response: Response;

  constructor(response: Response) {
    super(refused(response));
    this.response = response;
  }
}

/** An application that answers every request alike. */
export function respond(
  chunks: ReadonlyArray<string | Uint8Array>,
  headers: ResponseHeaders = [['Content-Type', 'text/plain']],
  status: Status = '200 OK',
): WSGIApplication {
  return (_environ, startResponse) => {
    startResponse(status, headers.map(([name, value]) => [name, value]));
    return chunks.map((chunk) => (typeof chunk === 'string' ? bytes(chunk) : chunk));
  };
}

/** An application with a body of its own for each request. */
export function respondWith(
  makeBody: (environ: WSGIEnvironment) => ResponseBody | Promise<ResponseBody>,
  headers: ResponseHeaders = [['Content-Type', 'text/plain']],
  status: Status = '200 OK',
): WSGIApplication {
  return (environ, startResponse) => {
    startResponse(status, headers.map(([name, value]) => [name, value]));
    return makeBody(environ);
  };
}

/** Holds an application back until its check goes on. */
export class Gate {
  open: () => void = () => {};
  readonly opened: Promise<void> = new Promise((resolve) => { this.open = resolve; });
}

/**
 * The verdict on a server that must send what it has, while more is still to come.
 *
 * @param makeApp - Makes an application that sends `first`, and ` last` behind the gate.
 * @param complaint - Names what the client waits for.
 */
export async function sendsAtOnce(
  trial: Trial,
  makeApp: (gate: Gate) => WSGIApplication,
  complaint: string,
): Promise<string | undefined> {
  const gate = new Gate();
  await trial.serve(makeApp(gate));
  const client = await trial.send();
  try {
    await client.receives('first', complaint);
  } finally {
    gate.open();
  }
  return trial.same('the body', (await client.response()).body, 'first last');
}

/** Text as Latin-1 bytes. */
export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

/** Latin-1 bytes as text; anything else described. */
export function text(data: unknown): string {
  return data instanceof Uint8Array ? Buffer.from(data).toString('latin1') : describe(data);
}

// Lists of strings and numbers, item by item.
function isSame(one: unknown, other: unknown): boolean {
  if (!Array.isArray(one) || !Array.isArray(other)) return one === other;
  return one.length === other.length && one.every((item, index) => isSame(item, other[index]));
}

/** A value in a verdict: strings and lists in full, anything else by its kind. */
export function show(value: unknown): string {
  if (typeof value === 'string') return quote(value);
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`;
  return value instanceof Uint8Array ? quote(text(value)) : describe(value);
}

/** The class and the message of an error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : describe(error);
}

/** A header's values in a response, joined; undefined without any. */
export function header(response: Response, name: string): string | undefined {
  const values = valuesOf(response, name);
  return values.length === 0 ? undefined : values.join(', ');
}

function refused({ code, reason }: Response): string {
  return `answered ${code} ${reason} without calling the application`;
}

// A loop that calls `next` a thousand times is one entry.
function summarize(calls: readonly string[]): string {
  const runs: Array<{ call: string; count: number }> = [];
  for (const call of calls) {
    const last = runs.at(-1);
    if (last?.call === call) last.count += 1;
    else runs.push({ call, count: 1 });
  }
  if (runs.length === 0) return 'not touched';
  return runs.map(({ call, count }) => (count > 1 ? `${call} × ${count}` : call)).join(', ');
}

function checkRunning(running: unknown): RunningServer {
  const { url, close } = Object(running) as Partial<RunningServer>;
  if (url === undefined || typeof close !== 'function') {
    const fault = `${describe(running)} without ${url === undefined ? 'a url' : 'a close()'}`;
    throw new Finding(`gave ${fault} from start(app); expected was { url, close }`);
  }
  return running as RunningServer;
}

function checkUrl(url: string | URL): URL {
  try {
    const parsed = new URL(url);
    if (/^https?:$/.test(parsed.protocol)) return parsed;
  } catch {
    // Reported below.
  }
  const wanted = 'one like http://127.0.0.1:8000/';
  throw new Finding(`gave ${describe(url)} as its url; expected was ${wanted}`);
}
