import type { IncomingMessage } from 'node:http';

/**
 * The path that a client asked for, in one spelling: from `originalUrl`, since `url` is relative to the mount;
 * without query and trailing slashes; percent-decoded, but for an encoded slash, which separates nothing. The root
 * is the empty text.
 */
export function pathOf(req: IncomingMessage & { originalUrl?: string | undefined }): string {
  return normalize(req.originalUrl ?? req.url ?? '/');
}

const [SLASH, QUESTION_MARK, HASH, PERCENT] = [0x2f, 0x3f, 0x23, 0x25];

/** For every request: no pattern, and nothing made of a path that needs no change. */
function normalize(url: string): string {
  // A proxy may send the absolute form.
  const target = url.charCodeAt(0) === SLASH ? url : url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  let length = 0;
  let isEncoded = false;
  for (; length < target.length; length++) {
    const code = target.charCodeAt(length);
    if (code === QUESTION_MARK || code === HASH) break;
    if (code === PERCENT) isEncoded = true;
  }
  while (length > 0 && target.charCodeAt(length - 1) === SLASH) length--;
  const path = length === target.length ? target : target.slice(0, length);
  return isEncoded ? path.split('/').map(decodeSegment).join('/') : path;
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
  const patterns = given.filter((path) => path instanceof RegExp).map(stateless);
  return (path) => {
    for (const one of paths) if (isBelow(path, one)) return true;
    for (const pattern of patterns) if (pattern.test(path === '' ? '/' : path)) return true;
    return false;
  };
}

/** Whether a path is this one, or below it; nothing is below the root. */
function isBelow(path: string, one: string): boolean {
  if (path.length === one.length) return path === one;
  return one !== '' && path.charCodeAt(one.length) === SLASH && path.startsWith(one);
}

/** A copy that has no place of its own: with `g` or `y`, a pattern finds a text every other time. */
export function stateless(pattern: RegExp): RegExp {
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
}
