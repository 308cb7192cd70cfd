// The command line, as the user typed it, made into settings.

import { readFileSync } from 'node:fs';
import { parseArgs, parseEnv } from 'node:util';

import { quote } from '../describe.ts';
import type { GatewayAddress, GatewayProtocol } from '../gateway.ts';
import { TOKEN } from '../latin1.ts';
import { Problem, nearest } from './problem.ts';

/** The task of the command, as its arguments say. */
export interface Settings {
  /** FILE, FILE:NAME or FILE:FACTORY(); undefined serves what the folder has, or the demo. */
  target: string | undefined;
  demo: boolean;
  host: string;
  port: number;

  /** The middleware around the application. */
  validate: boolean;
  errorPage: boolean;
  trace: boolean;
  quiet: boolean;
  allowedHosts: string[];

  /** The one request to make in place of serving. */
  request: RequestSettings | undefined;
  cgi: boolean;
  /** Serves by this protocol in place of HTTP. */
  gateway: { protocol: GatewayProtocol; address: GatewayAddress } | undefined;
  /** Checks the server that FILE starts: these groups or ids, all if there are none. */
  check: { only: string[]; json: boolean } | undefined;
  once: boolean;
  reload: boolean;
  /** More files and folders whose changes restart the application. */
  watched: string[];
  envFile: string | undefined;
  open: boolean;

  tls: { cert: string; key: string } | undefined;
  limits: Limits;
}

