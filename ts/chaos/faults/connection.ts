import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import type { Socket } from 'node:net';

/** How a connection ends: with a FIN, as if the server had closed it, or with a RST, as if it had died. */
export type Ending = 'hangup' | 'reset';

/**
 * Ends the connection of a request, whatever of its answer is still on the way. Under HTTP/2 only its stream, which
 * others share the connection with.
 */
export function endConnection(req: IncomingMessage | Http2ServerRequest, ending: Ending): void {
  if (isHttp2(req)) req.stream.close(NGHTTP2_CANCEL);
  else if (ending === 'hangup') req.socket.destroy();
  else reset(req.socket);
}

const NGHTTP2_CANCEL = 8;

/** Whether a request came over HTTP/2, where it has no connection of its own. */
export function isHttp2(req: IncomingMessage | Http2ServerRequest): req is Http2ServerRequest {
  return req.httpVersionMajor > 1;
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
