// A client that leaves before its response is complete: the application must learn of
// it, and the server must go on.

import type { ObservedBody } from '../body.ts';
import type { Client } from '../client.ts';
import { DETAILS, NotApplicable, STREAMS, type CheckVerdict, checksOf } from '../definition.ts';
import { Gate, type Trial, bytes, respond, respondWith } from '../trial.ts';

const check = checksOf('client-leaves');

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

check('client-leaves-closes', DETAILS,
  'When the client has left, the iteration stops, and close() is called once.',
  'Stop when a write fails or the connection is closed, and call close() in a finally block.',
  async (trial) => {
    const observed = endless(trial);
    const client = await begin(trial, observed);
    client.leave();
    return closedOnce(trial, observed);
  });

check('client-leaves-resets', DETAILS,
  'A client that resets the connection has left, too.',
  'Listen to "error" and "close" of the socket.',
  async (trial) => {
    const observed = endless(trial);
    const client = await begin(trial, observed);
    client.reset();
    return closedOnce(trial, observed);
  });

check('client-leaves-generator', DETAILS,
  'When the client has left, the finally block of a generator runs.',
  'Call iterator.return() when the iteration stops early; for await does on break and throw.',
  async (trial) => {
    let isFinished = false;
    await trial.serve(respondWith(async function* () {
      try {
        for (;;) {
          yield bytes('on and on ');
          await pause(5);
        }
      } finally {
        isFinished = true;
        trial.patience.wake();
      }
    }));
    const client = await trial.send();
    await client.receives('on and on', 'the first chunk');
    client.leave();
    await trial.until(() => isFinished, 'did not end a generator whose client had left');
    return undefined;
  });

check('client-leaves-stalled', DETAILS,
  'A client that stops reading and then leaves is noticed as well.',
  'While waiting for "drain", also wait for "close": a closed socket never drains.',
  async (trial) => {
    const chunk = new Uint8Array(64 * 1024);
    const steps = function* (): Generator<Uint8Array> {
      for (let count = 0; count < 640; count += 1) yield chunk;
    };
    const observed = trial.body(steps(), { async: true });
    await trial.serve(respondWith(() => observed.body));
    const client = await trial.connect();
    client.socket.pause();
    client.send(trial.format());
    await trial.until(() => observed.use.asked > 0, 'did not ask the body for a chunk');
    for (let before = -1; before !== observed.use.asked; await trial.quiet()) {
      before = observed.use.asked;
    }
    client.leave();
    return closedOnce(trial, observed);
  });

check('client-leaves-while-waiting', DETAILS,
  'When the client has left while the body waits for its next chunk, close() is called.',
  'Listen to "close" of the response, and end the iteration from there.',
  async (trial) => {
    const gate = new Gate();
    const second = (): Promise<Uint8Array> => gate.opened.then(() => bytes('second'));
    const observed = trial.body([bytes('first'), second, bytes('last')], { async: true });
    const client = await begin(trial, observed, 2);
    client.leave();
    let isNoticed = true;
    try {
      await trial.until(() => observed.use.closed > 0, 'did not notice');
    } catch {
      isNoticed = false;
    }
    gate.open();
    const verdict = await closedOnce(trial, observed);
    if (verdict === undefined && !isNoticed) {
      throw new NotApplicable('the server notices at the next chunk that its client has left');
    }
    return verdict;
  });

check('client-leaves-before-head', DETAILS,
  'When the client has left before the application returns, its body is closed all the same.',
  'Close the body even if there is nobody left to send it to.',
  async (trial) => {
    const observed = trial.body([bytes('too'), bytes(' late')]);
    let isOver = false;
    await trial.serve(async (_environ, startResponse) => {
      await trial.until(() => isOver, 'never');
      startResponse('200 OK', [['Content-Type', 'text/plain']]);
      return observed.body;
    });
    const client = await trial.send();
    await trial.until(() => trial.calls.length > 0, 'did not call the application');
    client.leave();
    await trial.quiet();
    isOver = true;
    trial.patience.wake();
    return closedOnce(trial, observed);
  });

check('client-leaves-upload', STREAMS,
  'When the client leaves within its body, a read that waits for the rest settles.',
  'End or reject the read when the request is aborted.',
  async (trial) => {
    let isSettled = false;
    await trial.serve(respondWith(async (environ) => {
      try {
        await environ['wsgi.input'].read(100);
      } catch {
        // Rejecting is the better answer of the two.
      }
      isSettled = true;
      trial.patience.wake();
      return [];
    }));
    const head = { method: 'POST', headers: ['Content-Length: 100'] };
    const client = await trial.send(head);
    client.send('only a part');
    // A server may collect the whole body first; then it never calls the application.
    await trial.quiet();
    client.leave();
    await trial.quiet();
    if (trial.calls.length === 0) return survives(trial);
    await trial.until(() => isSettled, 'left a read waiting whose client had left');
    return survives(trial);
  });

check('client-leaves-others', DETAILS,
  'When one client leaves, the response to another goes on.',
  'Keep the state of a connection with that connection.',
  async (trial) => {
    await trial.serve(respondWith(async function* () {
      for (let count = 0; count < 20; count += 1) {
        yield bytes('.');
        await pause(5);
      }
    }));
    const [leaving, staying] = [await trial.send(), await trial.send()];
    await leaving.receives('.', 'the first chunk');
    leaving.leave();
    return trial.same('the body of the client that stayed', (await staying.response()).body,
      '.'.repeat(20));
  });

// ---- The helpers of the rows above

// A chunk every few milliseconds, and never an end.
function endless(trial: Trial): ObservedBody {
  const steps = function* (): Generator<() => Promise<Uint8Array>> {
    for (;;) {
      yield async () => {
        await pause(5);
        return bytes('on and on ');
      };
    }
  };
  return trial.body(steps(), { async: true });
}

async function begin(
  trial: Trial, { body, use }: ObservedBody, asked: number = 1,
): Promise<Client> {
  await trial.serve(respondWith(() => body));
  const client = await trial.send();
  await client.receives('\r\n\r\n', 'the head');
  await trial.until(() => use.asked >= asked, 'did not ask the body for its next chunk');
  return client;
}

async function closedOnce(trial: Trial, { use }: ObservedBody): Promise<CheckVerdict> {
  await trial.until(() => use.closed > 0, 'did not call close() when the client had left');
  const { asked } = use;
  await trial.quiet();
  if (use.closed > 1) return `called close() ${use.closed} times`;
  if (use.asked > asked) return 'went on asking for chunks after close()';
  return survives(trial);
}

async function survives(trial: Trial): Promise<CheckVerdict> {
  const { body } = await trial.exchange(respond(['still there']));
  return trial.same('the next request', body, 'still there');
}
