/** All of an answer but its body. */
export interface Head {
  readonly statusCode: number;
  /** The reason phrase. */
  readonly statusMessage: string;
  /** Header fields as they go on the wire: name, value, name, value, …; order and repeated names kept. */
  readonly headers: string[];
  /** When the answer was completed: ISO 8601 with milliseconds. */
  readonly timestamp: string;
}

/**
 * A head as one string, which stores keep unread. Node lets no control character but a tab into a status message or
 * a header field, nor anything beyond Latin-1, so that a line break parts them and each character is a byte.
 */
export function encodeHead({ statusCode, statusMessage, headers, timestamp }: Head): string {
  const start = `${statusCode}\n${statusMessage}\n${timestamp}`;
  return headers.length === 0 ? start : `${start}\n${headers.join('\n')}`;
}

/** Whether something is what {@link encodeHead} wrote, as far as its start can tell. */
export function isHead(head: unknown): head is string {
  return typeof head === 'string' && /^[2-9]\d\d\n/.test(head);
}

/** Reads what {@link encodeHead} wrote. */
export function decodeHead(head: string): Head {
  const [statusCode, statusMessage = '', timestamp = '', ...headers] = head.split('\n');
  return { statusCode: Number(statusCode), statusMessage, timestamp, headers };
}
