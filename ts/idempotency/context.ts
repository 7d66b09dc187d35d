import { createHash, randomBytes } from 'node:crypto';
import { invalidArgument } from '../options.js';
import type { Capture } from './capture.js';
import type { Identified, Written } from './desk.js';
import { within } from '../timeout.js';
import { transact } from './transaction.js';

/**
 * A handler's view of the key that it runs under: `req.idempotency`. (An interface, since a program that sees this
 * package's types as a CommonJS and as an ES module declares `req.idempotency` twice, and the two must be one type.)
 */
export interface IdempotencyContext {
  /** What the client sent, or, where it sent none, the key that was derived from the request. */
  readonly key: string;
  /**
   * Grows by one with every run of this key. Written next to your own rows (`WHERE fence <= ?`), it keeps out a run
   * that was taken for dead and comes back.
   */
  readonly fence: number;
  /**
   * Aborts when the claim is lost, at `maxHoldMs`, or where no renewal has succeeded for a lease (`leaseMs`, counted from
   * the moment at which the last one that did began): from then on another request may run under this key. The answer
   * still goes out; it is kept if the claim holds in the store all the same, and has `Idempotency-Stored: false` if not.
   */
  readonly signal: AbortSignal;
  /** This answer is not to be kept: the key is free again after it. */
  noStore(): void;
  /**
   * From here on, the effect may have happened. An error, a crash or a lost lease makes the record indeterminate: it
   * never runs again by itself. Resolves once the store knows; false if the claim is lost, and then do not go on. Rejects
   * with what the store throws, and with `ERR_REPRISE_STORE_TIMEOUT` after `storeTimeoutMs`: do not go on then either.
   * Call it before you take a connection of a pool that the store uses too.
   */
  commitPoint(): Promise<boolean>;
  /**
   * Runs a function inside a transaction of the store's database, with its handle (`tx`), and keeps the answer in the
   * same transaction: the rows and the record commit together, or neither does, at whatever instant the process or the
   * database dies. Answer inside of the function, whole, and do not wait for the answer to be sent: it leaves after the
   * commit. An answer of 400 or above, and an error, roll the rows back; the key is then dealt with as ever.
   * Resolves with what the function did. Rejects where nothing was committed; the request may then be answered anew.
   * Rejects too, with `ERR_REPRISE_STORE_TIMEOUT`, where the transaction has not begun within `storeTimeoutMs`, and then
   * the function does not run; or where it has not ended within `storeTimeoutMs` after the function, and then only the
   * database knows whether it was committed: answer 503, and the client's retry finds out.
   *
   * Needs a store that has transactions: a `PostgresStore` over a pool.
   *
   * @example
   * ```ts
   * await req.idempotency.transaction(async (tx: PoolClient) => {
   *   const { rows } = await tx.query('INSERT INTO orders (item) VALUES ($1) RETURNING id', [req.body.item]);
   *   res.status(201).json(rows[0]);
   * });
   * ```
   */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller knows its own driver
  transaction<Tx, T>(run: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * A key for a request of your own to another service, the same for every run of this key:
   * `stripe.charges.create(charge, { idempotencyKey: req.idempotency.derive('charge') })`. 64 hexadecimal digits.
   *
   * Where the client sent no key, it is the same for every run of this record: a retry after an error or a crash gives
   * it again, and an equal request after `derivedTtl`, or after an answer that was not kept, gives another.
   *
   * @throws TypeError with code `ERR_REPRISE_INVALID_ARGUMENT`, where the name is no string
   */
  derive(name: string): string;
}

/** Of what tells two records of one derived key apart. */
const SEED_BYTES = 16;

/** What a context asks of the middleware that guards the request. */
export interface ContextHost {
  readonly storeTimeoutMs: number;
  /** Loses the claim now if its lease is over. */
  judge(capture: Capture): void;
}

/** The context of one claim. */
export class ClaimContext implements IdempotencyContext {
  /** The middleware that guards the request. */
  readonly host: ContextHost;
  readonly #capture: Capture;
  readonly #identify: () => Identified;
  readonly #clientKey: string | undefined;
  #seed: Buffer | undefined;
  #controller: AbortController | undefined;
  #lost: Error | undefined;

