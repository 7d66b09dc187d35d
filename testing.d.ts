/* auto-generated from ts/ by `npm run build:ts`; do not edit */
import { IncomingMessage, ServerResponse } from 'node:http';

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
    'somebody else who asks for something else learns only that it is somebody else': ({ store }: Bench) => Promise<void>;
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
/**
 * What happens to a process: it is killed, or it is stopped for longer than its lease. The second one goes on when
 * another process has taken the claim over and has come to the end, and does not know.
 */
type Interruption = 'killed' | 'lease lost';
/** What {@link verifyResumable} found. */
interface ResumableReport {
    /** Points at which the task was interrupted, in each way, each in a run of its own. */
    readonly points: number;
    /** The first one after which it came out otherwise; absent where there is none. */
    readonly failure?: {
        /** Its number, what was about to happen there, and what happened instead. */
        readonly point: number;
        readonly at: string;
        readonly by: Interruption;
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
 * Shows that a task can be interrupted anywhere: runs it once in peace, and then twice for each point at which a process
 * could be (before and after every write of its record: the claim taken, an attempt noted, a step or checkpoint saved,
 * the wait after a failure begun, the result saved). It kills it there, or lets it lose its lease, and another process
 * go on. Result and effects must come out the same.
 *
 * A killed run does nothing more: its writes never return. One that lost its lease goes on late, and its writes are
 * refused. So a task that repeats an effect shows here, unless the world knows it by its key (`ctx.derive`) or its fence
 * (`ctx.fence`). With a seed, every second kill is followed by another one, at a point drawn from it.
 *
 * @example
 * const report = await verifyResumable({ world: () => new Bank(), run: charge, effects: (bank) => bank.charges }, { seed: 1 });
 * expect(report.failure).toBeUndefined();
 */
declare function verifyResumable<World>(task: ResumableTask<World>, options?: {
    seed?: number | undefined;
}): Promise<ResumableReport>;

/** How long a delay is, in milliseconds. What a law would put above `maxMs` (default 60 000) is that. */
type ChaosDelay = 
/** Whole milliseconds from `minMs` to `maxMs`, each as likely; the same twice for a fixed delay. */
{
    readonly law: 'uniform';
    readonly minMs: number;
    readonly maxMs: number;
} | {
    readonly law: 'normal';
    readonly meanMs: number;
    readonly deviationMs: number;
    readonly maxMs?: number;
}
/** `sigma`: the standard deviation of the logarithm. */
 | {
    readonly law: 'lognormal';
    readonly medianMs: number;
    readonly sigma: number;
    readonly maxMs?: number;
} | {
    readonly law: 'pareto';
    readonly minMs: number;
    readonly alpha: number;
    readonly maxMs?: number;
}
/** Pairs of a share and the delay that it stays at or below, from share 0 to share 1, with lines between them. */
 | {
    readonly law: 'percentiles';
    readonly points: readonly (readonly [share: number, ms: number])[];
};

/** How a connection ends: with a FIN, as if the server had closed it, or with a RST, as if it had died. */
type Ending = 'hangup' | 'reset';

/** The calls of a store that can be made to fail or be slow: all but `close`. */
declare const STORE_CALLS: readonly ["get", "set", "delete", "claim", "complete", "renew", "release", "mark", "save", "inspect", "forget", "waitFor", "transaction"];
/** One of them. */
type StoreCall = (typeof STORE_CALLS)[number];

/** Where a body is cut: behind so many of its bytes, or behind a share of them, from 0 to below 1. */
type Cut = {
    readonly bytes: number;
} | {
    readonly share: number;
};

/** What about the framing of an answer is wrong. */
type Malformation = 'status-line' | 'content-length' | 'chunk-size';

/** Where in a stream of events it is cut. */
type EventCut = 'after-event' | 'mid-event' | 'mid-character';

/**
 * What one rule does to a request, to its answer, or to the bytes of its answer. `docs/chaos.md` has them all in one
 * table: what the client sees, whether the handler runs, and what counts.
 */
type ChaosFault = 
/** Answers with an error, instead of the handler or in place of its answer. */
{
    readonly kind: 'error';
    /** A list, or weights by status. Default: 500, 503, 504 and 429 evenly. */
    readonly statuses?: readonly number[] | Readonly<Record<number, number>> | undefined;
    /** `'after'`: the handler runs, and what it answers is withheld. Default `'before'`: it does not run. */
    readonly when?: 'before' | 'after' | undefined;
    /** A text, or what is sent as JSON. Default: a JSON object that says what this is. */
    readonly body?: string | object | undefined;
    /** Besides the default ones, and instead of those of the same name. */
    readonly headers?: Readonly<Record<string, string>> | undefined;
    /** `Retry-After`: whole seconds, or a date so many seconds from then. Default: 1 on a 429 or 503, else none. */
    readonly retryAfter?: number | {
        readonly dateInSeconds: number;
    } | undefined;
}
/** Holds the request before the handler runs, or `'after'`: its answer, from its first byte on. Default `'before'`. */
 | {
    readonly kind: 'latency';
    readonly delay: ChaosDelay;
    readonly when?: 'before' | 'after' | undefined;
}
/** Never answers; the handler does not run. Released, by closing the connection, when chaos is turned off. */
 | {
    readonly kind: 'hang';
}
/** Closes the connection (FIN) without an answer; the handler does not run. */
 | {
    readonly kind: 'hangup';
}
/** Resets the connection (RST) without an answer; the handler does not run. */
 | {
    readonly kind: 'reset';
}
/** The handler runs, and nothing of its answer reaches the client. `ending`: default `'reset'`. */
 | {
    readonly kind: 'lost-response';
    readonly ending?: Ending | undefined;
}
/** The answer breaks off in its body. `at`: default, a share drawn by the seed. `ending`: default `'hangup'`. */
 | {
    readonly kind: 'truncate';
    readonly at?: Cut | undefined;
    readonly ending?: Ending | undefined;
}
/** The answer stops in its body, and the connection stays open. `at`: default, a share drawn by the seed. */
 | {
    readonly kind: 'stall';
    readonly at?: Cut | undefined;
}
/** The head of the answer comes at once, the rest `bytes` (default 1) at a time, every `everyMs` (default 100). */
 | {
    readonly kind: 'drip';
    readonly bytes?: number | undefined;
    readonly everyMs?: number | undefined;
}
/** The answer comes whole, in pieces that the seed draws. No client may notice. */
 | {
    readonly kind: 'slice';
}
/** Bits of the body, as many as `bits` (default 1), are flipped where the seed draws it; the length stays. */
 | {
    readonly kind: 'corrupt';
    readonly bits?: number | undefined;
}
/** The framing of the answer is wrong. `what`: default, drawn by the seed. */
 | {
    readonly kind: 'malformed';
    readonly what?: Malformation | undefined;
}
/**
 * A stream of server-sent events ends behind an event, in the middle of one (default), or in the middle of a
 * character of one. `event`: which, from 1; default, drawn by the seed from 1 to 8. `ending`: default `'hangup'`.
 */
 | {
    readonly kind: 'sse-cut';
    readonly where?: EventCut | undefined;
    readonly event?: number | undefined;
    readonly ending?: Ending | undefined;
}
/** Nothing comes of a stream of server-sent events behind an event, and it stays open. `event` as in `sse-cut`. */
 | {
    readonly kind: 'sse-stall';
    readonly event?: number | undefined;
}
/**
 * A call of a {@link chaosStore} rejects. `calls`: which, default all. `'after'`: it was made, and only its answer is
 * lost. Default `'before'`: it was not made.
 */
 | {
    readonly kind: 'store-error';
    readonly calls?: readonly StoreCall[] | undefined;
    readonly when?: 'before' | 'after' | undefined;
}
/** A call of a {@link chaosStore} is held before it is made (default), or its answer is, `'after'`. */
 | {
    readonly kind: 'store-latency';
    readonly delay: ChaosDelay;
    readonly calls?: readonly StoreCall[] | undefined;
    readonly when?: 'before' | 'after' | undefined;
}
/** Kills one registered kernel, of this group if one is given; the request goes on. */
 | {
    readonly kind: 'kernel-kill';
    readonly group?: string | undefined;
};

/** Watches the requests that no fault was injected into, and halts chaos when they suffer. */
interface ChaosGuardOptions {
    /** The share of requests that is never faulted, so that there always are some to judge by; above 0. Default 0.1. */
    readonly controlShare?: number | undefined;
    /** How long a window is, in milliseconds. Default 10,000. */
    readonly windowMs?: number | undefined;
    /** In so many windows after each arming nothing is injected: they say what is usual. Default 3. */
    readonly baselineWindows?: number | undefined;
    /** A window with fewer requests without a fault says nothing. Default 20. */
    readonly minRequests?: number | undefined;
    /** How far the share of failed requests, or of slow ones, may be above the usual, 0 to 1. Default 0.05. */
    readonly maxRise?: number | undefined;
    /** A request is slow that takes so many times the 95th percentile of the baseline. Default 2. */
    readonly slowFactor?: number | undefined;
    /** How far the 99th percentile of the delay of the event loop may be above the usual, in ms. Default 200. */
    readonly maxLoopDelayMs?: number | undefined;
    /** Halts when so many (`windows`) of the last `of` windows were harmful. Default 3 of 5. */
    readonly trip?: {
        readonly windows: number;
        readonly of: number;
    } | undefined;
}
/** What a guard rail has seen so far. */
interface ChaosGuardStatus {
    /** `'learning'`: nothing is injected, until it is known what is usual. */
    readonly phase: 'off' | 'learning' | 'watching';
    /** How many of the last windows were harmful. */
    readonly harmfulWindows: number;
}

/** One fault that was decided for a request. One of `status`, `ms`, `victim` and `cut` is what was drawn for it. */
interface ChaosRecorded {
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
interface ChaosJournalEntry {
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
interface ChaosJournalData {
    readonly version: 1;
    /** Under which all of it was decided. */
    readonly seed: string;
    /** How many earlier entries it kept no longer. */
    readonly dropped: number;
    readonly entries: readonly ChaosJournalEntry[];
}
/** What was decided about the last requests, and what of it was done; as it was when it was taken. */
declare class ChaosJournal implements ChaosJournalData {
    readonly version = 1;
    readonly seed: string;
    readonly dropped: number;
    readonly entries: readonly ChaosJournalEntry[];
    constructor({ seed, dropped, entries }: Omit<ChaosJournalData, 'version'>);
    /** For `JSON.stringify`; `chaos.replay` takes it, too. */
    toJSON(): ChaosJournalData;
    /**
     * As NDJSON, line by line: first what all entries share, then each. `chaos.replay` takes the lines joined.
     *
     * @example
     * Readable.from(chaos.journal().lines()).pipe(response);
     * await writeFile('run.ndjson', chaos.journal().lines());
     */
    lines(): Generator<string, void, undefined>;
}

/**
 * Where a crash hurts most: `before-work`, a call of the task or of a step begins; `before-save`, work is done and
 * nothing of it is saved; `during-save`, the write is under way and nobody knows how it will end.
 */
type CheckpointBoundary = 'before-work' | 'before-save' | 'during-save';

/**
 * Ends one kernel: a worker, a child process, anything that can be lost. Counted as a kill once it returned, or its
 * promise resolved: let it resolve when the kernel is gone. Not counted if it threw, rejected, or gave `false` (as
 * `ChildProcess.kill` does when there was no process); `'paused'` says that the kernel was stopped for a while and
 * goes on.
 *
 * @param released aborts when chaos is disarmed or closed: whatever is held up must go on
 */
type KillKernel = (released: AbortSignal) => unknown;
/** Something that chaos may kill; {@link kernelOf} makes one of a worker thread or a child process. */
interface Kernel {
    /** Which; among several, the victim is chosen by the seed over the sorted ids. */
    readonly id: string;
    /** Those that stand in for each other; kills may be for one group, and spare its last one. Default: the nameless. */
    readonly group?: string | undefined;
    readonly kill: KillKernel;
    /** Whether it could be killed now. Default: as long as it is registered. */
    readonly isAlive?: (() => boolean) | undefined;
}
/** Names a kernel that may be killed; returns what takes exactly this registration back. */
interface RegisterKernel {
    (kernel: Kernel): () => void;
    (id: string, kill: KillKernel): () => void;
}

/** Kills of kernels that no request asks for, and what bounds every kill. */
interface KernelKillOptions {
    /**
     * Kernels die by themselves, so many milliseconds apart on average, at times without memory (exponential gaps). The
     * sequence of gaps and victims is that of the seed. Default: none do.
     */
    readonly meanTimeBetweenMs?: number | undefined;
    /**
     * Kernels die while a checkpointed task is at one of these boundaries (default: all), at this share of them. Needs
     * `retryWithCheckpoint` or `resumable` in this thread. Default: none do.
     */
    readonly atCheckpoints?: {
        readonly probability: number;
        readonly boundaries?: readonly CheckpointBoundary[] | undefined;
    } | undefined;
    /** Those two kill only kernels of this group. Default: of any. */
    readonly group?: string | undefined;
    /** No kernel is killed sooner than this after another, whatever asks for it: not later either, but not. Default 0. */
    readonly minGapMs?: number | undefined;
    /** At most so many are killed or paused, whatever asks for it. Default: no bound. */
    readonly maxKills?: number | undefined;
    /** The only live kernel of its group is never killed, whatever asks for it. Default false. */
    readonly neverLast?: boolean | undefined;
}
/** The kernels as they stand, and what was done to them besides the kills that {@link ChaosMetrics} counts. */
interface KernelReport {
    /** Kills that were begun, also those that failed or are under way. */
    readonly killsAttempted: number;
    /** Kernels that were paused and go on. */
    readonly kernelsPaused: number;
    /** The ids of those that could be killed now, sorted. */
    readonly live: readonly string[];
}

/** Whether an instance injects, since when, and until when or why not. */
type ChaosState = 
/** It injects; `until` is when it disarms itself, `null` if never. */
{
    readonly state: 'armed';
    readonly since: Date;
    readonly until: Date | null;
}
/** It passes every request through. A halt is that of a guard rail; only `arm()` ends it. `closed` is for good. */
 | {
    readonly state: 'disarmed' | 'halted' | 'closed';
    readonly since: Date;
    readonly reason: string;
};

/** Which requests a rule is for; all conditions that are given must hold. */
interface ChaosMatch {
    /** Paths, each with everything below it, or patterns for the whole path, as in `excludedPaths`. */
    readonly paths?: readonly (string | RegExp)[] | undefined;
    /** Methods, in upper case. */
    readonly methods?: readonly string[] | undefined;
    /**
     * Headers that must be there, with this value or one that this pattern finds something in. Values of one name are
     * joined by `', '`.
     */
    readonly headers?: Readonly<Record<string, string | RegExp>> | undefined;
    /** Any other condition. What it throws goes to `next`. */
    readonly where?: ((req: IncomingMessage) => boolean) | undefined;
}

/** A fault, how often, and for which requests. */
interface ChaosRule {
    /** Names the rule in every draw: another name has other victims. Each name once. */
    readonly name: string;
    readonly fault: ChaosFault;
    readonly match?: ChaosMatch | undefined;
    /** From 0 to 1. Default 1. */
    readonly probability?: number | undefined;
    /**
     * The name of a header by which a caller asks for this fault: the rule is only for requests that have it, with a
     * number from 0 to 1, and that lowers `probability`; it never raises it. Default: nobody needs to ask.
     */
    readonly askedBy?: string | undefined;
    /** Only these attempts of a request key, the first being 1. */
    readonly attempts?: readonly number[] | undefined;
    /** Only the first so many requests that match, in the order in which they come. */
    readonly first?: number | undefined;
    /** Only each so-manieth request that matches, in the order in which they come. */
    readonly every?: number | undefined;
    /** At most so many times. */
    readonly max?: number | undefined;
    /** The probability goes in a straight line from `from` to `probability`, over so long since chaos was armed. */
    readonly ramp?: {
        readonly from: number;
        readonly overMs: number;
    } | undefined;
    /** Only from `fromMs` after arming for `forMs`, again every `everyMs` if given. */
    readonly window?: {
        readonly fromMs?: number;
        readonly forMs: number;
        readonly everyMs?: number;
    } | undefined;
}

/** What {@link initChaos} and {@link createChaos} take. Everything is optional. */
interface ChaosOptions {
    /** Whether anything is injected at all. Default true; an off always wins, in code or in `CHAOS_ENABLED`. */
    readonly enabled?: boolean | undefined;
    /** Share of requests that are answered with 500, 503, 504 or 429 instead of running the handler, 0 to 1. Default 0. */
    readonly failureProbability?: number | undefined;
    /** Share of requests that are held before the handler runs, 0 to 1. Default 0. */
    readonly latencyProbability?: number | undefined;
    /** How long they are held: whole milliseconds, uniform, both ends included. Default [100, 5000]. */
    readonly latencyRange?: readonly [min: number, max: number] | undefined;
    /** Share of requests at which one registered kernel is killed, 0 to 1. Default 0. */
    readonly kernelKillProbability?: number | undefined;
    /** Kernel kills by time and at checkpoints, and what bounds every kill. Default: no such kills, no bounds. */
    readonly kernelKills?: KernelKillOptions | undefined;
    /**
     * Paths that are left alone, each with everything below it: `/api/health` also covers `/api/health/live`, never
     * `/api/healthz`. A pattern covers the paths that it finds something in. Default ['/api/health', '/api/metrics']; a
     * list given replaces the default.
     */
    readonly excludedPaths?: readonly (string | RegExp)[] | undefined;
    /**
     * What a request is known by: requests of one key are attempts of one thing, and each attempt is decided by itself.
     * `undefined` for the default: the `Idempotency-Key` header; without one, the method and the path, so that the nth
     * request for them is the nth attempt. What it throws goes to `next`.
     */
    readonly requestKey?: ((req: IncomingMessage) => string | undefined) | undefined;
    /** The same seed makes the same decisions; 42 and '42' are one seed. Default: a random one, written to stderr. */
    readonly seed?: number | string | undefined;
    /**
     * Up to 32 rules instead of the probabilities above, which are the rules `failure`, `latency` and `kernel-kill`.
     * They are not given together.
     */
    readonly rules?: readonly ChaosRule[] | undefined;
    /**
     * How the rules that match one request share it. `'exclusive'`: one draw picks at most one; each has exactly its
     * probability, and those that can meet may add up to 1. `'independent'`: each is drawn by itself. Default
     * `'exclusive'` for `rules`, `'independent'` for the probabilities above.
     */
    readonly selection?: 'exclusive' | 'independent' | undefined;
    /**
     * The longest time that it may be armed at a stretch, in milliseconds, up to 2,147,483,647 (24.8 days): then it
     * disarms itself. Default: no end; in production it is needed, and 15 minutes for {@link initChaos}.
     */
    readonly maxDurationMs?: number | undefined;
    /** How many requests the journal keeps, 0 to 32,768. Default 1,000. */
    readonly journalSize?: number | undefined;
    /** Halts it when requests suffer that no fault was injected into. Default: no guard rail. */
    readonly guard?: ChaosGuardOptions | undefined;
}

/** How a replay went, or goes. */
interface ChaosReplayReport {
    /** Requests that were recorded. */
    readonly recorded: number;
    /** Those of them that came again; each met the faults that were recorded. */
    readonly replayed: number;
    /** Those of them that have not come. */
    readonly missing: number;
    /** Requests that came and were not recorded; nothing was injected into them. */
    readonly unexpected: number;
}
/** A journal that is being replayed. */
interface ChaosReplay {
    /** How it goes; after the end, how it went. */
    readonly report: () => ChaosReplayReport;
    /** Decides by the rules again, and says how the replay went. One that diverged is warned about. */
    readonly end: () => ChaosReplayReport;
}

/** A middleware for Express 4 and 5, Connect and plain `node:http`. */
type ChaosMiddleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;
/** What has happened so far. A fault counts when it was done, not when it was decided. */
interface ChaosMetrics {
    /** Requests that were decided about: not those on excluded paths, not OPTIONS, none while chaos is off. */
    readonly totalRequests: number;
    /** Requests that were made to fail: answered with an injected error, left hanging, or cut off. */
    readonly failuresInjected: number;
    /** Requests that were held. */
    readonly latenciesInjected: number;
    /** Kernels that were killed. */
    readonly kernelsKilled: number;
    /** `failuresInjected / totalRequests`; 0 while there was no request. */
    readonly failureRate: number;
    /** `latenciesInjected / totalRequests`; 0 while there was no request. */
    readonly latencyRate: number;
}
/** Where an instance stands; a document that can be shown as JSON. */
type ChaosStatus = ChaosState & {
    /** Faults that hold something now: a request, an answer, a connection. 0 whenever it is not armed. */
    readonly activeFaults: number;
    /** The seed that it decides by. */
    readonly seed: string;
    /** Its rules, and how often each takes effect. */
    readonly rules: readonly ChaosRuleStatus[];
    /** What the guard rail has seen; `null` without one. */
    readonly guard: ChaosGuardStatus | null;
};
/** One rule, as it works among the others. */
interface ChaosRuleStatus {
    readonly name: string;
    readonly fault: ChaosFault['kind'];
    /** What was asked for, 0 to 1. */
    readonly probability: number;
    /**
     * What comes of it, at a request that all rules are for and within every bound of theirs: less what the control share
     * takes away, and the rules before it that do the same kind of thing.
     */
    readonly effectiveRate: number;
}
/** What would happen to a request, and why. */
interface ChaosExplanation {
    /** Why no rule is asked; `null` if they are. */
    readonly passes: 'disarmed' | 'baseline' | 'options-request' | 'excluded-path' | 'control-share' | 'not-recorded' | null;
    /** Its request key, as it stands in the journal. */
    readonly request: string;
    /** Which attempt it would be, from 1. */
    readonly attempt: number;
    /** The names of the rules that would fire. */
    readonly fires: readonly string[];
    /** What becomes of each rule, in their order; empty where they are not asked, and while a journal is replayed. */
    readonly rules: readonly {
        readonly name: string;
        readonly verdict: ChaosVerdict;
    }[];
}
/** What becomes of a rule at a request: it fires, or the first reason why not. */
type ChaosVerdict = 
/** Its `match` does not hold, nobody asked for it, or there is no kernel to kill. */
'not-matched'
/** `attempts` does not name this one. */
 | 'other-attempt'
/** The `first` are over, or it is not the turn of `every`. */
 | 'not-its-turn' | 'outside-window'
/** The draw is not below its probability. */
 | 'not-drawn'
/** A rule before it does the same kind of thing. */
 | 'taken'
/** It has fired `max` times. */
 | 'spent' | 'fires';
/** Chaos of one configuration. It shares nothing with any other; its functions may be taken apart from it. */
interface Chaos {
    /** Whether it injects anything now. */
    readonly armed: boolean;
    /** The seed that it decides by; given again, it makes the same decisions. */
    readonly seed: string;
    /** The middleware that injects. However often it is mounted, a request is decided about once. */
    readonly middleware: () => ChaosMiddleware;
    /** The counts as they stand; still there after {@link close}. */
    readonly metrics: () => ChaosMetrics;
    /** Whether it is armed, since when, until when or why not, and what it holds. */
    readonly status: () => ChaosStatus;
    /**
     * Starts to inject, whatever it was before: ramps and windows begin now, a halt is over. What was counted stays.
     *
     * @param forMs disarms itself after so many milliseconds; default `maxDurationMs`. One is needed in production
     * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_ARGUMENT`; Error with code
     *   `ERR_REPRISE_CHAOS_IN_PRODUCTION` without the override there, `ERR_REPRISE_CHAOS_CLOSED` after {@link close}
     */
    readonly arm: (forMs?: number) => void;
    /**
     * Ends to inject: every delayed request goes on at once, to its handler; the connections of hanging ones are closed;
     * the middleware passes through. Nothing happens if it is not armed. SIGTERM does it, too.
     *
     * @param reason what the status says then
     */
    readonly disarm: (reason?: string) => void;
    /**
     * Decides by other options from now on. What is left out stays as it is; `rules` take the place of the
     * probabilities and the other way round. What is held goes on as it was decided. Counts and attempts stay, and so do
     * `first`, `every` and `max` of a rule that keeps its name; a new seed has attempts of its own. A shorter
     * `maxDurationMs` ends the present run earlier, a longer one holds from the next {@link arm} on.
     *
     * @throws as {@link createChaos} does, and nothing is changed; Error with code `ERR_REPRISE_CHAOS_IN_PRODUCTION`
     *   where it is armed and no longer allowed: it disarms; `ERR_REPRISE_CHAOS_CLOSED` after {@link close}
     */
    readonly update: (change: ChaosOptions) => void;
    /** Sets the counts to zero and forgets which attempts were seen: the same requests meet the same faults again. */
    readonly reset: () => void;
    /**
     * What was decided about the last `journalSize` requests, and what of it was done. {@link reset} and a new seed begin
     * another one.
     */
    readonly journal: () => ChaosJournal;
    /**
     * Starts at zero under the seed of a journal, and does to each request what was recorded of it, whatever `match`,
     * `probability` and the bounds of a rule say: nothing to one that was not recorded. The rules must be those of the
     * journal, by name and fault. An {@link update}, a {@link reset} and another replay end it.
     *
     * @param journal what {@link journal} gave, or its text as JSON or NDJSON
     * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_ARGUMENT`; Error with code
     *   `ERR_REPRISE_CHAOS_CLOSED` after {@link close}
     */
    readonly replay: (journal: ChaosJournalData | string) => ChaosReplay;
    /** What would happen to this request if it came now, and why. Nothing is counted. Throws what `where` throws. */
    readonly explain: (req: IncomingMessage) => ChaosExplanation;
    /**
     * Names a kernel that may be killed: a {@link Kernel}, as {@link kernelOf} makes one, or an id and a kill. A killed
     * one must be registered again when it was restarted. Registering an id that is there replaces that kernel.
     *
     * @returns takes the registration back
     * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_ARGUMENT`, `ERR_REPRISE_INVALID_OPTION` or
     *   `ERR_REPRISE_UNKNOWN_OPTION`
     */
    readonly registerKernel: RegisterKernel;
    /** The kernels that could be killed now, and what else happened to them. */
    readonly kernels: () => KernelReport;
    /** {@link disarm}s it for good. */
    readonly close: () => void;
}

/** Which requests fail, and with which statuses; `{}` is every request. */
type FailingRequests = Omit<ChaosRule, 'name' | 'fault'> & {
    /** A list, or weights by status; default 500, 503, 504 and 429 evenly. */
    readonly statuses?: readonly number[] | Readonly<Record<number, number>> | undefined;
};
/** What {@link withChaos} takes: options of {@link createChaos}, and a short form of the fault that tests need most. */
interface WithChaosOptions extends ChaosOptions {
    /** These are answered with an error instead of running the handler: a rule named `fail`, before all other rules. */
    readonly fail?: FailingRequests | undefined;
}
/**
 * Runs a test under chaos of its own, and turns that off whatever the test does. It shares nothing with any other
 * chaos, so tests may run at once. The seed is a fixed one unless given: the same test meets the same faults.
 *
 * @returns what `fn` returns
 * @throws what `fn` throws; TypeError or RangeError with a code, for wrong options; Error with code
 *   `ERR_REPRISE_CHAOS_IN_PRODUCTION` where chaos is not allowed, so that no test passes for want of it
 * @example
 * await withChaos({ fail: { attempts: [1, 2] } }, async (chaos) => {
 *   app.use(chaos.middleware());
 *   expect(await client.pay()).toEqual({ paid: true }); // at its third attempt
 *   expect(chaos.metrics().failuresInjected).toBe(2);
 * });
 */
declare function withChaos<T>(options: WithChaosOptions, fn: (chaos: Chaos) => T | PromiseLike<T>): Promise<Awaited<T>>;

export { SIMPLE_STORE_LIMITS, storeContract, verifyResumable, withChaos };
export type { FailingRequests, MakeStore, ResumableReport, ResumableTask, StoreContractCaseName, StoreContractOptions, TestFramework, WithChaosOptions };
