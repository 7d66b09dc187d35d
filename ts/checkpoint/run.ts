import { invalidArgument } from '../options.js';
import { tell } from '../retry/events.js';
import type { Attempt } from '../retry/attempt.js';
import type { Guard } from '../retry/guard.js';
import type { Journal } from '../retry/loop.js';
import type { Plan } from '../retry/plan.js';
import { within } from '../timeout.js';
import { passes, type CheckpointBoundary } from './boundary.js';
import { TaskContext } from './context.js';
import {
  CheckpointLostError,
  CheckpointTooLargeError,
  DrainedError,
  InterruptedAttemptError,
  StaleAttemptError,
} from './errors.js';
import { decodeValue, encodeCheckpoint, encodeValue, type Checkpoint } from './record.js';

/** A claim under which a record may be written. */
export interface HeldRecord {
  readonly fence: number;
  /** Whether the claim still held; false says that nothing was written. */
  save(progress: Uint8Array): Promise<boolean>;
  /** A key for requests to others, the same for every run of the task. */
  derive(name: string): string;
}

/** What a run goes by besides its plan. */
export interface RunSettings {
  readonly semantics: 'at-least-once' | 'at-most-once';
  readonly maxStateBytes: number;
  readonly heartbeatIntervalMs: number;
  readonly storeTimeoutMs: number;
}

/** How long the last progress of an attempt that died may take to be written. */
const FLUSH_TIMEOUT_MS = 2_000;

/** One run of a task: its record, and every write of it, in order. */
export class TaskRun implements Journal {
  readonly taskId: string;
  readonly attemptsMade: number;
  readonly delayMs: number;
  readonly #held: HeldRecord;
  readonly #plan: Plan;
  readonly #settings: RunSettings;
  #record: Checkpoint;
  #guard: Guard | undefined;
  #writes: Promise<unknown> = Promise.resolve();
  #current: TaskContext | undefined;
  #heartbeat: { state: string } | undefined;
  #heartbeatTimer: NodeJS.Timeout | undefined;
  #interrupted: boolean;
  #isWaiting = false;
  #isDraining = false;

  constructor(taskId: string, held: HeldRecord, record: Checkpoint, plan: Plan, settings: RunSettings) {
    this.taskId = taskId;
    this.#held = held;
    this.#record = record;
    this.#plan = plan;
    this.#settings = settings;
    const { attempts, isRunning, nextAttemptAtMs } = record;
    const isLast = attempts >= plan.config.maxAttempts;
    this.#interrupted = isRunning && (isLast || settings.semantics === 'at-most-once');
    // An interrupted attempt that is not to be repeated is the first thing that fails in this run.
    this.attemptsMade = this.#interrupted ? attempts - 1 : isLast ? 0 : attempts;
    const longest = Math.max(plan.config.maxDelayMs, plan.maxRetryAfterMs);
    this.delayMs = Math.min(Math.max(0, nextAttemptAtMs - Date.now()), longest);
    if (record.sequence > 0) this.#tell('load', this.attemptsMade + 1);
  }

  get fence(): number {
    return this.#held.fence;
  }

  derive(name: string): string {
    return this.#held.derive(name);
  }

  get state(): unknown {
    return this.#record.state === undefined ? undefined : decodeValue(this.#record.state);
  }

