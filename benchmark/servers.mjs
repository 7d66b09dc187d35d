// Servers of the benchmark's own, on free ports, gone with it.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Redis without persistence: `{ port, version, stop() }`. */
export async function startRedis() {
  const port = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-bench-redis-'));
  const program = programIn('redis-server', 'redis-server');
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'];
  const child = spawn(program, args, { stdio: 'ignore' });
  await until(child, () => succeeds('redis-cli', '-p', String(port), 'ping'));
  const version = /v=([\d.]+)/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[1];
  return { port, version, stop: () => stop(child, folder, 'SIGTERM') };
}

/** A new PostgreSQL with its settings as they come; user and database are `postgres`. */
export async function startPostgres() {
  const port = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-bench-postgres-'));
  // Debian keeps the server's programs out of PATH, a folder per version.
  const versions = '/usr/lib/postgresql';
  const newest = list(versions).sort((a, b) => Number(b) - Number(a))[0];
  const at = newest === undefined ? '' : path.join(versions, newest, 'bin');
  const initdb = programIn(path.join(at, 'initdb'), 'postgresql');
  const postgres = programIn(path.join(at, 'postgres'), 'postgresql');
  // PostgreSQL refuses to run as root.
  const asOther = process.getuid?.() === 0 ? { uid: idOf('-u'), gid: idOf('-g') } : {};
  if (asOther.uid !== undefined) chownSync(folder, asOther.uid, asOther.gid);
  const data = path.join(folder, 'data');
  execFileSync(initdb, ['-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C'], {
    ...asOther,
    cwd: folder,
    stdio: 'pipe',
  });
  const args = ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', folder];
  const child = spawn(postgres, args, { ...asOther, cwd: folder, stdio: 'ignore' });
  await until(child, () => succeeds(path.join(at, 'pg_isready'), '-h', '127.0.0.1', '-p', String(port), '-q'));
  const version = execFileSync(postgres, ['--version'], { encoding: 'utf8' }).split(' ')[2].trim();
  return { port, version, stop: () => stop(child, folder, 'SIGINT') };
}

async function stop(child, folder, signal) {
  if (child.exitCode === null) {
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  return port;
}

async function until(child, isUp) {
  let failure;
  child.on('error', (error) => (failure = error));
  const deadline = Date.now() + 30_000;
  while (!isUp()) {
    if (failure !== undefined || child.exitCode !== null || Date.now() > deadline) {
      throw new Error(`${child.spawnfile} did not start (exit code ${child.exitCode})`, { cause: failure });
    }
    await delay(20);
  }
}

function succeeds(program, ...args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

function programIn(name, debianPackage) {
  if (succeeds('sh', '-c', `command -v ${name}`)) return name;
  throw new Error(`${name} is not installed: this scenario needs the Debian package ${debianPackage}`);
}

function list(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** The user or group that a server runs as, where this process is root. */
function idOf(which) {
  for (const name of ['postgres', 'nobody']) {
    const { status, stdout } = spawnSync('id', [which, name], { encoding: 'utf8' });
    if (status === 0) return Number(stdout);
  }
  throw new Error('PostgreSQL refuses to run as root, and there is no user postgres or nobody');
}
