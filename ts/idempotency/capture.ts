import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { RequestFacts } from '../../native/binding.js';
import { REMOVED, type Answer } from './answer.js';
import { isBrokenHere, onBrokenStream, outlive } from './departure.js';
import type { HeldClaim, Settlement, Written } from './desk.js';
import { isSendable, readHead, snapshot, type HeadArguments, type SeenHead, type Snapshot } from './headers.js';
import { exposeHeaders } from '../problem.js';
import { seal } from './seal.js';
import { timestamp } from './timestamp.js';
import type { Answered } from './transaction.js';

/** What a capture asks of its middleware. */
export interface CaptureHost {
  readonly maxResponseBytes: number;
  readonly replaySetCookie: boolean;
  /** Whether an answer is worth keeping. */
  isWorthStoring(answer: { statusCode: number; headers: string[] }, req: IncomingMessage): boolean;
  /** Told that an answer comes compressed already. */
  onCompressed(): void;
  /**
   * Ends the claim. True when that is written; false when the answer goes out without being kept. Never rejects, and
   * takes no longer than the store's time limit.
   */
  settle(capture: Capture, how: Answer | Settlement): Written;
  /** Told that the claim has ended in a transaction. */
  onCommitted(capture: Capture): void;
}

/** How far the answer is. */
type Phase =
  | 'open'
  /** The whole answer is known; what is left of it waits for the store. */
  | 'settling'
  /** The claim has ended: everything passes through. */
  | 'over';

type WriteCallback = (error?: Error | null) => void;
type WriteArguments = [chunk?: unknown, encoding?: BufferEncoding | WriteCallback, callback?: WriteCallback];

/** What is taken over of a response: as it was, whoever had taken it over before. */
interface Original {
  readonly writeHead: (...args: HeadArguments) => ServerResponse;
  readonly write: (...args: WriteArguments) => boolean;
  readonly end: (...args: WriteArguments) => ServerResponse;
  readonly flushHeaders: () => void;
  readonly destroy: (error?: Error) => ServerResponse;
  readonly emit: (event: string | symbol, ...args: unknown[]) => boolean;
}

/** Where a response has its capture. */
const CAPTURE = Symbol('reprise.capture');

interface CapturedResponse extends ServerResponse {
  [CAPTURE]: Capture;
}

/**
 * What stands in for it, the same functions for all responses: closures of each response's own cost more than the
 * store does.
 */
const TAKEN_OVER = {
  writeHead(this: CapturedResponse, ...args: HeadArguments): ServerResponse {
    return this[CAPTURE].onWriteHead(args);
  },
  write(this: CapturedResponse, ...args: WriteArguments): boolean {
    return this[CAPTURE].onWrite(args);
  },
  end(this: CapturedResponse, ...args: WriteArguments): ServerResponse {
    return this[CAPTURE].onEnd(args);
  },
  flushHeaders(this: CapturedResponse): void {
    this[CAPTURE].onFlushHeaders();
  },
  destroy(this: CapturedResponse, error?: Error): ServerResponse {
    return this[CAPTURE].onDestroy(error);
  },
  emit(this: CapturedResponse, event: string | symbol, ...args: unknown[]): boolean {
    this[CAPTURE].onEvent(event, args[0]);
    return this[CAPTURE].original.emit.call(this, event, ...args);
  },
} as unknown as Original & Pick<ServerResponse, keyof Original>;

