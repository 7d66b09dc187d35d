// A *pair* is a claim and its completion: what a new key costs a store.
import { createHash } from 'node:crypto';

/** JSON of 1 KiB, and the answer that it makes. */
export const VALUE = { id: 4711, status: 'paid', note: 'x'.repeat(985) };
export const ANSWER = {
  head: '201\nCreated\n2026-01-01T00:00:00.000Z\nContent-Type\napplication/json; charset=utf-8',
  body: Buffer.from(JSON.stringify(VALUE)),
};
export const DAY = 86_400;

const IDENTITY = createHash('sha256').update('identity').digest('hex');

/** A digest for each number. */
export function keyOf(number) {
  return number.toString(16).padStart(16, '0').repeat(4);
}

export function claimOf(number, owner = `owner-${number}`) {
  return { key: keyOf(number), fingerprint: IDENTITY, identity: IDENTITY, owner, leaseMs: 30_000, ttl: DAY };
}

/** Claims and completes through a store of the full contract. */
export function pairThrough(store) {
  return async (number) => {
    const request = claimOf(number);
    const { outcome, fence } = await store.claim(request);
    if (outcome !== 'claimed') throw new Error(`${outcome} instead of claimed`);
    if (!(await store.complete({ key: request.key, owner: request.owner, fence }, ANSWER, DAY)))
      throw new Error('not completed');
  };
}

/** Whether another claim of that number gets the answer, byte for byte. */
export async function replayed(store, number) {
  const { outcome, answer } = await store.claim(claimOf(number, 'another'));
  return outcome === 'completed' && answer.head === ANSWER.head && ANSWER.body.equals(answer.body);
}
