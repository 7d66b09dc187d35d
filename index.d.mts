/* auto-generated from ts/ by `npm run build:ts`; do not edit */
/**
 * Every code that reprise puts on an error. A code never changes its meaning; `docs/errors/<code>.md` explains each.
 */
type RepriseErrorCode = 'ERR_REPRISE_INVALID_OPTION' | 'ERR_REPRISE_UNKNOWN_OPTION' | 'ERR_REPRISE_INVALID_ENVIRONMENT' | 'ERR_REPRISE_INVALID_ARGUMENT' | 'ERR_REPRISE_NATIVE_UNAVAILABLE' | 'ERR_REPRISE_STORE_CLOSED' | 'ERR_REPRISE_STORE_FULL' | 'ERR_REPRISE_STORE_TIMEOUT' | 'ERR_REPRISE_CHECKPOINT_LOAD' | 'ERR_REPRISE_CHECKPOINT_SAVE';
/** What every error thrown by reprise carries besides its message. */
interface RepriseError extends Error {
    /** Stable, for programs. */
    readonly code: RepriseErrorCode;
}

/** A {@link RetryConfig} as it is passed in: every field may be left out. */
type RetryConfigInit = {
    readonly [Name in keyof RetryConfig]?: RetryConfig[Name] | undefined;
};
/**
 * How often to try and how long to wait in between. A plain object of the same shape does wherever one is accepted;
 * the class is for those who want it checked, complete and frozen where it is written.
 *
 * @example
 * const patient = new RetryConfig({ maxAttempts: 5, initialDelayMs: 2_000 });
 *
 * @throws TypeError or RangeError with a code, when a field is unknown, of the wrong type or out of range, or when
 * `maxDelayMs` is below `initialDelayMs`
 */
declare class RetryConfig {
    /** Calls in total, the first one included: a whole number from 1 to 1 000 000. Default 3. */
    readonly maxAttempts: number;
    /** The wait before the second call, in milliseconds. 0 still yields one turn of the event loop. Default 1 000. */
    readonly initialDelayMs: number;
    /** No wait is longer than this, in milliseconds; at least `initialDelayMs`. Default 30 000. */
    readonly maxDelayMs: number;
    /** What the wait is multiplied by from one retry to the next; at least 1, which keeps it constant. Default 2. */
    readonly exponentialBase: number;
    constructor(init?: RetryConfigInit);
}
/**
 * The delay in milliseconds before retry number `attempt`, where 0 is the first retry (the second call):
 * `min(initialDelayMs · exponentialBase^attempt, maxDelayMs)`. Pure; computed in Rust by repeated multiplication, so
 * it cannot overflow and is the same to the last bit on every platform.
 *
 * @example
 * [0, 1, 2, 3, 4, 5].map((attempt) => computeDelay(attempt)); // [1000, 2000, 4000, 8000, 16000, 30000]
 *
 * @throws TypeError or RangeError with a code, when `attempt` is no whole number from 0 to 1 000 000, or when the
 * config is refused by {@link RetryConfig}
 */
declare function computeDelay(attempt: number, config?: RetryConfigInit): number;

