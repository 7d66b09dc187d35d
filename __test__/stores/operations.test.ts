import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Cluster, Redis } from 'ioredis';
import type { Pool } from 'pg';
import { createCluster } from 'redis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileStore, type AtomicStore, type ClaimRequest } from '../../ts/index.js';
import type { StoreOperations } from '../../ts/stores/operations.js';
import { PostgresStore } from '../../ts/stores/postgres/index.js';
import { RedisStore } from '../../ts/stores/redis/index.js';
import {
  poolOf,
  postgresPrograms,
  redisServer,
  startPostgres,
  startRedis,
  startRedisCluster,
  type TestServer,
} from './servers.js';

type Store = AtomicStore & Pick<StoreOperations, 'list' | 'resolve'>;

const ANSWER = { head: '201\nMade\n2026-11-23T10:00:00.000Z', body: Buffer.from('kept') };

async function claim(store: Store, details: Partial<ClaimRequest> = {}) {
  const asked = { key: newKey(), fingerprint: 'f', identity: 'i', owner: randomUUID(), leaseMs: 60_000, ttl: 3600 };
  const found = await store.claim({ ...asked, ...details });
  if (found.outcome !== 'claimed') throw new Error(`answered ${found.outcome}`);
  return { ...asked, ...details, fence: found.fence };
}

/** As the middleware names records. */
const newKey = (): string => randomBytes(32).toString('hex');

/** One record of each kind; the free one has progress. */
async function fill(store: Store) {
  const running = await claim(store);
  const completed = await claim(store);
  await store.complete(completed, ANSWER, 60);
  const notReplayable = await claim(store);
  await store.mark(notReplayable, 'not-replayable', 60);
  const indeterminate = await claim(store);
  await store.mark(indeterminate, 'indeterminate', 60);
  // Nobody has looked at it since its lease ran out.
  const unheardOf = await claim(store, { leaseMs: 1000 });
  await store.mark(unheardOf, 'committed', 60);
  const free = await claim(store);
  await store.save(free, Buffer.alloc(100));
  await store.release(free, 60);
  while ((await store.inspect(unheardOf.key))?.state === 'in-progress');
  return { running, completed, notReplayable, indeterminate, unheardOf, free };
}

function operationsOf(makeStore: () => Store): void {
  it('lists every record that a claim would find, and counts them', async () => {
    const store = makeStore();
    const made = await fill(store);
    const listed = new Map<string, unknown>();
    for await (const { key, ...record } of store.list()) listed.set(key, record);
    const anyMs = expect.any(Number) as number;
    const size = ANSWER.head.length + ANSWER.body.length;
    expect(Object.fromEntries(listed)).toEqual({
      [made.running.key]: { state: 'in-progress', fence: 1, leftMs: anyMs, bytes: 0 },
      [made.completed.key]: { state: 'completed', fence: 1, leftMs: anyMs, bytes: size },
      [made.notReplayable.key]: { state: 'not-replayable', fence: 1, leftMs: anyMs, bytes: 0 },
      [made.indeterminate.key]: { state: 'indeterminate', fence: 1, leftMs: anyMs, bytes: 0 },
      [made.unheardOf.key]: { state: 'indeterminate', fence: 1, leftMs: anyMs, bytes: 0 },
    });
    const counted = { inProgress: 1, completed: 1, notReplayable: 1, indeterminate: 2, free: 1, damaged: 0 };
    // What a FileStore counts is another thing: it never looks at each record for that.
    if (store instanceof FileStore) return;
    expect(await (store as AtomicStore & StoreOperations).stats()).toEqual({ ...counted, bytes: size + 100 });
  });

  it('resolves what is indeterminate, and nothing else', async () => {
    const store = makeStore();
    const { running, completed, notReplayable, indeterminate, unheardOf, free } = await fill(store);
    for (const { key } of [running, completed, notReplayable, free, { key: newKey() }]) {
      expect(await store.resolve(key, 'free', 60)).toBe(false);
    }
    expect(await store.resolve(indeterminate.key, ANSWER, 60)).toBe(true);
    expect(await store.claim({ ...indeterminate, owner: 'next' })).toMatchObject({ outcome: 'completed' });
    expect(await store.inspect(indeterminate.key)).toMatchObject({ state: 'completed', answer: { head: ANSWER.head } });
    expect(await store.resolve(indeterminate.key, 'free', 60)).toBe(false);

    expect(await store.resolve(unheardOf.key, 'free', 60)).toBe(true);
    expect(await store.complete(unheardOf, ANSWER, 60)).toBe(false);
    expect(await store.claim({ ...unheardOf, owner: 'next' })).toMatchObject({ outcome: 'claimed', fence: 2 });

    const third = await claim(store);
    await store.mark(third, 'indeterminate', 60);
    expect(await store.resolve(third.key, 'not-replayable', 60)).toBe(true);
    expect(await store.claim({ ...third, owner: 'next' })).toMatchObject({ outcome: 'not-replayable' });
  });
}

