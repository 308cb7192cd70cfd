#!/usr/bin/env node
// The command: reads its arguments, loads the application, serves it.
//
// Mirrors `python -m wsgiref.simple_server`.

import { readFileSync } from 'node:fs';

import { formatException } from '../handlers/exception.ts';
import type { WSGIApplication } from '../types.ts';
import { type Settings, readArguments } from './arguments.ts';
import { OWN_FOLDER } from './own-modules.ts';
import { Problem } from './problem.ts';
import { RELOADING, brokenApplication, isReloaded, reload, watchBeside } from './reload.ts';
import { applicationTrace } from './traces.ts';

async function main(words: readonly string[]): Promise<void> {
  const settings = readArguments(words, process.env);
  if (settings === 'help') {
    const { HELP } = await import('./help.ts');
    process.stdout.write(HELP);
  } else if (settings === 'version') {
    process.stdout.write(`tsgiref ${version()}, Node ${process.versions.node}\n`);
  } else if (settings.reload && !isReloaded()) {
    process.exit(await reload(words));
  } else {
    // The application may have timers of its own.
    process.exit(await runApplication(settings));
  }
}

async function runApplication(settings: Settings): Promise<number> {
  // A forgotten `await` should not end the server, nor the requests beside it.
  process.on('unhandledRejection', (reason) => {
    process.stderr.write(`Unhandled rejection: ${applicationTrace(reason)}`);
  });
  const serves = settings.request === undefined && !settings.cgi;
  const [{ app, name }, wrap] = await Promise.all([
    loadTarget(settings),
    import('./stack.ts').then(({ loadStack }) => loadStack(settings)),
    // Needed only later, but read beside the others it costs no time of its own.
    serves && import('./serve.ts'),
  ]);
  // The first load of --reload: the parent wants to know only whether it works.
  if (process.env[RELOADING] === 'check') return 0;

  const stack = wrap(app);
  if (settings.request !== undefined)
    return (await import('./request.ts')).request(stack, settings);
  if (settings.cgi) {
    const { CGIHandler } = await import('../handlers.ts');
    await new CGIHandler().run(stack);
    return 0;
  }
  const { serve } = await import('./serve.ts');
  await serve(stack, name, settings);
  return 0;
}

async function loadTarget({ target }: Settings): Promise<{ app: WSGIApplication; name: string }> {
  if (target === undefined) {
    const { demoApp } = await import('../simple-server.ts');
    return { app: demoApp, name: 'the demo application' };
  }
  const { loadApplication } = await import('./application.ts');
  try {
    return await loadApplication(target);
  } catch (error) {
    if (process.env[RELOADING] !== 'serve') throw error;
    process.stderr.write(`tsgiref: ${explain(error)}`);
    watchBeside(target);
    return { app: brokenApplication(error), name: `what is wrong with ${target}` };
  }
}

function version(): string {
  return JSON.parse(readFileSync(new URL('package.json', OWN_FOLDER), 'utf8')).version;
}

function explain(error: unknown): string {
  return error instanceof Problem ? `${error.message}\n` : formatException(error);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`tsgiref: ${explain(error)}`);
  process.exit(1);
});
