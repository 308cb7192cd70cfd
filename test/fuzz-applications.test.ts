// Random applications with bodies of every shape, correct ones and ones with a single
// fault, each called over a socket. The response of a correct one must arrive byte for
// byte. The client of a faulty one must be able to see that the response is incomplete.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { after, before, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';

import {
  type HeaderList, type ResponseBody, type Status, type WSGIApplication, WSGIRequestHandler,
  type WSGIServer, StringIO, makeServer, validator,
} from '../lib/index.ts';
import { bytes } from './support/bytes.ts';
import { type Chance, eachRound } from './support/random.ts';
import { type StrictResponse, readResponses } from './support/strict.ts';
import { connectionsLeft, exchange } from './support/wire.ts';

const SHAPES = [
  'array', 'set', 'generator', 'async generator', 'readable', 'web stream', 'written',
  'all generator',
] as const;

const FAULTS = [
  'throws when called',
  'throws after startResponse',
  'throws in its body',
  'yields text',
  'passes a bad status',
  'passes a bad header',
  'calls startResponse twice',
  'never calls startResponse',
  'returns nothing',
  'promises more',
  'promises less',
  'throws in close',
] as const;

interface Plan {
  shape: (typeof SHAPES)[number];
  chunks: string[];
  /** Whether there is a Content-Length. */
  hasLength: boolean;
  fault?: (typeof FAULTS)[number];
  /** Before which chunk the body fails, if it does. */
  at: number;
}

const total = ({ chunks }: Plan): number => chunks.join('').length;

/** How a body ended. */
interface Fate {
  given: number;
  closed: number;
  begun: number;
  finished: number;
}

function makePlan({ below, happens, latin1, pick, times }: Chance, fault?: Plan['fault']): Plan {
  const shape = pick(SHAPES);
  const chunks = times(below(6), () => (happens(0.2) ? '' : latin1(20)));
  if (fault === 'promises less') chunks.push('more');
  const plan: Plan = { shape, chunks, hasLength: happens(0.4), at: below(chunks.length + 1) };
  if (fault !== undefined) plan.fault = fault;
  return plan;
}

/** The chunks, and whether `finally` ran. */
function* produce({ chunks, fault, at }: Plan, fate: Fate): Generator<Uint8Array> {
  fate.begun += 1;
  try {
    for (const [index, chunk] of [...chunks, ''].entries()) {
      if (index === at && fault === 'throws in its body') throw new Error('meant to fail');
      if (index === at && fault === 'yields text') yield 'text' as never;
      if (index < chunks.length) yield Buffer.from(chunk, 'latin1');
    }
  } finally {
    fate.finished += 1;
  }
}

async function* produceLater(plan: Plan, fate: Fate): AsyncGenerator<Uint8Array> {
  for (const chunk of produce(plan, fate)) {
    await turn();
    yield chunk;
  }
}

function makeBody(plan: Plan, fate: Fate): ResponseBody {
  switch (plan.shape) {
    case 'array':
    case 'written':
      return [...produce(plan, fate)];
    case 'set':
      return new Set(produce(plan, fate));
    case 'async generator':
      return produceLater(plan, fate);
    case 'readable':
      return Readable.from(produce(plan, fate));
    case 'web stream':
      return ReadableStream.from(produce(plan, fate)) as ReadableStream<Uint8Array>;
    default:
      return produce(plan, fate);
  }
}

