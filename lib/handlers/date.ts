// The one form in which HTTP writes a date today.

/**
 * A time in milliseconds, as `Date.now()` gives it, in the form of the Date
 * header: `Sun, 06 Nov 1994 08:49:37 GMT`. (RFC 9110 §5.6.7)
 */
export function formatDateTime(time: number): string {
  const second = Math.floor(time / 1000);
  if (second !== lastSecond) {
    lastSecond = second;
    lastDate = new Date(time).toUTCString();
  }
  return lastDate;
}

// The date shows no more than seconds, so one text serves a second's responses.
let lastSecond = NaN;
let lastDate = '';
