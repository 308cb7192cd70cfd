// The body that the application returns: every kind of it, one chunk at a time.

import { Worker } from 'node:worker_threads';

import type {
  ResponseBody, ResponseHeaders, StartResponse, WSGIApplication, WSGIEnvironment,
} from '../../types.ts';
import type { Step } from '../body.ts';
import {
  DETAILS, FILE_HANDLING, NotApplicable, STREAMING, type CheckVerdict, checksOf,
} from '../definition.ts';
import {
  type Gate, type Trial, bytes, respond, respondWith, sendsAtOnce, show,
} from '../trial.ts';
import type { WatchOrder } from '../watch-thread.ts';

const check = checksOf('body');

const PLAIN: Array<[string, string]> = [['Content-Type', 'text/plain']];
const MEBIBYTE = 1024 * 1024;

// ---- Every kind of body

gives('body-array', 'An array of chunks is a body.',
  'Iterate over the body; do not ask what it is.',
  () => [bytes('one, '), bytes('two, '), bytes('three')], 'one, two, three');

gives('body-empty', 'A body may have no chunk.',
  'Send the head when the body ends, if no chunk did.',
  () => [], '');

gives('body-generator', 'A generator is a body.',
  'Use the body\'s [Symbol.iterator]() where it has no [Symbol.asyncIterator]().',
  function* () {
    yield bytes('one, ');
    yield bytes('two');
  }, 'one, two');

gives('body-async-generator', 'An async generator is a body.',
  'Use the body\'s [Symbol.asyncIterator]() where it has one; for await does.',
  async function* () {
    yield bytes('one, ');
    await new Promise((resolve) => setTimeout(resolve, 5));
    yield bytes('two');
  }, 'one, two');

gives('body-iterable', 'Any object with [Symbol.iterator]() is a body, without length or index.',
  'Iterate over the body; do not treat it as an array.',
  () => new Set([bytes('one, '), bytes('two')]), 'one, two');

gives('body-bare-iterator', 'An iterator needs no return() and no throw().',
  'Test whether return is there before calling it.',
  () => {
    const chunks = [bytes('one, '), bytes('two')];
    const next = (): IteratorResult<Uint8Array> => {
      const value = chunks.shift();
      return value === undefined ? { done: true, value } : { done: false, value };
    };
    return { [Symbol.iterator]: () => ({ next }) };
  }, 'one, two');

gives('body-both-iterators', 'Of two kinds of iterator, the asynchronous one is used.',
  'Look for [Symbol.asyncIterator]() first; for await does.',
  () => ({
    *[Symbol.iterator](): Iterator<Uint8Array> {
      yield bytes('synchronous');
    },
    async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
      yield bytes('asynchronous');
    },
  }), 'asynchronous');

check('body-promise', DETAILS,
  'The application may return a promise of a body, even of a generator.',
  'Await what the application returns.',
  async (trial) => {
    const { body } = await trial.exchange(async (_environ, startResponse) => {
      startResponse('200 OK', PLAIN);
      return (function* () {
        yield bytes('promised, ');
        yield bytes('and kept');
      })();
    });
    return trial.same('the body', body, 'promised, and kept');
  });

// ---- Chunks

gives('body-empty-chunks', 'Empty chunks are skipped, and end nothing.',
  'In chunked coding a chunk of size 0 is the end of the body: do not send it.',
  () => [bytes(''), bytes('one, '), bytes(''), bytes('two'), bytes('')], 'one, two');

gives('body-binary', 'Every byte of a chunk is sent unchanged.',
  'Send the bytes; do not turn them into a string.',
  () => [Uint8Array.from({ length: 256 }, (_, index) => index)],
  String.fromCharCode(...Array(256).keys()));

gives('body-view', 'A chunk may be a view of a larger buffer: only its own bytes are sent.',
  'Pass the Uint8Array on; chunk.buffer is all of the memory behind it.',
  () => [bytes('---inside---').subarray(3, 9), Buffer.from('and a Buffer')], 'insideand a Buffer');

