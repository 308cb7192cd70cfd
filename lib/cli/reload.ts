// `--reload`: this process holds the listening socket, and a child runs the application.
// When a file of the application changes, a new child takes the place of the old one.
//
// A connection is accepted here and passed to the child once its client has sent
// something. So none is refused during a restart, and none is lost: it stays here, with
// the bytes that were read, until a child says that it has taken it. While there is no
// child, because the application does not load or has ended its process, a page from
// here says why.

import { type ChildProcess, fork } from 'node:child_process';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import * as inspector from 'node:inspector';
import { type AddressInfo, type Socket, createServer as createSocketServer } from 'node:net';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { type Settings, readEnvFile } from './arguments.ts';
import { explainEnding } from './problem.ts';
import { CHILD, type FromChild, type Page, RELOAD_PATH, type ToChild } from './reload/messages.ts';
import { Watcher } from './reload/watcher.ts';
import { announce, explainBinding, readTls, stopOnSignals } from './serve.ts';
import { type HostCheck, hostCheck } from './stack.ts';

/** Serves until the user stops it; resolves with the exit status. */
export async function reload(settings: Settings, words: readonly string[]): Promise<number> {
  leaveInspectorToChild();
  const pages = new PageServer(await makePageServer(settings), hostCheck(settings));
  const supervisor = new Supervisor(settings, words, pages);
  await supervisor.bind();
  return supervisor.run();
}

// The child gets the same options, and its inspector wants the same port. Under
// --inspect-brk a debugger is attached by now, and closing would wait for it: then the
// child takes any free port, which Node prints.
function leaveInspectorToChild(): void {
  const options = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].join(' ');
  if (inspector.url() !== undefined && !options.includes('--inspect-brk')) inspector.close();
}

function childOptions(): string[] {
  return [...process.execArgv, ...(inspector.url() === undefined ? [] : ['--inspect-port=0'])];
}

// A child that is to end, and gives no sign of life for so many turns, is stuck. A turn of
// this process takes longer on a busy machine, as everything does there.
const TURN_MS = 50;
const PATIENCE_TURNS = 50;

/** A connection of a client, and the bytes of it that were read here. */
interface Connection {
  socket: Socket;
  bytes: Uint8Array;
}

class Supervisor {
  private readonly settings: Settings;
  private readonly words: readonly string[];
  private readonly env: NodeJS.ProcessEnv;
  private readonly watcher: Watcher = new Watcher((path) => this.restart(path));
  private readonly pages: PageServer;
  // Without a buffer, reading stops after the first packet: the rest is the child's.
  private readonly server = createSocketServer({ highWaterMark: 0, allowHalfOpen: true });
  // These wait for a child,
  private readonly waiting: Connection[] = [];
  // and these were sent to the child, which has not taken them yet.
  private readonly sent = new Map<number, Connection>();
  private connections = 0;

  private child: ChildProcess | undefined = undefined;
  private state: 'starting' | 'serving' | 'retiring' | 'broken' | 'stopping' = 'starting';
  private hasServed = false;
  private killing: NodeJS.Timeout | undefined = undefined;
  private silentTurns = 0;
  private page: Page | undefined = undefined;
  private changed = '';
  private finish: (status: number) => void = () => {};

  constructor(settings: Settings, words: readonly string[], pages: PageServer) {
    this.settings = settings;
    this.words = words;
    this.env = withoutEnvFile(settings.envFile);
    this.pages = pages;
    const { watched, envFile, tls } = settings;
    for (const path of [...watched, envFile, tls?.cert, tls?.key]) {
      if (path !== undefined) this.watcher.addTree(path);
    }
  }

  /** Listens. Throws a Problem if that is not possible. */
  async bind(): Promise<void> {
    const { host, port, limits } = this.settings;
    const { maxConnections, requestQueueSize = 511 } = limits;
    if (maxConnections !== undefined) this.server.maxConnections = maxConnections;
    this.server.on('connection', (socket: Socket) => this.accept(socket));
    try {
      await new Promise<void>((resolve, reject) => {
        this.server.once('error', reject);
        this.server.listen({ host, port, backlog: requestQueueSize }, resolve);
      });
    } catch (error) {
      const { bindError } = await import('../simple-server/server.ts');
      throw await explainBinding(bindError(error as Error, [host, port]), host, port);
    }
  }

  run(): Promise<number> {
    stopOnSignals(() => this.stop());
    process.on('exit', () => this.child?.kill('SIGKILL'));
    this.start();
    return new Promise((resolve) => (this.finish = resolve));
  }

  private get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  private start(): void {
    this.page = undefined;
    this.watcher.begin();
    const file = import.meta.url.endsWith('.ts') ? './main.ts' : './main.js';
    const main = fileURLToPath(new URL(file, import.meta.url));
    const env = {
      ...this.env,
      [CHILD]: String(this.port),
      // Node's loader says of each module that it loads it.
      WATCH_REPORT_DEPENDENCIES: '1',
    };
    const execArgv = childOptions();
    this.child = fork(main, this.words, { env, execArgv, serialization: 'advanced' });
    this.child.on('message', (message: FromChild) => this.receive(message));
    // Behind `exit` there may still be messages.
    this.child.on('close', (status, signal) => this.ended(status, signal));
  }

