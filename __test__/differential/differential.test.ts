import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { differencesIn } from './explore.js';
import { openFixtures, type Fixtures } from './fixtures.js';
import { regressions } from './regressions.js';
import { search } from './search.js';

// The same application with us and without: random handlers, stacks and clients. CONTRIBUTING.md says how to run it for
// longer, and what to do with what it prints.

const SECONDS = Number(process.env['REPRISE_DIFFERENTIAL_SECONDS'] ?? '45');
const SEED = process.env['TEST_SEED'] ?? '20261127';
const seed = SEED === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(SEED);
/** For making a scenario that differs smaller. */
const SHRINKING_MS = 120_000;

let fixtures: Fixtures;
beforeAll(async () => {
  fixtures = await openFixtures();
});
afterAll(async () => {
  await fixtures.close();
});

describe('what once differed with us does not any more', () => {
  it.each(regressions)('%s', async (_name, scenario) => {
    expect(await differencesIn(fixtures, scenario)).toEqual([]);
  });
});

it(
  'with us, nobody sees anything else than without',
  async () => {
    const { tried, fault } = await search(fixtures, seed, SECONDS * 1000);
    const scenario = JSON.stringify(fault?.scenario);
    expect(fault?.differences ?? [], `TEST_SEED=${seed}, scenario ${tried}: ${scenario}`).toEqual([]);
    expect(tried).toBeGreaterThan(0);
  },
  SECONDS * 1000 + SHRINKING_MS,
);
