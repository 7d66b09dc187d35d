import { isRetryable } from './classify.js';
import { delayBefore, type RetryConfig } from './config.js';
import { sleep } from './sleep.js';

/**
 * Calls `run` until it succeeds, fails for good, or has been called `maxAttempts` times; `attempt` counts from 1.
 * Rejects with the very value that the last call threw. A call that succeeds at once costs no crossing and no timer.
 */
export async function runWithRetry<T>(
  config: RetryConfig,
  run: (attempt: number) => T | PromiseLike<T>,
): Promise<Awaited<T>> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run(attempt);
    } catch (thrown) {
      if (attempt >= config.maxAttempts || !isRetryable(thrown)) throw thrown;
    }
    await sleep(delayBefore(attempt - 1, config));
  }
}
