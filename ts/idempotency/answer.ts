import type { Head } from '../stores/head.js';

/** The name under which a kept answer lists what it took away of other middleware's headers. No header can have it. */
export const REMOVED = ':removed';

/** A handler's answer, as it is kept and replayed. */
export interface Answer extends Head {
  /** The bytes, or a string with one character a byte. */
  readonly body: Buffer | string;
}

/** The body's bytes. */
export function bytesOf(body: Answer['body']): Buffer {
  return typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
}
