// The smallest application that says something.

import type { WSGIApplication } from 'tsgiref';

const hello: WSGIApplication = (_environ, startResponse) => {
  startResponse('200 OK', [['Content-Type', 'text/plain']]);
  return [new TextEncoder().encode('Hello world!\n')];
};

export default hello;
