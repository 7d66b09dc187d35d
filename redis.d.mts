/* auto-generated from ts/ by `npm run build:ts`; do not edit */
/**
 * The full store contract: what a store does that several processes may share. `docs/stores.md` says it in words, and
 * `storeContract` in `reprise/testing` checks a store against it.
 *
 * A record is free, claimed, completed, not replayable or indeterminate. Every step is atomic, and every write after
 * the claim names the claim: one that was lost writes nothing and resolves to false. The store's own clock decides
 * what has expired. Names (`key`, `fingerprint`, `identity`) are digests; a store need not look into them, nor into
 * an answer's head and body, nor into progress.
 */
interface AtomicStore {
    /**
     * Makes the claimant the owner of the key, or says why not.
     *
     * - No record, or one that has expired: claimed. The fence is one more than that of the key's last claim.
     * - In progress by the same owner: claimed again, with the same fence and a new lease. A driver may repeat a claim
     *   whose answer it lost.
     * - In progress with a lease that ran out: claimed, unless it had passed its commit point; then the record is
     *   indeterminate from now on.
     * - Otherwise a record with another identity or fingerprint is a mismatch, checked before all else; `identity` where
     *   both differ, so that nobody can find out by trying what somebody else asked for.
     */
    claim(request: ClaimRequest): Promise<ClaimOutcome>;
    /** Ends a claim with an answer, kept for `ttl` seconds. */
    complete(claim: ClaimRef, answer: KeptAnswer, ttl: number): Promise<boolean>;
    /** Prolongs the lease, from now. */
    renew(claim: ClaimRef, leaseMs: number): Promise<boolean>;
    /** Ends a claim without an answer: the key is free, or indeterminate behind the commit point. Progress is kept. */
    release(claim: ClaimRef, ttl: number): Promise<boolean>;
    /**
     * `committed`: the claim has passed its commit point. `not-replayable` and `indeterminate` end it so, for `ttl`
     * seconds.
     */
    mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean>;
    /** Saves how far the owner has come, for the next claim of the key; gone once the claim is completed. */
    save(claim: ClaimRef, progress: Uint8Array): Promise<boolean>;
    /** What is kept for a key. */
    inspect(key: string): Promise<KeptRecord | undefined>;
    /** Frees a key, whatever its state; its owner has lost the claim. Whether there was anything to forget. */
    forget(key: string): Promise<boolean>;
    /**
     * Resolves when the claim of a key may have been settled, at the latest when its lease, as it is now, has run out.
     * Without it, requests that would wait are refused at once.
     */
    readonly waitFor?: ((key: string) => Promise<void>) | undefined;
    /**
     * Runs a function inside a transaction of the store's database; `tx` is that database's own handle. What it resolves
     * to ends the claim in the same transaction: both commit, or neither does. Undefined rolls back, and so does an
     * error, which it then rejects with; so does a claim that was lost. Whether it was committed.
     */
    readonly transaction?: ((claim: ClaimRef, ttl: number, run: (tx: unknown) => Promise<ClaimEnd | undefined>) => Promise<boolean>) | undefined;
    /**
     * Whether the store by itself prolongs the leases of claims with `holdMs`, while their owner lives and also while its
     * event loop is blocked. Absent: claims then come without `holdMs`, and count as lost once a lease has passed
     * without a renewal.
     */
    readonly keepsClaims?: true;
    /** Lets go of what the store opened itself; never of a client that it was given. */
    close?(): Promise<void> | void;
}
/** A request to become the owner of a key. */
interface ClaimRequest {
    readonly key: string;
    readonly fingerprint: string;
    readonly identity: string;
    /** Unlike that of any other claimant. */
    readonly owner: string;
    /** Milliseconds that the claim holds without renewal. */
    readonly leaseMs: number;
    /** Seconds that what becomes of it is kept, if its owner is never heard of again. */
    readonly ttl: number;
    /**
     * Milliseconds, from the claim on, for which the store may prolong the lease by itself while the owner's process
     * lives and runs: until the owner tries to end the claim. Only for a store that {@link AtomicStore.keepsClaims}.
     */
    readonly holdMs?: number;
    /** Whether an indeterminate record counts as free. Default false. */
    readonly overIndeterminate?: boolean;
}
/** Names a claim in later writes. */
interface ClaimRef {
    readonly key: string;
    readonly owner: string;
    readonly fence: number;
}
/** An answer as a store keeps it. */
interface KeptAnswer {
    /** One character a byte (Latin-1). */
    readonly head: string;
    readonly body: Uint8Array;
    /**
     * Whether a full store drops this answer before those that do not say so. Default false. The middleware says it of
     * what anyone can fill a store with: answers under derived keys, and 404s.
     */
    readonly dropFirst?: boolean;
}
/** How a claim ends in a transaction. */
type ClaimEnd = KeptAnswer | 'release' | 'not-replayable' | 'indeterminate';
/** The answer to a claim. */
type ClaimOutcome = {
    readonly outcome: 'claimed';
    readonly fence: number;
    readonly progress?: Uint8Array;
} | {
    readonly outcome: 'completed';
    readonly answer: KeptAnswer;
} | {
    readonly outcome: 'in-progress';
    readonly leaseLeftMs: number;
} | {
    readonly outcome: 'mismatch';
    readonly differs: 'fingerprint' | 'identity';
} | {
    readonly outcome: 'not-replayable' | 'indeterminate' | 'full';
};
/** A record, as an operator sees it. What a store does not keep is absent. */
type KeptRecord = {
    readonly state: 'in-progress';
    readonly fence?: number;
    readonly leaseLeftMs?: number;
} | {
    readonly state: 'completed';
    readonly fence?: number;
    readonly expiresInMs?: number;
    readonly answer: KeptAnswer;
} | {
    readonly state: 'not-replayable' | 'indeterminate';
    readonly fence?: number;
    readonly expiresInMs?: number;
};

