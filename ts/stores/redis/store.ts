import { withCode } from '../../errors.js';
import { Warnings } from '../../warnings.js';
import { checkOptions, invalidOption, wholeNumberBetween, type OptionRules } from '../../options.js';
import type { AtomicStore, ClaimOutcome, ClaimRef, ClaimRequest, KeptAnswer, KeptRecord } from '../contract.js';
import {
  countInto,
  noStats,
  type DamagedRecord,
  type ListedRecord,
  type Resolution,
  type StoreOperations,
  type StoreStats,
} from '../operations.js';
import { Wakeups } from '../wakeups.js';
import {
  connect,
  isRedisClient,
  type RedisArgument,
  type RedisClient,
  type RedisCommand,
  type RedisConnection,
  type Subscription,
} from './client.js';
import { answerBytes, answerIn, claimArguments, readAnswer, scripts, settleArguments, type Script } from './scripts.js';

/** Options of {@link RedisStore}. */
export interface RedisStoreOptions {
  /**
   * Your client: ioredis, node-redis (5 or newer), Valkey GLIDE, single or cluster, or a function that sends one
   * command. It stays yours: the store never closes it. To wait for claims it opens one more connection like it
   * (`client.duplicate()`), the first time that a request waits; with GLIDE and a function it asks again and again,
   * every 20 to 500 milliseconds.
   */
  client: RedisClient;
  /** What all keys begin with. Default `reprise:`. */
  prefix?: string;
  /**
   * Replicas that must have a claim, an answer or progress before it counts (`WAIT`), so that a failover does not
   * forget it. Too few of them in time is a failure of the store. Default 0. It needs no more round trips.
   */
  waitForReplicas?: number;
  /** Milliseconds to wait for them. Default 500; keep it below the middleware's `storeTimeoutMs`. */
  replicaTimeoutMs?: number;
}

const RULES: OptionRules<RedisStoreOptions> = {
  client: {
    allowed: 'a client of ioredis, node-redis or Valkey GLIDE, or a function (args, key) => Promise<unknown>',
    type: isRedisClient,
  },
  prefix: { allowed: 'a string', type: (value) => typeof value === 'string' },
  waitForReplicas: wholeNumberBetween(0, 1000),
  replicaTimeoutMs: wholeNumberBetween(1, 2 ** 31 - 1, 'milliseconds'),
};

/** Keys that one step of a scan looks at. */
const SCAN_COUNT = '1000';

/** Milliseconds between two looks at a key, where nobody tells: doubled from the first to the last. */
const FIRST_POLL_MS = 20;
const LONGEST_POLL_MS = 500;

/**
 * Keeps records in Redis or Valkey, for as many hosts as use it. One round trip to claim a new key or to get its answer, and
 * one to complete; each step is one command or one script on one key, by the clock of the server.
 *
 * It keeps what that Redis keeps: with `appendfsync always` every record, else all but the last second's, and nothing
 * that a failover loses before it reached a replica (`waitForReplicas`).
 *
 * @example
 * ```ts
 * const store = new RedisStore({ client: new Redis(process.env.REDIS_URL) });
 * app.use(idempotencyMiddleware({ store }));
 * ```
 */
export class RedisStore implements AtomicStore, StoreOperations {
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #channel: string;
  readonly #replicas: number;
  readonly #wait: string[];
  readonly #wakeups = new Wakeups();
  #subscription: Subscription | undefined;
  /** With replicas to wait for, a claim is always the script's: too few of them take it back. */
  #claimsBySet: boolean;
  #policyChecked = false;
  #closed = false;

  /** @throws TypeError or RangeError (`ERR_REPRISE_INVALID_OPTION`) */
  constructor(options: RedisStoreOptions) {
    checkOptions('RedisStore', options, RULES);
    const { client, prefix = 'reprise:', waitForReplicas = 0, replicaTimeoutMs = 500 } = options;
    if ((client as unknown) === undefined) {
      throw invalidOption(TypeError, 'RedisStore', 'client', client, RULES.client.allowed);
    }
    this.#connection = connect(client);
    this.#prefix = prefix;
    this.#channel = `${prefix}settled`;
    this.#replicas = waitForReplicas;
    this.#claimsBySet = waitForReplicas === 0;
    this.#wait = ['WAIT', String(waitForReplicas), String(replicaTimeoutMs)];
  }

