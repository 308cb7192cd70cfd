// The hooks of the handler that a server uses, each overridden alone and seen at the
// socket. `handle` is where a request handler chooses the class.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import {
  type ErrorStream,
  Headers,
  type InputStream,
  type ResponseBody,
  type ResponseHeaders,
  ServerHandler,
  type StartResponse,
  type Status,
  BytesIO,
  StringIO,
  type WSGIApplication,
  type WSGIEnvironment,
  WSGIRequestHandler,
} from '../lib/index.ts';
import { bytes, deferred, text } from './support/bytes.ts';
import { exchange, withServer, withoutDate } from './support/wire.ts';

const GET = 'GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n';

const hello: WSGIApplication = (_environ, startResponse) => {
  startResponse('200 OK', [['Content-Type', 'text/plain']]);
  return [bytes('hello')];
};
const failing: WSGIApplication = () => {
  throw new Error('secret');
};
const file: WSGIApplication = (environ, startResponse) => {
  startResponse('200 OK', []);
  return environ['wsgi.file_wrapper']?.(new BytesIO(bytes('by blocks'))) ?? [];
};

/** The bytes that a client gets from a server whose handlers are of this class. */
async function answer(
  handlerClass: typeof ServerHandler,
  app: WSGIApplication = hello,
  request: string = GET,
): Promise<{ raw: string; errors: string; log: string[] }> {
  const errors = new StringIO();
  const log: string[] = [];
  const ended = deferred();
  class Choosing extends WSGIRequestHandler {
    override async handle(): Promise<void> {
      const { request, response } = this;
      const handler =
        new handlerClass(request, response, this.getStdin(), errors, this.getEnviron());
      handler.requestHandler = this;
      await handler.run(this.server.getApp()).finally(ended.resolve);
    }
    override logRequest(code: string, size: number): void {
      log.push(`${code} ${size}`);
    }
  }
  let raw = '';
  await withServer(app, async ({ port }) => {
    raw = withoutDate(await exchange(port, request));
    await ended.promise;
  }, { handlerClass: Choosing });
  return { raw, errors: errors.getValue(), log };
}

