import { native } from '../native.js';
import { Attempt, type Call } from './attempt.js';
import { isRetryable } from './classify.js';
import { delayBefore } from './config.js';
import { isHeard, tell, type RetryEvent } from './events.js';
import { Guard } from './guard.js';
import { setRetryInfo, type StopReason } from './info.js';
import type { Plan } from './plan.js';
import { verdictOf } from './retry-after.js';
import { sleep } from './sleep.js';
import { testedAttempts, testedDelay } from './test-mode.js';

/** What keeps the memory of a run outside of it. */
export interface Journal {
  readonly taskId: string;
  /** Attempts of this run that an earlier process began. */
  readonly attemptsMade: number;
  /** Milliseconds to wait before the first attempt: the rest of a wait that an earlier process was in. */
  readonly delayMs: number;
  /** Handed what ends the run from outside, before anything else. */
  attach(guard: Guard): void;
  /** An attempt failed, timed out or was interrupted; what it left is put in order before anything is decided. */
  attemptFailed(): Promise<void>;
  /** There will be another attempt, after a wait. */
  willWait(delayMs: number): Promise<void>;
  /** The wait is over. */
  waited(): void;
}

/**
 * Calls `call` until it succeeds, fails for good, or has been called `maxAttempts` times. Rejects with the very value
 * that the last call threw, unless the run was ended from outside. A call that succeeds at once costs no crossing and
 * no timer, and where nothing watches it, one small object.
 */
export function runWithRetry<T>(plan: Plan, call: Call<T>, journal?: Journal): Promise<Awaited<T>> {
  return journal === undefined && plan.isPlain && !isHeard(plan, 'attempt') && !isHeard(plan, 'success')
    ? runPlainly(plan, call)
    : new Run(plan, journal).toTheEnd(call);
}

async function runPlainly<T>(plan: Plan, call: Call<T>): Promise<Awaited<T>> {
  try {
    return await call(new Attempt(1, plan.config.maxAttempts, undefined, undefined));
  } catch (thrown) {
    return new Run(plan, undefined).toTheEnd(call, { thrown });
  }
}

const LONGEST_HISTORY = 5;
/** Delays stop growing long before, and the core counts with 32 bits. */
const LAST_COUNTED_RETRY = 2 ** 32 - 1;

/** A run: what it knows, and what it decides. */
class Run {
  readonly #plan: Plan;
  readonly #guard: Guard | undefined;
  readonly #journal: Journal | undefined;
  readonly #first: number;
  readonly #errors: unknown[] = [];
  #seed: number | undefined;
  #totalDelayMs = 0;
  #previousMs: number | undefined;

