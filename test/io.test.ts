// The streams: the reader gets the same bytes wherever the source is cut.

import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';

import { BytesIO, ErrorOutput, type InputStream, StreamInput, StringIO } from '../lib/index.ts';
import { bytes, collect, text } from './support/bytes.ts';

async function* source(...parts: Array<string | Error>): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part instanceof Error) throw part;
    yield Buffer.from(part);
  }
}

const texts = (chunks: Uint8Array[]): string[] => chunks.map(text);

const streams: Array<[string, (content: string) => InputStream]> = [
  ['BytesIO', (content) => new BytesIO(bytes(content))],
  ['StreamInput over one chunk', (content) => new StreamInput(source(content))],
  ['StreamInput over bytes', (content) => new StreamInput(source(...content))],
  [
    'StreamInput over empty chunks, too',
    (content) => new StreamInput(source('', ...[...content].flatMap((each) => [each, '']), '')),
  ],
];

for (const [name, open] of streams) {
  describe(name, () => {
    const content = 'one\r\ntwo\n\nlast';

    test('read() gives all, then nothing', async () => {
      const input = open(content);
      assert.equal(text(await input.read()), content);
      assert.equal((await input.read()).length, 0);
      assert.equal((await input.read(5)).length, 0);
      assert.equal((await input.readline()).length, 0);
      assert.deepEqual(await input.readlines(), []);
      assert.deepEqual(await collect(input), []);
    });

    test('read(size) gives exactly size bytes until the end', async () => {
      const input = open(content);
      assert.equal(text(await input.read(4)), 'one\r');
      assert.equal(text(await input.read(0)), '');
      assert.equal(text(await input.read(100)), '\ntwo\n\nlast');
      assert.equal(text(await input.read(-1)), '');
    });

    test('readline() gives lines with their ends', async () => {
      const input = open(content);
      assert.equal(text(await input.readline()), 'one\r\n');
      assert.equal(text(await input.readline(2)), 'tw');
      assert.equal(text(await input.readline(2)), 'o\n');
      assert.equal(text(await input.readline(0)), '');
      assert.equal(text(await input.readline(1)), '\n');
      assert.equal(text(await input.readline()), 'last');
    });

    test('readlines() gives all of them, or as many as reach the hint', async () => {
      assert.deepEqual(texts(await open(content).readlines()), ['one\r\n', 'two\n', '\n', 'last']);
      const input = open(content);
      assert.deepEqual(texts(await input.readlines(6)), ['one\r\n', 'two\n']);
      assert.deepEqual(texts(await input.readlines(0)), ['\n', 'last']);
    });

    test('iteration gives lines, may stop, and continues where it stopped', async () => {
      const input = open(content);
      for await (const line of input) {
        assert.equal(text(line), 'one\r\n');
        break;
      }
      assert.equal(text(await input.read(1)), 't');
      assert.deepEqual(texts(await collect(input)), ['wo\n', '\n', 'last']);
    });

    test('refuses a size that is none', async () => {
      const input = open(content);
      for (const size of [1.5, NaN, -2, Infinity, '5', null, 5n]) {
        await assert.rejects(
          input.read(size as never),
          /^TypeError: read\(\) takes a whole number of bytes, or nothing for all of them, not /,
        );
        await assert.rejects(input.readline(size as never), /^TypeError: readline\(\) takes/);
        await assert.rejects(input.readlines(size as never), /^TypeError: readlines\(\) takes/);
      }
      assert.equal(text(await input.read(3)), 'one', 'nothing was lost');
    });

    test('gives plain Uint8Arrays', async () => {
      const input = open('abc\ndef');
      for (const data of [await input.read(1), await input.readline(), await input.read()]) {
        assert.equal(Object.getPrototypeOf(data), Uint8Array.prototype);
      }
    });

    test('an empty body is empty in every way', async () => {
      assert.equal((await open('').read()).length, 0);
      assert.equal((await open('').readline()).length, 0);
      assert.deepEqual(await collect(open('')), []);
    });
  });
}

