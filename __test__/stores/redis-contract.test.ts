import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe } from 'vitest';
import { RedisStore } from '../../ts/stores/redis/index.js';
import { storeContract } from '../../ts/testing/index.js';
import { redisServer, startRedis, type TestServer } from './servers.js';
import { waitingTogether as framework } from './waiting-together.js';

describe.skipIf(redisServer === undefined)('RedisStore, one server', () => {
  let server: TestServer;
  let small: TestServer;
  let narrow: Redis;
  let ioredis: Redis;
  let nodeRedis: ReturnType<typeof createClient>;

  beforeAll(async () => {
    server = await startRedis();
    small = await startRedis('--maxmemory-policy', 'noeviction');
    narrow = new Redis(small.port);
    // Room for some hundreds of claims.
    const [, used] = /used_memory:(\d+)/.exec(await narrow.info('memory')) ?? [];
    await narrow.config('SET', 'maxmemory', Number(used) + 300_000);
    ioredis = new Redis(server.port, { maxRetriesPerRequest: 1 });
    nodeRedis = createClient({ url: `redis://127.0.0.1:${server.port}` });
    await nodeRedis.connect();
  });

  afterAll(async () => {
    ioredis.disconnect();
    narrow.disconnect();
    nodeRedis.destroy();
    await server.stop();
    await small.stop();
  });

  storeContract((prefix) => new RedisStore({ client: ioredis, prefix }), {
    title: 'ioredis',
    framework,
    makeSmallStore: (prefix) => new RedisStore({ client: narrow, prefix }),
  });
  storeContract((prefix) => new RedisStore({ client: nodeRedis, prefix }), { title: 'node-redis', framework });
  // A function is all that is known of other clients: it cannot subscribe, so the store asks again and again.
  storeContract(
    (prefix) => {
      const client = async ([command = '', ...args]: (string | Buffer)[]) => ioredis.callBuffer(String(command), args);
      return new RedisStore({ client, prefix });
    },
    { title: 'a function', framework },
  );
  // As Valkey GLIDE is called: one array, and a decoder for the reply.
  storeContract(
    (prefix) => {
      const customCommand = async ([command = '', ...args]: (string | Buffer)[], { decoder }: { decoder: number }) =>
        decoder === 0 ? ioredis.callBuffer(String(command), args) : ioredis.call(String(command), args);
      return new RedisStore({ client: { customCommand }, prefix });
    },
    { title: 'the shape of Valkey GLIDE', framework },
  );
});
