import { headerOf } from './framing.js';
import type { Head, Piece } from './framing.js';
import type { Wire, WireFault } from './wire.js';

/** What about the framing of an answer is wrong. */
export type Malformation = 'status-line' | 'content-length' | 'chunk-size';

/** Breaks the framing of an answer: no client may accept it. The connection is closed behind it. */
export class MalformFraming implements WireFault {
  readonly #wire: Wire;
  readonly #what: Malformation;
  readonly #done: () => void;
  #isMalformed = false;

  constructor(wire: Wire, what: Malformation, done: () => void) {
    this.#wire = wire;
    this.#what = what;
    this.#done = done;
  }

  take({ kind, bytes }: Piece): void {
    const { head } = this.#wire;
    if (kind !== 'head' || head === undefined) {
      this.#wire.send(bytes);
      return;
    }
    const text = malformed(this.#what, head, bytes.toString('latin1'));
    if (text === undefined) {
      this.#wire.pass();
      this.#wire.send(bytes);
      return;
    }
    this.#isMalformed = true;
    this.#done();
    this.#wire.send(Buffer.from(text, 'latin1'));
  }

  end(): void {
    this.#wire.break('hangup');
  }

  release(): void {
    if (this.#isMalformed) this.#wire.break('hangup');
    else this.#wire.pass();
  }
}

/** The head, and what stands in for the size of the first chunk, malformed; undefined where there is no such thing. */
function malformed(what: Malformation, head: Head, text: string): string | undefined {
  switch (what) {
    case 'status-line':
      return text.replace(/^(\S+ \d)\d/, '$1x');
    case 'content-length': {
      const length = Number(headerOf(head.headers, 'content-length') ?? 0);
      const lengths = `Content-Length: ${length}\r\nContent-Length: ${length + 1}\r\n\r\n`;
      return withoutFraming(text) + lengths;
    }
    case 'chunk-size':
      if (head.framing === 'none') return undefined;
      return `${withoutFraming(text)}Transfer-Encoding: chunked\r\n\r\nZZ\r\n`;
  }
}

/** A head without the headers that say where the body ends, and without the empty line. */
function withoutFraming(head: string): string {
  return head.slice(0, -2).replace(/^(?:content-length|transfer-encoding):.*\r\n/gim, '');
}
