import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Pool, type PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { layered } from '../../ts/index.js';
import { PostgresStore } from '../../ts/stores/postgres/index.js';
import { shop } from '../helpers/shop.js';
import { postgresPrograms, startPostgres, type TestServer } from './servers.js';

const request = () => ({
  key: randomBytes(32).toString('hex'),
  fingerprint: 'f',
  identity: 'i',
  owner: randomBytes(8).toString('hex'),
  leaseMs: 30_000,
  ttl: 60,
});
const ANSWER = { head: 'head', body: Buffer.from('body') };

describe.skipIf(postgresPrograms === undefined)('PostgresStore', () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startPostgres('default_transaction_isolation=serializable');
    const pool = poolOf(1);
    await pool.query(
      'CREATE TABLE orders (key text NOT NULL); CREATE TABLE stock (left_over int); INSERT INTO stock VALUES (9)',
    );
    await pool.end();
  });

  afterAll(async () => {
    await server.stop();
  });

  function poolOf(max: number, isolation?: string): Pool {
    const connectionString = `postgres://postgres@127.0.0.1:${server.port}/postgres`;
    const options = isolation === undefined ? {} : { options: `-c default_transaction_isolation=${isolation}` };
    return new Pool({ connectionString, max, ...options }).on('error', () => undefined);
  }

  function open(max: number, isolation?: string) {
    const pool = poolOf(max, isolation);
    const store = new PostgresStore({ client: pool });
    onTestFinished(async () => {
      await store.close();
      await pool.end();
    });
    return { pool, store };
  }

  describe('where transactions are serializable by default', () => {
    it('repeats each step that meets the writes of others, and lets one own each key', async () => {
      const { store } = open(16);
      const rounds = Array.from({ length: 6 }, async () => {
        const asked = request();
        const claims = await Promise.all(
          Array.from({ length: 8 }, async (_, at) => ({
            owner: `${asked.owner}/${at}`,
            ...(await store.claim({ ...asked, owner: `${asked.owner}/${at}` })),
          })),
        );
        const owners = claims.flatMap((claim) => (claim.outcome === 'claimed' ? [claim] : []));
        expect(owners).toHaveLength(1);
        const [owned] = owners;
        const held = { key: asked.key, owner: owned?.owner ?? '', fence: owned?.fence ?? 0 };
        const steps = [
          ...Array.from({ length: 4 }, async () => store.renew(held, 30_000)),
          ...Array.from({ length: 4 }, async () => store.save(held, Buffer.from('p'))),
          store.mark(held, 'committed', 60),
        ];
        expect(new Set(await Promise.all(steps))).toEqual(new Set([true]));
        const ends = Array.from({ length: 4 }, async () => store.complete(held, ANSWER, 60));
        expect(new Set(await Promise.all(ends))).toEqual(new Set([true]));
      });
      await Promise.all(rounds);
    });

    it('ends a claim in a transaction though it is renewed meanwhile, and a duplicate waits for it', async () => {
      const { pool, store } = open(6);
      const orders = await shop(
        { store, leaseMs: 150, onConcurrent: 'wait' },
        {
          handler: async ({ idempotency }, res) => {
            await idempotency?.transaction(async (tx: PoolClient) => {
              await tx.query('INSERT INTO orders VALUES ($1)', [idempotency.key]);
              // Four times as long as between two renewals.
              await delay(200);
              res.status(201).send('ordered');
            });
          },
        },
      );
      const first = orders.send({ key: 'serial' });
      await delay(50);
      expect(await orders.send({ key: 'serial' })).toMatchObject({ text: 'ordered', isReplay: true });
      expect(await first).toMatchObject({ status: 201, text: 'ordered' });
      expect((await pool.query("SELECT 1 FROM orders WHERE key = 'serial'")).rowCount).toBe(1);
    });

    it('runs the function of a transaction once: what meets there rejects, rolls back, and frees the key', async () => {
      const { pool, store } = open(6);
      const codes: unknown[] = [];
      const orders = await shop(
        { store },
        {
          handler: async ({ idempotency }, res, next, run) => {
            await idempotency
              ?.transaction(async (tx: PoolClient) => {
                await tx.query('SELECT left_over FROM stock');
                if (run === 1) await pool.query('UPDATE stock SET left_over = left_over - 1');
                await tx.query('UPDATE stock SET left_over = left_over - 1');
                res.status(201).end();
              })
              .catch((error: unknown) => {
                codes.push((error as { code: unknown }).code);
                next(error);
              });
          },
        },
      );
      expect((await orders.send({ key: 'meets' })).status).toBe(500);
      expect(codes).toEqual(['40001']);
      expect((await orders.send({ key: 'meets' })).status).toBe(201);
      expect((await pool.query('SELECT left_over FROM stock')).rows).toEqual([{ left_over: 7 }]);
    });
  });

  it('lets a handler choose the isolation of its transaction, on new connections too', async () => {
    const { store } = open(2, 'read\\ committed');
    const orders = await shop(
      { store },
      {
        handler: async ({ idempotency }, res) => {
          await idempotency?.transaction(async (tx: PoolClient) => {
            await tx.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
            res.status(201).end();
          });
        },
      },
    );
    for (const key of ['a', 'b', 'c'])
      expect((await orders.send({ key: `choose ${key}`.replace(' ', '-') })).status).toBe(201);
  });

  describe('over a pool of the size of the load', () => {
    const INSERT = 'INSERT INTO orders VALUES ($1)';

    it.each([
      ['the store alone', (store: PostgresStore) => store],
      [
        'two tables, one of them on its way out',
        (store: PostgresStore, pool: Pool) => layered(store, new PostgresStore({ client: pool, table: 'old_records' })),
      ],
    ])('no transaction waits for a second connection: %s', async (name, storeOf) => {
      const { pool, store } = open(4, 'read\\ committed');
      const orders = await shop(
        { store: storeOf(store, pool), storeTimeoutMs: 5_000 },
        {
          handler: async ({ idempotency }, res) => {
            await idempotency?.transaction(async (tx: PoolClient) => {
              await tx.query(INSERT, [name]);
              await delay(30);
              res.status(201).end();
            });
          },
        },
      );
      const begun = performance.now();
      const answers = await Promise.all(
        Array.from({ length: 24 }, (_, at) => orders.send({ key: `${name.length}-${at}` })),
      );
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
      expect(performance.now() - begun).toBeLessThan(4_000);
      expect((await pool.query('SELECT 1 FROM orders WHERE key = $1', [name])).rowCount).toBe(24);
    });

    it('a handler that holds the last connection and asks for commitPoint() is told in time', async () => {
      const { pool, store } = open(1, 'read\\ committed');
      const orders = await shop(
        { store, storeTimeoutMs: 100 },
        {
          handler: async ({ idempotency }, res) => {
            const client = await pool.connect();
            const code = await idempotency?.commitPoint().catch((error: unknown) => (error as { code: string }).code);
            client.release();
            res.status(503).send(String(code));
          },
        },
      );
      expect((await orders.send({ key: 'last' })).text).toBe('ERR_REPRISE_STORE_TIMEOUT');
    });
  });
});
