// `wsgi.input` and `wsgi.errors` in a trace: every call passes through, printed.

import type { ErrorStream, InputStream } from '../types.ts';
import { type Printer, oneLine, showBytes } from './printer.ts';

/** An input stream that prints what is asked of it and what it gives. */
export class TracedInput implements InputStream {
  private readonly inner: InputStream;
  private readonly printer: Printer;

  constructor(inner: InputStream, printer: Printer) {
    this.inner = inner;
    this.printer = printer;
  }

  async read(size?: number): Promise<Uint8Array> {
    this.printer.toServer(`wsgi.input.read(${size ?? ''})`);
    return this.give(await this.inner.read(size));
  }

  async readline(size?: number): Promise<Uint8Array> {
    this.printer.toServer(`wsgi.input.readline(${size ?? ''})`);
    return this.give(await this.inner.readline(size));
  }

  async readlines(hint?: number): Promise<Uint8Array[]> {
    this.printer.toServer(`wsgi.input.readlines(${hint ?? ''})`);
    const lines = await this.inner.readlines(hint);
    this.printer.toApplication(lines.length === 1 ? '1 line' : `${lines.length} lines`);
    return lines;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    this.printer.toServer('for await (line of wsgi.input)');
    for await (const line of this.inner) yield this.give(line);
    this.printer.toApplication('no more lines');
  }

  private give(data: Uint8Array): Uint8Array {
    this.printer.toApplication(data.length === 0 ? 'nothing: the body has ended' : showBytes(data));
    return data;
  }
}

/** An error stream that prints what is written to it. */
export class TracedErrors implements ErrorStream {
  private readonly inner: ErrorStream;
  private readonly printer: Printer;

  constructor(inner: ErrorStream, printer: Printer) {
    this.inner = inner;
    this.printer = printer;
  }

  write(text: string): void {
    this.printer.toServer(`wsgi.errors.write("${oneLine(String(text).slice(0, 60))}")`);
    this.inner.write(text);
  }

  writelines(lines: Iterable<string>): void {
    for (const line of lines) this.write(line);
  }

  flush(): void {
    this.inner.flush();
  }
}