  private receive(message: FromChild): void {
    // An application may send messages of its own, as to a process manager.
    if (typeof message !== 'object' || message === null) return;
    // Node's loader sends these two, as it does under `node --watch`.
    if ('watch:import' in message) this.watcher.add(message['watch:import']);
    else if ('watch:require' in message) this.watcher.add(message['watch:require']);
    else if (message.tsgiref === 'ready') this.ready(message.name);
    else if (message.tsgiref === 'taken') {
      this.sent.get(message.id)?.socket.destroy();
      this.sent.delete(message.id);
    } else if (message.tsgiref === 'busy') {
      this.silentTurns = 0;
    } else if (message.tsgiref === 'broken') {
      this.page = message.page;
      this.watcher.add(message.files);
    }
  }

  private ready(name: string): void {
    if (this.state !== 'starting') return;
    if (!this.hasServed) announce(name, this.settings, this.port);
    else if (!this.settings.quiet) {
      const changed = relative('', this.changed) || 'the folder';
      process.stderr.write(`Reloaded ${name}: ${changed} has changed\n`);
    }
    this.state = 'serving';
    this.hasServed = true;
    this.watcher.settle();
    for (const connection of this.waiting.splice(0)) this.serve(connection);
  }

  private restart(changed: string): void {
    this.changed = changed;
    if (this.state === 'broken') {
      this.state = 'starting';
      this.pages.release();
      this.start();
    } else if (this.state === 'serving' || this.state === 'starting') {
      this.state = 'retiring';
      this.send({ tsgiref: 'retire' });
      this.silentTurns = 0;
      this.killing = setInterval(() => {
        this.silentTurns += 1;
        if (this.silentTurns === PATIENCE_TURNS) this.child?.kill('SIGKILL');
      }, TURN_MS).unref();
    }
  }

  private ended(status: number | null, signal: string | null): void {
    this.child = undefined;
    clearInterval(this.killing);
    this.waiting.unshift(...this.sent.values());
    this.sent.clear();
    if (this.state === 'stopping') return this.finish(0);
    if (this.state === 'retiring') {
      this.state = 'starting';
      return this.start();
    }
    const isLoaded = this.state === 'serving';
    const reason = explainEnding(this.settings.target, signal ?? status ?? 1, isLoaded);
    if (this.page === undefined) process.stderr.write(`tsgiref: ${reason}\n`);
    if (!this.hasServed) return this.finish(status || 1);
    this.state = 'broken';
    // A reader may follow the advice at once.
    this.watcher.watchBeside();
    process.stderr.write('Save a file of the application to start it again\n');
    const text = `${reason}\n\nSave a file of the application to start it again.\n`;
    this.pages.show(this.page ?? { text, html: undefined });
    for (const connection of this.waiting.splice(0)) this.serve(connection);
  }

  private stop(): void {
    this.state = 'stopping';
    this.server.close();
    this.pages.release();
    for (const { socket } of this.waiting) socket.destroy();
    if (this.child === undefined) this.finish(0);
    else this.send({ tsgiref: 'stop' });
  }

  private accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    socket.once('readable', () => {
      const bytes = socket.read() as Uint8Array | null;
      if (bytes === null) socket.destroy();
      else this.serve({ socket, bytes });
    });
  }

  private serve(connection: Connection): void {
    if (this.state === 'broken') return this.pages.serve(connection);
    if (this.state !== 'serving') return void this.waiting.push(connection);
    this.connections += 1;
    const id = this.connections;
    this.sent.set(id, connection);
    const { socket, bytes } = connection;
    this.send({ tsgiref: 'connection', id, bytes }, socket);
  }

  // A child that has just died is reported by its `close`.
  private send(message: ToChild, socket?: Socket): void {
    if (this.child?.connected) this.child.send(message, socket, { keepOpen: true }, () => {});
  }
}

// Some versions of Node read the file by themselves, as if --env-file were theirs. The
// child is to read it anew.
function withoutEnvFile(file: string | undefined): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const [name, value] of Object.entries(readEnvFile(file))) {
    if (env[name] === value) delete env[name];
  }
  return env;
}

/** Answers every request with one page, which only its own hosts may read. */
class PageServer {
  private readonly server: Server;
  private readonly held = new Set<ServerResponse>();
  private page: Page = { text: '', html: undefined };

  constructor(server: Server, check: HostCheck | undefined) {
    this.server = server;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const refusal = check?.(request.headers.host ?? '');
      if (refusal !== undefined) answer(response, 403, { text: refusal, html: undefined });
      else if (request.url === RELOAD_PATH) this.held.add(response);
      else answer(response, 500, this.page, request.headers.accept);
    });
  }

  show(page: Page): void {
    this.page = page;
  }

  serve({ socket, bytes }: Connection): void {
    socket.unshift(bytes);
    this.server.emit('connection', socket);
  }

  /** Ends the requests of pages that wait for the application to start. */
  release(): void {
    for (const response of this.held) response.writeHead(204, { Connection: 'close' }).end();
    this.held.clear();
  }
}

function answer(
  response: ServerResponse,
  status: number,
  { html, text }: Page,
  accept: string = '',
): void {
  const wantsHtml = html !== undefined && /\btext\/html\b/.test(accept);
  response.writeHead(status, {
    'Content-Type': `text/${wantsHtml ? 'html' : 'plain'}; charset=utf-8`,
    'Content-Security-Policy': wantsHtml ? html.policy : "default-src 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    Connection: 'close',
  });
  response.end(wantsHtml ? html.text : text);
}

async function makePageServer(settings: Settings): Promise<Server> {
  const { tls } = readTls(settings);
  if (tls === undefined) return createServer();
  const { createServer: createSecureServer } = await import('node:https');
  return createSecureServer(tls);
}
