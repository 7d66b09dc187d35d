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
     * - Otherwise a record with another fingerprint or identity is a mismatch, checked before all else.
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
     * lives and runs: until the owner tries to end the claim. A store that cannot leaves that to `renew`.
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
 * What a store keeps for a key, as plain JSON: it survives `JSON.stringify` and `JSON.parse`. A store need not look
 * into it. Nothing in it leads back to the client's key, the caller or the request's body.
 */
type StoredResponse = StoredAnswer | StoredVerdict;
/** A completed request: its answer is replayed. */
interface StoredAnswer {
    readonly state: 'completed';
    /** SHA-256 over what the request asked for, in hexadecimal. */
    readonly fingerprint: string;
    /** SHA-256 over who asked, in hexadecimal; zeros where a scope says whose key it is, or nobody is known. */
    readonly identity: string;
    readonly statusCode: number;
    /** The reason phrase. */
    readonly statusMessage: string;
    /**
     * Pairs of name and value, in the order of the answer, repeated names kept. A pair named `:removed` says that the
     * handler took away the header in its value, which other middleware had set.
     */
    readonly headers: readonly (readonly [name: string, value: string])[];
    /** The body's bytes in base64. */
    readonly body: string;
    /** When the answer was completed: ISO 8601 with milliseconds. */
    readonly timestamp: string;
}
/** A request that must not run again, though there is no answer to replay. */
interface StoredVerdict {
    readonly state: 'not-replayable' | 'indeterminate';
    readonly fingerprint: string;
    readonly identity: string;
    readonly timestamp: string;
}
/**
 * The least that a store of your own has to do. It may be slow and it may fail; it is asked by one request of a key
 * at a time, as far as one process can see to that. Between processes such a store cannot keep two requests from
 * running at once, which is warned about at start.
 *
 * @example
 * ```ts
 * class RedisIdempotencyStore implements IdempotencyStore {
 *   constructor(private readonly redis: Redis) {}
 *   async get(key: string): Promise<StoredResponse | null> {
 *     const data = await this.redis.get(`idempotency:${key}`);
 *     return data ? JSON.parse(data) : null;
 *   }
 *   async set(key: string, value: StoredResponse, ttl: number): Promise<void> {
 *     await this.redis.setex(`idempotency:${key}`, ttl, JSON.stringify(value));
 *   }
 *   async delete(key: string): Promise<void> {
 *     await this.redis.del(`idempotency:${key}`);
 *   }
 * }
 * ```
 */
interface IdempotencyStore {
    /** What is kept for a key; `null` or `undefined` if nothing is, or its time is over. */
    get(key: string): Promise<StoredResponse | null | undefined> | StoredResponse | null | undefined;
    /** Keeps a value for `ttl` seconds, a whole number of at least 1. */
    set(key: string, value: StoredResponse, ttl: number): unknown;
    /** Forgets a key. */
    delete(key: string): unknown;
}