/** The request of `--request`. */
export interface RequestSettings {
  method: string;
  target: string;
  headers: Array<[name: string, value: string]>;
  /** The parts of the body, as the user typed them; none without `--data`. */
  data: Array<{ text: string; binary: boolean }>;
  /** Whether the head is printed even where standard output is not a terminal. */
  include: boolean;
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
  demo: { type: 'boolean' },
  reload: { type: 'boolean', short: 'r' },
  watch: { type: 'string', multiple: true },
  'env-file': { type: 'string' },
  trace: { type: 'boolean' },
  plain: { type: 'boolean' },
  'no-validate': { type: 'boolean' },
  debug: { type: 'boolean' },
  quiet: { type: 'boolean', short: 'q' },
  open: { type: 'boolean' },
  once: { type: 'boolean' },
  request: { type: 'string' },
  header: { type: 'string', short: 'H', multiple: true },
  data: { type: 'string', short: 'd', multiple: true },
  'data-binary': { type: 'string', multiple: true },
  include: { type: 'boolean', short: 'i' },
  cgi: { type: 'boolean' },
  scgi: { type: 'string' },
  uwsgi: { type: 'string' },
  check: { type: 'boolean' },
  only: { type: 'string', multiple: true },
  json: { type: 'boolean' },
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

// `--help` fits on one screen.
export const HELP = `Usage: tsgiref [options] [FILE[:NAME]]

Serves the application that FILE exports: NAME, NAME() if that makes it, else
\`default\`, \`app\` or \`application\`. Without FILE: app.ts, app.js or index.ts.

  -b, --bind HOST:PORT   --host HOST   -p, --port PORT     (127.0.0.1:8000)
  -r, --reload           restart when the application changes
      --watch PATH       restart when this file or folder changes, too
      --env-file FILE    read environment variables from FILE
      --trace            print what server and application say to each other
      --request 'POST /' run it once without a socket and print the response;
                         -H 'Name: value', -i for the head, -d TEXT, -d @FILE,
                         -d @- for a body, --data-binary to keep its line breaks
      --once             serve one request, and stop  --demo  serve a demo
      --cgi  --scgi PORT|PATH  --uwsgi PORT|PATH      run behind another server
      --check            check the server of start(app): --only GROUP, --json
      --plain            no validator, no error page  --no-validate
      --debug            error page for everyone
      --allow-host NAME  answer to this Host          --open  open the browser
      --tls-cert FILE --tls-key FILE          serve HTTPS
      --max-connections N  --backlog N  --max-header-size BYTES
      --max-requests N     --timeout SECONDS
  -q, --quiet            print errors alone   --version  -h, --help
`;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the words after the command's name.
 *
 * @returns `help` or `version` if the words ask for that.
 * @throws Problem for words that make no sense.
 */
export function readArguments(
  words: readonly string[],
  environment: Environment,
): Settings | 'help' | 'version' {
  const parsed = parse(words);
  const { values, positionals } = parsed;
  if (values.help) return 'help';
  if (values.version) return 'version';
  checkPositionals(positionals);
  checkCombination(values, positionals[0]);

  const envFile = values['env-file'];
  const [host, port] = readAddress(values, { ...readEnvFile(envFile), ...environment });
  const gateway = readGateway(values);
  const plain = values.plain ?? false;
  // The page shows source: only to users of this machine, unless it is asked for.
  const isLocal = isLoopback(host) && gateway === undefined;
  return {
    target: positionals[0],
    demo: values.demo ?? false,
    host,
    port,
    validate: !plain && !(values['no-validate'] ?? false),
    errorPage: !plain && (isLocal || (values.debug ?? false)),
    trace: values.trace ?? false,
    quiet: values.quiet ?? false,
    allowedHosts: (values['allow-host'] ?? []).map((name) => name.toLowerCase()),
    request: values.request === undefined ? undefined : readRequest(values.request, parsed),
    cgi: values.cgi ?? false,
    gateway,
    check: readCheck(values),
    once: values.once ?? false,
    reload: values.reload ?? false,
    watched: values.watch ?? [],
    envFile,
    open: values.open ?? false,
    tls: readTls(values['tls-cert'], values['tls-key']),
    limits: readLimits(values),
  };
}

/** Whether a host to bind is this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
}

type Parsed = ReturnType<typeof parse>;
type Values = Parsed['values'];

function parse(words: readonly string[]) {
  try {
    const args = joinNegative(words);
    return parseArgs({ args, options: OPTIONS, allowPositionals: true, tokens: true });
  } catch (error) {
    throw new Problem(explain(error));
  }
}

// No option is a digit, so `-1` is the value of the option before it.
function joinNegative(words: readonly string[]): string[] {
  return words.reduce<string[]>((joined, word) => {
    const before = joined.at(-1) ?? '';
    const [option] = /^-[a-z]$|^--[a-z-]+$/.exec(before) ?? [];
    if (option === undefined || !/^-\d/.test(word)) return [...joined, word];
    return [...joined.slice(0, -1), option + (option.startsWith('--') ? '=' : '') + word];
  }, []);
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
  if (option === '--watch') {
    return '--watch takes a PATH to watch beside the application; to restart on changes: --reload';
  }
  if (complaint.includes('not take')) return `${option} takes no value`;
  if (option !== '') return `${option} needs a value; see tsgiref --help`;
  return `${message.split('\n')[0]}; see tsgiref --help`;
}

function checkPositionals(positionals: readonly string[]): void {
  if (positionals.length <= 1) return;
  const port = positionals.find((word) => /^[0-9]+$/.test(word));
  if (port !== undefined) {
    throw new Problem(`${port} is not a file; for a port, write --port ${port}`);
  }
  const words = positionals.join(' ');
  throw new Problem(`one FILE is served at a time, not ${positionals.length}: ${words}`);
}

// The server in front of a gateway has the address, the certificate and the limits.
const ONLY_HTTP = [
  ...['--bind', '--host', '--port', '--allow-host', '--tls-cert', '--tls-key', '--open'],
  ...['--reload', '--once', '--request', '--cgi', '--check'],
  ...['--backlog', '--max-requests', '--timeout'],
];

// A process that does not listen has no use for them.
const ONLY_SERVER = ['--once', '--open', '--max-requests', '--tls-cert', '--tls-key'];

/** Options of which only one has an effect, and the reason, which names both. */
type Conflict = [some: string[], others: string[], reason: (one: string, other: string) => string];

const CONFLICTS: Conflict[] = [
  [
    ['--reload'], ['--request', '--cgi', '--once', '--max-requests'],
    (reload, alone) => `${reload} serves until Ctrl-C, and ${alone} does not`,
  ],
  [
    ['--scgi', '--uwsgi'], ONLY_HTTP,
    (gateway, http) => `${http} is for HTTP, and ${gateway} is not`,
  ],
  [
    ['--request'], ['--cgi'],
    (request, cgi) => `${request} makes a request by itself, and ${cgi} takes one from a server`,
  ],
  [
    ['--request', '--cgi'], ONLY_SERVER,
    (one, server) => `${server} is for a server that listens, and ${one} starts none`,
  ],
  [
    ['--plain'], ['--debug'],
    (plain, debug) => `${debug} shows the error page to everyone, and ${plain} leaves it out`,
  ],
];

// An option that would have no effect is a mistake to report.
function checkCombination(values: Values, file: string | undefined): void {
  const given = (Object.keys(values) as Array<keyof Values>).map((name) => `--${name}`);
  const find = (...names: string[]): string | undefined =>
    given.find((each) => names.includes(each));
  for (const [some, others, reason] of CONFLICTS) {
    const one = find(...some);
    const other = find(...others);
    if (one && other) throw new Problem(`${reason(one, other)}: leave out one of them`);
  }
  if (values.demo && file !== undefined) {
    throw new Problem(`--demo serves the demo application, and not ${file}: leave out one of them`);
  }
  const ofCheck = ['--check', '--only', '--json', '--timeout', '--env-file'];
  const useless = given.find((each) => !ofCheck.includes(each));
  if (values.check && useless) {
    throw new Problem(`${useless} has no effect with --check, which only calls start(app) of FILE`);
  }
  const ofReload = find('--watch');
  if (!values.reload && ofReload) {
    throw new Problem(`${ofReload} belongs to --reload, which restarts when a file changes`);
  }
  const ofRequest = find('--data', '--data-binary', '--header', '--include');
  if (values.request === undefined && ofRequest) {
    const example = `tsgiref FILE --request /path ${ofRequest} …`;
    throw new Problem(`${ofRequest} belongs to --request: ${example}`);
  }
}

function readAddress(
  { bind, host, port }: Values,
  environment: Environment,
): [host: string, port: number] {
  const usualHost = environment['HOST'] || '127.0.0.1';
  const usualPort = (): number => readPort(environment['PORT'] || '8000', 'PORT');
  if (bind === undefined) {
    // As in a URL, an address of IPv6 may be in brackets.
    const name = (host ?? usualHost).replace(/^\[(.*)\]$/, '$1');
    return [name, port === undefined ? usualPort() : readPort(port)];
  }
  if (host !== undefined || port !== undefined) {
    throw new Problem('--bind says both host and port; leave out --host and --port');
  }
  const [name, given] = splitAddress(bind);
  if (name === undefined) throw new Problem(`--bind takes HOST:PORT, not '${bind}'`);
  if (/^\d+$/.test(name)) throw new Problem(`for a port, write --bind :${name}`);
  return [name, given === undefined ? usualPort() : readPort(given)];
}

// HOST:PORT, [::1]:PORT, HOST or :PORT
function splitAddress(text: string): [host: string | undefined, port: string | undefined] {
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d+))?$/.exec(text) ?? [];
  return [bracketed ?? plain, port];
}

