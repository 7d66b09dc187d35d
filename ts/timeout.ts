import { withCode } from './errors.js';

/** The promise's result, or an error with code `ERR_REPRISE_STORE_TIMEOUT` after `ms` milliseconds. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        withCode(new Error(`The store did not answer within ${ms} ms (storeTimeoutMs)`), 'ERR_REPRISE_STORE_TIMEOUT'),
      );
    }, ms);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
