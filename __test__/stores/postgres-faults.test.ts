import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import express from 'express';
import { Pool, type PoolClient } from 'pg';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  idempotencyMiddleware,
  MemoryStore,
  type AtomicStore,
  type ClaimRequest,
  type IdempotencyContext,
} from '../../ts/index.js';
import { createTableSql, PostgresStore } from '../../ts/stores/postgres/index.js';
import { postgresPrograms, startPostgres, type TestServer } from './servers.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function request(details: Partial<ClaimRequest> = {}): ClaimRequest {
  const key = randomUUID();
  return { key, fingerprint: 'f', identity: 'i', owner: randomUUID(), leaseMs: 60_000, ttl: 3600, ...details };
}

async function claim(store: AtomicStore, asked: ClaimRequest) {
  const found = await store.claim(asked);
  if (found.outcome !== 'claimed') throw new Error(`answered ${found.outcome}`);
  return { key: asked.key, owner: asked.owner, fence: found.fence };
}

const ANSWER = { head: '200\n\n2026-11-23T10:00:00.000Z', body: Buffer.from('kept') };

type Handler = (req: IncomingMessage & { idempotency: IdempotencyContext }, res: ServerResponse) => Promise<unknown>;

/** An Express application with one route, whose errors answer 500. */
async function serve(store: AtomicStore, handler: Handler): Promise<string> {
  const app = express();
  const middleware = idempotencyMiddleware({ store });
  app.use(middleware);
  app.post('/', async (req, res) => {
    await handler(req as unknown as Parameters<Handler>[0], res);
  });
  const onError: express.ErrorRequestHandler = (error: Error, _req, res, next) => {
    if (res.headersSent) next(error);
    else res.status(500).end(error.message);
  };
  app.use(onError);
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
    void middleware.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

async function post(url: string, key: string) {
  const response = await fetch(url, { method: 'POST', headers: { 'Idempotency-Key': key } });
  const { status, headers } = response;
  return { status, body: await response.text(), replayed: headers.get('x-idempotency-replay') === 'true' };
}

async function untilAnswered(url: string, key: string): Promise<string> {
  for (;;) {
    const { status, body } = await post(url, key);
    if (status === 201) return body;
    await delay(30);
  }
}

describe.skipIf(postgresPrograms === undefined)('PostgresStore and its server', () => {
  let server: TestServer;
  let connectionString: string;
  let pool: Pool;

  beforeAll(async () => {
    server = await startPostgres();
    connectionString = `postgres://postgres@127.0.0.1:${server.port}/postgres`;
    pool = new Pool({ connectionString });
    // What a pool says of the connections that it keeps.
    pool.on('error', () => undefined);
    await pool.query('CREATE TABLE orders (key text NOT NULL, id text NOT NULL)');
  });

  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  const order = async (tx: PoolClient, key: string): Promise<string> => {
    const id = randomUUID();
    await tx.query('INSERT INTO orders VALUES ($1, $2)', [key, id]);
    return id;
  };
  const ordersOf = async (key: string): Promise<string[]> => {
    const { rows } = await pool.query<{ id: string }>('SELECT id FROM orders WHERE key = $1', [key]);
    return rows.map(({ id }) => id);
  };
  const open = (store: PostgresStore): PostgresStore => {
    cleanups.push(async () => store.close());
    return store;
  };

  describe('the table', () => {
    it('is made when it is missing, by several processes at once', async () => {
      const pools = [0, 1, 2, 3].map(() => new Pool({ connectionString }));
      await Promise.all(
        pools.map(async (client) => claim(open(new PostgresStore({ client, table: 'made_once' })), request())),
      );
      await Promise.all(pools.map(async (client) => client.end()));
    });

    it('is not made where that is not wanted, and is made by its SQL in any schema', async () => {
      const store = open(new PostgresStore({ client: pool, table: 'shop.records', createTable: false }));
      await expect(store.claim(request())).rejects.toMatchObject({ code: '42P01' });
      await pool.query(`CREATE SCHEMA shop; ${createTableSql('shop.records')}`);
      await claim(store, request());
    });

    it('is swept of what has expired, and of nothing else', async () => {
      const store = open(new PostgresStore({ client: pool, table: 'swept', sweepIntervalMs: 0 }));
      const kept = request();
      await store.complete(await claim(store, kept), ANSWER, 3600);
      const gone = await Promise.all(Array.from({ length: 10 }, async () => claim(store, request())));
      await Promise.all(gone.map(async (held) => store.complete(held, ANSWER, 0.001)));
      await delay(20);
      expect(await store.sweep()).toBe(10);
      expect(await store.inspect(kept.key)).toMatchObject({ state: 'completed' });
    });
  });

  it('takes a completion that a driver repeats for what it is', async () => {
    const store = open(new PostgresStore({ client: pool }));
    const held = await claim(store, request());
    expect(await store.complete(held, ANSWER, 60)).toBe(true);
    expect(await store.complete(held, ANSWER, 60)).toBe(true);
    expect(await store.complete(held, { ...ANSWER, body: Buffer.from('other') }, 60)).toBe(false);
  });

  it('wakes those that wait when their connection is cut, and they can wait again', async () => {
    const store = open(new PostgresStore({ client: pool }));
    const asked = request({ leaseMs: 600_000 });
    const held = await claim(store, asked);
    const first = store.waitFor?.(asked.key);
    await delay(200);
    await pool.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'`);
    await first;
    const second = store.waitFor?.(asked.key);
    await delay(200);
    await store.complete(held, ANSWER, 60);
    await second;
  });

  it('refuses a closed store, and options that cannot be right', async () => {
    const store = new PostgresStore({ client: pool });
    await store.close();
    await expect(store.claim(request())).rejects.toMatchObject({ code: 'ERR_REPRISE_STORE_CLOSED' });
    const wrong = [{}, { client: {} }, { client: pool, table: '' }, { client: pool, tabel: 'x' }];
    for (const options of wrong) {
      expect(() => new PostgresStore(options as never)).toThrow(/PostgresStore: (option "\w+" is|unknown option)/);
    }
  });

  describe('req.idempotency.transaction', () => {
    it('commits the rows and the record together, before the answer leaves', async () => {
      const url = await serve(open(new PostgresStore({ client: pool })), async (req, res) => {
        await req.idempotency.transaction(async (tx: PoolClient) => {
          const id = await order(tx, req.idempotency.key);
          res.writeHead(201, { 'Content-Type': 'text/plain' }).end(id);
          // Neither has happened for anybody else yet.
          expect(await ordersOf(req.idempotency.key)).toEqual([]);
        });
      });
      const key = randomUUID();
      const first = await post(url, key);
      expect(first.status).toBe(201);
      expect(await ordersOf(key)).toEqual([first.body]);
      expect(await post(url, key)).toEqual({ ...first, replayed: true });
      expect(await ordersOf(key)).toHaveLength(1);
    });

    it('works with postgres.js', async () => {
      const sql = postgres(connectionString, { onnotice: () => undefined });
      cleanups.push(async () => sql.end());
      const url = await serve(open(new PostgresStore({ client: sql })), async (req, res) => {
        await req.idempotency.transaction(async (tx: postgres.TransactionSql) => {
          await tx`INSERT INTO orders VALUES (${req.idempotency.key}, 'js')`;
          res.writeHead(201).end('js');
        });
      });
      const key = randomUUID();
      expect(await post(url, key)).toMatchObject({ status: 201, replayed: false });
      expect(await post(url, key)).toMatchObject({ status: 201, replayed: true });
      expect(await ordersOf(key)).toEqual(['js']);
    });

    it('rolls the rows back at 4xx, and keeps the answer', async () => {
      const url = await serve(open(new PostgresStore({ client: pool })), async (req, res) => {
        await req.idempotency.transaction(async (tx: PoolClient) => {
          await order(tx, req.idempotency.key);
          res.writeHead(402).end('no money');
        });
      });
      const key = randomUUID();
      expect(await post(url, key)).toEqual({ status: 402, body: 'no money', replayed: false });
      expect(await post(url, key)).toEqual({ status: 402, body: 'no money', replayed: true });
      expect(await ordersOf(key)).toEqual([]);
    });

    it.each([
      ['an error', async () => Promise.reject(new Error('broken')), 'broken'],
      [
        'an error behind the answer',
        async (res: ServerResponse) => Promise.reject(new Error(`after ${res.writeHead(201).end('made').statusCode}`)),
        'after 201',
      ],
      [
        'no answer',
        async () => Promise.resolve(),
        'The function of transaction() ended without an answer: answer inside of it, as a whole',
      ],
      ['a 5xx', async (res: ServerResponse) => Promise.resolve(res.writeHead(500).end('failed')), 'failed'],
    ] as const)('rolls the rows back at %s, and the retry runs', async (_, fail, body) => {
      let runs = 0;
      const url = await serve(open(new PostgresStore({ client: pool })), async (req, res) => {
        await req.idempotency.transaction(async (tx: PoolClient) => {
          const id = await order(tx, req.idempotency.key);
          if (++runs === 1) await fail(res);
          else res.writeHead(201).end(id);
        });
      });
      const key = randomUUID();
      expect(await post(url, key)).toEqual({ status: 500, body, replayed: false });
      expect(await ordersOf(key)).toEqual([]);
      const second = await post(url, key);
      expect(second).toMatchObject({ status: 201, replayed: false });
      expect(await ordersOf(key)).toEqual([second.body]);
    });

    it('answers 500, and not what was rolled back, when the connection is cut before the commit', async () => {
      let runs = 0;
      const url = await serve(open(new PostgresStore({ client: pool })), async (req, res) => {
        await req.idempotency.transaction(async (tx: PoolClient) => {
          const id = await order(tx, req.idempotency.key);
          const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
          res.writeHead(201).end(id);
          if (++runs === 1) await pool.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
        });
      });
      const key = randomUUID();
      expect(await post(url, key)).toMatchObject({ status: 500 });
      expect(await ordersOf(key)).toEqual([]);
      const second = await post(url, key);
      expect(await ordersOf(key)).toEqual([second.body]);
    });

    it('commits nothing for an owner that was taken over', async () => {
      const store = open(new PostgresStore({ client: pool }));
      let seen: string | undefined;
      const url = await serve(store, async (req, res) => {
        await req.idempotency.transaction(async (tx: PoolClient) => {
          const id = await order(tx, req.idempotency.key);
          res.writeHead(201).end(id);
          if (seen !== undefined) return;
          const { rows } = await pool.query<{ key: string }>(
            `SELECT key FROM reprise_records WHERE state = 'in-progress' AND lease_until > now()`,
          );
          seen = rows.at(-1)?.key;
          for (const { key } of rows) await store.forget(key);
        });
      });
      const key = randomUUID();
      const lost = await post(url, key);
      expect(lost.status).toBe(500);
      expect(lost.body).toContain('lost');
      expect(await ordersOf(key)).toEqual([]);
    });

    it('says so where the store has none, and refuses a second one', async () => {
      const memory = await serve(new MemoryStore(), async (req) => req.idempotency.transaction(async () => delay(1)));
      expect(await post(memory, randomUUID())).toMatchObject({ status: 500, body: /no transactions/ });
      const url = await serve(open(new PostgresStore({ client: pool })), async (req) =>
        req.idempotency.transaction(async () => req.idempotency.transaction(async () => delay(1))),
      );
      expect(await post(url, randomUUID())).toMatchObject({ status: 500 });
    });
  });

  it('keeps rows and records in agreement while the server is killed and restarted under load', async () => {
    const own = await startPostgres();
    cleanups.push(async () => own.stop());
    const url = `postgres://postgres@127.0.0.1:${own.port}/postgres`;
    const openPool = (): Pool => {
      const client = new Pool({ connectionString: url, connectionTimeoutMillis: 1000 });
      client.on('error', () => undefined);
      cleanups.push(async () => client.end());
      return client;
    };
    const direct = openPool();
    await direct.query('CREATE TABLE orders (key text NOT NULL, id text NOT NULL)');
    // Two hosts, as far as the store can see.
    const hosts = await Promise.all(
      [0, 1].map(async () =>
        serve(open(new PostgresStore({ client: openPool() })), async (req, res) => {
          await req.idempotency.transaction(async (tx: PoolClient) => {
            const id = await order(tx, req.idempotency.key);
            res.writeHead(201).end(id);
          });
        }),
      ),
    );
    let over = false as boolean;
    const chaos = (async () => {
      for (let i = 0; i < 4; i++) {
        await delay(300);
        await own.kill();
        await own.restart();
      }
      over = true;
    })();
    const made = new Map<string, string>();
    while (!over) {
      const batch = Array.from({ length: 10 }, () => randomUUID());
      const answers = await Promise.all(
        batch.map(async (key) => Promise.all([0, 1, 0].map(async (i) => untilAnswered(hosts[i] ?? '', key)))),
      );
      for (const [i, [first = '', ...others]] of answers.entries()) {
        expect(new Set(others)).toEqual(new Set([first]));
        made.set(batch[i] ?? '', first);
      }
    }
    await chaos;
    const { rows } = await direct.query<{ key: string; id: string }>('SELECT key, id FROM orders');
    // Each key once, and with the row whose id was answered.
    expect(rows.map(({ key, id }) => [key, id]).sort()).toEqual([...made].sort());
    expect(made.size).toBeGreaterThan(0);
  }, 60_000);
});
