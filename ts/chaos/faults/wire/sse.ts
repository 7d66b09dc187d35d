import type { AfterCut } from './cut.js';
import { EventScanner, insideCharacters, lengthOfFields } from './events.js';
import { headerOf, isEventStream } from './framing.js';
import type { Head, Piece } from './framing.js';
import type { Wire, WireFault } from './wire.js';

/** Where in a stream of events it is cut. */
export type EventCut = 'after-event' | 'mid-event' | 'mid-character';

/** A stream whose event has no end for so long is let go. */
const LONGEST_EVENT = 1_048_576;

/** What there is to know of a cut in a stream of events. */
export interface EventCutPlan {
  readonly where: EventCut;
  /** Which event, from 1. */
  readonly event: number;
  readonly then: AfterCut;
  /** From 0 to below 1: where in the event. */
  readonly share: number;
  readonly done: () => void;
  /** Told why it could not be done. */
  readonly undone: (why: string) => void;
}

/**
 * Sends a stream of server-sent events up to one of them, or into it, and then nothing more; what becomes of the
 * connection then, becomes of it at once. Each event is held until its end has come. An answer that is no such stream,
 * or whose bytes are compressed, passes.
 */
export class CutEvents implements WireFault {
  readonly #wire: Wire;
  readonly #plan: EventCutPlan;
  readonly #scanner = new EventScanner();
  #isStream = false;
  #isCut = false;
  /** How many events have ended. */
  #ended = 0;
  /** The parts of the event that has not ended, with the frames between them. */
  #held: Piece[] = [];

  constructor(wire: Wire, plan: EventCutPlan) {
    this.#wire = wire;
    this.#plan = plan;
  }

  take(piece: Piece): void {
    const { head } = this.#wire;
    if (this.#isCut) return;
    if (piece.kind === 'head' && head) this.#begin(head);
    if (!this.#isStream || piece.kind === 'head') this.#wire.send(piece.bytes);
    else if (piece.kind === 'body') this.#scan(piece.bytes);
    else this.#hold(piece);
  }

  end(): void {
    this.release();
    this.#wire.over();
  }

  release(): void {
    this.#wire.pass();
    for (const { bytes } of this.#held.splice(0)) this.#wire.send(bytes);
  }

  #begin(head: Head): void {
    const coding = headerOf(head.headers, 'content-encoding') ?? 'identity';
    this.#isStream = isEventStream(head) && coding === 'identity';
    if (!isEventStream(head) || this.#isStream) return;
    this.#plan.undone(`the events of a stream that is compressed (${coding}) cannot be told apart`);
  }

  #scan(bytes: Buffer): void {
    let from = 0;
    for (const { at, isEvent } of this.#scanner.ends(bytes)) {
      this.#held.push({ kind: 'body', bytes: bytes.subarray(from, at) });
      from = at;
      if (isEvent) this.#ended++;
      const cut = isEvent
        ? this.#cutIn(Buffer.concat(this.#held.filter(isBody).map((piece) => piece.bytes)))
        : undefined;
      this.#pass(cut ?? Infinity);
      if (cut !== undefined) {
        this.#cut();
        return;
      }
    }
    this.#hold({ kind: 'body', bytes: bytes.subarray(from) });
  }

  /** Holds a part of an event; a frame between two events just passes. */
  #hold(piece: Piece): void {
    if (piece.bytes.length > 0) this.#held.push(piece);
    const held = this.#held.filter(isBody).reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (held === 0 || held > LONGEST_EVENT) this.#pass(Infinity);
  }

  /** Behind how many bytes the event that has just ended is cut; undefined if it is not. */
  #cutIn(event: Buffer): number | undefined {
    const { where, event: wanted, share } = this.#plan;
    if (this.#ended < wanted) return undefined;
    if (where === 'after-event') return event.length;
    const fields = lengthOfFields(event);
    if (where === 'mid-event') return 1 + Math.floor(share * fields);
    const places = insideCharacters(event);
    return places[Math.floor(share * places.length)];
  }

  /** Sends so many bytes of what is held, and the frames before them. */
  #pass(bytes: number): void {
    let left = bytes;
    for (const piece of this.#held.splice(0)) {
      if (left <= 0) return;
      if (piece.kind !== 'body') {
        this.#wire.send(piece.bytes);
        continue;
      }
      this.#wire.send(piece.bytes.subarray(0, left));
      left -= piece.bytes.length;
    }
  }

  #cut(): void {
    this.#isCut = true;
    this.#plan.done();
    if (this.#plan.then === 'stall') this.#wire.stall();
    else this.#wire.break(this.#plan.then);
  }
}

function isBody({ kind }: Piece): boolean {
  return kind === 'body';
}
