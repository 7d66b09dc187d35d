import type { IncomingMessage, ServerResponse } from 'node:http';
import { mask, standIn } from './mask.js';

/** What is refused once a response is sent, by the word that Node's message has for it. */
const REFUSED = {
  setHeader: 'set',
  setHeaders: 'set',
  appendHeader: 'append',
  removeHeader: 'remove',
  writeHead: 'write',
};

/**
 * Makes a response that is complete, but waits for the store, look sent to its handler: a second answer fails as it
 * would without us, to the letter of Node's errors, and does not undo the first.
 *
 * @param isEnded whether `end` was called
 * @param hold takes what has to happen after the answer is sent: an error handler destroys the connection, when it
 *   sees that it can say nothing any more
 * @returns what undoes it
 */
export function seal(
  req: IncomingMessage,
  res: ServerResponse,
  isEnded: () => boolean,
  hold: (step: () => void) => void,
): () => void {
  const { socket } = req;
  const destroy = (target: { destroy(error?: Error): unknown }) => (error?: Error) => {
    hold(() => target.destroy(error));
    return target;
  };
  const openRequest = mask(req, {
    destroy: { value: destroy({ destroy: req.destroy.bind(req) }) },
    socket: { value: standIn(socket, { destroy: destroy(socket) as typeof socket.destroy }), writable: true },
  });
  const properties: PropertyDescriptorMap = { writableEnded: { get: isEnded }, finished: { get: isEnded } };
  if (!res.headersSent) {
    properties['headersSent'] = { get: () => true };
    properties['flushHeaders'] = { value: () => undefined };
    for (const [name, word] of Object.entries(REFUSED)) {
      properties[name] = {
        value: () => {
          throw headersSent(res, word);
        },
      };
    }
  }
  const openResponse = mask(res, properties);
  return () => {
    openRequest();
    openResponse();
  };
}

function headersSent(res: ServerResponse, word: string): Error {
  const [code, message] =
    res.req.httpVersionMajor > 1
      ? ['ERR_HTTP2_HEADERS_SENT', 'Response has already been initiated.']
      : ['ERR_HTTP_HEADERS_SENT', `Cannot ${word} headers after they are sent to the client`];
  return Object.assign(new Error(message), { code });
}
