// The doors through which a request can reach an application. Each takes the same
// exchange and gives the response in one form. A further door is one more entry in DOORS.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { connect as connectSecurely } from 'node:tls';

import {
  CGIHandler, type GatewayProtocol, type WSGIApplication, makeGatewayServer, makeServer, testClient,
  toFetch, toNodeListener,
} from '../../lib/index.ts';
import { request } from '../../lib/cli/request.ts';
import { collect } from './bytes.ts';
import { cert, key } from './certificate.ts';
import type { Exchange } from './exchanges.ts';
import { RawClient } from './wire.ts';

const HOST = 'shop.example';

/** A response; all text is Latin-1. */
export interface Answer {
  status: string;
  /** Lower-case names and values, sorted; lines with the same name in the order of sending. */
  headers: string[];
  body: string;
  /** Whether the response came to its proper end. */
  isWhole: boolean;
}

export interface Door {
  name: string;
  /** Why this door cannot pass on a request; undefined if it can. */
  cannot?(exchange: Exchange): string | undefined;
  /** Puts `app` behind the door. */
  open(app: WSGIApplication): Promise<OpenDoor>;
}

export interface OpenDoor {
  ask(exchange: Exchange): Promise<Answer>;
  close(): Promise<void>;
}

// Headers of a connection, and those with the time and the name of the server.
const OF_THE_SERVER = /^(?:date|server|connection|keep-alive|transfer-encoding)$/i;

function makeAnswer(
  status: string,
  headers: Iterable<readonly [string, string]>,
  body: string,
  isWhole = true,
): Answer {
  const joined = new Map<string, string>();
  for (const [name, value] of headers) {
    const key = name.toLowerCase();
    if (OF_THE_SERVER.test(key)) continue;
    const before = joined.get(key);
    // A Response joins all lines with the same name but cookies.
    joined.set(
      key, before === undefined ? value : `${before}${key === 'set-cookie' ? '\n' : ', '}${value}`,
    );
  }
  return { status, headers: [...joined].map((pair) => pair.join(': ')).sort(), body, isWhole };
}

const latin1 = (data: Uint8Array): string => Buffer.from(data).toString('latin1');
const toBytes = (data: string): Buffer => Buffer.from(data, 'latin1');
/** Bytes of UTF-8 as the text that they are. */
const toText = (data: string): string => toBytes(data).toString();
const isText = (data: string): boolean => latin1(Buffer.from(toText(data))) === data;
const piecesOf = (body: Exchange['body']): string[] => (body === undefined ? [] : [body].flat());

// ---- Over a socket, with HTTP

// One connection serves until it ends, as that of a browser does.
class WireClient {
  private readonly connecting: () => Promise<Socket>;
  private client: RawClient | undefined = undefined;

  constructor(connecting: () => Promise<Socket>) {
    this.connecting = connecting;
  }

  async ask(exchange: Exchange): Promise<Answer> {
    this.client ??= RawClient.over(await this.connecting());
    const { client } = this;
    const heard = client.everything.length;
    client.send(wireFormat(exchange));
    try {
      const { statusLine, headers, body } = await client.response(exchange.method);
      if (headers.some((pair) => pair.join() === 'Connection,close')) this.close();
      return makeAnswer(statusLine.slice('HTTP/1.1 '.length), headers, body);
    } catch (error) {
      // The connection ended before the body did.
      this.close();
      const cut = client.everything.slice(heard);
      const [, status = '', lines = '', body = ''] =
        /^HTTP\/1\.1 ([^\r]*)\r\n([^]*?)\r\n\r\n([^]*)$/.exec(cut) ?? [];
      if (status === '') throw error;
      return makeAnswer(status, fieldsOf(lines), body, false);
    }
  }

  close(): void {
    this.client?.socket.destroy();
    this.client = undefined;
  }
}

