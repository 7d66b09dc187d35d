import * as framework from 'node:test';
import { SIMPLE_STORE_LIMITS, storeContract } from 'reprise/testing';

// The least that a store of a user's own has to do, as the package describes it, by a clock that nobody sets.
class MapStore {
  #kept = new Map();

  get(key) {
    const found = this.#kept.get(key);
    return found && found.until > performance.now() ? JSON.parse(found.json) : null;
  }

  set(key, value, ttl) {
    this.#kept.set(key, { json: JSON.stringify(value), until: performance.now() + ttl * 1000 });
  }

  delete(key) {
    this.#kept.delete(key);
  }
}

const stores = new Map();

storeContract(
  (namespace) => {
    if (!stores.has(namespace)) stores.set(namespace, new MapStore());
    return stores.get(namespace);
  },
  { framework, cannotHold: SIMPLE_STORE_LIMITS },
);