check('body-large', DETAILS,
  'A large body arrives complete.',
  'Do not end or destroy the connection before all is sent.',
  async (trial) => {
    const { body } = await trial.exchange(respond(['x'.repeat(4 * MEBIBYTE), 'end']));
    return trial.same('the length of a body of 4 MiB and 3 bytes', body.length, 4 * MEBIBYTE + 3);
  });

check('body-many-chunks', DETAILS,
  'Many small chunks arrive complete, and in order.',
  'Send one after another; await each.',
  async (trial) => {
    const chunks = Array.from({ length: 2000 }, (_, index) => `${index};`);
    const { body } = await trial.exchange(respondWith(function* () {
      for (const chunk of chunks) yield bytes(chunk);
    }));
    return body === chunks.join('') ? undefined : 'changed a body of 2000 chunks';
  });

// ---- When a chunk is sent

check('body-chunk-at-once', STREAMING,
  'A chunk reaches the client while an async body waits for its next one.',
  'Send each chunk when it comes; do not collect them.',
  (trial) => streams(trial, PLAIN));

check('body-chunk-with-length-at-once', STREAMING,
  'A chunk is sent at once even if the Content-Length is known.',
  'Send each chunk when it comes; do not collect them.',
  (trial) => streams(trial, [...PLAIN, ['Content-Length', '10']]));

check.alone('body-chunk-before-next', STREAMING,
  'A chunk of a generator has left the process before the next one is asked for.',
  'Wait for the callback of socket.write: Node holds writes back until the code at work is done.',
  async (trial) => {
    const flag = new Int32Array(new SharedArrayBuffer(4));
    let arrived: string | undefined;
    const url = await trial.serve(respondWith(function* () {
      yield bytes('first');
      // This stops the whole process: only what has already left can arrive.
      arrived = Atomics.wait(flag, 0, 0, trial.patience.limit);
      trial.patience.wake();
      yield bytes(' last');
    }));
    const order: WatchOrder = {
      url: url.href, request: trial.format(), text: 'first', flag,
    };
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    const watcher = new Worker(new URL(`../watch-thread.${extension}`, import.meta.url), {
      workerData: order,
    });
    // A client in a thread of its own takes a while to start.
    watcher.once('error', () => {});
    const started = new Promise((resolve) => watcher.once('online', resolve));
    await trial.patience.within(started, () => 'gave the kit no thread to run in');
    try {
      await trial.until(() => arrived !== undefined, 'did not ask the body for its second chunk');
    } finally {
      await watcher.terminate();
    }
    return arrived === 'timed-out'
      ? 'asked a generator for its next chunk while it still held back the one before'
      : undefined;
  });

check('body-back-pressure', STREAMING,
  'The body is not asked for more while the client does not keep up.',
  'Wait for "drain", or for the callback of socket.write, before asking for the next chunk.',
  (trial) => stopsAsking(trial, true));

check('body-back-pressure-generator', STREAMING,
  'A generator is not asked for more while the client does not keep up.',
  'Wait for "drain", or for the callback of socket.write, before asking for the next chunk.',
  (trial) => stopsAsking(trial, false));

// ---- How it is iterated

check('body-iterated-once', DETAILS,
  'The body is iterated once, and not asked again after its end.',
  'Call the iterator\'s next() until done, and no further.',
  async (trial) => {
    const { body, use } = trial.body([bytes('one, '), bytes('two')]);
    await trial.exchange(respondWith(() => body));
    await trial.quiet();
    if (use.iterations !== 1) return `asked the body for ${use.iterations} iterators`;
    if (use.askedAfterEnd > 0) return 'asked the body for another chunk after its end';
    return use.asked === 3 ? undefined : `asked a body of 2 chunks for a chunk ${use.asked} times`;
  });

check('body-one-at-a-time', STREAMING,
  'The next chunk of an async body is asked for when the one before has come.',
  'Await next() before calling it again.',
  async (trial) => {
    const step = async (): Promise<Uint8Array> => {
      await new Promise((resolve) => setTimeout(resolve, 3));
      return bytes('.');
    };
    const { body, use } = trial.body([step, step, step], { async: true });
    const response = await trial.exchange(respondWith(() => body));
    if (use.askedTooEarly > 0) return 'asked for a chunk before the one before had come';
    return trial.same('the body', response.body, '...');
  });

