// HTTPS: the same server behind TLS. Each connection is encrypted before the part
// of it that speaks HTTP sees it.

import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket, createSecureContext } from 'node:tls';

import { type ServerAddress, type ServerLimits, WSGIServer } from '../simple-server.ts';
import type { WSGIRequestHandler } from '../simple-server.ts';
import type { Settings } from './arguments.ts';
import { Problem } from './problem.ts';

/** A server class that serves HTTPS with this certificate. Throws a Problem if it cannot. */
export function secureServerClass({ cert, key }: NonNullable<Settings['tls']>): typeof WSGIServer {
  const secureContext = readContext(cert, key);

  return class SecureServer extends WSGIServer {
    constructor(
      address: ServerAddress,
      requestHandlerClass?: typeof WSGIRequestHandler,
      limits?: ServerLimits,
    ) {
      super(address, requestHandlerClass, limits);
      const listeners = this.listeners('connection') as Array<(socket: Socket) => void>;
      this.removeAllListeners('connection');
      this.on('connection', (plain: Socket) => {
        const secure = new TLSSocket(plain, { isServer: true, secureContext });
        // A client that speaks no TLS, or does not trust the certificate.
        secure.on('error', () => secure.destroy());
        secure.once('secure', () => {
          for (const listener of listeners) listener.call(this, secure);
        });
      });
    }
  };
}

function readContext(cert: string, key: string): SecureContext {
  const read = (file: string): Buffer => {
    try {
      return readFileSync(file);
    } catch {
      throw new Problem(`there is no file ${file}; --tls-cert and --tls-key take PEM files`);
    }
  };
  const pem = { cert: read(cert), key: read(key) };
  try {
    return createSecureContext(pem);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Problem(`${cert} and ${key} are no certificate and its key in PEM: ${reason}`);
  }
}
