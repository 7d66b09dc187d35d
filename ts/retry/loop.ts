import { native } from '../native.js';
import { isRetryable } from './classify.js';
import { delayBefore } from './config.js';
import { AttemptTimeoutError, RetryTimeoutError } from './errors.js';
import { isHeard, tell, type RetryEvent } from './events.js';
import { setRetryInfo, type StopReason } from './info.js';
import type { Plan } from './plan.js';
import { verdictOf } from './retry-after.js';
import { sleep, type Interrupter } from './sleep.js';
import { testedAttempts, testedDelay } from './test-mode.js';

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
  waited(): Promise<void>;
}

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
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = () => {
    this.stop('aborted', this.#signal?.reason);
  };

  constructor({ signal, totalTimeoutMs }: Plan) {
    this.#deadline = totalTimeoutMs === undefined ? Infinity : performance.now() + totalTimeoutMs;
    if (signal?.aborted) {
      this.stop('aborted', signal.reason);
      return;
    }
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (totalTimeoutMs !== undefined) {
      this.#timer = setTimeout(() => {
        this.stop('timeout', this.timeoutError(totalTimeoutMs));
      }, totalTimeoutMs);
    }
  }

  get remainingMs(): number {
    return this.#deadline === Infinity ? Infinity : Math.max(0, this.#deadline - performance.now());
  }

  timeoutError(totalTimeoutMs: number): RetryTimeoutError {
    return new RetryTimeoutError(totalTimeoutMs, this.lastFailure ? { cause: this.lastFailure.error } : {});
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
      clearTimeout(timer);
      this.interrupt = undefined;
      // Listened to by what the attempt left running; where it ended by itself there is nothing.
      if (this.stopped !== undefined) attempt.abort(this.stopped.error);
      else if (ranOut !== undefined) attempt.abort(ranOut);
    }
  }

  /** Leaves no listener and no timer behind. */
  release(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}

export type Call<T> = (attempt: Attempt) => T | PromiseLike<T>;

/**
 * Calls `call` until it succeeds, fails for good, or has been called `maxAttempts` times. Rejects with the very value
 * that the last call threw, unless the run was ended from outside. A call that succeeds at once costs no crossing and
 * no timer.
 */
export async function runWithRetry<T>(plan: Plan, call: Call<T>, journal?: Journal): Promise<Awaited<T>> {
  const { attemptTimeoutMs, budget } = plan;
  const isGuarded = plan.signal !== undefined || plan.totalTimeoutMs !== undefined || attemptTimeoutMs !== undefined;
  const guard = isGuarded || journal !== undefined ? new Guard(plan) : undefined;
  const heard = isHeard(plan);
  const first = (journal?.attemptsMade ?? 0) + 1;
  let failures: Failures | undefined;
  try {
    if (guard !== undefined) {
      journal?.attach(guard);
      const { stopped } = guard;
      if (stopped) throw new Failures(plan, guard, journal, first).over(stopped.reason, stopped.error, first - 1);
    }
    budget?.call();
    if (journal !== undefined && journal.delayMs > 0) {
      failures = new Failures(plan, guard, journal, first);
      await failures.wait(journal.delayMs, first);
    }
    for (let number = first; ; number++) {
      const attempt = new Attempt(number, plan.config.maxAttempts, failures?.last, guard);
      if (heard) tell(plan, eventOf('attempt', plan, number, journal));
      try {
        const result = await (guard === undefined ? call(attempt) : guard.attempt(attempt, call, attemptTimeoutMs));
        budget?.success();
        if (heard) tell(plan, eventOf('success', plan, number, journal));
        return result;
      } catch (thrown) {
        failures ??= new Failures(plan, guard, journal, first);
        await journal?.attemptFailed();
        await failures.wait(await failures.decide(thrown, number), number, thrown);
      }
    }
  } finally {
    guard?.release();
  }
}

/** A run that has seen a failure: what it knows, and what it decides. */
class Failures {
  readonly #plan: Plan;
  readonly #guard: Guard | undefined;
  readonly #journal: Journal | undefined;
  readonly #first: number;
  readonly #seed: number;
  readonly #errors: unknown[] = [];
  #totalDelayMs = 0;
  #previousMs: number | undefined;

  constructor(plan: Plan, guard: Guard | undefined, journal: Journal | undefined, first: number) {
    this.#plan = plan;
    this.#guard = guard;
    this.#journal = journal;
    this.#first = first;
    this.#seed = plan.seed ?? Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);
  }

  get last(): unknown {
    return this.#errors.at(-1);
  }

