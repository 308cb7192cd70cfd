// Bytes and headers that must not pass through a server, in either direction.

import {
  NotApplicable, OTHER_FEATURES, START_RESPONSE, UNICODE, type CheckVerdict, checksOf,
} from '../definition.ts';
import type { Response } from '../response.ts';
import {
  type RequestParts, type Trial, bytes, header, respond, respondWith, show, text,
} from '../trial.ts';

const check = checksOf('hygiene');

const REFUSE = 'Test what startResponse is given against the grammar of RFC 9110, and throw.';

// ---- From the application to the client

refusesHead('hygiene-status-newline', START_RESPONSE, 'A status with a line break is refused.',
  '200 OK\r\nX-Injected: 1', []);
refusesHead('hygiene-value-newline', START_RESPONSE, 'A header value with a line break is refused.',
  '200 OK', [['X-Value', 'a\r\nX-Injected: 1']]);
refusesHead('hygiene-value-line-feed', START_RESPONSE,
  'A header value with a line feed is refused.', '200 OK', [['X-Value', 'a\nX-Injected: 1']]);
refusesHead('hygiene-value-return', START_RESPONSE,
  'A header value with a carriage return is refused.', '200 OK', [['X-Value', 'a\rX-Injected: 1']]);
refusesHead('hygiene-value-nul', START_RESPONSE, 'A header value with U+0000 is refused.',
  '200 OK', [['X-Injected', 'a\0b']]);
refusesHead('hygiene-name-newline', START_RESPONSE, 'A header name with a line break is refused.',
  '200 OK', [['X-Name: a\r\nX-Injected', '1']]);
refusesHead('hygiene-name-space', START_RESPONSE, 'A header name with a space is refused.',
  '200 OK', [['X-Injected a', '1']]);
refusesHead('hygiene-name-colon', START_RESPONSE, 'A header name with a colon is refused.',
  '200 OK', [['X-Injected:', '1']]);
refusesHead('hygiene-name-empty', START_RESPONSE, 'An empty header name is refused.',
  '200 OK', [['', 'X-Injected']]);
refusesHead('hygiene-value-above-ff', UNICODE,
  'A header value with a character above U+00FF is refused.',
  '200 OK', [['X-Injected', '\u010a\u010d\u20ac']]);
refusesHead('hygiene-status-above-ff', UNICODE,
  'A status with a character above U+00FF is refused.', '200 X-Injected \u20ac', []);

check('hygiene-transfer-encoding', OTHER_FEATURES,
  'A Transfer-Encoding of the application\'s is refused, or at least not sent.',
  'Throw in startResponse for every hop-by-hop header.',
  (trial) => keepsHopByHop(trial, ['Transfer-Encoding', 'chunked']));

check('hygiene-connection', OTHER_FEATURES,
  'A Connection header of the application\'s is refused, or at least not sent.',
  'Throw in startResponse for every hop-by-hop header.',
  (trial) => keepsHopByHop(trial, ['Connection', 'X-Injected']));

check('hygiene-upgrade', OTHER_FEATURES,
  'An Upgrade header of the application\'s is refused, or at least not sent.',
  'Throw in startResponse for every hop-by-hop header.',
  (trial) => keepsHopByHop(trial, ['Upgrade', 'X-Injected']));

// ---- From the client to the application

check('hygiene-httpoxy', 'CVE-2016-1000110',
  'A Proxy header does not become HTTP_PROXY.',
  'Leave the header Proxy out: many programs take HTTP_PROXY for their own setting.',
  async (trial) => {
    const environ = await trial.environ({ headers: ['Proxy: http://attacker.example/'] });
    return 'HTTP_PROXY' in environ ? 'put HTTP_PROXY into environ' : undefined;
  });

check('hygiene-underscore', 'RFC 3875 §4.1.18',
  'A header name with "_" does not pass for the one with "-".',
  'Leave headers out whose names contain "_", as nginx and Apache do.',
  async (trial) => {
    const headers = ['X_User: forged', 'X-User: true', 'X_User: forged'];
    const response = await trial.exchange(respond(['ok']), { headers });
    if (trial.calls.length === 0 && response.code === 400) return undefined;
    const both = trial.calls[0]?.given['HTTP_X_USER'];
    if (both !== 'true') return `gave ${show(both)} for HTTP_X_USER, with X_User beside X-User`;
    const alone = await trial.environ({ headers: ['X_User: forged'] });
    return 'HTTP_X_USER' in alone ? 'put X_User into environ as HTTP_X_USER' : undefined;
  });

check('hygiene-no-host', 'RFC 9112 §3.2',
  'An HTTP/1.1 request without Host is answered with 400.',
  'Refuse it before the application is called.',
  (trial) => refuses(trial, { host: false }, 'an HTTP/1.1 request without Host'));

