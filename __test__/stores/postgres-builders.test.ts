import { randomUUID } from 'node:crypto';
import knexFactory, { type Knex } from 'knex';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AtomicStore } from '../../ts/index.js';
import { PostgresStore, type PostgresAdapter } from '../../ts/stores/postgres/index.js';
import { storeContract } from '../../ts/testing/index.js';
import { insertOrder } from './fixtures/drizzle.cjs';
import { poolOf, postgresPrograms, startPostgres, type TestServer } from './servers.js';
import { waitingTogether as framework } from './waiting-together.js';

const ANSWER = { head: '201\n\n2026-11-23T10:00:00.000Z', body: Buffer.from('made') };

async function claim(store: AtomicStore) {
  const asked = { key: randomUUID(), fingerprint: 'f', identity: 'i', owner: randomUUID(), leaseMs: 60_000, ttl: 3600 };
  const found = await store.claim(asked);
  if (found.outcome !== 'claimed') throw new Error(`answered ${found.outcome}`);
  return { ...asked, fence: found.fence };
}

describe.skipIf(postgresPrograms === undefined)('query builders, in the transaction of PostgresStore', () => {
  let server: TestServer;
  let pool: Pool;
  let knex: Knex;

  beforeAll(async () => {
    server = await startPostgres();
    pool = poolOf(server);
    knex = knexFactory({ client: 'pg', connection: `postgres://postgres@127.0.0.1:${server.port}/postgres` });
    await pool.query('CREATE TABLE orders (key text NOT NULL, item text NOT NULL)');
  });

  afterAll(async () => {
    await knex.destroy();
    await pool.end();
    await server.stop();
  });

  const ordersOf = async (key: string) => (await pool.query('SELECT 1 FROM orders WHERE key = $1', [key])).rowCount;

  /** Both are there, or neither is. */
  async function commitsTogether(store: AtomicStore, insert: (tx: unknown, key: string) => Promise<unknown>) {
    const [made, taken] = [await claim(store), await claim(store)];
    const order = async (held: typeof made, end: typeof ANSWER | undefined) =>
      store.transaction?.(held, 60, async (tx) => {
        await insert(tx, held.key);
        return end;
      });
    expect(await order(made, ANSWER)).toBe(true);
    expect(await order(taken, undefined)).toBe(false);
    expect([await ordersOf(made.key), await ordersOf(taken.key)]).toEqual([1, 0]);
    expect(await store.inspect(made.key)).toMatchObject({ state: 'completed' });
    expect(await store.inspect(taken.key)).toMatchObject({ state: 'in-progress' });
  }

  it('Drizzle', async () => {
    await commitsTogether(new PostgresStore({ client: pool }), insertOrder);
  });

  // As docs/stores.md has it.
  const withKnex: PostgresAdapter<Knex.Transaction> = {
    query: (text, values) => raw(knex, text, values),
    transaction: (run) => knex.transaction((trx) => run(trx, (text, values) => raw(trx, text, values))),
  };

  async function raw(on: Knex, text: string, values: readonly unknown[] = []) {
    const bindings: unknown[] = [];
    const sql = text.replace(/\?/g, '\\?').replace(/\$(\d+)/g, (_, n) => {
      bindings.push(values[Number(n) - 1]);
      return '?';
    });
    return (await on.raw<{ rows: Record<string, unknown>[] }>(sql, bindings as never)).rows;
  }

  it('Knex', async () => {
    const store = new PostgresStore({ client: withKnex });
    await commitsTogether(store, async (tx, key) => (tx as Knex.Transaction)('orders').insert({ key, item: 'book' }));
  });

  storeContract(() => new PostgresStore({ client: withKnex, table: 'by_knex' }), { title: 'Knex', framework });
});
