import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { encodeHead } from '../stores/head.js';
import type { AtomicStore, ClaimOutcome, ClaimRef, ClaimRequest, KeptAnswer } from '../stores/contract.js';

/** What a case works with: two stores that keep one set of records, as two processes would. */
interface Bench {
  readonly store: AtomicStore;
  readonly peer: AtomicStore;
  readonly passTime: (ms: number) => Promise<void>;
}

/** One rule of the contract. */
export interface StoreContractCase {
  readonly name: StoreContractCaseName;
  run(bench: Bench): Promise<void>;
}

const MINUTE_MS = 60_000;
const DAY = 86_400;

const CASES = {
  'an unknown key is claimed, with a fence of at least 1': async ({ store }) => {
    const claim = await claimed(store, request());
    assert.ok(Number.isSafeInteger(claim.fence) && claim.fence >= 1, `the fence is ${claim.fence}`);
  },

  'of many claims of one key at once, one is granted': async ({ store }) => {
    await onlyOneIsGranted([store]);
  },

  'between processes: of many claims of one key at once, one is granted': async ({ store, peer }) => {
    await onlyOneIsGranted([store, peer]);
  },

  'a claim in progress says how much of its lease is left': async ({ store }) => {
    const asked = request();
    await claimed(store, asked);
    const found = await store.claim(byAnother(asked));
    assert.equal(found.outcome, 'in-progress');
    const { leaseLeftMs } = found;
    assert.ok(leaseLeftMs > 0 && leaseLeftMs <= MINUTE_MS, `${leaseLeftMs} ms are left`);
  },

  'an owner that repeats its claim gets it again, with the same fence and a new lease': async ({ store, passTime }) => {
    const asked = request({ leaseMs: 400 });
    const { fence } = await claimed(store, asked);
    await passTime(200);
    assert.equal((await claimed(store, asked)).fence, fence);
    await passTime(250);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'in-progress');
  },

  'another fingerprint is a mismatch, while the claim is in progress and after': async ({ store }) => {
    const asked = request();
    const other = { ...byAnother(asked), fingerprint: digest('something else'), identity: digest('somebody else') };
    const claim = await claimed(store, asked);
    assert.deepEqual(await store.claim(other), { outcome: 'mismatch', differs: 'fingerprint' });
    assert.equal(await store.complete(claim, answer(), DAY), true);
    assert.deepEqual(await store.claim(other), { outcome: 'mismatch', differs: 'fingerprint' });
  },

  'another identity is a mismatch, while the claim is in progress and after': async ({ store }) => {
    const asked = request();
    const other = { ...byAnother(asked), identity: digest('somebody else') };
    const claim = await claimed(store, asked);
    assert.deepEqual(await store.claim(other), { outcome: 'mismatch', differs: 'identity' });
    assert.equal(await store.mark(claim, 'not-replayable', DAY), true);
    assert.deepEqual(await store.claim(other), { outcome: 'mismatch', differs: 'identity' });
  },

  'a free key may be claimed by anyone for anything': async ({ store }) => {
    const asked = request();
    assert.equal(await store.release(await claimed(store, asked), DAY), true);
    await claimed(store, { ...byAnother(asked), fingerprint: digest('something else') });
  },

  'a claim whose lease ran out is taken over, with the next fence': async ({ store, passTime }) => {
    const asked = request({ leaseMs: 100 });
    const { fence } = await claimed(store, asked);
    await passTime(100);
    assert.equal((await claimed(store, byAnother(asked))).fence, fence + 1);
  },

  'an owner that was taken over can write nothing': async ({ store, passTime }) => {
    await staleOwnerIsFenced(store, store, passTime);
  },

  'between processes: an owner that was taken over can write nothing': async ({ store, peer, passTime }) => {
    await staleOwnerIsFenced(store, peer, passTime);
  },

  'a write that names another owner or fence changes nothing': async ({ store }) => {
    const claim = await claimed(store, request());
    await writesNothing(store, { ...claim, owner: randomUUID() });
    await writesNothing(store, { ...claim, fence: claim.fence + 1 });
    await writesNothing(store, { ...claim, key: digest(randomUUID()) });
    assert.equal((await store.inspect(claim.key))?.state, 'in-progress');
    assert.equal(await store.renew(claim, MINUTE_MS), true);
  },

  'a renewed lease holds from the renewal': async ({ store, passTime }) => {
    const asked = request({ leaseMs: 400 });
    const claim = await claimed(store, asked);
    await passTime(200);
    assert.equal(await store.renew(claim, 400), true);
    await passTime(250);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'in-progress');
    await passTime(200);
    await claimed(store, byAnother(asked));
  },

  'a released key is free, and its next fence is one more': async ({ store }) => {
    const asked = request();
    const claim = await claimed(store, asked);
    assert.equal(await store.release(claim, DAY), true);
    assert.equal(await store.inspect(claim.key), undefined);
    await writesNothing(store, claim);
    assert.equal((await claimed(store, byAnother(asked))).fence, claim.fence + 1);
  },

  'a completed answer is found by all, byte for byte': async ({ store, peer }) => {
    const asked = request();
    const kept = answer(Uint8Array.from({ length: 1024 }, (_, i) => i % 256));
    assert.equal(await store.complete(await claimed(store, asked), kept, DAY), true);
    for (const one of [store, peer]) sameAnswer(await one.claim(byAnother(asked)), kept);
  },

  'an empty answer is an answer': async ({ store }) => {
    const asked = request();
    const kept = answer(new Uint8Array());
    assert.equal(await store.complete(await claimed(store, asked), kept, DAY), true);
    sameAnswer(await store.claim(byAnother(asked)), kept);
  },

  'an answer of a mebibyte is kept whole': async ({ store }) => {
    const asked = request();
    const kept = answer(Uint8Array.from({ length: 1024 * 1024 }, (_, i) => (i * 31) % 256));
    assert.equal(await store.complete(await claimed(store, asked), kept, DAY), true);
    sameAnswer(await store.claim(byAnother(asked)), kept);
  },

  'a completed record is final: no later write changes it': async ({ store }) => {
    const asked = request();
    const claim = await claimed(store, asked);
    const kept = answer(Buffer.from('first'));
    assert.equal(await store.complete(claim, kept, DAY), true);
    await writesNothing(store, claim);
    sameAnswer(await store.claim(asked), kept);
  },

  'a completed record expires after its ttl, and its key is free': async ({ store, passTime }) => {
    const asked = request();
    assert.equal(await store.complete(await claimed(store, asked), answer(), 1), true);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'completed');
    await passTime(1000);
    assert.equal(await store.inspect(asked.key), undefined);
    await claimed(store, byAnother(asked));
  },

  'weeks are kept as weeks: milliseconds beyond 32 bits': async ({ store }) => {
    const asked = request({ ttl: 60 * DAY });
    assert.equal(await store.complete(await claimed(store, asked), answer(), 60 * DAY), true);
    const found = await store.inspect(asked.key);
    assert.ok(found?.state === 'completed');
    // A store that cannot tell says nothing; one that can must not be wrong.
    const left = found.expiresInMs ?? 60 * DAY * 1000;
    assert.ok(left > 60 * DAY * 1000 - MINUTE_MS && left <= 60 * DAY * 1000, `${left} ms are left`);
  },

  'a claim whose lease ran out behind its commit point is indeterminate from then on': async ({ store, passTime }) => {
    const asked = request({ leaseMs: 100 });
    const claim = await claimed(store, asked);
    assert.equal(await store.mark(claim, 'committed', DAY), true);
    await passTime(100);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'indeterminate');
    await writesNothing(store, claim);
    assert.equal((await store.claim(asked)).outcome, 'indeterminate');
  },

  'between processes: a commit point is known to all': async ({ store, peer, passTime }) => {
    const asked = request({ leaseMs: 100 });
    assert.equal(await store.mark(await claimed(store, asked), 'committed', DAY), true);
    await passTime(100);
    assert.equal((await peer.claim(byAnother(asked))).outcome, 'indeterminate');
  },

  'a commit point outlasts renewals and repeated claims': async ({ store, passTime }) => {
    const asked = request({ leaseMs: 100 });
    const claim = await claimed(store, asked);
    assert.equal(await store.mark(claim, 'committed', DAY), true);
    assert.equal(await store.renew(claim, 100), true);
    await claimed(store, asked);
    await passTime(100);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'indeterminate');
  },

  'a claim can be completed behind its commit point': async ({ store }) => {
    const asked = request();
    const claim = await claimed(store, asked);
    assert.equal(await store.mark(claim, 'committed', DAY), true);
    assert.equal(await store.complete(claim, answer(), DAY), true);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'completed');
  },

  'a release behind the commit point leaves an indeterminate record': async ({ store }) => {
    const asked = request();
    const claim = await claimed(store, asked);
    assert.equal(await store.mark(claim, 'committed', DAY), true);
    assert.equal(await store.release(claim, DAY), true);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'indeterminate');
  },

  'not replayable and indeterminate records are kept, and final': async ({ store, peer }) => {
    for (const state of ['not-replayable', 'indeterminate'] as const) {
      const asked = request();
      const claim = await claimed(store, asked);
      assert.equal(await store.mark(claim, state, DAY), true);
      for (const one of [store, peer]) assert.equal((await one.claim(byAnother(asked))).outcome, state);
      assert.equal((await store.inspect(asked.key))?.state, state);
      await writesNothing(store, claim);
    }
  },

  'an indeterminate record is claimed over where the claim says so, and no other is': async ({ store }) => {
    const asked = request();
    const claim = await claimed(store, asked);
    assert.equal(await store.mark(claim, 'indeterminate', DAY), true);
    const over = { ...byAnother(asked), overIndeterminate: true };
    assert.equal((await store.claim({ ...over, fingerprint: digest('something else') })).outcome, 'mismatch');
    const second = await claimed(store, over);
    assert.ok(second.fence > claim.fence, `the fence went from ${claim.fence} to ${second.fence}`);
    assert.equal(await store.complete(second, answer(), DAY), true);
    assert.equal((await store.claim({ ...byAnother(asked), overIndeterminate: true })).outcome, 'completed');
  },

  'progress goes to the next claim, after a release and after a lease ran out': async ({ store, passTime }) => {
    const asked = request({ leaseMs: 100 });
    const first = await claimed(store, asked);
    assert.equal(first.progress, undefined);
    assert.equal(await store.save(first, Buffer.from([0, 1, 255])), true);
    assert.equal(await store.release(first, DAY), true);
    const second = await claimed(store, byAnother(asked));
    assert.deepEqual(bytes(second.progress), [0, 1, 255]);
    assert.equal(await store.save(second, Buffer.from([2])), true);
    await passTime(100);
    assert.deepEqual(bytes((await claimed(store, byAnother(asked))).progress), [2]);
  },

  'between processes: progress goes to the next claim, wherever it is made': async ({ store, peer }) => {
    const asked = request();
    const first = await claimed(store, asked);
    assert.equal(await store.save(first, Buffer.from([1])), true);
    assert.equal(await store.release(first, DAY), true);
    assert.deepEqual(bytes((await claimed(peer, byAnother(asked))).progress), [1]);
  },

  'progress is gone once the claim is completed': async ({ store, passTime }) => {
    const asked = request();
    const claim = await claimed(store, asked);
    assert.equal(await store.save(claim, Buffer.from([1])), true);
    assert.equal(await store.complete(claim, answer(), 1), true);
    await passTime(1000);
    assert.equal((await claimed(store, byAnother(asked))).progress, undefined);
  },

  'a key that is forgotten is free, and its owner has lost it': async ({ store }) => {
    const asked = request();
    const claim = await claimed(store, asked);
    assert.equal(await store.save(claim, Buffer.from([1])), true);
    assert.equal(await store.forget(asked.key), true);
    await writesNothing(store, claim);
    const second = await claimed(store, byAnother(asked));
    assert.equal(second.progress, undefined);
    assert.equal(await store.complete(second, answer(), DAY), true);
    assert.equal(await store.forget(asked.key), true);
    assert.equal(await store.inspect(asked.key), undefined);
    assert.equal(await store.forget(asked.key), false);
  },

  'inspect says what is kept': async ({ store }) => {
    const asked = request();
    assert.equal(await store.inspect(asked.key), undefined);
    const claim = await claimed(store, asked);
    const running = await store.inspect(asked.key);
    assert.ok(running?.state === 'in-progress');
    assert.equal(running.fence ?? claim.fence, claim.fence);
    assert.ok((running.leaseLeftMs ?? 1) > 0);
    const kept = answer(Buffer.from([0, 255]));
    assert.equal(await store.complete(claim, kept, DAY), true);
    const found = await store.inspect(asked.key);
    assert.ok(found?.state === 'completed');
    assert.equal(found.answer.head, kept.head);
    assert.deepEqual(bytes(found.answer.body), bytes(kept.body));
  },

  'keys that differ in one character do not meet': async ({ store }) => {
    const asked = request();
    const last = asked.key.endsWith('0') ? '1' : '0';
    await claimed(store, asked);
    await claimed(store, { ...byAnother(asked), key: asked.key.slice(0, -1) + last });
  },

  'one that waits is woken by the end of the claim': async ({ store }) => {
    await waiterIsWoken(store, store);
  },

  'between processes: one that waits is woken by the end of the claim': async ({ store, peer }) => {
    await waiterIsWoken(store, peer);
  },

  'waiting ends when the lease runs out, and at once where there is nothing to wait for': async ({ store }) => {
    if (!store.waitFor) return;
    const asked = request({ leaseMs: 200 });
    await store.waitFor(asked.key);
    await claimed(store, asked);
    await soon(store.waitFor(asked.key));
    await claimed(store, byAnother(asked));
  },
} satisfies Record<string, StoreContractCase['run']>;

