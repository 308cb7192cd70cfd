// A body that takes its time: each line reaches the client when it is made.

import { setTimeout } from 'node:timers/promises';
import type { StartResponse, WSGIEnvironment } from 'tsgiref';

export default async function* stream(
  _environ: WSGIEnvironment,
  startResponse: StartResponse,
): AsyncGenerator<Uint8Array> {
  startResponse('200 OK', [['Content-Type', 'text/plain']]);
  for (const word of ['ready', 'steady', 'go']) {
    yield new TextEncoder().encode(`${word}\n`);
    await setTimeout(100);
  }
}
