import type { Piece } from './framing.js';
import type { Wire, WireFault } from './wire.js';

/** Sends the bytes of an answer a few at a time, each few by itself. Nothing is missing and nothing is added. */
abstract class Paced implements WireFault {
  protected readonly wire: Wire;
  readonly #done: () => void;
  #queue = Buffer.alloc(0);
  #isSending = false;
  #hasBegun = false;
  #hasEnded = false;

  constructor(wire: Wire, done: () => void) {
    this.wire = wire;
    this.#done = done;
  }

  /** How many bytes go next. */
  protected abstract next(): number;
  /** Sends them, and says when the next ones may go. */
  protected abstract send(bytes: Buffer, then: () => void): void;

  get waiting(): number {
    return this.#queue.length;
  }

  take({ bytes }: Piece): void {
    this.#queue = Buffer.concat([this.#queue, bytes]);
    if (!this.#isSending) this.#step();
  }

  end(): void {
    this.#hasEnded = true;
    if (!this.#isSending) this.wire.over();
  }

  release(): void {
    const rest = this.#queue;
    this.#queue = Buffer.alloc(0);
    this.wire.pass();
    if (rest.length > 0) this.wire.send(rest);
    if (this.#hasEnded) this.wire.over();
  }

  readonly #step = (): void => {
    if (this.wire.isOver) return;
    const bytes = this.#queue.subarray(0, this.next());
    this.#queue = this.#queue.subarray(bytes.length);
    this.#isSending = bytes.length > 0;
    if (!this.#isSending) {
      if (this.#hasEnded) this.wire.over();
      return;
    }
    if (!this.#hasBegun) this.#done();
    this.#hasBegun = true;
    this.send(bytes, this.#step);
    this.wire.drained();
  };
}

/** So many bytes in so many milliseconds; the head of the answer goes at once. */
export class Drip extends Paced {
  readonly #bytes: number;
  readonly #everyMs: number;

  constructor(wire: Wire, bytes: number, everyMs: number, done: () => void) {
    super(wire, done);
    this.#bytes = bytes;
    this.#everyMs = everyMs;
  }

  override take(piece: Piece): void {
    if (piece.kind === 'head' || piece.kind === 'interim') this.wire.send(piece.bytes);
    else super.take(piece);
  }

  protected next(): number {
    return this.#bytes;
  }

  protected send(bytes: Buffer, then: () => void): void {
    this.wire.send(bytes);
    this.wire.after(this.#everyMs, then);
  }
}

/** Of the sizes of slices, 1 is as likely as 2 to 3, 4 to 7, and so on below 2 to this power. */
const SLICE_BITS = 11;

/** Slices of drawn sizes, from 1 to 2,047 bytes, as fast as they go. */
export class Slice extends Paced {
  readonly #shares: Iterator<number, never>;

  constructor(wire: Wire, shares: Iterator<number, never>, done: () => void) {
    super(wire, done);
    this.#shares = shares;
  }

  protected next(): number {
    return Math.floor(2 ** (this.#shares.next().value * SLICE_BITS));
  }

  protected send(bytes: Buffer, then: () => void): void {
    this.wire.send(bytes, () => {
      // Past the sockets once, so that a client in this process sees one slice at a time.
      setImmediate(then);
    });
  }
}
