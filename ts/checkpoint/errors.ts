import { show, type RepriseError } from '../errors.js';

/**
 * Another process runs the task at the moment. Express answers it with 409 and `Retry-After`, as its error handler
 * does with any error that has a `status` and `headers`.
 */
export class TaskInProgressError extends Error implements RepriseError {
  override readonly name = 'TaskInProgressError';
  readonly code = 'ERR_REPRISE_TASK_IN_PROGRESS';
  readonly status = 409;
  readonly expose = true;
  /** Milliseconds that the other process's lease still holds without renewal. */
  readonly retryAfterMs: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(taskId: string, leaseLeftMs: number) {
    super(`task ${show(taskId)} is running in another process; ask again later`);
    this.retryAfterMs = leaseLeftMs;
    this.headers = { 'Retry-After': String(Math.max(1, Math.ceil(leaseLeftMs / 1_000))) };
  }
}

/**
 * This process lost its claim of the task, by a pause longer than the lease: another one may have taken over. Nothing
 * was written over the other's record; what the task did by itself meanwhile is for its `fence` to keep out.
 */
export class CheckpointLostError extends Error implements RepriseError {
  override readonly name = 'CheckpointLostError';
  readonly code = 'ERR_REPRISE_CHECKPOINT_LOST';

  constructor(taskId: string) {
    super(`the claim of task ${show(taskId)} was lost; another process may have taken over`);
  }
}

/** The task was called under this name before, with other arguments. Use another task id. */
export class CheckpointMismatchError extends Error implements RepriseError {
  override readonly name = 'CheckpointMismatchError';
  readonly code = 'ERR_REPRISE_CHECKPOINT_MISMATCH';
  readonly status = 422;

  constructor(taskId: string) {
    super(`task ${show(taskId)} was called before, with other arguments; use another task id`);
  }
}

/** The record of the task cannot be read. It is left as it is, and the task was not run; `cause` says more. */
export class CheckpointCorruptError extends Error implements RepriseError {
  override readonly name = 'CheckpointCorruptError';
  readonly code = 'ERR_REPRISE_CHECKPOINT_CORRUPT';

  constructor(taskId: string, cause: unknown) {
    super(`the record of task ${show(taskId)} cannot be read, so the task was not run; see cause`, { cause });
  }
}

/** What was to be saved is larger than `maxStateBytes`. Nothing was written; what was saved before is still there. */
export class CheckpointTooLargeError extends Error implements RepriseError {
  override readonly name = 'CheckpointTooLargeError';
  readonly code = 'ERR_REPRISE_CHECKPOINT_TOO_LARGE';

  constructor(taskId: string, bytes: number, most: number) {
    super(`the record of task ${show(taskId)} would have ${bytes} bytes; allowed: ${most} (maxStateBytes)`);
  }
}

/** An attempt that nobody waits for any more (it timed out, or its run is over) tried to save something. */
export class StaleAttemptError extends Error implements RepriseError {
  override readonly name = 'StaleAttemptError';
  readonly code = 'ERR_REPRISE_ATTEMPT_STALE';

  constructor(taskId: string, attempt: number) {
    super(`attempt ${attempt} of task ${show(taskId)} is over; it cannot save anything any more`);
  }
}

/**
 * A process died in the middle of an attempt, and the task is not to be run again for that: with `at-most-once`, or
 * since it was the last attempt. Its effects may or may not have happened. The next call starts anew.
 */
export class InterruptedAttemptError extends Error implements RepriseError {
  override readonly name = 'InterruptedAttemptError';
  readonly code = 'ERR_REPRISE_ATTEMPT_INTERRUPTED';

  constructor(taskId: string, attempt: number) {
    super(`attempt ${attempt} of task ${show(taskId)} was interrupted; its effects may or may not have happened`);
  }
}

/** The process is about to end, and the task was stopped or not begun. It resumes wherever it is called next. */
export class DrainedError extends Error implements RepriseError {
  override readonly name = 'DrainedError';
  readonly code = 'ERR_REPRISE_DRAINED';
  readonly status = 503;
  readonly expose = true;
  readonly headers: Readonly<Record<string, string>> = { 'Retry-After': '1' };

  constructor(taskId: string) {
    super(`task ${show(taskId)} was stopped, since this process is about to end; it resumes when it is called again`);
  }
}
