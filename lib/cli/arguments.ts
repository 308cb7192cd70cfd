// The command line, as the user typed it, made into settings.

import { parseArgs } from 'node:util';

import { Problem, nearest } from './problem.ts';

/** What the command was asked to do. */
export interface Settings {
  /** FILE, FILE:NAME or FILE:FACTORY(); undefined serves the demo application. */
  target: string | undefined;
  host: string;
  port: number;

  /** What stands around the application. */
  validate: boolean;
  errorPage: boolean;
  trace: boolean;
  quiet: boolean;
  allowedHosts: string[];

  /** What is done with it in place of serving until Ctrl-C. */
  request: { method: string; target: string } | undefined;
  headers: Array<[name: string, value: string]>;
  data: string | undefined;
  cgi: boolean;
  once: boolean;
  reload: boolean;
  open: boolean;

  tls: { cert: string; key: string } | undefined;
  limits: Limits;
}

/** The server's limits, as far as they were given. */
export interface Limits {
  maxConnections?: number;
  requestQueueSize?: number;
  maxHeaderSize?: number;
  maxRequests?: number;
  requestTimeout?: number;
}

export const OPTIONS = {
  host: { type: 'string' },
  port: { type: 'string', short: 'p' },
  bind: { type: 'string', short: 'b' },
  'allow-host': { type: 'string', multiple: true },
  reload: { type: 'boolean', short: 'r' },
  trace: { type: 'boolean' },
  plain: { type: 'boolean' },
  'no-validate': { type: 'boolean' },
  debug: { type: 'boolean' },
  quiet: { type: 'boolean', short: 'q' },
  open: { type: 'boolean' },
  once: { type: 'boolean' },
  request: { type: 'string' },
  header: { type: 'string', short: 'H', multiple: true },
  data: { type: 'string', short: 'd' },
  cgi: { type: 'boolean' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'max-connections': { type: 'string' },
  backlog: { type: 'string' },
  'max-header-size': { type: 'string' },
  'max-requests': { type: 'string' },
  timeout: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

/**
 * Reads the words after the command's name; `help` or `version` if that is what
 * they ask for. Throws a Problem for what it cannot read.
 */
export function readArguments(
  words: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Settings | 'help' | 'version' {
  const { values, positionals } = parse(words);
  if (values.help) return 'help';
  if (values.version) return 'version';
  checkPositionals(positionals);

  const [host, port] = readAddress(values, environment);
  const plain = values.plain ?? false;
  return {
    target: positionals[0],
    host,
    port,
    validate: !plain && !(values['no-validate'] ?? false),
    // The page shows source: only to whoever sits at this machine, or was meant to see it.
    errorPage: !plain && (isLoopback(host) || (values.debug ?? false)),
    trace: values.trace ?? false,
    quiet: values.quiet ?? false,
    allowedHosts: values['allow-host'] ?? [],
    request: values.request === undefined ? undefined : readRequest(values.request),
    headers: (values.header ?? []).map(readHeader),
    data: values.data,
    cgi: values.cgi ?? false,
    once: values.once ?? false,
    reload: values.reload ?? false,
    open: values.open ?? false,
    tls: readTls(values['tls-cert'], values['tls-key']),
    limits: readLimits(values),
  };
}

/** Whether a host to bind is this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
}

type Values = ReturnType<typeof parse>['values'];

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
    /^Option '(?:-\w, )?(--?[\w-]+)[^']*' ([^\n]*)/.exec(message) ?? [];
  if (complaint.includes('not take')) return `${option} takes no value`;
  if (option !== '') return `${option} needs a value; see tsgiref --help`;
  return `${message.split('\n')[0]}; see tsgiref --help`;
}

function checkPositionals(positionals: readonly string[]): void {
  if (positionals.length <= 1) return;
  const port = positionals.find((word) => /^[0-9]+$/.test(word));
  if (port !== undefined) throw new Problem(`what is ${port}? For a port, write --port ${port}`);
  const words = positionals.join(' ');
  throw new Problem(`one FILE is served at a time, not ${positionals.length}: ${words}`);
}

function readAddress(
  { bind, host, port }: Values,
  environment: Readonly<Record<string, string | undefined>>,
): [host: string, port: number] {
  const usualHost = environment['HOST'] || '127.0.0.1';
  const usualPort = environment['PORT'] || '8000';
  if (bind === undefined) return [host ?? usualHost, readPort(port ?? usualPort)];
  if (host !== undefined || port !== undefined) {
    throw new Problem('--bind says both host and port; leave out --host and --port');
  }
  // HOST:PORT, [::1]:PORT, HOST or :PORT
  const [, bracketed, plain, given] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(bind) ?? [];
  const name = bracketed ?? plain;
  if (name === undefined) throw new Problem(`--bind takes HOST:PORT, not '${bind}'`);
  return [name, readPort(given ?? usualPort)];
}

function readPort(text: string): number {
  if (/^[0-9]{1,5}$/.test(text) && Number(text) <= 65535) return Number(text);
  throw new Problem(`a port is a number from 0 to 65535, not '${text}'`);
}

function readRequest(text: string): { method: string; target: string } {
  const [first = '', second, ...more] = text.trim().split(/\s+/);
  const [method, target] = second === undefined ? ['GET', first] : [first, second];
  if (more.length > 0 || !(target.startsWith('/') || target === '*')) {
    throw new Problem(`--request takes 'METHOD /path' or '/path', not '${text}'`);
  }
  return { method, target };
}

function readHeader(text: string): [name: string, value: string] {
  const colon = text.indexOf(':');
  if (colon < 1) throw new Problem(`-H takes 'Name: value', not '${text}'`);
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}

function readTls(cert: string | undefined, key: string | undefined): Settings['tls'] {
  if (cert === undefined && key === undefined) return undefined;
  if (cert !== undefined && key !== undefined) return { cert, key };
  throw new Problem('HTTPS takes both --tls-cert FILE and --tls-key FILE');
}

function readLimits(values: Values): Limits {
  const limits: Limits = {};
  const read = (option: keyof Values): number | undefined => {
    const text = values[option];
    if (text === undefined) return undefined;
    if (/^[0-9]+$/.test(String(text))) return Number(text);
    throw new Problem(`--${option} takes a whole number, not '${text}'`);
  };
  const timeout = read('timeout');
  Object.assign(limits, {
    ...given('maxConnections', read('max-connections')),
    ...given('requestQueueSize', read('backlog')),
    ...given('maxHeaderSize', read('max-header-size')),
    ...given('maxRequests', read('max-requests')),
    ...given('requestTimeout', timeout === undefined ? undefined : timeout * 1000),
  });
  return limits;
}

function given(name: keyof Limits, value: number | undefined): Limits {
  return value === undefined ? {} : { [name]: value };
}
