import { setTimeout as delay } from 'node:timers/promises';
import { TTLCache } from '@isaacs/ttlcache';
import { createCache } from 'cache-manager';
import { Redis } from 'ioredis';
import { Keyv } from 'keyv';
import { LRUCache } from 'lru-cache';
import NodeCache from 'node-cache';
import { Pool } from 'pg';
import { createClient } from 'redis';
import { describe, expect, it, vi } from 'vitest';
import {
  chaosStore,
  createChaos,
  idempotencyMiddleware,
  layered,
  MemoryStore,
  type IdempotencyOptions,
} from '../../ts/index.js';
import { storeOf } from '../../ts/stores/known-clients.js';
import type { IdempotencyStore, StoredResponse } from '../../ts/index.js';
import { shop } from '../helpers/shop.js';

const RECORD: StoredResponse = {
  state: 'completed',
  fingerprint: 'f',
  identity: 'i',
  statusCode: 201,
  statusMessage: 'Created',
  headers: [['content-type', 'text/plain']],
  body: 'bWFkZQ==',
  timestamp: '2026-01-01T00:00:00.000Z',
};

const taken = (store: unknown) => storeOf('test', 'store', store, 'ERR_REPRISE_INVALID_OPTION') as IdempotencyStore;
const silence = ['WRN_REPRISE_STORE_NOT_ATOMIC'] as const;

const CACHES: readonly [name: string, make: () => NonNullable<IdempotencyOptions['store']>][] = [
  ['new Keyv()', () => new Keyv()],
  ['new Keyv({ throwOnErrors: true })', () => new Keyv({ throwOnErrors: true })],
  ['new LRUCache({ max })', () => new LRUCache<string, StoredResponse>({ max: 100 })],
  ['an LRUCache that shows what is stale', () => new LRUCache<string, StoredResponse>({ max: 9, allowStale: true })],
  ['an LRUCache bounded by size', () => new LRUCache<string, StoredResponse>({ maxSize: 100_000 })],
  ['new TTLCache()', () => new TTLCache<string, StoredResponse>({ max: 100 })],
  ['createCache() of cache-manager', () => createCache()],
  ['new NodeCache()', () => new NodeCache({ checkperiod: 0 })],
];

describe.each(CACHES)('%s as a store', (_name, make) => {
  // By the clock: some of them have taken hold of it before a test could.
  it.concurrent('keeps a record for its seconds, and no longer', async ({ expect }) => {
    const store = taken(make());
    await store.set('k', RECORD, 1);
    await store.set('gone', RECORD, 1);
    await store.delete('gone');
    expect((await store.get('gone')) ?? undefined).toBeUndefined();
    await delay(500);
    expect(await store.get('k')).toEqual(RECORD);
    await delay(800);
    expect((await store.get('k')) ?? undefined).toBeUndefined();
  });

  it('replays, and runs once', async () => {
    const orders = await shop({ store: make(), silence });
    expect(await orders.send({ key: 'k' })).toMatchObject({ status: 201, isReplay: false });
    expect(await orders.send({ key: 'k' })).toMatchObject({ status: 201, isReplay: true });
    expect(orders.runs).toBe(1);
  });
});

it('a record that a cache leaves out without a word is told', () => {
  const full = taken(new LRUCache({ maxSize: 100_000, maxEntrySize: 600 }));
  expect(() => full.set('k', { ...RECORD, body: 'x'.repeat(5000) }, 100)).toThrow('did not keep');
});

/** What a Keyv writes to. */
class Database {
  readonly opts = { url: 'database://', dialect: 'some' };
  get = () => undefined;
  set = () => undefined;
  delete = () => true;
  clear = () => undefined;
  on = () => this;
}

/** What unstorage, Deno, tiny-lru and older caches look like. */
const shaped = (...names: string[]) => Object.fromEntries(names.map((name) => [name, () => undefined]));

it.each([
  ['a bare client of ioredis', new Redis({ lazyConnect: true }), /RedisStore/],
  ['a bare client of node-redis', createClient(), /RedisStore/],
  ['a pool of pg', new Pool(), /PostgresStore/],
  ['a Map', new Map(), /MemoryStore/],
  ['a WeakMap', new WeakMap(), /MemoryStore/],
  ['a Keyv that hides the errors of a database', new Keyv({ store: new Database() }), /throwOnErrors: true/],
  [
    'a cache of cache-manager that hides them',
    createCache({ stores: [new Keyv({ store: new Database() })] }),
    /Keyv with throwOnErrors/,
  ],
  ['unstorage', shaped('get', 'set', 'del', 'getItem', 'setItem', 'removeItem', 'getKeys'), /never forget/],
  ['cache-manager 5', { ...shaped('get', 'set', 'del', 'reset', 'wrap'), store: {} }, /cache-manager 6/],
  ['Deno KV', shaped('get', 'set', 'delete', 'list', 'atomic', 'enqueue'), /expireIn/],
  ['QuickLRU', shaped('get', 'set', 'delete', 'expiresIn'), /set takes seconds/],
  ['headers', new Headers(), /MemoryStore/],
  ['an object without methods', {}, /get, set and delete/],
])('%s is refused at start, with what to do', (_name, store, said) => {
  const refusal = { code: 'ERR_REPRISE_INVALID_OPTION', message: expect.stringMatching(said) as string };
  expect(() => idempotencyMiddleware({ store: store as never })).toThrow(expect.objectContaining(refusal) as Error);
});

it('a Map of a class of its own, which may forget, is taken', () => {
  class Forgets extends Map<string, StoredResponse> {
    override set(key: string, value: StoredResponse): this {
      return super.set(key, value);
    }
  }
  const store = new Forgets();
  expect(taken(store)).toBe(store);
});

it('is the same with chaos around it, and as the old store of a move', async () => {
  const keyv = new Keyv();
  const set = vi.spyOn(keyv, 'set');
  const chaotic = chaosStore(keyv, createChaos({ rules: [] }));
  await chaotic.set('k', RECORD, 100);
  expect(set).toHaveBeenCalledWith('k', RECORD, 100_000);
  expect(() => layered(new MemoryStore(), new Map() as never)).toThrow(/MemoryStore/);
});
