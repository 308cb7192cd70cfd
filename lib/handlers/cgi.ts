// The oldest gateway: a web server starts this process for one request, passes
// the CGI variables in the process environment and the body on standard input,
// and takes the response from standard output. (RFC 3875)
//
// Mirrors wsgiref.handlers.

import { StreamInput } from '../io.ts';
import { decodeLatin1 } from '../latin1.ts';
import type { ErrorStream, InputStream, WSGIApplication } from '../types.ts';
import { SimpleHandler, type ByteSink } from './simple.ts';
import { standardError } from './log.ts';

/**
 * A handler behind a server: the status goes out as a `Status:` header, and Date
 * and Server are left to the server in front.
 */
export class BaseCGIHandler extends SimpleHandler {
  override originServer: boolean = false;

  /**
   * A handler behind a server that may start several processes.
   *
   * @param stdin - Becomes `wsgi.input`.
   * @param stdout - Takes the response.
   * @param stderr - Becomes `wsgi.errors`.
   * @param environ - The CGI variables of the request, which are copied.
   * @param multithread - Becomes `wsgi.multithread`.
   * @param multiprocess - Becomes `wsgi.multiprocess`.
   */
  constructor(
    stdin: InputStream,
    stdout: ByteSink,
    stderr: ErrorStream,
    environ: object,
    multithread = false,
    multiprocess = true,
  ) {
    super(stdin, stdout, stderr, environ, multithread, multiprocess);
  }
}

/**
 * A CGI program: `await new CGIHandler().run(app)` is all of it.
 *
 * Under CGI, a request header `Proxy` becomes `HTTP_PROXY`, which many HTTP clients take
 * for their configuration. Unlike Python: this class removes it from environ and from
 * `process.env`, where child processes and Node itself would read it. (CVE-2016-1000110)
 */
export class CGIHandler extends BaseCGIHandler {
  override wsgiRunOnce: boolean = true;

  /** A handler over the environment, standard input and standard output of this process. */
  constructor() {
    const environ = cgiEnviron();
    super(standardInput(environ), process.stdout, standardError(), environ);
  }

  override async run(application: WSGIApplication): Promise<void> {
    await super.run(application);
    releaseStandardInput();
  }
}

/**
 * CGI under Microsoft IIS, which puts the whole path into `PATH_INFO`, the part
 * in `SCRIPT_NAME` included; here it is taken off. Use it only where IIS is not
 * configured to do so itself (`allowPathInfoForScriptMappings`).
 */
export class IISCGIHandler extends CGIHandler {
  override addCgiVars(): void {
    super.addCgiVars();
    const { SCRIPT_NAME: script, PATH_INFO: path } = this.environ;
    if (`${path}/`.startsWith(`${script}/`)) this.environ.PATH_INFO = path.slice(script.length);
  }
}

/**
 * The process environment, each value as a Latin-1 string. Node has read the bytes
 * as UTF-8; this undoes it. Unlike Python: for all variables, not the CGI ones
 * alone, since no string in environ may go above U+00FF.
 */
export function readEnviron(): Record<string, string> {
  const environ: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined) environ[name] = decodeLatin1(new TextEncoder().encode(value));
  }
  return environ;
}

// A server may leave out empty variables (RFC 3875 §4.1), but an application may rely on
// these. Unlike Python: they are filled in.
function cgiEnviron(): Record<string, string> {
  delete process.env['HTTP_PROXY'];
  return { SCRIPT_NAME: '', PATH_INFO: '', QUERY_STRING: '', ...readEnviron() };
}

// The web server may keep standard input open beyond the body.
function standardInput(environ: Record<string, string>): InputStream {
  const length = environ['CONTENT_LENGTH'] ?? '';
  return new StreamInput(process.stdin, /^[0-9]+$/.test(length) ? Number(length) : 0);
}

// A server that leaves standard input open would keep the process waiting for more.
function releaseStandardInput(): void {
  process.stdin.destroy();
}
