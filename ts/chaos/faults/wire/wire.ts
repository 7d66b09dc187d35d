import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { endConnection, isHttp2 } from '../connection.js';
import type { Ending } from '../connection.js';
import type { Injection } from '../inject.js';
import { AnswerFraming } from './framing.js';
import type { Head, Piece } from './framing.js';

/** What is done to the bytes of one answer. */
export interface WireFault {
  /** Takes the next part of the answer. What it does not send is never sent. */
  take(piece: Piece): void;
  /** The answer is complete. Here or later follow {@link Wire.over} or {@link Wire.break}. */
  end(): void;
  /** Chaos was turned off: lets go at once of what it holds back, and from here on of everything. */
  release(): void;
  /** How many bytes it holds back now; absent: none. */
  readonly waiting?: number;
}

type WriteCallback = (error?: Error | null) => void;
type HttpSocket = Socket & { _httpMessage?: ServerResponse | null };
type Write = (
  chunk: string | Uint8Array,
  encoding?: BufferEncoding | WriteCallback,
  callback?: WriteCallback,
) => boolean;

/** As many bytes may wait before the handler is told to pause, as before a socket of Node. */
const HIGH_WATER = 65_536;

/**
 * How long a RST waits after the bytes before it, in milliseconds: the client's libuv takes bytes and a RST that it
 * finds at once for bytes and a regular end.
 */
const RESET_AFTER_MS = 20;

/**
 * The way of one answer into its socket, with a fault in between.
 *
 * `write` is replaced on the socket itself: what passes there are the final bytes, after compression and chunking. A
 * write counts as done when it was taken, so that for all that runs inside the answer was given: `finish` fires when
 * the handler has answered. The connection goes on to its next answer, or is closed as its headers say, only when the
 * last byte has left: the listener by which Node does that is called then. Other answers on the same connection
 * (pipelining) go by untouched.
 */
export class Wire {
  static readonly #all = new WeakMap<ServerResponse, Wire>();

  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #socket: HttpSocket;
  readonly #framing: AnswerFraming;
  readonly #nodesOwn: () => void;
  readonly #realWrite: Write;
  readonly #ownWrite: PropertyDescriptor | undefined;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Take back the registrations with the instances of chaos. */
  readonly #registrations: (() => void)[] = [];
  #fault: WireFault = this.#passing();
  /** Whether a fault was set: there is room for one. */
  #isTaken = false;
  /** The answer is held for so long from its first byte on; what it would do waits in {@link #held}. */
  #holdMs = 0;
  #holds: { readonly begun: () => void; readonly over: () => void }[] = [];
  #holdTimer: NodeJS.Timeout | undefined;
  #held: (() => void)[] | undefined;
  /** Bytes that were sent, and are not with the operating system yet. */
  #unsent = 0;
  /** Whether a writer was told to pause. */
  #isPaused = false;
  #hasSent = false;
  #breaks: Ending | undefined;
  #isReleased = false;
  #isOver = false;

  /**
   * The wire of an answer of which nothing has left yet. Undefined where there is none to act on, and then the
   * injection is told why.
   */
  static of({ req, res, undone }: Injection): Wire | undefined {
    const known = Wire.#all.get(res);
    if (known) return known;
    if (isHttp2(req)) {
      undone('what is done to the bytes of an answer needs HTTP/1');
      return undefined;
    }
    const nodesOwn = res.listeners('finish').find(({ name }) => name === 'bound resOnFinish');
    if (nodesOwn === undefined || typeof req.socket.write !== 'function') {
      undone('this is no response of a server of node:http');
      return undefined;
    }
    return new Wire(req, res, nodesOwn as () => void);
  }

  private constructor(req: IncomingMessage, res: ServerResponse, nodesOwn: () => void) {
    Wire.#all.set(res, this);
    this.#req = req;
    this.#res = res;
    this.#socket = req.socket;
    this.#framing = new AnswerFraming(req.method);
    this.#nodesOwn = nodesOwn;
    this.#ownWrite = Object.getOwnPropertyDescriptor(this.#socket, 'write');
    this.#realWrite = this.#socket.write.bind(this.#socket) as Write;
    this.#socket.write = this.#onWrite;
    res.off('finish', nodesOwn);
    res.prependListener('finish', this.#onFinish);
    this.#socket.once('close', this.#leave);
  }

  /** What the head of the answer says; undefined until it has passed. */
  get head(): Head | undefined {
    return this.#framing.head;
  }

  /** Sets the fault. There is room for one: false, and the injection is told, where another was set. */
  use({ active, undone }: Injection, fault: WireFault): boolean {
    if (this.#isTaken) {
      undone('another instance of chaos acts on the bytes of this answer');
      return false;
    }
    this.#isTaken = true;
    this.#fault = fault;
    this.#registrations.push(
      active.add(() => {
        this.#release();
      }),
    );
    return true;
  }

  /** Holds the answer for `ms` milliseconds from its first byte on, besides what the fault does to it. */
  hold({ active, done }: Injection, ms: number): void {
    this.#holdMs += ms;
    const over = active.add(() => {
      this.#holdMs = 0;
      this.#endHold();
    });
    this.#holds.push({ begun: done, over });
  }