/**
 * Watches one response. Every way of answering in Node, Express and connect goes through `writeHead`, `write` and
 * `end` of the response object, so these three are taken over, and besides them only `flushHeaders`, which may send
 * all that there is, `destroy`, which gives the answer up, and `emit`, by which a stream that is piped in and a client
 * that leaves make themselves known: a listener for each would cost three times as much.
 *
 * - The head is taken before the real `writeHead`, inside of which outer middleware adds its own headers.
 * - The last piece of the answer waits until the record is stored: a client that has seen the whole answer finds it.
 *   If nothing went out before, the head waits too, and can still say that the answer was not stored.
 * - What the handler answers decides, not what reaches the client. While an answer is kept, its source is not slowed
 *   down by a slow client, and goes on when the client is gone.
 *
 * Informational answers (1xx) and trailers pass, and are not kept.
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

  /** The response's own methods. */
  readonly original: Original;

  readonly #host: CaptureHost;
  readonly #before: Snapshot;
  #phase: Phase = 'open';
  #head: SeenHead | undefined;
  /** The pieces of the body; none when they have become too large to be kept. */
  #body: Buffer[] | undefined = [];
  #bytes = 0;
  /** The head that is asked for goes with the last piece of the answer. */
  #headIsLast = false;
  #headIsHeld = false;
  /** The status of a head that was let go: Node asks for the head itself when it sends what comes next. */
  #letGoStatus: number | undefined;
  /** What waits for the store, in its order. */
  #held: (() => unknown)[] = [];
  #ended = false;
  /** What is piped into the response. */
  #sources: Set<Readable> | undefined;
  /** The client has left, while the handler goes on: makes the response closed again. */
  #stopOutliving: (() => void) | undefined;
  /** A transaction is under way, which ends the claim with what was answered inside of it. */
  #transaction: { answered?: Answered } | undefined;
  /** For the handler the answer is on its way: makes the response open again. */
  #unseal: (() => void) | undefined;

  constructor(host: CaptureHost, req: IncomingMessage, res: ServerResponse, claim: HeldClaim, facts: RequestFacts) {
    this.#host = host;
    this.facts = facts;
    this.req = req;
    this.res = res;
    this.claim = claim;
    this.#before = snapshot(res);
    const { writeHead, write, end, flushHeaders, destroy, emit } = res as unknown as Original;
    this.original = { writeHead, write, end, flushHeaders, destroy, emit };
    (res as CapturedResponse)[CAPTURE] = this;
    res.writeHead = TAKEN_OVER.writeHead;
    res.write = TAKEN_OVER.write;
    res.end = TAKEN_OVER.end;
    res.flushHeaders = TAKEN_OVER.flushHeaders;
    res.destroy = TAKEN_OVER.destroy;
    res.emit = TAKEN_OVER.emit;
    if (req.httpVersionMajor > 1) {
      onBrokenStream(req, () => {
        this.abandon();
      });
    }
  }

  /** Ends the claim without an answer: there will be none. */
  abandon(): void {
    if (this.#phase !== 'open') return;
    if (this.#transaction) this.#answerInside('release', false);
    else this.#endEarly('release');
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
    if (this.#phase === 'over') return;
    this.#unseal?.();
    this.#unseal = undefined;
    this.#phase = 'open';
    this.#held = [];
    this.#body = [];
    this.#bytes = 0;
    this.#headIsHeld = false;
    this.#ended = false;
    if (this.res.headersSent) {
      this.res.destroy();
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

  /** Whether the claim has ended, so that everything passes through. */
  get #isDone(): boolean {
    return this.#phase === 'over';
  }

  onFlushHeaders(): void {
    if (!this.isOver) this.#askForHead(false);
    // Without a body, the head is the whole answer: it goes when the answer ends.
    if (this.isOver || !this.#head || hasBody(this.#head)) this.original.flushHeaders.call(this.res);
  }

  onDestroy(error?: Error): ServerResponse {
    this.abandon();
    if (this.#phase === 'settling') this.#held.push(() => this.original.destroy.call(this.res, error));
    else this.original.destroy.call(this.res, error);
    return this.res;
  }

  /** Hears of an event before anybody else does. */
  onEvent(event: string | symbol, detail: unknown): void {
    if (event === 'pipe') {
      (this.#sources ??= new Set()).add(detail as Readable);
      if (this.#stopOutliving) this.#watch(detail as Readable);
    } else if (event === 'unpipe') {
      this.#sources?.delete(detail as Readable);
    } else if (event === (this.req.httpVersionMajor > 1 ? 'finish' : 'close')) {
      // Of HTTP/2, a response whose client has left emits both; a pipe lets go of it at the first.
      this.#onClose();
    }
  }

  onWriteHead(args: HeadArguments): ServerResponse {
    if (this.#letGoStatus !== undefined) {
      const status = this.#letGoStatus;
      this.#letGoStatus = undefined;
      return this.#writeHead(status);
    }
    // 1xx are not the answer yet.
    if (this.#phase !== 'open' || this.#head !== undefined || args[0] < 200) return this.#writeHead(...args);
    const head = readHead(this.#before, this.res, args, this.#host.replaySetCookie);
    const isHeld = this.#headIsLast || this.#transaction !== undefined;
    if (isHeld && args.length === 1 && isSendable(head, this.res)) {
      this.#headIsHeld = true;
    } else if (this.#transaction) {
      this.#held.push(() => this.#writeHead(...args));
    } else {
      // What Node refuses, it refuses here, where the handler stands.
      this.#writeHead(...args);
    }
    this.#head = head;
    if (head.isCompressed) this.#host.onCompressed();
    // It may never end, and it must not run twice: the record says so from the start.
    if (head.isEventStream && !isHeld && this.#isWorthKeeping(head)) this.#endEarly('not-replayable');
    if (this.#transaction) {
      this.res.statusCode = head.statusCode;
      this.#seal();
    }
    return this.res;
  }

  onWrite(args: WriteArguments): boolean {
    const [chunk, encoding] = args;
    if (this.#phase === 'settling') {
      this.#held.push(() => this.#pass(args));
      return true;
    }
    if (this.#phase === 'over' || !isChunk(chunk)) return this.#write(args);
    const bytes = toBytes(chunk, encoding);
    const total = this.#bytes + bytes.length;
    this.#askForHead(isAtLeast(total, this.res.getHeader('content-length')));
    if (this.isOver) return this.#write(args);
    this.#keep(bytes);
    if (isAtLeast(total, this.#head?.contentLength)) {
      this.#held.push(() => this.#pass(args));
      this.#finish();
      return true;
    }
    if (this.#transaction) {
      this.#held.push(() => this.#pass(args));
      return true;
    }
    this.#letGoOfHead();
    if (this.#stopIfPointless()) return this.#write(args);
    // What is kept need not wait for a slow client.
    return this.#pass(args) || this.#body !== undefined;
  }

  onEnd(args: WriteArguments): ServerResponse {
    const [chunk, encoding] = args;
    let bytes: Buffer | undefined;
    if (chunk instanceof Buffer && this.claim.endsAtOnce) bytes = chunk;
    else if (isChunk(chunk)) bytes = toBytes(chunk, encoding);
    // Any other body is refused by Node.
    const isRefused = bytes === undefined && Boolean(chunk) && typeof chunk !== 'function';
    if (this.#phase === 'over' || isRefused) return this.#end(args);
    if (this.#phase === 'open') {
      this.#askForHead(true);
      if (this.isOver) return this.#end(args);
      if (bytes) this.#keep(bytes);
    }
    this.#ended = true;
    if (!this.isOver) this.#finish();
    // What was held before it has left by now, unless it waits still.
    if (this.#isDone) return this.#end(args);
    this.#held.push(() => this.#end(args));
    return this.res;
  }

  /** The connection is closed. If the answer is not known by now, either it will never be, or only nobody hears it. */
  #onClose(): void {
    if (this.#phase !== 'open') return;
    if (isBrokenHere(this.req)) {
      this.abandon();
      return;
    }
    const sources = this.#sources ?? [];
    this.#stopOutliving = outlive(this.req, this.res, sources, () => {
      this.abandon();
    });
    for (const source of sources) this.#watch(source);
    this.#stopIfPointless();
  }

  /** After the client left: a stream that breaks half-way leaves an answer that nobody else gives up. */
  #watch(source: Readable): void {
    const onClose = () => {
      if (!source.readableEnded) this.abandon();
    };
    if (source.closed) onClose();
    else source.once('close', onClose);
  }

  /** Nobody listens to an answer that cannot be kept: it is left to Node. */
  #stopIfPointless(): boolean {
    const head = this.#head;
    if (!this.#stopOutliving || this.#transaction || this.#body || !head || !this.#isWorthKeeping(head)) return false;
    this.#endEarly('not-replayable');
    return true;
  }

  /** Takes the head if the handler has not written it. Through the property: inner middleware adds its headers there. */
  #askForHead(isLast: boolean): void {
    if (this.#head !== undefined || this.res.headersSent) return;
    this.#headIsLast = isLast;
    try {
      this.res.writeHead(this.res.statusCode);
    } finally {
      this.#headIsLast = false;
    }
  }

  #letGoOfHead(): void {
    if (!this.#headIsHeld || !this.#head) return;
    const { statusCode } = this.#head;
    this.#headIsHeld = false;
    // Node gives a body that comes in one piece its length there.
    this.#letGoStatus = statusCode;
  }

  #writeHead(...args: HeadArguments): ServerResponse {
    return this.original.writeHead.apply(this.res, args);
  }

  #write(args: WriteArguments): boolean {
    return this.original.write.apply(this.res, args);
  }

  #end(args: WriteArguments): ServerResponse {
    return this.original.end.apply(this.res, args);
  }

  #isWorthKeeping(head: SeenHead): boolean {
    return !this.noStore && this.#host.isWorthStoring(head, this.req);
  }

  #keep(bytes: Buffer): void {
    this.#bytes += bytes.length;
    if (this.#bytes > this.#host.maxResponseBytes) this.#body = undefined;
    else this.#body?.push(bytes);
  }

  /** The handler has said all: ends the claim, then lets go of what waits. */
  #finish(): void {
    const how = this.#verdict();
    this.#body = undefined;
    if (this.#transaction) this.#answerInside(how, (this.#head?.statusCode ?? 500) < 400 && how !== 'release');
    else this.#settle(how);
  }

  /** Notes what the transaction is to end with. */
  #answerInside(how: Answer | Settlement, commits: boolean): void {
    this.#phase = 'settling';
    if (this.#transaction) this.#transaction.answered ??= { how, commits };
  }

  #settle(how: Answer | Settlement): void {
    this.#phase = 'settling';
    const written = this.#host.settle(this, how);
    if (typeof written === 'boolean') {
      this.#letGo(written);
      return;
    }
    this.#seal();
    void written.then((written) => {
      try {
        this.#letGo(written);
      } catch (error) {
        // It would have been thrown at the handler, which is long gone.
        this.res.destroy(error as Error);
      }
    });
  }

  #verdict(): Answer | Settlement {
    const head = this.#head;
    if (head === undefined || !this.#isWorthKeeping(head)) return 'release';
    const { statusCode, statusMessage, headers, removed, contentLength = this.#bytes } = head;
    // Shorter than its head says: it is not complete, and the client knows.
    if (hasBody(head) && this.#bytes < contentLength) return 'release';
    // Held back until the commit, an event stream is an answer like any other.
    if (this.#body === undefined || (head.isEventStream && !this.#transaction)) return 'not-replayable';
    return {
      statusCode,
      statusMessage,
      headers: removed.length === 0 ? headers : [...removed.flatMap((name) => [REMOVED, name]), ...headers],
      body: hasBody(head) ? joined(this.#body, contentLength) : '',
      timestamp: timestamp(Date.now()),
    };
  }

  #letGo(written: boolean): void {
    this.#phase = 'over';
    this.#unseal?.();
    if (!written && this.#headIsHeld) {
      this.res.setHeader('Idempotency-Stored', 'false');
      exposeHeaders(this.res, 'Idempotency-Stored');
    }
    this.#letGoOfHead();
    this.#stopOutliving?.();
    if (this.#held.length > 0) for (const step of this.#held.splice(0)) step();
    this.#stopOutliving = undefined;
  }

  #seal(): void {
    this.#unseal ??= seal(
      this.req,
      this.res,
      () => this.#ended,
      (step) => this.#held.push(step),
    );
  }

  /** Ends the claim before the answer has ended, which passes through from here on. */
  #endEarly(how: Settlement): void {
    this.#phase = 'over';
    this.#body = undefined;
    void this.#host.settle(this, how);
    this.#stopOutliving?.();
    this.#stopOutliving = undefined;
  }

  /** Writes a piece; when the client is gone, says that it is written, so that its source goes on. */
  #pass(args: WriteArguments): boolean {
    if (!this.#stopOutliving) return this.#write(args);
    const callback = args.find((argument) => typeof argument === 'function');
    if (callback) process.nextTick(callback);
    return true;
  }
}

function isChunk(chunk: unknown): chunk is string | Uint8Array {
  return typeof chunk === 'string' || chunk instanceof Uint8Array;
}

/** The chunk's bytes, ours to keep: callers reuse their buffers. */
function toBytes(chunk: string | Uint8Array, encoding: unknown): Buffer {
  if (typeof chunk !== 'string') return Buffer.from(chunk);
  return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
}

function hasBody({ statusCode, contentLength }: SeenHead): boolean {
  return statusCode !== 204 && statusCode !== 304 && contentLength !== 0;
}

function isAtLeast(bytes: number, announced: number | string | string[] | undefined): boolean {
  return announced !== undefined && bytes >= Number(announced);
}

/** The pieces as one, but no more of them than the head announces. */
function joined(pieces: readonly Buffer[], length: number): Buffer {
  const [first] = pieces;
  const whole = pieces.length === 1 && first ? first : Buffer.concat(pieces);
  return whole.length > length ? whole.subarray(0, length) : whole;
}
