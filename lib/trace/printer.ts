// How a conversation is drawn: two vertical lines, the server's on the left and the
// application's on the right, and between them an arrow for each call and result.
// The margin shows the request's number and the time since it began.

/** Where the lines go, and whether they may be coloured. */
export interface TraceOptions {
  /** Takes a line of text with its end. Default: standard error. */
  write?: (line: string) => void;
  /**
   * Whether to colour. Default: if the lines go to standard error, it is a terminal
   * and NO_COLOR is not set.
   */
  colour?: boolean;
}

type Colour = 'bold' | 'dim' | 'red' | 'green' | 'cyan';

const CODES: Record<Colour, [on: number, off: number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  cyan: [36, 39],
};

// Between the two vertical lines: with the margin, eighty columns.
const WIDTH = 62;
const SHORTEST_ARROW = 3;
const LONGEST_NOTE = 160;
const LONGEST_ERROR = 44;

let requests = 0;

/** Draws the conversation of one request. */
export class Printer {
  private readonly print: (line: string) => void;
  private readonly colour: boolean;
  private readonly number: string;
  private readonly start = performance.now();

  constructor({ write, colour }: TraceOptions) {
    requests += 1;
    this.number = `#${requests}`.padEnd(4);
    this.print = write ?? ((line) => void process.stderr.write(line));
    const { isTTY } = process.stderr;
    this.colour = colour ?? (write === undefined && isTTY === true && !process.env['NO_COLOR']);
  }

  /** The request itself, over all that follows. */
  request(line: string): void {
    this.line(false, this.paint('bold', cut(line, LONGEST_NOTE)));
    const gap = ' '.repeat(WIDTH - 'server'.length - 'application'.length + 2);
    this.line(false, this.paint('cyan', 'server') + gap + this.paint('green', 'application'));
  }

  /** The server shows something with what it says. */
  serverNote(text: string): void {
    this.note(`    ${cut(text, LONGEST_NOTE)}`);
  }

  /** The application shows something with what it says. */
  applicationNote(text: string): void {
    const shown = cut(text, LONGEST_NOTE);
    this.note(`${' '.repeat(Math.max(4, WIDTH - columns(shown) - 4))}${shown}`);
  }

  /** The server says something to the application. */
  toApplication(text: string, colour: Colour = 'cyan'): void {
    const said = this.paint(colour, text);
    this.line(true, `├─ ${said} ${this.arrow(text)}▶│`);
  }

  /** The application says something to the server. */
  toServer(text: string, colour: Colour = 'green'): void {
    const said = this.paint(colour, text);
    this.line(true, `│◀${this.arrow(text)} ${said} ─┤`);
  }

  /** Does what the server asks of the application, and draws its failure. */
  attempt<Result>(step: () => Result): Result {
    return this.watch(step, (error) => this.toServer(`throws ${nameError(error)}`, 'red'));
  }

  /** Does what the application asks of the server, and draws its failure. */
  attemptServer<Result>(step: () => Result): Result {
    return this.watch(step, (error) => this.toApplication(`throws ${nameError(error)}`, 'red'));
  }

  // The caller gets the same promise, so the caller handles its failure.
  private watch<Result>(step: () => Result, draw: (error: unknown) => void): Result {
    try {
      const result = step();
      if (result instanceof Promise) result.catch(draw);
      return result;
    } catch (error) {
      draw(error);
      throw error;
    }
  }

  private arrow(text: string): string {
    return '─'.repeat(Math.max(SHORTEST_ARROW, WIDTH - columns(text) - 4));
  }

  private note(text: string): void {
    const gap = ' '.repeat(Math.max(0, WIDTH - columns(text)));
    // A text that is too long covers the application's line.
    const end = gap === '' ? '' : `${gap}│`;
    this.line(false, `│${this.paint('dim', text)}${end}`);
  }

  private line(timed: boolean, text: string): void {
    const time = timed ? `${(performance.now() - this.start).toFixed(1)} ms` : '';
    this.print(`${this.paint('dim', `${this.number}${time.padStart(9)}`)}  ${text}\n`);
  }

  private paint(colour: Colour, text: string): string {
    const [on, off] = CODES[colour];
    return this.colour ? `\x1b[${on}m${text}\x1b[${off}m` : text;
  }
}

const LONGEST_CHUNK = 32;

/** Bytes as `5 bytes "hello"`, cut after some thirty characters. */
export function showBytes(data: unknown): string {
  if (!(data instanceof Uint8Array)) return `${typeof data}, which is not a chunk`;
  if (data.length === 0) return 'an empty chunk';
  // A character's bytes may go on behind the cut.
  const start = new TextDecoder().decode(data.subarray(0, 4 * LONGEST_CHUNK), { stream: true });
  const shown = oneLine(cut(start, LONGEST_CHUNK));
  return `${data.length === 1 ? '1 byte' : `${data.length} bytes`} "${shown}"`;
}

/** Text without anything that a terminal would act on. */
export function oneLine(text: string): string {
  return text
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replace(/[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufffd]/g, '·');
}

/** The text, or its first characters and a mark that there are more. */
export function cut(text: string, longest: number): string {
  if (text.length <= longest) return text;
  return `${[...text.slice(0, 2 * longest)].slice(0, longest).join('')}…`;
}

// Never throws: any value may have been thrown.
function nameError(error: unknown): string {
  try {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return cut(oneLine(text), LONGEST_ERROR);
  } catch {
    return 'a value that cannot be shown';
  }
}

function columns(text: string): number {
  return [...text].length;
}
