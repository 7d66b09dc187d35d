import type { AttemptContext } from './attempt.js';
import { isRetryable } from './classify.js';
import { inEveryForm, type AsyncMethod } from './forms.js';
import { runWithRetry } from './loop.js';
import { makePlan, type Plan, type RetryOptions } from './plan.js';
import { invalidArgument } from '../options.js';
import { scheduleOver, type ScheduleOptions } from './plan.js';

/**
 * A function wrapper and a method decorator in one. What comes out keeps `this`, its arguments, its name and its
 * type, and returns a promise always.
 *
 * As a decorator it takes methods that return a promise; wrap a synchronous one as a function instead, since a
 * decorator cannot change the type that callers see.
 *
 * The promise rejects with the very value that the last call threw. See `docs/retry.md` for what is not retried.
 */
export interface Retrier {
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

/**
 * Calls a function until it succeeds: up to 3 times, with full jitter over waits of 1 s and 2 s, unless the options
 * say otherwise. Rejects with the very value that the last call threw; {@link getRetryInfo} tells how it went.
 *
 * @example
 * const user = await retry(({ signal }) => fetchUser(id, { signal }), { maxAttempts: 5, totalTimeoutMs: 10_000 });
 *
 * @throws TypeError or RangeError with a code, synchronously, when an option is unknown or not allowed
 */
export function retry<T>(
  fn: (context: AttemptContext) => T | PromiseLike<T>,
  options?: RetryOptions,
): Promise<Awaited<T>> {
  if (typeof fn !== 'function') throw invalidArgument(TypeError, 'retry', 'fn', fn, 'a function');
  return runWithRetry(options === undefined ? DEFAULT : makePlan('retry', options, {}), fn);
}

const DEFAULT = makePlan('retry', undefined, {});

/**
 * A function that is retried whenever it is called, with `this`, arguments and types kept; see {@link retry}.
 *
 * @example
 * const getUser = withRetry(fetchUser, { maxAttempts: 5 });
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
export function withRetry<This, Args extends unknown[], Result>(
  fn: (this: This, ...args: Args) => Result,
  options?: RetryOptions,
): (this: This, ...args: Args) => Promise<Awaited<Result>> {
  return retrier('withRetry', makePlan('withRetry', options, {}))(fn);
}

/**
 * A method decorator, TC39 or legacy, and a wrapper of functions; see {@link retry}.
 *
 * @example
 * class Users {
 *   @Retry({ maxAttempts: 5 })
 *   async find(id: string) { … }
 * }
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
export function Retry(options?: RetryOptions): Retrier {
  return retrier('Retry', makePlan('Retry', options, {}));
}

/** What retries by one plan. `configure` makes another one of the options that it is called with. */
export function retrier(owner: string, plan: Plan, configure?: (options: RetryOptions) => unknown): Retrier {
  return inEveryForm(
    owner,
    (fn) =>
      function (this: unknown, ...args) {
        return runWithRetry(plan, () => Reflect.apply(fn, this, args));
      },
    configure,
  ) as Retrier;
}

/** What {@link retrySync} takes. */
export type RetrySyncOptions = Omit<ScheduleOptions, 'attemptTimeoutMs'>;

/**
 * The same for a synchronous function, for scripts: it **blocks the thread** while it waits, so that nothing else runs
 * in it. Never call it in a server. No jitter unless given.
 *
 * @example
 * const config = retrySync(() => readFileSync('/mnt/config.json', 'utf8'));
 *
 * @throws what the last call threw; a TypeError (`ERR_REPRISE_INVALID_ARGUMENT`) where the function returns a promise
 */
export function retrySync<T>(fn: (attempt: number) => T, options?: RetrySyncOptions): T {
  if (typeof fn !== 'function') throw invalidArgument(TypeError, 'retrySync', 'fn', fn, 'a function');
  const delays = scheduleOver({ seed: Math.floor(Math.random() * Number.MAX_SAFE_INTEGER) }, options);
  for (let attempt = 1; ; attempt++) {
    let result;
    try {
      result = fn(attempt);
    } catch (thrown) {
      const delay = delays[attempt - 1];
      if (delay === undefined || !isRetryable(thrown)) throw thrown;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delay);
      continue;
    }
    if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
      throw invalidArgument(TypeError, 'retrySync', 'fn', fn, 'a synchronous function; use retry() for this one');
    }
    return result;
  }
}