  /** Sends bytes; `sent` is called when the operating system has them. */
  send(bytes: Buffer, sent?: () => void): void {
    if (this.#isOver) return;
    this.#unsent += bytes.length;
    this.#do(() => {
      this.#hasSent = true;
      this.#realWrite(bytes, undefined, (error) => {
        this.#unsent -= bytes.length;
        if (error) return;
        this.drained();
        sent?.();
        if (this.#breaks && this.#unsent === 0) this.#breakAfterBytes(this.#breaks);
      });
    });
  }

  /** Everything was sent: the connection goes on. */
  over(): void {
    this.#do(() => {
      if (this.#isOver) return;
      this.#leave();
      if (!this.#socket.destroyed) this.#nodesOwn();
    });
  }

  /** Sends nothing any more, and ends the connection behind what was sent. */
  break(ending: Ending): void {
    this.#swallow(ending);
    this.#do(() => {
      if (this.#isOver) return;
      this.#breaks = ending;
      if (!this.#hasSent || this.#isReleased) this.#end(ending);
      else if (this.#unsent === 0) this.#breakAfterBytes(ending);
    });
  }

  /** Sends nothing any more, and leaves the connection as it is until the client goes, or chaos is turned off. */
  stall(): void {
    this.#swallow('hangup');
  }

  /** Lets everything that comes pass. */
  pass(): void {
    this.#fault = this.#passing();
  }

  /** Calls back after `ms` milliseconds, unless the connection is closed by then. */
  after(ms: number, call: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      call();
    }, ms);
    this.#timers.add(timer);
  }

  /** Whether the fault can do nothing any more: the answer has left, or its connection is closed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Tells a handler that waits for it to go on, if there is room again. */
  drained(): void {
    // What waits for it is told apart by Node itself, per response.
    if (this.#isOver || !this.#isPaused || !this.#hasRoom) return;
    this.#isPaused = false;
    this.#socket.emit('drain');
  }

  get #hasRoom(): boolean {
    return this.#unsent + (this.#fault.waiting ?? 0) < HIGH_WATER;
  }

  readonly #onWrite: Write = (chunk, encoding, callback) => {
    if (this.#socket._httpMessage !== this.#res || this.#isOver) {
      return this.#realWrite(chunk, encoding, callback);
    }
    const [coding, written] = typeof encoding === 'function' ? [undefined, encoding] : [encoding, callback];
    // Ours: who wrote it may use its bytes again as soon as it is told so.
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, coding) : Buffer.from(chunk);
    if (written) process.nextTick(written, null);
    for (const piece of this.#framing.parts(bytes)) {
      if (piece.kind !== 'interim') this.#beginHold();
      this.#fault.take(piece);
    }
    this.#isPaused = !this.#hasRoom;
    return !this.#isPaused;
  };

  /** Before all other listeners, of which some may look at the connection. */
  readonly #onFinish = (): void => {
    this.#fault.end();
  };

  readonly #leave = (): void => {
    if (this.#isOver) return;
    this.#isOver = true;
    Wire.#all.delete(this.#res);
    this.#res.off('finish', this.#onFinish);
    this.#socket.off('close', this.#leave);
    if (this.#socket.write === this.#onWrite) {
      if (this.#ownWrite) Object.defineProperty(this.#socket, 'write', this.#ownWrite);
      else Reflect.deleteProperty(this.#socket, 'write');
    }
    clearTimeout(this.#holdTimer);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#held = undefined;
    for (const over of this.#registrations.splice(0)) over();
    for (const { over } of this.#holds.splice(0)) over();
  };

  /** Does it now, or in its order when the answer is not held any more. */
  #do(step: () => void): void {
    if (this.#held) this.#held.push(step);
    else step();
  }

  #beginHold(): void {
    if (this.#holdTimer !== undefined || this.#holds.length === 0) return;
    for (const { begun } of this.#holds) begun();
    this.#held = [];
    this.#holdTimer = setTimeout(() => {
      this.#endHold();
    }, this.#holdMs);
  }

  #endHold(): void {
    clearTimeout(this.#holdTimer);
    for (const { over } of this.#holds.splice(0)) over();
    const steps = this.#held;
    this.#held = undefined;
    for (const step of steps ?? []) step();
    this.drained();
  }

  #release(): void {
    this.#isReleased = true;
    this.#endHold();
    if (this.#isOver) return;
    if (this.#breaks) this.#end(this.#breaks);
    else this.#fault.release();
  }

  #breakAfterBytes(ending: Ending): void {
    if (ending === 'hangup') {
      this.#socket.destroySoon();
      return;
    }
    this.after(RESET_AFTER_MS, () => {
      // Once more past the sockets: a client in this process has read by then, however late the timer was.
      setImmediate(() => {
        if (!this.#isOver) this.#end(ending);
      });
    });
  }

  #end(ending: Ending): void {
    this.#leave();
    endConnection(this.#req, ending);
  }

  /** Takes everything and sends nothing; `ending` is what a release does. */
  #swallow(ending: Ending): void {
    this.#fault = {
      take: () => undefined,
      end: () => undefined,
      release: () => {
        this.#end(ending);
      },
    };
  }

  #passing(): WireFault {
    return {
      take: ({ bytes }) => {
        this.send(bytes);
      },
      end: () => {
        this.over();
      },
      release: () => undefined,
    };
  }
}
