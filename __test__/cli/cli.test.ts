import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileStore, type AtomicStore } from '../../ts/index.js';
import { createNamer } from '../../ts/idempotency/desk.js';
import { PostgresStore } from '../../ts/stores/postgres/index.js';
import { RedisStore } from '../../ts/stores/redis/index.js';
import {
  poolOf,
  postgresPrograms,
  redisServer,
  startPostgres,
  startRedis,
  startRedisCluster,
  type TestServer,
} from '../stores/servers.js';
import { reprise } from './run.js';

const root = path.join(__dirname, '../..');
const ORDERS = ['--method', 'POST', '--path', '/orders'];
const ANSWER = { head: '201\nMade\n2026-11-23T10:00:00.000Z', body: Buffer.from('{"id":1}') };
const nameOf = (key: string) => createNamer(255)(key, undefined, { method: 'POST', path: '/orders' });

/** What a middleware would have kept for a client's key. */
async function keep(store: AtomicStore, key: string, state: 'completed' | 'indeterminate' | 'in-progress') {
  const request = {
    key: nameOf(key),
    fingerprint: 'f',
    identity: 'i',
    owner: randomUUID(),
    leaseMs: 60_000,
    ttl: 3600,
  };
  const found = await store.claim(request);
  if (found.outcome !== 'claimed') throw new Error(`answered ${found.outcome}`);
  const claim = { ...request, fence: found.fence };
  if (state === 'completed') await store.complete(claim, ANSWER, 3600);
  if (state === 'indeterminate') await store.mark(claim, state, 3600);
}

/** Every command, over one store. `where` are the options that name it. */
function commandsOf(of: () => { store: AtomicStore; where: readonly string[] }): void {
  it('inspects a key by what the client sent, and by its name', async () => {
    const { store, where } = of();
    const key = randomUUID();
    await keep(store, key, 'completed');
    const shown = await reprise(['inspect', key, ...ORDERS, ...where]);
    expect(shown).toMatchObject({ code: 0, err: '' });
    expect(shown.out.split('\n')).toEqual([
      `record    ${nameOf(key)}`,
      'state     completed',
      'fence     1',
      expect.stringMatching(/^kept for {2}59 min \d+ s$|^kept for {2}1 h 0 min$/),
      'status    201',
      'answered  2026-11-23T10:00:00.000Z',
      'body      8 B',
      '',
    ]);
    const named = await reprise(['inspect', nameOf(key), '--json', ...where]);
    expect(JSON.parse(named.out)).toMatchObject({ state: 'completed', statusCode: 201, bodyBytes: 8, fence: 1 });

    const unknown = await reprise(['inspect', 'unknown', ...ORDERS, ...where]);
    expect(unknown).toEqual({ code: 1, out: `Nothing is kept for ${nameOf('unknown')}.\n`, err: '' });
    expect(await reprise(['inspect', 'unknown', '--json', ...ORDERS, ...where])).toEqual({
      code: 1,
      out: 'null\n',
      err: '',
    });
  });

  it('lists and counts, a line for each record, and its columns under each other', async () => {
    const { store, where } = of();
    const keys = [randomUUID(), randomUUID()] as const;
    await keep(store, keys[0], 'completed');
    await keep(store, keys[1], 'in-progress');
    const { code, out } = await reprise(['list', ...where]);
    expect(code).toBe(0);
    const [head = '', ...lines] = out.trimEnd().split('\n');
    expect(lines.find((line) => line.includes(nameOf(keys[0])))).toMatch(/^completed +1 +\d.* 41 B {2}[0-9a-f]{64}$/);
    for (const line of lines) expect(line.search(/[0-9a-f]{64}$/)).toBe(head.indexOf('RECORD'));

    const json = await reprise(['list', '--json', '--state', 'in-progress', ...where]);
    const records = json.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { key: string; state: string });
    expect(records.map(({ key }) => key)).toContain(nameOf(keys[1]));
    expect(new Set(records.map(({ state }) => state))).toEqual(new Set(['in-progress']));

    const limited = await reprise(['list', '--limit', '1', ...where]);
    expect(limited.out.trimEnd().split('\n')).toHaveLength(2);
    const stats = JSON.parse((await reprise(['stats', '--json', ...where])).out) as { completed: number };
    expect(stats.completed).toBeGreaterThanOrEqual(1);
    expect((await reprise(['stats', ...where])).out).toMatch(/^in progress {5}[\d,]+\n/);
  });

  it('forgets a key, whatever its state', async () => {
    const { store, where } = of();
    const key = randomUUID();
    await keep(store, key, 'in-progress');
    const forgotten = await reprise(['forget', key, ...ORDERS, ...where]);
    expect(forgotten).toEqual({ code: 0, out: 'Forgotten; it was in-progress. The next request runs.\n', err: '' });
    expect(await store.inspect(nameOf(key))).toBeUndefined();
    expect((await reprise(['forget', key, ...ORDERS, ...where])).code).toBe(1);
  });

  it('resolves an indeterminate key in each way, and no other', async () => {
    const { store, where } = of();
    const [ran, ranWithout, ranNot] = [randomUUID(), randomUUID(), randomUUID()];
    for (const key of [ran, ranWithout, ranNot]) await keep(store, key, 'indeterminate');
    const as = async (key: string, ...how: string[]) => reprise(['resolve', key, ...ORDERS, '--as', ...how, ...where]);
    expect(await as(ran, 'completed', '--status', '201', '--body', '{"id":7}')).toEqual({
      code: 0,
      out: 'Resolved: the key is completed now.\n',
      err: '',
    });
    const kept = await store.inspect(nameOf(ran));
    expect(kept?.state === 'completed' && [kept.answer.head.split('\n')[0], String(kept.answer.body)]).toEqual([
      '201',
      '{"id":7}',
    ]);
    await as(ranWithout, 'not-replayable');
    expect((await store.inspect(nameOf(ranWithout)))?.state).toBe('not-replayable');
    await as(ranNot, 'free');
    expect(await store.inspect(nameOf(ranNot))).toBeUndefined();
    expect(await as(ran, 'free')).toMatchObject({
      code: 1,
      out: 'Nothing was changed: the key is completed, not indeterminate.\n',
    });
  });

  it('verifies and compacts', async () => {
    const { where } = of();
    const verified = await reprise(['verify', '--json', ...where]);
    expect(verified.code).toBe(0);
    expect(JSON.parse(verified.out)).toMatchObject({ problems: [] });
    expect(await reprise(['compact', ...where])).toMatchObject({ code: 0, err: '' });
  });
}

