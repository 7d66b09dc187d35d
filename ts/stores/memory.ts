import { fileURLToPath } from 'node:url';
import type { NativeMemoryStore } from '../../native/binding.js';
import { withCode } from '../errors.js';
import { native } from '../native.js';
import { checkOptions, wholeNumberBetween, type OptionRules } from '../options.js';
import type { AtomicStore, ClaimOutcome, ClaimRef, ClaimRequest, KeptAnswer, KeptRecord } from './contract.js';
import { MemoryClaims } from './memory-claims.js';
import { keptRecordOf } from './native-outcome.js';

/** What a {@link MemoryStore} may keep. */
export interface MemoryStoreOptions {
  /**
   * Stores of one name are one store, in all threads of the process; each must give the same limits. Without a name,
   * worker threads that run the same program share the stores that they make at the same line of it, and nothing
   * else is shared: two stores made by one thread are always two.
   */
  name?: string;
  /** Bytes of completed records, each counted with 512 of its own. Default 256 MiB. */
  maxBytes?: number;
  /** Completed records, and, apart from them, claims. Default 1,000,000. */
  maxEntries?: number;
}

/** What a {@link MemoryStore} keeps at the moment. */
export interface MemoryStoreStats {
  /** Claims in progress and indeterminate records; these are never evicted. */
  held: number;
  /** Completed, not replayable and released records. */
  settled: number;
  /** Bytes of the settled ones, with their overhead. */
  bytes: number;
  /** Settled records that were dropped to make room, since the store was made. */
  evicted: number;
}

const RULES: OptionRules<MemoryStoreOptions> = {
  name: {
    allowed: 'a string that is not empty',
    type: (value) => typeof value === 'string',
    range: (value: string) => value !== '',
  },
  maxBytes: wholeNumberBetween(1024, Number.MAX_SAFE_INTEGER, 'bytes'),
  maxEntries: wholeNumberBetween(1, Number.MAX_SAFE_INTEGER),
};

/**
 * Keeps records in the memory of this process, off the JavaScript heap, shared by its worker threads. When it is full
 * it drops the completed records that were used longest ago, in a large store some dozens at once; a claim in progress
 * is never dropped, and where claims fill it, new ones are refused. It forgets all when the process ends, and other
 * processes do not see it.
 *
 * @example
 * ```ts
 * app.use(idempotencyMiddleware({ store: new MemoryStore({ maxBytes: 64 * 1024 * 1024 }) }));
 * ```
 */
export class MemoryStore implements AtomicStore {
  /** See {@link AtomicStore.keepsClaims}. */
  readonly keepsClaims = true;
  #native: NativeMemoryStore | undefined;
  #claims: MemoryClaims | undefined;

  /** @throws TypeError or RangeError (`ERR_REPRISE_INVALID_OPTION`), also where a named store has other limits */
  constructor(options: MemoryStoreOptions = {}) {
    checkOptions('MemoryStore', options, RULES);
    const { name, maxBytes = 256 * 1024 * 1024, maxEntries = 1_000_000 } = options;
    const place = name === undefined ? callerOutside() : undefined;
    const sharing = name !== undefined ? 'name' : place !== undefined ? 'place' : 'private';
    try {
      this.#native = new native.NativeMemoryStore(sharing, name ?? place ?? '', maxBytes, maxEntries);
    } catch (cause) {
      throw withCode(
        new TypeError(`MemoryStore: option "name" is ${JSON.stringify(name)}; a store of that name has other limits`, {
          cause,
        }),
        'ERR_REPRISE_INVALID_OPTION',
      );
    }
  }

  // The contract answers with promises; here all is done before they are made.

  claim(request: ClaimRequest): Promise<ClaimOutcome> {
    return done(() => this.#openClaims().claim(request));
  }

  complete(claim: ClaimRef, answer: KeptAnswer, ttl: number): Promise<boolean> {
    return done(() => this.#openClaims().complete(claim, answer, ttl));
  }

  renew(claim: ClaimRef, leaseMs: number): Promise<boolean> {
    return done(() => this.#openClaims().renew(claim, leaseMs));
  }

  release(claim: ClaimRef, ttl: number): Promise<boolean> {
    return done(() => this.#openClaims().end(claim, 'release', ttl));
  }

  mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean> {
    return done(() => {
      const claims = this.#openClaims();
      return mark === 'committed' ? claims.commitPoint(claim) : claims.end(claim, mark, ttl);
    });
  }

  save(claim: ClaimRef, progress: Uint8Array): Promise<boolean> {
    return done(() => this.#openClaims().save(claim, progress));
  }

  inspect(key: string): Promise<KeptRecord | undefined> {
    return done(() => keptRecordOf(this.open().inspect(key)));
  }

  forget(key: string): Promise<boolean> {
    return done(() => this.open().forget(key));
  }

  waitFor(key: string): Promise<void> {
    return this.open().waitFor(key);
  }

  /** Counts what is kept. */
  stats(): MemoryStoreStats {
    return this.open().stats();
  }

  /**
   * Moves this store's clock forward, so that a test of a day's retention takes no day. The store's clock is its own:
   * neither fake timers nor a change of the system's time move it.
   */
  advanceClock(byMs: number): void {
    checkOptions('MemoryStore.advanceClock', { byMs }, { byMs: wholeNumberBetween(0, Number.MAX_SAFE_INTEGER, 'ms') });
    this.open().advanceClock(byMs);
  }

  /** Lets go of the store; its memory is freed with the last that shares it. Later use throws. */
  close(): void {
    this.#native = undefined;
    this.#claims = undefined;
  }

  /** @internal */
  open(): NativeMemoryStore {
    if (this.#native === undefined) {
      throw withCode(new Error('This MemoryStore is closed'), 'ERR_REPRISE_STORE_CLOSED');
    }
    return this.#native;
  }

  #openClaims(): MemoryClaims {
    return (this.#claims ??= new MemoryClaims(this.open()));
  }
}

/** What throws rejects. */
function done<T>(step: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(step());
  });
}

/** The line of the program that called into this package: `file:line:column`. */
function callerOutside(): string | undefined {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 20;
  const stack = new Error().stack ?? '';
  Error.stackTraceLimit = limit;
  const inside = __dirname.replace(/[/\\]stores$/, '');
  for (const line of stack.split('\n').slice(1)) {
    const place = /\(?((?:file:\/\/)?[^()\s][^()]*:\d+:\d+)\)?$/.exec(line.trim())?.[1];
    if (place === undefined) continue;
    const path = place.startsWith('file://') ? fileURLToPath(place.replace(/:\d+:\d+$/, '')) : place;
    if (!path.startsWith(inside)) return place;
  }
  return undefined;
}
