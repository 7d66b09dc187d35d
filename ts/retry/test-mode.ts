import { aBoolean, checkOptions, wholeNumberBetween, type OptionRules } from '../options.js';

/** What {@link setTestMode} takes. */
export interface TestMode {
  /** No run makes more calls than this, whatever its own `maxAttempts`. */
  readonly maxAttempts?: number | undefined;
  /** Waits between attempts take 0 ms. A `Retry-After` too. Default true. */
  readonly noDelay?: boolean | undefined;
}

const RULES: OptionRules<TestMode> = { maxAttempts: wholeNumberBetween(1, 1_000_000), noDelay: aBoolean };

let mode: TestMode | undefined;

/**
 * For tests: every run of this module from now on waits 0 ms between attempts, and makes at most `maxAttempts` calls.
 * `false` ends it. Returns a function that restores what was before.
 *
 * @example
 * const restore = setTestMode({ maxAttempts: 2 });
 * afterAll(restore);
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
export function setTestMode(options: TestMode | false): () => void {
  const checked = options === false ? undefined : checkOptions('setTestMode', options, RULES);
  const before = mode;
  mode = checked;
  return () => {
    mode = before;
  };
}

/** @internal */
export function testedAttempts(maxAttempts: number): number {
  return Math.min(maxAttempts, mode?.maxAttempts ?? Infinity);
}

/** @internal */
export function testedDelay(delayMs: number): number {
  return mode === undefined || mode.noDelay === false ? delayMs : 0;
}
