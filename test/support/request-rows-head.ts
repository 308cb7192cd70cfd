// Requests whose heads are the point: target, method, version, Host, headers.

import { type Row, bad, get, good, last, refused } from './request-rows.ts';

const noTarget = (target: string): string =>
  `The target ${JSON.stringify(target)} is neither a path nor an http URL.\n`;
const noHost = (host: string): string =>
  `The Host ${JSON.stringify(host)} is not a host and port.\n`;
const noVersion = (version: string): string =>
  `This server speaks HTTP/1.1, not HTTP/${version}.\n`;
const fragment = /^The target ".*" contains '#'\.\n$/;
const twoHosts = 'The request names its Host more than once.\n';
const long = 'a'.repeat(65536);

export const targets: Row[] = [
  good('a path', get('/a/b'), {
    REQUEST_METHOD: 'GET', SCRIPT_NAME: '', PATH_INFO: '/a/b', QUERY_STRING: '',
    REQUEST_URI: '/a/b', SERVER_PROTOCOL: 'HTTP/1.1', REMOTE_ADDR: '127.0.0.1',
  }),
  good('a query', get('/a?b=c%20d'), {
    PATH_INFO: '/a', QUERY_STRING: 'b=c%20d', REQUEST_URI: '/a?b=c%20d',
  }),
  good('two question marks', get('/a?b?c'), { PATH_INFO: '/a', QUERY_STRING: 'b?c' }),
  good('an empty query', get('/?'), { PATH_INFO: '/', QUERY_STRING: '' }),
  good('an escaped question mark', get('/a%3Fb?c'), { PATH_INFO: '/a?b', QUERY_STRING: 'c' }),
  good('an escaped hash', get('/a%23b'), { PATH_INFO: '/a#b' }),
  good('escapes', get('/%41%e9%c3%a9'), { PATH_INFO: '/Aé\xc3\xa9' }),
  good('UTF-8 of four bytes', get('/%F0%9F%90%8D'), { PATH_INFO: '/\xf0\x9f\x90\x8d' }),
  good('an escaped slash', get('/a%2Fb%2fc'), { PATH_INFO: '/a/b/c', REQUEST_URI: '/a%2Fb%2fc' }),
  good('an escaped backslash', get('/a%5cb'), { PATH_INFO: '/a\\b' }),
  good('a plain backslash', get('/a\\b'), { PATH_INFO: '/a\\b' }),
  good('an escaped NUL', get('/%00'), { PATH_INFO: '/\0' }),
  good('an escaped line break', get('/%0d%0aX'), { PATH_INFO: '/\r\nX' }),
  good('escaped twice, decoded once (GHSA-rjq5)', get('/%252e%252e'), { PATH_INFO: '/%2e%2e' }),
  good('escaped dots stay in the path (GHSA-wr4h)', get('/%2e%2e/a'), { PATH_INFO: '/../a' }),
  good('plain dots, too (GHSA-rmxm)', get('/../a/./b'), { PATH_INFO: '/../a/./b' }),
  good('no hexadecimal digits', get('/%zz'), { PATH_INFO: '/%zz' }),
  good('half an escape', get('/%4'), { PATH_INFO: '/%4' }),
  good('a percent sign alone', get('/%'), { PATH_INFO: '/%' }),
  good('two percent signs', get('/%%41'), { PATH_INFO: '/%A' }),
  good('the escape of another language', get('/%u0041'), { PATH_INFO: '/%u0041' }),
  good('plus signs, left alone', get('/a+b?c+d'), { PATH_INFO: '/a+b', QUERY_STRING: 'c+d' }),
  good('two slashes', get('//a//b'), { PATH_INFO: '//a//b' }),
  good('two slashes that look like a host', get('//other/a'), { PATH_INFO: '//other/a' }),
  good('an URL as a path', get('/http://other/a'), { PATH_INFO: '/http://other/a' }),
  good('odd but legal characters', get("/;a=1,b:@!$&'()*+~_-."), {
    PATH_INFO: "/;a=1,b:@!$&'()*+~_-.",
  }),
  good('illegal ones that do no harm', get('/<a>"{b}|^`[]'), { PATH_INFO: '/<a>"{b}|^`[]' }),
  good('a path of 8 KiB', get(`/${long.slice(0, 8192)}`), { PATH_INFO: `/${long.slice(0, 8192)}` }),
  good('a query of 8 KiB', get(`/?${long.slice(0, 8192)}`), { PATH_INFO: '/' }),
  good('an absolute target', get('http://other:81/a?b'), {
    PATH_INFO: '/a', QUERY_STRING: 'b', HTTP_HOST: 'other:81', REQUEST_URI: 'http://other:81/a?b',
  }),
  good('an absolute target in capitals', get('HTTP://Other/'), {
    PATH_INFO: '/', HTTP_HOST: 'Other',
  }),
  good('an absolute https target', get('https://other/'), {
    PATH_INFO: '/', HTTP_HOST: 'other', 'wsgi.url_scheme': 'http',
  }),
  good('an absolute target without a path', get('http://other'), {
    PATH_INFO: '/', HTTP_HOST: 'other',
  }),
  good('an absolute target with a query alone', get('http://other?b'), {
    PATH_INFO: '/', QUERY_STRING: 'b', HTTP_HOST: 'other',
  }),
  good('an absolute target with two slashes', get('http://other//a'), { PATH_INFO: '//a' }),
  good('an asterisk for OPTIONS', 'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n', {
    PATH_INFO: '*', REQUEST_METHOD: 'OPTIONS',
  }),
  refused('an asterisk for GET', get('*'), noTarget('*')),
  refused('an asterisk and more', 'OPTIONS *a HTTP/1.1\r\nHost: x\r\n\r\n', noTarget('*a')),
  refused('a fragment (CVE-2025-32395)', get('/a#b'), fragment),
  refused('a fragment after a query', get('/a?b#c'), fragment),
  refused('a fragment alone', get('/#'), fragment),
  refused('a fragment in an absolute target', get('http://other/#a'), fragment),
  refused('another scheme', get('ftp://other/a'), noTarget('ftp://other/a')),
  refused('a file', get('file:///etc/passwd'), noTarget('file:///etc/passwd')),
  bad('an authority', get('other:80')),
  bad('a path without its slash', get('a/b')),
  bad('a query without a path', get('?a')),
  bad('raw UTF-8', get('/\xc3\xa9')),
  bad('raw Latin-1', get('/\xe9')),
  bad('raw UTF-8 in a query', get('/?\xc3\xa9')),
  bad('a space', get('/a b')),
  bad('a space in a query', get('/?a b')),
  bad('a control character', get('/a\x01b')),
  bad('NUL', get('/a\0b')),
  bad('a TAB', get('/a\tb')),
  bad('DEL', get('/a\x7fb')),
  bad('a bare CR', get('/a\rb')),
  bad('a bare LF', get('/a\nb')),
  bad('no target (gunicorn 23)', 'GET  HTTP/1.1\r\nHost: x\r\n\r\n'),
  bad('a target of 64 KiB', get(`/${long}`), '431'),
  bad('a query of 64 KiB', get(`/?${long}`), '431'),
  bad('an absolute target with a space', get('http://a b/')),
  refused(
    'an absolute target with a user', get('http://user@other/'), noTarget('http://user@other/'),
  ),
  refused('an absolute target without a host', get('http:///a'), noTarget('http:///a')),
];

