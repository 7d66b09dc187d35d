import { createHash } from 'node:crypto';
import type { Capture } from './capture.js';

/** A handler's view of the key that it runs under: `req.idempotency`. */
export class IdempotencyContext {
  readonly #capture: Capture;
  readonly #recordKey: () => string;
  readonly #clientKey: string | undefined;
  #controller: AbortController | undefined;
  #lost: Error | undefined;

  /** @internal */
  constructor(capture: Capture, clientKey: string | undefined, recordKey: () => string) {
    this.#capture = capture;
    this.#clientKey = clientKey;
    this.#recordKey = recordKey;
  }

  /** What the client sent, or, where it sent none, the key that was derived from the request. */
  get key(): string {
    return this.#clientKey ?? this.#recordKey();
  }

  /**
   * Grows by one with every run of this key. Written next to your own rows (`WHERE fence <= ?`), it keeps out a run
   * that was taken for dead and comes back.
   */
  get fence(): number {
    return this.#capture.claim.fence;
  }

  /**
   * Aborts when the claim is lost, after a pause longer than the lease or at `maxHoldMs`: from then on another
   * request may run under this key. The answer still goes out, with `Idempotency-Stored: false`.
   */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      // Made on demand: it costs more than the rest of a request's idempotency.
      this.#controller = new AbortController();
      if (this.#lost) this.#controller.abort(this.#lost);
    }
    return this.#controller.signal;
  }

  /** This answer is not to be kept: the key is free again after it. */
  noStore(): void {
    this.#capture.noStore = true;
  }

  /**
   * From here on, the effect may have happened. An error, a crash or a lost lease makes the record indeterminate: it
   * never runs again by itself. Resolves once the store knows; false if the claim is lost, and then do not go on.
   */
  async commitPoint(): Promise<boolean> {
    return !this.#capture.isOver && (await this.#capture.claim.commitPoint());
  }

  /**
   * A key for a request of your own to another service, the same for every run of this key:
   * `stripe.charges.create(charge, { idempotencyKey: req.idempotency.derive('charge') })`. 64 hexadecimal digits.
   */
  derive(name: string): string {
    return createHash('sha256').update(`${this.#recordKey()}/${name}`).digest('hex');
  }

  /** @internal */
  lose(reason: Error): void {
    this.#lost = reason;
    this.#controller?.abort(reason);
  }
}
