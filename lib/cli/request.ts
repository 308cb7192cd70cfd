// `--request`: one request without a socket, its raw response on standard output.

import { readFileSync } from 'node:fs';

import { SimpleHandler } from '../handlers.ts';
import { BytesIO, ErrorOutput } from '../io.ts';
import { percentDecode } from '../latin1.ts';
import type { WSGIApplication } from '../types.ts';
import type { Settings } from './arguments.ts';
import { Problem } from './problem.ts';

/** What the command ends with when the application answered 4xx or 5xx, as curl does. */
const FAILED = 22;

/** Runs `app` once and prints its response; resolves with the exit status. */
export async function request(app: WSGIApplication, settings: Settings): Promise<number> {
  const data = readData(settings.data);
  const stdin = new BytesIO(data);
  const stderr = new ErrorOutput(process.stderr);
  const environ = makeEnviron(settings, data.length);
  const handler = new OneRequest(stdin, process.stdout, stderr, environ, false, false);
  await handler.run(app);
  return handler.code >= 400 ? FAILED : 0;
}

class OneRequest extends SimpleHandler {
  override httpVersion: string = '1.1';
  /** The status that was sent; 500 if none was. */
  code: number = 500;

  override sendPreamble(): void | Promise<void> {
    this.code = Number(this.status?.slice(0, 3));
    return super.sendPreamble();
  }

  // An application that fails after its head has not answered.
  override _abort(): void {
    this.code = 500;
  }
}

function makeEnviron(settings: Settings, length: number): Record<string, string> {
  const { method, target } = settings.request ?? { method: 'GET', target: '/' };
  const [path = '', query = ''] = target.split(/\?(.*)/s);
  const environ: Record<string, string> = {
    REQUEST_METHOD: method,
    SCRIPT_NAME: '',
    PATH_INFO: percentDecode(path),
    QUERY_STRING: query,
    REQUEST_URI: target,
    CONTENT_LENGTH: settings.data === undefined ? '' : String(length),
    SERVER_NAME: 'localhost',
    SERVER_PORT: '80',
    SERVER_PROTOCOL: 'HTTP/1.1',
    REMOTE_ADDR: '127.0.0.1',
    HTTP_HOST: 'localhost',
  };
  // What curl says of the data it is given, too.
  if (settings.data !== undefined) environ['CONTENT_TYPE'] = 'application/x-www-form-urlencoded';
  for (const [name, value] of settings.headers) {
    const key = name.toUpperCase().replaceAll('-', '_');
    const known = key === 'CONTENT_TYPE' || key === 'CONTENT_LENGTH';
    environ[known ? key : `HTTP_${key}`] = value;
  }
  return environ;
}

// TEXT, @FILE, or - for standard input.
function readData(data: string | undefined): Uint8Array {
  if (data === undefined) return new Uint8Array(0);
  if (data === '-') return readFileSync(0);
  if (!data.startsWith('@')) return new TextEncoder().encode(data);
  try {
    return readFileSync(data.slice(1));
  } catch {
    throw new Problem(`there is no file ${data.slice(1)} to take the data from`);
  }
}
