import { withCode } from './errors.js';

/** The promise's result, or an error with code `ERR_REPRISE_STORE_TIMEOUT` after `ms` milliseconds. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(timeoutError(ms));
    }, ms);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The result of a step that runs a function of somebody else's in its middle: what comes before the function, and what
 * comes after it, may each take `ms` milliseconds; the function takes as long as it takes. Called after the time is
 * over, the function does not run: the step is told the error that its caller has been told.
 */
export async function withinAround<T>(
  ms: number,
  step: (inside: <R>(run: () => Promise<R>) => Promise<R>) => Promise<T>,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;
  const inTime = (): boolean => !isOver;
  try {
    return await new Promise<T>((resolve, reject) => {
      const arm = (): void => {
        timer = setTimeout(() => {
          isOver = true;
          reject(timeoutError(ms));
        }, ms);
      };
      arm();
      step(async (run) => {
        if (!inTime()) throw timeoutError(ms);
        clearTimeout(timer);
        try {
          return await run();
        } finally {
          // A step may end before its function does, where the connection breaks.
          if (inTime()) arm();
        }
      }).then(resolve, reject);
    });
  } finally {
    isOver = true;
    clearTimeout(timer);
  }
}

function timeoutError(ms: number): Error {
  return withCode(new Error(`The store did not answer within ${ms} ms (storeTimeoutMs)`), 'ERR_REPRISE_STORE_TIMEOUT');
}
