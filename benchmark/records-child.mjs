// Does a million claims and completions in a process of its own, and tells what that took; the store keeps as many of them
// as it is told. See scenarios/records.mjs.
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
import { MemoryStore } from '../index.js';
import { quantile } from './statistics.mjs';

const [records, kept] = process.argv.slice(2).map(Number);
const WARM_UP = 100_000;
const BODY = Buffer.alloc(1024, 'x');
const HEAD = '201\nCreated\n2026-01-01T00:00:00.000Z\nContent-Type\napplication/json';

const store = new MemoryStore({ maxBytes: 4 * 2 ** 30, maxEntries: kept });
let pauses = [];
const observer = new PerformanceObserver((list) => pauses.push(...list.getEntries()));
observer.observe({ entryTypes: ['gc'] });
const loop = monitorEventLoopDelay({ resolution: 1 });

const digestOf = (i) => i.toString(16).padStart(64, '0').split('').reverse().join('');
// Written to, so that they are resident before the records are.
const samples = {
  claim: new Float64Array(records).fill(1),
  complete: new Float64Array(records).fill(1),
  get: new Float64Array(records).fill(1),
  // About as long as the longest of them, and nothing of the store's: what the system alone does to a million calls.
  nothing: new Float64Array(records).fill(1),
};
/** Calls so long that a pause of the collector may lie within them. */
const LONG = 0.5;
let long = [];

function took(call, i, since) {
  const until = performance.now();
  samples[call][i] = until - since;
  if (until - since > LONG) long.push({ call, i, since, until });
}
const fingerprint = 'f'.repeat(64);

async function one(store, i) {
  const key = digestOf(i);
  const owner = `${i}`;
  let since = performance.now();
  const claimed = store.claim({ key, fingerprint, identity: fingerprint, owner, leaseMs: 30_000, ttl: 3600 });
  took('claim', i, since);
  const { fence } = await claimed;
  since = performance.now();
  const completed = store.complete({ key, owner, fence }, { head: HEAD, body: BODY }, 3600);
  took('complete', i, since);
  await completed;
  since = performance.now();
  const found = store.inspect(digestOf(i - Math.floor(Math.min(i, kept) / 2)));
  took('get', i, since);
  await found;
  since = performance.now();
  for (let times = 0; times < 5; times++) digestOf(i);
  took('nothing', i, since);
}

// The JavaScript heap grows to the size that it works at, over a store of next to nothing: what comes after that is the
// records'.
const small = new MemoryStore({ maxEntries: 1000 });
for (let i = 0; i < WARM_UP; i++) await one(small, i);
small.close();
await one(store, 0);
globalThis.gc();
observer.takeRecords();
pauses = [];
long = [];
const before = process.memoryUsage();
loop.enable();
for (let i = 1; i < records; i++) {
  await one(store, i);
  // As a server does between requests.
  if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
}
loop.disable();
globalThis.gc();
const after = process.memoryUsage();
pauses.push(...observer.takeRecords());
// A call makes a promise, and the collector may come in between: its pause is not the call's.
for (const { call, i, since, until } of long) {
  for (const { startTime, duration } of pauses) {
    const inside = Math.min(until, startTime + duration) - Math.max(since, startTime);
    if (inside > 0) samples[call][i] -= inside;
  }
}
const { settled, evicted } = store.stats();
const calls = Object.entries(samples).map(([call, taken]) => ({
  call,
  p50: quantile(taken, 0.5),
  p999: quantile(taken, 0.999),
  longest: quantile(taken, 1),
}));
process.send({
  settled: settled + evicted,
  residentPerRecord: (after.rss - before.rss) / records,
  heapPerRecord: (after.heapUsed - before.heapUsed) / records,
  loopP99: loop.percentile(99) / 1e6,
  longestGc: Math.max(...pauses.map(({ duration }) => duration)),
  calls,
});
process.disconnect();
