// (j): what a call costs under a retry. Blocks of calls in turn, as with requests.
import { ConstantBackoff, handleAll, retry as cockatielRetry } from 'cockatiel';
import pRetry from 'p-retry';
import { retry, withRetry } from '../../index.js';
import { median } from '../statistics.mjs';
import { nanos, ratio } from '../text.mjs';

const FAILURES = 2;

async function handLoop(task) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await task();
    } catch (error) {
      if (attempt > FAILURES) throw error;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

const policy = cockatielRetry(handleAll, { maxAttempts: FAILURES, backoff: new ConstantBackoff(0) });
const settings = { maxAttempts: FAILURES + 1, initialDelayMs: 0 };
const prepared = withRetry((task) => task(), settings);

const RETRIES = [
  ['hand-written loop', handLoop],
  ['reprise, withRetry', (task) => prepared(task)],
  ['cockatiel', (task) => policy.execute(task)],
  ['reprise, retry with options', (task) => retry(task, settings)],
  ['p-retry', (task) => pRetry(task, { retries: FAILURES, minTimeout: 0, maxTimeout: 0 })],
];

/** Nanoseconds per call, median over rounds; each task fails as often as said, then succeeds. */
async function measureCalls(failures, calls, rounds, progress) {
  const blocks = RETRIES.map(() => []);
  let runs = 0;
  let expected = 0;
  for (let round = -3; round < rounds; round++) {
    for (const [at, [, run]] of RETRIES.entries()) {
      const since = performance.now();
      for (let call = 0; call < calls; call++) {
        let left = failures;
        await run(async () => {
          runs++;
          if (left-- > 0) throw new Error('try again');
          return 'done';
        });
      }
      if (round >= 0) blocks[at].push(((performance.now() - since) * 1e6) / calls);
      expected += calls * (failures + 1);
    }
    progress(`${failures} failures, round ${round + 4} of ${rounds + 3}`);
  }
  if (runs !== expected) throw new Error(`${runs} runs instead of ${expected}`);
  return blocks.map((block) => median(block));
}

export const retryScenario = {
  id: 'j',
  title: 'Retry',
  async run({ rounds, progress }) {
    const atOnce = await measureCalls(0, 2000, rounds, progress);
    const late = await measureCalls(FAILURES, 20, rounds, progress);
    const [, own, cockatiel, , pRetryTime] = atOnce;
    const [, ownLate, cockatielLate, , pRetryLate] = late;
    return {
      tables: [
        {
          title: 'Time per call',
          columns: ['', 'success at once', 'of a loop', 'two failures, zero delay', 'of a loop'],
          rows: RETRIES.map(([name], at) => [
            name,
            nanos(atOnce[at]),
            ratio(atOnce[at] / atOnce[0]),
            nanos(late[at]),
            ratio(late[at] / late[0]),
          ]),
        },
      ],
      verdicts: [
        {
          target: 'success at once: ahead of cockatiel and p-retry',
          measured: `${ratio(own / cockatiel)} and ${ratio(own / pRetryTime)} of their time`,
          isMet: own < cockatiel && own < pRetryTime,
        },
        {
          target: 'after two failures with zero delay: ahead of both',
          measured: `${ratio(ownLate / cockatielLate)} and ${ratio(ownLate / pRetryLate)} of their time`,
          isMet: ownLate < cockatielLate && ownLate < pRetryLate,
        },
      ],
    };
  },
};
