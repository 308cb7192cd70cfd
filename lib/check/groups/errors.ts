// wsgi.errors: where the application reports trouble.

import type { ErrorStream } from '../../types.ts';
import { STREAMS, checksOf } from '../definition.ts';
import { type Trial, bytes, messageOf, respondWith } from '../trial.ts';

const check = checksOf('errors');

check('errors-write', STREAMS,
  'wsgi.errors.write() takes a string.',
  'Write the text where the server\'s own errors go, such as to process.stderr.',
  (trial) => use(trial, (errors) => errors.write('a report of the kit\n')));

check('errors-writelines', STREAMS,
  'wsgi.errors.writelines() takes any iterable of strings.',
  'Call write() for each of them.',
  (trial) => use(trial, (errors) => {
    errors.writelines(['one line of the kit\n', 'and another\n']);
    errors.writelines(new Set(['from a Set\n']));
  }));

check('errors-flush', STREAMS,
  'wsgi.errors.flush() can be called, even when nothing was written.',
  'Give the stream a flush() that does nothing, if nothing is held back.',
  (trial) => use(trial, (errors) => {
    errors.flush();
    errors.write('then flushed\n');
    errors.flush();
  }));

check('errors-unicode', STREAMS,
  'wsgi.errors takes any Unicode text.',
  'Encode it as UTF-8; do not check it as if it were a header.',
  (trial) => use(trial, (errors) => errors.write('café, €, 漢字, 🙂, \ud800\n')));

check('errors-apart', STREAMS,
  'Text that is written to wsgi.errors is not sent to the client.',
  'Keep the two streams apart.',
  async (trial) => {
    const response = await trial.exchange(respondWith((environ) => {
      environ['wsgi.errors'].write('for the log alone\n');
      return [bytes('for the client')];
    }));
    return trial.same('the body', response.body, 'for the client');
  });

async function use(
  trial: Trial, write: (errors: ErrorStream) => void,
): Promise<string | undefined> {
  let problem: string | undefined;
  await trial.exchange(respondWith((environ) => {
    try {
      write(environ['wsgi.errors']);
    } catch (error) {
      problem = `let wsgi.errors throw (${messageOf(error)})`;
    }
    return [bytes('ok')];
  }));
  return problem;
}
