import { describe, it } from 'vitest';
import type { TestFramework } from '../../ts/testing/index.js';

/** Vitest, for suites that mostly wait: their cases, each with keys of its own, wait at the same time. */
export const waitingTogether: TestFramework = { describe: describe.concurrent, it };
