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

/** What {@link verifyResumable} found. */
export interface ResumableReport {
  /** Points at which the task was killed, each in a run of its own. */
  readonly points: number;
  /** The first one after which it came out otherwise; absent where there is none. */
  readonly failure?: {
    /** Its number, and what was about to happen there. */
    readonly point: number;
    readonly at: string;
    readonly expected: { readonly result: unknown; readonly effects: unknown };
    readonly actual: { readonly result: unknown; readonly effects: unknown };
  };
}

/**
 * Shows that a task can be killed anywhere: runs it once in peace, and then once for each point at which a process
 * could die (before and after every write of its record: an attempt noted, a step or checkpoint saved, the result
 * saved, the claim taken), kills it there, and lets another process go on. Result and effects must come out the same.
 *
 * A killed run does nothing more: its writes never return. So a task that repeats an effect after a crash shows here,
 * unless the world knows it by its key (`ctx.derive`). With a seed, every second kill is followed by another one, at a
 * point drawn from it.
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
  const peaceful = await runKilledAt(task, []);
  const { visited, ...expected } = peaceful;
  for (const [i, at] of visited.entries()) {
    const point = i + 1;
    // Every second one dies again: from 1 to as many points as the task has.
    const again = seed === undefined || point % 2 === 1 ? [] : [1 + ((seed + point * 7_919) % visited.length)];
    const { result, effects } = await runKilledAt(task, [point, ...again]);
    const actual = { result, effects };
    if (!isDeepStrictEqual(actual, expected)) return { points: point, failure: { point, at, expected, actual } };
  }
  return { points: visited.length };
}

const LEASE_MS = 1_000_000;

/** Runs the task, killing one process after the other at these points of each; the last one runs to the end. */
async function runKilledAt<World>(task: ResumableTask<World>, kills: readonly number[]) {
  const world = task.world();
  const store = new MemoryStore();
  try {
    for (const kill of [...kills, Infinity]) {
      const visited: string[] = [];
      let die: () => void = () => undefined;
      const died = new Promise<'died'>((resolve) => {
        die = () => {
          resolve('died');
        };
      });
      const life = new Life(store, kill, visited, die);
      const run = retryWithCheckpoint({
        store: life.store,
        name: 'verified',
        leaseMs: LEASE_MS,
        config: { initialDelayMs: 0, maxDelayMs: 0, maxAttempts: 100 },
      })((_, context) => task.run(world, context));
      const ended = await Promise.race([outcome(run('task')), died]);
      if (ended !== 'died') return { visited, result: ended, effects: structuredClone(task.effects(world)) };
      // The lease of the dead process runs out.
      store.advanceClock(LEASE_MS + 1);
    }
    throw new Error('unreachable: a run that is never killed ends');
  } finally {
    store.close();
  }
}

/** What a task came to: its result, or the error that it ended with. */
async function outcome(run: Promise<unknown>): Promise<unknown> {
  try {
    return await run;
  } catch (error) {
    return { threw: error instanceof Error ? `${error.name}: ${error.message}` : error };
  }
}

/** A process as its store sees it: it dies at one of the points, and is not heard of again. */
class Life {
  readonly store: AtomicStore;
  readonly #kill: number;
  readonly #visited: string[];
  readonly #die: () => void;

  constructor(store: AtomicStore, kill: number, visited: string[], die: () => void) {
    this.#kill = kill;
    this.#visited = visited;
    this.#die = die;
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
    this.#visited.push(at);
    if (this.#visited.length < this.#kill) return;
    this.#die();
    // The dead say nothing: what waits for this waits for ever.
    await new Promise<never>(() => undefined);
  }
}
