// An application that fails: what its client sees, and that no other client notices.

import type { ErrorStream, StartResponse, WSGIApplication, WSGIEnvironment } from '../../types.ts';
import {
  ERROR_HANDLING, NotApplicable, type CheckVerdict, checksOf,
} from '../definition.ts';
import { Gate, type Trial, bytes, respond, respondWith, show } from '../trial.ts';

const check = checksOf('failure');

const PLAIN: Array<[string, string]> = [['Content-Type', 'text/plain']];

const ANSWER = 'Catch the error, and answer 500 while the head is not sent.';

answers500('failure-throws', 'An application that throws gets its client a 500 answer.', () => {
  throw new Error('thrown by the application');
});

answers500('failure-rejects', 'An async application that rejects gets its client a 500 answer.',
  async () => {
    await new Promise((resolve) => setTimeout(resolve, 3));
    throw new Error('rejected by the application');
  });

answers500('failure-after-start-response',
  'An application that throws after startResponse, before a chunk, gets its client a 500 answer.',
  (_environ, startResponse) => {
    startResponse('200 OK', PLAIN);
    throw new Error('thrown after startResponse');
  });

answers500('failure-first-chunk',
  'A body that throws before its first chunk gets its client a 500 answer.',
  function* (_environ: WSGIEnvironment, startResponse: StartResponse) {
    startResponse('200 OK', PLAIN);
    throw new Error('thrown before the first chunk');
  });

answers500('failure-first-async-chunk',
  'An async body that rejects before its first chunk gets its client a 500 answer.',
  async function* (_environ: WSGIEnvironment, startResponse: StartResponse) {
    startResponse('200 OK', PLAIN);
    await new Promise((resolve) => setTimeout(resolve, 3));
    throw new Error('rejected before the first chunk');
  });

answers500('failure-not-an-error', 'Anything can be thrown, undefined among it.', () => {
  throw undefined;
}, 'Do not read error.message, nor test the error for truth, before the answer is sent.');

answers500('failure-no-body', 'An application that returns nothing gets its client a 500 answer.',
  ((_environ: WSGIEnvironment, startResponse: StartResponse) => {
    startResponse('200 OK', PLAIN);
  }) as unknown as WSGIApplication,
  'Treat what cannot be iterated over as an error of the application.');

check('failure-bad-chunk', 'PEP 3333, "A Note On String Types"',
  'A chunk that is not bytes is an error of the application: nothing of it is sent.',
  'Test each chunk with instanceof Uint8Array, and throw.',
  async (trial) => {
    await trial.serve(respondWith(() => [{ not: 'bytes' }] as unknown as Uint8Array[]));
    const client = await trial.send();
    const response = await client.nextResponse();
    const isCut = response === undefined || !response.whole;
    if (!isCut && response.code < 500) {
      return `answered ${response.code} to a chunk that is an object`;
    }
    return survives(trial);
  });

check('failure-headers-dropped', ERROR_HANDLING,
  'The 500 answer has none of the headers that the application had given.',
  'Begin a new list of headers for the answer.',
  async (trial) => {
    await trial.serve((_environ, startResponse) => {
      startResponse('200 OK', [...PLAIN, ['X-Secret', '1'], ['Content-Length', '1000']]);
      throw new Error('thrown after startResponse');
    });
    const response = await (await trial.send()).response();
    const names = response.headers.map(([name]) => name.toLowerCase());
    if (!names.includes('x-secret')) return undefined;
    return 'sent X-Secret, a header of the failed response';
  });

check('failure-hides-trace', 'CWE-209',
  'The client is not shown where in the application the error was thrown.',
  'Send a fixed text, and write the trace to wsgi.errors; show it only on a development server.',
  async (trial) => {
    const error = new Error('kit-secret-message');
    await trial.serve(() => {
      throw error;
    });
    const { body } = await (await trial.send()).response();
    if (body.includes('    at ')) return `sent the trace of the error: ${show(body)}`;
    if (!body.includes(error.message)) return undefined;
    return `sent the message of the error: ${show(body)}`;
  });

check.alone('failure-reported', ERROR_HANDLING,
  'An error that an application throws is reported: on wsgi.errors, standard error or output.',
  'Write the stack of the error to wsgi.errors.',
  async (trial) => {
    const message = 'kit-error-to-report';
    const written = new Recording(message, () => trial.patience.wake());
    try {
      written.watch(process.stderr);
      written.watch(process.stdout);
      const response = await trial.exchange((environ) => {
        written.watch(environ['wsgi.errors']);
        throw new Error(message);
      });
      if (response.code !== 500) return `answered ${response.code} when the application threw`;
      await trial.until(() => written.isFound, 'did not report the error');
      return undefined;
    } finally {
      written.restore();
    }
  });

check('failure-cuts', ERROR_HANDLING,
  'An error after the first chunk cuts the response: the client sees that it is not complete.',
  'Destroy the connection; do not end the response.',
  (trial) => cuts(trial, PLAIN));

