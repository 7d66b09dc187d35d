import type { IdempotencyStore, StoredResponse } from '../../ts/index.js';

/** A step of a store. */
export type Step = 'get' | 'set' | 'delete';

/** A store of get, set and delete over a Map, slow and broken as a test wants it. */
export class MapStore implements IdempotencyStore {
  readonly records = new Map<string, StoredResponse>();
  /** Seconds that each record was to be kept. */
  readonly ttls = new Map<string, number>();
  readonly calls: Step[] = [];
  /** Called before each step, `nth` from 1 for its kind: may throw, or return a promise that it waits for. */
  before: (step: Step, nth: number) => unknown = () => undefined;

  async get(key: string): Promise<StoredResponse | null> {
    await this.#step('get');
    return this.records.get(key) ?? null;
  }

  async set(key: string, value: StoredResponse, ttl: number): Promise<void> {
    await this.#step('set');
    // As a store elsewhere would have it: a copy, by JSON.
    this.records.set(key, JSON.parse(JSON.stringify(value)) as StoredResponse);
    this.ttls.set(key, ttl);
  }

  async delete(key: string): Promise<void> {
    await this.#step('delete');
    this.records.delete(key);
  }

  count(step: Step): number {
    return this.calls.filter((call) => call === step).length;
  }

  #step(step: Step): unknown {
    this.calls.push(step);
    return this.before(step, this.count(step));
  }
}
