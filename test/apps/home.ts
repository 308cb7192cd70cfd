// Two pages, chosen by PATH_INFO.

import type { WSGIApplication } from 'tsgiref';

const home: WSGIApplication = (environ, startResponse) => {
  const page = environ.PATH_INFO === '/' ? 'Home Page' : 'A new page';
  const body = new TextEncoder().encode(page);
  startResponse('200 OK', [
    ['Content-Type', 'text/plain'],
    ['Content-Length', String(body.length)],
  ]);
  return [body];
};

export default home;
