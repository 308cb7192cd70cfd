// The child's side of `--reload`: runs the application for connections that the parent
// has accepted.

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

import { type WSGIRequestHandler, type WSGIServer, makeServer } from '../../simple-server.ts';
import { count } from '../../describe.ts';
import type { ErrorPageOptions } from '../../error-page.ts';
import type { WSGIApplication } from '../../types.ts';
import type { Settings } from '../arguments.ts';
import type { Runner } from '../command.ts';
import { escapeControls } from '../../secrets.ts';
import { Problem, explain } from '../problem.ts';
import { handlerClass, readTls } from '../serve.ts';
import { CHILD, type FromChild, type Page, RELOAD_PATH, type ToChild } from './messages.ts';

// A request that has just come may be answered, and one that still arrives may arrive
// first. A longer one, such as a stream of events, must not keep the new version waiting.
const FRESH_MS = 1000;
// Turns of the event loop, and not the clock: on a busy machine a client is slow, too.
const TURN_MS = 50;
const ANSWER_TURNS = 20;
const IDLE_TURNS = 100;
const MOST_TURNS = 600;
// The applications of cut requests have this long to release their resources.
const LAST_WORDS_MS = 200;

/** A connection from the parent, and its request, once that has a head. */
interface Served {
  /** When it came, by `performance.now()`. */
  came: number;
  request: IncomingMessage | undefined;
  /** How much had been read of it while its request still arrived. */
  read: number | undefined;
  /** How many turns it still has, once the next version waits. */
  turns: number;
}

/** Serves the connections that the parent passes on. */
export class ReloadedRunner implements Runner {
  readonly pageOptions: ErrorPageOptions = { reloadPath: RELOAD_PATH };
  private readonly settings: Settings;
  private readonly port: number;
  private readonly connections = new Map<Socket, Served>();
  private readonly retired = new AbortController();
  private server: WSGIServer | undefined = undefined;
  private ending = false;

  constructor(settings: Settings) {
    this.settings = settings;
    this.port = Number(process.env[CHILD]);
    // Programs that the application starts are not children of ours.
    delete process.env[CHILD];
    // The parent hears Ctrl-C as well, and says what to do.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
    process.on('disconnect', () => process.exit(1));
    process.on('message', (message: ToChild) => {
      if (message.tsgiref === 'retire' || message.tsgiref === 'stop') this.end(message.tsgiref);
    });
    process.on('uncaughtException', (error) => void this.onUncaught(error));
  }

  onLoad(url: string): void {
    send({ 'watch:import': [url] });
  }

  async onFailure(error: unknown): Promise<number> {
    process.stderr.write(`tsgiref: ${explain(error)}`);
    await this.report(error);
    return 1;
  }

