// An application cannot tell through which door a request came. One list of exchanges goes
// through every door; environ, the body that was read, the order of events and the response
// are equal, except for the variables in a table of the README.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { type WSGIApplication, type WSGIEnvironment, validator } from '../lib/index.ts';
import { ANSWERS } from './support/answers.ts';
import { ROOT } from './support/command.ts';
import { type Answer, DOORS, type Door, type OpenDoor } from './support/doors.ts';
import { EXCHANGES, type Exchange } from './support/exchanges.ts';

/** The facts of an exchange, on both sides of the door. */
interface Seen {
  environ: Record<string, unknown>;
  /** Calls, reads and chunks, in order. */
  events: string[];
  answer: Answer;
}

// The application of the exchange under way, and what it has noted.
let current: Pick<Seen, 'environ' | 'events'> & { exchange: Exchange };

const inner: WSGIApplication = (environ, startResponse) => {
  const { events, exchange } = current;
  current.environ = describeEnviron(environ);
  events.push('called');
  const answer =
    ANSWERS[exchange.app]?.((event) => void events.push(event)) ?? assert.fail(exchange.app);
  return answer(environ, (...args) => (events.push(`starts ${args[0]}`), startResponse(...args)));
};
const app = validator(inner);

const describeEnviron = (environ: WSGIEnvironment): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(environ).map(([key, value]) => [
      key,
      typeof value === 'object' && !Array.isArray(value)
        ? 'object'
        : typeof value === 'function' ? 'function' : value,
    ]),
  );

async function pass(door: OpenDoor, exchange: Exchange): Promise<Seen> {
  current = { exchange, environ: {}, events: [] };
  const answer = await door.ask(exchange);
  return { ...current, answer };
}

const differing = (one: Record<string, unknown>, other: Record<string, unknown>): string[] =>
  [...new Set([...Object.keys(one), ...Object.keys(other)])].filter(
    (key) => JSON.stringify(one[key]) !== JSON.stringify(other[key]),
  );

/** The variables in the README's table, and the doors where each differs. */
function readTable(): Map<string, string> {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const [, table = ''] =
    /\n\| variable \| differs \| why \|\n\|[-|]*\n((?:\|.*\n)*)/.exec(readme) ?? [];
  return new Map([...table.matchAll(/^\| `([^`]+)` \| ([^|]*) \|/gm)].map(
    ([, key = '', doors = '']) => [key, doors.replaceAll('`', '')],
  ));
}

const title = ({ method, target, headers, body, app }: Exchange): string => {
  const size = body === undefined
    ? ''
    : typeof body === 'string' ? `, ${body.length} bytes` : `, ${body.length} pieces`;
  const fields = headers.map((pair) => pair.join(': ')).join(', ');
  return `${method} ${target} (${fields}${size}) → ${app}`.slice(0, 100);
};

describe('an application cannot tell through which door a request came', () => {
  const [first, ...others] = DOORS;
  const expected = new Map<Exchange, Seen>();
  const differences = new Map<string, Set<string>>();
  const written: Array<() => void> = [];

  before(async () => {
    // Logs and traces of the doors, of which each writes its own.
    const { error } = console;
    const { write } = process.stderr;
    console.error = () => {};
    process.stderr.write = () => true;
    written.push(
      () => Object.assign(console, { error }), () => Object.assign(process.stderr, { write }),
    );
    const door = await first.open(app);
    for (const exchange of EXCHANGES) expected.set(exchange, await pass(door, exchange));
    await door.close();
  });
  after(() => {
    for (const restore of written) restore();
  });

  test('the list is long enough to mean something', () => {
    assert.ok(EXCHANGES.length >= 60);
    for (const [{ app }, { events }] of expected) assert.equal(events[0], 'called', app);
  });

  for (const door of others) {
    test(`${door.name} is like ${first.name}`, async (t) => {
      const found: string[] = [];
      const passed = await compare(door, expected, found);
      const keys = [...new Set(found)].sort();
      for (const key of keys) {
        differences.set(key, (differences.get(key) ?? new Set()).add(door.name));
      }
      t.diagnostic(
        `${door.name}: ${passed} exchanges; variables that differ: ${keys.join(', ') || 'none'}`,
      );
      for (const reason of reasons(door)) t.diagnostic(`${door.name}: ${reason}`);
    });
  }

  test('the README explains each variable that differs, and no other', () => {
    const table = readTable();
    assert.deepEqual([...table.keys()].sort(), [...differences.keys()].sort());
    for (const [key, doors] of differences) {
      const named = (table.get(key) ?? '').split(/, /);
      assert.deepEqual(named.sort(), [...doors].sort(), key);
    }
  });
});

async function compare(
  door: Door, expected: ReadonlyMap<Exchange, Seen>, found: string[],
): Promise<number> {
  const open = await door.open(app);
  let passed = 0;
  try {
    for (const [exchange, wanted] of expected) {
      if (door.cannot?.(exchange) !== undefined) continue;
      const seen = await pass(open, exchange);
      assert.deepEqual(seen.answer, wanted.answer, title(exchange));
      assert.deepEqual(seen.events, wanted.events, title(exchange));
      found.push(...differing(seen.environ, wanted.environ));
      passed += 1;
    }
  } finally {
    await open.close();
  }
  return passed;
}

/** Why this door cannot pass on some of the requests, with their number. */
function reasons(door: Door): string[] {
  const counts = new Map<string, number>();
  for (const exchange of EXCHANGES) {
    const reason = door.cannot?.(exchange);
    if (reason !== undefined) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return [...counts].map(([reason, count]) => `${count} not asked: ${reason}`);
}
