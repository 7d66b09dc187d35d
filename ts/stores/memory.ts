import { isMainThread } from 'node:worker_threads';
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
   * Stores of one name are one store, in all threads of the process; each must give the same limits. Default none: the
   * store is shared with nobody.
   */
  name?: string;
  /** Bytes of completed records, each counted with 512 of its own. Default 256 MiB. */
  maxBytes?: number;
  /** Completed records, and as many claims, and as many indeterminate records. Default 1,000,000. */
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
 * Keeps records in the memory of this process, off the JavaScript heap; with a name, its worker threads share it. When it
 * is full it drops the completed records that were used longest ago, in a large store some dozens at once: first those
 * that anyone can fill it with (see `dropFirst` of `KeptAnswer`), then others. A claim in progress and an indeterminate
 * record are never dropped, and where they fill it, new claims are refused. A claim with `holdMs` does not lapse for so
 * long while the thread that made it lives, were its event loop blocked. It forgets all when the process ends, and
 * other processes do not see it.
 *
 * @example
 * ```ts
 * app.use(idempotencyMiddleware({ store: new MemoryStore({ maxBytes: 64 * 1024 * 1024 }) }));
 * ```
 */
export class MemoryStore implements AtomicStore {
  /** @internal */
  readonly isNamed: boolean;
  /** See {@link AtomicStore.keepsClaims}. */
  readonly keepsClaims = true;
  #native: NativeMemoryStore | undefined;
  #claims: MemoryClaims | undefined;

  /** @throws TypeError or RangeError (`ERR_REPRISE_INVALID_OPTION`), also where a named store has other limits */
  constructor(options: MemoryStoreOptions = {}) {
    checkOptions('MemoryStore', options, RULES);
    const { name, maxBytes = 256 * 1024 * 1024, maxEntries = 1_000_000 } = options;
    this.isNamed = name !== undefined;
    try {
      this.#native = new native.NativeMemoryStore(name, maxBytes, maxEntries);
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
   * neither fake timers nor a change of the system's time move it. A claim of a middleware lapses when `maxHoldMs` have
   * passed on it.
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

/** Whether a store is one that other threads of the process cannot see, though there are others. */
export function isOfOneThread(store: unknown): boolean {
  return !isMainThread && store instanceof MemoryStore && !store.isNamed;
}

/** What throws rejects. */
function done<T>(step: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(step());
  });
}
