// Runs the command: reads its arguments, loads the application, and serves it, or does what
// else the arguments ask for.

import { readFileSync } from 'node:fs';

import type { ErrorPageOptions } from '../error-page.ts';
import type { WSGIApplication } from '../types.ts';
import { HELP, type Settings, readArguments } from './arguments.ts';
import type { Loaded } from './loading.ts';
import { explain, explainEnding } from './problem.ts';
import type { Terminal } from './request.ts';
import { loadStack } from './stack.ts';

// lib/cli and dist/lib/cli lie at different depths below package.json.
const MANIFEST = import.meta.url.endsWith('.ts') ? '../../package.json' : '../../../package.json';

/**
 * Runs the command.
 *
 * @param words - The arguments, without the names of Node and of the command.
 * @param terminal - Takes what `--request`, `--check`, `--help` and mistakes print. A
 *   server prints to the standard streams of the process.
 * @returns The exit status, once there is nothing more to do. The application may still
 *   have timers of its own.
 */
export async function runCommand(words: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await run(words, terminal);
  } catch (error) {
    terminal.stderr.write(`tsgiref: ${explain(error)}`);
    return 1;
  }
}

async function run(words: readonly string[], terminal: Terminal): Promise<number> {
  const settings = readArguments(words, process.env);
  if (settings === 'help') {
    terminal.stdout.write(HELP);
    return 0;
  }
  if (settings === 'version') {
    const { version } = JSON.parse(readFileSync(new URL(MANIFEST, import.meta.url), 'utf8'));
    terminal.stdout.write(`tsgiref ${version}, Node ${process.versions.node}\n`);
    return 0;
  }
  if (settings.check !== undefined) {
    return (await import('./check.ts')).check(settings.check, settings, terminal);
  }
  if (settings.reload) {
    const { isChild } = await import('./reload/messages.ts');
    if (!isChild()) return (await import('./reload.ts')).reload(settings, words);
  }
  return runApplication(settings, terminal);
}

/** The use that is made of the application. */
export interface Runner {
  /** Resolves with the exit status. */
  run(app: WSGIApplication, name: string): Promise<number>;
  /** Called with the URL of each file that the application loads. */
  onLoad?(url: string): void;
  /** Called with the reason why the application cannot be loaded, in place of throwing it. */
  onFailure?(error: unknown): Promise<number>;
  /** Options of the error page. */
  pageOptions?: ErrorPageOptions;
  /** Middleware around all other. */
  wrap?(app: WSGIApplication): WSGIApplication;
  /** Called at the end. */
  release?(): void;
}

async function runApplication(settings: Settings, terminal: Terminal): Promise<number> {
  if (settings.envFile !== undefined) process.loadEnvFile(settings.envFile);
  // A trace should reach down to the application through all the middleware.
  Error.stackTraceLimit = Math.max(Error.stackTraceLimit, 50);
  // Our own modules come first: a CommonJS application cannot require one of them
  // while it is being imported. They are read side by side, since the first answer waits
  // for all of them.
  const [runner, stack, loading] = await Promise.all([
    loadRunner(settings, terminal),
    loadStack(settings, terminal.stderr),
    import('./loading.ts'),
  ]);
  let stopWatching = (): void => {};
  try {
    const { app, name } = await load(loading, settings, runner, terminal);
    if (settings.request !== undefined || settings.cgi) {
      stopWatching = watchEnding(settings, true, terminal);
    }
    const wrapped = stack(app, runner.pageOptions);
    const running = runner.run(runner.wrap?.(wrapped) ?? wrapped, name);
    return await loading.unlessStuck(running, `${name} awaits something that never comes`);
  } catch (error) {
    if (runner.onFailure === undefined) throw error;
    return runner.onFailure(error);
  } finally {
    stopWatching();
    runner.release?.();
  }
}

async function load(
  { loadApplication, loadDefault }: typeof import('./loading.ts'),
  settings: Settings,
  { onLoad }: Runner,
  terminal: Terminal,
): Promise<Loaded> {
  const { target, demo, reload } = settings;
  // Under --reload this process may have to end, and the parent knows why it has.
  const stopWatching = reload ? () => {} : watchEnding(settings, false, terminal);
  try {
    return await (target === undefined
      ? loadDefault(demo, onLoad)
      : loadApplication(target, onLoad));
  } finally {
    stopWatching();
  }
}

/** Reports it as a failure if the application ends the process, until the result is called. */
function watchEnding(
  { target }: Settings,
  isLoaded: boolean,
  { stderr }: Terminal,
): () => void {
  const onExit = (status: number): void => {
    stderr.write(`tsgiref: ${explainEnding(target, status, isLoaded)}\n`);
    process.exitCode = status || 1;
  };
  process.on('exit', onExit);
  return () => void process.off('exit', onExit);
}

async function loadRunner(settings: Settings, terminal: Terminal): Promise<Runner> {
  if (settings.reload) {
    const { ReloadedRunner } = await import('./reload/child.ts');
    return new ReloadedRunner(settings);
  }
  if (settings.request !== undefined) {
    const { request, sendConsoleTo } = await import('./request.ts');
    const wanted = settings.request;
    const release = sendConsoleTo(terminal.stderr);
    return { run: (app) => request(app, wanted, terminal), release };
  }
  if (settings.cgi) {
    const { CGIHandler } = await import('../handlers.ts');
    const { sendConsoleTo } = await import('./request.ts');
    const release = sendConsoleTo(terminal.stderr);
    return {
      release,
      async run(app) {
        await new CGIHandler().run(app);
        return 0;
      },
    };
  }
  const { gateway } = settings;
  if (gateway !== undefined) {
    const { serveGateway } = await import('./gateway.ts');
    return { run: (app, name) => serveGateway(app, name, gateway, settings) };
  }
  const { serve } = await import('./serve.ts');
  return { run: (app, name) => serve(app, name, settings) };
}
