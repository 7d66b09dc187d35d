import type { BudgetCalls } from '../../native/binding.js';
import { withCode } from '../errors.js';
import { native } from '../native.js';
import { checkOptions, invalidOption, numberBetween, oneOf, wholeNumberBetween, type OptionRules } from '../options.js';

/** What a {@link RetryBudget} takes. */
export interface RetryBudgetOptions {
  /**
   * `ratio` (default), as Finagle does it: each call pays for `retryRatio` of a retry. `throttle`, as gRPC does it:
   * a failure takes a token, a success gives `tokenRatio` back, retries stop at half of `maxTokens`.
   */
  readonly mode?: 'ratio' | 'throttle' | undefined;
  /** Budgets of one name are one budget, in all threads of the process; each must give the same numbers. */
  readonly name?: string | undefined;
  /** Of `ratio`: retries that one call pays for. Default 0.2. */
  readonly retryRatio?: number | undefined;
  /** Of `ratio`: retries each second that nobody need pay for. Default 10. */
  readonly minRetriesPerSecond?: number | undefined;
  /** Of `ratio`: milliseconds in which a call's share can be spent. Default 10 000. */
  readonly windowMs?: number | undefined;
  /** Of `throttle`: tokens at the start, and at most. Default 100. */
  readonly maxTokens?: number | undefined;
  /** Of `throttle`: what a success gives back. Default 0.1. */
  readonly tokenRatio?: number | undefined;
}

const RULES: OptionRules<RetryBudgetOptions> = {
  mode: oneOf('ratio', 'throttle'),
  name: {
    allowed: 'a string that is not empty',
    type: (value) => typeof value === 'string',
    range: (value: string) => value !== '',
  },
  retryRatio: numberBetween(0, 1_000),
  minRetriesPerSecond: numberBetween(0, 1_000_000),
  windowMs: wholeNumberBetween(1_000, 3_600_000, 'milliseconds'),
  maxTokens: numberBetween(1, 1_000_000),
  tokenRatio: numberBetween(0, 1_000_000),
};

/** The budget of one key: what the option `budget` takes besides a {@link RetryBudget}. */
export class BudgetShare {
  readonly #calls: BudgetCalls;
  readonly #key: string;

  /** @internal */
  constructor(calls: BudgetCalls, key: string) {
    this.#calls = calls;
    this.#key = key;
  }

  /** @internal */
  call(): void {
    this.#calls.call(this.#key);
  }

  /** @internal */
  success(): void {
    this.#calls.success(this.#key);
  }

  /** @internal */
  tryRetry(): boolean {
    return this.#calls.tryRetry(this.#key);
  }
}

/**
 * Bounds how many of all calls may be retries, so that a service that is down is not hit by a multiple of its load. A
 * retry that the budget does not allow is not made: the original error comes out at once, and nobody waits for tokens.
 *
 * It lives outside of the JavaScript heap, shared by the worker threads that give it one name. The 10,000 keys used
 * last are told apart.
 *
 * @example
 * const budget = new RetryBudget({ retryRatio: 0.1 });
 * await retry(() => charge(card), { budget: budget.for('api.stripe.com') });
 */
export class RetryBudget {
  readonly #native: InstanceType<typeof native.NativeRetryBudget>;
  readonly #calls: BudgetCalls;
  readonly #whole: BudgetShare;

  /** @throws TypeError or RangeError (`ERR_REPRISE_INVALID_OPTION`), also where a named budget has other numbers */
  constructor(options: RetryBudgetOptions = {}) {
    checkOptions('RetryBudget', options, RULES);
    const { mode = 'ratio', name, retryRatio = 0.2, minRetriesPerSecond = 10, windowMs = 10_000 } = options;
    const { maxTokens = 100, tokenRatio = 0.1 } = options;
    for (const foreign of mode === 'ratio' ? OF_THROTTLE : OF_RATIO) {
      const value = options[foreign];
      if (value !== undefined) throw invalidOption(TypeError, 'RetryBudget', foreign, value, `none with '${mode}'`);
    }
    try {
      this.#native =
        mode === 'ratio'
          ? new native.NativeRetryBudget(name, mode, retryRatio, minRetriesPerSecond, windowMs)
          : new native.NativeRetryBudget(name, mode, maxTokens, tokenRatio, 0);
    } catch (cause) {
      throw withCode(
        new TypeError(
          `RetryBudget: option "name" is ${JSON.stringify(name)}; a budget of that name has other numbers`,
          {
            cause,
          },
        ),
        'ERR_REPRISE_INVALID_OPTION',
      );
    }
    this.#calls = this.#native.calls();
    this.#whole = this.for('');
  }

  /** The budget of one key, for example of a host: keys do not spend each other's. */
  for(key: string): BudgetShare {
    return new BudgetShare(this.#calls, key);
  }

  /** What is left for a key: retries of `ratio`, tokens of `throttle`. */
  balance(key = ''): number {
    return this.#native.balance(key);
  }

  /** Moves this budget's clock forward, for tests. */
  advanceClock(byMs: number): void {
    checkOptions('RetryBudget.advanceClock', { byMs }, { byMs: wholeNumberBetween(0, Number.MAX_SAFE_INTEGER, 'ms') });
    this.#native.advanceClock(byMs);
  }

  /** @internal */
  static shareOf(budget: RetryBudget | BudgetShare): BudgetShare {
    return budget instanceof RetryBudget ? budget.#whole : budget;
  }
}

const OF_RATIO = ['retryRatio', 'minRetriesPerSecond', 'windowMs'] as const;
const OF_THROTTLE = ['maxTokens', 'tokenRatio'] as const;
