import { setTimeout as delay } from 'node:timers/promises';
import { withCode } from '../../errors.js';
import {
  aBoolean,
  checkOptions,
  hasMethods,
  invalidOption,
  wholeNumberBetween,
  type OptionRules,
} from '../../options.js';
import type {
  AtomicStore,
  ClaimEnd,
  ClaimOutcome,
  ClaimRef,
  ClaimRequest,
  KeptAnswer,
  KeptRecord,
} from '../contract.js';
import { within } from '../../timeout.js';
import {
  noStats,
  countInto,
  type DamagedRecord,
  type ListedRecord,
  type Resolution,
  type StoreOperations,
  type StoreStats,
} from '../operations.js';
import { Wakeups } from '../wakeups.js';
import {
  adapt,
  isPostgresClient,
  type PostgresAdapter,
  type PostgresClient,
  type PostgresQuery,
  type Row,
} from './client.js';
import { channelOf, createTableSql, identifier, LONGEST_NAME, statementsFor, type Statements } from './statements.js';

/** Options of {@link PostgresStore}. */
export interface PostgresStoreOptions {
  /**
   * Your `Pool` of pg, `sql` of postgres.js, or a way to the database of your own (`PostgresAdapter`). A single
   * `Client` of pg will do, but has no transactions. It stays yours: the store never closes it. To wait for claims it
   * opens one more connection like it, the first time that a request waits.
   */
  client: PostgresClient | PostgresAdapter;
  /** The table, with its schema if it needs one (`app.idempotency`). Default `reprise_records`. */
  table?: string;
  /** Whether to make the table when it is missing. Default true; `createTableSql` is for your own migrations. */
  createTable?: boolean;
  /** Milliseconds between two sweeps of what has expired; 0 for none. Default 60,000. */
  sweepIntervalMs?: number;
}

const RULES: OptionRules<PostgresStoreOptions> = {
  client: {
    allowed: 'a Pool or Client of pg, the sql of postgres.js, or an object with a function query(text, values)',
    type: (value) => isPostgresClient(value) || hasMethods(value, 'query'),
  },
  table: {
    allowed: `the name of a table, with its schema or without, each of at most ${LONGEST_NAME} bytes`,
    type: (value) => typeof value === 'string',
    range: (value: string) =>
      /^[^.\0]+(\.[^.\0]+)?$/.test(value) && value.split('.').every((name) => Buffer.byteLength(name) <= LONGEST_NAME),
  },
  createTable: aBoolean,
  sweepIntervalMs: wholeNumberBetween(0, 2 ** 31 - 1, 'milliseconds'),
};

/** The connection that the store waits on. */
interface Subscription {
  readonly opening: Promise<void>;
  opened: { close: () => Promise<void> | void } | undefined;
}

/** Rows that one statement of a sweep deletes: enough to go fast, few enough to hold nobody up. */
const SWEEP_BATCH = 1000;

/** Rows that a list reads at a time. */
const LIST_BATCH = 1000;

/** How often a statement is asked again that met another one's write, after a pause of at most so many milliseconds. */
const MOST_TRIES = 20;
const LONGEST_PAUSE = 32;

/** How long a commit whose outcome is unknown may keep the record locked before the handler is told that it failed. */
const MOST_MS_AFTER_COMMIT = 2_000;

/** SQLSTATE: the table is missing; two transactions met and one has to try again. */
const UNDEFINED_TABLE = '42P01';
const COLLISIONS = new Set(['40001', '40P01']);

/**
 * Keeps records in a table of PostgreSQL, for as many hosts as use it. One round trip to claim and one to complete, by
 * the clock of the server. With `req.idempotency.transaction` the rows of a handler and the record of its answer
 * commit together.
 *
 * @example
 * ```ts
 * const store = new PostgresStore({ client: new Pool({ connectionString: process.env.DATABASE_URL }) });
 * app.use(idempotencyMiddleware({ store }));
 * ```
 */
export class PostgresStore implements AtomicStore, StoreOperations {
  readonly #adapter: PostgresAdapter;
  readonly #table: string;
  readonly #createTable: boolean;
  readonly #channel: string;
  readonly #statements: Statements;
  readonly #sweepIntervalMs: number;
  readonly #wakeups = new Wakeups();
  /** The claims whose rows are locked by their own transactions. */
  readonly #locked = new Set<string>();
  /** The isolation that transactions begin with; asked once. */
  #isolation: string | undefined;
  #subscription: Subscription | undefined;
  #sweeper: NodeJS.Timeout | undefined;
  #closed = false;

