import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { BOUNDARIES, boundaryChannel } from '../../checkpoint/boundary.js';
import type { CheckpointBoundary, CheckpointPassage } from '../../checkpoint/boundary.js';
import { native } from '../../native.js';
import { aBoolean, anObject, checkOptions, invalidOption, listOf } from '../../options.js';
import { numberBetween, wholeNumberBetween } from '../../options.js';
import type { OptionRules } from '../../options.js';
import type { ActiveFaults } from '../faults/active.js';
import { kernelName } from './registry.js';
import type { Kernels } from './registry.js';

/** Kills of kernels that no request asks for, and what bounds every kill. */
export interface KernelKillOptions {
  /**
   * Kernels die by themselves, so many milliseconds apart on average, at times without memory (exponential gaps). The
   * sequence of gaps and victims is that of the seed. Default: none do.
   */
  readonly meanTimeBetweenMs?: number | undefined;
  /**
   * Kernels die while a checkpointed task is at one of these boundaries (default: all), at this share of them. Needs
   * `retryWithCheckpoint` or `resumable` in this thread. Default: none do.
   */
  readonly atCheckpoints?:
    { readonly probability: number; readonly boundaries?: readonly CheckpointBoundary[] | undefined } | undefined;
  /** Those two kill only kernels of this group. Default: of any. */
  readonly group?: string | undefined;
  /** No kernel is killed sooner than this after another, whatever asks for it: not later either, but not. Default 0. */
  readonly minGapMs?: number | undefined;
  /** At most so many are killed or paused, whatever asks for it. Default: no bound. */
  readonly maxKills?: number | undefined;
  /** The only live kernel of its group is never killed, whatever asks for it. Default false. */
  readonly neverLast?: boolean | undefined;
}

/** The kernels as they stand, and what was done to them besides the kills that {@link ChaosMetrics} counts. */
export interface KernelReport {
  /** Kills that were begun, also those that failed or are under way. */
  readonly killsAttempted: number;
  /** Kernels that were paused and go on. */
  readonly kernelsPaused: number;
  /** The ids of those that could be killed now, sorted. */
  readonly live: readonly string[];
}

/** What a timer can hold, in milliseconds. */
const MAX_MS = 2_147_483_647;
const ms = wholeNumberBetween(0, MAX_MS, 'milliseconds');

const RULES: OptionRules<KernelKillOptions> = {
  meanTimeBetweenMs: numberBetween(1, MAX_MS, 'milliseconds'),
  atCheckpoints: anObject,
  group: kernelName,
  minGapMs: ms,
  maxKills: wholeNumberBetween(1, Number.MAX_SAFE_INTEGER),
  neverLast: aBoolean,
};

const AT_CHECKPOINTS: OptionRules<NonNullable<KernelKillOptions['atCheckpoints']>> = {
  probability: numberBetween(0, 1),
  boundaries: listOf(`a list of ${BOUNDARIES.map((name) => `'${name}'`).join(', ')}`, (name) =>
    BOUNDARIES.includes(name as CheckpointBoundary),
  ),
};

/** Refuses options that cannot be right; `owner` is the public function that was called. */
export function checkKernelKills(owner: string, options: KernelKillOptions): void {
  const at = `${owner}: kernelKills`;
  checkOptions(at, options, RULES);
  const { meanTimeBetweenMs, minGapMs = 0, atCheckpoints } = options;
  if (meanTimeBetweenMs !== undefined && minGapMs >= meanTimeBetweenMs) {
    const allowed = `less than meanTimeBetweenMs, which is ${meanTimeBetweenMs}`;
    throw invalidOption(RangeError, at, 'minGapMs', minGapMs, allowed);
  }
  if (atCheckpoints === undefined) return;
  checkOptions(`${at}.atCheckpoints`, atCheckpoints, AT_CHECKPOINTS);
  if ((atCheckpoints.probability as unknown) === undefined) {
    const { allowed } = AT_CHECKPOINTS.probability;
    throw invalidOption(TypeError, `${at}.atCheckpoints`, 'probability', undefined, allowed);
  }
}

/**
 * The kills of one chaos: those that requests ask for, those by time and those at checkpoints, under the bounds that
 * hold for all of them. Which kernels there are is not its own; nor does it hold any that it did not strike.
 */
export class KernelKills {
  readonly #kernels: Kernels;
  readonly #active: ActiveFaults;
  readonly #killed: () => void;
  #plan: KillPlan = { seed: '', options: {}, boundaries: [], draws: undefined };
  #isStarted = false;
  #timed = 0;
  #next: NodeJS.Timeout | undefined;
  #resting: NodeJS.Timeout | undefined;
  #attempted = 0;
  #underWay = 0;
  #killedOrPaused = 0;
  #paused = 0;

  /** `killed` is called for every kernel that is gone, when it is. */
  constructor(kernels: Kernels, active: ActiveFaults, killed: () => void) {
    this.#kernels = kernels;
    this.#active = active;
    this.#killed = killed;
  }

