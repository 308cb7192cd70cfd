// The base modules compared with Python's own wsgiref: both get the same random inputs
// and must give the same answers. One Python process answers all questions. Without
// python3 on the machine, these tests are skipped.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';

import {
  Headers,
  type WSGIEnvironment,
  applicationUri,
  guessScheme,
  isHopByHop,
  requestUri,
  setupTestingDefaults,
  shiftPathInfo,
} from '../lib/index.ts';
import { percentDecode } from '../lib/latin1.ts';
import { SEED, makeChance } from './support/random.ts';

// Reads {question: [input, …]} and writes {question: [answer, …]}.
const PYTHON = String.raw`
import json, sys
from urllib.parse import unquote
from wsgiref import headers, util

def ask_headers(operations):
    h = headers.Headers([])
    answers = []
    for name, args in operations:
        if name == 'set': h[args[0]] = args[1]; answer = None
        elif name == 'delete':
            answer = args[0] in h
            del h[args[0]]
        elif name == 'get': answer = h.get(*args)
        elif name == 'getAll': answer = h.get_all(*args)
        elif name == 'has': answer = args[0] in h
        elif name == 'setDefault': answer = h.setdefault(*args)
        elif name == 'addHeader': answer = h.add_header(args[0], args[1], **args[2])
        answers.append(answer)
    return [answers, h.keys(), h.values(), h.items(), len(h), str(h), list(bytes(h))]

def shift(environ):
    return [util.shift_path_info(environ), environ]

def defaults(environ):
    util.setup_testing_defaults(environ)
    for key in 'wsgi.input', 'wsgi.errors':
        environ[key] = type(environ[key]).__name__
    return environ

def uris(environ):
    return [util.application_uri(environ), util.request_uri(environ),
            util.request_uri(environ, False)]

ask = {
    'headers': ask_headers, 'shift': shift, 'defaults': defaults, 'uris': uris,
    'scheme': util.guess_scheme, 'hop': util.is_hop_by_hop,
    'decode': lambda text: unquote(text, 'iso-8859-1'),
}
questions = json.load(sys.stdin)
json.dump({name: [ask[name](i) for i in inputs] for name, inputs in questions.items()}, sys.stdout)
`;

const { random, below, pick, times, latin1 } = makeChance(SEED);

type Operation = [method: string, args: Array<string | null | Record<string, string | null>>];

function operation(): Operation {
  const name = pick(['A', 'a', 'Foo', 'fOO', 'X-Long-Name', 'x_y', 'É', 'é', '', 'ß', 'µ', 'a:b']);
  const value =
    pick(['', 'plain', 'say "hi"', 'back\\slash', latin1(9, /[^\x00-\x08\x0a-\x1f\x7f]/)]);
  const method =
    pick(['set', 'delete', 'get', 'getAll', 'has', 'setDefault', 'addHeader', 'addHeader']);
  switch (method) {
    case 'set':
    case 'setDefault':
      return [method, [name, value]];
    case 'get':
      return [method, random() < 0.5 ? [name] : [name, value]];
    case 'addHeader': {
      const params: Record<string, string | null> = {};
      for (const key of ['filename', 'a_b_c', 'Ü', 'q'].slice(below(5))) {
        params[key] = pick([null, '', 'x', 'a"b\\c', latin1(5, /[^\x00-\x1f\x7f]/)]);
      }
      return [method, [name, pick([null, value, value]), params]];
    }
    default:
      return [method, [name]];
  }
}

// One slash at the beginning and at least one character after it; the differences
// below cover other paths.
function scriptName(): string {
  const rest = times(below(4), () => pick(['/a', '/b c', '/..', '/.', '/', '//', '/...', '/é']));
  return random() < 0.3 ? '' : pick(['/x', '/..', '/.', '/.x']) + rest.join('');
}

function pathInfo(): string {
  return times(below(6), () => pick(['/a', '/b', '/..', '/.', '/', '//', '/...', '/é', '/ ']))
    .join('');
}

type Environ = Record<string, string | boolean | number[] | null>;

/** Each key is missing half of the time; otherwise it has a value from its list. */
function environ(values: Record<string, [string | null, ...Array<string | null>]>): Environ {
  const made: Environ = {};
  for (const [key, choices] of Object.entries(values)) {
    if (random() < 0.5) made[key] = pick(choices);
  }
  return made;
}

function uriEnviron(): Environ {
  return {
    'wsgi.url_scheme': pick(['http', 'https']),
    SERVER_NAME: pick(['127.0.0.1', 'spam.example.com', '[::1]']),
    SERVER_PORT: pick(['80', '443', '8000']),
    ...environ({
      HTTP_HOST: ['', 'host', 'host:80', 'host:8000', null],
      SCRIPT_NAME: ['', '/', '/app', `/${latin1(12)}`],
      PATH_INFO: ['', '/', '/a;b=c,d/e', `/${latin1(20)}`, latin1(3)],
      QUERY_STRING: ['', 'a=b', '%E4?&/', 'ä b'],
    }),
  };
}

function testingEnviron(): Environ {
  return environ({
    SERVER_NAME: ['foo.bar', '', null],
    SERVER_PORT: ['8000', null],
    SERVER_PROTOCOL: ['HTTP/1.1', null],
    HTTP_HOST: ['host:1', '', null],
    REQUEST_METHOD: ['POST', null],
    SCRIPT_NAME: ['/app', '', null],
    PATH_INFO: ['/x', '', null],
    HTTPS: ['on', 'off', '1', 'yes', 'ON', null],
    'wsgi.url_scheme': ['http', 'https', 'ftp', null],
    'wsgi.multithread': [null],
    'my.extension': ['kept'],
  });
}

