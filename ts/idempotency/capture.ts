import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { RequestFacts } from '../../native/binding.js';
import { exposeHeaders } from '../problem.js';
import type { Answer, Answered } from './answer.js';
import { Departure, isBodyLost, isInHandler, onBodyLost, watchBreaks, type HandlerRun } from './departure.js';
import type { HeldClaim, Settlement, Written } from './desk.js';
import {
  asSent,
  isSendable,
  readHead,
  restore,
  setsAnotherCookie,
  snapshot,
  stateOf,
  type HeadArguments,
  type ResponseState,
  type SeenHead,
  type Snapshot,
} from './headers.js';
import { holdOf, type Hold } from './hold.js';
import { intercept, isHeadOurs, type Interceptor, type Methods, type WriteArguments } from './interception.js';
import { AnswerRecorder, bytesOfPiece, hasBody, isAscii, isPiece } from './recorder.js';
import { seal } from './seal.js';

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
export class Capture implements Interceptor {
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
  /** Told when the claim is given up, though the handler may still run. */
  holder: { lose(reason: Error): void } | undefined;

  /** The response's own methods. */
  readonly #original: Methods;
  readonly #host: CaptureHost;
  readonly #before: Snapshot;
  #phase: Phase = 'open';
  readonly #recorder: AnswerRecorder;
  /** The head has text beyond ASCII, and shows its encoding when it is written with the first piece of the body. */
  #isHeadWatched = false;
  /** Bytes of the piece that is being passed on. Middleware and Node call the response again meanwhile. */
  #passing: number | undefined;
  /** The head as the handler left it when it called for an answer. */
  #asked: SeenHead | undefined;
  #isFlushing = false;
  #ended = false;
  #hold: Hold | undefined;
  #draft: Draft | undefined;
  /** A transaction is under way, which ends the claim with what was answered inside of it. */
  #transaction: { readonly before: ResponseState; answered?: Answered } | undefined;
  /** What a handler does that has said all long ago; Node ignores most of it once the response is closed. */
  #afterwards: (() => unknown)[] | undefined;
  /** Whether the response would be closed by now, did it not wait for the store. */
  #isClosedByNow = false;
  /** What becomes of the answer once the client has left; made when something is piped in, or the client leaves. */
  #departure: Departure | undefined;

  constructor(host: CaptureHost, req: IncomingMessage, res: ServerResponse, claim: HeldClaim, facts: RequestFacts) {
    this.#host = host;
    this.facts = facts;
    this.req = req;
    this.res = res;
    this.claim = claim;
    this.#before = snapshot(res);
    this.#recorder = new AnswerRecorder(host.maxResponseBytes);
    this.#original = intercept(res, this);
    watchBreaks(req);
    this.run = { handler: this };
  }

  /** The handler has closed a connection, perhaps its own. */
  onBroken(connection: object): void {
    const { req } = this;
    const own = req.httpVersionMajor > 1 ? (req as unknown as { stream: object }).stream : req.socket;
    if (connection === own) this.abandon();
  }

  /** Ends the claim without an answer: there will be none. */
  abandon(): void {
    if (this.#phase !== 'open' || this.#ended) return;
    if (this.#transaction) {
      this.#answerInside('release', false);
      return;
    }
    this.#giveUp('its answer was broken off');
    this.#endEarly('release');
  }

  /** From here on the answer is held, until `resume` or `takeBack`: a transaction ends the claim with it. */
  defer(): void {
    this.#transaction = { before: stateOf(this.res) };
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
    const before = this.#transaction?.before;
    this.#transaction = undefined;
    if (this.#phase === 'over') return;
    this.#draft?.unseal?.();
    this.#draft = undefined;
    this.#phase = 'open';
    this.#recorder.clear();
    this.#ended = false;
    if (this.res.headersSent) {
      this.res.destroy();
      return;
    }
    if (before) restore(this.res, before);
  }

  /** Whether the claim has ended, or is about to. */
  get isOver(): boolean {
    return this.#phase !== 'open';
  }

  /** Asked again after each call that may have ended the claim. */
  #isOpen(): boolean {
    return this.#phase === 'open';
  }

  get #isDone(): boolean {
    return this.#phase === 'over';
  }

  onFlushHeaders(): void {
    const { flushHeaders } = this.#original;
    if (this.isOver || this.#passing !== undefined) {
      flushHeaders.call(this.res);
    } else if (this.#draft || this.#departure?.isUnderWay) {
      this.#askForHead();
    } else {
      this.#isFlushing = true;
      if (this.#recorder.head && !hasBody(this.#recorder.head)) this.#beginHold();
      this.#pass(0, () => {
        flushHeaders.call(this.res);
      });
      this.#isFlushing = false;
      // Without a body, the head is the whole answer.
      if (this.#isOpen() && this.#recorder.head && !hasBody(this.#recorder.head)) this.#finish();
    }
  }

