import type { ServerResponse } from 'node:http';
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
 * Makes a response that is complete, but waits for the store, look sent to its handler: a second answer fails as it
 * would without us, to the letter of Node's errors. Returns what undoes it.
 */
export function seal(res: ServerResponse, isEnded: () => boolean): () => void {
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
  return mask(res, properties);
}

function headersSent(res: ServerResponse, word: string): Error {
  const [code, message] =
    res.req.httpVersionMajor > 1
      ? ['ERR_HTTP2_HEADERS_SENT', 'Response has already been initiated.']
      : ['ERR_HTTP_HEADERS_SENT', `Cannot ${word} headers after they are sent to the client`];
  return Object.assign(new Error(message), { code });
}
