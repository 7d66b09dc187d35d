// A process with a FileStore and so many callers, each with one pair at a time. See scenarios/files.mjs.
import { randomInt } from 'node:crypto';
import { FileStore } from '../index.js';
import { pairThrough, replayed } from './pair.mjs';

const [path, durability, callers, seconds] = process.argv.slice(2);
const store = new FileStore({ path, durability, maxEntries: 10_000_000, maxBytes: 4 * 2 ** 30 });
const pair = pairThrough(store);
// No two processes ever name the same key.
const first = randomInt(2 ** 40) * 1000;
await pair(first);

process.once('message', async () => {
  const since = performance.now();
  const until = since + seconds * 1000;
  let next = first + 1;
  const caller = async () => {
    while (performance.now() < until) await pair(next++);
  };
  await Promise.all(Array.from({ length: Number(callers) }, caller));
  const perSecond = ((next - first - 1) * 1000) / (performance.now() - since);
  const isReplayed = await replayed(store, next - 1);
  await store.close();
  process.send({ perSecond, isReplayed });
  process.disconnect();
});
process.send('ready');