export const methods: Row[] = [
  ...[
    'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'MKCOL', 'REPORT', 'LOCK',
    'PURGE', 'SEARCH', 'M-SEARCH', 'LINK', 'COPY', 'ACL', 'SOURCE',
  ].map((method) =>
    good(`the method ${method}`, `${method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n`, {
      REQUEST_METHOD: method,
    }),
  ),
  good('HEAD', 'HEAD / HTTP/1.1\r\nHost: x\r\n\r\n', { REQUEST_METHOD: 'HEAD' }),
  bad('an unknown method', 'FOO / HTTP/1.1\r\nHost: x\r\n\r\n'),
  bad('a method in lower case', 'get / HTTP/1.1\r\nHost: x\r\n\r\n'),
  bad('a method and a letter', 'GETX / HTTP/1.1\r\nHost: x\r\n\r\n'),
  bad('a method with a control character', 'G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n'),
  bad('no method', ' / HTTP/1.1\r\nHost: x\r\n\r\n'),
  bad('a space before the method', ' GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
  bad('a TAB behind the method', 'GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n'),
  bad('CONNECT', 'CONNECT other:80 HTTP/1.1\r\nHost: x\r\n\r\n', '501'),
  bad('CONNECT with a path', 'CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n', '501'),
];

export const versions: Row[] = [
  last('HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n', {
    SERVER_PROTOCOL: 'HTTP/1.0', HTTP_HOST: undefined,
  }),
  good('HTTP/1.0 that keeps it', 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n', {
    SERVER_PROTOCOL: 'HTTP/1.0',
  }),
  good('HTTP/1.1', get('/'), { SERVER_PROTOCOL: 'HTTP/1.1' }),
  last('HTTP/1.1 that closes it', get('/', 'Connection: close')),
  last('HTTP/1.1 that closes it, in a list', get('/', 'Connection: x, CLOSE')),
  good('HTTP/1.1 with another connection option', get('/', 'Connection: x'), {
    HTTP_CONNECTION: 'x',
  }),
  bad('HTTP/1.2', 'GET / HTTP/1.2\r\nHost: x\r\n\r\n'),
  bad('HTTP/1.10', 'GET / HTTP/1.10\r\nHost: x\r\n\r\n'),
  bad('HTTP/1', 'GET / HTTP/1\r\nHost: x\r\n\r\n'),
  bad('HTTP/01.1', 'GET / HTTP/01.1\r\nHost: x\r\n\r\n'),
  refused('HTTP/2.0', 'GET / HTTP/2.0\r\nHost: x\r\n\r\n', noVersion('2.0'), '505'),
  refused('HTTP/0.9, by name', 'GET / HTTP/0.9\r\nHost: x\r\n\r\n', noVersion('0.9'), '505'),
  bad('HTTP/0.9, as it was', 'GET /\r\n'),
  bad('HTTP/3.5', 'GET / HTTP/3.5\r\nHost: x\r\n\r\n'),
  bad('the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  bad('a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'),
  bad('SSH', 'SSH-2.0-OpenSSH_9.0\r\n'),
  bad('NULs', '\0\0\0\0\r\n\r\n'),
  bad('another protocol', 'GET / FTP/1.1\r\nHost: x\r\n\r\n'),
  // Node's parser speaks it, too, and does not tell it from HTTP.
  last('RTSP', 'OPTIONS * RTSP/1.0\r\nHost: x\r\n\r\n', { SERVER_PROTOCOL: 'HTTP/1.0' }),
  last('RTSP with a method of HTTP', 'GET / RTSP/1.0\r\nHost: x\r\n\r\n'),
  refused('RTSP 2', 'OPTIONS * RTSP/2.0\r\nHost: x\r\n\r\n', noVersion('2.0'), '505'),
  bad('a version in lower case', 'GET / http/1.1\r\nHost: x\r\n\r\n'),
  bad('blanks behind the version', 'GET / HTTP/1.1  \r\nHost: x\r\n\r\n'),
  bad('a third word', 'GET / HTTP/1.1 x\r\nHost: x\r\n\r\n'),
  good('empty lines before the request', `\r\n\r\n${get('/')}`),
  good('a bare LF before the request', `\n${get('/')}`),
  bad('a response', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
];

export const hosts: Row[] = [
  refused('none on HTTP/1.1', 'GET / HTTP/1.1\r\n\r\n', 'The request names no Host.\n'),
  refused('two', get('/', 'Host: y'), twoHosts),
  refused('two that are the same', get('/', 'host: x'), twoHosts),
  refused('two on HTTP/1.0', 'GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n', twoHosts),
  refused(
    'none but an absolute target', 'GET http://x/ HTTP/1.1\r\n\r\n', 'The request names no Host.\n',
  ),
  ...[
    'a b', 'a/b', 'a?b', 'a#b', 'user@host', 'a\\b', 'x:port', 'x:-1', 'x:80:80', '[::1', '::1]:80',
    '::1', '[::g]', '<script>', '"x"', 'http://x', '{x}', 'x^y',
  ].map((host) =>
    refused(
      `that is none: ${host} (CVE-2024-32652)`,
      `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
      noHost(host),
    ),
  ),
  refused('an empty one', 'GET / HTTP/1.1\r\nHost:\r\n\r\n', noHost('')),
  refused(
    'above ASCII',
    'GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n',
    'The Host "\xc3\xa9" is not a host and port.\n',
  ),
  ...[
    'x', 'x:80', 'x:', 'example.com', 'example.com.', '127.0.0.1:8000', '[::1]', '[::1]:8000',
    'under_score', 'a%20b', '*', 'a,b',
  ].map((host) =>
    good(`that is one: '${host}'`, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, { HTTP_HOST: host }),
  ),
];

const many = (count: number): string[] => Array.from({ length: count }, (_, index) => `A${index}:`);

export const headers: Row[] = [
  good('a header', get('/', 'User-Agent: test'), { HTTP_USER_AGENT: 'test' }),
  good('a header with no value', get('/', 'X:'), { HTTP_X: '' }),
  good('blanks around a value (CVE-2019-16789)', get('/', 'X: \t v \t '), { HTTP_X: 'v' }),
  good('no blank before a value', get('/', 'X:v'), { HTTP_X: 'v' }),
  good('colons in a value', get('/', 'X: a: b:'), { HTTP_X: 'a: b:' }),
  good('blanks inside a value', get('/', 'X: a  b'), { HTTP_X: 'a  b' }),
  good('a repeated header, joined by a comma', get('/', 'X: 1', 'x: 2', 'X: 3'), {
    HTTP_X: '1, 2, 3',
  }),
  good('a repeated Cookie, joined by a semicolon', get('/', 'Cookie: a=1', 'Cookie: b=2'), {
    HTTP_COOKIE: 'a=1; b=2',
  }),
  good('a repeated User-Agent, not dropped', get('/', 'User-Agent: 1', 'User-Agent: 2'), {
    HTTP_USER_AGENT: '1, 2',
  }),
  good('bytes above ASCII in a value', get('/', 'X: \xe9\xff'), { HTTP_X: '\xe9\xff' }),
  good('UTF-8 in a value, as bytes', get('/', 'X: \xe2\x82\xac'), { HTTP_X: '\xe2\x82\xac' }),
  good('a TAB in a value', get('/', 'X: a\tb'), { HTTP_X: 'a\tb' }),
  good('odd but legal characters in a name', get('/', "X!#$%&'*+.^`|~-1: v"), {
    "HTTP_X!#$%&'*+.^`|~_1": 'v',
  }),
  good('a name of 2 KiB', get('/', `${'n'.repeat(2048)}: v`), {
    [`HTTP_${'N'.repeat(2048)}`]: 'v',
  }),
  good(
    'a name with an underscore is dropped (CVE-2015-0219)',
    get('/', 'X_Foo: bad', 'X-Foo: good'),
    {
      HTTP_X_FOO: 'good',
    },
  ),
  good('also behind the right one', get('/', 'X-Foo: good', 'X_Foo: bad'), { HTTP_X_FOO: 'good' }),
  good('also without the other header', get('/', 'X_Foo: bad'), { HTTP_X_FOO: undefined }),
  good('Content_Type is not Content-Type', get('/', 'Content_Type: bad'), {
    CONTENT_TYPE: undefined, HTTP_CONTENT_TYPE: undefined,
  }),
  good('Content_Length is not Content-Length', get('/', 'Content_Length: 5'), {
    CONTENT_LENGTH: '', HTTP_CONTENT_LENGTH: undefined,
  }),
  good('Proxy is dropped (CVE-2016-1000110)', get('/', 'Proxy: http://evil', 'pRoXy: x'), {
    HTTP_PROXY: undefined,
  }),
  good('Proxy-Connection is not', get('/', 'Proxy-Connection: x'), { HTTP_PROXY_CONNECTION: 'x' }),
  good(
    'names of variables that are not headers',
    get('/', 'Path-Info: x', 'Script-Name: /x', 'Https: on'),
    {
      PATH_INFO: '/', SCRIPT_NAME: '', HTTPS: undefined, HTTP_PATH_INFO: 'x', HTTP_HTTPS: 'on',
      'wsgi.url_scheme': 'http',
    },
  ),
  good(
    'a forwarded scheme is not believed',
    get('/', 'X-Forwarded-Proto: https', 'X-Forwarded-For: 1.2.3.4'),
    {
      'wsgi.url_scheme': 'http', REMOTE_ADDR: '127.0.0.1',
    },
  ),
  good('no Content-Type is none', get('/'), { CONTENT_TYPE: undefined, CONTENT_LENGTH: '' }),
  refused('two Content-Types (gunicorn 23)', get('/', 'Content-Type: a/b', 'content-type: c/d'),
    'The request names its Content-Type more than once.\n'),
  good('a header named like an object’s own', get('/', 'Constructor: x', 'ToString: y'), {
    HTTP_CONSTRUCTOR: 'x', HTTP_TOSTRING: 'y',
  }),
  good('the name __proto__', get('/', '__proto__: y'), { HTTP___PROTO__: undefined }),
  good('If-Modified-Since in no format', get('/', 'If-Modified-Since: never'), {
    HTTP_IF_MODIFIED_SINCE: 'never',
  }),
  good('a hundred headers', get('/', ...many(100)), { HTTP_A99: '' }),
  good('a thousand headers, Host among them', get('/', ...many(999)), { HTTP_A998: '' }),
  bad('a header of 64 KiB', get('/', `X: ${long}`), '431'),
  bad('a name of 64 KiB', get('/', `${long}: x`), '431'),
  bad('64 KiB of headers (CVE-2018-12121)', get('/', ...many(8000)), '431'),
  bad('a folded header (CVE-2022-32215)', get('/', 'X: a', ' b')),
  bad('a folded header, with a TAB', get('/', 'X: a', '\tb')),
  bad('a fold before any header', 'GET / HTTP/1.1\r\n Host: x\r\n\r\n'),
  bad('a space before the colon (CVE-2021-22959)', get('/', 'X : v')),
  bad('a TAB before the colon', get('/', 'X\t: v')),
  bad('a space before the colon of a length', post0('Content-Length : 0')),
  bad('a space in a name', get('/', 'X Y: v')),
  bad('no colon', get('/', 'no colon')),
  bad('one word', get('/', 'word')),
  bad('an empty name', get('/', ': v')),
  bad('NUL in a value', get('/', 'X: a\0b')),
  bad('NUL in a name', get('/', 'X\0: b')),
  bad('a bare CR in a value (CVE-2022-32214)', get('/', 'X: a\rb')),
  bad('a bare CR and a header', get('/', 'X: a\rTransfer-Encoding: chunked')),
  bad('a bare CR before the line break', get('/', 'X: a\r')),
  bad('a bare LF ends every line (CVE-2019-16785)', 'GET / HTTP/1.1\nHost: x\n\n'),
  bad('a bare LF among others', 'GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n'),
  bad('a bare LF and a header', get('/', 'X: a\nTransfer-Encoding: chunked')),
  bad('a head that ends in LF LF', 'GET / HTTP/1.1\r\nHost: x\n\n'),
  bad('a head that ends in CR LF LF', 'GET / HTTP/1.1\r\nHost: x\r\n\n'),
  bad('a head that ends in CR LF CR and more (CVE-2025-23167)', 'GET / HTTP/1.1\r\nHost: x\r\n\rX'),
  bad('a control character in a name', get('/', 'X\x01: v')),
  bad('a control character in a value', get('/', 'X: a\x01b')),
  bad('DEL in a value', get('/', 'X: a\x7fb')),
  bad('a byte above ASCII in a name', get('/', 'X\xe9: v')),
  ...['(', ')', '<', '@', ',', ';', '\\', '"', '/', '[', '?', '=', '{'].map((character) =>
    bad(`${character} in a name`, get('/', `X${character}Y: v`)),
  ),
];

function post0(header: string): string {
  return `POST / HTTP/1.1\r\nHost: x\r\n${header}\r\n\r\n`;
}
