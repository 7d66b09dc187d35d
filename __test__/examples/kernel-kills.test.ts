import { expect, it } from 'vitest';
import type { ChaosMetrics } from '../../ts/index.js';
import { startProgram } from './programs.js';

interface Job {
  readonly documents: number;
  readonly words: number;
  /** Calls of the task: all but the last one lost their kernel. */
  readonly attempts: number;
  /** How often a document was read. */
  readonly read: number;
  readonly interval: number;
}

it(
  'kernel-kills: every document counts once, and a lost kernel costs at most one interval',
  { timeout: 120_000 },
  async () => {
    const { output } = await startProgram(['examples/kernel-kills/server.cjs'], /listening on port \d+\n/, {
      env: { PORT: '0' },
    });
    const at = `http://localhost:${/port (\d+)/.exec(output)?.[1] ?? ''}`;
    const documents = 40;
    const words = Array.from({ length: documents }, (_, n) => (n * 7_919) % 1_000).reduce((sum, n) => sum + n);

    let recovered = 0;
    let kernelsKilled = 0;
    // Who dies when is up to the machine too, so: until enough have died in the middle of their work.
    for (let n = 0; n < 100 && (recovered < 3 || kernelsKilled < 3); n++) {
      const answer = await fetch(`${at}/jobs/job-${n}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ documents }),
      });
      expect(answer.status).toBe(200);
      const job = (await answer.json()) as Job;
      expect(job.words).toBe(words);
      expect(job.read).toBeGreaterThanOrEqual(documents);
      expect(job.read - documents).toBeLessThanOrEqual(job.interval * (job.attempts - 1));
      recovered += job.attempts - 1;
      ({ kernelsKilled } = (await (await fetch(`${at}/api/chaos/metrics`)).json()) as ChaosMetrics);
    }
    expect(recovered).toBeGreaterThanOrEqual(3);
    expect(kernelsKilled).toBeGreaterThanOrEqual(3);
  },
);
