import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

// In a process of its own: what is measured is the whole process, and nothing else may live in it.
const program = `
  const { MemoryStore } = require(${JSON.stringify(path.join(__dirname, '../../index.js'))});
  const maxBytes = 64 * 1024 * 1024;
  const store = new MemoryStore({ maxBytes });
  const body = Buffer.alloc(1024, 'x');
  const names = (key) => ({ key, fingerprint: 'f', identity: 'i', owner: key, leaseMs: 600_000, ttl: 86_400 });
  const rss = () => process.memoryUsage().rss / 2 ** 20;
  (async () => {
    for (let i = 0; i < 500; i++) await store.claim(names('held ' + i));
    global.gc();
    const before = rss();
    let peak = 0;
    for (let i = 0; i < 200_000; i++) {
      const key = 'done ' + i;
      const { fence } = await store.claim(names(key));
      await store.complete({ key, owner: key, fence }, { head: '200', body }, 86_400);
      if (i % 2_000 === 0) {
        await new Promise(setImmediate);
        peak = Math.max(peak, rss() - before);
      }
    }
    let kept = 0;
    for (let i = 0; i < 500; i++) {
      const again = await store.claim({ ...names('held ' + i), owner: 'another' });
      if (again.outcome === 'in-progress') kept++;
    }
    console.log(JSON.stringify({ peak, kept, maxBytes, ...store.stats() }));
  })();
`;

test('§6.6: keys without end stay within the bound, in the store and in the process, and no claim is lost', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '-e', program]);
  const seen = JSON.parse(stdout) as Record<'peak' | 'kept' | 'maxBytes' | 'bytes' | 'settled' | 'evicted', number>;
  expect(seen.kept).toBe(500);
  expect(seen.bytes).toBeLessThanOrEqual(seen.maxBytes);
  expect(seen.settled + seen.evicted).toBe(200_000);
  // Beside the 64 MiB: what the allocators hold back, V8's own heap, records on their way out. Unbounded, the
  // records alone would take 300 MiB.
  expect(seen.peak).toBeLessThan(64 * 1.75 + 40);
}, 120_000);
