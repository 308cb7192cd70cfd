// Bytes as Latin-1 strings. The head of an HTTP message is bytes; the interface
// carries it in strings in which each character, U+0000 to U+00FF, is one byte.
// (PEP 3333, "Unicode Issues")

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