describe('FileStore, for operators', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-operations-'));
  const opened: FileStore[] = [];
  const open = (name: string): FileStore => {
    const store = new FileStore({ path: path.join(folder, name) });
    opened.push(store);
    return store;
  };

  afterAll(async () => {
    for (const store of opened) await store.close();
    rmSync(folder, { recursive: true });
  });

  operationsOf(() => open(randomUUID()));

  it('lists more than one page, also where it only reads', async () => {
    const store = open('many');
    const keys = await Promise.all(Array.from({ length: 1200 }, async () => (await claim(store)).key));
    const reader = new FileStore({ path: path.join(folder, 'many'), readOnly: true });
    opened.push(reader);
    for (const one of [store, reader]) {
      const listed = [];
      for await (const { key } of one.list()) listed.push(key);
      expect(listed.sort()).toEqual([...keys].sort());
    }
    await expect(reader.resolve(keys[0] ?? '', 'free', 60)).rejects.toMatchObject({
      code: 'ERR_REPRISE_STORE_READ_ONLY',
    });
  });
});

describe.skipIf(redisServer === undefined)('RedisStore, for operators', () => {
  let server: TestServer;
  let client: Redis;
  let prefixed: Redis;

  beforeAll(async () => {
    server = await startRedis();
    client = new Redis(server.port);
    prefixed = new Redis(server.port, { keyPrefix: 'app[1]:' });
  });

  afterAll(async () => {
    client.disconnect();
    prefixed.disconnect();
    await server.stop();
  });

  operationsOf(() => new RedisStore({ client, prefix: `${randomUUID()}:` }));
  describe('behind a prefix of the client', () => {
    operationsOf(() => new RedisStore({ client: prefixed, prefix: `${randomUUID()}*:` }));
  });

  it('finds each of thousands', async () => {
    const store = new RedisStore({ client, prefix: 'many:' });
    await Promise.all(Array.from({ length: 5000 }, async () => claim(store)));
    const keys = new Set<string>();
    for await (const { key } of store.list()) keys.add(key);
    expect(keys.size).toBe(5000);
    expect((await store.stats()).inProgress).toBe(5000);
  });

  it('says what is wrong with a record that nothing of ours has written', async () => {
    const store = new RedisStore({ client, prefix: 'damaged:' });
    await client.hset('damaged:1', { s: 'x' });
    await client.set('damaged:2', 'text');
    await client.set('damaged:3', 'c--1 5 owner60000 1 1 fi200', 'PX', 60_000);
    await client.set('damaged:4', 'f--1 5 owner60000 1 1 fi');
    await client.set('damaged:5', 'f--0 5 owner60000 1 1 fi', 'PX', 60_000);
    const found = new Map<string, unknown>();
    for await (const record of store.list()) found.set(record.key, 'problem' in record && record.problem);
    expect(Object.fromEntries(found)).toEqual({
      1: 'is a hash, not a string',
      2: 'does not begin as a record does',
      3: 'is completed, without an answer',
      4: 'never expires',
      5: 'has no fence',
    });
    expect((await store.stats()).damaged).toBe(5);
  });
});

describe.skipIf(redisServer === undefined)('RedisStore over a cluster, for operators', () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  let ioredis: Cluster;
  let nodeRedis: ReturnType<typeof createCluster>;

  beforeAll(async () => {
    cluster = await startRedisCluster();
    ioredis = new Cluster(cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })));
    nodeRedis = createCluster({ rootNodes: cluster.nodes.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })) });
    await nodeRedis.connect();
  });

  afterAll(async () => {
    ioredis.disconnect();
    nodeRedis.destroy();
    await cluster.stop();
  });

  describe('ioredis', () => {
    operationsOf(() => new RedisStore({ client: ioredis, prefix: `${randomUUID()}:` }));
  });
  describe('node-redis', () => {
    operationsOf(() => new RedisStore({ client: nodeRedis, prefix: `${randomUUID()}:` }));
  });

  it('refuses to list the part that one connection shows', async () => {
    const one = new Redis(cluster.nodes[0]?.port ?? 0);
    const store = new RedisStore({ client: one });
    await expect(store.stats()).rejects.toMatchObject({ code: 'ERR_REPRISE_NO_LISTING' });
    one.disconnect();
  });
});

describe.skipIf(postgresPrograms === undefined)('PostgresStore, for operators', () => {
  let server: TestServer;
  let pool: Pool;

  beforeAll(async () => {
    server = await startPostgres();
    pool = poolOf(server);
  });

  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  let tables = 0;
  operationsOf(() => new PostgresStore({ client: pool, table: `operations_${++tables}` }));

  it('lists more than one batch', async () => {
    const store = new PostgresStore({ client: pool, table: 'many' });
    await claim(store);
    await pool.query(`INSERT INTO many (key, state, fingerprint, identity, owner, fence, lease_until, retention_ms, expires_at)
      SELECT 'key ' || n, 'in-progress', '', '', '', 1, now() + interval '1 h', 0, now() + interval '1 h'
      FROM generate_series(1, 2500) AS n`);
    const keys = new Set<string>();
    for await (const { key } of store.list()) keys.add(key);
    expect(keys.size).toBe(2501);
  });

  it('says what is wrong with a record that nothing of ours has written', async () => {
    const store = new PostgresStore({ client: pool, table: 'damaged' });
    const { key } = await claim(store);
    await pool.query(`UPDATE damaged SET state = 'completed'`);
    const found = [];
    for await (const record of store.list()) found.push(record);
    expect(found).toEqual([{ key, state: 'damaged', problem: 'is completed, without an answer' }]);
    expect(await store.stats()).toMatchObject({ damaged: 1, completed: 0 });
  });
});
