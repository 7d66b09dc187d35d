import type { KeptAnswer, KeptRecord } from './contract.js';

/**
 * What an operator asks of a store beside the contract: `npx reprise` does. None of it is needed to answer requests,
 * and a store of your own need not have it.
 */
export interface StoreOperations {
  /**
   * Every record that a claim would find, in no particular order, read little by little: one that is made or ends
   * meanwhile may be there or not. Free keys are left out. One that is damaged says so instead of its state.
   */
  list(): AsyncIterable<ListedRecord | DamagedRecord>;
  /** Counts what is kept. */
  stats(): Promise<StoreStats>;
  /**
   * Says what became of an indeterminate record, by someone who has found out: an answer to replay, that it ran but has
   * none, or that it did not run and its key is free. Kept for `ttl` seconds from now. False where the record is not
   * indeterminate: then nothing has changed.
   */
  resolve(key: string, as: Resolution, ttl: number): Promise<boolean>;
}

/** What becomes of an indeterminate record. Progress that was saved goes to the next claim of a free key. */
export type Resolution = KeptAnswer | 'not-replayable' | 'free';

/** A record in a list. */
export interface ListedRecord {
  /** Its name in the store: a digest, never the client's key. */
  readonly key: string;
  readonly state: KeptRecord['state'];
  readonly fence: number;
  /** Milliseconds left of the lease of a claim in progress, else until the record is forgotten. */
  readonly leftMs: number;
  /** Bytes of the answer and of saved progress. */
  readonly bytes: number;
}

/** A record that no step of the contract can have made. */
export interface DamagedRecord {
  readonly key: string;
  readonly state: 'damaged';
  /** What is wrong with it, as the end of a sentence that begins with the key. */
  readonly problem: string;
}

/** How much a store keeps. */
export interface StoreStats {
  readonly inProgress: number;
  readonly completed: number;
  readonly notReplayable: number;
  readonly indeterminate: number;
  /** Free keys of which the fence, and progress if there is any, is still remembered. */
  readonly free: number;
  readonly damaged: number;
  /** Bytes of answers and of saved progress. */
  readonly bytes: number;
}

type Counting = { -readonly [Name in keyof StoreStats]: number };

/** Counts records of a state; what is none is damaged. */
export function countInto(stats: Counting, state: string, bytes: number, records = 1): void {
  stats[COUNTED_AS[state] ?? 'damaged'] += records;
  stats.bytes += bytes;
}

/** Nothing counted yet. */
export function noStats(): Counting {
  return { inProgress: 0, completed: 0, notReplayable: 0, indeterminate: 0, free: 0, damaged: 0, bytes: 0 };
}

const COUNTED_AS: Readonly<Record<string, Exclude<keyof StoreStats, 'bytes'>>> = {
  'in-progress': 'inProgress',
  completed: 'completed',
  'not-replayable': 'notReplayable',
  indeterminate: 'indeterminate',
  free: 'free',
};
