/** What decides whether the harm is more than chaos may do; pure, so that it can be tested without a clock. */

/** What a guard rail goes by; every field has its value. */
export interface GuardLimits {
  readonly baselineWindows: number;
  readonly minRequests: number;
  readonly maxRise: number;
  readonly slowFactor: number;
  readonly maxLoopDelayMs: number;
  readonly tripWindows: number;
  readonly ofWindows: number;
}

/** What was seen in one window of time. */
export interface GuardWindow {
  /** How long the requests took that no fault was injected into, in milliseconds. */
  readonly durations: readonly number[];
  /** How many of them the server failed. */
  readonly errors: number;
  /** How many requests a fault was injected into. */
  readonly injected: number;
  /** The 99th percentile of the delay of the event loop, in milliseconds. */
  readonly loopDelayMs: number;
}

/** What the service is like without chaos. */
interface Baseline {
  readonly slowMs: number;
  readonly errors: number;
  readonly slow: number;
  readonly loopDelayMs: number;
}

/** 99.9 % on either side: of a thousand windows without harm, one looks harmful. */
const Z = 3.29;

/** The bounds between which a share lies of which `hits` of `n` were seen (Wilson). From 0 to 1 where `n` is 0. */
export function wilson(hits: number, n: number): { readonly low: number; readonly high: number } {
  if (n === 0) return { low: 0, high: 1 };
  const share = hits / n;
  const centre = share + (Z * Z) / (2 * n);
  const spread = Z * Math.sqrt((share * (1 - share)) / n + (Z * Z) / (4 * n * n));
  const whole = 1 + (Z * Z) / n;
  return { low: Math.max(0, (centre - spread) / whole), high: Math.min(1, (centre + spread) / whole) };
}

/** Learns from the first windows what is usual, and says of the later ones when there is too much harm. */
export class GuardJudge {
  readonly #limits: GuardLimits;
  #learned: GuardWindow[] = [];
  #baseline: Baseline | undefined;
  /** The last windows that told something: what was wrong in each, if anything. */
  #verdicts: (string | undefined)[] = [];
  #blind = 0;

  constructor(limits: GuardLimits) {
    this.#limits = limits;
  }

  /** Whether it is still learning; nothing may be injected then. */
  get isLearning(): boolean {
    return this.#baseline === undefined;
  }

  /** How many of the last windows were harmful. */
  get harmful(): number {
    return this.#verdicts.filter((verdict) => verdict !== undefined).length;
  }

  /** From how many milliseconds on a request is slow. */
  get slowMs(): number {
    return this.#baseline?.slowMs ?? Infinity;
  }

  /** One more window is over. Returns why chaos must halt, if it must. */
  add(window: GuardWindow): string | undefined {
    if (!Number.isFinite(window.loopDelayMs)) return 'the delay of the event loop cannot be measured';
    if (this.#baseline === undefined) {
      this.#learn(window);
      return undefined;
    }
    const { minRequests, tripWindows, ofWindows } = this.#limits;
    if (window.durations.length < minRequests) {
      this.#blind = window.injected > 0 ? this.#blind + 1 : this.#blind;
      return this.#blind < ofWindows
        ? undefined
        : `faults were injected in ${ofWindows} windows with fewer than ${minRequests} other requests to judge by`;
    }
    this.#blind = 0;
    this.#verdicts = [...this.#verdicts, this.#harm(this.#baseline, window)].slice(-ofWindows);
    const harms = this.#verdicts.filter((verdict) => verdict !== undefined);
    if (harms.length < tripWindows) return undefined;
    return `${harms.length} of the last ${this.#verdicts.length} windows were harmful; in the last one, ${harms.at(-1)}`;
  }

  /** Takes windows until there are enough of them, with enough requests each. */
  #learn(window: GuardWindow): void {
    if (window.durations.length < this.#limits.minRequests) return;
    this.#learned.push(window);
    if (this.#learned.length < this.#limits.baselineWindows) return;
    const durations = this.#learned.flatMap((one) => one.durations).sort((a, b) => a - b);
    const p95 = durations[Math.ceil(durations.length * 0.95) - 1] ?? 0;
    // A service that answers within a millisecond is not slow at two.
    const slowMs = Math.max(p95, 5) * this.#limits.slowFactor;
    this.#baseline = {
      slowMs,
      errors: wilson(sum(this.#learned.map(({ errors }) => errors)), durations.length).high,
      slow: wilson(durations.filter((ms) => ms > slowMs).length, durations.length).high,
      loopDelayMs: Math.max(...this.#learned.map(({ loopDelayMs }) => loopDelayMs)),
    };
    this.#learned = [];
  }

  #harm(usual: Baseline, { durations, errors, loopDelayMs }: GuardWindow): string | undefined {
    const { maxRise, maxLoopDelayMs } = this.#limits;
    const n = durations.length;
    const slow = durations.filter((ms) => ms > usual.slowMs).length;
    const of = (count: number) => `${count} of ${n} requests without a fault`;
    if (wilson(errors, n).low > usual.errors + maxRise) return `${of(errors)} failed`;
    if (wilson(slow, n).low > usual.slow + maxRise)
      return `${of(slow)} took longer than ${Math.round(usual.slowMs)} ms`;
    if (loopDelayMs > usual.loopDelayMs + maxLoopDelayMs) {
      return `the event loop was late by ${Math.round(loopDelayMs)} ms`;
    }
    return undefined;
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);
