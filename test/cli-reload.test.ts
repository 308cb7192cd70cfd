// --reload, as somebody sees it who saves files and asks for pages.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, get } from 'node:http';
import { connect } from 'node:net';
import { dirname, join, relative } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { Watcher } from '../lib/cli/reload/watcher.ts';
import { cert, key } from './support/certificate.ts';
import { COMMAND, Serving, makeFolder, run } from './support/command.ts';

const MAIN = `import { word } from './part.mjs';
import { readFileSync } from 'node:fs';
export default async (environ, start) => {
  if (environ.PATH_INFO === '/crash') setTimeout(() => { throw new Error('in a timer'); });
  if (environ.PATH_INFO === '/exit') process.exit(3);
  if (environ.PATH_INFO === '/loop') {
    console.error('looping');
    for (;;);
  }
  start('200 OK', [['Content-Type', 'text/plain']]);
  const text = environ.PATH_INFO === '/env' ? String(process.env.WORD) : environ.PATH_INFO === '/pid' ? String(process.pid) : word;
  return [new TextEncoder().encode(text)];
};`;
const part = (word: string): string => `export const word = '${word}';\n`;

class Reloading {
  readonly server: Serving;
  readonly folder: string;

  constructor(server: Serving, folder: string) {
    this.server = server;
    this.folder = folder;
  }

  async get(path = '/'): Promise<string> {
    const url = new URL(path, this.server.url.replace('0.0.0.0', '127.0.0.1'));
    return (await fetch(url)).text();
  }

  /** Does something and waits for the line that it leads to. */
  async after(action: () => unknown, line: RegExp): Promise<void> {
    const before = this.server.stderr.length;
    await action();
    while (!line.test(this.server.stderr.slice(before))) {
      await once(this.server.child.stderr ?? this.server.child, 'data');
    }
  }

  save(text: string, file = 'part.mjs'): void {
    writeFileSync(join(this.folder, file), text);
  }
}

async function reloading(
  use: (reloading: Reloading) => Promise<void>,
  args: string[] = [],
  files: Record<string, string> = {},
): Promise<void> {
  const folder = makeFolder({ 'main.mjs': MAIN, 'part.mjs': part('one'), ...files });
  try {
    const server = await Serving.start(['main.mjs', '--reload', ...args], { cwd: folder.path });
    try {
      await use(new Reloading(server, folder.path));
    } finally {
      await server.stop();
    }
  } finally {
    folder.remove();
  }
}

const RELOADED = /^Reloaded main\.mjs: .* has changed$/m;
const BROKEN = /^Save a file of the application to start it again$/m;

