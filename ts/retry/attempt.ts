import type { Guard } from './guard.js';

/** What a retried function may look at; a new one for every attempt. */
export interface AttemptContext {
  /** Which call it is, from 1. */
  readonly attempt: number;
  /** How many there may be in total. */
  readonly maxAttempts: number;
  /** What the call before this one threw; undefined in the first. */
  readonly lastError: unknown;
  /** Aborts when nobody waits for this attempt any more: the caller's signal, a timeout, or a claim that was lost. */
  readonly signal: AbortSignal;
  /** Milliseconds left of `totalTimeoutMs`; Infinity without one. */
  readonly remainingMs: number;
}

/** One call of what is retried. */
export type Call<T> = (attempt: Attempt) => T | PromiseLike<T>;

/** One attempt, from the inside and from the outside. */
export class Attempt implements AttemptContext {
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly lastError: unknown;
  readonly #guard: Guard | undefined;
  #controller: AbortController | undefined;
  #aborted: { reason: unknown } | undefined;

  constructor(attempt: number, maxAttempts: number, lastError: unknown, guard: Guard | undefined) {
    this.attempt = attempt;
    this.maxAttempts = maxAttempts;
    this.lastError = lastError;
    this.#guard = guard;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      // Made on demand: it costs more than all the rest of a call that succeeds at once.
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  get remainingMs(): number {
    return this.#guard?.remainingMs ?? Infinity;
  }

  /** Nobody waits for it any more. */
  abort(reason: unknown): void {
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}
