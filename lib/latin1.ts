// Bytes dressed as characters. HTTP's head is bytes; the interface carries it in
// strings whose characters U+0000 to U+00FF are those bytes, one for one.
// (PEP 3333, "Unicode Issues")

/** The bytes that a string stands for. Throws a RangeError above U+00FF. */
export function encodeLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code > 0xff) {
      throw new RangeError(`the character ${text.charAt(index)} is above U+00FF and is no byte`);
    }
    bytes[index] = code;
  }
  return bytes;
}

/** The string that stands for these bytes. */
export function decodeLatin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Undoes percent-encoding once, into bytes as characters; `%zz` stays as it is. */
export function percentDecode(text: string): string {
  // Most paths have nothing to undo.
  if (!text.includes('%')) return text;
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  );
}
