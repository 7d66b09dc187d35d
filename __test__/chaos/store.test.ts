import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { chaosStore, createChaos, MemoryStore } from '../../ts/index.js';
import type { AtomicStore, Chaos, ChaosFault, ChaosOptions, ClaimRequest, StoreCall } from '../../ts/index.js';
import { MapStore } from '../helpers/map-store.js';
import { shop } from '../helpers/shop.js';
import { ask, chaosFor, countingHandler, onExpress5, serve, until } from './harness.js';

const withFault = (fault: ChaosFault, options: ChaosOptions = {}) =>
  chaosFor({ rules: [{ name: 'store', fault }], ...options });

const claimOf = (key: string): ClaimRequest => ({
  key,
  fingerprint: 'f'.repeat(64),
  identity: '0'.repeat(64),
  owner: 'me',
  leaseMs: 60_000,
  ttl: 60,
});

/** Which of some calls fail, all made at once. */
function failures(store: AtomicStore, keys: readonly string[]): Promise<boolean[]> {
  return Promise.all(
    keys.map(async (key) => {
      try {
        await store.inspect(key);
        return false;
      } catch {
        return true;
      }
    }),
  );
}

const keys = Array.from({ length: 60 }, (_, n) => `key-${n}`);
const half: ChaosOptions = { rules: [{ name: 'store', fault: { kind: 'store-error' }, probability: 0.5 }] };

describe('store-error', () => {
  const failed = { code: 'ERR_REPRISE_CHAOS_STORE', message: expect.stringContaining('"claim"') as string };

  it('before: the call was not made', async () => {
    const inner = new MemoryStore();
    const store = chaosStore(inner, withFault({ kind: 'store-error', calls: ['claim'] }));
    await expect(store.claim(claimOf('a'))).rejects.toMatchObject(failed);
    expect(await inner.inspect('a')).toBeUndefined();
    expect(await store.inspect('a')).toBeUndefined();
    expect(store.chaosMetrics()).toEqual({ totalCalls: 2, failuresInjected: 1, latenciesInjected: 0 });
  });

  it('after: the call was made, and only its answer was lost', async () => {
    const inner = new MemoryStore();
    const store = chaosStore(inner, withFault({ kind: 'store-error', calls: ['claim'], when: 'after' }));
    await expect(store.claim(claimOf('a'))).rejects.toMatchObject(failed);
    expect(await inner.inspect('a')).toMatchObject({ state: 'in-progress' });
  });

  it('hits get, set and delete of a store that knows no more', async () => {
    const inner = new MapStore();
    for (const call of ['get', 'set', 'delete'] as const) {
      const store = chaosStore(inner, withFault({ kind: 'store-error', calls: [call] }));
      await expect(Promise.resolve(store[call]('a', {} as never, 1))).rejects.toThrow(`"${call}"`);
    }
    expect(inner.calls).toEqual([]);
  });
});

describe('store-latency', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  const slow = (when: 'before' | 'after'): ChaosFault => ({
    kind: 'store-latency',
    delay: { law: 'uniform', minMs: 500, maxMs: 500 },
    when,
  });

  it.each([
    ['before', undefined],
    ['after', 'in-progress'],
  ] as const)('%s: the call has been made meanwhile: %s', async (when, state) => {
    const inner = new MemoryStore();
    const store = chaosStore(inner, withFault(slow(when)));
    const claimed = store.claim(claimOf('a'));
    await until(() => vi.getTimerCount() === 1);
    expect((await inner.inspect('a'))?.state).toBe(state);
    vi.advanceTimersByTime(500);
    expect(await claimed).toMatchObject({ outcome: 'claimed' });
    expect(store.chaosMetrics()).toEqual({ totalCalls: 1, failuresInjected: 0, latenciesInjected: 1 });
  });

  it('ends when chaos is disarmed: the calls go on at once, and nothing is held', async () => {
    const chaos = withFault(slow('before'));
    const store = chaosStore(new MemoryStore(), chaos);
    const calls = keys.map((key) => store.inspect(key));
    await until(() => vi.getTimerCount() === keys.length);
    expect(chaos.status().activeFaults).toBe(keys.length);
    chaos.disarm();
    expect(await Promise.all(calls)).toEqual(keys.map(() => undefined));
    expect([vi.getTimerCount(), chaos.status().activeFaults]).toEqual([0, 0]);
  });
});

