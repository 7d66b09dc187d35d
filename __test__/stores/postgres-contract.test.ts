import { Client, type Pool } from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, describe } from 'vitest';
import { PostgresStore } from '../../ts/stores/postgres/index.js';
import { storeContract } from '../../ts/testing/index.js';
import { poolOf, postgresPrograms, startPostgres, type TestServer } from './servers.js';
import { waitingTogether as framework } from './waiting-together.js';

describe.skipIf(postgresPrograms === undefined)('PostgresStore', () => {
  let server: TestServer;
  let pool: Pool;
  let single: Client;
  let sql: ReturnType<typeof postgres>;

  beforeAll(async () => {
    server = await startPostgres();
    const connectionString = `postgres://postgres@127.0.0.1:${server.port}/postgres`;
    pool = poolOf(server);
    single = new Client({ connectionString });
    await single.connect();
    sql = postgres(connectionString, { onnotice: () => undefined });
  });

  afterAll(async () => {
    await pool.end();
    await single.end();
    await sql.end();
    await server.stop();
  });

  // Keys are each case's own: one table serves all.
  storeContract(() => new PostgresStore({ client: pool }), { title: 'a Pool of pg', framework });
  // All stores share its one connection.
  storeContract(() => new PostgresStore({ client: single, table: 'single' }), { title: 'a Client of pg', framework });
  storeContract(() => new PostgresStore({ client: sql, table: 'js' }), { title: 'postgres.js', framework });
  // As a query builder would be wrapped: it cannot listen, and gives plain bytes.
  storeContract(
    () => {
      const plain = (value: unknown) => (Buffer.isBuffer(value) ? Uint8Array.from(value) : value);
      const query = async (text: string, values?: readonly unknown[]) => {
        const { rows } = await pool.query<Record<string, unknown>>(text, values && [...values]);
        return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])));
      };
      return new PostgresStore({ client: { query } });
    },
    { title: 'an adapter', framework },
  );
});
