// How a conversation is drawn: one line for each thing that is said, with an arrow
// from the one who says it, and the time since the request began.

/** Where the lines go, and whether they may be coloured. */
export interface TraceOptions {
  /** Takes a line of text with its end. Default: standard error. */
  write?: (line: string) => void;
  /** Whether to colour. Default: if standard error is a terminal and NO_COLOR is not set. */
  colour?: boolean;
}

type Colour = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

const CODES: Record<Colour, [on: number, off: number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

const TO_APPLICATION = 'server ──▶ app';
const TO_SERVER = 'server ◀── app';
const WIDTH = TO_SERVER.length;

let requests = 0;

/** Prints the conversation of one request. */
export class Printer {
  private readonly write: (line: string) => void;
  private readonly colour: boolean;
  private readonly number: string;
  private readonly start = performance.now();

  constructor({ write, colour }: TraceOptions) {
    requests += 1;
    this.number = `#${requests}`;
    this.write = write ?? ((line) => void process.stderr.write(line));
    this.colour = colour ?? (process.stderr.isTTY === true && !process.env['NO_COLOR']);
  }

  /** The request itself, over all that follows. */
  request(line: string): void {
    this.line('', this.paint('bold', line));
  }

  /** Something that only explains what was said. */
  note(text: string): void {
    this.line(' '.repeat(WIDTH), this.paint('dim', text));
  }

  /** The server says something to the application. */
  toApplication(text: string): void {
    this.line(this.paint('cyan', TO_APPLICATION), text);
  }

  /** The application says something to the server. */
  toServer(text: string): void {
    this.line(this.paint('green', TO_SERVER), text);
  }

  /** Either of them fails. */
  failure(error: unknown): void {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    this.line(this.paint('red', TO_SERVER), this.paint('red', `throws ${oneLine(text)}`));
  }

  private line(arrow: string, text: string): void {
    const time = `${(performance.now() - this.start).toFixed(1)} ms`.padStart(9);
    const margin = this.paint('dim', `${this.number.padEnd(4)} ${time}`);
    this.write(`${margin}  ${arrow}${arrow === '' ? '' : '  '}${text}\n`);
  }

  private paint(colour: Colour, text: string): string {
    const [on, off] = CODES[colour];
    return this.colour ? `\x1b[${on}m${text}\x1b[${off}m` : text;
  }
}

const LONGEST = 40;

/** Bytes as `5 bytes "hello"`, cut after forty characters. */
export function showBytes(data: unknown): string {
  if (!(data instanceof Uint8Array)) return `${typeof data}, which is no chunk`;
  if (data.length === 0) return 'an empty chunk';
  const text = oneLine(new TextDecoder().decode(data.subarray(0, LONGEST)));
  const count = data.length === 1 ? '1 byte' : `${data.length} bytes`;
  return `${count} "${text}${data.length > LONGEST ? '…' : ''}"`;
}

/** Text without anything that a terminal would act on. */
export function oneLine(text: string): string {
  return text
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replace(/[\x00-\x1f\x7f-\x9f\ufffd]/g, '·');
}
