// Requests as they come, good and bad: the bytes that go in, the bytes that come
// out, whether the application was called, and whether the connection is kept.
// The rows themselves are in support/request-rows-head.ts and -body.ts.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import type { WSGIEnvironment } from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import {
  type StrictResponse,
  type Wire,
  RawClient,
  converse,
  exchange,
  field,
  parseResponses,
  withServer,
} from './support/raw-http.ts';
import { type PerLine, type Row, get, post } from './support/request-rows.ts';
import { chunks, codings, expectations, lengths, smuggling } from './support/request-rows-body.ts';
import { headers, hosts, methods, targets, versions } from './support/request-rows-head.ts';

interface Call {
  environ: WSGIEnvironment;
  body: string;
}

/** Serves with an application that reads its body and keeps every environ. */
async function recording(use: (wire: Wire, calls: Call[]) => Promise<void>): Promise<void> {
  const calls: Call[] = [];
  await withServer(async (environ, start) => {
    const call = { environ: { ...environ }, body: 'not read' };
    calls.push(call);
    call.body = Buffer.from(await environ['wsgi.input'].read()).toString('latin1');
    start('200 OK', []);
    return [bytes('served')];
  }, (wire) => use(wire, calls));
}

const NEXT = 'GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';

const groups: Array<[string, Row[]]> = [
  ['targets', targets], ['methods', methods], ['versions', versions], ['Host', hosts],
  ['headers', headers], ['Content-Length', lengths], ['smuggling', smuggling],
  ['Transfer-Encoding', codings], ['chunks', chunks], ['Expect and Upgrade', expectations],
];

const line = Number(process.versions.node.split('.')[0]);

function onThisLine(status: PerLine): string {
  return typeof status === 'string' ? status : (status[line] ?? status.other);
}

async function speak(port: number, row: Row): Promise<StrictResponse[]> {
  const client = await RawClient.connect(port);
  if (row.halfClosed) client.socket.end(row.send, 'latin1');
  else client.send(row.alone ? row.send : row.send + NEXT);
  const method = row.send.trimStart().startsWith('HEAD ') ? 'HEAD' : 'GET';
  return parseResponses(await client.rest(), [method, 'GET']);
}

function checkAnswers(row: Row, answers: StrictResponse[]): void {
  const [interim, ...others] = answers;
  const [first, second, third] = row.interim ? others : answers;
  if (row.interim) assert.equal(interim?.status, '100');
  assert.equal(first?.status ?? '', onThisLine(row.status));
  assert.equal(second?.status, row.kept ? '200' : undefined, 'the second response');
  assert.equal(third, undefined);
  if (first === undefined) return;
  assert.equal(field(first, 'Connection'), row.kept ? 'keep-alive' : 'close');
  if (first.status === '200') return;
  assert.match(first.body, /^[A-Z].*\.\n$/, 'a sentence that names the reason');
  assert.equal(field(first, 'Content-Type'), 'text/plain; charset=utf-8');
  assert.ok(field(first, 'Date'));
  if (typeof row.reason === 'string') assert.equal(first.body, row.reason);
  else if (row.reason !== undefined) assert.match(first.body, row.reason);
}

for (const [group, rows] of groups) {
  describe(group, () => {
    for (const row of rows) {
      test(row.title, async () => {
        await recording(async ({ port, errors, log }, calls) => {
          const answers = await speak(port, row);
          checkAnswers(row, answers);
          const first = calls.filter((call) => call.environ.PATH_INFO !== '/next');
          assert.equal(first.length, row.called ? 1 : 0, 'calls of the application');
          if (row.body !== undefined) assert.equal(first[0]?.body, row.body);
          for (const [key, value] of Object.entries(row.environ ?? {})) {
            assert.deepEqual(Reflect.get(first[0]?.environ ?? {}, key), value, key);
          }
          assert.equal(calls.length - first.length, row.kept ? 1 : 0, 'calls for the second');
          assert.equal(errors.getValue(), '');
          // Each response has its line, and so has the call of a client that left.
          assert.equal(
            log.length, Math.max(answers.length - (row.interim ? 1 : 0), row.called ? 1 : 0),
          );

          // Whatever it was, others are served.
          assert.equal((await converse(port, NEXT))[0]?.body, 'served');
        });
      });
    }
  });
}

test('there are more than two hundred of them, each with a name of its own', () => {
  const titles = groups.flatMap(([group, rows]) => rows.map(({ title }) => `${group}: ${title}`));
  assert.ok(titles.length > 250, `${titles.length} rows`);
  assert.equal(new Set(titles).size, titles.length);
});

