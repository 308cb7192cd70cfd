// Headers: the cases of wsgiref's tests, and the checks of the newest CPython.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { type HeaderList, Headers } from '../lib/index.ts';
import { text } from './support/bytes.ts';

describe('Headers', () => {
  // CPython: testMappingInterface
  test('reads without regard to case', () => {
    const headers =
      new Headers([['Content-Type', 'text/plain'], ['Set-Cookie', 'a=1'], ['set-cookie', 'b=2']]);
    assert.equal(headers.get('CONTENT-type'), 'text/plain');
    assert.equal(headers.get('Set-Cookie'), 'a=1');
    assert.deepEqual(headers.getAll('SET-COOKIE'), ['a=1', 'b=2']);
    assert.deepEqual(headers.getAll('none'), []);
    assert.equal(headers.has('content-TYPE'), true);
    assert.equal(headers.has('none'), false);
    assert.equal(headers.size, 3);
  });

  test('returns undefined, or a default, for a missing header', () => {
    assert.equal(new Headers().get('none'), undefined);
    assert.equal(new Headers().get('none', 'default'), 'default');
    assert.equal(new Headers([['a', 'b']]).get('a', 'default'), 'b');
  });

  test('set() puts one at the end in place of all', () => {
    const headers = new Headers([['a', '1'], ['B', '2'], ['A', '3']]);
    headers.set('a', '4');
    assert.deepEqual(headers.entries(), [['B', '2'], ['a', '4']]);
  });

  test('delete() removes all, and does not mind if there is none', () => {
    const headers = new Headers([['a', '1'], ['B', '2'], ['A', '3']]);
    assert.equal(headers.delete('a'), true);
    assert.equal(headers.delete('a'), false);
    assert.deepEqual(headers.entries(), [['B', '2']]);
  });

  test('setDefault() adds only where there is none', () => {
    const headers = new Headers([['a', '1']]);
    assert.equal(headers.setDefault('A', '2'), '1');
    assert.equal(headers.setDefault('b', '3'), '3');
    assert.deepEqual(headers.entries(), [['a', '1'], ['b', '3']]);
  });

  test('keys(), values(), entries() and iteration give copies in order', () => {
    const headers = new Headers([['a', '1'], ['b', '2'], ['a', '3']]);
    assert.deepEqual(headers.keys(), ['a', 'b', 'a']);
    assert.deepEqual(headers.values(), ['1', '2', '3']);
    assert.deepEqual([...headers], [['a', '1'], ['b', '2'], ['a', '3']]);
    headers.entries().pop();
    headers.keys().pop();
    assert.equal(headers.size, 3);
  });

  test('keeps the array that it is given', () => {
    const list: HeaderList = [['a', '1'], ['b', '2']];
    const headers = new Headers(list);
    headers.delete('a');
    headers.set('c', '3');
    headers.setDefault('d', '4');
    headers.addHeader('e', '5');
    assert.deepEqual(list, [['b', '2'], ['c', '3'], ['d', '4'], ['e', '5']]);
  });

  // CPython: testRequireList
  test('takes an array of pairs and nothing else', () => {
    for (const wrong of [{}, 'ab', new Map(), 5, null]) {
      assert.throws(
        () => new Headers(wrong as never),
        /^TypeError: Headers takes an array of \[name, value\] pairs, not /,
      );
    }
    assert.throws(
      () => new Headers([['a']] as never),
      /^TypeError: each header is a \[name, value\] pair, not an Array of 1 item/,
    );
    assert.throws(
      () => new Headers([['a', 1]] as never),
      /^TypeError: a header value is a string, not the number 1/,
    );
  });

  // CPython: testExtras
  test('is written as a response carries it', () => {
    assert.equal(String(new Headers()), '\r\n');
    const headers = new Headers([['A', 'b'], ['c', 'd é']]);
    assert.equal(String(headers), 'A: b\r\nc: d é\r\n\r\n');
    assert.deepEqual(
      headers.toBytes(), new Uint8Array(Buffer.from('A: b\r\nc: d é\r\n\r\n', 'latin1')),
    );
  });

  test('addHeader() writes parameters', () => {
    const headers = new Headers();
    headers.addHeader('Content-Disposition', 'attachment', {
      filename: 'bud "\\".gif', some_name: 'x', alone: null, empty: '',
    });
    headers.addHeader('X', null, { only: 'parameters' });
    headers.addHeader('Y', 'plain');
    assert.equal(
      text(headers.toBytes()),
      'Content-Disposition: attachment; filename="bud \\"\\\\\\".gif"; some-name="x"; alone; empty\r\n' +
        'X: only="parameters"\r\n' +
        'Y: plain\r\n\r\n',
    );
  });
});

describe('Headers refuse control characters', () => {
  const controls = [
    ...Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code)), '\x7f',
  ];

  // CPython: testRaisesControlCharacters
  for (const control of controls) {
    const code = control.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
    test(`U+${code}`, () => {
      const bad = `a${control}b`;
      const headers = new Headers([['x', 'y']]);
      const message =
        new RegExp(`^RangeError: the header name .* contains U\\+${code}: control characters and`);
      assert.throws(() => new Headers([[bad, 'v']]), message);
      assert.throws(() => headers.get(bad), message);
      assert.throws(() => headers.getAll(bad), message);
      assert.throws(() => headers.has(bad), message);
      assert.throws(() => headers.delete(bad), message);
      assert.throws(() => headers.set(bad, 'v'), message);
      assert.throws(() => headers.setDefault(bad, 'v'), message);
      assert.throws(() => headers.addHeader(bad, 'v'), message);
      assert.throws(() => headers.addHeader('n', 'v', { [bad]: 'p' }), message);

      const withBadValue = [
        () => new Headers([['n', bad]]),
        () => headers.set('n', bad),
        () => new Headers().setDefault('n', bad),
        () => headers.addHeader('n', bad),
        () => headers.addHeader('n', 'v', { p: bad }),
      ];
      for (const attempt of withBadValue) {
        if (control === '\t') assert.doesNotThrow(attempt);
        else assert.throws(attempt, /^RangeError: the header value .* contains U\+/);
      }
    });
  }

  test('refuses characters that do not fit into a byte', () => {
    assert.doesNotThrow(() => new Headers([['x', 'é\xff']]));
    assert.throws(() => new Headers([['x', '€']]), /contains U\+20AC/);
    assert.throws(() => new Headers([['x', '😀']]), /contains U\+1F600/);
    assert.throws(() => new Headers([['ł', 'x']]), /contains U\+0142/);
  });

  test('and leave everything as it was', () => {
    const headers = new Headers([['a', '1']]);
    assert.throws(() => headers.set('a', '\n'));
    assert.throws(() => headers.addHeader('b', '\n'));
    assert.deepEqual(headers.entries(), [['a', '1']]);
  });
});