describe('--reload sees every way of saving a file', () => {
  const ways: Array<[string, (folder: string, text: string) => void]> = [
    ['in place', (folder, text) => writeFileSync(join(folder, 'part.mjs'), text)],
    ['by a rename over it', (folder, text) => {
      writeFileSync(join(folder, 'new'), text);
      renameSync(join(folder, 'new'), join(folder, 'part.mjs'));
    }],
    ['by deleting and writing it', (folder, text) => {
      rmSync(join(folder, 'part.mjs'));
      writeFileSync(join(folder, 'part.mjs'), text);
    }],
    ['of the same length', (folder, text) => writeFileSync(join(folder, 'part.mjs'), text)],
  ];

  test('again and again, with connections that are never refused', async () => {
    await reloading(async (reloading) => {
      assert.equal(await reloading.get(), 'one');
      const seen = new Set<string>();
      let stopped = false;
      const asking = (async () => {
        while (!stopped) seen.add(await reloading.get());
      })();
      const words: string[] = [];
      for (const [index, [, save]] of ways.entries()) {
        words.push(`v${index}`);
        await reloading.after(() => save(reloading.folder, part(words.at(-1) ?? '')), RELOADED);
        assert.equal(await reloading.get(), words.at(-1));
      }
      stopped = true;
      await asking;
      assert.deepEqual([...seen].filter((word) => !['one', ...words].includes(word)), []);
      assert.equal(reloading.server.stderr.match(/^Serving /gm)?.length, 1, 'one banner, one port');
    });
  });

  // Without its second look each second, which finds everything in the end.
  test('each time at once, however often', async (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const folder = makeFolder({ 'part.mjs': part('zero') });
    try {
      const path = join(folder.path, 'part.mjs');
      let noticed: (path: string) => void = () => {};
      const watcher = new Watcher((changed) => noticed(changed));
      for (const word of ['one', 'two', 'three']) {
        watcher.begin();
        watcher.add([pathToFileURL(path).href]);
        watcher.settle();
        const changed = new Promise<string>((resolve) => (noticed = resolve));
        // A change of the same instant as the start would be noticed in another way.
        await new Promise((resolve) => setTimeout(resolve, 20));
        writeFileSync(path, part(word));
        const alive = setTimeout(() => {}, 600_000);
        assert.equal(await changed, path);
        clearTimeout(alive);
      }
    } finally {
      folder.remove();
    }
  });

  test('while the application loads for the first time', async () => {
    const waiting = `import { writeFileSync } from 'node:fs';
writeFileSync(new URL(import.meta.url), ${JSON.stringify(MAIN)});
await new Promise(() => setInterval(() => {}, 1000));`;
    await reloading(async (reloading) => {
      assert.equal(await reloading.get(), 'one');
    }, [], { 'main.mjs': waiting });
  });

  test('and a CommonJS file that another one requires', async () => {
    const word = (text: string): string => `module.exports = '${text}';`;
    await reloading(async (reloading) => {
      assert.equal(await reloading.get(), 'one');
      await reloading.after(() => reloading.save(word('two'), 'word.cjs'), RELOADED);
      assert.equal(await reloading.get(), 'two');
    }, [], {
      'word.cjs': word('one'),
      'part.cjs': `exports.word = require('./word.cjs');`,
      'part.mjs': `export { word } from './part.cjs';`,
    });
  });

  test('and a link that leads to another folder', {
    skip: process.platform === 'win32',
  }, async () => {
    const folder = makeFolder({
      'v1/main.mjs': MAIN, 'v1/part.mjs': part('one'), 'v2/main.mjs': MAIN,
      'v2/part.mjs': part('two'),
    });
    const link = (name: string): void => {
      symlinkSync(name, join(folder.path, 'next'));
      renameSync(join(folder.path, 'next'), join(folder.path, 'current'));
    };
    try {
      link('v1');
      const server = await Serving.start(['current/main.mjs', '--reload'], { cwd: folder.path });
      try {
        const reloading = new Reloading(server, folder.path);
        assert.equal(await reloading.get(), 'one');
        await reloading.after(() => link('v2'), /^Reloaded current\/main\.mjs: .* has changed$/m);
        assert.equal(await reloading.get(), 'two');
      } finally {
        await server.stop();
      }
    } finally {
      folder.remove();
    }
  });

  test('and a folder that is deleted and made again', async () => {
    const main = MAIN.replace('./part.mjs', './sub/part.mjs');
    await reloading(async (reloading) => {
      const sub = join(reloading.folder, 'sub');
      await reloading.after(() => {
        mkdirSync(sub);
        reloading.save(part('two'), 'sub/part.mjs');
        reloading.save(main, 'main.mjs');
      }, RELOADED);
      await reloading.after(() => rmSync(sub, { recursive: true }), BROKEN);
      await reloading.after(() => {
        mkdirSync(sub);
        reloading.save(part('three'), 'sub/part.mjs');
      }, RELOADED);
      assert.equal(await reloading.get(), 'three');
    });
  });

  test('and templates, by --watch, and the file of --env-file, which is read anew', async () => {
    await reloading(
      async (reloading) => {
        assert.equal(await reloading.get('/env'), 'first');
        await reloading.after(() => reloading.save('WORD=second\n', 'settings'), RELOADED);
        assert.equal(await reloading.get('/env'), 'second');
        const before = await reloading.get('/pid');
        mkdirSync(join(reloading.folder, 'views'));
        await reloading.after(() => reloading.save('<p>', 'views/new.html'), RELOADED);
        assert.notEqual(await reloading.get('/pid'), before);
      },
      ['--watch', '.', '--env-file', 'settings'],
      { settings: 'WORD=first\n' },
    );
  });
});