/**
 * What an operator asks of a store beside the contract: `npx reprise` does. None of it is needed to answer requests,
 * and a store of your own need not have it.
 */
interface StoreOperations {
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
type Resolution = KeptAnswer | 'not-replayable' | 'free';
/** A record in a list. */
interface ListedRecord {
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
interface DamagedRecord {
    readonly key: string;
    readonly state: 'damaged';
    /** What is wrong with it, as the end of a sentence that begins with the key. */
    readonly problem: string;
}
/** How much a store keeps. */
interface StoreStats {
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

/** An argument or a reply of Redis: bytes, where they are not text. */
type RedisArgument = string | Buffer;
/**
 * A client that reprise does not know, as a function: sends one command and gives its reply, bulk strings as Buffers.
 * `key` is the one that a cluster's client finds the node by; undefined for a command without one.
 */
type RedisCommand = (args: RedisArgument[], key: string | undefined) => Promise<unknown>;
type Method = (...args: never[]) => unknown;
/**
 * The user's client, told by its methods: ioredis (`Redis`, also by Sentinel, and `Cluster`), node-redis (`createClient`
 * and `createCluster`, version 5 or newer), Valkey GLIDE, or a {@link RedisCommand}.
 */
type RedisClient = {
    callBuffer: Method;
    pipeline: Method;
    duplicate: Method;
} | {
    sendCommand: Method;
    duplicate: Method;
} | {
    customCommand: Method;
} | RedisCommand;

/** Options of {@link RedisStore}. */
interface RedisStoreOptions {
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
declare class RedisStore implements AtomicStore, StoreOperations {
    #private;
    /** @throws TypeError or RangeError (`ERR_REPRISE_INVALID_OPTION`) */
    constructor(options: RedisStoreOptions);
    claim(request: ClaimRequest): Promise<ClaimOutcome>;
    complete(claim: ClaimRef, answer: KeptAnswer, ttl: number): Promise<boolean>;
    release(claim: ClaimRef, ttl: number): Promise<boolean>;
    mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean>;
    save(claim: ClaimRef, progress: Uint8Array): Promise<boolean>;
    renew({ key, owner, fence }: ClaimRef, leaseMs: number): Promise<boolean>;
    inspect(key: string): Promise<KeptRecord | undefined>;
    forget(key: string): Promise<boolean>;
    waitFor(key: string): Promise<void>;
    /**
     * See {@link StoreOperations.list}. It walks over all keys of the server, or of every primary of a cluster (`SCAN`),
     * in small steps; while Redis grows its table of keys, one may come twice.
     *
     * @throws Error with code `ERR_REPRISE_NO_LISTING` where the client does not lead to each node of a cluster
     */
    list(): AsyncGenerator<ListedRecord | DamagedRecord, void, undefined>;
    /** See {@link StoreOperations.stats}. It costs as much as {@link list}. */
    stats(): Promise<StoreStats>;
    resolve(key: string, as: Resolution, ttl: number): Promise<boolean>;
    /** Closes the connection that the store opened to wait; your client stays as it is. Those that wait are let go. */
    close(): Promise<void>;
}

export { RedisStore };
export type { RedisArgument, RedisClient, RedisCommand, RedisStoreOptions };
