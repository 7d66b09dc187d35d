/** A request that waits for another one's answer. */
export interface Parked {
  /** Asks for the key again. */
  resume(): void;
  /** Has waited long enough, or in vain: the store failed to wait. */
  giveUp(error?: unknown): void;
}

/**
 * Where duplicates wait for the first request's answer (`onConcurrent: 'wait'`). Requests of one key wait together,
 * for one notification; all requests wait for the same time, so that one timer serves the one that is next to give up.
 */
export class Parking {
  readonly #timeoutMs: number;
  readonly #waitFor: (recordKey: string) => Promise<void>;
  readonly #groups = new Map<string, Set<Parked>>();
  /** In the order of their deadlines. */
  readonly #deadlines = new Map<Parked, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(timeoutMs: number, waitFor: (recordKey: string) => Promise<void>) {
    this.#timeoutMs = timeoutMs;
    this.#waitFor = waitFor;
  }

  get size(): number {
    return this.#deadlines.size;
  }

  /** Whether a request waits here, or has been sent to ask for its key again. */
  has(parked: Parked): boolean {
    return this.#deadlines.has(parked);
  }

  /** Parks a request until its record's claim is settled. One that comes back keeps its place and its deadline. */
  park(recordKey: string, parked: Parked): void {
    if (!this.has(parked)) this.#deadlines.set(parked, performance.now() + this.#timeoutMs);
    this.#arm();
    const group = this.#groups.get(recordKey);
    if (group) {
      group.add(parked);
      return;
    }
    const fresh = new Set([parked]);
    this.#groups.set(recordKey, fresh);
    const wake = (act: (waiting: Parked) => void) => {
      this.#groups.delete(recordKey);
      for (const waiting of fresh) if (this.has(waiting)) act(waiting);
    };
    this.#waitFor(recordKey).then(
      () => {
        wake((waiting) => {
          waiting.resume();
        });
      },
      (error: unknown) => {
        // Asked for the key again, they would wait and fail again, without end.
        wake((waiting) => {
          this.leave(waiting);
          waiting.giveUp(error);
        });
      },
    );
  }

  /** The request waits no more: it got its answer, or its client is gone. */
  leave(parked: Parked): void {
    this.#deadlines.delete(parked);
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const parked of this.#deadlines.keys()) parked.giveUp();
    this.#deadlines.clear();
  }

  #arm(): void {
    if (this.#timer !== undefined) return;
    const next = this.#deadlines.values().next();
    if (next.done) return;
    // The requests hold the process by their sockets; the timer need not.
    this.#timer = setTimeout(this.#tick, Math.max(1, next.value - performance.now())).unref();
  }

  readonly #tick = (): void => {
    this.#timer = undefined;
    const now = performance.now();
    for (const [parked, deadline] of this.#deadlines) {
      if (deadline > now) break;
      this.#deadlines.delete(parked);
      parked.giveUp();
    }
    this.#arm();
  };
}