  constructor(host: ContextHost, capture: Capture, clientKey: string | undefined, identify: () => Identified) {
    this.host = host;
    this.#capture = capture;
    this.#clientKey = clientKey;
    this.#identify = identify;
  }

  get key(): string {
    return this.#clientKey ?? this.#identify().key;
  }

  get fence(): number {
    return this.#capture.claim.fence;
  }

  get signal(): AbortSignal {
    // A handler that has blocked the event loop asks before any timer has told.
    this.host.judge(this.#capture);
    if (this.#controller === undefined) {
      // Made on demand: it costs more than the rest of a request's idempotency.
      this.#controller = new AbortController();
      if (this.#lost) this.#controller.abort(this.#lost);
    }
    return this.#controller.signal;
  }

  noStore(): void {
    this.#capture.noStore = true;
  }

  async commitPoint(): Promise<boolean> {
    return !this.#capture.isOver && (await this.#inTime(() => this.#capture.claim.commitPoint()));
  }

  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as in the interface
  transaction<Tx, T>(run: (tx: Tx) => Promise<T>): Promise<T> {
    return transact(this.#capture, this.host.storeTimeoutMs, async (tx) => run(tx as Tx));
  }

  derive(name: string): string {
    // Two names that are none would give one key.
    if (typeof name !== 'string') throw invalidArgument(TypeError, 'derive', 'name', name, 'a string');
    const { key } = this.#identify();
    const from = this.#clientKey === undefined ? `${key}/${this.#seedOfRecord().toString('hex')}` : key;
    return createHash('sha256').update(`${from}/${name}`).digest('hex');
  }

  /** What this request asks for, and who asks. */
  get asked(): readonly [fingerprint: string, identity: string] {
    const { fingerprint, identity } = this.#identify();
    return [fingerprint, identity];
  }

  /** What an earlier run of this key saved of its progress. */
  progress(): Uint8Array | undefined {
    const kept = this.#capture.claim.progress();
    if (this.#clientKey !== undefined || kept === undefined) return kept;
    return kept.length > SEED_BYTES ? kept.subarray(SEED_BYTES) : undefined;
  }

  /** Saves progress in the record of this key, for the next run of it; false if the claim is lost or has ended. */
  async save(progress: Uint8Array): Promise<boolean> {
    if (this.#capture.isOver) return false;
    const seed = this.#clientKey === undefined ? [this.#seedOfRecord()] : [];
    return this.#inTime(() => this.#capture.claim.save(Buffer.concat([...seed, progress])));
  }

  /**
   * What tells this record from another one of the same derived key, made an hour later by an equal request: random, and
   * kept in front of the progress, which outlives a run that failed, and is gone with the record.
   */
  #seedOfRecord(): Buffer {
    if (this.#seed) return this.#seed;
    const kept = this.#capture.claim.progress();
    if (kept && kept.length >= SEED_BYTES) return (this.#seed = Buffer.from(kept.subarray(0, SEED_BYTES)));
    this.#seed = randomBytes(SEED_BYTES);
    if (!this.#capture.isOver) {
      // Before all later steps of this claim. If the store fails, the next run has another seed: nobody can wait for it.
      Promise.resolve(this.#capture.claim.save(this.#seed)).catch(() => undefined);
    }
    return this.#seed;
  }

  /** The claim is not ours any more. */
  lose(reason: Error): void {
    this.#lost ??= reason;
    this.#controller?.abort(reason);
  }

  /** A step that the store has to answer within its time. */
  #inTime(step: () => Written): Written {
    const written = step();
    return typeof written === 'boolean' ? written : within(written, this.host.storeTimeoutMs);
  }
}
