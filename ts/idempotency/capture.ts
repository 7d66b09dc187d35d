import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { RequestFacts } from '../../native/binding.js';
import type { Answer } from './answer.js';
import type { HeldClaim, Settlement, Written } from './desk.js';
import type { Answered } from './transaction.js';
import { effectiveHeader, headersSince, snapshot, type HeadArgument, type Snapshot } from './headers.js';

/** What a capture asks of its middleware. */
export interface CaptureHost {
  readonly maxResponseBytes: number;
  readonly replaySetCookie: boolean;
  /** Whether an answer is worth keeping. */
  isWorthStoring(answer: { statusCode: number; headers: string[] }, req: IncomingMessage): boolean;
  /** Told of the headers that an answer is kept with. */
  onHead(headers: string[]): void;
  /**
   * Ends the claim. True when that is written; false when the answer goes out without being kept. Never rejects, and
   * takes no longer than the store's time limit.
   */
  settle(capture: Capture, how: Answer | Settlement): Written;
  /** Told that the claim has ended in a transaction. */
  onCommitted(capture: Capture): void;
}

/** How the body is dealt with. */
type Mode =
  /** Kept as it passes, up to the limit; its last piece waits for the store. */
  | 'kept'
  /** Passed on: too large to be kept. Its last piece waits for the store. */
  | 'too-large'
  /** Passed on, and never held back: an event stream. */
  | 'event-stream';

/** How far the answer is. */
type Phase =
  | 'open'
  /** The whole answer is known; what is left of it waits for the store. */
  | 'settling'
  /** The claim has ended: everything passes through. */
  | 'over';

interface Head {
  readonly statusCode: number;
  readonly statusMessage: string;
  readonly headers: string[];
  readonly contentLength: number | undefined;
}

type WriteCallback = (error?: Error | null) => void;

/**
 * Watches one response. Every way of answering in Node, Express and connect goes through `writeHead`, `write` and
 * `end` of the response object, so these three are wrapped, and nothing else is touched.
 *
 * - The head is taken before the real `writeHead`, inside of which outer middleware adds its own headers.
 * - The last piece of the answer waits until the record is stored: a client that has seen the whole answer finds it.
 * - What the handler answers decides, not what reaches the client: after a disconnect the handler goes on, its
 *   answer is still taken.
 */
export class Capture {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly claim: HeldClaim;
  readonly facts: RequestFacts;
  /** When the claim was made, by the clock that `maxHoldMs` is measured with. */
  readonly since = performance.now();
  /** Set by the handler: the answer is not to be kept. */
  noStore = false;

  readonly #host: CaptureHost;
  readonly #before: Snapshot;
  readonly #writeHead: ServerResponse['writeHead'];
  readonly #write: ServerResponse['write'];
  readonly #end: ServerResponse['end'];
  #phase: Phase = 'open';
  #mode: Mode = 'kept';
  #head: Head | undefined;
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** The handler is inside of its last `write` or `end`: the head, if it is still here, waits for the store too. */
  #finishing = false;
  /** What waits for the store, in its order. */
  #held: (() => void)[] = [];
  /** The connection is gone, while the handler goes on. */
  #clientGone = false;
  /** A transaction is under way, which ends the claim with what was answered inside of it. */
  #transaction: { answered?: Answered } | undefined;
  #unseal: (() => void) | undefined;

