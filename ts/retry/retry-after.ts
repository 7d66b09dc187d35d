import { native } from '../native.js';

/**
 * What a `Retry-After` header asks for, in milliseconds from `now`: whole seconds, or one of the three forms of an
 * HTTP date (RFC 9110, 5.6.7 and 10.2.3). A date that has passed is 0; undefined for anything else.
 *
 * @example
 * parseRetryAfter('120'); // 120000
 */
export function parseRetryAfter(value: string, now: number = Date.now()): number | undefined {
  return native.parseRetryAfter(value, now) ?? undefined;
}

/** What the other side said about trying again: not before so many milliseconds, or never. */
export interface Verdict {
  readonly retryAfterMs?: number;
  readonly never?: boolean;
}

/**
 * Reads it off an error, wherever clients put it: `retryAfterMs`, or the headers of the error or of its `response`
 * (`retry-after-ms`, `retry-after`, and `false` in `x-should-retry` or `stripe-should-retry`).
 */
export function verdictOf(error: unknown): Verdict {
  try {
    if (typeof error !== 'object' || error === null) return {};
    const { retryAfterMs, headers, response } = error as Partial<Record<string, unknown>>;
    if (typeof retryAfterMs === 'number' && retryAfterMs >= 0) return { retryAfterMs };
    const from = headers ?? (response as { headers?: unknown } | null | undefined)?.headers;
    return typeof from === 'object' && from !== null ? verdictOfHeaders((name) => header(from, name)) : {};
  } catch {
    // A getter or proxy that throws when it is looked at says nothing.
    return {};
  }
}

/** The same from a way to read headers, by their names in lower case. */
export function verdictOfHeaders(get: (name: string) => string | null | undefined): Verdict {
  if (get('x-should-retry') === 'false' || get('stripe-should-retry') === 'false') return { never: true };
  const ms = get('retry-after-ms');
  const seconds = get('retry-after');
  const retryAfterMs =
    (typeof ms === 'string' ? native.parseRetryAfterMs(ms) : undefined) ??
    (typeof seconds === 'string' ? parseRetryAfter(seconds) : undefined);
  return retryAfterMs === undefined ? {} : { retryAfterMs };
}

function header(headers: object, name: string): string | undefined {
  const { get } = headers as { get?: unknown };
  if (typeof get === 'function') return (headers as Headers).get(name) ?? undefined;
  for (const [key, value] of Object.entries(headers)) {
    if (key.toLowerCase() === name) return String(Array.isArray(value) ? value[0] : value);
  }
  return undefined;
}
