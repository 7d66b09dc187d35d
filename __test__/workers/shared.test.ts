import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import express from 'express';
import { idempotencyMiddleware, MemoryStore } from '../../ts/index.js';
import { send, serve, type Received, type Running } from '../helpers/server.js';

const ROOT = resolve(__dirname, '../..');

/** A server in a thread. What a handler does is said by the body; one that waits goes on at `go`. */
const PROGRAM = `
const { parentPort, threadId, workerData } = require('node:worker_threads');
const express = require('express');
const { idempotencyMiddleware, MemoryStore } = require('./index.js');
const { stores, options } = workerData;
process.on('warning', ({ code }) => code && parentPort.postMessage({ warned: code }));
const app = express().use(express.json());
for (const [path, store] of Object.entries(stores)) {
  // One line makes them all.
  const given = store === 'default' ? {} : { store: new MemoryStore(store) };
  app.use(path, idempotencyMiddleware({ ...given, ...options }), express.Router().post('/', async (req, res) => {
    const { commits, waits, blocksMs, dies } = req.body ?? {};
    if (commits) await req.idempotency.commitPoint();
    if (waits || blocksMs || dies) parentPort.postMessage('running');
    if (waits) await new Promise((go) => parentPort.once('message', go));
    if (blocksMs) for (const end = Date.now() + blocksMs; Date.now() < end; );
    if (dies === 'exits') process.exit();
    if (dies === 'throws') setImmediate(() => { throw new Error('nobody catches this'); });
    else if (!dies) res.status(201).json({ thread: threadId, path });
  }));
}
app.get('/metrics', (req, res) => res.end());
const server = app.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

/** The options of a store, by the path that it serves. */
type Stores = Record<string, { name?: string } | 'default'>;

interface Thread extends Running {
  readonly worker: Worker;
  readonly warnings: string[];
}

async function start(stores: Stores, options: object = {}): Promise<Thread> {
  const source = PROGRAM.replaceAll('./index.js', `${ROOT}/index.js`);
  const worker = new Worker(source, { eval: true, stderr: true, workerData: { stores, options } });
  onTestFinished(async () => {
    await worker.terminate();
  });
  worker.on('error', () => undefined);
  const warnings: string[] = [];
  const port = await new Promise<number>((resolve) => {
    worker.on('message', (message: unknown) => {
      if (typeof message === 'number') resolve(message);
      if (typeof message === 'object') warnings.push((message as { warned: string }).warned);
    });
  });
  return { port, worker, warnings } as unknown as Thread;
}

let number = 0;

/** Two threads that share the store of `/` by its name. */
async function sharing(options?: object): Promise<[Thread, Thread]> {
  const stores = { '/': { name: `orders ${++number}` } };
  return [await start(stores, options), await start(stores, options)];
}

function running({ worker }: Thread): Promise<void> {
  return new Promise((resolve) => {
    worker.on('message', (message) => {
      if (message === 'running') resolve();
    });
  });
}

function ranIn({ text }: Received): unknown {
  return (JSON.parse(text) as { thread: unknown }).thread;
}

beforeAll(() => {
  if (!existsSync(`${ROOT}/dist/index.js`)) execFileSync('npm', ['run', 'build:ts'], { cwd: ROOT, stdio: 'ignore' });
});

describe('§7 MemoryStore is shared by its name, in all threads of a process', () => {
  it('§3 completed: the second thread replays', async () => {
    const [a, b] = await sharing();
    const first = await send(a, { key: 'k', body: {} });
    expect(first).toMatchObject({ status: 201, isReplay: false });
    const second = await send(b, { key: 'k', body: {} });
    expect(second).toMatchObject({ status: 201, isReplay: true });
    expect(ranIn(second)).toBe(ranIn(first));
    expect([...a.warnings, ...b.warnings]).toEqual([]);
  });

  it('§3 in progress: a duplicate in the other thread is 409', async () => {
    const [a, b] = await sharing();
    const begun = running(a);
    const first = send(a, { key: 'k', body: { waits: true } });
    await begun;
    const second = await send(b, { key: 'k', body: { waits: true } });
    expect(second.status).toBe(409);
    expect(JSON.parse(second.text)).toMatchObject({ code: 'in-progress' });
    a.worker.postMessage('go');
    expect((await first).status).toBe(201);
  });

  it("§3 onConcurrent: 'wait': woken by the other thread's completion", async () => {
    const [a, b] = await sharing({ onConcurrent: 'wait' });
    const begun = running(a);
    const first = send(a, { key: 'k', body: { waits: true } });
    await begun;
    const second = send(b, { key: 'k', body: { waits: true } });
    // A claim of the other key, answered by the same thread, says that the second request has been looked at.
    await send(b, { key: 'other', body: {} });
    a.worker.postMessage('go');
    expect(ranIn(await second)).toBe(ranIn(await first));
    expect(await second).toMatchObject({ status: 201, isReplay: true });
  });

  it('whatever the order in which threads make their stores', async () => {
    const [pay, mail] = [{ name: `pay ${++number}` }, { name: `mail ${number}` }];
    const [a, b] = [await start({ '/pay': pay, '/mail': mail }), await start({ '/mail': mail, '/pay': pay })];
    for (const path of ['/pay', '/mail']) {
      const first = await send(a, { path, key: 'k', body: {} });
      const second = await send(b, { path, key: 'k', body: {} });
      expect([first.isReplay, second.isReplay]).toEqual([false, true]);
      expect(second.text).toBe(first.text);
    }
  });
});

describe('§7 MemoryStore without a name', () => {
  it.each<[string, Stores[string]]>([
    ['the default one', 'default'],
    ['one made by the program', {}],
  ])("is its thread's own: %s", async (_name, store) => {
    const [a, b] = [await start({ '/': store }), await start({ '/': store })];
    for (const thread of [a, b]) {
      expect(await send(thread, { key: 'k', body: {} })).toMatchObject({ status: 201, isReplay: false });
      expect(await send(thread, { key: 'k', body: {} })).toMatchObject({ status: 201, isReplay: true });
    }
  });

  it('is warned about once in a worker thread, unless silenced', async () => {
    const code = 'WRN_REPRISE_MEMORY_STORE_IN_THREAD';
    const told = await start({ '/a': 'default', '/b': {} });
    const silenced = await start({ '/': 'default' }, { silence: [code] });
    for (const path of ['/a', '/b', '/a']) await send(told, { path, key: 'k', body: {} });
    await send(silenced, { key: 'k', body: {} });
    expect([told.warnings, silenced.warnings]).toEqual([[code], []]);
  });

  it('is not warned about in the main thread', () => {
    const logger = { info: vi.fn(), warn: vi.fn(), error: vi.fn(), debug: vi.fn() };
    void idempotencyMiddleware({ logger }).close();
    expect(logger.warn).not.toHaveBeenCalled();
  });
});

describe('§6 a claim in a MemoryStore', () => {
  it('does not lapse while its thread is blocked for longer than the lease', async () => {
    const [a, b] = await sharing({ leaseMs: 300 });
    const begun = running(a);
    const first = send(a, { key: 'k', body: { blocksMs: 1_200 } });
    await begun;
    const refused: number[] = [];
    for (let i = 0; i < 4; i++) {
      await sleep(200);
      refused.push((await send(b, { key: 'k', body: { blocksMs: 1_200 } })).status);
    }
    expect(refused).toEqual([409, 409, 409, 409]);
    expect(await first).toMatchObject({ status: 201, isReplay: false });
    expect(await send(b, { key: 'k', body: { blocksMs: 1_200 } })).toMatchObject({ status: 201, isReplay: true });
  });

  it("§3 onConcurrent: 'wait' waits for a blocked thread, too", async () => {
    const [a, b] = await sharing({ leaseMs: 300, onConcurrent: 'wait' });
    const begun = running(a);
    const first = send(a, { key: 'k', body: { blocksMs: 900 } });
    await begun;
    expect(ranIn(await send(b, { key: 'k', body: { blocksMs: 900 } }))).toBe(ranIn(await first));
  });

  it.each(['is terminated', 'exits', 'throws'])('lapses with its lease when its thread %s', async (how) => {
    const [a, b] = await sharing({ leaseMs: 500 });
    const ended = new Promise((resolve) => a.worker.once('exit', resolve));
    const body = { dies: how };
    const begun = running(a);
    const lost = Promise.allSettled([send(a, { key: 'k', body })]);
    await begun;
    if (how === 'is terminated') await a.worker.terminate();
    await ended;
    await lost;
    await sleep(500);
    const second = running(b);
    void send(b, { key: 'k', body }).catch(() => undefined);
    await second;
  });

  it('behind the commit point is indeterminate when its thread is terminated', async () => {
    const [a, b] = await sharing({ leaseMs: 500 });
    const body = { commits: true, waits: true };
    const begun = running(a);
    const lost = Promise.allSettled([send(a, { key: 'k', body })]);
    await begun;
    await a.worker.terminate();
    await lost;
    await sleep(500);
    const second = await send(b, { key: 'k', body });
    expect(JSON.parse(second.text)).toMatchObject({ status: 409, code: 'indeterminate' });
  });
});

describe('§7 MemoryStore within one thread', () => {
  it('two middlewares never share by default, made at one line or two', async () => {
    const make = () => idempotencyMiddleware();
    const servers = await Promise.all(
      [make(), make(), idempotencyMiddleware()].map((guard) =>
        serve(
          express()
            .use(guard)
            .post('/', (_req, res) => res.send('ran')),
        ),
      ),
    );
    for (const server of servers) {
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 200, isReplay: false });
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 200, isReplay: true });
    }
  });

  it('stores of one name are one', async () => {
    const servers = await Promise.all(
      [1, 2].map(() =>
        serve(
          express()
            .use(idempotencyMiddleware({ store: new MemoryStore({ name: 'one' }) }))
            .post('/', (_req, res) => res.send('ran')),
        ),
      ),
    );
    const answers = [];
    for (const server of servers) answers.push((await send(server, { key: 'k' })).isReplay);
    expect(answers).toEqual([false, true]);
  });

  it('a named store with other limits is refused', () => {
    const store = new MemoryStore({ name: 'limited', maxEntries: 10 });
    onTestFinished(() => {
      store.close();
    });
    expect(() => new MemoryStore({ name: 'limited', maxEntries: 11 })).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_REPRISE_INVALID_OPTION',
        message: 'MemoryStore: option "name" is "limited"; a store of that name has other limits',
      }) as Error,
    );
    expect(() => new MemoryStore({ name: 'limited', maxEntries: 10 })).not.toThrow();
  });
});