function wireFormat({ method, target, headers, body }: Exchange): string {
  const lines = [
    `${method} ${target} HTTP/1.1`, `Host: ${HOST}`, ...headers.map((pair) => pair.join(': ')),
  ];
  if (typeof body === 'string') lines.push(`Content-Length: ${body.length}`, '', body);
  else if (body !== undefined) {
    const chunks = body.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`);
    lines.push('Transfer-Encoding: chunked', '', `${chunks.join('')}0\r\n\r\n`);
  } else lines.push('', '');
  return lines.join('\r\n');
}

function onTheWire(connecting: () => Promise<Socket>, close: () => unknown): OpenDoor {
  const client = new WireClient(connecting);
  return {
    ask: (exchange) => client.ask(exchange),
    async close() {
      client.close();
      await close();
    },
  };
}

// The machine may be busy for longer than an idle connection is kept otherwise.
const PATIENT = { keepAliveTimeout: 600_000 };

async function connected(socket: Socket, event = 'connect'): Promise<Socket> {
  await once(socket, event);
  return socket;
}

const http: Door = {
  name: 'HTTP',
  async open(app) {
    const server = makeServer('127.0.0.1', 0, app, PATIENT);
    await server.ready;
    return onTheWire(
      () => connected(connect(server.serverPort, '127.0.0.1')), () => server.serverClose(),
    );
  },
};

const https: Door = {
  name: 'HTTPS',
  async open(app) {
    const server = makeServer('127.0.0.1', 0, app, { ...PATIENT, tls: { key, cert } });
    await server.ready;
    const options = {
      port: server.serverPort, host: '127.0.0.1', ca: cert, servername: 'localhost',
    };
    return onTheWire(
      () => connected(connectSecurely(options), 'secureConnect'), () => server.serverClose(),
    );
  },
};

const listener: Door = {
  name: 'toNodeListener',
  async open(app) {
    const server = createServer(PATIENT, toNodeListener(app)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return onTheWire(() => connected(connect(port, '127.0.0.1')), () => server.close());
  },
};

// ---- By fetch

const byFetch = (send: (url: string, init: RequestInit, exchange: Exchange) => Promise<Response>) =>
  async (exchange: Exchange): Promise<Answer> => {
    const { method, target, headers, body } = exchange;
    const init: RequestInit & { duplex?: 'half' } = {
      method,
      headers: headers.map(([name, value]): [string, string] => [name, value]),
      redirect: 'manual',
    };
    if (typeof body === 'string') init.body = toBytes(body);
    else if (body !== undefined) {
      init.body = Readable.toWeb(Readable.from(body.map(toBytes))) as ReadableStream;
      init.duplex = 'half';
    }
    const response = await send(`http://${HOST}${target}`, init, exchange);
    const status = `${response.status} ${response.statusText}`;
    let received = '';
    try {
      for await (const chunk of response.body ?? []) received += latin1(chunk as Uint8Array);
      return makeAnswer(status, response.headers, received);
    } catch {
      return makeAnswer(status, response.headers, received, false);
    }
  };

const cannotFetch = ({ method, target, body }: Exchange): string | undefined => {
  if (method === 'GET' && body !== undefined) return 'a Request of GET cannot have a body';
  if (target.includes('/../') && !target.includes('?')) return 'a URL cannot have dot segments';
  return undefined;
};

const fetchHandler: Door = {
  name: 'toFetch',
  cannot: (exchange) =>
    exchange.method === 'TRACE' ? 'a Request cannot have the method TRACE' : cannotFetch(exchange),
  async open(app) {
    const handle = toFetch(app);
    const ask = byFetch((url, init, { target, body }) => {
      const request = new Request(target === '*' ? `http://${HOST}` : url, init);
      if (target === '*') Object.defineProperty(request, 'url', { value: '*' });
      // A server's Request has the headers that arrived, those of framing included.
      request.headers.set('Host', HOST);
      if (typeof body === 'string') request.headers.set('Content-Length', String(body.length));
      return handle(request);
    });
    return { ask, async close() {} };
  },
};

const client: Door = {
  name: 'testClient',
  cannot: (exchange) =>
    exchange.target === '*' ? 'fetch takes a URL, and * is not one' : cannotFetch(exchange),
  async open(app) {
    const { fetch } = testClient(app, { catchErrors: true, validate: false });
    return { ask: byFetch((url, init) => fetch(url, init)), async close() {} };
  },
};

// ---- By the variables of a gateway

/**
 * The variables that a web server in front makes of a request, written from RFC 3875 and
 * from nginx and Apache: names with `_` are dropped, and a body always has a length.
 */
export function variablesOf({ method, target, headers, body }: Exchange): Map<string, string> {
  const [path = '', ...query] = target.split('?');
  const variables = new Map([
    ['CONTENT_LENGTH', body === undefined ? '' : String(piecesOf(body).join('').length)],
    ['REQUEST_METHOD', method],
    ['SCRIPT_NAME', ''],
    [
      'PATH_INFO',
      path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
    ],
    ['QUERY_STRING', query.join('?')],
    ['REQUEST_URI', target],
    ['SERVER_PROTOCOL', 'HTTP/1.1'],
    ['SERVER_SOFTWARE', 'front/1.0'],
    ['SERVER_NAME', HOST],
    ['SERVER_PORT', '80'],
    ['GATEWAY_INTERFACE', 'CGI/1.1'],
    ['REMOTE_ADDR', '127.0.0.1'],
    ['HTTP_HOST', HOST],
  ]);
  for (const [name, value] of headers) {
    if (name.includes('_')) continue;
    const folded = name.toUpperCase().replaceAll('-', '_');
    const key = folded === 'CONTENT_TYPE' ? folded : `HTTP_${folded}`;
    const before = variables.get(key);
    const glue = key === 'HTTP_COOKIE' ? '; ' : ', ';
    variables.set(key, (before === undefined ? '' : before + glue) + value.trim());
  }
  return variables;
}

const fieldsOf = (lines: string): Array<[string, string]> =>
  lines.split('\r\n')
    .map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]);

