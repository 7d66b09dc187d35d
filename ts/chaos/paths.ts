import type { IncomingMessage } from 'node:http';

/**
 * The path that a client asked for, in one spelling: from `originalUrl`, since `url` is relative to the mount;
 * without query and trailing slashes; percent-decoded, but for an encoded slash, which separates nothing. The root
 * is the empty text.
 */
export function pathOf(req: IncomingMessage & { originalUrl?: string | undefined }): string {
  return normalize(req.originalUrl ?? req.url ?? '/');
}

function normalize(url: string): string {
  // A proxy may send the absolute form.
  const target = url.startsWith('/') ? url : url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  const query = target.search(/[?#]/);
  const path = (query === -1 ? target : target.slice(0, query)).replace(/\/+$/, '');
  return path.includes('%') ? path.split('/').map(decodeSegment).join('/') : path;
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment).replaceAll('/', '%2F');
  } catch {
    return segment;
  }
}

/** A test for paths that are one of `excluded` or below it, by whole segments; `/` is the root alone. */
export function pathMatcher(excluded: readonly string[]): (path: string) => boolean {
  const paths = excluded.map(normalize);
  const below = paths.filter((path) => path !== '').map((path) => `${path}/`);
  return (path) => paths.includes(path) || below.some((prefix) => path.startsWith(prefix));
}
