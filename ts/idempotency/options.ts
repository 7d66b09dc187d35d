import type { ServerResponse } from 'node:http';
import {
  aBoolean,
  hasMethods,
  aFunction,
  checkOptions,
  either,
  invalidOption,
  numberBetween,
  oneOf,
  wholeNumberBetween,
  type OptionRules,
} from '../options.js';
import type { AtomicStore } from '../stores/contract.js';
import { storeOf, type KnownCache } from '../stores/known-clients.js';
import { MemoryStore } from '../stores/memory.js';
import type { IdempotencyStore } from '../stores/types.js';
import type { ServerRequest } from './facts.js';
import type { Problem } from './problem.js';
import type { Logger } from '../logger.js';
import { WARNING_CODES, type WarningCode } from '../warnings.js';

/** What a handler answered, for `shouldStore`. */
export interface AnswerSummary {
  readonly statusCode: number;
  /** Name, value, name, value, … as they go out; only those that the handler set. */
  readonly headers: readonly string[];
}

/** What the store was asked to do when it failed. */
export type StorePhase = 'claim' | 'complete';

/** Options of {@link idempotencyMiddleware}. Every one has a default. */
export interface IdempotencyOptions<Req extends ServerRequest = ServerRequest> {
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

const SECONDS_IN_TEN_YEARS = 315_360_000;
const OWNER = 'idempotencyMiddleware';
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

const RULES: OptionRules<IdempotencyOptions> = {
  headerName: {
    allowed: 'the name of a header',
    type: (value) => typeof value === 'string',
    range: (value: string) => TOKEN.test(value),
  },
  ttl: numberBetween(0.001, SECONDS_IN_TEN_YEARS, 'seconds'),
  methods: {
    allowed: "an array of methods, like ['POST', 'PUT', 'PATCH']",
    type: (value) => Array.isArray(value) && value.every((method) => typeof method === 'string'),
    range: (value: string[]) => value.length > 0 && value.every((method) => TOKEN.test(method)),
  },
  store: {
    allowed: 'a MemoryStore, a store that holds the contract, or an object with get, set and delete',
    // Which objects are stores, and why others are none, `storeOf` knows.
    type: (value) => typeof value === 'object' && value !== null,
  },
  derivedTtl: numberBetween(0.001, SECONDS_IN_TEN_YEARS, 'seconds'),
  scope: aFunction('(req) => string | undefined'),
  identity: aFunction('(req) => string | undefined'),
  rawBody: aFunction('(req) => Uint8Array | undefined'),
  parseJson: aBoolean,
  maxRequestBytes: wholeNumberBetween(1, 2 ** 30, 'bytes'),
  unreadBody: oneOf('pass', 'reject'),
  skip: aFunction('(req) => boolean'),
  missingKey: oneOf('derive', 'pass', 'reject'),
  onConcurrent: oneOf('reject', 'wait'),
  waitTimeoutMs: wholeNumberBetween(1, 2 ** 31 - 1, 'milliseconds'),
  shouldStore: aFunction('(answer, req) => boolean'),
  leaseMs: wholeNumberBetween(10, 2 ** 31 - 1, 'milliseconds'),
  maxHoldMs: wholeNumberBetween(10, 2 ** 31 - 1, 'milliseconds'),
  storeTimeoutMs: wholeNumberBetween(1, 2 ** 31 - 1, 'milliseconds'),
  onStoreError: either(oneOf('fail', 'pass'), aFunction("(error, req, phase) => 'fail' | 'pass'")),
  maxResponseBytes: wholeNumberBetween(0, 2 ** 30, 'bytes'),
  maxKeyLength: wholeNumberBetween(1, 8192, 'characters'),
  replaySetCookie: aBoolean,
  onIndeterminate: either(oneOf('block', 'retry'), aFunction("(req) => 'block' | 'retry'")),
  logger: {
    allowed: 'a logger with debug, info, warn and error, like pino()',
    type: (value) => hasMethods(value, 'debug', 'info', 'warn', 'error'),
  },
  silence: {
    allowed: `an array of ${WARNING_CODES.join(', ')}`,
    type: (value) => Array.isArray(value),
    range: (value: string[]) => value.every((code) => (WARNING_CODES as readonly string[]).includes(code)),
  },
  onProblem: aFunction('(problem, req, res, next) => void'),
};

/** The options with their defaults. */
export type Settings = ReturnType<typeof settle>;

/** Checks the options, and fills in what is absent. */
export function parseOptions(options: IdempotencyOptions): Settings {
  const checked = checkOptions('idempotencyMiddleware', options, RULES);
  const { parseJson, maxRequestBytes } = checked;
  if (maxRequestBytes !== undefined && parseJson !== true) {
    // Without effect, it would look as if it bounded what other parsers read.
    throw invalidOption(
      TypeError,
      'idempotencyMiddleware',
      'maxRequestBytes',
      maxRequestBytes,
      'one only with parseJson: true',
    );
  }
  return settle(checked);
}

function settle(options: IdempotencyOptions) {
  const methods = options.methods ?? ['POST', 'PUT', 'PATCH'];
  const safe = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);
  return {
    headerName: options.headerName ?? 'Idempotency-Key',
    ttl: options.ttl ?? 86_400,
    methods: new Set(methods.map((method) => method.toUpperCase()).filter((method) => !safe.has(method))),
    store: options.store ? storeOf(OWNER, 'store', options.store, 'ERR_REPRISE_INVALID_OPTION') : new MemoryStore(),
    derivedTtl: options.derivedTtl ?? 300,
    scope: options.scope,
    identity: options.identity,
    rawBody: options.rawBody,
    parseJson: options.parseJson ?? false,
    maxRequestBytes: options.maxRequestBytes ?? 102_400,
    unreadBody: options.unreadBody ?? 'pass',
    skip: options.skip,
    missingKey: options.missingKey ?? 'derive',
    onConcurrent: options.onConcurrent ?? 'reject',
    waitTimeoutMs: options.waitTimeoutMs ?? 30_000,
    shouldStore: options.shouldStore ?? isWorthStoring,
    leaseMs: options.leaseMs ?? 30_000,
    maxHoldMs: options.maxHoldMs ?? 900_000,
    storeTimeoutMs: options.storeTimeoutMs ?? 1_000,
    onStoreError: options.onStoreError ?? 'fail',
    maxResponseBytes: options.maxResponseBytes ?? 1024 * 1024,
    maxKeyLength: options.maxKeyLength ?? 255,
    replaySetCookie: options.replaySetCookie ?? false,
    onIndeterminate: options.onIndeterminate ?? 'block',
    logger: options.logger,
    silence: options.silence ?? [],
    onProblem: options.onProblem,
  };
}

/** 4xx that may be gone a moment later; kept, they would lock a client out. */
const PASSING = new Set([401, 407, 408, 421, 423, 425, 429]);

/** The default of `shouldStore`. */
export function isWorthStoring({ statusCode }: AnswerSummary): boolean {
  return statusCode >= 200 && statusCode < 500 && !PASSING.has(statusCode);
}
