/**
 * Every code that reprise puts on an error. A code never changes its meaning; `docs/errors/<code>.md` explains each.
 */
export type RepriseErrorCode =
  | 'ERR_REPRISE_INVALID_OPTION'
  | 'ERR_REPRISE_UNKNOWN_OPTION'
  | 'ERR_REPRISE_INVALID_ENVIRONMENT'
  | 'ERR_REPRISE_INVALID_ARGUMENT'
  | 'ERR_REPRISE_NATIVE_UNAVAILABLE'
  | 'ERR_REPRISE_CLAIM_LOST'
  | 'ERR_REPRISE_NO_TRANSACTION'
  | 'ERR_REPRISE_TRANSACTION_MISUSED'
  | 'ERR_REPRISE_UNREADABLE_BODY'
  | 'ERR_REPRISE_AMBIGUOUS_KEY'
  | 'ERR_REPRISE_ENDPOINT_NEEDED'
  | 'ERR_REPRISE_NO_CLIENT'
  | 'ERR_REPRISE_NO_LISTING'
  | 'ERR_REPRISE_CHAOS_CLOSED'
  | 'ERR_REPRISE_CHAOS_IN_PRODUCTION'
  | 'ERR_REPRISE_CHAOS_STORE'
  | 'ERR_REPRISE_STORE_BUSY'
  | 'ERR_REPRISE_STORE_CLOSED'
  | 'ERR_REPRISE_STORE_DAMAGED'
  | 'ERR_REPRISE_STORE_FORMAT'
  | 'ERR_REPRISE_STORE_FULL'
  | 'ERR_REPRISE_STORE_NETWORK_FILE_SYSTEM'
  | 'ERR_REPRISE_STORE_NOT_PRIVATE'
  | 'ERR_REPRISE_STORE_READ_ONLY'
  | 'ERR_REPRISE_STORE_RECORD'
  | 'ERR_REPRISE_STORE_REPLACED'
  | 'ERR_REPRISE_STORE_REPLICAS'
  | 'ERR_REPRISE_STORE_SYSTEM'
  | 'ERR_REPRISE_STORE_TIMEOUT'
  | 'ERR_REPRISE_STORE_UNREACHABLE'
  | 'ERR_REPRISE_STORE_UNSYNCED'
  | 'ERR_REPRISE_ATTEMPT_INTERRUPTED'
  | 'ERR_REPRISE_ATTEMPT_STALE'
  | 'ERR_REPRISE_ATTEMPT_TIMEOUT'
  | 'ERR_REPRISE_BODY_NOT_REPLAYABLE'
  | 'ERR_REPRISE_CHECKPOINT_CORRUPT'
  | 'ERR_REPRISE_CHECKPOINT_LOAD'
  | 'ERR_REPRISE_CHECKPOINT_LOST'
  | 'ERR_REPRISE_CHECKPOINT_MISMATCH'
  | 'ERR_REPRISE_CHECKPOINT_SAVE'
  | 'ERR_REPRISE_CHECKPOINT_TOO_LARGE'
  | 'ERR_REPRISE_DRAINED'
  | 'ERR_REPRISE_RETRY_TIMEOUT'
  | 'ERR_REPRISE_TASK_IN_PROGRESS';

/** What every error thrown by reprise carries besides its message. */
export interface RepriseError extends Error {
  /** Stable, for programs. */
  readonly code: RepriseErrorCode;
}

/** Puts a stable code on an error of any class, so that `instanceof TypeError` and `error.code` both work. */
export function withCode<E extends Error>(error: E, code: RepriseErrorCode): E & RepriseError {
  return Object.defineProperty(error, 'code', { value: code, enumerable: true }) as E & RepriseError;
}

/** Shows a value in a message: short, never throwing, whatever the value is. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) {
    if (Array.isArray(value))
      return value.length > 8 ? `an array of ${value.length}` : `[${value.map(show).join(', ')}]`;
    return 'an object';
  }
  return String(value);
}
