// Fills a memory store in a process of its own, and tells what that took. See scenarios/records.mjs.
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
import { MemoryStore } from '../index.js';
import { quantile } from './statistics.mjs';

const records = Number(process.argv[2]);
const BODY = Buffer.alloc(1024, 'x');
const HEAD = '201\nCreated\n2026-01-01T00:00:00.000Z\nContent-Type\napplication/json';

const store = new MemoryStore({ maxBytes: 4 * 2 ** 30, maxEntries: 2 * records });
let longestGc = 0;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) longestGc = Math.max(longestGc, duration);
}).observe({ entryTypes: ['gc'] });
const loop = monitorEventLoopDelay({ resolution: 1 });

const digestOf = (i) => i.toString(16).padStart(64, '0').split('').reverse().join('');
const samples = {
  claim: new Float64Array(records),
  complete: new Float64Array(records),
  get: new Float64Array(records),
};
const fingerprint = 'f'.repeat(64);

async function one(i) {
  const key = digestOf(i);
  const owner = `${i}`;
  let since = performance.now();
  const claimed = store.claim({ key, fingerprint, identity: fingerprint, owner, leaseMs: 30_000, ttl: 3600 });
  samples.claim[i] = performance.now() - since;
  const { fence } = await claimed;
  since = performance.now();
  const completed = store.complete({ key, owner, fence }, { head: HEAD, body: BODY }, 3600);
  samples.complete[i] = performance.now() - since;
  await completed;
  since = performance.now();
  const found = store.inspect(digestOf(Math.floor(i / 2)));
  samples.get[i] = performance.now() - since;
  await found;
}

await one(0);
globalThis.gc();
const before = process.memoryUsage();
loop.enable();
for (let i = 1; i < records; i++) {
  await one(i);
  // As a server does between requests.
  if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
}
loop.disable();
globalThis.gc();
const after = process.memoryUsage();
const { settled } = store.stats();
const calls = Object.entries(samples).map(([call, taken]) => ({
  call,
  p50: quantile(taken, 0.5),
  p999: quantile(taken, 0.999),
  longest: quantile(taken, 1),
}));
process.send({
  settled,
  residentPerRecord: (after.rss - before.rss) / records,
  heapPerRecord: (after.heapUsed - before.heapUsed) / records,
  loopP99: loop.percentile(99) / 1e6,
  longestGc,
  calls,
});
process.disconnect();
