#!/usr/bin/env node
// The program `tsgiref`. Mirrors `python -m wsgiref.simple_server`.

import { runCommand } from './command.ts';
import { applicationTrace } from './problem.ts';

// The programs that read its output may end first. Without a listener, the next line
// would end this one, too.
process.stderr.on('error', () => {});
process.stdout.on('error', () => {});

// A forgotten `await` should not end the server, nor the requests beside it.
process.on('unhandledRejection', (reason) => {
  process.stderr.write(`Unhandled rejection: ${applicationTrace(reason)}`);
});

// The application may have timers of its own.
void runCommand(process.argv.slice(2), process).then((status) => process.exit(status));