  /** Goes by these options, which were checked, from now on. Another seed begins another sequence of gaps. */
  configure(seed: string, options: KernelKillOptions): void {
    const before = this.#plan;
    if (before.seed === seed && before.options === options) return;
    this.#leave();
    if (before.seed !== seed) this.#timed = 0;
    this.#plan = planOf(seed, options);
    if (this.#isStarted) this.#enter();
  }

  /** Kills may happen from now on. */
  start(): void {
    if (!this.#isStarted) this.#enter();
    this.#isStarted = true;
  }

  /** None happens any more. What is under way comes to its end; what is held up is the business of the active faults. */
  stop(): void {
    this.#isStarted = false;
    this.#leave();
    clearTimeout(this.#resting);
    this.#resting = undefined;
  }

  /** Counts from zero again, and the sequence of gaps begins again. */
  reset(): void {
    this.#attempted = this.#killedOrPaused = this.#paused = this.#timed = 0;
    if (!this.#isStarted) return;
    this.#leave();
    this.#enter();
  }

  /** Whether a kill for this group would find one. */
  hasCandidate(group: string | undefined): boolean {
    return this.#kernels.hasCandidate({ group, neverLast: this.#plan.options.neverLast });
  }

  /**
   * Kills the one that is this share, from 0 to below 1, of the way through the candidates. `done` is called once it is
   * gone, or paused.
   */
  kill(share: number, group: string | undefined, done?: () => void): void {
    const { minGapMs = 0, maxKills = Infinity, neverLast } = this.#plan.options;
    const isSpent = this.#underWay + this.#killedOrPaused >= maxKills;
    if (!this.#isStarted || this.#resting !== undefined || isSpent) return;
    const candidates = this.#kernels.candidates({ group, neverLast });
    const victim = candidates[Math.floor(share * candidates.length)];
    if (victim === undefined) return;
    this.#attempted++;
    this.#underWay++;
    if (minGapMs > 0) this.#rest(minGapMs);
    const release = new AbortController();
    const over = this.#active.add(() => {
      release.abort();
    });
    this.#kernels.strike(victim, release.signal, (struck) => {
      over();
      this.#underWay--;
      if (struck !== 'survived') {
        this.#killedOrPaused++;
        done?.();
      }
      if (struck === 'killed') this.#killed();
      if (struck === 'paused') this.#paused++;
    });
  }

  report(): KernelReport {
    const live = this.#kernels.candidates().map(({ id }) => id);
    return { killsAttempted: this.#attempted, kernelsPaused: this.#paused, live };
  }

  /** A timer and no clock, so that whatever rules the gaps rules this as well. */
  #rest(forMs: number): void {
    this.#resting = setTimeout(() => {
      this.#resting = undefined;
    }, forMs).unref();
  }

  #enter(): void {
    for (const boundary of this.#plan.boundaries) subscribe(boundaryChannel(boundary), this.#atBoundary);
    this.#schedule();
  }

  #leave(): void {
    for (const boundary of this.#plan.boundaries) unsubscribe(boundaryChannel(boundary), this.#atBoundary);
    clearTimeout(this.#next);
  }

  /** The next kill by time. Stopped and started again, the sequence goes on where it was. */
  #schedule(): void {
    const next = this.#plan.draws?.timed(this.#timed);
    if (!next) return;
    this.#next = setTimeout(() => {
      this.#timed++;
      this.kill(next.victim, this.#plan.options.group);
      if (this.#isStarted) this.#schedule();
    }, next.afterMs).unref();
  }

  readonly #atBoundary = (message: unknown): void => {
    const { boundary, taskId, sequence } = message as CheckpointPassage;
    const share = this.#plan.draws?.atCheckpoint(taskId, boundary, sequence);
    if (typeof share === 'number') this.kill(share, this.#plan.options.group);
  };
}

/** What the kills of one configuration come to. */
interface KillPlan {
  readonly seed: string;
  readonly options: KernelKillOptions;
  readonly boundaries: readonly CheckpointBoundary[];
  /** Absent where kernels die at requests only. */
  readonly draws: InstanceType<typeof native.ChaosKernelKills> | undefined;
}

function planOf(seed: string, options: KernelKillOptions): KillPlan {
  const { meanTimeBetweenMs: meanMs, minGapMs: minMs = 0, atCheckpoints } = options;
  if (meanMs === undefined && atCheckpoints === undefined) return { seed, options, boundaries: [], draws: undefined };
  const draws = new native.ChaosKernelKills({
    seed,
    ...(meanMs !== undefined && { gaps: { minMs, meanMs } }),
    atCheckpoints: atCheckpoints?.probability ?? 0,
  });
  return { seed, options, boundaries: atCheckpoints ? (atCheckpoints.boundaries ?? BOUNDARIES) : [], draws };
}