check('body-not-before-call-ends', DETAILS,
  'The body is iterated after the application has returned it.',
  'Take the iterator when the application\'s promise has resolved.',
  async (trial) => {
    const { body, use } = trial.body([bytes('ok')]);
    let early = 0;
    await trial.exchange(async (_environ, startResponse) => {
      startResponse('200 OK', PLAIN);
      await new Promise((resolve) => setTimeout(resolve, 5));
      early = use.iterations;
      return body;
    });
    return early === 0 && use.iterations === 1 ? undefined : 'did not iterate over the body';
  });

// ---- Files

check('body-file-wrapper', FILE_HANDLING,
  'wsgi.file_wrapper, where it is offered, makes a body of a file, and closes the file.',
  'Set it to (file, blockSize) => new FileWrapper(file, blockSize).',
  (trial) => sendFile(trial, false));

check('body-file-wrapper-lazy', FILE_HANDLING,
  'wsgi.file_wrapper sends nothing and reads nothing before its result is returned.',
  'Read in the iteration, not in the call.',
  (trial) => sendFile(trial, true));

// ---- The helpers of the rows above

/** A check of what is sent for one body. */
function gives(
  id: string, rule: string, hint: string, makeBody: () => ResponseBody, expected: string,
): void {
  check(id, DETAILS, rule, hint, async (trial) => {
    const { code, body } = await trial.exchange(respondWith(makeBody));
    return trial.same('the status and body', [String(code), body], ['200', expected]);
  });
}

function streams(trial: Trial, headers: ResponseHeaders): Promise<CheckVerdict> {
  const makeApp = (gate: Gate): WSGIApplication => respondWith(async function* () {
    yield bytes('first');
    await gate.opened;
    yield bytes(' last');
  }, headers);
  return sendsAtOnce(trial, makeApp, 'the first chunk before the second was there');
}

async function stopsAsking(trial: Trial, async: boolean): Promise<CheckVerdict> {
  const chunk = new Uint8Array(64 * 1024);
  let isOver = false;
  const steps = function* (): Generator<Step> {
    for (let sent = 0; sent < 40 * MEBIBYTE && !isOver; sent += chunk.length) yield chunk;
  };
  const { body, use } = trial.body(steps(), { async });
  await trial.serve(respondWith(() => body));
  const client = await trial.connect();
  client.socket.pause();
  client.send(trial.format());
  await trial.until(() => use.asked > 0, 'did not ask the body for a chunk');
  for (let before = -1; before !== use.asked; await trial.quiet()) before = use.asked;
  isOver = true;
  const taken = use.asked * chunk.length;
  return taken < 25 * MEBIBYTE
    ? undefined
    : `asked for ${show(taken)} bytes while the client read nothing`;
}

async function sendFile(trial: Trial, lazy: boolean): Promise<CheckVerdict> {
  let problem: string | undefined;
  let reads = 0;
  let closed = 0;
  const content = ['from ', 'a ', 'file'];
  const file = {
    read(): Uint8Array {
      reads += 1;
      return bytes(content.shift() ?? '');
    },
    close(): void {
      closed += 1;
    },
  };
  const app = (environ: WSGIEnvironment, startResponse: StartResponse): ResponseBody => {
    startResponse('200 OK', PLAIN);
    const wrap = environ['wsgi.file_wrapper'];
    if (wrap === undefined) {
      problem = 'none';
      return [];
    }
    const body = wrap(file, 4);
    if (reads > 0) problem = 'read the file when wsgi.file_wrapper was called';
    return lazy ? [bytes('something else')] : body;
  };
  const response = await trial.exchange(app);
  if (problem === 'none') throw new NotApplicable('the server offers no wsgi.file_wrapper');
  if (problem !== undefined) return problem;
  if (lazy) {
    return trial.same('the body returned in place of the file', response.body, 'something else');
  }
  await trial.quiet();
  return trial.same('the body, and the number of times that the file was closed',
    [response.body, String(closed)], ['from a file', '1']);
}