/** Reads the response of a CGI program, or of one connection, up to its end. */
export function readToEnd(output: string): Answer {
  const [, status = '', lines = '', body = ''] =
    /^(?:Status:|HTTP\/1\.1) ([^\r]*)(?:\r\n([^]*?))?\r\n\r\n([^]*)$/.exec(output) ?? [];
  const fields = lines === '' ? [] : fieldsOf(lines);
  const length = fields.find(([name]) => name.toLowerCase() === 'content-length')?.[1];
  // No body is due for HEAD, and none comes.
  const isWhole = length === undefined || body === '' || Number(length) === body.length;
  return makeAnswer(status, fields, body, isWhole);
}

const cgi: Door = {
  name: 'CGI',
  cannot({ target, headers }) {
    const variables = [...variablesOf({ method: '', target, headers, app: '' }).values()];
    if (variables.some((value) => value.includes('\0'))) {
      return 'a variable of a process cannot contain NUL';
    }
    return variables.every(isText)
      ? undefined
      : 'Node reads variables as UTF-8, and these bytes are not';
  },
  // One process serves all requests, each with its own variables and standard streams.
  async open(app) {
    const ask = async (exchange: Exchange): Promise<Answer> => {
      const variables = [...variablesOf(exchange)].map(([key, value]) => [key, toText(value)]);
      const env = Object.fromEntries(variables) as NodeJS.ProcessEnv;
      const stdin = Readable.from(piecesOf(exchange.body).map(toBytes));
      return readToEnd(await outputOf({ env, stdin }, () => new CGIHandler().run(app)));
    };
    return { ask, async close() {} };
  },
};

