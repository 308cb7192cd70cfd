// The command line, as the user typed it, made into settings.

import { parseArgs } from 'node:util';

import { Problem, nearest } from './problem.ts';

/** What the command was asked to do. */
export interface Settings {
  /** FILE or FILE:NAME; undefined serves the demo application. */
  target: string | undefined;
  host: string;
  port: number;
  help: boolean;
  version: boolean;
}

export const HELP = `Usage: tsgiref [options] [FILE[:NAME]]

Serves the application that FILE exports under NAME; by default its export
\`default\`, else \`app\`, else \`application\`. Without FILE, serves a demo.

      --host HOST   address to listen on           (default 127.0.0.1)
  -p, --port PORT   port to listen on; 0 is any    (default 8000)
      --help        show this, and stop
      --version     show the version, and stop

Examples:
  tsgiref app.ts
  tsgiref app.ts:admin --port 8080
  tsgiref --host 0.0.0.0 app.mjs
`;

const OPTIONS = {
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string', short: 'p', default: '8000' },
  help: { type: 'boolean', short: 'h', default: false },
  version: { type: 'boolean', default: false },
} as const;

/** Reads the words after the command's name. Throws a Problem for what it cannot read. */
export function readArguments(words: readonly string[]): Settings {
  const { values, positionals } = parse(words);
  if (positionals.length > 1) {
    const port = positionals.find((word) => /^[0-9]+$/.test(word));
    if (port !== undefined) throw new Problem(`what is ${port}? For a port, write --port ${port}`);
    const words = positionals.join(' ');
    throw new Problem(`one FILE is served at a time, not ${positionals.length}: ${words}`);
  }
  return {
    target: positionals[0],
    host: values.host,
    port: readPort(values.port),
    help: values.help,
    version: values.version,
  };
}

function parse(words: readonly string[]) {
  try {
    return parseArgs({ args: [...words], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new Problem(explain(error));
  }
}

function explain(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const [, unknown] = /^Unknown option '(-[^']*)'/.exec(message) ?? [];
  if (unknown !== undefined) {
    const options = Object.keys(OPTIONS).map((name) => `--${name}`);
    const meant = nearest(unknown, options);
    const advice = meant ? `did you mean ${meant}?` : 'see tsgiref --help';
    return `there is no option ${unknown}; ${advice}`;
  }
  // Option '-p, --port <value>' argument missing
  const [, option = '', complaint = ''] =
    /^Option '(?:-\w, )?(--?\w+)[^']*' ([^\n]*)/.exec(message) ?? [];
  if (complaint.includes('not take')) return `${option} takes no value`;
  if (option !== '') return `${option} needs a value; see tsgiref --help`;
  return `${message.split('\n')[0]}; see tsgiref --help`;
}

function readPort(text: string): number {
  if (/^[0-9]{1,5}$/.test(text) && Number(text) <= 65535) return Number(text);
  throw new Problem(`a port is a number from 0 to 65535, not '${text}'`);
}
