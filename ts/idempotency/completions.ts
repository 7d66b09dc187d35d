import type { Answer } from './answer.js';
import type { Capture } from './capture.js';
import type { Settlement } from './desk.js';
import { within } from '../timeout.js';

/** Milliseconds between two tries: doubled from the first to the last of these. */
const FIRST_DELAY = 100;
const LONGEST_DELAY = 5_000;

/**
 * Ends of claims that could not be written when their answers went out. They are tried again, the lease kept
 * meanwhile, until they are written or the claim is lost; after `maxHoldMs` the record becomes indeterminate.
 */
export class Completions {
  readonly #maxHoldMs: number;
  readonly #storeTimeoutMs: number;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(maxHoldMs: number, storeTimeoutMs: number) {
    this.#maxHoldMs = maxHoldMs;
    this.#storeTimeoutMs = storeTimeoutMs;
  }

  add(capture: Capture, how: Answer | Settlement, delay = FIRST_DELAY): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#try(capture, how, delay);
    }, delay).unref();
    this.#timers.add(timer);
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  async #try(capture: Capture, how: Answer | Settlement, delay: number): Promise<void> {
    const { claim } = capture;
    const tooLate = performance.now() - capture.since >= this.#maxHoldMs;
    const last = tooLate ? 'indeterminate' : how;
    try {
      const renewed = claim.renew();
      if (!(await within(Promise.resolve(renewed), this.#storeTimeoutMs))) return;
      const written = typeof last === 'string' ? claim.settle(last) : claim.complete(last);
      await within(Promise.resolve(written), this.#storeTimeoutMs);
    } catch {
      this.add(capture, how, Math.min(delay * 2, LONGEST_DELAY));
    }
  }
}
