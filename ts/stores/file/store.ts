import type { NativeFailure, NativeFileStore } from '../../../native/binding.js';
import { native } from '../../native.js';
import {
  aBoolean,
  checkOption,
  checkOptions,
  invalidOption,
  oneOf,
  wholeNumberBetween,
  type OptionRule,
  type OptionRules,
} from '../../options.js';
import type { AtomicStore, ClaimOutcome, ClaimRef, ClaimRequest, KeptAnswer, KeptRecord } from '../contract.js';
import type { ListedRecord, Resolution, StoreOperations } from '../operations.js';
import { ENDS, keptRecordOf } from '../native-outcome.js';
import { errorOf, isFailure } from './failure.js';
import { Questions } from './questions.js';

/** Options of {@link FileStore}. */
export interface FileStoreOptions {
  /**
   * The file, made if it is missing; its folder must exist. Beside it come `-wal` and `-shm`, and a folder `.locks`, all
   * readable for the user of the process only. Every process that names this file shares its records.
   */
  path: string;
  /**
   * What is certain once a promise has resolved. `'os'`: it survives the death of every process; a power cut may take
   * the last moments, never the file. `'fsync'`: it survives a power cut too, for one sync of the disk per group of
   * writes. Default `'os'`.
   */
  durability?: 'os' | 'fsync';
  /** Bytes of completed records, each counted with 512 of its own. Default 1 GiB. */
  maxBytes?: number;
  /** Completed records, apart from them claims, and apart from both indeterminate records. Default 1,000,000. */
  maxEntries?: number;
  /** Looks into an existing file while others may write to it: `inspect`, `list`, `stats`, `verify`, `backup`. Default false. */
  readOnly?: boolean;
  /**
   * A file system that may be no disk of this host, where the file may be all the same: `'fuse'` (also virtiofs and the
   * shared folders of Docker Desktop), `'vboxsf'` or `'vmhgfs'`. Only for one that keeps locks and shared memory between
   * the processes that use the file. Network file systems (NFS, SMB and their like) are always refused. Default: none.
   */
  allowFileSystem?: 'fuse' | 'vboxsf' | 'vmhgfs';
}

/** What a {@link FileStore} keeps at the moment. */
export interface FileStoreStats {
  /** Claims in progress and indeterminate records; these are never evicted. */
  held: number;
  /** Completed, not replayable and released records. */
  settled: number;
  /** Bytes of the settled ones, with their overhead. */
  bytes: number;
  /** Settled records that were dropped to make room, since the file was made. */
  evicted: number;
  /** Bytes of the file, with the space that will be used again. */
  fileBytes: number;
  /** Bytes of its journal, `-wal`. */
  journalBytes: number;
}

const PATH: OptionRule = {
  allowed: 'the path of a file',
  type: (value) => typeof value === 'string',
  range: (value: string) => value !== '' && !value.includes('\0'),
};

const RULES: OptionRules<FileStoreOptions> = {
  path: PATH,
  durability: oneOf('os', 'fsync'),
  maxBytes: wholeNumberBetween(1024, Number.MAX_SAFE_INTEGER, 'bytes'),
  maxEntries: wholeNumberBetween(1, Number.MAX_SAFE_INTEGER),
  readOnly: aBoolean,
  allowFileSystem: oneOf('fuse', 'vboxsf', 'vmhgfs'),
};

/**
 * Keeps records in a file, for all processes of one host that name it: cluster, PM2, worker threads, a cron script. It
 * survives restarts and `kill -9`. A key whose owner was killed is free at once; the leases of one that lives are
 * renewed by a thread of their own, also while its event loop is blocked.
 *
 * When it is full it drops the completed record that would expire first, those of derived keys and 404s before others; a claim in progress is never dropped, and where
 * claims fill it, new ones are refused.
 *
 * @example
 * ```ts
 * const store = new FileStore({ path: '/var/lib/shop/idempotency.db' });
 * app.use(idempotencyMiddleware({ store }));
 * ```
 */
export class FileStore implements AtomicStore, Omit<StoreOperations, 'stats'> {
  /** See {@link AtomicStore.keepsClaims}. */
  readonly keepsClaims = true;
  readonly #native: NativeFileStore;
  readonly #calls: ReturnType<NativeFileStore['calls']>;
  readonly #questions = new Questions();
  #closed?: Promise<void>;