/** The name of one case of {@link storeContract}. */
export type StoreContractCaseName = keyof typeof CASES;

/** Every rule, under its name. */
export const cases: readonly StoreContractCase[] = Object.entries(CASES).map(([name, run]) => ({
  name: name as StoreContractCaseName,
  run,
}));

async function onlyOneIsGranted(stores: readonly AtomicStore[]): Promise<void> {
  const asked = request();
  const outcomes = await Promise.all(
    stores.flatMap((store) => Array.from({ length: 40 }, async () => store.claim(byAnother(asked)))),
  );
  const count = (outcome: string) => outcomes.filter((found) => found.outcome === outcome).length;
  assert.deepEqual(
    { claimed: count('claimed'), inProgress: count('in-progress') },
    { claimed: 1, inProgress: 40 * stores.length - 1 },
  );
}

async function staleOwnerIsFenced(first: AtomicStore, second: AtomicStore, passTime: Bench['passTime']): Promise<void> {
  const asked = request({ leaseMs: 100 });
  const stale = await claimed(first, asked);
  await passTime(100);
  const current = await claimed(second, { ...byAnother(asked), leaseMs: MINUTE_MS });
  await writesNothing(first, stale);
  assert.equal((await second.inspect(asked.key))?.state, 'in-progress');
  const kept = answer(Buffer.from('of the current owner'));
  assert.equal(await second.complete(current, kept, DAY), true);
  await writesNothing(first, stale);
  sameAnswer(await first.claim(asked), kept);
}

