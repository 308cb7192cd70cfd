// The request, as the server describes it to the application: one check for each promise
// that environ makes.

import { ENVIRON, DETAILS, NotApplicable, UNICODE, checksOf } from '../definition.ts';
import {
  type RequestParts, type Trial, bytes, respond, respondWith, show,
} from '../trial.ts';

const check = checksOf('environ');

const STRINGS = [
  'REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'CONTENT_TYPE',
  'CONTENT_LENGTH', 'SERVER_NAME', 'SERVER_PORT', 'SERVER_PROTOCOL', 'SERVER_SOFTWARE',
  'GATEWAY_INTERFACE', 'REMOTE_ADDR', 'REMOTE_HOST', 'REMOTE_PORT', 'REQUEST_URI', 'HTTPS',
];

// ---- The call and the object

check('environ-arguments', DETAILS,
  'The application is called with two positional arguments: environ and startResponse.',
  'Call application(environ, startResponse).',
  async (trial) => {
    await trial.exchange(respond(['ok']));
    const kinds = trial.calls[0]?.args.map((arg) => typeof arg);
    return trial.same('the types of the arguments', kinds, ['object', 'function']);
  });

check('environ-plain', DETAILS,
  'environ is a plain object: its keys are strings, and its own.',
  'Build environ as an object literal, or with Object.create(null).',
  async (trial) => {
    await trial.environ();
    const original = trial.calls[0]?.environ as object;
    const prototype: unknown = Object.getPrototypeOf(original);
    if (prototype !== Object.prototype && prototype !== null) {
      return `gave ${show(original)} as environ, which is not a plain object`;
    }
    const inherited = ['REQUEST_METHOD', 'SERVER_NAME', 'wsgi.version', 'wsgi.input']
      .find((key) => key in original && !Object.hasOwn(original, key));
    if (inherited !== undefined) return `let environ inherit ${inherited}`;
    const { length } = Object.getOwnPropertySymbols(original);
    return length === 0 ? undefined : 'put symbols among the keys of environ';
  });

check('environ-mutable', DETAILS,
  'The application may change environ however it likes.',
  'Hand over an ordinary object: no freeze, no seal, no getters.',
  async (trial) => {
    let problem: string | undefined;
    await trial.exchange((environ, startResponse) => {
      try {
        environ.PATH_INFO = '/changed';
        environ['kit.added'] = 1;
        delete (environ as Partial<typeof environ>).REQUEST_METHOD;
        const isChanged = environ.PATH_INFO === '/changed' && environ['kit.added'] === 1;
        if (!isChanged || 'REQUEST_METHOD' in environ) problem = 'ignored changes of environ';
      } catch (error) {
        problem = `passed an environ that cannot be changed (${String(error)})`;
      }
      return respond(['ok'])(environ, startResponse);
    });
    return problem;
  });

check('environ-fresh', DETAILS,
  'Each request has an environ of its own, without what an application left in another.',
  'Make a new object for each request, or a copy: { ...base }.',
  async (trial) => {
    const left: unknown[] = [];
    const app = respondWith((environ) => {
      left.push(environ['kit.left']);
      environ['kit.left'] = 'behind';
      return [bytes('ok')];
    });
    await trial.exchange(app, { target: '/first', headers: ['X-First: 1'] });
    await trial.exchange(app, { target: '/second' });
    const [first, second] = trial.calls;
    if (first?.environ === second?.environ) return 'passed the same environ to two requests';
    if (left[1] !== undefined) return 'passed an environ with the keys of an earlier request';
    return second?.given['HTTP_X_FIRST'] === undefined
      ? undefined
      : 'passed HTTP_X_FIRST, a header of an earlier request';
  });

// ---- The request line

value('environ-method', 'REQUEST_METHOD', { method: 'DELETE' }, 'DELETE', ENVIRON,
  'REQUEST_METHOD is the method of the request line.',
  'Set it to request.method.');

check('environ-method-case', 'RFC 9110 §9.1',
  'REQUEST_METHOD is the method as it was sent, of any kind.',
  'Pass the method on as it is; let the application refuse what it does not know.',
  async (trial) => {
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'OPTIONS'];
    const seen = [];
    for (const method of methods) {
      const body = /^P/.test(method) ? 'x' : undefined;
      const request = { method, ...(body !== undefined && { body }) };
      seen.push((await trial.environ(request))['REQUEST_METHOD']);
    }
    return trial.same('REQUEST_METHOD in turn', seen, methods);
  });

