// Which names hold secrets, and what is left of a text when they are masked.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { StringIO, setupTestingDefaults, testClient, trace, validator } from '../lib/index.ts';
import { formatException } from '../lib/handlers/exception.ts';
import { MASK, escapeControls, isSecret, maskQuery, maskText, maskValue } from '../lib/secrets.ts';

describe('a name is secret', () => {
  const secret = [
    'Authorization', 'HTTP_AUTHORIZATION', 'Proxy-Authorization', 'HTTP_COOKIE', 'Set-Cookie',
    'X-Auth',
    'token', 'access_token', 'accessToken', 'X-API-Key', 'apikey', 'apiKey', 'key', 'privateKey',
    'client_secret',
    'session', 'PHPSESSID', 'JSESSIONID', 'sid', 'connect.sid', 'jwt', 'HTTP_X_JWT_ASSERTION',
    'csrf_token', 'X-CSRF', 'XSRF-TOKEN',
    'password', 'passwd', 'pwd', 'passphrase', 'HTTP_PROXY', 'X-Amz-Signature', 'otp', 'key_id',
    'pass', 'smtp_pass', 'dbPass',
  ];
  const open = [
    'Host', 'HTTP_USER_AGENT', 'AUTH_TYPE', 'author', 'HTTP_KEEP_ALIVE', 'keyboard', 'monkey',
    'keyword', 'REMOTE_USER',
    'code', 'status', 'path', 'HTTP_PROXY_CONNECTION', 'passenger', 'side', 'HTTP_ACCEPT',
    'shipping', 'compass', 'passed', 'passThrough', 'bypass',
  ];
  for (const name of secret) test(name, () => assert.equal(isSecret(name), true));
  for (const name of open) test(`and ${name} is not`, () => assert.equal(isSecret(name), false));
});

describe('a text is masked', () => {
  const rows: Array<[text: string, masked: string]> = [
    ['/path?a=1&token=x&b=2', `/path?a=1&token=${MASK}&b=2`],
    ['/?%74oken=x', `/?%74oken=${MASK}`],
    ['/cb?code=x&state=1', `/cb?code=${MASK}&state=1`],
    ['/;jsessionid=x?a=1', `/;jsessionid=${MASK}?a=1`],
    ['postgres://ada:lovelace@db/x', `postgres://${MASK}@db/x`],
    [
      'see https://a@b.example/?key=1#top and /?pin=2',
      `see https://${MASK}@b.example/?key=${MASK}#top and /?pin=${MASK}`,
    ],
    ['/?next=http%3A%2F%2Fada%3Alovelace%40db%2F', `/?next=http://${MASK}@db/`],
    ['/?next=%2Fa%3Fb%3D1', '/?next=%2Fa%3Fb%3D1'],
    ['amqp://bob:p@ss@w0rd@db/x', `amqp://${MASK}@db/x`],
    ['"//a","b@c"', '"//a","b@c"'],
    ['password=x&a=1', `password=${MASK}&a=1`],
    ['with DB_PASS=x in it', `with DB_PASS=${MASK} in it`],
    ["[password='x y', a=1]", `[password=${MASK}, a=1]`],
    ['token==x and key=>x', 'token==x and key=>x'],
    ['Authorization: Bearer x', `Authorization: Bearer ${MASK}`],
    ['GET /\r\nX-Api-Key: x\r\nHost: a', `GET /\r\nX-Api-Key: ${MASK}\r\nHost: a`],
    ["{ a: 'Cookie: a=x; b=y', c: 1 }", `{ a: 'Cookie: ${MASK}', c: 1 }`],
    ['authorization: Digest name="x", uri="y"', `authorization: Digest ${MASK}`],
    ['X-Api-Key: x y', `X-Api-Key: ${MASK}`],
    ['unexpected token: x', 'unexpected token: x'],
    ['{"password":"x\\"y","a":1}', `{"password":"${MASK}","a":1}`],
    ['{"pin":1234,"a":null}', `{"pin":${MASK},"a":null}`],
    ['"{\\"password\\":\\"x\\",\\"a\\":1}"', `"{\\"password\\":\\"${MASK}\\",\\"a\\":1}"`],
    ["{ password: 'x', a: 1 }", `{ password: '${MASK}', a: 1 }`],
    ['{"a":"/?token=x","b":1}', `{"a":"/?token=${MASK}","b":1}`],
    ['/?token=x"y&a=1', `/?token=${MASK}&a=1`],
    ["no such key: 'x'", "no such key: 'x'"],
    ['nothing to hide', 'nothing to hide'],
  ];
  for (const [text, masked] of rows) test(text, () => assert.equal(maskText(text), masked));

  test('in little time, however long it is', () => {
    const start = performance.now();
    for (const part of ['a', 'a-', 'a.', ',', ', ', '\\', '{"a":', '"', '\\"', '//', '?', ';a', 'cookie: "', 'a="', "a: '"]) {
      maskText(part.repeat(50_000));
    }
    assert.ok(performance.now() - start < 5000);
  });

  test('in a query of its own, from its first parameter on', () => {
    assert.equal(maskQuery('token=x&a=1'), `token=${MASK}&a=1`);
    assert.equal(maskValue('QUERY_STRING', 'password=x'), `password=${MASK}`);
  });

  test('whole, if its name is secret', () => {
    assert.equal(maskValue('Set-Cookie', 'a=b'), MASK);
    assert.equal(maskValue('HTTP_COOKIE', ''), '');
    assert.equal(maskValue('Location', '/?token=x'), `/?token=${MASK}`);
  });
});

