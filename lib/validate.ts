// The validator: it stands between a server and an application and tells both, in
// plain words, where they break the interface.
//
// The folder beside this file is the specification as a program, each rule next to
// its check. Read it in the order of an exchange: validator, environ, cgi, input,
// errors, file-wrapper, start-response, status, headers, fields, started, write,
// body, pass, chunk, length, close, settle, layers; rule, report, exchange, members,
// overdue and probe are what they stand on.
//
// Mirrors wsgiref.validate.

import { type Rule, rules as catalogue } from './validate/rule.ts';
// This import makes the list of rules complete: it leads to every file with rules.
import { validator } from './validate/validator.ts';

export { validator };
export { type ValidatorOptions, WSGIError } from './validate/report.ts';
export type { Party, Rule, Severity } from './validate/rule.ts';

/** Every rule that the validator checks, in no order that could be relied on. */
export const rules: readonly Rule[] = Object.freeze([...catalogue]);
