import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../../ts/index.js';
import { MapStore } from '../helpers/map-store.js';
import { expresses } from '../helpers/server.js';
import { shop, type Handler } from '../helpers/shop.js';

const ORDER = { body: { item: 'tea' } };

/** A shop whose handler notes the key for its bank, and fails at the runs named. */
function bankOf(failing: readonly number[]) {
  const keys: string[] = [];
  const handler: Handler = (req, res, _next, run) => {
    keys.push(req.idempotency?.derive('charge') ?? '');
    // Its own progress does not get lost by it, nor lose it.
    res.status(failing.includes(run) ? 500 : 201).json({ run });
  };
  return { keys, handler };
}

describe.each(expresses)('`derive` without a key of the client’s, $name', ({ express }) => {
  it('two equal orders an hour apart are two for the bank, too', async () => {
    const store = new MemoryStore();
    const { keys, handler } = bankOf([]);
    const orders = await shop({ store }, { express, handler });
    for (let hour = 0; hour < 3; hour++) {
      await orders.send(ORDER);
      store.advanceClock(3_600_000);
    }
    expect(new Set(keys).size).toBe(3);
    store.close();
  });

  it.each([
    ['memory', () => new MemoryStore()],
    ['get, set and delete', () => new MapStore()],
  ])('runs that failed and their retry are one: a store of %s', async (_what, open) => {
    const { keys, handler } = bankOf([1, 2]);
    const orders = await shop({ store: open(), silence: ['WRN_REPRISE_STORE_NOT_ATOMIC'] }, { express, handler });
    for (const status of [500, 500, 201]) expect((await orders.send(ORDER)).status).toBe(status);
    expect(keys).toHaveLength(3);
    expect(new Set(keys).size).toBe(1);
  });

  it('a run that failed an hour ago is another order', async () => {
    const store = new MemoryStore();
    const { keys, handler } = bankOf([1]);
    const orders = await shop({ store }, { express, handler });
    await orders.send(ORDER);
    store.advanceClock(3_600_000);
    await orders.send(ORDER);
    expect(new Set(keys).size).toBe(2);
    store.close();
  });

  it('names are told apart, and one name has one key in a run', async () => {
    const handler: Handler = (req, res) => res.json(['a', 'b', 'a'].map((name) => req.idempotency?.derive(name)));
    const [a, b, again] = JSON.parse((await (await shop({}, { express, handler })).send(ORDER)).text) as string[];
    expect(a).toMatch(/^[0-9a-f]{64}$/);
    expect([b === a, again === a]).toEqual([false, true]);
  });

  it('with a key of the client’s, it goes by that key alone', async () => {
    const stores = [new MemoryStore(), new MemoryStore()];
    const { keys, handler } = bankOf([]);
    for (const store of stores) await (await shop({ store }, { express, handler })).send({ ...ORDER, key: 'k' });
    expect(new Set(keys).size).toBe(1);
    for (const store of stores) store.close();
  });
});
