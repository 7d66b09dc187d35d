import type { StoredAnswer } from '../stores/types.js';

/** Header fields as they go on the wire: name, value, name, value, …; order and repeated names kept. */
export type FlatHeaders = string[];

/** The name under which a kept answer lists what it took away of other middleware's headers. No header can have it. */
export const REMOVED = ':removed';

/** A handler's answer, as it is kept and replayed. */
export interface Answer {
  readonly statusCode: number;
  /** The reason phrase. */
  readonly statusMessage: string;
  readonly headers: FlatHeaders;
  /** The bytes, or a string with one character a byte. */
  readonly body: Buffer | string;
  /** When it was completed: ISO 8601 with milliseconds. */
  readonly timestamp: string;
}

/**
 * All of an answer but its body, as one string. Node lets no control character but a tab into a status message or a
 * header field, nor anything beyond Latin-1, so that a line break parts them and each character is a byte.
 */
export function encodeHead(answer: Omit<Answer, 'body'>): string {
  const head = `${answer.statusCode}\n${answer.statusMessage}\n${answer.timestamp}`;
  return answer.headers.length === 0 ? head : `${head}\n${answer.headers.join('\n')}`;
}

/** Reads what {@link encodeHead} wrote. */
export function decodeAnswer(head: string, body: Buffer | string): Answer {
  const parts = head.split('\n');
  return {
    statusCode: Number(parts[0]),
    statusMessage: parts[1] ?? '',
    timestamp: parts[2] ?? '',
    headers: parts.slice(3),
    body,
  };
}

/** The answer as plain JSON, for stores that keep JSON. */
export function toStoredAnswer(answer: Answer, fingerprint: string, identity: string): StoredAnswer {
  const { headers, body } = answer;
  return {
    state: 'completed',
    fingerprint,
    identity,
    statusCode: answer.statusCode,
    statusMessage: answer.statusMessage,
    headers: Array.from({ length: headers.length / 2 }, (_, i) => [headers[i * 2] ?? '', headers[i * 2 + 1] ?? '']),
    body: (typeof body === 'string' ? Buffer.from(body, 'latin1') : body).toString('base64'),
    timestamp: answer.timestamp,
  };
}

/** Reads what {@link toStoredAnswer} made. */
export function fromStoredAnswer(stored: StoredAnswer): Answer {
  return { ...stored, headers: stored.headers.flat(), body: Buffer.from(stored.body, 'base64') };
}
