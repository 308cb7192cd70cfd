// Where a response ends, and what the connection is good for afterwards.

import type { Client } from '../client.ts';
import { CONTENT_LENGTH, NotApplicable, type CheckVerdict, checksOf } from '../definition.ts';
import { type Response, announcesClose } from '../response.ts';
import { type Trial, bytes, header, respond, respondWith, show } from '../trial.ts';

const check = checksOf('framing');

const PLAIN: Array<[string, string]> = [['Content-Type', 'text/plain']];

const withLength = (length: number): Array<[string, string]> =>
  [...PLAIN, ['Content-Length', String(length)]];

// ---- The length

check('framing-length', CONTENT_LENGTH,
  'A Content-Length of the application\'s is sent as it is, once, and without another framing.',
  'Pass it on; use chunked coding only where there is none.',
  async (trial) => {
    const response = await trial.exchange(respond(['1234', '5678'], withLength(8)));
    return trial.same('Content-Length, Transfer-Encoding and body',
      [header(response, 'Content-Length'), header(response, 'Transfer-Encoding'), response.body],
      ['8', undefined, '12345678']);
  });

check('framing-unknown-length', CONTENT_LENGTH,
  'The end of a body of unknown length is marked: by chunked coding or by the connection\'s end.',
  'To HTTP/1.1 use chunked coding, or send "Connection: close" and close.',
  async (trial) => {
    const response = await trial.exchange(respondWith(function* () {
      yield bytes('one, ');
      yield bytes('two');
    }));
    if (response.framing === 'close' && !announcesClose(response)) {
      return 'ended an HTTP/1.1 response by closing the connection, and did not announce it';
    }
    return trial.same('the body', response.body, 'one, two');
  });

check('framing-empty', CONTENT_LENGTH,
  'The end of an empty body is marked, too.',
  'Send Content-Length: 0, or an empty chunked body, or close the connection.',
  async (trial) => {
    const response = await trial.exchange(respond([]));
    return trial.same('the status and body', [String(response.code), response.body], ['200', '']);
  });

check('framing-long-body', CONTENT_LENGTH,
  'No byte beyond the Content-Length is sent.',
  'Count what is sent, and cut the last chunk.',
  (trial) => keepsLength(trial, respond(['12345', '67890'], withLength(8)), '12345678'));

check('framing-long-chunk', CONTENT_LENGTH,
  'Of one chunk that is too long only the first bytes are sent.',
  'Count what is sent, and cut the last chunk.',
  (trial) => keepsLength(trial, respond(['1234567890'], withLength(4)), '1234'));

check('framing-long-write', CONTENT_LENGTH,
  'Bytes that write() is given beyond the Content-Length are not sent.',
  'Let write() throw, or ignore the rest.',
  (trial) => keepsLength(trial, async (_environ, startResponse) => {
    const write = startResponse('200 OK', withLength(4));
    try {
      await write(bytes('1234'));
      await write(bytes('5678'));
    } catch {
      // It may throw.
    }
    return [];
  }, '1234'));

check('framing-long-stops', CONTENT_LENGTH,
  'When Content-Length bytes are sent, the body is not iterated any further.',
  'Leave the loop when enough is sent.',
  async (trial) => {
    const steps = function* (): Generator<() => Promise<Uint8Array>> {
      for (;;) {
        yield async () => {
          await new Promise((resolve) => setTimeout(resolve, 2));
          return bytes('12345');
        };
      }
    };
    const { body, use } = trial.body(steps(), { async: true });
    await trial.serve(respondWith(() => body, withLength(10)));
    const client = await trial.send();
    const response = await client.nextResponse();
    await trial.until(() => use.closed > 0 || use.returned > 0,
      'went on iterating over a body that had given more than its Content-Length');
    return trial.same('the body', response?.body, '1234512345');
  });

check('framing-zero-length', CONTENT_LENGTH,
  'A Content-Length of 0 holds for a body with chunks, too.',
  'Test for undefined, not for truth, whether there is a length.',
  (trial) => keepsLength(trial, respond(['not sent'], withLength(0)), ''));

check('framing-short-body', CONTENT_LENGTH,
  'A body shorter than its Content-Length ends with the connection, so that the client notices.',
  'Destroy the connection, or the client waits for the rest, or takes the next response for it.',
  async (trial) => {
    await trial.serve(respond(['1234'], withLength(10)));
    const client = await trial.send();
    client.send(trial.format({ target: '/next' }));
    const response = await client.nextResponse();
    if (response?.code !== 200) return undefined;
    return response.whole
      ? `filled a body that was too short: ${show(response.body)}`
      : undefined;
  });

// ---- Responses without a body

bodyless('framing-head', 'RFC 9110 §9.3.2', 'A response to HEAD has no body.', 'HEAD', '200 OK',
  'Go through the body as for GET, or close it, but send none of it.');

