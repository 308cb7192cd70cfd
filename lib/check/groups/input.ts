// The body of the request, as the application reads it from wsgi.input.

import type { InputStream, WSGIEnvironment } from '../../types.ts';
import type { Client } from '../client.ts';
import {
  type CheckVerdict, NotApplicable, OTHER_FEATURES, STREAMS, checksOf,
} from '../definition.ts';
import { Patience } from '../patience.ts';
import { Refusal, type Trial, bytes, respondWith, text } from '../trial.ts';

const check = checksOf('input');

const LINES = 'first\n\nthird\r\nlast';

reads('input-read', STREAMS,
  'read() gives the whole body.',
  'Collect the body to its end, and return it as one Uint8Array.',
  'twelve bytes', 'read()', async (input) => [await input.read()], ['twelve bytes']);

reads('input-read-size', STREAMS,
  'read(size) gives exactly as many bytes as asked for, as long as there are as many.',
  'Keep excess bytes for the next call.',
  'abcdefghij', 'read(4), three times',
  async (input) => [await input.read(4), await input.read(4), await input.read(4)],
  ['abcd', 'efgh', 'ij']);

reads('input-read-zero', STREAMS,
  'read(0) gives no bytes, and takes none.',
  'Test for undefined, not for truth, whether a size was given.',
  'abc', 'read(0) and read()',
  async (input) => [await input.read(0), await input.read()], ['', 'abc']);

reads('input-end', STREAMS,
  'At the end of the body every read gives an empty result.',
  'Remember that the end was reached; do not wait for more.',
  'abc', 'read(99), read(), read(5), readline() and readlines()',
  async (input) => [
    await input.read(99), await input.read(), await input.read(5), await input.readline(),
    ...(await input.readlines()),
  ], ['abc', '', '', '']);

check('input-no-body', STREAMS,
  'The input of a request without a body is at its end at once.',
  'Without Content-Length and Transfer-Encoding there is no body: end the input at once.',
  async (trial) => {
    const read = await trial.inside(async (input) => [text(await input.read()),
      text(await input.readline())]);
    return trial.same('read() and readline() of a GET', read, ['', '']);
  });

reads('input-readline', STREAMS,
  'readline() gives one line with its line feed, and finally the rest without one.',
  'Cut after each line feed; a carriage return is an ordinary byte.',
  LINES, 'readline(), five times', async (input) => {
    const lines = [];
    for (let count = 0; count < 5; count += 1) lines.push(await input.readline());
    return lines;
  }, ['first\n', '\n', 'third\r\n', 'last', '']);

reads('input-readline-size', STREAMS,
  'readline(size) gives at most that many bytes of a line.',
  'End at the line feed or at the size, whichever comes first.',
  'abcdef\ngh\n', 'readline(4) and readline(), twice each',
  async (input) => [
    await input.readline(4), await input.readline(),
    await input.readline(9), await input.readline(),
  ], ['abcd', 'ef\n', 'gh\n', '']);

reads('input-readlines', STREAMS,
  'readlines() gives all lines that are left.',
  'Call readline() until it gives nothing.',
  LINES, 'readlines()', (input) => input.readlines(), ['first\n', '\n', 'third\r\n', 'last']);

check('input-readlines-hint', STREAMS,
  'readlines(hint) gives whole lines, and may stop once they have so many bytes.',
  'Stop after the line with which the hint is reached, or ignore the hint.',
  async (trial) => {
    const request = { method: 'POST', body: LINES };
    const read = await trial.inside(async (input) => [
      ...(await input.readlines(6)), ...(await input.readlines()),
    ].map(text), request);
    return trial.same('readlines(6) and readlines()', read, ['first\n', '\n', 'third\r\n', 'last']);
  });

reads('input-iterate', STREAMS,
  'for await … of wsgi.input goes through the lines.',
  'Give the object [Symbol.asyncIterator](), with readline() behind it.',
  LINES, 'for await', async (input) => {
    const lines = [];
    for await (const line of input) lines.push(line);
    return lines;
  }, ['first\n', '\n', 'third\r\n', 'last']);

reads('input-mixed', STREAMS,
  'read, readline and readlines all go on where the call before them ended.',
  'Let them share one buffer.',
  'abc\ndef\nghi\njkl', 'read(2), readline(), read(5), readlines()',
  async (input) => [
    await input.read(2), await input.readline(), await input.read(5), ...(await input.readlines()),
  ], ['ab', 'c\n', 'def\ng', 'hi\n', 'jkl']);

check('input-bytes', 'PEP 3333, "A Note On String Types"',
  'Reads give promises of Uint8Array, a Buffer among them.',
  'Do not set an encoding on the source; return the bytes.',
  async (trial) => {
    const problem = await trial.inside(async (input) => {
      const reading: unknown = input.read(3);
      if (!(reading instanceof Promise)) return `returned ${text(reading)} from read(), no promise`;
      const values = [await reading, await input.readline(), ...(await input.readlines())];
      const wrong = values.find((value) => !(value instanceof Uint8Array));
      return wrong === undefined ? undefined : `gave ${text(wrong)} where bytes were read`;
    }, { method: 'POST', body: 'abc\ndef\nghi' });
    return problem;
  });

