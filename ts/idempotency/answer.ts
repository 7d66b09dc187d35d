import type { Head } from '../stores/head.js';
import type { Settlement } from './desk.js';

/** The name under which a kept answer lists what it took away of other middleware's headers. No header can have it. */
export const REMOVED = ':removed';

/** A handler's answer, as it is kept and replayed. */
export interface Answer extends Head {
  /** The bytes, or a string with one character a byte. */
  readonly body: Buffer | string;
}

/** What a handler answered inside of a transaction. */
export interface Answered {
  readonly how: Answer | Settlement;
  /** Whether the rows are to be committed with it: an answer below 400, given whole. */
  readonly commits: boolean;
}

/** The body's bytes. */
export function bytesOf(body: Answer['body']): Buffer {
  return typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
}
