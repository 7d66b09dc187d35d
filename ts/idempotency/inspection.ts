import { withCode } from '../errors.js';
import { invalidArgument } from '../options.js';
import type { KeptRecord } from '../stores/contract.js';
import { decodeHead } from '../stores/head.js';
import type { MemoryStore } from '../stores/memory.js';
import { unquote } from './facts.js';

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
  inspect(recordKey: string): Awaitable<KeptRecord | undefined>;
  forget(recordKey: string): Awaitable<boolean>;
}

/** Names the record of a key at an endpoint. */
export type NameRecord = (key: string, scope: string | undefined, endpoint: Endpoint) => string;

/** Looks into the memory of this process. */
export function memoryRegistrar(store: MemoryStore, nameRecord: NameRecord): Registrar {
  return {
    find: (key, scope, endpoint) =>
      endpoint ? [nameRecord(key, scope, endpoint)] : store.open().find(unquote(key), scope),
    inspect: (recordKey) => store.inspect(recordKey),
    forget: (recordKey) => store.forget(recordKey),
  };
}

/** What an operator gets to see of a record: nothing that only a client should. */
export function recordInfo(recordKey: string, kept: KeptRecord): RecordInfo {
  const { state, fence } = kept;
  const leftMs = state === 'in-progress' ? kept.leaseLeftMs : kept.expiresInMs;
  const common = { state, recordKey, ...(fence !== undefined && { fence }), ...(leftMs !== undefined && { leftMs }) };
  if (state !== 'completed') return common;
  const { statusCode, timestamp } = decodeHead(kept.answer.head);
  return { ...common, statusCode, timestamp, bodyBytes: kept.answer.body.byteLength };
}

/** @throws TypeError with code `ERR_REPRISE_INVALID_ARGUMENT` for what names no key */
export function checkLookup(owner: string, key: unknown, scope: unknown, endpoint: unknown): void {
  if (typeof key !== 'string') throw invalidArgument(TypeError, owner, 'key', key, 'a string');
  if (scope !== undefined && typeof scope !== 'string') {
    throw invalidArgument(TypeError, owner, 'scope', scope, 'a string, or undefined');
  }
  if (endpoint === undefined) return;
  const { method, path } = (endpoint ?? {}) as Partial<Endpoint>;
  if (typeof method !== 'string' || typeof path !== 'string' || !/^[^?]+$/.test(path)) {
    throw invalidArgument(TypeError, owner, 'endpoint', endpoint, '{ method, path }, the path without its query');
  }
}

/** The one record of a key. @throws Error with code `ERR_REPRISE_AMBIGUOUS_KEY` where several endpoints used it */
export async function inspectOne(
  registrar: Registrar,
  key: string,
  scope: string | undefined,
  endpoint: Endpoint | undefined,
): Promise<RecordInfo | undefined> {
  checkLookup('inspect', key, scope, endpoint);
  const found = await registrar.find(key, scope, endpoint);
  if (found.length > 1) {
    throw withCode(
      new Error(
        `inspect: this key was used at ${found.length} endpoints; say which: inspect(key, scope, { method, path })`,
      ),
      'ERR_REPRISE_AMBIGUOUS_KEY',
    );
  }
  if (found[0] === undefined) return undefined;
  const kept = await registrar.inspect(found[0]);
  return kept && recordInfo(found[0], kept);
}