/** What a case works with: two stores that keep one set of records, as two processes would. */
interface Bench {
    readonly store: AtomicStore;
    readonly peer: AtomicStore;
    readonly passTime: (ms: number) => Promise<void>;
    /** A store with room for few claims, where the test can make one. */
    readonly small: AtomicStore | undefined;
}
declare const CASES: {
    'an unknown key is claimed, with a fence of at least 1': ({ store }: Bench) => Promise<void>;
    'of many claims of one key at once, one is granted': ({ store }: Bench) => Promise<void>;
    'between processes: of many claims of one key at once, one is granted': ({ store, peer }: Bench) => Promise<void>;
    'a claim in progress says how much of its lease is left': ({ store }: Bench) => Promise<void>;
    'an owner that repeats its claim gets it again, with the same fence and a new lease': ({ store, passTime }: Bench) => Promise<void>;
    'an owner that repeats its claim gets its progress again': ({ store }: Bench) => Promise<void>;
    'another fingerprint is a mismatch, while the claim is in progress and after': ({ store }: Bench) => Promise<void>;
    'another identity is a mismatch, while the claim is in progress and after': ({ store }: Bench) => Promise<void>;
    'a free key may be claimed by anyone for anything': ({ store }: Bench) => Promise<void>;
    'a claim whose lease ran out is taken over, with the next fence': ({ store, passTime }: Bench) => Promise<void>;
    'between processes: of many that take over one claim at once, one is granted': ({ store, peer, passTime }: Bench) => Promise<void>;
    'an owner that was taken over can write nothing': ({ store, passTime }: Bench) => Promise<void>;
    'between processes: an owner that was taken over can write nothing': ({ store, peer, passTime }: Bench) => Promise<void>;
    'a write that names another owner or fence changes nothing': ({ store }: Bench) => Promise<void>;
    'a renewed lease holds from the renewal': ({ store, passTime }: Bench) => Promise<void>;
    'a released key is free, and its next fence is one more': ({ store }: Bench) => Promise<void>;
    'a completed answer is found by all, byte for byte': ({ store, peer }: Bench) => Promise<void>;
    'an empty answer is an answer': ({ store }: Bench) => Promise<void>;
    'an answer of a mebibyte is kept whole': ({ store }: Bench) => Promise<void>;
    'a completed record is final: no later write changes it': ({ store }: Bench) => Promise<void>;
    'a completed record expires after its ttl, and its key is free': ({ store, passTime }: Bench) => Promise<void>;
    'weeks are kept as weeks: milliseconds beyond 32 bits': ({ store }: Bench) => Promise<void>;
    'a lease of weeks is one, and so is a retention without an answer': ({ store }: Bench) => Promise<void>;
    'a claim is held for its lease, however short its retention is': ({ store, passTime }: Bench) => Promise<void>;
    'the clock of the process decides nothing': ({ store }: Bench) => Promise<void>;
    'what has expired is swept: nothing finds it, and there is nothing to forget': ({ store, passTime }: Bench) => Promise<void>;
    'a claim whose lease ran out behind its commit point is indeterminate from then on': ({ store, passTime }: Bench) => Promise<void>;
    'between processes: a commit point is known to all': ({ store, peer, passTime }: Bench) => Promise<void>;
    'a commit point outlasts renewals and repeated claims': ({ store, passTime }: Bench) => Promise<void>;
    'a claim can be completed behind its commit point': ({ store }: Bench) => Promise<void>;
    'a release behind the commit point leaves an indeterminate record': ({ store }: Bench) => Promise<void>;
    'not replayable and indeterminate records are kept, and final': ({ store, peer }: Bench) => Promise<void>;
    'an indeterminate record is claimed over where the claim says so, and no other is': ({ store }: Bench) => Promise<void>;
    'progress goes to the next claim, after a release and after a lease ran out': ({ store, passTime }: Bench) => Promise<void>;
    'between processes: progress goes to the next claim, wherever it is made': ({ store, peer }: Bench) => Promise<void>;
    'progress is gone once the claim is completed': ({ store, passTime }: Bench) => Promise<void>;
    'the progress that was saved last counts, byte for byte': ({ store }: Bench) => Promise<void>;
    'a stale owner saves nothing over the progress of the current one': ({ store, passTime }: Bench) => Promise<void>;
    'progress outlasts renewals and the commit point': ({ store }: Bench) => Promise<void>;
    'progress goes to the claim over an indeterminate record': ({ store }: Bench) => Promise<void>;
    'progress expires with its key': ({ store, passTime }: Bench) => Promise<void>;
    'a key that is forgotten is free, and its owner has lost it': ({ store }: Bench) => Promise<void>;
    'inspect says what is kept': ({ store }: Bench) => Promise<void>;
    'keys that differ in one character do not meet': ({ store }: Bench) => Promise<void>;
    'a full store refuses new claims, and forgets none that it has': ({ small }: Bench) => Promise<void>;
    'one that waits is woken by the end of the claim': ({ store }: Bench) => Promise<void>;
    'between processes: one that waits is woken by the end of the claim': ({ store, peer }: Bench) => Promise<void>;
    'waiting ends when the lease runs out, and at once where there is nothing to wait for': ({ store }: Bench) => Promise<void>;
};
/** The name of one case of {@link storeContract}. */
type StoreContractCaseName = keyof typeof CASES;

/**
 * Makes a store for one case. Stores of one `namespace` keep one set of records, as two processes of one program
 * would; stores of two namespaces may, since every case uses keys of its own.
 */
type MakeStore = (namespace: string) => MadeStore | Promise<MadeStore>;
type MadeStore = AtomicStore | IdempotencyStore;
type PassTime = (stores: readonly [AtomicStore, AtomicStore], ms: number) => Promise<void> | void;
/** Options of {@link storeContract}. */
interface StoreContractOptions {
    /** The title of the suite. Default `the store contract`. */
    title?: string;
    /**
     * Cases that the store is known not to hold. Each is listed with that remark, and fails when the store holds it
     * after all: nothing is skipped.
     */
    cannotHold?: readonly StoreContractCaseName[];
    /**
     * Moves the store's clock forward, where a test can. Default: the suite waits, for the store's clock is not
     * the test's.
     */
    passTime?: PassTime;
    /**
     * Makes a store with room for few claims. With it, the rules of a full store are checked; leave it out for a store
     * that has no bounds of its own.
     */
    makeSmallStore?: MakeStore;
    /** The test framework's functions. Default the global ones of Jest, Mocha and Vitest (`globals: true`). */
    framework?: TestFramework;
}
/** What the suite needs of a test framework: `import * as framework from 'node:test'` will do. */
interface TestFramework {
    describe: (title: string, body: () => void) => unknown;
    it: (title: string, body: () => Promise<void>) => unknown;
}
/**
 * Registers one test for each rule that a store has to hold; `docs/stores.md` says them in words. Assertions are
 * Node's own, so that any test framework runs it.
 *
 * A store with only `get`, `set` and `delete` is tested as the middleware uses it. It cannot hold the rules between
 * processes: {@link SIMPLE_STORE_LIMITS} names them.
 *
 * @throws TypeError (`ERR_REPRISE_INVALID_OPTION`) where there is no test framework
 * @example
 * ```ts
 * import * as framework from 'node:test';
 * import { storeContract } from 'reprise/testing';
 *
 * storeContract((namespace) => new MyStore({ prefix: namespace }), { framework });
 * ```
 */
