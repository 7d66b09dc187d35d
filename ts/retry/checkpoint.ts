import { passes } from '../checkpoint/boundary.js';
import { runTask } from '../checkpoint/claims.js';
import type { TaskContext } from '../checkpoint/context.js';
import { withCode } from '../errors.js';
import {
  aFunction,
  checkOptions,
  invalidArgument,
  invalidOption,
  numberBetween,
  oneOf,
  wholeNumberBetween,
  type OptionRules,
} from '../options.js';
import { isAtomicStore, type AtomicStore } from '../stores/contract.js';
import { isOfOneThread } from '../stores/memory.js';
import type { Attempt } from './attempt.js';
import { RetryConfig, type RetryConfigInit } from './config.js';
import { planOf, RUN_RULES, type RunOptions } from './plan.js';
import { CheckpointLoadError, CheckpointSaveError } from './errors.js';
import { inEveryForm } from './forms.js';
import { runWithRetry } from './loop.js';
import { quick } from './presets.js';
import { Warnings } from '../warnings.js';

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
  /** Aborts when nobody waits for this attempt any more: the caller's signal, or a timeout. */
  readonly signal: AbortSignal;
}

/** What {@link retryWithCheckpoint} takes with callbacks of your own. At least one of the loader and the saver must be there. */
export interface CheckpointOptions<State = unknown, Result = unknown> extends RunOptions {
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

/** What of a task kept in a store may be chosen. */
export interface TaskOptions {
  /**
   * `at-least-once` (default): an attempt in which the process died is made again. `at-most-once`: it counts as
   * failed, with `InterruptedAttemptError`, which `shouldRetry` may allow.
   */
  readonly semantics?: 'at-least-once' | 'at-most-once' | undefined;
  /** Bytes that the record of a task may have. Default 262 144. */
  readonly maxStateBytes?: number | undefined;
  /** Milliseconds between two writes of `ctx.heartbeat`. Default 5 000. */
  readonly heartbeatIntervalMs?: number | undefined;
  /** Milliseconds that the store may take over one step; later it has failed. Default 5 000. */
  readonly storeTimeoutMs?: number | undefined;
}

/** What {@link retryWithCheckpoint} takes with a store. */
export interface StoredCheckpointOptions extends RunOptions, TaskOptions {
  /** How often and how long; see {@link RetryConfig} for the defaults. */
  readonly config?: RetryConfigInit | undefined;
  /** Where the records are: any store that holds the full contract, the one of `idempotencyMiddleware` too. */
  readonly store: AtomicStore;
  /** Tells the tasks of this function from others in the store. It must stay the same from one release to the next. */
  readonly name: string;
  /** Milliseconds that a claim holds without renewal: after a crash, how long until another process may go on. 30 000. */
  readonly leaseMs?: number | undefined;
  /** Seconds that a result, or the progress of a task that was given up, is kept. Default 86 400. */
  readonly ttl?: number | undefined;
}

/** The rules of {@link TaskOptions}. */
export const TASK_RULES: OptionRules<TaskOptions> = {
  semantics: oneOf('at-least-once', 'at-most-once'),
  maxStateBytes: wholeNumberBetween(1_024, 2 ** 30, 'bytes'),
  heartbeatIntervalMs: numberBetween(1, 2 ** 31 - 1, 'milliseconds'),
  storeTimeoutMs: numberBetween(1, 2 ** 31 - 1, 'milliseconds'),
};

/** {@link TaskOptions}, complete. */
export function taskSettings({ semantics, maxStateBytes, heartbeatIntervalMs, storeTimeoutMs }: TaskOptions) {
  return {
    semantics: semantics ?? 'at-least-once',
    maxStateBytes: maxStateBytes ?? 262_144,
    heartbeatIntervalMs: heartbeatIntervalMs ?? 5_000,
    storeTimeoutMs: storeTimeoutMs ?? 5_000,
  } as const;
}

/** What {@link retryWithCheckpoint} returns: a function wrapper and a method decorator in one. */
export interface CheckpointedRetry<State, Result, Context = CheckpointContext<State>> {
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
    fn: (this: This, taskId: string, context: Context) => TaskResult | PromiseLike<TaskResult>,
  ): (this: This, taskId: string) => Promise<TaskResult>;
  /** As a wrapper of a function with more arguments; the context comes after them. */
  <This, Args extends unknown[], TaskResult extends Result>(
    fn: (
      this: This,
      taskId: string,
      ...rest: [...args: Args, context: Context]
    ) => TaskResult | PromiseLike<TaskResult>,
  ): (this: This, taskId: string, ...args: Args) => Promise<TaskResult>;
}

const anObject = { allowed: 'an object', type: (value: unknown) => typeof value === 'object' && value !== null };

const RULES: OptionRules<CheckpointOptions> = {
  ...RUN_RULES,
  config: anObject,
  checkpointLoader: aFunction('(taskId) => state'),
  checkpointSaver: aFunction('(taskId, result) => void'),
};

