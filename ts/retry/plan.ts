import type { Logger } from '../logger.js';
import { native } from '../native.js';
import {
  aFunction,
  checkOptions,
  hasMethods,
  invalidOption,
  numberBetween,
  oneOf,
  wholeNumberBetween,
  type OptionRules,
} from '../options.js';
import { BudgetShare, RetryBudget } from './budget.js';
import { CONFIG_RULES, RetryConfig, type RetryConfigInit } from './config.js';
import type { RetryEvent } from './events.js';
import type { OpenTelemetryApi } from './trace.js';

/**
 * How waits are spread: `none`, `full` (between 0 and the delay), `equal` (half of it, and up to as much again), or
 * `decorrelated` (between `initialDelayMs` and three times the wait before, up to `maxDelayMs`).
 */
export type Jitter = 'none' | 'full' | 'equal' | 'decorrelated';

/** What {@link RetryOptions.shouldRetry} learns besides the error. */
export interface FailureContext {
  /** Which call failed, from 1. */
  readonly attempt: number;
  readonly maxAttempts: number;
}

/** How often, how long, and under what circumstances to retry. All is optional. */
export interface RetryOptions extends RetryConfigInit {
  /** Names the runs in events and logs. One name for many runs: no ids in it. */
  readonly name?: string | undefined;
  /** How waits are spread. Default `full`; of the named presets `none`. */
  readonly jitter?: Jitter | undefined;
  /** Makes the jitter repeatable: same seed, same waits. A whole number. Default: by chance, anew for each run. */
  readonly seed?: number | undefined;
  /** Ends the run at once, during an attempt or a wait, with its own reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds that one attempt may take; then `ctx.signal` aborts and the attempt counts as failed. */
  readonly attemptTimeoutMs?: number | undefined;
  /** Milliseconds for all attempts and waits together, by a clock that nobody sets back. */
  readonly totalTimeoutMs?: number | undefined;
  /** Longest `Retry-After` that is waited for; above it the run ends. Default `maxDelayMs`, at least 60 000. */
  readonly maxRetryAfterMs?: number | undefined;
  /** Whether to retry over this error; undefined leaves it to the default rule. What it throws ends the run. */
  readonly shouldRetry?:
    ((error: unknown, context: FailureContext) => boolean | undefined | PromiseLike<boolean | undefined>) | undefined;
  /** Bounds the share of retries among all calls. */
  readonly budget?: RetryBudget | BudgetShare | undefined;
  /** Is told what happens. What it throws changes nothing. */
  readonly onEvent?: ((event: RetryEvent) => unknown) | undefined;
  /** A pino-shaped logger: `logger.warn(fields, message)`. */
  readonly logger?: Logger | undefined;
  /** `@opentelemetry/api`: log lines then name the active span. */
  readonly openTelemetry?: OpenTelemetryApi | undefined;
}

const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** All of {@link RetryOptions} but the numbers of a {@link RetryConfig}. */
export type RunOptions = Omit<RetryOptions, keyof RetryConfigInit>;

export const RUN_RULES: OptionRules<RunOptions> = {
  name: {
    allowed: 'a string that is not empty',
    type: (value) => typeof value === 'string',
    range: (value: string) => value !== '',
  },
  jitter: oneOf('none', 'full', 'equal', 'decorrelated'),
  seed: wholeNumberBetween(0, Number.MAX_SAFE_INTEGER),
  signal: { allowed: 'an AbortSignal', type: (value) => hasMethods(value, 'addEventListener', 'throwIfAborted') },
  attemptTimeoutMs: numberBetween(1, LONGEST_TIMEOUT_MS, 'milliseconds'),
  totalTimeoutMs: numberBetween(1, LONGEST_TIMEOUT_MS, 'milliseconds'),
  maxRetryAfterMs: numberBetween(0, Number.MAX_SAFE_INTEGER, 'milliseconds'),
  shouldRetry: aFunction('(error, context) => boolean'),
  budget: {
    allowed: 'a RetryBudget, or its for(key)',
    type: (value) => value instanceof RetryBudget || value instanceof BudgetShare,
  },
  onEvent: aFunction('(event) => void'),
  logger: {
    allowed: 'an object with debug, info, warn and error, as a pino logger',
    type: (value) => hasMethods(value, 'debug', 'info', 'warn', 'error'),
  },
  openTelemetry: {
    allowed: 'the exports of @opentelemetry/api',
    type: (value) => typeof value === 'object' && value !== null && 'trace' in value,
  },
};

export const RETRY_RULES: OptionRules<RetryOptions> = { ...CONFIG_RULES, ...RUN_RULES };