function makeApp(plan: Plan, fate: Fate): WSGIApplication {
  const { fault } = plan;
  const status = (fault === 'passes a bad status' ? '200\r\nX: y' : '200 OK') as Status;
  const headers: HeaderList = [['Content-Type', 'text/plain']];
  if (fault === 'passes a bad header') headers.push(['X-Bad', 'a\nb']);
  const promised =
    total(plan) + (fault === 'promises more' ? 5 : fault === 'promises less' ? -1 : 0);
  if (plan.hasLength || promised !== total(plan)) {
    headers.push(['Content-Length', String(promised)]);
  }

  const begin: WSGIApplication = async (_environ, startResponse) => {
    if (fault === 'throws when called') throw new Error('meant to fail');
    const write =
      fault === 'never calls startResponse' ? undefined : startResponse(status, [...headers]);
    if (fault === 'throws after startResponse') throw new Error('meant to fail');
    if (fault === 'calls startResponse twice') startResponse(status, headers);
    if (fault === 'returns nothing') return undefined as never;
    let body = makeBody(plan, fate);
    if (plan.shape === 'written' && write !== undefined) {
      for (const chunk of body as Uint8Array[]) await write(chunk);
      body = [];
    }
    fate.given += 1;
    return Object.assign(body, {
      close() {
        fate.closed += 1;
        if (fault === 'throws in close') throw new Error('meant to fail');
      },
    });
  };
  if (plan.shape !== 'all generator') return begin;

  // A generator does everything at the first next(), the call of startResponse included.
  return async function* (environ, startResponse) {
    const body = await begin(environ, startResponse);
    try {
      yield* body;
    } finally {
      await body.close?.();
    }
  };
}

/** The response to a faulty plan, as the client must see it without the validator. */
function expectedOf(plan: Plan): { outcome: 'whole' | 'failed' | 'cut'; traces: number } {
  const { shape, chunks, fault, at } = plan;
  const isMadeBefore = shape === 'array' || shape === 'set' || shape === 'written';
  const before = chunks.slice(0, at).join('').length;
  const last = chunks.filter((chunk) => chunk !== '').at(-1) ?? '';
  switch (fault) {
    case 'throws in close':
      // In a generator that closes an inner body, this is an error of its own.
      if (shape !== 'all generator') return { outcome: 'whole', traces: 1 };
      if (total(plan) === 0) return { outcome: 'failed', traces: 1 };
      return { outcome: plan.hasLength ? 'whole' : 'cut', traces: 1 };
    case 'promises more':
      return { outcome: 'cut', traces: 1 };
    case 'promises less':
      // The server asks for bytes beyond the promised length only if they share a chunk.
      return {
        outcome: 'whole',
        traces: shape === 'written' || last.length > 1 || total(plan) === 1 ? 1 : 0,
      };
    case 'throws in its body':
      if (isMadeBefore || before === 0) return { outcome: 'failed', traces: 1 };
      if (plan.hasLength && before === total(plan)) return { outcome: 'whole', traces: 0 };
      return { outcome: 'cut', traces: 1 };
    case 'yields text':
      if (before === 0) return { outcome: 'failed', traces: 1 };
      if (plan.hasLength && before === total(plan) && shape !== 'written') {
        return { outcome: 'whole', traces: 0 };
      }
      if (plan.hasLength && before === total(plan)) return { outcome: 'whole', traces: 1 };
      return { outcome: 'cut', traces: 1 };
    default:
      return { outcome: 'failed', traces: 1 };
  }
}

