#!/usr/bin/env node
// The command: reads its arguments, loads the application, serves it.
//
// Mirrors `python -m wsgiref.simple_server`.

import { readFileSync } from 'node:fs';

import { formatException } from '../handlers/exception.ts';
import { HELP, readArguments } from './arguments.ts';
import { Problem } from './problem.ts';

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
  // lib/cli and dist/lib/cli stand at different depths.
  const manifest = import.meta.url.endsWith('.ts') ? '../../package.json' : '../../../package.json';
  return JSON.parse(readFileSync(new URL(manifest, import.meta.url), 'utf8')).version;
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const text =
    error instanceof Problem ? `${error.message}\n` : withoutOurCalls(formatException(error));
  process.stderr.write(`tsgiref: ${text}`);
  process.exit(1);
});

// An error that the application threw while it was loaded is the application's alone.
function withoutOurCalls(trace: string): string {
  const here = new URL('..', import.meta.url).href;
  const lines = trace.split('\n').filter((line) => !/^\s+at /.test(line) || !line.includes(here));
  return lines.join('\n');
}
