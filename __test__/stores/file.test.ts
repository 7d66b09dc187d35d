import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, it, onTestFinished } from 'vitest';
import { FileStore, type ClaimRequest, type FileStoreOptions } from '../../ts/index.js';
import { send, type Received } from '../helpers/server.js';

const root = path.join(__dirname, '../..');

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'reprise-file-'));
  onTestFinished(() => {
    rmSync(made, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });
  return made;
}

function opened(options: Partial<FileStoreOptions> = {}): FileStore {
  const store = new FileStore({ path: path.join(folder(), 'store'), ...options });
  onTestFinished(() => store.close());
  return store;
}

function request(key: string): ClaimRequest {
  const digest = key.padEnd(64, '0');
  return { key: digest, fingerprint: digest, identity: digest, owner: 'me', leaseMs: 60_000, ttl: 60 };
}

const coded = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) as string }) as Error;

describe('a file that cannot be one is refused at start, and left as it is', () => {
  it('in a folder that does not exist', () => {
    expect(() => new FileStore({ path: '/no/such/folder/store' })).toThrow(
      coded('ERR_REPRISE_STORE_SYSTEM', /^FileStore: \/no\/such\/folder\/store: No such file/),
    );
  });

  it('with other bytes in it', () => {
    const file = path.join(folder(), 'store');
    writeFileSync(file, 'no database '.repeat(100));
    expect(() => new FileStore({ path: file })).toThrow(
      coded('ERR_REPRISE_STORE_DAMAGED', /^FileStore: .*store is damaged: .*\. Put it aside/),
    );
    expect(readFileSync(file, 'utf8')).toBe('no database '.repeat(100));
  });

  it('which this process has open with other options', () => {
    const file = path.join(folder(), 'store');
    const store = new FileStore({ path: file });
    onTestFinished(() => store.close());
    expect(() => new FileStore({ path: file, durability: 'fsync' })).toThrow(
      coded('ERR_REPRISE_INVALID_OPTION', /is open in this process with other options/),
    );
  });

  it.each([
    [{}, /option "path" is undefined/],
    [{ path: '' }, /option "path" is ""/],
    [{ path: 'x', durability: 'disk' }, /option "durability" is "disk"; allowed: 'os' \| 'fsync'/],
    [{ path: 'x', maxBytes: 1 }, /option "maxBytes" is 1/],
    [
      { path: 'x', allowFileSystem: 'nfs' },
      /option "allowFileSystem" is "nfs"; allowed: 'fuse' \| 'vboxsf' \| 'vmhgfs'/,
    ],
  ])('%j', (options, message) => {
    expect(() => new FileStore(options as FileStoreOptions)).toThrow(coded('ERR_REPRISE_INVALID_OPTION', message));
  });
});

it.skipIf(process.platform === 'win32')('a file that others may write to is refused, and says what to do', () => {
  const file = path.join(folder(), 'store');
  writeFileSync(file, '');
  chmodSync(file, 0o666);
  expect(() => new FileStore({ path: file })).toThrow(
    coded(
      'ERR_REPRISE_STORE_NOT_PRIVATE',
      /store may be written by others \(mode 666\)\. Give it to the user of this process/,
    ),
  );
});

