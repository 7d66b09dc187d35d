/** A part of an answer, as its bytes pass on the wire. */
export interface Piece {
  /**
   * `interim`: an answer before the answer (1xx), whole. `head`: the status line and the headers, whole. `frame`: sizes
   * and line ends around chunks, and what follows the last one. `body`: the bytes of the body.
   */
  readonly kind: 'interim' | 'head' | 'frame' | 'body';
  readonly bytes: Buffer;
}

/** What the head of an answer says. */
export interface Head {
  readonly status: number;
  /** Names and values, in the order of the answer. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** How the end of the body is found. `none`: there is no body. */
  readonly framing: 'none' | 'length' | 'chunked' | 'until-close';
  /** Bytes of the body, where the head tells. */
  readonly length: number | undefined;
}

const HEAD_END = Buffer.from('\r\n\r\n');

/**
 * Tells the parts of one answer of HTTP/1 apart, in the bytes that Node writes for it. They are Node's own, so they are
 * taken at their word: nothing is refused.
 */
export class AnswerFraming {
  /** The head, once it has passed. */
  head: Head | undefined;
  readonly #method: string;
  #pending = Buffer.alloc(0);
  /** Where the next byte belongs; `left` bytes of the body come before anything else. */
  #state: 'head' | 'body' | 'size' | 'chunk-end' | 'rest' = 'head';
  #left = 0;

  /** `method` is that of the request: the answer to a HEAD has no body, whatever its head says. */
  constructor(method: string | undefined) {
    this.#method = method ?? 'GET';
  }

  /** The parts of the next bytes, in their order; what cannot be told yet comes with a later call. */
  *parts(bytes: Buffer): Generator<Piece> {
    let rest = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    this.#pending = Buffer.alloc(0);
    while (rest.length > 0) {
      const length = this.#nextLength(rest);
      if (length === undefined) {
        this.#pending = Buffer.from(rest);
        return;
      }
      const part = rest.subarray(0, length);
      rest = rest.subarray(length);
      yield { kind: this.#pass(part), bytes: part };
    }
  }

  /** How long the part is that comes next; undefined if its end has not come. */
  #nextLength(bytes: Buffer): number | undefined {
    const through = (end: Buffer | string) => {
      const at = bytes.indexOf(end);
      return at < 0 ? undefined : at + end.length;
    };
    switch (this.#state) {
      case 'head':
        return through(HEAD_END);
      case 'size':
        return through('\r\n');
      case 'chunk-end':
        return bytes.length < 2 ? undefined : 2;
      case 'body':
        return Math.min(this.#left, bytes.length);
      case 'rest':
        return bytes.length;
    }
  }

  #pass(part: Buffer): Piece['kind'] {
    switch (this.#state) {
      case 'head': {
        const head = readHead(part.toString('latin1'), this.#method);
        if (head.status < 200) return 'interim';
        this.head = head;
        this.#left = head.length ?? Infinity;
        this.#state = head.framing === 'chunked' ? 'size' : this.#left === 0 ? 'rest' : 'body';
        return 'head';
      }
      case 'size':
        this.#left = Number.parseInt(part.toString('latin1'), 16);
        this.#state = this.#left > 0 ? 'body' : 'rest';
        return 'frame';
      case 'body':
        this.#left -= part.length;
        if (this.#left === 0) this.#state = this.head?.framing === 'chunked' ? 'chunk-end' : 'rest';
        return 'body';
      case 'chunk-end':
        this.#state = 'size';
        return 'frame';
      case 'rest':
        return 'frame';
    }
  }
}

function readHead(text: string, method: string): Head {
  const [statusLine = '', ...lines] = text.trimEnd().split('\r\n');
  const status = Number(statusLine.split(' ')[1]);
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const;
  });
  if (method === 'HEAD' || status === 204 || status === 304) return { status, headers, framing: 'none', length: 0 };
  const length = headerOf(headers, 'content-length');
  if (/\bchunked\b/i.test(headerOf(headers, 'transfer-encoding') ?? '')) {
    return { status, headers, framing: 'chunked', length: undefined };
  }
  if (length === undefined) return { status, headers, framing: 'until-close', length: undefined };
  return { status, headers, framing: Number(length) === 0 ? 'none' : 'length', length: Number(length) };
}

/** The first value of a header, its name in lower case. */
export function headerOf(headers: Head['headers'], name: string): string | undefined {
  return headers.find(([other]) => other.toLowerCase() === name)?.[1];
}

/** Whether the body is a stream of server-sent events. */
export function isEventStream({ headers }: Head): boolean {
  return /^text\/event-stream\b/i.test(headerOf(headers, 'content-type') ?? '');
}
