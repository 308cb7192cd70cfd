// Every request settles once its application has ended, whatever the application did:
// the response is whole or the connection is cut, the body is closed once, the log says
// what was sent, and the server can shut down. Shown for every combination of method,
// status, length, kind of body and fault, through every door.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';

import {
  BaseCGIHandler,
  BytesIO,
  type ResponseBody,
  SimpleHandler,
  StringIO,
  type WSGIApplication,
  WSGIRequestHandler,
  makeServer,
  setupTestingDefaults,
  testClient,
  toFetch,
  toNodeListener,
} from '../lib/index.ts';
import { bytes, text } from './support/bytes.ts';
import { RawClient } from './support/wire.ts';

const METHODS = ['GET', 'HEAD', 'POST'];
const STATUSES = [
  '200 OK', '204 No Content', '205 Reset Content', '304 Not Modified', '404 Not Found',
];
// Of a body of six bytes: none, nothing, all, more than there is, less.
const LENGTHS = [undefined, '0', '6', '10', '4'];
const SHAPES =
  ['array', 'generator', 'async generator', 'write()', 'write() and array', 'file'] as const;
const FAULTS =
  ['none', 'before the head', 'after a chunk', 'at the end', 'in close()', 'a bad chunk'] as const;

interface Case {
  method: string;
  status: string;
  length: string | undefined;
  shape: (typeof SHAPES)[number];
  fault: (typeof FAULTS)[number];
  awaits: boolean;
}

const cases: Case[] = [];
for (const method of METHODS)
  for (const status of STATUSES)
    for (const length of LENGTHS)
      for (const shape of SHAPES)
        for (const fault of FAULTS)
          for (const awaits of [false, true])
            cases.push({ method, status, length, shape, fault, awaits });

/** Every case through the handler alone, and through each door every n-th, n prime. */
const sample = cases.filter((_, index) => index % 17 === 0);

class Fault extends Error {}

/** The application of a case; it counts in `closed` how often its body was closed. */
function makeApp(each: Case, closed: { count: number; due: number }): WSGIApplication {
  const { status, length, shape, fault, awaits } = each;
  const fail = (when: Case['fault']): void => {
    if (fault === when) throw new Fault(when);
  };
  const second = (fault === 'a bad chunk' ? 'text' : bytes('uvw')) as Uint8Array;
  return async (environ, startResponse) => {
    if (awaits) await Promise.resolve();
    fail('before the head');
    const write = startResponse(status, length === undefined ? [] : [['Content-Length', length]]);
    const send = async (chunk: Uint8Array): Promise<void> => {
      const sent = write(chunk);
      if (awaits) await sent;
    };
    const closing = <T extends object>(body: T): T & ResponseBody => {
      closed.due += 1;
      const close = (): void => {
        closed.count += 1;
        fail('in close()');
      };
      return Object.assign(body, { close }) as unknown as T & ResponseBody;
    };
    if (shape === 'write()' || shape === 'write() and array') {
      await send(bytes('xyz'));
      fail('after a chunk');
      if (shape === 'write()') await send(second);
      fail('at the end');
      return closing(shape === 'write()' ? [] : [second]);
    }
    if (shape === 'array') return closing([bytes('xyz'), second]);
    if (shape === 'file') {
      const blocks = [bytes('xyz'), second];
      const read = (): Uint8Array => {
        if (blocks.length < 2) fail('after a chunk');
        const block = blocks.shift();
        if (block === undefined) fail('at the end');
        return block ?? bytes('');
      };
      return environ['wsgi.file_wrapper']?.(closing({ read }) as never) ?? [];
    }
    const chunks = function* (): Generator<Uint8Array> {
      yield bytes('xyz');
      fail('after a chunk');
      yield second;
      fail('at the end');
    };
    if (shape === 'generator') return closing(chunks());
    return closing((async function* () { yield* chunks(); })());
  };
}

/** Fails with the name of the case if a promise does not settle. */
async function settled<T>(each: Case, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`does not settle: ${JSON.stringify(each)}`)), 60_000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function checkClosed(each: Case, closed: { count: number; due: number }): void {
  assert.equal(closed.count, closed.due, `close(): ${JSON.stringify(each)}`);
}

