import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { mask, standIn } from './mask.js';

/** The run of one handler. It is forgotten when the handler's claim has ended: connections that it opened live longer. */
export interface HandlerRun {
  /** Told that the handler broke its own connection. */
  onBroken: ((connection: Socket | ServerHttp2Stream) => void) | undefined;
}

/** In whose handler a piece of code runs. A connection says nothing about who closed it; the asynchronous context does. */
const running = new AsyncLocalStorage<HandlerRun>();

/** Runs a handler. Whatever it does from here on, now or later, is known to be its own. */
export function runHandler<T>(run: HandlerRun, handler: () => T): T {
  return running.run(run, handler);
}

/** Whether this code runs in some handler: middleware in front, and Node itself, do not. */
export function isInHandler(): boolean {
  return running.getStore() !== undefined;
}

const watched = new WeakSet<object>();

/**
 * Watches for a handler that breaks its own connection, by hand or by an error behind the head of its answer
 * (Express's last error handler). Whoever else closes it says nothing about the handler, which runs on: a client, a
 * `clientError` listener, a time limit, a server that shuts down.
 */
export function watchBreaks(req: IncomingMessage): void {
  const { stream } = req as unknown as { stream: ServerHttp2Stream };
  const connection = req.httpVersionMajor > 1 ? stream : (req.socket as Partial<Socket> | undefined);
  if (typeof connection?.destroy !== 'function' || watched.has(connection)) return;
  watched.add(connection);
  const notice = (error?: unknown): void => {
    // Node hands on the error of a write or read that failed; it may do so in the context of who wrote.
    if (error && error === connection.errored) return;
    running.getStore()?.onBroken?.(connection as Socket);
  };
  hear(connection, 'destroy', notice);
  if (connection === stream)
    hear(stream, 'close', () => {
      notice();
    });
}

/** Calls `heard` before a method of one object. */
function hear(object: object, name: string, heard: (first: unknown) => void): void {
  const methods = object as Record<string, (...given: unknown[]) => unknown>;
  const method = methods[name];
  methods[name] = function (this: unknown, ...given: unknown[]): unknown {
    heard(given[0]);
    return method?.apply(this, given);
  };
}

/**
 * Lets the handler say what it has to say to a client that has left. For Node such a response is over: a pipe lets go
 * of it, `sendFile` and `pipeline` would not begin.
 */
export class Departure {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #onBroken: () => void;
  /** What is piped into the response, and who listens for its end once the client has left. */
  readonly #sources = new Map<Readable, (() => void) | undefined>();
  /** Makes the response closed again. */
  #close: (() => void) | undefined;

  /** @param onBroken told of a stream that breaks half-way after the client left: nobody else gives its answer up */
  constructor(req: IncomingMessage, res: ServerResponse, onBroken: () => void) {
    this.#req = req;
    this.#res = res;
    this.#onBroken = onBroken;
  }

  /** Whether the client has left, and the handler goes on. */
  get isUnderWay(): boolean {
    return this.#close !== undefined;
  }

  piped(source: Readable): void {
    this.#sources.set(source, undefined);
    if (this.isUnderWay) this.#watch(source);
  }

  unpiped(source: Readable): void {
    const onClose = this.#sources.get(source);
    if (onClose) source.off('close', onClose);
    this.#sources.delete(source);
  }

  /** To be called while the response emits that it is closed, before others hear of that. */
  begin(): void {
    const res = this.#res;
    for (const source of this.#sources.keys()) keepPiped(source, res);
    // `sendFile` asks the socket whether it can be written to, `pipeline` the response whether it is closed.
    const close = mask(res, {
      socket: { value: standIn(this.#req.socket, { writable: true }), writable: true },
      destroyed: { value: false, writable: true },
      closed: { value: false },
    });
    const told = new Set(res.rawListeners('close'));
    this.#close = () => {
      close();
      process.nextTick(() => {
        // Those who began to listen after the event still wait for it.
        for (const listener of res.rawListeners('close')) if (!told.has(listener)) listener.call(res);
      });
    };
    for (const source of this.#sources.keys()) this.#watch(source);
  }

  /** The handler's fate is known: the response is closed for it, too. */
  end(): void {
    this.#close?.();
    this.#close = undefined;
    for (const source of this.#sources.keys()) this.unpiped(source);
  }

  #watch(source: Readable): void {
    const onClose = () => {
      this.unpiped(source);
      if (source.readableEnded) return;
      // The handler may hear of it, too, and pipe something else.
      setImmediate(() => {
        if (this.isUnderWay && this.#sources.size === 0) this.#onBroken();
      });
    };
    this.#sources.set(source, onClose);
    if (source.closed) onClose();
    else source.once('close', onClose);
  }
}

/** Keeps a pipe from letting go of its destination while that emits `close`. */
function keepPiped(source: Readable, destination: ServerResponse): void {
  // Streams of the first kind, which some packages still have, know no `unpipe`.
  const unpipe = (source as Partial<Readable>).unpipe?.bind(source);
  if (!unpipe) return;
  const restore = mask(source, {
    unpipe: { value: (from?: NodeJS.WritableStream) => (from === destination ? source : unpipe(from)) },
  });
  process.nextTick(restore);
}

/** Whether the connection closed before the request's body was complete, and somebody reads that body. */
export function isBodyLost(req: IncomingMessage): boolean {
  return isCutOff(req) && isRead(req);
}

/**
 * Calls back once the handler can never have its request's body: the connection closed before the body was complete,
 * and the handler reads the body, or begins to. A handler that does not care for the body may well answer.
 */
export function onBodyLost(req: IncomingMessage, lost: () => void): void {
  if (!isCutOff(req)) return;
  if (isRead(req)) {
    lost();
    return;
  }
  const onListener = (event: string | symbol): void => {
    if (event !== 'data' && event !== 'readable' && event !== 'end') return;
    req.off('newListener', onListener);
    lost();
  };
  req.on('newListener', onListener);
}

function isCutOff(req: IncomingMessage): boolean {
  return req.httpVersionMajor === 1 && !req.complete && req.destroyed;
}

function isRead(req: IncomingMessage): boolean {
  return req.readableDidRead || req.readableFlowing !== null || req.listenerCount('readable') > 0;
}
