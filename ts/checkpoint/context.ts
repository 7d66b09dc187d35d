import type { Attempt } from '../retry/attempt.js';
import type { TaskRun } from './run.js';

/** What a task whose record is in a store gets as its last argument; a new one for every attempt. */
export class TaskContext<State = unknown> {
  /** The task, as named by the caller's first argument. */
  readonly taskId: string;
  /** Which call it is, from 1; calls that an earlier process made count. */
  readonly attempt: number;
  /** How many calls there may be in total. */
  readonly maxAttempts: number;
  /** What was saved last, as it is read back from JSON; undefined where there is no checkpoint. */
  readonly checkpointState: State | undefined;
  readonly #run: TaskRun;
  readonly #attempt: Attempt;
  readonly #steps = new Set<string>();

  /** @internal */
  constructor(run: TaskRun, attempt: Attempt, state: unknown) {
    this.taskId = run.taskId;
    this.attempt = attempt.attempt;
    this.maxAttempts = attempt.maxAttempts;
    this.checkpointState = state as State | undefined;
    this.#run = run;
    this.#attempt = attempt;
  }

  /** Aborts when nobody waits for this attempt any more: the caller's signal, a timeout, or a claim that was lost. */
  get signal(): AbortSignal {
    return this.#attempt.signal;
  }

  /** What the call before this one threw; undefined in the first of this process. */
  get lastError(): unknown {
    return this.#attempt.lastError;
  }

  /** Milliseconds left of `totalTimeoutMs`; Infinity without one. */
  get remainingMs(): number {
    return this.#attempt.remainingMs;
  }

  /**
   * Grows with every process that takes the task over. Written next to your own rows (`WHERE fence <= ?`), it keeps
   * out a process that was taken for dead and comes back.
   */
  get fence(): number {
    return this.#run.fence;
  }

  /**
   * Saves how far the task has come, for the attempt after a failure or a crash. JSON; taken when it is called, and
   * kept once the promise resolves.
   *
   * @throws StaleAttemptError after the attempt; CheckpointTooLargeError; CheckpointLostError; what the store throws
   */
  saveCheckpoint(state: State): Promise<void> {
    return this.#run.save(this, state);
  }

  /**
   * The same for what may be written late: at most once in `heartbeatIntervalMs`, and always when the attempt dies by
   * an error, a timeout or an abort. A crash may lose the last one.
   *
   * @throws StaleAttemptError after the attempt; a TypeError for what is no JSON
   */
  heartbeat(state: State): void {
    this.#run.beat(this, state);
  }

  /**
   * Does something once: its result is saved under this name, and later attempts, also in other processes, get the
   * result instead. Each step of a task has a name of its own. The result is what JSON makes of it, the first time
   * too. A crash between the effect and the save repeats it, so give {@link derive}'s key to whom you call.
   *
   * @example
   * const charge = await ctx.step('charge', () => stripe.charges.create(order, { idempotencyKey: ctx.derive('charge') }));
   */
  step<T>(name: string, fn: () => T): Promise<Awaited<T>> {
    return this.#run.step(this, this.#steps, name, fn);
  }

  /** A key for a request of your own to another service: the same for every attempt, in every process. */
  derive(name: string): string {
    return this.#run.derive(name);
  }
}