  /** @throws TypeError or RangeError (`ERR_REPRISE_INVALID_OPTION`) */
  constructor(options: PostgresStoreOptions) {
    checkOptions('PostgresStore', options, RULES);
    const { client, table = 'reprise_records', createTable = true, sweepIntervalMs = 60_000 } = options;
    if ((client as unknown) === undefined) {
      throw invalidOption(TypeError, 'PostgresStore', 'client', client, RULES.client.allowed);
    }
    this.#adapter = isPostgresClient(client) ? adapt(client) : client;
    this.#table = table;
    this.#createTable = createTable;
    this.#channel = channelOf(table);
    this.#statements = statementsFor(table);
    this.#sweepIntervalMs = sweepIntervalMs;
  }

  async claim(request: ClaimRequest): Promise<ClaimOutcome> {
    this.#sweepLater();
    const { key, fingerprint, identity, owner, leaseMs, ttl, overIndeterminate = false } = request;
    const values = [key, fingerprint, identity, owner, leaseMs, ttl * 1000, overIndeterminate];
    for (let tries = 1; tries <= MOST_TRIES; tries++) {
      const [row] = await this.#query(this.#statements.claim, values);
      const found = row && outcomeOf(row);
      if (found) return found;
    }
    throw new Error(`The claim of a key met the writes of others ${MOST_TRIES} times`);
  }

  complete(claim: ClaimRef, answer: KeptAnswer, ttl: number): Promise<boolean> {
    return this.#settle(this.#query, claim, answer, ttl);
  }

  release(claim: ClaimRef, ttl: number): Promise<boolean> {
    return this.#settle(this.#query, claim, 'release', ttl);
  }

  mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean> {
    if (mark === 'committed') return this.#write(this.#statements.commitPoint, claim);
    return this.#settle(this.#query, claim, mark, ttl);
  }

