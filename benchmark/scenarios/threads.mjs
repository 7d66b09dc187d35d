// (l): one store, shared by worker threads; and the core by itself, on one thread and on two.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { cargoBench, ROOT } from '../cargo.mjs';
import { summary } from '../statistics.mjs';
import { ratio } from '../text.mjs';

const WORKER = path.join(import.meta.dirname, '..', 'thread.mjs');
const LIVE = 100_000;
const PAIRS = 20_000;

const perSecond = (value) => `${Math.round(value / 1000).toLocaleString('en')} k/s`;

async function openThread(which) {
  const worker = new Worker(WORKER, { workerData: { which, live: LIVE } });
  await once(worker, 'message');
  return worker;
}

/** So many pairs on each thread, and how many of them were done in a second by all together. */
async function pairsPerSecond(workers) {
  const since = performance.now();
  const answers = workers.map((worker) => once(worker, 'message'));
  for (const worker of workers) worker.postMessage(PAIRS);
  await Promise.all(answers);
  return (PAIRS * workers.length * 1000) / (performance.now() - since);
}

async function onThreads({ rounds, progress }) {
  const workers = [await openThread(1), await openThread(2)];
  const [one, two] = [[], []];
  try {
    for (let round = -2; round < rounds; round++) {
      const alone = await pairsPerSecond([workers[Math.abs(round) % 2]]);
      const both = await pairsPerSecond(workers);
      if (round >= 0) (one.push(alone), two.push(both));
      progress(`round ${round + 3} of ${rounds + 2}`);
    }
  } finally {
    for (const worker of workers) await worker.terminate();
  }
  return {
    one: summary(one).median,
    two: summary(two).median,
    share: summary(two.map((value, round) => value / one[round])).median,
  };
}

/** What criterion measured just now: per second on one thread and on two. */
async function inTheCore(progress) {
  progress('cargo bench, which is built first');
  await cargoBench('core', '--', '^(pairs|sha256)/', '--noplot', '--quiet');
  const rate = (group, threads) => {
    const file = path.join(ROOT, 'target', 'criterion', group, String(threads), 'new', 'estimates.json');
    return (threads * 1e9) / JSON.parse(readFileSync(file, 'utf8')).median.point_estimate;
  };
  return ['pairs', 'sha256'].map((group) => {
    const [one, two] = [rate(group, 1), rate(group, 2)];
    return { one, two, share: two / one };
  });
}

export const threadsScenario = {
  id: 'l',
  title: 'Threads that share a memory store',
  async run({ rounds, progress }) {
    const workers = await onThreads({ rounds, progress });
    const [core, alone] = await inTheCore(progress);
    const row = (name, { one, two, share }) => [name, perSecond(one), perSecond(two), ratio(share)];
    return {
      tables: [
        {
          title: 'Claim, complete with 1 KiB and replay of a new key',
          columns: ['', 'one thread', 'two threads', 'two of one'],
          rows: [
            row('worker threads, through MemoryStore', workers),
            row('the core (cargo bench)', core),
            row('SHA-256 of 1 KiB, which shares nothing: what this machine can', alone),
          ],
        },
      ],
      verdicts: [
        {
          target: 'the core on two threads ≥ 1.7 × one',
          measured: `${ratio(core.share)} ×; work that shares nothing ${ratio(alone.share)} ×`,
          isMet: core.share >= 1.7,
        },
      ],
    };
  },
};
