import type { Answer } from './answer.js';
import type { Capture } from './capture.js';
import type { Settlement, Written } from './desk.js';
import type { RenewalSettings } from './renewals.js';
import type { Tally } from '../tally.js';
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
  readonly #settings: RenewalSettings;
  readonly #tally: Tally;
  /** What waits for its next try. */
  readonly #waiting = new Map<NodeJS.Timeout, () => void>();
  #longestDelay = LONGEST_DELAY;
  #isClosed = false;

  /** @param tally counts them, for whoever waits for the end of all */
  constructor(settings: RenewalSettings, tally: Tally) {
    this.#settings = settings;
    this.#tally = tally;
  }

  add(capture: Capture, how: Answer | Settlement): void {
    // The handler has run. A store that cannot hear this now may hear it by the next try, which comes in any case.
    if (how !== 'release') attempt(() => capture.claim.commitPoint()).catch(() => undefined);
    this.#tally.enter();
    this.#tryIn(FIRST_DELAY, capture, how);
  }

  /** There is little time: tries all at once, and from now on without long pauses. */
  hurry(): void {
    this.#longestDelay = FIRST_DELAY;
    for (const [timer, tryNow] of this.#waiting) {
      clearTimeout(timer);
      tryNow();
    }
  }

  /** Gives up: what is not written by now is left to its lease. */
  close(): void {
    this.#isClosed = true;
    for (const timer of this.#waiting.keys()) {
      clearTimeout(timer);
      this.#tally.leave();
    }
    this.#waiting.clear();
  }

  #tryIn(delay: number, capture: Capture, how: Answer | Settlement): void {
    if (this.#isClosed) {
      this.#tally.leave();
      return;
    }
    const tryNow = (): void => {
      this.#waiting.delete(timer);
      void this.#try(capture, how, delay);
    };
    const timer = setTimeout(tryNow, Math.min(delay, this.#longestDelay, this.#settings.leaseMs / 3)).unref();
    this.#waiting.set(timer, tryNow);
  }

  async #try(capture: Capture, how: Answer | Settlement, delay: number): Promise<void> {
    const { claim } = capture;
    const isLast = performance.now() - capture.since >= this.#settings.maxHoldMs;
    const step = (write: () => Written) => within(attempt(write), this.#settings.storeTimeoutMs);
    try {
      if (await step(() => claim.renew())) {
        await step(() => (typeof how === 'string' ? claim.settle(how) : claim.complete(how)));
      }
    } catch {
      if (!isLast) {
        this.#tryIn(delay * 2, capture, how);
        return;
      }
      // An answer that the store refuses for what it is may leave it time for a word.
      if (how !== 'release') await step(() => claim.settle('indeterminate')).catch(() => undefined);
    }
    this.#tally.leave();
  }
}

async function attempt(write: () => Written): Promise<boolean> {
  return write();
}
