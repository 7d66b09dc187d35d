import fc from 'fast-check';
import { scenarios } from './arbitraries.js';
import type { Difference } from './compare.js';
import { differencesIn } from './explore.js';
import type { Fixtures } from './fixtures.js';
import type { Scenario } from './scenario.js';
import { shrink } from './shrink.js';

/** A scenario that differs with us, as small as it was made. */
export interface Fault {
  readonly scenario: Scenario;
  readonly differences: readonly Difference[];
}

/** How many scenarios are made at a time. */
const BATCH = 50;

/**
 * Tries random scenarios until the time is up, or a scenario differs.
 *
 * @returns how many were tried, and what was found
 */
export async function search(
  fixtures: Fixtures,
  seed: number,
  ms: number,
  isKnown: (fault: Fault) => boolean = () => false,
): Promise<{ tried: number; fault: Fault | undefined }> {
  const until = performance.now() + ms;
  let tried = 0;
  for (let batch = 0; ; batch++) {
    for (const scenario of fc.sample(scenarios, { seed: seed + batch, numRuns: BATCH })) {
      if (performance.now() > until) return { tried, fault: undefined };
      tried++;
      const differences = await differencesIn(fixtures, scenario);
      if (differences.length === 0 || isKnown({ scenario, differences })) continue;
      return { tried, fault: await smallest(fixtures, scenario, differences) };
    }
  }
}

/** The smallest scenario that differs in the same thing. */
async function smallest(fixtures: Fixtures, scenario: Scenario, differences: readonly Difference[]): Promise<Fault> {
  const what = differences[0]?.what;
  let last = differences;
  const small = await shrink(scenario, async (candidate) => {
    const found = await differencesIn(fixtures, candidate, 1);
    const fails = found.some((difference) => difference.what === what);
    if (fails) last = found;
    return fails;
  });
  return { scenario: small, differences: last };
}