  constructor(host: CaptureHost, req: IncomingMessage, res: ServerResponse, claim: HeldClaim, facts: RequestFacts) {
    this.#host = host;
    this.facts = facts;
    this.req = req;
    this.res = res;
    this.claim = claim;
    this.#before = snapshot(res);
    this.#writeHead = res.writeHead.bind(res);
    this.#write = res.write.bind(res);
    this.#end = res.end.bind(res);
    res.writeHead = (...args: HeadArguments) => this.#onWriteHead(args);
    res.write = ((...args: WriteArguments) => this.#onWrite(args)) as ServerResponse['write'];
    res.end = ((...args: WriteArguments) => this.#onEnd(args)) as ServerResponse['end'];
    res.once('close', () => {
      this.#onClose();
    });
  }

  /** Ends the claim without an answer: there will be none. */
  abandon(): void {
    if (this.#phase !== 'open') return;
    this.#settle('release', false);
  }

  /** From here on the answer is held, until `resume` or `takeBack`: a transaction ends the claim with it. */
  defer(): void {
    this.#transaction = {};
  }

  get isDeferred(): boolean {
    return this.#transaction !== undefined;
  }

  /** What was answered since `defer`. */
  get answered(): Answered | undefined {
    return this.#transaction?.answered;
  }

  /** The transaction is over. Where it did not end the claim, as was wished, the claim ends as ever. */
  resume(committed: boolean): void {
    const how = this.#transaction?.answered?.how;
    this.#transaction = undefined;
    if (committed) {
      this.#host.onCommitted(this);
      this.#letGo(true);
    } else if (how !== undefined) {
      this.#settle(how);
    }
  }

  /**
   * Nothing was committed: what was answered is not true, and none of it has left. The request may be answered anew,
   * unless its head had left before the transaction began.
   */
  takeBack(): void {
    this.#transaction = undefined;
    if (this.isOver && this.#phase !== 'settling') return;
    this.#unseal?.();
    this.#unseal = undefined;
    this.#phase = 'open';
    this.#held = [];
    this.#chunks = [];
    this.#bytes = 0;
    this.#finishing = false;
    this.#mode = 'kept';
    if (this.res.headersSent) {
      this.res.destroy();
      this.abandon();
      return;
    }
    this.#head = undefined;
    this.res.statusCode = 200;
    this.res.removeHeader('Content-Length');
  }

  /** Whether the claim has ended, or is about to. */
  get isOver(): boolean {
    return this.#phase !== 'open';
  }

  #onWriteHead(args: HeadArguments): ServerResponse {
    const [statusCode] = args;
    // 1xx are not the answer yet.
    if (this.#phase !== 'open' || this.#head !== undefined || statusCode < 200) return this.#callWriteHead(args);
    this.#head = this.#takeHead(args);
    this.#host.onHead(this.#head.headers);
    this.#chooseMode(args);
    if (this.#transaction) {
      this.#hold(() => this.#callWriteHead(args));
      this.res.statusCode = statusCode;
      this.#seal();
      return this.res;
    }
    if (this.#finishing && !this.isOver) {
      this.#hold(() => this.#callWriteHead(args));
      return this.res;
    }
    try {
      return this.#callWriteHead(args);
    } catch (error) {
      // Refused by Node: the handler may try again.
      this.#head = undefined;
      throw error;
    }
  }

  #onWrite(args: WriteArguments): boolean {
    const [chunk] = args;
    if (this.#phase === 'settling') {
      this.#hold(() => this.#callWrite(args));
      return true;
    }
    if (this.#phase === 'over' || !isChunk(chunk)) return this.#callWrite(args);
    const bytes = toBytes(chunk, args[1]);
    const length = this.#bytes + bytes.length;
    this.#finishing = this.#announcedLength() === length;
    this.#ensureHead();
    if (this.isOver) return this.#callWrite(args);
    this.#keep(bytes);
    if (!this.#finishing && !this.#transaction) return this.#callWrite(args);
    this.#hold(() => this.#callWrite(args));
    if (this.#finishing) this.#finish();
    return true;
  }

  #onEnd(args: WriteArguments): ServerResponse {
    if (this.#phase === 'settling') {
      this.#hold(() => this.#callEnd(args));
      return this.res;
    }
    if (this.#phase === 'over') return this.#callEnd(args);
    const [chunk] = args;
    const bytes = isChunk(chunk) ? toBytes(chunk, args[1]) : undefined;
    this.#finishing = true;
    if (this.#head === undefined) this.#setContentLength(bytes?.length ?? 0);
    this.#ensureHead();
    if (this.isOver) return this.#callEnd(args);
    if (bytes !== undefined) this.#keep(bytes);
    this.#hold(() => this.#callEnd(args));
    this.#finish();
    return this.res;
  }

  /** The connection is closed. If the answer is not known by now, either it will never be, or only nobody hears it. */
  #onClose(): void {
    if (this.#phase !== 'open') return;
    if (isBrokenHere(this.req, this.res)) {
      this.abandon();
      return;
    }
    this.#clientGone = true;
    // A pipe lets go of a closed response. What it still has to say is the answer all the same.
    this.res.once('unpipe', (source: Readable) => {
      if (this.isOver) return;
      if (source.destroyed || source.readableEnded) {
        this.abandon();
        return;
      }
      source.once('close', () => {
        this.abandon();
      });
      source.pipe(this.res);
    });
  }

  #ensureHead(): void {
    // Through the property: middleware that was mounted inside of us adds its headers there.
    if (this.#head === undefined && !this.res.headersSent) this.res.writeHead(this.res.statusCode);
  }

  #takeHead(args: HeadArguments): Head {
    const [statusCode, second, third] = args;
    const argument = typeof second === 'string' ? third : (third ?? second);
    const given = typeof second === 'string' ? second : this.res.statusMessage;
    const length = effectiveHeader(this.res, argument, 'content-length');
    return {
      statusCode,
      // Node's types promise a string where there is none before the head is written.
      statusMessage: given || '',
      headers: headersSince(this.#before, this.res, argument, this.#host.replaySetCookie),
      contentLength: length === undefined ? undefined : Number(length),
    };
  }

  #chooseMode(args: HeadArguments): void {
    const [, second, third] = args;
    const argument = typeof second === 'string' ? third : (third ?? second);
    const type = effectiveHeader(this.res, argument, 'content-type');
    // Held back until the commit, an event stream is an answer like any other.
    if (type === undefined || this.#transaction || !/^\s*text\/event-stream/i.test(type)) return;
    this.#mode = 'event-stream';
    // It may never end, and it must not run twice: the record says so from the start.
    if (this.#isWorthKeeping()) this.#settle('not-replayable');
  }

  #isWorthKeeping(): boolean {
    const head = this.#head;
    return head !== undefined && !this.noStore && this.#host.isWorthStoring(head, this.req);
  }

  #keep(bytes: Buffer): void {
    this.#bytes += bytes.length;
    if (this.#mode !== 'kept') return;
    if (this.#bytes > this.#host.maxResponseBytes) {
      this.#mode = 'too-large';
      this.#chunks = [];
    } else {
      this.#chunks.push(bytes);
    }
  }

  /** The handler has said all: ends the claim, then lets go of what waits. */
  #finish(): void {
    if (!this.#isWorthKeeping()) this.#settle('release');
    else if (this.#mode === 'kept') this.#settle(this.#answer());
    else this.#settle('not-replayable');
  }

  #answer(): Answer {
    const head = this.#head;
    const statusCode = head?.statusCode ?? this.res.statusCode;
    const hasBody = statusCode !== 204 && statusCode !== 304;
    return {
      statusCode,
      statusMessage: head?.statusMessage ?? '',
      headers: head?.headers ?? [],
      body: hasBody ? (this.#chunks.length === 1 ? (this.#chunks[0] ?? '') : Buffer.concat(this.#chunks)) : '',
      timestamp: new Date().toISOString(),
    };
  }

  #settle(how: Answer | Settlement, isWhole = true): void {
    this.#phase = 'settling';
    if (this.#transaction) {
      this.#transaction.answered ??= { how, commits: isWhole && (this.#head?.statusCode ?? 500) < 400 };
      return;
    }
    const written = this.#host.settle(this, how);
    if (typeof written === 'boolean') {
      this.#letGo(written);
      return;
    }
    if (this.#mode === 'event-stream') {
      this.#phase = 'over';
      return;
    }
    if (this.#finishing) this.#seal();
    void written.then((done) => {
      this.#letGo(done);
    });
  }

  #letGo(written: boolean): void {
    this.#phase = 'over';
    this.#chunks = [];
    this.#unseal?.();
    if (!written && !this.res.headersSent && this.#head !== undefined) {
      this.res.setHeader('Idempotency-Stored', 'false');
    }
    const held = this.#held;
    this.#held = [];
    for (const step of held) step();
  }

  /** For the handler the answer is on its way: a second one must fail as it would without us. */
  #seal(): void {
    this.#unseal ??= seal(this.res);
  }

  #hold(step: () => void): void {
    this.#held.push(step);
  }

  /** How long the body will be, if the head says so. */
  #announcedLength(): number | undefined {
    if (this.#head !== undefined) return this.#head.contentLength;
    const length = this.res.getHeader('content-length');
    return length === undefined ? undefined : Number(length);
  }

  /** What Node does for a body that comes in one piece with `end`; here the head is made before `end` is called. */
  #setContentLength(length: number): void {
    const { res } = this;
    const bodiless = res.statusCode === 204 || res.statusCode === 304 || this.req.httpVersionMajor > 1;
    if (bodiless || ['content-length', 'transfer-encoding', 'trailer'].some((name) => res.hasHeader(name))) return;
    res.setHeader('Content-Length', length);
  }

  #callWriteHead(args: HeadArguments): ServerResponse {
    return this.#writeHead(...(args as [number]));
  }

  #callWrite(args: WriteArguments): boolean {
    if (!this.#clientGone) return this.#write(...(args as [string]));
    // Nobody listens: say that it is written, so that a pipe goes on to its end.
    const callback = callbackOf(args);
    if (callback) process.nextTick(callback);
    return true;
  }

  #callEnd(args: WriteArguments): ServerResponse {
    return this.#end(...(args as [string]));
  }
}

type HeadArguments = [statusCode: number, second?: string | HeadArgument, third?: HeadArgument];
type WriteArguments = [chunk?: unknown, encoding?: BufferEncoding | WriteCallback, callback?: WriteCallback];

function isChunk(chunk: unknown): chunk is string | Uint8Array {
  return typeof chunk === 'string' || chunk instanceof Uint8Array;
}

/** The chunk's bytes, ours to keep: callers reuse their buffers. */
function toBytes(chunk: string | Uint8Array, encoding: unknown): Buffer {
  if (typeof chunk !== 'string') return Buffer.from(chunk);
  return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
}

function callbackOf(args: WriteArguments): WriteCallback | undefined {
  return args.find((argument) => typeof argument === 'function') as WriteCallback | undefined;
}

/**
 * Whether this side broke the connection: the handler destroyed it, or a stream that broke half-way did. A client
 * that left has ended its half (`readableEnded`) or reset it (`errored`). A server that is closing, and a socket with
 * a time limit, destroy connections too, while the handler goes on; these count as the client's.
 */
function isBrokenHere(req: IncomingMessage, res: ServerResponse): boolean {
  if (res.errored) return true;
  const socket = req.socket as IncomingMessage['socket'] & { server?: { listening: boolean } };
  return (
    socket.destroyed &&
    !socket.readableEnded &&
    !socket.errored &&
    !socket.timeout &&
    socket.server?.listening !== false
  );
}

/** Makes the response look sent: `headersSent` says so, and headers can be changed no more. */
function seal(res: ServerResponse): () => void {
  if (res.headersSent) return () => undefined;
  const refuse = () => {
    throw Object.assign(new Error('Cannot set headers after they are sent to the client'), {
      code: 'ERR_HTTP_HEADERS_SENT',
    });
  };
  const names = ['setHeader', 'appendHeader', 'removeHeader', 'setHeaders', 'writeHead', 'flushHeaders'] as const;
  const before = names.map((name) => [name, Object.getOwnPropertyDescriptor(res, name)] as const);
  for (const name of names) Object.defineProperty(res, name, { value: refuse, configurable: true, writable: true });
  Object.defineProperty(res, 'headersSent', { get: () => true, configurable: true });
  return () => {
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(res, name, descriptor);
      else Reflect.deleteProperty(res, name);
    }
    Reflect.deleteProperty(res, 'headersSent');
  };
}
