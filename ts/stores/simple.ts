import { withCode } from '../errors.js';
import { native } from '../native.js';
import { within } from '../timeout.js';
import type { NativeMemoryStore } from '../../native/binding.js';
import type { AtomicStore, ClaimOutcome, ClaimRef, ClaimRequest, KeptAnswer, KeptRecord } from './contract.js';
import { decodeHead, encodeHead } from './head.js';
import { MemoryClaims } from './memory-claims.js';
import type { IdempotencyStore, StoredResponse } from './types.js';

/** Bounds the claims of one process; no completed record is kept beside the user's store. */
const CLAIMS = { maxBytes: 64 * 1024 * 1024, maxEntries: 100_000 };

/**
 * A store that knows `get`, `set` and `delete`, as far as it can hold the full contract. Such a store cannot make one
 * request the owner of a key, so the claims are kept in the memory of this process: inside of it one request runs,
 * between processes two may. Fences, commit points and progress live in this process too.
 */
export class SimpleStoreAdapter implements AtomicStore {
  /** They are in the memory of this process, whatever becomes of the user's store. */
  readonly keepsClaims = true;
  readonly #store: IdempotencyStore;
  readonly #native: NativeMemoryStore;
  readonly #claims: MemoryClaims;
  /** What the claims of this process were made for: it goes into the record with the answer. */
  readonly #requests = new Map<string, Held>();
  /** The records that are being looked up, each by a claim that is held meanwhile. */
  readonly #lookups = new Map<string, Promise<StoredResponse | null | undefined>>();
  readonly #timeoutMs: number;

  /** A lookup that takes longer than `timeoutMs` milliseconds has failed: its claim must not stay held. */
  constructor(store: IdempotencyStore, timeoutMs = 1_000) {
    this.#store = store;
    this.#timeoutMs = timeoutMs;
    this.#native = new native.NativeMemoryStore(undefined, CLAIMS.maxBytes, CLAIMS.maxEntries);
    this.#claims = new MemoryClaims(this.#native);
  }

  async claim(request: ClaimRequest): Promise<ClaimOutcome> {
    const { key, fingerprint, identity, owner, leaseMs, ttl } = request;
    // Who asks while a record is being looked up is told what is found: the claim that is held for it says nothing yet.
    for (let lookup = this.#lookups.get(key); lookup !== undefined; lookup = this.#lookups.get(key)) {
      const found = answerFrom(await lookup, request);
      if (found) return found;
    }
    const claimed = this.#claims.claim(request);
    if (claimed.outcome !== 'claimed') return claimed;
    const { fence } = claimed;
    const claim = { key, owner, fence };
    let found;
    try {
      const lookup = within(this.#lookUp(key), this.#timeoutMs);
      this.#lookups.set(key, lookup);
      found = answerFrom(await lookup, request);
    } catch (error) {
      this.#claims.end(claim, 'release', ttl);
      throw error;
    } finally {
      this.#lookups.delete(key);
    }
    if (found) {
      this.#claims.end(claim, 'release', ttl);
      return found;
    }
    this.#forgetTheOldest();
    this.#requests.set(key, { fence, fingerprint, identity, leaseMs, committed: false });
    return claimed;
  }

  async complete(claim: ClaimRef, { head, body }: KeptAnswer, ttl: number): Promise<boolean> {
    const { headers, ...rest } = decodeHead(head);
    const pairs = Array.from(
      { length: headers.length / 2 },
      (_, i) => [headers[i * 2] ?? '', headers[i * 2 + 1] ?? ''] as const,
    );
    const base64 = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('base64');
    return this.#write(claim, ttl, (names) => ({
      state: 'completed',
      ...names,
      ...rest,
      headers: pairs,
      body: base64,
    }));
  }

  async release(claim: ClaimRef, ttl: number): Promise<boolean> {
    // Nothing was stored for the key yet: releasing it is a matter of this process alone.
    const held = this.#held(claim);
    if (held?.committed) return this.mark(claim, 'indeterminate', ttl);
    if (held) this.#requests.delete(claim.key);
    return this.#claims.end(claim, 'release', ttl);
  }

  async mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean> {
    if (mark === 'committed') {
      const held = this.#held(claim);
      if (held) held.committed = true;
      return this.#claims.commitPoint(claim);
    }
    return this.#write(claim, ttl, (names) => ({ state: mark, ...names, timestamp: new Date().toISOString() }));
  }

  // Not async for its own sake: the contract answers with promises.
  renew(claim: ClaimRef, leaseMs: number): Promise<boolean> {
    return Promise.resolve(this.#claims.renew(claim, leaseMs));
  }

  save(claim: ClaimRef, progress: Uint8Array): Promise<boolean> {
    return Promise.resolve(this.#claims.save(claim, progress));
  }

  waitFor(key: string): Promise<void> {
    return this.#native.waitFor(key);
  }

  async inspect(key: string): Promise<KeptRecord | undefined> {
    const claimed = this.#native.inspect(key);
    if (claimed?.state === 'in-progress') {
      return { state: 'in-progress', fence: claimed.fence, leaseLeftMs: claimed.leftMs };
    }
    if (claimed) return { state: 'indeterminate', fence: claimed.fence, expiresInMs: claimed.leftMs };
    const kept = await this.#store.get(key);
    if (!kept) return undefined;
    checkRecord(kept);
    // The user's store knows how long it keeps it, and has no way to tell.
    return kept.state === 'completed' ? { state: 'completed', answer: answerOf(kept) } : { state: kept.state };
  }

  async forget(key: string): Promise<boolean> {
    this.#requests.delete(key);
    const claimed = this.#native.forget(key);
    const kept = await this.#store.get(key);
    if (kept) await this.#store.delete(key);
    return claimed || Boolean(kept);
  }

  async #lookUp(key: string): Promise<StoredResponse | null | undefined> {
    return this.#store.get(key);
  }

  /** A claim that nobody ended is of no use once its lease is over; so many are never held at once. */
  #forgetTheOldest(): void {
    const [oldest] = this.#requests.keys();
    if (oldest !== undefined && this.#requests.size >= CLAIMS.maxEntries) this.#requests.delete(oldest);
  }

  #held({ key, fence }: ClaimRef): Held | undefined {
    const held = this.#requests.get(key);
    return held?.fence === fence ? held : undefined;
  }

  async #write(
    claim: ClaimRef,
    ttl: number,
    record: (names: { fingerprint: string; identity: string }) => StoredResponse,
  ): Promise<boolean> {
    const held = this.#held(claim);
    // A claim that was lost must not write over its successor's record.
    if (held === undefined || !this.#claims.renew(claim, Math.max(held.leaseMs, this.#timeoutMs))) return false;
    await this.#store.set(
      claim.key,
      record({ fingerprint: held.fingerprint, identity: held.identity }),
      // Redis and its like take whole seconds, and at least one.
      Math.max(1, Math.ceil(ttl)),
    );
    this.#requests.delete(claim.key);
    // From here on the record in the user's store is what counts.
    return this.#native.forget(claim.key);
  }
}

