// `--request`: one request without a socket, its response on standard output. Where it
// looks like curl, it does what curl does.

import { Console } from 'node:console';
import { readFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

import { count } from '../describe.ts';
import { SimpleHandler } from '../handlers.ts';
import { BytesIO, ErrorOutput } from '../io.ts';
import { decodeLatin1 } from '../latin1.ts';
import { RefusedRequest, makeBaseEnviron, makeEnviron } from '../request.ts';
import type { WSGIApplication, WSGIEnvironment } from '../types.ts';
import type { RequestSettings } from './arguments.ts';
import { Problem } from './problem.ts';

// The exit status for a response of 4xx or 5xx, as curl has it.
const FAILED = 22;

type Stream = NodeJS.WritableStream & { isTTY?: boolean };

/** The streams that the command prints to: those of the process, or of a test. */
export interface Terminal {
  stdout: Stream;
  stderr: Stream;
}

/** Runs `app` once and prints its response; resolves with the exit status. */
export async function request(
  app: WSGIApplication,
  settings: RequestSettings,
  terminal: Terminal,
): Promise<number> {
  const { stdout, stderr } = terminal;
  // A reader that has seen enough closes the pipe; the write reports it.
  stdout.on('error', () => {});
  const body = readData(settings);
  checkFraming(settings, body?.length ?? 0);
  const environ = environOf(settings, body);
  const output = new Output(settings.include || stdout.isTTY === true, terminal);
  const errors = new ErrorOutput(stderr);
  const handler = new OneRequest(new BytesIO(body), output, errors, environ, false, false);
  await handler.run(app);
  if (output.code < 400 && !handler.failed) return 0;
  // Without the head, nothing else would say why the command failed.
  if (handler.failed) stderr.write('tsgiref: the response was cut short by an error\n');
  else if (!output.showsHead) stderr.write(`tsgiref: the response is ${output.status}\n`);
  return FAILED;
}

/**
 * Sends what the application prints for its author to standard error; returns the
 * function that undoes this.
 */
export function sendConsoleTo(stderr: NodeJS.WritableStream): () => void {
  // Standard output holds the response, and nothing else may get into it.
  const before = { ...console };
  const replace = (methods: object): void => {
    Object.assign(console, methods);
    // `import { log } from 'node:console'` has copies.
    syncBuiltinESMExports();
  };
  replace(new Console(stderr));
  return () => replace(before);
}

class OneRequest extends SimpleHandler {
  override httpVersion: string = '1.1';
  failed: boolean = false;

  // An application that fails after its head has not answered.
  override _abort(): void {
    this.failed = true;
  }
}

/** Standard output as the destination of one response. */
class Output {
  readonly showsHead: boolean;
  private head = '';
  private inHead = true;
  private isBinary: boolean | undefined = undefined;
  private isReported = false;
  private readonly terminal: Terminal;

  constructor(showsHead: boolean, terminal: Terminal) {
    this.showsHead = showsHead;
    this.terminal = terminal;
  }

  get status(): string {
    return /^\S+ (.*)/.exec(this.head)?.[1]?.trimEnd() ?? '500 Internal Server Error';
  }

  get code(): number {
    return Number(this.status.slice(0, 3));
  }

  async write(data: Uint8Array): Promise<void> {
    if (!this.inHead) return this.writeBody(data);
    // The head may come in several pieces; an empty line ends it.
    const before = this.head.length;
    this.head += decodeLatin1(data);
    const end = this.head.indexOf('\r\n\r\n') + 4;
    if (end < 4) return undefined;
    this.inHead = false;
    const body = data.subarray(end - before);
    this.head = this.head.slice(0, end);
    if (this.showsHead) await this.print(Buffer.from(this.head, 'latin1'));
    return body.length > 0 ? this.writeBody(body) : undefined;
  }

  private async writeBody(data: Uint8Array): Promise<void> {
    const { stdout, stderr } = this.terminal;
    this.isBinary ??= stdout.isTTY === true && !isText(data);
    if (!this.isBinary) return this.print(data);
    if (!this.isReported) {
      const type = /^content-type: *(.*?)\r$/im.exec(this.head)?.[1] ?? 'binary';
      stderr.write(`The body is ${type} and not text: send it to a file with > FILE\n`);
    }
    this.isReported = true;
  }

  private print(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.terminal.stdout.write(data, (error) => (error ? reject(error) : resolve()));
    });
  }
}

// As curl decides: by the first piece, which may end inside of a character.
function isText(data: Uint8Array): boolean {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(data, { stream: true });
    return !text.includes('\0');
  } catch {
    return false;
  }
}

// The application gets the body whole, whatever its headers say of it.
function checkFraming({ headers }: RequestSettings, length: number): void {
  for (const [name, value] of headers) {
    const wanted = name.toLowerCase();
    const isWrong = wanted === 'content-length' && value !== String(length);
    if (!isWrong && wanted !== 'transfer-encoding') continue;
    throw new Problem(
      `--request sends a body of ${count(length, 'byte')}, and not '${name}: ${value}': ` +
        'leave out this header',
    );
  }
}

/** The environ of a server at localhost that was sent this request by curl. */
function environOf(
  { method, target, headers }: RequestSettings,
  body: Uint8Array | undefined,
): WSGIEnvironment {
  const rawHeaders = headers.flatMap(([name, value]) => [name, asLatin1(value)]);
  const add = (name: string, value: string): void => {
    const wanted = name.toLowerCase();
    if (!headers.some(([each]) => each.toLowerCase() === wanted)) rawHeaders.push(name, value);
  };
  add('Host', 'localhost');
  if (body !== undefined) {
    add('Content-Length', String(body.length));
    add('Content-Type', 'application/x-www-form-urlencoded');
  }
  const head = { method, url: encode(target), httpVersion: '1.1', rawHeaders };
  const client = { remoteAddress: '127.0.0.1', secure: false };
  try {
    const environ = makeEnviron(head, makeBaseEnviron('localhost', '80'), client, '');
    // No server takes part.
    delete environ.SERVER_SOFTWARE;
    return environ;
  } catch (error) {
    if (!(error instanceof RefusedRequest)) throw error;
    throw new Problem(`a server answers ${error.status}: ${error.message}`);
  }
}

// Bytes of UTF-8 as Latin-1 characters, as they arrive at a server.
function asLatin1(text: string): string {
  return decodeLatin1(new TextEncoder().encode(text));
}

// A target as a browser sends it: UTF-8, percent-encoded where it is not ASCII.
function encode(target: string): string {
  return target.replace(/[^\x21-\x7e]+/gu, encodeURIComponent);
}

/** The body: all parts, joined as fields of a form; undefined if there are none. */
function readData({ data }: RequestSettings): Uint8Array | undefined {
  if (data.length === 0) return undefined;
  const parts = data.map(({ text, binary }) => {
    if (!text.startsWith('@')) return Buffer.from(text);
    const content = readContent(text.slice(1));
    // curl leaves out the line breaks of a file, except with --data-binary.
    return binary ? content : content.filter((byte) => ![0, 10, 13].includes(byte));
  });
  const separator = Buffer.from('&');
  return Buffer.concat(parts.flatMap((part) => [separator, part]).slice(1));
}

// FILE, or - for standard input.
function readContent(file: string): Uint8Array {
  if (file === '') throw new Problem('@ names no file: write @FILE, or @- for standard input');
  try {
    return readFileSync(file === '-' ? 0 : file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new Problem(`there is no file ${file} to take the data from`);
    throw new Problem(`the data cannot be read from ${file}: ${message}`);
  }
}