describe('--reload watches', () => {
  interface Watched {
    folder: string;
    watcher: Watcher;
    /** Resolves with the path, below the folder, that is noticed next. */
    next: () => Promise<string>;
  }
  async function watching(
    files: Record<string, string>, use: (watched: Watched) => Promise<void>,
  ): Promise<void> {
    const { path: folder, remove } = makeFolder(files);
    const alive = setInterval(() => {}, 600_000);
    try {
      let noticed: (path: string) => void = () => {};
      const watcher = new Watcher((path) => noticed(relative(folder, path)));
      // A file of the same instant as the start may have been changed while it was loaded.
      await new Promise((resolve) => setTimeout(resolve, 20));
      await use({ folder, watcher, next: () => new Promise((resolve) => (noticed = resolve)) });
    } finally {
      clearInterval(alive);
      remove();
    }
  }

  test('a folder whose links lead back to it', {
    skip: process.platform === 'win32',
  }, async () => {
    await watching({ 'views/a.html': 'one' }, async ({ folder, watcher, next }) => {
      symlinkSync('.', join(folder, 'views/same'));
      symlinkSync('..', join(folder, 'views/above'));
      watcher.addTree(join(folder, 'views'));
      watcher.begin();
      const noticed = next();
      writeFileSync(join(folder, 'views/a.html'), 'two!');
      assert.equal(await noticed, 'views/a.html');
    });
  });

  test('hidden files, but not those of an editor', async () => {
    await watching({ '.env': 'A=1', 'a.html': 'one' }, async ({ folder, watcher, next }) => {
      watcher.addTree(folder);
      watcher.begin();
      const noticed = next();
      for (const name of ['.a.html.swp', 'a.html~', '.#a.html', '4913']) {
        writeFileSync(join(folder, name), 'kept by an editor');
      }
      const quiet = new Promise((resolve) => setTimeout(resolve, 1500, 'nothing'));
      assert.equal(await Promise.race([noticed, quiet]), 'nothing');
      writeFileSync(join(folder, '.env'), 'A=12');
      assert.equal(await noticed, '.env');
    });
  });

  const repairs: Array<[title: string, path: string]> = [
    ['another package.json', 'project/package.json'],
    ['a package in a folder above', 'project/node_modules/left/index.js'],
    ['another package of a scope', 'project/node_modules/@scope/left/index.js'],
  ];
  for (const [title, path] of repairs) {
    test(`while the application is broken, ${title}`, async () => {
      const files = {
        'project/package.json': '{}',
        'project/node_modules/@scope/right/index.js': '',
        'project/src/app.js': '',
      };
      await watching(files, async ({ folder, watcher, next }) => {
        watcher.begin();
        watcher.add([join(folder, 'project/src/app.js')]);
        watcher.watchBeside();
        const noticed = next();
        mkdirSync(dirname(join(folder, path)), { recursive: true });
        writeFileSync(join(folder, path), '{ "type": "module" }');
        assert.ok(path.startsWith(await noticed));
      });
    });
  }
});

