// Requests whose bodies are the point: where they end, and who says so.

import { type Row, bad, breaks, coded, get, good, post, refused } from './request-rows.ts';

const notKnown = (coding: string): string =>
  `The transfer coding ${JSON.stringify(coding)} is not known here; 'chunked' is.\n`;
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n';
const HELLO = '5\r\nhello\r\n0\r\n\r\n';

export const lengths: Row[] = [
  good('a length', post('hello', 'Content-Length: 5'), { CONTENT_LENGTH: '5' }, 'hello'),
  good('of zero', post('', 'Content-Length: 0'), { CONTENT_LENGTH: '0' }),
  good('none: no body', post(''), { CONTENT_LENGTH: '' }),
  good('with zeros before', post('hello', 'Content-Length: 005'), {}, 'hello'),
  good(
    'with blanks around', post('hello', 'Content-Length: \t5 '), { CONTENT_LENGTH: '5' }, 'hello',
  ),
  good('of a GET', `${get('/', 'Content-Length: 5')}hello`, { CONTENT_LENGTH: '5' }, 'hello'),
  good(
    'of a body that is a request',
    post(SMUGGLED, `Content-Length: ${SMUGGLED.length}`),
    {},
    SMUGGLED,
  ),
  good('a type and a length have no HTTP_', post('ab', 'Content-Type: a/b', 'Content-Length: 2'), {
    CONTENT_TYPE: 'a/b', CONTENT_LENGTH: '2', HTTP_CONTENT_TYPE: undefined,
    HTTP_CONTENT_LENGTH: undefined,
  }, 'ab'),
  good('every byte there is', post(EVERY(), 'Content-Length: 256'), {}, EVERY()),
  ...[
    '+5', '-5', '5.0', '5e0', '0x5', '5 5', '5,5', '5;', '1_0', 'five', '\xd9\xa5', '', '"5"',
    '5\x0b',
    '18446744073709551616', '99999999999999999999999',
  ].map((length) =>
    bad(`that is none: '${length}' (GHSA-4f7p)`, post('hello', `Content-Length: ${length}`)),
  ),
  bad('two that differ', post('hello', 'Content-Length: 5', 'Content-Length: 6')),
  bad('two that are the same', post('hello', 'Content-Length: 5', 'Content-Length: 5')),
  bad('two, one of them zero', post('hello', 'Content-Length: 0', 'content-length: 5')),
  bad('with a line break in it', post('hello', 'Content-Length: 1\r\n 0')),
  {
    ...good('of more than comes', post('hell', 'Content-Length: 5')),
    status: '400', kept: false, halfClosed: true, body: 'not read',
  },
];