describe('a handler over streams settles', () => {
  for (const [handlerClass, some] of [[SimpleHandler, cases], [BaseCGIHandler, sample]] as const) {
    test(handlerClass.name, async () => {
      for (const each of some) {
        const closed = { count: 0, due: 0 };
        const environ = { REQUEST_METHOD: each.method };
        setupTestingDefaults(environ);
        const handler = new handlerClass(new BytesIO(), new BytesIO(), new StringIO(), environ);
        await settled(each, handler.run(makeApp(each, closed)));
        checkClosed(each, closed);
      }
    });
  }
});

describe('the test client and the fetch bridge settle', () => {
  test('testClient', async () => {
    for (const each of sample) {
      const closed = { count: 0, due: 0 };
      const client = testClient(makeApp(each, closed), { validate: false });
      await settled(each, client.fetch('/', { method: each.method })
        .then((response) => response.text())
        .catch(() => ''));
    }
  });

  test('toFetch', async (t) => {
    t.mock.method(console, 'error', () => {});
    for (const each of sample) {
      const closed = { count: 0, due: 0 };
      const request = new Request('http://test/', { method: each.method });
      const response = toFetch(makeApp(each, closed))(request);
      await settled(each, response.then((got) => got.text()).catch(() => ''));
    }
  });
});

/** The code and the length of the body that a client got, or an empty code. */
function received(raw: string): { code: string; size: number } {
  const [head = '', ...rest] = raw.split('\r\n\r\n');
  const body = rest.join('\r\n\r\n');
  const code = /^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1] ?? '-';
  if (!/^transfer-encoding: chunked/im.test(head)) return { code, size: body.length };
  // The chunks are `xyz` and `uvw`, or the one of the error page.
  const size = [...body.matchAll(/([0-9a-f]+)\r\n/g)].reduce(
    (sum, [, hex]) => sum + parseInt(hex ?? '0', 16), 0,
  );
  return { code, size };
}

async function ask(port: number, { method }: Case): Promise<string> {
  const client = await RawClient.connect(port);
  const length = method === 'POST' ? 'Content-Length: 0\r\n' : '';
  client.send(`${method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${length}\r\n`);
  return client.rest();
}

describe('a server settles, and logs what was sent', () => {
  test('makeServer', { timeout: 600_000 }, async () => {
    let app: WSGIApplication = () => [];
    const log: string[] = [];
    class Quiet extends WSGIRequestHandler {
      override getStderr(): StringIO {
        return new StringIO();
      }
      override logRequest(code: string, size: number): void {
        log.push(`${code} ${size}`);
      }
    }
    const server =
      makeServer('127.0.0.1', 0, (environ, start) => app(environ, start), { handlerClass: Quiet });
    await server.ready;
    for (const each of sample) {
      const closed = { count: 0, due: 0 };
      app = makeApp(each, closed);
      log.length = 0;
      const { code, size } = received(await settled(each, ask(server.serverPort, each)));
      assert.deepEqual(log, [`${code} ${size}`], JSON.stringify(each));
      checkClosed(each, closed);
    }
    await server.shutdown();
  });

  test('toNodeListener', { timeout: 600_000 }, async (t) => {
    let app: WSGIApplication = () => [];
    t.mock.method(process.stderr, 'write', () => true);
    const server = createServer(toNodeListener((environ, start) => app(environ, start)));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    for (const each of sample) {
      const closed = { count: 0, due: 0 };
      app = makeApp(each, closed);
      await settled(each, ask(port, each));
      checkClosed(each, closed);
    }
    server.close();
    await once(server, 'close');
  });
});

test('two writes that nobody awaits reach a reader of the fetch bridge', async () => {
  const response = await toFetch((_environ, startResponse) => {
    const write = startResponse('200 OK', []);
    void write(bytes('one '));
    void write(bytes('two '));
    return [bytes('three')];
  })(new Request('http://test/'));
  assert.equal(text(new Uint8Array(await response.arrayBuffer())), 'one two three');
});
