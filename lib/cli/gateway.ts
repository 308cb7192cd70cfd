// `--scgi` and `--uwsgi`: serves an application behind nginx or Apache until the user
// stops it.

import { lstatSync, rmSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';

import { type GatewayServer, makeGatewayServer } from '../gateway.ts';
import { bindError } from '../simple-server/server.ts';
import type { WSGIApplication } from '../types.ts';
import { type Settings, isLoopback } from './arguments.ts';
import { Problem } from './problem.ts';
import { NO_ERROR_PAGE, OPEN_TO_ALL, explainBinding, stopOnSignals } from './serve.ts';

type Gateway = NonNullable<Settings['gateway']>;

/**
 * Serves `app`, called `name` in the banner.
 *
 * @returns The exit status, once the server was stopped.
 * @throws Problem if the server cannot bind its address.
 */
export async function serveGateway(
  app: WSGIApplication,
  name: string,
  gateway: Gateway,
  settings: Settings,
): Promise<number> {
  const server = await bind(app, gateway, settings);
  stopOnSignals(() => void server.shutdown());
  if (!settings.quiet) process.stderr.write(banner(name, server, gateway, settings));
  await server.serveForever();
  return 0;
}

async function bind(
  app: WSGIApplication,
  { protocol, address }: Gateway,
  { quiet, limits }: Settings,
): Promise<GatewayServer> {
  const { maxHeaderSize, maxConnections } = limits;
  const listen = async (): Promise<GatewayServer> => {
    const server = makeGatewayServer(protocol, address, app, {
      ...(maxHeaderSize !== undefined && { maxHeaderSize }),
      ...(quiet && { log: () => {} }),
    });
    if (maxConnections !== undefined) server.maxConnections = maxConnections;
    await server.ready;
    return server;
  };
  try {
    return await listen();
  } catch (error) {
    if ('port' in address) {
      const { host, port } = address;
      const named = bindError(error as Error, [host, port]);
      throw await explainBinding(named, host, port, `--${protocol}`);
    }
    const { path } = address;
    if (!(await isLeftOver(path))) throw explainPath(error as NodeJS.ErrnoException, path);
    rmSync(path);
    return listen();
  }
}

// A process that was killed leaves its socket in the file system, where nobody listens.
async function isLeftOver(path: string): Promise<boolean> {
  if (!isSocket(path)) return false;
  return new Promise((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'));
  });
}

function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}

function explainPath({ code = '', message }: NodeJS.ErrnoException, path: string): Problem {
  const taken = isSocket(path)
    ? 'another program listens there; stop it, or choose another path'
    : 'it is a file that is not a socket; choose another path';
  const remedies: Record<string, string> = {
    EADDRINUSE: taken,
    // Node says this of a folder that is not there.
    EACCES: 'there is no such folder, or the system does not permit it',
    ENOENT: 'there is no such folder',
    EINVAL: 'the system takes paths of at most about 100 characters',
  };
  return new Problem(`cannot listen on ${path}: ${remedies[code] ?? message} (${code})`);
}

function banner(
  name: string,
  server: GatewayServer,
  { protocol, address }: Gateway,
  { errorPage, validate }: Settings,
): string {
  const shown = protocol === 'scgi' ? 'SCGI' : protocol;
  const line = `Serving ${name} by ${shown} on ${place(server, address)} (Ctrl-C stops)\n`;
  // Clients are wherever those of the server in front are.
  const hint = errorPage || !validate ? '' : NO_ERROR_PAGE;
  const isOpen = 'host' in address && !isLoopback(address.host);
  return line + (isOpen ? OPEN_TO_ALL : '') + hint;
}

function place(server: GatewayServer, address: Gateway['address']): string {
  if ('path' in address) return address.path;
  const { port } = server.address() as AddressInfo;
  const { host } = address;
  return `${host.includes(':') ? `[${host}]` : host || '0.0.0.0'}:${port}`;
}