check('failure-cuts-length', ERROR_HANDLING,
  'An error after the first chunk of a response with a Content-Length closes the connection.',
  'Destroy the connection, or the client waits for the rest.',
  (trial) => cuts(trial, [...PLAIN, ['Content-Length', '100']]));

check('failure-sent-chunk-arrives', ERROR_HANDLING,
  'A chunk that was sent before the error still arrives.',
  'Wait until the chunk is sent before the next is asked for; then destroy the connection.',
  async (trial) => {
    await trial.serve(respondWith(async function* () {
      yield bytes('sent before');
      await new Promise((resolve) => setTimeout(resolve, 30));
      throw new Error('thrown after the first chunk');
    }));
    const client = await trial.send();
    const response = await client.nextResponse();
    return response?.body === 'sent before' ? undefined : 'lost a chunk that came before the error';
  });

check('failure-in-write', ERROR_HANDLING,
  'An error after write() cuts the response.',
  'Destroy the connection when the application throws and the head is sent.',
  async (trial) => {
    await trial.serve(async (_environ, startResponse) => {
      const write = startResponse('200 OK', PLAIN);
      await write(bytes('written'));
      throw new Error('thrown after write');
    });
    return isCut(trial);
  });

check('failure-then-next', ERROR_HANDLING,
  'A failed request leaves the server as it was: the next is answered.',
  'Keep nothing of a request in the server.',
  async (trial) => {
    const failing: WSGIApplication[] = [
      () => { throw new Error('the first'); },
      async () => Promise.reject(new Error('the second')),
      respondWith(async function* () {
        yield bytes('third');
        throw new Error('the third');
      }),
    ];
    for (const app of failing) {
      await trial.serve(app);
      await (await trial.send()).nextResponse();
    }
    return survives(trial);
  });

check('failure-beside-others', ERROR_HANDLING,
  'A request that fails does not disturb another that is under way.',
  'Destroy the connection of the failed request alone.',
  async (trial) => {
    const gate = new Gate();
    await trial.serve(async (environ, startResponse) => {
      if (environ.PATH_INFO === '/fail') throw new Error('thrown beside another request');
      await gate.opened;
      return respond(['undisturbed'])(environ, startResponse);
    });
    const waiting = await trial.send({ target: '/wait' });
    await trial.until(() => trial.calls.length === 1, 'did not call the application');
    const failing = await trial.send({ target: '/fail' });
    setTimeout(gate.open, 100);
    await failing.nextResponse();
    return trial.same('the request beside it', (await waiting.response()).body, 'undisturbed');
  });

// ---- The helpers of the rows above

function answers500(id: string, rule: string, app: WSGIApplication, hint: string = ANSWER): void {
  check(id, ERROR_HANDLING, rule, hint, async (trial) => {
    await trial.serve(app);
    const client = await trial.send();
    const response = await client.response();
    if (response.code !== 500) return `answered ${response.code} ${response.reason}`;
    return survives(trial);
  });
}

async function survives(trial: Trial): Promise<CheckVerdict> {
  const { body } = await trial.exchange(respond(['still there']));
  return trial.same('the next request', body, 'still there');
}

async function cuts(trial: Trial, headers: Array<[string, string]>): Promise<CheckVerdict> {
  await trial.serve(respondWith(async function* () {
    yield bytes('sent');
    throw new Error('thrown after the first chunk');
  }, headers));
  return isCut(trial);
}

async function isCut(trial: Trial): Promise<CheckVerdict> {
  const client = await trial.send();
  const response = await client.nextResponse();
  if (response?.framing === 'close') {
    throw new NotApplicable('the end of its responses is the end of the connection');
  }
  if (response?.whole === true) {
    return `ended the response as if it were complete: ${show(response.body)}`;
  }
  await client.ends('left the connection open after a response that broke off');
  return survives(trial);
}

interface Writable {
  write: (...args: never[]) => unknown;
}

/** Looks for a text in what is written to some streams. */
class Recording {
  isFound = false;
  private readonly text: string;
  private readonly onFound: () => void;
  private readonly restores: Array<() => void> = [];

  constructor(text: string, onFound: () => void) {
    this.text = text;
    this.onFound = onFound;
  }

  /** Replaces write() of `stream` by one that looks first. */
  watch(stream: Writable | ErrorStream): void {
    const own = Object.getOwnPropertyDescriptor(stream, 'write');
    const write = stream.write as (...args: unknown[]) => unknown;
    const replaced = (...args: unknown[]): unknown => {
      if (String(args[0]).includes(this.text)) {
        this.isFound = true;
        this.onFound();
      }
      return Reflect.apply(write, stream, args);
    };
    const attributes = { value: replaced, configurable: true, writable: true };
    try {
      Object.defineProperty(stream, 'write', attributes);
    } catch {
      // A frozen stream: text that is written to it shows elsewhere, or not at all.
      return;
    }
    this.restores.push(() => {
      if (own === undefined) Reflect.deleteProperty(stream, 'write');
      else Object.defineProperty(stream, 'write', own);
    });
  }

  restore(): void {
    for (const restore of this.restores.reverse()) restore();
  }
}
