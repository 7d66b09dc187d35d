import type { IdempotencyStore, StoredResponse } from '../../ts/index.js';
import { SIMPLE_STORE_LIMITS, storeContract } from '../../ts/testing/index.js';
import { waitingTogether as framework } from './waiting-together.js';

/**
 * What one set of records is between the processes that share it: JSON, and a time to live in seconds, by a clock that
 * is not the process's own.
 */
class Shelf implements IdempotencyStore {
  readonly #kept = new Map<string, { readonly json: string; readonly until: number }>();

  get(key: string): StoredResponse | undefined {
    const found = this.#kept.get(key);
    return found && found.until > performance.now() ? (JSON.parse(found.json) as StoredResponse) : undefined;
  }

  set(key: string, value: StoredResponse, ttl: number): void {
    this.#kept.set(key, { json: JSON.stringify(value), until: performance.now() + ttl * 1000 });
  }

  delete(key: string): void {
    this.#kept.delete(key);
  }
}

const shelves = new Map<string, Shelf>();

storeContract(
  (namespace) => {
    const shelf = shelves.get(namespace) ?? new Shelf();
    shelves.set(namespace, shelf);
    return shelf;
  },
  { title: 'a store with get, set and delete', framework, cannotHold: SIMPLE_STORE_LIMITS },
);
