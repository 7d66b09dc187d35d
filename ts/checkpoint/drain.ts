import { checkOptions, numberBetween } from '../options.js';
import { DrainedError } from './errors.js';
import type { TaskRun } from './run.js';

/** What {@link drain} did. */
export interface DrainReport {
  /** Tasks that came to their own end. */
  readonly finished: number;
  /** Tasks that were stopped; they resume when they are called again. */
  readonly stopped: number;
}

/** The tasks of this process: a process ends once, whoever started what runs in it. */
const running = new Map<TaskRun, Promise<unknown>>();
let draining = 0;

/**
 * For SIGTERM: brings the tasks that have a store to a good end before the process does. Waits between attempts end
 * at once, attempts may finish until the time is over, what they saved is written and every claim is released, so that
 * another process goes on where this one stopped. Calls that come meanwhile are refused with `DrainedError` (503).
 *
 * @example
 * process.once('SIGTERM', async () => {
 *   server.close();
 *   await drain({ timeoutMs: 10_000 });
 *   process.exit();
 * });
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
export async function drain(options: { timeoutMs?: number | undefined } = {}): Promise<DrainReport> {
  checkOptions<{ timeoutMs?: number | undefined }>('drain', options, {
    timeoutMs: numberBetween(0, 2 ** 31 - 1, 'milliseconds'),
  });
  draining++;
  const runs = [...running];
  for (const [run] of runs) run.drain();
  const timer = setTimeout(() => {
    for (const [run] of runs) run.stopNow();
  }, options.timeoutMs ?? 10_000);
  try {
    const outcomes = await Promise.allSettled(runs.map(([, ended]) => ended));
    const stopped = outcomes.filter((end) => end.status === 'rejected' && end.reason instanceof DrainedError).length;
    return { finished: outcomes.length - stopped, stopped };
  } finally {
    clearTimeout(timer);
    draining--;
  }
}

/** Notes a run until it has ended; refuses it while the process drains. */
export async function tracked<T>(run: TaskRun, work: () => Promise<T>): Promise<T> {
  if (draining > 0) run.drain();
  const ended = work();
  running.set(run, ended);
  try {
    return await ended;
  } finally {
    running.delete(run);
  }
}
