import type { ChaosLatency } from '../../native/binding.js';
import { checkShape, invalidOption, listOf, numberBetween, oneOf, wholeNumberBetween } from '../options.js';
import type { OptionRule } from '../options.js';

/** How long a delay is, in milliseconds. What a law would put above `maxMs` (default 60 000) is that. */
export type ChaosDelay =
  /** Whole milliseconds from `minMs` to `maxMs`, each as likely; the same twice for a fixed delay. */
  | { readonly law: 'uniform'; readonly minMs: number; readonly maxMs: number }
  | { readonly law: 'normal'; readonly meanMs: number; readonly deviationMs: number; readonly maxMs?: number }
  /** `sigma`: the standard deviation of the logarithm. */
  | { readonly law: 'lognormal'; readonly medianMs: number; readonly sigma: number; readonly maxMs?: number }
  | { readonly law: 'pareto'; readonly minMs: number; readonly alpha: number; readonly maxMs?: number }
  /** Pairs of a share and the delay that it stays at or below, from share 0 to share 1, with lines between them. */
  | { readonly law: 'percentiles'; readonly points: readonly (readonly [share: number, ms: number])[] };

/** What a timer can hold. */
const MAX_MS = 2_147_483_647;
const ms = wholeNumberBetween(0, MAX_MS, 'milliseconds');
const positive = numberBetween(Number.MIN_VALUE, MAX_MS);

const law: OptionRule = oneOf('uniform', 'normal', 'lognormal', 'pareto', 'percentiles');
const DELAYS: Readonly<Record<ChaosDelay['law'], Record<string, OptionRule>>> = {
  uniform: { law, minMs: ms, maxMs: ms },
  normal: { law, meanMs: ms, deviationMs: ms, maxMs: ms },
  lognormal: { law, medianMs: positive, sigma: numberBetween(0, 100), maxMs: ms },
  pareto: { law, minMs: positive, alpha: positive, maxMs: ms },
  percentiles: { law, points: listOf('a list of [share, ms]', (point) => Array.isArray(point) && point.length === 2) },
};

/** Refuses a delay that cannot be right. `at` is where it stands. */
export function checkDelay(at: string, delay: ChaosDelay): void {
  const optional = delay.law === 'uniform' ? [] : ['maxMs'];
  checkShape(at, delay, 'law', DELAYS, optional);
  if (delay.law === 'uniform' && delay.minMs > delay.maxMs) {
    throw invalidOption(RangeError, at, 'minMs', delay.minMs, `at most maxMs, which is ${delay.maxMs}`);
  }
  if (delay.law !== 'percentiles') return;
  const { points } = delay;
  const rises = points.every(([share, at], n) => {
    const before = points[n - 1];
    return before === undefined ? share === 0 && at >= 0 : share > before[0] && at >= before[1];
  });
  const last = points.at(-1);
  if (!rises || last?.[0] !== 1 || last[1] > MAX_MS || points.length < 2) {
    throw invalidOption(RangeError, at, 'points', points, 'shares that rise from 0 to 1, delays that do not fall');
  }
}

/** What the engine is told of a delay. */
export function planDelay(delay: ChaosDelay): ChaosLatency {
  const maxMs = 'maxMs' in delay ? (delay.maxMs ?? 60_000) : 60_000;
  switch (delay.law) {
    case 'uniform':
      return { law: delay.law, parameters: [delay.minMs], maxMs };
    case 'normal':
      return { law: delay.law, parameters: [delay.meanMs, delay.deviationMs], maxMs };
    case 'lognormal':
      return { law: delay.law, parameters: [delay.medianMs, delay.sigma], maxMs };
    case 'pareto':
      return { law: delay.law, parameters: [delay.minMs, delay.alpha], maxMs };
    case 'percentiles':
      return { law: delay.law, parameters: delay.points.flat(), maxMs };
  }
}
