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

/**
 * A test for paths that are one of these or below it, by whole segments (`/` is the root alone), or in which one of
 * these patterns finds something; for a pattern, the root is `/`.
 */
export function pathMatcher(given: readonly (string | RegExp)[]): (path: string) => boolean {
  const paths = given.filter((path) => typeof path === 'string').map(normalize);
  const below = paths.filter((path) => path !== '').map((path) => `${path}/`);
  const patterns = given.filter((path) => path instanceof RegExp).map(stateless);
  return (path) =>
    paths.includes(path) ||
    below.some((prefix) => path.startsWith(prefix)) ||
    patterns.some((pattern) => pattern.test(path === '' ? '/' : path));
}

/** A copy that has no place of its own: with `g` or `y`, a pattern finds a text every other time. */
export function stateless(pattern: RegExp): RegExp {
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
}
