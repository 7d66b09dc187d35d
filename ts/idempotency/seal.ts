import type { IncomingMessage, ServerResponse } from 'node:http';
import { mask } from './mask.js';

/** What is refused once a response is sent, by the word that Node's message has for it. */
const REFUSED = {
  setHeader: 'set',
  setHeaders: 'set',
  appendHeader: 'append',
  removeHeader: 'remove',
  writeHead: 'write',
};

/**
 * Makes a response that was answered inside a transaction look sent to its handler: a second answer fails as it would
 * without us, to the letter of Node's errors, and does not undo the first. Nothing has left, and middleware in front has
 * seen nothing, until the transaction is over. `finished` stays as it is: Node decides by it what it may still write.
 *
 * @param isEnded whether `end` was called
 * @returns what undoes it
 */
export function seal(req: IncomingMessage, res: ServerResponse, isEnded: () => boolean): () => void {
  const properties: PropertyDescriptorMap = { writableEnded: { get: isEnded } };
  if (!res.headersSent) {
    properties['headersSent'] = { get: () => true };
    properties['flushHeaders'] = { value: () => undefined };
    // Sessions and compression write the head by this where none was written.
    properties['_implicitHeader'] = { value: () => undefined };
    for (const [name, word] of Object.entries(REFUSED)) {
      properties[name] = {
        value: () => {
          throw headersSent(req, word);
        },
      };
    }
  }
  return mask(res, properties);
}

function headersSent(req: IncomingMessage, word: string): Error {
  const [code, message] =
    req.httpVersionMajor > 1
      ? ['ERR_HTTP2_HEADERS_SENT', 'Response has already been initiated.']
      : ['ERR_HTTP_HEADERS_SENT', `Cannot ${word} headers after they are sent to the client`];
  return Object.assign(new Error(message), { code });
}
