import { once } from 'node:events';
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import express from 'express';
import { idempotencyMiddleware, MemoryStore } from '../../ts/index.js';
import { send, serve, type Received, type Running } from '../helpers/server.js';

const ROOT = resolve(__dirname, '../..');

/** A server in a thread. Its handler waits where the body asks for it, until `go` is sent to the thread. */
const PROGRAM = `
const { parentPort, threadId, workerData } = require('node:worker_threads');
const express = require('express');
const { idempotencyMiddleware, MemoryStore } = require('./index.js');
const { storeName, onConcurrent } = workerData;
const store = storeName === undefined ? {} : { store: new MemoryStore({ name: storeName }) };
const guard = idempotencyMiddleware({ ...store, onConcurrent });
const app = express().use(express.json(), guard);
app.post('/', (req, res) => {
  const answer = () => res.status(201).json({ thread: threadId });
  if (!req.body?.hold) return answer();
  parentPort.once('message', answer);
  parentPort.postMessage('running');
});
app.get('/metrics', (req, res) => res.json(guard.metrics()));
const server = app.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

interface Thread extends Running {
  readonly worker: Worker;
}

let number = 0;

async function threads(data: { storeName?: string; onConcurrent?: 'wait' | 'reject' }): Promise<[Thread, Thread]> {
  // Each test is a program of its own, since stores are shared by the line that makes them.
  const source = `${'\n'.repeat(++number)}${PROGRAM.replaceAll('./index.js', `${ROOT}/index.js`)}`;
  const start = async (): Promise<Thread> => {
    const worker = new Worker(source, { eval: true, workerData: data });
    onTestFinished(async () => {
      await worker.terminate();
    });
    const [port] = (await once(worker, 'message')) as [number];
    return { port, worker } as Thread;
  };
  return [await start(), await start()];
}

function threadOf({ text }: Received): unknown {
  return (JSON.parse(text) as { thread: unknown }).thread;
}

beforeAll(() => {
  if (!existsSync(`${ROOT}/dist/index.js`)) execFileSync('npm', ['run', 'build:ts'], { cwd: ROOT, stdio: 'ignore' });
});

describe('§7 MemoryStore is shared by the threads of one process', () => {
  describe.each([
    ['by its name', () => ({ storeName: `orders ${number}` })],
    ['made by default at the same line', () => ({})],
  ])('%s', (_name, data) => {
    it('§3 completed: the second thread replays', async () => {
      const [a, b] = await threads(data());
      const first = await send(a, { key: 'k', body: {} });
      expect(first).toMatchObject({ status: 201, isReplay: false });
      const second = await send(b, { key: 'k', body: {} });
      expect(second).toMatchObject({ status: 201, isReplay: true });
      expect(threadOf(second)).toBe(threadOf(first));
    });

    it('§3 in progress: a duplicate in the other thread is 409', async () => {
      const [a, b] = await threads(data());
      const running = once(a.worker, 'message');
      const first = send(a, { key: 'k', body: { hold: true } });
      await running;
      const second = await send(b, { key: 'k', body: { hold: true } });
      expect(second.status).toBe(409);
      expect(JSON.parse(second.text)).toMatchObject({ code: 'in-progress' });
      a.worker.postMessage('go');
      expect((await first).status).toBe(201);
    });

    it("§3 onConcurrent: 'wait': woken by the other thread's completion", async () => {
      const [a, b] = await threads({ ...data(), onConcurrent: 'wait' });
      const running = once(a.worker, 'message');
      const first = send(a, { key: 'k', body: { hold: true } });
      await running;
      const second = send(b, { key: 'k', body: { hold: true } });
      await vi.waitFor(async () => {
        const { text } = await send(b, { method: 'GET', path: '/metrics' });
        expect(JSON.parse(text)).toMatchObject({ waiting: 1 });
      });
      a.worker.postMessage('go');
      expect(threadOf(await second)).toBe(threadOf(await first));
      expect(await second).toMatchObject({ status: 201, isReplay: true });
    });
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
