import type { Answer } from './answer.js';
import type { Identified } from './desk.js';
import type { Tally } from '../tally.js';

/** A request that waits for another one's answer. */
export interface Parked {
  /** Asks for the key again. The answer that it gets is that of all who ask for the same; without one, each has to ask. */
  resume(): Answer | undefined | Promise<Answer | undefined>;
  /** Another one has asked for the same, and got this. */
  share(answer: Answer): void;
  /** Has waited long enough, or in vain: the store failed to wait. */
  giveUp(error?: unknown): void;
}

/**
 * Where duplicates wait for the first request's answer (`onConcurrent: 'wait'`). Requests for the same wait together,
 * for one notification, and one of them asks the store for all. All requests wait for the same time, so that one timer
 * serves the one that is next to give up.
 */
export class Parking {
  readonly #timeoutMs: number;
  readonly #waitFor: (recordKey: string) => Promise<void>;
  readonly #tally: Tally;
  readonly #groups = new Map<string, Set<Parked>>();
  /** In the order of their deadlines. */
  readonly #deadlines = new Map<Parked, number>();
  #timer: NodeJS.Timeout | undefined;

  /** @param tally counts the requests, for whoever waits for the end of all */
  constructor(timeoutMs: number, waitFor: (recordKey: string) => Promise<void>, tally: Tally) {
    this.#tally = tally;
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
  park({ key, fingerprint, identity }: Identified, parked: Parked): void {
    if (!this.has(parked)) {
      this.#deadlines.set(parked, performance.now() + this.#timeoutMs);
      this.#tally.enter();
    }
    this.#arm();
    // Not by the key alone: news of its last claim may be late, and the present one that of another request.
    const same = `${key} ${fingerprint} ${identity}`;
    const group = this.#groups.get(same);
    if (group) {
      group.add(parked);
      return;
    }
    const fresh = new Set([parked]);
    this.#groups.set(same, fresh);
    this.#waitFor(key).then(
      () => {
        this.#groups.delete(same);
        this.#resume(this.#present(fresh));
      },
      (error: unknown) => {
        this.#groups.delete(same);
        // Asked for the key again, they would wait and fail again, without end.
        this.#forAll(fresh, (waiting) => {
          this.leave(waiting);
          waiting.giveUp(error);
        });
      },
    );
  }

  /** The request waits no more: it got its answer, or its client is gone. */
  leave(parked: Parked): void {
    if (this.#deadlines.delete(parked)) this.#tally.leave();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#forAll(this.#deadlines.keys(), (parked) => {
      this.leave(parked);
      parked.giveUp();
    });
  }

  /** Those that still wait: a client may have left, or its time be over. */
  #present(parked: Iterable<Parked>): Parked[] {
    return [...parked].filter((waiting) => this.has(waiting));
  }

  /** Does a step for each that still waits. One that throws does not keep the others from it. */
  #forAll(parked: Iterable<Parked>, step: (waiting: Parked) => unknown): void {
    const failures: unknown[] = [];
    for (const waiting of this.#present(parked)) {
      try {
        if (this.has(waiting)) step(waiting);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  #resume([first, ...others]: Parked[]): void {
    const tell = (answer: Answer | undefined): void => {
      this.#forAll(others, (waiting) => {
        if (answer) waiting.share(answer);
        else void waiting.resume();
      });
    };
    let got: ReturnType<Parked['resume']> = undefined;
    try {
      got = first?.resume();
    } finally {
      // Also where it threw: the others ask for themselves.
      if (!(got instanceof Promise)) tell(got);
    }
    if (got instanceof Promise) {
      void got.then(tell, (error: unknown) => {
        tell(undefined);
        throw error;
      });
    }
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
    const late = [...this.#deadlines].filter(([, deadline]) => deadline <= now).map(([parked]) => parked);
    try {
      this.#forAll(late, (parked) => {
        this.leave(parked);
        parked.giveUp();
      });
    } finally {
      this.#arm();
    }
  };
}