const page = (body: string, headers = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n${headers}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;

const ERROR_PAGE =
  'HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: 59\r\nConnection: close\r\n\r\n' +
  'A server error occurred.  Please contact the administrator.';

test('a class that overrides nothing', async () => {
  assert.deepEqual(await answer(class extends ServerHandler {}), {
    raw: page('hello'), errors: '', log: ['200 5'],
  });
});

describe('a hook that is overridden', () => {
  test('setupEnviron', async () => {
    class Hooked extends ServerHandler {
      override setupEnviron(): void {
        super.setupEnviron();
        this.environ['hook.key'] = 'set up';
      }
    }
    assert.match((await answer(Hooked, showing('hook.key'))).raw, /\r\n\r\nset up$/);
  });

  test('addCgiVars', async () => {
    class Hooked extends ServerHandler {
      override addCgiVars(): void {
        super.addCgiVars();
        this.environ.PATH_INFO = '/hooked';
      }
    }
    assert.match((await answer(Hooked, showing('PATH_INFO'))).raw, /\r\n\r\n\/hooked$/);
  });

  test('getScheme', async () => {
    class Hooked extends ServerHandler {
      override getScheme(): string {
        return 'https';
      }
    }
    assert.match((await answer(Hooked, showing('wsgi.url_scheme'))).raw, /\r\n\r\nhttps$/);
  });

  test('getStdin', async () => {
    class Hooked extends ServerHandler {
      override getStdin(): InputStream {
        return new BytesIO(bytes('another input'));
      }
    }
    const reading: WSGIApplication = async (environ, startResponse) => {
      startResponse('200 OK', []);
      return [await environ['wsgi.input'].read()];
    };
    assert.match((await answer(Hooked, reading)).raw, /\r\n\r\nanother input$/);
  });

  test('getStderr', async () => {
    const elsewhere = new StringIO();
    class Hooked extends ServerHandler {
      override getStderr(): ErrorStream {
        return elsewhere;
      }
    }
    assert.equal((await answer(Hooked, failing)).errors, '');
    assert.match(elsewhere.getValue(), /^Error: secret\n/);
  });

  test('startResponse', async () => {
    class Hooked extends ServerHandler {
      override startResponse(
        status: Status, headers: ResponseHeaders, error?: unknown,
      ): ReturnType<StartResponse> {
        return super.startResponse(status, [...headers, ['X-Hook', 'yes']], error);
      }
    }
    assert.equal((await answer(Hooked)).raw, page('hello', 'X-Hook: yes\r\n'));
  });

  test('write', async () => {
    class Hooked extends ServerHandler {
      override write(data: Uint8Array): void | Promise<void> {
        return super.write(bytes(text(data).toUpperCase()));
      }
    }
    assert.equal((await answer(Hooked)).raw, page('HELLO'));
  });

  test('finishResponse', async () => {
    class Hooked extends ServerHandler {
      override async finishResponse(): Promise<void> {
        this.result = [bytes('replaced')];
        await super.finishResponse();
      }
    }
    assert.equal((await answer(Hooked)).raw, page('replaced'));
  });

  test('finishContent', async () => {
    class Hooked extends ServerHandler {
      override finishContent(): void {
        void this.write(bytes(', and that is all'));
        super.finishContent();
      }
    }
    const two: WSGIApplication = (_environ, startResponse) =>
      (startResponse('200 OK', []), [bytes('a'), bytes('b')]);
    assert.match(
      (await answer(Hooked, two)).raw,
      /\r\n\r\n1\r\na\r\n1\r\nb\r\n11\r\n, and that is all\r\n0\r\n\r\n$/,
    );
  });

  test('close', async () => {
    const events: string[] = [];
    class Hooked extends ServerHandler {
      override async close(): Promise<void> {
        events.push('before');
        await super.close();
        events.push('after');
      }
    }
    const closing: WSGIApplication = (environ, startResponse) =>
      Object.assign(hello(environ, startResponse), { close: () => void events.push('body') });
    assert.equal((await answer(Hooked, closing)).raw, page('hello'));
    assert.deepEqual(events, ['before', 'body', 'after']);
  });

  test('setContentLength', async () => {
    class Hooked extends ServerHandler {
      override setContentLength(): void {}
    }
    assert.match(
      (await answer(Hooked)).raw, /\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n$/,
    );
  });

  test('cleanupHeaders', async () => {
    class Hooked extends ServerHandler {
      override cleanupHeaders(): void {
        this.headers.set('X-Clean', 'yes');
        super.cleanupHeaders();
      }
    }
    assert.equal((await answer(Hooked)).raw, page('hello', 'X-Clean: yes\r\n'));
  });

  test(
    'cleanupHeaders, with a header that cannot be sent: nothing is, and it is reported',
    async () => {
      class Hooked extends ServerHandler {
        override cleanupHeaders(): void {
          this.headers.set('No Name', 'yes');
        }
      }
      const { raw, errors } = await answer(Hooked);
      assert.equal(raw, '');
      assert.match(errors, /Header name must be a valid HTTP token/);
    },
  );

  test('sendPreamble', async () => {
    class Hooked extends ServerHandler {
      override sendPreamble(): void {}
    }
    let raw = '';
    class Bare extends WSGIRequestHandler {
      override async handle(): Promise<void> {
        const { request, response } = this;
        await new Hooked(request, response, this.getStdin(), this.getStderr(), this.getEnviron())
          .run(hello);
      }
    }
    await withServer(hello, async ({ port }) => {
      raw = await exchange(port, GET);
    }, { handlerClass: Bare });
    assert.equal(raw, page('hello'), 'neither Date nor Server');
  });

  test('sendHeaders', async () => {
    class Hooked extends ServerHandler {
      override sendHeaders(): void {
        this.headers.set('X-Sent', 'yes');
        super.sendHeaders();
      }
    }
    assert.equal((await answer(Hooked)).raw, page('hello', 'X-Sent: yes\r\n'));
  });

  test('sendfile', async () => {
    class Hooked extends ServerHandler {
      override async sendfile(): Promise<boolean> {
        await this.write(bytes('at once'));
        return true;
      }
    }
    assert.match((await answer(Hooked, file)).raw, /\r\n\r\n7\r\nat once\r\n0\r\n\r\n$/);
    assert.match((await answer(ServerHandler, file)).raw, /\r\n\r\n9\r\nby blocks\r\n0\r\n\r\n$/);
  });

  test('resultIsFile', async () => {
    class Hooked extends ServerHandler {
      override resultIsFile(): boolean {
        return false;
      }
      override async sendfile(): Promise<boolean> {
        throw new Error('not to be called');
      }
    }
    assert.match((await answer(Hooked, file)).raw, /\r\n\r\n9\r\nby blocks\r\n0\r\n\r\n$/);
  });

  test('logException', async () => {
    const logged: unknown[] = [];
    class Hooked extends ServerHandler {
      override logException(error: unknown): void {
        logged.push(error);
      }
    }
    const { raw, errors } = await answer(Hooked, failing);
    assert.equal(raw, ERROR_PAGE);
    assert.equal(errors, '');
    assert.deepEqual(logged.map(String), ['Error: secret']);
  });

  test('handleError', async () => {
    class Hooked extends ServerHandler {
      override async handleError(error: unknown): Promise<void> {
        this.result = hello(
          this.environ, (status, headers) => this.startResponse(status, headers, error),
        ) as ResponseBody;
        await this.finishResponse();
      }
    }
    assert.deepEqual(await answer(Hooked, failing), {
      raw: page('hello'), errors: '', log: ['200 5'],
    });
  });

  test('errorOutput', async () => {
    class Hooked extends ServerHandler {
      override errorOutput(
        _environ: WSGIEnvironment, startResponse: StartResponse, error: unknown,
      ): ResponseBody {
        startResponse('503 Busy', [], error);
        return [bytes('come again')];
      }
    }
    const { raw, errors } = await answer(Hooked, failing);
    assert.equal(
      raw, 'HTTP/1.1 503 Busy\r\nContent-Length: 10\r\nConnection: close\r\n\r\ncome again',
    );
    assert.match(errors, /^Error: secret\n/);
  });

  test('_write and _flush', async () => {
    const events: string[] = [];
    class Hooked extends ServerHandler {
      override _write(data: Uint8Array): void {
        events.push(`write ${text(data)}`);
        super._write(data);
      }
      override _flush(): void | Promise<void> {
        events.push('flush');
        return super._flush();
      }
    }
    const two: WSGIApplication = (_environ, startResponse) =>
      (startResponse('200 OK', []), [bytes('a'), bytes('b')]);
    assert.match((await answer(Hooked, two)).raw, /\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n$/);
    assert.deepEqual(events, ['write a', 'flush', 'write b', 'flush']);
  });
});

describe('a field that a subclass sets', () => {
  test('what the application is told', async () => {
    class Hooked extends ServerHandler {
      override wsgiVersion = [1, 1] as const;
      override wsgiMultithread = true;
      override wsgiMultiprocess = true;
      override wsgiRunOnce = true;
      override wsgiFileWrapper: undefined = undefined;
    }
    const telling: WSGIApplication = (environ, startResponse) => {
      const told = [
        environ['wsgi.version'],
        environ['wsgi.multithread'],
        environ['wsgi.multiprocess'],
        environ['wsgi.run_once'],
        'wsgi.file_wrapper' in environ,
      ];
      startResponse('200 OK', []);
      return [bytes(JSON.stringify(told))];
    };
    assert.match((await answer(Hooked, telling)).raw, /\r\n\r\n\[\[1,1\],true,true,true,false\]$/);
  });

  test('headersClass', async () => {
    class Loud extends Headers {
      constructor(headers: ResponseHeaders = []) {
        super(headers.map(([name, value]) => [name.toUpperCase(), value]));
      }
    }
    class Hooked extends ServerHandler {
      override headersClass = Loud;
    }
    assert.match((await answer(Hooked)).raw, /^HTTP\/1\.1 200 OK\r\nCONTENT-TYPE: text\/plain\r\n/);
  });

  test('errorStatus, errorHeaders, errorBody and tracebackLimit', async () => {
    class Hooked extends ServerHandler {
      override errorStatus: Status = '418 Teapot';
      override errorHeaders: ResponseHeaders = [['X-Tea', 'yes']];
      override errorBody: Uint8Array = bytes('tea');
      override tracebackLimit = 0;
    }
    const { raw, errors } = await answer(Hooked, failing);
    assert.equal(
      raw, 'HTTP/1.1 418 Teapot\r\nX-Tea: yes\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntea',
    );
    assert.equal(errors, 'Error: secret\n');
  });
});

/** An application that answers with one value out of environ. */
function showing(key: keyof WSGIEnvironment): WSGIApplication {
  return (environ, startResponse) => {
    startResponse('200 OK', []);
    return [bytes(String(environ[key]))];
  };
}
