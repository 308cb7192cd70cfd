// write(): the older way to send a chunk.

import { NotApplicable, STREAMING, WRITE, checksOf } from '../definition.ts';
import { bytes, sendsAtOnce, show } from '../trial.ts';

const check = checksOf('write');

const PLAIN: Array<[string, string]> = [['Content-Type', 'text/plain']];
const MEBIBYTE = 1024 * 1024;

check('write-then-body', WRITE,
  'Chunks that are written come before the chunks of the body.',
  'Let write() and the loop over the body send through the same function.',
  async (trial) => {
    const { body } = await trial.exchange(async (_environ, startResponse) => {
      const write = startResponse('200 OK', PLAIN);
      await write(bytes('written, '));
      return [bytes('returned')];
    });
    return trial.same('the body', body, 'written, returned');
  });

check('write-only', WRITE,
  'An application that has written everything returns an empty body.',
  'End the response when the body ends, even if it had no chunk.',
  async (trial) => {
    const { code, body } = await trial.exchange(async (_environ, startResponse) => {
      const write = startResponse('203 Written', PLAIN);
      await write(bytes('all of it'));
      return [];
    });
    return trial.same('the status and body', [String(code), body], ['203', 'all of it']);
  });

check('write-at-once', STREAMING,
  'A chunk that is written is sent at once, while the application goes on working.',
  'Send in write() itself; do not collect until the application returns.',
  (trial) => sendsAtOnce(trial, (gate) => async (_environ, startResponse) => {
    const write = startResponse('200 OK', PLAIN);
    await write(bytes('first'));
    await gate.opened;
    return [bytes(' last')];
  }, 'what the application has written'));

check('write-many', WRITE,
  'Chunks that are written one after another arrive in order, even when none is awaited.',
  'Queue what is written while an earlier chunk is still on its way.',
  async (trial) => {
    const chunks = Array.from({ length: 200 }, (_, index) => `${index};`);
    const { body } = await trial.exchange((_environ, startResponse) => {
      const write = startResponse('200 OK', PLAIN);
      for (const chunk of chunks) void write(bytes(chunk));
      return [bytes('end')];
    });
    return trial.same('the body of 200 writes', body, `${chunks.join('')}end`);
  });

check('write-empty', WRITE,
  'An empty write sends nothing, and ends nothing.',
  'Skip empty chunks: in chunked coding, a chunk of size 0 is the end of the body.',
  async (trial) => {
    const { body } = await trial.exchange(async (_environ, startResponse) => {
      const write = startResponse('200 OK', PLAIN);
      await write(bytes(''));
      await write(bytes('one '));
      await write(bytes(''));
      await write(bytes('two'));
      return [];
    });
    return trial.same('the body', body, 'one two');
  });

check('write-length', 'RFC 9112 §6.2',
  'Written bytes count towards the Content-Length.',
  'Count in the one function that sends.',
  async (trial) => {
    await trial.serve(async (_environ, startResponse) => {
      const write = startResponse('200 OK', [...PLAIN, ['Content-Length', '10']]);
      await write(bytes('12345'));
      return [bytes('67890')];
    });
    const client = await trial.send();
    const { body } = await client.response();
    return trial.same('the body', body, '1234567890');
  });

check('write-no-length', 'RFC 9112 §6.3',
  'A written chunk and a returned one have no Content-Length of either alone.',
  'Set the length from the returned body only if nothing was written.',
  async (trial) => {
    const { body } = await trial.exchange(async (_environ, startResponse) => {
      const write = startResponse('200 OK', PLAIN);
      await write(bytes('four'));
      return [bytes('teen')];
    });
    return trial.same('the body', body, 'fourteen');
  });

check('write-large', WRITE,
  'A large chunk that is written arrives in full.',
  'Do not end the connection before all that was written is sent.',
  async (trial) => {
    const { body } = await trial.exchange(async (_environ, startResponse) => {
      const write = startResponse('200 OK', PLAIN);
      await write(bytes('x'.repeat(MEBIBYTE)));
      return [bytes('end')];
    });
    return trial.same('the length of a body of 1 MiB and 3 bytes', body.length, MEBIBYTE + 3);
  });

check('write-back-pressure', STREAMING,
  'A promise that write() returns waits for a client that does not keep up.',
  'Resolve it when the socket can take more: after "drain", or in the callback of write.',
  async (trial) => {
    const chunk = new Uint8Array(64 * 1024);
    let written = 0;
    let returnsPromise = true;
    let isOver = false;
    await trial.serve(async (_environ, startResponse) => {
      const write = startResponse('200 OK', PLAIN);
      try {
        while (written < 40 * MEBIBYTE && returnsPromise && !isOver) {
          const sent = write(chunk);
          returnsPromise = typeof Object(sent).then === 'function';
          await sent;
          written += chunk.length;
          trial.patience.wake();
        }
      } catch {
        // The client has left.
      }
      isOver = true;
      return [];
    });
    const client = await trial.connect();
    client.socket.pause();
    client.send(trial.format());
    await trial.until(() => written > 0 || isOver, 'did not take a chunk');
    for (let before = -1; before !== written; await trial.quiet()) before = written;
    isOver = true;
    if (!returnsPromise) throw new NotApplicable('its write() does not return a promise');
    return written < 25 * MEBIBYTE
      ? undefined
      : `took ${show(written)} bytes from write() while the client read nothing`;
  });
