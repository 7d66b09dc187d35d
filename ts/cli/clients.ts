import { createRequire } from 'node:module';
import path from 'node:path';
import { withCode } from '../errors.js';
import type { PostgresClient } from '../stores/postgres/client.js';
import type { RedisClient } from '../stores/redis/client.js';
import { masked } from './mask.js';

// The clients are those of the user's own project: this package depends on none.

/** A connected client, and how to end it. */
export interface Opened<Client> {
  readonly client: Client;
  readonly close: () => Promise<void> | void;
}

const CONNECT_TIMEOUT_MS = 5_000;

/** Connects to a server of Redis or Valkey; to all of its cluster, if it is one's. */
export async function openRedis(url: URL, folder: string): Promise<Opened<RedisClient>> {
  const plain = url.href.replace(/^valkey/, 'redis');
  const ioredis = fromProject('ioredis', folder) as IoRedisModule | undefined;
  if (ioredis) return reached(url, openIoRedis(ioredis, plain));
  const redis = fromProject('redis', folder) as NodeRedisModule | undefined;
  if (redis) return reached(url, openNodeRedis(redis, plain));
  throw noClient(folder, 'ioredis', 'redis');
}

/** Connects to a PostgreSQL. */
export async function openPostgres(url: URL, folder: string): Promise<Opened<PostgresClient>> {
  const pg = fromProject('pg', folder) as PgModule | undefined;
  if (pg) return reached(url, openPg(pg, url.href));
  const postgres = fromProject('postgres', folder) as PostgresJsModule | undefined;
  if (postgres) return reached(url, openPostgresJs(postgres, url.href));
  throw noClient(folder, 'pg', 'postgres');
}

type IoRedisClient = RedisClient & {
  on: (event: 'error', listener: () => void) => unknown;
  connect: () => Promise<void>;
  info: (section: string) => Promise<string>;
  options: object;
  disconnect: () => void;
};

interface IoRedisModule {
  Redis: new (url: string, options: object) => IoRedisClient;
  Cluster: new (nodes: string[], options: object) => IoRedisClient;
}

async function openIoRedis({ Redis, Cluster }: IoRedisModule, url: string): Promise<Opened<RedisClient>> {
  const own = { lazyConnect: true, maxRetriesPerRequest: 0, connectTimeout: CONNECT_TIMEOUT_MS };
  const open = async (client: IoRedisClient): Promise<Opened<IoRedisClient>> => {
    let failure: unknown;
    client.on('error', (error?: unknown) => (failure ??= error));
    try {
      await client.connect();
    } catch (error) {
      client.disconnect();
      // Its own error says no more than that the connection is closed.
      throw failure ?? error;
    }
    return {
      client,
      close: () => {
        client.disconnect();
      },
    };
  };
  const one = await open(new Redis(url, { ...own, retryStrategy: () => null }));
  if (!isOfCluster(await one.client.info('cluster'))) return one;
  const { username, password, tls } = one.client.options as Record<string, unknown>;
  await one.close();
  const redisOptions = { username, password, tls, connectTimeout: CONNECT_TIMEOUT_MS };
  return open(new Cluster([url], { lazyConnect: true, clusterRetryStrategy: () => null, redisOptions }));
}

type NodeRedisClient = RedisClient & {
  on: (event: 'error', listener: () => void) => NodeRedisClient;
  connect: () => Promise<unknown>;
  info: (section: string) => Promise<string>;
  destroy: () => void;
};

interface NodeRedisModule {
  createClient: (options: object) => NodeRedisClient;
  createCluster: (options: object) => NodeRedisClient;
}

async function openNodeRedis(redis: NodeRedisModule, url: string): Promise<Opened<RedisClient>> {
  const { username, password } = new URL(url);
  const socket = { connectTimeout: CONNECT_TIMEOUT_MS, reconnectStrategy: false };
  const open = async (client: NodeRedisClient): Promise<Opened<NodeRedisClient>> => {
    await client.on('error', () => undefined).connect();
    return {
      client,
      close: () => {
        client.destroy();
      },
    };
  };
  const one = await open(redis.createClient({ url, socket }));
  if (!isOfCluster(await one.client.info('cluster'))) return one;
  await one.close();
  const credentials = password && { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  return open(redis.createCluster({ rootNodes: [{ url }], defaults: { ...(credentials || {}), socket } }));
}

function isOfCluster(info: string): boolean {
  return /^cluster_enabled:1/m.test(info);
}

interface PgModule {
  Pool: new (options: object) => PostgresClient & {
    on: (event: 'error', listener: () => void) => unknown;
    query: (text: string) => Promise<unknown>;
    end: () => Promise<void>;
  };
}

async function openPg({ Pool }: PgModule, connectionString: string): Promise<Opened<PostgresClient>> {
  const client = new Pool({
    connectionString,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'reprise',
  });
  client.on('error', () => undefined);
  const close = (): Promise<void> => client.end();
  await client.query('SELECT 1').catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return { client, close };
}

type PostgresJsModule = (
  url: string,
  options: object,
) => PostgresClient & { unsafe: (text: string) => Promise<unknown>; end: (options?: object) => Promise<void> };

async function openPostgresJs(postgres: PostgresJsModule, url: string): Promise<Opened<PostgresClient>> {
  const client = postgres(url, { connect_timeout: CONNECT_TIMEOUT_MS / 1000, onnotice: () => undefined });
  const close = (): Promise<void> => client.end({ timeout: 1 });
  await client.unsafe('SELECT 1').catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return { client, close };
}

/** A module as the project in a folder would load it; undefined where it has none. */
function fromProject(name: string, folder: string): unknown {
  const require = createRequire(path.join(folder, 'package.json'));
  try {
    require.resolve(name);
  } catch {
    return undefined;
  }
  return require(name);
}

async function reached<T>(url: URL, opening: Promise<T>): Promise<T> {
  try {
    return await opening;
  } catch (cause) {
    // Several addresses that were tried come as one error without words.
    const { message, errors } = cause as AggregateError;
    const said = message === '' ? errors.map((error: Error) => error.message).join('; ') : message;
    throw withCode(new Error(`cannot reach ${masked(url.href)}: ${said}`, { cause }), 'ERR_REPRISE_STORE_UNREACHABLE');
  }
}

function noClient(folder: string, ...names: string[]): Error {
  return withCode(
    new Error(
      `neither ${names.join(' nor ')} is installed in ${folder}; run this where your application has its client, or ` +
        `install one: npm install ${names[0] ?? ''}`,
    ),
    'ERR_REPRISE_NO_CLIENT',
  );
}
