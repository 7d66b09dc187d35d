import type { Attempt, Call } from './attempt.js';
import { AttemptTimeoutError, RetryTimeoutError } from './errors.js';
import { follow } from './follow.js';
import type { StopReason } from './info.js';
import type { Plan } from './plan.js';
import type { Interrupter } from './sleep.js';

/** What can end a run from outside while it is in an attempt or a wait. */
export class Guard implements Interrupter {
  /** Of the attempt or wait that the run is in: ends it at once. */
  interrupt: ((reason: unknown) => void) | undefined;
  /** What failed last, for the error of a timeout. */
  lastFailure: { error: unknown } | undefined;
  /** Why the run is over, once it is. */
  stopped: { readonly reason: StopReason; readonly error: unknown } | undefined;
  readonly #deadline: number;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #unfollow: (() => void) | undefined;

  constructor({ signal, totalTimeoutMs }: Plan) {
    this.#deadline = totalTimeoutMs === undefined ? Infinity : performance.now() + totalTimeoutMs;
    if (signal?.aborted) {
      this.stop('aborted', signal.reason);
      return;
    }
    if (signal !== undefined) {
      this.#unfollow = follow(signal, () => {
        this.stop('aborted', signal.reason);
      });
    }
    if (totalTimeoutMs !== undefined) {
      this.#timer = setTimeout(() => {
        this.timeOut(totalTimeoutMs);
      }, totalTimeoutMs);
    }
  }

  get remainingMs(): number {
    return this.#deadline === Infinity ? Infinity : Math.max(0, this.#deadline - performance.now());
  }

  /** The time for all attempts together is over. */
  timeOut(totalTimeoutMs: number): void {
    const cause = this.lastFailure ? { cause: this.lastFailure.error } : {};
    this.stop('timeout', new RetryTimeoutError(totalTimeoutMs, cause));
  }

  /** Ends the run; the first reason counts. */
  stop(reason: StopReason, error: unknown): void {
    if (this.stopped !== undefined) return;
    this.stopped = { reason, error };
    this.interrupt?.(error);
  }

  /** Makes one attempt, which ends at the latest when its time is over or the run is stopped. */
  async attempt<T>(attempt: Attempt, call: Call<T>, timeoutMs: number | undefined): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    let ranOut: AttemptTimeoutError | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        this.interrupt = reject;
        if (timeoutMs !== undefined) {
          timer = setTimeout(() => {
            ranOut = new AttemptTimeoutError(timeoutMs);
            reject(ranOut);
          }, timeoutMs);
        }
        Promise.resolve(call(attempt)).then(resolve, reject);
      });
    } finally {
      if (timer !== undefined) clearTimeout(timer);
      this.interrupt = undefined;
      // Listened to by what the attempt left running; where it ended by itself there is nothing.
      if (this.stopped !== undefined) attempt.abort(this.stopped.error);
      else if (ranOut !== undefined) attempt.abort(ranOut);
    }
  }

  /** Leaves no listener and no timer behind. */
  release(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#unfollow?.();
  }
}