check('input-binary', STREAMS,
  'Every byte of a body arrives unchanged.',
  'Keep the body in bytes: never as a string of UTF-8.',
  async (trial) => {
    const body = String.fromCharCode(...Array(256).keys());
    const read = await trial.inside((input) => input.read(), { method: 'POST', body });
    return text(read) === body ? undefined : 'changed bytes of a body that holds all 256 of them';
  });

check('input-large', STREAMS,
  'A large body arrives complete, and in order.',
  'Go on reading where the last packet ended.',
  async (trial) => {
    const body = Array.from({ length: 60_000 }, (_, index) => `line ${index}\n`).join('');
    const read = await trial.inside(async (input) => {
      const parts = [];
      for (let part = await input.read(5000); part.length > 0; part = await input.read(5000)) {
        parts.push(text(part));
      }
      return parts;
    }, { method: 'POST', body });
    if (read.slice(0, -1).some((part) => part.length !== 5000)) {
      return 'gave fewer than 5000 bytes for read(5000) in the middle of a body';
    }
    return read.join('') === body ? undefined : `changed a body of ${body.length} bytes`;
  });

check('input-read-in-pieces', STREAMS,
  'read(size) waits until so many bytes have arrived.',
  'Go on waiting while fewer bytes than asked for are there and the body has not ended.',
  (trial) => inPieces(trial, ['abcd', 'efgh', 'ij'], (input) => input.read(8), 'read(8)',
    'abcdefgh'));

check('input-readline-in-pieces', STREAMS,
  'readline() waits for the whole line.',
  'Go on waiting while there is no line feed and the body has not ended.',
  (trial) => inPieces(trial, ['one ', 'line', '\ntwo\n'], (input) => input.readline(), 'readline()',
    'one line\n'));

check('input-stops-at-length', STREAMS,
  'The input ends at Content-Length, whatever follows on the connection.',
  'Count the bytes, and keep what follows for the next request.',
  async (trial) => {
    const first = { method: 'POST', body: 'hello' };
    const read = await trial.inside((input) => input.read(), first, (client) => {
      client.send(trial.format(first) + trial.format({ target: '/next' }));
    });
    return trial.same('read() of a body of 5 bytes', text(read), 'hello');
  });

check('input-while-answering', STREAMS,
  'The application may read on while it answers.',
  'Let reading and writing go on side by side.',
  async (trial) => {
    const app = respondWith(async function* (environ: WSGIEnvironment) {
      const input = environ['wsgi.input'];
      for (let part = await input.read(4); part.length > 0; part = await input.read(4)) yield part;
    });
    const response = await trial.exchange(app, { method: 'POST', body: 'aaaabbbbcc' });
    return trial.same('the body of an application that echoes its input', response.body,
      'aaaabbbbcc');
  });

// ---- Bodies that an application leaves unread

check('input-unread', 'RFC 9112 §9.3',
  'A body that the application does not read is not taken for the next request.',
  'Read on to the end of the body, or close the connection, before the next request.',
  (trial) => leaveUnread(trial, '', async () => {}));

check('input-partly-read', 'RFC 9112 §9.3',
  'The rest that the application leaves of a body is not taken for the next request.',
  'Read on to the end of the body, or close the connection, before the next request.',
  (trial) => leaveUnread(trial, 'read\n', (input) => input.read(5)));

check('input-unread-large', 'RFC 9112 §9.6',
  'A client that sends a large body gets the answer of an application that does not read it.',
  'Take the rest of the body off the connection before closing it.',
  async (trial) => {
    const { body } = await trial.exchange(respondWith(() => [bytes('no, thanks')]), {
      method: 'POST', body: 'x'.repeat(300_000),
    });
    return trial.same('the response to a POST of 300000 bytes', body, 'no, thanks');
  });

// ---- Chunked bodies, and 100 Continue

check('input-chunked', OTHER_FEATURES,
  'The body of a chunked request arrives decoded.',
  'Decode the chunked coding, or answer 411 or 501.',
  (trial) => chunked(trial, '5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n', 'hello world'));

check('input-chunked-extras', 'RFC 9112 §7.1',
  'Chunk extensions, upper-case sizes, leading zeros and trailers do not belong to the body.',
  'Ignore what follows ";" in a chunk\'s first line, and what follows the last chunk.',
  (trial) => chunked(trial,
    '00A;name="value"\r\n0123456789\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n', '0123456789!'));

check('input-chunked-lines', OTHER_FEATURES,
  'Lines of a chunked body need not end where chunks do.',
  'Decode the coding first, then look for lines.',
  (trial) => chunked(trial, '3\r\none\r\n5\r\n\ntwo\n\r\n0\r\n\r\n', 'one\n', (input) =>
    input.readline()));