  async renew(claim: ClaimRef, leaseMs: number): Promise<boolean> {
    // Its row is locked: nobody can take it over, and a renewal would only wait, on a connection of its own.
    if (this.#locked.has(`${claim.owner}/${claim.fence}`)) return true;
    return this.#write(this.#statements.renew, claim, leaseMs);
  }

  save(claim: ClaimRef, progress: Uint8Array): Promise<boolean> {
    return this.#write(this.#statements.save, claim, asBuffer(progress));
  }

  async inspect(key: string): Promise<KeptRecord | undefined> {
    const [row] = await this.#query(this.#statements.inspect, [key]);
    if (row === undefined) return undefined;
    const state = row['state'] as KeptRecord['state'];
    const [fence, expiresInMs] = [Number(row['fence']), Number(row['expiresin'])];
    if (state === 'in-progress') return { state, fence, leaseLeftMs: Number(row['leaseleft']) };
    return state === 'completed' ? { state, fence, expiresInMs, answer: answerOf(row) } : { state, fence, expiresInMs };
  }

  async forget(key: string): Promise<boolean> {
    const [row] = await this.#query(this.#statements.forget, [key]);
    return row?.['isfree'] === false;
  }

  /** Waits by `LISTEN`; behind an adapter that cannot listen, requests that would wait are refused. */
  get waitFor(): AtomicStore['waitFor'] {
    return this.#adapter.listen && (async (key) => this.#waitFor(key));
  }

  /** Absent behind an adapter or a client that has none. */
  get transaction(): AtomicStore['transaction'] {
    if (!this.#adapter.transaction) return undefined;
    return async (claim, ttl, run) => this.#transact(claim, ttl, run);
  }

  /** Deletes what has expired, in batches; how many records that were. The store does so by itself now and then. */
  async sweep(): Promise<number> {
    for (let swept = 0; ;) {
      const { length } = await this.#query(this.#statements.sweep, [SWEEP_BATCH]);
      swept += length;
      if (length < SWEEP_BATCH) return swept;
    }
  }

  /** See {@link StoreOperations.list}. Read by the primary key, some rows at a time, in its order. */
  async *list(): AsyncGenerator<ListedRecord | DamagedRecord, void, undefined> {
    for (let after = ''; ;) {
      const rows = await this.#query(this.#statements.list, [after, LIST_BATCH]);
      yield* rows.map(listed);
      if (rows.length < LIST_BATCH) return;
      after = String(rows.at(-1)?.['key']);
    }
  }

  /** See {@link StoreOperations.stats}. It reads the whole table. */
  async stats(): Promise<StoreStats> {
    const stats = noStats();
    for (const row of await this.#query(this.#statements.stats, [])) {
      countInto(stats, String(row['state']), Number(row['bytes']), Number(row['records']));
    }
    return stats;
  }

  async resolve(key: string, as: Resolution, ttl: number): Promise<boolean> {
    const answer = typeof as === 'string' ? [null, null] : [Buffer.from(as.head, 'latin1'), asBuffer(as.body)];
    const values = [key, typeof as === 'string' ? as : 'completed', ttl * 1000, ...answer];
    return (await this.#query(this.#statements.resolve, values)).length > 0;
  }

  /** Sweeps, and has PostgreSQL make the space free for new records (`VACUUM`); how many records were swept. */
  async compact(): Promise<number> {
    const swept = await this.sweep();
    await this.#query(`VACUUM ${identifier(this.#table)}`);
    return swept;
  }

  /** Ends the sweeps, and closes the connection that the store opened to wait; your client stays as it is. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#sweeper);
    this.#wakeups.wakeAll();
    const subscription = this.#subscription;
    this.#subscription = undefined;
    // One that is still being opened is closed once it is; nobody waits for a server that never answers.
    await subscription?.opened?.close();
  }

  readonly #query: PostgresQuery = async (text, values) =>
    untilItMeetsNobody(async () => {
      this.#checkOpen();
      try {
        return await this.#adapter.query(text, values);
      } catch (error) {
        if (!this.#createTable || codeOf(error) !== UNDEFINED_TABLE) throw error;
        await this.#adapter.query(createTableSql(this.#table));
        return this.#adapter.query(text, values);
      }
    });

  async #transact(claim: ClaimRef, ttl: number, run: (tx: unknown) => Promise<ClaimEnd | undefined>): Promise<boolean> {
    const rollBack = new Error('Rolled back, as was asked');
    const progress = { begun: false, ended: false };
    // Asked before a connection is taken: who holds one must not wait for another.
    const locks = await this.#seesOnlyItsStart();
    const holder = `${claim.owner}/${claim.fence}`;
    const attempt = async (): Promise<void> => {
      await this.#adapter.transaction?.(async (tx, query) => {
        if (locks) {
          const [locked] = await query(this.#statements.lock, [claim.key, claim.owner, String(claim.fence)]);
          if (locked === undefined) throw rollBack;
          this.#locked.add(holder);
        }
        progress.begun = true;
        const end = await run(tx);
        if (end === undefined || !(await this.#settle(query, claim, end, ttl))) throw rollBack;
        progress.ended = true;
      });
    };
    try {
      // What met another's write before the function ran may try again; the function runs once.
      await untilItMeetsNobody(attempt, () => !progress.begun);
      return true;
    } catch (error) {
      if (error === rollBack) return false;
      // Where the connection broke at the commit, the record says what became of it.
      if (progress.ended && (await this.#hasEnded(claim))) return true;
      throw error;
    } finally {
      this.#locked.delete(holder);
    }
  }

  /** Whether transactions of this database see it as it was at their start (`repeatable read`, `serializable`). */
  async #seesOnlyItsStart(): Promise<boolean> {
    if (this.#isolation === undefined) {
      const [row] = await this.#query(this.#statements.isolation);
      this.#isolation = String(row?.['isolation']);
    }
    return !this.#isolation.startsWith('read ');
  }

  async #settle(query: PostgresQuery, claim: ClaimRef, end: ClaimEnd, ttl: number): Promise<boolean> {
    const { key, owner, fence } = claim;
    const state = typeof end !== 'string' ? 'completed' : end === 'release' ? 'free' : end;
    const [head, body] = typeof end === 'string' ? [null, null] : [Buffer.from(end.head, 'latin1'), asBuffer(end.body)];
    const values = [key, owner, String(fence), state, ttl * 1000, head, body];
    return (await query(this.#statements.settle, values)).length > 0;
  }

  async #write(statement: string, { key, owner, fence }: ClaimRef, ...values: unknown[]): Promise<boolean> {
    return (await this.#query(statement, [key, owner, String(fence), ...values])).length > 0;
  }

  async #hasEnded({ key, owner, fence }: ClaimRef): Promise<boolean> {
    try {
      const asked = this.#query(this.#statements.stateOf, [key, owner, String(fence)]);
      const [row] = await within(asked, MOST_MS_AFTER_COMMIT);
      return row !== undefined && row['state'] !== 'in-progress';
    } catch {
      return false;
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw withCode(new Error('This PostgresStore is closed'), 'ERR_REPRISE_STORE_CLOSED');
  }

  async #waitFor(key: string): Promise<void> {
    this.#checkOpen();
    const place = this.#wakeups.enter(key);
    try {
      this.#subscription ??= this.#subscribe();
      // Woken: the store was closed meanwhile, or the claim has ended.
      await Promise.race([this.#subscription.opening, place.woken]);
      if (this.#closed) return;
      const [row] = await this.#query(this.#statements.wait, [key]);
      if (row !== undefined) await place.wait(Number(row['leaseleft']));
    } finally {
      place.leave();
    }
  }

  #subscribe(): Subscription {
    const drop = (): void => {
      if (this.#subscription === subscription) this.#subscription = undefined;
    };
    // Until it listens there is nothing to miss: those that wait for it look for themselves afterwards.
    const onGap = (): void => {
      if (subscription.opened) this.#wakeups.wakeAll();
    };
    const onMessage = (key: string): void => {
      this.#wakeups.wake(key);
    };
    const onLost = (): void => {
      drop();
      onGap();
    };
    const open = async (): Promise<void> => {
      try {
        const opened = await this.#adapter.listen?.(this.#channel, { onMessage, onGap, onLost });
        if (this.#closed) await opened?.close();
        else subscription.opened = opened;
      } catch (error) {
        drop();
        throw error;
      }
    };
    const subscription: Subscription = { opening: Promise.resolve().then(open), opened: undefined };
    return subscription;
  }

  /** One process after the other, not all of them at once: a quarter of the interval is left to chance. */
  #sweepLater(): void {
    if (this.#sweepIntervalMs === 0 || this.#sweeper !== undefined || this.#closed) return;
    const delay = this.#sweepIntervalMs * (1 + Math.random() / 4);
    this.#sweeper = setTimeout(() => {
      this.sweep()
        // A database that cannot be swept now is asked again with the next claim.
        .catch(() => undefined)
        .finally(() => {
          this.#sweeper = undefined;
        });
    }, delay).unref();
  }
}

/** Does it again while it meets the writes of others, as transactions do that see the database as it was at their start. */
async function untilItMeetsNobody<T>(attempt: () => Promise<T>, mayRepeat = () => true): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries >= MOST_TRIES || !COLLISIONS.has(codeOf(error)) || !mayRepeat()) throw error;
    }
    // Those that have met would meet again.
    await delay(Math.random() * Math.min(LONGEST_PAUSE, 2 ** tries));
  }
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code);
}