declare function storeContract(makeStore: MakeStore, options?: StoreContractOptions): void;
/**
 * The cases that a store with only `get`, `set` and `delete` cannot hold: those between processes, and one of progress,
 * which is kept in the process and not in such a store.
 */
declare const SIMPLE_STORE_LIMITS: readonly StoreContractCaseName[];

/** What a task whose record is in a store gets as its last argument; a new one for every attempt. */
declare class TaskContext<State = unknown> {
    #private;
    /** The task, as named by the caller's first argument. */
    readonly taskId: string;
    /** Which call it is, from 1; calls that an earlier process made count. */
    readonly attempt: number;
    /** How many calls there may be in total. */
    readonly maxAttempts: number;
    /** What was saved last, as it is read back from JSON; undefined where there is no checkpoint. */
    readonly checkpointState: State | undefined;
    /** Aborts when nobody waits for this attempt any more: the caller's signal, a timeout, or a claim that was lost. */
    get signal(): AbortSignal;
    /** What the call before this one threw; undefined in the first of this process. */
    get lastError(): unknown;
    /** Milliseconds left of `totalTimeoutMs`; Infinity without one. */
    get remainingMs(): number;
    /**
     * Grows with every process that takes the task over. Written next to your own rows (`WHERE fence <= ?`), it keeps
     * out a process that was taken for dead and comes back.
     */
    get fence(): number;
    /**
     * Saves how far the task has come, for the attempt after a failure or a crash. JSON; taken when it is called, and
     * kept once the promise resolves.
     *
     * @throws StaleAttemptError after the attempt; CheckpointTooLargeError; CheckpointLostError; what the store throws
     */
    saveCheckpoint(state: State): Promise<void>;
    /**
     * The same for what may be written late: at most once in `heartbeatIntervalMs`, and always when the attempt dies by
     * an error, a timeout or an abort. A crash may lose the last one.
     *
     * @throws StaleAttemptError after the attempt; a TypeError for what is no JSON
     */
    heartbeat(state: State): void;
    /**
     * Does something once: its result is saved under this name, and later attempts, also in other processes, get the
     * result instead. Each step of a task has a name of its own. The result is what JSON makes of it, the first time
     * too. A crash between the effect and the save repeats it, so give {@link derive}'s key to whom you call.
     *
     * @example
     * const charge = await ctx.step('charge', () => stripe.charges.create(order, { idempotencyKey: ctx.derive('charge') }));
     */
    step<T>(name: string, fn: () => T): Promise<Awaited<T>>;
    /** A key for a request of your own to another service: the same for every attempt, in every process. */
    derive(name: string): string;
}

/** A task under test: what it does to a world of its own, which outlives its process. */
interface ResumableTask<World> {
    /** Makes the world outside, as it is before the task; a new one for every run of the test. */
    readonly world: () => World;
    /** The task. Whatever it does to the world, it does through this argument. */
    readonly run: (world: World, context: TaskContext) => unknown;
    /** What counts of the world in the end: rows, charges, mails. Compared deeply. */
    readonly effects: (world: World) => unknown;
}
/** What {@link verifyResumable} found. */
interface ResumableReport {
    /** Points at which the task was killed, each in a run of its own. */
    readonly points: number;
    /** The first one after which it came out otherwise; absent where there is none. */
    readonly failure?: {
        /** Its number, and what was about to happen there. */
        readonly point: number;
        readonly at: string;
        readonly expected: {
            readonly result: unknown;
            readonly effects: unknown;
        };
        readonly actual: {
            readonly result: unknown;
            readonly effects: unknown;
        };
    };
}
/**
 * Shows that a task can be killed anywhere: runs it once in peace, and then once for each point at which a process
 * could die (before and after every write of its record: an attempt noted, a step or checkpoint saved, the result
 * saved, the claim taken), kills it there, and lets another process go on. Result and effects must come out the same.
 *
 * A killed run does nothing more: its writes never return. So a task that repeats an effect after a crash shows here,
 * unless the world knows it by its key (`ctx.derive`). With a seed, every second kill is followed by another one, at a
 * point drawn from it.
 *
 * @example
 * const report = await verifyResumable({ world: () => new Bank(), run: charge, effects: (bank) => bank.charges }, { seed: 1 });
 * expect(report.failure).toBeUndefined();
 */
declare function verifyResumable<World>(task: ResumableTask<World>, options?: {
    seed?: number | undefined;
}): Promise<ResumableReport>;

export { SIMPLE_STORE_LIMITS, storeContract, verifyResumable };
export type { MakeStore, ResumableReport, ResumableTask, StoreContractCaseName, StoreContractOptions, TestFramework };
