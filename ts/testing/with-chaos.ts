import type { Chaos } from '../chaos/api.js';
import { armChaos } from '../chaos/chaos.js';
import { Kernels } from '../chaos/kernels/registry.js';
import { CHAOS_RULES, checkChaosOptions } from '../chaos/options.js';
import type { ChaosOptions } from '../chaos/options.js';
import { RULE } from '../chaos/rules.js';
import type { ChaosRule } from '../chaos/rules.js';
import { aFunction, anObject, checkArgument, checkOptions } from '../options.js';
import type { OptionRules } from '../options.js';

/** Which requests fail, and with which statuses; `{}` is every request. */
export type FailingRequests = Omit<ChaosRule, 'name' | 'fault'> & {
  /** A list, or weights by status; default 500, 503, 504 and 429 evenly. */
  readonly statuses?: readonly number[] | Readonly<Record<number, number>> | undefined;
};

/** What {@link withChaos} takes: options of {@link createChaos}, and a short form of the fault that tests need most. */
export interface WithChaosOptions extends ChaosOptions {
  /** These are answered with an error instead of running the handler: a rule named `fail`, before all other rules. */
  readonly fail?: FailingRequests | undefined;
}

const FAIL: OptionRules<FailingRequests> = {
  match: RULE.match,
  probability: RULE.probability,
  askedBy: RULE.askedBy,
  attempts: RULE.attempts,
  first: RULE.first,
  every: RULE.every,
  max: RULE.max,
  ramp: RULE.ramp,
  window: RULE.window,
  statuses: {
    allowed: 'a list of statuses, or weights by status',
    type: (value) => typeof value === 'object' && value !== null,
  },
};

/**
 * Runs a test under chaos of its own, and turns that off whatever the test does. It shares nothing with any other
 * chaos, so tests may run at once. The seed is a fixed one unless given: the same test meets the same faults.
 *
 * @returns what `fn` returns
 * @throws what `fn` throws; TypeError or RangeError with a code, for wrong options; Error with code
 *   `ERR_REPRISE_CHAOS_IN_PRODUCTION` where chaos is not allowed, so that no test passes for want of it
 * @example
 * await withChaos({ fail: { attempts: [1, 2] } }, async (chaos) => {
 *   app.use(chaos.middleware());
 *   expect(await client.pay()).toEqual({ paid: true }); // at its third attempt
 *   expect(chaos.metrics().failuresInjected).toBe(2);
 * });
 */
export async function withChaos<T>(
  options: WithChaosOptions,
  fn: (chaos: Chaos) => T | PromiseLike<T>,
): Promise<Awaited<T>> {
  const chaosOptions = optionsOf(options);
  checkArgument('withChaos', 'fn', fn, aFunction('(chaos) => unknown'));
  const chaos = armChaos('withChaos', { seed: 'withChaos', ...chaosOptions, enabled: false }, new Kernels());
  try {
    if (chaosOptions.enabled !== false) chaos.arm();
    return await fn(chaos);
  } finally {
    chaos.close();
  }
}

function optionsOf(options: WithChaosOptions): ChaosOptions {
  checkArgument('withChaos', 'options', options, anObject);
  const { fail, ...others } = checkOptions('withChaos', options, { ...CHAOS_RULES, fail: anObject });
  if (fail !== undefined) {
    const { statuses, ...when } = checkOptions('withChaos: fail', fail, FAIL);
    const rule: ChaosRule = { name: 'fail', fault: { kind: 'error', statuses }, ...when };
    const chaosOptions = { ...others, rules: [rule, ...(others.rules ?? [])] };
    checkChaosOptions('withChaos', chaosOptions);
    return chaosOptions;
  }
  checkChaosOptions('withChaos', others);
  return others;
}