check('environ-path', ENVIRON,
  'SCRIPT_NAME and PATH_INFO together are the path of the request.',
  'Set SCRIPT_NAME to the mount point, \'\' at the root, and PATH_INFO to the rest.',
  (trial) => checkPath(trial, '/a/path', '/a/path'));

check('environ-path-root', ENVIRON,
  'The root of the site has the PATH_INFO "/", and an empty SCRIPT_NAME.',
  'Write the mount point of a whole site as \'\', never as \'/\'.',
  async (trial) => {
    const { SCRIPT_NAME = '', PATH_INFO = '' } = await trial.environ({ target: '/' });
    const mount = trial.mounted('/').slice(0, -1);
    const all = [SCRIPT_NAME, PATH_INFO];
    return trial.same('SCRIPT_NAME and PATH_INFO of /', all, [mount, '/']);
  });

check('environ-path-decoded', 'RFC 3875 §4.1.5',
  'PATH_INFO is percent-decoded.',
  'Replace each %XX of the path by the character with that code.',
  (trial) => checkPath(trial, '/a%20b%41%2f%3Fc', '/a bA/?c'));

check('environ-path-decoded-once', 'RFC 3986 §2.4',
  'PATH_INFO is decoded exactly once.',
  'Decode the path in one place.',
  (trial) => checkPath(trial, '/%2541%252F', '/%41%2F'));

check('environ-path-utf8', UNICODE,
  'A path in UTF-8 arrives as bytes, each of them a character up to U+00FF.',
  'Decode with String.fromCharCode(byte), not with decodeURIComponent.',
  (trial) => checkPath(trial, '/caf%C3%A9', '/caf\xc3\xa9'));

check('environ-path-byte', UNICODE,
  'A path may hold any byte, even one that is not UTF-8.',
  'Decode with String.fromCharCode(byte); decodeURIComponent throws here.',
  (trial) => checkPath(trial, '/%FF%80', '/\xff\x80'));

check('environ-path-bad-percent', 'RFC 3986 §2.1',
  'A percent sign that begins no escape does not stop the server.',
  'Leave it as it is, or answer 400.',
  async (trial) => {
    const { code } = await trial.exchange(respond(['ok']), { target: '/100%/%zz' });
    if (trial.calls.length === 0 && code >= 400 && code < 500) return undefined;
    const { SCRIPT_NAME = '', PATH_INFO = '' } = trial.calls[0]?.given ?? {};
    const path = `${String(SCRIPT_NAME)}${String(PATH_INFO)}`;
    return trial.same('the path /100%/%zz', path, trial.mounted('/100%/%zz'));
  });

check('environ-path-plus', 'RFC 3986 §2.2',
  'A plus sign in a path is a plus sign.',
  'Decode only %XX; "+" means a space in form data alone.',
  (trial) => checkPath(trial, '/1+1', '/1+1'));

check('environ-path-untouched', 'RFC 3986 §6',
  'The segments of a path arrive as they were sent: empty, "." or "..", and in any case.',
  'Split the target at "?" and do no more; new URL() resolves dots.',
  (trial) => checkPath(trial, '/A//b/./c/../d/', '/A//b/./c/../d/'));

check('environ-path-two-slashes', 'RFC 9112 §3.2.1',
  'A path that begins with two slashes is a path.',
  'Split the target yourself; new URL(target, base) takes //name for a host.',
  (trial) => checkPath(trial, '//double/slash', '//double/slash'));

check('environ-path-colon', 'RFC 9112 §3.2.1',
  'A path may contain a colon, a semicolon, an at sign and quotation marks.',
  'Split the target at "?" and do no more.',
  (trial) => checkPath(trial, '/a:b;c@d/\'e\'&f=g', '/a:b;c@d/\'e\'&f=g'));

check('environ-absolute-target', 'RFC 9112 §3.2.2',
  'A server accepts the absolute form of a target, and takes the path from it.',
  'Remove scheme and host from a target that does not begin with "/".',
  async (trial) => {
    await trial.serve(respond(['ok']));
    const target = `http://${trial.url?.host}/absolute?x=1`;
    const { SCRIPT_NAME = '', PATH_INFO = '', QUERY_STRING } = await trial.environ({ target });
    return trial.same(`the path and query of ${target}`,
      [`${String(SCRIPT_NAME)}${String(PATH_INFO)}`, QUERY_STRING],
      [trial.mounted('/absolute'), 'x=1']);
  });

