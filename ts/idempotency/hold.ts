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
  return res instanceof ServerResponse && req.socket instanceof Socket ? new SocketHold(res) : undefined;
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

/** What was done while a response was held, and what undoes the holding. */
abstract class Queue {
  #steps: Step[] | undefined;
  readonly #undo: Step[] = [];

  protected get isHolding(): boolean {
    return this.#steps !== undefined;
  }

  protected start(): void {
    this.#steps = [];
  }

  /** Does it now, or in its order when the response is let go. */
  protected do(step: Step): void {
    if (this.#steps) this.#steps.push(step);
    else step();
  }

  protected undoLater(...steps: Step[]): void {
    this.#undo.push(...steps);
  }

  protected undo(): Step[] {
    // Backwards: an object that loses its youngest property first keeps its hidden class.
    for (const step of this.#undo.splice(0).reverse()) step();
    const steps = this.#steps ?? [];
    this.#steps = undefined;
    return steps;
  }
}

/** Names under which a socket is closed. */
const ENDINGS = ['end', 'destroy', 'destroySoon', 'resetAndDestroy'] as const;

/** Over HTTP/1 the bytes wait where they would enter the socket. */
class SocketHold extends Queue implements Hold {
  readonly #res: ServerResponse;
  #socket: Socket | undefined;
  #writes: { chunk: string | Uint8Array; encoding: BufferEncoding | undefined; callback: WriteCallback | undefined }[] =
    [];
  #bytes = 0;
  #outlives = false;
  #keepsConnection = false;

  constructor(res: ServerResponse) {
    super();
    this.#res = res;
  }

  begin(): void {
    if (this.isHolding) return;
    this.start();
    const { socket } = this.#res;
    // One that is pipelined behind another response has no socket yet.
    if (socket) {
      this.#take(socket);
      return;
    }
    const assign = this.#res.assignSocket.bind(this.#res);
    const undo = replace(this.#res, 'assignSocket', (given) => {
      undo();
      this.#take(given);
      if (this.#keepsConnection) this.#takeEndings(given);
      assign(given);
    });
    this.undoLater(undo);
  }

  keep(): void {
    if (this.#outlives) return;
    this.#outlives = true;
    for (const write of this.#writes) write.chunk = ours(write.chunk);
  }

  keepConnection(): void {
    this.keep();
    if (this.#keepsConnection) return;
    this.#keepsConnection = true;
    if (this.#socket) this.#takeEndings(this.#socket);
  }

  get isHeadUtf8(): boolean {
    const [first] = this.#writes;
    return typeof first?.chunk === 'string' && isHead(first.chunk) && first.encoding !== 'latin1';
  }

  release(mark?: readonly [name: string, value: string]): void {
    if (!this.isHolding) return;
    const steps = this.undo();
    const [first] = this.#writes;
    if (mark && typeof first?.chunk === 'string') first.chunk = marked(first.chunk, mark);
    const socket = this.#socket;
    this.#writes = [];
    this.#bytes = 0;
    this.#outlives = false;
    this.#keepsConnection = false;
    this.#socket = undefined;
    if (steps.length > 1) socket?.cork();
    try {
      for (const step of steps) step();
    } finally {
      if (steps.length > 1) socket?.uncork();
    }
  }

  #take(socket: Socket): void {
    this.#socket = socket;
    const write = socket.write.bind(socket) as (
      chunk: string | Uint8Array,
      encoding?: BufferEncoding,
      callback?: WriteCallback,
    ) => boolean;
    const held = (
      chunk: string | Uint8Array,
      second?: BufferEncoding | WriteCallback,
      third?: WriteCallback,
    ): boolean => {
      const [encoding, callback] = typeof second === 'function' ? [undefined, second] : [second, third];
      if (!this.isHolding) return write(chunk, encoding, callback);
      const entry = { chunk: this.#outlives ? ours(chunk) : chunk, encoding, callback };
      this.#bytes += chunk.length;
      this.#writes.push(entry);
      this.do(() => write(entry.chunk, entry.encoding, entry.callback));
      return true;
    };
    this.undoLater(replace(socket, 'write', held as typeof socket.write));
  }

  #takeEndings(socket: Socket): void {
    for (const name of ENDINGS) {
      const method = socket[name].bind(socket) as (...given: unknown[]) => unknown;
      const held = (...given: unknown[]): Socket => {
        this.do(() => {
          // What was written before it leaves first, as it would have without us.
          socket.uncork();
          method(...given);
        });
        return socket;
      };
      this.undoLater(replace(socket, name, held as (typeof socket)[typeof name]));
    }
    // Node asks by it whether anything is still to be sent before the answer counts as finished.
    Object.defineProperty(socket, 'writableLength', {
      configurable: true,
      get: () => Reflect.get(Socket.prototype, 'writableLength', socket) + this.#bytes,
    });
    this.undoLater(() => Reflect.deleteProperty(socket, 'writableLength'));
  }
}

/** Over HTTP/2 a connection carries many answers: the frames of this one wait where they would enter its stream. */
class StreamHold extends Queue implements Hold {
  readonly isHeadUtf8 = false;
  readonly #stream: ServerHttp2Stream;
  #head: Record<string, OutgoingHttpHeader | undefined> | undefined;
  #keepsConnection = false;

  constructor(stream: ServerHttp2Stream) {
    super();
    this.#stream = stream;
  }

  begin(): void {
    if (this.isHolding) return;
    this.start();
    const stream = this.#stream;
    this.#defer('write', true);
    this.#defer('end', stream);
    if (stream.headersSent) return;
    const respond = stream.respond.bind(stream);
    this.undoLater(
      replace(stream, 'respond', (headers, options) => {
        this.#head = { ...headers };
        Object.defineProperty(stream, 'headersSent', { configurable: true, value: true });
        this.undoLater(() => Reflect.deleteProperty(stream, 'headersSent'));
        this.do(() => {
          respond(this.#head, options);
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
    const steps = this.undo();
    this.#keepsConnection = false;
    if (mark && this.#head) {
      this.#head[mark[0].toLowerCase()] = mark[1];
      const exposed = exposedWith(this.#head, mark[0]);
      if (exposed !== undefined) this.#head['access-control-expose-headers'] = exposed;
    }
    // A stream that the client has reset meanwhile takes nothing, and tells so those that wait for it.
    for (const step of steps) step();
  }

  #defer(name: 'write' | 'end' | 'close' | 'destroy', result: unknown): void {
    const stream = this.#stream as unknown as Record<typeof name, (...given: unknown[]) => unknown>;
    const method = stream[name].bind(stream);
    this.undoLater(
      replace(stream, name, (...given) => {
        this.do(() => method(...given));
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
