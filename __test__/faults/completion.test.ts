import { describe, expect, it } from 'vitest';
import { MapStore } from '../helpers/map-store.js';
import { expresses } from '../helpers/server.js';
import { refusal, shop } from '../helpers/shop.js';
import { until } from '../helpers/until.js';

const never = new Promise<never>(() => undefined);

/** A store whose writes fail in the given way until it is healed. */
function cannotWrite(fail: () => unknown = () => Promise.reject(new Error('down'))) {
  const store = new MapStore();
  store.before = (step) => (step === 'set' ? fail() : undefined);
  return { store, heal: () => (store.before = () => undefined) };
}

describe.each(expresses)('§6.3 the completion failed after the handler answered, $name', ({ express }) => {
  it.each<[string, () => unknown]>([
    ['rejects', () => Promise.reject(new Error('down'))],
    ['never answers', () => never],
    [
      'throws',
      () => {
        throw new Error('down');
      },
    ],
  ])('§6.3 where the store %s, the client gets its answer with `Idempotency-Stored: false`', async (_what, fail) => {
    const { store } = cannotWrite(fail);
    const orders = await shop({ store, storeTimeoutMs: 30 }, { express });
    const answer = await orders.send({ key: 'k' });
    expect(answer).toMatchObject({ status: 201, text: '{"run":1}', complete: true });
    expect(answer.headers['idempotency-stored']).toBe('false');
  });

  it('§6.3 an answer that was kept says nothing of it', async () => {
    const orders = await shop({ store: new MapStore() }, { express });
    for (let i = 0; i < 2; i++) {
      expect((await orders.send({ key: 'k' })).headers['idempotency-stored']).toBeUndefined();
    }
  });

  it('§6.3 the lease is kept: retries are told to wait; then the completion is written in the background', async () => {
    const { store, heal } = cannotWrite();
    const orders = await shop({ store }, { express });
    const first = await orders.send({ key: 'k' });
    expect(refusal(await orders.send({ key: 'k' }))).toBe('409 in-progress');
    heal();
    await until(() => store.records.size === 1);
    expect(await orders.send({ key: 'k' })).toMatchObject({ isReplay: true, text: first.text });
    expect(orders.runs).toBe(1);
  });

  it('§6.3 the lease is kept however short it is', async () => {
    const { store, heal } = cannotWrite();
    const orders = await shop({ store, leaseMs: 300, storeTimeoutMs: 10 }, { express });
    await orders.send({ key: 'k' });
    await until(async () => {
      const answer = await orders.send({ key: 'k' });
      expect(refusal(answer)).toBe('409 in-progress');
      return store.count('set') >= 15;
    });
    heal();
    await until(async () => (await orders.send({ key: 'k' })).isReplay);
    expect(orders.runs).toBe(1);
  });

  it('§6.3 what can never be written is indeterminate, never silently free', async () => {
    const { store } = cannotWrite();
    const orders = await shop({ store, leaseMs: 30, storeTimeoutMs: 10, maxHoldMs: 60 }, { express });
    await orders.send({ key: 'k' });
    await until(async () => refusal(await orders.send({ key: 'k' })) !== '409 in-progress');
    for (let i = 0; i < 3; i++) expect(refusal(await orders.send({ key: 'k' }))).toBe('409 indeterminate');
    expect(orders.runs).toBe(1);
  });

  it('§6.3 nor is it where the store refuses that answer, and takes a word', async () => {
    const store = new MapStore();
    let refused = 0;
    const set = store.set.bind(store);
    store.set = async (key, value, ttl) => {
      if (value.state === 'completed') throw new Error(`too large, ${++refused} times`);
      await set(key, value, ttl);
    };
    const orders = await shop({ store, leaseMs: 30, storeTimeoutMs: 10, maxHoldMs: 60 }, { express });
    await orders.send({ key: 'k' });
    await until(() => store.records.size === 1);
    expect([...store.records.values()]).toEqual([expect.objectContaining({ state: 'indeterminate' })]);
    expect(refused).toBeGreaterThan(1);
    expect(refusal(await orders.send({ key: 'k' }))).toBe('409 indeterminate');
  });

  it('§6.3 a key that was to be free is free, also where the store fails', async () => {
    const { store } = cannotWrite();
    const orders = await shop({ store }, { express, handler: (_req, res) => res.status(503).end() });
    for (let i = 0; i < 2; i++) expect((await orders.send({ key: 'k' })).status).toBe(503);
    expect(orders.runs).toBe(2);
  });
});
