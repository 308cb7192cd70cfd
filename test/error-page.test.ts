// The page that is shown when an application throws.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { BytesIO, type ResponseBody, SimpleHandler, StringIO, type WSGIApplication, type WSGIEnvironment, errorPage, setupTestingDefaults } from '../lib/index.ts';
import { bytes, text } from './support/bytes.ts';

interface Answer {
  head: string;
  body: string;
  errors: string;
}

async function ask(app: WSGIApplication, given: Partial<WSGIEnvironment> = {}): Promise<Answer> {
  const environ: Partial<WSGIEnvironment> = { HTTP_ACCEPT: 'text/html,*/*', ...given };
  setupTestingDefaults(environ);
  const stdout = new BytesIO();
  const stderr = new StringIO();
  await new SimpleHandler(new BytesIO(), stdout, stderr, environ).run(errorPage(app));
  const [head = '', ...body] = text(stdout.getValue()).split('\r\n\r\n');
  return { head, body: body.join('\r\n\r\n'), errors: stderr.getValue() };
}

function failHere(): never {
  throw new Error('the <b>settings</b> & "more"', { cause: new TypeError('the reason') });
}

const failing: WSGIApplication = () => failHere();

describe('errorPage answers', () => {
  test('500 with a page that runs nothing and fetches nothing', async () => {
    const { head, body } = await ask(failing);
    assert.match(head, /^HTTP\/1\.0 500 Internal Server Error\r\n/);
    assert.match(head, /\r\nContent-Type: text\/html; charset=utf-8\r\n/);
    assert.match(head, /\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n/);
    assert.match(head, /\r\nX-Content-Type-Options: nosniff\r\n/);
    assert.match(head, /\r\nCache-Control: no-store/);
    assert.match(head, new RegExp(`\r\nContent-Length: ${bytes(body).length}(\r\n|$)`));
    assert.match(body, /^<!doctype html>/);
    assert.doesNotMatch(body, /<script|<link|<img|src=|href=|javascript:|url\(/);
  });

  test('with the error, escaped, its cause, and the failing line of each call', async () => {
    const { body } = await ask(failing);
    assert.match(body, /<span class="name">Error<\/span>the &lt;b&gt;settings&lt;\/b&gt; &amp; &quot;more&quot;<\/h1>/);
    assert.match(body, /because of<\/p>\s*<section>\s*<h2><span class="name">TypeError<\/span>the reason<\/h2>/);
    assert.match(body, /<b>failHere<\/b> .*error-page\.test\.[jt]s:\d+/);
    assert.match(body, /<mark><i>\d+<\/i> +throw new Error\(&#39;the &lt;b&gt;settings/);
    assert.match(body, /<summary>\d+ calls in libraries<\/summary>/);
  });

  test('plain text to a client that does not ask for HTML', async () => {
    for (const accept of ['*/*', 'application/json', undefined]) {
      const { head, body } = await ask(failing, { HTTP_ACCEPT: accept });
      assert.match(head, /\r\nContent-Type: text\/plain; charset=utf-8\r\n/);
      assert.match(body, /^GET \/\n\nError: the <b>settings<\/b> & "more"\n {2}at failHere, /);
      assert.match(body, /\n {2}> +\d+ \| +throw new Error\(/);
      assert.match(body, /\nCaused by TypeError: the reason\n/);
    }
  });

  const ways: Array<[string, WSGIApplication]> = [
    ['that rejects', async () => failHere()],
    ['that fails after startResponse', (_, start) => (start('200 OK', [['X-Mine', 'yes']]), failHere())],
    ['that fails in a generator', function* () { failHere(); }],
    ['that fails in an async generator, after an empty chunk', async function* (_, start) { start('200 OK', []); yield bytes(''); failHere(); }],
    ['that fails in a body of its own', () => ({ [Symbol.iterator]: () => ({ next: failHere }) })],
  ];
  for (const [title, app] of ways) {
    test(`for an application ${title}, and reports once`, async () => {
      const { head, body, errors } = await ask(app);
      assert.match(head, /^HTTP\/1\.0 500 /);
      assert.doesNotMatch(head, /X-Mine/);
      assert.match(body, /failHere/);
      assert.equal(errors.match(/Error: the <b>settings/g)?.length, 1);
    });
  }

  const thrown: Array<[string, unknown, RegExp]> = [
    ['undefined', undefined, /Thrown, though it is no Error<\/span>undefined/],
    ['a string', '<i>', /Thrown, though it is no Error<\/span>&quot;&lt;i&gt;&quot;/],
    ['a frozen error', Object.freeze(new Error('frozen')), />frozen</],
    ['an error whose stack cannot be read', Object.defineProperty(new Error('hidden'), 'stack', { get() { throw new Error('no'); } }), />hidden</],
    ['several errors in one', new AggregateError([new Error('first part'), new Error('second part')], 'whole'), /whole[\s\S]*first part[\s\S]*second part/],
  ];
  for (const [title, value, expected] of thrown) {
    test(`for ${title}`, async () => {
      assert.match((await ask(() => { throw value; })).body, expected);
    });
  }

  test('for an error that causes itself', async () => {
    const error = new Error('round');
    error.cause = error;
    assert.match((await ask(() => { throw error; })).body, /round/);
  });

  test('with the rule and the hint, if it was the validator', async () => {
    const error = Object.assign(new Error('broken'), { name: 'WSGIError', code: 'some-rule', party: 'application', reference: 'PEP 3333', hint: 'do this <now>' });
    assert.match((await ask(() => { throw error; })).body, /<p class="rule"><b>some-rule<\/b> · PEP 3333<br>do this &lt;now&gt;<\/p>/);
  });

  test('nothing to HEAD but the head', async () => {
    const { head, body } = await ask(failing, { REQUEST_METHOD: 'HEAD' });
    assert.match(head, /^HTTP\/1\.0 500 /);
    assert.equal(body, '');
  });
});

describe('errorPage shows', () => {
  test('no secret', async () => {
    const { body } = await ask(failing, {
      HTTP_AUTHORIZATION: 'hide-1', HTTP_COOKIE: 'hide-2', HTTP_X_API_KEY: 'hide-3', HTTP_X_CSRF_TOKEN: 'hide-4',
      QUERY_STRING: 'a=seen&token=hide-5&password=hide-6&api_key=hide-7', REQUEST_URI: '/?access_token=hide-8', HTTP_REFERER: 'http://x/?session=hide-9',
      'my.secret': 'hide-10',
    });
    const outsideSource = body.replace(/<pre>[\s\S]*?<\/pre>/g, '');
    assert.doesNotMatch(outsideSource, /hide-/);
    assert.match(body, /a=seen&amp;token=••••••/);
  });

  test('nothing of the process environment', async () => {
    const { body } = await ask(failing, { DATABASE_URL: 'hide', HOME: 'hide' } as Partial<WSGIEnvironment>);
    assert.doesNotMatch(body.replace(/<pre>[\s\S]*?<\/pre>/g, ''), /DATABASE_URL|HOME|hide/);
  });
});

describe('errorPage changes nothing', () => {
  test('of an application that works', async () => {
    const seen: string[] = [];
    const app: WSGIApplication = (_environ, start) => {
      void start('201 Made', [['X', 'y']])(bytes('written '));
      const body = (function* () { try { yield bytes('yielded'); } finally { seen.push('finally'); } })();
      return Object.assign(body, { close: () => void seen.push('close') });
    };
    const { head, body, errors } = await ask(app);
    assert.match(head, /^HTTP\/1\.0 201 Made\r\n/);
    assert.equal(body, 'written yielded');
    assert.equal(errors, '');
    assert.deepEqual(seen, ['finally', 'close']);
  });

  test('of the length of an array, or of a file', async () => {
    assert.match((await ask((_, start) => (start('200 OK', []), [bytes('abc')]))).head, /\r\nContent-Length: 3/);
    const file: WSGIApplication = (environ, start) => (start('200 OK', []), environ['wsgi.file_wrapper']?.(new BytesIO(bytes('file'))) ?? []);
    assert.equal((await ask(file)).body, 'file');
    const counted = { *[Symbol.iterator]() { yield bytes('abc'); }, length: 1 } as unknown as ResponseBody;
    assert.match((await ask((_, start) => (start('200 OK', []), counted))).head, /\r\nContent-Length: 3/);
  });

  test('once the head is sent', async () => {
    for (const app of [
      (_, start) => { void start('200 OK', [])(bytes('begun')); failHere(); },
      function* (_, start) { start('200 OK', []); yield bytes('begun'); failHere(); },
      async function* (_, start) { start('200 OK', []); yield bytes('begun'); failHere(); },
    ] as WSGIApplication[]) {
      const { head, body, errors } = await ask(app);
      assert.match(head, /^HTTP\/1\.0 200 OK/);
      assert.equal(body, 'begun');
      assert.equal(errors.match(/Error: the <b>settings/g)?.length, 1);
    }
  });
});