describe('applications made by chance', () => {
  let errors = new StringIO();
  let server: WSGIServer;

  before(async () => {
    class Quiet extends WSGIRequestHandler {
      override getStderr(): StringIO {
        return errors;
      }
      override logMessage(): void {}
    }
    server = makeServer('127.0.0.1', 0, () => [], { handlerClass: Quiet });
    await server.ready;
  });

  after(() => server.serverClose());

  const request = (method: string, version: string): string =>
    `${method} / HTTP/${version}\r\nHost: fuzz\r\nConnection: close\r\n\r\n`;

  async function ask(
    app: WSGIApplication, method = 'GET', version = '1.1',
  ): Promise<StrictResponse> {
    errors = new StringIO();
    server.setApp(app);
    const [response, ...more] =
      readResponses(await exchange(server.serverPort, request(method, version)), [method]);
    assert.deepEqual(more, []);
    assert.ok(response);
    return response;
  }

  const newFate = (): Fate => ({ given: 0, closed: 0, begun: 0, finished: 0 });

  async function assertClosed(fate: Fate): Promise<void> {
    // The client may see the end before the application does.
    for (let left = 1000; left > 0 &&
      (fate.closed < fate.given || fate.finished < fate.begun); left -= 1) {
      await turn();
    }
    assert.equal(fate.closed, fate.given, 'close() ran once');
    assert.equal(fate.finished, fate.begun, 'finally ran once');
  }

  const traces = (): number => (errors.getValue().match(/^\w*Error|^Thrown/gm) ?? []).length;

  test('arrive byte for byte, with the validator as without', async (context) => {
    await eachRound(context, 120, async (chance) => {
      const plan = makePlan(chance);
      const method = chance.pick(['GET', 'GET', 'POST', 'HEAD']);
      const version = chance.pick(['1.0', '1.1']);
      const fate = newFate();
      const app = makeApp(plan, fate);
      const plain = await ask(app, method, version);
      await assertClosed(fate);
      assert.equal(plain.status, 200);
      assert.ok(plain.isWhole);
      assert.equal(plain.body, method === 'HEAD' ? '' : plan.chunks.join(''));
      assert.equal(errors.getValue(), '');

      const validated = await ask(validator(app, { onWarning: () => {} }), method, version);
      await assertClosed(fate);
      assert.equal(errors.getValue(), '', JSON.stringify(plan));
      plain.headers.delete('date');
      validated.headers.delete('date');
      assert.deepEqual(validated, plain);
    });
  });

  test('never look whole if they failed', async (context) => {
    await eachRound(context, 200, async (chance) => {
      const plan = makePlan(chance, chance.pick(FAULTS));
      const fate = newFate();
      const response = await ask(makeApp(plan, fate));
      await assertClosed(fate);
      const expected = expectedOf(plan);
      const description = `${JSON.stringify(plan)}\n${errors.getValue()}`;
      const outcome = !response.isWhole ? 'cut' : response.status === 500 ? 'failed' : 'whole';
      assert.deepEqual({ outcome, traces: traces() }, expected, description);
      if (outcome === 'failed') {
        assert.equal(response.body, 'A server error occurred.  Please contact the administrator.');
      }
      if (outcome === 'whole') assert.equal(response.status, 200);
      const fine =
        await ask((_environ, startResponse) => (startResponse('200 OK', []), [bytes('fine')]));
      assert.equal(fine.body, 'fine', 'the next request is served');
    });
  });

  test('end also within the validator, and close', async (context) => {
    await eachRound(context, 100, async (chance) => {
      const plan = makePlan(chance, chance.pick(FAULTS));
      const fate = newFate();
      const response = await ask(validator(makeApp(plan, fate), { onWarning: () => {} }));
      await assertClosed(fate);
      const isFine = response.isWhole && response.status === 200;
      assert.ok(
        traces() === 1 || (traces() === 0 && isFine),
        `${JSON.stringify(plan)}\n${errors.getValue()}`,
      );
    });
  });

  test('end when the client leaves, and nothing is said of it', async (context) => {
    await eachRound(context, 60, async (chance) => {
      const plan = makePlan(chance);
      plan.chunks = Array.from({ length: 200 }, () => '.'.repeat(65_536));
      const fate = newFate();
      errors = new StringIO();
      server.setApp(makeApp(plan, fate));
      const client = connect(server.serverPort, '127.0.0.1').on('error', () => {});
      client.write(request('GET', '1.1'));
      const wanted = chance.below(500_000);
      let received = 0;
      await new Promise<void>((resolve) => {
        client.on('close', resolve).on('data', (data) => {
          received += data.length;
          if (received < wanted) return;
          if (chance.happens(0.5)) client.resetAndDestroy();
          else client.destroy();
        });
      });
      await assertClosed(fate);
      assert.equal(errors.getValue(), '', JSON.stringify({ shape: plan.shape }));
    });
    assert.equal(await connectionsLeft(server), 0, 'no connection is left');
  });
});