check('environ-asterisk', 'RFC 9112 §3.2.4',
  'OPTIONS * is answered, by the application or by the server.',
  'Expect a target that does not begin with "/".',
  async (trial) => {
    const { code } = await trial.exchange(respond(['ok']), { method: 'OPTIONS', target: '*' });
    return code < 500 ? undefined : `answered OPTIONS * with ${code}`;
  });

value('environ-query', 'QUERY_STRING', { target: '/?a=%20b+c&d=%41' }, 'a=%20b+c&d=%41', ENVIRON,
  'QUERY_STRING is what follows the first "?", still encoded.',
  'Cut the target at its first "?", and do not decode what follows.');

value('environ-query-question-mark', 'QUERY_STRING', { target: '/a?b?c=?d' }, 'b?c=?d', ENVIRON,
  'Only the first "?" of a target ends the path.',
  'Cut the target at indexOf("?"); split("?") loses the rest.');

check('environ-query-empty', ENVIRON,
  'Without a query, QUERY_STRING is empty or absent.',
  'Set it to \'\'; leave a key out rather than set it to undefined.',
  async (trial) => {
    const environ = await trial.environ({ target: '/path' });
    if (!('QUERY_STRING' in environ)) return undefined;
    return trial.same('QUERY_STRING of /path', environ['QUERY_STRING'], '');
  });

check('environ-long-target', 'RFC 9112 §3',
  'A target of 4000 characters arrives in full.',
  'Do not cut the target; a server may answer 414 to one that is too long.',
  async (trial) => {
    const query = 'x'.repeat(4000);
    const response = await trial.exchange(respond(['ok']), { target: `/?${query}` });
    if (trial.calls.length === 0 && [414, 431].includes(response.code)) {
      throw new NotApplicable(`the server accepts shorter targets only (${response.code})`);
    }
    const { length } = String(trial.calls[0]?.given['QUERY_STRING']);
    return trial.same('the length of a query of 4000 characters', length, 4000);
  });

value('environ-protocol', 'SERVER_PROTOCOL', {}, 'HTTP/1.1', ENVIRON,
  'SERVER_PROTOCOL is the version of the request.',
  'Set it to `HTTP/${request.httpVersion}`.');

value('environ-protocol-1-0', 'SERVER_PROTOCOL', { version: 'HTTP/1.0' }, 'HTTP/1.0', ENVIRON,
  'SERVER_PROTOCOL of an HTTP/1.0 request is HTTP/1.0.',
  'Set it to `HTTP/${request.httpVersion}`, not to the version that the server speaks.');

// ---- The server

check('environ-server-name', ENVIRON,
  'SERVER_NAME is a host name or address, never empty.',
  'Set it to the host that the server binds, or to the name of the machine.',
  async (trial) => {
    const { SERVER_NAME: name } = await trial.environ();
    const isHost = typeof name === 'string' && /^(?:[\w.-]+|\[?[0-9a-f:.%\w]+\]?)$/i.test(name);
    return isHost ? undefined : `gave ${show(name)} for SERVER_NAME`;
  });

check('environ-server-port', ENVIRON,
  'SERVER_PORT is the port of the server, as a string of digits.',
  'Set it to String(server.address().port).',
  async (trial) => {
    const { SERVER_PORT: port } = await trial.environ();
    const usual = trial.url?.protocol === 'https:' ? '443' : '80';
    return trial.same('SERVER_PORT', port, trial.url?.port || usual);
  });

check('environ-strings', ENVIRON,
  'Every CGI variable is a string; one that does not apply is left out.',
  'Write String(value), and leave a key out rather than set it to undefined or null.',
  async (trial) => {
    const environ = await trial.environ({ method: 'POST', body: 'x', headers: ['X-One: 1'] });
    for (const [key, value] of Object.entries(environ)) {
      const isCgi = STRINGS.includes(key) || key.startsWith('HTTP_');
      if (isCgi && typeof value !== 'string') return `gave ${show(value)} for ${key}`;
    }
    return undefined;
  });

check('environ-strings-latin1', UNICODE,
  'No string of environ has a character above U+00FF.',
  'Pass bytes on as Latin-1 characters: buffer.toString(\'latin1\').',
  async (trial) => {
    const target = '/%E2%82%AC?%E2%82%AC';
    const headers = ['X-Euro: \xe2\x82\xac', 'Cookie: a=\xe2\x82\xac'];
    const environ = await trial.environ({ target, headers });
    for (const [key, value] of Object.entries(environ)) {
      if (typeof value !== 'string' || !/[^\0-\xff]/.test(value)) continue;
      return `gave ${show(value)} for ${key}, with a character above U+00FF`;
    }
    return undefined;
  });