describe('StreamInput', () => {
  test('gives the same to any series of calls as BytesIO, however the source is cut', async () => {
    const content = 'a\r\n\nbcd\n';
    const calls: Array<(input: InputStream) => Promise<Uint8Array>> = [
      (input) => input.read(1),
      (input) => input.read(3),
      (input) => input.readline(),
      (input) => input.readline(2),
    ];
    for (let cuts = 0; cuts < 2 ** (content.length - 1); cuts += 1) {
      const parts = [''];
      [...content].forEach((character, index) => {
        parts[parts.length - 1] += character;
        // Every second cut contains an empty chunk.
        if (cuts & (1 << index)) parts.push(...(index % 2 === 0 ? ['', ''] : ['']));
      });
      for (const first of calls) {
        for (const second of calls) {
          const [ours, whole] = [new StreamInput(source(...parts)), new BytesIO(bytes(content))];
          for (const call of [first, second, first, second, second, first, first, second]) {
            assert.equal(text(await call(ours)), text(await call(whole)), JSON.stringify(parts));
          }
        }
      }
    }
  });

  test('refuses chunks that are not bytes, each time', async () => {
    const input = new StreamInput(Readable.from(['text']));
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await assert.rejects(
        input.read(),
        /^TypeError: the source of a request's body gives bytes, a Uint8Array or Buffer, not "text"$/,
      );
    }
  });

  test('is the same however the source is cut', async () => {
    const content = 'a\r\n\nbc\rd\r\n';
    const lines = ['a\r\n', '\n', 'bc\rd\r\n'];
    // Each bit says whether there is a cut after that byte.
    for (let cuts = 0; cuts < 2 ** (content.length - 1); cuts += 1) {
      const parts = [''];
      [...content].forEach((character, index) => {
        parts[parts.length - 1] += character;
        if (cuts & (1 << index)) parts.push('');
      });
      assert.deepEqual(
        texts(await collect(new StreamInput(source(...parts)))), lines, JSON.stringify(parts),
      );
    }
  });

  test('takes from the source only what it needs', async () => {
    let taken = 0;
    async function* counting(): AsyncGenerator<Uint8Array> {
      while (true) {
        taken += 1;
        yield bytes('chunk\n');
      }
    }
    const input = new StreamInput(counting());
    assert.equal(taken, 0);
    await input.read(6);
    assert.equal(taken, 1);
    await input.readline();
    assert.equal(taken, 2);
  });

  test('ends at its length, and leaves the rest of the source', async () => {
    const input = new StreamInput(source('abc', 'def', new Error('not reached')), 5);
    assert.equal(text(await input.read()), 'abcde');
    assert.equal((await input.read(1)).length, 0);
  });

  test('rejects when the source ends before its length', async () => {
    const input = new StreamInput(source('abc'), 5);
    assert.equal(text(await input.read(3)), 'abc');
    await assert.rejects(input.read(1), /^Error: the request's body ended after 3 of 5 bytes$/);
    await assert.rejects(input.read(1), /ended after 3 of 5 bytes/);
  });

  test('rejects when the source breaks, each time', async () => {
    const error = new Error('broken');
    const input = new StreamInput(source('abc', error));
    assert.equal(text(await input.read(3)), 'abc');
    await assert.rejects(input.read(), (caught) => caught === error);
    await assert.rejects(input.read(1), (caught) => caught === error);
    await assert.rejects(input.readline(), (caught) => caught === error);
    await assert.rejects(collect(input), (caught) => caught === error);
  });

  test('refuses a read while another one waits', async () => {
    const input = new StreamInput(source('abc'));
    const first = input.read(1);
    await assert.rejects(
      input.readline(),
      /^Error: wsgi\.input\.readline\(\) was called while an earlier read still waits: await each read$/,
    );
    assert.equal(text(await first), 'a');
    assert.equal(text(await input.read()), 'bc');
  });

  test('refuses a line, too, that is asked for while an earlier read waits', async () => {
    const input = new StreamInput(source('one\ntwo\n', 'three\n'));
    const lines = input[Symbol.asyncIterator]();
    assert.equal(text((await lines.next()).value), 'one\n');
    let waits = true;
    const rest = input.read().finally(() => (waits = false));
    const outcomes: Array<Promise<unknown>> = [];
    for (; waits; await undefined) {
      outcomes.push(lines.next().catch((error: Error) => error.message));
    }
    assert.equal(text(await rest), 'two\nthree\n', 'nothing is lost to it');
    assert.match(
      String(await outcomes[0]),
      /^wsgi\.input\.readline\(\) was called while an earlier read still waits/,
    );
  });

  test('gives a line of 100 MiB', async () => {
    const mebibyte = new Uint8Array(1024 * 1024).fill(0x61);
    async function* long(): AsyncGenerator<Uint8Array> {
      for (let count = 0; count < 100; count += 1) yield mebibyte;
      yield bytes('\nnext');
    }
    const input = new StreamInput(long());
    const line = await input.readline();
    assert.equal(line.length, 100 * 1024 * 1024 + 1);
    assert.equal(line.at(-1), 0x0a);
    assert.equal(text(await input.read()), 'next');
  });
});