  constructor(plan: Plan, journal: Journal | undefined) {
    const { signal, attemptTimeoutMs, totalTimeoutMs } = plan;
    const isBounded = signal !== undefined || totalTimeoutMs !== undefined || attemptTimeoutMs !== undefined;
    this.#plan = plan;
    this.#guard = isBounded || journal !== undefined ? new Guard(plan) : undefined;
    this.#journal = journal;
    this.#first = (journal?.attemptsMade ?? 0) + 1;
    if (this.#guard) journal?.attach(this.#guard);
  }

  /** Goes on until it is over. `failure` is that of the first attempt, where that was made outside. */
  async toTheEnd<T>(call: Call<T>, failure?: { readonly thrown: unknown }): Promise<Awaited<T>> {
    let number = this.#first;
    let failed = failure;
    try {
      this.#assertGoing(number - 1);
      this.#plan.budget?.call();
      const restMs = this.#journal?.delayMs ?? 0;
      if (restMs > 0) await this.#wait(restMs, number - 1);
      for (;;) {
        if (failed !== undefined) {
          await this.#waitAfter(failed.thrown, number);
          number++;
        }
        try {
          return await this.#attempt(number, call);
        } catch (thrown) {
          failed = { thrown };
        }
      }
    } finally {
      this.#guard?.release();
    }
  }

  async #attempt<T>(number: number, call: Call<T>): Promise<Awaited<T>> {
    const { config, attemptTimeoutMs, budget } = this.#plan;
    const attempt = new Attempt(number, config.maxAttempts, this.#errors.at(-1), this.#guard);
    this.#tell('attempt', number);
    const result = await (this.#guard?.attempt(attempt, call, attemptTimeoutMs) ?? call(attempt));
    budget?.success();
    this.#tell('success', number);
    return result;
  }

  /** Waits before the attempt after the one that failed; throws where there is none. */
  async #waitAfter(thrown: unknown, number: number): Promise<void> {
    const journal = this.#journal;
    if (journal) await journal.attemptFailed();
    this.#assertGoing(number);
    this.#errors.push(thrown);
    if (this.#errors.length > LONGEST_HISTORY) this.#errors.shift();
    if (this.#guard) this.#guard.lastFailure = { error: thrown };
    const { shouldRetry } = this.#plan;
    const { retryAfterMs, never } = verdictOf(thrown);
    if (never) throw this.#over('non-retryable', thrown, number);
    if (number >= testedAttempts(this.#plan.config.maxAttempts)) {
      throw this.#over('exhausted', thrown, number, retryAfterMs);
    }
    const verdict = shouldRetry === undefined ? undefined : await this.#ask(shouldRetry, thrown, number);
    this.#assertGoing(number);
    if (!(verdict ?? isRetryable(thrown))) throw this.#over('non-retryable', thrown, number, retryAfterMs);
    const delayMs = this.#delayAfter(thrown, number, retryAfterMs);
    if (journal) await journal.willWait(delayMs);
    await this.#wait(delayMs, number, thrown);
  }

  /** How long to wait; throws where waiting is too long, in vain, or beyond the budget. */
  #delayAfter(thrown: unknown, number: number, retryAfterMs: number | undefined): number {
    const { budget, maxRetryAfterMs, totalTimeoutMs } = this.#plan;
    if (retryAfterMs !== undefined && retryAfterMs > maxRetryAfterMs)
      throw this.#over('retry-after', thrown, number, retryAfterMs);
    const delayMs = testedDelay(Math.max(this.#backoff(number - 1), retryAfterMs ?? 0));
    if (this.#guard && totalTimeoutMs !== undefined) {
      const { remainingMs } = this.#guard;
      if (retryAfterMs !== undefined && retryAfterMs >= remainingMs) {
        throw this.#over('retry-after', thrown, number, retryAfterMs);
      }
      if (delayMs >= remainingMs) this.#guard.timeOut(totalTimeoutMs);
      this.#assertGoing(number);
    }
    if (budget?.tryRetry() === false) throw this.#over('budget', thrown, number, retryAfterMs);
    return delayMs;
  }

  async #wait(delayMs: number, number: number, error?: unknown): Promise<void> {
    this.#assertGoing(number);
    // Armed before anyone is told of it, so that an observer may advance a fake clock.
    const waiting = sleep(delayMs, this.#guard);
    // Without a failure it is the rest of an earlier wait, which has been told.
    if (this.#errors.length > 0) this.#tell('retry', number, { delayMs, error });
    try {
      await waiting;
    } catch {
      this.#assertGoing(number);
    }
    this.#totalDelayMs += delayMs;
    this.#journal?.waited();
    const { totalTimeoutMs } = this.#plan;
    // A blocked event loop: the time is over, and its timer has not had its turn yet.
    if (totalTimeoutMs !== undefined && this.#guard?.remainingMs === 0) this.#guard.timeOut(totalTimeoutMs);
    this.#assertGoing(number);
  }

  /** A run that was stopped from outside ends with that reason, whatever its attempt made of it. */
  #assertGoing(number: number): void {
    const stopped = this.#guard?.stopped;
    if (stopped !== undefined) throw this.#over(stopped.reason, stopped.error, number);
  }

  /** The end of the run: tells it, notes it beside the error, and returns what is to be thrown. */
  #over(stopReason: StopReason, error: unknown, number: number, retryAfterMs?: number): unknown {
    setRetryInfo(error, {
      attempts: number - this.#first + 1,
      totalDelayMs: this.#totalDelayMs,
      stopReason,
      errors: [...this.#errors],
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
    this.#tell('give-up', number, { stopReason, error });
    return error;
  }

  async #ask(shouldRetry: NonNullable<Plan['shouldRetry']>, thrown: unknown, number: number) {
    try {
      return await shouldRetry(thrown, { attempt: number, maxAttempts: this.#plan.config.maxAttempts });
    } catch (error) {
      if (error instanceof Error && error.cause === undefined && Object.isExtensible(error)) {
        Object.defineProperty(error, 'cause', { value: thrown, configurable: true, writable: true });
      }
      throw this.#over('non-retryable', error, number);
    }
  }

  #backoff(retry: number): number {
    const { config, jitter, seed } = this.#plan;
    const { initialDelayMs, maxDelayMs, exponentialBase } = config;
    if (initialDelayMs === 0) return 0;
    const counted = Math.min(retry, LAST_COUNTED_RETRY);
    if (jitter === 'none') return delayBefore(counted, config);
    this.#seed ??= seed ?? Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);
    this.#previousMs = native.jitteredDelay(
      counted,
      initialDelayMs,
      maxDelayMs,
      exponentialBase,
      jitter,
      this.#seed,
      this.#previousMs,
    );
    return this.#previousMs;
  }

  #tell(type: RetryEvent['type'], attempt: number, more?: Partial<RetryEvent>): void {
    if (!isHeard(this.#plan, type)) return;
    const { name, config } = this.#plan;
    const taskId = this.#journal?.taskId;
    tell(this.#plan, {
      type,
      ...(name !== undefined && { name }),
      ...(taskId !== undefined && { taskId }),
      attempt,
      maxAttempts: config.maxAttempts,
      ...more,
    });
  }
}
