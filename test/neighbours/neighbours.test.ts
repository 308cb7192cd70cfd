// The README's blocks for other programs, as they are written there, with the programs
// that npm can bring and those that are installed here. What cannot be had is skipped.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, after, before, describe, test } from 'node:test';

import { findFreePort } from '../support/command.ts';
import { readme } from '../support/readme.ts';
import { type Serving, Workspace, blockWith, lineWith } from './workspace.ts';

const stripsTypes = Boolean(Reflect.get(process.features, 'typescript'));

/** The code within a line of the README that matches. */
const inline = (pattern: RegExp): string => pattern.exec(readme)?.[1] ?? '';

// The README's hello.ts, for a Node that does not run TypeScript.
const HELLO = `export default (environ, startResponse) => {
  startResponse('200 OK', [['Content-Type', 'text/plain']]);
  return [new TextEncoder().encode(\`Hello from \${environ.PATH_INFO}\\n\`)];
};
`;

describe('neighbours', () => {
  let workspace: Workspace;

  before(async () => {
    workspace = await Workspace.make();
  });
  after(() => workspace.remove());

  /** Whether the packages are there; if not, the test is skipped, and says why. */
  async function has(context: TestContext, ...packages: string[]): Promise<boolean> {
    const reason = await workspace.install(...packages);
    if (reason !== undefined) context.skip(reason);
    return reason === undefined;
  }

  function hasProgram(context: TestContext, name: string, paths: string[]): boolean {
    const found = paths.some((path) => existsSync(path));
    if (!found) context.skip(`${name} is not installed`);
    return found;
  }

  async function get(url: string, init?: RequestInit): Promise<string> {
    const response = await fetch(url, { ...init, headers: { Connection: 'close' } });
    assert.equal(response.status, 200, url);
    return response.text();
  }

  async function serving(
    command: string, use: (server: Serving) => Promise<void>, env?: NodeJS.ProcessEnv,
  ): Promise<void> {
    const server = await workspace.serve(command, env);
    try {
      await use(server);
    } finally {
      await server.stop();
    }
  }

  const request = async (file: string, path: string): Promise<string> => {
    const { output, status } = await workspace.run(`tsgiref ${file} --request ${path}`);
    assert.equal(status, 0, output);
    return output;
  };

  test('Hono serves beside an application, under the command', async (context) => {
    if (!(await has(context, 'typescript', '@types/node'))) return;
    if (!(await has(context, 'hono'))) return;
    workspace.write('hono.ts', blockWith("from 'hono'"));
    assert.equal(await request('hono.ts', '/user/ada'), 'Hello, ada\n');
    assert.equal(await request('hono.ts', '/hello/x'), 'Hello from /x\n');
  });

  for (const version of ['5.7', '6']) {
    test(`TypeScript ${version} compiles an application`, async (context) => {
      // Under a name of its own, since the other tests use the newest one.
      if (!(await has(context, `typescript-${version}@npm:typescript@${version}`))) return;
      const folder = `with-${version}`;
      mkdirSync(join(workspace.path, folder, 'node_modules'), { recursive: true });
      const installed = join(workspace.path, 'node_modules', `typescript-${version}`);
      symlinkSync(installed, join(workspace.path, folder, 'node_modules/typescript'), 'junction');
      // No Node runs an enum by itself.
      workspace.write(`${folder}/hello.ts`, `enum Status { Ok = '200 OK' }
${HELLO.replace("'200 OK'", 'Status.Ok')}`);
      assert.equal(await request(`${folder}/hello.ts`, '/x'), 'Hello from /x\n');
    });
  }

  test('itty-router and h3 are fetch handlers', async (context) => {
    if (!(await has(context, 'typescript', '@types/node'))) return;
    if (await has(context, 'itty-router')) {
      workspace.write('itty.mjs', `import { AutoRouter } from 'itty-router';
const router = AutoRouter();
router.get('/user/:name', ({ name }) => ({ name }));
export default router;
`);
      assert.equal(await request('itty.mjs', '/user/ada'), '{"name":"ada"}');
    }
    if (await has(context, 'h3')) {
      const [major] = workspace.version('h3').split('.');
      const make = major === '1'
        ? `import { createApp, createRouter, eventHandler, getRouterParam, toWebHandler } from 'h3';
const router = createRouter().get('/user/:name', eventHandler((event) => getRouterParam(event, 'name')));
export default { fetch: toWebHandler(createApp().use(router)) };
`
        : `import { H3, getRouterParam } from 'h3';
export default new H3().get('/user/:name', (event) => getRouterParam(event, 'name'));
`;
      workspace.write('h3.mjs', make);
      assert.equal(await request('h3.mjs', '/user/ada'), 'ada');
    }
  });

  test('Express mounts an application', async (context) => {
    if (!(await has(context, 'typescript', '@types/node'))) return;
    if (!(await has(context, 'express'))) return;
    const expression = inline(/`(express\(\)\.use\(.*?\))`/);
    workspace.write('express-app.ts', `import express from 'express';
import { toNodeListener } from 'tsgiref';
import hello from './hello.ts';

const server = ${expression}.listen(0, '127.0.0.1', () => {
  console.log(\`http://127.0.0.1:\${server.address().port}/\`);
});
`);
    if (!stripsTypes) return context.skip('this Node does not run TypeScript');
    await serving('node express-app.ts', async ({ url }) => {
      assert.equal(await get(`${url}/hello/x`), 'Hello from /x\n');
    });
  });

  test('busboy reads a file from wsgi.input', async (context) => {
    if (!(await has(context, 'typescript', '@types/node'))) return;
    if (!(await has(context, 'busboy'))) return;
    const [imports = '', code = ''] = blockWith("from 'busboy'").split('\n\n');
    workspace.write('busboy-app.mjs', `${imports}
export default async (environ, startResponse) => {
${code}
  startResponse('200 OK', [['Content-Type', 'text/plain']]);
  return [new TextEncoder().encode('stored\\n')];
};
`);
    await serving('tsgiref --port 0 busboy-app.mjs', async ({ url }) => {
      const form = new FormData();
      form.set('file', new File(['x'.repeat(200_000)], 'x.txt'));
      assert.equal(await get(url, { method: 'POST', body: form }), 'stored\n');
      assert.equal((await workspace.run('wc -c < upload.bin')).output.trim(), '200000');
    });
  });

  test('Vitest runs a test of an application', async (context) => {
    if (!(await has(context, 'vitest'))) return;
    workspace.write('hello.test.ts', blockWith("from 'vitest'"));
    const { output, status } = await workspace.run('npx vitest run hello.test.ts');
    assert.equal(status, 0, output);
    assert.match(output, /1 passed/);
  });

  test('Jest runs a test of an application', async (context) => {
    if (!(await has(context, 'jest'))) return;
    // The compiled test: without types, and with the globals of Jest.
    const source = blockWith("from 'vitest'").replace(/^import .* from 'vitest';\n/m, '');
    workspace.write('dist/hello.test.js', source.replace("'./hello.ts'", "'./hello.js'"));
    workspace.write('dist/hello.js', HELLO);
    const { output, status } =
      await workspace.run('NODE_OPTIONS=--experimental-vm-modules npx jest dist');
    assert.equal(status, 0, output);
    assert.match(output, /1 passed/);
  });

  test('PM2 runs a program as a cluster', async (context) => {
    if (!stripsTypes) return context.skip('this Node does not run TypeScript');
    if (!(await has(context, 'pm2'))) return;
    const command = inline(/`(npx pm2 start serve\.ts -i 2)`/);
    const port = await findFreePort();
    workspace.write('serve.ts', blockWith('// serve.ts').replaceAll('8000', String(port)));
    const env = { PM2_HOME: join(workspace.path, '.pm2') };
    try {
      const started = await workspace.run(`${command} --wait-ready --listen-timeout 20000`, env);
      assert.equal(started.status, 0, started.output);
      assert.equal(await get(`http://127.0.0.1:${port}/pm2`), 'Hello from /pm2\n');
    } finally {
      await workspace.run('npx pm2 kill', env);
    }
  });

  for (const [name, start] of [
    ['Deno', 'deno serve '],
    ['Bun', 'bun '],
    ['Wrangler', 'npx wrangler dev '],
  ] as const) {
    test(`${name} serves an application as a worker`, async (context) => {
      const [program = ''] = start.replace('npx ', '').split(' ');
      if (!(await has(context, program))) return;
      const line = lineWith(start).replace(start, `${start}--port ${await findFreePort()} `);
      await serving(line, async ({ url }) => {
        assert.equal(await get(`${url}/worker`), 'Hello from /worker\n');
      });
    });
  }

  test('nginx passes requests on by HTTP, SCGI and uwsgi', async (context) => {
    if (
      !hasProgram(context, 'nginx', ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/bin/nginx'])
    ) {
      return;
    }
    const ports = new Map<string, number>();
    const withPorts = (text: string): string =>
      [...ports].reduce((changed, [its, ours]) => changed.replaceAll(its, String(ours)), text);
    for (const port of ['8000', '8080', '8081', '8082', '4000', '3031']) {
      ports.set(port, await findFreePort());
    }
    const gateways = withPorts(blockWith('// gateways.ts')).replace('./hello.ts', './hello.mjs');
    workspace.write('gateways.mjs', gateways);
    workspace.write('hello.mjs', HELLO);
    const own = `daemon off; pid ${workspace.path}/nginx.pid; error_log stderr; `;
    for (const [name, text] of [['proxy', 'proxy_pass http'], ['gateways', 'scgi_pass']] as const) {
      const file = join(workspace.path, `${name}.conf`);
      workspace.write(`${name}.conf`, own + withPorts(blockWith(text)));
      const checked = spawnSync('nginx', ['-t', '-c', file], { encoding: 'utf8' });
      assert.equal(checked.status, 0, checked.stderr);
    }
    const behindNginx = async (file: string, commands: string, names: string[]): Promise<void> => {
      const addresses = names.map((port) => `http://127.0.0.1:${ports.get(port)}`);
      const nginx = `nginx -c ${workspace.path}/${file}.conf`;
      const server = await workspace.serve(`${commands} & exec ${nginx}`, {}, addresses[0]);
      try {
        for (const address of addresses) {
          assert.equal(await get(`${address}/%6eginx`), 'Hello from /nginx\n');
        }
      } finally {
        await server.stop();
      }
    };
    await behindNginx('proxy', `tsgiref --plain --port ${ports.get('8000')} hello.mjs`, ['8080']);
    await behindNginx('gateways', 'node gateways.mjs', ['8081', '8082']);
  });

  test('Apache runs an application by CGI', async (context) => {
    if (!hasProgram(context, 'Apache', ['/usr/sbin/apache2', '/usr/sbin/httpd'])) return;
    const port = await findFreePort();
    const here = (text: string): string => text.replaceAll('/srv/app', workspace.path);
    workspace.write('hello.cgi', here(blockWith('#!/bin/sh')).replace('hello.ts', 'hello.mjs'));
    spawnSync('chmod', ['755', join(workspace.path, 'hello.cgi'), workspace.path]);
    workspace.write('hello.mjs', HELLO);
    const modules = '/usr/lib/apache2/modules';
    workspace.write('apache.conf', [
      'ServerName localhost',
      `Listen 127.0.0.1:${port}`,
      `DefaultRuntimeDir ${workspace.path}`,
      `PidFile ${workspace.path}/apache.pid`,
      `ErrorLog ${workspace.path}/apache.log`,
      ...['mpm_event', 'authz_core', 'alias', 'env'].map(
        (name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`,
      ),
      'User www-data',
      'Group www-data',
      'PassEnv PATH',
      here(blockWith('LoadModule cgid')),
      `ScriptSock ${workspace.path}/cgid.sock`,
    ].join('\n'));
    const address = `http://127.0.0.1:${port}`;
    const server =
      await workspace.serve(`apache2 -X -f ${workspace.path}/apache.conf`, {}, address);
    try {
      const response = await fetch(`${address}/hello/apache`, { headers: { Connection: 'close' } });
      const { output } = await workspace.run('cat apache.log');
      assert.equal(await response.text(), 'Hello from /apache\n', output);
    } finally {
      await server.stop();
    }
  });
});