export const smuggling: Row[] = [
  bad(
    'CL.TE (GHSA-4ppp)',
    post(`0\r\n\r\n${SMUGGLED}`, 'Content-Length: 30', 'Transfer-Encoding: chunked'),
  ),
  bad('TE.CL', post(`${HELLO}${SMUGGLED}`, 'Transfer-Encoding: chunked', 'Content-Length: 4')),
  bad('CL.0', post(SMUGGLED, 'Content-Length: 0', 'Content-Length: 36')),
  bad('TE.0 with a length of zero', post(HELLO, 'Content-Length: 0', 'Transfer-Encoding: chunked')),
  refused('TE.TE with gzip first (CVE-2024-1135)', coded(HELLO + SMUGGLED, 'gzip, chunked'),
    notKnown('gzip, chunked'), '501'),
  bad('TE.TE with gzip last (CVE-2022-32213)', coded(HELLO + SMUGGLED, 'chunked, gzip')),
  bad(
    'TE.TE in two lines (CVE-2022-35256)',
    post(HELLO, 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity'),
  ),
  refused(
    'TE.TE in two lines, the other way',
    post(HELLO, 'Transfer-Encoding: identity', 'Transfer-Encoding: chunked'),
    notKnown('identity'),
    '501',
  ),
  bad(
    'TE.TE in two equal lines',
    post(HELLO, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
  ),
  bad(
    'TE and a length behind an unknown coding (CVE-2024-6827)',
    post(HELLO, 'Transfer-Encoding: xchunked', 'Content-Length: 5'),
  ),
  bad(
    'a space before the colon of the coding',
    post(HELLO, 'Transfer-Encoding : chunked', 'Content-Length: 5'),
  ),
  bad('a folded coding', post(HELLO, 'Transfer-Encoding:\r\n chunked', 'Content-Length: 5')),
  bad(
    'a coding behind a bare CR',
    post(HELLO, 'X: y\rTransfer-Encoding: chunked', 'Content-Length: 5'),
  ),
  bad(
    'a coding behind a bare LF',
    post(HELLO, 'X: y\nTransfer-Encoding: chunked', 'Content-Length: 5'),
  ),
  good(
    'Transfer_Encoding does not count',
    post('hello', 'Transfer_Encoding: chunked', 'Content-Length: 5'),
    {
      HTTP_TRANSFER_ENCODING: undefined,
    },
    'hello',
  ),
  refused('a coding on HTTP/1.0', `POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n${HELLO}`,
    'HTTP/1.0 has no transfer codings.\n'),
  refused('a coding on HTTP/1.0 that is to be kept',
    `POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n${HELLO}`,
    'HTTP/1.0 has no transfer codings.\n'),
  good(
    'a request in a chunk',
    coded(`${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`),
    {},
    SMUGGLED,
  ),
  refused('a refused request that hides another', post(SMUGGLED, 'Host: y', 'Content-Length: 0'),
    'The request names its Host more than once.\n'),
];

export const codings: Row[] = [
  good('chunked', coded(HELLO), {
    CONTENT_LENGTH: '', 'wsgi.input_terminated': true, HTTP_TRANSFER_ENCODING: 'chunked',
  }, 'hello'),
  good('in any case', coded(HELLO, 'CHUNKED'), {}, 'hello'),
  good('with blanks around', coded(HELLO, '\t chunked '), {}, 'hello'),
  good('of a GET', `${get('/', 'Transfer-Encoding: chunked')}${HELLO}`, {}, 'hello'),
  refused('gzip (CVE-2019-16786)', coded('x', 'gzip'), notKnown('gzip'), '501'),
  refused('identity', coded('', 'identity'), notKnown('identity'), '501'),
  bad('chunked, chunked', coded(HELLO, 'chunked, chunked')),
  refused('xchunked', coded(HELLO, 'xchunked'), notKnown('xchunked'), '501'),
  refused('chunkedx', coded(HELLO, 'chunkedx'), notKnown('chunkedx'), '501'),
  refused('chunked in quotes', coded(HELLO, '"chunked"'), notKnown('"chunked"'), '501'),
  refused('chunked with a parameter', coded(HELLO, 'chunked;q=1'), notKnown('chunked;q=1'), '501'),
  bad('chunked behind a control character', coded(HELLO, '\x0bchunked')),
  // Some lines of Node refuse it, and the others leave that to this server.
  bad('an empty one', coded(HELLO, '')),
  refused('a comma before it', coded(HELLO, ', chunked'), notKnown(', chunked'), '501'),
  bad('a comma behind it', coded(HELLO, 'chunked,')),
];

export const chunks: Row[] = [
  good('several', coded('1\r\nh\r\n4\r\nello\r\n0\r\n\r\n'), {}, 'hello'),
  good('none', coded('0\r\n\r\n')),
  good(
    'a size in capitals and with zeros',
    coded('00A\r\n0123456789\r\n000\r\n\r\n'),
    {},
    '0123456789',
  ),
  good('a size in small letters', coded('a\r\n0123456789\r\n0\r\n\r\n'), {}, '0123456789'),
  good(
    'an extension, ignored (GHSA-4f7p)', coded('5;name=value\r\nhello\r\n0\r\n\r\n'), {}, 'hello',
  ),
  good('an extension without a value', coded('5;name\r\nhello\r\n0;last\r\n\r\n'), {}, 'hello'),
  good('an extension in quotes', coded('5;name="a b"\r\nhello\r\n0\r\n\r\n'), {}, 'hello'),
  good('trailers, which never become headers', coded('0\r\nX-Trailer: y\r\nHost: evil\r\n\r\n'), {
    HTTP_X_TRAILER: undefined, HTTP_HOST: 'x',
  }),
  good(
    'a trailing length',
    coded('5\r\nhello\r\n0\r\nX-Length: 99\r\n\r\n'),
    { CONTENT_LENGTH: '' },
    'hello',
  ),
  ...[
    'x\r\nhello\r\n0\r\n\r\n', '-1\r\nhello\r\n', '+5\r\nhello\r\n0\r\n\r\n',
    '0x5\r\nhello\r\n0\r\n\r\n',
    ' 5\r\nhello\r\n0\r\n\r\n', '5 \r\nhello\r\n0\r\n\r\n', '5\thello', '\r\nhello', ';a\r\nhello',
    '5\nhello\n0\n\n', '5\r\nhelloX\r\n0\r\n\r\n', '5\r\nhell\r\n0\r\n\r\n', '5\r\nhello0\r\n\r\n',
    '5\rhello', '5_0\r\nhello', '5.0\r\nhello', 'ffffffffffffffffff\r\nhello',
  ].map((body) => breaks(`that is none: ${JSON.stringify(body.slice(0, 14))}`, coded(body))),
  breaks('one that ends in LF', coded('5\r\nhello\n0\r\n\r\n')),
  breaks('a bare LF in an extension (CVE-2022-32214)', coded('5;a\nb\r\nhello\r\n0\r\n\r\n')),
  breaks('a bare CR in an extension', coded('5;a\rb\r\nhello\r\n0\r\n\r\n')),
  breaks('NUL in an extension', coded('5;a\0\r\nhello\r\n0\r\n\r\n')),
  breaks(
    'an extension without end (CVE-2024-22019)',
    coded(`5;${'a'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`),
    '413',
  ),
  breaks('a bad trailer', coded('0\r\nno colon\r\n\r\n')),
  breaks('a folded trailer', coded('0\r\nX: a\r\n b\r\n\r\n')),
  breaks('a trailer of 64 KiB', coded(`0\r\nX: ${'a'.repeat(65536)}\r\n\r\n`), '431'),
  { ...breaks('a body without its last chunk', coded('5\r\nhello\r\n')), halfClosed: true },
  { ...breaks('half a last chunk (gunicorn 23)', coded('5\r\nhello\r\n0\r\n')), halfClosed: true },
  { ...breaks('half a chunk', coded('5\r\nhel')), halfClosed: true },
];

const unknown = (expectation: string): string =>
  `The expectation ${JSON.stringify(expectation)} is not known here; '100-continue' is.\n`;

// Node drops what follows in the same packet, so the connection ends behind it.
const upgrade = (...row: Parameters<typeof good>): Row => ({ ...good(...row), kept: false });

export const expectations: Row[] = [
  { ...good('100-continue', post('hello', 'Expect: 100-continue', 'Content-Length: 5'), {
    HTTP_EXPECT: '100-continue',
  }, 'hello'), interim: true },
  {
    ...good(
      '100-Continue, in any case',
      post('hello', 'Expect: 100-Continue', 'Content-Length: 5'),
      {},
      'hello',
    ),
    interim: true,
  },
  { ...good('100-continue without a body', get('/', 'Expect: 100-continue')), interim: true },
  {
    ...good(
      '100-continue of a chunked body',
      post(HELLO, 'Expect: 100-continue', 'Transfer-Encoding: chunked'),
      {},
      'hello',
    ),
    interim: true,
  },
  {
    title: '100-continue on HTTP/1.0, where it has no meaning',
    send: 'POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello',
    status: '200', called: true, kept: false, body: 'hello', alone: true,
  },
  {
    title: 'another expectation on HTTP/1.0',
    send: 'GET / HTTP/1.0\r\nExpect: a miracle\r\n\r\n',
    status: '200', called: true, kept: false, alone: true,
  },
  refused(
    'anything else',
    post('hello', 'Expect: a miracle', 'Content-Length: 5'),
    unknown('a miracle'),
    '417',
  ),
  refused(
    '100-continue and more',
    post('hello', 'Expect: 100-continue, x', 'Content-Length: 5'),
    unknown('100-continue, x'),
    '417',
  ),
  refused('200-ok', get('/', 'Expect: 200-ok'), unknown('200-ok'), '417'),
  refused('nothing', get('/', 'Expect:'), unknown(''), '417'),
  refused(
    '100-continue of a request that is refused',
    post('hello', 'Expect: 100-continue', 'Host: y', 'Content-Length: 5'),
    'The request names its Host more than once.\n',
  ),
  upgrade('an upgrade that nobody wants', get('/', 'Connection: Upgrade', 'Upgrade: websocket'), {
    HTTP_UPGRADE: 'websocket', HTTP_CONNECTION: 'Upgrade',
  }),
  upgrade(
    'an upgrade to HTTP/2',
    get('/', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMA'),
  ),
  upgrade(
    'an upgrade with a body',
    post('hello', 'Connection: Upgrade', 'Upgrade: x', 'Content-Length: 5'),
    {},
    'hello',
  ),
  good('Upgrade without Connection', get('/', 'Upgrade: websocket'), { HTTP_UPGRADE: 'websocket' }),
  good('TE', get('/', 'TE: trailers'), { HTTP_TE: 'trailers' }),
];

function EVERY(): string {
  return Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join('');
}
