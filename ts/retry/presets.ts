import { RetryConfig, type RetryConfigInit } from './config.js';
import { inEveryForm, type AsyncMethod } from './forms.js';
import { runWithRetry } from './loop.js';

/**
 * A function wrapper and a method decorator in one. What comes out keeps `this`, its arguments, its name and its
 * type, and returns a promise always.
 *
 * As a decorator it takes methods that return a promise; wrap a synchronous one as a function instead, since a
 * decorator cannot change the type that callers see.
 *
 * The promise rejects with the very value that the last call threw. See `docs/retry.md` for what is not retried.
 */
export interface RetryPreset {
  /** As a legacy decorator (`experimentalDecorators`) of a method, static or not. */
  <Method extends AsyncMethod>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<Method>,
  ): TypedPropertyDescriptor<Method>;
  /** As a TC39 decorator of a method: public, private or static. */
  <Method extends AsyncMethod>(method: Method, context: ClassMethodDecoratorContext): Method;
  /** As a wrapper of a function, synchronous or not. */
  <This, Args extends unknown[], Result>(
    fn: (this: This, ...args: Args) => Result,
  ): (this: This, ...args: Args) => Promise<Awaited<Result>>;
}

/** The numbers of {@link retryQuickTask}. */
export const quick = new RetryConfig({ maxAttempts: 3, initialDelayMs: 500, maxDelayMs: 5_000 });

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
export const retryQuickTask: RetryPreset = preset('retryQuickTask', quick);

function preset(name: string, init: RetryConfigInit): RetryPreset {
  const config = new RetryConfig(init);
  return inEveryForm(
    name,
    (fn) =>
      function (this: unknown, ...args) {
        return runWithRetry(config, () => Reflect.apply(fn, this, args));
      },
  ) as RetryPreset;
}
