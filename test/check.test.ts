// The conformance kit: what it reports, what it survives, and what it knows.

import assert from 'node:assert/strict';
import { AsyncResource } from 'node:async_hooks';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, test } from 'node:test';

import {
  type CheckReport, type RunningServer, type WSGIApplication, checkServer, checks,
} from '../lib/index.ts';
import { GROUPS } from '../lib/check/definition.ts';
import { GalleryServer } from './gallery/server.ts';
import { deferred } from './support/bytes.ts';

const start = (app: WSGIApplication): Promise<RunningServer> => new GalleryServer(app).start();

/** The ids of the checks with this outcome, with their reasons. */
function found(report: CheckReport, outcome: string = 'failed'): Record<string, string> {
  const results = report.results.filter((result) => result.outcome === outcome);
  return Object.fromEntries(results.map(({ id, reason }) => [id, reason]));
}

describe('checks', () => {
  test('are data: an id, a group, a rule with its source, a hint', () => {
    assert.ok(checks.length >= 120, `${checks.length} checks`);
    for (const { id, group, rule, source, hint } of checks) {
      assert.match(id, /^[a-z0-9]+(-[a-z0-9]+)+$/);
      assert.ok(GROUPS.includes(group), id);
      assert.match(rule, /^\S.*\.$/s, id);
      assert.match(hint, /\S.*\.\)?$/s, id);
      assert.match(source, /^(PEP 3333, ".+"|RFC \d+ §[\d.]+|CWE-\d+|CVE-\d+-\d+)$/, id);
    }
  });

  test('have ids of their own, that begin with their group', () => {
    const ids = checks.map(({ id }) => id);
    assert.deepEqual(ids, [...new Set(ids)]);
    for (const { id, group } of checks) {
      assert.ok(id.startsWith(`${group === 'startResponse' ? 'start-response' : group}-`), id);
    }
  });

  test('come in the order of the groups, and leave none of them empty', () => {
    assert.deepEqual([...new Set(checks.map(({ group }) => group))], GROUPS);
  });
});

describe('checkServer', () => {
  test('finds nothing wrong with a correct server', async () => {
    const report = await checkServer(start);
    assert.deepEqual(found(report), {});
    assert.deepEqual(Object.keys(found(report, 'not applicable')), [
      'body-file-wrapper', 'body-file-wrapper-lazy',
    ]);
    assert.equal(report.results.length, checks.length);
    assert.equal(report.passed + report.failed + report.notApplicable, checks.length);
  });

  test('says what was sent, what both sides saw, the rule and the remedy', async () => {
    class Faulty extends GalleryServer {
      override decodePath(path: string): string {
        return path;
      }
    }
    const { results: [result] } = await checkServer((app) => new Faulty(app).start(), {
      only: 'environ-path-decoded',
    });
    assert.ok(result);
    const port = /Host: (\S+)/.exec(result.sent[0] ?? '')?.[1];
    assert.deepEqual({ ...result, seen: { ...result.seen, client: [] } }, {
      id: 'environ-path-decoded',
      group: 'environ',
      outcome: 'failed',
      reason: 'The server gave "/a%20b%41%2f%3Fc" for SCRIPT_NAME and PATH_INFO of ' +
        '/a%20b%41%2f%3Fc; expected was "/a bA/?c"',
      sent: [`GET /a%20b%41%2f%3Fc HTTP/1.1\r\nHost: ${port}\r\n\r\n`],
      seen: {
        application: [
          'call 1: REQUEST_METHOD="GET" SCRIPT_NAME="" PATH_INFO="/a%20b%41%2f%3Fc" QUERY_STRING=""',
        ],
        client: [],
      },
      rule: 'PATH_INFO is percent-decoded.',
      source: 'RFC 3875 §4.1.5',
      hint: 'Replace each %XX of the path by the character with that code.',
    });
    assert.match(result.seen.client[0] ?? '', /^HTTP\/1\.1 200 OK\r\n[\s\S]*ok/);
  });

  test('runs the groups and checks that are named, and tells of each', async () => {
    const told: string[] = [];
    const report = await checkServer(start, {
      only: ['errors', 'environ-query'],
      onResult: ({ id }, done, total) => told.push(`${done}/${total} ${id}`),
    });
    const ids = report.results.map(({ id }) => id);
    assert.deepEqual(ids, [
      'environ-query', ...checks.filter(({ group }) => group === 'errors').map(({ id }) => id),
    ]);
    assert.equal(told.length, 6);
    assert.match(told[5] ?? '', /^6\/6 /);
  });

  test('refuses names that do not exist, and a start that is not a function', async () => {
    await assert.rejects(checkServer(start, { only: 'enviorn' }), {
      name: 'TypeError',
      message: /no group and no check enviorn; the groups are connection, environ, /,
    });
    await assert.rejects(checkServer(undefined as never), /takes a function/);
  });

  test('reports a server with one fixed port, by running one check after another', async () => {
    let isRunning = false;
    const once = async (app: WSGIApplication): Promise<RunningServer> => {
      if (isRunning) throw new Error('listen EADDRINUSE: address already in use');
      isRunning = true;
      const { url, close } = await start(app);
      return {
        url,
        close: async () => {
          await close();
          isRunning = false;
        },
      };
    };
    assert.deepEqual(found(await checkServer(once, { only: ['connection', 'errors'] })), {});
  });
});