bodyless('framing-no-content', 'RFC 9110 §15.3.5', 'A 204 response has no body.', 'GET',
  '204 No Content', 'Send the head alone for 204, even if the application returns chunks.');

bodyless('framing-not-modified', 'RFC 9110 §15.4.5', 'A 304 response has no body.', 'GET',
  '304 Not Modified', 'Send the head alone for 304, even if the application returns chunks.');

check('framing-reset-content', 'RFC 9110 §15.3.6',
  'A 205 response has no content.',
  'Send 205 with Content-Length: 0.',
  async (trial) => {
    await trial.serve(respond([], [], '205 Reset Content'));
    const client = await trial.send();
    const response = await client.response();
    return trial.same('the body of a 205', response.body, '');
  });

check('framing-no-content-length', 'RFC 9110 §8.6',
  'A 204 response has neither Content-Length nor Transfer-Encoding.',
  'Add no length and no chunked coding to a 204.',
  async (trial) => {
    const response = await trial.exchange(respond([], [], '204 No Content'));
    return trial.same('Content-Length and Transfer-Encoding of a 204',
      [header(response, 'Content-Length'), header(response, 'Transfer-Encoding')],
      [undefined, undefined]);
  });

check('framing-head-length', 'RFC 9110 §9.3.2',
  'A response to HEAD keeps the Content-Length of the application.',
  'Send the headers as for GET.',
  async (trial) => {
    const app = respond(['1234'], withLength(4));
    const response = await trial.exchange(app, { method: 'HEAD' });
    return trial.same('the Content-Length of a HEAD', header(response, 'Content-Length'), '4');
  });

check('framing-head-made-up-length', 'RFC 9110 §8.6',
  'A response to HEAD has no length that a GET would not have.',
  'Do not send Content-Length: 0 because nothing of the body is sent.',
  async (trial) => {
    const app = respondWith((environ) =>
      environ.REQUEST_METHOD === 'HEAD' ? [] : [bytes('1234')]);
    const length = header(await trial.exchange(app, { method: 'HEAD' }), 'Content-Length');
    return length === undefined || length === '4'
      ? undefined
      : `gave a HEAD the Content-Length ${length}, where a GET has 4 bytes`;
  });

check('framing-head-then-next', 'RFC 9112 §6.3',
  'After a response to HEAD the connection is ready for the next request.',
  'Send nothing after the head of such a response, not even the end of a chunked body.',
  async (trial) => {
    await trial.serve(respondWith(({ PATH_INFO }) => (function* () {
      yield bytes('body of ');
      yield bytes(PATH_INFO);
    })()));
    const client = await trial.send({ method: 'HEAD', target: '/head' });
    const next = await nextOn(trial, client, await client.response('HEAD'));
    return trial.same('the next response', next.body, 'body of /next');
  });

// ---- HTTP/1.0

check('framing-1-0', 'RFC 9112 §2.3',
  'An HTTP/1.0 client is answered without chunked coding.',
  'Use chunked coding only if the request is HTTP/1.1.',
  async (trial) => {
    const app = respondWith(function* () {
      yield bytes('one, ');
      yield bytes('two');
    });
    const response = await trial.exchange(app, { version: 'HTTP/1.0' });
    return trial.same('Transfer-Encoding and body to an HTTP/1.0 client',
      [header(response, 'Transfer-Encoding'), response.body], [undefined, 'one, two']);
  });

check('framing-1-0-closes', 'RFC 9112 §9.3',
  'The connection of an HTTP/1.0 client that does not ask for keep-alive is closed.',
  'Close after the response if the request is HTTP/1.0.',
  async (trial) => {
    await trial.serve(respond(['ok'], withLength(2)));
    const client = await trial.send({ version: 'HTTP/1.0' });
    await client.response();
    await client.ends('left the connection of an HTTP/1.0 client open');
    return undefined;
  });

check('framing-1-0-no-host', 'RFC 9112 §3.2',
  'An HTTP/1.0 request needs no Host.',
  'Demand Host of HTTP/1.1 requests alone.',
  async (trial) => {
    const { code } = await trial.exchange(respond(['ok']), { version: 'HTTP/1.0', host: false });
    return trial.same('the status of an HTTP/1.0 request without Host', code, 200);
  });

// ---- One connection, several requests

check('framing-close-announced', 'RFC 9112 §9.3',
  'An HTTP/1.1 server that closes the connection after a response announces it.',
  'Send "Connection: close" with every response after which the connection is closed.',
  async (trial) => {
    await trial.serve(respond(['ok'], withLength(2)));
    const client = await trial.send();
    const response = await client.response();
    await trial.quiet();
    return client.ended && !announcesClose(response)
      ? 'closed the connection after an HTTP/1.1 response without "Connection: close"'
      : undefined;
  });

