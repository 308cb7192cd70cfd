// Rules about what a server hands over: environ and its variables.

import { Readable } from 'node:stream';

import { BytesIO, StringIO } from '../../lib/io.ts';
import { type Exchange, type Loose, type Row, answer, row } from './validate-exchange.ts';

const set = (key: string, value: unknown, rest: Record<string, unknown> = {}): Exchange => ({
  environ: { ...rest, [key]: value },
});
const strict = (exchange: Exchange): Exchange => ({ ...exchange, options: { strict: true } });
const without = (key: string): Exchange => set(key, undefined);
const valid: Exchange = {};

export const ENVIRON_ROWS: Row[] = [
  // The object
  row(
    'environ-plain',
    /class Map/,
    { environFrom: (e: Loose) => Object.assign(new Map(), e) },
    { environFrom: (e: Loose) => Object.assign(Object.create(null), e) },
  ),
  row(
    'environ-own-keys',
    /only inherits REQUEST_METHOD/,
    {
      environFrom: (e: Loose) => Object.create(e),
    },
    { environFrom: (e: Loose) => ({ ...Object.create(e), ...e }) },
  ),
  row(
    'environ-not-frozen',
    /nothing can be added/,
    {
      environFrom: (e: Loose) => Object.preventExtensions(e),
    },
    { environFrom: (e: Loose) => ({ ...Object.freeze(e) }) },
  ),
  row(
    'environ-string-keys',
    /a symbol, "Symbol\(x\)"/,
    {
      environFrom: (e: Loose) => ({ ...e, [Symbol('x')]: 1 }),
    },
    { environFrom: (e: Loose) => ({ ...e, 'x.symbol': Symbol('x') }) },
  ),
  row(
    'environ-per-request',
    /that an earlier request had/,
    {
      serve: async (app, environ, start, server) => {
        await server.finish(app(environ, start));
        await server.finish(app(environ, start));
      },
    },
    {
      serve: async (app, environ, start, server) => {
        const copy = { ...environ };
        await server.finish(app(environ, start));
        await server.finish(app(copy, start));
      },
    },
  ),
  row(
    'environ-per-request',
    /from which an earlier request has read/,
    twoRequests('some'),
    twoRequests(''),
  ),
  row('environ-key-naming', /"userName"/, set('userName', 'x'), set('my_app.user_name', 'x')),
  row(
    'environ-reserved-wsgi',
    /"wsgi.multi_thread"/,
    set('wsgi.multi_thread', true),
    set('wsgi.input_terminated', true),
  ),
  row(
    'environ-after-app',
    /left "USER" in environ as the number 7/,
    {
      app: (environ, startResponse) => {
        Object.assign(environ, { USER: 7 });
        startResponse('200 OK', []);
        return [];
      },
    },
    {
      app: (environ, startResponse) => {
        Object.assign(environ, { 'app.user': 7, USER: 'me' });
        startResponse('200 OK', []);
        return [];
      },
    },
  ),

  // Variables of CGI
  row('has-request-method', /without REQUEST_METHOD/, without('REQUEST_METHOD'), valid),
  row('request-method-nonempty', /REQUEST_METHOD to ""/, set('REQUEST_METHOD', ''), valid),
  row(
    'request-method-token',
    /"GE T"/,
    set('REQUEST_METHOD', 'GE T'),
    set('REQUEST_METHOD', 'M-SEARCH'),
  ),
  row('request-method-case', /"get"/, set('REQUEST_METHOD', 'get'), set('REQUEST_METHOD', 'brew')),
  row(
    'has-server-name',
    /without SERVER_NAME/,
    {
      environFrom: ({ SERVER_NAME, ...rest }: Loose) => rest,
    },
    set('SERVER_NAME', 'example.org'),
  ),
  row('server-name-nonempty', /SERVER_NAME to ""/, set('SERVER_NAME', ''), valid),
  row(
    'server-name-syntax',
    /"::1"/,
    set('SERVER_NAME', '::1', { HTTP_HOST: 'a' }),
    set('SERVER_NAME', '[::1]'),
  ),
  row('has-server-port', /without SERVER_PORT/, without('SERVER_PORT'), valid),
  row('server-port-nonempty', /SERVER_PORT to ""/, set('SERVER_PORT', ''), valid),
  row('server-port-digits', /"80a"/, set('SERVER_PORT', '80a'), set('SERVER_PORT', '8080')),
  row('server-port-range', /"65536"/, set('SERVER_PORT', '65536'), set('SERVER_PORT', '65535')),
  row('has-server-protocol', /without SERVER_PROTOCOL/, without('SERVER_PROTOCOL'), valid),
  row(
    'server-protocol-syntax',
    /"HTTP\/1.1 x"/,
    set('SERVER_PROTOCOL', 'HTTP/1.1 x'),
    set('SERVER_PROTOCOL', 'HTTP/2'),
  ),
  row(
    'query-string-shape',
    /"\?a=1"/,
    set('QUERY_STRING', '?a=1'),
    set('QUERY_STRING', 'a=?&b=%20'),
  ),
  row(
    'query-string-shape',
    /"a#b"/,
    set('QUERY_STRING', 'a#b'),
    set('QUERY_STRING', '?a', { REQUEST_URI: '/??a' }),
  ),
  row('script-name-slash', /"app"/, set('SCRIPT_NAME', 'app'), set('SCRIPT_NAME', '/app')),
  row(
    'script-name-not-root',
    /SCRIPT_NAME to "\/"/,
    set('SCRIPT_NAME', '/'),
    set('SCRIPT_NAME', '', { PATH_INFO: '/' }),
  ),
  row(
    'script-name-trailing-slash',
    /"\/app\/"/,
    set('SCRIPT_NAME', '/app/'),
    set('SCRIPT_NAME', '/app/x'),
  ),
  row('path-info-slash', /"page"/, set('PATH_INFO', 'page'), set('PATH_INFO', '/page')),
  row(
    'path-info-asterisk',
    /for "GET"/,
    set('PATH_INFO', '*'),
    set('PATH_INFO', '*', { REQUEST_METHOD: 'OPTIONS' }),
  ),
  row(
    'path-info-authority',
    /"example.org:443" for "GET"/,
    set('PATH_INFO', 'example.org:443'),
    set('PATH_INFO', 'example.org:443', { REQUEST_METHOD: 'CONNECT' }),
  ),
  row(
    'path-info-absolute',
    /"http:\/\/a\/b"/,
    set('PATH_INFO', 'http://a/b'),
    set('PATH_INFO', '/http://a/b'),
  ),
  row(
    'script-or-path',
    /without SCRIPT_NAME and PATH_INFO/,
    {
      environFrom: ({ SCRIPT_NAME, PATH_INFO, ...rest }: Loose) => rest,
    },
    { environFrom: ({ SCRIPT_NAME, ...rest }: Loose) => rest },
  ),
  row(
    'script-or-path-nonempty',
    /left SCRIPT_NAME and PATH_INFO empty/,
    set('SCRIPT_NAME', '', { PATH_INFO: '' }),
    set('SCRIPT_NAME', '/app', { PATH_INFO: '' }),
  ),
  row('content-length-int', /"five"/, set('CONTENT_LENGTH', 'five'), set('CONTENT_LENGTH', '')),
  row('content-length-int', /"\+5"/, set('CONTENT_LENGTH', '+5'), set('CONTENT_LENGTH', '005')),
  row(
    'content-length-safe',
    /9007199254740993/,
    set('CONTENT_LENGTH', '9007199254740993'),
    set('CONTENT_LENGTH', '9007199254740991'),
  ),
  row(
    'no-http-content-type',
    /HTTP_CONTENT_TYPE/,
    set('HTTP_CONTENT_TYPE', 'a/b'),
    set('CONTENT_TYPE', 'a/b'),
  ),
  row(
    'no-http-content-length',
    /HTTP_CONTENT_LENGTH/,
    set('HTTP_CONTENT_LENGTH', '5'),
    set('CONTENT_LENGTH', '5'),
  ),
  row(
    'cgi-value-string',
    /SERVER_PORT to the number 80/,
    set('SERVER_PORT', 80),
    set('my.port', 80),
  ),
  row('cgi-value-latin1', /PATH_INFO to "\/ł"/, set('PATH_INFO', '/ł'), set('PATH_INFO', '/é')),
  row('cgi-value-ctl', /U\+000D/, set('HTTP_X', 'a\r\nb'), set('PATH_INFO', '/a\r\nb')),
  row(
    'http-key-shape',
    /"HTTP_User-Agent"/,
    set('HTTP_User-Agent', 'x'),
    set('HTTP_USER_AGENT', 'x'),
  ),
  row(
    'http-key-shape',
    /"HTTP_User_Agent"/,
    set('HTTP_User_Agent', 'x'),
    set("HTTP_X!#$%&'*+^`|~1", 'x'),
  ),
  row('http-host-syntax', /"a b"/, set('HTTP_HOST', 'a b'), set('HTTP_HOST', '[::1]:80')),
  row(
    'http-host-required',
    /without HTTP_HOST/,
    set('HTTP_HOST', undefined, { SERVER_PROTOCOL: 'HTTP/1.1' }),
    without('HTTP_HOST'),
  ),
  row(
    'te-with-length',
    /HTTP_TRANSFER_ENCODING/,
    set('CONTENT_LENGTH', '5', { HTTP_TRANSFER_ENCODING: 'chunked' }),
    set('CONTENT_LENGTH', '', { HTTP_TRANSFER_ENCODING: 'chunked' }),
  ),
  row('http-proxy-env', /HTTP_PROXY/, strict(set('HTTP_PROXY', 'x')), set('HTTP_PROXY', 'x')),
  row(
    'https-scheme-agree',
    /HTTPS to "on" and wsgi.url_scheme to "http"/,
    set('HTTPS', 'on', { 'wsgi.url_scheme': 'http' }),
    set('HTTPS', 'on'),
  ),

  // wsgi.*
  row('has-wsgi-version', /without wsgi.version/, without('wsgi.version'), valid),
  row('wsgi-version-value', /"1.0"/, set('wsgi.version', '1.0'), valid),
  row('wsgi-version-value', /array of 3 items/, set('wsgi.version', [1, 0, 0]), valid),
  row(
    'wsgi-version-value',
    /the number 1, the number 1/,
    set('wsgi.version', [1, 1]),
    set('wsgi.version', Object.freeze([1, 0])),
  ),
  row(
    'has-url-scheme',
    /without wsgi.url_scheme/,
    set('wsgi.url_scheme', undefined, { SERVER_PORT: '80' }),
    valid,
  ),
  row(
    'url-scheme-known',
    /"http:"/,
    set('wsgi.url_scheme', 'http:', { SERVER_PORT: '80' }),
    set('wsgi.url_scheme', 'https'),
  ),
  row('has-wsgi-input', /without wsgi.input/, without('wsgi.input'), valid),
  row('has-wsgi-errors', /without wsgi.errors/, without('wsgi.errors'), valid),
  row('has-multithread', /without wsgi.multithread/, without('wsgi.multithread'), valid),
  row('has-multiprocess', /without wsgi.multiprocess/, without('wsgi.multiprocess'), valid),
  row('has-run-once', /without wsgi.run_once/, without('wsgi.run_once'), valid),
  row(
    'flag-boolean',
    /wsgi.run_once to the number 1/,
    set('wsgi.run_once', 1),
    set('wsgi.run_once', true),
  ),
  row(
    'input-methods',
    /without readline\(\)/,
    set('wsgi.input', { read() {} }),
    set('wsgi.input', new BytesIO()),
  ),
  row(
    'input-methods',
    /without readline\(\)/,
    set('wsgi.input', Readable.from([])),
    set('wsgi.input', Object.assign(Readable.from([]), { readline() {}, readlines() {} })),
  ),
  row(
    'errors-methods',
    /without writelines\(\)/,
    set('wsgi.errors', { write() {}, flush() {} }),
    set('wsgi.errors', new StringIO()),
  ),

  // The call
  row(
    'app-arity',
    /with 3 arguments/,
    {
      serve: (app, environ, start, server) => server.finish(app(environ, start, 1)),
    },
    valid,
  ),
  row(
    'start-response-callable',
    /passed the number 5/,
    {
      serve: (app, environ) => app(environ, 5),
    },
    valid,
  ),
  row('app-callable', /is the number 5/, { app: 5 as Loose }, { app: answer().bind(null) }),
];

// Two requests, each with a copy of one environ, and so with one input.
function twoRequests(text: string): Exchange {
  return {
    app: async (environ, startResponse) => {
      await environ['wsgi.input'].read();
      startResponse('200 OK', []);
      return [];
    },
    environ: { 'wsgi.input': new BytesIO(new TextEncoder().encode(text)) },
    serve: async (app, environ, start, server) => {
      await server.finish(await app({ ...environ }, start));
      await server.finish(await app({ ...environ }, start));
    },
  };
}
