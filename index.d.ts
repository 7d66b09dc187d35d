/* auto-generated from ts/ by `npm run build:ts`; do not edit */
import { IncomingMessage, ServerResponse } from 'node:http';
import { ChildProcess } from 'node:child_process';
import { Worker } from 'node:worker_threads';

/**
 * Every code that reprise puts on an error. A code never changes its meaning; `docs/errors/<code>.md` explains each.
 */
type RepriseErrorCode = 'ERR_REPRISE_INVALID_OPTION' | 'ERR_REPRISE_UNKNOWN_OPTION' | 'ERR_REPRISE_INVALID_ENVIRONMENT' | 'ERR_REPRISE_INVALID_ARGUMENT' | 'ERR_REPRISE_NATIVE_UNAVAILABLE' | 'ERR_REPRISE_CLAIM_LOST' | 'ERR_REPRISE_NO_TRANSACTION' | 'ERR_REPRISE_TRANSACTION_MISUSED' | 'ERR_REPRISE_UNREADABLE_BODY' | 'ERR_REPRISE_AMBIGUOUS_KEY' | 'ERR_REPRISE_ENDPOINT_NEEDED' | 'ERR_REPRISE_NO_CLIENT' | 'ERR_REPRISE_NO_LISTING' | 'ERR_REPRISE_CHAOS_CLOSED' | 'ERR_REPRISE_CHAOS_IN_PRODUCTION' | 'ERR_REPRISE_CHAOS_STORE' | 'ERR_REPRISE_STORE_BUSY' | 'ERR_REPRISE_STORE_CLOSED' | 'ERR_REPRISE_STORE_DAMAGED' | 'ERR_REPRISE_STORE_FORMAT' | 'ERR_REPRISE_STORE_FULL' | 'ERR_REPRISE_STORE_NETWORK_FILE_SYSTEM' | 'ERR_REPRISE_STORE_NOT_PRIVATE' | 'ERR_REPRISE_STORE_READ_ONLY' | 'ERR_REPRISE_STORE_RECORD' | 'ERR_REPRISE_STORE_REPLACED' | 'ERR_REPRISE_STORE_REPLICAS' | 'ERR_REPRISE_STORE_SYSTEM' | 'ERR_REPRISE_STORE_TIMEOUT' | 'ERR_REPRISE_STORE_UNREACHABLE' | 'ERR_REPRISE_STORE_UNSYNCED' | 'ERR_REPRISE_ATTEMPT_INTERRUPTED' | 'ERR_REPRISE_ATTEMPT_STALE' | 'ERR_REPRISE_ATTEMPT_TIMEOUT' | 'ERR_REPRISE_BODY_NOT_REPLAYABLE' | 'ERR_REPRISE_CHECKPOINT_CORRUPT' | 'ERR_REPRISE_CHECKPOINT_LOAD' | 'ERR_REPRISE_CHECKPOINT_LOST' | 'ERR_REPRISE_CHECKPOINT_MISMATCH' | 'ERR_REPRISE_CHECKPOINT_SAVE' | 'ERR_REPRISE_CHECKPOINT_TOO_LARGE' | 'ERR_REPRISE_DRAINED' | 'ERR_REPRISE_RETRY_TIMEOUT' | 'ERR_REPRISE_TASK_IN_PROGRESS';
/** What every error thrown by reprise carries besides its message. */
interface RepriseError extends Error {
    /** Stable, for programs. */
    readonly code: RepriseErrorCode;
}

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

