// The validator as the command puts it around an application: a warning is worth
// reading once, not with every request.

import type { WSGIApplication } from '../types.ts';
import { type WSGIError, validator } from '../validate.ts';

/** `validator(app)` that prints each warning once for each rule and place. */
export function validateOnce(app: WSGIApplication): WSGIApplication {
  const printed = new Set<string>();
  return validator(app, {
    onWarning(warning: WSGIError): void {
      const [place = ''] = /\S+:\d+(?::\d+)?\)?$/m.exec(warning.message) ?? [];
      const key = `${warning.code} ${place}`;
      if (printed.has(key)) return;
      printed.add(key);
      process.stderr.write(`Warning [${warning.code}]: ${warning.message}\n`);
    },
  });
}