  async claim(request: ClaimRequest): Promise<ClaimOutcome> {
    if (!this.#policyChecked) void this.#checkPolicy();
    const { key, owner, ttl } = request;
    const args = claimArguments(request, toMs(ttl));
    const found = this.#claimsBySet ? await this.#claimBySet(request, args) : undefined;
    if (found) return found;
    return this.#runOnReplicas(scripts.claim, key, args, outcomeOf, async (granted) => {
      if (granted.outcome === 'claimed') await this.release({ key, owner, fence: granted.fence }, ttl);
    });
  }

  complete(claim: ClaimRef, answer: KeptAnswer, ttl: number): Promise<boolean> {
    return this.#settle(claim, 'c', ttl, answer);
  }

  release(claim: ClaimRef, ttl: number): Promise<boolean> {
    // One that is lost costs no more than the rest of a lease.
    return this.#run(scripts.settle, claim.key, settleArguments(claim, 'f', toMs(ttl), this.#prefix), isDone);
  }

  mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean> {
    if (mark === 'committed') return this.#write(scripts.commit, claim);
    return this.#settle(claim, mark === 'indeterminate' ? 'i' : 'n', ttl);
  }

  save(claim: ClaimRef, progress: Uint8Array): Promise<boolean> {
    return this.#write(scripts.save, claim, Buffer.from(progress.buffer, progress.byteOffset, progress.byteLength));
  }

  renew({ key, owner, fence }: ClaimRef, leaseMs: number): Promise<boolean> {
    return this.#run(scripts.renew, key, [owner, String(fence), String(leaseMs)], isDone);
  }

  inspect(key: string): Promise<KeptRecord | undefined> {
    return this.#run(scripts.inspect, key, [], recordOf);
  }

  forget(key: string): Promise<boolean> {
    const lengths = [this.#prefix, key].map((name) => String(Buffer.byteLength(name)));
    return this.#run(scripts.forget, key, lengths, isDone);
  }

  async waitFor(key: string): Promise<void> {
    this.#checkOpen();
    if (!this.#connection.subscribe) {
      await this.#poll(key);
      return;
    }
    const place = this.#wakeups.enter(key);
    try {
      // Woken: the store was closed meanwhile, or the claim has ended.
      await Promise.race([this.#subscribe(), place.woken]);
      if (this.#closed) return;
      const left = await this.#run(scripts.wait, key, [], Number);
      if (left > 0) await place.wait(left);
    } finally {
      place.leave();
    }
  }

  /**
   * See {@link StoreOperations.list}. It walks over all keys of the server, or of every primary of a cluster (`SCAN`),
   * in small steps; while Redis grows its table of keys, one may come twice.
   *
   * @throws Error with code `ERR_REPRISE_NO_LISTING` where the client does not lead to each node of a cluster
   */
  async *list(): AsyncGenerator<ListedRecord | DamagedRecord, void, undefined> {
    for await (const { key, reply } of this.#scan()) {
      const [state, second, left, bytes] = reply.map(String);
      if (state === 'damaged') yield { key, state, problem: second ?? '' };
      else if (state !== 'free') {
        const kept = state as KeptRecord['state'];
        yield { key, state: kept, fence: Number(second), leftMs: Number(left), bytes: Number(bytes) };
      }
    }
  }

  /** See {@link StoreOperations.stats}. It costs as much as {@link list}. */
  async stats(): Promise<StoreStats> {
    const stats = noStats();
    for await (const { reply } of this.#scan()) countInto(stats, String(reply[0]), Number(reply[3] ?? 0));
    return stats;
  }

  resolve(key: string, as: Resolution, ttl: number): Promise<boolean> {
    const state = typeof as !== 'string' ? 'c' : as === 'free' ? 'f' : 'n';
    const answer = typeof as === 'string' ? [] : [answerBytes(as)];
    return this.#runOnReplicas(scripts.resolve, key, [state, String(toMs(ttl)), ...answer], isDone);
  }

  /** Closes the connection that the store opened to wait; your client stays as it is. Those that wait are let go. */
  // eslint-disable-next-line @typescript-eslint/require-await -- as every store's
  async close(): Promise<void> {
    this.#closed = true;
    this.#wakeups.wakeAll();
    this.#subscription?.close();
    this.#subscription = undefined;
  }

  /** Every record, with what the script `list` says of it. */
  async *#scan(): AsyncGenerator<{ key: string; reply: readonly unknown[] }, void, undefined> {
    const { keyPrefix = '', primaries } = this.#connection;
    const prefix = keyPrefix + this.#prefix;
    const pattern = `${prefix.replace(/[*?[\]\\]/g, '\\$&')}*`;
    const nodes = primaries ? await primaries() : [await this.#onlyNode()];
    for (const node of nodes) {
      let cursor = '0';
      do {
        const [next, names] = (await node(['SCAN', cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT], undefined)) as [
          Buffer,
          Buffer[],
        ];
        const keys = new Set(names.map((name) => name.toString().slice(prefix.length)));
        const found = await Promise.all(
          [...keys].map(async (key) => ({ key, reply: await this.#run(scripts.list, key, [], listed) })),
        );
        // One that was there a moment ago may have expired.
        for (const { key, reply } of found) if (reply !== null) yield { key, reply };
        cursor = String(next);
      } while (cursor !== '0');
    }
  }

  async #onlyNode(): Promise<RedisCommand> {
    const { send } = this.#connection;
    if (!/^cluster_enabled:1/m.test(textOf(await send(['INFO', 'cluster'], undefined)))) return send;
    throw withCode(
      new Error(
        'RedisStore: this client does not lead to each node of its cluster, so the records cannot be listed; allowed: ' +
          'a Cluster of ioredis, a createCluster() of node-redis or a GlideClusterClient',
      ),
      'ERR_REPRISE_NO_LISTING',
    );
  }

  /** Claims a new key, or finds the answer; undefined where there is more to say, which the script does. */
  async #claimBySet(
    request: ClaimRequest,
    [record = '', timeToLive = '']: string[],
  ): Promise<ClaimOutcome | undefined> {
    this.#checkOpen();
    const recordKey = this.#prefix + request.key;
    try {
      const kept = await this.#connection.send(['SET', recordKey, record, 'PX', timeToLive, 'NX', 'GET'], recordKey);
      if (kept === null) return { outcome: 'claimed', fence: 1 };
      const answer = Buffer.isBuffer(kept) ? answerIn(kept, request) : undefined;
      return answer && { outcome: 'completed', answer };
    } catch (error) {
      // Redis takes the two together since version 7. One that is full refuses all, but not to read.
      if (/syntax/i.test(String(error))) this.#claimsBySet = false;
      else if (!/\bOOM\b/.test(String(error))) throw error;
      return undefined;
    }
  }

  #settle(claim: ClaimRef, state: 'c' | 'n' | 'i', ttl: number, answer?: KeptAnswer): Promise<boolean> {
    const args = settleArguments(claim, state, toMs(ttl), this.#prefix, answer);
    return this.#runOnReplicas(scripts.settle, claim.key, args, isDone);
  }

  #write(script: Script, { key, owner, fence }: ClaimRef, ...value: RedisArgument[]): Promise<boolean> {
    return this.#runOnReplicas(script, key, [owner, String(fence), ...value], isDone);
  }

  /** `undo` takes back what too few replicas have. */
  #runOnReplicas<T>(
    script: Script,
    key: string,
    args: RedisArgument[],
    read: (reply: unknown) => T,
    undo?: (found: T) => Promise<void>,
  ): Promise<T> {
    if (this.#replicas === 0) return this.#run(script, key, args, read);
    return this.#run(script, key, args, read, async (command, recordKey) => {
      const [reply, replicas] = await this.#connection.sendAndWait(command, recordKey, this.#wait);
      if (Number(replicas) >= this.#replicas) return reply;
      await undo?.(read(reply));
      throw withCode(
        new Error(`RedisStore: ${Number(replicas)} of ${this.#replicas} replicas have the record (waitForReplicas)`),
        'ERR_REPRISE_STORE_REPLICAS',
      );
    });
  }

  /** Every request comes through here twice: what its steps share is one promise. */
  async #run<T>(
    { source, sha1 }: Script,
    key: string,
    args: RedisArgument[],
    read: (reply: unknown) => T,
    send: (command: RedisArgument[], recordKey: string) => Promise<unknown> = this.#connection.send,
  ): Promise<T> {
    this.#checkOpen();
    const recordKey = this.#prefix + key;
    let reply;
    try {
      reply = await send(['EVALSHA', sha1, '1', recordKey, ...args], recordKey);
    } catch (error) {
      // A server that was restarted, or another node of the cluster, has not seen the script yet.
      if (!/NOSCRIPT|NoScript/.test(String(error))) throw error;
      reply = await send(['EVAL', source, '1', recordKey, ...args], recordKey);
    }
    return read(reply);
  }

  #checkOpen(): void {
    if (this.#closed) throw withCode(new Error('This RedisStore is closed'), 'ERR_REPRISE_STORE_CLOSED');
  }

  async #subscribe(): Promise<void> {
    const wakeAll = (): void => {
      this.#wakeups.wakeAll();
    };
    const wake = (key: string): void => {
      this.#wakeups.wake(key);
    };
    const opening = (this.#subscription ??= this.#connection.subscribe?.(this.#channel, wake, wakeAll));
    try {
      await opening?.ready;
    } catch (error) {
      opening?.close();
      if (this.#subscription === opening) this.#subscription = undefined;
      throw error;
    }
  }

  async #poll(key: string): Promise<void> {
    for (let delay = FIRST_POLL_MS; !this.#closed; delay = Math.min(delay * 2, LONGEST_POLL_MS)) {
      const left = await this.#run(scripts.wait, key, [], Number);
      if (left <= 0) return;
      await this.#wakeups.enter(key).wait(Math.min(left, delay));
    }
  }

  /** A Redis that evicts forgets claims: said once, as far as it may be asked. */
  async #checkPolicy(): Promise<void> {
    this.#policyChecked = true;
    try {
      const text = textOf(await this.#connection.send(['INFO', 'memory'], undefined));
      const isBounded = !/^maxmemory:0\r?$/m.test(text);
      if (isBounded && /^maxmemory_policy:(?!noeviction)/m.test(text)) {
        new Warnings([], undefined).warn('WRN_REPRISE_STORE_EVICTS');
      }
    } catch {
      // A user of Redis that may not ask.
    }
  }
}

/** What the script `claim` says. */
function outcomeOf(reply: unknown): ClaimOutcome {
  if (!Array.isArray(reply)) return { outcome: 'claimed', fence: Number(reply) };
  const [outcome, first, progress] = reply as Buffer[];
  switch (String(outcome)) {
    case 'claimed':
      return { outcome: 'claimed', fence: Number(first), ...(progress?.length && { progress }) };
    case 'completed':
      return { outcome: 'completed', answer: answerOf(first) };
    case 'in-progress':
      return { outcome: 'in-progress', leaseLeftMs: Number(first) };
    case 'mismatch':
      return { outcome: 'mismatch', differs: String(first) as 'fingerprint' | 'identity' };
    default:
      return { outcome: String(outcome) as 'not-replayable' | 'indeterminate' | 'full' };
  }
}

/** What the script `inspect` says. */
function recordOf(reply: unknown): KeptRecord | undefined {
  if (reply === null) return undefined;
  const [found, fenceText, leftText, answer] = reply as Buffer[];
  const state = String(found) as KeptRecord['state'];
  const [fence, left] = [Number(fenceText), Number(leftText)];
  if (state === 'in-progress') return { state, fence, leaseLeftMs: left };
  if (state === 'completed') return { state, fence, expiresInMs: left, answer: answerOf(answer) };
  return { state, fence, expiresInMs: left };
}

/** Redis takes whole milliseconds, and at least one. */
function toMs(ttl: number): number {
  return Math.max(1, Math.ceil(ttl * 1000));
}

function answerOf(bytes: Buffer | undefined): KeptAnswer {
  if (Buffer.isBuffer(bytes)) return readAnswer(bytes);
  throw withCode(
    new TypeError('RedisStore: option "client" gives strings; allowed: a function whose bulk replies are Buffers'),
    'ERR_REPRISE_INVALID_OPTION',
  );
}

/** A reply as text; of a command that went to each node of a cluster, all of them. */
function textOf(reply: unknown): string {
  // node-redis has an object of its own for a text of RESP 3.
  if (typeof reply === 'string' || reply instanceof String || Buffer.isBuffer(reply)) return reply.toString();
  return Object.values(reply ?? {})
    .map(textOf)
    .join('\n');
}

/** What the script `list` says; null of a record that is gone. */
function listed(reply: unknown): readonly unknown[] | null {
  return reply as unknown[] | null;
}

function isDone(reply: unknown): boolean {
  return Number(reply) === 1;
}