/** What a {@link MemoryStore} may keep. */
interface MemoryStoreOptions {
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
interface MemoryStoreStats {
    /** Claims in progress and indeterminate records; these are never evicted. */
    held: number;
    /** Completed, not replayable and released records. */
    settled: number;
    /** Bytes of the settled ones, with their overhead. */
    bytes: number;
    /** Settled records that were dropped to make room, since the store was made. */
    evicted: number;
}
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
declare class MemoryStore implements AtomicStore {
    #private;
    /** See {@link AtomicStore.keepsClaims}. */
    readonly keepsClaims = true;
    /** @throws TypeError or RangeError (`ERR_REPRISE_INVALID_OPTION`), also where a named store has other limits */
    constructor(options?: MemoryStoreOptions);
    claim(request: ClaimRequest): Promise<ClaimOutcome>;
    complete(claim: ClaimRef, answer: KeptAnswer, ttl: number): Promise<boolean>;
    renew(claim: ClaimRef, leaseMs: number): Promise<boolean>;
    release(claim: ClaimRef, ttl: number): Promise<boolean>;
    mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean>;
    save(claim: ClaimRef, progress: Uint8Array): Promise<boolean>;
    inspect(key: string): Promise<KeptRecord | undefined>;
    forget(key: string): Promise<boolean>;
    waitFor(key: string): Promise<void>;
    /** Counts what is kept. */
    stats(): MemoryStoreStats;
    /**
     * Moves this store's clock forward, so that a test of a day's retention takes no day. The store's clock is its own:
     * neither fake timers nor a change of the system's time move it. A claim of a middleware lapses when `maxHoldMs` have
     * passed on it.
     */
    advanceClock(byMs: number): void;
    /** Lets go of the store; its memory is freed with the last that shares it. Later use throws. */
    close(): void;
}

/** What is kept for a key. */
interface RecordInfo {
    readonly state: 'in-progress' | 'completed' | 'not-replayable' | 'indeterminate';
    /** The record's name in the store: a digest, never the client's key. */
    readonly recordKey: string;
    /** The fence of the claim that it is, or comes from; absent where the store does not keep it. */
    readonly fence?: number;
    /** Milliseconds left of the lease, or until the record is forgotten; absent where the store does not tell. */
    readonly leftMs?: number;
    /** Of a completed record: its status. */
    readonly statusCode?: number;
    /** Of a completed record: when the answer was completed, ISO 8601. */
    readonly timestamp?: string;
    /** Of a completed record: how long the body is. */
    readonly bodyBytes?: number;
}
/** Where a key was used: keys of two endpoints are two keys. */
interface Endpoint {
    readonly method: string;
    /** The path as the client sent it, without its query. */
    readonly path: string;
}

/**
 * A handler's view of the key that it runs under: `req.idempotency`. (An interface, since a program that sees this
 * package's types as a CommonJS and as an ES module declares `req.idempotency` twice, and the two must be one type.)
 */
interface IdempotencyContext {
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

/** A request as Express, connect or `node:http` hands it on. */
type ServerRequest = IncomingMessage & {
    /** The URL as it came in; Express and connect change `url` where a router is mounted. */
    originalUrl?: string;
    /** What a body parser made of the body. */
    body?: unknown;
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

type Method = (...args: never[]) => unknown;
/**
 * Caches that `store` takes as they are, told by their methods: `LRUCache` of lru-cache and `TTLCache` of
 * `@isaacs/ttlcache`, a cache of cache-manager 6 or newer that is in memory, and `NodeCache`. (`Keyv` has the methods of
 * an {@link IdempotencyStore} and needs no type of its own.)
 */
type KnownCache = {
    get: Method;
    set: Method;
    delete: Method;
    getRemainingTTL: Method;
} | {
    get: Method;
    set: Method;
    del: Method;
    mget: Method;
    stores: readonly unknown[];
} | {
    get: Method;
    set: Method;
    del: Method;
    getTtl: Method;
};

/** The answer to a refused request: problem details by RFC 9457. */
interface ProblemDetails<Code extends string> {
    /** A URI that names the kind of problem: `urn:reprise:problem:` and the code. */
    readonly type: string;
    readonly title: string;
    readonly status: number;
    readonly detail: string;
    /** Names this occurrence, for logs. */
    readonly instance: string;
    readonly code: Code;
    /** Seconds for the `Retry-After` header, where waiting helps. */
    readonly retryAfter?: number;
}

/** Why a request was refused. Stable, for programs. */
type ProblemCode = 'invalid-key' | 'missing-key' | 'unread-body' | 'key-reused' | 'key-of-another-caller' | 'in-progress' | 'not-replayable' | 'indeterminate' | 'store-unavailable';
/** The answer to a refused request: problem details by RFC 9457. */
type Problem = ProblemDetails<ProblemCode>;

/** The part of a pino logger that is used here. `console` will not do: its arguments come in another order. */
interface Logger {
    debug(fields: object, message: string): void;
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
}

/** A likely mistake, worth a word once. `docs/errors/<code>.md` explains each. */
type WarningCode = 'WRN_REPRISE_BODY_NOT_PARSED' | 'WRN_REPRISE_CAPTURED_COMPRESSED' | 'WRN_REPRISE_CREATED_IN_REQUEST' | 'WRN_REPRISE_DOUBLE_MOUNT' | 'WRN_REPRISE_MEMORY_STORE_IN_PRODUCTION' | 'WRN_REPRISE_MEMORY_STORE_IN_THREAD' | 'WRN_REPRISE_NO_SCOPE' | 'WRN_REPRISE_SHOULD_STORE_FAILED' | 'WRN_REPRISE_STORE_EVICTS' | 'WRN_REPRISE_STORE_NOT_ATOMIC';

/** What a handler answered, for `shouldStore`. */
interface AnswerSummary {
    readonly statusCode: number;
    /** Name, value, name, value, … as they go out; only those that the handler set. */
    readonly headers: readonly string[];
}
/** What the store was asked to do when it failed. */
type StorePhase = 'claim' | 'complete';
/** Options of {@link idempotencyMiddleware}. Every one has a default. */
interface IdempotencyOptions<Req extends ServerRequest = ServerRequest> {
    /** The header that carries the key. Default `Idempotency-Key`. */
    headerName?: string;
    /** Seconds that a completed record is kept. Default 86400, a day. */
    ttl?: number;
    /** Methods that are handled. Default POST, PUT and PATCH. GET, HEAD, OPTIONS and TRACE never are, even if listed. */
    methods?: readonly string[];
    /**
     * Where records are kept. Default a {@link MemoryStore} of this middleware's own. Some caches are taken as they are, their
     * time in seconds or in milliseconds: `Keyv` (over a database: with `throwOnErrors: true`), `LRUCache`, `TTLCache`,
     * `NodeCache`, and cache-manager 6 or newer in memory. What would keep records too short or for ever is refused at
     * start, with what to do: a `Map`, a bare client of Redis or PostgreSQL, unstorage, older versions.
     */
    store?: AtomicStore | IdempotencyStore | KnownCache;
    /**
     * Seconds that a record under a derived key is kept: short, since two equal orders an hour apart are two orders.
     * Default 300.
     */
    derivedTtl?: number;
    /**
     * Whose key it is: a user or tenant id of yours, asked after your authentication ran. Keys of two scopes never
     * meet. Without one, a key belongs to the caller that it first came with, and is refused to any other: see `identity`.
     * Returning `undefined` or an empty string does the same for that request.
     */
    scope?: (req: Req) => string | undefined;
    /**
     * Who asks, where there is no `scope` and neither `Authorization` nor `Cookie` says so: an API key, a client
     * certificate, what a proxy in front has found out. It says all about who asks. Default, also where it returns
     * `undefined` or an empty string: the `Authorization` header, or `Cookie` where there is none, together with the name of
     * the host that is asked (`Host`, without its port).
     *
     * @example
     * ```ts
     * app.use(idempotencyMiddleware({ identity: (req) => req.get('X-API-Key') }));
     * ```
     */
    identity?: (req: Req) => string | undefined;
    /**
     * The bytes of a JSON body, where its parser has kept them (`express.json({ verify })`). To compare those costs less
     * than to write the parsed body as JSON again, and tells numbers apart that a double cannot. Default, and for
     * `undefined`: the parsed body.
     *
     * @example
     * ```ts
     * app.use(express.json({ verify: (req, _res, bytes) => { req.rawBody = bytes; } }));
     * app.use(idempotencyMiddleware({ rawBody: (req) => req.rawBody }));
     * ```
     */
    rawBody?: (req: Req) => Uint8Array | undefined;
    /**
     * Whether the middleware reads JSON bodies that nobody has read, of every method, in place of `express.json()`. The
     * bytes are compared as they came, and what a request costs is less than with both. A body that cannot be read goes to
     * `next` as an error, with the `status` and `type` that body parsers give. Default false.
     *
     * @example
     * ```ts
     * app.use(authenticate);
     * app.use(idempotencyMiddleware({ parseJson: true }));
     * ```
     */
    parseJson?: boolean;
    /** Bytes that a body may have which `parseJson` reads; a larger one is refused with 413. Only with it. Default 102,400. */
    maxRequestBytes?: number;
    /**
     * What to do with a request whose body is not known: nobody has read it before this middleware and no
     * `Content-Digest` stands for it, or a parser left what JSON cannot show, like a Map.
     *
     * `pass` (default): without a key it runs unguarded. With one it is guarded; an unread body is then known by its
     * `Content-Length` and `Content-Type` only, and where JSON cannot show the body, a repeat is refused with
     * `unread-body`, since nobody can tell whether it is one. `reject`: refused with 415 `unread-body` before anything runs.
     */
    unreadBody?: 'pass' | 'reject';
    /** Leaves a request alone. */
    skip?: (req: Req) => boolean;
    /** What to do without a key: derive one from the request (default), pass it on unguarded, or refuse it with 400. */
    missingKey?: 'derive' | 'pass' | 'reject';
    /** What to do while the first request still runs: refuse with 409 (default), or wait for its answer. */
    onConcurrent?: 'reject' | 'wait';
    /** Milliseconds that `onConcurrent: 'wait'` waits before it refuses all the same. Default 30,000. */
    waitTimeoutMs?: number;
    /**
     * Which answers are kept. Default 2xx, 3xx and 4xx but 401, 407, 408, 421, 423, 425 and 429. After any other answer
     * the key is free again, and a retry runs.
     */
    shouldStore?: (answer: AnswerSummary, req: Req) => boolean;
    /** Milliseconds that a claim holds without renewal; it is renewed at a third of that. Default 30,000. */
    leaseMs?: number;
    /** Milliseconds after which a claim is no longer renewed, so that a handler that hangs does not block its key for
     * ever. Default 900,000, a quarter of an hour. */
    maxHoldMs?: number;
    /** Milliseconds that a store may take for one step. Default 1,000. */
    storeTimeoutMs?: number;
    /**
     * What to do when the store fails: answer 503 (`fail`, default), run unguarded (`pass`), or as a function decides.
     * At the phase `complete` the handler has run: its answer goes out in any case, and the function is only told.
     */
    onStoreError?: 'fail' | 'pass' | ((error: unknown, req: Req, phase: StorePhase) => 'fail' | 'pass');
    /** Bytes of a body that are kept. A larger answer streams through and is not replayable. Default 1 MiB. */
    maxResponseBytes?: number;
    /** Characters that a key may have. Default 255. */
    maxKeyLength?: number;
    /** Whether `Set-Cookie` is kept and replayed. Default false: cookies are one caller's, and of one moment. */
    replaySetCookie?: boolean;
    /** What to do when nobody can know whether the first request ran: refuse with 409 (default), or run again. */
    onIndeterminate?: 'block' | 'retry' | ((req: Req) => 'block' | 'retry' | Promise<'block' | 'retry'>);
    /** A logger of pino's shape: each request's outcome, and warnings. Default none; warnings then go to `process.emitWarning`. */
    logger?: Logger;
    /** Warnings not to be given; see docs/errors. */
    silence?: readonly WarningCode[];
    /** Answers a refused request in your own way. What it throws, or rejects with, goes to `next`. */
    onProblem?: (problem: Problem, req: Req, res: ServerResponse, next: (error?: unknown) => unknown) => unknown;
}

/** Counts since a middleware was made, and what it has at the moment. */
interface IdempotencyMetrics {
    /** Requests that became the owner of their key, and ran. */
    claims: number;
    /** Requests that were answered from a completed record. */
    replays: number;
    /** Requests that were refused since the first one was running. */
    conflicts: number;
    /** Requests that were refused since their key was used for another request, or by someone else. */
    mismatches: number;
    /** Requests that were refused for a key that is none. */
    invalidKeys: number;
    /** Requests that were refused since there was no answer to replay, or nobody knows whether the first one ran. */
    unanswerable: number;
    /** Steps that the store failed. */
    storeErrors: number;
    /** Requests that run at the moment. */
    running: number;
    /** Requests that wait for another one's answer at the moment. */
    waiting: number;
}
/**
 * What is published on `node:diagnostics_channel`, under `reprise:idempotency:` and its `type`. Never the client's
 * key: `recordKey` is its digest, the name of the record in the store.
 */
interface IdempotencyEvent {
    readonly type: 'claim' | 'replay' | 'conflict' | 'mismatch' | 'store-error';
    readonly req: ServerRequest;
    readonly recordKey: string;
    /** Of a claim: its fence. */
    readonly fence?: number;
    /** Of a mismatch: whether the request asks for something else, or somebody else asks. */
    readonly differs?: 'fingerprint' | 'identity';
    /**
     * Of a store error: its name, code, message and stack, and those of its causes. Nothing else that the store's client
     * has put on it: that may be the answer that was to be kept. (`onStoreError` gets the error itself.)
     */
    readonly error?: Error;
    /** Of a store error: at what. */
    readonly phase?: StorePhase;
}

/** Hands a request on, or an error to whoever handles errors. */
type Next = (error?: unknown) => unknown;

declare global {
    namespace Express {
        interface Request {
            /** The key that this request runs under; absent where the idempotency middleware left the request alone. */
            idempotency?: IdempotencyContext;
        }
    }
}
/** Options of {@link IdempotencyHandler.close}. */
interface CloseOptions {
    /** Milliseconds to wait for what is under way. Default 10,000. */
    timeoutMs?: number | undefined;
}
/** What {@link idempotencyMiddleware} returns: a handler for `app.use`, connect, or a `node:http` server. */
interface IdempotencyHandler {
    (req: IncomingMessage, res: ServerResponse, next: Next): void;
    /**
     * What is kept for a key of a scope. `endpoint` is needed where the key was used at several, and always with a
     * store that has only get, set and delete.
     */
    inspect(key: string, scope?: string, endpoint?: Endpoint): Promise<RecordInfo | undefined>;
    /**
     * Frees a key of a scope, at one endpoint or at all: its next request runs. Whether there was anything to forget. A
     * request that runs under it loses its claim.
     */
    forget(key: string, scope?: string, endpoint?: Endpoint): Promise<boolean>;
    /** Counts since the start, and how many requests run and wait at the moment. */
    metrics(): IdempotencyMetrics;
    /**
     * For SIGTERM. From the call on, requests that would be handled get a 503. Resolves when every handler that runs under
     * a claim has answered, every answer is in the store, also one that the store has refused before, and every request
     * that waits for another one's answer has it; at the latest after `timeoutMs`. What runs then still keeps its claim
     * for what is left of its lease, and its `signal` aborts. A store of the middleware's own is closed then; one that you
     * gave is yours to close, after this. Never rejects; every call returns the promise of the first.
     *
     * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
     * @example
     * ```ts
     * process.once('SIGTERM', async () => {
     *   server.close();
     *   await idempotency.close({ timeoutMs: 10_000 });
     *   await store.close();
     *   process.exit();
     * });
     * ```
     */
    close(options?: CloseOptions): Promise<void>;
}
/**
 * Runs a request once per idempotency key, and replays its first answer to every other request with that key.
 *
 * Mount it after body parsers and authentication, before the routes. A request without a key gets one derived from
 * what it asks for. Wrong options throw here, at start.
 *
 * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_OPTION` or `ERR_REPRISE_UNKNOWN_OPTION`
 * @example
 * ```ts
 * app.use(express.json());
 * app.use(idempotencyMiddleware({ scope: (req) => req.user?.id }));
 * ```
 */
declare function idempotencyMiddleware<Req extends ServerRequest = ServerRequest>(options?: IdempotencyOptions<Req>): IdempotencyHandler;

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

/**
 * Two stores as one, to move from the old one to the new one without losing a key.
 *
 * A key is claimed in both, in the old one first, and every write goes to both. So whatever the old store knows still
 * holds: answers are replayed, claims that are in flight there are waited for, and progress is taken over. A process
 * that still uses the old store alone sees the claims of this one, and so does one that already uses the new store
 * alone: servers may be replaced one by one, and you may turn back at any time. After one retention (the longest `ttl`)
 * all that is alive in the old store is in the new one too, and the old one can go.
 *
 * While both are in use, each request needs both, and costs both.
 *
 * @example
 * ```ts
 * const store = layered(new PostgresStore({ client: pool }), new RedisStore({ client: redis }));
 * app.use(idempotencyMiddleware({ store }));
 * ```
 *
 * @throws TypeError (`ERR_REPRISE_INVALID_ARGUMENT`) for what is no store, or a new one with only `get`, `set` and `delete`
 */
declare function layered(newStore: AtomicStore, oldStore: AtomicStore | IdempotencyStore | KnownCache): AtomicStore;

/** Options of {@link FileStore}. */
interface FileStoreOptions {
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
interface FileStoreStats {
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
declare class FileStore implements AtomicStore, Omit<StoreOperations, 'stats'> {
    #private;
    /** See {@link AtomicStore.keepsClaims}. */
    readonly keepsClaims = true;
    /**
     * Opens the file, the only step that waits for the disk.
     *
     * @throws TypeError or RangeError (`ERR_REPRISE_INVALID_OPTION`), also where this process has the file open with other
     * options; Error with `ERR_REPRISE_STORE_NETWORK_FILE_SYSTEM`, `ERR_REPRISE_STORE_NOT_PRIVATE`,
     * `ERR_REPRISE_STORE_REPLACED`, `ERR_REPRISE_STORE_FORMAT`, `ERR_REPRISE_STORE_DAMAGED`, `ERR_REPRISE_STORE_SYSTEM` or `ERR_REPRISE_STORE_BUSY`
     */
    constructor(options: FileStoreOptions);
    claim(request: ClaimRequest): Promise<ClaimOutcome>;
    complete(claim: ClaimRef, { head, body, dropFirst }: KeptAnswer, ttl: number): Promise<boolean>;
    renew(claim: ClaimRef, leaseMs: number): Promise<boolean>;
    release(claim: ClaimRef, ttl: number): Promise<boolean>;
    mark(claim: ClaimRef, mark: 'committed' | 'not-replayable' | 'indeterminate', ttl: number): Promise<boolean>;
    save(claim: ClaimRef, progress: Uint8Array): Promise<boolean>;
    inspect(key: string): Promise<KeptRecord | undefined>;
    forget(key: string): Promise<boolean>;
    waitFor(key: string): Promise<void>;
    /** See {@link StoreOperations.list}. Read some hundred rows at a time, in the order of the file. */
    list(): AsyncGenerator<ListedRecord, void, undefined>;
    resolve(key: string, as: Resolution, ttl: number): Promise<boolean>;
    /** Counts what is kept. */
    stats(): Promise<FileStoreStats>;
    /**
     * Reads the whole file and says what is wrong with it, a line for each fault; none is good. Takes seconds for a file
     * of gigabytes, and holds nobody up.
     */
    verify(): Promise<string[]>;
    /**
     * Writes a copy as of now to a file that does not exist yet, which a `FileStore` can open. Holds nobody up. Claims in
     * progress are free in the copy.
     */
    backup(to: string): Promise<void>;
    /** Gives the space of what was deleted back to the disk. Requests of all processes wait meanwhile: not at noon. */
    compact(): Promise<void>;
    /**
     * Lets go of the file, once what was asked before is written; where no other store of this process has the file open,
     * no thread and no descriptor is left of it then. Claims that this process still holds keep their leases; nobody renews
     * them. Later use rejects with `ERR_REPRISE_STORE_CLOSED`; a second call waits for the same end.
     */
    close(): Promise<void>;
}

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

/** A {@link RetryConfig} as it is passed in: every field may be left out. */
type RetryConfigInit = {
    readonly [Name in keyof RetryConfig]?: RetryConfig[Name] | undefined;
};
/**
 * How often to try and how long to wait in between. A plain object of the same shape does wherever one is accepted;
 * the class is for those who want it checked, complete and frozen where it is written.
 *
 * @example
 * const patient = new RetryConfig({ maxAttempts: 5, initialDelayMs: 2_000 });
 *
 * @throws TypeError or RangeError with a code, when a field is unknown, of the wrong type or out of range, or when
 * `maxDelayMs` is below `initialDelayMs`
 */
declare class RetryConfig {
    /** Calls in total, the first one included: a whole number from 1 to 1 000 000, or Infinity. Default 3. */
    readonly maxAttempts: number;
    /** The wait before the second call, in milliseconds. 0 still yields one turn of the event loop. Default 1 000. */
    readonly initialDelayMs: number;
    /** No wait is longer than this, in milliseconds; at least `initialDelayMs`. Default 30 000. */
    readonly maxDelayMs: number;
    /** What the wait is multiplied by from one retry to the next; at least 1, which keeps it constant. Default 2. */
    readonly exponentialBase: number;
    constructor(init?: RetryConfigInit);
}
/**
 * The delay in milliseconds before retry number `attempt`, where 0 is the first retry (the second call):
 * `min(initialDelayMs · exponentialBase^attempt, maxDelayMs)`. Pure; computed in Rust by repeated multiplication, so
 * it cannot overflow and is the same to the last bit on every platform.
 *
 * @example
 * [0, 1, 2, 3, 4, 5].map((attempt) => computeDelay(attempt)); // [1000, 2000, 4000, 8000, 16000, 30000]
 *
 * @throws TypeError or RangeError with a code, when `attempt` is no whole number from 0 to 1 000 000, or when the
 * config is refused by {@link RetryConfig}
 */
declare function computeDelay(attempt: number, config?: RetryConfigInit): number;

/** What a {@link RetryBudget} takes. */
interface RetryBudgetOptions {
    /**
     * `ratio` (default), as Finagle does it: each call pays for `retryRatio` of a retry. `throttle`, as gRPC does it:
     * a failure takes a token, a success gives `tokenRatio` back, retries stop at half of `maxTokens`.
     */
    readonly mode?: 'ratio' | 'throttle' | undefined;
    /** Budgets of one name are one budget, in all threads of the process; each must give the same numbers. */
    readonly name?: string | undefined;
    /** Of `ratio`: retries that one call pays for. Default 0.2. */
    readonly retryRatio?: number | undefined;
    /** Of `ratio`: retries each second that nobody need pay for. Default 10. */
    readonly minRetriesPerSecond?: number | undefined;
    /** Of `ratio`: milliseconds in which a call's share can be spent. Default 10 000. */
    readonly windowMs?: number | undefined;
    /** Of `throttle`: tokens at the start, and at most. Default 100. */
    readonly maxTokens?: number | undefined;
    /** Of `throttle`: what a success gives back. Default 0.1. */
    readonly tokenRatio?: number | undefined;
}
/** The budget of one key: what the option `budget` takes besides a {@link RetryBudget}. */
declare class BudgetShare {
    #private;
}
/**
 * Bounds how many of all calls may be retries, so that a service that is down is not hit by a multiple of its load. A
 * retry that the budget does not allow is not made: the original error comes out at once, and nobody waits for tokens.
 *
 * It lives outside of the JavaScript heap, shared by the worker threads that give it one name. The 10,000 keys used
 * last are told apart.
 *
 * @example
 * const budget = new RetryBudget({ retryRatio: 0.1 });
 * await retry(() => charge(card), { budget: budget.for('api.stripe.com') });
 */
declare class RetryBudget {
    #private;
    /** @throws TypeError or RangeError (`ERR_REPRISE_INVALID_OPTION`), also where a named budget has other numbers */
    constructor(options?: RetryBudgetOptions);
    /** The budget of one key, for example of a host: keys do not spend each other's. */
    for(key: string): BudgetShare;
    /** What is left for a key: retries of `ratio`, tokens of `throttle`. */
    balance(key?: string): number;
    /** Moves this budget's clock forward, for tests. */
    advanceClock(byMs: number): void;
}

/** Why a run was given up. */
type StopReason = 'exhausted' | 'non-retryable' | 'aborted' | 'timeout' | 'budget' | 'retry-after' | 'lost' | 'drained';
/** How a run went whose error is at hand. */
interface RetryInfo {
    /** Calls that were made. */
    readonly attempts: number;
    /** Milliseconds waited between them. */
    readonly totalDelayMs: number;
    /** Why there was no further one. */
    readonly stopReason: StopReason;
    /** The errors, oldest first: the last five at most. */
    readonly errors: readonly unknown[];
    /** What the other side asked to wait, where it did, in milliseconds. */
    readonly retryAfterMs?: number;
}
/**
 * How the run went that ended with this error; undefined for an error that no run of reprise ended with, and for
 * thrown values that are no objects. Where runs are nested, the outermost counts.
 *
 * @example
 * retry(charge).catch((error) => console.log(getRetryInfo(error)?.attempts));
 */
declare function getRetryInfo(error: unknown): RetryInfo | undefined;

/** Where in a distributed trace a piece of work belongs: W3C Trace Context. */
interface TraceContext {
    /** 32 hexadecimal digits. */
    readonly traceId: string;
    /** 16 hexadecimal digits. */
    readonly spanId: string;
    /** As it goes on to other services: `00-<trace id>-<span id>-<flags>`. */
    readonly traceparent: string;
}
/** The part of `@opentelemetry/api` that is used: pass the whole as the option `openTelemetry`. */
interface OpenTelemetryApi {
    readonly trace: {
        getActiveSpan(): {
            spanContext(): {
                traceId: string;
                spanId: string;
                traceFlags: number;
            };
        } | undefined;
    };
}
/**
 * Middleware that reads `traceparent` off each request, so that everything logged while the request is handled names
 * its trace, and `retryFetch` passes it on. Not needed where OpenTelemetry is given.
 *
 * @example
 * app.use(traceContext());
 */
declare function traceContext(): (req: IncomingMessage, res: unknown, next: () => unknown) => void;

/** What happens in a run, as `onEvent` is told and as it is published under `reprise:retry:` and its `type`. */
interface RetryEvent {
    /**
     * `attempt`: a call begins. `retry`: it failed, and after `delayMs` there will be another. `success`, `give-up`:
     * the end. `load`, `save`: of a checkpoint.
     */
    readonly type: 'attempt' | 'retry' | 'success' | 'give-up' | 'load' | 'save';
    /** The option `name`. */
    readonly name?: string;
    /** The task, of a checkpointed run. */
    readonly taskId?: string;
    /** Which call it is, from 1. */
    readonly attempt: number;
    readonly maxAttempts: number;
    /** Of `retry`: milliseconds until the next call. */
    readonly delayMs?: number;
    /** Of `give-up`. */
    readonly stopReason?: StopReason;
    /** Of `retry` and `give-up`: what was thrown. */
    readonly error?: unknown;
}

/**
 * How waits are spread: `none`, `full` (between 0 and the delay), `equal` (half of it, and up to as much again), or
 * `decorrelated` (between `initialDelayMs` and three times the wait before, up to `maxDelayMs`).
 */
type Jitter = 'none' | 'full' | 'equal' | 'decorrelated';
/** What {@link RetryOptions.shouldRetry} learns besides the error. */
interface FailureContext {
    /** Which call failed, from 1. */
    readonly attempt: number;
    readonly maxAttempts: number;
}
/** How often, how long, and under what circumstances to retry. All is optional. */
interface RetryOptions extends RetryConfigInit {
    /** Names the runs in events and logs. One name for many runs: no ids in it. */
    readonly name?: string | undefined;
    /** How waits are spread. Default `full`; of the named presets `none`. */
    readonly jitter?: Jitter | undefined;
    /** Makes the jitter repeatable: same seed, same waits. A whole number. Default: by chance, anew for each run. */
    readonly seed?: number | undefined;
    /** Ends the run at once, during an attempt or a wait, with its own reason. */
    readonly signal?: AbortSignal | undefined;
    /** Milliseconds that one attempt may take; then `ctx.signal` aborts and the attempt counts as failed. */
    readonly attemptTimeoutMs?: number | undefined;
    /** Milliseconds for all attempts and waits together, by a clock that nobody sets back. */
    readonly totalTimeoutMs?: number | undefined;
    /** Longest `Retry-After` that is waited for; above it the run ends. Default `maxDelayMs`, at least 60 000. */
    readonly maxRetryAfterMs?: number | undefined;
    /** Whether to retry over this error; undefined leaves it to the default rule. What it throws ends the run. */
    readonly shouldRetry?: ((error: unknown, context: FailureContext) => boolean | undefined | PromiseLike<boolean | undefined>) | undefined;
    /** Bounds the share of retries among all calls. */
    readonly budget?: RetryBudget | BudgetShare | undefined;
    /** Is told what happens. What it throws changes nothing. */
    readonly onEvent?: ((event: RetryEvent) => unknown) | undefined;
    /** A pino-shaped logger: `logger.warn(fields, message)`. */
    readonly logger?: Logger | undefined;
    /** `@opentelemetry/api`: log lines then name the active span. */
    readonly openTelemetry?: OpenTelemetryApi | undefined;
}
/** All of {@link RetryOptions} but the numbers of a {@link RetryConfig}. */
type RunOptions = Omit<RetryOptions, keyof RetryConfigInit>;
/** What {@link schedule} and {@link worstCaseMs} look at. */
type ScheduleOptions = Pick<RetryOptions, keyof RetryConfigInit | 'jitter' | 'seed' | 'attemptTimeoutMs'>;
/**
 * The waits between the attempts, in milliseconds. With jitter and a seed as they will be; with jitter and no seed the
 * longest there can be. Jitter is `none` unless given.
 *
 * @example
 * schedule({ maxAttempts: 5, initialDelayMs: 2_000 }); // [2000, 4000, 8000, 16000]
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
declare function schedule(options?: ScheduleOptions): number[];
/**
 * The longest that a run can take, in milliseconds: all waits, and all attempts where `attemptTimeoutMs` bounds them.
 * A `Retry-After` may make it longer, `totalTimeoutMs` shorter. Infinity where there is no last attempt.
 *
 * @example
 * worstCaseMs({ maxAttempts: 5, initialDelayMs: 2_000, maxDelayMs: 60_000 }); // 30000
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
declare function worstCaseMs(options?: ScheduleOptions): number;

/** What a checkpointed function gets as its last argument; a new one for every attempt. */
interface CheckpointContext<State = unknown> {
    /** The task, as named by the caller's first argument. */
    readonly taskId: string;
    /** Which call of this run it is, from 1. A new process starts again from 1. */
    readonly attempt: number;
    /** How many calls this run may make in total. */
    readonly maxAttempts: number;
    /** What `checkpointLoader` returned just before this attempt; undefined where there is no checkpoint. */
    readonly checkpointState: State | undefined;
    /** Aborts when nobody waits for this attempt any more: the caller's signal, or a timeout. */
    readonly signal: AbortSignal;
}
/** What {@link retryWithCheckpoint} takes with callbacks of your own. At least one of the loader and the saver must be there. */
interface CheckpointOptions<State = unknown, Result = unknown> extends RunOptions {
    /** How often and how long; see {@link RetryConfig} for the defaults. */
    readonly config?: RetryConfigInit | undefined;
    /**
     * Returns what was saved for this task, or null or undefined if nothing was. Called before every attempt, the first
     * one included: after a crash, the first attempt of the new process is the retry.
     */
    readonly checkpointLoader?: ((taskId: string) => State | null | undefined | PromiseLike<State | null | undefined>) | undefined;
    /** Keeps the result of a task that succeeded. What it returns is awaited and ignored. */
    readonly checkpointSaver?: ((taskId: string, result: Result) => unknown) | undefined;
}
/** What of a task kept in a store may be chosen. */
interface TaskOptions {
    /**
     * `at-least-once` (default): an attempt in which the process died is made again. `at-most-once`: it counts as
     * failed, with `InterruptedAttemptError`, which `shouldRetry` may allow.
     */
    readonly semantics?: 'at-least-once' | 'at-most-once' | undefined;
    /** Bytes that the record of a task may have. Default 262 144. */
    readonly maxStateBytes?: number | undefined;
    /** Milliseconds between two writes of `ctx.heartbeat`. Default 5 000. */
    readonly heartbeatIntervalMs?: number | undefined;
    /** Milliseconds that the store may take over one step; later it has failed. Default 5 000. */
    readonly storeTimeoutMs?: number | undefined;
}
/** What {@link retryWithCheckpoint} takes with a store. */
interface StoredCheckpointOptions extends RunOptions, TaskOptions {
    /** How often and how long; see {@link RetryConfig} for the defaults. */
    readonly config?: RetryConfigInit | undefined;
    /** Where the records are: any store that holds the full contract, the one of `idempotencyMiddleware` too. */
    readonly store: AtomicStore;
    /** Tells the tasks of this function from others in the store. It must stay the same from one release to the next. */
    readonly name: string;
    /** Milliseconds that a claim holds without renewal: after a crash, how long until another process may go on. 30 000. */
    readonly leaseMs?: number | undefined;
    /** Seconds that a result, or the progress of a task that was given up, is kept. Default 86 400. */
    readonly ttl?: number | undefined;
}
/** What {@link retryWithCheckpoint} returns: a function wrapper and a method decorator in one. */
interface CheckpointedRetry<State, Result, Context = CheckpointContext<State>> {
    /** As a legacy decorator (`experimentalDecorators`) of a method, static or not. */
    <Method extends (taskId: string, ...rest: never[]) => Promise<Result>>(target: object, name: string | symbol, descriptor: TypedPropertyDescriptor<Method>): TypedPropertyDescriptor<Method>;
    /** As a TC39 decorator of a method: public, private or static. */
    <Method extends (taskId: string, ...rest: never[]) => Promise<Result>>(method: Method, context: ClassMethodDecoratorContext): Method;
    /** As a wrapper of a function whose only argument is the task id. */
    <This, TaskResult extends Result>(fn: (this: This, taskId: string, context: Context) => TaskResult | PromiseLike<TaskResult>): (this: This, taskId: string) => Promise<TaskResult>;
    /** As a wrapper of a function with more arguments; the context comes after them. */
    <This, Args extends unknown[], TaskResult extends Result>(fn: (this: This, taskId: string, ...rest: [...args: Args, context: Context]) => TaskResult | PromiseLike<TaskResult>): (this: This, taskId: string, ...args: Args) => Promise<TaskResult>;
}
/**
 * Retry that resumes: the function's first argument names the task, and the context appended after its arguments
 * holds what was saved for that task. On success the result is saved under the task's name.
 *
 * With `store` it does more: one process runs a task at a time (two calls in one process are one), attempts and waits
 * outlive the process, progress can be saved in the middle of an attempt, and a task that succeeded returns its result
 * without running again until `ttl` is over. See {@link TaskContext}.
 *
 * The context comes right after the arguments that the caller passed, whatever the function declares: a parameter
 * before it must always be passed, if need be as `undefined`.
 *
 * A loader or saver that throws is itself retried as {@link retryQuickTask} does. If it still fails, the promise
 * rejects with {@link CheckpointLoadError} (the function is not run) or {@link CheckpointSaveError} (it succeeded and
 * is never run again for that; the error has the result).
 *
 * @example
 * const task = retryWithCheckpoint({
 *   config: new RetryConfig({ maxAttempts: 5, initialDelayMs: 2_000 }),
 *   checkpointLoader: (taskId) => db.getCheckpoint(taskId),
 *   checkpointSaver: (taskId, result: State) => db.saveCheckpoint(taskId, result),
 * })(async (taskId, ctx) => runKernel(ctx.checkpointState ?? initialState(taskId)));
 *
 * await task('search-17');
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
declare function retryWithCheckpoint<State = unknown>(options: StoredCheckpointOptions): CheckpointedRetry<State, unknown, TaskContext<State>>;
declare function retryWithCheckpoint<State = unknown, Result = unknown>(options: CheckpointOptions<State, Result>): CheckpointedRetry<State, Result>;

/** What {@link resumable} takes. Retries inside the request go by the options of {@link retry}. */
interface ResumableOptions<Result = unknown> extends RetryOptions, TaskOptions {
    /** Answers with the result. Default: 200 and the result as JSON, or 204 for `undefined`. */
    readonly respond?: ((result: Result, res: ServerResponse, req: IncomingMessage) => unknown) | undefined;
}
/**
 * A route handler that picks up where it stopped: the task's checkpoints are kept in the record of the request's own
 * idempotency key. When a request fails or its process dies, the client's retry with the same key goes on after the
 * last step or checkpoint; when it succeeds, every later retry gets the first answer. It needs
 * {@link idempotencyMiddleware} before it, and survives a crash where that one's store does.
 *
 * @example
 * app.use(express.json(), idempotencyMiddleware({ store }));
 * app.post('/payments', resumable(async (req, task) => {
 *   const charge = await task.step('charge', () => bank.charge(req.body, { idempotencyKey: task.derive('charge') }));
 *   return task.step('receipt', () => mail.send(charge));
 * }));
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
declare function resumable<Req extends ServerRequest, Result>(task: (req: Req, context: TaskContext) => Result | PromiseLike<Result>, options?: ResumableOptions<NoInfer<Result>>): (req: Req, res: ServerResponse, next: (error?: unknown) => unknown) => void;

/**
 * Where a crash hurts most: `before-work`, a call of the task or of a step begins; `before-save`, work is done and
 * nothing of it is saved; `during-save`, the write is under way and nobody knows how it will end.
 */
type CheckpointBoundary = 'before-work' | 'before-save' | 'during-save';
/** What is published on `node:diagnostics_channel`, under `reprise:checkpoint:` and the boundary. */
interface CheckpointPassage {
    readonly boundary: CheckpointBoundary;
    readonly taskId: string;
    /**
     * The number of the record's write that comes next, or is under way; it never comes twice for a task. Without a
     * store there is no record, and it is the number of the attempt.
     */
    readonly sequence: number;
}

/** What a retried function may look at; a new one for every attempt. */
interface AttemptContext {
    /** Which call it is, from 1. */
    readonly attempt: number;
    /** How many there may be in total. */
    readonly maxAttempts: number;
    /** What the call before this one threw; undefined in the first. */
    readonly lastError: unknown;
    /** Aborts when nobody waits for this attempt any more: the caller's signal, a timeout, or a claim that was lost. */
    readonly signal: AbortSignal;
    /** Milliseconds left of `totalTimeoutMs`; Infinity without one. */
    readonly remainingMs: number;
}

/**
 * Another process runs the task at the moment. Express answers it with 409 and `Retry-After`, as its error handler
 * does with any error that has a `status` and `headers`.
 */
declare class TaskInProgressError extends Error implements RepriseError {
    readonly name = "TaskInProgressError";
    readonly code = "ERR_REPRISE_TASK_IN_PROGRESS";
    readonly status = 409;
    readonly expose = true;
    /** Milliseconds that the other process's lease still holds without renewal. */
    readonly retryAfterMs: number;
    readonly headers: Readonly<Record<string, string>>;
    constructor(taskId: string, leaseLeftMs: number);
}
/**
 * This process lost its claim of the task, by a pause longer than the lease: another one may have taken over. Nothing
 * was written over the other's record; what the task did by itself meanwhile is for its `fence` to keep out.
 */
declare class CheckpointLostError extends Error implements RepriseError {
    readonly name = "CheckpointLostError";
    readonly code = "ERR_REPRISE_CHECKPOINT_LOST";
    constructor(taskId: string);
}
/** The task was called under this name before, with other arguments. Use another task id. */
declare class CheckpointMismatchError extends Error implements RepriseError {
    readonly name = "CheckpointMismatchError";
    readonly code = "ERR_REPRISE_CHECKPOINT_MISMATCH";
    readonly status = 422;
    constructor(taskId: string);
}
/** The record of the task cannot be read. It is left as it is, and the task was not run; `cause` says more. */
declare class CheckpointCorruptError extends Error implements RepriseError {
    readonly name = "CheckpointCorruptError";
    readonly code = "ERR_REPRISE_CHECKPOINT_CORRUPT";
    constructor(taskId: string, cause: unknown);
}
/** What was to be saved is larger than `maxStateBytes`. Nothing was written; what was saved before is still there. */
declare class CheckpointTooLargeError extends Error implements RepriseError {
    readonly name = "CheckpointTooLargeError";
    readonly code = "ERR_REPRISE_CHECKPOINT_TOO_LARGE";
    constructor(taskId: string, bytes: number, most: number);
}
/** An attempt that nobody waits for any more (it timed out, or its run is over) tried to save something. */
declare class StaleAttemptError extends Error implements RepriseError {
    readonly name = "StaleAttemptError";
    readonly code = "ERR_REPRISE_ATTEMPT_STALE";
    constructor(taskId: string, attempt: number);
}
/**
 * A process died in the middle of an attempt, and the task is not to be run again for that: with `at-most-once`, or
 * since it was the last attempt. Its effects may or may not have happened. The next call starts anew.
 */
declare class InterruptedAttemptError extends Error implements RepriseError {
    readonly name = "InterruptedAttemptError";
    readonly code = "ERR_REPRISE_ATTEMPT_INTERRUPTED";
    constructor(taskId: string, attempt: number);
}
/** The process is about to end, and the task was stopped or not begun. It resumes wherever it is called next. */
declare class DrainedError extends Error implements RepriseError {
    readonly name = "DrainedError";
    readonly code = "ERR_REPRISE_DRAINED";
    readonly status = 503;
    readonly expose = true;
    readonly headers: Readonly<Record<string, string>>;
    constructor(taskId: string);
}

/** What {@link drain} did. */
interface DrainReport {
    /** Tasks that came to their own end. */
    readonly finished: number;
    /** Tasks that were stopped; they resume when they are called again. */
    readonly stopped: number;
}
/**
 * For SIGTERM: brings the tasks that have a store to a good end before the process does. Waits between attempts end
 * at once, attempts may finish until the time is over, what they saved is written and every claim is released, so that
 * another process goes on where this one stopped. Calls that come meanwhile are refused with `DrainedError` (503).
 *
 * @example
 * process.once('SIGTERM', async () => {
 *   server.close();
 *   await drain({ timeoutMs: 10_000 });
 *   process.exit();
 * });
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
declare function drain(options?: {
    timeoutMs?: number | undefined;
}): Promise<DrainReport>;

/**
 * An error that no retry of reprise repeats a call over, wherever it was thrown and whatever it is the cause of.
 *
 * @example
 * throw new NonRetryableError('the card is declined', { cause: error });
 */
declare class NonRetryableError extends Error {
    name: string;
}
/** One attempt took longer than `attemptTimeoutMs`. It is retried as any failure. */
declare class AttemptTimeoutError extends Error implements RepriseError {
    readonly name = "AttemptTimeoutError";
    readonly code = "ERR_REPRISE_ATTEMPT_TIMEOUT";
    constructor(timeoutMs: number);
}
/** All attempts and waits together took longer than `totalTimeoutMs`. `cause` is what failed last, if anything did. */
declare class RetryTimeoutError extends Error implements RepriseError {
    readonly name = "RetryTimeoutError";
    readonly code = "ERR_REPRISE_RETRY_TIMEOUT";
    constructor(timeoutMs: number, options: {
        cause?: unknown;
    });
}
/**
 * The task was not run, because its checkpoint could not be loaded: running it from the start could repeat what an
 * earlier run has done. `cause` is what the loader threw last. Calling the task again is safe.
 */
declare class CheckpointLoadError extends Error implements RepriseError {
    readonly name = "CheckpointLoadError";
    readonly code = "ERR_REPRISE_CHECKPOINT_LOAD";
    /** The task whose checkpoint it is. */
    readonly taskId: string;
    constructor(taskId: string, cause: unknown);
}
/**
 * The task succeeded, but its result could not be saved. It is in `result`: save it by other means; calling the task
 * again would run it again. `cause` is what the saver threw last. No retry of reprise repeats a task over this error.
 */
declare class CheckpointSaveError extends Error implements RepriseError {
    readonly name = "CheckpointSaveError";
    readonly code = "ERR_REPRISE_CHECKPOINT_SAVE";
    /** The task that succeeded. */
    readonly taskId: string;
    /** What the task returned. Not enumerable, so that loggers do not print it. */
    readonly result: unknown;
    constructor(taskId: string, result: unknown, cause: unknown);
}

/**
 * `fetch` that may be sent again. Any method but GET, HEAD, OPTIONS and TRACE gets an `Idempotency-Key`, made once
 * before the first attempt, unless the request has one: in a checkpointed task give it `ctx.derive(name)`, which is
 * the same after a crash. Retried are network errors, 408, 425, 429, 5xx, and a 409 or 413 that says when to
 * come back (`Retry-After`), as one for a request still in progress does.
 *
 * What comes out is what `fetch` gives: the last response, whatever its status, or the last error; `getRetryInfo`
 * takes both. Each attempt tells its number in `X-Retry-Attempt`, what is left of `totalTimeoutMs` in
 * `X-Request-Timeout-Ms`, and the trace at hand in `traceparent`. Both `init.signal` and the option `signal` end it.
 *
 * @example
 * const response = await retryFetch('https://bank.example/charges', { method: 'POST', body: JSON.stringify(charge) });
 *
 * @throws TypeError (`ERR_REPRISE_BODY_NOT_REPLAYABLE`) for a stream as body, which can be sent only once, unless
 * `maxAttempts` is 1; TypeError or RangeError with a code, when an option is unknown or not allowed
 */
declare function retryFetch(url: string | URL, init?: RequestInit, options?: RetryOptions): Promise<Response>;
/**
 * The retry options that a request of a server implies: the run ends when the client goes away, and when the time is
 * over that the client gave in `X-Request-Timeout-Ms`, as {@link retryFetch} does.
 *
 * @example
 * app.get('/search', async (req, res) => {
 *   res.json(await retry(({ signal }) => search(req.query, { signal }), requestRetryOptions(req, res)));
 * });
 */
declare function requestRetryOptions(req: IncomingMessage, res: ServerResponse): {
    signal: AbortSignal;
    totalTimeoutMs?: number;
};

/** A method that a decorator may wrap: it returns a promise already, since a decorator cannot change its type. */
type AsyncMethod = (...args: never[]) => Promise<unknown>;

/**
 * A function wrapper and a method decorator in one. What comes out keeps `this`, its arguments, its name and its
 * type, and returns a promise always.
 *
 * As a decorator it takes methods that return a promise; wrap a synchronous one as a function instead, since a
 * decorator cannot change the type that callers see.
 *
 * The promise rejects with the very value that the last call threw. See `docs/retry.md` for what is not retried.
 */
interface Retrier {
    /** As a legacy decorator (`experimentalDecorators`) of a method, static or not. */
    <Method extends AsyncMethod>(target: object, name: string | symbol, descriptor: TypedPropertyDescriptor<Method>): TypedPropertyDescriptor<Method>;
    /** As a TC39 decorator of a method: public, private or static. */
    <Method extends AsyncMethod>(method: Method, context: ClassMethodDecoratorContext): Method;
    /** As a wrapper of a function, synchronous or not. */
    <This, Args extends unknown[], Result>(fn: (this: This, ...args: Args) => Result): (this: This, ...args: Args) => Promise<Awaited<Result>>;
}
/**
 * Calls a function until it succeeds: up to 3 times, with full jitter over waits of 1 s and 2 s, unless the options
 * say otherwise. Rejects with the very value that the last call threw; {@link getRetryInfo} tells how it went.
 *
 * @example
 * const user = await retry(({ signal }) => fetchUser(id, { signal }), { maxAttempts: 5, totalTimeoutMs: 10_000 });
 *
 * @throws TypeError or RangeError with a code, synchronously, when an option is unknown or not allowed
 */
declare function retry<T>(fn: (context: AttemptContext) => T | PromiseLike<T>, options?: RetryOptions): Promise<Awaited<T>>;
/**
 * A function that is retried whenever it is called, with `this`, arguments and types kept; see {@link retry}.
 *
 * @example
 * const getUser = withRetry(fetchUser, { maxAttempts: 5 });
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
declare function withRetry<This, Args extends unknown[], Result>(fn: (this: This, ...args: Args) => Result, options?: RetryOptions): (this: This, ...args: Args) => Promise<Awaited<Result>>;
/**
 * A method decorator, TC39 or legacy, and a wrapper of functions; see {@link retry}.
 *
 * @example
 * class Users {
 *   @Retry({ maxAttempts: 5 })
 *   async find(id: string) { … }
 * }
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
declare function Retry(options?: RetryOptions): Retrier;
/** What {@link retrySync} takes. */
type RetrySyncOptions = Omit<ScheduleOptions, 'attemptTimeoutMs'>;
/**
 * The same for a synchronous function, for scripts: it **blocks the thread** while it waits, so that nothing else runs
 * in it. Never call it in a server. No jitter unless given.
 *
 * @example
 * const config = retrySync(() => readFileSync('/mnt/config.json', 'utf8'));
 *
 * @throws what the last call threw; a TypeError (`ERR_REPRISE_INVALID_ARGUMENT`) where the function returns a promise
 */
declare function retrySync<T>(fn: (attempt: number) => T, options?: RetrySyncOptions): T;

/** A {@link Retrier} that, called with options, makes another one: its own numbers, but for what the options say. */
interface RetryPreset extends Retrier {
    /** With some options of its own; jitter stays `none` unless given. */
    (overrides: RetryOptions): RetryPreset;
}
/**
 * For a task of ordinary weight: 3 calls at most, waits of 1 s and 2 s between them (cap 30 s).
 *
 * @example
 * const search = retryKernelTask(async (query: string) => kernel.search(query));
 *
 * @example
 * class Kernel {
 *   @retryKernelTask
 *   async search(query: string) { … }
 *
 *   @retryKernelTask({ maxAttempts: 5 })
 *   async index(id: string) { … }
 * }
 */
declare const retryKernelTask: RetryPreset;
/** For a task that must not be given up lightly: 5 calls at most, waits of 2, 4, 8 and 16 s (cap 60 s). */
declare const retryCriticalTask: RetryPreset;
/** For a task somebody waits for: 3 calls at most, waits of 0.5 s and 1 s (cap 5 s). */
declare const retryQuickTask: RetryPreset;

/**
 * What a `Retry-After` header asks for, in milliseconds from `now`: whole seconds, or one of the three forms of an
 * HTTP date (RFC 9110, 5.6.7 and 10.2.3). A date that has passed is 0; undefined for anything else.
 *
 * @example
 * parseRetryAfter('120'); // 120000
 */
declare function parseRetryAfter(value: string, now?: number): number | undefined;

/** What {@link setTestMode} takes. */
interface TestMode {
    /** No run makes more calls than this, whatever its own `maxAttempts`. */
    readonly maxAttempts?: number | undefined;
    /** Waits between attempts take 0 ms. A `Retry-After` too. Default true. */
    readonly noDelay?: boolean | undefined;
}
/**
 * For tests: every run of this module from now on waits 0 ms between attempts, and makes at most `maxAttempts` calls.
 * `false` ends it. Returns a function that restores what was before.
 *
 * @example
 * const restore = setTestMode({ maxAttempts: 2 });
 * afterAll(restore);
 *
 * @throws TypeError or RangeError with a code, when an option is unknown or not allowed
 */
declare function setTestMode(options: TestMode | false): () => void;

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

/**
 * Chaos that is independent of {@link initChaos} and of every other instance; made for tests, and for an application
 * that needs two. It reads no environment but the guard of production: `NODE_ENV`, `CHAOS_ENGINEERING_OVERRIDE`.
 *
 * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_OPTION` or `ERR_REPRISE_UNKNOWN_OPTION`
 * @example
 * const chaos = createChaos({ failureProbability: 0.3, seed: 42 });
 * app.use(chaos.middleware());
 * // ...
 * chaos.close();
 */
declare function createChaos(options?: ChaosOptions): Chaos;

/**
 * Arms the default chaos, which {@link chaosMiddleware} injects. Called again, it turns the chaos that was there off
 * and starts anew, counts at zero; `initChaos({ enabled: false })` leaves it off.
 *
 * The environment wins over the options: `CHAOS_FAILURE_RATE`, `CHAOS_LATENCY_RATE`, `CHAOS_LATENCY_RANGE`
 * (`100-5000`), `CHAOS_KERNEL_KILL_RATE`, `CHAOS_SEED`; with `CHAOS_ENABLED` an off wins, whoever says it. With
 * `NODE_ENV=production` nothing is armed unless `CHAOS_ENGINEERING_OVERRIDE=true`, and then for `maxDurationMs`, or 15
 * minutes if that is not given.
 *
 * @returns the instance; `close()` turns it off
 * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_OPTION`, `ERR_REPRISE_UNKNOWN_OPTION` or
 *   `ERR_REPRISE_INVALID_ENVIRONMENT`; the chaos that was there goes on
 * @example
 * initChaos({ failureProbability: 0.05, latencyProbability: 0.1, latencyRange: [100, 5000], seed: 42 });
 * app.use(chaosMiddleware());
 */
declare function initChaos(options?: ChaosOptions): Chaos;
/**
 * Injects what the default chaos decides; passes every request through while there is none. It follows every later
 * {@link initChaos}. If nobody called that before and `CHAOS_ENABLED=true`, it arms itself from the environment.
 *
 * Mount it after CORS and before everything that it shall test.
 *
 * @throws RangeError with code `ERR_REPRISE_INVALID_ENVIRONMENT`, if it arms itself and a variable cannot be read
 */
declare function chaosMiddleware(): ChaosMiddleware;
/** What the default chaos has done since it was last armed; all zero before that. */
declare function getChaosMetrics(): ChaosMetrics;
/**
 * Names a kernel that the default chaos may kill, now and after every later {@link initChaos}; see
 * {@link Chaos.registerKernel}.
 *
 * @example
 * const worker = new Worker('./kernel.js');
 * registerKernel(kernelOf(worker, { id: 'kernel-1' }));
 * registerKernel('kernel-2', () => endIt());
 */
declare const registerKernel: RegisterKernel;

/** How a kernel is hit. */
type KernelMode = 
/** `worker.terminate()`, or SIGKILL: no code of its own runs any more. Default. */
{
    readonly mode?: 'kill' | undefined;
}
/** SIGTERM, and SIGKILL when it is still there `graceMs` (default 5 000) later. Child processes, not on Windows. */
 | {
    readonly mode: 'term';
    readonly graceMs?: number | undefined;
}
/**
 * SIGSTOP, and SIGCONT `forMs` (default 1 000) later: it looks like a machine that hangs, and comes back. It goes on
 * at once when chaos is disarmed or closed, or this process exits. Child processes, not on Windows.
 */
 | {
    readonly mode: 'pause';
    readonly forMs?: number | undefined;
};
/** What {@link kernelOf} takes besides the kernel. */
type KernelOfOptions = Pick<Kernel, 'id' | 'group'> & KernelMode;
/**
 * A registration of a worker thread or a child process: `isAlive` as Node knows it, and a kill that is done when the
 * kernel has exited.
 *
 * @example
 * chaos.registerKernel(kernelOf(new Worker('./kernel.js'), { id: 'kernel-1', group: 'search' }));
 * chaos.registerKernel(kernelOf(fork('./kernel.js'), { id: 'kernel-2', group: 'search', mode: 'term', graceMs: 2_000 }));
 *
 * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_ARGUMENT`, `ERR_REPRISE_INVALID_OPTION` or
 *   `ERR_REPRISE_UNKNOWN_OPTION`; also for a mode that this kernel, or this platform, cannot be hit in
 */
declare function kernelOf(kernel: Worker | ChildProcess, options: KernelOfOptions): Kernel;

/** What has happened to the calls of one store. They are no requests: `metrics()` of the chaos does not count them. */
interface ChaosStoreMetrics {
    /** Calls that were decided about: none while chaos is off. */
    readonly totalCalls: number;
    /** Calls that were made to fail. */
    readonly failuresInjected: number;
    /** Calls that were held. */
    readonly latenciesInjected: number;
}
/**
 * The same store, whose calls fail or are slow as the rules `store-error` and `store-latency` of an instance of chaos
 * say. A decision depends on the seed, the rule, the call, the key of the record, and how often that call was made for
 * that key. Requests and stores do not disturb each other: what is decided about one changes nothing about the other.
 *
 * @throws TypeError with code `ERR_REPRISE_INVALID_ARGUMENT`
 * @example
 * const chaos = createChaos({
 *   rules: [{ name: 'lost write', fault: { kind: 'store-error', calls: ['complete'], when: 'after' }, probability: 0.1 }],
 * });
 * app.use(idempotencyMiddleware({ store: chaosStore(new MemoryStore(), chaos) }));
 */
declare function chaosStore(store: AtomicStore, chaos: Chaos): AtomicStore & {
    chaosMetrics(): ChaosStoreMetrics;
};
/** The same for a store that knows only `get`, `set` and `delete`. */
declare function chaosStore(store: IdempotencyStore | KnownCache, chaos: Chaos): IdempotencyStore & {
    chaosMetrics(): ChaosStoreMetrics;
};

/** What {@link chaosControl} takes. */
interface ChaosControlOptions {
    /**
     * Who may use it: true, or a promise of that, lets the request pass; everything else refuses it, and what it throws
     * goes to `next`. Default: who asks from this machine. In production it must be given.
     */
    readonly authorize?: ((req: IncomingMessage) => boolean | PromiseLike<boolean>) | undefined;
}
/**
 * Shows and controls a chaos over HTTP: a middleware to mount at a path of its own, before the chaos itself, in Express
 * 4 and 5 and Connect. On plain `node:http`, take the path of the mount off `req.url` first. `GET /status`,
 * `GET /metrics` (JSON, or the text format of Prometheus for those who accept it), `GET /journal` (JSON, or NDJSON for
 * those who accept it); `POST /arm`, `/disarm`, `/update`,
 * `/reset`, with JSON, each answered with the new status. All else passes.
 *
 * Whoever may use it can make the server fail, so without `authorize` it serves this machine only: by the address of
 * the socket, never by a header, and with a Host that names it. Pages of other origins are refused in any case.
 *
 * @throws TypeError with code `ERR_REPRISE_INVALID_OPTION` without `authorize` in production, or another code for what
 *   is wrong otherwise
 * @example
 * app.use('/chaos', chaosControl(chaos, { authorize: (req) => isOperator(req) }));
 * app.use(chaos.middleware());
 */
declare function chaosControl(chaos: Chaos, options?: ChaosControlOptions): ChaosMiddleware;

/** Why the control of chaos did not do what it was asked. Stable, for programs. */
type ChaosProblemCode = 'chaos-forbidden' | 'chaos-cross-origin' | 'chaos-method' | 'chaos-not-json' | 'chaos-body-too-large' | 'chaos-body-invalid' | 'chaos-refused' | 'chaos-in-production' | 'chaos-closed';
/** The answer to such a request. */
type ChaosProblem = ProblemDetails<ChaosProblemCode>;

export { AttemptTimeoutError, BudgetShare, ChaosJournal, CheckpointCorruptError, CheckpointLoadError, CheckpointLostError, CheckpointMismatchError, CheckpointSaveError, CheckpointTooLargeError, DrainedError, FileStore, InterruptedAttemptError, MemoryStore, NonRetryableError, Retry, RetryBudget, RetryConfig, RetryTimeoutError, StaleAttemptError, TaskContext, TaskInProgressError, chaosControl, chaosMiddleware, chaosStore, computeDelay, createChaos, drain, getChaosMetrics, getRetryInfo, idempotencyMiddleware, initChaos, kernelOf, layered, parseRetryAfter, registerKernel, requestRetryOptions, resumable, retry, retryCriticalTask, retryFetch, retryKernelTask, retryQuickTask, retrySync, retryWithCheckpoint, schedule, setTestMode, traceContext, withRetry, worstCaseMs };
export type { AnswerSummary, AtomicStore, AttemptContext, Chaos, ChaosControlOptions, ChaosDelay, ChaosExplanation, ChaosFault, ChaosGuardOptions, ChaosGuardStatus, ChaosJournalData, ChaosJournalEntry, ChaosMatch, ChaosMetrics, ChaosMiddleware, ChaosOptions, ChaosProblem, ChaosProblemCode, ChaosRecorded, ChaosReplay, ChaosReplayReport, ChaosRule, ChaosRuleStatus, ChaosState, ChaosStatus, ChaosStoreMetrics, ChaosVerdict, CheckpointBoundary, CheckpointContext, CheckpointOptions, CheckpointPassage, CheckpointedRetry, ClaimEnd, ClaimOutcome, ClaimRef, ClaimRequest, CloseOptions, DamagedRecord, DrainReport, Ending, Endpoint, FailureContext, FileStoreOptions, FileStoreStats, IdempotencyContext, IdempotencyEvent, IdempotencyHandler, IdempotencyMetrics, IdempotencyOptions, IdempotencyStore, Jitter, KeptAnswer, KeptRecord, Kernel, KernelKillOptions, KernelMode, KernelOfOptions, KernelReport, KillKernel, KnownCache, ListedRecord, Logger, MemoryStoreOptions, MemoryStoreStats, OpenTelemetryApi, Problem, ProblemCode, RecordInfo, RegisterKernel, RepriseError, RepriseErrorCode, Resolution, ResumableOptions, Retrier, RetryBudgetOptions, RetryConfigInit, RetryEvent, RetryInfo, RetryOptions, RetryPreset, RetrySyncOptions, ScheduleOptions, StopReason, StoreCall, StoreOperations, StorePhase, StoreStats, StoredAnswer, StoredCheckpointOptions, StoredResponse, StoredVerdict, TaskOptions, TestMode, TraceContext, WarningCode };