describe('npx reprise, over a file', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'reprise-cli-'));
  const file = path.join(folder, 'store.db');
  const store = new FileStore({ path: file });

  afterAll(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });

  // The application goes on beside it.
  commandsOf(() => ({ store, where: ['--store', file] }));

  it('says how large the file is', async () => {
    expect((await reprise(['stats', '--store', `file://${file}`])).out).toMatch(/^file bytes +[\d.]+ .?i?B$/m);
    expect((await reprise(['compact', '--store', file])).out).toMatch(/^The file has .*; before it had .*\.\n$/);
    expect(await reprise(['verify', '--store', file])).toEqual({ code: 0, out: 'Nothing is damaged.\n', err: '' });
  });

  it('takes the letter of a drive for the beginning of a path', async () => {
    const onDrive = process.platform === 'win32' ? file : 'C:store.db';
    await new FileStore({ path: path.resolve(folder, onDrive) }).close();
    expect(await reprise(['verify', '--store', onDrive], { cwd: folder })).toMatchObject({ code: 0 });
  });

  it('makes no file where there is none, and touches none that is no store', async () => {
    const missing = path.join(folder, 'missing.db');
    expect(await reprise(['list', '--store', missing])).toMatchObject({ code: 2, out: '' });
    expect(existsSync(missing)).toBe(false);
    const other = path.join(folder, 'other.txt');
    writeFileSync(other, 'a diary');
    for (const command of ['verify', 'compact']) {
      const ran = await reprise([command, '--store', other]);
      expect(ran).toMatchObject({ code: 3, out: '' });
      expect(ran.err).toMatch(/\(ERR_REPRISE_STORE_(FORMAT|DAMAGED)\)/);
    }
    expect(readFileSync(other, 'utf8')).toBe('a diary');
  });
});

