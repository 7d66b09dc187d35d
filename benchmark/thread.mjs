// A worker thread with a MemoryStore that it shares with others. See scenarios/threads.mjs.
import { parentPort, workerData } from 'node:worker_threads';
import { MemoryStore } from '../index.js';
import { pairThrough, replayed } from './pair.mjs';

const { which, live } = workerData;
const store = new MemoryStore({ name: 'benchmark', maxEntries: live, maxBytes: live * 2048 });
const pair = pairThrough(store);
// Far apart, so that no two threads ever name the same key.
let next = which * 1e12;

parentPort.on('message', async (pairs) => {
  const end = next + pairs;
  for (; next < end; next++) {
    await pair(next);
    if (!(await replayed(store, next))) throw new Error('not replayed');
  }
  parentPort.postMessage(store.stats().settled);
});
parentPort.postMessage('ready');