const questions = {
  headers: times(300, () => times(below(25), operation)),
  shift: [
    ...times(1000, () => ({ SCRIPT_NAME: scriptName(), PATH_INFO: pathInfo() })),
    // Intended differences, each asserted below.
    { SCRIPT_NAME: '/', PATH_INFO: '/x' },
    { SCRIPT_NAME: '//a', PATH_INFO: '/x' },
  ],
  uris: times(1000, uriEnviron),
  defaults: times(300, testingEnviron),
  scheme: [
    {}, ...['on', 'yes', '1', 'On', 'YES', '0', 'off', '', ' on', null].map((HTTPS) => ({ HTTPS })),
  ],
  hop: [
    'Connection', 'Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authorization', 'TE', 'Trailers',
    'Transfer-Encoding', 'Upgrade', 'trailers', 'UPGRADE', 'Proxy-Connection', 'Via', 'Date', '',
    'te ',
    'Trailer',
  ],
  decode: times(1000, () =>
    times(below(12), () =>
      pick([
        '%', '%4', '%41', '%e4', '%E4', '%2f', '%25', '%zz', '+', 'a', '4', 'ü', '%00', '\n',
      ])).join(''),
  ),
};

const python = spawnSync('python3', ['-c', PYTHON], {
  input: JSON.stringify(questions),
  encoding: 'utf8',
  maxBuffer: 2 ** 26,
});
const missing = missingPython();

function missingPython(): string | false {
  if (python.error !== undefined) return `python3 cannot be run here: ${python.error.message}`;
  if (/No module named '(wsgiref|urllib)/.test(python.stderr)) return 'this python3 has no wsgiref';
  return false;
}

/** Asserts that Python answered each input as `answer` does; null means undefined. */
function compare<Name extends keyof typeof questions>(
  name: Name,
  answer: (input: (typeof questions)[Name][number]) => unknown,
  count: number = questions[name].length,
): void {
  assert.equal(python.stderr, '');
  const theirs: Record<Name, unknown[]> = JSON.parse(python.stdout);
  assert.equal(theirs[name].length, questions[name].length);
  for (const [index, input] of questions[name].slice(0, count).entries()) {
    const ours: unknown =
      JSON.parse(JSON.stringify(answer(structuredClone(input)), nullIfUndefined));
    assert.deepEqual({ seed: SEED, input, answer: ours }, {
      seed: SEED, input, answer: theirs[name][index],
    });
  }
}

function nullIfUndefined(_key: string, value: unknown): unknown {
  return value === undefined ? null : value;
}

function pythonAnswer(name: keyof typeof questions, fromEnd: number): unknown {
  return JSON.parse(python.stdout)[name].at(-fromEnd);
}

// JSON has no undefined; an environ here has no null.
function fromJson(input: Environ): Partial<WSGIEnvironment> {
  const made = Object.entries(input).map(([key, value]) => [key, value ?? undefined]);
  return Object.fromEntries(made) as Partial<WSGIEnvironment>;
}

describe('as in Python', { skip: missing }, () => {
  test('Headers, after any series of operations', (context) => {
    context.diagnostic(`seed ${SEED}`);
    compare('headers', (operations) => {
      const headers = new Headers();
      const answers =
        operations.map(([method, args]) => Reflect.get(headers, method).apply(headers, args));
      return [
        answers,
        headers.keys(),
        headers.values(),
        headers.entries(),
        headers.size,
        headers.toString(),
        [...headers.toBytes()],
      ];
    });
  });

  test('shiftPathInfo', () => {
    const count = questions.shift.length - 2;
    compare('shift', (given) => [shiftPathInfo(given), given], count);
  });

  test('applicationUri and requestUri', () => {
    compare('uris', (input) => {
      const given = fromJson(input) as WSGIEnvironment;
      return [applicationUri(given), requestUri(given), requestUri(given, false)];
    });
  });

  test('setupTestingDefaults', () => {
    compare('defaults', (input) => {
      const given = fromJson(input);
      setupTestingDefaults(given);
      const answer: Record<string, unknown> = { ...given };
      for (const key of ['wsgi.input', 'wsgi.errors']) answer[key] = answer[key]?.constructor.name;
      // Python's defaults are 0, which equals False.
      for (const [key, value] of Object.entries(answer)) if (value === false) answer[key] = 0;
      return answer;
    });
  });

  test('guessScheme', () => {
    compare('scheme', ({ HTTPS }: { HTTPS?: string | null }) =>
      guessScheme(fromJson(HTTPS === undefined ? {} : { HTTPS })));
  });

  test('isHopByHop', () => {
    compare('hop', isHopByHop, questions.hop.length - 1);
  });

  test('percentDecode, as unquote() with Latin-1', () => {
    compare('decode', percentDecode);
  });
});

describe('unlike Python, on purpose', { skip: missing }, () => {
  test('two slashes do not begin a SCRIPT_NAME', () => {
    assert.deepEqual(pythonAnswer('shift', 2), ['x', { SCRIPT_NAME: '//x', PATH_INFO: '' }]);
    assert.deepEqual(pythonAnswer('shift', 1), ['x', { SCRIPT_NAME: '//a/x', PATH_INFO: '' }]);
    const [slash, slashes] = questions.shift.slice(-2).map((given) => {
      const environ = { ...given };
      shiftPathInfo(environ);
      return environ.SCRIPT_NAME;
    });
    assert.equal(slash, '/x');
    assert.equal(slashes, '/a/x');
  });

  test('Trailer is hop-by-hop', () => {
    assert.equal(pythonAnswer('hop', 1), false);
    assert.equal(isHopByHop('Trailer'), true);
  });
});
