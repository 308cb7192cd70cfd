// Everything but the command, under one name.

export type * from './types.ts';
export { type HeaderList, Headers } from './headers.ts';
export * from './util.ts';
export * from './io.ts';
export * from './handlers.ts';
export * from './simple-server.ts';
export * from './validate.ts';
export * from './fetch.ts';
export * from './node.ts';
export * from './gateway.ts';
export * from './testing.ts';
export * from './trace.ts';
export * from './error-page.ts';
export * from './check.ts';
