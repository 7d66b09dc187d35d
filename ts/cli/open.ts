import { invalidArgument } from '../options.js';
import type { AtomicStore } from '../stores/contract.js';
import type { StoreOperations } from '../stores/operations.js';
import { adapt } from '../stores/postgres/client.js';
import { identifier } from '../stores/postgres/statements.js';
import { PostgresStore } from '../stores/postgres/store.js';
import { RedisStore } from '../stores/redis/store.js';
import { openPostgres, openRedis } from './clients.js';
import { count } from './format.js';
import { masked } from './mask.js';

/** A store as the commands use it. */
export interface OpenStore {
  readonly store: Pick<AtomicStore, 'inspect' | 'forget'> & StoreOperations;
  /** Gives back what is not needed; says in a sentence what it has done. */
  compact(): Promise<{ readonly removed: number; readonly said: string }>;
  close(): Promise<void>;
}

/** Where the records are. */
export interface Place {
  /** A URL. */
  readonly where: string;
  /** The folder whose clients are used. */
  readonly folder: string;
  readonly prefix: string | undefined;
  readonly table: string | undefined;
}

const ALLOWED = 'a redis://, rediss:// or postgres:// URL';

/** Opens the store at a place. It makes nothing that is not there. */
export async function openStore(place: Place): Promise<OpenStore> {
  const { where } = place;
  const url = URL.canParse(where) ? new URL(where) : undefined;
  switch (url?.protocol) {
    case 'redis:':
    case 'rediss:':
    case 'valkey:':
    case 'valkeys:':
      return openRedisStore(url, place);
    case 'postgres:':
    case 'postgresql:':
      return openPostgresStore(url, place);
    default:
      throw invalidArgument(TypeError, 'reprise', '--store', masked(where), ALLOWED);
  }
}

async function openRedisStore(url: URL, { folder, prefix, table }: Place): Promise<OpenStore> {
  if (table !== undefined) throw invalidArgument(TypeError, 'reprise', '--table', table, 'a PostgreSQL');
  const { client, close } = await openRedis(url, folder);
  const store = new RedisStore({ client, ...(prefix !== undefined && { prefix }) });
  return {
    store,
    compact: () => Promise.resolve({ removed: 0, said: 'Redis drops what has expired by itself: nothing to do.' }),
    close: async () => {
      await store.close();
      await close();
    },
  };
}

async function openPostgresStore(url: URL, { folder, prefix, table = 'reprise_records' }: Place): Promise<OpenStore> {
  if (prefix !== undefined) throw invalidArgument(TypeError, 'reprise', '--prefix', prefix, 'a Redis');
  const { client, close } = await openPostgres(url, folder);
  const [found] = await adapt(client).query('SELECT to_regclass($1)::text AS name', [identifier(table)]);
  if (!found?.['name']) {
    await close();
    throw invalidArgument(RangeError, 'reprise', '--table', table, 'the name of a table that is there');
  }
  const store = new PostgresStore({ client, table, createTable: false, sweepIntervalMs: 0 });
  return {
    store,
    compact: async () => {
      const removed = await store.compact();
      return { removed, said: `Swept ${count(removed, 'expired record')}; the space is free for new ones.` };
    },
    close: async () => {
      await store.close();
      await close();
    },
  };
}
