import type { Ending } from '../connection.js';
import { isEventStream } from './framing.js';
import type { Piece } from './framing.js';
import { Measured } from './measured.js';
import type { Wire, WireFault } from './wire.js';

/** Where a body is cut: behind so many of its bytes, or behind a share of them, from 0 to below 1. */
export type Cut = { readonly bytes: number } | { readonly share: number };

/** What becomes of the connection behind a cut. */
export type AfterCut = Ending | 'stall';

/**
 * Sends an answer up to a place in its body, and then nothing more. Behind it the connection stalls at once, or ends
 * when the handler has answered in full; at once, where that is a stream of events, which may have no end.
 */
export class CutBody extends Measured {
  readonly #at: Cut;
  readonly #then: AfterCut;
  readonly #done: () => void;
  /** Bytes of the body that are still to be sent. */
  #left = 0;
  #isCut = false;

  constructor(wire: Wire, at: Cut, then: AfterCut, done: () => void) {
    super(wire, 'share' in at);
    this.#at = at;
    this.#then = then;
    this.#done = done;
    if ('bytes' in at) this.#left = at.bytes;
  }

  protected measured(bytes: number): void {
    // The share is below 1, so that a byte is missing, but for an answer that has none.
    this.#left = 'share' in this.#at ? Math.floor(this.#at.share * bytes) : this.#left;
    if (bytes === 0) this.#left = Infinity;
  }

  protected handle({ kind, bytes }: Piece): void {
    if (this.#isCut) return;
    if (kind === 'head' || this.#left === Infinity || (kind === 'frame' && this.#left > 0)) {
      this.wire.send(bytes);
      return;
    }
    const passes = bytes.subarray(0, kind === 'body' ? this.#left : 0);
    this.#left -= passes.length;
    if (passes.length > 0) this.wire.send(passes);
    if (passes.length < bytes.length) this.#cut();
  }

  protected override ended(): void {
    if (this.#isCut && this.#then !== 'stall') this.wire.break(this.#then);
    else if (!this.#isCut) this.wire.over();
  }

  override release(): void {
    if (!this.#isCut) super.release();
    else if (this.#then !== 'stall') this.wire.break(this.#then);
  }

  #cut(): void {
    this.#isCut = true;
    this.#done();
    const { head } = this.wire;
    if (this.#then === 'stall') this.wire.stall();
    else if (head && isEventStream(head)) this.wire.break(this.#then);
  }
}

/** Sends nothing of an answer; when the handler has answered in full, the connection ends. */
export class LoseAnswer implements WireFault {
  readonly #wire: Wire;
  readonly #ending: Ending;
  readonly #done: () => void;
  #hasSwallowed = false;

  constructor(wire: Wire, ending: Ending, done: () => void) {
    this.#wire = wire;
    this.#ending = ending;
    this.#done = done;
  }

  take(): void {
    this.#hasSwallowed = true;
  }

  end(): void {
    this.#done();
    this.#wire.break(this.#ending);
  }

  release(): void {
    if (this.#hasSwallowed) this.end();
    else this.#wire.pass();
  }
}