describe('--reload keeps', () => {
  test('a connection that was opened before the save: the new code answers', async () => {
    await reloading(async (reloading) => {
      const socket = connect(Number(new URL(reloading.server.url).port), '127.0.0.1');
      await once(socket, 'connect');
      await reloading.after(() => reloading.save(part('two')), RELOADED);
      socket.end('GET / HTTP/1.0\r\n\r\n'.replace(
        '1.0\r\n', '1.1\r\nHost: localhost\r\nConnection: close\r\n',
      ));
      let answer = '';
      for await (const data of socket) answer += String(data);
      assert.match(answer, /^HTTP\/1\.1 200 [^]*\r\n\r\ntwo$/);
    });
  });

  test('a request that comes while nothing can answer it', async () => {
    await reloading(async (reloading) => {
      // This one keeps the process busy, so that it is ended the hard way.
      const lost = reloading.get('/loop').catch(() => 'cut');
      await reloading.server.printed(/^looping$/m);
      const waiting = reloading.get();
      await reloading.after(() => reloading.save(part('two')), RELOADED);
      assert.equal(await waiting, 'two');
      assert.equal(await lost, 'cut');
    });
  });

  test(
    'every request, once: each side closed behind its last byte, bodies in many packets',
    async () => {
      const main = `import { appendFileSync } from 'node:fs';
      export default async (environ, start) => {
        const body = await environ['wsgi.input'].read();
        appendFileSync('served', environ.QUERY_STRING + '\\n');
        start('200 OK', [['Content-Type', 'text/plain']]);
        return [new TextEncoder().encode(environ.QUERY_STRING + ' ' + body.length)];
      };`;
      await reloading(async (reloading) => {
        const { server, folder } = reloading;
        const port = Number(new URL(server.url).port);
        const ids: string[] = [];
        const wrong: string[] = [];
        let stopped = false;
        const clients = Array.from({ length: 2 }, async () => {
          while (!stopped) {
            const id = `request-${ids.length}`;
            ids.push(id);
            const body = Buffer.alloc(ids.length % 2 === 0 ? 200_000 : 0);
            const answer = await sendInPieces(port, `POST /?${id} HTTP/1.1`, body).catch(String);
            if (!answer.endsWith(`\r\n\r\n${id} ${body.length}`)) wrong.push(`${id}: ${answer}`);
          }
        });
        for (let count = 0; count < 3; count += 1) {
          await reloading.after(() => reloading.save(`${main}\n// ${count}`, 'main.mjs'), RELOADED);
        }
        stopped = true;
        await Promise.all(clients);
        assert.deepEqual(wrong, [], server.stderr);
        const served = readFileSync(join(folder, 'served'), 'utf8').trimEnd().split('\n');
        assert.deepEqual(served.sort(), ids.sort());
      }, [], { 'main.mjs': main });
    },
  );
});

test('--reload lets an upload arrive, however long that takes', async () => {
  const main = `export default async (environ, start) => {
  process.stderr.write('reading\\n');
  const body = await environ['wsgi.input'].read();
  start('200 OK', [['Content-Type', 'text/plain']]);
  return [new TextEncoder().encode('one ' + body.length)];
};`;
  await reloading(async (reloading) => {
    const { server } = reloading;
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n');
    await server.printed(/^reading$/m);
    const reloaded =
      reloading.after(() => reloading.save(main.replace('one', 'two'), 'main.mjs'), RELOADED);
    // Longer than a request gets that does not arrive.
    for (let sent = 0; sent < 40; sent += 1) {
      socket.write('.');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    let answer = '';
    for await (const data of socket) answer += String(data);
    assert.match(answer, /\r\n\r\none 40$/, server.stderr);
    await reloaded;
    assert.doesNotMatch(server.stderr, /tsgiref: cut/);
  }, [], { 'main.mjs': main });
});

/** Sends a request in pieces, closes this side at once, and resolves with all that is answered. */
async function sendInPieces(port: number, line: string, body: Uint8Array): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
  await once(socket, 'connect');
  const request = Buffer.concat([
    Buffer.from(`${line}\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n`),
    Buffer.from('Content-Type: application/octet-stream\r\nConnection: close\r\n\r\n'),
    body,
  ]);
  socket.write(request.subarray(0, 10));
  await new Promise(setImmediate);
  socket.write(request.subarray(10, 100_000));
  await new Promise(setImmediate);
  socket.end(request.subarray(100_000));
  let answer = '';
  for await (const data of socket) answer += String(data);
  return answer;
}

