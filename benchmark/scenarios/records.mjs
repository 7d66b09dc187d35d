// (k): what many records weigh, and whether a call ever holds the JavaScript thread.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { micros, nanos } from '../text.mjs';

const RECORDS = 1_000_000;
const PAYLOAD = 1024;
/** What is "without records": the same work, and next to nothing kept of it. */
const FEW = 1000;
const CHILD = path.join(import.meta.dirname, '..', 'records-child.mjs');

/** What a million claims and completions take in a store that keeps up to so many of their records. */
async function fill(kept, progress) {
  progress(`${kept.toLocaleString('en')} records kept`);
  const child = fork(CHILD, [String(RECORDS), String(kept)], { execArgv: ['--expose-gc'] });
  const [message] = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => [undefined])]);
  if (message === undefined) throw new Error('The process that fills the store died');
  if (message.settled !== RECORDS) throw new Error(`${message.settled} records instead of ${RECORDS}`);
  return message;
}

export const recordsScenario = {
  id: 'k',
  title: 'A million records of 1 KiB in the memory store',
  async run({ progress }) {
    const found = await fill(2 * RECORDS, progress);
    const without = await fill(FEW, progress);
    const longest = Math.max(...found.calls.filter(({ call }) => call !== 'nothing').map((call) => call.longest));
    const allowed = 1.1 * PAYLOAD + 550;
    return {
      tables: [
        {
          title: `Claim, complete and get, one after the other. Event-loop delay p99 ${found.loopP99.toFixed(1)} ms (${without.loopP99.toFixed(1)} ms where no more than 1,000 are kept), longest GC pause ${found.longestGc.toFixed(1)} ms, JavaScript heap ${micros(found.heapPerRecord)} B a record`,
          columns: ['call', 'p50', 'p99.9', 'longest'],
          rows: found.calls.map(({ call, p50, p999, longest }) => [
            call,
            nanos(p50 * 1e6),
            nanos(p999 * 1e6),
            nanos(longest * 1e6),
          ]),
        },
      ],
      verdicts: [
        {
          target: `resident memory ≤ 1.1 × payload + 550 B (${allowed.toFixed(0)} B) a record`,
          measured: `${found.residentPerRecord.toFixed(0)} B`,
          isMet: found.residentPerRecord <= allowed,
        },
        {
          target: 'event-loop delay p99 ≤ 2 × that without records',
          measured: `${found.loopP99.toFixed(1)} ms against ${without.loopP99.toFixed(1)} ms`,
          isMet: found.loopP99 <= 2 * without.loopP99,
        },
        {
          target: 'no call longer than the longest GC pause',
          measured: `${longest.toFixed(1)} ms against ${found.longestGc.toFixed(1)} ms`,
          isMet: longest <= found.longestGc,
        },
      ],
    };
  },
};
