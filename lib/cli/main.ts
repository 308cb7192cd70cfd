#!/usr/bin/env node
// The command: reads its arguments, loads the application, and serves it, or does with
// it what the arguments ask for.
//
// Mirrors `python -m wsgiref.simple_server`.

import { readFileSync } from 'node:fs';

import type { ErrorPageOptions } from '../error-page.ts';
import type { WSGIApplication } from '../types.ts';
import { HELP, type Settings, readArguments } from './arguments.ts';
import { applicationTrace, explain } from './problem.ts';

// lib/cli and dist/lib/cli lie at different depths below package.json.
const MANIFEST = import.meta.url.endsWith('.ts') ? '../../package.json' : '../../../package.json';

async function main(words: readonly string[]): Promise<number> {
  const settings = readArguments(words, process.env);
  if (settings === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  if (settings === 'version') {
    const { version } = JSON.parse(readFileSync(new URL(MANIFEST, import.meta.url), 'utf8'));
    process.stdout.write(`tsgiref ${version}, Node ${process.versions.node}\n`);
    return 0;
  }
  if (settings.check !== undefined) {
    return (await import('./check.ts')).check(settings.check, settings);
  }
  if (!settings.reload) return runApplication(settings, await loadRunner(settings));
  const { isChild, reload } = await import('./reload.ts');
  if (!isChild()) return reload(settings, words);
  const { ReloadedRunner } = await import('./reload/child.ts');
  return runApplication(settings, new ReloadedRunner(settings));
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
}

async function runApplication(settings: Settings, runner: Runner): Promise<number> {
  if (settings.envFile !== undefined) process.loadEnvFile(settings.envFile);
  // A forgotten `await` should not end the server, nor the requests beside it.
  process.on('unhandledRejection', (reason) => {
    process.stderr.write(`Unhandled rejection: ${applicationTrace(reason)}`);
  });
  // A trace should reach down to the application through all the middleware.
  Error.stackTraceLimit = Math.max(Error.stackTraceLimit, 50);
  // Our own modules come first: a CommonJS application cannot require one of them
  // while it is being imported.
  const { loadStack } = await import('./stack.ts');
  const stack = await loadStack(settings, runner.pageOptions);
  const { loadApplication, loadDefault } = await import('./loading.ts');
  try {
    const { target, demo } = settings;
    const { app, name } = await (target === undefined
      ? loadDefault(demo, runner.onLoad)
      : loadApplication(target, runner.onLoad));
    const wrapped = stack(app);
    return await runner.run(runner.wrap?.(wrapped) ?? wrapped, name);
  } catch (error) {
    if (runner.onFailure === undefined) throw error;
    return runner.onFailure(error);
  }
}

async function loadRunner(settings: Settings): Promise<Runner> {
  if (settings.request !== undefined) {
    const { request, sendConsoleToStandardError } = await import('./request.ts');
    const wanted = settings.request;
    sendConsoleToStandardError();
    return { run: (app) => request(app, wanted) };
  }
  if (settings.cgi) {
    const { CGIHandler } = await import('../handlers.ts');
    const { sendConsoleToStandardError } = await import('./request.ts');
    sendConsoleToStandardError();
    return {
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

main(process.argv.slice(2)).then(
  // The application may have timers of its own.
  (status) => process.exit(status),
  (error: unknown) => {
    process.stderr.write(`tsgiref: ${explain(error)}`);
    process.exit(1);
  },
);
