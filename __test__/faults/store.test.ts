import type { Request, Response } from 'express';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  idempotencyMiddleware,
  MemoryStore,
  type AtomicStore,
  type IdempotencyOptions,
  type IdempotencyStore,
  type StoredResponse,
} from '../../ts/index.js';
import { expresses, gate, send, serve, type Received } from '../helpers/server.js';

/** A store of get, set and delete, each of which a test may replace by a failure. */
class FragileStore implements IdempotencyStore {
  readonly kept = new Map<string, StoredResponse>();
  onGet: (() => unknown) | undefined;
  onSet: (() => unknown) | undefined;

  get(key: string): Promise<StoredResponse | undefined> | StoredResponse | undefined {
    const failing = this.onGet?.();
    return failing instanceof Promise ? failing.then(() => this.kept.get(key)) : this.kept.get(key);
  }

  set(key: string, value: StoredResponse): unknown {
    const keep = () => this.kept.set(key, value);
    const failing = this.onSet?.();
    return failing instanceof Promise ? failing.then(keep) : keep();
  }

  delete(key: string): void {
    this.kept.delete(key);
  }
}

function throws(): never {
  throw new Error('down');
}

const never = () => new Promise<void>(() => undefined);

function expectUnavailable(answer: Received): void {
  expect(answer.status).toBe(503);
  expect(answer.headers['content-type']).toBe('application/problem+json');
  expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  expect(JSON.parse(answer.text)).toMatchObject({ code: 'store-unavailable', status: 503 });
}

