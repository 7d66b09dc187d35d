import { types } from 'node:util';
import { REMOVED, type Answer } from './answer.js';
import type { SeenHead } from './headers.js';
import { timestamp } from './timestamp.js';

/** What a handler has answered so far. */
export class AnswerRecorder {
  readonly #maxBytes: number;
  #head: SeenHead | undefined;
  /** Whether Node wrote the head as UTF-8, with the first piece of the body; else it is Latin-1. */
  isHeadUtf8 = false;
  /** The pieces of the body; none when they have become too large to be kept. */
  #pieces: Buffer[] | undefined = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get head(): SeenHead | undefined {
    return this.#head;
  }

  set head(head: SeenHead | undefined) {
    this.#head = head;
  }

  add(piece: Buffer): void {
    // What Node leaves out counts for nothing.
    if (this.#head && !hasBody(this.#head)) return;
    this.#bytes += piece.length;
    if (this.#bytes > this.#maxBytes) this.#pieces = undefined;
    else this.#pieces?.push(piece);
  }

  /** Forgets all that was recorded. */
  clear(): void {
    this.#head = undefined;
    this.#pieces = [];
    this.#bytes = 0;
  }

  /** Lets go of the body. */
  drop(): void {
    this.#pieces = undefined;
  }

  get isTooLarge(): boolean {
    return this.#pieces === undefined;
  }

  /** Whether so many more bytes make the body as long as its head says; false where the head does not say. */
  isWholeWith(more: number, head = this.#head): boolean {
    return head?.contentLength !== undefined && this.#bytes + more >= head.contentLength;
  }

  /** Whether the body is shorter than its head says: the answer is not complete, and the client knows. */
  get isShort(): boolean {
    const length = this.#head?.contentLength;
    return this.#head !== undefined && hasBody(this.#head) && length !== undefined && this.#bytes < length;
  }

  /** The answer as it is kept; undefined without a head or with too large a body. */
  get answer(): Answer | undefined {
    const head = this.#head;
    if (head === undefined || this.#pieces === undefined) return undefined;
    const asBytes = (text: string) => (this.isHeadUtf8 ? Buffer.from(text).toString('latin1') : text);
    const { removed } = head;
    const headers =
      removed.length === 0 ? head.headers : [...removed.flatMap((name) => [REMOVED, name]), ...head.headers];
    return {
      statusCode: head.statusCode,
      statusMessage: asBytes(head.statusMessage),
      headers: this.isHeadUtf8 ? headers.map(asBytes) : headers,
      body: hasBody(head) ? joined(this.#pieces, head.contentLength ?? this.#bytes) : '',
      timestamp: timestamp(Date.now()),
    };
  }
}

/** What Node takes as a piece of a body, of whatever realm. */
export function isPiece(chunk: unknown): chunk is string | Uint8Array {
  return typeof chunk === 'string' || types.isUint8Array(chunk);
}

/** The bytes of a piece, ours to keep: callers reuse their buffers. */
export function bytesOfPiece(piece: string | Uint8Array, encoding: unknown): Buffer {
  if (typeof piece !== 'string') return Buffer.from(piece);
  return Buffer.from(piece, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
}

/** Whether a body follows the head; without one, the head is the whole answer. */
export function hasBody({ statusCode, contentLength }: SeenHead): boolean {
  return statusCode !== 204 && statusCode !== 304 && contentLength !== 0;
}

const BEYOND_ASCII = /[^\0-\x7f]/;

/** Whether a head reads the same in every encoding. */
export function isAscii({ statusMessage, headers }: SeenHead): boolean {
  return !BEYOND_ASCII.test(statusMessage) && !headers.some((text) => BEYOND_ASCII.test(text));
}

/** The pieces as one, but no more of them than the head announces. */
function joined(pieces: readonly Buffer[], length: number): Buffer {
  const [first] = pieces;
  const whole = pieces.length === 1 && first ? first : Buffer.concat(pieces);
  return whole.length > length ? whole.subarray(0, length) : whole;
}
