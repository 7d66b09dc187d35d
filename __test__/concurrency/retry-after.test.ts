import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Durations } from '../../ts/idempotency/durations.js';
import { retryFetch } from '../../ts/index.js';
import { shop } from '../helpers/shop.js';

describe('§3 Retry-After of a request that still runs', () => {
  it('is what the longest of the last runs of its route have left of it', () => {
    const durations = new Durations();
    for (const ms of [2000, 8000, 3000]) durations.note('POST', '/orders/17/pay?by=card', ms);
    expect(durations.leftMs('POST', '/orders/18/pay', 1000)).toBe(7000);
    expect(durations.leftMs('PUT', '/orders/18/pay', 1000)).toBe(1000);
    for (let i = 0; i < 8; i++) durations.note('POST', '/orders/19/pay', 4000);
    expect(durations.leftMs('POST', '/orders/18/pay', 1000)).toBe(3000);
  });

  it('is as long again as it has run, once it has outlasted them', () => {
    const durations = new Durations();
    durations.note('POST', '/pay', 400);
    expect(durations.leftMs('POST', '/pay', 6000)).toBe(6000);
  });

  it('is that of a whole run where it runs elsewhere', () => {
    const durations = new Durations();
    durations.note('POST', '/pay', 4000);
    expect(durations.leftMs('POST', '/pay')).toBe(4000);
  });

  it('remembers the routes that came by last, and no more of them than it may', () => {
    const durations = new Durations();
    durations.note('POST', '/kept', 5000);
    const letters = 'abcdefghijklmnopqrst';
    for (const a of letters) for (const b of letters) durations.note('POST', `/${a}${b}`, 1000);
    expect(durations.leftMs('POST', '/kept')).toBe(0);
    expect(durations.leftMs('POST', '/tt')).toBe(1000);
  });

  it('is at most the rest of the lease', async () => {
    const orders = await shop(
      { leaseMs: 1500 },
      { handler: async (_req, res, _next, run) => (await delay(run === 1 ? 2600 : 400), res.status(201).end()) },
    );
    await orders.send({ key: 'a' });
    const first = orders.send({ key: 'b' });
    await delay(50);
    expect((await orders.send({ key: 'b' })).headers['retry-after']).toBe('2');
    await first;
  });

  it('has a second client of ours answered soon after the first', async () => {
    const orders = await shop({}, { handler: async (_req, res) => (await delay(400), res.status(201).send('paid')) });
    const pay = async () => {
      const begun = performance.now();
      const response = await retryFetch(`http://127.0.0.1:${orders.port}/pay`, {
        method: 'POST',
        headers: { 'Idempotency-Key': 'k' },
      });
      return { text: await response.text(), took: performance.now() - begun };
    };
    const [first, second] = await Promise.all([pay(), pay()]);
    expect([first.text, second.text]).toEqual(['paid', 'paid']);
    expect(Math.max(first.took, second.took)).toBeLessThan(2000);
    expect(orders.runs).toBe(1);
  });
});
