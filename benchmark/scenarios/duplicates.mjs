// (e): sixty-four clients of another process send the same request at once.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { postText } from '../client.mjs';
import { open, WARM_UP_ROUNDS } from '../paired.mjs';
import { summary } from '../statistics.mjs';
import { bare, handWritten, nodeIdempotency, reprise } from '../subjects.mjs';
import { ratio } from '../text.mjs';

const CLIENT = path.join(import.meta.dirname, '..', 'burst-client.mjs');
const CLIENTS = 64;
const HANDLER_MS = 50;
/** A round takes less than half a second: there are more than of others. */
const SHARE_OF_ROUNDS = 3;
const ANSWER = { id: 4711, status: 'paid' };

/** A server with its own clients, and what came of the bursts that count. */
async function opened(subject) {
  const server = await open(subject, { answer: ANSWER, delayMs: HANDLER_MS });
  const clients = fork(CLIENT, [String(server.port), String(CLIENTS)]);
  await once(clients, 'message');
  return { subject, server, clients, times: [], sameAnswer: 0 };
}

async function burst({ clients }, round) {
  clients.send(postText('/orders', '{"item":"book"}', { 'Idempotency-Key': `e-${round}` }));
  const [{ millis, answers }] = await once(clients, 'message');
  const isSame = ({ status, body }) => status === 201 && body === JSON.stringify(ANSWER);
  return { millis, sameAnswer: answers.filter(isSame).length };
}

/** Bursts of all subjects in turn, so that what disturbs the machine disturbs all of them alike. */
async function bursts(subjects, rounds, progress) {
  const all = [];
  try {
    for (const subject of subjects) all.push(await opened(subject));
    for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
      for (const one of all) {
        const { millis, sameAnswer } = await burst(one, round);
        if (round < 0) continue;
        one.times.push(millis);
        one.sameAnswer += sameAnswer;
      }
      progress(`burst ${round + WARM_UP_ROUNDS + 1} of ${rounds + WARM_UP_ROUNDS}`);
    }
    return all.map(({ subject, server, times, sameAnswer }) => ({
      name: subject.name,
      runs: server.state.executions / (rounds + WARM_UP_ROUNDS),
      answered: sameAnswer / rounds,
      ...summary(times),
    }));
  } finally {
    for (const { server, clients } of all) {
      clients.disconnect();
      server.close();
    }
  }
}

export const duplicatesScenario = {
  id: 'e',
  title: '64 duplicates at once of a 50 ms handler',
  async run({ rounds, progress }) {
    const waiting = reprise({ onConcurrent: 'wait' }, 'reprise, onConcurrent: wait');
    const refusing = reprise({}, 'reprise, default (409)');
    const subjects = [bare, waiting, refusing, handWritten, nodeIdempotency];
    const rows = await bursts(subjects, rounds * SHARE_OF_ROUNDS, progress);
    const own = rows[1];
    const share = own.median / HANDLER_MS;
    return {
      tables: [
        {
          title: 'Per burst of 64; without onConcurrent: wait, all but one are refused with 409',
          columns: ['middleware', 'runs of the handler', 'got the answer', 'all answered within, ms'],
          rows: rows.map(({ name, runs, answered, median, low, high }) => [
            name,
            ratio(runs),
            ratio(answered),
            `${median.toFixed(1)} (${low.toFixed(1)} … ${high.toFixed(1)})`,
          ]),
        },
      ],
      verdicts: [
        { target: 'one execution', measured: ratio(own.runs), isMet: own.runs === 1 },
        {
          target: 'with wait, all answered within 1.1 × the handler’s time',
          measured: `${ratio(own.answered)} of 64 within ${ratio(share)} ×`,
          isMet: own.answered === CLIENTS && share <= 1.1,
        },
      ],
    };
  },
};
