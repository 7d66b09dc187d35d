import { ServerResponse, type IncomingMessage, type OutgoingHttpHeader } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { Socket } from 'node:net';
import { exposedWith } from '../problem.js';

/**
 * Holds back what a response sends, below everything that reads the response: for the handler, for other middleware and
 * for Node the answer is given, and only its bytes, and the events that follow them, come later.
 */
export interface Hold {
  /** From here on nothing reaches the client. */
  begin(): void;
  /** The bytes wait beyond this call. */
  keep(): void;
  /** Whoever ends the connection from here on ends it behind what is held. To be released within a bounded time. */
  keepConnection(): void;
  /** Sends what was held, in its order. With a mark, the head says so, if it is among what was held. */
  release(mark?: readonly [name: string, value: string]): void;
  /** Whether Node wrote the held head, with its first piece of body, as UTF-8; it is Latin-1 otherwise. */
  readonly isHeadUtf8: boolean;
}

/**
 * The hold of a response that Node itself sends. Undefined for a stand-in (a mock, an adapter of a serverless platform),
 * which may hand over its bytes in any way.
 */
export function holdOf(req: IncomingMessage, res: ServerResponse): Hold | undefined {
  if (req.httpVersionMajor > 1) return new StreamHold((res as unknown as { stream: ServerHttp2Stream }).stream);
  // A response that is pipelined behind another one has no socket yet; an adapter may give it one that is none.
  const isNodes = res instanceof ServerResponse && req.socket instanceof Socket;
  return isNodes && (res.socket ?? req.socket) instanceof Socket ? new SocketHold(res) : undefined;
}

type Step = () => void;
type WriteCallback = (error?: Error | null) => void;

/** Replaces a method of one object. Returns what puts the former one back. */
function replace<T extends object, Name extends keyof T & string>(object: T, name: Name, method: T[Name]): Step {
  const own = Object.getOwnPropertyDescriptor(object, name);
  object[name] = method;
  return () => {
    // Whoever replaced it again since then calls the replacement, which passes everything on by now.
    if (object[name] !== method) return;
    if (own) Object.defineProperty(object, name, own);
    else Reflect.deleteProperty(object, name);
  };
}

/** Names under which a socket is closed. */
const ENDINGS = ['end', 'destroy', 'destroySoon', 'resetAndDestroy'] as const;

type Write = (chunk: string | Uint8Array, encoding?: BufferEncoding, callback?: WriteCallback) => boolean;

interface HeldWrite {
  chunk: string | Uint8Array;
  readonly encoding: BufferEncoding | undefined;
  readonly callback: WriteCallback | undefined;
}

/** Where a socket has its hold. */
const HOLD = Symbol('reprise.hold');

interface HeldSocket extends Socket {
  [HOLD]: SocketHold | undefined;
}

/** Sends by the socket itself. */
function send(socket: Socket, { chunk, encoding, callback }: HeldWrite): boolean {
  return Socket.prototype.write.call(socket, chunk, encoding, callback);
}

/** In place of every held socket's `write`: a closure for each answer would cost more than the store does. */
function heldWrite(
  this: HeldSocket,
  chunk: string | Uint8Array,
  second?: BufferEncoding | WriteCallback,
  third?: WriteCallback,
): boolean {
  const [encoding, callback] = typeof second === 'function' ? [undefined, second] : [second, third];
  const hold = this[HOLD];
  return hold ? hold.onWrite({ chunk, encoding, callback }) : send(this, { chunk, encoding, callback });
}

/** Over HTTP/1 the bytes wait where they would enter the socket. */
class SocketHold implements Hold {
  readonly #res: ServerResponse;
  #isHolding = false;
  #socket: HeldSocket | undefined;
  /** The socket's own `write`, if it had one: another tool may act on the bytes, too. */
  #ownWrite: Write | undefined;
  /** What was written, and in which place what ends the connection. */
  #held: (HeldWrite | Step)[] = [];
  #bytes = 0;
  #outlives = false;
  #keepsConnection = false;
  #undo: Step[] | undefined;

