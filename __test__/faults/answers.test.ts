import { describe, expect, it, vi } from 'vitest';
import { MemoryStore, type AtomicStore, type ClaimOutcome } from '../../ts/index.js';
import { expresses, gate } from '../helpers/server.js';
import { refusal, shop, type Handler } from '../helpers/shop.js';

/** A store of the user's, made of another one's steps. */
function storeWith(step: Partial<AtomicStore>): AtomicStore {
  const inner = new MemoryStore();
  return {
    claim: (request) => inner.claim(request),
    complete: (claim, answer, ttl) => inner.complete(claim, answer, ttl),
    renew: (claim, leaseMs) => inner.renew(claim, leaseMs),
    release: (claim, ttl) => inner.release(claim, ttl),
    mark: (claim, mark, ttl) => inner.mark(claim, mark, ttl),
    save: (claim, progress) => inner.save(claim, progress),
    inspect: (key) => inner.inspect(key),
    forget: (key) => inner.forget(key),
    waitFor: (key) => inner.waitFor(key),
    ...step,
  };
}

describe.each(expresses)('$name', ({ express }) => {
  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'claimed'],
    ['no outcome', {}],
    ['an outcome that is none', { outcome: 'done' }],
    ['a claim without a fence', { outcome: 'claimed' }],
    ['a claim with a text for a fence', { outcome: 'claimed', fence: '1' }],
    ['a completed record without an answer', { outcome: 'completed' }],
    ['an answer without a head', { outcome: 'completed', answer: { body: new Uint8Array() } }],
    ['an answer of another program', { outcome: 'completed', answer: { head: '{}', body: new Uint8Array() } }],
    ['an answer with a text for a body', { outcome: 'completed', answer: { head: '201\nCreated\n', body: '' } }],
    ['a running request without a lease', { outcome: 'in-progress' }],
  ])('§3 a store that answers a claim with %s has failed: 503, handler not run', async (_name, answer) => {
    const errors: unknown[] = [];
    const onStoreError = vi.fn(() => 'fail' as const);
    const store = storeWith({ claim: () => Promise.resolve(answer as ClaimOutcome) });
    const orders = await shop({ store, onStoreError }, { express, errors });
    expect(refusal(await orders.send({ key: 'k' }))).toBe('503 store-unavailable');
    expect(orders.runs).toBe(0);
    expect(errors).toEqual([]);
    expect(onStoreError).toHaveBeenCalledExactlyOnceWith(expect.any(TypeError), expect.anything(), 'claim');
  });

  it.each<[string, () => Promise<void>]>([
    [
      'throws',
      () => {
        throw new Error('down');
      },
    ],
    ['rejects', () => Promise.reject(new Error('down'))],
  ])('§3 where waitFor %s, who would wait is refused at once', async (_name, waitFor) => {
    const [running, may] = [gate(), gate()];
    const handler: Handler = (_req, res) => {
      running.open();
      void may.opened.then(() => res.send('done'));
    };
    const orders = await shop({ store: storeWith({ waitFor }), onConcurrent: 'wait' }, { express, handler });
    const first = orders.send({ key: 'k' });
    await running.opened;
    expect(refusal(await orders.send({ key: 'k' }))).toBe('409 in-progress');
    expect(orders.guard.metrics()).toMatchObject({ waiting: 0, storeErrors: 1 });
    may.open();
    expect((await first).text).toBe('done');
    expect(await orders.send({ key: 'k' })).toMatchObject({ text: 'done', isReplay: true });
  });
});
