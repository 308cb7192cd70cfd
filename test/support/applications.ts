// Small applications, and a way to run one without a server.

import {
  BytesIO, type ResponseBody, SimpleHandler, StringIO, type WSGIApplication, type WSGIEnvironment,
  setupTestingDefaults,
} from '../../lib/index.ts';
import { bytes, deferred, text } from './bytes.ts';

const plain: [string, string] = ['Content-Type', 'text/plain'];

/** An application that does something with its environ and answers with the outcome. */
export const using = (use: (environ: WSGIEnvironment) => unknown): WSGIApplication =>
  async (environ, startResponse) => {
    const outcome = JSON.stringify(await use(environ)) ?? '';
    startResponse('200 OK', [plain]);
    return [bytes(outcome)];
  };

export const bodyOf = (body: () => ResponseBody): WSGIApplication => (_environ, startResponse) => {
  startResponse('200 OK', [plain]);
  return body();
};

/** An application whose body takes until `go` to close. */
export interface SlowlyClosed {
  app: WSGIApplication;
  /** Resolves when close() has been called. */
  closing: Promise<void>;
  go: () => void;
  /** Has 'closed' when close() is done. */
  events: string[];
}

export function slowlyClosed(): SlowlyClosed {
  const events: string[] = [];
  const closing = deferred();
  const gate = deferred();
  const app = bodyOf(() => Object.assign([bytes('x')], {
    async close() {
      closing.resolve();
      await gate.promise;
      events.push('closed');
    },
  }));
  return { app, closing: closing.promise, go: gate.resolve, events };
}

/** Runs it by hand; gives what was sent and what was reported. */
export async function handle(
  app: WSGIApplication,
  { stdout = new BytesIO(), ...given }: Partial<WSGIEnvironment> & { stdout?: object } = {},
): Promise<{ sent: string; errors: string }> {
  const environ: Partial<WSGIEnvironment> = given;
  setupTestingDefaults(environ);
  const errors = new StringIO();
  await new SimpleHandler(new BytesIO(), stdout as BytesIO, errors, environ).run(app);
  return {
    sent: stdout instanceof BytesIO ? text(stdout.getValue()) : '', errors: errors.getValue(),
  };
}
