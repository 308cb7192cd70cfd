// From a request's head to environ: the CGI variables, by the rules of RFC 3875
// §4.1 and PEP 3333, "environ Variables".

import type { IncomingMessage } from 'node:http';

import { addHeader } from '../environ-key.ts';
import { percentDecode } from '../latin1.ts';
import type { WSGIEnvironment } from '../types.ts';

/** The variables that are the same for every request of a server. */
export interface BaseEnviron {
  SERVER_NAME: string;
  SERVER_PORT: string;
  GATEWAY_INTERFACE: string;
  SCRIPT_NAME: string;
  REMOTE_HOST: string;
  CONTENT_LENGTH: string;
}

/** An environ to which the handler has yet to add the `wsgi.*` keys. */
export function requestEnviron(
  request: IncomingMessage,
  base: BaseEnviron,
  serverSoftware: string,
): WSGIEnvironment {
  const target = request.url ?? '';
  const { path, host } = splitTarget(target);
  const question = path.indexOf('?');

  // One literal with every fixed key: an object that starts as a copy and is then
  // added to costs twenty times as much.
  const environ = {
    SERVER_NAME: base.SERVER_NAME,
    GATEWAY_INTERFACE: base.GATEWAY_INTERFACE,
    SERVER_PORT: base.SERVER_PORT,
    REMOTE_HOST: base.REMOTE_HOST,
    CONTENT_LENGTH: base.CONTENT_LENGTH,
    SCRIPT_NAME: base.SCRIPT_NAME,
    SERVER_PROTOCOL: `HTTP/${request.httpVersion}`,
    SERVER_SOFTWARE: serverSoftware,
    REQUEST_METHOD: request.method ?? '',
    PATH_INFO: percentDecode(question === -1 ? path : path.slice(0, question)),
    QUERY_STRING: question === -1 ? '' : path.slice(question + 1),
    REQUEST_URI: target,
    REMOTE_ADDR: remoteAddress(request),
  } as WSGIEnvironment;

  if ('encrypted' in request.socket) environ.HTTPS = 'on';
  addHeaders(environ, request.rawHeaders);
  // The target of a request to a proxy names the host, and then Host does not
  // count. (RFC 9112 §3.2.2)
  if (host !== undefined) environ['HTTP_HOST'] = host;
  addServerVariables(environ, base);
  return environ;
}

/** The client's address; an IPv4 one in its own form, also on an IPv6 socket. */
export function remoteAddress(request: IncomingMessage): string {
  const address = request.socket.remoteAddress ?? '';
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
}

// absolute-form = scheme "://" authority path-abempty [ "?" query ]
const ABSOLUTE = /^[a-z][a-z0-9+.-]*:\/\/([^/?]*)(.*)$/i;

function splitTarget(target: string): { path: string; host?: string } {
  if (target.startsWith('/')) return { path: target };
  const found = ABSOLUTE.exec(target);
  if (found === null) return { path: target };
  const [, host = '', path = ''] = found;
  return { path: path.startsWith('/') ? path : `/${path}`, host };
}

function addHeaders(environ: WSGIEnvironment, rawHeaders: readonly string[]): void {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    addHeader(environ, rawHeaders[index] ?? '', rawHeaders[index + 1] ?? '');
  }
}

// A subclass of the server may have put more into its base environ.
function addServerVariables(environ: WSGIEnvironment, base: BaseEnviron): void {
  for (const key in base) {
    if (!(key in environ)) Object.assign(environ, { [key]: base[key as keyof BaseEnviron] });
  }
}
