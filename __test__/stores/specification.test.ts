import express from 'express';
import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { idempotencyMiddleware, type IdempotencyStore, type StoredResponse } from '../../ts/index.js';
import { send, serve } from '../helpers/server.js';
import { redisServer, startRedis } from './servers.js';

/** The specification's own example, but for where its Redis is. */
class RedisIdempotencyStore implements IdempotencyStore {
  constructor(private readonly redis: Redis) {}

  async get(key: string): Promise<StoredResponse | null> {
    const data = await this.redis.get(`idempotency:${key}`);
    return data ? (JSON.parse(data) as StoredResponse) : null;
  }

  async set(key: string, value: StoredResponse, ttl: number): Promise<void> {
    await this.redis.setex(`idempotency:${key}`, ttl, JSON.stringify(value));
  }

  async delete(key: string): Promise<void> {
    await this.redis.del(`idempotency:${key}`);
  }
}

// Where there is no redis-server, servers.ts says so; in CI that is a failure.
test.runIf(redisServer)("the specification's store over Redis runs as it is written", async () => {
  const server = await startRedis();
  const redis = new Redis(server.port);
  onTestFinished(async () => {
    redis.disconnect();
    await server.stop();
  });
  let runs = 0;
  const app = express();
  app.use(express.json(), idempotencyMiddleware({ store: new RedisIdempotencyStore(redis), ttl: 60 }));
  app.post('/orders', (_req, res) => {
    res.status(201).json({ run: ++runs });
  });
  const running = await serve(app);
  const order = { path: '/orders', key: 'key-1', body: { item: 1 } };
  const first = await send(running, order);
  const second = await send(running, order);
  expect([first.status, first.isReplay, second.status, second.isReplay]).toEqual([201, false, 201, true]);
  expect(second.text).toBe(first.text);
  expect((await send(running, { ...order, body: { item: 2 } })).status).toBe(422);
  expect(runs).toBe(1);
  const [name = ''] = await redis.keys('idempotency:*');
  expect(name).not.toContain('key-1');
  expect(await redis.ttl(name)).toBeGreaterThan(50);
});