describe('a refusal', () => {
  test('says why, closes, and is logged', async () => {
    await recording(async ({ port, log }) => {
      const answer = await exchange(port, get('/', 'Transfer-Encoding: gzip'));
      const text = `The transfer coding "gzip" is not known here; 'chunked' is.\n`;
      assert.equal(
        answer.replace(/^Date: .*\r\n/m, ''),
        'HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain; charset=utf-8\r\n' +
          `Content-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`,
      );
      assert.deepEqual(log, [`"GET / HTTP/1.1" 501 ${text.length}`]);
    });
  });

  test("of Node's parser is a whole response, and is logged", async () => {
    await recording(async ({ port, log }) => {
      const answer = await exchange(port, get('/a b'));
      const text = answer.split('\r\n\r\n')[1] ?? '';
      assert.match(text, /^These bytes are not an HTTP request: .*\.\n$/);
      assert.equal(
        answer.replace(/^Date: .*\r\n/m, ''),
        'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n' +
          `Content-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`,
      );
      assert.deepEqual(log, [`"-" 400 ${text.length}`]);
    });
  });

  test('shows what a log or a terminal can bear', async () => {
    await recording(async ({ port }) => {
      const [refusal] = await converse(port, get(`/${'#'.repeat(100)}`));
      assert.equal(
        refusal?.body,
        `The target "/${'#'.repeat(59)}…" contains '#'.\n`.replace('…', '\xe2\x80\xa6'),
      );
    });
  });
});

describe('pipelined requests', () => {
  test('are answered in order', async () => {
    await recording(async ({ port }, calls) => {
      const sent = get('/1') + post('two', 'Content-Length: 3') + get('/3') + NEXT;
      const answers = await converse(port, sent, ['GET', 'POST', 'GET', 'GET']);
      assert.deepEqual(answers.map(({ body }) => body), Array(4).fill('served'));
      const seen = calls.map(({ environ, body }) => environ.PATH_INFO + body);
      assert.deepEqual(seen, ['/1', '/two', '/3', '/next']);
    });
  });

  test('are answered in order even where the first takes longest', async () => {
    let finishFirst = (): void => {};
    const app = (environ: WSGIEnvironment, start: (status: '200 OK', headers: []) => unknown) => {
      start('200 OK', []);
      const body = [bytes(environ.PATH_INFO)];
      if (environ.PATH_INFO === '/next') finishFirst();
      if (environ.PATH_INFO !== '/1') return body;
      return new Promise<Uint8Array[]>((resolve) => (finishFirst = () => resolve(body)));
    };
    await withServer(app, async ({ port }) => {
      const answers = await converse(port, get('/1') + get('/2') + NEXT, ['GET', 'GET', 'GET']);
      assert.deepEqual(answers.map(({ body }) => body), ['/1', '/2', '/next']);
    });
  });

  test('end at the first that is not a request', async () => {
    await recording(async ({ port }, calls) => {
      const answers = await converse(port, `${get('/1')}no request\r\n\r\n${NEXT}`, ['GET', 'GET']);
      assert.deepEqual(answers.map(({ status }) => status), ['200', '400']);
      assert.deepEqual(calls.map(({ environ }) => environ.PATH_INFO), ['/1']);
    });
  });

  test('end at the first that is refused', async () => {
    await recording(async ({ port }, calls) => {
      const answers = await converse(port, get('/1') + get('/#') + NEXT, ['GET', 'GET', 'GET']);
      assert.deepEqual(answers.map(({ status }) => status), ['200', '400']);
      assert.deepEqual(calls.map(({ environ }) => environ.PATH_INFO), ['/1']);
    });
  });
});

describe('a request', () => {
  test('may come byte by byte', async () => {
    await recording(async ({ port }, calls) => {
      const client = await RawClient.connect(port);
      client.socket.setNoDelay(true);
      for (const byte of post('3\r\none\r\n0\r\n\r\n', 'Transfer-Encoding: chunked')) {
        client.send(byte);
        await new Promise(setImmediate);
      }
      assert.equal((await client.response()).body, 'served');
      assert.equal(calls[0]?.body, 'one');
    });
  });

  test('is served to a client that has closed its own side', async () => {
    await recording(async ({ port }) => {
      const client = await RawClient.connect(port);
      client.socket.end(get('/'));
      assert.equal(parseResponses(await client.rest(), ['GET'])[0]?.body, 'served');
    });
  });

  test('that ends in its head is none', async () => {
    for (const part of ['G', 'GET / HT', 'GET / HTTP/1.1\r\nHo', 'GET / HTTP/1.1\r\nHost: x\r\n']) {
      await recording(async ({ port }, calls) => {
        const client = await RawClient.connect(port);
        client.socket.end(part);
        const answers = parseResponses(await client.rest(), ['GET']);
        assert.deepEqual(answers.map(({ status }) => status), ['400']);
        assert.equal(calls.length, 0);
      });
    }
  });

  test('that is empty gets no answer', async () => {
    await recording(async ({ port }, calls) => {
      const client = await RawClient.connect(port);
      client.socket.end();
      assert.equal(await client.rest(), '');
      assert.equal(calls.length, 0);
    });
  });
});

