export { RedisStore, type RedisStoreOptions } from './store.js';
export type { RedisArgument, RedisClient, RedisCommand } from './client.js';
