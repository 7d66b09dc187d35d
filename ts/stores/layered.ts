import { invalidArgument } from '../options.js';
import { isAtomicStore, keepsClaims } from './contract.js';
import type {
  AtomicStore,
  ClaimEnd,
  ClaimOutcome,
  ClaimRef,
  ClaimRequest,
  KeptAnswer,
  KeptRecord,
} from './contract.js';
import { storeOf, type KnownCache } from './known-clients.js';
import { SimpleStoreAdapter } from './simple.js';
import type { IdempotencyStore } from './types.js';

/**
 * Two stores as one, to move from the old one to the new one without losing a key.
 *
 * A key is claimed in both, in the old one first, and every write goes to both. So whatever the old store knows still
 * holds: answers are replayed, claims that are in flight there are waited for, and progress is taken over. A process
 * that still uses the old store alone sees the claims of this one, and so does one that already uses the new store
 * alone: servers may be replaced one by one, and you may turn back at any time. After one retention (the longest `ttl`)
 * all that is alive in the old store is in the new one too, and the old one can go.
 *
 * While both are in use, each request needs both, and costs both.
 *
 * @example
 * ```ts
 * const store = layered(new PostgresStore({ client: pool }), new RedisStore({ client: redis }));
 * app.use(idempotencyMiddleware({ store }));
 * ```
 *
 * @throws TypeError (`ERR_REPRISE_INVALID_ARGUMENT`) for what is no store, or a new one with only `get`, `set` and `delete`
 */
export function layered(newStore: AtomicStore, oldStore: AtomicStore | IdempotencyStore | KnownCache): AtomicStore {
  if (!isAtomicStore(newStore)) {
    throw invalidArgument(TypeError, 'layered', 'newStore', newStore, 'a store of the full contract (AtomicStore)');
  }
  const old = storeOf('layered', 'oldStore', oldStore, 'ERR_REPRISE_INVALID_ARGUMENT');
  return new LayeredStore(newStore, isAtomicStore(old) ? old : new SimpleStoreAdapter(old));
}

/**
 * A claim is that of both stores: same key, same owner, same fence. The fences are drawn level when it is made, the one
 * that lags claim by claim, so that one number names it in both, and a key's fence does not fall when the old store goes.
 */
class LayeredStore implements AtomicStore {
  /** Where both stores do. */
  declare readonly keepsClaims?: true;
  readonly #new: AtomicStore;
  readonly #old: AtomicStore;

  constructor(newStore: AtomicStore, oldStore: AtomicStore) {
    this.#new = newStore;
    this.#old = oldStore;
    if (keepsClaims(newStore) && keepsClaims(oldStore)) this.keepsClaims = true;
  }

  async claim(request: ClaimRequest): Promise<ClaimOutcome> {
    const old = await this.#old.claim(request);
    if (old.outcome !== 'claimed') return old;
    try {
      const found = await this.#new.claim(request);
      if (found.outcome === 'claimed') return await this.#drawLevel(request, old, found);
      await this.#old.release(refOf(request, old), request.ttl);
      return found;
    } catch (error) {
      // What cannot be released runs out with its lease.
      await this.#old.release(refOf(request, old), request.ttl).catch(() => undefined);
      throw error;
    }
  }

  async complete(claim: ClaimRef, answer: KeptAnswer, ttl: number): Promise<boolean> {
    return this.#both((store) => store.complete(claim, answer, ttl));
  }

  async renew(claim: ClaimRef, leaseMs: number): Promise<boolean> {
    return this.#both((store) => store.renew(claim, leaseMs));
  }

  async release(claim: ClaimRef, ttl: number): Promise<boolean> {
    return this.#both((store) => store.release(claim, ttl));
  }

  async mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean> {
    return this.#both((store) => store.mark(claim, mark, ttl));
  }

  async save(claim: ClaimRef, progress: Uint8Array): Promise<boolean> {
    return this.#both((store) => store.save(claim, progress));
  }

