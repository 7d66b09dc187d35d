import { randomUUID } from 'node:crypto';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { GlideClient, GlideClusterClient, Logger } from '@valkey/valkey-glide';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RedisStore } from '../../ts/stores/redis/index.js';
import { storeContract } from '../../ts/testing/index.js';
import { freePort, redisServer, startRedis, startRedisCluster, type TestServer } from './servers.js';
import { waitingTogether as framework } from './waiting-together.js';

describe.skipIf(redisServer === undefined)('RedisStore, by Valkey GLIDE', () => {
  let server: TestServer;
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  let single: GlideClient;
  let clustered: GlideClusterClient;

  beforeAll(async () => {
    // It would print each NOSCRIPT that the store answers with EVAL.
    Logger.setLoggerConfig('off');
    [server, cluster] = await Promise.all([startRedis(), startRedisCluster()]);
    // Far more than a busy machine needs.
    const requestTimeout = 10_000;
    const addresses = (servers: readonly TestServer[]) => servers.map(({ port }) => ({ host: '127.0.0.1', port }));
    single = await GlideClient.createClient({ addresses: addresses([server]), requestTimeout });
    clustered = await GlideClusterClient.createClient({ addresses: addresses(cluster.nodes), requestTimeout });
  });

  afterAll(async () => {
    single.close();
    clustered.close();
    await server.stop();
    await cluster.stop();
  });

  storeContract((prefix) => new RedisStore({ client: single, prefix }), { title: 'GlideClient', framework });
  storeContract((prefix) => new RedisStore({ client: clustered, prefix }), { title: 'GlideClusterClient', framework });

  it.each([
    ['through one connection', () => single],
    ['of every node of a cluster', () => clustered],
  ])('lists %s', async (_, clientOf) => {
    const request = { fingerprint: 'f', identity: 'i', owner: 'o', leaseMs: 60_000, ttl: 60 };
    const store = new RedisStore({ client: clientOf(), prefix: `${randomUUID()}:` });
    const keys = Array.from({ length: 30 }, () => randomUUID());
    await Promise.all(keys.map(async (key) => store.claim({ ...request, key })));
    const listed = new Set<string>();
    for await (const record of store.list()) listed.add(record.key);
    expect([...listed].sort()).toEqual(keys.sort());
    expect(await store.stats()).toMatchObject({ inProgress: 30 });
  });
});

describe.skipIf(redisServer === undefined)('RedisStore, whatever the names are made of', () => {
  it('keeps them apart where they hold spaces, ends of lines and letters of several bytes', async () => {
    const server = await startRedis();
    const client = new Redis(server.port, '127.0.0.1');
    try {
      const names = ['', ' ', '1 2 ', 'a\nb', 'Schlüssel\r\n', '鍵 🗝', '\0%d+'];
      const store = new RedisStore({ client, prefix: 'Präfix 1 :' });
      for (const name of names) {
        const key = `of ${name}`;
        const request = {
          key,
          fingerprint: name,
          identity: `${name}${name}`,
          owner: `${name}!`,
          leaseMs: 60_000,
          ttl: 60,
        };
        expect(await store.claim(request)).toEqual({ outcome: 'claimed', fence: 1 });
        expect(await store.claim(request)).toEqual({ outcome: 'claimed', fence: 1 });
        const other = { ...request, owner: name };
        expect(await store.claim({ ...other, fingerprint: `${name}?` })).toMatchObject({ differs: 'fingerprint' });
        expect(await store.claim({ ...other, identity: `${name}?` })).toMatchObject({ differs: 'identity' });
        expect(await store.claim(other)).toMatchObject({ outcome: 'in-progress' });
        const woken = store.waitFor(key);
        const answer = { head: 'head', body: Buffer.from(name) };
        expect(await store.complete({ key, owner: name, fence: 1 }, answer, 60)).toBe(false);
        expect(await store.complete({ key, owner: request.owner, fence: 1 }, answer, 60)).toBe(true);
        await woken;
        expect(await store.claim(other)).toEqual({ outcome: 'completed', answer });
      }
      await store.close();
    } finally {
      client.disconnect();
      await server.stop();
    }
  });
});

describe.skipIf(redisServer === undefined)('RedisStore, by Sentinel', () => {
  const ends: (() => unknown)[] = [];

  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  });

  /** A sentinel that watches a primary. */
  async function startSentinel(primary: TestServer): Promise<number> {
    const port = await freePort();
    const folder = mkdtempSync(path.join(tmpdir(), 'reprise-sentinel-'));
    const file = path.join(folder, 'sentinel.conf');
    writeFileSync(
      file,
      [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${folder}`,
        `sentinel monitor shop 127.0.0.1 ${primary.port} 1`,
        'sentinel down-after-milliseconds shop 1000',
        'sentinel failover-timeout shop 10000',
      ].join('\n'),
    );
    const child = spawn(redisServer ?? '', [file, '--sentinel'], { stdio: 'ignore' });
    ends.push(() => {
      child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    });
    return port;
  }

  it('goes on with the replica that takes over, and knows what was acknowledged', async () => {
    const primary = await startRedis();
    const replica = await startRedis('--replicaof', '127.0.0.1', String(primary.port));
    ends.push(
      async () => primary.stop(),
      async () => replica.stop(),
    );
    const port = await startSentinel(primary);
    const client = new Redis({
      sentinels: [{ host: '127.0.0.1', port }],
      name: 'shop',
      maxRetriesPerRequest: 1,
      retryStrategy: () => 100,
      sentinelRetryStrategy: () => 100,
    }).on('error', () => undefined);
    ends.push(() => {
      client.disconnect();
    });
    const store = new RedisStore({ client, waitForReplicas: 1, replicaTimeoutMs: 10_000 });
    const afterwards = new RedisStore({ client });
    const answer = { head: '200\n\n2026-11-23T10:00:00.000Z', body: Buffer.from('kept') };
    const request = () => ({
      key: randomUUID(),
      fingerprint: 'f',
      identity: 'i',
      owner: randomUUID(),
      leaseMs: 600_000,
      ttl: 3600,
    });
    const trying = async <T>(step: () => Promise<T>): Promise<T> => {
      for (const deadline = Date.now() + 60_000; ;) {
        try {
          return await step();
        } catch (error) {
          if (Date.now() > deadline) throw error;
          await delay(100);
        }
      }
    };
    const [done, running] = [request(), request()];
    const first = await trying(async () => store.claim(done));
    expect(first.outcome).toBe('claimed');
    expect(await trying(async () => store.complete({ ...done, fence: 1 }, answer, 3600))).toBe(true);
    expect((await trying(async () => store.claim(running))).outcome).toBe('claimed');
    // The sentinel learns of the replica from the primary, at its own pace.
    const sentinel = new Redis(port);
    ends.push(() => {
      sentinel.disconnect();
    });
    await trying(async () => {
      const replicas = (await sentinel.call('SENTINEL', 'replicas', 'shop')) as unknown[];
      if (replicas.length === 0) throw new Error('not known yet');
    });

    await primary.kill();
    const found = await trying(async () => afterwards.claim({ ...done, owner: randomUUID() }));
    expect(found).toMatchObject({ outcome: 'completed', answer: { head: answer.head } });
    const other = await trying(async () => afterwards.claim({ ...running, owner: randomUUID() }));
    expect(other.outcome).toBe('in-progress');
    expect(await trying(async () => afterwards.complete({ ...running, fence: 1 }, answer, 3600))).toBe(true);
  }, 120_000);
});
