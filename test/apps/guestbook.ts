// A page with a form: GET shows what was written, POST writes and sends back to
// GET, so that reloading the page does not write again.

import type { StartResponse, Status, WSGIApplication } from 'tsgiref';

const LONGEST_ENTRY = 10_000;
const entries: string[] = [];

const guestbook: WSGIApplication = async (environ, startResponse) => {
  if (environ.PATH_INFO !== '/') return sendText(startResponse, '404 Not Found');
  switch (environ.REQUEST_METHOD) {
    case 'GET':
    case 'HEAD':
      startResponse('200 OK', [['Content-Type', 'text/html; charset=utf-8']]);
      return [new TextEncoder().encode(page())];
    case 'POST': {
      const body = await environ['wsgi.input'].read(LONGEST_ENTRY + 1);
      if (body.length > LONGEST_ENTRY) return sendText(startResponse, '413 Content Too Large');
      const entry = new URLSearchParams(new TextDecoder().decode(body)).get('entry')?.trim();
      if (entry) entries.push(entry);
      startResponse('303 See Other', [['Location', '/']]);
      return [];
    }
    default:
      return sendText(startResponse, '405 Method Not Allowed', [['Allow', 'GET, HEAD, POST']]);
  }
};

function page(): string {
  const items = entries.map((entry) => `  <li>${escape(entry)}</li>\n`).join('');
  return `<!doctype html>
<meta charset="utf-8">
<title>Guestbook</title>
<form method="post">
  <input name="entry" aria-label="Your entry" autofocus>
  <button>Write</button>
</form>
<ul>
${items}</ul>
`;
}

// A guest's entry is text and must not become markup.
function escape(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
  };
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? character);
}

function sendText(
  startResponse: StartResponse,
  status: Status,
  headers: Array<[string, string]> = [],
): Uint8Array[] {
  startResponse(status, [['Content-Type', 'text/plain'], ...headers]);
  return [new TextEncoder().encode(`${status}\n`)];
}

export default guestbook;