describe.skipIf(redisServer === undefined)('npx reprise, over Redis', () => {
  let server: TestServer;
  let client: Redis;
  const folders: string[] = [];

  beforeAll(async () => {
    server = await startRedis('--requirepass', 'pass/word');
    client = new Redis(server.port, { password: 'pass/word' });
  });

  afterAll(async () => {
    client.disconnect();
    await server.stop();
    for (const folder of folders) rmSync(folder, { recursive: true });
  });

  const url = (password = 'pass%2Fword') => `redis://:${password}@127.0.0.1:${server.port}`;

  /** A project that has these packages and no others. */
  const projectWith = (...names: string[]): string => {
    const folder = mkdtempSync(path.join(tmpdir(), 'reprise-cli-'));
    folders.push(folder);
    mkdirSync(path.join(folder, 'node_modules'));
    for (const name of names) {
      symlinkSync(path.join(root, 'node_modules', name), path.join(folder, 'node_modules', name));
    }
    return folder;
  };

  commandsOf(() => ({ store: new RedisStore({ client }), where: ['--store', url()] }));

  it('takes the store from the environment, another prefix, and node-redis where there is no ioredis', async () => {
    const store = new RedisStore({ client, prefix: 'shop:' });
    const key = randomUUID();
    await keep(store, key, 'completed');
    const ran = await reprise(['list', '--json', '--prefix', 'shop:'], {
      env: { REPRISE_STORE: url() },
      cwd: projectWith('redis'),
    });
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(ran.out)).toMatchObject({ key: nameOf(key), state: 'completed' });
  });

  it('names the clients that it looked for where there is none', async () => {
    const cwd = projectWith();
    const ran = await reprise(['list', '--store', url()], { cwd });
    expect(ran.code).toBe(3);
    expect(ran.err).toContain('neither ioredis nor redis is installed in');
    expect(ran.err).toContain('npm install ioredis (ERR_REPRISE_NO_CLIENT)');
  });

  it('says who cannot be reached, and never a password', async () => {
    const wrong = await reprise(['list', '--json', '--store', url('swordfish')]);
    expect(wrong.code).toBe(3);
    const { error } = JSON.parse(wrong.err) as { error: { code: string; message: string } };
    expect(error.code).toBe('ERR_REPRISE_STORE_UNREACHABLE');
    expect(error.message).toContain(`redis://:***@127.0.0.1:${server.port}`);
    for (const cwd of [root, projectWith('redis')]) {
      for (const port of [server.port, 1]) {
        const ran = await reprise(['stats', '--store', `redis://app:swordfish@127.0.0.1:${port}`], { cwd });
        expect(ran).toMatchObject({ code: 3, out: '' });
        expect(ran.err).not.toContain('swordfish');
      }
    }
  });

  it('ends with 1 where a record is damaged, and says which', async () => {
    await client.set('broken:1', 'text');
    const ran = await reprise(['verify', '--prefix', 'broken:', '--store', url()]);
    expect(ran).toEqual({
      code: 1,
      out: '1 does not begin as a record does\n1 problem.\n',
      err: '',
    });
  });

  it.each([
    [['lst'], 'argument "command" is "lst"; allowed: inspect, list,'],
    [['list', '--stat', 'x'], "Unknown option '--stat'"],
    [['list', '--state', 'done'], 'argument "--state" is "done"; allowed: in-progress'],
    [['list', '--limit', 'all'], 'argument "--limit" is "all"; allowed: a whole number of at least 1'],
    [['inspect'], 'argument "key" is undefined'],
    [['inspect', 'order-1'], "allowed: a client's key with --method and --path"],
    [['inspect', 'order-1', '--method', 'POST'], 'argument "--path" is undefined'],
    [['inspect', 'a', 'b', ...ORDERS], 'argument "arguments"'],
    [['resolve', 'order-1', ...ORDERS], 'argument "--as" is undefined; allowed: free, completed or not-replayable'],
    [['resolve', 'order-1', ...ORDERS, '--as', 'completed'], 'argument "--status" is undefined'],
    [['resolve', 'order-1', ...ORDERS, '--as', 'free', '--body', 'x'], 'argument "--body" is "x"; allowed: only with'],
    [['list', '--table', 'x'], 'argument "--table" is "x"; allowed: a PostgreSQL'],
  ])('refuses %j, with 2', async (args, message) => {
    const ran = await reprise([...args, '--store', url()]);
    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toContain(message);
  });

  it('refuses a place that is none', async () => {
    expect(await reprise(['list'], { env: { REPRISE_STORE: '' } })).toMatchObject({ code: 2, out: '' });
    const ran = await reprise(['list', '--store', 'mysql://root:swordfish@localhost']);
    expect(ran.code).toBe(2);
    expect(ran.err).toContain('"mysql://root:***@localhost"');
  });

  it('resolves with a body from a file', async () => {
    const store = new RedisStore({ client });
    const key = randomUUID();
    await keep(store, key, 'indeterminate');
    const file = path.join(projectWith(), 'body');
    writeFileSync(file, Buffer.from([0, 255]));
    const how = ['--as', 'completed', '--status', '200', '--body-file', file, '--type', 'application/octet-stream'];
    expect((await reprise(['resolve', key, ...ORDERS, ...how, '--store', url()])).code).toBe(0);
    const kept = await store.inspect(nameOf(key));
    expect(kept?.state === 'completed' && [...kept.answer.body]).toEqual([0, 255]);
  });
});