  /**
   * Opens the file, the only step that waits for the disk.
   *
   * @throws TypeError or RangeError (`ERR_REPRISE_INVALID_OPTION`), also where this process has the file open with other
   * options; Error with `ERR_REPRISE_STORE_NETWORK_FILE_SYSTEM`, `ERR_REPRISE_STORE_NOT_PRIVATE`,
   * `ERR_REPRISE_STORE_REPLACED`, `ERR_REPRISE_STORE_FORMAT`, `ERR_REPRISE_STORE_DAMAGED`, `ERR_REPRISE_STORE_SYSTEM` or `ERR_REPRISE_STORE_BUSY`
   */
  constructor(options: FileStoreOptions) {
    checkOptions('FileStore', options, RULES);
    const { path, durability = 'os', readOnly = false, allowFileSystem } = options;
    const { maxBytes = 1024 * 1024 * 1024, maxEntries = 1_000_000 } = options;
    if ((path as unknown) === undefined) throw invalidOption(TypeError, 'FileStore', 'path', path, PATH.allowed);
    const asked = {
      fsync: durability === 'fsync',
      readOnly,
      maxBytes,
      maxEntries,
      ...(allowFileSystem === undefined ? {} : { allowFileSystem }),
    };
    const opened = native.openFileStore(path, asked, this.#questions.settle);
    if (isFailure(opened)) throw errorOf(opened);
    this.#native = opened;
    this.#calls = opened.calls();
  }

  claim(request: ClaimRequest): Promise<ClaimOutcome> {
    const { key, fingerprint, identity, owner, leaseMs, ttl, overIndeterminate = false, holdMs } = request;
    return this.#questions.ask((ticket) => {
      const retentionMs = ttl * 1000;
      this.#calls.claim(ticket, key, fingerprint, identity, owner, leaseMs, retentionMs, overIndeterminate, holdMs);
    });
  }

  complete(claim: ClaimRef, { head, body, dropFirst = false }: KeptAnswer, ttl: number): Promise<boolean> {
    const { key, owner, fence } = claim;
    return this.#questions.ask((ticket) => {
      this.#calls.complete(ticket, key, owner, fence, head, body, ttl * 1000, dropFirst);
    });
  }

  renew(claim: ClaimRef, leaseMs: number): Promise<boolean> {
    const { key, owner, fence } = claim;
    return this.#questions.ask((ticket) => {
      this.#calls.renew(ticket, key, owner, fence, leaseMs);
    });
  }

  release(claim: ClaimRef, ttl: number): Promise<boolean> {
    return this.#end(claim, 'release', ttl);
  }

  mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean> {
    if (mark !== 'committed') return this.#end(claim, mark, ttl);
    const { key, owner, fence } = claim;
    return this.#questions.ask((ticket) => {
      this.#calls.commitPoint(ticket, key, owner, fence);
    });
  }

  #end({ key, owner, fence }: ClaimRef, how: keyof typeof ENDS, ttl: number): Promise<boolean> {
    return this.#questions.ask((ticket) => {
      this.#calls.end(ticket, key, owner, fence, ENDS[how], ttl * 1000);
    });
  }

  save(claim: ClaimRef, progress: Uint8Array): Promise<boolean> {
    const { key, owner, fence } = claim;
    return this.#questions.ask((ticket) => {
      this.#calls.save(ticket, key, owner, fence, progress);
    });
  }

  async inspect(key: string): Promise<KeptRecord | undefined> {
    return keptRecordOf(await answered(this.#native.inspect(key)));
  }

  forget(key: string): Promise<boolean> {
    return answered(this.#native.forget(key));
  }

  async waitFor(key: string): Promise<void> {
    await answered(this.#native.waitFor(key));
  }

  /** See {@link StoreOperations.list}. Read some hundred rows at a time, in the order of the file. */
  async *list(): AsyncGenerator<ListedRecord, void, undefined> {
    for (let from: bigint | undefined; ;) {
      const { records, next } = await answered(this.#native.list(from));
      yield* records;
      if (next === undefined) return;
      from = next;
    }
  }

  resolve(key: string, as: Resolution, ttl: number): Promise<boolean> {
    const how = typeof as !== 'string' ? 'completed' : as === 'free' ? 'release' : as;
    const { head, body } = typeof as === 'string' ? { head: '', body: Buffer.alloc(0) } : as;
    return answered(this.#native.resolve(key, how, ttl * 1000, head, asBuffer(body)));
  }

  /** Counts what is kept. */
  stats(): Promise<FileStoreStats> {
    return answered(this.#native.stats());
  }

  /**
   * Reads the whole file and says what is wrong with it, a line for each fault; none is good. Takes seconds for a file
   * of gigabytes, and holds nobody up.
   */
  verify(): Promise<string[]> {
    return answered(this.#native.verify());
  }

  /**
   * Writes a copy as of now to a file that does not exist yet, which a `FileStore` can open. Holds nobody up. Claims in
   * progress are free in the copy.
   */
  async backup(to: string): Promise<void> {
    checkOption('FileStore.backup', 'to', to, PATH);
    await answered(this.#native.backup(to));
  }

  /** Gives the space of what was deleted back to the disk. Requests of all processes wait meanwhile: not at noon. */
  async compact(): Promise<void> {
    await answered(this.#native.compact());
  }

  /**
   * Lets go of the file, once what was asked before is written; where no other store of this process has the file open,
   * no thread and no descriptor is left of it then. Claims that this process still holds keep their leases; nobody renews
   * them. Later use rejects with `ERR_REPRISE_STORE_CLOSED`; a second call waits for the same end.
   */
  close(): Promise<void> {
    this.#closed ??= answered(this.#native.close()).then(() => undefined);
    return this.#closed;
  }
}

async function answered<T>(answer: Promise<T | NativeFailure>): Promise<T> {
  const found = await answer;
  if (isFailure(found)) throw errorOf(found);
  return found;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
