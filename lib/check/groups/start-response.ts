// startResponse: what it returns, when the head is sent, and what an error may still
// change.

import type { StartResponse, Write, WSGIEnvironment } from '../../types.ts';
import {
  ERROR_HANDLING, NotApplicable, START_RESPONSE, type CheckVerdict, checksOf,
} from '../definition.ts';
import { announcesClose, valuesOf } from '../response.ts';
import {
  Gate, type Trial, bytes, header, messageOf, respond, respondWith, show,
} from '../trial.ts';

const check = checksOf('startResponse');

const PLAIN: Array<[string, string]> = [['Content-Type', 'text/plain']];

check('start-response-returns-write', START_RESPONSE,
  'startResponse returns write, a function; not a promise of one.',
  'Return the function at once.',
  async (trial) => {
    let returned: unknown;
    await trial.exchange((_environ, startResponse) => {
      returned = startResponse('200 OK', PLAIN);
      return [bytes('ok')];
    });
    if (typeof returned === 'function') return undefined;
    return `returned ${show(returned)} from startResponse`;
  });

check('start-response-status', START_RESPONSE,
  'The status line has the code and the reason that the application gave.',
  'Cut the status after its third digit and the space, and send both parts.',
  async (trial) => {
    const { code, reason } = await trial.exchange(respond(['ok'], PLAIN, '299 Fairly OK'));
    return trial.same('the status "299 Fairly OK"', `${code} ${reason}`, '299 Fairly OK');
  });

check('start-response-headers', START_RESPONSE,
  'Every header of the application is sent, its value unchanged.',
  'Go through the whole list.',
  async (trial) => {
    const headers: Array<[string, string]> = [
      ...PLAIN, ['X-One', '1'], ['X-Empty', ''], ['X-Latin', 'caf\xe9'], ['x-lower', 'a, b;c="d"'],
    ];
    const response = await trial.exchange(respond(['ok'], headers));
    return trial.same('Content-Type, X-One, X-Empty, X-Latin and x-lower',
      headers.map(([name]) => header(response, name)), headers.map(([, value]) => value));
  });

check('start-response-header-twice', START_RESPONSE,
  'A header that the list has twice is sent twice, in order.',
  'Send an array of pairs; an object keeps only the last value of a name.',
  async (trial) => {
    const cookies = ['a=1; Path=/', 'b=2; Expires=Sat, 21 Nov 2026 12:00:00 GMT'];
    const headers = cookies.map((cookie): [string, string] => ['Set-Cookie', cookie]);
    const response = await trial.exchange(respond(['ok'], [...PLAIN, ...headers]));
    return trial.same('the two Set-Cookie headers', valuesOf(response, 'Set-Cookie'), cookies);
  });

check('start-response-date', 'RFC 9110 §6.6.1',
  'A response has a Date.',
  'Add Date: new Date().toUTCString() unless the application has given one.',
  async (trial) => {
    const [date, ...more] = valuesOf(await trial.exchange(respond(['ok'])), 'Date');
    if (date === undefined) return 'sent no Date';
    if (more.length > 0) return 'sent Date twice';
    const isFixdate = /^\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(date);
    return isFixdate ? undefined : `sent the Date ${show(date)}`;
  });

check('start-response-own-date', START_RESPONSE,
  'A header that the application gives is not added again, in whatever case it is written.',
  'Compare names in lower case before Date, Server or Content-Length is added.',
  async (trial) => {
    const date = 'Sat, 21 Nov 2026 12:00:00 GMT';
    const headers: Array<[string, string]> = [
      ...PLAIN, ['date', date], ['SERVER', 'kit'], ['content-length', '2'],
    ];
    const response = await trial.exchange(respond(['ok'], headers));
    return trial.same('Date, Server and Content-Length as the application gave them',
      ['Date', 'Server', 'Content-Length'].map((name) => header(response, name)),
      [date, 'kit', '2']);
  });

