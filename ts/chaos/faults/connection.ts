import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** How a connection ends: with a FIN, as if the server had closed it, or with a RST, as if it had died. */
export type Ending = 'hangup' | 'reset';

/** Ends the connection of a request before it was answered. */
export function endConnection(req: IncomingMessage, ending: Ending): void {
  if (ending === 'hangup') req.socket.destroy();
  else reset(req.socket);
}

/**
 * Sends a RST. A TLS socket has no handle of its own that could (nodejs/node#49484); the socket below it has.
 */
function reset(socket: Socket & { _parent?: Socket | null; encrypted?: boolean }): void {
  const raw = socket.encrypted === true ? socket._parent : socket;
  if (raw instanceof Object && typeof raw.resetAndDestroy === 'function') {
    raw.resetAndDestroy();
    return;
  }
  process.emitWarning('the connection of this request cannot be reset; it was closed instead', {
    type: 'RepriseWarning',
    code: 'WRN_REPRISE_CHAOS_NO_RESET',
  });
  socket.destroy();
}

/** Whether this runtime can send a RST at all; Bun's `resetAndDestroy` does nothing (oven-sh/bun#43649). */
export function canReset(): boolean {
  return process.versions['bun'] === undefined;
}

type WriteCallback = (error?: Error | null) => void;
type SocketWithMessage = Socket & { _httpMessage?: ServerResponse | null };

/**
 * The handler runs and answers; nothing of the answer leaves, and the connection ends where its last byte would have
 * gone. `finish` fires as ever, so everything inside that waits for it (a log, a store) has its answer.
 *
 * `write` is replaced on the socket itself, for the life of this response: what passes there are the final bytes,
 * after compression and chunking. Another response on the same connection (pipelining) goes by untouched.
 */
export function loseResponse(req: IncomingMessage, res: ServerResponse, ending: Ending, lost: () => void): void {
  const socket: SocketWithMessage = req.socket;
  const write = socket.write.bind(socket);
  const before = Object.getOwnPropertyDescriptor(socket, 'write');
  const swallow = (chunk: string | Uint8Array, encoding?: BufferEncoding | WriteCallback, callback?: WriteCallback) => {
    if (socket._httpMessage !== res) return write(chunk, encoding as BufferEncoding, callback);
    const done = typeof encoding === 'function' ? encoding : callback;
    if (done) process.nextTick(done, null);
    return true;
  };
  socket.write = swallow;
  const restore = () => {
    res.off('finish', end);
    res.off('close', restore);
    if (socket.write !== swallow) return;
    if (before) Object.defineProperty(socket, 'write', before);
    else Reflect.deleteProperty(socket, 'write');
  };
  const end = () => {
    restore();
    lost();
    endConnection(req, ending);
  };
  // Before Node's own listener, which half-closes a `Connection: close` first: the client would see a FIN.
  res.prependListener('finish', end);
  res.once('close', restore);
}
