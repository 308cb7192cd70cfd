#!/usr/bin/env node
// The command: reads its arguments, loads the application, serves it.
//
// Mirrors `python -m wsgiref.simple_server`.

import { readFileSync } from 'node:fs';

import { formatException } from '../handlers/exception.ts';
import { HELP, readArguments } from './arguments.ts';
import { OWN_FOLDER } from './own-modules.ts';
import { Problem } from './problem.ts';
import { applicationTrace } from './traces.ts';

async function main(words: readonly string[]): Promise<void> {
  const settings = readArguments(words);
  if (settings.help) {
    process.stdout.write(HELP);
    return;
  }
  if (settings.version) {
    process.stdout.write(`tsgiref ${version()}, Node ${process.versions.node}\n`);
    return;
  }
  // A forgotten `await` should not end the server, nor the requests beside it.
  process.on('unhandledRejection', (reason) => {
    process.stderr.write(`Unhandled rejection: ${applicationTrace(reason)}`);
  });
  const { target } = settings;
  const { serve } = await import('./serve.ts');
  if (target === undefined) {
    const { demoApp } = await import('../simple-server.ts');
    await serve(demoApp, 'the demo application', settings);
  } else {
    const { loadApplication } = await import('./application.ts');
    await serve(await loadApplication(target), target, settings);
  }
  // The application may have timers of its own.
  process.exit(0);
}

function version(): string {
  return JSON.parse(readFileSync(new URL('package.json', OWN_FOLDER), 'utf8')).version;
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const text = error instanceof Problem ? `${error.message}\n` : formatException(error);
  process.stderr.write(`tsgiref: ${text}`);
  process.exit(1);
});
