// Bytes as Latin-1 strings. The head of an HTTP message is bytes; the interface
// carries it in strings in which each character, U+0000 to U+00FF, is one byte.
// (PEP 3333, "Unicode Issues")

import { codePoint, describe, fault, quote } from './describe.ts';

/**
 * Encodes a string: each character becomes one byte.
 *
 * @throws RangeError if a character is above U+00FF.
 */
export function encodeLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code > 0xff) {
      throw new RangeError(
        `the character ${text.charAt(index)} is above U+00FF and does not fit into a byte`,
      );
    }
    bytes[index] = code;
  }
  return bytes;
}

/** Decodes bytes: each byte becomes one character. */
export function decodeLatin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Decodes percent-encoding once, into a Latin-1 string. `%zz` remains as it is. */
export function percentDecode(text: string): string {
  // Most paths contain nothing to decode.
  if (!text.includes('%')) return text;
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  );
}

/** The grammar of a method, and of a header's name: token = 1*tchar. (RFC 9110 §5.6.2) */
export const TOKEN: RegExp = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

// A text with a line break could add headers, or a whole response, of its author's
// own. A character above U+00FF does not fit into a byte.
//
//   field-name  = no CTL (U+0000–001F, U+007F), nothing above U+00FF
//   field-value = the same, but HTAB is allowed            (RFC 9110 §5.5)
const NOT_IN_NAME = /[\x00-\x1f\x7f]|[^\x00-\xff]/u;
const NOT_IN_VALUE = /[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]/u;

/**
 * Checks that a header name can be sent, and returns it.
 *
 * @throws TypeError if it is not a string, RangeError if it contains a character that
 *   is not allowed.
 */
export function checkHeaderName(name: string): string {
  return check('name', name, NOT_IN_NAME);
}

/**
 * Checks that a header value can be sent, and returns it.
 *
 * @throws TypeError if it is not a string, RangeError if it contains a character that
 *   is not allowed.
 */
export function checkHeaderValue(value: string): string {
  return check('value', value, NOT_IN_VALUE);
}

function check(part: 'name' | 'value', text: string, forbidden: RegExp): string {
  if (typeof text !== 'string') {
    throw fault(
      TypeError,
      `header-${part}-string`,
      `a header ${part} is a string, not ${describe(text)}; use String(…)`,
    );
  }
  const found = forbidden.exec(text);
  if (found === null) return text;
  throw fault(
    RangeError,
    brokenRule(part, found[0]),
    `the header ${part} ${quote(text)} contains ${codePoint(found[0])}: ` +
      'control characters and characters above U+00FF are not allowed',
  );
}

/** The id of the rule that is broken by a header name, or by a part of one. */
export function brokenNameRule(text: string): string {
  if (text === '') return 'header-name-nonempty';
  return /[:\r\n]/.test(text) ? 'header-name-colon-nl' : 'header-name-token';
}

function brokenRule(part: 'name' | 'value', character: string): string {
  if (part === 'name') return brokenNameRule(character);
  if (character > '\xff') return 'header-value-latin1';
  return /[\x00\r\n]/.test(character) ? 'header-value-crlf-nul' : 'header-value-c0';
}
