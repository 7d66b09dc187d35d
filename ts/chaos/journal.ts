import type { ChaosEntry } from '../../native/binding.js';
import { invalidArgument } from '../options.js';

/** One fault that was decided for a request. One of `status`, `ms`, `victim` and `cut` is what was drawn for it. */
export interface ChaosRecorded {
  /** The name of its rule. */
  readonly rule: string;
  /** The status of an error. */
  readonly status?: number;
  /** The length of a delay, in milliseconds. */
  readonly ms?: number;
  /** Which kernel was killed, as a share of the way through the sorted ones. */
  readonly victim?: number;
  /** Where an answer was cut or damaged, as a share of it. */
  readonly cut?: number;
  /** Whether it took effect; a client may have left before. */
  readonly done: boolean;
}

/** One request that was decided about. */
export interface ChaosJournalEntry {
  /** Which decision of its instance it is, from 0. */
  readonly number: number;
  /** When, in milliseconds since it was armed. */
  readonly elapsedMs: number;
  /**
   * Its request key as a digest under the seed, 32 hexadecimal digits: no key of a client is in a journal. Who has the
   * journal can tell whether a key that they guess is in it.
   */
  readonly request: string;
  /** Which attempt of its key, from 1. */
  readonly attempt: number;
  /** What was decided; empty for a request that was let pass. */
  readonly faults: readonly ChaosRecorded[];
}

/** What a journal is as JSON. */
export interface ChaosJournalData {
  readonly version: 1;
  /** Under which all of it was decided. */
  readonly seed: string;
  /** How many earlier entries it kept no longer. */
  readonly dropped: number;
  readonly entries: readonly ChaosJournalEntry[];
}

/** What was decided about the last requests, and what of it was done; as it was when it was taken. */
export class ChaosJournal implements ChaosJournalData {
  readonly version = 1;
  readonly seed: string;
  readonly dropped: number;
  readonly entries: readonly ChaosJournalEntry[];

  constructor({ seed, dropped, entries }: Omit<ChaosJournalData, 'version'>) {
    this.seed = seed;
    this.dropped = dropped;
    this.entries = entries;
  }

  /** For `JSON.stringify`; `chaos.replay` takes it, too. */
  toJSON(): ChaosJournalData {
    return { version: this.version, seed: this.seed, dropped: this.dropped, entries: this.entries };
  }

  /**
   * As NDJSON, line by line: first what all entries share, then each. `chaos.replay` takes the lines joined.
   *
   * @example
   * Readable.from(chaos.journal().lines()).pipe(response);
   * await writeFile('run.ndjson', chaos.journal().lines());
   */
  *lines(): Generator<string, void, undefined> {
    const { entries, ...head } = this.toJSON();
    yield `${JSON.stringify(head)}\n`;
    for (const entry of entries) yield `${JSON.stringify(entry)}\n`;
  }
}

/** Reads a journal, or its text as JSON or NDJSON, for `owner`. */
export function readJournal(owner: string, journal: ChaosJournalData | string): ChaosJournalData {
  const data = typeof journal === 'string' ? parse(journal) : journal;
  if (!isJournal(data)) {
    throw invalidArgument(TypeError, owner, 'journal', journal, 'what journal() gave, or its text as JSON or NDJSON');
  }
  return data;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // More than one value: lines.
  }
  try {
    const [head, ...entries] = text.split('\n').filter((line) => line.trim() !== '');
    return { ...(JSON.parse(head ?? '') as object), entries: entries.map((line) => JSON.parse(line) as unknown) };
  } catch {
    return undefined;
  }
}

function isJournal(data: unknown): data is ChaosJournalData {
  if (typeof data !== 'object' || data === null) return false;
  const { version, seed, entries } = data as Partial<Record<string, unknown>>;
  return version === 1 && typeof seed === 'string' && Array.isArray(entries) && entries.every(isEntry);
}

function isEntry(entry: unknown): entry is ChaosEntry {
  if (typeof entry !== 'object' || entry === null) return false;
  const { number, elapsedMs, request, attempt, faults } = entry as Partial<Record<string, unknown>>;
  return (
    isCount(number) &&
    isCount(elapsedMs) &&
    isCount(attempt) &&
    typeof request === 'string' &&
    Array.isArray(faults) &&
    faults.every(isRecorded)
  );
}

function isRecorded(fault: unknown): boolean {
  if (typeof fault !== 'object' || fault === null) return false;
  const { rule, done, ...drawn } = fault as Partial<Record<string, unknown>>;
  return (
    typeof rule === 'string' &&
    typeof done === 'boolean' &&
    Object.values(drawn).every((value) => value === undefined || (typeof value === 'number' && value >= 0))
  );
}

const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