describe('what it does beside the contract', () => {
  it('counts, verifies, copies and compacts', async () => {
    const store = opened();
    const found = await store.claim(request('a'));
    expect(found).toEqual({ outcome: 'claimed', fence: 1 });
    const claim = { key: request('a').key, owner: 'me', fence: 1 };
    expect(await store.complete(claim, { head: 'h', body: Buffer.from('answer') }, 60)).toBe(true);
    await store.claim(request('b'));
    expect(await store.stats()).toMatchObject({ held: 1, settled: 1, bytes: 512 + 7, evicted: 0 });
    expect(await store.verify()).toEqual([]);
    const copy = path.join(folder(), 'copy');
    await store.backup(copy);
    await store.compact();
    await expect(store.backup(copy)).rejects.toThrow(coded('ERR_REPRISE_STORE_SYSTEM', /exists/));
    const restored = new FileStore({ path: copy });
    onTestFinished(() => restored.close());
    expect(await restored.inspect(claim.key)).toMatchObject({ state: 'completed', answer: { head: 'h' } });
    // Nobody holds anything in a copy.
    expect(await restored.claim({ ...request('b'), owner: 'you' })).toMatchObject({ outcome: 'claimed', fence: 2 });
  });

  it('is looked into while it is written to', async () => {
    const file = path.join(folder(), 'store');
    const store = new FileStore({ path: file });
    const reader = new FileStore({ path: file, readOnly: true });
    await store.claim(request('a'));
    expect(await reader.inspect(request('a').key)).toMatchObject({ state: 'in-progress', fence: 1 });
    const refused = coded('ERR_REPRISE_STORE_READ_ONLY', /open for reading only/);
    await expect(reader.claim(request('b'))).rejects.toThrow(refused);
    await expect(reader.forget(request('a').key)).rejects.toThrow(refused);
    await reader.close();
    await store.close();
    await expect(store.claim(request('b'))).rejects.toThrow(coded('ERR_REPRISE_STORE_CLOSED', /closed/));
  });

  it('does what was asked before it was closed', async () => {
    const store = opened();
    const asked = Array.from({ length: 100 }, async (_, i) => store.claim(request(`a${i}`)));
    await store.close();
    expect(new Set((await Promise.all(asked)).map(({ outcome }) => outcome))).toEqual(new Set(['claimed']));
  });

  it('holds no process that has nothing else to do', { timeout: 60_000 }, () => {
    const program = `
      const { FileStore } = require(${JSON.stringify(root)});
      const store = new FileStore({ path: ${JSON.stringify(path.join(folder(), 'store'))} });
      store.claim({ ...${JSON.stringify(request('a'))}, holdMs: 60_000 }).then(({ outcome }) => console.log(outcome));`;
    expect(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8', timeout: 60_000 })).toBe('claimed\n');
  });

  it('and answers what it was asked before, though nobody names the store any more', () => {
    const program = `
      const { setFlagsFromString } = require('node:v8');
      const { FileStore } = require(${JSON.stringify(root)});
      setFlagsFromString('--expose-gc');
      const claim = ${JSON.stringify(request('a'))};
      new FileStore({ path: ${JSON.stringify(path.join(folder(), 'store'))} })
        .claim(claim).then(({ outcome }) => console.log(outcome));
      require('node:vm').runInNewContext('gc')();`;
    expect(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8', timeout: 60_000 })).toBe('claimed\n');
  });

  it('is one for all threads of a process', { timeout: 60_000 }, async () => {
    const file = path.join(folder(), 'store');
    const store = new FileStore({ path: file });
    onTestFinished(() => store.close());
    const program = `
      const { parentPort } = require('node:worker_threads');
      const { FileStore } = require(${JSON.stringify(root)});
      const store = new FileStore({ path: ${JSON.stringify(file)} });
      const asked = { ...${JSON.stringify(request('a'))}, leaseMs: 3_000, holdMs: 600_000 };
      store.claim(asked).then((found) => parentPort.postMessage(found));`;
    const worker = new Worker(program, { eval: true });
    expect(await once(worker, 'message')).toEqual([{ outcome: 'claimed', fence: 1 }]);
    const mine = { ...request('a'), owner: 'you' };
    expect(await store.claim(mine)).toMatchObject({ outcome: 'in-progress' });
    // What a thread held is held no longer when it ends: the lease runs out.
    await worker.terminate();
    await expect
      .poll(async () => store.claim(mine), { timeout: 40_000 })
      .toMatchObject({ outcome: 'claimed', fence: 2 });
  });

  it('is closed once, for all who wait for that', async () => {
    const store = new FileStore({ path: path.join(folder(), 'store') });
    const asked = store.claim(request('a'));
    const answered: string[] = [];
    void asked.then(() => answered.push('claimed'));
    await Promise.all([
      store.close().then(() => answered.push('closed')),
      store.close().then(() => answered.push('closed')),
    ]);
    expect(answered).toEqual(['claimed', 'closed', 'closed']);
    await store.close();
    await expect(store.claim(request('b'))).rejects.toThrow(coded('ERR_REPRISE_STORE_CLOSED', /closed/));
  });
});

describe.skipIf(process.platform !== 'linux')('no descriptor is left', { timeout: 60_000 }, () => {
  const descriptorsIn = (place: string) =>
    readdirSync('/proc/self/fd').filter((name) => {
      try {
        return readlinkSync(`/proc/self/fd/${name}`).startsWith(place);
      } catch {
        return false;
      }
    }).length;

  it('of a store that is closed, though it holds claims', async () => {
    const place = folder();
    for (let round = 0; round < 5; round++) {
      const store = new FileStore({ path: path.join(place, 'store'), durability: 'fsync' });
      await store.claim(request(String(round)));
      expect(descriptorsIn(place)).toBeGreaterThan(0);
      await store.close();
      expect(descriptorsIn(place)).toBe(0);
    }
  });

  it('of a worker that is terminated in the middle of its work', async () => {
    const place = folder();
    const program = `
      const { parentPort } = require('node:worker_threads');
      const { FileStore } = require(${JSON.stringify(root)});
      const store = new FileStore({ path: ${JSON.stringify(path.join(place, 'store'))} });
      const asked = { ...${JSON.stringify(request('a'))}, holdMs: 600_000 };
      let count = 0;
      const claim = () => store.claim({ ...asked, key: String(count++).padEnd(64, 'a') }).then(claim);
      store.claim(asked).then(() => store.waitFor(asked.key), 0);
      for (let i = 0; i < 50; i++) claim();
      store.verify();
      setTimeout(() => parentPort.postMessage('works'), 50);`;
    for (let round = 0; round < 5; round++) {
      const worker = new Worker(program, { eval: true });
      await once(worker, 'message');
      await worker.terminate();
      await expect.poll(() => descriptorsIn(place), { timeout: 20_000 }).toBe(0);
    }
  });
});

interface Shop {
  readonly child: ChildProcess;
  readonly port: number;
}

function street(settings: object = {}) {
  const place = folder();
  const effects = path.join(place, 'effects');
  writeFileSync(effects, '');
  return {
    place,
    locks: path.join(place, 'store.locks'),
    open: async (): Promise<Shop> => {
      const child = fork(path.join(__dirname, 'fixtures/file-shop.cjs'), [path.join(place, 'store'), effects], {
        env: { ...process.env, SETTINGS: JSON.stringify(settings) },
      });
      onTestFinished(() => void child.kill('SIGKILL'));
      const [port] = (await once(child, 'message')) as [number];
      return { child, port };
    },
    ran: () => readFileSync(effects, 'utf8').trim().split('\n').map(Number),
  };
}

const post = async ({ port }: Shop, body: object): Promise<Received> => send({ port }, { key: 'k', body });

describe('between processes', { timeout: 60_000 }, () => {
  it('one runs, the others wait for it and get its answer', async () => {
    const shops = street({ onConcurrent: 'wait' });
    const [a, b] = await Promise.all([shops.open(), shops.open()]);
    const running = once(a.child, 'message');
    const first = post(a, { how: 'hangs' });
    await running;
    const others = [post(a, { how: 'hangs' }), post(b, { how: 'hangs' }), post(b, { how: 'hangs' })];
    a.child.send('answer');
    const { text } = await first;
    for (const other of await Promise.all(others)) {
      expect(other).toMatchObject({ status: 201, isReplay: true, text });
    }
    expect(shops.ran()).toEqual([a.child.pid]);
  });

  it('a key whose process was killed runs at once, though its lease is long', async () => {
    const shops = street({ leaseMs: 600_000 });
    const [a, b] = await Promise.all([shops.open(), shops.open()]);
    const running = once(a.child, 'message');
    const lost = post(a, { how: 'hangs' }).catch(() => 'lost');
    await running;
    expect(await post(b, { how: 'hangs' })).toMatchObject({ status: 409 });
    a.child.kill('SIGKILL');
    expect(await lost).toBe('lost');
    await once(a.child, 'exit');
    const again = once(b.child, 'message');
    const second = post(b, { how: 'hangs' });
    await again;
    b.child.send('answer');
    expect(await second).toMatchObject({ status: 201, isReplay: false });
    expect(shops.ran()).toEqual([a.child.pid, b.child.pid]);
  });

  it('a process that lost the files by which others know it is not taken for dead', async () => {
    const owner = (shops: ReturnType<typeof street>) =>
      readdirSync(shops.locks).filter((name) => name.startsWith('owner-'));
    const removals: ((shops: ReturnType<typeof street>) => void)[] = [
      (shops) => {
        rmSync(shops.locks, { recursive: true });
      },
      (shops) => {
        owner(shops).forEach((name) => {
          rmSync(path.join(shops.locks, name));
        });
      },
      (shops) => {
        owner(shops).forEach((name) => {
          // Another file of the same name, with no lock on it.
          rmSync(path.join(shops.locks, name));
          writeFileSync(path.join(shops.locks, name), '', { mode: 0o600 });
        });
      },
    ];
    for (const remove of removals) {
      const shops = street({ leaseMs: 2_500 });
      const [a, b] = await Promise.all([shops.open(), shops.open()]);
      const running = once(a.child, 'message');
      const first = post(a, { how: 'hangs' }).catch(() => 'lost');
      await running;
      remove(shops);
      // At once, in a process that comes later, and when the lease has been renewed more than once.
      expect(await post(b, { how: 'hangs' })).toMatchObject({ status: 409 });
      const later = await shops.open();
      expect(await post(later, { how: 'hangs' })).toMatchObject({ status: 409 });
      await new Promise((resolve) => setTimeout(resolve, 4_000));
      expect(await post(b, { how: 'hangs' })).toMatchObject({ status: 409 });
      // It is known by another name by now: when it dies, its key is free at once.
      a.child.kill('SIGKILL');
      expect(await first).toBe('lost');
      await once(a.child, 'exit');
      const again = once(b.child, 'message');
      const second = post(b, { how: 'hangs' });
      await again;
      b.child.send('answer');
      expect(await second).toMatchObject({ status: 201, isReplay: false });
      expect(shops.ran()).toEqual([a.child.pid, b.child.pid]);
    }
  });

  it.skipIf(process.platform === 'win32').each([
    ['all of the files', ['store', 'store-wal', 'store-shm']],
    ['the shared memory', ['store-shm']],
    ['the journal', ['store-wal']],
  ])('a process that lost %s refuses with 503', async (_, names) => {
    const shops = street();
    const ask = (shop: Shop, key: string) => send({ port: shop.port }, { key, body: {} });
    const a = await shops.open();
    expect(await ask(a, 'before')).toMatchObject({ status: 201 });
    for (const name of names) rmSync(path.join(shops.place, name));
    expect(await ask(a, 'before')).toMatchObject({ status: 503 });
    // Without the journal nobody else can read what the shared memory tells of.
    if (names.includes('store-shm')) {
      const b = await shops.open();
      expect(await ask(b, 'k')).toMatchObject({ status: 201 });
      expect(await ask(a, 'k')).toMatchObject({ status: 503 });
      expect(shops.ran()).toEqual([a.child.pid, b.child.pid]);
    }
  });

  it('a process whose event loop is blocked does not lose its claim', async () => {
    const shops = street({ leaseMs: 2_500 });
    const [a, b] = await Promise.all([shops.open(), shops.open()]);
    const running = once(a.child, 'message');
    const body = { how: 'blocks', ms: 6_000 };
    const done = { yet: false };
    const first = post(a, body).finally(() => (done.yet = true));
    await running;
    const meanwhile = [];
    while (!done.yet) {
      meanwhile.push(await post(b, body));
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(await first).toMatchObject({ status: 201 });
    // Refused, until the answer is there; then that.
    const refused = meanwhile.filter(({ status }) => status === 409);
    expect(refused.length).toBeGreaterThan(1);
    for (const one of meanwhile.slice(refused.length)) expect(one).toMatchObject({ status: 201, isReplay: true });
    expect(shops.ran()).toEqual([a.child.pid]);
  });
});

describe('checkpoints in a file', { timeout: 120_000 }, () => {
  it('a task that was killed goes on in the next process at once, where it stopped', async () => {
    const place = folder();
    const effects = path.join(place, 'effects');
    const args = [path.join(__dirname, 'fixtures/file-task.cjs'), path.join(place, 'store'), effects];
    const child = spawn(process.execPath, [...args, 'c'], { stdio: ['ignore', 'pipe', 'inherit'] });
    expect(String((await once(child.stdout, 'data'))[0])).toBe('reached\n');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const run = () =>
      JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 })) as unknown;
    expect(run()).toEqual({ fence: 2 });
    expect(readFileSync(effects, 'utf8')).toBe('abcde');
    // Done is done.
    expect(run()).toEqual({ fence: 2 });
    expect(readFileSync(effects, 'utf8')).toBe('abcde');
  });
});