/** The head of a request in SCGI. */
export function scgiHead(all: ReadonlyMap<string, string>): string {
  const { CONTENT_LENGTH, ...others } = Object.fromEntries(all);
  const variables = { CONTENT_LENGTH: CONTENT_LENGTH || '0', SCGI: '1', ...others };
  const head = Object.entries(variables).map(([key, value]) => `${key}\0${value}\0`).join('');
  return `${head.length}:${head},`;
}

/** The head of a request in uwsgi. */
export function uwsgiHead(variables: ReadonlyMap<string, string>): string {
  const short = (size: number): string => String.fromCharCode(size & 255, size >> 8);
  const head = [...variables].flat().map((string) => short(string.length) + string).join('');
  return `\0${short(head.length)}\0${head}`;
}

/** The head and the body of a request in SCGI. */
export const scgiFormat = (exchange: Exchange): string =>
  scgiHead(variablesOf(exchange)) + piecesOf(exchange.body).join('');

/** The head and the body of a request in uwsgi. */
export const uwsgiFormat = (exchange: Exchange): string =>
  uwsgiHead(variablesOf(exchange)) + piecesOf(exchange.body).join('');

const gateway = (protocol: GatewayProtocol, format: (exchange: Exchange) => string): Door => ({
  name: protocol === 'scgi' ? 'SCGI' : protocol,
  cannot: ({ target, headers }) =>
    protocol === 'scgi' && [target, ...headers.flat()].join('').includes('%00')
      ? 'a variable cannot contain NUL'
      : undefined,
  async open(app) {
    const server = makeGatewayServer(protocol, { host: '127.0.0.1', port: 0 }, app);
    await server.ready;
    const { port } = server.address() as AddressInfo;
    const ask = async (exchange: Exchange): Promise<Answer> => {
      const client = await RawClient.connect(port);
      return readToEnd(await client.send(format(exchange)).rest());
    };
    return { ask, close: () => server.shutdown() };
  },
});

// ---- By the command

const command: Door = {
  name: '--request',
  cannot({ headers, body }) {
    const text = [...headers.map(([, value]) => value), ...piecesOf(body)].join('');
    return isText(text) ? undefined : 'arguments are UTF-8, and these bytes are not';
  },
  async open(app) {
    const ask = async ({ method, target, headers, body }: Exchange): Promise<Answer> => {
      const settings = {
        method, target, include: true,
        headers: [['Host', HOST], ...headers].map(
          ([name = '', value = '']): [string, string] => [name, toText(value).trim()],
        ),
        data: body === undefined ? [] : [{ text: toText(piecesOf(body).join('')), binary: true }],
      };
      return readToEnd(await outputOf({}, () => request(app, settings, process)));
    };
    return { ask, async close() {} };
  },
};

/** What `use` writes to standard output, with these properties of `process`. */
async function outputOf(properties: object, use: () => Promise<unknown>): Promise<string> {
  const stdout = new PassThrough();
  const output = collect<Buffer>(stdout);
  const restore = replaceProcess({ ...properties, stdout });
  try {
    await use();
  } finally {
    restore();
    stdout.end();
  }
  return latin1(Buffer.concat(await output));
}

/** Puts these in place of the properties of `process`, and returns the function that undoes it. */
function replaceProcess(properties: object): () => void {
  const before = Object.keys(properties)
    .map((name) => [name, Object.getOwnPropertyDescriptor(process, name)] as const);
  for (const [name, value] of Object.entries(properties)) {
    Object.defineProperty(process, name, {
      value, configurable: true, enumerable: true, writable: true,
    });
  }
  return () => {
    for (const [name, descriptor] of before) Object.defineProperty(process, name, descriptor ?? {});
  };
}

/** The first is the measure for all others. */
export const DOORS: readonly [Door, ...Door[]] = [
  http, https, listener, fetchHandler, client, cgi, gateway('scgi', scgiFormat),
  gateway('uwsgi', uwsgiFormat), command,
];
