import { Cluster } from 'ioredis';
import { createCluster } from 'redis';
import { afterAll, beforeAll, describe } from 'vitest';
import { RedisStore } from '../../ts/stores/redis/index.js';
import { storeContract } from '../../ts/testing/index.js';
import { redisServer, startRedisCluster } from './servers.js';
import { waitingTogether as framework } from './waiting-together.js';

describe.skipIf(redisServer === undefined)('RedisStore, a cluster of three nodes', () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  let ioredis: Cluster;
  let nodeRedis: ReturnType<typeof createCluster>;

  beforeAll(async () => {
    cluster = await startRedisCluster();
    ioredis = new Cluster(cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })));
    nodeRedis = createCluster({
      rootNodes: cluster.nodes.map(({ port }) => ({ url: `redis://127.0.0.1:${port}` })),
    });
    await nodeRedis.connect();
  });

  afterAll(async () => {
    ioredis.disconnect();
    nodeRedis.destroy();
    await cluster.stop();
  });

  storeContract((prefix) => new RedisStore({ client: ioredis, prefix }), { title: 'ioredis', framework });
  storeContract((prefix) => new RedisStore({ client: nodeRedis, prefix }), { title: 'node-redis', framework });
});