async function waiterIsWoken(owner: AtomicStore, waiter: AtomicStore): Promise<void> {
  if (!waiter.waitFor) return;
  for (const end of ['complete', 'release', 'not-replayable', 'forget'] as const) {
    const asked = request({ leaseMs: 10 * MINUTE_MS });
    const claim = await claimed(owner, asked);
    const both: Promise<unknown> = Promise.all([waiter.waitFor(asked.key), waiter.waitFor(asked.key)]);
    // The waiting may begin a moment after the call.
    assert.equal(await Promise.race([both.then(() => 'woken'), pause(100).then(() => 'waiting')]), 'waiting');
    if (end === 'complete') assert.equal(await owner.complete(claim, answer(), DAY), true);
    else if (end === 'release') assert.equal(await owner.release(claim, DAY), true);
    else if (end === 'forget') assert.equal(await owner.forget(asked.key), true);
    else assert.equal(await owner.mark(claim, end, DAY), true);
    await soon(both);
  }
}

/** Every write that names this claim is refused. */
async function writesNothing(store: AtomicStore, claim: ClaimRef): Promise<void> {
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

async function claimed(store: AtomicStore, asked: ClaimRequest): Promise<ClaimRef & { progress?: Uint8Array }> {
  const found = await store.claim(asked);
  assert.ok(found.outcome === 'claimed', `the claim was answered "${found.outcome}"`);
  const { fence, progress } = found;
  return { key: asked.key, owner: asked.owner, fence, ...(progress && { progress }) };
}

function request(details: Partial<ClaimRequest> = {}): ClaimRequest {
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

function byAnother(asked: ClaimRequest): ClaimRequest {
  return { ...asked, owner: randomUUID() };
}

function answer(body: Uint8Array = Buffer.from('{"id":1}')): KeptAnswer {
  const headers = ['Content-Type', 'application/octet-stream', 'X-Twice', '1', 'X-Twice', 'caf\u00e9 \u00ff \u0080\t~'];
  const head = encodeHead({ statusCode: 201, statusMessage: 'Made', headers, timestamp: '2026-11-23T10:00:00.000Z' });
  return { head, body };
}

function sameAnswer(found: ClaimOutcome, kept: KeptAnswer): void {
  assert.ok(found.outcome === 'completed', `the claim was answered "${found.outcome}"`);
  assert.equal(found.answer.head, kept.head);
  assert.ok(Buffer.from(found.answer.body).equals(kept.body), 'the body is another');
}

function bytes(content: Uint8Array | undefined): number[] | undefined {
  return content && [...content];
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Far longer than any store takes, far shorter than the leases that must not be waited for. */
async function soon(promise: Promise<unknown>): Promise<void> {
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