describe('--reload shows a page', () => {
  test('for what does not load, until it does', async () => {
    await reloading(async (reloading) => {
      await reloading.after(() => reloading.save('export const word = ;'), BROKEN);
      assert.match(await reloading.get(), /part\.mjs:1: Unexpected token ';'/);
      const page =
        await (await fetch(reloading.server.url, { headers: { Accept: 'text/html' } })).text();
      assert.match(
        page,
        /<h1><span class="name">The application could not be loaded<\/span>Unexpected token &#39;;&#39;<\/h1>\n\n/,
      );
      assert.match(page, /<mark><i>1<\/i>export const word = ;<\/mark>/);
      assert.match(
        reloading.server.stderr,
        /^tsgiref: part\.mjs:1: Unexpected token ';'\n {4}export const word = ;$/m,
      );
      await reloading.after(() => reloading.save(part('three')), RELOADED);
      assert.equal(await reloading.get(), 'three');
    });
  });

  test('for a name that package.json defines later', async () => {
    await reloading(async (reloading) => {
      await reloading.after(() => reloading.save(`export { word } from '#word';`), BROKEN);
      const manifest = '{ "imports": { "#word": "./word.mjs" } }';
      await reloading.after(() => reloading.save(manifest, 'package.json'), RELOADED);
      assert.equal(await reloading.get(), 'two');
    }, [], { 'package.json': '{}', 'word.mjs': part('two') });
  });

  test('for a certificate that is broken, until it is repaired', async () => {
    await reloading(async (reloading) => {
      await reloading.after(() => reloading.save('broken', 'cert.pem'), BROKEN);
      assert.match(reloading.server.stderr, /^tsgiref: cert\.pem and key\.pem are not a /m);
      await reloading.after(() => reloading.save(cert, 'cert.pem'), RELOADED);
    }, ['--tls-cert', 'cert.pem', '--tls-key', 'key.pem'], { 'cert.pem': cert, 'key.pem': key });
  });

  for (const [path, message] of [
    ['/crash', /Error: in a timer\n {4}at .*main\.mjs:4:/],
    ['/exit', /^tsgiref: main\.mjs ended the process with status 3$/m],
  ] as const) {
    test(`for an application that ended its process: ${path}`, async () => {
      await reloading(async (reloading) => {
        await reloading.after(() => reloading.get(path).catch(() => ''), BROKEN);
        assert.match(reloading.server.stderr, message);
        assert.equal((await fetch(reloading.server.url)).status, 500);
        await reloading.after(() => reloading.save(part('alive')), RELOADED);
        assert.equal(await reloading.get(), 'alive');
      });
    });
  }

  test('to no page from elsewhere whose name leads here', async () => {
    await reloading(async (reloading) => {
      await reloading.after(() => reloading.save('export const word = ;'), BROKEN);
      for (const path of ['/', '/.tsgiref/reload']) {
        const request = get(new URL(path, reloading.server.url), { headers: { Host: 'a.example' } });
        const [response] = (await once(request, 'response')) as [IncomingMessage];
        assert.equal(response.statusCode, 403);
        assert.match(await text(response), /^This server answers [^]*--allow-host a\.example\n$/);
      }
    });
  });

  test('without a word of source to other machines', async () => {
    await reloading(async (reloading) => {
      await reloading.after(() => reloading.save('export const word = ;'), BROKEN);
      assert.doesNotMatch(await reloading.get(), /part\.mjs|export/);
    }, ['--host', '0.0.0.0']);
  });
});

test('--reload answers a page that has waited for the next version', async () => {
  await reloading(async (reloading) => {
    const waiting = fetch(new URL('/.tsgiref/reload', reloading.server.url));
    // Longer than a request may take that a new version waits for.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await reloading.after(() => reloading.save(part('two')), RELOADED);
    assert.equal((await waiting).status, 204);
    assert.doesNotMatch(reloading.server.stderr, /tsgiref: cut/);
  });
});

test('--reload goes on when nobody reads what it prints', async () => {
  await reloading(async (reloading) => {
    reloading.server.child.stderr?.destroy();
    for (const word of ['two', 'three']) {
      reloading.save(part(word));
      while ((await reloading.get()) !== word);
    }
  });
});

