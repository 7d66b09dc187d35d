import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { idempotencyMiddleware, type AtomicStore, type ClaimRequest } from '../../ts/index.js';
import { RedisStore } from '../../ts/stores/redis/index.js';
import { redisServer, startRedis, type TestServer } from './servers.js';

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function redis(...settings: string[]): Promise<TestServer> {
  const server = await startRedis(...settings);
  cleanups.push(async () => server.stop());
  return server;
}

function clientOf({ port }: TestServer): Redis {
  const client = new Redis(port, { maxRetriesPerRequest: 1, retryStrategy: () => 50 });
  client.on('error', () => undefined);
  cleanups.push(() => {
    client.disconnect();
  });
  return client;
}

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

/** As docs/stores.md has them. */
const RIGHTS = '+evalsha +eval +get +set +setrange +pexpire +pttl +type +publish +subscribe +info +scan'.split(' ');

describe.skipIf(redisServer === undefined)('RedisStore and its server', () => {
  it('goes on after the server forgot its scripts', async () => {
    const client = clientOf(await redis());
    const store = new RedisStore({ client });
    const asked = request();
    const held = await claim(store, asked);
    await client.script('FLUSH');
    expect(await store.complete(held, ANSWER, 60)).toBe(true);
  });

  it('takes a completion that a driver repeats for what it is', async () => {
    const store = new RedisStore({ client: clientOf(await redis()) });
    const held = await claim(store, request());
    expect(await store.complete(held, ANSWER, 60)).toBe(true);
    expect(await store.complete(held, ANSWER, 60)).toBe(true);
    expect(await store.complete(held, { ...ANSWER, body: Buffer.from('other') }, 60)).toBe(false);
  });

  it('keeps one key per record, gone when its time is over', async () => {
    const client = clientOf(await redis());
    const store = new RedisStore({ client, prefix: 'shop:' });
    const asked = request();
    await store.complete(await claim(store, asked), ANSWER, 60);
    expect(await client.keys('*')).toEqual([`shop:${asked.key}`]);
    const left = await client.pttl(`shop:${asked.key}`);
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(60_000);
  });

  it('sends one command to claim, and one to complete', async () => {
    const server = await redis();
    const client = clientOf(server);
    const store = new RedisStore({ client });
    await store.complete(await claim(store, request()), ANSWER, 60);
    const sent = vi.spyOn(client, 'sendCommand');
    await store.complete(await claim(store, request()), ANSWER, 60);
    expect(sent.mock.calls.map(([command]) => command.name.toLowerCase())).toEqual(['set', 'evalsha']);
  });

  it('claims by a script where Redis is too old to set and get at once, and asks once', async () => {
    const client = clientOf(await redis());
    const sent: string[] = [];
    const old = async ([command = '', ...args]: (string | Buffer)[]) => {
      sent.push(String(command));
      if (command === 'SET') throw new Error('ERR syntax error');
      return client.callBuffer(String(command), args);
    };
    const store = new RedisStore({ client: old });
    for (const asked of [request(), request()]) {
      expect(await store.complete(await claim(store, asked), ANSWER, 60)).toBe(true);
      expect(await store.claim({ ...asked, owner: randomUUID() })).toEqual({ outcome: 'completed', answer: ANSWER });
    }
    expect(sent.filter((command) => command === 'SET')).toHaveLength(1);
  });

  it('gets an answer by one command, and of another request none', async () => {
    const client = clientOf(await redis());
    const store = new RedisStore({ client });
    const asked = request({ identity: 'Jürgen' });
    await store.complete(await claim(store, asked), ANSWER, 60);
    const sent = vi.spyOn(client, 'sendCommand');
    expect(await store.claim({ ...asked, owner: randomUUID() })).toEqual({ outcome: 'completed', answer: ANSWER });
    expect(sent).toHaveBeenCalledTimes(1);
    for (const [fingerprint, identity, differs] of [
      ['other', 'Jürgen', 'fingerprint'],
      ['f', 'Jurgen', 'identity'],
      // One text with the right ones, cut elsewhere.
      ['fJ', 'ürgen', 'identity'],
    ] as const) {
      expect(await store.claim({ ...asked, fingerprint, identity })).toEqual({ outcome: 'mismatch', differs });
    }
  });

  it('refuses an answer of which a part is missing', async () => {
    const client = clientOf(await redis());
    const store = new RedisStore({ client });
    const asked = request();
    for (const rest of ['', '200', '7 short']) {
      await client.set(`reprise:${asked.key}`, `c--1 5 owner60000 1 1 fi${rest}`, 'PX', 60_000);
      await expect(store.claim(asked)).rejects.toThrow('a completed record has no answer');
      await expect(store.inspect(asked.key)).rejects.toThrow('a completed record has no answer');
    }
  });

  it('sends the same by a client that gathers commands into pipelines', async () => {
    const { port } = await redis();
    const client = new Redis(port, { enableAutoPipelining: true });
    cleanups.push(() => {
      client.disconnect();
    });
    const store = new RedisStore({ client });
    const asked = Array.from({ length: 5 }, () => request());
    const held = await Promise.all(asked.map(async (one) => claim(store, one)));
    await Promise.all(held.map(async (one) => store.complete(one, ANSWER, 60)));
    const replayed = await Promise.all(asked.map(async (one) => store.claim({ ...one, owner: randomUUID() })));
    expect(replayed).toEqual(asked.map(() => ({ outcome: 'completed', answer: ANSWER })));
    expect(await store.stats()).toMatchObject({ completed: 5 });
  });

  it('refuses new claims when Redis is full and may forget nothing', async () => {
    const client = clientOf(await redis('--maxmemory-policy', 'noeviction'));
    const store = new RedisStore({ client });
    await claim(store, request());
    await client.config('SET', 'maxmemory', 1);
    expect((await store.claim(request())).outcome).toBe('full');
  });

  it('ends, keeps and frees what was claimed before Redis was full', async () => {
    const client = clientOf(await redis('--maxmemory-policy', 'noeviction'));
    const store = new RedisStore({ client });
    const unsure = await claim(store, request());
    await store.mark(unsure, 'indeterminate', 60);
    const [done, released, forgotten, asked] = [request(), request(), request(), request()];
    const held = await Promise.all([done, released, forgotten].map(async (one) => claim(store, one)));
    const [first, second] = held as [(typeof held)[0], (typeof held)[0]];
    await client.config('SET', 'maxmemory', 1);
    expect((await store.claim(asked)).outcome).toBe('full');
    expect(await store.renew(first, 90_000)).toBe(true);
    expect(await store.complete(first, ANSWER, 60)).toBe(true);
    expect(await store.claim({ ...done, owner: randomUUID() })).toMatchObject({ outcome: 'completed' });
    expect(await store.release(second, 60)).toBe(true);
    expect(await store.forget(forgotten.key)).toBe(true);
    expect(await store.resolve(unsure.key, 'free', 60)).toBe(true);
    for (const { key } of [released, forgotten, unsure]) expect(await store.inspect(key)).toBeUndefined();
    expect(await store.claim({ ...released, owner: randomUUID() })).toEqual({ outcome: 'full' });
    const left = await client.pttl(`reprise:${forgotten.key}`);
    expect(left).toBeGreaterThan(60_000);
  });

  it('makes a claim that ran out behind its commit point indeterminate, also when Redis is full', async () => {
    const client = clientOf(await redis('--maxmemory-policy', 'noeviction'));
    const store = new RedisStore({ client });
    const asked = request({ leaseMs: 50 });
    const held = await claim(store, asked);
    await store.mark(held, 'committed', 60);
    await client.config('SET', 'maxmemory', 1);
    await vi.waitFor(async () => {
      expect((await store.claim({ ...asked, owner: randomUUID() })).outcome).toBe('indeterminate');
    }, 10_000);
    expect(await store.complete(held, ANSWER, 60)).toBe(false);
    expect(await store.claim({ ...asked, owner: randomUUID() })).toEqual({ outcome: 'indeterminate' });
  });

  it('works for a user of Redis who may do no more than it needs, and one who may not even publish', async () => {
    const server = await redis();
    const admin = clientOf(server);
    const isAwaited = async (key: string) => (await admin.get(`reprise:${key}`))?.startsWith('p-w') ?? false;
    await admin.call('ACL', 'SETUSER', 'shop', 'on', '>secret', 'resetchannels', '~reprise:*', '&reprise:*', ...RIGHTS);
    await admin.call('ACL', 'SETUSER', 'mute', 'on', '>secret', 'resetchannels', '~reprise:*', ...RIGHTS);
    const clientOfUser = (username: string) => {
      const client = new Redis(server.port, { username, password: 'secret' }).on('error', () => undefined);
      cleanups.push(() => {
        client.disconnect();
      });
      return client;
    };
    const store = new RedisStore({ client: clientOfUser('shop') });
    cleanups.push(async () => store.close());
    const asked = request({ leaseMs: 600_000 });
    const held = await claim(store, asked);
    const waiting = store.waitFor(asked.key);
    await vi.waitFor(async () => {
      expect(await isAwaited(asked.key)).toBe(true);
    }, 10_000);
    expect(await store.mark(held, 'committed', 60)).toBe(true);
    expect(await store.save(held, Buffer.from('half'))).toBe(true);
    expect(await store.renew(held, 600_000)).toBe(true);
    expect(await store.complete(held, ANSWER, 60)).toBe(true);
    await waiting;
    expect(await store.stats()).toMatchObject({ completed: 1 });
    for await (const { key } of store.list()) expect(key).toBe(asked.key);
    expect(await store.forget(asked.key)).toBe(true);

    const muteClient = clientOfUser('mute');
    const polling = async ([command = '', ...args]: (string | Buffer)[]) =>
      muteClient.callBuffer(String(command), args);
    const mute = new RedisStore({ client: polling });
    const other = await claim(mute, request());
    const polled = mute.waitFor(other.key);
    await vi.waitFor(async () => {
      expect(await isAwaited(other.key)).toBe(true);
    }, 10_000);
    expect(await mute.complete(other, ANSWER, 60)).toBe(true);
    await polled;
  });

  it('warns once of a Redis that evicts', async () => {
    const client = clientOf(await redis('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'));
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    for (const store of [new RedisStore({ client }), new RedisStore({ client })]) {
      await claim(store, request());
      await claim(store, request());
    }
    await vi.waitFor(() => {
      expect(warned.mock.calls.map(([, options]) => options)).toMatchObject([{ code: 'WRN_REPRISE_STORE_EVICTS' }]);
    });
  });

  it('counts what its replicas have, and takes a claim back that too few have', async () => {
    const primary = await redis();
    const client = clientOf(primary);
    const store = new RedisStore({ client, waitForReplicas: 1, replicaTimeoutMs: 200 });
    const alone = request();
    await expect(store.claim(alone)).rejects.toMatchObject({ code: 'ERR_REPRISE_STORE_REPLICAS' });
    expect(await store.inspect(alone.key)).toBeUndefined();

    const replica = clientOf(await redis('--replicaof', '127.0.0.1', String(primary.port)));
    await vi.waitFor(async () => {
      expect(await client.info('replication')).toContain('state=online');
    }, 10_000);
    const asked = request();
    // A replica that has just caught up may take its time on a busy machine; what counts is that it is waited for.
    const patient = new RedisStore({ client, waitForReplicas: 1, replicaTimeoutMs: 10_000 });
    expect(await patient.complete(await claim(patient, asked), ANSWER, 60)).toBe(true);
    expect(await replica.get(`reprise:${asked.key}`)).toMatch(/^c/);
  });

  it('lets those go that wait when the connection is lost or the store closed', async () => {
    const server = await redis();
    const asked = request({ leaseMs: 600_000 });
    const [first, second] = [0, 1].map(() => new RedisStore({ client: clientOf(server) })) as [RedisStore, RedisStore];
    await claim(first, asked);
    const waits = [first.waitFor(asked.key), second.waitFor(asked.key)];
    await delay(100);
    await second.close();
    await waits[1];
    await server.kill();
    await waits[0];
    await first.close();
  });

  it.each([
    ['ioredis', ({ port }: TestServer) => Promise.resolve(new Redis(port, { maxRetriesPerRequest: null }))],
    ['node-redis', async ({ port }: TestServer) => createClient({ url: `redis://127.0.0.1:${port}` }).connect()],
  ])('is closed while its server is gone, and lets those go that wait (%s)', async (_, connect) => {
    const server = await redis();
    const client = await connect(server);
    client.on('error', () => undefined);
    await server.kill();
    const store = new RedisStore({ client });
    const waiting = store.waitFor('a key').catch((error: unknown) => error);
    await delay(50);
    await store.close();
    // Who has asked by the client itself waits with it.
    await server.restart();
    await waiting;
    if ('destroy' in client) client.destroy();
    else client.disconnect();
    await expect(store.waitFor('a key')).rejects.toMatchObject({ code: 'ERR_REPRISE_STORE_CLOSED' });
  });

  it('refuses a closed store, and options that cannot be right', async () => {
    const client = clientOf(await redis());
    const store = new RedisStore({ client });
    await store.close();
    await expect(store.claim(request())).rejects.toMatchObject({ code: 'ERR_REPRISE_STORE_CLOSED' });
    expect(await client.ping()).toBe('PONG');
    const wrong = [{}, { client: {} }, { client, prefix: 7 }, { client, waitForReplicas: -1 }, { client, ttl: 1 }];
    for (const options of wrong) {
      expect(() => new RedisStore(options as never)).toThrow(/RedisStore: (option "\w+" is|unknown option "ttl")/);
    }
  });

  it('never runs a key twice while Redis (appendfsync always) is killed and restarted under load', async () => {
    const server = await redis('--appendonly', 'yes', '--appendfsync', 'always');
    const effects = new Map<string, number>();
    // Two hosts, as far as the store can see.
    const hosts = await Promise.all(
      [0, 1].map(async () => host(new RedisStore({ client: clientOf(server) }), effects)),
    );
    let over = false as boolean;
    const chaos = (async () => {
      for (let i = 0; i < 4; i++) {
        await delay(300);
        await server.kill();
        await delay(100);
        await server.restart();
      }
      over = true;
    })();
    const keys: string[] = [];
    while (!over) {
      const batch = Array.from({ length: 20 }, () => randomUUID());
      keys.push(...batch);
      const answers = await Promise.all(
        batch.map(async (key) => Promise.all([0, 1, 0, 1].map(async (i) => untilAnswered(hosts[i] ?? '', key)))),
      );
      for (const [first, ...others] of answers) expect(new Set(others)).toEqual(new Set([first]));
    }
    await chaos;
    expect(keys.length).toBeGreaterThan(0);
    expect(keys.filter((key) => effects.get(key) !== 1)).toEqual([]);
  }, 120_000);
});

/** A server whose every answer is a new one. */
async function host(store: RedisStore, effects: Map<string, number>): Promise<string> {
  const middleware = idempotencyMiddleware({ store, storeTimeoutMs: 500, silence: ['WRN_REPRISE_NO_SCOPE'] });
  const server: Server = createServer((req, res) => {
    middleware(req, res, () => {
      const key = (req as IncomingMessage & { idempotency: { key: string } }).idempotency.key;
      effects.set(key, (effects.get(key) ?? 0) + 1);
      setTimeout(() => res.end(randomUUID()), 20);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    server.closeAllConnections();
    server.close();
    void middleware.close();
    await store.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

async function untilAnswered(url: string, key: string): Promise<string> {
  for (;;) {
    const response = await fetch(url, { method: 'POST', headers: { 'Idempotency-Key': key } });
    const body = await response.text();
    if (response.status === 200) return body;
    if (response.status !== 503 && response.status !== 409) throw new Error(`${response.status} ${body}`);
    await delay(50);
  }
}
