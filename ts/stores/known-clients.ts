import { types } from 'node:util';
import { show, withCode, type RepriseErrorCode } from '../errors.js';
import { hasMethods } from '../options.js';
import { isAtomicStore, type AtomicStore } from './contract.js';
import type { IdempotencyStore, StoredResponse } from './types.js';

type Method = (...args: never[]) => unknown;

/**
 * Caches that `store` takes as they are, told by their methods: `LRUCache` of lru-cache and `TTLCache` of
 * `@isaacs/ttlcache`, a cache of cache-manager 6 or newer that is in memory, and `NodeCache`. (`Keyv` has the methods of
 * an {@link IdempotencyStore} and needs no type of its own.)
 */
export type KnownCache =
  | { get: Method; set: Method; delete: Method; getRemainingTTL: Method }
  | { get: Method; set: Method; del: Method; mget: Method; stores: readonly unknown[] }
  | { get: Method; set: Method; del: Method; getTtl: Method };

/** What somebody has tried as a store. */
type Tried =
  | { readonly store: AtomicStore | IdempotencyStore }
  /** What it is, and what to give instead; nothing where nobody knows it. */
  | { readonly is?: string; readonly allowed?: string };

/** What a store of three methods is asked, as it is known to understand it. */
interface Kind {
  readonly matches: (value: object) => boolean;
  readonly as: (value: object) => Tried;
}

const ANY_STORE = 'a MemoryStore, a store that holds the contract, or an object with get, set and delete';
const WRAP = 'wrap it in an object with get, set(key, value, seconds) and delete, as docs/stores.md shows';

/** Known by their methods: an application may have another copy, or version, of a package than we would import. */
const KINDS: readonly Kind[] = [
  {
    matches: (value) => hasMethods(value, 'callBuffer', 'duplicate') || hasMethods(value, 'sendCommand', 'duplicate'),
    as: refusedAs('a client of Redis', "a store over it: new RedisStore({ client }) of 'reprise/redis'"),
  },
  {
    matches: (value) => hasMethods(value, 'query', 'connect') && !hasMethods(value, 'delete'),
    as: refusedAs('a client of PostgreSQL', "a store over it: new PostgresStore({ client }) of 'reprise/postgres'"),
  },
  { matches: isKeyv, as: keyvAs },
  {
    matches: (value) => hasMethods(value, 'get', 'set', 'delete', 'getMany', 'setMany'),
    as: refusedAs('a cache whose set takes milliseconds (cacheable)', `one whose set takes seconds; ${WRAP}`),
  },
  { matches: (value) => hasMethods(value, 'get', 'set', 'delete', 'has', 'getRemainingTTL'), as: ttlCacheAs },
  {
    matches: (value) => hasMethods(value, 'get', 'set', 'del', 'mget', 'mset') && 'stores' in value,
    as: cacheManagerAs,
  },
  { matches: (value) => hasMethods(value, 'get', 'set', 'del', 'getTtl', 'take'), as: nodeCacheAs },
  {
    matches: (value) => hasMethods(value, 'get', 'set', 'del', 'wrap') && 'store' in value,
    as: refusedAs(
      'a cache of cache-manager 5 or older, whose ttl has two meanings',
      `one of cache-manager 6; or ${WRAP}`,
    ),
  },
  {
    matches: (value) => hasMethods(value, 'getItem', 'setItem', 'removeItem'),
    as: refusedAs('a storage with getItem and setItem, most of which never forget', `one that forgets; ${WRAP}`),
  },
  {
    matches: (value) => hasMethods(value, 'get', 'set', 'delete', 'atomic', 'enqueue'),
    as: refusedAs('a Deno KV, whose keys are lists', `${WRAP}; with expireIn: seconds * 1000`),
  },
  {
    matches: (value) =>
      hasMethods(value, 'get', 'set', 'delete', 'expiresIn') || hasMethods(value, 'get', 'set', 'delete', 'expiresAt'),
    as: refusedAs(
      'a cache that takes its time another way (quick-lru, tiny-lru)',
      `one whose set takes seconds; ${WRAP}`,
    ),
  },
  {
    matches: (value) => isBare(value, types.isMap) || isBare(value, types.isWeakMap),
    as: refusedAs('a Map, which never forgets', `new MemoryStore(), which is one in memory that does, or ${ANY_STORE}`),
  },
  {
    matches: (value) => hasMethods(value, 'get', 'set', 'delete', 'append'),
    as: refusedAs('a list of fields', ANY_STORE),
  },
];

/**
 * The store that a value is. What is known for something else than a store is adapted where it can keep records for as
 * long as they are to be kept, and is refused with what to do where it cannot.
 *
 * @throws TypeError
 */
