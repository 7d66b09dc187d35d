import type { Capture } from './capture.js';

/** Who is to hear that a claim was lost. */
export interface ClaimHolder {
  lose(reason: Error): void;
}

/**
 * Keeps the leases of claims alive while their handlers run: one timer for all of them, which never holds the
 * process. It is armed when it is first needed and lies down by itself, so that a request costs no timer.
 */
export class Renewals {
  readonly #claims = new Map<Capture, ClaimHolder>();
  readonly #leaseMs: number;
  readonly #maxHoldMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(leaseMs: number, maxHoldMs: number) {
    this.#leaseMs = leaseMs;
    this.#maxHoldMs = maxHoldMs;
  }

  get size(): number {
    return this.#claims.size;
  }

  add(capture: Capture, holder: ClaimHolder): void {
    this.#claims.set(capture, holder);
    this.#timer ??= setTimeout(this.#tick, this.#leaseMs / 3).unref();
  }

  delete(capture: Capture): void {
    this.#claims.delete(capture);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#claims.clear();
  }

  readonly #tick = (): void => {
    const now = performance.now();
    for (const [capture, holder] of this.#claims) {
      const lose = (why: string) => {
        if (this.#claims.delete(capture)) {
          holder.lose(new Error(`The claim of this idempotency key was lost: ${why}`));
        }
      };
      if (now - capture.since >= this.#maxHoldMs) {
        lose(`held for longer than ${this.#maxHoldMs} ms (maxHoldMs)`);
        continue;
      }
      const onRenewed = (held: boolean) => {
        if (!held) lose('its lease ran out');
      };
      const renewed = capture.claim.renew();
      // A store that fails to answer now is asked again in a third of the lease.
      if (typeof renewed === 'boolean') onRenewed(renewed);
      else renewed.then(onRenewed, () => undefined);
    }
    this.#timer = this.#claims.size > 0 ? setTimeout(this.#tick, this.#leaseMs / 3).unref() : undefined;
  };
}
