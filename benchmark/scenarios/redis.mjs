// (g): claim and complete through a Redis, beside what its client takes for two commands of the same sizes.
import { Redis } from 'ioredis';
import { Idempotency } from '@node-idempotency/core';
import { RedisStorageAdapter } from '@node-idempotency/storage-adapter-redis';
import { RedisStore } from '../../redis.js';
import { testServers } from '../servers.mjs';
import { measureSteps } from '../steps.mjs';
import { micros, ratio } from '../text.mjs';
import { ANSWER, claimOf, keyOf, pairThrough, replayed, VALUE } from '../pair.mjs';

const DAY_MS = 86_400_000;

/** Two commands that write what a claim and a completion send, and nothing around them. */
function bareCommands(client) {
  const claimed = 'c'.repeat(Object.values(claimOf(0)).join('').length);
  const answer = Buffer.concat([Buffer.from(ANSWER.head, 'latin1'), ANSWER.body]);
  return {
    name: 'two bare commands of ioredis',
    step: async (number) => {
      const key = `bare:${keyOf(number)}`;
      if ((await client.set(key, claimed, 'PX', DAY_MS, 'NX')) !== 'OK') throw new Error('not claimed');
      if ((await client.set(key, answer, 'PX', DAY_MS)) !== 'OK') throw new Error('not completed');
    },
    check: async (number) => Buffer.compare(await client.getBuffer(`bare:${keyOf(number)}`), answer) === 0,
  };
}

function nodeIdempotency(storage) {
  const idempotency = new Idempotency(storage, {});
  const asked = (number) => ({
    method: 'POST',
    headers: { 'idempotency-key': keyOf(number) },
    path: '/orders',
    body: VALUE,
  });
  return {
    name: '@node-idempotency/core',
    step: async (number) => {
      const request = asked(number);
      if ((await idempotency.onRequest(request)) !== undefined) throw new Error('not claimed');
      await idempotency.onResponse(request, { body: VALUE, additional: { status: 201 } });
    },
    check: async (number) => JSON.stringify((await idempotency.onRequest(asked(number)))?.body) === JSON.stringify(VALUE),
  };
}

/** How many commands a step sends: each waits for its reply before the next. */
async function commandsOf(client, step, number) {
  const { sendCommand } = client;
  let sent = 0;
  client.sendCommand = (...args) => {
    sent++;
    return sendCommand.apply(client, args);
  };
  await step(number);
  client.sendCommand = sendCommand;
  return sent;
}

export const redisScenario = {
  id: 'g',
  title: 'Redis: claim and complete',
  async run({ rounds, progress }) {
    const { startRedis } = await testServers();
    const server = await startRedis();
    const client = new Redis(server.port, '127.0.0.1');
    const storage = new RedisStorageAdapter({ url: `redis://127.0.0.1:${server.port}` });
    const store = new RedisStore({ client });
    try {
      await storage.connect();
      const [, version] = /redis_version:(\S+)/.exec(await client.info('server'));
      const own = { name: 'RedisStore with ioredis', step: pairThrough(store), check: (n) => replayed(store, n) };
      const subjects = [bareCommands(client), own, nodeIdempotency(storage)];
      const measured = [];
      for (const inFlight of [1, 32]) {
        // Each run has keys of its own.
        const first = measured.length * 1e7;
        const moved = subjects.map(({ name, step }) => ({ name, step: (number) => step(first + number) }));
        const onRound = (done, all) => progress(`${inFlight} in flight, round ${done} of ${all}`);
        measured.push(await measureSteps(moved, { rounds, steps: inFlight === 1 ? 300 : 2000, inFlight, onRound }));
      }
      const commands = await commandsOf(client, own.step, 1e8);
      const checked = [];
      for (const [at, { check }] of subjects.entries()) checked.push(await check(measured[0][at].steps - 1));
      const [alone, many] = measured;
      const table = (rows, title) => ({
        title,
        columns: ['', 'a pair, µs', 'of bare', 'CPU of the client, µs', 'of bare', 'checked'],
        rows: rows.map((row, at) => [
          row.name,
          micros(row.time.median),
          ratio(row.timeShare.median),
          micros(row.cpu.median),
          ratio(row.cpuShare.median),
          checked[at] ? 'yes' : 'the answer differs',
        ]),
      });
      const [, ownAlone, rivalAlone] = alone;
      const [, ownMany, rivalMany] = many;
      return {
        server: `Redis ${version}`,
        tables: [
          table(alone, `A claim and its completion with an answer of 1 KiB, one after the other, Redis ${version}`),
          table(many, '32 in flight'),
        ],
        verdicts: [
          { target: 'one round trip each', measured: `${commands} commands a pair`, isMet: commands === 2 },
          {
            target: 'client CPU ≤ 1.3 × two bare commands',
            measured: `${ratio(ownAlone.cpuShare.median)} × alone, ${ratio(ownMany.cpuShare.median)} × with 32 in flight`,
            isMet: Math.max(ownAlone.cpuShare.median, ownMany.cpuShare.median) <= 1.3,
          },
          {
            target: 'ahead of @node-idempotency/core',
            measured: `${ratio(ownAlone.time.median / rivalAlone.time.median)} and ${ratio(ownMany.time.median / rivalMany.time.median)} of its time`,
            isMet: ownAlone.time.median < rivalAlone.time.median && ownMany.time.median < rivalMany.time.median,
          },
        ],
      };
    } finally {
      await store.close();
      await storage.disconnect();
      client.disconnect();
      await server.stop();
    }
  },
};