export function storeOf(
  owner: string,
  named: string,
  value: unknown,
  code: Extract<RepriseErrorCode, 'ERR_REPRISE_INVALID_OPTION' | 'ERR_REPRISE_INVALID_ARGUMENT'>,
): AtomicStore | IdempotencyStore {
  const tried = recognise(value);
  if ('store' in tried) return tried.store;
  const isOption = code === 'ERR_REPRISE_INVALID_OPTION';
  const { is = show(value), allowed = isOption ? ANY_STORE : 'a store, at least with get, set and delete' } = tried;
  const what = isOption ? 'option' : 'argument';
  throw withCode(new TypeError(`${owner}: ${what} "${named}" is ${is}; allowed: ${allowed}`), code);
}

function recognise(value: unknown): Tried {
  if (isAtomicStore(value)) return { store: value };
  if (typeof value !== 'object' || value === null) return {};
  const kind = KINDS.find(({ matches }) => matches(value));
  if (kind !== undefined) return kind.as(value);
  if (hasMethods(value, 'get', 'set', 'delete')) return { store: value as IdempotencyStore };
  return {};
}

function refusedAs(is: string, allowed: string): () => Tried {
  return () => ({ is, allowed });
}

interface KeyvLike {
  get(key: string): Promise<StoredResponse | undefined>;
  set(key: string, value: StoredResponse, ms: number): Promise<unknown>;
  delete(key: string): unknown;
  opts: { store?: unknown };
  throwOnErrors?: boolean;
}

function isKeyv(value: object): value is KeyvLike {
  return hasMethods(value, 'get', 'set', 'delete', 'clear', 'disconnect') && 'opts' in value;
}

function keyvAs(value: object): Tried {
  const keyv = value as KeyvLike;
  if (keyv.throwOnErrors === false && !isInMemory(keyv)) {
    // A database that is down would look like one without the record, and the request would run again.
    return {
      is: 'a Keyv that takes a store that fails for an empty one',
      allowed: 'a Keyv that says so: new Keyv({ store, throwOnErrors: true })',
    };
  }
  return {
    store: {
      get: async (key) => keyv.get(key),
      set: async (key, record, ttl) => {
        kept((await keyv.set(key, record, ttl * 1000)) !== false);
      },
      delete: (key) => keyv.delete(key),
    },
  };
}

function isInMemory({ opts }: KeyvLike): boolean {
  return types.isMap(opts.store);
}

interface TtlCacheLike {
  get(key: string, options: object): StoredResponse | undefined;
  set(key: string, value: StoredResponse, options: object): unknown;
  has(key: string): boolean;
  delete(key: string): unknown;
  maxSize?: number;
  maxEntrySize?: number;
  sizeCalculation?: unknown;
}

/** Of lru-cache and its relatives, whose time is one of several options. */
function ttlCacheAs(value: object): Tried {
  const cache = value as TtlCacheLike;
  const needsSize = Boolean(cache.maxSize ?? cache.maxEntrySize) && cache.sizeCalculation === undefined;
  return {
    store: {
      get: (key) => cache.get(key, { allowStale: false }),
      set: (key, record, ttl) => {
        const size = needsSize ? { size: sizeOf(record) } : {};
        cache.set(key, record, { ttl: ttl * 1000, ...size });
        // One that is larger than it takes is left out without a word.
        kept(cache.has(key));
      },
      delete: (key) => cache.delete(key),
    },
  };
}

interface CacheManagerLike {
  get(key: string): Promise<StoredResponse | undefined | null>;
  set(key: string, value: StoredResponse, ms: number): Promise<unknown>;
  del(key: string): unknown;
  stores: readonly object[];
}

function cacheManagerAs(value: object): Tried {
  const cache = value as CacheManagerLike;
  if (!cache.stores.every((store) => isKeyv(store) && isInMemory(store))) {
    return {
      is: 'a cache of cache-manager that takes a store that fails for an empty one',
      allowed: 'one in memory only, or a store over the database itself (RedisStore, Keyv with throwOnErrors: true)',
    };
  }
  return {
    store: {
      get: async (key) => cache.get(key),
      set: async (key, record, ttl) => cache.set(key, record, ttl * 1000),
      delete: (key) => cache.del(key),
    },
  };
}

function nodeCacheAs(value: object): Tried {
  const cache = value as Record<'get' | 'set' | 'del', (...args: unknown[]) => unknown>;
  return {
    store: {
      get: (key) => cache.get(key) as StoredResponse | undefined,
      set: (key, record, ttl) => {
        kept(cache.set(key, record, ttl) === true);
      },
      delete: (key) => cache.del(key),
    },
  };
}

/** Whether it is of a built-in class, of any realm, and keeps what its class keeps. */
function isBare(value: object, isOne: (value: unknown) => boolean): boolean {
  const { set } = value as { set?: unknown };
  return isOne(value) && Function.prototype.toString.call(set).includes('[native code]');
}

function kept(isKept: boolean): void {
  if (!isKept) throw new Error('The cache did not keep the record');
}

/** About its bytes. */
function sizeOf(record: StoredResponse): number {
  return 512 + (record.state === 'completed' ? record.body.length + String(record.headers).length : 0);
}