// A number is a port of this machine, and a slash makes it a path.
function readGateway({ scgi, uwsgi }: Values): Settings['gateway'] {
  if (scgi !== undefined && uwsgi !== undefined) {
    throw new Problem('one protocol is served at a time: leave out --scgi or --uwsgi');
  }
  const protocol = scgi === undefined ? 'uwsgi' : 'scgi';
  const text = scgi ?? uwsgi;
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return { protocol, address: { host: '127.0.0.1', port: readPort(text) } };
  if (/[\\/]/.test(text)) return { protocol, address: { path: text } };
  const [host, port] = splitAddress(text);
  if (host !== undefined && port !== undefined) {
    return { protocol, address: { host, port: readPort(port) } };
  }
  throw new Problem(
    `--${protocol} takes a PORT, HOST:PORT or the PATH of a Unix socket with a slash ` +
      `in it, such as ./app.sock, not '${text}'`,
  );
}

function readPort(text: string, variable?: string): number {
  if (/^[0-9]{1,5}$/.test(text) && Number(text) <= 65535) return Number(text);
  const where = variable === undefined ? '' : `the environment variable ${variable}: `;
  throw new Problem(`${where}a port is a number from 0 to 65535, not '${text}'`);
}

/** The variables in a file of NAME=VALUE lines; none without a file. */
export function readEnvFile(file: string | undefined): Environment {
  if (file === undefined) return {};
  if (typeof parseEnv !== 'function') {
    throw new Problem(`Node ${process.versions.node} has no --env-file; use Node 20.12 or later`);
  }
  try {
    return parseEnv(readFileSync(file, 'utf8'));
  } catch {
    throw new Problem(`there is no file ${file} to read environment variables from`);
  }
}

