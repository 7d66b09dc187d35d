// A process with a FileStore and so many callers, each with one pair at a time. See scenarios/files.mjs.
import { FileStore } from '../index.js';
import { pairThrough, replayed } from './pair.mjs';

const [path, durability, callers, seconds, place] = process.argv.slice(2);
const store = new FileStore({ path, durability, maxEntries: 10_000_000, maxBytes: 4 * 2 ** 30 });
const pair = pairThrough(store);
// No two processes of one file name the same key; small numbers, which cost little to write.
const first = place * 100_000_000;
await pair(first);

/** Until V8 has compiled what it will: with four processes on few cores that takes a good part of a second. */
const WARM_UP_MS = 500;

process.once('message', async () => {
  const since = performance.now() + WARM_UP_MS;
  const until = since + seconds * 1000;
  let next = first + 1;
  let counted = 0;
  const caller = async () => {
    while (performance.now() < until) {
      await pair(next++);
      const now = performance.now();
      if (now >= since && now < until) counted++;
    }
  };
  await Promise.all(Array.from({ length: Number(callers) }, caller));
  const isReplayed = await replayed(store, next - 1);
  await store.close();
  process.send({ perSecond: counted / seconds, isReplayed });
  process.disconnect();
});
process.send('ready');