interface Held {
  readonly fence: number;
  readonly fingerprint: string;
  readonly identity: string;
  readonly leaseMs: number;
  committed: boolean;
}

/** What a record says to a request; nothing where there is none, or the request may run over it. */
function answerFrom(kept: StoredResponse | null | undefined, asked: ClaimRequest): ClaimOutcome | undefined {
  if (kept === null || kept === undefined) return undefined;
  checkRecord(kept);
  if (kept.identity !== asked.identity) return { outcome: 'mismatch', differs: 'identity' };
  if (kept.fingerprint !== asked.fingerprint) return { outcome: 'mismatch', differs: 'fingerprint' };
  if (kept.state === 'completed') return { outcome: 'completed', answer: answerOf(kept) };
  return kept.state === 'indeterminate' && asked.overIndeterminate ? undefined : { outcome: kept.state };
}

/** Refuses what reprise has not written: replayed, it would be nobody's answer. */
function checkRecord(kept: StoredResponse): void {
  const { state, fingerprint, identity } = kept as Partial<StoredResponse>;
  const isVerdict = state === 'not-replayable' || state === 'indeterminate';
  if (typeof fingerprint === 'string' && typeof identity === 'string' && (isVerdict || isAnswer(kept))) return;
  throw withCode(new TypeError('The store returned what is no record of reprise'), 'ERR_REPRISE_STORE_RECORD');
}

function isAnswer(kept: Partial<StoredResponse>): boolean {
  if (kept.state !== 'completed') return false;
  const { statusCode, headers, body, timestamp } = kept as Record<string, unknown>;
  const isPair = (pair: unknown) => Array.isArray(pair) && pair.every((text) => typeof text === 'string');
  return (
    typeof statusCode === 'number' &&
    typeof body === 'string' &&
    typeof timestamp === 'string' &&
    Array.isArray(headers) &&
    headers.every(isPair)
  );
}

function answerOf(kept: StoredResponse & { state: 'completed' }): KeptAnswer {
  return { head: encodeHead({ ...kept, headers: kept.headers.flat() }), body: Buffer.from(kept.body, 'base64') };
}
