// As much of a cookie jar as a test needs: names, values, paths and expiry, for the
// hosts that set them. (RFC 6265 §5)

interface Cookie {
  name: string;
  value: string;
  host: string;
  path: string;
  secure: boolean;
}

/** Keeps cookies from one response for the next request. */
export class CookieJar {
  private readonly cookies = new Map<string, Cookie>();

  /** The Cookie header for a request to `url`; undefined if there is none. */
  header(url: URL): string | undefined {
    const pairs: string[] = [];
    for (const { name, value, host, path, secure } of this.cookies.values()) {
      if (host !== url.hostname || (secure && url.protocol !== 'https:')) continue;
      if (isBelow(url.pathname, path)) pairs.push(`${name}=${value}`);
    }
    return pairs.length > 0 ? pairs.join('; ') : undefined;
  }

  /** Takes what a response from `url` set. */
  store(response: Response, url: URL): void {
    for (const line of response.headers.getSetCookie()) this.set(line, url);
  }

  private set(line: string, url: URL): void {
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
    const [, name, value = ''] = /^([^=]+)=(.*)$/.exec(pair) ?? [];
    if (name === undefined) return;
    const read = (wanted: string): string | undefined => {
      const found = attributes.find((each) => each.toLowerCase().split('=')[0] === wanted);
      return found?.slice(wanted.length + 1);
    };
    const given = read('path');
    const path = given?.startsWith('/') ? given : defaultPath(url.pathname);
    const key = `${url.hostname} ${path} ${name}`;
    if (hasExpired(read('max-age'), read('expires'))) this.cookies.delete(key);
    else {
      const secure = read('secure') !== undefined;
      this.cookies.set(key, { name, value, host: url.hostname, path, secure });
    }
  }
}

function hasExpired(maxAge: string | undefined, expires: string | undefined): boolean {
  if (maxAge !== undefined) return Number(maxAge) <= 0;
  return expires !== undefined && Date.parse(expires) <= Date.now();
}

function defaultPath(pathname: string): string {
  return pathname.slice(0, Math.max(1, pathname.lastIndexOf('/')));
}

function isBelow(pathname: string, path: string): boolean {
  return pathname === path || pathname.startsWith(path.endsWith('/') ? path : `${path}/`);
}
