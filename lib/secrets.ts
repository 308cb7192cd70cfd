// Masks secrets for the trace, the error page and the validator's messages. Also escapes
// text for a terminal; the trace, whose texts have one line each, does that in its own way
// (`oneLine` in trace/printer.ts).

import { quote } from './describe.ts';
import { percentDecode } from './latin1.ts';

/** Shown in place of a secret. */
export const MASK = '••••••';

// Matched against a name in lower case whose words are joined by `_`.
const SECRET_NAME = new RegExp(
  'authori[sz]ation|cookie|token|secret|passw|passphrase|credential|session|sess_?id' +
    '|signature|jwt|csrf|xsrf|(api|access|private)key' +
    '|(^|_)(auth|key|keys|pass|pwd|sid|otp|pin)$|(^|_)key_' +
    // A proxy's address holds its password. (CVE-2016-1000110)
    '|^http_proxy$',
);

// Names that carry a secret in a query alone: OAuth's code, signed URLs.
const SECRET_PARAMETER = /^(code|sig)$/;

/**
 * Whether a header, a key of environ, a parameter or a property of this name holds a
 * secret: `Authorization`, `HTTP_COOKIE`, `Set-Cookie`, `apiKey`, `csrf_token`.
 */
export function isSecret(name: string): boolean {
  const words = name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').replace(/[^A-Za-z0-9]+/g, '_');
  return SECRET_NAME.test(words.toLowerCase());
}

/** The value to show for a name: masked if the name or a part of the value is secret. */
export function maskValue(name: string, value: string): string {
  if (value !== '' && isSecret(name)) return MASK;
  return name === 'QUERY_STRING' ? maskQuery(value) : maskText(value);
}

/** The same in quotes, for a message. */
export function quoteValue(name: string, value: string): string {
  const quotedMask = quote(MASK).slice(1, -1);
  return quote(maskValue(name, value)).replaceAll(quotedMask, MASK);
}

/** The value of a parameter of a query or form, masked if its name is secret. */
export function maskParameter(name: string, value: string): string {
  return isSecret(name) || SECRET_PARAMETER.test(name.toLowerCase()) ? MASK : maskText(value);
}

/** A query or a form, without its `?`, with the values of secret parameters masked. */
export function maskQuery(query: string): string {
  return maskText(`?${query}`).slice(1);
}

/**
 * Text with the secrets of the URLs and queries in it masked: `user:password@`, and
 * the values of parameters whose names are secret.
 */
export function maskText(text: string): string {
  return text
    .replace(/(\/\/)[^/\s?#@]+@/g, `$1${MASK}@`)
    .replace(/([?&;])([^=?&;#\s]+)=([^?&;#\s]*)/g, (whole, before, name, value) => {
      // The value may be a whole URL, percent-encoded.
      const decoded = percentDecode(value);
      const shown = maskParameter(percentDecode(name), decoded);
      return shown === decoded ? whole : `${before}${name}=${shown}`;
    });
}

/**
 * Escapes text for a terminal. Line breaks and tabs remain. Every other control
 * character, and every character that changes the direction of writing, becomes an
 * escape such as `\x1b` or `\u202e`.
 */
export function escapeControls(text: string): string {
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, '0')}` : `\\x${code.padStart(2, '0')}`;
  });
}
