import { withCode } from '../errors.js';
import { watchSigterm } from './sigterm.js';

/** Whether an instance injects, since when, and until when or why not. */
export type ChaosState =
  /** It injects; `until` is when it disarms itself, `null` if never. */
  | { readonly state: 'armed'; readonly since: Date; readonly until: Date | null }
  /** It passes every request through. A halt is that of a guard rail; only `arm()` ends it. `closed` is for good. */
  | { readonly state: 'disarmed' | 'halted' | 'closed'; readonly since: Date; readonly reason: string };

/** Armed or not, and what ends it: a call, its time, SIGTERM, a guard rail. */
export class ChaosLife {
  /** Read for every request. */
  armed = false;
  #state: ChaosState;
  #armedAt = 0;
  #endsAt = Infinity;
  #timer: NodeJS.Timeout | undefined;
  #ignoreSigterm: (() => void) | undefined;
  readonly #stopped: () => void;

  /**
   * Born disarmed.
   *
   * @param reason why it is
   * @param stopped called each time it ends to inject, to let go of everything that is held
   */
  constructor(reason: string, stopped: () => void) {
    this.#state = { state: 'disarmed', since: new Date(), reason };
    this.#stopped = stopped;
  }

  get state(): ChaosState {
    return this.#state;
  }

  /** How long it has been armed, in milliseconds of the monotonic clock. */
  elapsedMs(): number {
    return performance.now() - this.#armedAt;
  }

  /** Whether its time is over though its timer did not come to say so: the event loop was blocked. */
  isOverdue(elapsedMs: number): boolean {
    return elapsedMs >= this.#endsAt;
  }

  /** Starts anew from this moment, whatever it was, for so many milliseconds. */
  arm(forMs: number | undefined): void {
    if (this.#state.state === 'closed') throw closed('arm');
    const since = new Date();
    this.#armedAt = performance.now();
    this.#state = { state: 'armed', since, until: null };
    this.armed = true;
    this.#ignoreSigterm ??= watchSigterm(() => {
      this.disarm('SIGTERM');
    });
    this.#endsAt = Infinity;
    clearTimeout(this.#timer);
    if (forMs !== undefined) this.endBy(forMs);
  }

  /** Brings its end forward to so many milliseconds after it was armed, if it was to be later. */
  endBy(ms: number): void {
    if (this.#state.state !== 'armed' || ms >= this.#endsAt) return;
    this.#endsAt = ms;
    this.#state = { ...this.#state, until: new Date(this.#state.since.getTime() + ms) };
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.expire();
      },
      Math.max(0, ms - this.elapsedMs()),
    );
    this.#timer.unref();
  }

  /** Its time is over. */
  expire(): void {
    this.disarm(`armed for ${this.#endsAt} ms, which are over`);
  }

  disarm(reason: string): void {
    if (this.armed) this.#stop({ state: 'disarmed', since: new Date(), reason });
  }

  /** For good, until somebody arms it again. */
  halt(reason: string): void {
    if (this.armed) this.#stop({ state: 'halted', since: new Date(), reason });
  }

  close(): void {
    if (this.#state.state !== 'closed')
      this.#stop({ state: 'closed', since: new Date(), reason: 'close() was called' });
  }

  #stop(state: ChaosState): void {
    this.armed = false;
    this.#state = state;
    clearTimeout(this.#timer);
    this.#ignoreSigterm?.();
    this.#ignoreSigterm = undefined;
    this.#stopped();
  }
}

/** What a closed instance answers to everything that would have it inject again. */
export function closed(name: string): Error {
  return withCode(
    new Error(`chaos.${name}: this chaos was closed, which is for good; make another one with createChaos()`),
    'ERR_REPRISE_CHAOS_CLOSED',
  );
}