/** What a checkpointed function gets as its last argument; a new one for every attempt. */
interface CheckpointContext<State = unknown> {
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
interface CheckpointOptions<State = unknown, Result = unknown> {
    /** How often and how long; see {@link RetryConfig} for the defaults. */
    readonly config?: RetryConfigInit | undefined;
    /**
     * Returns what was saved for this task, or null or undefined if nothing was. Called before every attempt, the first
     * one included: after a crash, the first attempt of the new process is the retry.
     */
    readonly checkpointLoader?: ((taskId: string) => State | null | undefined | PromiseLike<State | null | undefined>) | undefined;
    /** Keeps the result of a task that succeeded. What it returns is awaited and ignored. */
    readonly checkpointSaver?: ((taskId: string, result: Result) => unknown) | undefined;
}
/** What {@link retryWithCheckpoint} returns: a function wrapper and a method decorator in one. */
interface CheckpointedRetry<State, Result> {
    /** As a legacy decorator (`experimentalDecorators`) of a method, static or not. */
    <Method extends (taskId: string, ...rest: never[]) => Promise<Result>>(target: object, name: string | symbol, descriptor: TypedPropertyDescriptor<Method>): TypedPropertyDescriptor<Method>;
    /** As a TC39 decorator of a method: public, private or static. */
    <Method extends (taskId: string, ...rest: never[]) => Promise<Result>>(method: Method, context: ClassMethodDecoratorContext): Method;
    /** As a wrapper of a function whose only argument is the task id. */
    <This, TaskResult extends Result>(fn: (this: This, taskId: string, context: CheckpointContext<State>) => TaskResult | PromiseLike<TaskResult>): (this: This, taskId: string) => Promise<TaskResult>;
    /** As a wrapper of a function with more arguments; the context comes after them. */
    <This, Args extends unknown[], TaskResult extends Result>(fn: (this: This, taskId: string, ...rest: [...args: Args, context: CheckpointContext<State>]) => TaskResult | PromiseLike<TaskResult>): (this: This, taskId: string, ...args: Args) => Promise<TaskResult>;
}
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
declare function retryWithCheckpoint<State = unknown, Result = unknown>(options: CheckpointOptions<State, Result>): CheckpointedRetry<State, Result>;

/**
 * The task was not run, because its checkpoint could not be loaded: running it from the start could repeat what an
 * earlier run has done. `cause` is what the loader threw last. Calling the task again is safe.
 */
declare class CheckpointLoadError extends Error implements RepriseError {
    readonly name = "CheckpointLoadError";
    readonly code = "ERR_REPRISE_CHECKPOINT_LOAD";
    /** The task whose checkpoint it is. */
    readonly taskId: string;
    constructor(taskId: string, cause: unknown);
}
/**
 * The task succeeded, but its result could not be saved. It is in `result`: save it by other means; calling the task
 * again would run it again. `cause` is what the saver threw last. No retry of reprise repeats a task over this error.
 */
declare class CheckpointSaveError extends Error implements RepriseError {
    readonly name = "CheckpointSaveError";
    readonly code = "ERR_REPRISE_CHECKPOINT_SAVE";
    /** The task that succeeded. */
    readonly taskId: string;
    /** What the task returned. Not enumerable, so that loggers do not print it. */
    readonly result: unknown;
    constructor(taskId: string, result: unknown, cause: unknown);
}

/** A method that a decorator may wrap: it returns a promise already, since a decorator cannot change its type. */
type AsyncMethod = (...args: never[]) => Promise<unknown>;

/**
 * A function wrapper and a method decorator in one. What comes out keeps `this`, its arguments, its name and its
 * type, and returns a promise always.
 *
 * As a decorator it takes methods that return a promise; wrap a synchronous one as a function instead, since a
 * decorator cannot change the type that callers see.
 *
 * The promise rejects with the very value that the last call threw. See `docs/retry.md` for what is not retried.
 */
interface RetryPreset {
    /** As a legacy decorator (`experimentalDecorators`) of a method, static or not. */
    <Method extends AsyncMethod>(target: object, name: string | symbol, descriptor: TypedPropertyDescriptor<Method>): TypedPropertyDescriptor<Method>;
    /** As a TC39 decorator of a method: public, private or static. */
    <Method extends AsyncMethod>(method: Method, context: ClassMethodDecoratorContext): Method;
    /** As a wrapper of a function, synchronous or not. */
    <This, Args extends unknown[], Result>(fn: (this: This, ...args: Args) => Result): (this: This, ...args: Args) => Promise<Awaited<Result>>;
}
/**
 * For a task of ordinary weight: 3 calls at most, waits of 1 s and 2 s between them (cap 30 s).
 *
 * @example
 * const search = retryKernelTask(async (query: string) => kernel.search(query));
 *
 * @example
 * class Kernel {
 *   @retryKernelTask
 *   async search(query: string) { … }
 * }
 */
declare const retryKernelTask: RetryPreset;
/** For a task that must not be given up lightly: 5 calls at most, waits of 2, 4, 8 and 16 s (cap 60 s). */
declare const retryCriticalTask: RetryPreset;
/** For a task somebody waits for: 3 calls at most, waits of 0.5 s and 1 s (cap 5 s). */
declare const retryQuickTask: RetryPreset;

export { CheckpointLoadError, CheckpointSaveError, RetryConfig, computeDelay, retryCriticalTask, retryKernelTask, retryQuickTask, retryWithCheckpoint };
export type { CheckpointContext, CheckpointOptions, CheckpointedRetry, RepriseError, RepriseErrorCode, RetryConfigInit, RetryPreset };
