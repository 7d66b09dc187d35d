import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { encodeHead } from '../stores/head.js';
import type { AtomicStore, ClaimOutcome, ClaimRef, ClaimRequest, KeptAnswer } from '../stores/contract.js';

// What the cases of the contract are made of.

export const MINUTE_MS = 60_000;

/** A lease that a test can wait for, and that a busy machine can still write within. */
export const LEASE_MS = 2000;

/** Seconds. */
export const DAY = 86_400;

/** Every write that names this claim is refused. */
export async function writesNothing(store: AtomicStore, claim: ClaimRef): Promise<void> {
  const refused = {
    complete: await store.complete(claim, answer(Buffer.from('of one who lost its claim')), DAY),
    renew: await store.renew(claim, MINUTE_MS),
    release: await store.release(claim, DAY),
    committed: await store.mark(claim, 'committed', DAY),
    notReplayable: await store.mark(claim, 'not-replayable', DAY),
    indeterminate: await store.mark(claim, 'indeterminate', DAY),
    save: await store.save(claim, Buffer.from([9])),
  };
  const none = { complete: false, renew: false, release: false, committed: false };
  assert.deepEqual(refused, { ...none, notReplayable: false, indeterminate: false, save: false });
}

export async function claimed(store: AtomicStore, asked: ClaimRequest): Promise<ClaimRef & { progress?: Uint8Array }> {
  const found = await store.claim(asked);
  assert.ok(found.outcome === 'claimed', `the claim was answered "${found.outcome}"`);
  const { fence, progress } = found;
  return { key: asked.key, owner: asked.owner, fence, ...(progress && { progress }) };
}

export function request(details: Partial<ClaimRequest> = {}): ClaimRequest {
  return {
    key: digest(randomUUID()),
    fingerprint: digest('an order'),
    identity: digest('a caller'),
    owner: randomUUID(),
    leaseMs: MINUTE_MS,
    ttl: DAY,
    ...details,
  };
}

export function byAnother(asked: ClaimRequest): ClaimRequest {
  return { ...asked, owner: randomUUID() };
}

export function answer(body: Uint8Array = Buffer.from('{"id":1}')): KeptAnswer {
  const headers = ['Content-Type', 'application/octet-stream', 'X-Twice', '1', 'X-Twice', 'caf\u00e9 \u00ff \u0080\t~'];
  const head = encodeHead({ statusCode: 201, statusMessage: 'Made', headers, timestamp: '2026-11-23T10:00:00.000Z' });
  return { head, body };
}

export function sameAnswer(found: ClaimOutcome, kept: KeptAnswer): void {
  assert.ok(found.outcome === 'completed', `the claim was answered "${found.outcome}"`);
  assert.equal(found.answer.head, kept.head);
  assert.ok(Buffer.from(found.answer.body).equals(kept.body), 'the body is another');
}

export function bytes(content: Uint8Array | undefined): number[] | undefined {
  return content && [...content];
}

export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Far longer than any store takes, far shorter than the leases that must not be waited for. */
export async function soon(promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error('still waiting after 10 s'));
    }, 10_000);
  });
  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
