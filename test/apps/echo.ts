// Sends back what was asked: method, path, query, headers and body, as JSON.

import { type WSGIApplication, type WSGIEnvironment, decodePath } from 'tsgiref';

const echo: WSGIApplication = async (environ, startResponse) => {
  const body = await environ['wsgi.input'].read();
  const seen = {
    method: environ.REQUEST_METHOD,
    path: decodePath(environ.SCRIPT_NAME + environ.PATH_INFO),
    query: [...new URLSearchParams(environ.QUERY_STRING)],
    headers: readHeaders(environ),
    body: new TextDecoder().decode(body),
  };
  startResponse('200 OK', [['Content-Type', 'application/json']]);
  return [new TextEncoder().encode(`${JSON.stringify(seen, null, 2)}\n`)];
};

// HTTP_USER_AGENT is user-agent again; the type and length of the body have keys without HTTP_.
function readHeaders(environ: WSGIEnvironment): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [key, value] of Object.entries(environ)) {
    const name = /^HTTP_(.+)|^(CONTENT_TYPE|CONTENT_LENGTH)$/.exec(key);
    if (name === null || value === '') continue;
    headers[(name[1] ?? key).toLowerCase().replaceAll('_', '-')] = String(value);
  }
  return headers;
}

export default echo;
