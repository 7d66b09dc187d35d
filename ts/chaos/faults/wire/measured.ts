import { isEventStream } from './framing.js';
import type { Piece } from './framing.js';
import type { Wire, WireFault } from './wire.js';

/** So much of a body whose length nobody knows is looked at before a place in it is drawn. */
const LOOKED_AT = 65_536;

/**
 * A fault at a drawn place of the body. It is drawn over the whole body where the head tells its length; else over what
 * has come when the answer is complete, or {@link LOOKED_AT} bytes have, or, of an event stream, which may never end,
 * anything has. Until then nothing of the body is sent.
 */
export abstract class Measured implements WireFault {
  protected readonly wire: Wire;
  #waiting: Piece[] | undefined;
  #seen = 0;

  /** `isDrawn`: whether the place is to be drawn; else nothing waits. */
  constructor(wire: Wire, isDrawn: boolean) {
    this.wire = wire;
    this.#waiting = isDrawn ? [] : undefined;
  }

  /** Called once, before the first part of the body is handled: it has so many bytes, or is looked at for so many. */
  protected abstract measured(bytes: number): void;
  /** Handles a part of the answer, its head and what follows. */
  protected abstract handle(piece: Piece): void;

  take(piece: Piece): void {
    const { head } = this.wire;
    if (piece.kind === 'interim') {
      this.wire.send(piece.bytes);
      return;
    }
    if (this.#waiting === undefined || head === undefined) {
      this.handle(piece);
      return;
    }
    if (piece.kind === 'head') {
      this.handle(piece);
      if (head.length !== undefined) this.#measure(head.length);
      return;
    }
    this.#waiting.push(piece);
    if (piece.kind === 'body') this.#seen += piece.bytes.length;
    if (this.#seen >= (isEventStream(head) ? 1 : LOOKED_AT)) this.#measure(this.#seen);
  }

  end(): void {
    if (this.#waiting) this.#measure(this.#seen);
    this.ended();
  }

  /** The answer is complete, and all of it was handled. */
  protected ended(): void {
    this.wire.over();
  }

  release(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    this.wire.pass();
    for (const { bytes } of waiting) this.wire.send(bytes);
  }

  #measure(bytes: number): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    this.measured(bytes);
    for (const piece of waiting) this.handle(piece);
  }
}
