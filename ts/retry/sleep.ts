// Node turns a longer timer into one of 1 ms.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Resolves after `ms` milliseconds, at the earliest in a later turn of the event loop, also for 0. A wait beyond
 * 2^31-1 ms is armed in slices. The timer holds the process, since a task depends on it.
 *
 * `setTimeout` is the global one of the moment, so the fake timers of Jest, Vitest and Sinon rule it.
 */
export async function sleep(ms: number): Promise<void> {
  let leftMs = ms;
  do {
    const sliceMs = Math.min(leftMs, LONGEST_TIMER_MS);
    await new Promise<void>((resolve) => {
      setTimeout(resolve, sliceMs);
    });
    leftMs -= sliceMs;
  } while (leftMs > 0);
}
