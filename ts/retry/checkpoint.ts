import { withCode } from '../errors.js';
import { aFunction, checkOptions, invalidArgument, type OptionRules } from '../options.js';
import { RetryConfig, type RetryConfigInit } from './config.js';
import { planOf } from './plan.js';
import { CheckpointLoadError, CheckpointSaveError } from './errors.js';
import { inEveryForm } from './forms.js';
import { runWithRetry } from './loop.js';
import { quick } from './presets.js';

/** What a checkpointed function gets as its last argument; a new one for every attempt. */
export interface CheckpointContext<State = unknown> {
  /** The task, as named by the caller's first argument. */
  readonly taskId: string;
  /** Which call of this run it is, from 1. A new process starts again from 1. */
  readonly attempt: number;
  /** How many calls this run may make in total. */
  readonly maxAttempts: number;
  /** What `checkpointLoader` returned just before this attempt; undefined where there is no checkpoint. */
  readonly checkpointState: State | undefined;
}

/** What {@link retryWithCheckpoint} takes. At least one of the loader and the saver must be there. */
export interface CheckpointOptions<State = unknown, Result = unknown> {
  /** How often and how long; see {@link RetryConfig} for the defaults. */
  readonly config?: RetryConfigInit | undefined;
  /**
   * Returns what was saved for this task, or null or undefined if nothing was. Called before every attempt, the first
   * one included: after a crash, the first attempt of the new process is the retry.
   */
  readonly checkpointLoader?:
    ((taskId: string) => State | null | undefined | PromiseLike<State | null | undefined>) | undefined;
  /** Keeps the result of a task that succeeded. What it returns is awaited and ignored. */
  readonly checkpointSaver?: ((taskId: string, result: Result) => unknown) | undefined;
}

/** What {@link retryWithCheckpoint} returns: a function wrapper and a method decorator in one. */
export interface CheckpointedRetry<State, Result> {
  /** As a legacy decorator (`experimentalDecorators`) of a method, static or not. */
  <Method extends (taskId: string, ...rest: never[]) => Promise<Result>>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<Method>,
  ): TypedPropertyDescriptor<Method>;
  /** As a TC39 decorator of a method: public, private or static. */
  <Method extends (taskId: string, ...rest: never[]) => Promise<Result>>(
    method: Method,
    context: ClassMethodDecoratorContext,
  ): Method;
  /** As a wrapper of a function whose only argument is the task id. */
  <This, TaskResult extends Result>(
    fn: (this: This, taskId: string, context: CheckpointContext<State>) => TaskResult | PromiseLike<TaskResult>,
  ): (this: This, taskId: string) => Promise<TaskResult>;
  /** As a wrapper of a function with more arguments; the context comes after them. */
  <This, Args extends unknown[], TaskResult extends Result>(
    fn: (
      this: This,
      taskId: string,
      ...rest: [...args: Args, context: CheckpointContext<State>]
    ) => TaskResult | PromiseLike<TaskResult>,
  ): (this: This, taskId: string, ...args: Args) => Promise<TaskResult>;
}

const RULES: OptionRules<CheckpointOptions> = {
  config: { allowed: 'an object', type: (value) => typeof value === 'object' && value !== null },
  checkpointLoader: aFunction('(taskId) => state'),
  checkpointSaver: aFunction('(taskId, result) => void'),
};

/**
 * Retry that resumes: the function's first argument names the task, and the context appended after its arguments
 * holds what was saved for that task. On success the result is saved under the task's name.
 *
 * The context comes right after the arguments that the caller passed, whatever the function declares: a parameter
 * before it must always be passed, if need be as `undefined`.
 *
 * A loader or saver that throws is itself retried as {@link retryQuickTask} does. If it still fails, the promise
 * rejects with {@link CheckpointLoadError} (the function is not run) or {@link CheckpointSaveError} (it succeeded and
 * is never run again for that; the error has the result).
 *
 * @example
 * const task = retryWithCheckpoint({
 *   config: new RetryConfig({ maxAttempts: 5, initialDelayMs: 2_000 }),
 *   checkpointLoader: (taskId) => db.getCheckpoint(taskId),
 *   checkpointSaver: (taskId, result: State) => db.saveCheckpoint(taskId, result),
 * })(async (taskId, ctx) => runKernel(ctx.checkpointState ?? initialState(taskId)));
 *
 * await task('search-17');
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
export function retryWithCheckpoint<State = unknown, Result = unknown>(
  options: CheckpointOptions<State, Result>,
): CheckpointedRetry<State, Result> {
  checkOptions<CheckpointOptions<State, Result>>('retryWithCheckpoint', options, RULES);
  // A copy has the own fields only, which are those that were checked.
  const given: CheckpointOptions<State, Result> = { ...options };
  const { checkpointLoader, checkpointSaver } = given;
  const { maxAttempts, initialDelayMs, maxDelayMs, exponentialBase } = new RetryConfig(given.config);
  const plan = planOf({ maxAttempts, initialDelayMs, maxDelayMs, exponentialBase, jitter: 'none' });
  if (checkpointLoader === undefined && checkpointSaver === undefined) {
    throw withCode(
      new TypeError('retryWithCheckpoint: neither option "checkpointLoader" nor "checkpointSaver" is given'),
      'ERR_REPRISE_INVALID_OPTION',
    );
  }

  async function load(taskId: string): Promise<State | undefined> {
    if (checkpointLoader === undefined) return undefined;
    try {
      return (await runWithRetry(quick, () => checkpointLoader(taskId))) ?? undefined;
    } catch (cause) {
      throw new CheckpointLoadError(taskId, cause);
    }
  }

  async function save(taskId: string, result: Result): Promise<void> {
    if (checkpointSaver === undefined) return;
    try {
      await runWithRetry(quick, () => checkpointSaver(taskId, result));
    } catch (cause) {
      throw new CheckpointSaveError(taskId, result, cause);
    }
  }

  async function run(taskId: unknown, call: (context: CheckpointContext<State>) => unknown): Promise<Result> {
    if (typeof taskId !== 'string' || taskId === '') {
      throw invalidArgument(TypeError, 'retryWithCheckpoint', 'taskId', taskId, 'a string that is not empty');
    }
    const result = (await runWithRetry(plan, async ({ attempt }) => {
      const checkpointState = await load(taskId);
      return call({ taskId, attempt, maxAttempts: plan.config.maxAttempts, checkpointState });
    })) as Result;
    await save(taskId, result);
    return result;
  }

  return inEveryForm(
    'retryWithCheckpoint',
    (fn) =>
      function (this: unknown, ...args) {
        return run(args[0], (context) => Reflect.apply(fn, this, [...args, context]));
      },
  ) as CheckpointedRetry<State, Result>;
}