// ---- When the head is sent

check('start-response-lazy', START_RESPONSE,
  'startResponse sends nothing: the head waits for the first chunk that is not empty.',
  'Keep status and headers, and send them with the first chunk.',
  (trial) => staysSilent(trial, async function* (_environ, startResponse, wait) {
    startResponse('200 OK', PLAIN);
    await wait();
    yield bytes('late');
  }));

check('start-response-lazy-empty-chunk', START_RESPONSE,
  'An empty chunk does not send the head.',
  'Send the head with the first chunk whose length is not 0.',
  (trial) => staysSilent(trial, async function* (_environ, startResponse, wait) {
    startResponse('200 OK', PLAIN);
    yield bytes('');
    await wait();
    yield bytes('late');
  }));

check('start-response-in-generator', 'PEP 3333, "The Application/Framework Side"',
  'startResponse may be called as late as in the first step of the iteration.',
  'Look at the status when the first chunk comes, not when the application returns.',
  async (trial) => {
    const response = await trial.exchange(function* (_environ, startResponse) {
      startResponse('201 Created', PLAIN);
      yield bytes('from a generator');
    });
    return trial.same('the status and body of a generator', [String(response.code), response.body],
      ['201', 'from a generator']);
  });

check('start-response-after-await', 'PEP 3333, "The Application/Framework Side"',
  'startResponse may be called after the application has waited for something.',
  'Await the promise that the application returns, then iterate.',
  async (trial) => {
    const response = await trial.exchange(async (_environ, startResponse) => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      startResponse('202 Accepted', PLAIN);
      return [bytes('after a while')];
    });
    return trial.same('the status and body of an async function',
      [String(response.code), response.body], ['202', 'after a while']);
  });

// ---- Order and repetition

check('start-response-never', START_RESPONSE,
  'An application that never calls startResponse gets a 500 answer.',
  'When the body has ended and no status is there, treat it as an error of the application.',
  async (trial) => {
    const { code } = await trial.exchange(() => []);
    return trial.same('the status without startResponse', code, 500);
  });

check('start-response-chunk-first', 'PEP 3333, "The Application/Framework Side"',
  'A chunk before startResponse is an error of the application: the answer is a 500.',
  'Throw if a chunk comes and no status is there.',
  async (trial) => {
    const { code } = await trial.exchange(() => [bytes('too early')]);
    return trial.same('the status of a body without startResponse', code, 500);
  });

check('start-response-second-call', START_RESPONSE,
  'A second call of startResponse without an error throws.',
  'Remember that it was called, and throw unless a third argument is given.',
  async (trial) => {
    let threw = false;
    await trial.exchange((_environ, startResponse) => {
      startResponse('200 OK', PLAIN);
      try {
        startResponse('200 OK', PLAIN);
      } catch {
        threw = true;
      }
      return [bytes('ok')];
    });
    return threw ? undefined : 'let startResponse be called a second time without an error';
  });

check('start-response-no-error', START_RESPONSE,
  'undefined and null as third argument are not an error.',
  'Test the third argument against undefined and null.',
  async (trial) => {
    const results: string[] = [];
    for (const nothing of [undefined, null]) {
      const response = await trial.exchange((_environ, startResponse) => {
        startResponse('200 OK', PLAIN, nothing);
        return [bytes('ok')];
      });
      results.push(`${response.code} ${response.body}`);
    }
    return trial.same('the responses', results, ['200 ok', '200 ok']);
  });

check('start-response-replaces', ERROR_HANDLING,
  'With an error, before the head is sent, startResponse replaces status and headers.',
  'Forget the first list when the third argument is given.',
  async (trial) => {
    const response = await trial.exchange((_environ, startResponse) => {
      startResponse('200 OK', [...PLAIN, ['X-First', '1']]);
      startResponse('503 Sorry', [...PLAIN, ['X-Second', '2']], new Error('the reason'));
      return [bytes('sorry')];
    });
    return trial.same('the status, X-First, X-Second and body',
      [String(response.code), header(response, 'X-First'), header(response, 'X-Second'),
        response.body],
      ['503', undefined, '2', 'sorry']);
  });