// ---- The headers

check('environ-header', ENVIRON,
  'A request header is in environ, under HTTP_ and its name in upper case with "_" for "-".',
  'Go through all headers: environ[`HTTP_${name.toUpperCase().replaceAll("-", "_")}`] = value.',
  async (trial) => {
    const environ = await trial.environ({
      headers: ['User-Agent: kit', 'x-lower-case: 1', 'X-UPPER-CASE: 2', 'Cookie: a=1; b=2'],
    });
    const keys = ['HTTP_USER_AGENT', 'HTTP_X_LOWER_CASE', 'HTTP_X_UPPER_CASE', 'HTTP_COOKIE'];
    return trial.same(keys.join(', '), keys.map((key) => environ[key]),
      ['kit', '1', '2', 'a=1; b=2']);
  });

check('environ-header-host', ENVIRON,
  'HTTP_HOST is the Host header, with its port.',
  'Treat Host like every other header.',
  async (trial) => {
    const environ = await trial.environ();
    return trial.same('HTTP_HOST', environ['HTTP_HOST'], trial.url?.host);
  });

value('environ-header-empty', 'HTTP_X_EMPTY', { headers: ['X-Empty:'] }, '', ENVIRON,
  'A header with an empty value is in environ, with an empty string.',
  'Test for undefined, not for truth, when headers are copied.');

value('environ-header-trimmed', 'HTTP_X_WIDE', { headers: ['X-Wide: \t two  words \t'] },
  'two  words', 'RFC 9112 §5.1',
  'White space around the value of a header does not belong to it; within, it does.',
  'Trim the value, and do no more to it.');

value('environ-header-colon', 'HTTP_REFERER', { headers: ['Referer: http://a.example:80/b'] },
  'http://a.example:80/b', 'RFC 9112 §5',
  'Only the first colon of a header line ends its name.',
  'Cut the line at indexOf(":"); split(":") loses the rest.');

value('environ-header-latin1', 'HTTP_X_NAME', { headers: ['X-Name: caf\xe9'] }, 'caf\xe9', UNICODE,
  'The bytes of a header\'s value arrive as Latin-1 characters.',
  'Read the head as Latin-1, not as UTF-8.');

check('environ-header-joined', 'RFC 9110 §5.3',
  'A header that comes several times is one value, joined by commas, in order.',
  'Join the values with ", ".',
  async (trial) => {
    const environ = await trial.environ({ headers: ['X-Many: a', 'X-Other: -', 'x-many: b'] });
    const value = environ['HTTP_X_MANY'];
    const spaced = typeof value === 'string' ? value.replace(/\s*,\s*/, ', ') : value;
    return trial.same('HTTP_X_MANY, sent with "a" and with "b"', spaced, 'a, b');
  });

check('environ-header-many', 'RFC 9110 §5.4',
  'All of 90 headers arrive.',
  'Do not stop at a number of headers; answer 431 if there are too many.',
  async (trial) => {
    const headers = Array.from({ length: 90 }, (_, index) => `X-Number-${index}: ${index}`);
    const environ = await trial.environ({ headers });
    const count = Object.keys(environ).filter((key) => key.startsWith('HTTP_X_NUMBER_')).length;
    return trial.same('the number of the 90 headers that arrived', count, 90);
  });

check('environ-header-absent', ENVIRON,
  'A header that was not sent is not in environ.',
  'Copy only the headers that the request has; do not make up others.',
  async (trial) => {
    const sent = ['HTTP_HOST', 'HTTP_X_ONE'];
    const environ = await trial.environ({ headers: ['X-One: 1'] });
    const other = Object.keys(environ)
      .find((key) => key.startsWith('HTTP_') && !sent.includes(key));
    if (other === undefined) return undefined;
    return `gave ${show(environ[other])} for ${other}, which the client did not send`;
  });

// ---- The body's headers

value('environ-content-type', 'CONTENT_TYPE',
  { method: 'POST', body: 'x', headers: ['Content-Type: text/x-kit; charset=utf-8'] },
  'text/x-kit; charset=utf-8', ENVIRON,
  'CONTENT_TYPE is the Content-Type of the request.',
  'Set CONTENT_TYPE, without HTTP_, to that header.');

value('environ-content-length', 'CONTENT_LENGTH', { method: 'POST', body: 'twelve bytes' }, '12',
  ENVIRON,
  'CONTENT_LENGTH is the Content-Length of the request, as a string of digits.',
  'Set CONTENT_LENGTH, without HTTP_, to that header.');

