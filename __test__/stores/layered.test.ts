import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import type { Pool, PoolClient } from 'pg';
import * as vitest from 'vitest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileStore, layered, MemoryStore, type AtomicStore, type ClaimRequest } from '../../ts/index.js';
import { PostgresStore } from '../../ts/stores/postgres/index.js';
import { RedisStore } from '../../ts/stores/redis/index.js';
import { storeContract } from '../../ts/testing/index.js';
import { MapStore } from '../helpers/map-store.js';
import { poolOf, postgresPrograms, redisServer, startPostgres, startRedis, type TestServer } from './servers.js';
import { waitingTogether } from './waiting-together.js';

const ANSWER = { head: '200\n\n2026-11-23T10:00:00.000Z', body: Buffer.from('kept') };

function request(details: Partial<ClaimRequest> = {}): ClaimRequest {
  const key = randomUUID();
  return { key, fingerprint: 'f', identity: 'i', owner: randomUUID(), leaseMs: 60_000, ttl: 3600, ...details };
}

const byAnother = (asked: ClaimRequest): ClaimRequest => ({ ...asked, owner: randomUUID() });

async function claim(store: AtomicStore, asked: ClaimRequest) {
  const found = await store.claim(asked);
  if (found.outcome !== 'claimed') throw new Error(`answered ${found.outcome}`);
  return { key: asked.key, owner: asked.owner, fence: found.fence };
}

const memories = new Map<AtomicStore, readonly MemoryStore[]>();

storeContract(
  (name) => {
    const both = [new MemoryStore({ name: `${name}-new` }), new MemoryStore({ name: `${name}-old` })] as const;
    const store = layered(...both);
    memories.set(store, both);
    return store;
  },
  {
    title: 'a MemoryStore over a MemoryStore',
    framework: vitest,
    passTime: ([store], ms) => {
      for (const memory of memories.get(store) ?? []) memory.advanceClock(ms);
    },
    makeSmallStore: (name) => layered(new MemoryStore(), new MemoryStore({ name: `${name}-small`, maxEntries: 8 })),
  },
);

describe('a move to a file', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-layered-'));

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  const file = (name: string, maxEntries = 1_000_000) => new FileStore({ path: path.join(folder, name), maxEntries });
  const memory = (name: string) => new MemoryStore({ name: `${name}-memory` });

  storeContract((name) => layered(file(`${name}-new`), memory(name)), {
    title: 'a FileStore over a MemoryStore',
    framework: waitingTogether,
    makeSmallStore: (name) => layered(file(`${name}-small`, 8), new MemoryStore()),
  });
});

describe('a move from one store to the next', () => {
  const stores = () => {
    const [newer, older] = [new MemoryStore(), new MemoryStore()];
    return { newer, older, both: layered(newer, older) };
  };

  it('replays what the old store has, and tells a mismatch', async () => {
    const { older, both } = stores();
    const asked = request();
    await older.complete(await claim(older, asked), ANSWER, 60);
    expect(await both.claim(byAnother(asked))).toMatchObject({ outcome: 'completed', answer: { head: ANSWER.head } });
    expect((await both.claim({ ...byAnother(asked), fingerprint: 'other' })).outcome).toBe('mismatch');
    expect(await both.inspect(asked.key)).toMatchObject({ state: 'completed' });
  });

  it('waits for a claim in flight in the old store, and takes it over when its lease has run out', async () => {
    const { older, both } = stores();
    const asked = request({ leaseMs: 1000 });
    const stale = await claim(older, asked);
    await older.save(stale, Buffer.from([7]));
    expect((await both.claim(byAnother(asked))).outcome).toBe('in-progress');
    let isOver = false;
    const waiting = both.waitFor?.(asked.key).then(() => (isOver = true));
    older.advanceClock(1000);
    await waiting;
    expect(isOver).toBe(true);
    const found = await both.claim(byAnother(asked));
    expect(found).toMatchObject({ outcome: 'claimed', fence: stale.fence + 1, progress: Buffer.from([7]) });
    expect(await older.complete(stale, ANSWER, 60)).toBe(false);
  });

  it('keeps what is indeterminate so', async () => {
    const { older, both } = stores();
    const asked = request({ leaseMs: 1000 });
    await older.mark(await claim(older, asked), 'committed', 60);
    older.advanceClock(1000);
    expect((await both.claim(byAnother(asked))).outcome).toBe('indeterminate');
  });

  it('leaves the new store with all there is: answers, progress, and a fence that does not fall', async () => {
    const { newer, older, both } = stores();
    const asked = request();
    for (let i = 0; i < 4; i++) await older.release(await claim(older, byAnother(asked)), 3600);
    const old = await claim(older, byAnother(asked));
    await older.save(old, Buffer.from([1, 2]));
    await older.release(old, 3600);

    const moved = await claim(both, byAnother(asked));
    expect(moved.fence).toBe(6);
    await both.release(moved, 3600);
    expect(await newer.claim(byAnother(asked))).toMatchObject({
      outcome: 'claimed',
      fence: 7,
      progress: Buffer.from([1, 2]),
    });

    const done = request();
    await both.complete(await claim(both, done), ANSWER, 60);
    for (const one of [newer, older]) expect((await one.claim(byAnother(done))).outcome).toBe('completed');
  });

  it('draws an old store level that has seen fewer claims', async () => {
    const { newer, older, both } = stores();
    const asked = request();
    for (let i = 0; i < 3; i++) await newer.release(await claim(newer, byAnother(asked)), 3600);
    const held = await claim(both, asked);
    expect(held.fence).toBe(4);
    expect(await older.inspect(asked.key)).toMatchObject({ state: 'in-progress', fence: 4 });
    expect(await both.complete(held, ANSWER, 60)).toBe(true);
  });

  it('forgets in both', async () => {
    const { newer, older, both } = stores();
    const [first, second] = [request(), request()];
    await older.complete(await claim(older, first), ANSWER, 60);
    await newer.complete(await claim(newer, second), ANSWER, 60);
    expect(await both.inspect(second.key)).toMatchObject({ state: 'completed' });
    for (const { key } of [first, second]) {
      expect(await both.forget(key)).toBe(true);
      expect(await both.inspect(key)).toBeUndefined();
      expect(await both.forget(key)).toBe(false);
    }
  });

  it.each([
    ['processes that know the old store alone', 'older'],
    ['processes that know the new store alone', 'newer'],
  ] as const)('never runs a key twice beside %s', async (_, alone) => {
    const { newer, older, both } = stores();
    const single = { newer, older }[alone];
    for (let i = 0; i < 50; i++) {
      const asked = request();
      const found = await Promise.all(
        Array.from({ length: 8 }, async (__, n) => (n % 2 ? both : single).claim(byAnother(asked))),
      );
      const granted = found.filter(({ outcome }) => outcome === 'claimed');
      expect(granted.length).toBe(1);
    }
  });

  it('frees the old store where the new one fails', async () => {
    const older = new MemoryStore();
    const newer = new MemoryStore();
    const both = layered(newer, older);
    newer.close();
    const asked = request();
    await expect(both.claim(asked)).rejects.toMatchObject({ code: 'ERR_REPRISE_STORE_CLOSED' });
    expect(await older.inspect(asked.key)).toBeUndefined();
  });

  it('moves from a store with get, set and delete', async () => {
    const older = new MapStore();
    const newer = new MemoryStore();
    const before = layered(new MemoryStore(), older);
    const asked = request();
    await before.complete(await claim(before, asked), ANSWER, 60);
    expect(older.records.size).toBe(1);
    const both = layered(newer, older);
    expect(await both.claim(byAnother(asked))).toMatchObject({ outcome: 'completed', answer: { head: ANSWER.head } });
  });

  it('refuses what is no store', () => {
    const store = new MemoryStore();
    expect(() => layered({} as never, store)).toThrow(/layered: argument "newStore" is an object; allowed: a store/);
    expect(() => layered(new MapStore() as never, store)).toThrow(/argument "newStore"/);
    expect(() => layered(store, {} as never)).toThrow(/argument "oldStore" is an object; allowed: a store/);
  });
});