describe.each(expresses)('$name', ({ express }) => {
  async function appOf(store: IdempotencyStore | AtomicStore, options: IdempotencyOptions = {}) {
    const guard = idempotencyMiddleware({
      store,
      storeTimeoutMs: 60,
      silence: ['WRN_REPRISE_STORE_NOT_ATOMIC'],
      ...options,
    });
    onTestFinished(() => {
      void guard.close();
    });
    let runs = 0;
    const guarded: boolean[] = [];
    const app = express().use(guard);
    app.post('/', (req: Request, res: Response) => {
      guarded.push(req.idempotency !== undefined);
      res.status(201).send(`run ${++runs}`);
    });
    return { server: await serve(app), guard, guarded, runs: () => runs };
  }

  describe('§3 store failed: 503 store-unavailable with Retry-After, handler not run', () => {
    it.each([
      ['a get that throws', throws],
      ['a get that rejects', () => Promise.reject(new Error('down'))],
      ['a get that never answers, within storeTimeoutMs', never],
    ])('%s', async (_name, onGet) => {
      const store = new FragileStore();
      const { server, guard, runs } = await appOf(store);
      store.onGet = onGet;
      expectUnavailable(await send(server, { key: 'k' }));
      expect(runs()).toBe(0);
      expect(guard.metrics()).toMatchObject({ storeErrors: 1, claims: 0, running: 0 });
    });

    it.each([
      ['threw', throws],
      ['rejected', () => Promise.reject(new Error('down'))],
    ])('a get that %s holds no claim: the next request runs', async (_name, onGet) => {
      const store = new FragileStore();
      const { server } = await appOf(store);
      store.onGet = onGet;
      expectUnavailable(await send(server, { key: 'k' }));
      store.onGet = undefined;
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, text: 'run 1' });
    });

    it('a claim that comes late is freed: the next request runs', async () => {
      const store = new FragileStore();
      const { server, runs } = await appOf(store);
      const may = gate();
      store.onGet = () => may.opened;
      expectUnavailable(await send(server, { key: 'k' }));
      store.onGet = undefined;
      may.open();
      await vi.waitFor(async () => {
        expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, text: 'run 1' });
      });
      expect(await send(server, { key: 'k' })).toMatchObject({ text: 'run 1', isReplay: true });
      expect(runs()).toBe(1);
    });

    it('a middleware that is closed', async () => {
      const { server, guard, runs } = await appOf(new MemoryStore());
      void guard.close();
      expectUnavailable(await send(server, { key: 'k' }));
      expect(runs()).toBe(0);
    });
  });

  describe('§3 onStoreError', () => {
    it("'pass' runs the handler unguarded", async () => {
      const store = new FragileStore();
      const { server, guarded, guard } = await appOf(store, { onStoreError: 'pass' });
      store.onGet = throws;
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, text: 'run 1', isReplay: false });
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 201, text: 'run 2', isReplay: false });
      expect(guarded).toEqual([false, false]);
      expect(guard.metrics().storeErrors).toBe(2);
    });

    it('a function is asked at the claim, and told at the completion', async () => {
      const store = new FragileStore();
      const told: unknown[] = [];
      const onStoreError: IdempotencyOptions['onStoreError'] = (error, req, phase) => {
        told.push([(error as Error).message, req.method, phase]);
        return req.headers['x-pass'] ? 'pass' : 'fail';
      };
      const { server, guarded } = await appOf(store, { onStoreError });
      store.onGet = throws;
      expectUnavailable(await send(server, { key: 'a' }));
      expect((await send(server, { key: 'a', headers: { 'X-Pass': '1' } })).status).toBe(201);
      store.onGet = undefined;
      store.onSet = throws;
      const answer = await send(server, { key: 'b' });
      expect(answer).toMatchObject({ status: 201 });
      expect(answer.headers['idempotency-stored']).toBe('false');
      expect(guarded).toEqual([false, true]);
      expect(told).toEqual([
        ['down', 'POST', 'claim'],
        ['down', 'POST', 'claim'],
        ['down', 'POST', 'complete'],
      ]);
    });

    it("a function that throws is taken for 'fail'", async () => {
      const store = new FragileStore();
      const { server, runs } = await appOf(store, { onStoreError: throws });
      store.onGet = throws;
      expectUnavailable(await send(server, { key: 'k' }));
      expect(runs()).toBe(0);
    });

    it('onProblem answers in its own way', async () => {
      const store = new FragileStore();
      const { server } = await appOf(store, {
        onProblem: ({ code, status }, _req, res) => {
          res.statusCode = status;
          res.end(`sorry: ${code}`);
        },
      });
      store.onGet = throws;
      expect(await send(server, { key: 'k' })).toMatchObject({ status: 503, text: 'sorry: store-unavailable' });
    });
  });

  describe('§6.3 the completion failed after the handler answered', () => {
    it.each([
      ['throws', throws],
      ['rejects', () => Promise.reject(new Error('down'))],
      ['never answers', never],
    ])(
      'set %s: the answer says so, the retry is 409, and the record appears when the store is back',
      async (_name, onSet) => {
        const store = new FragileStore();
        const { server, guard, runs } = await appOf(store);
        store.onSet = onSet;
        const first = await send(server, { key: 'k' });
        expect(first).toMatchObject({ status: 201, text: 'run 1', isReplay: false });
        expect(first.headers['idempotency-stored']).toBe('false');
        const meanwhile = await send(server, { key: 'k' });
        expect(meanwhile.status).toBe(409);
        expect(JSON.parse(meanwhile.text)).toMatchObject({ code: 'in-progress' });
        expect(store.kept.size).toBe(0);
        store.onSet = undefined;
        await vi.waitFor(
          () => {
            expect(store.kept.size).toBe(1);
          },
          { timeout: 10_000 },
        );
        const replayed = await send(server, { key: 'k' });
        expect(replayed).toMatchObject({ status: 201, text: 'run 1', isReplay: true });
        expect(replayed.headers['idempotency-stored']).toBeUndefined();
        expect(runs()).toBe(1);
        expect(guard.metrics()).toMatchObject({ storeErrors: 1, running: 0 });
      },
    );
  });

  describe('§3 a store that holds the contract, and throws instead of rejecting', () => {
    /** Every step but the first throws at once, as a method does that forgot to be asynchronous. */
    function throwing(): AtomicStore {
      const inner = new MemoryStore();
      return {
        claim: (request) => inner.claim(request),
        complete: throws,
        renew: throws,
        release: throws,
        mark: throws,
        save: throws,
        inspect: (key) => inner.inspect(key),
        forget: (key) => inner.forget(key),
      };
    }

    it('the answer goes out, unstored', async () => {
      const { server, runs } = await appOf(throwing(), { leaseMs: 60 });
      const first = await send(server, { key: 'k' });
      expect(first).toMatchObject({ status: 201, text: 'run 1' });
      expect(first.headers['idempotency-stored']).toBe('false');
      expect(runs()).toBe(1);
    });
  });
});