  async inspect(key: string): Promise<KeptRecord | undefined> {
    return (await this.#old.inspect(key)) ?? this.#new.inspect(key);
  }

  async forget(key: string): Promise<boolean> {
    const [fromOld, fromNew] = [await this.#old.forget(key), await this.#new.forget(key)];
    return fromOld || fromNew;
  }

  /** Present where both stores have it. */
  get waitFor(): AtomicStore['waitFor'] {
    if (!this.#old.waitFor || !this.#new.waitFor) return undefined;
    return async (key) => {
      // A claim may be that of a process which uses one of them alone.
      await this.#old.waitFor?.(key);
      await this.#new.waitFor?.(key);
    };
  }

  /** That of the new store, or else of the old one; the record of the other is written after the commit. */
  get transaction(): AtomicStore['transaction'] {
    const [first, second] = this.#new.transaction ? [this.#new, this.#old] : [this.#old, this.#new];
    const { transaction } = first;
    if (!transaction) return undefined;
    // A claim that the other store has given away must not commit. A store that has transactions too is asked before this
    // one begins: the other may live off the same pool, and who holds a connection must not wait for a second one.
    const isKept = async (claim: ClaimRef): Promise<boolean> => {
      const kept = await second.inspect(claim.key);
      return kept?.state === 'in-progress' && (kept.fence ?? claim.fence) === claim.fence;
    };
    const asksBefore = second.transaction !== undefined;
    return async (claim, ttl, run) => {
      let end: ClaimEnd | undefined;
      if (asksBefore && !(await isKept(claim))) return false;
      const committed = await transaction.call(first, claim, ttl, async (tx) => {
        end = await run(tx);
        return asksBefore || (await isKept(claim)) ? end : undefined;
      });
      // What is committed stays so: where this fails, the other store holds the key until its lease runs out.
      if (committed && end !== undefined) await settle(second, claim, end, ttl).catch(() => undefined);
      return committed;
    };
  }

  /** Closes both. */
  async close(): Promise<void> {
    await this.#old.close?.();
    await this.#new.close?.();
  }

  /** The old store decides whether the claim still holds: no other can be granted while it does. */
  async #both(write: (store: AtomicStore) => Promise<boolean>): Promise<boolean> {
    return (await write(this.#old)) && (await write(this.#new));
  }

  /** The claim of both. Where somebody else takes the one that lags while it is raised, theirs is what there is. */
  async #drawLevel(request: ClaimRequest, inOld: Granted, inNew: Granted): Promise<ClaimOutcome> {
    // The store that has seen more claims has the later progress.
    const [ahead, behind] = inNew.fence > inOld.fence ? [inNew, inOld] : [inOld, inNew];
    const progress = ahead.progress ?? behind.progress;
    let [old, found] = [inOld, inNew];
    while (old.fence !== found.fence) {
      const lags = old.fence < found.fence;
      const [store, claim] = lags ? [this.#old, old] : [this.#new, found];
      await store.release(refOf(request, claim), request.ttl);
      const raised = await store.claim(request);
      if (raised.outcome !== 'claimed') {
        const [other, held] = lags ? [this.#new, found] : [this.#old, old];
        await other.release(refOf(request, held), request.ttl);
        return raised;
      }
      if (lags) old = raised;
      else found = raised;
    }
    if (progress === undefined) return { outcome: 'claimed', fence: found.fence };
    // Whichever goes away, the other one has it.
    if (!(await this.save(refOf(request, found), progress))) return this.claim(request);
    return { outcome: 'claimed', fence: found.fence, progress };
  }
}

type Granted = ClaimOutcome & { readonly outcome: 'claimed' };

function refOf({ key, owner }: ClaimRequest, { fence }: Granted): ClaimRef {
  return { key, owner, fence };
}

/** Ends a claim as a transaction has ended it in the other store. */
async function settle(store: AtomicStore, claim: ClaimRef, end: ClaimEnd, ttl: number): Promise<void> {
  if (typeof end !== 'string') await store.complete(claim, end, ttl);
  else if (end === 'release') await store.release(claim, ttl);
  else await store.mark(claim, end, ttl);
}