describe.skipIf(redisServer === undefined || postgresPrograms === undefined)('a move to and from servers', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-layered-'));
  let servers: TestServer[];
  let pool: Pool;
  let redis: Redis;

  beforeAll(async () => {
    const [cache, database] = await Promise.all([startRedis(), startPostgres()]);
    servers = [cache, database];
    redis = new Redis(cache.port);
    pool = poolOf(database);
    await pool.query('CREATE TABLE orders (key text NOT NULL)');
  });

  afterAll(async () => {
    redis.disconnect();
    await pool.end();
    await Promise.all(servers.map(async (server) => server.stop()));
    rmSync(folder, { recursive: true, force: true });
  });

  const file = (name: string) => new FileStore({ path: path.join(folder, name) });

  const move = () => {
    const [newer, older] = [new PostgresStore({ client: pool }), new RedisStore({ client: redis })];
    return { newer, older, both: layered(newer, older) };
  };

  storeContract(() => move().both, { title: 'PostgreSQL over Redis', framework: waitingTogether });
  storeContract((prefix) => layered(new RedisStore({ client: redis, prefix }), file(`${prefix}-a`)), {
    title: 'Redis over a file',
    framework: waitingTogether,
  });
  storeContract((name) => layered(new PostgresStore({ client: pool, table: 'moved' }), file(`${name}-b`)), {
    title: 'PostgreSQL over a file',
    framework: waitingTogether,
  });
  // Back again, where the move is undone.
  storeContract((prefix) => layered(file(`${prefix}-c`), new RedisStore({ client: redis, prefix })), {
    title: 'a file over Redis',
    framework: waitingTogether,
  });

  describe('a transaction of PostgreSQL, with Redis', () => {
    const order = async (both: AtomicStore, held: Awaited<ReturnType<typeof claim>>) =>
      both.transaction?.(held, 60, async (tx) => {
        await (tx as PoolClient).query('INSERT INTO orders VALUES ($1)', [held.key]);
        return ANSWER;
      });
    const ordersOf = async (key: string) => (await pool.query('SELECT 1 FROM orders WHERE key = $1', [key])).rowCount;

    it('commits rows and record together, and the old store knows the answer after it', async () => {
      const { newer, older, both } = move();
      const held = await claim(both, request());
      expect(await order(both, held)).toBe(true);
      expect(await ordersOf(held.key)).toBe(1);
      for (const store of [newer, older]) expect(await store.inspect(held.key)).toMatchObject({ state: 'completed' });
    });

    it('commits nothing once the old store has given the claim away', async () => {
      const { newer, older, both } = move();
      const held = await claim(both, request());
      await older.forget(held.key);
      expect(await order(both, held)).toBe(false);
      expect(await ordersOf(held.key)).toBe(0);
      expect(await newer.inspect(held.key)).toMatchObject({ state: 'in-progress' });
    });

    it('is that of the old store where the new one has none', async () => {
      const { newer, older } = move();
      const back = layered(older, newer);
      const held = await claim(back, request());
      expect(await order(back, held)).toBe(true);
      for (const store of [newer, older]) expect(await store.inspect(held.key)).toMatchObject({ state: 'completed' });
      expect(await ordersOf(held.key)).toBe(1);
    });
  });
});
