import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Renewals, type Leased } from '../../ts/idempotency/renewals.js';
import { MemoryStore, retryWithCheckpoint, type AtomicStore, type IdempotencyContext } from '../../ts/index.js';
import { gate } from '../helpers/server.js';
import { shop } from '../helpers/shop.js';

function keyOf({ idempotency }: { idempotency?: IdempotencyContext }): IdempotencyContext {
  if (idempotency === undefined) throw new Error('The request is not guarded');
  return idempotency;
}

const never = () => new Promise<never>(() => undefined);

/** A store as over a network, whose steps wait for what a test says. */
function behind(inner: AtomicStore, before: (step: string) => Promise<unknown>): AtomicStore {
  const through =
    <Args extends unknown[], Result>(step: string, call: (...args: Args) => Promise<Result>) =>
    async (...args: Args) => {
      await before(step);
      return call(...args);
    };
  return {
    claim: through('claim', inner.claim.bind(inner)),
    complete: through('complete', inner.complete.bind(inner)),
    renew: through('renew', inner.renew.bind(inner)),
    release: through('release', inner.release.bind(inner)),
    mark: through('mark', inner.mark.bind(inner)),
    save: through('save', inner.save.bind(inner)),
    inspect: through('inspect', inner.inspect.bind(inner)),
    forget: through('forget', inner.forget.bind(inner)),
  };
}

