import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import type { Readable } from 'node:stream';
import { mask, standIn } from './mask.js';

/**
 * Whether this side broke a connection that is closed: the handler destroyed its socket. A client that left has ended
 * its half (`readableEnded`) or reset it (`errored`). A server that is closing, and a socket with a time limit, destroy
 * connections too, while the handler goes on; these count as the client's. A connection of HTTP/2 carries many
 * requests, and says nothing of one.
 */
export function isBrokenHere(req: IncomingMessage): boolean {
  const socket = req.socket as IncomingMessage['socket'] & { server?: { listening: boolean } };
  return (
    req.httpVersionMajor === 1 &&
    socket.destroyed &&
    !socket.readableEnded &&
    !socket.errored &&
    !socket.timeout &&
    socket.server?.listening !== false
  );
}

/**
 * Calls back when the handler breaks its stream of HTTP/2. A stream that the client has reset is `closed` before Node
 * destroys it; where the client's connection is gone, Node closes and destroys the streams that were on it.
 */
export function onBrokenStream(req: IncomingMessage, onBroken: () => void): void {
  const { stream } = req as unknown as { stream: ServerHttp2Stream };
  const close = stream.close.bind(stream);
  const destroy = stream.destroy.bind(stream);
  stream.close = (...args) => {
    if (isConnected(stream)) onBroken();
    close(...args);
  };
  stream.destroy = (error) => {
    if (!stream.closed && isConnected(stream)) onBroken();
    return destroy(error);
  };
}

function isConnected({ session }: ServerHttp2Stream): boolean {
  return session?.destroyed === false && !session.socket.destroyed;
}

/**
 * Lets the handler say what it has to say to a client that has left. For Node such a response is over: a pipe lets go
 * of it, `sendFile` and `pipeline` would not begin. To be called while it emits `close`, before others hear of that.
 *
 * @param sources what is piped into the response at the moment
 * @param onBroken called when the handler breaks the connection, not knowing that there is none
 * @returns what makes the response closed again
 */
export function outlive(
  req: IncomingMessage,
  res: ServerResponse,
  sources: Iterable<Readable>,
  onBroken: () => void,
): () => void {
  for (const source of sources) keepPiped(source, res);
  const { socket } = req;
  const destroy: typeof socket.destroy = (error) => {
    onBroken();
    return socket.destroy(error);
  };
  const unhook = mask(req, { socket: { value: standIn(socket, { destroy }), writable: true } });
  // `sendFile` asks the socket whether it can be written to, `pipeline` the response whether it is closed.
  const close = mask(res, {
    socket: { value: standIn(socket, { destroy, writable: true }), writable: true },
    destroyed: { value: false, writable: true },
    closed: { value: false },
  });
  const told = new Set(res.rawListeners('close'));
  return () => {
    unhook();
    close();
    process.nextTick(() => {
      // Those who began to listen after the event still wait for it.
      for (const listener of res.rawListeners('close')) if (!told.has(listener)) listener.call(res);
    });
  };
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
