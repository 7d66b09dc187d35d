import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { types } from 'node:util';
import type { RequestFacts } from '../../native/binding.js';
import { exposeHeaders } from '../problem.js';
import { REMOVED, type Answer, type Answered } from './answer.js';
import { isBodyLost, onBodyLost, outlive, watchBreaks, type HandlerRun } from './departure.js';
import type { HeldClaim, Settlement, Written } from './desk.js';
import {
  asSent,
  isSendable,
  readHead,
  setsAnotherCookie,
  snapshot,
  type HeadArguments,
  type SeenHead,
  type Snapshot,
} from './headers.js';
import { holdOf, type Hold } from './hold.js';
import { seal } from './seal.js';
import { timestamp } from './timestamp.js';

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
  /** The whole answer is known; its last bytes wait for the store. */
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

/** Calls that wait: those of an answer inside a transaction, or the last one of a stand-in for a response. */
interface Draft {
  readonly calls: (() => unknown)[];
  /** Makes the response open again. */
  unseal?: () => void;
}

/**
 * Watches one response. Every way of answering in Node, Express and connect goes through `writeHead`, `write` and
 * `end` of the response object, so these three are taken over, and besides them only `flushHeaders`, which may send
 * all that there is, `destroy`, which gives the answer up, and `emit`, by which a stream that is piped in and a client
 * that leaves make themselves known: a listener for each would cost three times as much.
 *
 * - Each call passes at once, to middleware in front and to Node. Only the last bytes wait, below them, until the record
 *   is stored ({@link Hold}): a client that has seen the whole answer finds it.
 * - The head is read before the real `writeHead`, inside of which outer middleware adds its own headers.
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
  /** The handler that answers: what it does in its asynchronous context. */
  readonly run: HandlerRun;
  /** Set by the handler: the answer is not to be kept. */
  noStore = false;
  /** Told that the claim was given up, though the handler may still run. */
  onGivenUp: ((reason: Error) => void) | undefined;

  /** The response's own methods. */
  readonly original: Original;

  readonly #host: CaptureHost;
  readonly #before: Snapshot;
  #phase: Phase = 'open';
  #head: SeenHead | undefined;
  /** The head has text beyond ASCII, and shows its encoding when it is written with the first piece of the body. */
  #isHeadWatched = false;
  #isHeadUtf8 = false;
  /** The pieces of the body; none when they have become too large to be kept. */
  #body: Buffer[] | undefined = [];
  #bytes = 0;
  /** Bytes of the piece that is being passed on. Middleware and Node call the response again meanwhile. */
  #passing: number | undefined;
  #isFlushing = false;
  #ended = false;
  #hold: Hold | undefined;
  #draft: Draft | undefined;
  /** A transaction is under way, which ends the claim with what was answered inside of it. */
  #transaction: { answered?: Answered } | undefined;
  /** What a handler does that has said all long ago; Node ignores most of it once the response is closed. */
  #afterwards: (() => unknown)[] | undefined;
  /** What is piped into the response. */
  #sources: Set<Readable> | undefined;
  /** The client has left, while the handler goes on: makes the response closed again. */
  #stopOutliving: (() => void) | undefined;

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
    watchBreaks(req);
    this.run = {
      onBroken: (connection) => {
        const own = req.httpVersionMajor > 1 ? (req as unknown as { stream: unknown }).stream : req.socket;
        if (connection === own) this.abandon();
      },
    };
  }

  /** Ends the claim without an answer: there will be none. */
  abandon(): void {
    if (this.#phase !== 'open') return;
    if (this.#transaction) {
      this.#answerInside('release', false);
      return;
    }
    this.#giveUp('its answer was broken off');
    this.#endEarly('release');
  }

  /** From here on the answer is held, until `resume` or `takeBack`: a transaction ends the claim with it. */
  defer(): void {
    this.#transaction = {};
    this.#draft = { calls: [] };
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
    this.#draft?.unseal?.();
    this.#draft = undefined;
    this.#phase = 'open';
    this.#body = [];
    this.#bytes = 0;
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

  get #isDone(): boolean {
    return this.#phase === 'over';
  }

  onFlushHeaders(): void {
    const { flushHeaders } = this.original;
    if (this.isOver || this.#passing !== undefined) {
      flushHeaders.call(this.res);
    } else if (this.#draft) {
      this.#askForHead();
    } else {
      this.#isFlushing = true;
      if (this.#head && !hasBody(this.#head)) this.#beginHold();
      this.#pass(0, () => {
        flushHeaders.call(this.res);
      });
      this.#isFlushing = false;
      // Without a body, the head is the whole answer.
      if (!this.isOver && this.#head && !hasBody(this.#head)) this.#finish();
    }
  }

  onDestroy(error?: Error): ServerResponse {
    this.abandon();
    if (this.#draft && this.isOver) this.#draft.calls.push(() => this.original.destroy.call(this.res, error));
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
    } else if (event === 'close' && this.#afterwards) {
      for (const call of this.#afterwards.splice(0)) call();
    } else if (event === (this.req.httpVersionMajor > 1 ? 'finish' : 'close')) {
      // An HTTP/2 response whose client has left emits both events; a pipe lets go of the response at `finish`.
      this.#onClose();
    }
  }

  onWriteHead(args: HeadArguments): ServerResponse {
    // 1xx are not the answer yet.
    if (this.isOver || this.#head !== undefined || args[0] < 200) return this.#writeHead(args);
    const head = readHead(this.#before, this.req, this.res, args, this.#host.replaySetCookie);
    if (this.#draft) {
      this.#draftHead(this.#draft, args, head);
      return this.res;
    }
    const isWhole = this.#isFlushing ? !hasBody(head) : this.#bytes + (this.#passing ?? 0) >= lengthOf(head);
    this.#isHeadWatched = !isAscii(head);
    if (this.#passing !== undefined && (isWhole || this.#isHeadWatched)) this.#beginHold();
    this.#writeHead(args);
    const setsCookie = head.setsCookie || setsAnotherCookie(this.#before, this.res);
    this.#head = { ...asSent(head, args, this.res), setsCookie };
    if (head.isCompressed) this.#host.onCompressed();
    // It may never end, and it must not run twice: the record says so from the start.
    if (head.isEventStream && !this.#draft && this.#isWorthKeeping(head)) this.#endEarly(this.#unkept);
    // Middleware in front that ends the answer later than the handler does.
    else if (this.#ended && this.#passing === undefined) this.#finish();
    return this.res;
  }

  onWrite(args: WriteArguments): boolean {
    const [chunk, encoding] = args;
    if (this.isOver || this.#passing !== undefined || this.#ended || !isChunk(chunk)) {
      if (this.#draft && this.isOver) {
        this.#draft.calls.push(() => this.#write(args));
        return true;
      }
      if (this.#isLate(chunk)) {
        this.#afterwards?.push(() => this.#write(args));
        return false;
      }
      return this.#write(args);
    }
    const bytes = toBytes(chunk, encoding);
    if (this.#draftFor(bytes.length)) return this.#draftWrite(args, bytes);
    if (this.#stopOutliving) return this.#writeUnheard(args, bytes);
    const total = this.#bytes + bytes.length;
    if (this.#head && (total >= lengthOf(this.#head) || this.#isHeadWatched)) this.#beginHold();
    const isTaken = this.#pass(bytes.length, () => this.#write(args));
    if (this.#isDone) {
      this.#hold?.release();
      return isTaken;
    }
    this.#keep(bytes);
    if (this.#head && total >= lengthOf(this.#head)) this.#finish();
    else this.#hold?.release();
    // What is kept need not wait for a slow client.
    return isTaken || this.#body !== undefined;
  }

  onEnd(args: WriteArguments): ServerResponse {
    const [chunk, encoding] = args;
    let bytes: Buffer | undefined;
    if (chunk instanceof Buffer && this.claim.endsAtOnce) bytes = chunk;
    else if (isChunk(chunk)) bytes = toBytes(chunk, encoding);
    // Any other body is refused by Node.
    const isRefused = bytes === undefined && Boolean(chunk) && typeof chunk !== 'function';
    if (this.#phase === 'over' || isRefused || this.#passing !== undefined) return this.#end(args);
    if (this.#draftFor(Infinity)) return this.#draftEnd(args, bytes);
    if (this.#isLate(chunk)) {
      this.#afterwards?.push(() => this.#end(args));
      return this.res;
    }
    if (this.isOver || this.#ended) return this.#end(args);
    if (this.#stopOutliving) return this.#endUnheard(args, bytes);
    this.#beginHold();
    this.#ended = true;
    try {
      this.#pass(bytes?.length ?? 0, () => this.#end(args));
    } catch (error) {
      this.#ended = false;
      throw error;
    }
    if (bytes) this.#keep(bytes);
    if (this.#isDone) this.#hold?.release();
    else if (this.#head) this.#finish();
    // Middleware in front ends the answer later.
    else this.#hold?.keep();
    return this.res;
  }

  /** Passes a call on. What Node refuses, it refuses here, where the handler stands. */
  #pass<T>(bytes: number, call: () => T): T {
    this.#passing = bytes;
    let isDone = false;
    try {
      const result = call();
      isDone = true;
      return result;
    } finally {
      this.#passing = undefined;
      if (!isDone) this.#hold?.release();
      else if (this.#isHeadWatched) {
        this.#isHeadUtf8 = this.#hold?.isHeadUtf8 ?? false;
        this.#isHeadWatched = false;
      }
    }
  }

  /** Whether a piece comes so late behind the end that the response would be closed by now, did it not wait for the store. */
  #isLate(chunk: unknown): boolean {
    return Boolean(chunk) && this.#afterwards !== undefined && this.#phase === 'settling';
  }

  #beginHold(): void {
    this.#hold ??= holdOf(this.req, this.res);
    this.#hold?.begin();
  }

  /** The client has left, and the handler writes a piece: says that it is written, so that its source goes on. */
  #writeUnheard(args: WriteArguments, bytes: Buffer): boolean {
    this.#askForHead();
    if (this.isOver) return this.#write(args);
    this.#keep(bytes);
    const callback = args.find((argument) => typeof argument === 'function');
    if (callback) process.nextTick(callback);
    if (this.#head && this.#bytes >= lengthOf(this.#head)) this.#finish();
    else this.#stopIfPointless();
    return true;
  }

  /** The client has left, and the handler has said all. */
  #endUnheard(args: WriteArguments, bytes: Buffer | undefined): ServerResponse {
    this.#askForHead();
    if (this.isOver) return this.#end(args);
    if (bytes) this.#keep(bytes);
    this.#ended = true;
    this.#finish();
    return this.#end(args);
  }

  /** The calls that wait, if a piece of so many bytes is not to be passed on: in a transaction, and the last of a stand-in. */
  #draftFor(bytes: number): boolean {
    if (this.#draft) return true;
    if (this.claim.endsAtOnce || this.isOver) return false;
    const length = this.#head ? lengthOf(this.#head) : Number(this.res.getHeader('content-length') ?? NaN);
    if (bytes !== Infinity && !(this.#bytes + bytes >= length)) return false;
    this.#hold ??= holdOf(this.req, this.res);
    if (this.#hold) return false;
    this.#draft = { calls: [] };
    return true;
  }

  #draftHead(draft: Draft, args: HeadArguments, head: SeenHead): void {
    // One without arguments is written by Node itself, which gives a body that comes in one piece its length there.
    if (args.length > 1 || !isSendable(head, this.res)) draft.calls.push(() => this.#writeHead(args));
    this.#head = head;
    if (head.isCompressed) this.#host.onCompressed();
    this.res.statusCode = head.statusCode;
    if (this.#transaction) draft.unseal ??= seal(this.req, this.res, () => this.#ended);
  }

  #draftWrite(args: WriteArguments, bytes: Buffer): boolean {
    this.#askForHead();
    this.#keep(bytes);
    this.#draft?.calls.push(() => this.#write(args));
    if (this.#head && this.#bytes >= lengthOf(this.#head)) this.#finish();
    return true;
  }

  #draftEnd(args: WriteArguments, bytes: Buffer | undefined): ServerResponse {
    if (!this.isOver) {
      this.#askForHead();
      if (bytes) this.#keep(bytes);
    }
    this.#ended = true;
    this.#draft?.calls.push(() => this.#end(args));
    if (!this.isOver) this.#finish();
    return this.res;
  }

  /** The connection is closed. That says nothing about the handler, unless it can never have the rest of its request. */
  #onClose(): void {
    if (this.#phase !== 'open') return;
    onBodyLost(this.req, () => {
      this.abandon();
    });
    if (this.isOver) return;
    const sources = this.#sources ?? [];
    this.#stopOutliving = outlive(this.req, this.res, sources);
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
  #stopIfPointless(): void {
    const head = this.#head;
    if (this.#transaction || this.#body || !head || !this.#isWorthKeeping(head)) return;
    this.#endEarly(this.#unkept);
  }

  /** Takes the head if the handler has not written it. Through the property: inner middleware adds its headers there. */
  #askForHead(): void {
    if (this.#head === undefined && !this.res.headersSent) this.res.writeHead(this.res.statusCode);
  }

  #writeHead(args: HeadArguments): ServerResponse {
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

  /** How a claim ends whose answer is no answer to keep: a client that sent a key wants one run, any other an answer. */
  get #unkept(): Settlement {
    return this.#isDerived ? 'release' : 'not-replayable';
  }

  get #isDerived(): boolean {
    return this.facts[2] === undefined;
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
    if (how === 'release') this.#giveUp('its answer is not kept');
    const written = this.#host.settle(this, how);
    if (typeof written === 'boolean') {
      this.#letGo(written);
      return;
    }
    this.#hold?.keep();
    // Node closes a response that has left in the second turn of its queue.
    if (this.#ended && this.#hold) {
      process.nextTick(() => {
        process.nextTick(() => {
          this.#afterwards ??= [];
        });
      });
    }
    void written.then((written) => {
      try {
        this.#letGo(written);
      } catch (error) {
        // It would have been thrown at the handler, which is long gone.
        this.res.destroy(error as Error);
      }
    });
  }

  /** Another request may run under the key from here on: the handler is told, in case it still runs. */
  #giveUp(why: string): void {
    this.onGivenUp?.(new Error(`The claim of this idempotency key was given up: ${why}`));
  }

  #verdict(): Answer | Settlement {
    const head = this.#head;
    if (head === undefined || isBodyLost(this.req) || !this.#isWorthKeeping(head)) return 'release';
    // Who logs in again wants a session again.
    if (this.#isDerived && head.setsCookie) return 'release';
    const { statusCode, statusMessage, headers, removed } = head;
    // Shorter than its head says: it is not complete, and the client knows.
    if (hasBody(head) && head.contentLength !== undefined && this.#bytes < head.contentLength) return 'release';
    // Held back until the commit, an event stream is an answer like any other.
    if (this.#body === undefined || (head.isEventStream && !this.#transaction)) return this.#unkept;
    const asBytes = (text: string) => (this.#isHeadUtf8 ? Buffer.from(text).toString('latin1') : text);
    return {
      statusCode,
      statusMessage: asBytes(statusMessage),
      headers: [...removed.flatMap((name) => [REMOVED, name]), ...headers.map(asBytes)],
      body: hasBody(head) ? joined(this.#body, head.contentLength ?? this.#bytes) : '',
      timestamp: timestamp(Date.now()),
    };
  }

  #letGo(written: boolean): void {
    this.#phase = 'over';
    this.run.onBroken = undefined;
    const draft = this.#draft;
    this.#draft = undefined;
    draft?.unseal?.();
    if (draft && !written && !this.res.headersSent) {
      this.res.setHeader('Idempotency-Stored', 'false');
      exposeHeaders(this.res, 'Idempotency-Stored');
    }
    for (const call of draft?.calls ?? []) call();
    this.#hold?.release(written ? undefined : ['Idempotency-Stored', 'false']);
    this.#stopOutliving?.();
    this.#stopOutliving = undefined;
  }

  /** Ends the claim before the answer has ended, which passes through from here on. */
  #endEarly(how: Settlement): void {
    this.#phase = 'over';
    this.run.onBroken = undefined;
    this.#body = undefined;
    void this.#host.settle(this, how);
    if (this.#passing === undefined) this.#hold?.release();
    this.#stopOutliving?.();
    this.#stopOutliving = undefined;
  }
}

/** What Node takes as a piece of a body, of whatever realm. */
function isChunk(chunk: unknown): chunk is string | Uint8Array {
  return typeof chunk === 'string' || types.isUint8Array(chunk);
}

/** The chunk's bytes, ours to keep: callers reuse their buffers. */
function toBytes(chunk: string | Uint8Array, encoding: unknown): Buffer {
  if (typeof chunk !== 'string') return Buffer.from(chunk);
  return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
}

function hasBody({ statusCode, contentLength }: SeenHead): boolean {
  return statusCode !== 204 && statusCode !== 304 && contentLength !== 0;
}

/** How many bytes make the body whole; for ever more where the head does not say. */
function lengthOf({ contentLength }: SeenHead): number {
  return contentLength ?? Infinity;
}

function isAscii({ statusMessage, headers }: SeenHead): boolean {
  // eslint-disable-next-line no-control-regex
  return /^[\0-\x7f]*$/.test(statusMessage + headers.join(''));
}

/** The pieces as one, but no more of them than the head announces. */
function joined(pieces: readonly Buffer[], length: number): Buffer {
  const [first] = pieces;
  const whole = pieces.length === 1 && first ? first : Buffer.concat(pieces);
  return whole.length > length ? whole.subarray(0, length) : whole;
}