describe('a server that shares one application among all that it starts', () => {
  test('is checked with one check after another', async () => {
    let current: WSGIApplication;
    const startShared = (app: WSGIApplication): Promise<RunningServer> => {
      current = app;
      return start((environ, startResponse) => current(environ, startResponse));
    };
    assert.deepEqual(found(await checkServer(startShared, { only: 'startResponse' })), {});
  });
});

describe('a server that does not work at all', () => {
  const timeLimit = 300;

  for (const [name, broken, reason] of [
    ['throws', () => { throw new Error('no start'); }, 'did not start: Error: no start'],
    ['rejects', () => Promise.reject(new Error('no port')), 'did not start: Error: no port'],
    ['never listens', () => new Promise<never>(() => {}), 'did not start within 0.3 s'],
    [
      'gives no url', () => ({}),
      'gave an object without a url from start(app); expected was { url, close }',
    ],
    ['gives no close', () => ({ url: 'http://127.0.0.1/' }),
      'gave an object without a close() from start(app); expected was { url, close }'],
    ['gives a wrong url', () => ({ url: 'here', close() {} }),
      'gave "here" as its url; expected was one like http://127.0.0.1:8000/'],
    ['never answers', (app: WSGIApplication) => new Silent(app).start(),
      'did not answer within 0.3 s'],
    ['closes at once', (app: WSGIApplication) => new Closing(app).start(),
      'closed the connection without a response'],
  ] as const) {
    test(`${name}: that is the one finding, and the rest does not apply`, async () => {
      const report = await checkServer(broken as typeof start, { timeLimit, only: 'environ' });
      assert.deepEqual(found(report), { 'connection-answers': `The server ${reason}` });
      assert.equal(report.notApplicable, checks.filter(({ group }) => group === 'environ').length);
    });
  }

  class Silent extends GalleryServer {
    override async serveConnection(): Promise<void> {}
  }

  class Closing extends GalleryServer {
    override async serveConnection(socket: { end(): void }): Promise<void> {
      socket.end();
    }
  }
});