  onDestroy(error?: Error): ServerResponse {
    // A watchdog in front says nothing about the handler, as with the connection. Once the client has left, it is
    // `pipeline` that gives the answer up, called by Node.
    if (isInHandler() || this.#departure?.isUnderWay) this.abandon();
    if (this.#draft && this.isOver) this.#draft.calls.push(() => this.#original.destroy.call(this.res, error));
    else this.#original.destroy.call(this.res, error);
    return this.res;
  }

  /** Hears of an event before anybody else does. */
  onEvent(event: string | symbol, detail: unknown): void {
    if (event === 'pipe') {
      this.#departureOf().piped(detail as Readable);
    } else if (event === 'unpipe') {
      this.#departure?.unpiped(detail as Readable);
    } else if (event === 'close' && this.#afterwards) {
      for (const call of this.#afterwards.splice(0)) call();
    } else if (event === (this.req.httpVersionMajor > 1 ? 'finish' : 'close')) {
      // An HTTP/2 response whose client has left emits both events; a pipe lets go of the response at `finish`.
      this.#onClose();
    }
  }

  onWriteHead(args: HeadArguments): ServerResponse {
    // 1xx are not the answer yet.
    if (this.isOver || this.#recorder.head !== undefined || args[0] < 200) return this.#writeHead(args);
    const head = this.#headOf(args);
    if (this.#draft) {
      this.#draftHead(this.#draft, args, head);
      return this.res;
    }
    const isWhole = this.#isFlushing ? !hasBody(head) : this.#recorder.isWholeWith(this.#passing ?? 0, head);
    this.#isHeadWatched = !isAscii(head);
    if (this.#passing !== undefined && (isWhole || this.#isHeadWatched)) this.#beginHold();
    this.#writeHead(args);
    const sent = asSent(head, args, this.res);
    const setsAnother = !sent.setsCookie && setsAnotherCookie(this.#before, this.res);
    this.#recorder.head = setsAnother ? { ...sent, setsCookie: true } : sent;
    if (head.isCompressed) this.#host.onCompressed();
    // It may never end, and it must not run twice: the record says so from the start.
    if (head.isEventStream && this.#isWorthKeeping(head)) this.#endEarly(this.#unkept);
    // Middleware in front that ends the answer later than the handler does.
    else if (this.#ended && this.#passing === undefined) this.#finish();
    return this.res;
  }

  onWrite(args: WriteArguments): boolean {
    const [chunk, encoding] = args;
    if (this.#draft && this.isOver) {
      this.#draft.calls.push(() => this.#write(args));
      return true;
    }
    if (this.#isLate(chunk)) {
      this.#afterwards?.push(() => this.#write(args));
      return false;
    }
    if (this.isOver || this.#passing !== undefined || this.#ended || !isPiece(chunk)) return this.#write(args);
    const bytes = bytesOfPiece(chunk, encoding);
    if (this.#draftFor(bytes.length)) return this.#draftWrite(args, bytes);
    if (this.#departure?.isUnderWay) return this.#writeUnheard(args, bytes);
    if (this.#isHeadWatched || this.#recorder.isWholeWith(bytes.length)) this.#beginHold();
    if (!this.#hold) this.#noteHead();
    const isTaken = this.#pass(bytes.length, () => this.#write(args));
    if (this.#isDone) {
      this.#hold?.release();
      return isTaken;
    }
    this.#recorder.add(bytes);
    if (this.#recorder.isWholeWith(0)) this.#finish();
    else this.#hold?.release();
    // What is kept need not wait for a slow client.
    return isTaken || !this.#recorder.isTooLarge;
  }

  onEnd(args: WriteArguments): ServerResponse {
    const [chunk, encoding] = args;
    let bytes: Buffer | undefined;
    if (chunk instanceof Buffer && this.claim.endsAtOnce) bytes = chunk;
    else if (isPiece(chunk)) bytes = bytesOfPiece(chunk, encoding);
    // Any other body is refused by Node.
    const isRefused = bytes === undefined && Boolean(chunk) && typeof chunk !== 'function';
    if (this.#phase === 'over' || isRefused || this.#passing !== undefined) return this.#end(args);
    if (this.#draftFor(Infinity)) return this.#draftEnd(args, bytes);
    if (this.#isLate(chunk)) {
      this.#endLate(args);
      return this.res;
    }
    if (this.isOver || this.#ended) {
      if (!this.#ended) this.#expectLateCalls();
      this.#ended = true;
      return this.#end(args);
    }
    if (this.#departure?.isUnderWay) return this.#endUnheard(args, bytes);
    this.#beginHold();
    this.#ended = true;
    try {
      this.#pass(bytes?.length ?? 0, () => this.#end(args));
    } catch (error) {
      this.#ended = false;
      throw error;
    }
    if (bytes) this.#recorder.add(bytes);
    if (this.#isDone) this.#hold?.release();
    // A head of 1xx is not recorded. Where there is none, middleware in front ends the answer later.
    else if (this.#recorder.head || this.res.headersSent) this.#finish();
    else this.#hold?.keep();
    return this.res;
  }

  /** Passes a call on. What Node refuses, it refuses here, where the handler stands. */
  #pass<T>(bytes: number, call: () => T): T {
    this.#passing = bytes;
    // Node writes the head behind middleware in front, which may set headers of its own in its `write` or `end`.
    if (this.#recorder.head === undefined && !this.res.headersSent) {
      this.#asked = readHead(this.#before, this.req, this.res, [this.res.statusCode], this.#host.replaySetCookie);
    }
    let isDone = false;
    try {
      const result = call();
      isDone = true;
      return result;
    } finally {
      this.#passing = undefined;
      // Until middleware in front ends the answer, where it does so later.
      if (!isDone || this.#recorder.head || !this.#ended) this.#asked = undefined;
      if (!isDone) this.#hold?.release();
      else if (this.#isHeadWatched) {
        this.#recorder.isHeadUtf8 = this.#hold?.isHeadUtf8 ?? false;
        this.#isHeadWatched = false;
      }
    }
  }

  /** Node closes a response that has left before anything runs that is scheduled after its end. */
  #expectLateCalls(): void {
    if (!this.#hold) return;
    process.nextTick(() => {
      this.#afterwards ??= [];
      process.nextTick(() => (this.#isClosedByNow = true));
    });
  }

  /** A second end: Node ignores what it brings, and its callback too once the response is closed. */
  #endLate(args: WriteArguments): void {
    this.#afterwards?.push(() => this.#end(args));
    const callback = args.find((argument) => typeof argument === 'function');
    if (callback === undefined || this.#isClosedByNow) return;
    process.nextTick(callback, Object.assign(new Error('write after end'), { code: 'ERR_STREAM_WRITE_AFTER_END' }));
  }

  /** Whether a piece comes so late behind the end that the response would be closed by now, did it not wait for the store. */
  #isLate(chunk: unknown): boolean {
    return this.#afterwards !== undefined && this.#phase === 'settling' && isPiece(chunk) && chunk.length > 0;
  }

  #beginHold(): void {
    this.#hold ??= holdOf(this.req, this.res);
    this.#hold?.begin();
  }

  /** The client has left, and the handler writes a piece: says that it is written, so that its source goes on. */
  #writeUnheard(args: WriteArguments, bytes: Buffer): boolean {
    this.#askForHead();
    if (!this.#isOpen()) return this.#write(args);
    this.#recorder.add(bytes);
    const callback = args.find((argument) => typeof argument === 'function');
    if (callback) process.nextTick(callback);
    if (this.#recorder.isWholeWith(0)) this.#finish();
    else this.#stopIfPointless();
    return true;
  }

  /** The client has left, and the handler has said all. */
  #endUnheard(args: WriteArguments, bytes: Buffer | undefined): ServerResponse {
    this.#askForHead();
    if (!this.#isOpen()) return this.#end(args);
    if (bytes) this.#recorder.add(bytes);
    this.#ended = true;
    this.#finish();
    return this.#end(args);
  }

  /** The calls that wait, if a piece of so many bytes is not to be passed on: in a transaction, and the last of a stand-in. */
  #draftFor(bytes: number): boolean {
    if (this.#draft) return true;
    this.#hold ??= holdOf(this.req, this.res);
    if (this.#hold || this.isOver) return false;
    const length = this.res.getHeader('content-length');
    const isLast = this.#recorder.isWholeWith(bytes) || (length !== undefined && bytes >= Number(length));
    if (isLast || bytes === Infinity) this.#draft = { calls: [] };
    return this.#draft !== undefined;
  }

  #draftHead(draft: Draft, args: HeadArguments, head: SeenHead): void {
    // One without arguments is written by Node itself, which gives a body that comes in one piece its length there.
    if (args.length > 1 || !isSendable(head, this.res)) draft.calls.push(() => this.#writeHead(args));
    this.#recorder.head = head;
    if (head.isCompressed) this.#host.onCompressed();
    this.res.statusCode = head.statusCode;
    if (this.#transaction) draft.unseal ??= seal(this.req, this.res, () => this.#ended);
  }

  #draftWrite(args: WriteArguments, bytes: Buffer): boolean {
    this.#askForHead();
    this.#recorder.add(bytes);
    this.#draft?.calls.push(() => this.#write(args));
    if (this.#recorder.isWholeWith(0)) this.#finish();
    return true;
  }

  #draftEnd(args: WriteArguments, bytes: Buffer | undefined): ServerResponse {
    if (!this.isOver) {
      this.#askForHead();
      if (bytes) this.#recorder.add(bytes);
    }
    this.#ended = true;
    this.#draft?.calls.push(() => this.#end(args));
    if (this.#isOpen()) this.#finish();
    return this.res;
  }

  /** The connection is closed. That says nothing about the handler, unless it can never have the rest of its request. */
  #onClose(): void {
    if (this.#phase !== 'open' || this.#passing !== undefined) return;
    if (this.#ended) {
      this.#endUnpassed();
      return;
    }
    onBodyLost(this.req, () => {
      this.abandon();
    });
    if (!this.#isOpen()) return;
    this.#departureOf().begin();
    if (this.#isOpen()) this.#stopIfPointless();
  }

  #departureOf(): Departure {
    return (this.#departure ??= new Departure(this.req, this.res, () => {
      this.abandon();
    }));
  }

  /** The client left before middleware in front ended an answer that its handler has ended: it is known all the same. */
  #endUnpassed(): void {
    try {
      this.#askForHead();
    } catch {
      // Node refuses its head.
      this.#ended = false;
      this.abandon();
    }
  }

  /** Nobody listens to an answer that cannot be kept: it is left to Node. */
  #stopIfPointless(): void {
    const head = this.#recorder.head;
    if (this.#transaction || !this.#recorder.isTooLarge || !head || !this.#isWorthKeeping(head)) return;
    this.#endEarly(this.#unkept);
  }

  /** Takes the head if the handler has not written it. Through the property: inner middleware adds its headers there. */
  #askForHead(): void {
    if (this.#recorder.head !== undefined) return;
    if (!this.res.headersSent) this.res.writeHead(this.res.statusCode);
    else if (!this.#hold) this.#noteHead();
  }

  /** The head that is about to be written, without what middleware in front has made of it. */
  #headOf(args: HeadArguments): SeenHead {
    const asked = this.#asked;
    if (asked && isHeadOurs(this.res)) return asked;
    const head = readHead(this.#before, this.req, this.res, args, this.#host.replaySetCookie);
    return asked ? { ...head, contentLength: asked.contentLength } : head;
  }

  /** Takes the head of a stand-in, which may write its own in any way. */
  #noteHead(): void {
    this.#recorder.head ??= readHead(
      this.#before,
      this.req,
      this.res,
      [this.res.statusCode],
      this.#host.replaySetCookie,
    );
  }

  #writeHead(args: HeadArguments): ServerResponse {
    return this.#original.writeHead.apply(this.res, args);
  }

  #write(args: WriteArguments): boolean {
    return this.#original.write.apply(this.res, args);
  }

  #end(args: WriteArguments): ServerResponse {
    return this.#original.end.apply(this.res, args);
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

  /** The handler has said all: ends the claim, then lets go of what waits. */
  #finish(): void {
    const how = this.#verdict();
    this.#recorder.drop();
    if (this.#transaction) this.#answerInside(how, (this.#recorder.head?.statusCode ?? 500) < 400 && how !== 'release');
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
    this.#hold?.keepConnection();
    if (this.#ended) this.#expectLateCalls();
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
    this.holder?.lose(new Error(`The claim of this idempotency key was given up: ${why}`));
  }

  #verdict(): Answer | Settlement {
    const head = this.#recorder.head;
    if (head === undefined || isBodyLost(this.req) || !this.#isWorthKeeping(head)) return 'release';
    // Who logs in again wants a session again.
    if (this.#isDerived && head.setsCookie) return 'release';
    if (this.#recorder.isShort) return 'release';
    // Held back until the commit, an event stream is an answer like any other.
    if (head.isEventStream && !this.#transaction) return this.#unkept;
    return this.#recorder.answer ?? this.#unkept;
  }

  #letGo(written: boolean): void {
    this.#phase = 'over';
    this.run.handler = undefined;
    const draft = this.#draft;
    this.#draft = undefined;
    draft?.unseal?.();
    if (draft && !written && !this.res.headersSent) {
      this.res.setHeader('Idempotency-Stored', 'false');
      exposeHeaders(this.res, 'Idempotency-Stored');
    }
    for (const call of draft?.calls ?? []) call();
    this.#hold?.release(written ? undefined : ['Idempotency-Stored', 'false']);
    this.#departure?.end();
  }

  /** Ends the claim before the answer has ended, which passes through from here on. */
  #endEarly(how: Settlement): void {
    this.#phase = 'over';
    this.run.handler = undefined;
    this.#recorder.drop();
    void this.#host.settle(this, how);
    if (this.#passing === undefined) this.#hold?.release();
    this.#departure?.end();
  }
}
