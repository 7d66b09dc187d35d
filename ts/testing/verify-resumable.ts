import { isDeepStrictEqual } from 'node:util';
import { checkOptions, wholeNumberBetween } from '../options.js';
import { retryWithCheckpoint } from '../retry/checkpoint.js';
import type { TaskContext } from '../checkpoint/context.js';
import { MemoryStore } from '../stores/memory.js';
import type { AtomicStore } from '../stores/contract.js';

/** A task under test: what it does to a world of its own, which outlives its process. */
export interface ResumableTask<World> {
  /** Makes the world outside, as it is before the task; a new one for every run of the test. */
  readonly world: () => World;
  /** The task. Whatever it does to the world, it does through this argument. */
  readonly run: (world: World, context: TaskContext) => unknown;
  /** What counts of the world in the end: rows, charges, mails. Compared deeply. */
  readonly effects: (world: World) => unknown;
}

/**
 * What happens to a process: it is killed, or it is stopped for longer than its lease. The second one goes on when
 * another process has taken the claim over and has come to the end, and does not know.
 */
export type Interruption = 'killed' | 'lease lost';

/** What {@link verifyResumable} found. */
export interface ResumableReport {
  /** Points at which the task was interrupted, in each way, each in a run of its own. */
  readonly points: number;
  /** The first one after which it came out otherwise; absent where there is none. */
  readonly failure?: {
    /** Its number, what was about to happen there, and what happened instead. */
    readonly point: number;
    readonly at: string;
    readonly by: Interruption;
    readonly expected: { readonly result: unknown; readonly effects: unknown };
    readonly actual: { readonly result: unknown; readonly effects: unknown };
  };
}

/**
 * Shows that a task can be interrupted anywhere: runs it once in peace, and then twice for each point at which a process
 * could be (before and after every write of its record: the claim taken, an attempt noted, a step or checkpoint saved,
 * the wait after a failure begun, the result saved). It kills it there, or lets it lose its lease, and another process
 * go on. Result and effects must come out the same.
 *
 * A killed run does nothing more: its writes never return. One that lost its lease goes on late, and its writes are
 * refused. So a task that repeats an effect shows here, unless the world knows it by its key (`ctx.derive`) or its fence
 * (`ctx.fence`). With a seed, every second kill is followed by another one, at a point drawn from it.
 *
 * @example
 * const report = await verifyResumable({ world: () => new Bank(), run: charge, effects: (bank) => bank.charges }, { seed: 1 });
 * expect(report.failure).toBeUndefined();
 */
export async function verifyResumable<World>(
  task: ResumableTask<World>,
  options: { seed?: number | undefined } = {},
): Promise<ResumableReport> {
  checkOptions<{ seed?: number | undefined }>('verifyResumable', options, {
    seed: wholeNumberBetween(0, Number.MAX_SAFE_INTEGER),
  });
  const { seed } = options;
  const { visited, ...expected } = await runInterrupted(task, []);
  for (const [i, at] of visited.entries()) {
    const point = i + 1;
    for (const by of ['killed', 'lease lost'] as const) {
      const interrupted: Interrupted[] = [{ point, by }];
      // Every second one dies again: from 1 to as many points as the task has.
      if (seed !== undefined && point % 2 === 0) {
        interrupted.push({ point: 1 + ((seed + point * 7_919) % visited.length), by: 'killed' });
      }
      const { result, effects } = await runInterrupted(task, interrupted);
      const actual = { result, effects };
      if (!isDeepStrictEqual(actual, expected)) return { points: point, failure: { point, at, by, expected, actual } };
    }
  }
  return { points: visited.length };
}

/** Where a process is interrupted, by the number of the point, and how. */
interface Interrupted {
  readonly point: number;
  readonly by: Interruption;
}

const NEVER: Interrupted = { point: Infinity, by: 'killed' };
const LEASE_MS = 1_000_000;

/** Runs the task, interrupting one process after the other; the last one runs to the end, and then those that stopped. */
async function runInterrupted<World>(task: ResumableTask<World>, interruptions: readonly Interrupted[]) {
  const world = task.world();
  const store = new MemoryStore();
  const late: (() => Promise<unknown>)[] = [];
  try {
    for (const interruption of [...interruptions, NEVER]) {
      const life = new Life(store, interruption.point);
      const run = retryWithCheckpoint({
        store: life.store,
        name: 'verified',
        leaseMs: LEASE_MS,
        config: { initialDelayMs: 0, maxDelayMs: 0, maxAttempts: 100 },
      })((_, context) => task.run(world, context));
      const ending = outcome(run('task'));
      const ended = await Promise.race([ending, life.stopped.then(() => STOPPED)]);
      if (ended !== STOPPED) {
        for (const goOn of late) await goOn();
        return { visited: life.visited, result: ended, effects: structuredClone(task.effects(world)) };
      }
      if (interruption.by === 'lease lost') {
        late.push(() => {
          life.goOn();
          return ending;
        });
      }
      // The lease of the process that is dead or stopped runs out.
      store.advanceClock(LEASE_MS + 1);
    }
    throw new Error('unreachable: a run that is never interrupted ends');
  } finally {
    store.close();
  }
}

const STOPPED = Symbol('stopped');

/** What a task came to: its result, or the error that it ended with. */
async function outcome(run: Promise<unknown>): Promise<unknown> {
  try {
    return await run;
  } catch (error) {
    return { threw: error instanceof Error ? `${error.name}: ${error.message}` : error };
  }
}

/** A process as its store sees it: it stops at one of the points, and is not heard of again unless it is to go on. */
class Life {
  readonly store: AtomicStore;
  /** What was about to happen, or just had, at each point so far. */
  readonly visited: string[] = [];
  /** Resolves when it stops. */
  readonly stopped: Promise<void>;
  /** Lets it go on where it stopped. */
  goOn: () => void = () => undefined;

  readonly #last: number;
  readonly #resumed: Promise<void>;
  #stop: () => void = () => undefined;

  constructor(store: AtomicStore, last: number) {
    this.#last = last;
    this.stopped = new Promise((resolve) => {
      this.#stop = resolve;
    });
    this.#resumed = new Promise((resolve) => {
      this.goOn = resolve;
    });
    this.store = {
      claim: (request) => this.#around('the claim', () => store.claim(request)),
      save: (claim, progress) => this.#around('a save', () => store.save(claim, progress)),
      complete: (claim, answer, ttl) =>
        this.#around('the save of the result', () => store.complete(claim, answer, ttl)),
      release: (claim, ttl) => this.#around('the release', () => store.release(claim, ttl)),
      renew: (claim, leaseMs) => store.renew(claim, leaseMs),
      mark: (claim, mark, ttl) => store.mark(claim, mark, ttl),
      inspect: (key) => store.inspect(key),
      forget: (key) => store.forget(key),
    };
  }

  /** Two points: before the write, of which the store then knows nothing, and after it, of which the task does not. */
  async #around<T>(name: string, write: () => Promise<T>): Promise<T> {
    await this.#pass(`before ${name}`);
    const written = await write();
    await this.#pass(`after ${name}`);
    return written;
  }

  async #pass(at: string): Promise<void> {
    this.visited.push(at);
    if (this.visited.length < this.#last) return;
    this.#stop();
    // The dead say nothing: what waits for this then waits for ever.
    await this.#resumed;
  }
}
