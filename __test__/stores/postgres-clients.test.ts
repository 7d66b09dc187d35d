import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, Pool } from 'pg';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ClaimRequest } from '../../ts/index.js';
import { PostgresStore } from '../../ts/stores/postgres/index.js';
import { poolOf, postgresPrograms, startPostgres, type TestServer } from './servers.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const ANSWER = { head: '200\n\n2026-11-23T10:00:00.000Z', body: Buffer.from('kept') };

function request(): ClaimRequest {
  const key = randomUUID();
  return { key, fingerprint: 'f', identity: 'i', owner: randomUUID(), leaseMs: 600_000, ttl: 3600 };
}

async function claim(store: PostgresStore, asked: ClaimRequest) {
  const found = await store.claim(asked);
  if (found.outcome !== 'claimed') throw new Error(`answered ${found.outcome}`);
  return { key: asked.key, owner: asked.owner, fence: found.fence };
}

describe.skipIf(postgresPrograms === undefined)('PostgresStore and the clients and tables that users have', () => {
  let server: TestServer;
  let url: string;
  let pool: Pool;

  beforeAll(async () => {
    server = await startPostgres();
    url = `postgres://postgres@127.0.0.1:${server.port}/postgres`;
    pool = poolOf(server);
  });

  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  const open = (options: ConstructorParameters<typeof PostgresStore>[0]): PostgresStore => {
    const store = new PostgresStore(options);
    cleanups.push(async () => store.close());
    return store;
  };

  /** Waits for a claim, until the database knows of it; then ends it. */
  async function wakes(store: PostgresStore, table: string): Promise<void> {
    const held = await claim(store, request());
    const waiting = store.waitFor?.(held.key);
    const isWaited = async () => {
      const { rows } = await pool.query<{ waited: boolean }>(`SELECT waited FROM ${table} WHERE key = $1`, [held.key]);
      return rows[0]?.waited;
    };
    while (!(await isWaited())) await delay(10);
    expect(await store.complete(held, ANSWER, 60)).toBe(true);
    // Its lease is ten minutes.
    await waiting;
  }

  it('wakes those that wait in a store while another one of the same connection is closed', async () => {
    const client = new Client({ connectionString: url });
    await client.connect();
    cleanups.push(async () => client.end());
    const [first, second] = [open({ client }), open({ client })];
    await wakes(first, 'reprise_records');
    await wakes(second, 'reprise_records');
    await first.close();
    await wakes(second, 'reprise_records');
    await second.close();
    const { rows } = await client.query('SELECT pg_listening_channels()');
    expect(rows).toEqual([]);
  });

  it.each([
    ['as long as PostgreSQL takes them', 'r'.repeat(63)],
    ['of many bytes', `"${'ключи'.repeat(6)}"`],
    ['with signs of SQL', `"rec'o""rds; --"`],
  ])('keeps its table, index and channel apart for names %s', async (_, quoted) => {
    const table = quoted.replace(/^"|"$/g, '').replaceAll('""', '"');
    await wakes(open({ client: pool, table }), quoted);
    const { rows } = await pool.query('SELECT 1 FROM pg_indexes WHERE tablename = $1', [table]);
    // That of the key, and that of the sweep.
    expect(rows.length).toBe(2);
  });

  it('has a connection prepare a statement once', async () => {
    const own = new Pool({ connectionString: url, max: 1 });
    cleanups.push(() => own.end());
    const store = new PostgresStore({ client: own });
    cleanups.push(() => store.close());
    for (let i = 0; i < 3; i++) {
      const asked = request();
      expect(await store.complete(await claim(store, asked), ANSWER, 60)).toBe(true);
      expect((await store.claim({ ...asked, owner: 'another' })).outcome).toBe('completed');
    }
    const { rows } = await own.query("SELECT statement FROM pg_prepared_statements WHERE name LIKE 'reprise:%'");
    expect(rows).toHaveLength(2);
  });

  it('goes on unprepared behind a pooler whose connections know nothing of what was prepared', async () => {
    const own = new Pool({ connectionString: url, max: 1 });
    cleanups.push(() => own.end());
    const store = new PostgresStore({ client: own });
    cleanups.push(() => store.close());
    const asked = request();
    const first = await claim(store, asked);
    // What a pooler's other connection knows.
    await own.query('DEALLOCATE ALL');
    expect((await store.claim({ ...asked, owner: 'another' })).outcome).toBe('in-progress');
    expect(await store.complete(first, ANSWER, 60)).toBe(true);
    const { rows } = await own.query("SELECT statement FROM pg_prepared_statements WHERE name LIKE 'reprise:%'");
    expect(rows).toEqual([]);
  });

  it('goes on unprepared where another one has prepared the same on the connection that a pooler gives it', async () => {
    const own = new Pool({ connectionString: url, max: 1 });
    cleanups.push(() => own.end());
    const [first, second] = [new PostgresStore({ client: own }), new PostgresStore({ client: own })];
    cleanups.push(() => Promise.all([first.close(), second.close()]));
    const { key, owner, fence } = await claim(first, request());
    // A client of pg knows what it has prepared itself. Behind a pooler another one has, whose names are the same.
    own.once('acquire', (client) => {
      (client as unknown as { connection: { parsedStatements: object } }).connection.parsedStatements = {};
    });
    await claim(second, request());
    expect(await second.complete({ key, owner, fence }, ANSWER, 60)).toBe(true);
    const { rows } = await own.query("SELECT statement FROM pg_prepared_statements WHERE name LIKE 'reprise:%'");
    expect(rows).toEqual([]);
  });

  describe('what ends a claim in a transaction', () => {
    /** One connection, a store over it, and the statements that it has prepared. */
    async function single(onConnect: (client: Client) => void = () => undefined) {
      const own = new Pool({ connectionString: url, max: 1 }).on('connect', (client) => {
        onConnect(client);
      });
      cleanups.push(() => own.end());
      const store = new PostgresStore({ client: own });
      cleanups.push(() => store.close());
      await own.query('CREATE TABLE IF NOT EXISTS orders (item text)');
      const inTransaction = async (item: string, meanwhile?: string): Promise<boolean | undefined> =>
        store.transaction?.(await claim(store, request()), 60, async (tx) => {
          await (tx as Client).query('INSERT INTO orders VALUES ($1)', [item]);
          if (meanwhile !== undefined) await (tx as Client).query(meanwhile);
          return ANSWER;
        });
      const prepared = async () => {
        const { rows } = await own.query<{ statement: string }>(
          "SELECT statement FROM pg_prepared_statements WHERE name LIKE 'reprise:%'",
        );
        return rows.map(({ statement }) => (statement.includes('WITH settled') ? 'settle' : 'claim')).sort();
      };
      const orders = async () => (await own.query("SELECT 1 FROM orders WHERE item = 'in doubt'")).rows.length;
      return { inTransaction, prepared, orders };
    }

    it('is prepared once, too', async () => {
      const { inTransaction, prepared } = await single();
      for (let i = 0; i < 3; i++) expect(await inTransaction('book')).toBe(true);
      expect(await prepared()).toEqual(['claim', 'settle']);
    });

    it('is not prepared where a pooler may be in between, which tells a number of its own', async () => {
      const { inTransaction, prepared } = await single((client) => {
        Object.assign(client, { processID: 4711 });
      });
      for (let i = 0; i < 3; i++) expect(await inTransaction('book')).toBe(true);
      expect(await prepared()).toEqual(['claim']);
    });

    it('takes all back where the connection was made to forget it, once', async () => {
      const { inTransaction, prepared, orders } = await single();
      expect(await inTransaction('book')).toBe(true);
      await expect(inTransaction('in doubt', 'DEALLOCATE ALL')).rejects.toMatchObject({ code: '26000' });
      expect(await orders()).toBe(0);
      expect(await inTransaction('in doubt', 'DEALLOCATE ALL')).toBe(true);
      expect(await orders()).toBe(1);
      expect(await prepared()).toEqual([]);
    });
  });

  it('refuses a name that PostgreSQL would cut', () => {
    for (const table of ['r'.repeat(64), 'ж'.repeat(32), `shop.${'r'.repeat(64)}`, 'a.b.c', 'nul\0']) {
      expect(() => new PostgresStore({ client: pool, table })).toThrow(/each of at most 63 bytes/);
    }
  });

  it('is closed while a server never answers, and lets those go that wait', async () => {
    const mute = createServer().listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const connection = once(mute, 'connection') as Promise<[Socket]>;
    const store = new PostgresStore({
      client: new Pool({ host: '127.0.0.1', port: (mute.address() as AddressInfo).port }),
    });
    const waiting = store.waitFor?.('a key');
    const [socket] = await connection;
    cleanups.push(() => {
      socket.destroy();
      mute.close();
    });
    await store.close();
    await waiting;
    await expect(store.waitFor?.('a key')).rejects.toMatchObject({ code: 'ERR_REPRISE_STORE_CLOSED' });
  });

  it('reads rows whatever way a client writes the names of columns in', async () => {
    const sql = postgres(url, { transform: postgres.camel, onnotice: () => undefined });
    cleanups.push(async () => sql.end());
    const store = open({ client: sql, table: 'camels' });
    const asked = request();
    const held = await claim(store, asked);
    expect(await store.claim({ ...asked, owner: randomUUID() })).toMatchObject({ outcome: 'in-progress' });
    expect(await store.inspect(asked.key)).toMatchObject({
      state: 'in-progress',
      leaseLeftMs: expect.any(Number) as number,
    });
    expect(await store.complete(held, ANSWER, 60)).toBe(true);
    expect(await store.claim({ ...asked, owner: randomUUID() })).toMatchObject({ outcome: 'completed' });
  });

  it('says so where a client gives rows that it cannot read, and takes nobody for another', async () => {
    const store = open({ client: pool, table: 'strange' });
    const asked = request();
    await store.complete(await claim(store, asked), ANSWER, 60);
    const changed = (change: (name: string, value: unknown) => [string, unknown]) => {
      const query = async (text: string, values?: readonly unknown[]) => {
        const { rows } = await pool.query<Record<string, unknown>>(text, values && [...values]);
        return rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => change(name, value))));
      };
      return open({ client: { query }, table: 'strange' });
    };
    const inCapitals = changed((name, value) => [name.toUpperCase(), value]);
    const inHex = changed((name, value) => [name, Buffer.isBuffer(value) ? value.toString('hex') : value]);
    const code = 'ERR_REPRISE_INVALID_OPTION';
    await expect(inCapitals.claim(asked)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/names columns/) as string,
    });
    await expect(inHex.claim(asked)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/gives bytea as string/) as string,
    });
  });
});
