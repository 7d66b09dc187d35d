import { show, type RepriseError } from '../errors.js';
import { FINAL } from './classify.js';

/**
 * An error that no retry of reprise repeats a call over, wherever it was thrown and whatever it is the cause of.
 *
 * @example
 * throw new NonRetryableError('the card is declined', { cause: error });
 */
export class NonRetryableError extends Error {
  override name = 'NonRetryableError';

  static {
    Object.defineProperty(this.prototype, FINAL, { value: true });
  }
}

/** One attempt took longer than `attemptTimeoutMs`. It is retried as any failure. */
export class AttemptTimeoutError extends Error implements RepriseError {
  override readonly name = 'AttemptTimeoutError';
  readonly code = 'ERR_REPRISE_ATTEMPT_TIMEOUT';

  constructor(timeoutMs: number) {
    super(`the attempt did not end within ${timeoutMs} ms (attemptTimeoutMs)`);
  }
}

/** All attempts and waits together took longer than `totalTimeoutMs`. `cause` is what failed last, if anything did. */
export class RetryTimeoutError extends Error implements RepriseError {
  override readonly name = 'RetryTimeoutError';
  readonly code = 'ERR_REPRISE_RETRY_TIMEOUT';

  constructor(timeoutMs: number, options: { cause?: unknown }) {
    super(`it did not succeed within ${timeoutMs} ms (totalTimeoutMs)`, options);
  }
}

/**
 * The task was not run, because its checkpoint could not be loaded: running it from the start could repeat what an
 * earlier run has done. `cause` is what the loader threw last. Calling the task again is safe.
 */
export class CheckpointLoadError extends Error implements RepriseError {
  override readonly name = 'CheckpointLoadError';
  readonly code = 'ERR_REPRISE_CHECKPOINT_LOAD';
  /** The task whose checkpoint it is. */
  readonly taskId: string;

  constructor(taskId: string, cause: unknown) {
    super(`the checkpoint of task ${show(taskId)} could not be loaded, so the task was not run; see cause`, { cause });
    this.taskId = taskId;
  }
}

/**
 * The task succeeded, but its result could not be saved. It is in `result`: save it by other means; calling the task
 * again would run it again. `cause` is what the saver threw last. No retry of reprise repeats a task over this error.
 */
export class CheckpointSaveError extends Error implements RepriseError {
  override readonly name = 'CheckpointSaveError';
  readonly code = 'ERR_REPRISE_CHECKPOINT_SAVE';
  /** The task that succeeded. */
  readonly taskId: string;
  /** What the task returned. Not enumerable, so that loggers do not print it. */
  declare readonly result: unknown;

  constructor(taskId: string, result: unknown, cause: unknown) {
    super(`task ${show(taskId)} succeeded, but its result could not be saved; see cause, and result for the result`, {
      cause,
    });
    this.taskId = taskId;
    Object.defineProperty(this, 'result', { value: result });
  }
}