function readRequest(text: string, { values, tokens }: Parsed): RequestSettings {
  const [first = '', second, ...more] = text.trim().split(/\s+/);
  // The options of two names are joined in the order in which they were typed.
  const data = tokens.flatMap((token) => {
    if (token.kind !== 'option' || !/^data(-binary)?$/.test(token.name)) return [];
    return [{ text: token.value ?? '', binary: token.name === 'data-binary' }];
  });
  // As with curl, data to send means POST.
  const usualMethod = data.length > 0 ? 'POST' : 'GET';
  const [method, target] = second === undefined ? [usualMethod, first] : [first, second];
  const isTarget = target.startsWith('/') || target === '*';
  if (more.length > 0 || !isTarget || !TOKEN.test(method)) {
    throw new Problem(`--request takes 'METHOD /path' or '/path', not '${text}'`);
  }
  const headers = (values.header ?? []).map(readHeader);
  return { method, target, headers, data, include: values.include ?? false };
}

function readHeader(text: string): [name: string, value: string] {
  const colon = text.indexOf(':');
  const name = text.slice(0, Math.max(colon, 0)).trim();
  const value = text.slice(colon + 1).trim();
  if (!TOKEN.test(name)) throw new Problem(`-H takes 'Name: value', not '${text}'`);
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value)) {
    throw new Problem(`the value of a header has no control characters; -H ${quote(text)} has one`);
  }
  return [name, value];
}

function readCheck({ check, only = [], json = false }: Values): Settings['check'] {
  if (check) return { only: only.flatMap((names) => names.split(',')), json };
  if (only.length > 0 || json) throw new Problem('--only and --json belong to --check');
  return undefined;
}

function readTls(cert: string | undefined, key: string | undefined): Settings['tls'] {
  if (cert === undefined && key === undefined) return undefined;
  if (cert !== undefined && key !== undefined) return { cert, key };
  throw new Problem('HTTPS takes both --tls-cert FILE and --tls-key FILE');
}

// Timers count milliseconds in 31 bits.
const LONGEST_TIMEOUT = Math.floor((2 ** 31 - 1) / 1000);

function readLimits(values: Values): Limits {
  const read = (option: keyof Values): number | undefined => {
    const text = values[option];
    if (text === undefined) return undefined;
    if (/^[0-9]+$/.test(String(text))) return Number(text);
    throw new Problem(`--${option} takes a whole number, not '${text}'`);
  };
  const timeout = read('timeout');
  if (timeout !== undefined && timeout > LONGEST_TIMEOUT) {
    throw new Problem(`--timeout takes at most ${LONGEST_TIMEOUT} seconds, not ${timeout}`);
  }
  const limits = {
    maxConnections: read('max-connections'),
    requestQueueSize: read('backlog'),
    maxHeaderSize: read('max-header-size'),
    maxRequests: read('max-requests'),
    requestTimeout: timeout && timeout * 1000,
  };
  return Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== undefined));
}