  constructor(res: ServerResponse) {
    this.#res = res;
  }

  begin(): void {
    if (this.#isHolding) return;
    this.#isHolding = true;
    const { socket } = this.#res;
    // One that is pipelined behind another response has no socket yet.
    if (socket) {
      this.#take(socket as HeldSocket);
      return;
    }
    const assign = this.#res.assignSocket.bind(this.#res);
    const undo = replace(this.#res, 'assignSocket', (given) => {
      undo();
      this.#take(given as HeldSocket);
      if (this.#keepsConnection) this.#takeEndings(given);
      assign(given);
    });
    (this.#undo ??= []).push(undo);
  }

  keep(): void {
    if (this.#outlives) return;
    this.#outlives = true;
    for (const held of this.#held) if (typeof held === 'object') held.chunk = ours(held.chunk);
  }

  keepConnection(): void {
    this.keep();
    if (this.#keepsConnection) return;
    this.#keepsConnection = true;
    if (this.#socket) this.#takeEndings(this.#socket);
  }

  get isHeadUtf8(): boolean {
    const [first] = this.#held;
    return (
      typeof first === 'object' && typeof first.chunk === 'string' && isHead(first.chunk) && first.encoding !== 'latin1'
    );
  }

  onWrite(write: HeldWrite): true {
    if (this.#outlives) write.chunk = ours(write.chunk);
    this.#bytes += write.chunk.length;
    this.#held.push(write);
    return true;
  }

  release(mark?: readonly [name: string, value: string]): void {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    const held = this.#held;
    const socket = this.#socket;
    const ownWrite = this.#ownWrite;
    this.#giveBack();
    const [first] = held;
    if (mark && typeof first === 'object' && typeof first.chunk === 'string') first.chunk = marked(first.chunk, mark);
    if (held.length > 1) socket?.cork();
    try {
      for (const each of held) {
        if (typeof each === 'function') each();
        else if (ownWrite) ownWrite.call(socket, each.chunk, each.encoding, each.callback);
        else if (socket) send(socket, each);
      }
    } finally {
      if (held.length > 1) socket?.uncork();
    }
  }

  #take(socket: HeldSocket): void {
    this.#socket = socket;
    if (Object.hasOwn(socket, 'write')) this.#ownWrite = Reflect.get(socket, 'write');
    socket[HOLD] = this;
    socket.write = heldWrite;
  }

  /** Makes the socket as it was before. */
  #giveBack(): void {
    for (const step of this.#undo?.reverse() ?? []) step();
    this.#undo = undefined;
    this.#held = [];
    this.#bytes = 0;
    this.#outlives = false;
    this.#keepsConnection = false;
    const socket = this.#socket;
    const ownWrite = this.#ownWrite;
    this.#socket = undefined;
    this.#ownWrite = undefined;
    if (!socket) return;
    socket[HOLD] = undefined;
    // Whoever replaced it since then calls `heldWrite`, which passes everything on by now.
    if (socket.write !== heldWrite) return;
    if (ownWrite) socket.write = ownWrite as typeof socket.write;
    else Reflect.deleteProperty(socket, 'write');
  }

  #takeEndings(socket: Socket): void {
    const undo = (this.#undo ??= []);
    for (const name of ENDINGS) {
      const method = socket[name].bind(socket) as (...given: unknown[]) => unknown;
      const held = (...given: unknown[]): Socket => {
        const step = (): void => {
          // What was written before it leaves first, as it would have without us.
          socket.uncork();
          method(...given);
        };
        if (this.#isHolding) this.#held.push(step);
        else step();
        return socket;
      };
      undo.push(replace(socket, name, held as (typeof socket)[typeof name]));
    }
    // Node asks by it whether anything is still to be sent before the answer counts as finished.
    Object.defineProperty(socket, 'writableLength', {
      configurable: true,
      get: () => Reflect.get(Socket.prototype, 'writableLength', socket) + this.#bytes,
    });
    undo.push(() => Reflect.deleteProperty(socket, 'writableLength'));
  }
}

/** Over HTTP/2 a connection carries many answers: the frames of this one wait where they would enter its stream. */
class StreamHold implements Hold {
  #steps: Step[] | undefined;
  readonly #undo: Step[] = [];
  readonly isHeadUtf8 = false;
  readonly #stream: ServerHttp2Stream;
  #head: Record<string, OutgoingHttpHeader | undefined> | undefined;
  #keepsConnection = false;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
  }

  begin(): void {
    if (this.#steps) return;
    this.#steps = [];
    const stream = this.#stream;
    this.#defer('write', true);
    this.#defer('end', stream);
    if (stream.headersSent) return;
    const respond = stream.respond.bind(stream);
    this.#undo.push(
      replace(stream, 'respond', (headers, options) => {
        this.#head = { ...headers };
        Object.defineProperty(stream, 'headersSent', { configurable: true, value: true });
        this.#undo.push(() => Reflect.deleteProperty(stream, 'headersSent'));
        this.#do(() => {
          // Node throws for a stream that the client has reset, and what is held behind would be lost.
          if (!stream.destroyed && !stream.closed) respond(this.#head, options);
        });
      }),
    );
  }

  keep(): void {
    // Frames have bytes of their own.
  }

  keepConnection(): void {
    if (this.#keepsConnection) return;
    this.#keepsConnection = true;
    this.#defer('close', undefined);
    this.#defer('destroy', this.#stream);
  }

  release(mark?: readonly [name: string, value: string]): void {
    for (const step of this.#undo.splice(0).reverse()) step();
    const steps = this.#steps ?? [];
    this.#steps = undefined;
    this.#keepsConnection = false;
    if (mark && this.#head) {
      this.#head[mark[0].toLowerCase()] = mark[1];
      const exposed = exposedWith(this.#head, mark[0]);
      if (exposed !== undefined) this.#head['access-control-expose-headers'] = exposed;
    }
    // A stream that the client has reset meanwhile takes nothing, and tells so those that wait for it.
    for (const step of steps) step();
  }

  /** Does it now, or in its order when the response is let go. */
  #do(step: Step): void {
    if (this.#steps) this.#steps.push(step);
    else step();
  }

  #defer(name: 'write' | 'end' | 'close' | 'destroy', result: unknown): void {
    const stream = this.#stream as unknown as Record<typeof name, (...given: unknown[]) => unknown>;
    const method = stream[name].bind(stream);
    this.#undo.push(
      replace(stream, name, (...given) => {
        this.#do(() => method(...given));
        return result;
      }),
    );
  }
}

/** The bytes, ours to keep: whoever wrote them may use their buffer again. */
function ours(chunk: string | Uint8Array): string | Uint8Array {
  return typeof chunk === 'string' ? chunk : Buffer.from(chunk);
}

function isHead(text: string): boolean {
  return text.startsWith('HTTP/1.');
}

/** A head, and what follows it, with one more line; where CORS is at work, scripts may read that line. */
function marked(text: string, [name, value]: readonly [string, string]): string {
  if (!isHead(text)) return text;
  const end = text.indexOf('\r\n\r\n');
  const head = text.slice(0, end);
  const valueOf = (header: string) => new RegExp(`\\r\\n${header}: *([^\\r]*)`, 'i').exec(head)?.[1];
  const cors = {
    'access-control-allow-origin': valueOf('Access-Control-Allow-Origin'),
    'access-control-expose-headers': valueOf('Access-Control-Expose-Headers'),
  };
  const exposed = exposedWith(cors, name);
  const plain = exposed === undefined ? head : head.replace(/\r\nAccess-Control-Expose-Headers:[^\r]*/gi, '');
  const lines = [`${name}: ${value}`, ...(exposed === undefined ? [] : [`Access-Control-Expose-Headers: ${exposed}`])];
  return `${plain}\r\n${lines.join('\r\n')}${text.slice(end)}`;
}
