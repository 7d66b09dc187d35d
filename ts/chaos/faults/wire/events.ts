const LF = 0x0a;
const CR = 0x0d;

/** An event of a stream, or the part between two of them, as its bytes end. */
export interface EventEnd {
  /** The offset in the bytes that were given, behind the empty line. */
  readonly at: number;
  /** Whether a client is told of it: it has data. */
  readonly isEvent: boolean;
}

/** Finds where server-sent events end, in bytes that come in any pieces. */
export class EventScanner {
  /** The bytes of the line so far, as many as its name may have. */
  #line: number[] = [];
  #lineLength = 0;
  #hasData = false;
  #isAfterCr = false;

  /** The ends in the next bytes, in their order. A pair of CR and LF that comes in two pieces ends with its CR. */
  *ends(bytes: Buffer): Generator<EventEnd> {
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at];
      const isPair = byte === LF && this.#isAfterCr;
      this.#isAfterCr = byte === CR;
      if (isPair) continue;
      if (byte !== LF && byte !== CR) {
        if (this.#lineLength < 8) this.#line.push(byte ?? 0);
        this.#lineLength++;
        continue;
      }
      if (this.#lineLength > 0) {
        // A byte order mark may come before the first line.
        this.#hasData ||= /^(?:\u00ef\u00bb\u00bf)?data(?::|$)/.test(String.fromCharCode(...this.#line));
        this.#line = [];
        this.#lineLength = 0;
        continue;
      }
      const isPairHere = byte === CR && bytes[at + 1] === LF;
      if (isPairHere) {
        at++;
        this.#isAfterCr = false;
      }
      yield { at: at + 1, isEvent: this.#hasData };
      this.#hasData = false;
    }
  }
}

/** How many bytes of an event come before the empty line that ends it: a client that got no more was told nothing. */
export function lengthOfFields(event: Buffer): number {
  let length = event.length;
  if (event[length - 1] === LF) length--;
  if (event[length - 1] === CR) length--;
  return length;
}

/** The offsets in UTF-8 text that are inside of a character. */
export function insideCharacters(text: Buffer): number[] {
  return [...text.keys()].filter((at) => at > 0 && ((text[at] ?? 0) & 0xc0) === 0x80);
}
