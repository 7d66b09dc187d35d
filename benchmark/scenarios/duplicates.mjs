// (e): sixty-four clients send the same request at once.
import { Client, postText } from '../client.mjs';
import { open } from '../paired.mjs';
import { quantile } from '../statistics.mjs';
import { handWritten, nodeIdempotency, reprise } from '../subjects.mjs';
import { micros, ratio } from '../text.mjs';

const CLIENTS = 64;
const HANDLER_MS = 50;
const ANSWER = { id: 4711, status: 'paid' };

async function burst(subject, rounds, progress) {
  const server = await open(subject, { answer: ANSWER, delayMs: HANDLER_MS });
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => Client.open(server.port)));
  const times = [];
  let sameAnswer = 0;
  try {
    for (let round = 0; round < rounds; round++) {
      const text = postText('/orders', '{"item":"book"}', { 'Idempotency-Key': `e-${round}` });
      const since = performance.now();
      const answers = await Promise.all(clients.map((client) => client.send(text)));
      times.push(performance.now() - since);
      sameAnswer += answers.filter(({ status, body }) => status === 201 && body === JSON.stringify(ANSWER)).length;
      progress(`${subject.name}, burst ${round + 1} of ${rounds}`);
    }
  } finally {
    for (const client of clients) client.close();
    server.close();
  }
  return {
    name: subject.name,
    runs: server.state.executions / rounds,
    answered: sameAnswer / rounds,
    millis: quantile(times, 0.5),
  };
}

export const duplicatesScenario = {
  id: 'e',
  title: '64 duplicates at once of a 50 ms handler',
  async run({ rounds, progress }) {
    const waiting = reprise({ onConcurrent: 'wait' }, 'reprise, onConcurrent: wait');
    const rows = [];
    for (const subject of [waiting, reprise({}, 'reprise, default (409)'), handWritten, nodeIdempotency]) {
      rows.push(await burst(subject, rounds, progress));
    }
    const [own] = rows;
    const share = own.millis / HANDLER_MS;
    return {
      tables: [
        {
          title: 'Per burst of 64; the others are refused with 409',
          columns: ['middleware', 'runs of the handler', 'got the answer', 'all answered within, ms'],
          rows: rows.map(({ name, runs, answered, millis }) => [name, ratio(runs), ratio(answered), micros(millis)]),
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