test('--reload leaves messages of the application alone', async () => {
  await reloading(async (reloading) => {
    assert.equal(await reloading.get(), 'one');
  }, [], {
    'part.mjs':
      `process.send('ready'); process.send(null); process.send({ of: 'mine' });\n${part('one')}`,
  });
});

test('--reload says which requests it cuts, and lets them end', async () => {
  const endless = `export const word = 'one';
export async function* stream() {
  try { for (;;) { yield Buffer.from('.'); await new Promise((resolve) => setTimeout(resolve, 20)); } }
  finally { process.stderr.write('the body has ended\\n'); }
}`;
  const main = `import { stream } from './part.mjs';
export default (environ, start) => { start('200 OK', [['Content-Type', 'text/plain']]); return stream(); };`;
  await reloading(async (reloading) => {
    const response = await fetch(reloading.server.url);
    const chunks = response.body?.getReader();
    await chunks?.read();
    await reloading.after(() => reloading.save(endless.replace('one', 'two')), RELOADED);
    await chunks?.cancel().catch(() => {});
    const { stderr } = reloading.server;
    assert.match(stderr, /^tsgiref: cut 1 connection that the old version still served$/m);
    assert.match(stderr, /^the body has ended$/m);
  }, [], { 'main.mjs': main, 'part.mjs': endless });
});

describe('--reload ends', () => {
  test('at once if the first load fails', async () => {
    const folder = makeFolder({ 'broken.mjs': 'export default ;' });
    try {
      const { stderr, status } =
        await run([COMMAND, 'broken.mjs', '--reload', '--port', '0'], { cwd: folder.path });
      assert.match(stderr, /^tsgiref: broken\.mjs:1: Unexpected token ';'/);
      assert.equal(status, 1);
    } finally {
      folder.remove();
    }
  });

  test('with a word for an application that ends its process', async () => {
    await reloading(async (reloading) => {
      const { server, folder } = reloading;
      const words = [COMMAND, 'exit.mjs', '--reload', '--port', '0'];
      assert.deepEqual(await run(words, { cwd: folder }), {
        status: 1,
        stdout: '',
        stderr: 'tsgiref: exit.mjs ended the process with status 0 while it was loaded\n',
      });
      await reloading.after(() => reloading.save(`process.exit(0);\n${part('two')}`), BROKEN);
      assert.match(server.stderr, /^tsgiref: main\.mjs ended the process with status 0 while it /m);
    }, [], { 'exit.mjs': 'process.exit(0);' });
  });

  test('with one word for a certificate that is not there', async () => {
    await reloading(async ({ folder }) => {
      const tls = ['--tls-cert', 'none.pem', '--tls-key', 'none.pem'];
      assert.deepEqual(
        await run([COMMAND, 'main.mjs', '--reload', '--port', '0', ...tls], { cwd: folder }),
        {
          status: 1,
          stdout: '',
          stderr:
            'tsgiref: there is no file none.pem; --tls-cert and --tls-key take PEM files\n',
        },
      );
    });
  });

  test('with a word for a port that is taken', async () => {
    await reloading(async ({ server, folder }) => {
      const { stderr, status } = await run(
        [COMMAND, 'main.mjs', '--reload', '--port', new URL(server.url).port], { cwd: folder },
      );
      assert.match(
        stderr,
        /^tsgiref: cannot listen on 127\.0\.0\.1:\d+: another program listens there;[^]*try --port \d+\n$/,
      );
      assert.equal(status, 1);
    });
  });

  test(
    'its child, however it is ended itself',
    { skip: process.platform === 'win32' && 'there are no such signals' },
    async () => {
      await reloading(async (reloading) => {
        const pid = Number(await reloading.get('/pid'));
        await reloading.server.stop('SIGKILL');
        for (;;) {
          try {
            process.kill(pid, 0);
          } catch {
            return;
          }
          execFileSync('sleep', ['0.05']);
        }
      });
    },
  );
});
