// Correct servers that differ from the one of server.ts in what PEP 3333 and HTTP leave
// open. No check may fail on any of them.

import type { Socket } from 'node:net';

import {
  BytesIO, ErrorOutput, FileWrapper, type InputStream, type ResponseBody, type StartResponse,
} from '../../lib/index.ts';
import { type Exchange, GalleryServer, type HeaderList, type Request } from './server.ts';

/** The variants, by what is different about them. */
export const variants: Record<string, typeof GalleryServer> = {
  'speaks HTTP/1.0': class extends GalleryServer {
    override keepsAlive(): boolean {
      return false;
    }
    override usesChunks(): boolean {
      return false;
    }
    override sendContinue(): void {}
    override formatHead(status: string, headers: HeaderList): string {
      return super.formatHead(status, headers).replace('HTTP/1.1', 'HTTP/1.0');
    }
  },

  'closes after each response': class extends GalleryServer {
    override keepsAlive(): boolean {
      return false;
    }
  },

  'marks the end of a body by closing': class extends GalleryServer {
    override usesChunks(): boolean {
      return false;
    }
  },

  'refuses chunked requests': class extends GalleryServer {
    override refuse(request: Request): string | undefined {
      const isChunked = this.find(request, 'transfer-encoding') === 'chunked';
      return super.refuse(request) ?? (isChunked ? '411 Length Required' : undefined);
    }
  },

  'serves one request at a time': class extends GalleryServer {
    private last: Promise<unknown> = Promise.resolve();
    override run(exchange: Exchange): Promise<void> {
      const run = this.last.then(() => super.run(exchange));
      this.last = run.catch(() => {});
      return run;
    }
  },

  'collects the request body first': class extends GalleryServer {
    override async run(exchange: Exchange): Promise<void> {
      const { environ, input } = exchange;
      try {
        const collected: InputStream = new BytesIO(await input.read());
        environ['wsgi.input'] = collected;
      } catch {
        exchange.socket.end(
          'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
        );
        exchange.keepAlive = false;
        return;
      }
      await super.run(exchange);
    }
  },

  'has a write() that returns nothing': class extends GalleryServer {
    override startResponseFor(exchange: Exchange): StartResponse {
      const startResponse = super.startResponseFor(exchange);
      return (status, headers, error) => {
        const write = startResponse(status, headers, error);
        return (chunk) => void write(chunk);
      };
    }
  },

  'writes header names in lower case, and a Server': class extends GalleryServer {
    override ownHeaders(exchange: Exchange, has: (name: string) => boolean): HeaderList {
      const own = super.ownHeaders(exchange, has);
      return has('server') ? own : [...own, ['Server', 'gallery']];
    }
    override formatHead(status: string, headers: HeaderList): string {
      return super.formatHead(status, headers.map(([name, value]) => [name.toLowerCase(), value]));
    }
  },

  'puts more into environ': class extends GalleryServer {
    override makeEnviron(request: Request, input: InputStream) {
      return {
        ...super.makeEnviron(request, input),
        PATH: '/usr/bin',
        REMOTE_ADDR: '127.0.0.1',
        GATEWAY_INTERFACE: 'CGI/1.1',
        'gallery.socket': this.sockets,
        'wsgi.input_terminated': true,
      };
    }
  },

  'has empty variables where it could leave them out': class extends GalleryServer {
    override makeEnviron(request: Request, input: InputStream) {
      const environ = super.makeEnviron(request, input);
      return Object.assign(environ, { CONTENT_LENGTH: '', CONTENT_TYPE: 'text/plain', ...environ });
    }
  },

  'has an environ without a prototype, and leaves out what is empty': class extends GalleryServer {
    override makeEnviron(request: Request, input: InputStream) {
      const environ = Object.assign(Object.create(null), super.makeEnviron(request, input));
      if (environ.QUERY_STRING === '') delete environ.QUERY_STRING;
      delete environ.SCRIPT_NAME;
      return environ;
    }
  },

  'offers a file wrapper': class extends GalleryServer {
    override makeEnviron(request: Request, input: InputStream) {
      const environ = super.makeEnviron(request, input);
      environ['wsgi.file_wrapper'] = (file, blockSize) => new FileWrapper(file, blockSize);
      return environ;
    }
  },

  'refuses headers with an underscore': class extends GalleryServer {
    override refuse(request: Request): string | undefined {
      const hasUnderscore = request.headers.some(([name]) => name.includes('_'));
      return hasUnderscore ? '400 Bad Request' : super.refuse(request);
    }
  },

  'notices at the next chunk that a client has left': class extends GalleryServer {
    override async next({ request }: Exchange, iterator: AsyncIterator<Uint8Array>) {
      const next = await iterator.next();
      if (request.source.left !== undefined) throw request.source.left;
      return next;
    }
  },

  'sends 100 Continue at the first read': class extends GalleryServer {
    override sendContinue(exchange: Exchange): void {
      const { environ, input } = exchange;
      const { socket } = exchange;
      let isSent = false;
      const sendFirst = async (): Promise<void> => {
        if (isSent) return;
        isSent = true;
        if (!exchange.headSent) super.sendContinue({ ...exchange, socket });
      };
      const reads: InputStream = {
        read: (size) => sendFirst().then(() => input.read(size)),
        readline: (size) => sendFirst().then(() => input.readline(size)),
        readlines: (hint) => sendFirst().then(() => input.readlines(hint)),
        [Symbol.asyncIterator]: () => input[Symbol.asyncIterator](),
      };
      environ['wsgi.input'] = reads;
    }
  },

  'knows the length of an array': class extends GalleryServer {
    override async sendBody(exchange: Exchange, body: ResponseBody): Promise<void> {
      const { head } = exchange;
      const has = head?.headers.some(([name]) => /^content-length$/i.test(name));
      const isWhole = Array.isArray(body) && body.every((chunk) => chunk instanceof Uint8Array);
      const allows = head !== undefined && !/^(204|205|304)/.test(head.status);
      if (isWhole && allows && !has && !exchange.headSent && exchange.request.method !== 'HEAD') {
        const length = body.reduce((sum: number, chunk: Uint8Array) => sum + chunk.length, 0);
        head.headers.push(['Content-Length', String(length)]);
      }
      await super.sendBody(exchange, body);
    }
  },

  'lets write() throw beyond Content-Length': class extends GalleryServer {
    override cut({ length = Infinity, sent, head }: Exchange, chunk: Uint8Array): Uint8Array {
      if (sent === length && head !== undefined && length > 0) {
        throw new Error('beyond Content-Length');
      }
      return super.cut({ length, sent } as Exchange, chunk);
    }
  },

  'reports on standard error, and answers with a page': class extends GalleryServer {
    override makeErrors(): ErrorOutput {
      return new ErrorOutput({
        // What the checks provoke would fill the terminal; the text passes through all the same.
        write: (text: string) => (text.includes('kit-error') ? process.stderr.write(text) : true),
      });
    }
    override async answerError(exchange: Exchange): Promise<void> {
      exchange.head = { status: '500 Oh dear', headers: [['Content-Type', 'text/html']] };
      await this.write(exchange, Buffer.from('<title>Oh dear</title>'));
      await this.finish(exchange);
    }
  },

  'drops hop-by-hop headers in place of refusing them': class extends GalleryServer {
    override startResponseFor(exchange: Exchange): StartResponse {
      const startResponse = super.startResponseFor(exchange);
      return (status, headers, error) => {
        const kept =
          headers.filter(([name]) => !/^(connection|upgrade|transfer-encoding)$/i.test(name));
        return startResponse(status, kept, error);
      };
    }
  },

  'closes the connection after a body that was not read': class extends GalleryServer {
    override async drain(exchange: Exchange): Promise<boolean> {
      const length = Number(this.find(exchange.request, 'content-length') ?? 0);
      await super.drain(exchange);
      return length === 0;
    }
    override keepsAlive(request: Request): boolean {
      return this.find(request, 'content-length') === undefined && super.keepsAlive(request);
    }
  },

  'is slow': class extends GalleryServer {
    override accept(socket: Socket): void {
      setTimeout(() => super.accept(socket), 20);
    }
  },
};