check('environ-content-absent', ENVIRON,
  'Without a body, CONTENT_LENGTH and CONTENT_TYPE are empty or absent.',
  'Leave them out, or set them to \'\'; not to undefined or "undefined".',
  async (trial) => {
    const environ = await trial.environ();
    // wsgiref itself sets a default type, and RFC 3875 lets a length be 0.
    const accepted = { CONTENT_LENGTH: ['', '0'], CONTENT_TYPE: ['', 'text/plain'] };
    for (const [key, values] of Object.entries(accepted)) {
      const isAccepted = !(key in environ) || values.includes(environ[key] as string);
      if (!isAccepted) return `gave ${show(environ[key])} for ${key} of a GET without a body`;
    }
    return undefined;
  });

check('environ-content-once', ENVIRON,
  'CONTENT_TYPE and CONTENT_LENGTH take the place of HTTP_CONTENT_TYPE and HTTP_CONTENT_LENGTH.',
  'Leave these two headers out of the loop that makes the HTTP_ keys.',
  async (trial) => {
    const headers = ['Content-Type: text/plain'];
    const environ = await trial.environ({ method: 'POST', body: 'x', headers });
    const key = ['HTTP_CONTENT_TYPE', 'HTTP_CONTENT_LENGTH'].find((each) => each in environ);
    return key === undefined ? undefined : `put ${key} into environ`;
  });

// ---- The wsgi.* variables

check('environ-wsgi-version', ENVIRON,
  'wsgi.version is [1, 0].',
  'Set it to [1, 0].',
  async (trial) => {
    const { 'wsgi.version': version } = await trial.environ();
    const isRight = Array.isArray(version) && version.length === 2 &&
      version[0] === 1 && version[1] === 0;
    return isRight ? undefined : `gave ${show(version)} for wsgi.version; expected was [1, 0]`;
  });

check('environ-wsgi-url-scheme', ENVIRON,
  'wsgi.url_scheme is the scheme of the request\'s URL: "http" or "https".',
  'Set it to "https" where the connection is encrypted, otherwise to "http".',
  async (trial) => {
    const { 'wsgi.url_scheme': scheme } = await trial.environ();
    return trial.same('wsgi.url_scheme', scheme, trial.url?.protocol.replace(':', ''));
  });

for (const [key, meaning] of [
  ['wsgi.multithread', 'another thread may run the application at the same time'],
  ['wsgi.multiprocess', 'another process may run the application at the same time'],
  ['wsgi.run_once', 'the application is run only once in this process'],
] as const) {
  check(`environ-${key.replace(/[._]/g, '-')}`, ENVIRON,
    `${key} is true or false: whether ${meaning}.`,
    `Set ${key}, to false where in doubt.`,
    async (trial) => {
      const flag = (await trial.environ())[key];
      return typeof flag === 'boolean' ? undefined : `gave ${show(flag)} for ${key}`;
    });
}

for (const [key, methods] of [
  ['wsgi.input', ['read', 'readline', 'readlines', Symbol.asyncIterator]],
  ['wsgi.errors', ['write', 'writelines', 'flush']],
] as const) {
  check(`environ-${key.replace('.', '-')}`, 'PEP 3333, "Input and Error Streams"',
    `${key} has the methods ${methods.map(String).join(', ')}.`,
    key === 'wsgi.input' ? 'Use new StreamInput(source).' : 'Use new ErrorOutput(process.stderr).',
    async (trial) => {
      const stream = (await trial.environ())[key];
      const missing = methods.find((name) => typeof Object(stream)[name] !== 'function');
      return missing === undefined
        ? undefined
        : `gave ${show(stream)} for ${key}, without the method ${String(missing)}`;
    });
}

// ---- The helpers of the rows above

/** A check that one variable has one value for one request. */
function value(
  id: string, key: string, request: RequestParts, expected: string,
  source: string, rule: string, hint: string,
): void {
  check(id, source, rule, hint, async (trial) => {
    const environ = await trial.environ(request);
    return trial.same(key, environ[key], expected);
  });
}

async function checkPath(
  trial: Trial, target: string, expected: string,
): Promise<string | undefined> {
  const { SCRIPT_NAME: script = '', PATH_INFO: path = '' } = await trial.environ({ target });
  const mount = trial.mounted('/').slice(0, -1);
  if (script === '/') return 'gave "/" for SCRIPT_NAME';
  const joined = typeof script === 'string' && typeof path === 'string' ? script + path : path;
  return trial.same(`SCRIPT_NAME and PATH_INFO of ${target}`, joined, mount + expected);
}
