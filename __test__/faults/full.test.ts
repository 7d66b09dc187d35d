import type { Request, Response } from 'express';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { idempotencyMiddleware, MemoryStore, type AtomicStore, type KeptAnswer } from '../../ts/index.js';
import { expresses, gate, send, serve } from '../helpers/server.js';
import { ContractOnly } from '../retry/contract-only.js';

describe.each(expresses)('$name', ({ express }) => {
  /** A store of two entries; a request with `X-Hold` runs until the gate opens. */
  async function smallApp() {
    const store = new MemoryStore({ maxEntries: 2 });
    const guard = idempotencyMiddleware({ store });
    onTestFinished(() => {
      void guard.close();
      store.close();
    });
    const held = gate();
    let runs = 0;
    const app = express().use(guard);
    app.post('/', (req: Request, res: Response) => {
      const run = ++runs;
      const answer = () => res.status(201).send(`run ${run}`);
      if (req.headers['x-hold']) void held.opened.then(answer);
      else answer();
    });
    return { store, guard, server: await serve(app), held, runs: () => runs };
  }

  describe('§6.6 a full store', () => {
    it('of claims refuses a new one with 503, and forgets none of the old ones', async () => {
      const { store, guard, server, held, runs } = await smallApp();
      const first = ['a', 'b'].map((key) => send(server, { key, headers: { 'X-Hold': '1' } }));
      await vi.waitFor(() => {
        expect(guard.metrics().running).toBe(2);
      });
      const third = await send(server, { key: 'c' });
      expect(third.status).toBe(503);
      expect(third.headers['retry-after']).toBe('1');
      expect(JSON.parse(third.text)).toMatchObject({ code: 'store-unavailable' });
      expect(store.stats()).toMatchObject({ held: 2, evicted: 0 });
      for (const key of ['a', 'b']) expect((await send(server, { key })).status).toBe(409);
      expect(runs()).toBe(2);
      held.open();
      expect((await Promise.all(first)).map(({ status }) => status)).toEqual([201, 201]);
      expect(await send(server, { key: 'c' })).toMatchObject({ status: 201, isReplay: false });
      expect(guard.metrics().storeErrors).toBe(1);
    });

    it('of completed records drops the oldest, and counts it', async () => {
      const { store, server, runs } = await smallApp();
      for (const key of ['a', 'b', 'c']) expect((await send(server, { key })).isReplay).toBe(false);
      expect(store.stats()).toMatchObject({ held: 0, settled: 2, evicted: 1 });
      expect((await send(server, { key: 'b' })).isReplay).toBe(true);
      expect((await send(server, { key: 'c' })).isReplay).toBe(true);
      expect(await send(server, { key: 'a' })).toMatchObject({ text: 'run 4', isReplay: false });
      expect(store.stats().evicted).toBe(2);
      expect(runs()).toBe(4);
    });

    it('never drops a claim in progress for completed records', async () => {
      const { store, guard, server, held, runs } = await smallApp();
      const first = send(server, { key: 'held', headers: { 'X-Hold': '1' } });
      await vi.waitFor(() => {
        expect(guard.metrics().running).toBe(1);
      });
      for (const key of ['a', 'b', 'c', 'd', 'e']) expect((await send(server, { key })).status).toBe(201);
      expect(store.stats()).toMatchObject({ held: 1, settled: 2, evicted: 3 });
      expect((await send(server, { key: 'held' })).status).toBe(409);
      held.open();
      expect((await first).text).toBe('run 1');
      expect(await send(server, { key: 'held' })).toMatchObject({ text: 'run 1', isReplay: true });
      expect(runs()).toBe(6);
    });

    it('of indeterminate records takes as many claims as ever', async () => {
      const store = new MemoryStore({ maxEntries: 2 });
      const guard = idempotencyMiddleware({ store });
      const app = express().use(guard);
      app.post('/', async (req: Request, res: Response) => {
        if (req.headers['x-fail']) await req.idempotency?.commitPoint();
        res.status(req.headers['x-fail'] ? 500 : 201).end();
      });
      const server = await serve(app);
      for (const key of ['a', 'b']) await send(server, { key, headers: { 'X-Fail': '1' } });
      for (const key of ['c', 'd', 'e']) expect((await send(server, { key })).status).toBe(201);
      for (const key of ['a', 'b']) {
        expect(JSON.parse((await send(server, { key })).text)).toMatchObject({ status: 409, code: 'indeterminate' });
      }
    });

    it.each<[string, (store: MemoryStore) => AtomicStore]>([
      ['asked at once', (store) => store],
      ['behind the contract', (store) => new ContractOnly(store)],
    ])('of what strangers may send keeps what was paid for: %s', async (_name, wrapped) => {
      const store = new MemoryStore({ maxEntries: 4 });
      const guard = idempotencyMiddleware({ store: wrapped(store), derivedTtl: 60 });
      const app = express().use(guard);
      app.post('/', (req: Request, res: Response) => res.status(Number(req.headers['x-status'] ?? 201)).send('ran'));
      const server = await serve(app);
      for (const key of ['a', 'b']) await send(server, { key });
      for (let i = 0; i < 10; i++) {
        await send(server, { path: `/?${i}` });
        await send(server, { key: `missing-${i}`, headers: { 'X-Status': '404' } });
        await send(server, { key: `fails-${i}`, headers: { 'X-Status': '503' } });
      }
      expect(store.stats()).toMatchObject({ settled: 4, evicted: 28 });
      for (const key of ['a', 'b']) expect((await send(server, { key })).isReplay).toBe(true);
    });
  });

  it('an answer says to its store whether it is dropped first', async () => {
    const told: (boolean | undefined)[] = [];
    class Listening extends ContractOnly {
      override complete(...given: Parameters<AtomicStore['complete']>) {
        const answer: KeptAnswer = given[1];
        told.push(answer.dropFirst);
        return super.complete(...given);
      }
    }
    const app = express().use(express.json(), idempotencyMiddleware({ store: new Listening(new MemoryStore()) }));
    app.post('/', (req: Request, res: Response) => res.status(Number(req.headers['x-status'] ?? 201)).send('ran'));
    const server = await serve(app);
    await send(server, { key: 'a' });
    await send(server, { key: 'b', headers: { 'X-Status': '404' } });
    await send(server, { body: {} });
    await send(server, { key: 'c', headers: { 'X-Status': '422' } });
    expect(told).toEqual([undefined, true, true, undefined]);
  });
});