check('framing-keep-alive', 'RFC 9112 §9.3',
  'Two requests on one connection are both answered.',
  'Keep the connection open, or announce that it is closed.',
  async (trial) => {
    await trial.serve(respondWith(({ PATH_INFO }) => [bytes(PATH_INFO)]));
    const client = await trial.send({ target: '/first' });
    const first = await client.response();
    const second = await nextOn(trial, client, first);
    return trial.same('the two bodies', [first.body, second.body], ['/first', '/next']);
  });

check('framing-keep-alive-chunked', 'RFC 9112 §9.3',
  'After a response of unknown length the connection is ready for the next request.',
  'End a chunked body with a chunk of size 0 and an empty line, once.',
  async (trial) => {
    await trial.serve(respondWith(async function* ({ PATH_INFO }: { PATH_INFO: string }) {
      yield bytes('body of ');
      yield bytes(PATH_INFO);
    }));
    const client = await trial.send({ target: '/first' });
    const first = await client.response();
    const second = await nextOn(trial, client, first);
    return trial.same('the two bodies', [first.body, second.body],
      ['body of /first', 'body of /next']);
  });

check('framing-keep-alive-post', 'RFC 9112 §9.3',
  'After a body that was read the connection is ready for the next request.',
  'Stop reading where the body ends.',
  async (trial) => {
    await trial.serve(respondWith(async (environ) => [await environ['wsgi.input'].read(),
      bytes(environ.PATH_INFO)]));
    const client = await trial.send({ method: 'POST', target: '/first', body: 'posted ' });
    const first = await client.response();
    const second = await nextOn(trial, client, first);
    return trial.same('the two bodies', [first.body, second.body], ['posted /first', '/next']);
  });

check('framing-connection-close', 'RFC 9112 §9.6',
  'A client that sends "Connection: close" gets the connection closed after the response.',
  'End the connection after the response to such a request.',
  async (trial) => {
    await trial.serve(respond(['ok'], withLength(2)));
    const client = await trial.send({ headers: ['Connection: close'] });
    await client.response();
    await client.ends('left the connection open that the client had asked to close');
    return undefined;
  });

check('framing-pipelined', 'RFC 9112 §9.3.2',
  'Two requests in one packet are answered in their order, the slow one first.',
  'Begin the second response when the first has ended.',
  async (trial) => {
    await trial.serve(respondWith(async ({ PATH_INFO }) => {
      if (PATH_INFO === '/slow') await new Promise((resolve) => setTimeout(resolve, 30));
      return [bytes(PATH_INFO)];
    }));
    const client = await trial.connect();
    client.send(trial.format({ target: '/slow' }) + trial.format({ target: '/fast' }));
    const first = await client.response();
    if (first.body !== '/slow') return trial.same('the first response', first.body, '/slow');
    if (announcesClose(first)) throw new NotApplicable('the server closes after each response');
    return trial.same('the second response', (await client.response()).body, '/fast');
  });

check('framing-error-then-next', 'RFC 9112 §9.3',
  'After a 500 the connection is ready for the next request, or closed.',
  'Frame the answer to an error like any other.',
  async (trial) => {
    await trial.serve((environ, startResponse) => {
      if (environ.PATH_INFO === '/fail') throw new Error('thrown on purpose');
      return respond(['recovered'])(environ, startResponse);
    });
    const client = await trial.send({ target: '/fail' });
    const next = await nextOn(trial, client, await client.response());
    return trial.same('the next response', next.body, 'recovered');
  });

// ---- The helpers of the rows above

function bodyless(
  id: string, source: string, rule: string, method: string, status: `${number} ${string}`,
  hint: string,
): void {
  check(id, source, rule, hint, async (trial) => {
    const headers = status.startsWith('200') ? PLAIN : [];
    await trial.serve(respond(['a body', ' of two chunks'], headers, status));
    const client = await trial.send({ method });
    const response = await client.response(method);
    await trial.quiet();
    const shown = method === 'HEAD' ? method : status;
    return client.pending === ''
      ? trial.same(`the status of ${shown}`, response.code, Number(status.slice(0, 3)))
      : `sent ${show(client.pending)} after the head of its response to ${shown}`;
  });
}

async function keepsLength(
  trial: Trial, app: Parameters<Trial['serve']>[0], expected: string,
): Promise<CheckVerdict> {
  await trial.serve(app);
  const client = await trial.send();
  const response = await client.nextResponse();
  await trial.quiet();
  if (response === undefined) return 'closed the connection without a response';
  // An error before anything was sent may become a 500.
  if (response.code >= 500) return undefined;
  if (client.pending !== '') return `sent ${show(client.pending)} beyond the Content-Length`;
  if (response.framing !== 'length') return 'removed the Content-Length';
  return trial.same('the body', response.body, expected);
}

async function nextOn(trial: Trial, client: Client, first: Response): Promise<Response> {
  await client.staysOpen(first);
  client.send(trial.format({ target: '/next' }));
  return client.response();
}