describe('a server that lets an error go uncaught', () => {
  class Careless extends GalleryServer {
    override decodePath(path: string): string {
      if (path.includes('%zz')) setTimeout(() => { throw new URIError('malformed'); });
      return super.decodePath(path);
    }
  }

  test('is found out, by the check that provoked it alone, and the run goes on', async () => {
    const report = await checkServer((app) => new Careless(app).start(), { only: 'environ' });
    assert.deepEqual(found(report), {
      'environ-path-bad-percent':
        'The server left an error uncaught, which ends a Node process: URIError: malformed',
    });
  });

  test('does not disturb the checks beside it', async () => {
    const begun: string[] = [];
    await checkServer((app) => new Careless(app).start(), {
      only: 'environ',
      onStart: ({ id }) => void begun.push(id),
    });
    const again = begun.filter((id, index) => begun.indexOf(id) !== index);
    assert.deepEqual(again, ['environ-path-bad-percent']);
  });

  test('is found out where another check is suspected first', async () => {
    // Made by the check that began last: its context is the one in which the error is thrown.
    let pool: AsyncResource | undefined;
    class Sharing extends GalleryServer {
      override decodePath(path: string): string {
        if (path.includes('%zz')) {
          pool?.runInAsyncScope(() => setImmediate(() => { throw new URIError('malformed'); }));
        }
        return super.decodePath(path);
      }
    }
    const begin = (app: WSGIApplication): Promise<RunningServer> => {
      pool = new AsyncResource('pool');
      return new Sharing(app).start();
    };
    const report = await checkServer(begin, {
      only: ['environ-path-bad-percent', 'environ-path-utf8', 'environ-query'],
    });
    assert.deepEqual(found(report), {
      'environ-path-bad-percent':
        'The server left an error uncaught, which ends a Node process: URIError: malformed',
    });
  });

  test('is not waited for any longer', async () => {
    class Careless extends GalleryServer {
      override decodePath(path: string): string {
        return decodeURIComponent(path);
      }
      override async serveConnection(socket: Socket): Promise<void> {
        void super.serveConnection(socket).catch((error) => setImmediate(() => { throw error; }));
        await new Promise(() => {});
      }
    }
    const report = await checkServer((app) => new Careless(app).start(), {
      only: 'environ-path-byte', timeLimit: 3_600_000,
    });
    assert.deepEqual(found(report), {
      'environ-path-byte':
        'The server left an error uncaught, which ends a Node process: URIError: URI malformed',
    });
  });

  test('leaves the program its own listeners', async () => {
    const before = process.listeners('uncaughtException');
    await checkServer(start, { only: 'environ-query' });
    assert.deepEqual(process.listeners('uncaughtException'), before);
  });

  test('of a rejection with no reason, too', async () => {
    class Careless extends GalleryServer {
      override async answerError(): Promise<void> {
        void Promise.reject();
        throw new Error('no answer');
      }
    }
    const report = await checkServer((app) => new Careless(app).start(), {
      only: 'failure-bad-chunk', timeLimit: 300,
    });
    assert.deepEqual(found(report), {
      'failure-bad-chunk':
        'The server left an error uncaught, which ends a Node process: undefined',
    });
  });

  test('of a rejection, too', async () => {
    class Careless extends GalleryServer {
      override async answerError(): Promise<void> {
        void Promise.reject(new Error('not handled'));
        throw new Error('no answer');
      }
    }
    const report = await checkServer((app) => new Careless(app).start(), {
      only: 'failure-bad-chunk', timeLimit: 300,
    });
    assert.deepEqual(found(report), {
      'failure-bad-chunk':
        'The server left an error uncaught, which ends a Node process: Error: not handled',
    });
  });
});

describe('a run leaves nothing behind', () => {
  test('neither a connection nor a server', async () => {
    const servers: GalleryServer[] = [];
    await checkServer(async (app) => {
      const server = new GalleryServer(app);
      servers.push(server);
      return server.start();
    }, { only: ['connection', 'client-leaves'] });
    assert.ok(servers.length > 10);
    for (const { server, sockets } of servers) {
      for (const socket of sockets) await once(socket, 'close');
      assert.equal(server.listening, false);
    }
  });

  test('of a server that starts after its check was given up', async () => {
    const starts = deferred();
    const closes = deferred();
    const report = await checkServer(async () => {
      await starts.promise;
      return { url: 'http://127.0.0.1:9/', close: () => closes.resolve() };
    }, { only: 'environ-query', timeLimit: 100 });
    assert.deepEqual(found(report), {
      'connection-answers': 'The server did not start within 0.1 s',
    });
    starts.resolve();
    await closes.promise;
  });
});
