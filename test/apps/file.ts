// A file that the server sends in its fastest way. This program sends itself.

import { open } from 'node:fs/promises';
import type { WSGIApplication } from 'tsgiref';

const file: WSGIApplication = async (environ, startResponse) => {
  const handle = await open(new URL(import.meta.url));
  const { size } = await handle.stat();
  startResponse('200 OK', [
    ['Content-Type', 'text/plain; charset=utf-8'],
    ['Content-Length', String(size)],
  ]);

  const wrap = environ['wsgi.file_wrapper'];
  if (wrap !== undefined) return wrap(handle);
  // A server need not offer a wrapper; a stream of the file will do.
  return handle.createReadStream();
};

export default file;
