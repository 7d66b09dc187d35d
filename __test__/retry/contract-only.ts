import type { AtomicStore, ClaimRef, ClaimRequest, KeptAnswer } from '../../ts/index.js';

/** A store of which nothing is known but that it holds the contract. */
export class ContractOnly implements AtomicStore {
  readonly #store: AtomicStore;

  constructor(store: AtomicStore) {
    this.#store = store;
  }

  claim(request: ClaimRequest) {
    return this.#store.claim(request);
  }
  complete(claim: ClaimRef, answer: KeptAnswer, ttl: number) {
    return this.#store.complete(claim, answer, ttl);
  }
  renew(claim: ClaimRef, leaseMs: number) {
    return this.#store.renew(claim, leaseMs);
  }
  release(claim: ClaimRef, ttl: number) {
    return this.#store.release(claim, ttl);
  }
  mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number) {
    return this.#store.mark(claim, mark, ttl);
  }
  save(claim: ClaimRef, progress: Uint8Array) {
    return this.#store.save(claim, progress);
  }
  inspect(key: string) {
    return this.#store.inspect(key);
  }
  forget(key: string) {
    return this.#store.forget(key);
  }
}