describe('BytesIO', () => {
  test('refuses values that are not bytes', () => {
    assert.throws(
      () => new BytesIO('text' as never),
      /^TypeError: BytesIO takes bytes, a Uint8Array or Buffer, not "text"$/,
    );
    const stream = new BytesIO();
    assert.throws(
      () => stream.write('text' as never), /^TypeError: write\(\) takes bytes, .*"text"$/,
    );
    assert.equal(stream.getValue().length, 0);
  });

  test('writes at its position, as in Python', () => {
    const stream = new BytesIO(bytes('abcdef'));
    assert.equal(stream.write(bytes('XY')), 2);
    assert.equal(text(stream.getValue()), 'XYcdef');
    stream.write(bytes('123456'));
    assert.equal(text(stream.getValue()), 'XY123456');
  });

  test('reads on from where it wrote', async () => {
    const stream = new BytesIO(bytes('abcdef'));
    stream.write(bytes('X'));
    assert.equal(text(await stream.read(2)), 'bc');
  });

  test('holds copies', () => {
    const given = bytes('abc');
    const stream = new BytesIO(given);
    given.fill(0);
    stream.getValue().fill(0);
    assert.equal(text(stream.getValue()), 'abc');
  });
});

describe('error streams', () => {
  const rows: Array<[string, () => { stream: StringIO | ErrorOutput; read: () => string }]> = [
    [
      'StringIO',
      () => { const stream = new StringIO(); return { stream, read: () => stream.getValue() }; },
    ],
    ['ErrorOutput', () => {
      let all = '';
      return { stream: new ErrorOutput({ write: (part) => (all += part) }), read: () => all };
    }],
  ];
  for (const [name, open] of rows) {
    test(`${name} takes text of any kind`, () => {
      const { stream, read } = open();
      stream.write('a€😀\n');
      stream.writelines(['b\n', 'c\n']);
      stream.flush();
      assert.equal(read(), 'a€😀\nb\nc\n');
    });

    test(`${name} refuses values that are not text`, () => {
      const { stream } = open();
      assert.throws(
        () => stream.write(bytes('x') as never),
        /^TypeError: wsgi\.errors takes text, not a Uint8Array of 1 byte$/,
      );
      assert.throws(
        () => stream.writelines('text'),
        /^TypeError: writelines\(\) takes several lines, not one string: use write\(\)$/,
      );
    });
  }

  test('StringIO may begin with text', () => {
    assert.equal(new StringIO('begun').getValue(), 'begun');
  });
});
