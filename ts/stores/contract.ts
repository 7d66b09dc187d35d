import { hasMethods } from '../options.js';

/**
 * The full store contract: what a store does that several processes may share. `docs/stores.md` says it in words, and
 * `storeContract` in `reprise/testing` checks a store against it.
 *
 * A record is free, claimed, completed, not replayable or indeterminate. Every step is atomic, and every write after
 * the claim names the claim: one that was lost writes nothing and resolves to false. The store's own clock decides
 * what has expired. Names (`key`, `fingerprint`, `identity`) are digests; a store need not look into them, nor into
 * an answer's head and body, nor into progress.
 */
export interface AtomicStore {
  /**
   * Makes the claimant the owner of the key, or says why not.
   *
   * - No record, or one that has expired: claimed. The fence is one more than that of the key's last claim.
   * - In progress by the same owner: claimed again, with the same fence and a new lease. A driver may repeat a claim
   *   whose answer it lost.
   * - In progress with a lease that ran out: claimed, unless it had passed its commit point; then the record is
   *   indeterminate from now on.
   * - Otherwise a record with another identity or fingerprint is a mismatch, checked before all else; `identity` where
   *   both differ, so that nobody can find out by trying what somebody else asked for.
   */
  claim(request: ClaimRequest): Promise<ClaimOutcome>;
  /** Ends a claim with an answer, kept for `ttl` seconds. */
  complete(claim: ClaimRef, answer: KeptAnswer, ttl: number): Promise<boolean>;
  /** Prolongs the lease, from now. */
  renew(claim: ClaimRef, leaseMs: number): Promise<boolean>;
  /** Ends a claim without an answer: the key is free, or indeterminate behind the commit point. Progress is kept. */
  release(claim: ClaimRef, ttl: number): Promise<boolean>;
  /**
   * `committed`: the claim has passed its commit point. `not-replayable` and `indeterminate` end it so, for `ttl`
   * seconds.
   */
  mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean>;
  /** Saves how far the owner has come, for the next claim of the key; gone once the claim is completed. */
  save(claim: ClaimRef, progress: Uint8Array): Promise<boolean>;
  /** What is kept for a key. */
  inspect(key: string): Promise<KeptRecord | undefined>;
  /** Frees a key, whatever its state; its owner has lost the claim. Whether there was anything to forget. */
  forget(key: string): Promise<boolean>;
  /**
   * Resolves when the claim of a key may have been settled, at the latest when its lease, as it is now, has run out.
   * Without it, requests that would wait are refused at once.
   */
  readonly waitFor?: ((key: string) => Promise<void>) | undefined;
  /**
   * Runs a function inside a transaction of the store's database; `tx` is that database's own handle. What it resolves
   * to ends the claim in the same transaction: both commit, or neither does. Undefined rolls back, and so does an
   * error, which it then rejects with; so does a claim that was lost. Whether it was committed.
   */
  readonly transaction?:
    | ((claim: ClaimRef, ttl: number, run: (tx: unknown) => Promise<ClaimEnd | undefined>) => Promise<boolean>)
    | undefined;
  /**
   * Whether the store by itself prolongs the leases of claims with `holdMs`, while their owner lives and also while its
   * event loop is blocked. Absent: claims then come without `holdMs`, and count as lost once a lease has passed
   * without a renewal.
   */
  readonly keepsClaims?: true;
  /** Lets go of what the store opened itself; never of a client that it was given. */
  close?(): Promise<void> | void;
}

/** A request to become the owner of a key. */
export interface ClaimRequest {
  readonly key: string;
  readonly fingerprint: string;
  readonly identity: string;
  /** Unlike that of any other claimant. */
  readonly owner: string;
  /** Milliseconds that the claim holds without renewal. */
  readonly leaseMs: number;
  /** Seconds that what becomes of it is kept, if its owner is never heard of again. */
  readonly ttl: number;
  /**
   * Milliseconds, from the claim on, for which the store may prolong the lease by itself while the owner's process
   * lives and runs: until the owner tries to end the claim. Only for a store that {@link AtomicStore.keepsClaims}.
   */
  readonly holdMs?: number;
  /** Whether an indeterminate record counts as free. Default false. */
  readonly overIndeterminate?: boolean;
}

/** Names a claim in later writes. */
export interface ClaimRef {
  readonly key: string;
  readonly owner: string;
  readonly fence: number;
}

/** An answer as a store keeps it. */
export interface KeptAnswer {
  /** One character a byte (Latin-1). */
  readonly head: string;
  readonly body: Uint8Array;
  /**
   * Whether a full store drops this answer before those that do not say so. Default false. The middleware says it of
   * what anyone can fill a store with: answers under derived keys, and 404s.
   */
  readonly dropFirst?: boolean;
}

/** How a claim ends in a transaction. */
export type ClaimEnd = KeptAnswer | 'release' | 'not-replayable' | 'indeterminate';

/** The answer to a claim. */
export type ClaimOutcome =
  | { readonly outcome: 'claimed'; readonly fence: number; readonly progress?: Uint8Array }
  | { readonly outcome: 'completed'; readonly answer: KeptAnswer }
  | { readonly outcome: 'in-progress'; readonly leaseLeftMs: number }
  | { readonly outcome: 'mismatch'; readonly differs: 'fingerprint' | 'identity' }
  | { readonly outcome: 'not-replayable' | 'indeterminate' | 'full' };

/** A record, as an operator sees it. What a store does not keep is absent. */
export type KeptRecord =
  | { readonly state: 'in-progress'; readonly fence?: number; readonly leaseLeftMs?: number }
  | { readonly state: 'completed'; readonly fence?: number; readonly expiresInMs?: number; readonly answer: KeptAnswer }
  | { readonly state: 'not-replayable' | 'indeterminate'; readonly fence?: number; readonly expiresInMs?: number };

/** Whether a store holds the full contract, by its methods. */
export function isAtomicStore(value: unknown): value is AtomicStore {
  return hasMethods(value, 'claim', 'complete', 'renew', 'release', 'mark', 'save', 'inspect', 'forget');
}

/** Whether a store keeps claims by itself. By presence alone: a wrapper of a store may take every property for a method. */
export function keepsClaims(store: AtomicStore): boolean {
  return 'keepsClaims' in store;
}
