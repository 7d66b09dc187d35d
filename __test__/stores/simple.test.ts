import { describe, expect, it } from 'vitest';
import { MapStore } from '../helpers/map-store.js';
import { gate } from '../helpers/server.js';
import { refusal, shop } from '../helpers/shop.js';
import { until } from '../helpers/until.js';

const TEA = { key: 'k', body: { item: 'tea' } };
const COFFEE = { key: 'k', body: { item: 'coffee' } };

/** Waits until this many requests stand before the store, or before whoever asks it for them. */
async function arrived(received: () => number, count: number): Promise<void> {
  await until(() => received() >= count);
  // Through the body parser, which takes a turn or two.
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe('§7 a store of get, set and delete, inside of one process', () => {
  async function slowShop() {
    const store = new MapStore();
    let received = 0;
    const express = (await import('express')).default;
    const orders = await shop(
      { store },
      {
        before: [
          (_req, _res, next) => {
            received++;
            next();
          },
          express.json(),
        ],
      },
    );
    return { store, orders, received: () => received };
  }

  it('§3 duplicates of a completed request that come at once are all replayed', async () => {
    const { store, orders, received } = await slowShop();
    await orders.send(TEA);
    const lookup = gate();
    store.before = (step) => (step === 'get' ? lookup.opened : undefined);
    const answers = Array.from({ length: 20 }, () => orders.send(TEA));
    await arrived(received, 21);
    lookup.open();
    for (const answer of await Promise.all(answers))
      expect(answer).toMatchObject({ isReplay: true, text: '{"run":1}' });
    // One before the first run, one for all who came at once.
    expect(store.count('get')).toBe(2);
  });

  it('§3 another request under the key, looked up first, keeps nobody from the answer', async () => {
    const { store, orders, received } = await slowShop();
    await orders.send(TEA);
    const lookup = gate();
    store.before = (step) => (step === 'get' ? lookup.opened : undefined);
    const coffee = orders.send(COFFEE);
    await arrived(received, 2);
    const tea = orders.send(TEA);
    await arrived(received, 3);
    lookup.open();
    expect(refusal(await coffee)).toBe('422 key-reused');
    expect(await tea).toMatchObject({ isReplay: true });
    expect(orders.runs).toBe(1);
  });

  it('§7 fifty new requests at once: one runs', async () => {
    const { orders } = await slowShop();
    const answers = await Promise.all(Array.from({ length: 50 }, () => orders.send(TEA)));
    expect(orders.runs).toBe(1);
    for (const answer of answers) {
      expect(['201 undefined', '409 in-progress']).toContain(refusal(answer));
    }
    expect(await orders.send(TEA)).toMatchObject({ isReplay: true });
  });

  it('§2.2 `set` is told whole seconds, at least one: `ttl` with a key, `derivedTtl` without', async () => {
    const store = new MapStore();
    const orders = await shop({ store, ttl: 60.2, derivedTtl: 0.5 });
    await orders.send({ key: 'k' });
    await orders.send({});
    expect([...store.ttls.values()]).toEqual([61, 1]);
  });

  it('§7 a record survives the process that wrote it, as plain JSON', async () => {
    const store = new MapStore();
    const first = await shop({ store }, { handler: (_req, res) => res.type('x/y').send(Buffer.of(0, 255, 128)) });
    const answer = await first.send(TEA);
    const kept = [...store.records.values()];
    expect(JSON.parse(JSON.stringify(kept))).toEqual(kept);
    expect(kept).toEqual([
      expect.objectContaining({ state: 'completed', statusCode: 200, body: Buffer.of(0, 255, 128).toString('base64') }),
    ]);
    const second = await shop({ store });
    const replayed = await second.send(TEA);
    expect(replayed).toMatchObject({ isReplay: true, status: 200 });
    expect(replayed.body).toEqual(answer.body);
    expect(replayed.headers['content-type']).toBe('x/y');
    expect(second.runs).toBe(0);
  });
});
