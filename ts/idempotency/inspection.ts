import type { NativeMemoryStore } from '../../native/binding.js';
import { withCode } from '../errors.js';
import type { IdempotencyStore } from '../stores/types.js';

/** What is kept for a key. */
export interface RecordInfo {
  readonly state: 'in-progress' | 'completed' | 'not-replayable' | 'indeterminate';
  /** The record's name in the store: a digest, never the client's key. */
  readonly recordKey: string;
  /** The fence of the claim that it is, or comes from; absent where the store does not keep it. */
  readonly fence?: number;
  /** Milliseconds left of the lease, or until the record is forgotten; absent where the store does not tell. */
  readonly leftMs?: number;
  /** Of a completed record: its status. */
  readonly statusCode?: number;
  /** Of a completed record: when the answer was completed, ISO 8601. */
  readonly timestamp?: string;
  /** Of a completed record: how long the body is. */
  readonly bodyBytes?: number;
}

/** Where a key was used: keys of two endpoints are two keys. */
export interface Endpoint {
  readonly method: string;
  /** The path as the client sent it, without its query. */
  readonly path: string;
}

type Awaitable<T> = T | Promise<T>;

/** Finds and forgets records of a store by key and scope. */
export interface Registrar {
  /** The names of the records of a key; at one endpoint, or at all. */
  find(key: string, scope: string | undefined, endpoint: Endpoint | undefined): Awaitable<readonly string[]>;
  inspect(recordKey: string): Awaitable<RecordInfo | undefined>;
  forget(recordKey: string): Awaitable<boolean>;
}

/** Names the record of a key at an endpoint. */
export type NameRecord = (key: string, scope: string | undefined, endpoint: Endpoint) => string;

/** Looks into the memory of this process. */
export function memoryRegistrar(store: NativeMemoryStore, nameRecord: NameRecord): Registrar {
  return {
    find(key, scope, endpoint) {
      return endpoint ? [nameRecord(key, scope, endpoint)] : store.find(key, scope);
    },
    inspect(recordKey) {
      const found = store.inspect(recordKey);
      if (found === null) return undefined;
      const { state, fence, leftMs, head, bodyBytes } = found;
      const [status, , timestamp = ''] = head?.split('\n', 3) ?? [];
      return {
        state: state as RecordInfo['state'],
        recordKey,
        fence,
        leftMs,
        ...(status !== undefined && { statusCode: Number(status), timestamp, bodyBytes: bodyBytes ?? 0 }),
      };
    },
    forget(recordKey) {
      return store.forget(recordKey);
    },
  };
}

/** Looks into a store of the user's, which can be asked for a record only by its name. */
export function simpleRegistrar(store: IdempotencyStore, claims: NativeMemoryStore, nameRecord: NameRecord): Registrar {
  const running = memoryRegistrar(claims, nameRecord);
  return {
    find(key, scope, endpoint) {
      if (endpoint) return [nameRecord(key, scope, endpoint)];
      throw withCode(
        new Error('A store with get, set and delete cannot look for a key; say where it was used: { method, path }'),
        'ERR_REPRISE_ENDPOINT_NEEDED',
      );
    },
    async inspect(recordKey) {
      const claimed = await running.inspect(recordKey);
      if (claimed) return claimed;
      const kept = await store.get(recordKey);
      if (!kept) return undefined;
      const { state, timestamp } = kept;
      if (state !== 'completed') return { state, recordKey };
      const bodyBytes = Buffer.byteLength(kept.body, 'base64');
      return { state, recordKey, statusCode: kept.statusCode, timestamp, bodyBytes };
    },
    async forget(recordKey) {
      const claimed = await running.forget(recordKey);
      const kept = await store.get(recordKey);
      if (kept) await store.delete(recordKey);
      return claimed || Boolean(kept);
    },
  };
}

/** The one record of a key. @throws Error with code `ERR_REPRISE_AMBIGUOUS_KEY` where several endpoints used it */
export async function inspectOne(
  registrar: Registrar,
  key: string,
  scope: string | undefined,
  endpoint: Endpoint | undefined,
): Promise<RecordInfo | undefined> {
  const found = await registrar.find(key, scope, endpoint);
  if (found.length > 1) {
    throw withCode(
      new Error(
        `inspect: this key was used at ${found.length} endpoints; say which: inspect(key, scope, { method, path })`,
      ),
      'ERR_REPRISE_AMBIGUOUS_KEY',
    );
  }
  return found[0] === undefined ? undefined : registrar.inspect(found[0]);
}
