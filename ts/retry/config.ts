import { native } from '../native.js';
import {
  checkOptions,
  either,
  invalidArgument,
  invalidOption,
  numberBetween,
  wholeNumberBetween,
  type OptionRules,
} from '../options.js';

// More of them would be counted by nobody.
const MOST_ATTEMPTS = 1_000_000;

/** A {@link RetryConfig} as it is passed in: every field may be left out. */
export type RetryConfigInit = { readonly [Name in keyof RetryConfig]?: RetryConfig[Name] | undefined };

/** What each field of a {@link RetryConfig} accepts. */
export const CONFIG_RULES: OptionRules<RetryConfigInit> = {
  maxAttempts: either(wholeNumberBetween(1, MOST_ATTEMPTS), {
    allowed: 'Infinity',
    type: (value) => value === Infinity,
  }),
  initialDelayMs: numberBetween(0, Number.MAX_SAFE_INTEGER, 'milliseconds'),
  maxDelayMs: numberBetween(0, Number.MAX_SAFE_INTEGER, 'milliseconds'),
  exponentialBase: numberBetween(1, Number.MAX_SAFE_INTEGER),
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
export class RetryConfig {
  /** Calls in total, the first one included: a whole number from 1 to 1 000 000, or Infinity. Default 3. */
  readonly maxAttempts: number;
  /** The wait before the second call, in milliseconds. 0 still yields one turn of the event loop. Default 1 000. */
  readonly initialDelayMs: number;
  /** No wait is longer than this, in milliseconds; at least `initialDelayMs`. Default 30 000. */
  readonly maxDelayMs: number;
  /** What the wait is multiplied by from one retry to the next; at least 1, which keeps it constant. Default 2. */
  readonly exponentialBase: number;

  constructor(init: RetryConfigInit = {}) {
    const given: RetryConfigInit = checkOptions('RetryConfig', init, CONFIG_RULES);
    this.maxAttempts = given.maxAttempts ?? 3;
    this.initialDelayMs = given.initialDelayMs ?? 1_000;
    this.maxDelayMs = given.maxDelayMs ?? 30_000;
    this.exponentialBase = given.exponentialBase ?? 2;
    if (this.maxDelayMs < this.initialDelayMs) throw maxBelowInitial(this, given.maxDelayMs === undefined);
    Object.freeze(this);
  }
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
export function computeDelay(attempt: number, config?: RetryConfigInit): number {
  if (!Number.isInteger(attempt) || attempt < 0 || attempt > MOST_ATTEMPTS) {
    const ErrorClass = typeof attempt === 'number' ? RangeError : TypeError;
    throw invalidArgument(ErrorClass, 'computeDelay', 'attempt', attempt, `a whole number from 0 to ${MOST_ATTEMPTS}`);
  }
  return delayBefore(attempt, new RetryConfig(config));
}

/** {@link computeDelay} for a config that is known to be valid, without jitter. */
export function delayBefore(retry: number, config: RetryConfig): number {
  return native.computeDelay(retry, config.initialDelayMs, config.maxDelayMs, config.exponentialBase);
}

// Such a config would wait `maxDelayMs` every time: one of the two numbers is not what its author meant.
function maxBelowInitial({ initialDelayMs, maxDelayMs }: RetryConfig, maxIsDefault: boolean): Error {
  return maxIsDefault
    ? invalidOption(
        RangeError,
        'RetryConfig',
        'initialDelayMs',
        initialDelayMs,
        `at most maxDelayMs, which is ${maxDelayMs} unless given`,
      )
    : invalidOption(
        RangeError,
        'RetryConfig',
        'maxDelayMs',
        maxDelayMs,
        `at least initialDelayMs, which is ${initialDelayMs}`,
      );
}
