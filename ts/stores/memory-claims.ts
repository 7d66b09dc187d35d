import type { NativeMemoryStore } from '../../native/binding.js';
import type { ClaimOutcome, ClaimRef, ClaimRequest, KeptAnswer } from './contract.js';
import { ENDS, refusalOf, refusalParts } from './native-outcome.js';

/** The steps of the contract on a native memory store, each done when it returns. */
export class MemoryClaims {
  readonly #calls: ReturnType<NativeMemoryStore['contract']>;

  constructor(store: NativeMemoryStore) {
    this.#calls = store.contract();
  }

  claim(request: ClaimRequest): ClaimOutcome {
    const { key, fingerprint, identity, owner, leaseMs, ttl, overIndeterminate = false, holdMs } = request;
    const retentionMs = ttl * 1000;
    const calls = this.#calls;
    const found = calls.claim(key, fingerprint, identity, owner, leaseMs, retentionMs, overIndeterminate, holdMs);
    if (typeof found === 'number') {
      return found > 0 ? { outcome: 'claimed', fence: found } : refusalOf(...refusalParts(found));
    }
    if (typeof found[0] === 'number') return { outcome: 'claimed', fence: found[0], progress: found[1] as Buffer };
    const [head, body] = found;
    return {
      outcome: 'completed',
      answer: { head, body: typeof body === 'string' ? Buffer.from(body, 'latin1') : body },
    };
  }

  complete({ key, owner, fence }: ClaimRef, { head, body, dropFirst = false }: KeptAnswer, ttl: number): boolean {
    return this.#calls.complete(key, owner, fence, head, body, ttl * 1000, dropFirst);
  }

  end({ key, owner, fence }: ClaimRef, how: keyof typeof ENDS, ttl: number): boolean {
    return this.#calls.end(key, owner, fence, ENDS[how], ttl * 1000);
  }

  renew({ key, owner, fence }: ClaimRef, leaseMs: number): boolean {
    return this.#calls.renew(key, owner, fence, leaseMs);
  }

  commitPoint({ key, owner, fence }: ClaimRef): boolean {
    return this.#calls.commitPoint(key, owner, fence);
  }

  save({ key, owner, fence }: ClaimRef, progress: Uint8Array): boolean {
    return this.#calls.save(key, owner, fence, progress);
  }
}
