// Node turns a longer timer into one of 1 ms.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What can end a wait before its time: it is handed what to call then, with the reason. */
export interface Interrupter {
  interrupt: ((reason: unknown) => void) | undefined;
}

/**
 * Resolves after `ms` milliseconds, at the earliest in a later turn of the event loop, also for 0; rejects at once
 * when it is interrupted, and leaves no timer behind. A wait beyond 2^31-1 ms is armed in slices. The timer holds the
 * process, since a task depends on it.
 *
 * `setTimeout`, and for 0 `setImmediate`, are the global ones of the moment, so the fake timers of Jest, Vitest and
 * Sinon rule them.
 */
export function sleep(ms: number, interrupter?: Interrupter): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    let leftMs = ms;
    let timer: NodeJS.Timeout | undefined;
    let turn: NodeJS.Immediate | undefined;
    const arm = () => {
      const sliceMs = Math.min(leftMs, LONGEST_TIMER_MS);
      leftMs -= sliceMs;
      timer = setTimeout(leftMs > 0 ? arm : end, sliceMs);
    };
    const end = () => {
      if (interrupter) interrupter.interrupt = undefined;
      resolve();
    };
    if (interrupter) {
      interrupter.interrupt = (reason) => {
        if (turn === undefined) clearTimeout(timer);
        else clearImmediate(turn);
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the caller's own reason
        reject(reason);
      };
    }
    // A timer of 0 ms is one of 1 ms to Node, a thousand times a turn.
    if (ms === 0) turn = setImmediate(end);
    else arm();
  });
}
