/**
 * What a store keeps for a key, as plain JSON: it survives `JSON.stringify` and `JSON.parse`. A store need not look
 * into it. Nothing in it leads back to the client's key, the caller or the request's body.
 */
export type StoredResponse = StoredAnswer | StoredVerdict;

/** A completed request: its answer is replayed. */
export interface StoredAnswer {
  readonly state: 'completed';
  /** SHA-256 over what the request asked for, in hexadecimal. */
  readonly fingerprint: string;
  /** SHA-256 over who asked, in hexadecimal; zeros where a scope says whose key it is, or nobody is known. */
  readonly identity: string;
  readonly statusCode: number;
  /** The reason phrase. */
  readonly statusMessage: string;
  /**
   * Pairs of name and value, in the order of the answer, repeated names kept. A pair named `:removed` says that the
   * handler took away the header in its value, which other middleware had set.
   */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The body's bytes in base64. */
  readonly body: string;
  /** When the answer was completed: ISO 8601 with milliseconds. */
  readonly timestamp: string;
}

/** A request that must not run again, though there is no answer to replay. */
export interface StoredVerdict {
  readonly state: 'not-replayable' | 'indeterminate';
  readonly fingerprint: string;
  readonly identity: string;
  readonly timestamp: string;
}

/**
 * The least that a store of your own has to do. It may be slow and it may fail; it is asked by one request of a key
 * at a time, as far as one process can see to that. Between processes such a store cannot keep two requests from
 * running at once, which is warned about at start.
 *
 * @example
 * ```ts
 * class RedisIdempotencyStore implements IdempotencyStore {
 *   constructor(private readonly redis: Redis) {}
 *   async get(key: string): Promise<StoredResponse | null> {
 *     const data = await this.redis.get(`idempotency:${key}`);
 *     return data ? JSON.parse(data) : null;
 *   }
 *   async set(key: string, value: StoredResponse, ttl: number): Promise<void> {
 *     await this.redis.setex(`idempotency:${key}`, ttl, JSON.stringify(value));
 *   }
 *   async delete(key: string): Promise<void> {
 *     await this.redis.del(`idempotency:${key}`);
 *   }
 * }
 * ```
 */
export interface IdempotencyStore {
  /** What is kept for a key; `null` or `undefined` if nothing is, or its time is over. */
  get(key: string): Promise<StoredResponse | null | undefined> | StoredResponse | null | undefined;
  /** Keeps a value for `ttl` seconds, a whole number of at least 1. */
  set(key: string, value: StoredResponse, ttl: number): unknown;
  /** Forgets a key. */
  delete(key: string): unknown;
}