describe('a terminal gets no control character', () => {
  test('of a text', () => {
    assert.equal(
      escapeControls('a\tb\nc\x1b[2J\x07\r\x9b\u202e'), 'a\tb\nc\\x1b[2J\\x07\\x0d\\x9b\\u202e',
    );
  });

  test('of a stack trace', () => {
    assert.match(
      formatException(new Error('sent \x1b]0;title\x07')),
      /^Error: sent \\x1b\]0;title\\x07\n {4}at /,
    );
  });

  test('nor a secret, of a trace: neither of the request nor of the response', async () => {
    let drawn = '';
    const app = trace(
      (_environ, startResponse) => {
        startResponse('302 Found', [
          ['Set-Cookie', 'hide-1'], ['Location', '/?token=hide-2\x1b'], ['X-Seen', 'seen'],
        ]);
        return [];
      },
      { write: (line) => (drawn += line) },
    );
    const environ = {
      HTTP_COOKIE: 'hide-3', HTTP_X_API_KEY: 'hide-4', QUERY_STRING: 'session=hide-5&a=seen',
      REQUEST_URI: '/\x1b?session=hide-6', 'wsgi.errors': new StringIO(),
    };
    setupTestingDefaults(environ);
    await app(environ as never, () => () => {});
    assert.doesNotMatch(drawn, /hide-|[\x00-\x09\x0b-\x1f]/);
    assert.match(drawn, /HTTP_COOKIE = '••••••'/);
    assert.match(drawn, /a=seen'[\s\S]*X-Seen: seen/);
  });
});

describe('a report of the validator shows no secret', () => {
  const report = async (
    environ: Record<string, string>, headers: Array<[string, string]>,
  ): Promise<string> => {
    const reports: string[] = [];
    const onWarning = (error: Error): void => void reports.push(error.message);
    const app = validator((_environ, startResponse) => {
      startResponse('200 OK', headers);
      return [];
    }, { onWarning });
    const { fetch } = testClient(app, { validate: false, environ });
    await fetch('/').catch((error: Error) => reports.push(error.message));
    return reports.join('\n');
  };
  const plain: [string, string] = ['Content-Type', 'text/plain'];

  test('of a header of the response', async () => {
    const text = await report({}, [plain, ['Set-Cookie', 'session=abc\n']]);
    assert.match(
      text, /passed the header "Set-Cookie" with the value "••••••", which contains U\+000A/,
    );
    assert.doesNotMatch(text, /abc/);
  });

  test('of a header of the request', async () => {
    const text = await report({ HTTP_COOKIE: 'session=abc\u0100' }, [plain]);
    assert.match(text, /set HTTP_COOKIE to "••••••"/);
    assert.doesNotMatch(text, /abc/);
  });

  test('of a query', async () => {
    const text = await report({ QUERY_STRING: 'a=1&token=abc#top' }, [plain]);
    assert.match(text, /set QUERY_STRING to "a=1&token=••••••#top"/);
  });
});