  attach(guard: Guard): void {
    this.#guard = guard;
    this.#isWaiting = this.delayMs > 0;
    if (this.#isDraining) this.#stopDrained();
  }

  /** Makes one attempt: noted first, so that a crash in the middle of it counts. */
  async attempt<T>(attempt: Attempt, call: (context: TaskContext) => T): Promise<Awaited<T>> {
    this.#isWaiting = false;
    if (this.#interrupted) {
      this.#interrupted = false;
      throw new InterruptedAttemptError(this.taskId, attempt.attempt);
    }
    const context = new TaskContext(this, attempt, this.state);
    this.#current = context;
    await this.#write({ attempts: attempt.attempt, isRunning: true, nextAttemptAtMs: 0 });
    this.passes('before-work');
    return await call(context);
  }

  async attemptFailed(): Promise<void> {
    const failed = this.#current;
    this.#current = undefined;
    clearTimeout(this.#heartbeatTimer);
    this.#heartbeatTimer = undefined;
    if (this.#heartbeat === undefined || failed === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FLUSH_TIMEOUT_MS);
    });
    // What it could not write is redone by the next attempt; that is no reason to fail otherwise.
    await Promise.race([this.#flush().catch(() => undefined), late]);
    clearTimeout(timer);
  }

  async willWait(delayMs: number): Promise<void> {
    await this.#write({ isRunning: false, nextAttemptAtMs: Date.now() + delayMs });
    this.#isWaiting = true;
    if (this.#isDraining) this.#stopDrained();
  }

  waited(): void {
    this.#isWaiting = false;
  }

  /** The run ended without a result. What it saved stays; where its caller was told so, the next run counts anew. */
  async giveUp(): Promise<void> {
    const stopped = this.#guard?.stopped?.reason;
    if (stopped === 'lost') return;
    if (stopped === 'aborted' || stopped === 'drained') await this.written();
    else await this.#write({ attempts: 0, isRunning: false, nextAttemptAtMs: 0 });
  }

  /** What it wrote has arrived, or will not in time. */
  async written(): Promise<void> {
    await within(this.#writes, this.#settings.storeTimeoutMs).catch(() => undefined);
  }

  /** Tells where it is, between its work and the next write of its record. */
  passes(boundary: CheckpointBoundary): void {
    passes(boundary, this.taskId, this.#record.sequence + 1);
  }

  /** Nothing of it is under way any more. */
  close(): void {
    this.#current = undefined;
    clearTimeout(this.#heartbeatTimer);
  }

  /** The bytes of the finished task. */
  resultBytes(result: unknown): { bytes: Uint8Array; value: unknown } {
    const state = encodeValue(result);
    const { fingerprint, sequence, attempts } = this.#record;
    const done = { attempts, isRunning: false, nextAttemptAtMs: 0, sequence: sequence + 1, fingerprint };
    // The steps have done their duty: the result stands for them.
    return { bytes: this.#encode({ ...done, state, steps: [] }), value: decodeValue(state) };
  }

  /** The claim is not ours any more. */
  lose(): CheckpointLostError {
    const error = new CheckpointLostError(this.taskId);
    this.#guard?.stop('lost', error);
    return error;
  }

  /** Ends at the next wait, or at once when it is in one. */
  drain(): void {
    this.#isDraining = true;
    if (this.#isWaiting) this.#stopDrained();
  }

  /** Ends now, in the middle of an attempt if need be. */
  stopNow(): void {
    this.#isDraining = true;
    this.#stopDrained();
  }

  async save(context: TaskContext, state: unknown): Promise<void> {
    this.#assertCurrent(context);
    this.#heartbeat = undefined;
    await this.#saveWork({ state: encodeValue(state) });
  }

  beat(context: TaskContext, state: unknown): void {
    this.#assertCurrent(context);
    // Taken now: what the task does to it later is not meant.
    this.#heartbeat = { state: encodeValue(state) };
    this.#heartbeatTimer ??= setTimeout(() => {
      this.#heartbeatTimer = undefined;
      // Kept for the next time where it fails.
      this.#flush().catch(() => undefined);
    }, this.#settings.heartbeatIntervalMs).unref();
  }

  async step<T>(context: TaskContext, seen: Set<string>, name: string, fn: () => T): Promise<Awaited<T>> {
    if (typeof name !== 'string' || name === '') {
      throw invalidArgument(TypeError, 'ctx.step', 'name', name, 'a string that is not empty');
    }
    if (seen.has(name)) throw invalidArgument(TypeError, 'ctx.step', 'name', name, 'a name of its own for each step');
    seen.add(name);
    this.#assertCurrent(context);
    const kept = this.#record.steps.find(([done]) => done === name);
    if (kept !== undefined) return decodeValue(kept[1]) as Awaited<T>;
    this.passes('before-work');
    const result = encodeValue(await fn());
    this.#assertCurrent(context);
    await this.#saveWork({ steps: [...this.#record.steps, [name, result]] });
    return decodeValue(result) as Awaited<T>;
  }

  async #flush(): Promise<void> {
    const heartbeat = this.#heartbeat;
    if (heartbeat === undefined) return;
    await this.#saveWork({ state: heartbeat.state });
    // A newer one may have come meanwhile.
    if (this.#heartbeat === heartbeat) this.#heartbeat = undefined;
  }

  /** Writes what the task did, unlike what is noted about its attempts. */
  #saveWork(change: Partial<Checkpoint>): Promise<void> {
    this.passes('before-save');
    return this.#write(change, 'during-save');
  }

  /** Changes the record and writes it, behind every earlier write; passes the boundary when the write is under way. */
  async #write(change: Partial<Checkpoint>, boundary?: CheckpointBoundary): Promise<void> {
    const record = { ...this.#record, ...change, sequence: this.#record.sequence + 1 };
    const bytes = this.#encode(record);
    this.#record = record;
    const written = this.#writes.then(() => {
      const writing = this.#held.save(bytes);
      if (boundary !== undefined) passes(boundary, this.taskId, record.sequence);
      return writing;
    });
    // One that is late is waited for by those behind it: it must not arrive over them.
    this.#writes = written.catch(() => undefined);
    if (!(await within(written, this.#settings.storeTimeoutMs))) throw this.lose();
    this.#tell('save', record.attempts);
  }

  #encode(record: Checkpoint): Uint8Array {
    const bytes = encodeCheckpoint(record);
    if (bytes.length > this.#settings.maxStateBytes) {
      throw new CheckpointTooLargeError(this.taskId, bytes.length, this.#settings.maxStateBytes);
    }
    return bytes;
  }

  #assertCurrent(context: TaskContext): void {
    if (this.#current !== context || this.#guard?.stopped !== undefined) {
      throw new StaleAttemptError(this.taskId, context.attempt);
    }
  }

  #stopDrained(): void {
    this.#guard?.stop('drained', new DrainedError(this.taskId));
  }

  #tell(type: 'load' | 'save', attempt: number): void {
    const { name, config } = this.#plan;
    const named = name === undefined ? {} : { name };
    tell(this.#plan, { type, ...named, taskId: this.taskId, attempt, maxAttempts: config.maxAttempts });
  }
}
