import { afterAll, beforeAll, expect, it } from 'vitest';
import { openFixtures, type Fixtures } from './fixtures.js';
import { search } from './search.js';

// The same application with us and without: random handlers, stacks and clients. CONTRIBUTING.md says how to run it for
// longer, and what to do with what it prints.

const SECONDS = Number(process.env['REPRISE_DIFFERENTIAL_SECONDS'] ?? '50');
const SEED = process.env['TEST_SEED'] ?? '20261127';
const seed = SEED === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(SEED);

let fixtures: Fixtures;
beforeAll(async () => {
  fixtures = await openFixtures();
});
afterAll(async () => {
  await fixtures.close();
});

it(
  'with us, nobody sees anything else than without',
  async () => {
    const { tried, fault } = await search(fixtures, seed, SECONDS * 1000);
    expect(fault, `seed ${seed}, scenario ${tried}`).toBeUndefined();
    expect(tried).toBeGreaterThan(0);
  },
  SECONDS * 1000 + 120_000,
);
