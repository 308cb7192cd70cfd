// From the text of a trace to the calls in it, with the source lines around each.
//
// A message may hold anything, even text from a client; it must not be able to
// name a file to show. So a trace is read only behind its message, and of the
// files it names only those that hold source.

import { readFileSync, statSync } from 'node:fs';
import { isAbsolute, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

import { isLibrary } from '../validate/rule.ts';

/** One call on the stack. */
export interface Frame {
  call: string;
  file: string;
  /** The path to show: relative to the folder of the application, if it is in there. */
  path: string;
  line: number;
  /** Counted from 1; 0 if it is not known. */
  column: number;
  /** Of the application itself, of a library or Node, or shown before. */
  kind: 'own' | 'library' | 'repeated';
  /** The lines around it, if they are the application's own and can be read. */
  source: SourceLine[];
}

export interface SourceLine {
  number: number;
  text: string;
  failing: boolean;
}

const MOST_FRAMES = 50;
const LINES_AROUND = 4;
const LONGEST_LINE = 500;
const LARGEST_FILE = 2 ** 21;

/** The calls of a trace, the innermost first. */
export function readFrames(stack: string, message: string): Frame[] {
  const start = stack.indexOf(message);
  const trace = start === -1 ? stack : stack.slice(start + message.length);
  const frames: Frame[] = [];
  for (const line of trace.split('\n').slice(0, 2 * MOST_FRAMES)) {
    const frame = line.length < 4096 ? readFrame(line) : undefined;
    if (frame === undefined || frames.length === MOST_FRAMES) continue;
    // Without the message, a part of it could pass for the trace.
    if (start !== -1 && frame.kind === 'own') frame.source = readSource(frame.file, frame.line);
    frames.push(frame);
  }
  return frames;
}

//     at call (file:///folder/app.ts:9:5)      at async call (C:\folder\app.ts:9:5)
const NAMED = /^\s+at (.*) \(((?:file:|node:|[a-z]:[\\/]|\/).*):(\d+):(\d+)\)$/i;

//     at /folder/app.ts:9:5                    at async file:///folder/app.ts:9:5
const PLAIN = /^\s+at (?:async )?((?:file:|node:|[a-z]:[\\/]|\/).*):(\d+):(\d+)$/i;

//     at anonymous (eval at call (file:///folder/app.ts:9:5), <anonymous>:3:20)
const EVALED = /^(\s+at .*?) \(eval at .* \((.+:\d+:\d+)\), .*\)$/;

function readFrame(traced: string): Frame | undefined {
  // Code that was made from a text has no file. Its frame shows the call that made it.
  const line = traced.replace(EVALED, '$1 ($2)');
  const named = NAMED.exec(line);
  const found = named?.slice(1) ?? ['', ...(PLAIN.exec(line)?.slice(1) ?? [])];
  const [call = '', place, number, column] = found;
  if (place === undefined) return undefined;
  return makeFrame(call, toPath(place), Number(number), Number(column));
}

/** A frame for a place that is known without a trace, with its source. */
export function frameAt(file: string, line: number): Frame {
  return { ...makeFrame('', file, line, 0), kind: 'own', source: readSource(file, line) };
}

function makeFrame(call: string, file: string, line: number, column: number): Frame {
  const kind = isOwn(file) ? 'own' : 'library';
  return { call, file, path: shorten(file), line, column, kind, source: [] };
}

// The command is started in the folder of the application.
function shorten(file: string): string {
  if (!isAbsolute(file)) return file;
  const path = relative(process.cwd(), file);
  return isAbsolute(path) || path.startsWith(`..${sep}`) ? file : path;
}

function isOwn(file: string): boolean {
  const isOthers = file.startsWith('node:') || /[\\/]node_modules[\\/]/.test(file);
  return !isOthers && !isLibrary(file);
}

function readSource(file: string, failing: number): SourceLine[] {
  if (!/\.[cm]?[jt]sx?$/i.test(file)) return [];
  try {
    const stat = statSync(file);
    if (!stat.isFile() || stat.size > LARGEST_FILE) return [];
    const lines = readFileSync(file, 'utf8').trimEnd().split(/\r?\n/);
    const first = Math.max(1, failing - LINES_AROUND);
    return lines.slice(first - 1, failing + LINES_AROUND).map((text, index) => ({
      number: first + index,
      text: text.length > LONGEST_LINE ? `${text.slice(0, LONGEST_LINE)}…` : text,
      failing: first + index === failing,
    }));
  } catch {
    return [];
  }
}

function toPath(place: string): string {
  try {
    return place.startsWith('file:') ? fileURLToPath(place) : place;
  } catch {
    return place;
  }
}