check('start-response-throws-error', ERROR_HANDLING,
  'With an error, after the head is sent, startResponse throws that very error.',
  'Begin startResponse with: if (headersSent) throw error, if an error was given.',
  async (trial) => {
    const error = new Error('thrown by the application');
    let caught: unknown;
    await trial.serve(async function* (_environ: WSGIEnvironment, startResponse: StartResponse) {
      startResponse('200 OK', PLAIN);
      yield bytes('sent');
      try {
        startResponse('500 Oops', PLAIN, error);
      } catch (thrown) {
        caught = thrown;
        throw thrown;
      }
    });
    const client = await trial.send();
    await client.nextResponse();
    if (caught === undefined) return 'accepted a new status after the head was sent';
    return caught === error ? undefined : `threw another error (${messageOf(caught)})`;
  });

check('start-response-error-cuts', ERROR_HANDLING,
  'When that error is thrown, the response is cut, not ended as if it were complete.',
  'Destroy the connection when the application throws after the head.',
  async (trial) => {
    await trial.serve(async function* (_environ: WSGIEnvironment, startResponse: StartResponse) {
      startResponse('200 OK', [...PLAIN, ['Content-Length', '100']]);
      yield bytes('sent');
      startResponse('500 Oops', PLAIN, new Error('too late'));
    });
    const client = await trial.send();
    const response = await client.nextResponse();
    if (response?.whole === true) return 'sent a complete response';
    await client.ends('left the connection open');
    return undefined;
  });

check('start-response-write-kept', START_RESPONSE,
  'The write that startResponse returned works after other calls of the application.',
  'Bind write to the request: it is called without "this".',
  async (trial) => {
    let write: Write | undefined;
    const response = await trial.exchange(async (_environ, startResponse) => {
      write = startResponse('200 OK', PLAIN);
      await new Promise((resolve) => setTimeout(resolve, 5));
      await write(bytes('written '));
      return [bytes('returned')];
    });
    return trial.same('the body', response.body, 'written returned');
  });

check('start-response-head-once', START_RESPONSE,
  'The head is sent once, before the body.',
  'Remember that the head was sent.',
  async (trial) => {
    const app = respondWith(() => [bytes('one '), bytes('two '), bytes('three')]);
    await trial.serve(app);
    const client = await trial.send();
    const response = await client.response();
    await trial.quiet();
    const heads = client.received.split('HTTP/1.').length - 1;
    if (heads !== 1) return `sent ${heads} heads for one response`;
    if (response.framing !== 'close' && client.pending !== '' && !announcesClose(response)) {
      return `sent ${show(client.pending)} after its response`;
    }
    return trial.same('the body', response.body, 'one two three');
  });

// ---- The helpers of the rows above

type Waiting = (
  environ: WSGIEnvironment, startResponse: StartResponse, wait: () => Promise<void>,
) => AsyncGenerator<Uint8Array>;

async function staysSilent(trial: Trial, app: Waiting): Promise<CheckVerdict> {
  const gate = new Gate();
  let isWaiting = false;
  const wait = (): Promise<void> => {
    isWaiting = true;
    trial.patience.wake();
    return gate.opened;
  };
  await trial.serve((environ, startResponse) => app(environ, startResponse, wait));
  const client = await trial.send();
  await trial.until(() => isWaiting || client.ended, 'did not ask the body for its first chunk');
  if (!isWaiting) throw new NotApplicable('the server does not run an async generator');
  await trial.quiet();
  const early = client.received;
  gate.open();
  const { body } = await client.response();
  if (early !== '') return `sent ${show(early)} before the first chunk that is not empty`;
  return trial.same('the body', body, 'late');
}
