/** Why a run was given up. */
export type StopReason =
  'exhausted' | 'non-retryable' | 'aborted' | 'timeout' | 'budget' | 'retry-after' | 'lost' | 'drained';

/** How a run went whose error is at hand. */
export interface RetryInfo {
  /** Calls that were made. */
  readonly attempts: number;
  /** Milliseconds waited between them. */
  readonly totalDelayMs: number;
  /** Why there was no further one. */
  readonly stopReason: StopReason;
  /** The errors, oldest first: the last five at most. */
  readonly errors: readonly unknown[];
  /** What the other side asked to wait, where it did, in milliseconds. */
  readonly retryAfterMs?: number;
}

// Beside the error, not on it: it is the caller's own, and may be frozen.
const infos = new WeakMap<object, RetryInfo>();

/**
 * How the run went that ended with this error; undefined for an error that no run of reprise ended with, and for
 * thrown values that are no objects. Where runs are nested, the outermost counts.
 *
 * @example
 * retry(charge).catch((error) => console.log(getRetryInfo(error)?.attempts));
 */
export function getRetryInfo(error: unknown): RetryInfo | undefined {
  return isObject(error) ? infos.get(error) : undefined;
}

/** @internal */
export function setRetryInfo(error: unknown, info: RetryInfo): void {
  if (isObject(error)) infos.set(error, info);
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