check('input-chunked-length', 'RFC 9112 §6.3',
  'A chunked request has no CONTENT_LENGTH, or that of the decoded body.',
  'Leave CONTENT_LENGTH out where Transfer-Encoding is.',
  async (trial) => {
    const request = { method: 'POST', headers: ['Transfer-Encoding: chunked'] };
    const length = await insideChunked(
      trial,
      async (_input, environ) => environ.CONTENT_LENGTH ?? '',
      (client) => client.send(`${trial.format(request)}5\r\nhello\r\n0\r\n\r\n`),
    );
    return ['', '5'].includes(length) ? undefined : `gave ${text(length)} for CONTENT_LENGTH`;
  });

check('input-continue', 'PEP 3333, "HTTP 1.1 Expect/Continue"',
  'A client that expects 100 Continue gets it before it sends its body.',
  'Send "HTTP/1.1 100 Continue" before the call of the application, or at the first read.',
  async (trial) => {
    const request = {
      method: 'POST', headers: ['Expect: 100-continue', 'Content-Length: 5'],
    };
    const reading = trial.inside((input) => input.read(), request);
    // It fails by itself where no 100 comes; that is reported here in plainer words.
    reading.catch(() => {});
    await trial.until(() => trial.clients.length > 0, 'did not accept a connection');
    const [client] = trial.clients as [Client];
    try {
      // Shorter than the read itself may wait.
      await new Patience(trial.patience.limit / 3).until(
        () => /^HTTP\/1\.1 100 .*\r\n\r\n/.test(client.received) || client.ended,
        () => 'did not send 100 Continue',
      );
    } catch (error) {
      client.send('hello');
      await reading;
      await trial.until(() => client.received.includes('\r\n\r\n'), 'did not answer');
      if (!client.received.startsWith('HTTP/1.0')) throw error;
      throw new NotApplicable('the server speaks HTTP/1.0');
    }
    client.send('hello');
    return trial.same('read() after 100 Continue', text(await reading), 'hello');
  });

// ---- The helpers of the rows above

/** A check of what some calls give for one body. */
function reads(
  id: string, source: string, rule: string, hint: string, body: string, calls: string,
  read: (input: InputStream) => Promise<Uint8Array[]>, expected: string[],
): void {
  check(id, source, rule, hint, async (trial) => {
    const values = await trial.inside(read, { method: 'POST', body });
    return trial.same(calls, Array.isArray(values) ? values.map(text) : values, expected);
  });
}

async function inPieces(
  trial: Trial, pieces: string[], read: (input: InputStream) => Promise<Uint8Array>,
  call: string, expected: string,
): Promise<CheckVerdict> {
  const { length } = pieces.join('');
  const head = { method: 'POST', headers: [`Content-Length: ${length}`] };
  const value = await trial.inside(read, head, async (client) => {
    client.send(trial.format(head));
    for (const piece of pieces) {
      await new Promise((resolve) => setTimeout(resolve, 15));
      client.send(piece);
    }
  });
  return trial.same(`${call} of a body in ${pieces.length} packets`, text(value), expected);
}

async function leaveUnread(
  trial: Trial, beginning: string, read: (input: InputStream) => Promise<unknown>,
): Promise<CheckVerdict> {
  await trial.serve(respondWith(async (environ) => {
    if (environ.REQUEST_METHOD === 'POST') await read(environ['wsgi.input']);
    return [bytes(`${environ.REQUEST_METHOD} ${environ.PATH_INFO}`)];
  }));
  const body = `${beginning}GET /smuggled HTTP/1.1\r\nHost: kit\r\n\r\n`;
  const client = await trial.send({ method: 'POST', body });
  const first = await client.response();
  client.send(trial.format({ target: '/next' }));
  await trial.quiet();
  const smuggled = trial.calls.find(({ given }) => String(given['PATH_INFO']).includes('smuggled'));
  if (smuggled !== undefined) return 'took the unread body for a request, GET /smuggled';
  await client.staysOpen(first);
  const { code, body: next } = await client.response();
  return trial.same('the request after an unread body', [String(code), next.replace(/ .*\//, ' /')],
    ['200', 'GET /next']);
}

async function chunked(
  trial: Trial, encoded: string, expected: string,
  read: (input: InputStream) => Promise<Uint8Array> = (input) => input.read(),
): Promise<CheckVerdict> {
  const request = { method: 'POST', headers: ['Transfer-Encoding: chunked'] };
  const value = await insideChunked(trial, read,
    (client) => client.send(trial.format(request) + encoded));
  return trial.same('a read of a chunked body', text(value), expected);
}

// A server may refuse bodies of unknown length. (RFC 9112 §6.3)
async function insideChunked<Value>(
  trial: Trial, read: Parameters<typeof trial.inside<Value>>[0], send: (client: Client) => unknown,
): Promise<Value> {
  try {
    return await trial.inside(read, { method: 'POST' }, send);
  } catch (error) {
    if (error instanceof Refusal) {
      const { code, version } = error.response;
      if (code === 411 || code === 501 || (version === '1.0' && code >= 400)) {
        throw new NotApplicable(`the server refuses chunked requests with ${code}`);
      }
    }
    throw error;
  }
}
