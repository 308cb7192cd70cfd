// Between a transport and an application: these classes build environ, call the
// application, check and send what it answers, and clean up after it.
//
// `BaseHandler` is the whole protocol without a transport. Each of the others is
// a short list of differences from the one before it.
//
// Mirrors wsgiref.handlers.

export { BaseHandler } from './handlers/base.ts';
export { type ResponseHead, type StatusLine, formatDateTime } from './handlers/head.ts';
export { type ByteSink, SimpleHandler } from './handlers/simple.ts';
export { BaseCGIHandler, CGIHandler, IISCGIHandler, readEnviron } from './handlers/cgi.ts';
export type { Sent } from './handlers/wait.ts';
