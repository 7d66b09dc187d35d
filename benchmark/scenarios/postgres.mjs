// (h): claim and complete through a PostgreSQL, beside the same two statements; and the transaction of a handler, beside a
// plain one.
import express from 'express';
import { statementsFor } from '../../dist/stores/postgres/statements.js';
import { idempotencyMiddleware } from '../../index.js';
import { PostgresStore } from '../../postgres.js';
import { postText } from '../client.mjs';
import { ANSWER, claimOf, DAY, keyOf, pairThrough, replayed } from '../pair.mjs';
import { listening, measure } from '../paired.mjs';
import { testServers } from '../servers.mjs';
import { measureSteps } from '../steps.mjs';
import { micros, ratio, signed } from '../text.mjs';

const TABLE = 'reprise_records';

/** The texts and values that the store sends, prepared as it does, by the pool itself. */
function bareStatements(pool) {
  const { claim, settle } = statementsFor(TABLE);
  const head = Buffer.from(ANSWER.head, 'latin1');
  return {
    name: 'the two statements by pg alone',
    step: async (number) => {
      const { key, fingerprint, identity, owner, leaseMs, ttl } = claimOf(number);
      const asked = [key, fingerprint, identity, owner, leaseMs, ttl * 1000, false];
      const claimed = await pool.query({ name: 'claim', text: claim, values: asked });
      const { fence } = claimed.rows[0];
      const answered = [key, owner, fence, 'completed', DAY * 1000, head, ANSWER.body];
      const settled = await pool.query({ name: 'settle', text: settle, values: answered });
      if (settled.rows.length !== 1) throw new Error('not completed');
    },
  };
}

/** The least that keeps a key and an answer: no states, no leases, no fences. */
function leastStatements(pool) {
  return {
    name: 'INSERT and UPDATE of a table of four columns',
    step: async (number) => {
      const { key, fingerprint } = claimOf(number);
      const insert = 'INSERT INTO least (key, fingerprint) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING key';
      const { rows } = await pool.query({ name: 'insert', text: insert, values: [key, fingerprint] });
      if (rows.length !== 1) throw new Error('not claimed');
      const update = 'UPDATE least SET head = $2, body = $3 WHERE key = $1';
      await pool.query({ name: 'update', text: update, values: [key, ANSWER.head, ANSWER.body] });
    },
  };
}

/** An Express server whose handler writes one row in a transaction, with or without the record in it. */
async function transactionServer(name, pool, store) {
  const guard = store && idempotencyMiddleware({ store });
  const state = { executions: 0, stop: () => guard?.close() };
  const app = express().use(express.json());
  const insert = async (tx, item) => {
    state.executions++;
    await tx.query('INSERT INTO orders (item) VALUES ($1)', [item]);
  };
  if (guard) app.use(guard);
  app.post('/orders', async (req, res) => {
    const { item } = req.body;
    if (guard) {
      await req.idempotency.transaction(async (tx) => {
        await insert(tx, item);
        res.status(201).json({ item });
      });
      return;
    }
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await insert(client, item);
      await client.query('COMMIT');
    } finally {
      client.release();
    }
    res.status(201).json({ item });
  });
  return listening({ name }, app, state);
}

async function transactions(pool, store, { rounds, progress }) {
  const servers = [
    await transactionServer('BEGIN, INSERT, COMMIT', pool),
    await transactionServer('the same, with its record (req.idempotency.transaction)', pool, store),
  ];
  try {
    return await measure([servers], {
      rounds,
      requests: 50,
      warmUpRounds: 3,
      request: (round, i) => postText('/orders', '{"item":"book"}', { 'Idempotency-Key': `h-${round}-${i}` }),
      expectedBody: '{"item":"book"}',
      expectedRuns: ({ sent }) => sent,
      onRound: (done, all) => progress(`transaction, round ${done} of ${all}`),
    });
  } finally {
    for (const server of servers) server.close();
  }
}

export const postgresScenario = {
  id: 'h',
  title: 'PostgreSQL: claim and complete, and the transaction',
  async run({ rounds, progress }) {
    const { poolOf, startPostgres } = await testServers();
    const server = await startPostgres();
    const pool = poolOf(server);
    const store = new PostgresStore({ client: pool });
    try {
      // Makes the table.
      await store.inspect(keyOf(0));
      await pool.query('CREATE TABLE least (key text PRIMARY KEY, fingerprint text NOT NULL, head text, body bytea)');
      await pool.query('CREATE TABLE orders (id bigserial PRIMARY KEY, item text NOT NULL)');
      const { rows } = await pool.query('SHOW server_version');
      const [version] = rows[0].server_version.split(' ');
      const own = { name: 'PostgresStore with pg', step: pairThrough(store) };
      // The first two write to one table: keys of their own.
      const subjects = [bareStatements(pool), own, leastStatements(pool)];
      const measured = [];
      for (const inFlight of [1, 32]) {
        const first = measured.length * 1e7;
        const moved = subjects.map(({ name, step }, at) => ({
          name,
          step: (number) => step(first + at * 1e8 + number),
        }));
        const onRound = (done, all) => progress(`${inFlight} in flight, round ${done} of ${all}`);
        measured.push(await measureSteps(moved, { rounds, steps: inFlight === 1 ? 60 : 300, inFlight, onRound }));
      }
      const [alone, many] = measured;
      const isReplayed = await replayed(store, 1e8 + alone[1].steps - 1);
      const plain = await transactions(pool, store, { rounds, progress });
      const table = (rows, title) => ({
        title,
        columns: ['', 'a pair, µs', 'of the statements', 'CPU of the client, µs', 'of theirs'],
        rows: rows.map((row) => [
          row.name,
          micros(row.time.median),
          ratio(row.timeShare.median),
          micros(row.cpu.median),
          ratio(row.cpuShare.median),
        ]),
      });
      const shares = measured.map((rows) => rows[1].timeShare.median);
      return {
        tables: [
          table(alone, `A claim and its completion with an answer of 1 KiB, one after the other, PostgreSQL ${version}`),
          table(many, '32 in flight, over a pool of 10'),
          {
            title: 'A request of Express whose handler writes one row in a transaction',
            columns: ['', 'in the server, µs', 'added, µs', 'of plain', 'checked'],
            rows: plain.map((row) => [
              row.name,
              micros(row.time.median),
              `${signed(row.added.median)} (${signed(row.added.low)} … ${signed(row.added.high)})`,
              ratio(row.share.median),
              row.wrongBodies === 0 && row.surplusRuns === 0 ? 'yes' : `${row.wrongBodies} answers differ, ${row.surplusRuns} runs`,
            ]),
          },
        ],
        verdicts: [
          {
            target: 'one statement each, ≤ 1.15 × the two by pg alone',
            measured: `${ratio(shares[0])} × alone, ${ratio(shares[1])} × with 32 in flight; ${isReplayed ? 'replayed' : 'not replayed'}`,
            isMet: Math.max(...shares) <= 1.15 && isReplayed,
          },
        ],
      };
    } finally {
      await store.close();
      await pool.end();
      await server.stop();
    }
  },
};
