// (m): the memory store as a table, beside the tables that one would take for it.
import { TTLCache } from '@isaacs/ttlcache';
import { LRUCache } from 'lru-cache';
import { MemoryStore } from '../../index.js';
import { ANSWER, DAY, keyOf, pairThrough, replayed } from '../pair.mjs';
import { measureSteps } from '../steps.mjs';
import { nanos, ratio } from '../text.mjs';

const LIVE = 100_000;
const TTL_MS = DAY * 1000;
const OPEN = Object.freeze({ state: 'in progress', answer: undefined });

/** What a middleware does by hand: is there one, then ours; then its answer; then the same again for a duplicate. */
function byHand(name, table) {
  const step = (number) => {
    const key = keyOf(number);
    if (table.get(key) !== undefined) throw new Error('not claimed');
    table.set(key, OPEN);
    table.set(key, { state: 'completed', answer: { head: ANSWER.head, body: Buffer.from(ANSWER.body) } });
    if (table.get(key).state !== 'completed') throw new Error('not replayed');
  };
  return { name, step, count: () => table.size };
}

function reprise() {
  const store = new MemoryStore({ maxEntries: LIVE, maxBytes: LIVE * 2048 });
  const pair = pairThrough(store);
  const step = async (number) => {
    await pair(number);
    if (!(await replayed(store, number))) throw new Error('not replayed');
  };
  return { name: 'MemoryStore', step, count: () => store.stats().settled, close: () => store.close() };
}

export const tablesScenario = {
  id: 'm',
  title: 'The memory store, beside other tables',
  async run({ rounds, progress }) {
    const own = reprise();
    const subjects = [
      byHand('Map, without bound or expiry', new Map()),
      byHand('lru-cache with ttl', new LRUCache({ max: LIVE, ttl: TTL_MS })),
      byHand('@isaacs/ttlcache, without bound', new TTLCache({ ttl: TTL_MS })),
      own,
    ];
    try {
      for (const { name, step } of subjects) {
        progress(`${name} fills`);
        for (let number = 0; number < LIVE; number++) await step(1e9 + number);
      }
      const onRound = (done, all) => progress(`round ${done} of ${all}`);
      const rows = await measureSteps(subjects, { rounds, steps: 1000, inFlight: 1, onRound });
      return {
        tables: [
          {
            title: `Claim, complete with 1 KiB and replay of a new key, ${LIVE.toLocaleString('en')} records kept`,
            columns: ['', 'all three', 'of the Map', 'records'],
            rows: rows.map(({ name, time, timeShare }, at) => [
              name,
              nanos(time.median * 1000),
              ratio(timeShare.median),
              subjects[at].count().toLocaleString('en'),
            ]),
          },
        ],
        // Nothing was promised of it.
        verdicts: [],
      };
    } finally {
      own.close();
    }
  },
};