check('hygiene-two-hosts', 'RFC 9112 §3.2',
  'A request with two Host headers is answered with 400.',
  'Refuse it before the application is called.',
  (trial) => refuses(trial, { headers: ['Host: other.example'] }, 'a request with two Hosts'));

check('hygiene-two-lengths', 'RFC 9112 §6.3',
  'A request with two different Content-Lengths is answered with 400.',
  'Refuse it: one of them hides a second request.',
  (trial) => refuses(trial, {
    method: 'POST', headers: ['Content-Length: 3', 'Content-Length: 5'], body: 'abcde',
  }, 'a request with two Content-Lengths', true));

for (const [name, length] of [
  ['sign', '+5'], ['negative', '-5'], ['words', '5 bytes'], ['hexadecimal', '0x5'],
  ['list', '5, 6'],
] as const) {
  check(`hygiene-length-${name}`, 'RFC 9112 §6.3',
    `The Content-Length "${length}" is answered with 400.`,
    'Accept digits alone: /^[0-9]+$/. Number() and parseInt() accept more.',
    (trial) => refuses(trial, {
      method: 'POST', headers: [`Content-Length: ${length}`], body: 'abcde',
    }, `the Content-Length "${length}"`, true));
}

check('hygiene-length-and-chunked', 'RFC 9112 §6.3',
  'A request with both Content-Length and Transfer-Encoding hides no second request.',
  'Refuse it; or decode the chunks, and close the connection after the response.',
  async (trial) => {
    const body = '0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: kit\r\n\r\n';
    const headers = [`Content-Length: ${body.length}`, 'Transfer-Encoding: chunked'];
    let read: string | undefined;
    await trial.serve(respondWith(async (environ) => {
      read ??= await environ['wsgi.input'].read().then(text, () => '');
      return [bytes('ok')];
    }));
    const client = await trial.send({ method: 'POST', headers, body });
    const response = await client.nextResponse();
    await trial.quiet();
    if (isSmuggled(trial)) return 'answered the request hidden behind a chunked body';
    if (response?.version === '1.0' && response.code >= 400) return undefined;
    return read === undefined || read === ''
      ? undefined
      : `passed ${show(read)} as the body, by its Content-Length instead of its chunks`;
  });

check('hygiene-other-coding', 'RFC 9112 §6.1',
  'A Transfer-Encoding that the server cannot decode is answered with 501 or 400.',
  'Accept "chunked" alone.',
  (trial) => refuses(trial, {
    method: 'POST', headers: ['Transfer-Encoding: x-kit'], body: '5\r\nhello\r\n0\r\n\r\n',
  }, 'a Transfer-Encoding of x-kit', true));

for (const [name, chunk] of [
  ['sign', '+5\r\nhello\r\n0\r\n\r\n'], ['prefix', '0x5\r\nhello\r\n0\r\n\r\n'],
  ['missing', '\r\nhello\r\n0\r\n\r\n'], ['short', '3\r\nhello\r\n0\r\n\r\n'],
] as const) {
  check(`hygiene-chunk-${name}`, 'RFC 9112 §7.1',
    `The chunk ${JSON.stringify(chunk.slice(0, chunk.indexOf('\r\n0\r\n')))} is an error.`,
    'Accept hexadecimal digits alone as a size, and demand CRLF after the chunk.',
    (trial) => refusesBody(trial, chunk));
}

for (const [name, line, shown] of [
  ['space', 'X-Spaced : 1', 'A space before the colon of a header'],
  ['no-colon', 'X-No-Colon', 'A header line without a colon'],
  ['no-name', ': 1', 'A header line without a name'],
  ['nul', 'X-Nul: a\0b', 'U+0000 in a header'],
] as const) {
  check(`hygiene-header-${name}`, 'RFC 9112 §5.1',
    `${shown} is answered with 400.`,
    'Test each line against the grammar: token ":" value.',
    (trial) => refuses(trial, { headers: [line] }, `the header line ${show(line)}`));
}

check('hygiene-folded-header', 'RFC 9112 §5.2',
  'A folded header is refused, or its line break becomes a space.',
  'Answer 400 to a header line that begins with a space.',
  async (trial) => {
    const response = await trial.exchange(respond(['ok']), { headers: ['X-Folded: a', '  b'] });
    if (trial.calls.length === 0) {
      return response.code === 400 ? undefined : `answered ${response.code} to a folded header`;
    }
    const value = String(trial.calls[0]?.given['HTTP_X_FOLDED']).replace(/ +/, ' ');
    return trial.same('HTTP_X_FOLDED', value, 'a b');
  });

