// close(): called on every body that has one, exactly once, however the request ends.

import { DETAILS, ERROR_HANDLING, type CheckVerdict, checksOf } from '../definition.ts';
import type { ObservedBody, Step } from '../body.ts';
import { type RequestParts, type Trial, bytes, respond, respondWith } from '../trial.ts';

const check = checksOf('close');

const PLAIN: Array<[string, string]> = [['Content-Type', 'text/plain']];

const HINT = 'Call body.close?.() in a finally block around the iteration.';

closes('close-after-body', 'close() is called when the body has ended.',
  [bytes('one'), bytes('two')]);

closes('close-after-async-body', 'close() of an async body is called when it has ended.',
  [bytes('one'), bytes('two')], { async: true });

closes('close-empty-body', 'close() is called even on a body without chunks.', []);

closes('close-after-head', 'close() is called even if the body is not sent: for HEAD.',
  [bytes('one'), bytes('two')], { request: { method: 'HEAD' } });

closes('close-no-content', 'close() is called even if the body is not sent: for 204.',
  [bytes('one'), bytes('two')], { status: '204 No Content', headers: [] });

closes('close-not-modified', 'close() is called even if the body is not sent: for 304.',
  [bytes('one')], { status: '304 Not Modified', headers: [] });

closes('close-long-body', 'close() is called where the body is longer than its Content-Length.',
  [bytes('12345'), bytes('67890'), bytes('and more')],
  { headers: [...PLAIN, ['Content-Length', '5']] });

closes('close-short-body', 'close() is called where the body is shorter than its Content-Length.',
  [bytes('12345')], { headers: [...PLAIN, ['Content-Length', '50']] });

closes('close-failed-first', 'close() is called when the body throws before its first chunk.',
  [fail]);

closes('close-failed-later', 'close() is called when the body throws after a chunk.',
  [bytes('one'), fail]);

closes('close-failed-async', 'close() is called when an async body rejects after a chunk.',
  [bytes('one'), async () => fail()], { async: true });

check('close-without-start-response', DETAILS,
  'close() is called even if startResponse never was.',
  HINT,
  async (trial) => {
    const observed = trial.body([bytes('one')]);
    await trial.serve(() => observed.body);
    const client = await trial.send();
    await client.nextResponse();
    return closedOnce(trial, observed);
  });

check('close-array', DETAILS,
  'close() is called on an array that has one.',
  'Look for close on every body, not only on some kinds of body.',
  async (trial) => {
    let closed = 0;
    const body = Object.assign([bytes('ok')], {
      close(): void {
        closed += 1;
        trial.patience.wake();
      },
    });
    await trial.exchange(respondWith(() => body));
    await trial.until(() => closed > 0, 'did not call close()');
    await trial.quiet();
    return closed === 1 ? undefined : `called close() ${closed} times`;
  });

check('close-inherited', DETAILS,
  'close() may be a method of a class: it is called on the body itself.',
  'Write body.close(), so that "this" is the body; a stored function loses it.',
  async (trial) => {
    class File {
      isOpen = true;
      *[Symbol.iterator](): Iterator<Uint8Array> {
        yield bytes('ok');
      }
      close(): void {
        this.isOpen = false;
        trial.patience.wake();
      }
    }
    const file = new File();
    await trial.exchange(respondWith(() => file));
    await trial.until(() => !file.isOpen, 'did not close the body, an instance of a class,');
    return undefined;
  });

check('close-last', DETAILS,
  'close() is called after the iteration has ended, not before.',
  'Close in the finally block, after the loop.',
  async (trial) => {
    const observed = trial.body([bytes('one, '), bytes('two')], { async: true });
    const response = await trial.exchange(respondWith(() => observed.body));
    await closedOnce(trial, observed);
    const { calls } = observed.use;
    if (calls.at(-1) !== 'close') return `went on after close(): ${calls.join(', ')}`;
    return trial.same('the body', response.body, 'one, two');
  });

check('close-throws', ERROR_HANDLING,
  'A close() that throws spoils neither its own response nor the next.',
  'Catch and report what close() throws.',
  (trial) => closeFails(trial, () => {
    throw new Error('thrown by close()');
  }));

check('close-rejects', ERROR_HANDLING,
  'A close() that returns a promise is awaited: its rejection does no harm.',
  'Await what close() returns, and catch and report its rejection.',
  (trial) => closeFails(trial, () => Promise.reject(new Error('rejected by close()'))));

check('close-returns-early', DETAILS,
  'If a server stops a generator early, its finally block runs.',
  'Leave a for await loop with break or throw, or call iterator.return().',
  async (trial) => {
    let isFinished = false;
    await trial.serve(respondWith(async function* () {
      try {
        for (;;) {
          yield bytes('12345');
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      } finally {
        isFinished = true;
        trial.patience.wake();
      }
    }, [...PLAIN, ['Content-Length', '10']]));
    const client = await trial.send();
    await client.nextResponse();
    await trial.until(() => isFinished,
      'did not end a generator that goes on after Content-Length');
    return undefined;
  });

// ---- The helpers of the rows above

interface Case {
  async?: boolean;
  request?: RequestParts;
  status?: `${number} ${string}`;
  headers?: Array<[string, string]>;
}

/** A check that a body is closed once, whatever became of the response. */
function closes(id: string, rule: string, steps: Step[], options: Case = {}): void {
  const { async = false, request = {}, status = '200 OK', headers = PLAIN } = options;
  check(id, DETAILS, rule, HINT, async (trial) => {
    const observed = trial.body(steps, { async });
    await trial.serve(respondWith(() => observed.body, headers, status));
    const client = await trial.send(request);
    await client.nextResponse(request.method);
    return closedOnce(trial, observed);
  });
}

function fail(): never {
  throw new Error('thrown by the body, on purpose');
}

async function closedOnce(trial: Trial, { use }: ObservedBody): Promise<CheckVerdict> {
  await trial.until(() => use.closed > 0, 'did not call close()');
  await trial.quiet();
  if (use.closed > 1) return `called close() ${use.closed} times`;
  return use.closedOnBody ? undefined : 'called close() without the body as "this"';
}

async function closeFails(
  trial: Trial,
  onClose: () => void | Promise<void>,
): Promise<CheckVerdict> {
  const { body, use } = trial.body([bytes('complete')], { onClose });
  const response = await trial.exchange(respondWith(() => body));
  await trial.until(() => use.closed > 0, 'did not call close()');
  const next = await trial.exchange(respond(['next']));
  return trial.same('its response and the next one', [response.body, next.body],
    ['complete', 'next']);
}
