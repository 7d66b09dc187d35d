import { vi } from 'vitest';

/** A task that fails `failures` times with a retryable error, then returns `result`; `times` are the calls' clock times. */
export function flaky<T>(failures: number, result: T) {
  const times: number[] = [];
  const errors: Error[] = [];
  const start = Date.now();
  const task = vi.fn((): Promise<T> => {
    times.push(Date.now() - start);
    if (times.length > failures) return Promise.resolve(result);
    const error = new Error(`failure ${times.length}`);
    errors.push(error);
    return Promise.reject(error);
  });
  return { task, times, errors };
}

/** Lets the fake clock run until the promise has settled, and says how; never rejects. */
export async function settled<T>(promise: Promise<T>): Promise<PromiseSettledResult<T>> {
  const outcome = Promise.allSettled([promise]);
  await vi.runAllTimersAsync();
  const [result] = await outcome;
  return result;
}

/** What a promise rejected with, whatever it is; fails the test if it did not reject. */
export async function thrownBy(promise: Promise<unknown>): Promise<unknown> {
  const result = await settled(promise);
  if (result.status === 'fulfilled') throw new Error('it was expected to reject');
  return result.reason;
}
