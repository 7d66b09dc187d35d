import type { ServerResponse } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { IntervalHistogram } from 'node:perf_hooks';

import { anObject, checkOptions, invalidOption, numberBetween, wholeNumberBetween } from '../../options.js';
import type { OptionRules } from '../../options.js';
import { GuardJudge } from './judge.js';
import type { GuardLimits } from './judge.js';

/** Watches the requests that no fault was injected into, and halts chaos when they suffer. */
export interface ChaosGuardOptions {
  /** The share of requests that is never faulted, so that there always are some to judge by; above 0. Default 0.1. */
  readonly controlShare?: number | undefined;
  /** How long a window is, in milliseconds. Default 10,000. */
  readonly windowMs?: number | undefined;
  /** In so many windows after each arming nothing is injected: they say what is usual. Default 3. */
  readonly baselineWindows?: number | undefined;
  /** A window with fewer requests without a fault says nothing. Default 20. */
  readonly minRequests?: number | undefined;
  /** How far the share of failed requests, or of slow ones, may be above the usual, 0 to 1. Default 0.05. */
  readonly maxRise?: number | undefined;
  /** A request is slow that takes so many times the 95th percentile of the baseline. Default 2. */
  readonly slowFactor?: number | undefined;
  /** How far the 99th percentile of the delay of the event loop may be above the usual, in ms. Default 200. */
  readonly maxLoopDelayMs?: number | undefined;
  /** Halts when so many (`windows`) of the last `of` windows were harmful. Default 3 of 5. */
  readonly trip?: { readonly windows: number; readonly of: number } | undefined;
}

const positive = numberBetween(Number.MIN_VALUE, 1);
const windows = wholeNumberBetween(1, 1000);
const OPTIONS: OptionRules<ChaosGuardOptions> = {
  controlShare: positive,
  windowMs: wholeNumberBetween(10, 3_600_000, 'milliseconds'),
  baselineWindows: windows,
  minRequests: wholeNumberBetween(1, 1_000_000),
  maxRise: numberBetween(0, 1),
  slowFactor: numberBetween(1, 1000),
  maxLoopDelayMs: numberBetween(0, 3_600_000, 'milliseconds'),
  trip: anObject,
};

/** Refuses a guard rail that cannot be right. `at` is where it stands. */
export function checkGuard(at: string, options: ChaosGuardOptions): void {
  checkOptions(at, options, OPTIONS);
  if (options.trip === undefined) return;
  checkOptions(`${at}.trip`, options.trip, { windows, of: windows });
  const { windows: trip, of } = options.trip as Partial<typeof options.trip>;
  if (trip === undefined || of === undefined || trip > of) {
    throw invalidOption(RangeError, `${at}.trip`, 'windows', trip, 'a number up to `of`, both given');
  }
}

/** What a guard rail has seen so far. */
export interface ChaosGuardStatus {
  /** `'learning'`: nothing is injected, until it is known what is usual. */
  readonly phase: 'off' | 'learning' | 'watching';
  /** How many of the last windows were harmful. */
  readonly harmfulWindows: number;
}

/** Most durations of one window that are kept; more requests tell no more. */
const MAX_SAMPLES = 10_000;

/** The guard rail of one instance: it measures, a judge decides. */
export class ChaosGuard {
  readonly #halt: (reason: string) => void;
  readonly #limits: GuardLimits;
  readonly #windowMs: number;
  #judge: GuardJudge | undefined;
  #timer: NodeJS.Timeout | undefined;
  #loop: IntervalHistogram | undefined;
  readonly #pending = new Set<{ readonly since: number }>();
  #durations: number[] = [];
  #errors = 0;
  #injected = 0;

  constructor(options: ChaosGuardOptions, halt: (reason: string) => void) {
    this.#halt = halt;
    this.#windowMs = options.windowMs ?? 10_000;
    this.#limits = {
      baselineWindows: options.baselineWindows ?? 3,
      minRequests: options.minRequests ?? 20,
      maxRise: options.maxRise ?? 0.05,
      slowFactor: options.slowFactor ?? 2,
      maxLoopDelayMs: options.maxLoopDelayMs ?? 200,
      tripWindows: options.trip?.windows ?? 3,
      ofWindows: options.trip?.of ?? 5,
    };
  }

  /** Whether nothing may be injected yet. */
  get isLearning(): boolean {
    return this.#judge?.isLearning ?? false;
  }

  get status(): ChaosGuardStatus {
    const phase = this.#judge === undefined ? 'off' : this.#judge.isLearning ? 'learning' : 'watching';
    return { phase, harmfulWindows: this.#judge?.harmful ?? 0 };
  }

  /** Learns anew what is usual, and watches from then on. */
  start(): void {
    this.stop();
    this.#judge = new GuardJudge(this.#limits);
    this.#loop = monitorEventLoopDelay({ resolution: 10 });
    this.#loop.enable();
    this.#timer = setInterval(() => {
      this.#endWindow();
    }, this.#windowMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#loop?.disable();
    this.#judge = undefined;
    this.#pending.clear();
    this.#empty();
  }

  /** Watches a request that no fault is injected into, from now to its end. */
  watch(res: ServerResponse): void {
    const pending = { since: performance.now() };
    this.#pending.add(pending);
    res.once('close', () => {
      // Not of this run, if it is not there any more. A client that left says nothing of the server.
      if (!this.#pending.delete(pending) || !res.writableFinished) return;
      this.#sample(performance.now() - pending.since, res.statusCode >= 500);
    });
  }

  /** A fault is injected into a request. */
  injected(): void {
    this.#injected++;
  }

  #sample(ms: number, failed: boolean): void {
    if (this.#durations.length >= MAX_SAMPLES) return;
    this.#durations.push(ms);
    if (failed) this.#errors++;
  }

  #endWindow(): void {
    const judge = this.#judge;
    if (judge === undefined) return;
    const now = performance.now();
    // What does not end is slow as well.
    for (const { since } of this.#pending) if (now - since > judge.slowMs) this.#sample(now - since, false);
    const window = {
      durations: this.#durations,
      errors: this.#errors,
      injected: this.#injected,
      loopDelayMs: (this.#loop?.percentile(99) ?? NaN) / 1e6,
    };
    this.#loop?.reset();
    this.#empty();
    const reason = judge.add(window);
    if (reason !== undefined) this.#halt(`guard rail: ${reason}`);
  }

  #empty(): void {
    this.#durations = [];
    this.#errors = 0;
    this.#injected = 0;
  }
}