describe('which calls are hit', () => {
  it('follows from the seed, the key and the attempt, in whatever order the calls are made', async () => {
    const all = (options: ChaosOptions) => chaosStore(new MemoryStore(), chaosFor(options));
    const first = await failures(all(half), keys);
    expect(first.filter(Boolean).length).toBeGreaterThan(15);
    expect(first.filter(Boolean).length).toBeLessThan(45);
    expect((await failures(all(half), [...keys].reverse())).reverse()).toEqual(first);
    expect(await failures(all({ ...half, seed: 43 }), keys)).not.toEqual(first);
    const again = all(half);
    await failures(again, keys);
    expect(await failures(again, keys)).not.toEqual(first);
  });

  it('is not changed by requests, nor are those by it, and neither counts for the other', async () => {
    const request = { name: 'failure', fault: { kind: 'error', statuses: [503] }, probability: 0.8 } as const;
    const chaos = chaosFor({ rules: [request, ...(half.rules ?? [])] });
    const store = chaosStore(new MemoryStore(), chaos);
    const { handler } = countingHandler();
    const port = await serve(onExpress5(chaos.middleware(), handler));
    for (const key of keys) await ask(port, { key });
    expect(await failures(store, keys)).toEqual(await failures(chaosStore(new MemoryStore(), chaosFor(half)), keys));
    expect(chaos.metrics().totalRequests).toBe(keys.length);
    expect(store.chaosMetrics().totalCalls).toBe(keys.length);
  });

  it('follows update() and reset(), and ends with disarm()', async () => {
    const chaos = chaosFor(half);
    const store = chaosStore(new MemoryStore(), chaos);
    const first = await failures(store, keys);
    chaos.reset();
    expect(await failures(store, keys)).toEqual(first);
    expect(store.chaosMetrics().totalCalls).toBe(keys.length);
    chaos.update({ rules: [{ name: 'store', fault: { kind: 'store-error' } }] });
    expect(await failures(store, keys)).toEqual(keys.map(() => true));
    chaos.disarm();
    expect(await failures(store, keys)).toEqual(keys.map(() => false));
  });
});

describe('under idempotencyMiddleware', () => {
  const lostOnce = (calls: StoreCall[], when: 'before' | 'after') =>
    chaosFor({ rules: [{ name: 'store', fault: { kind: 'store-error', calls, when }, first: 1 }] });

  it('a completion whose answer was lost is replayed to the retry: the order is made once', async () => {
    const store = chaosStore(new MemoryStore(), lostOnce(['complete'], 'after'));
    const { send, runs } = await orders(store);
    const first = await send({ key: 'order-1' });
    const retry = await send({ key: 'order-1' });
    expect([first.status, retry.status, retry.isReplay, runs()]).toEqual([201, 201, true, 1]);
    expect(store.chaosMetrics().failuresInjected).toBe(1);
  });

  it('a claim that cannot be made is no order', async () => {
    const { send, runs } = await orders(chaosStore(new MemoryStore(), lostOnce(['claim'], 'before')));
    expect((await send({ key: 'order-1' })).status).toBe(503);
    expect(runs()).toBe(0);
    expect((await send({ key: 'order-1' })).status).toBe(201);
  });

  async function orders(store: AtomicStore) {
    const opened = await shop({ store });
    return { send: opened.send, runs: () => opened.runs };
  }
});

it('refuses what is no store, and what is no chaos', () => {
  const chaos = createChaos({ enabled: false });
  expect(() => chaosStore({} as AtomicStore, chaos)).toThrow(
    'chaosStore: argument "store" is an object; allowed: a store',
  );
  expect(() => chaosStore(new MemoryStore(), {} as Chaos)).toThrow(
    'chaosStore: argument "chaos" is an object; allowed: what createChaos or initChaos returned',
  );
});

it.each<[object, string]>([
  [{ fault: { kind: 'store-error', calls: ['read'] } }, 'option "calls" is ["read"]; allowed: a list of calls'],
  [{ fault: { kind: 'store-latency' } }, 'option "delay" is undefined'],
  [{ fault: { kind: 'store-error' }, match: { methods: ['GET'] } }, 'option "match" is an object; allowed: nothing'],
])('refuses %j', (rule, message) => {
  expect(() => createChaos({ rules: [{ name: 'store', ...rule } as never], seed: 1 })).toThrow(message);
});
