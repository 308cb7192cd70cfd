// `wsgi.input` and `wsgi.errors` in a trace: every call passes through, drawn.

import type { Bytes, ErrorStream, InputStream } from '../types.ts';
import { type Printer, cut, oneLine, showBytes } from './printer.ts';

/** An input stream that draws what is asked of it and what it gives. */
export class TracedInput implements InputStream {
  private readonly inner: InputStream;
  private readonly printer: Printer;

  constructor(inner: InputStream, printer: Printer) {
    this.inner = inner;
    this.printer = printer;
  }

  async read(...size: [size?: number]): Promise<Bytes> {
    this.printer.toServer(`wsgi.input.read(${size.join()})`);
    return this.give(await this.printer.attemptServer(() => this.inner.read(...size)));
  }

  async readline(...size: [size?: number]): Promise<Bytes> {
    this.printer.toServer(`wsgi.input.readline(${size.join()})`);
    return this.give(await this.printer.attemptServer(() => this.inner.readline(...size)));
  }

  async readlines(...hint: [hint?: number]): Promise<Bytes[]> {
    this.printer.toServer(`wsgi.input.readlines(${hint.join()})`);
    const lines = await this.printer.attemptServer(() => this.inner.readlines(...hint));
    this.printer.toApplication(lines.length === 1 ? '1 line' : `${lines.length} lines`);
    return lines;
  }

  [Symbol.asyncIterator](): AsyncIterator<Bytes> {
    const lines = this.inner[Symbol.asyncIterator]();
    return {
      next: async () => {
        this.printer.toServer('next line of wsgi.input?');
        const step = await this.printer.attemptServer(() => lines.next());
        this.give(step.done ? new Uint8Array(0) : step.value);
        return step;
      },
      return: async () => (await lines.return?.()) ?? { done: true, value: undefined },
    };
  }

  private give(data: Bytes): Bytes {
    this.printer.toApplication(data.length === 0 ? 'nothing: it has ended' : showBytes(data));
    return data;
  }
}

/** An error stream that draws what is written to it. */
export class TracedErrors implements ErrorStream {
  private readonly inner: ErrorStream;
  private readonly printer: Printer;

  constructor(inner: ErrorStream, printer: Printer) {
    this.inner = inner;
    this.printer = printer;
  }

  write(text: string): void {
    this.printer.toServer(`wsgi.errors.write("${oneLine(cut(String(text), 32))}")`);
    this.inner.write(text);
  }

  writelines(lines: Iterable<string>): void {
    this.printer.toServer('wsgi.errors.writelines(…)');
    this.inner.writelines(lines);
  }

  flush(): void {
    this.inner.flush();
  }
}
