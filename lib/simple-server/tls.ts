// HTTPS: Node's TLS server is between the listening socket and the part of a connection
// that speaks HTTP. It never listens itself; it is handed each connection.

import { X509Certificate, createPrivateKey } from 'node:crypto';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type TLSSocket, type TlsOptions, createSecureContext, createServer } from 'node:tls';

/** How long a client may take for the handshake, in milliseconds, unless the options say. */
const HANDSHAKE_TIMEOUT = 10_000;

type ConnectionListener = (socket: Socket) => void;

/** The handshakes of a server's connections. */
export class Handshakes {
  /** Node's own listeners, which speak HTTP on a connection. */
  readonly parse: ConnectionListener[];
  private readonly pending = new Map<string, Socket>();

  /**
   * Puts TLS before the HTTP of `server`. From then on the server emits `secureConnection`
   * for each connection that has finished its handshake.
   *
   * @throws an Error if the certificate and the key cannot be used together
   */
  constructor(server: Server, options: TlsOptions) {
    checkKey(options);
    const tls = createServer({
      handshakeTimeout: HANDSHAKE_TIMEOUT,
      ALPNProtocols: ['http/1.1'],
      ...options,
    });
    this.parse = server.listeners('connection') as ConnectionListener[];
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      const peer = peerOf(socket);
      this.pending.set(peer, socket);
      socket.once('close', () => this.forget(peer, socket));
      // An HTTP server keeps a socket open whose client has finished sending. With TLS, such a
      // client has left, as it has for Node's own HTTPS server.
      socket.allowHalfOpen = false;
      tls.emit('connection', socket);
    });
    tls.on('secureConnection', (socket: TLSSocket) => {
      this.pending.delete(peerOf(socket));
      for (const listener of this.parse) listener.call(server, socket);
      server.emit('secureConnection', socket);
    });
    // A client that speaks no TLS, does not trust the certificate, or takes too long.
    tls.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** Closes the connections whose handshake is not finished. */
  end(): void {
    for (const socket of this.pending.values()) socket.destroy();
  }

  // The peer's port may be in use again.
  private forget(peer: string, socket: Socket): void {
    if (this.pending.get(peer) === socket) this.pending.delete(peer);
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/**
 * Checks a certificate and its key.
 *
 * @throws an Error if they cannot be read, or cannot be used together
 */
export function checkKey(options: TlsOptions): void {
  if (!belongTogether(options)) {
    throw new Error('the TLS key does not belong to the TLS certificate');
  }
  createSecureContext(options);
}

// OpenSSL itself compares a key with a certificate of its own kind only.
function belongTogether({ cert, key, passphrase }: TlsOptions): boolean {
  if (cert === undefined || key === undefined || Array.isArray(cert) || Array.isArray(key)) {
    return true;
  }
  const privateKey = createPrivateKey({ key, ...(passphrase !== undefined && { passphrase }) });
  return new X509Certificate(cert).checkPrivateKey(privateKey);
}
