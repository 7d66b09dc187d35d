'use strict';

// Two kernels count the words of documents for a server. Chaos kills one at every second request, and one every fifth
// of a second. The server starts it again, and the job goes on from its last checkpoint: no document is counted twice,
// and at most one interval of them is read again for each kernel that was lost.
const path = require('node:path');
const { MessageChannel, Worker } = require('node:worker_threads');
const express = require('express');
const {
  chaosMiddleware,
  getChaosMetrics,
  initChaos,
  kernelOf,
  MemoryStore,
  registerKernel,
  retryWithCheckpoint,
} = require('reprise');

/** Documents between two checkpoints: what a lost kernel costs at most. */
const INTERVAL = 5;

initChaos({
  seed: 42,
  kernelKillProbability: 0.5,
  kernelKills: { meanTimeBetweenMs: 200, neverLast: true },
});

/** The workers that are ready, the least recently used first. */
const ready = [];
const waiting = [];

/** Starts a kernel, and starts it again whenever it is lost. Chaos may kill it once it is ready. */
function start(id) {
  const worker = new Worker(path.join(__dirname, 'kernel.cjs'));
  worker.once('online', () => {
    registerKernel(kernelOf(worker, { id, group: 'counting' }));
    ready.push(worker);
    waiting.shift()?.();
  });
  worker.once('exit', () => {
    if (ready.includes(worker)) ready.splice(ready.indexOf(worker), 1);
    start(id);
  });
}
for (const id of ['kernel-1', 'kernel-2']) start(id);

/** A kernel that is ready. */
async function aKernel() {
  while (ready.length === 0) await new Promise((resolve) => waiting.push(resolve));
  const worker = ready.shift();
  ready.push(worker);
  return worker;
}

/** Has a kernel go on from a state; rejects when the kernel is lost meanwhile. */
function goOn(worker, state, upTo, counted) {
  return new Promise((resolve, reject) => {
    const { port1, port2 } = new MessageChannel();
    const lost = () => {
      port1.close();
      reject(new Error('the kernel was lost'));
    };
    if (worker.threadId === -1) return lost();
    worker.once('exit', lost);
    port1.on('message', (message) => {
      if ('counted' in message) return counted(message.counted);
      worker.off('exit', lost);
      resolve(message.state);
    });
    worker.postMessage({ state, upTo, answer: port2 }, [port2]);
  });
}

/** How many documents were read for a job, those that were read again included. */
const read = new Map();

const countWords = retryWithCheckpoint({
  store: new MemoryStore(),
  name: 'count-words',
  config: { maxAttempts: 1_000, initialDelayMs: 10, maxDelayMs: 100 },
})(async (job, documents, task) => {
  const worker = await aKernel();
  let state = task.checkpointState ?? { next: 0, words: 0 };
  while (state.next < documents) {
    const upTo = Math.min(state.next + INTERVAL, documents);
    state = await goOn(worker, state, upTo, () => read.set(job, (read.get(job) ?? 0) + 1));
    await task.saveCheckpoint(state);
  }
  return { words: state.words, attempts: task.attempt };
});

const app = express();
app.get('/api/chaos/metrics', (req, res) => res.json(getChaosMetrics()));
app.use(express.json());
app.use(chaosMiddleware());
app.post('/jobs/:id', async (req, res) => {
  const { id } = req.params;
  const { documents } = req.body;
  const { words, attempts } = await countWords(id, documents);
  res.json({ documents, words, attempts, read: read.get(id), interval: INTERVAL });
});

const server = app.listen(process.env.PORT ?? 5000, () => {
  console.log(`listening on port ${server.address().port}`);
});
process.once('SIGINT', () => process.exit());
