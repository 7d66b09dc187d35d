import type { Answer } from './answer.js';
import type { Capture } from './capture.js';
import type { Settlement, Written } from './desk.js';
import { within } from '../timeout.js';

/** Milliseconds between two tries: doubled from the first to the last of these, but never near the lease. */
const FIRST_DELAY = 100;
const LONGEST_DELAY = 5_000;

/**
 * Ends of claims that could not be written when their answers went out. They are tried again, the lease kept
 * meanwhile, until they are written or the claim is lost. After `maxHoldMs` the lease is let run out, and as the claim
 * was marked when the first try failed, the record is then indeterminate, never free.
 */
export class Completions {
  readonly #settings: Readonly<Record<'leaseMs' | 'maxHoldMs' | 'storeTimeoutMs', number>>;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(settings: Readonly<Record<'leaseMs' | 'maxHoldMs' | 'storeTimeoutMs', number>>) {
    this.#settings = settings;
  }

  add(capture: Capture, how: Answer | Settlement): void {
    // The handler has run. A store that cannot hear this now may hear it by the next try, which comes in any case.
    if (how !== 'release') attempt(() => capture.claim.commitPoint()).catch(() => undefined);
    this.#tryIn(FIRST_DELAY, capture, how);
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #tryIn(delay: number, capture: Capture, how: Answer | Settlement): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        void this.#try(capture, how, delay);
      },
      Math.min(delay, LONGEST_DELAY, this.#settings.leaseMs / 3),
    ).unref();
    this.#timers.add(timer);
  }

  async #try(capture: Capture, how: Answer | Settlement, delay: number): Promise<void> {
    const { claim } = capture;
    const isLast = performance.now() - capture.since >= this.#settings.maxHoldMs;
    const step = (write: () => Written) => within(attempt(write), this.#settings.storeTimeoutMs);
    try {
      if (!(await step(() => claim.renew()))) return;
      await step(() => (typeof how === 'string' ? claim.settle(how) : claim.complete(how)));
    } catch {
      if (!isLast) this.#tryIn(delay * 2, capture, how);
      // An answer that the store refuses for what it is may leave it time for a word.
      else if (how !== 'release') step(() => claim.settle('indeterminate')).catch(() => undefined);
    }
  }
}

async function attempt(write: () => Written): Promise<boolean> {
  return write();
}