/** What a claim found; undefined where somebody else's write came between. */
function outcomeOf(row: Row): ClaimOutcome | undefined {
  if (typeof row['samefingerprint'] !== 'boolean') {
    throw strangeClient('names columns or gives values of its own', 'one whose rows are as PostgreSQL sends them');
  }
  if (row['isfree']) return undefined;
  if (row['sameidentity'] !== true) return { outcome: 'mismatch', differs: 'identity' };
  if (!row['samefingerprint']) return { outcome: 'mismatch', differs: 'fingerprint' };
  const leaseLeftMs = Number(row['leaseleft']);
  switch (row['state']) {
    case 'in-progress': {
      if (leaseLeftMs <= 0) return undefined;
      if (row['mine'] !== true) return { outcome: 'in-progress', leaseLeftMs };
      const progress = row['progress'] as Uint8Array | null;
      return { outcome: 'claimed', fence: Number(row['fence']), ...(progress && { progress }) };
    }
    case 'completed':
      return { outcome: 'completed', answer: answerOf(row) };
    default:
      return { outcome: row['state'] as 'not-replayable' | 'indeterminate' };
  }
}

function listed(row: Row): ListedRecord | DamagedRecord {
  const key = String(row['key']);
  const problem = row['problem'] as string | null;
  if (problem !== null) return { key, state: 'damaged', problem };
  const state = row['state'] as KeptRecord['state'];
  const leftMs = Number(row[state === 'in-progress' ? 'leaseleft' : 'expiresin']);
  return { key, state, fence: Number(row['fence']), leftMs, bytes: Number(row['bytes']) };
}

function answerOf({ head, body }: Row): KeptAnswer {
  // Some drivers give plain bytes.
  if (head instanceof Uint8Array && body instanceof Uint8Array) {
    return { head: asBuffer(head).toString('latin1'), body };
  }
  throw strangeClient(`gives bytea as ${typeof head}`, 'one that gives a Buffer or another Uint8Array');
}

/** Better no answer than a wrong one. */
function strangeClient(does: string, allowed: string): Error {
  return withCode(
    new TypeError(`PostgresStore: option "client" ${does}; allowed: ${allowed}`),
    'ERR_REPRISE_INVALID_OPTION',
  );
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
