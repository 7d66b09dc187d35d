import type { RequestFacts } from '../../native/binding.js';
import { native } from '../native.js';
import { simpleRegistrar, type Registrar } from './inspection.js';
import type { IdempotencyStore, StoredResponse } from '../stores/types.js';
import { fromStoredAnswer, toStoredAnswer, type Answer } from './answer.js';
import {
  createIdentifier,
  createNamer,
  MemoryDesk,
  type Begun,
  type Desk,
  type DeskSettings,
  type HeldClaim,
  type MemoryClaim,
  type Identified,
  type Settlement,
} from './desk.js';

/** Bounds the claims of one process; no completed record is kept beside the user's store. */
const CLAIMS = { maxBytes: 64 * 1024 * 1024, maxEntries: 100_000 };

/**
 * The desk at a store that knows `get`, `set` and `delete`. Such a store cannot make one request the owner of a key,
 * so the claims are kept in the memory of this process: inside of it one request runs, between processes two may.
 */
export class SimpleDesk implements Desk {
  readonly registrar: Registrar;
  readonly #store: IdempotencyStore;
  readonly #claims;
  readonly #desk;
  readonly #identify;
  readonly #settings;

  constructor(store: IdempotencyStore, settings: DeskSettings) {
    this.#store = store;
    this.#settings = settings;
    this.#claims = new native.NativeMemoryStore('private', '', CLAIMS.maxBytes, CLAIMS.maxEntries);
    this.#desk = new MemoryDesk(this.#claims, settings);
    this.#identify = createIdentifier(settings.maxKeyLength);
    this.registrar = simpleRegistrar(store, this.#claims, createNamer(settings.maxKeyLength));
  }

  async begin(facts: RequestFacts, overIndeterminate: boolean): Promise<Begun> {
    const begun = this.#desk.begin(facts, overIndeterminate);
    if (begun.outcome !== 'claimed') return begun;
    const identified = this.#identify(facts) as Identified;
    let kept;
    try {
      kept = await this.#store.get(identified.key);
    } catch (error) {
      begun.claim.settle('release');
      throw error;
    }
    if (kept && !(kept.state === 'indeterminate' && overIndeterminate)) {
      begun.claim.settle('release');
      return answerFrom(kept, identified);
    }
    const ttl = facts[2] === undefined ? this.#settings.derivedTtl : this.#settings.ttl;
    return { outcome: 'claimed', claim: new SimpleClaim(begun.claim, this.#store, identified, Math.ceil(ttl)) };
  }

  waitFor(recordKey: string): Promise<void> {
    return this.#claims.waitFor(recordKey);
  }
}

function answerFrom(kept: StoredResponse, { fingerprint, identity }: Identified): Begun {
  if (kept.fingerprint !== fingerprint) return { outcome: 'mismatch', differs: 'fingerprint' };
  if (kept.identity !== identity) return { outcome: 'mismatch', differs: 'identity' };
  if (kept.state === 'completed') return { outcome: 'completed', answer: fromStoredAnswer(kept) };
  return { outcome: kept.state };
}

class SimpleClaim implements HeldClaim {
  readonly #local: MemoryClaim;
  readonly #store: IdempotencyStore;
  readonly #identified: Identified;
  readonly #ttl: number;
  #committed = false;

  constructor(local: MemoryClaim, store: IdempotencyStore, identified: Identified, ttl: number) {
    this.#local = local;
    this.#store = store;
    this.#identified = identified;
    this.#ttl = ttl;
  }

  get fence(): number {
    return this.#local.fence;
  }

  async complete(answer: Answer): Promise<boolean> {
    const { fingerprint, identity } = this.#identified;
    return this.#end(toStoredAnswer(answer, fingerprint, identity));
  }

  async settle(how: Settlement): Promise<boolean> {
    const verdict = how === 'release' && this.#committed ? 'indeterminate' : how;
    // Nothing was stored for the key yet: releasing it is a matter of this process alone.
    if (verdict === 'release') return this.#local.settle('release');
    const { fingerprint, identity } = this.#identified;
    return this.#end({ state: verdict, fingerprint, identity, timestamp: new Date().toISOString() });
  }

  renew(): boolean {
    return this.#local.renew();
  }

  commitPoint(): boolean {
    this.#committed = true;
    return this.#local.commitPoint();
  }

  async #end(value: StoredResponse): Promise<boolean> {
    // A claim that was lost must not write over its successor's record.
    if (!this.#local.renew()) return false;
    await this.#store.set(this.#identified.key, value, this.#ttl);
    return this.#local.forget();
  }
}