const STORED_RULES: OptionRules<StoredCheckpointOptions> = {
  ...RUN_RULES,
  ...TASK_RULES,
  config: anObject,
  store: { allowed: 'a store that holds the full contract, as MemoryStore does', type: isAtomicStore },
  leaseMs: numberBetween(100, 2 ** 31 - 1, 'milliseconds'),
  ttl: numberBetween(1, Number.MAX_SAFE_INTEGER, 'seconds'),
};

/**
 * Retry that resumes: the function's first argument names the task, and the context appended after its arguments
 * holds what was saved for that task. On success the result is saved under the task's name.
 *
 * With `store` it does more: one process runs a task at a time (two calls in one process are one), attempts and waits
 * outlive the process, progress can be saved in the middle of an attempt, and a task that succeeded returns its result
 * without running again until `ttl` is over. See {@link TaskContext}.
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
export function retryWithCheckpoint<State = unknown>(
  options: StoredCheckpointOptions,
): CheckpointedRetry<State, unknown, TaskContext<State>>;
export function retryWithCheckpoint<State = unknown, Result = unknown>(
  options: CheckpointOptions<State, Result>,
): CheckpointedRetry<State, Result>;
export function retryWithCheckpoint(options: CheckpointOptions | StoredCheckpointOptions): unknown {
  const isStored = typeof options === 'object' && (options as unknown) !== null && 'store' in options;
  const run = isStored ? storedRun(options) : bareRun(options);
  return inEveryForm(
    'retryWithCheckpoint',
    (fn) =>
      function (this: unknown, ...args) {
        return run(args, (context) => Reflect.apply(fn, this, [...args, context]));
      },
  );
}

type Run = (args: readonly unknown[], call: (context: unknown) => unknown) => Promise<unknown>;

function assertTaskId(taskId: unknown): asserts taskId is string {
  if (typeof taskId === 'string' && taskId !== '') return;
  throw invalidArgument(TypeError, 'retryWithCheckpoint', 'taskId', taskId, 'a string that is not empty');
}

function planFor(given: RunOptions & { readonly config?: RetryConfigInit | undefined }) {
  const { maxAttempts, initialDelayMs, maxDelayMs, exponentialBase } = new RetryConfig(given.config);
  const config = { maxAttempts, initialDelayMs, maxDelayMs, exponentialBase };
  return planOf({ ...given, ...config, jitter: given.jitter ?? 'none' });
}

function storedRun(options: StoredCheckpointOptions): Run {
  const given = checkOptions<StoredCheckpointOptions>('retryWithCheckpoint', options, STORED_RULES);
  for (const [option, { allowed }] of [['store', STORED_RULES.store] as const, ['name', STORED_RULES.name] as const]) {
    if ((given[option] as unknown) === undefined) {
      throw invalidOption(TypeError, 'retryWithCheckpoint', option, undefined, allowed);
    }
  }
  const plan = planFor(given);
  const { store, name, leaseMs = 30_000, ttl = 86_400 } = given;
  const settings = { ...taskSettings(given), store, name, leaseMs, ttl };
  if (isOfOneThread(store)) new Warnings([], undefined).warn('WRN_REPRISE_MEMORY_STORE_IN_THREAD');
  return async ([taskId, ...args], call) => {
    assertTaskId(taskId);
    return runTask(settings, plan, taskId, args, call);
  };
}

function bareRun<State, Result>(options: CheckpointOptions<State, Result> = {}): Run {
  const given = checkOptions<CheckpointOptions<State, Result>>('retryWithCheckpoint', options, RULES);
  const { checkpointLoader, checkpointSaver } = given;
  const plan = planFor(given);
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

  async function save(taskId: string, result: Result, attempt: number): Promise<void> {
    if (checkpointSaver === undefined) return;
    passes('before-save', taskId, attempt);
    try {
      await runWithRetry(quick, () => {
        const writing = checkpointSaver(taskId, result);
        passes('during-save', taskId, attempt);
        return writing;
      });
    } catch (cause) {
      throw new CheckpointSaveError(taskId, result, cause);
    }
  }

  return async ([taskId], call) => {
    assertTaskId(taskId);
    let last = 0;
    const result = (await runWithRetry(plan, async (attempt) => {
      const checkpointState = await load(taskId);
      last = attempt.attempt;
      passes('before-work', taskId, last);
      return call(new BareContext(taskId, attempt, checkpointState));
    })) as Result;
    await save(taskId, result, last);
    return result;
  };
}

/** Its signal is not its own: it would be made for every attempt, wanted or not. */
class BareContext<State> implements CheckpointContext<State> {
  readonly taskId: string;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly checkpointState: State | undefined;
  readonly #attempt: Attempt;

  constructor(taskId: string, attempt: Attempt, checkpointState: State | undefined) {
    this.taskId = taskId;
    this.attempt = attempt.attempt;
    this.maxAttempts = attempt.maxAttempts;
    this.checkpointState = checkpointState;
    this.#attempt = attempt;
  }

  get signal(): AbortSignal {
    return this.#attempt.signal;
  }
}
