import { within } from '../timeout.js';
import type { Tally } from '../tally.js';

/** A claim whose lease is to be kept. */
export interface Leased {
  /** When it was made, by the clock that `maxHoldMs` is measured with. */
  readonly since: number;
  readonly claim: {
    /** Prolongs the lease; false says that the claim is lost. */
    renew(): boolean | Promise<boolean>;
    /** Whether the store keeps the claim by itself while this thread lives, also while its event loop is blocked. */
    readonly isSelfKept: boolean;
  };
}

/** Whom to tell that a claim was lost. */
export interface ClaimHolder {
  lose(reason: Error): void;
}

/** Times, in milliseconds. */
export interface RenewalSettings {
  readonly leaseMs: number;
  readonly maxHoldMs: number;
  readonly storeTimeoutMs: number;
}

/** What is known here of one lease. */
interface Lease {
  readonly holder: ClaimHolder;
  /** When the store may give the claim away: a lease after the last call began that has prolonged it. */
  until: number;
  /** Whether a renewal is under way. */
  isAsked: boolean;
  /** Whether `until` was put off, once, since nothing is known but that this thread had no time to ask. */
  isOnTrial: boolean;
}

/**
 * Keeps the leases of claims alive while their handlers run: one timer for all of them, which never holds the
 * process. It is armed when it is first needed and lies down by itself, so that a request costs no timer.
 *
 * A claim is lost when the store says so, and also when its lease is over by the clock of this thread: a store that
 * cannot be reached may have given it away. A lease counts from the moment at which the call began that has prolonged
 * it, for nobody knows when the store has heard it.
 */
export class Renewals<Held extends Leased> {
  readonly #leases = new Map<Held, Lease>();
  readonly #settings: RenewalSettings;
  readonly #tally: Tally | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When all are renewed next. */
  #renewAt = 0;
  #armedFor = Infinity;

  /** @param tally counts the claims too, for whoever waits for the end of all */
  constructor(settings: RenewalSettings, tally?: Tally) {
    this.#settings = settings;
    this.#tally = tally;
  }

  get size(): number {
    return this.#leases.size;
  }

  /** The claims, in the order in which they came. */
  claims(): Iterable<Held> {
    return this.#leases.keys();
  }

  /** @param askedAt when the call began that has made the claim */
  add(leased: Held, holder: ClaimHolder, askedAt: number): void {
    this.#tally?.enter();
    const until = askedAt + this.#settings.leaseMs;
    this.#leases.set(leased, { holder, until, isAsked: false, isOnTrial: false });
    if (this.#timer === undefined) this.#renewAt = performance.now() + this.#settings.leaseMs / 3;
    // A claim that took long has little left of its lease.
    const next = Math.min(this.#renewAt, until);
    if (this.#timer === undefined || next < this.#armedFor) this.#arm(next);
  }

  delete(leased: Held): void {
    if (this.#leases.delete(leased)) this.#tally?.leave();
  }

  /** Loses a claim whose lease is over by now, also where the timer had no time to. */
  judge(leased: Held): void {
    const lease = this.#leases.get(leased);
    if (lease !== undefined && !leased.claim.isSelfKept) this.#judge(leased, lease, performance.now());
  }

  /** Lets the claims go: nobody renews them any more, and their holders are told why. */
  close(reason?: Error): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [leased, { holder }] of this.#leases) {
      this.delete(leased);
      if (reason !== undefined) holder.lose(reason);
    }
  }

  readonly #tick = (): void => {
    this.#timer = undefined;
    const now = performance.now();
    const { leaseMs, maxHoldMs } = this.#settings;
    const isDue = now >= this.#renewAt;
    if (isDue) this.#renewAt = now + leaseMs / 3;
    let next = this.#renewAt;
    for (const [leased, lease] of this.#leases) {
      if (now - leased.since >= maxHoldMs) {
        this.#lose(leased, `held for longer than ${maxHoldMs} ms (maxHoldMs)`);
        continue;
      }
      this.#judge(leased, lease, now);
      if (isDue && !lease.isAsked) this.#renew(leased, lease);
      if (this.#leases.has(leased)) next = Math.min(next, lease.until);
    }
    if (this.#leases.size > 0) this.#arm(next);
  };

  #arm(at: number): void {
    clearTimeout(this.#timer);
    this.#armedFor = at;
    this.#timer = setTimeout(this.#tick, Math.max(1, Math.ceil(at - performance.now()))).unref();
  }

  #judge(leased: Held, lease: Lease, now: number): void {
    if (now < lease.until) return;
    if (!leased.claim.isSelfKept || lease.isOnTrial) {
      this.#lose(leased, `no renewal succeeded within its lease of ${this.#settings.leaseMs} ms`);
      return;
    }
    // Its store has kept it while this thread was blocked, or else says so.
    lease.isOnTrial = true;
    lease.until = now + this.#settings.storeTimeoutMs;
    this.#renew(leased, lease);
  }

  #renew(leased: Held, lease: Lease): void {
    const { leaseMs, storeTimeoutMs } = this.#settings;
    const asked = performance.now();
    const onRenewed = (held: boolean): void => {
      if (!held) this.#lose(leased, 'its lease ran out');
      lease.until = Math.max(lease.until, asked + leaseMs);
      lease.isOnTrial = false;
    };
    let renewed;
    try {
      renewed = leased.claim.renew();
    } catch {
      return;
    }
    if (typeof renewed === 'boolean') {
      onRenewed(renewed);
      return;
    }
    lease.isAsked = true;
    // A store that fails to answer now is asked again in a third of the lease.
    within(renewed, storeTimeoutMs)
      .then(onRenewed, () => undefined)
      .finally(() => {
        lease.isAsked = false;
      });
  }

  #lose(leased: Held, why: string): void {
    const lease = this.#leases.get(leased);
    if (lease === undefined) return;
    this.delete(leased);
    lease.holder.lose(new Error(`The claim of this idempotency key was lost: ${why}`));
  }
}
