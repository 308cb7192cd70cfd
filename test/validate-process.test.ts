// Faults that show only when a process ends, or runs without a listener: in a process
// of their own.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';

const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const library = (name: string): string =>
  new URL(`../lib/${name}.${EXTENSION}`, import.meta.url).href;

/** Runs code with the validator at hand; what it left on standard error. */
async function run(code: string, ...options: string[]): Promise<string> {
  const whole = `
    import { validator } from ${JSON.stringify(library('validate'))};
    import { setupTestingDefaults } from ${JSON.stringify(library('util'))};
    const environ = {};
    setupTestingDefaults(environ);
    const startResponse = () => () => {};
    ${code}`;
  const args = ['--expose-gc', ...options, '--input-type=module', '--eval', whole];
  const { stderr } = await promisify(execFile)(process.execPath, args);
  return stderr;
}

describe('the validator tells', () => {
  it('of an application that never settles, when the process has no more to do', async () => {
    const stderr = await run(`
      async function sleeper() { await new Promise(() => { globalThis.kept = this; }); }
      globalThis.promise = validator(sleeper)(environ, startResponse);`);
    assert.match(stderr, /\[app-settles\] WSGIWarning: The application sleeper has not returned\./);
  });

  it('of a body that never goes on', async () => {
    const stderr = await run(`
      async function* stuck(_environ, start) {
        start('200 OK', [['Content-Type', 'text/plain']]);
        await new Promise(() => {});
      }
      const body = validator(stuck)(environ, startResponse);
      globalThis.promise = body[Symbol.asyncIterator]().next();`);
    assert.match(
      stderr,
      /\[app-settles\] WSGIWarning: The application stuck has not gone on in the middle/,
    );
  });

  it('of nothing else when an application does settle', async () => {
    const stderr = await run(`
      async function quick(_environ, start) { start('204 No Content', []); return []; }
      const body = await validator(quick)(environ, startResponse);
      for (const chunk of body);
      body.close();`);
    assert.doesNotMatch(stderr, /WSGIWarning/);
  });

  it('of a missing close(), without being asked', async () => {
    const stderr = await run(`
      function hello(_environ, start) { start('204 No Content', []); return []; }
      for (const chunk of validator(hello)(environ, startResponse));`);
    assert.match(stderr, /\[close-called\] WSGIWarning: The server ended the iteration/);
  });

  it('of a missing close(), also when a test with fake timers has ended', async () => {
    const stderr = await run(`
      import { mock } from 'node:test';
      function hello(_environ, start) { start('204 No Content', []); return []; }
      mock.timers.enable({ apis: ['setTimeout'] });
      validator(hello)(environ, startResponse).close();
      mock.timers.reset();
      for (const chunk of validator(hello)(environ, startResponse));`);
    assert.match(stderr, /\[close-called\] WSGIWarning: The server ended the iteration/);
  });

  it('of a body that was dropped unread, once it is collected', async () => {
    const stderr = await run(`
      function hello(_environ, start) { start('204 No Content', []); return []; }
      const told = new Promise((resolve) => process.on('warning', resolve));
      validator(hello)(environ, startResponse);
      const timer = setInterval(gc, 10);
      await told;
      clearInterval(timer);`);
    assert.match(stderr, /\[close-called\] WSGIWarning: The server dropped the body/);
  });

  // Such a server can be reached from its own startResponse.
  const SERVER = `
    class Server {
      constructor(app) { this.body = app({ ...environ }, this.startResponse.bind(this)); }
      startResponse() { return () => this; }
    }`;
  const COLLECT = `
      for (let count = 0; count < 20; count += 1) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        gc();
      }`;

  it('of a body that was dropped by an instance of a class', async () => {
    const stderr = await run(`${SERVER}
      function hello(_environ, start) { start('204 No Content', []); return []; }
      new Server(validator(hello));
      ${COLLECT}`);
    assert.match(stderr, /\[close-called\] WSGIWarning: The server dropped the body/);
    assert.match(stderr, /startResponse was called at file:\S+\[eval1\]:\d+:\d+/);
  });

  it('of an iteration that hangs in a body that an instance of a class has dropped', async () => {
    const stderr = await run(`${SERVER}
      async function* stuck(_environ, start) {
        start('200 OK', [['Content-Type', 'text/plain']]);
        await new Promise(() => {});
      }
      void new Server(validator(stuck)).body[Symbol.asyncIterator]().next();
      ${COLLECT}
      process.exit();`);
    assert.match(stderr, /\[app-settles\] WSGIWarning: The application stuck has not gone on/);
  });

  it('of nothing else, and keeps nothing, when a body took its time', async () => {
    const stderr = await run(`${SERVER}
      function hello(_environ, start) { start('204 No Content', []); return []; }
      let server = new Server(validator(hello));
      const kept = new WeakRef(server);
      await new Promise((resolve) => setTimeout(resolve, 60));
      for (const chunk of server.body);
      server.body.close();
      server = undefined;
      ${COLLECT}
      console.error('kept:', kept.deref());`);
    assert.equal(stderr, 'kept: undefined\n');
  });
});

describe('a report', () => {
  const WRONG = `
    function wrong(_environ, start) {
      start('200OK', []);
    }
    try { validator(wrong)(environ, startResponse); } catch (error) { console.error(error.stack); }`;

  it('names the call, even where the engine is to keep no stacks', async () => {
    const [message, ...frames] = (await run(WRONG, '--stack-trace-limit=0')).split(/\n(?= +at)/);
    assert.match(message ?? '', /^WSGIError: [^]*\nThe call is at \S+\[eval1\]:\d+:\d+$/);
    for (const frame of frames) assert.match(frame, /\[eval1\]:/);
  });

  it('comes even where the intrinsic objects are frozen', async () => {
    const stderr = await run(WRONG, '--frozen-intrinsics');
    assert.match(stderr, /WSGIError: The application wrong passed the status "200OK"/);
  });

  it('names no place where the author\'s code cannot be told from the library', async () => {
    // In a bundle the library has no folder of its own, as under a name with a query.
    const bundled = `${library('validate/rule')}?bundled`;
    const stderr = await run(`
      const { Reporter, rule } = await import(${JSON.stringify(bundled)});
      const made = rule('server', 'made-up', 'error', 'nowhere', 'A rule.', 'A hint.');
      const breach = { ...made, rule: made, subject: 'It', action: 'failed', isCall: true };
      try { new Reporter({}).deliver('error', breach); } catch ({ stack }) { console.error(stack); }`);
    assert.match(stderr, /^WSGIError: It failed/);
    assert.doesNotMatch(stderr, /:\d+:\d+$/m);
  });

  it('has no frame of this library, even where source maps show its source', async () => {
    const stderr = await run(`
      process.setSourceMapsEnabled(true);
      const { trace } = await import(${JSON.stringify(library('trace'))});
      function long(_environ, start) {
        start('200 OK', [['Content-Type', 'text/plain'], ['Content-Length', '3']]);
        return [Buffer.from('hello')];
      }
      const traced = trace(long, { write() {} });
      const body = await validator(traced)(environ, startResponse);
      try { for (const chunk of body); } catch (error) { process.stderr.write(error.stack); }
      body.close();`);
    assert.match(stderr, /^WSGIError: The application long sent 5 bytes with/m);
    const places = stderr.match(/\S+:\d+:\d+$/gm) ?? [];
    assert.ok(places.length > 0);
    for (const place of places) assert.match(place, /\[eval\d+\]:/);
  });
});
