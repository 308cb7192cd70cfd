// The page that is shown when an application throws.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import {
  BytesIO, type ErrorStream, type ResponseBody, SimpleHandler, type StartResponse, StreamInput,
  StringIO, type WSGIApplication, type WSGIEnvironment, errorPage, setupTestingDefaults,
} from '../lib/index.ts';
import { handle } from './support/applications.ts';
import { bytes, collect, text } from './support/bytes.ts';

interface Answer {
  head: string;
  body: string;
  errors: string;
}

async function ask(
  app: WSGIApplication, given: Partial<WSGIEnvironment> = {}, sent = '',
): Promise<Answer> {
  const environ: Partial<WSGIEnvironment> = { HTTP_ACCEPT: 'text/html,*/*', ...given };
  setupTestingDefaults(environ);
  const stdout = new BytesIO();
  const stderr = new StringIO();
  await new SimpleHandler(new BytesIO(bytes(sent)), stdout, stderr, environ).run(errorPage(app));
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
    assert.match(
      head, /\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; .*\r\n/,
    );
    assert.match(head, /\r\nX-Content-Type-Options: nosniff\r\n/);
    assert.match(head, /\r\nCache-Control: no-store/);
    assert.match(head, new RegExp(`\r\nContent-Length: ${bytes(body).length}(\r\n|$)`));
    assert.match(body, /^<!doctype html>/);
    assert.doesNotMatch(
      body, /<script|<link|<img|src=|href=\"(?!#error-|vscode:\/\/file\/)|javascript:|url\(/,
    );
  });

  test('with the first call of the application open, behind the calls of this library', async () => {
    const { body } = await ask((_environ, startResponse) => {
      startResponse('200', []);
      return [];
    });
    const [, open = ''] = /<details class="frame" open>\n<summary>(.*)<\/summary>/.exec(body) ?? [];
    assert.match(open, /error-page\.test\.[jt]s:\d+:\d+<\/a>$/);
    assert.doesNotMatch(body, /<a href="[^"]*\bhandlers\/head\.[jt]s/);
  });

  test('with the error, escaped, its cause, and the failing line of each call', async () => {
    const { body } = await ask(failing);
    assert.match(
      body,
      /<span class="name">Error<\/span>the &lt;b&gt;settings&lt;\/b&gt; &amp; &quot;more&quot;<\/h1>/,
    );
    assert.match(
      body, /<li>caused by <b>root cause<\/b> <a href="#error-2">TypeError: the reason<\/a><\/li>/,
    );
    assert.match(
      body,
      /caused by <b>root cause<\/b><\/p>\s*<section id="error-2" class="part">\s*<h2><span class="name">TypeError<\/span>the reason<\/h2>/,
    );
    assert.match(
      body,
      /<details class="frame" open>\n<summary><b>failHere<\/b> <a href="vscode:\/\/file\/.*error-page\.test\.[jt]s:\d+:\d+">.*error-page\.test\.[jt]s:\d+:\d+<\/a><\/summary>/,
    );
    assert.match(body, /<\/mark>\n<span class="column"><i><\/i> +\^<\/span>/);
    assert.equal(body.match(/<details class="frame" open>/g)?.length, 1, 'each place once');
    assert.match(body, /<mark><i>\d+<\/i> +throw new Error\(&#39;the &lt;b&gt;settings/);
    assert.match(body, /<summary>\d+ calls in libraries<\/summary>/);
  });

  test('plain text to a client that does not ask for HTML', async () => {
    for (const accept of ['*/*', 'application/json', 'text/html;q=0, */*', undefined]) {
      const { head, body } = await ask(failing, { HTTP_ACCEPT: accept });
      assert.match(head, /\r\nContent-Type: text\/plain; charset=utf-8\r\n/);
      assert.match(body, /\nGET \/\n\nError: the <b>settings<\/b> & "more"\n {2}at failHere, /);
      assert.match(body, /\n {2}> +\d+ \| +throw new Error\(/);
      assert.match(body, /\n {10}\| +\^\n/);
      assert.match(
        body,
        /\ncaused by, the root cause:\nTypeError: the reason\n(?: {2}.*\n)*$/,
        'the error comes last',
      );
    }
  });

  const ways: Array<[string, WSGIApplication]> = [
    ['that rejects', async () => failHere()],
    [
      'that fails after startResponse',
      (_, start) => (start('200 OK', [['X-Mine', 'yes']]), failHere()),
    ],
    ['that fails in a generator', function* () { failHere(); }],
    [
      'that fails in an async generator, after an empty chunk',
      async function* (_, start) { start('200 OK', []); yield bytes(''); failHere(); },
    ],
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
    ['undefined', undefined, /The thrown value is not an Error<\/span>undefined/],
    ['a string', '<i>', /The thrown value is not an Error<\/span>&quot;&lt;i&gt;&quot;/],
    ['a frozen error', Object.freeze(new Error('frozen')), />frozen</],
    [
      'an error whose stack cannot be read',
      Object.defineProperty(new Error('hidden'), 'stack', { get() { throw new Error('no'); } }),
      />hidden</,
    ],
    [
      'several errors in one',
      new AggregateError([new Error('first part'), new Error('second part')], 'whole'),
      /whole[\s\S]*first part[\s\S]*second part/,
    ],
  ];
  for (const [title, value, expected] of thrown) {
    test(`for ${title}`, async () => {
      assert.match((await ask(() => { throw value; })).body, expected);
    });
  }

  test('with an error as third argument of startResponse, whatever was thrown', async () => {
    const mine = new TypeError('mine');
    for (const value of [mine, undefined, null, 'text', 7, { code: 1 }]) {
      const environ: Partial<WSGIEnvironment> = {};
      setupTestingDefaults(environ);
      let given: unknown;
      await errorPage(() => { throw value; })(environ as WSGIEnvironment, (_, __, error) => {
        given = error;
        return () => {};
      });
      assert.ok(given instanceof Error);
      if (value === mine) assert.equal(given, mine);
    }
  });

  test('with the properties of an error, masked', async () => {
    const error = Object.assign(new Error('no'), {
      code: 'E_NO', status: 409, apiKey: 'hide-1', details: { field: 'name', token: 'hide-2' },
    });
    const { body } = await ask(() => { throw error; }, { HTTP_ACCEPT: '*/*' });
    assert.match(
      body,
      /\nError: no\n {2}code: E_NO\n {2}status: 409\n {2}apiKey: ••••••\n {2}details: \{"field":"name","token":"••••••"\}\n/,
    );
    assert.match(
      (await ask(() => { throw error; })).body, /<th scope="row">code<\/th><td>E_NO<\/td>/,
    );
  });

  test('with collections, and with the number of bytes, as properties', async () => {
    const body = Buffer.from('hide-me');
    const error = Object.assign(new Error('no'), {
      body, parts: [body], sent: new Map([['pass', 'hide-me'], ['to', 'ada']]), seen: new Set([1]),
    });
    const page = (await ask(() => { throw error; }, { HTTP_ACCEPT: '*/*' })).body;
    assert.match(page, / {2}body: 7 bytes\n {2}parts: \["7 bytes"\]\n/);
    assert.match(page, / {2}sent: \{"pass":"••••••","to":"ada"\}\n {2}seen: \[1\]\n/);
  });

  test('with an error, headers and a query as properties', async () => {
    const error = Object.assign(new Error('no'), {
      inner: new TypeError('wrong'), list: [new Error('one')], errors: { mail: new Error('bad') },
      sent: new Headers({ accept: '*/*' }), query: new URLSearchParams('a=1&token=hide-me'),
    });
    const page = (await ask(() => { throw error; }, { HTTP_ACCEPT: '*/*' })).body;
    assert.ok(page.includes(`
  inner: TypeError: wrong
  list: ["Error: one"]
  errors: {"mail":"Error: bad"}
  sent: {"accept":"*/*"}
  query: {"a":"1","token":"••••••"}
`), page);
  });

  test('with the text behind a secret in a property', async () => {
    const config = { url: 'https://api.test/users?token=hide-1', method: 'post' };
    const error = Object.assign(new Error('no'), { config, sent: '{"password":"hide-2","a":1}' });
    const page = (await ask(() => { throw error; }, { HTTP_ACCEPT: '*/*' })).body;
    assert.ok(page.includes(`
  config: {"url":"https://api.test/users?token=••••••","method":"post"}
  sent: {"password":"••••••","a":1}
`), page);
  });

  test('with the secrets masked that are in messages and in lists of headers', async () => {
    const url = 'postgres://ada:hide-1@db/x';
    const sent = {
      list: [['Authorization', 'hide-2'], ['Accept', '*/*']],
      raw: ['Cookie', 'hide-3', 'Host', 'x'],
    };
    // Without a stack, since the page shows the source, and that has these words.
    const error = Object.assign(new Error(`cannot connect to ${url}`), { sent, stack: '' });
    for (const accept of ['text/html', 'text/plain']) {
      const { body } = await ask(() => { throw error; }, {
        HTTP_ACCEPT: accept, QUERY_STRING: 'next=http%3A%2F%2Fada%3Ahide-4%40db%2F',
      });
      assert.match(body, /cannot connect to postgres:\/\/••••••@db\/x/);
      assert.match(body, /Accept/);
      assert.doesNotMatch(body, /hide/);
    }
  });

  test('with control characters escaped, in HTML as well', async () => {
    const { body } = await ask(() => { throw new Error(String.fromCodePoint(0x1b, 0x202e)); });
    assert.match(body, /<title>Error: \\x1b\\u202e<\/title>/);
    assert.match(body, /<\/span>\\x1b\\u202e<\/h1>/);
  });

  test('with the parameters of the query, and the browser\'s headers folded', async () => {
    const { body } = await ask(failing, { QUERY_STRING: 'q=a+b&token=hide' });
    assert.match(
      body,
      /<h2>The query<\/h2>\n<table>\n<tr><th scope="row">q<\/th><td>a b<\/td><\/tr>\n<tr><th scope="row">token<\/th><td>••••••<\/td>/,
    );
    assert.match(
      body,
      /<details class="server">\n<summary>The headers of the request<\/summary>\n<table>\n<tr><th scope="row">HTTP_ACCEPT/,
    );
  });

  test('with the properties of a thrown object that is not an Error, masked', async () => {
    const { body } =
      await ask(() => { throw { code: 42, token: 'hide' }; }, { HTTP_ACCEPT: '*/*' });
    assert.match(
      body, /\nThe thrown value is not an Error: an object\n {2}code: 42\n {2}token: ••••••\n/,
    );
  });

  test('with the fields of the form, as far as the application has read it', async () => {
    const environ = { REQUEST_METHOD: 'POST', CONTENT_TYPE: 'application/x-www-form-urlencoded' };
    const fields = 'name=Ada+L&password=hide&note=%C3%A9';
    const reads: Array<(input: WSGIEnvironment['wsgi.input']) => Promise<unknown>> = [
      (input) => input.read(),
      (input) => input.readline(),
      (input) => input.readlines(),
      async (input) => { for await (const line of input) void line; },
    ];
    for (const read of reads) {
      const { body } = await ask(
        async ({ 'wsgi.input': input }) => { await read(input); return failHere(); },
        environ,
        fields,
      );
      assert.match(
        body,
        /<h2>The form<\/h2>\n<table>\n<tr><th scope="row">name<\/th><td>Ada L<\/td><\/tr>\n<tr><th scope="row">password<\/th><td>••••••<\/td><\/tr>\n<tr><th scope="row">note<\/th><td>é<\/td>/,
      );
    }
    const { body } = await ask(
      async ({ 'wsgi.input': input }) => { await input.read(8); return failHere(); },
      { ...environ, HTTP_ACCEPT: '*/*' },
      fields,
    );
    assert.match(body, /\nform\n {2}name = Ada\n\n/);
    assert.doesNotMatch((await ask(failing, environ, fields)).body, /<h2>The form/);
  });

  test('and hands on the input of a form with its class and all its methods', async () => {
    const environ: Partial<WSGIEnvironment> = {
      REQUEST_METHOD: 'POST',
      CONTENT_TYPE: 'application/x-www-form-urlencoded',
      'wsgi.input': new StreamInput([bytes('a=1'), bytes('&b=2')]),
    };
    setupTestingDefaults(environ);
    const page = await errorPage(async ({ 'wsgi.input': input }) => {
      assert.ok(input instanceof StreamInput);
      assert.equal(text(await input.read1(100)), 'a=1');
      return failHere();
    })(environ as WSGIEnvironment, () => () => {});
    const shown = (await collect(page)).map(text).join('');
    assert.match(shown, /\nform\n {2}a = 1\n\n/);
  });

  test('without a control character in plain text', async () => {
    const { body } = await ask(() => { throw new Error('sent \x1b[2J'); }, { HTTP_ACCEPT: '*/*' });
    assert.match(body, /Error: sent \\x1b\[2J\n/);
    assert.doesNotMatch(body, /[\x00-\x09\x0b-\x1f]/);
  });

  test('with a script only if it is to reload, which its policy allows by its hash', async () => {
    const environ: Partial<WSGIEnvironment> = { HTTP_ACCEPT: 'text/html' };
    setupTestingDefaults(environ);
    const stdout = new BytesIO();
    await new SimpleHandler(new BytesIO(), stdout, new StringIO(), environ).run(
      errorPage(failing, { reloadPath: '/wait' }),
    );
    const response = text(stdout.getValue());
    const [, script = ''] = /<script>([^]*)<\/script>/.exec(response) ?? [];
    assert.equal(script, "fetch('/wait').catch(() => {}).then(() => { location.reload(); });");
    const hash = createHash('sha256').update(script).digest('base64');
    assert.ok(response.includes(`script-src 'sha256-${hash}'; connect-src 'self';`));
  });

  const plain = async (error: unknown): Promise<string> =>
    (await ask(() => { throw error; }, { HTTP_ACCEPT: '*/*' })).body;

  test('with the root cause, however long the chain is', async () => {
    let error = new Error('the root');
    for (let depth = 1; depth < 30; depth += 1) error = new Error(`${depth}`, { cause: error });
    const page = await plain(error);
    assert.match(page, /\ncaused by:\nError: 21\n/);
    assert.match(page, /\ncaused by \(20 errors left out\), the root cause:\nError: the root\n/);
  });

  test('with no root cause where the causes run in a circle', async () => {
    const first = new Error('first');
    first.cause = new Error('second', { cause: first });
    const page = await plain(first);
    assert.match(page, /\ncaused by:\nError: second\n/);
    assert.doesNotMatch(page, /^caused by, the root cause/m);
  });

  test('with the cause of many errors, and how many are left out', async () => {
    const parts = Array.from({ length: 30 }, (_, index) => new Error(`part ${index + 1}`));
    const page = await plain(new AggregateError(parts, 'many', { cause: new Error('the cause') }));
    assert.match(page, /\nerror 8 of the 30 in it \(22 errors left out\):\nError: part 8\n/);
    assert.match(page, /\ncaused by:\nError: the cause\n/);
  });

  test('with both errors where one suppressed the other', async () => {
    const page = await plain(Object.assign(new Error('while closing'), {
      name: 'SuppressedError', error: new Error('last'), suppressed: new Error('first'),
    }));
    assert.match(page, /SuppressedError: while closing\n {2}at/);
    assert.match(page, /\nthe later error in it:\nError: last\n/);
    assert.match(page, /\nthe earlier error in it:\nError: first\n/);
  });

  test('with the line that made a function from a text', async () => {
    const { body } = await ask(() => new Function('value', 'return value.name')(undefined));
    const [, open = ''] = /<details class="frame" open>\n<summary>(.*)<\/summary>/.exec(body) ?? [];
    assert.match(open, /error-page\.test\.[jt]s:\d+:\d+<\/a>$/);
    assert.match(body, /<mark><i>\d+<\/i>.*new Function\(/);
  });

  test('for an error that causes itself', async () => {
    const error = new Error('round');
    error.cause = error;
    assert.match((await ask(() => { throw error; })).body, /round/);
  });

  test('with the rule and the hint, if it was the validator', async () => {
    const message =
      'The application yields a string.\nsome-rule: Chunks are bytes (PEP 3333)\ndo this <now>';
    const broken = Object.assign(new Error(message), {
      name: 'WSGIError', code: 'some-rule', party: 'application', reference: 'PEP 3333',
      hint: 'do this <now>',
    });
    const app: WSGIApplication = () => { throw broken; };
    const page = (await ask(app)).body;
    assert.match(
      page, /<h1><span class="name">WSGIError<\/span>The application yields a string\.<\/h1>/,
    );
    assert.match(
      page,
      /<p><b>some-rule<\/b> broken by the application<\/p>\n<p>do this &lt;now&gt;<\/p>\n<p class="rule-text">Chunks are bytes \(PEP 3333\)<\/p>/,
    );
    const plain = (await ask(app, { HTTP_ACCEPT: '*/*' })).body;
    assert.match(
      plain,
      /\n {2}hint: do this <now>\n {2}rule: some-rule, broken by the application\n {8}Chunks are bytes \(PEP 3333\)\n/,
    );
  });

  test('for what the server would refuse', async () => {
    const refused: Array<[WSGIApplication, RegExp]> = [
      [
        (_, start) => (start('200 OK', []), 'text' as unknown as ResponseBody),
        /returned a string, "text"/,
      ],
      [
        (_, start) => (start('200 OK', []), ['text'] as unknown as ResponseBody),
        /chunk of the body is a Uint8Array, not "text"/,
      ],
      [
        (_, start) => (start('200 OK', []), undefined as unknown as ResponseBody),
        /is a `return` missing\?/,
      ],
      [
        function* (_, start) { start('200 OK', []); yield null as unknown as Uint8Array; },
        /not null/,
      ],
      [
        async (_, start) => (start('200 OK', []), { [Symbol.iterator]: 5 }) as never,
        /not a function/,
      ],
      [
        async (_, start) => (start('200 OK', []), { [Symbol.asyncIterator]: null }) as never,
        /not a function/,
      ],
      [async function* () { yield bytes('x'); }, /never called startResponse\(\)/],
      [() => [], /never called startResponse\(\)/],
    ];
    for (const [app, message] of refused) {
      const { head, body } = await ask(app, { HTTP_ACCEPT: '*/*' });
      assert.match(head, /^HTTP\/1\.0 500 /);
      assert.match(body, message);
    }
  });

  test('and closes a body that it does not send, once', async () => {
    for (const chunks of [['text'], (function* () { failHere(); })()]) {
      let closed = 0;
      const body =
        Object.assign(chunks, { close: () => void (closed += 1) }) as unknown as ResponseBody;
      assert.match((await ask((_, start) => (start('200 OK', []), body))).head, / 500 /);
      assert.equal(closed, 1);
    }
  });

  test('nothing to HEAD but the head', async () => {
    const { head, body } = await ask(failing, { REQUEST_METHOD: 'HEAD' });
    assert.match(head, /^HTTP\/1\.0 500 /);
    assert.equal(body, '');
    const environ = {
      REQUEST_METHOD: 'HEAD', 'wsgi.errors': new StringIO() as ErrorStream,
    } as WSGIEnvironment;
    assert.deepEqual(await errorPage(failing)(environ, () => () => {}), []);
  });
});

describe('errorPage shows', () => {
  test('no file that a message names: it may hold what a client sent', async () => {
    const bait = fileURLToPath(import.meta.url);
    const sent = `no such name: x\n    at y (${bait}:1:1)\n    at z (/etc/hostname:1:1)`;
    // A trace that has been looked at keeps the message it had.
    const changed = new Error(sent);
    assert.ok(changed.stack?.includes(bait));
    changed.message = 'changed';
    const thrown = [new Error(sent), new Error('wrapped', { cause: new Error(sent) }), changed];
    for (const error of thrown) {
      const { body } = await ask(() => { throw error; });
      assert.doesNotMatch(body, /<mark><i>1<\/i>/);
    }
  });

  test('each place once, and what the parts of an error are to it', async () => {
    const error =
      new AggregateError([new Error('first', { cause: new Error('reason') }), 'second'], 'whole');
    const { body } = await ask(() => { throw error; }, { HTTP_ACCEPT: '*/*' });
    assert.match(
      body,
      /AggregateError: whole\n[\s\S]*\nerror 1 of the 2 in it:\nError: first\n[\s\S]*\ncaused by:\nError: reason\n[\s\S]*\nerror 2 of the 2 in it:\nThe thrown value is not an Error: "second"\n/,
    );
    assert.equal(body.match(/^ {2}> /gm)?.length, 1);
  });

  test('no secret', async () => {
    const { body } = await ask(failing, {
      HTTP_AUTHORIZATION: 'hide-1', HTTP_COOKIE: 'hide-2', HTTP_X_API_KEY: 'hide-3',
      HTTP_X_CSRF_TOKEN: 'hide-4',
      QUERY_STRING: 'a=seen&token=hide-5&password=hide-6&api_key=hide-7',
      REQUEST_URI: '/?access_token=hide-8', HTTP_REFERER: 'http://x/?session=hide-9',
      'my.secret': 'hide-10', 'my.database': 'postgres://ada:hide-11@host/',
      HTTP_X_ORIGINAL_URI: '/?%74oken=hide-12', HTTP_X_KEY: 'hide-13',
    });
    const outsideSource = body.replace(/<pre[\s\S]*?<\/pre>/g, '');
    assert.doesNotMatch(outsideSource, /hide-/);
    assert.match(body, /a=seen&amp;token=••••••/);
  });

  test('nothing of the process environment', async () => {
    const { body } = await ask(failing, {
      DATABASE_URL: 'hide', HOME: 'hide', SERVER_DATABASE: 'hide', REMOTE_DISK: 'hide',
      HTTP_PROXY: 'http://hide',
    } as Partial<WSGIEnvironment>);
    assert.doesNotMatch(body.replace(/<pre[\s\S]*?<\/pre>/g, ''), /DATABASE|HOME|REMOTE_DISK|hide/);
  });
});

describe('errorPage changes nothing', () => {
  test('of an application that works', async () => {
    const seen: string[] = [];
    const app: WSGIApplication = (_environ, start) => {
      void start('201 Made', [['X', 'y']])(bytes('written '));
      const body =
        (function* () { try { yield bytes('yielded'); } finally { seen.push('finally'); } })();
      return Object.assign(body, { close: () => void seen.push('close') });
    };
    const { head, body, errors } = await ask(app);
    assert.match(head, /^HTTP\/1\.0 201 Made\r\n/);
    assert.equal(body, 'written yielded');
    assert.equal(errors, '');
    assert.deepEqual(seen, ['finally', 'close']);
  });

  test('of when things happen: a synchronous body stays synchronous', async () => {
    const start: StartResponse = () => () => {};
    const environ = { REQUEST_METHOD: 'GET' } as WSGIEnvironment;
    const seen: string[] = [];
    const body = await errorPage((_, begin) => {
      begin('200 OK', []);
      return (function* () {
        try {
          seen.push('first');
          yield bytes('1');
          seen.push('second');
          yield bytes('2');
        } finally {
          seen.push('finally');
        }
      })();
    })(environ, start) as Iterable<Uint8Array>;
    const iterator = body[Symbol.iterator]();
    assert.deepEqual(seen, []);
    assert.deepEqual(iterator.next().value, bytes('1'));
    assert.deepEqual(seen, ['first']);
    iterator.return?.();
    assert.deepEqual(seen, ['first', 'finally']);
  });

  test('of a stream that is given up unread', async () => {
    const stream = Readable.from([bytes('x')]);
    const body =
      await errorPage(() => stream)({ REQUEST_METHOD: 'GET' } as WSGIEnvironment, () => () => {});
    (body as unknown as Readable).destroy();
    assert.equal(stream.destroyed, true);
  });

  test('of a body that is refused after write(): it is closed', async () => {
    let closed = 0;
    const { head, body, errors } = await ask((_, start) => {
      void start('200 OK', [])(bytes('begun'));
      return { close: () => void (closed += 1) } as never;
    });
    assert.match(head, /^HTTP\/1\.0 200 OK/);
    assert.equal(body, 'begun');
    assert.match(errors, /the application returned an object/);
    assert.equal(closed, 1);
  });

  test('of what a body is, and of all that it has', async () => {
    const start: StartResponse = () => () => {};
    class Lines {
      *[Symbol.iterator](): Generator<Uint8Array> { yield bytes('x'); }
      count = 1;
    }
    const given = [new Lines(), [bytes('x')], new Set([bytes('x')]), Readable.from([bytes('x')])];
    for (const body of given) {
      const environ = { REQUEST_METHOD: 'GET' } as WSGIEnvironment;
      const shown = await errorPage((_, begin) => (begin('200 OK', []), body))(environ, start);
      assert.equal(Object.getPrototypeOf(shown), Object.getPrototypeOf(body));
      assert.equal(Array.isArray(shown), Array.isArray(body));
      assert.equal(Reflect.get(shown, 'count'), Reflect.get(body, 'count'));
    }
  });

  test('of a connection that is reset, which may be the client leaving', async () => {
    const reset = Object.assign(new Error('aborted'), { code: 'ECONNRESET' });
    const { body, errors } = await ask(() => { throw new Error('cannot read', { cause: reset }); });
    assert.match(body, /^A server error occurred/);
    assert.equal(errors.match(/Error: cannot read/g)?.length, 1);
  });

  test('of the length of an array, or of a file', async () => {
    assert.match(
      (await ask((_, start) => (start('200 OK', []), [bytes('abc')]))).head,
      /\r\nContent-Length: 3/,
    );
    const file: WSGIApplication = (environ, start) =>
      (start('200 OK', []), environ['wsgi.file_wrapper']?.(new BytesIO(bytes('file'))) ?? []);
    assert.equal((await ask(file)).body, 'file');
    const counted = {
      *[Symbol.iterator]() { yield bytes('abc'); }, length: 1,
    } as unknown as ResponseBody;
    assert.match(
      (await ask((_, start) => (start('200 OK', []), counted))).head, /\r\nContent-Length: 3/,
    );
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

describe('errorPage', () => {
  const page = async (app: WSGIApplication, given: object = {}): Promise<string> =>
    (await handle(errorPage(app), { HTTP_ACCEPT: 'text/html', ...given })).sent;

  test('refuses a value that is not an application, at once', () => {
    assert.throws(() => errorPage('no' as never), { name: 'TypeError', code: 'app-callable' });
  });

  test('shortens very long text, in the message, in environ and in the source', async () => {
    const failing: WSGIApplication = () => {
      throw new Error('m'.repeat(100_000));
    };
    const shown = await page(failing, { HTTP_X: 'v'.repeat(100_000) });
    assert.match(shown, /m… \(100000 characters\)/);
    assert.match(shown, /v… \(100000 characters\)/);
  });

  test('shows an environ that cannot be read as far as it can be', async () => {
    const failing: WSGIApplication = (environ) => {
      Object.defineProperty(environ, 'HTTP_TRAP', {
        enumerable: true,
        get() {
          throw new Error('trap');
        },
      });
      throw new Error('the real one');
    };
    const shown = await page(failing);
    assert.match(shown, /the real one/);
    assert.match(shown, /HTTP_TRAP[^]*?cannot be read/);
  });

  test('shows no source of a missing file, and a location that is not a path unchanged', async () => {
    const failing: WSGIApplication = () => {
      const error = new Error('elsewhere');
      error.stack =
        'Error: elsewhere\n    at gone (/nowhere/gone.js:1:1)\n    at odd (file://host/%zz.js:2:1)\n    at data (/nowhere/data.bin:1:1)';
      throw error;
    };
    const shown = await page(failing);
    assert.match(shown, /gone\.js:1/);
    assert.doesNotMatch(shown, /<pre>/);
    assert.match(shown, /%zz\.js/);
  });

  test('lets the server report an error that cannot be shown at all', async () => {
    const error = new Proxy(new Error('hostile'), {
      get() {
        throw new Error('trap');
      },
      getPrototypeOf() {
        throw new Error('trap');
      },
    });
    const { sent, errors } = await handle(errorPage(() => { throw error; }));
    assert.match(sent, /^HTTP\/1\.0 500 /);
    assert.notEqual(errors, '');
  });
});