test('every string in environ is bytes', async () => {
  await recording(async ({ port }, calls) => {
    await exchange(port, get('/%ff%E2%82%AC', 'X: \xff', 'Connection: close'));
    for (const [key, value] of Object.entries(calls[0]?.environ ?? {})) {
      if (key.startsWith('wsgi.') || key === 'tsgiref.signal') continue;
      assert.equal(typeof value, 'string', key);
      assert.match(String(value), /^[\x00-\xff]*$/, key);
    }
  });
});

describe('advisories of other servers', () => {
  // What a request can do to a server has a row above that bears its number.
  const rows = [
    'CVE-2016-1000110', 'CVE-2015-0219', 'CVE-2019-16785', 'CVE-2019-16786', 'CVE-2019-16789',
    'GHSA-4ppp', 'GHSA-4f7p', 'CVE-2024-1135', 'CVE-2024-6827', 'CVE-2025-32395', 'CVE-2024-32652',
    'GHSA-rjq5', 'GHSA-rmxm', 'GHSA-wr4h', 'CVE-2021-22959', 'CVE-2022-32213', 'CVE-2022-32214',
    'CVE-2022-32215', 'CVE-2022-35256', 'CVE-2024-22019', 'CVE-2025-23167', 'CVE-2018-12121',
  ];
  const titles = groups.flatMap(([, all]) => all.map(({ title }) => title)).join('\n');
  for (const advisory of rows) {
    test(`${advisory} has its row`, () => assert.ok(titles.includes(`(${advisory})`)));
  }

  test('CVE-2022-29361: an unread body is not the next request', async () => {
    await withServer(
      (_environ, start) => (start('200 OK', []), [bytes('ignored')]),
      async ({ port, log }) => {
        const hidden = get('/smuggled');
        const sent = post(hidden, `Content-Length: ${hidden.length}`) + NEXT;
        const answers = await converse(port, sent, ['POST', 'GET']);
        assert.deepEqual(answers.map(({ status }) => status), ['200', '200']);
        assert.deepEqual(log.map((each) => each.split(' ')[1]), ['/', '/next']);
      },
    );
  });

  test(
    'CVE-2025-24010, GHSA-67mh-4wv8-2f99: no other site is let in by a header of ours',
    async () => {
      await recording(async ({ port }) => {
        const [answer] = await converse(port, get('/', 'Origin: http://evil', 'Connection: close'));
        assert.ok(answer?.headers.every(([name]) => !/^access-control-/i.test(name)));
      });
    },
  );

  // CVE-2026-0865, CVE-2018-1000164, CVE-2016-5325
  test('CVE-2026-0865: what an application cannot send splits no response', async () => {
    const tries: Array<[status: string, name: string, value: string]> = [
      ['200 OK\r\nX-Evil: 1', 'X', 'v'], ['200 OK\nX-Evil: 1', 'X', 'v'],
      ['200 OK', 'X: 1\r\nX-Evil', 'v'], ['200 OK', 'X', 'v\r\nX-Evil: 1'],
      ['200 OK', 'X', 'v\rX-Evil: 1'], ['200 OK', 'X', 'v\nX-Evil: 1'], ['200 OK', 'X', 'v\0'],
      // Its low byte is a line feed.
      ['200 OK', 'X', 'v\u010aX-Evil: 1'], ['200 O\u010dK', 'X', 'v'],
    ];
    for (const [status, name, value] of tries) {
      await withServer((_environ, start) => {
        start(status as '200 OK', [[name, value]]);
        return [bytes('x')];
      }, async ({ port, errors }) => {
        const [answer] = await converse(port, NEXT);
        assert.equal(answer?.status, '500');
        assert.ok(answer.headers.every(([key]) => !/^x/i.test(key)));
        assert.match(errors.getValue(), /^(Range|Type)Error: /);
      });
    }
  });
});
