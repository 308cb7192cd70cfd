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
 * Text with the secrets in it masked: `user:password@` of URLs, and the values of
 * parameters, assignments, headers and members of JSON whose names are secret.
 */
export function maskText(text: string): string {
  return text
    .replace(USER, `$1${MASK}@`)
    .replace(PARAMETER, (whole, before, name, value) => {
      // The value may be a whole URL, percent-encoded.
      const decoded = percentDecode(value);
      const shown = maskParameter(percentDecode(name), decoded);
      return shown === decoded ? whole : `${before}${name}=${shown}`;
    })
    .replace(ASSIGNMENT, (whole, name) => (isSecret(name) ? `${name}=${MASK}` : whole))
    .replace(HEADER, (whole, name, scheme = '') => {
      return isSecret(name) ? `${name}: ${scheme}${MASK}` : whole;
    })
    .replace(MEMBER, (whole, before, name, between, quotes = '') => {
      return isSecret(name) ? `${before}${name}${between}${quotes}${MASK}${quotes}` : whole;
    });
}

// `//user:password@`. A password may contain an @, which should have been encoded.
const USER = /(\/\/)[^/\s?#"<>]+@/g;

// `?name=value`, `&name=value`, `;name=value`, up to the end of a text in quotes
const PARAMETER = /([?&;])([^=?&;#\s]+)=((?:[^?&;#\s"]|"(?![\s,:)}\]]|$))*)/g;

// `name=value` of a form, or of the environment. `name==value` and `name=>value` are code.
const ASSIGNMENT =
  /(?<![\w.%?&;-])([A-Za-z][\w.-]*)=(?![=>])(?:"[^"]*"|'[^']*'|[^\s&;#"',)}\]]+)/g;

// `Authorization: scheme value`, `Cookie: value`, `X-Name: value`. Other names, such as
// `token: value`, are those of a message in words.
const HEADER = new RegExp(
  '(?<![\\w-])(authorization|cookie|\\w+(?:-\\w+)+): *((?:basic|bearer|digest|token) +)?' +
    '(?:[^"\'`=\\r\\n]|=(?:"[^"\\r\\n]*")?)+',
  'gi',
);

// `"name":"value"`, `{ name: 'value'`, `\"name\":\"value\"`, `"name":42`
const MEMBER = new RegExp(
  '(\\\\{0,7}["\']|[{,]\\s*)([\\w.-]+)(\\\\{0,7}["\']?\\s*:\\s*)' +
    '(?:(\\\\{0,7}["\'])(?:(?!\\4)[^\\\\]|(?!\\4)\\\\.)*\\4|\\d[\\d.]*)',
  'g',
);

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
