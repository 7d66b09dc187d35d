import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { MemoryStore, retryWithCheckpoint, type AtomicStore } from '../../ts/index.js';

it('a claim that the store grants after its time limit is freed: the task can run', async () => {
  const memory = new MemoryStore();
  let delayMs = 300;
  // Delegates to the memory store, which keeps claims by itself for as long as this thread lives.
  const store = new Proxy<AtomicStore>(memory, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== 'function') return value;
      return async (...given: unknown[]) => {
        if (name === 'claim') await sleep(delayMs);
        return (value as (...given: unknown[]) => unknown).apply(target, given);
      };
    },
  });
  const task = retryWithCheckpoint({ store, name: 'task', storeTimeoutMs: 50, leaseMs: 10_000 })(async (id: string) => {
    await sleep(1);
    return `done ${id}`;
  });
  await expect(task('a')).rejects.toMatchObject({ code: 'ERR_REPRISE_CHECKPOINT_LOAD' });
  await sleep(400);
  delayMs = 0;
  expect(await task('a')).toBe('done a');
});
