import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { invalidArgument } from '../options.js';
import type { AtomicStore } from '../stores/contract.js';
import { FileStore } from '../stores/file/index.js';
import { countInto, noStats, type StoreOperations } from '../stores/operations.js';
import { adapt } from '../stores/postgres/client.js';
import { identifier } from '../stores/postgres/statements.js';
import { PostgresStore } from '../stores/postgres/store.js';
import { RedisStore } from '../stores/redis/store.js';
import { openPostgres, openRedis } from './clients.js';
import { count, size } from './format.js';
import { masked } from './mask.js';

/** A store as the commands use it. */
export interface OpenStore {
  readonly store: Pick<AtomicStore, 'inspect' | 'forget'> & Pick<StoreOperations, 'list' | 'resolve'>;
  /** Counts, by what they count; names that end in `bytes` are sizes. */
  stats(): Promise<Readonly<Record<string, number>>>;
  /** Checks everything; `onChecked` hears of each record, where it is gone through record by record. */
  verify(onChecked: () => void): Promise<readonly Problem[]>;
  /** Gives back what is not needed; says in a sentence what it has done. */
  compact(): Promise<{ readonly done: Readonly<Record<string, number>>; readonly said: string }>;
  close(): Promise<void>;
}

/** What is wrong, and with which record if it is one. */
export interface Problem {
  readonly key?: string;
  readonly problem: string;
}

/** Where the records are. */
export interface Place {
  /** A path or a URL. */
  readonly where: string;
  /** The folder whose clients are used. */
  readonly folder: string;
  readonly prefix: string | undefined;
  readonly table: string | undefined;
  /** Whether anything will be changed. */
  readonly writes: boolean;
}

const ALLOWED = 'the file of a FileStore, or a redis://, rediss:// or postgres:// URL';

/** Opens the store at a place. It makes nothing that is not there. */
export async function openStore(place: Place): Promise<OpenStore> {
  const { where } = place;
  // C:\shop\idempotency.db is a path.
  const url = URL.canParse(where) && !/^[a-z]:/i.test(where) ? new URL(where) : undefined;
  switch (url?.protocol) {
    case 'redis:':
    case 'rediss:':
    case 'valkey:':
    case 'valkeys:':
      return openRedisStore(url, place);
    case 'postgres:':
    case 'postgresql:':
      return openPostgresStore(url, place);
    case undefined:
      return openFile(where, place);
    case 'file:':
      return openFile(fileURLToPath(where), place);
    default:
      throw invalidArgument(TypeError, 'reprise', '--store', masked(where), ALLOWED);
  }
}

function openFile(path: string, { prefix, table, writes }: Place): Promise<OpenStore> {
  if (prefix !== undefined) throw invalidArgument(TypeError, 'reprise', '--prefix', prefix, 'a Redis');
  if (table !== undefined) throw invalidArgument(TypeError, 'reprise', '--table', table, 'a PostgreSQL');
  if (!existsSync(path)) throw invalidArgument(RangeError, 'reprise', '--store', path, ALLOWED);
  // Who only looks in must not drop anything because the application's limits are wider than the default.
  const limits = { maxBytes: Number.MAX_SAFE_INTEGER, maxEntries: Number.MAX_SAFE_INTEGER };
  const store = new FileStore({ path, readOnly: !writes, ...limits });
  return Promise.resolve({
    store,
    stats: async () => {
      const counted = noStats();
      for await (const { state, bytes } of store.list()) countInto(counted, state, bytes);
      const { inProgress, completed, notReplayable, indeterminate, bytes } = counted;
      const { evicted, fileBytes, journalBytes } = await store.stats();
      return { inProgress, completed, notReplayable, indeterminate, evicted, bytes, fileBytes, journalBytes };
    },
    verify: async () => (await store.verify()).map((problem) => ({ problem })),
    compact: async () => {
      const { fileBytes: before } = await store.stats();
      await store.compact();
      const { fileBytes } = await store.stats();
      const said = `The file has ${size(fileBytes)}; before it had ${size(before)}.`;
      return { done: { fileBytesBefore: before, fileBytes }, said };
    },
    close: async () => store.close(),
  });
}

/** The damaged records of a store that is gone through record by record. */
async function damagedOf(store: StoreOperations, onChecked: () => void): Promise<Problem[]> {
  const problems: Problem[] = [];
  for await (const record of store.list()) {
    onChecked();
    if (record.state === 'damaged') problems.push({ key: record.key, problem: record.problem });
  }
  return problems;
}

async function openRedisStore(url: URL, { folder, prefix, table }: Place): Promise<OpenStore> {
  if (table !== undefined) throw invalidArgument(TypeError, 'reprise', '--table', table, 'a PostgreSQL');
  const { client, close } = await openRedis(url, folder);
  const store = new RedisStore({ client, ...(prefix !== undefined && { prefix }) });
  return {
    store,
    stats: async () => ({ ...(await store.stats()) }),
    verify: async (onChecked) => damagedOf(store, onChecked),
    compact: () =>
      Promise.resolve({ done: { removed: 0 }, said: 'Redis drops what has expired by itself: nothing to do.' }),
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
    stats: async () => ({ ...(await store.stats()) }),
    verify: async (onChecked) => damagedOf(store, onChecked),
    compact: async () => {
      const removed = await store.compact();
      return { done: { removed }, said: `Swept ${count(removed, 'expired record')}; the space is free for new ones.` };
    },
    close: async () => {
      await store.close();
      await close();
    },
  };
}
