import { checkOptions } from '../options.js';
import type { RetryConfigInit } from './config.js';
import { makePlan, planOf, RETRY_RULES, type Plan, type RetryOptions } from './plan.js';
import { retrier, type Retrier } from './retry.js';

/** A {@link Retrier} that, called with options, makes another one: its own numbers, but for what the options say. */
export interface RetryPreset extends Retrier {
  /** With some options of its own; jitter stays `none` unless given. */
  (overrides: RetryOptions): RetryPreset;
}

const QUICK = { maxAttempts: 3, initialDelayMs: 500, maxDelayMs: 5_000 };

/** The plan of {@link retryQuickTask}. */
export const quick = planOf({ ...QUICK, jitter: 'none' });

/** The same, ended by a signal where there is one. */
export function quickUntil(signal: AbortSignal | undefined): Plan {
  return signal === undefined ? quick : planOf({ ...QUICK, jitter: 'none', signal });
}

/**
 * For a task of ordinary weight: 3 calls at most, waits of 1 s and 2 s between them (cap 30 s).
 *
 * @example
 * const search = retryKernelTask(async (query: string) => kernel.search(query));
 *
 * @example
 * class Kernel {
 *   @retryKernelTask
 *   async search(query: string) { … }
 *
 *   @retryKernelTask({ maxAttempts: 5 })
 *   async index(id: string) { … }
 * }
 */
export const retryKernelTask: RetryPreset = preset('retryKernelTask', {
  maxAttempts: 3,
  initialDelayMs: 1_000,
  maxDelayMs: 30_000,
});

/** For a task that must not be given up lightly: 5 calls at most, waits of 2, 4, 8 and 16 s (cap 60 s). */
export const retryCriticalTask: RetryPreset = preset('retryCriticalTask', {
  maxAttempts: 5,
  initialDelayMs: 2_000,
  maxDelayMs: 60_000,
});

/** For a task somebody waits for: 3 calls at most, waits of 0.5 s and 1 s (cap 5 s). */
export const retryQuickTask: RetryPreset = preset('retryQuickTask', QUICK);

function preset(name: string, init: RetryConfigInit, overrides?: RetryOptions): RetryPreset {
  const defaults: RetryOptions = { ...init, jitter: 'none' };
  const plan = makePlan(name, overrides, defaults);
  return retrier(name, plan, (more) =>
    preset(name, init, { ...overrides, ...checkOptions(name, more, RETRY_RULES) }),
  ) as RetryPreset;
}
