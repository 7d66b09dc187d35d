import type { Head } from '../stores/head.js';

/** A handler's answer, as it is kept and replayed. */
export interface Answer extends Head {
  /** The bytes, or a string with one character a byte. */
  readonly body: Buffer | string;
}

/** The body's bytes. */
export function bytesOf(body: Answer['body']): Buffer {
  return typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
}
