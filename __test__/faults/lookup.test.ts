import { Agent } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { idempotencyMiddleware, type IdempotencyStore } from '../../ts/index.js';
import { SimpleStoreAdapter } from '../../ts/stores/simple.js';
import { MapStore } from '../helpers/map-store.js';
import { expresses, gate, send, serve } from '../helpers/server.js';
import { refusal, shop } from '../helpers/shop.js';
import { until } from '../helpers/until.js';

const never = new Promise<never>(() => undefined);

const faults: [string, () => unknown][] = [
  ['rejects', () => Promise.reject(new Error('down'))],
  ['never answers', () => never],
];

/** A store of which one step fails in the given way, until it is healed. */
function broken(step: 'get' | 'set', fail: () => unknown): { store: MapStore; heal: () => void } {
  const store = new MapStore();
  store.before = (now) => (now === step ? fail() : undefined);
  return { store, heal: () => (store.before = () => undefined) };
}

describe.each(expresses)('§3 the store failed at a lookup, $name', ({ express }) => {
  it.each([
    ['text', '{"state":"completed"}'],
    ['a record cut short', { state: 'completed' }],
    ['a record of something else', { statusCode: 200, headers: {}, body: 'hi' }],
    ['a record of no state', { state: 'running', fingerprint: 'a', identity: 'b' }],
    ['a number', 7],
  ])('§3 503 where it returns %s, which is no record; nothing of it is replayed', async (_what, kept) => {
    const store: IdempotencyStore = { get: () => kept as never, set: () => undefined, delete: () => undefined };
    const errors: unknown[] = [];
    const orders = await shop({ store, onStoreError: (error) => (errors.push(error), 'fail') }, { express });
    expect(refusal(await orders.send({ key: 'k' }))).toBe('503 store-unavailable');
    expect(errors).toEqual([expect.objectContaining({ code: 'ERR_REPRISE_STORE_RECORD' })]);
    expect(orders.runs).toBe(0);
  });

  it.each(faults)('§3 where it %s once, the key is free as soon as it is well again', async (_what, fail) => {
    const { store, heal } = broken('get', fail);
    const orders = await shop({ store, storeTimeoutMs: 30 }, { express });
    await orders.send({ key: 'k' });
    heal();
    expect((await orders.send({ key: 'k' })).status).toBe(201);
    expect(await orders.send({ key: 'k' })).toMatchObject({ isReplay: true });
  });

  it.each(faults)('§3 where it %s, all who ask at once are told so', async (_what, fail) => {
    const { store } = broken('get', fail);
    const orders = await shop({ store, storeTimeoutMs: 30 }, { express });
    const answers = await Promise.all(Array.from({ length: 20 }, () => orders.send({ key: 'k' })));
    for (const answer of answers) expect(refusal(answer)).toBe('503 store-unavailable');
  });

  it('§3 a claim that comes too late is freed', async () => {
    const late = gate();
    const adapter = new SimpleStoreAdapter(new MapStore());
    const claim = adapter.claim.bind(adapter);
    let released = 0;
    const store = Object.assign(adapter, {
      claim: async (request: Parameters<typeof claim>[0]) => {
        const claimed = await claim(request);
        await late.opened;
        return claimed;
      },
      release: (
        (release) =>
        async (...args: Parameters<typeof adapter.release>) => {
          const done = await release(...args);
          released++;
          return done;
        }
      )(adapter.release.bind(adapter)),
    });
    const orders = await shop({ store, storeTimeoutMs: 30 }, { express });
    expect(refusal(await orders.send({ key: 'k' }))).toBe('503 store-unavailable');
    late.open();
    await until(() => released === 1);
    expect((await orders.send({ key: 'k' })).status).toBe(201);
    expect(orders.runs).toBe(1);
  });

  it.each([
    ['returns nothing', () => undefined as never],
    ['returns a promise', () => Promise.resolve('pass') as never],
  ])('§3 an `onStoreError` that %s fails safe: 503', async (_what, onStoreError) => {
    const { store } = broken('get', () => Promise.reject(new Error('down')));
    const orders = await shop({ store, onStoreError }, { express });
    expect(refusal(await orders.send({ key: 'k' }))).toBe('503 store-unavailable');
    expect(orders.runs).toBe(0);
  });

  it('§3 a request that was answered while the store was asked is not run, nor answered again', async () => {
    const asked = gate();
    const store = new MapStore();
    store.before = (step) => (step === 'get' ? asked.opened : undefined);
    const guard = idempotencyMiddleware({ store });
    let runs = 0;
    const app = express();
    app.use((_req, res, next) => {
      // A time limit of the application's own.
      setTimeout(() => res.status(504).end('too slow'), 20);
      next();
    });
    app.use(guard, (_req, res) => void res.json({ run: ++runs }));
    const server = await serve(app);
    // A client that keeps its connection, as most do: the response is over, and its socket is not.
    const agent = new Agent({ keepAlive: true });
    onTestFinished(() => {
      agent.destroy();
    });
    expect((await send(server, { key: 'k', agent })).status).toBe(504);
    asked.open();
    await until(() => store.count('get') === 1 && guard.metrics().running === 0);
    expect(runs).toBe(0);
    // Its claim was let go.
    await until(async () => (await send(server, { key: 'k' })).status === 200);
    expect(runs).toBe(1);
  });

  it('§3 a replay that cannot be sent goes to next(error)', async () => {
    const store = new MapStore();
    const errors: unknown[] = [];
    const orders = await shop({ store }, { express, errors });
    await orders.send({ key: 'k' });
    for (const [key, kept] of store.records) {
      store.records.set(key, { ...kept, headers: [['X-Broken', 'line\r\nfeed']] } as typeof kept);
    }
    expect((await orders.send({ key: 'k' })).status).toBe(500);
    expect(errors).toEqual([expect.objectContaining({ code: 'ERR_INVALID_CHAR' })]);
    expect(orders.runs).toBe(1);
  });
});