  /** Answers the pages that wait for the next version, when this one ends. */
  wrap(app: WSGIApplication): WSGIApplication {
    const { signal } = this.retired;
    return (environ, startResponse) => {
      if (environ.PATH_INFO !== RELOAD_PATH) return app(environ, startResponse);
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          startResponse('204 No Content', []);
          resolve([]);
        });
      });
    };
  }

  async run(app: WSGIApplication, name: string): Promise<number> {
    const { host, limits } = this.settings;
    const server = makeServer(host, this.port, app, {
      ...limits,
      ...readTls(this.settings),
      listen: false,
      handlerClass: closing(handlerClass(this.settings), (request) => {
        const served = this.connections.get(request.socket);
        if (served !== undefined) served.request = request;
      }),
    });
    await server.ready;
    this.server = server;
    process.on('message', (message: ToChild, socket: Socket | undefined) => {
      if (message.tsgiref !== 'connection') return;
      void send({ tsgiref: 'taken', id: message.id });
      // A client may have left before its connection came here.
      if (socket === undefined) return;
      this.adopt(socket);
      // The socket reads already, so its first bytes must be there before this turn ends.
      socket.unshift(message.bytes);
      server.emit('connection', socket);
    });
    send({ tsgiref: 'ready', name });
    return new Promise(() => {});
  }

  // As an http.Server does with a connection that it accepts.
  private adopt(socket: Socket): void {
    socket.allowHalfOpen = true;
    socket.setNoDelay(true);
    const came = performance.now();
    this.connections.set(socket, { came, request: undefined, read: undefined, turns: 0 });
    socket.once('close', () => {
      this.connections.delete(socket);
      if (this.ending && this.connections.size === 0) process.exit(0);
    });
  }

  private end(how: 'retire' | 'stop'): void {
    this.ending = true;
    this.retired.abort();
    if (this.busy.length === 0) process.exit(0);
    if (how === 'retire') void this.retire();
  }

  // The connections whose response is not with the system yet.
  private get busy(): Array<[Socket, Served]> {
    return [...this.connections].filter(([socket]) => !socket.writableFinished);
  }

  private async retire(): Promise<void> {
    const now = performance.now();
    for (const [, served] of this.busy) {
      // A page that waits for the next version has just been answered, however old it is.
      const isAnswered = served.request?.url === RELOAD_PATH;
      if (isAnswered || now - served.came < FRESH_MS) served.turns = ANSWER_TURNS;
    }
    for (let turn = 0; turn < MOST_TURNS; turn += 1) {
      const goOn = this.busy.map(([socket, served]) => this.takeTurn(socket, served));
      if (!goOn.includes(true)) break;
      void send({ tsgiref: 'busy' });
      await new Promise((resolve) => setTimeout(resolve, TURN_MS));
    }
    await this.cut();
  }

  // Whether a connection has turns left. Each piece of a request gives it new ones.
  private takeTurn({ bytesRead }: Socket, served: Served): boolean {
    if (served.request?.complete === false) {
      if (served.read !== bytesRead) served.turns = IDLE_TURNS;
      served.read = bytesRead;
    } else if (served.read !== undefined) {
      served.turns = ANSWER_TURNS;
      served.read = undefined;
    }
    served.turns -= 1;
    return served.turns >= 0;
  }

  // The applications learn that their clients are gone, and the access log says it.
  private async cut(): Promise<void> {
    this.ending = false;
    const { length } = this.busy;
    if (length === 0) process.exit(0);
    const connections = count(length, 'connection');
    process.stderr.write(`tsgiref: cut ${connections} that the old version still served\n`);
    await this.server?.serverClose();
    setTimeout(() => process.exit(0), LAST_WORDS_MS);
  }

  private async onUncaught(error: unknown): Promise<void> {
    // An application that handles such errors goes on.
    if (process.listenerCount('uncaughtException') > 1) return;
    process.stderr.write(`Uncaught ${explain(error)}`);
    await this.report(error);
    process.exit(1);
  }

  private async report(error: unknown): Promise<void> {
    const problem = error instanceof Problem ? error : undefined;
    const files = [...(problem?.files ?? [])];
    if (problem?.place !== undefined) files.push(problem.place.path);
    await send({ tsgiref: 'broken', page: await this.makePage(error, problem), files });
  }

  private async makePage(error: unknown, problem: Problem | undefined): Promise<Page> {
    const advice = '\nSave a file of the application to start it again.\n';
    // The reason may show source, as the error page does.
    if (!this.settings.errorPage) {
      return { text: `The application does not work.\n${advice}`, html: undefined };
    }
    const { htmlPage } = await import('../../error-page/page.ts');
    const shown = problem === undefined ? error : (problem.cause ?? withoutPlace(problem));
    const html = htmlPage({ error: shown, place: problem?.place, reloadPath: RELOAD_PATH });
    return { text: `${escapeControls(explain(error))}${advice}`, html };
  }
}

// A reason in words alone, where the page shows the line of source apart from it.
function withoutPlace({ message, place }: Problem): { name: string; message: string } {
  const name = 'The application could not be loaded';
  if (place === undefined) return { name, message };
  return { name, message: message.replace(/^\S+:\d+: /, '').replace(/\n {4}.*/, '') };
}

function send(message: FromChild): Promise<void> {
  return new Promise((resolve) => {
    if (!process.connected) return resolve();
    process.send?.(message, undefined, {}, () => resolve());
  });
}

// A connection that is kept would stay with the old version, and be cut with it.
function closing(
  base: typeof WSGIRequestHandler,
  onRequest: (request: IncomingMessage) => void,
): typeof WSGIRequestHandler {
  return class extends base {
    constructor(...parts: ConstructorParameters<typeof WSGIRequestHandler>) {
      super(...parts);
      this.response.shouldKeepAlive = false;
      onRequest(this.request);
    }
  };
}
