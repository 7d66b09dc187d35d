import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('a hundred thousand runs leave no timer, no listener and no memory behind', { timeout: 180_000 }, async () => {
  const program = join(__dirname, 'fixtures/many-runs.cjs');
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', program], { timeout: 170_000 });
  const left = JSON.parse(stdout) as Record<string, number>;
  expect(left).toMatchObject({ resources: 0, listeners: 0 });
  // Less than 13 bytes for each of the runs after the first 20 000.
  expect(left['heapGrowthMiB']).toBeLessThan(1);
  expect(left['rssGrowthMiB']).toBeLessThan(64);
});