  /** How long to wait before the next attempt; throws where there is none. */
  async decide(thrown: unknown, attempt: number): Promise<number> {
    const { config, shouldRetry, budget, maxRetryAfterMs, totalTimeoutMs } = this.#plan;
    this.#assertGoing(attempt);
    this.#errors.push(thrown);
    if (this.#errors.length > LONGEST_HISTORY) this.#errors.shift();
    if (this.#guard) this.#guard.lastFailure = { error: thrown };
    const { retryAfterMs, never = false } = verdictOf(thrown);
    const giveUp = (reason: StopReason) => this.over(reason, thrown, attempt, retryAfterMs);
    if (never) throw giveUp('non-retryable');
    if (attempt >= testedAttempts(config.maxAttempts)) throw giveUp('exhausted');
    const verdict = shouldRetry === undefined ? undefined : await this.#ask(shouldRetry, thrown, attempt);
    this.#assertGoing(attempt);
    if (!(verdict ?? isRetryable(thrown))) throw giveUp('non-retryable');
    if (retryAfterMs !== undefined && retryAfterMs > maxRetryAfterMs) throw giveUp('retry-after');
    const delayMs = testedDelay(Math.max(this.#backoff(attempt - 1), retryAfterMs ?? 0));
    const remainingMs = this.#guard?.remainingMs ?? Infinity;
    if (delayMs >= remainingMs && this.#guard && totalTimeoutMs !== undefined) {
      if (retryAfterMs !== undefined && retryAfterMs >= remainingMs) throw giveUp('retry-after');
      // To wait would be in vain.
      throw this.over('timeout', this.#guard.timeoutError(totalTimeoutMs), attempt, retryAfterMs);
    }
    if (budget?.tryRetry() === false) throw giveUp('budget');
    return delayMs;
  }

  /** Waits before the attempt after this one; without a failure it is the rest of an earlier wait. */
  async wait(delayMs: number, attempt: number, error?: unknown): Promise<void> {
    const isRetry = this.#errors.length > 0;
    if (isRetry) await this.#journal?.willWait(delayMs);
    this.#assertGoing(attempt);
    // Armed before anyone is told of it, so that an observer may advance a fake clock.
    const waiting = sleep(delayMs, this.#guard);
    if (isRetry) tell(this.#plan, { ...eventOf('retry', this.#plan, attempt, this.#journal), delayMs, error });
    try {
      await waiting;
    } catch {
      this.#assertGoing(attempt);
    }
    this.#totalDelayMs += delayMs;
    await this.#journal?.waited();
    this.#assertGoing(attempt);
  }

  /** The end of the run: tells it, notes it beside the error, and returns what is to be thrown. */
  over(stopReason: StopReason, error: unknown, attempt: number, retryAfterMs?: number): unknown {
    setRetryInfo(error, {
      attempts: attempt - this.#first + 1,
      totalDelayMs: this.#totalDelayMs,
      stopReason,
      errors: [...this.#errors],
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
    tell(this.#plan, { ...eventOf('give-up', this.#plan, attempt, this.#journal), stopReason, error });
    return error;
  }

  /** A run that was stopped from outside ends with that reason, whatever its attempt made of it. */
  #assertGoing(attempt: number): void {
    const stopped = this.#guard?.stopped;
    if (stopped !== undefined) throw this.over(stopped.reason, stopped.error, attempt);
  }

  async #ask(shouldRetry: NonNullable<Plan['shouldRetry']>, thrown: unknown, attempt: number) {
    try {
      return await shouldRetry(thrown, { attempt, maxAttempts: this.#plan.config.maxAttempts });
    } catch (error) {
      if (error instanceof Error && error.cause === undefined && Object.isExtensible(error)) {
        Object.defineProperty(error, 'cause', { value: thrown, configurable: true, writable: true });
      }
      throw this.over('non-retryable', error, attempt);
    }
  }

  #backoff(retry: number): number {
    const { config, jitter } = this.#plan;
    const { initialDelayMs, maxDelayMs, exponentialBase } = config;
    if (jitter === 'none') return delayBefore(retry, config);
    const previous = this.#previousMs;
    this.#previousMs = native.jitteredDelay(
      retry,
      initialDelayMs,
      maxDelayMs,
      exponentialBase,
      jitter,
      this.#seed,
      previous,
    );
    return this.#previousMs;
  }
}

const LONGEST_HISTORY = 5;

function eventOf(type: RetryEvent['type'], plan: Plan, attempt: number, journal: Journal | undefined): RetryEvent {
  return {
    type,
    ...(plan.name !== undefined && { name: plan.name }),
    ...(journal !== undefined && { taskId: journal.taskId }),
    attempt,
    maxAttempts: plan.config.maxAttempts,
  };
}
