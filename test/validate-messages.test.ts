// What the validator says, to whom, and how it can be told what to say.

import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';

import type { WSGIApplication } from '../lib/types.ts';
import { type ValidatorOptions, WSGIError, rules, validator } from '../lib/validate.ts';
import {
  type Loose,
  Server,
  answer,
  app,
  bytes,
  makeEnviron,
  play,
} from './support/validate-exchange.ts';

function thrown(application: WSGIApplication, options?: ValidatorOptions): Loose {
  try {
    validator(application, options)(makeEnviron() as Loose, new Server().startResponse);
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('a message', () => {
  it('says who did what, the rule and its place, the remedy, and where the call is', () => {
    const error = thrown(
      app(function hello(_environ, start) {
        start('200OK', []);
      }),
    );
    const [deed, rule, hint, place, ...rest] = error.message.split('\n');
    assert.equal(deed, 'The application hello passed the status "200OK".');
    assert.equal(
      rule,
      'status-space: One space separates the three digits and the reason. ' +
        '(PEP 3333, "The start_response() Callable")',
    );
    assert.equal(hint, "Write it like '200 OK'.");
    assert.match(place, /^The call is at file:.*validate-messages\.test\.[jt]s:\d+:\d+$/);
    assert.deepEqual(rest, []);
  });

  it('points at the line of the call, also if that is in a function of its own', () => {
    let here = '';
    const respond = (start: Loose): void => {
      const mark = (): string => (here = new Error().stack?.split('\n')[2] ?? '');
      start(mark().length, []);
    };
    const error = thrown(app((_environ, start) => respond(start)));
    const line = /test\.[jt]s:\d+:/.exec(here)?.[0] ?? 'none';
    assert.ok(error.message.includes(line), `${error.message}\n${here}`);
  });

  it('shortens a long value and escapes what cannot be printed', () => {
    const error = thrown(answer('200 OK', [['X', `\u001b[31m\n${'x'.repeat(1000)}`]]));
    assert.match(error.message, /value "\\u001b\[31m\\nx+…"/);
    assert.ok(error.message.length < 500);
  });

  it('is carried by an error that a program can read, too', () => {
    const error = thrown(answer('200'));
    assert.ok(error instanceof WSGIError && error instanceof Error);
    assert.equal(error.name, 'WSGIError');
    assert.equal(error.code, 'status-space');
    assert.equal(error.party, 'application');
    assert.equal(error.reference, 'PEP 3333, "The start_response() Callable"');
    assert.equal(error.hint, "Write it like '200 OK'.");
  });

  it('names the server, or the middleware in its place', async () => {
    const [fromServer] = await play({ environ: { SERVER_PORT: 80 } });
    assert.equal(fromServer?.party, 'server');
    assert.match(fromServer?.message ?? '', /^The server set SERVER_PORT to the number 80\./);

    const [fromMiddleware] = await play({
      middleware: (inner) =>
        function porter(environ: Loose, start: Loose) {
          return inner({ ...environ, SERVER_PORT: 80 }, start);
        },
    });
    assert.equal(fromMiddleware?.party, 'middleware');
    assert.match(fromMiddleware?.message ?? '', /^The middleware porter set SERVER_PORT/);
  });

  it('blames middleware for what it makes of a good body', async () => {
    const [report] = await play({
      middleware: (inner) =>
        function stringify(environ: Loose, start: Loose) {
          const body = inner(environ, start);
          return {
            *[Symbol.iterator]() {
              for (const chunk of body) yield String(chunk);
            },
            close: () => body.close(),
          };
        },
    });
    assert.equal(report?.code, 'chunk-bytes');
    assert.match(report?.message ?? '', /^The middleware stringify yielded "72,101/);
  });
});

describe('a warning', () => {
  const tabbed = answer('200 OK', [
    ['Content-Type', 'text/plain'],
    ['X', 'a\tb'],
  ]);
  const call = (application: WSGIApplication): unknown =>
    application(makeEnviron() as Loose, new Server().startResponse);

  it('goes to process.emitWarning with the rule as its code', () => {
    const emitWarning = mock.method(process, 'emitWarning', () => {});
    call(validator(tabbed));
    const [message, options] = emitWarning.mock.calls[0]?.arguments as Loose[];
    emitWarning.mock.restore();
    assert.match(message, /^The application passed the header "X" with the value "a\\tb"/);
    assert.deepEqual(options, { type: 'WSGIWarning', code: 'header-value-c0' });
  });

  it('goes to onWarning instead, if there is one', () => {
    const emitWarning = mock.method(process, 'emitWarning', () => {});
    const codes: string[] = [];
    call(validator(tabbed, { onWarning: ({ code }) => codes.push(code) }));
    emitWarning.mock.restore();
    assert.deepEqual(codes, ['header-value-c0']);
    assert.equal(emitWarning.mock.callCount(), 0);
  });

  it('goes to the console where there is no process', () => {
    const warn = mock.method(console, 'warn', () => {});
    const { process } = globalThis;
    Reflect.set(globalThis, 'process', undefined);
    try {
      call(validator(tabbed));
    } finally {
      Reflect.set(globalThis, 'process', process);
      warn.mock.restore();
    }
    assert.match(String(warn.mock.calls[0]?.arguments[0]), /^WSGIWarning: The application passed/);
  });

  it('can be made to throw by onWarning', () => {
    const fail = new Error('no warnings here');
    const strictly = validator(tabbed, {
      onWarning: () => {
        throw fail;
      },
    });
    assert.throws(() => call(strictly), fail);
  });

  it('is given once, also through two validators', async () => {
    const reports = await play({ app: tabbed, middleware: (inner) => inner });
    assert.deepEqual(
      reports.map(({ code }) => code),
      ['header-value-c0'],
    );
  });
});

describe('options', () => {
  it('turn an error into a warning, a warning into an error, and either off', async () => {
    const bad = answer('200OK', [
      ['Content-Type', 'text/plain'],
      ['X', ' x'],
    ]);
    const codes = async (severity: ValidatorOptions['severity']): Promise<string[]> => {
      const told: string[] = [];
      const onWarning = ({ code }: WSGIError): number => told.push(`told ${code}`);
      const reports = await play({ app: bad, options: { severity: severity ?? {}, onWarning } });
      return [...told, ...reports.map(({ code }) => `thrown ${code}`)];
    };
    assert.deepEqual(await codes({ 'status-space': 'warning' }), [
      'told status-space',
      'told header-value-ows',
    ]);
    assert.deepEqual(await codes({ 'status-space': 'off', 'header-value-ows': 'error' }), [
      'thrown header-value-ows',
    ]);
    assert.deepEqual(await codes({ 'status-space': 'off', 'header-value-ows': 'off' }), []);
  });

  it('turn single optional rules on, or all of them', async () => {
    const cookies = answer('200 OK', [
      ['Content-Type', 'text/plain'],
      ['Set-Cookie', 'a=1, b=2'],
    ]);
    const id = 'set-cookie-folded';
    assert.deepEqual((await play({ app: cookies })).length, 0);
    assert.deepEqual((await play({ app: cookies, options: { strict: true } }))[0]?.code, id);
    assert.deepEqual(
      (await play({ app: cookies, options: { severity: { [id]: 'error' } } }))[0]?.code,
      id,
    );
    assert.deepEqual(
      await play({ app: cookies, options: { strict: true, severity: { [id]: 'off' } } }),
      [],
    );
  });

  it('must name rules that there are', () => {
    const message = /severity names "status-spcae", which is not a rule/;
    assert.throws(() => validator(answer(), { severity: { 'status-spcae': 'off' } }), {
      name: 'TypeError',
      message,
    });
    const fatal = { 'status-space': 'fatal' } as Loose;
    assert.throws(() => validator(answer(), { severity: fatal }), {
      name: 'TypeError',
      message: /one of 'error'/,
    });
  });
});

describe('rules', () => {
  it('are listed with what a table needs', () => {
    for (const rule of rules) {
      assert.match(rule.id, /^[a-z0-9]+(-[a-z0-9]+)*$/);
      assert.ok(['application', 'server', 'middleware'].includes(rule.party), rule.id);
      assert.ok(['error', 'warning', 'off'].includes(rule.severity), rule.id);
      assert.match(rule.reference, /^(PEP 3333, "|RFC \d+ §|ECMA-262, "|CVE-|tsgiref\/)/, rule.id);
      assert.match(rule.text, /^\S[^\n]*\.$/, rule.id);
      assert.match(rule.hint, /^\S[^\n]*[.…]$/, rule.id);
    }
    assert.ok(Object.isFrozen(rules));
  });

  it('can all be warnings: the validator gets past any of them', async () => {
    const severity = Object.fromEntries(rules.map(({ id }) => [id, 'warning' as const]));
    const reports = await play({
      app: answer(200, [['X', 'a\n'], 'Y', [1]], [bytes('a'), 'b', 5]),
      environ: { SERVER_PORT: 80, 'wsgi.input': undefined, 'wsgi.version': 1 },
      options: { severity },
      serve: async (call, environ, start) => {
        const body = call(environ, start, 1);
        for (const chunk of body) void chunk;
        body.close();
        body.close();
      },
    });
    assert.deepEqual(
      new Set(reports.map(({ code }) => code)),
      new Set([
        'app-arity',
        'cgi-value-string',
        'wsgi-version-value',
        'has-wsgi-input',
        'status-type',
        'header-value-crlf-nul',
        'header-pair-tuple',
        'header-pair-len',
        'chunk-bytes',
        'close-twice',
        'content-type-required',
      ]),
    );
  });
});
