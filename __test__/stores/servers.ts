import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'pg';

/** A server of a test's own, or of a benchmark's, on a free port, gone with it. */
export interface TestServer {
  readonly port: number;
  /** `kill -9`, as a crash does. */
  kill(): Promise<void>;
  /** Starts it again, on the same port, over what it had written. */
  restart(): Promise<void>;
  /** Ends it, and removes what it wrote. */
  stop(): Promise<void>;
}

/** Redis as it comes with the system, or undefined, said plainly; with `CI=true` its absence is an error. */
export const redisServer = found('redis-server', 'redis-server', where('redis-server'));

/** The folder of PostgreSQL's programs. */
export const postgresPrograms = found('PostgreSQL', 'postgresql', wherePostgres());

/** Starts a Redis. `settings` are options of its command line. */
export async function startRedis(...settings: readonly string[]): Promise<TestServer> {
  const port = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-redis-'));
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', ...settings];
  const start = async (): Promise<ChildProcess> => {
    const child = spawn(redisServer ?? '', args, { stdio: 'ignore' });
    await until('Redis', child, () => succeeds('redis-cli', '-p', String(port), 'ping'));
    return child;
  };
  return server(port, folder, await start(), start, 'SIGTERM');
}

/** Starts a cluster of three Redis, on loopback. */
export async function startRedisCluster(): Promise<{ nodes: readonly TestServer[]; stop: () => Promise<void> }> {
  const start = async () =>
    startRedis('--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--appendonly', 'yes');
  const nodes = await Promise.all([start(), start(), start()]);
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`);
  execFileSync('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-yes'], { stdio: 'pipe' });
  for (const { port } of nodes) {
    while (!clusterIsUp(port)) await delay(50);
  }
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map(async (node) => node.stop()));
  };
  return { nodes, stop };
}

/** Starts a PostgreSQL; user and database are `postgres`, without a password. */
export async function startPostgres(...settings: readonly string[]): Promise<TestServer> {
  const port = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-postgres-'));
  const program = (name: string) => path.join(postgresPrograms ?? '', name);
  // PostgreSQL refuses to run as root.
  const asOther = process.getuid?.() === 0 ? someone() : undefined;
  if (asOther) chownSync(folder, asOther.uid, asOther.gid);
  const data = path.join(folder, 'data');
  const initdb = ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C'];
  execFileSync(program('initdb'), initdb, { ...asOther, cwd: folder, stdio: 'pipe' });
  const args = ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', folder];
  const own = settings.flatMap((setting) => ['-c', setting]);
  const start = async (triesLeft = 50): Promise<ChildProcess> => {
    const child = spawn(program('postgres'), [...args, ...own], { ...asOther, cwd: folder, stdio: 'ignore' });
    try {
      await until('PostgreSQL', child, () =>
        succeeds(program('pg_isready'), '-h', '127.0.0.1', '-p', String(port), '-q'),
      );
      return child;
    } catch (error) {
      // The processes of a server that was killed are gone a moment after it; until then no other may start.
      if (triesLeft === 0 || child.exitCode === null) throw error;
      await delay(100);
      return start(triesLeft - 1);
    }
  };
  // SIGINT is its fast shutdown: clients are disconnected, the files are whole.
  return server(port, folder, await start(), async () => start(), 'SIGINT');
}

/** A pool of pg, which does not end the test when the server ends its connections. */
export function poolOf({ port }: TestServer): Pool {
  return new Pool({ connectionString: `postgres://postgres@127.0.0.1:${port}/postgres` }).on('error', () => undefined);
}

function server(
  port: number,
  folder: string,
  first: ChildProcess,
  start: () => Promise<ChildProcess>,
  signal: NodeJS.Signals,
): TestServer {
  let child = first;
  const end = async (how: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(how);
    await exited;
  };
  return {
    port,
    kill: async () => end('SIGKILL'),
    restart: async () => {
      await end(signal);
      child = await start();
    },
    stop: async () => {
      await end(signal);
      // What a killed server leaves behind, its own processes may still write to.
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

/** A port that nobody listens on, at the moment. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  // A node of a cluster takes the port 10,000 above its own, too.
  return port < 55_000 ? port : freePort();
}

async function until(name: string, child: ChildProcess, isUp: () => boolean): Promise<void> {
  let failure: unknown;
  child.on('error', (error) => (failure = error));
  const deadline = Date.now() + 30_000;
  while (!isUp()) {
    if (failure !== undefined || child.exitCode !== null || Date.now() > deadline) {
      throw new Error(`${name} did not start (exit code ${String(child.exitCode)})`, { cause: failure });
    }
    await delay(20);
  }
}

function clusterIsUp(port: number): boolean {
  const { stdout } = spawnSync('redis-cli', ['-p', String(port), 'cluster', 'info'], { encoding: 'utf8' });
  return stdout.includes('cluster_state:ok') && stdout.includes('cluster_known_nodes:3');
}

function succeeds(program: string, ...args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

function where(program: string): string | undefined {
  const { status, stdout } = spawnSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

function wherePostgres(): string | undefined {
  // Debian keeps the server's programs out of PATH, a folder per version.
  const versions = '/usr/lib/postgresql';
  try {
    const newest = readdirSync(versions).sort((a, b) => Number(b) - Number(a))[0];
    if (newest !== undefined && where(path.join(versions, newest, 'bin', 'initdb'))) {
      return path.join(versions, newest, 'bin');
    }
  } catch {
    // Not Debian.
  }
  const initdb = where('initdb');
  return initdb && path.dirname(initdb);
}

function someone(): { uid: number; gid: number } | undefined {
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((which) => spawnSync('id', [which, name], { encoding: 'utf8' }));
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  return undefined;
}

function found(name: string, debianPackage: string, place: string | undefined): string | undefined {
  if (place !== undefined) return place;
  const message = `${name} is not installed: what needs it does not run (Debian package ${debianPackage})`;
  if (process.env['CI'] === 'true') throw new Error(message);
  console.warn(message);
  return undefined;
}