describe.skipIf(redisServer === undefined)('npx reprise, over a cluster of Redis', () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it.each(['ioredis', 'redis'])('finds every node from one of them, by %s', async (name) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'reprise-cli-'));
    try {
      mkdirSync(path.join(folder, 'node_modules'));
      symlinkSync(path.join(root, 'node_modules', name), path.join(folder, 'node_modules', name));
      const { Cluster } = await import('ioredis');
      const client = new Cluster(cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })));
      const prefix = `${name}:`;
      const store = new RedisStore({ client, prefix });
      for (let i = 0; i < 20; i++) await keep(store, `${name}-${i}`, 'completed');
      client.disconnect();
      const where = ['--prefix', prefix, '--store', `redis://127.0.0.1:${cluster.nodes[0]?.port ?? 0}`];
      const ran = await reprise(['stats', '--json', ...where], { cwd: folder });
      expect(ran.err).toBe('');
      expect(JSON.parse(ran.out)).toMatchObject({ completed: 20 });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe.skipIf(postgresPrograms === undefined)('npx reprise, over PostgreSQL', () => {
  let server: TestServer;
  let pool: Pool;
  let url: string;

  beforeAll(async () => {
    server = await startPostgres();
    url = `postgres://postgres:swordfish@127.0.0.1:${server.port}/postgres`;
    pool = poolOf(server);
    // Made by the application, not by those who look.
    await keep(new PostgresStore({ client: pool }), 'first', 'completed');
  });

  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  commandsOf(() => ({ store: new PostgresStore({ client: pool }), where: ['--store', url] }));

  it('works by postgres.js where there is no pg', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'reprise-cli-'));
    mkdirSync(path.join(folder, 'node_modules'));
    symlinkSync(path.join(root, 'node_modules/postgres'), path.join(folder, 'node_modules/postgres'));
    const ran = await reprise(['stats', '--json', '--store', url], { cwd: folder });
    rmSync(folder, { recursive: true });
    expect(ran).toMatchObject({ code: 0, err: '' });
  });

  it('compact deletes what has expired', async () => {
    const store = new PostgresStore({ client: pool, table: 'expired', sweepIntervalMs: 0 });
    for (const key of ['a', 'b', 'c']) await keep(store, key, 'completed');
    await pool.query("UPDATE expired SET expires_at = now() - interval '1 s'");
    const ran = await reprise(['compact', '--table', 'expired', '--store', url]);
    expect(ran).toMatchObject({ code: 0, out: 'Swept 3 expired records; the space is free for new ones.\n' });
  });

  it('makes no table where there is none', async () => {
    const ran = await reprise(['list', '--table', 'elsewhere', '--store', url]);
    expect(ran.code).toBe(2);
    expect(ran.err).toContain('argument "--table" is "elsewhere"; allowed: the name of a table that is there');
    expect((await pool.query("SELECT to_regclass('elsewhere') AS name")).rows).toEqual([{ name: null }]);
  });

  it('says who cannot be reached, and never a password', async () => {
    const ran = await reprise(['list', '--store', 'postgres://app:swordfish@127.0.0.1:1/shop']);
    expect(ran).toMatchObject({ code: 3, out: '' });
    expect(ran.err).toContain('cannot reach postgres://app:***@127.0.0.1:1/shop');
  });
});
