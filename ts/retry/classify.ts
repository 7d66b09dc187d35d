const LONGEST_CAUSE_CHAIN = 10;

/** Marks an error that is final; by a registered symbol, since a bundle may hold a second copy of this package. */
export const FINAL = Symbol.for('reprise.nonRetryable');

// Deterministic mistakes: the next call makes the same one. By name, since `instanceof` fails for the errors of
// another realm, and under Jest every error of Node itself is one.
const PROGRAMMER_ERRORS = new Set(['TypeError', 'RangeError', 'SyntaxError', 'ReferenceError', 'AssertionError']);

// What fetch says of a failed network, always as a TypeError: undici (the first two), then the interceptors of test
// tools, which speak like a browser.
const FETCH_NETWORK_FAILURES = new Set(['fetch failed', 'terminated', 'Failed to fetch']);

// Node's and undici's codes for a wrong argument, and ours: a save that failed after success must never run the task
// again, whichever layer sees it. Of ours, those pass that time alone may heal.
const FINAL_CODE = /^(?:UND_)?ERR_INVALID_|^ERR_REPRISE_(?!(?:ATTEMPT_TIMEOUT|STORE_TIMEOUT|STORE_REPLICAS)$)/;

/**
 * Whether calling again can help. It cannot after a {@link NonRetryableError}, a cancellation (`AbortError`), a
 * programmer error, or an error of reprise itself; nor when one of those is among the causes. Anything else that was thrown is retried, whatever it is.
 */
export function isRetryable(thrown: unknown): boolean {
  try {
    let current = thrown;
    for (let depth = 0; depth <= LONGEST_CAUSE_CHAIN && isObject(current); depth++) {
      if (isFinal(current)) return false;
      current = current['cause'];
    }
  } catch {
    // A getter or proxy that throws when it is looked at says nothing about the failure.
  }
  return true;
}

function isFinal({ name, code, message, [FINAL]: marked }: Record<PropertyKey, unknown>): boolean {
  if (marked === true) return true;
  if (name === 'AbortError') return true;
  if (typeof code === 'string' && FINAL_CODE.test(code)) return true;
  if (name === 'TypeError' && typeof message === 'string' && FETCH_NETWORK_FAILURES.has(message)) return false;
  return typeof name === 'string' && PROGRAMMER_ERRORS.has(name);
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
