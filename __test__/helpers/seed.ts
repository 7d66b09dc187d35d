import fc from 'fast-check';

/**
 * Property tests try the same inputs in every run, so that a change is what makes them fail: a pull request must not
 * stumble over an input that chance found. `TEST_SEED=random` lets chance look for new ones, as CI does every night;
 * a counterexample is printed with its seed, and `TEST_SEED=<number>` tries it again.
 */
const seed = process.env['TEST_SEED'] ?? '20261127';
if (seed !== 'random') fc.configureGlobal({ seed: Number(seed) });
