import type { IdempotencyStore, StoredResponse } from '../../ts/index.js';
import { gate } from '../helpers/server.js';

/** A store of `get`, `set` and `delete` that takes its time to store: until the test lets it. */
export class HeldStore implements IdempotencyStore {
  readonly kept = new Map<string, StoredResponse>();
  /** Opens when the store is asked to keep something. */
  readonly asked = gate();
  /** Lets what the store is asked to keep be kept. */
  readonly may = gate();

  get(key: string): StoredResponse | undefined {
    return this.kept.get(key);
  }

  async set(key: string, value: StoredResponse): Promise<void> {
    this.asked.open();
    await this.may.opened;
    this.kept.set(key, value);
  }

  delete(key: string): void {
    this.kept.delete(key);
  }
}