for (const [name, bytesSent] of [
  ['garbage', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 not HTTP\r\n\r\n'],
  ['no-version', 'GET /\r\n\r\n'],
  ['bad-method', 'G@T / HTTP/1.1\r\nHost: kit\r\n\r\n'],
  ['spaces', 'GET / extra HTTP/1.1\r\nHost: kit\r\n\r\n'],
] as const) {
  check(`hygiene-request-line-${name}`, 'RFC 9112 §3',
    `The request line ${show(bytesSent.slice(0, bytesSent.indexOf('\r')))} is answered with an ` +
    'error, or not at all.',
    'Test the line against the grammar: method, target, version, with one space between.',
    async (trial) => {
      await trial.serve(respond(['ok']));
      const client = (await trial.connect()).send(bytesSent);
      await trial.quiet();
      if (trial.calls.length > 0) return 'called the application';
      client.socket.end();
      const response = await client.nextResponse();
      if (response !== undefined && response.code < 400) return `answered ${response.code}`;
      return survives(trial);
    });
}

check('hygiene-prototype-header', 'RFC 9110 §5.1',
  'Headers with the names of an object\'s own members do no harm.',
  'Keep headers in a Map or a list, or in an object without a prototype.',
  async (trial) => {
    const headers = ['constructor: a', 'toString: b', '-proto-: c', 'hasOwnProperty: d'];
    const environ = await trial.environ({ headers });
    return trial.same('HTTP_CONSTRUCTOR, HTTP_TOSTRING and HTTP_HASOWNPROPERTY',
      [environ['HTTP_CONSTRUCTOR'], environ['HTTP_TOSTRING'], environ['HTTP_HASOWNPROPERTY']],
      ['a', 'b', 'd']);
  });

// ---- The helpers of the rows above

// The kit marks what must not arrive with X-Injected.
function refusesHead(
  id: string, source: string, rule: string, status: string, headers: Array<[string, string]>,
): void {
  check(id, source, rule, REFUSE, async (trial) => {
    await trial.serve(respond(['ok'], [['Content-Type', 'text/plain'], ...headers],
      status as '200 OK'));
    const client = await trial.send();
    const response = await client.nextResponse();
    if (response?.code !== undefined && response.code >= 500) return survives(trial);
    if (response === undefined) return 'closed the connection without a response';
    return `answered ${response.code} ${show(response.reason)}, with ${
      show(client.received.slice(0, client.received.indexOf('\r\n\r\n')))}`;
  });
}

async function keepsHopByHop(trial: Trial, [name, value]: [string, string]): Promise<CheckVerdict> {
  await trial.serve(respond(['ok, ', 'and more'], [['Content-Type', 'text/plain'], [name, value]]));
  const client = await trial.send();
  const response = await client.response();
  if (response.code >= 500) return survives(trial);
  const sent = header(response, name);
  const isOwn = name === 'Transfer-Encoding' ? response.body === 'ok, and more' : sent !== value;
  return isOwn && !sent?.includes('X-Injected')
    ? undefined
    : `sent the application's header ${name}: ${value}`;
}

// A refusal may also be the end of the connection, but not a call of the application.
async function refuses(
  trial: Trial, request: RequestParts, shown: string, hasBody: boolean = false,
): Promise<CheckVerdict> {
  await trial.serve(respondWith(async (environ) => {
    if (hasBody) await environ['wsgi.input'].read();
    return [bytes('ok')];
  }));
  const client = await trial.send(request);
  const response = await client.nextResponse(request.method);
  if (trial.calls.length > 0 && (response?.code ?? 0) < 400) {
    // The rules for HTTP/1.1 do not bind an older server.
    const isOlder = response?.version === '1.0' && request.host === false;
    if (isOlder) throw new NotApplicable('the server speaks HTTP/1.0, which needs no Host');
    return `called the application for ${shown}`;
  }
  return isRefusal(response, shown) ?? survives(trial);
}

function isRefusal(response: Response | undefined, shown: string): CheckVerdict {
  if (response === undefined || response.code >= 400) return undefined;
  return `answered ${response.code} to ${shown}`;
}

async function refusesBody(trial: Trial, encoded: string): Promise<CheckVerdict> {
  let read: string | undefined;
  await trial.serve(respondWith(async (environ) => {
    read = await environ['wsgi.input'].read().then(text, () => undefined);
    return [bytes('ok')];
  }));
  const headers = ['Transfer-Encoding: chunked'];
  const client = await trial.send({ method: 'POST', headers });
  client.send(encoded);
  await trial.until(() => read !== undefined || client.ended || client.received !== '',
    'neither read nor refused a chunk that is not one');
  await trial.quiet();
  return read === undefined ? undefined : `took ${show(read)} from a chunk that is not one`;
}

function isSmuggled(trial: Trial): boolean {
  return trial.calls.some(({ given }) => String(given['PATH_INFO']).includes('smuggled'));
}

async function survives(trial: Trial): Promise<CheckVerdict> {
  const { body } = await trial.exchange(respond(['still there']));
  return trial.same('the next request', body, 'still there');
}
