import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { AtomicStore, ClaimOutcome, ClaimRef, ClaimRequest } from '../stores/contract.js';
import {
  answer,
  bytes,
  byAnother,
  claimed,
  DAY,
  digest,
  LEASE_MS,
  MINUTE_MS,
  pause,
  request,
  sameAnswer,
  soon,
  writesNothing,
} from './contract-steps.js';

/** What a case works with: two stores that keep one set of records, as two processes would. */
interface Bench {
  readonly store: AtomicStore;
  readonly peer: AtomicStore;
  readonly passTime: (ms: number) => Promise<void>;
  /** A store with room for few claims, where the test can make one. */
  readonly small: AtomicStore | undefined;
}

/** One rule of the contract. */
export interface StoreContractCase {
  readonly name: StoreContractCaseName;
  /** Whether it needs the small store. */
  readonly isOfFullStore: boolean;
  run(bench: Bench): Promise<void>;
}

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
    const asked = request({ leaseMs: LEASE_MS });
    const { fence } = await claimed(store, asked);
    assert.equal((await claimed(store, { ...asked, leaseMs: MINUTE_MS })).fence, fence);
    await passTime(LEASE_MS);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'in-progress');
  },

  'an owner that repeats its claim gets its progress again': async ({ store }) => {
    const asked = request();
    assert.equal(await store.save(await claimed(store, asked), Buffer.from([1, 2])), true);
    assert.deepEqual(bytes((await claimed(store, asked)).progress), [1, 2]);
  },

  'another fingerprint is a mismatch, while the claim is in progress and after': async ({ store }) => {
    const asked = request();
    const other = { ...byAnother(asked), fingerprint: digest('something else') };
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

  'somebody else who asks for something else learns only that it is somebody else': async ({ store }) => {
    const asked = request();
    const other = { ...byAnother(asked), fingerprint: digest('something else'), identity: digest('somebody else') };
    const claim = await claimed(store, asked);
    assert.deepEqual(await store.claim(other), { outcome: 'mismatch', differs: 'identity' });
    assert.equal(await store.complete(claim, answer(), DAY), true);
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

  'between processes: of many that take over one claim at once, one is granted': async ({ store, peer, passTime }) => {
    const asked = request({ leaseMs: 100 });
    const { fence } = await claimed(store, asked);
    await passTime(100);
    const grants = await onlyOneIsGranted([store, peer], { ...asked, leaseMs: MINUTE_MS });
    assert.deepEqual(grants, [fence + 1]);
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
    const asked = request({ leaseMs: LEASE_MS });
    const claim = await claimed(store, asked);
    assert.equal(await store.renew(claim, MINUTE_MS), true);
    await passTime(LEASE_MS);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'in-progress');
    assert.equal(await store.renew(claim, 100), true);
    await passTime(100);
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
    assert.equal(await store.complete(await claimed(store, asked), answer(), 2), true);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'completed');
    await passTime(2000);
    assert.equal(await store.inspect(asked.key), undefined);
    await claimed(store, byAnother(asked));
  },

  'weeks are kept as weeks: milliseconds beyond 32 bits': async ({ store }) => {
    const asked = request({ ttl: 60 * DAY });
    assert.equal(await store.complete(await claimed(store, asked), answer(), 60 * DAY), true);
    const found = await store.inspect(asked.key);
    assert.ok(found?.state === 'completed');
    isAboutSixtyDays(found.expiresInMs);
  },

  'a lease of weeks is one, and so is a retention without an answer': async ({ store }) => {
    const asked = request({ leaseMs: 60 * DAY * 1000, ttl: 60 * DAY });
    const claim = await claimed(store, asked);
    const found = await store.claim(byAnother(asked));
    assert.ok(found.outcome === 'in-progress');
    isAboutSixtyDays(found.leaseLeftMs);
    assert.equal(await store.mark(claim, 'indeterminate', 60 * DAY), true);
    const kept = await store.inspect(asked.key);
    assert.ok(kept?.state === 'indeterminate');
    isAboutSixtyDays(kept.expiresInMs);
  },

  'a claim is held for its lease, however short its retention is': async ({ store, passTime }) => {
    const asked = request({ ttl: 1 });
    const claim = await claimed(store, asked);
    await passTime(1200);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'in-progress');
    assert.equal(await store.complete(claim, answer(), DAY), true);
  },

  'the clock of the process decides nothing': async ({ store }) => {
    const [running, done] = [request(), request()];
    await claimed(store, running);
    assert.equal(await store.complete(await claimed(store, done), answer(), DAY), true);
    const now = Date.now;
    for (const years of [-20, 20]) {
      // Only while the calls are made: drivers have timers of their own.
      Date.now = () => now() + years * 365 * DAY * 1000;
      let asked;
      try {
        asked = [store.claim(byAnother(running)), store.claim(byAnother(done))];
      } finally {
        Date.now = now;
      }
      const outcomes = (await Promise.all(asked)).map(({ outcome }) => outcome);
      assert.deepEqual(outcomes, ['in-progress', 'completed']);
    }
  },

  'what has expired is swept: nothing finds it, and there is nothing to forget': async ({ store, passTime }) => {
    const ends = [
      async (claim: ClaimRef) => store.complete(claim, answer(), 1),
      async (claim: ClaimRef) => store.mark(claim, 'not-replayable', 1),
      async (claim: ClaimRef) => store.mark(claim, 'indeterminate', 1),
    ];
    const claims = await Promise.all(ends.map(async () => claimed(store, request())));
    for (const [i, end] of ends.entries()) assert.equal(await end(claims[i] as ClaimRef), true);
    await passTime(1000);
    for (const claim of claims) {
      assert.equal(await store.inspect(claim.key), undefined);
      assert.equal(await store.forget(claim.key), false);
      await writesNothing(store, claim);
    }
  },

  'a claim whose lease ran out behind its commit point is indeterminate from then on': async ({ store, passTime }) => {
    const asked = request({ leaseMs: LEASE_MS });
    const claim = await claimed(store, asked);
    assert.equal(await store.mark(claim, 'committed', DAY), true);
    await passTime(LEASE_MS);
    assert.equal((await store.claim(byAnother(asked))).outcome, 'indeterminate');
    await writesNothing(store, claim);
    assert.equal((await store.claim(asked)).outcome, 'indeterminate');
  },

  'between processes: a commit point is known to all': async ({ store, peer, passTime }) => {
    const asked = request({ leaseMs: LEASE_MS });
    assert.equal(await store.mark(await claimed(store, asked), 'committed', DAY), true);
    await passTime(LEASE_MS);
    assert.equal((await peer.claim(byAnother(asked))).outcome, 'indeterminate');
  },

  'a commit point outlasts renewals and repeated claims': async ({ store, passTime }) => {
    const asked = request({ leaseMs: LEASE_MS });
    const claim = await claimed(store, asked);
    assert.equal(await store.mark(claim, 'committed', DAY), true);
    assert.equal(await store.renew(claim, LEASE_MS), true);
    await claimed(store, asked);
    await passTime(LEASE_MS);
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
    const asked = request({ leaseMs: LEASE_MS });
    const first = await claimed(store, asked);
    assert.equal(first.progress, undefined);
    assert.equal(await store.save(first, Buffer.from([0, 1, 255])), true);
    assert.equal(await store.release(first, DAY), true);
    const second = await claimed(store, byAnother(asked));
    assert.deepEqual(bytes(second.progress), [0, 1, 255]);
    assert.equal(await store.save(second, Buffer.from([2])), true);
    await passTime(LEASE_MS);
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

  'the progress that was saved last counts, byte for byte': async ({ store }) => {
    const asked = request();
    const first = await claimed(store, asked);
    const last = Uint8Array.from({ length: 256 * 1024 }, (_, i) => (i * 31) % 256);
    for (const progress of [Buffer.from([1]), Buffer.alloc(300 * 1024, 7), last]) {
      assert.equal(await store.save(first, progress), true);
    }
    assert.equal(await store.release(first, DAY), true);
    const { progress = new Uint8Array() } = await claimed(store, byAnother(asked));
    assert.ok(Buffer.from(progress).equals(last), 'the progress is another');
  },

  'a stale owner saves nothing over the progress of the current one': async ({ store, passTime }) => {
    const asked = request({ leaseMs: LEASE_MS });
    const stale = await claimed(store, asked);
    assert.equal(await store.save(stale, Buffer.from([1])), true);
    await passTime(LEASE_MS);
    const current = await claimed(store, { ...byAnother(asked), leaseMs: MINUTE_MS });
    assert.equal(await store.save(stale, Buffer.from([2])), false);
    assert.equal(await store.save(current, Buffer.from([3])), true);
    assert.equal(await store.save(stale, Buffer.from([4])), false);
    assert.equal(await store.release(current, DAY), true);
    assert.deepEqual(bytes((await claimed(store, byAnother(asked))).progress), [3]);
  },

  'progress outlasts renewals and the commit point': async ({ store }) => {
    const asked = request();
    const claim = await claimed(store, asked);
    assert.equal(await store.save(claim, Buffer.from([1])), true);
    assert.equal(await store.renew(claim, MINUTE_MS), true);
    assert.equal(await store.mark(claim, 'committed', DAY), true);
    assert.deepEqual(bytes((await claimed(store, asked)).progress), [1]);
  },

  'progress goes to the claim over an indeterminate record': async ({ store }) => {
    const asked = request();
    const claim = await claimed(store, asked);
    assert.equal(await store.save(claim, Buffer.from([1])), true);
    assert.equal(await store.mark(claim, 'indeterminate', DAY), true);
    const over = await claimed(store, { ...byAnother(asked), overIndeterminate: true });
    assert.deepEqual(bytes(over.progress), [1]);
  },

  'progress expires with its key': async ({ store, passTime }) => {
    const asked = request();
    const claim = await claimed(store, asked);
    assert.equal(await store.save(claim, Buffer.from([1])), true);
    assert.equal(await store.release(claim, 1), true);
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

  'a full store refuses new claims, and forgets none that it has': async ({ small }) => {
    assert.ok(small !== undefined);
    const held: ClaimRequest[] = [];
    for (let outcome = 'claimed'; outcome !== 'full';) {
      assert.ok(held.length < MOST_CLAIMS_OF_SMALL, `the small store took ${held.length} claims`);
      const asked = request();
      ({ outcome } = await small.claim(asked));
      if (outcome !== 'full') {
        assert.equal(outcome, 'claimed');
        held.push(asked);
      }
    }
    assert.ok(held.length > 0, 'the small store took no claim at all');
    for (const asked of held) assert.equal((await small.claim(byAnother(asked))).outcome, 'in-progress');
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
    // Timers may run early by as much as the process was busy when they were set: who waits looks, and waits again.
    let found: ClaimOutcome;
    let waits = 0;
    do {
      await soon(store.waitFor(asked.key));
      found = await store.claim(byAnother(asked));
    } while (found.outcome === 'in-progress' && ++waits < MOST_EARLY_WAKEUPS);
    assert.equal(found.outcome, 'claimed');
  },
} satisfies Record<string, StoreContractCase['run']>;

/** The name of one case of {@link storeContract}. */
export type StoreContractCaseName = keyof typeof CASES;

/** Every rule, under its name. */
export const cases: readonly StoreContractCase[] = Object.entries(CASES).map(([name, run]) => ({
  name: name as StoreContractCaseName,
  isOfFullStore: name.startsWith('a full store'),
  run,
}));

/** More than that, and a store does not wait but is asked over and over. */
const MOST_EARLY_WAKEUPS = 5;

/** How many claims a store may take before it is not a small one. */
const MOST_CLAIMS_OF_SMALL = 20_000;

/** A store that cannot tell says nothing; one that can must not be wrong. */
function isAboutSixtyDays(left = 60 * DAY * 1000): void {
  assert.ok(left > 60 * DAY * 1000 - MINUTE_MS && left <= 60 * DAY * 1000, `${left} ms are left`);
}

/** The fences of those that were granted. */
async function onlyOneIsGranted(stores: readonly AtomicStore[], asked = request()): Promise<number[]> {
  const outcomes = await Promise.all(
    stores.flatMap((store) => Array.from({ length: 40 }, async () => store.claim(byAnother(asked)))),
  );
  const count = (outcome: string) => outcomes.filter((found) => found.outcome === outcome).length;
  assert.deepEqual(
    { claimed: count('claimed'), inProgress: count('in-progress') },
    { claimed: 1, inProgress: 40 * stores.length - 1 },
  );
  return outcomes.flatMap((found) => (found.outcome === 'claimed' ? [found.fence] : []));
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