/** Options, checked and complete: what a run goes by. */
export interface Plan {
  readonly config: RetryConfig;
  readonly name: string | undefined;
  readonly jitter: Jitter;
  readonly seed: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly attemptTimeoutMs: number | undefined;
  readonly totalTimeoutMs: number | undefined;
  readonly maxRetryAfterMs: number;
  readonly shouldRetry: RetryOptions['shouldRetry'];
  readonly budget: BudgetShare | undefined;
  readonly onEvent: RetryOptions['onEvent'];
  readonly logger: Logger | undefined;
  readonly openTelemetry: OpenTelemetryApi | undefined;
  /** Whether the first attempt has nothing around it: nothing to bound it, to pay for it, or to hear of it. */
  readonly isPlain: boolean;
}

/**
 * The plan that options make, over defaults. `owner` is the public function that the caller used.
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
export function makePlan(owner: string, options: RetryOptions | undefined, defaults: RetryOptions): Plan {
  return planOf({ ...defaults, ...definedOf(checkOptions(owner, options, RETRY_RULES)) });
}

/** The plan of options that were checked. */
export function planOf(options: RetryOptions): Plan {
  const { maxAttempts, initialDelayMs, maxDelayMs, exponentialBase } = options;
  const config = new RetryConfig({ maxAttempts, initialDelayMs, maxDelayMs, exponentialBase });
  const { signal, attemptTimeoutMs, totalTimeoutMs, budget, onEvent, logger } = options;
  return {
    config,
    name: options.name,
    jitter: options.jitter ?? 'full',
    seed: options.seed,
    signal,
    attemptTimeoutMs,
    totalTimeoutMs,
    maxRetryAfterMs: options.maxRetryAfterMs ?? Math.max(config.maxDelayMs, 60_000),
    shouldRetry: options.shouldRetry,
    budget: budget && RetryBudget.shareOf(budget),
    onEvent,
    logger,
    openTelemetry: options.openTelemetry,
    isPlain: [signal, attemptTimeoutMs, totalTimeoutMs, budget, onEvent, logger].every((one) => one === undefined),
  };
}

/** The members that are there: one that is undefined counts as absent, and leaves the default alone. */
export function definedOf<T extends object>(options: T | undefined): Partial<T> {
  const defined: Partial<T> = { ...options };
  for (const name of Object.keys(defined) as (keyof T)[]) {
    if (defined[name] === undefined) Reflect.deleteProperty(defined, name);
  }
  return defined;
}

/** What {@link schedule} and {@link worstCaseMs} look at. */
export type ScheduleOptions = Pick<RetryOptions, keyof RetryConfigInit | 'jitter' | 'seed' | 'attemptTimeoutMs'>;

/**
 * The waits between the attempts, in milliseconds. With jitter and a seed as they will be; with jitter and no seed the
 * longest there can be. Jitter is `none` unless given.
 *
 * @example
 * schedule({ maxAttempts: 5, initialDelayMs: 2_000 }); // [2000, 4000, 8000, 16000]
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
export function schedule(options?: ScheduleOptions): number[] {
  return scheduleOver({}, options);
}

/** @internal {@link schedule} with other defaults. */
export function scheduleOver(defaults: ScheduleOptions, options: ScheduleOptions | undefined): number[] {
  const plan = makePlan('schedule', options, { jitter: 'none', ...defaults });
  if (plan.config.maxAttempts === Infinity) {
    throw invalidOption(RangeError, 'schedule', 'maxAttempts', Infinity, 'a number of attempts that comes to an end');
  }
  return delaysOf(plan);
}

/**
 * The longest that a run can take, in milliseconds: all waits, and all attempts where `attemptTimeoutMs` bounds them.
 * A `Retry-After` may make it longer, `totalTimeoutMs` shorter. Infinity where there is no last attempt.
 *
 * @example
 * worstCaseMs({ maxAttempts: 5, initialDelayMs: 2_000, maxDelayMs: 60_000 }); // 30000
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
export function worstCaseMs(options?: ScheduleOptions): number {
  const plan = makePlan('worstCaseMs', options, { jitter: 'none' });
  if (plan.config.maxAttempts === Infinity) return Infinity;
  const waits = delaysOf(plan).reduce((sum, delay) => sum + delay, 0);
  return waits + (plan.attemptTimeoutMs ?? 0) * plan.config.maxAttempts;
}

function delaysOf({ config, jitter, seed }: Plan): number[] {
  const { maxAttempts, initialDelayMs, maxDelayMs, exponentialBase } = config;
  return native.retryDelays(maxAttempts, initialDelayMs, maxDelayMs, exponentialBase, jitter, seed);
}
