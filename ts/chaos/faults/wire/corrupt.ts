import type { Piece } from './framing.js';
import { Measured } from './measured.js';
import type { Wire } from './wire.js';

/** Flips some bits of the body. Its length stays, and so does all around it. */
export class CorruptBody extends Measured {
  readonly #bits: number;
  readonly #shares: Iterator<number, never>;
  readonly #done: () => void;
  /** By byte of the body: the bits to flip. */
  readonly #flips = new Map<number, number>();
  #offset = 0;

  constructor(wire: Wire, bits: number, shares: Iterator<number, never>, done: () => void) {
    super(wire, true);
    this.#bits = bits;
    this.#shares = shares;
    this.#done = done;
  }

  protected measured(bytes: number): void {
    const bits = bytes * 8;
    const drawn = new Set<number>();
    // A bit flipped twice would be whole again.
    while (drawn.size < Math.min(this.#bits, bits)) drawn.add(Math.floor(this.#shares.next().value * bits));
    for (const bit of drawn) this.#flips.set(bit >> 3, (this.#flips.get(bit >> 3) ?? 0) | (1 << (bit & 7)));
  }

  protected handle({ kind, bytes }: Piece): void {
    if (kind === 'body') {
      for (const [at, mask] of this.#flips) {
        const byte = bytes[at - this.#offset];
        if (byte === undefined) continue;
        bytes[at - this.#offset] = byte ^ mask;
        this.#flips.delete(at);
        if (!this.#hasFlipped) this.#done();
        this.#hasFlipped = true;
      }
      this.#offset += bytes.length;
    }
    this.wire.send(bytes);
  }

  #hasFlipped = false;
}
