import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { idempotencyMiddleware, MemoryStore, type AtomicStore } from '../../ts/index.js';
import { gate } from '../helpers/server.js';
import { shop } from '../helpers/shop.js';

/** Every step but the claim fails until it is repaired. */
function failing(inner: AtomicStore): AtomicStore & { isRepaired: boolean } {
  const step =
    <Args extends unknown[]>(call: (...args: Args) => Promise<boolean>) =>
    async (...args: Args) => {
      if (!store.isRepaired) throw new Error('down');
      return call(...args);
    };
  const store = {
    isRepaired: false,
    claim: inner.claim.bind(inner),
    inspect: inner.inspect.bind(inner),
    forget: inner.forget.bind(inner),
    renew: inner.renew.bind(inner),
    save: inner.save.bind(inner),
    complete: step(inner.complete.bind(inner)),
    release: step(inner.release.bind(inner)),
    mark: step(inner.mark.bind(inner)),
  };
  return store;
}

describe('close()', () => {
  it('resolves at once where nothing is under way, however often it is called', async () => {
    const guard = idempotencyMiddleware();
    const closed = guard.close({ timeoutMs: 60_000 });
    expect(guard.close()).toBe(closed);
    await closed;
  });

  it('waits for the handlers that run, and for their answers to be kept; new requests are refused', async () => {
    const [begun, may] = [gate(), gate()];
    const store = new MemoryStore();
    const orders = await shop(
      { store },
      {
        handler: async (_req, res) => {
          begun.open();
          await may.opened;
          res.status(201).send('made');
        },
      },
    );
    const first = orders.send({ key: 'k' });
    await begun.opened;
    let isClosed = false;
    const closed = orders.guard.close({ timeoutMs: 60_000 }).then(() => (isClosed = true));
    const refused = await orders.send({ key: 'other' });
    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    expect(isClosed).toBe(false);
    may.open();
    expect(await first).toMatchObject({ status: 201, text: 'made' });
    await closed;
    const next = await shop({ store });
    expect(await next.send({ key: 'k' })).toMatchObject({ status: 201, text: 'made', isReplay: true });
    expect(orders.runs).toBe(1);
  });

  it("refuses new requests also with onStoreError: 'pass'", async () => {
    const orders = await shop({ onStoreError: 'pass' });
    await orders.guard.close();
    expect((await orders.send({ key: 'k' })).status).toBe(503);
    expect(orders.runs).toBe(0);
  });

  it('waits for a completion that is being retried, and tries it at once', async () => {
    const memory = new MemoryStore();
    const store = failing(memory);
    const orders = await shop({ store });
    expect((await orders.send({ key: 'k' })).headers['idempotency-stored']).toBe('false');
    // By now there is a pause before the next try.
    await delay(400);
    store.isRepaired = true;
    const begun = performance.now();
    await orders.guard.close({ timeoutMs: 60_000 });
    expect(performance.now() - begun).toBeLessThan(300);
    const next = await shop({ store: memory });
    expect(await next.send({ key: 'k' })).toMatchObject({ status: 201, isReplay: true });
    expect(next.runs).toBe(0);
  });

  it('ends when its time is over: what runs is told, and keeps its key for what is left of the lease', async () => {
    const [begun, may] = [gate(), gate()];
    const reasons: unknown[] = [];
    const store = new MemoryStore();
    const orders = await shop(
      { store },
      {
        handler: async ({ idempotency }, res) => {
          idempotency?.signal.addEventListener('abort', () => reasons.push(idempotency.signal.reason));
          begun.open();
          await may.opened;
          res.status(201).send('late');
        },
      },
    );
    const first = orders.send({ key: 'k' });
    await begun.opened;
    await orders.guard.close({ timeoutMs: 20 });
    expect(reasons).toMatchObject([{ code: 'ERR_REPRISE_STORE_CLOSED' }]);
    const next = await shop({ store });
    expect((await next.send({ key: 'k' })).status).toBe(409);
    may.open();
    expect((await first).status).toBe(201);
    expect(next.runs).toBe(0);
  });

  it('ends when its time is over though a store never comes back', async () => {
    const store = failing(new MemoryStore());
    const orders = await shop({ store });
    await orders.send({ key: 'k' });
    await orders.guard.close({ timeoutMs: 150 });
  });

  it('refuses options that cannot be right', () => {
    const guard = idempotencyMiddleware();
    expect(() => guard.close({ timeoutMs: -1 })).toThrow(RangeError);
    expect(() => guard.close({ timeout: 5 } as never)).toThrow(/did you mean "timeoutMs"/);
    void guard.close();
  });
});