describe('§6.1 a lease, by the clock of the thread that holds it', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** One claim whose renewals a test answers. */
  function held(
    renew: () => boolean | Promise<boolean>,
    { isSelfKept = false, leaseMs = 900, storeTimeoutMs = 100 } = {},
  ) {
    const leased: Leased = { since: performance.now(), claim: { renew, isSelfKept } };
    const lost: number[] = [];
    const renewals = new Renewals({ leaseMs, storeTimeoutMs, maxHoldMs: 60_000 });
    const begun = performance.now();
    const holder = { lose: () => lost.push(performance.now() - begun) };
    renewals.add(leased, holder, begun);
    return { renewals, leased, lost };
  }

  it('is over a lease after the claim was asked for, where no renewal is answered', async () => {
    const { lost } = held(never);
    await vi.advanceTimersByTimeAsync(899);
    expect(lost).toEqual([]);
    await vi.advanceTimersByTimeAsync(3);
    expect(lost).toHaveLength(1);
  });

  it('counts from the moment at which the last renewal began that succeeded, not from its answer', async () => {
    let asked = 0;
    const { lost } = held(async () => {
      if (++asked > 1) return never();
      // The timers of a test are not those of `node:timers/promises`.
      await new Promise((resolve) => setTimeout(resolve, 90));
      return true;
    });
    // Renewed at 300 ms, answered at 390.
    await vi.advanceTimersByTimeAsync(1199);
    expect(lost).toEqual([]);
    await vi.advanceTimersByTimeAsync(5);
    expect(lost).toHaveLength(1);
  });

  it('stays lost when a renewal succeeds too late', async () => {
    const answer = gate<boolean>();
    const { renewals, lost } = held(() => answer.opened, { storeTimeoutMs: 10_000 });
    await vi.advanceTimersByTimeAsync(1000);
    answer.open(true);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(lost).toHaveLength(1);
    expect(renewals.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('asks a store that hangs for one renewal at a time', async () => {
    const renew = vi.fn(never);
    held(renew, { storeTimeoutMs: 10_000 });
    await vi.advanceTimersByTimeAsync(850);
    expect(renew).toHaveBeenCalledTimes(1);
  });

  it('is renewed for as long as the store answers', async () => {
    const { renewals, leased, lost } = held(() => Promise.resolve(true));
    await vi.advanceTimersByTimeAsync(20_000);
    expect(lost).toEqual([]);
    renewals.delete(leased);
    await vi.advanceTimersByTimeAsync(1000);
    expect(vi.getTimerCount()).toBe(0);
  });

  describe('after the event loop was blocked for longer than a lease', () => {
    /** As a blocked event loop leaves it: the clock has moved, and no timer has fired. */
    const block = (ms: number) => {
      const blockedUntil = performance.now() + ms;
      vi.setSystemTime(Date.now() + ms);
      vi.spyOn(performance, 'now').mockImplementation(() => blockedUntil);
    };

    afterEach(() => {
      vi.restoreAllMocks();
    });

    it('is lost at once for whoever asks, where the store may have given it away', () => {
      const { renewals, leased, lost } = held(() => Promise.resolve(true));
      block(1000);
      renewals.judge(leased);
      expect(lost).toHaveLength(1);
    });

    it('holds where the store keeps it by itself, and says so when it is asked', async () => {
      const { renewals, leased, lost } = held(() => Promise.resolve(true), { isSelfKept: true });
      block(1000);
      renewals.judge(leased);
      await vi.advanceTimersByTimeAsync(400);
      expect(lost).toEqual([]);
    });

    it('is lost where such a store says no', async () => {
      const { lost } = held(() => Promise.resolve(false), { isSelfKept: true });
      block(1000);
      await vi.advanceTimersByTimeAsync(400);
      expect(lost).toHaveLength(1);
    });
  });

  it('of a store that keeps claims by itself and does not answer is over a store timeout later', async () => {
    const { lost } = held(never, { isSelfKept: true });
    await vi.advanceTimersByTimeAsync(990);
    expect(lost).toEqual([]);
    await vi.advanceTimersByTimeAsync(20);
    expect(lost).toHaveLength(1);
  });
});

describe('a host that is cut off from its store', () => {
  it('knows by its signal when another host may run, and effects happen once', async () => {
    const memory = new MemoryStore();
    let isCut = false;
    const charged: string[] = [];
    const cutOff = await shop(
      { store: behind(memory, async () => isCut && never()), leaseMs: 300, storeTimeoutMs: 50 },
      {
        handler: async (req, res) => {
          const { signal } = keyOf(req);
          isCut = true;
          await new Promise((resolve) => {
            signal.addEventListener('abort', resolve);
          });
          if (!signal.aborted) charged.push('cut off');
          res.status(503).end();
        },
      },
    );
    const other = await shop(
      { store: behind(memory, () => Promise.resolve()) },
      { handler: (_req, res) => res.status(201).send(`charge ${charged.push('other')}`) },
    );
    const first = cutOff.send({ key: 'k' });
    await expect.poll(async () => (await other.send({ key: 'k' })).status).toBe(201);
    expect((await first).status).toBe(503);
    expect(charged).toEqual(['other']);
  });

  it('has a task stop, too', async () => {
    const memory = new MemoryStore();
    let isCut = false;
    const store = behind(memory, async (step) => isCut && step === 'renew' && never());
    const task = retryWithCheckpoint({ store, name: 'cut', leaseMs: 150, storeTimeoutMs: 50 })(async (_id, context) => {
      isCut = true;
      await new Promise((resolve) => {
        context.signal.addEventListener('abort', resolve);
      });
      return 'stopped';
    });
    await expect(task('t')).rejects.toMatchObject({ code: 'ERR_REPRISE_CHECKPOINT_LOST' });
  });
});

describe('§6 each step of the store takes storeTimeoutMs at most', () => {
  it.each([
    ['commitPoint()', (key: IdempotencyContext) => key.commitPoint()],
    [
      'the progress of resumable()',
      (key: IdempotencyContext) => (key as never as { save: (bytes: Uint8Array) => unknown }).save(new Uint8Array(1)),
    ],
  ])('%s', async (_name, step) => {
    let isDead = false;
    const errors: unknown[] = [];
    const orders = await shop(
      { store: behind(new MemoryStore(), async () => isDead && never()), storeTimeoutMs: 50 },
      {
        handler: async (req, res) => {
          isDead = true;
          await Promise.resolve(step(keyOf(req))).catch((error: unknown) => errors.push(error));
          res.status(503).end();
        },
      },
    );
    const answer = await orders.send({ key: 'k' });
    expect(answer.status).toBe(503);
    expect(errors).toMatchObject([{ code: 'ERR_REPRISE_STORE_TIMEOUT' }]);
  });

  /** A store whose transaction hangs where a test wants it. */
  function transacting(before: () => Promise<unknown>, after: () => Promise<unknown>): AtomicStore {
    return {
      ...behind(new MemoryStore(), () => Promise.resolve()),
      transaction: async (_claim, _ttl, run) => {
        await before();
        await run('tx');
        await after();
        return true;
      },
    };
  }

  it('transaction(), before its function, which then does not run, even late', async () => {
    const begins = gate();
    const ran = vi.fn();
    const orders = await shop(
      {
        store: transacting(
          () => begins.opened,
          () => Promise.resolve(),
        ),
        storeTimeoutMs: 50,
      },
      {
        handler: async (req, res) => {
          const { transaction } = {
            transaction: keyOf(req).transaction.bind(req.idempotency),
          };
          await transaction(async () => {
            ran();
            res.status(201).end();
            return Promise.resolve();
          }).catch((error: unknown) => res.status(503).send((error as { code: string }).code));
        },
      },
    );
    expect(await orders.send({ key: 'k' })).toMatchObject({ status: 503, text: 'ERR_REPRISE_STORE_TIMEOUT' });
    begins.open();
    await delay(20);
    expect(ran).not.toHaveBeenCalled();
  });

  it('transaction(), after its function, which may take longer', async () => {
    const orders = await shop(
      { store: transacting(() => Promise.resolve(), never), storeTimeoutMs: 50 },
      {
        handler: async (req, res) => {
          const run = async () => {
            await delay(120);
            res.status(201).end();
          };
          await keyOf(req)
            .transaction(run)
            .catch((error: unknown) => res.status(503).send((error as { code: string }).code));
        },
      },
    );
    expect(await orders.send({ key: 'k' })).toMatchObject({ status: 503, text: 'ERR_REPRISE_STORE_TIMEOUT' });
  });
});
