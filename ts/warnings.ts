import cluster from 'node:cluster';
import type { Logger } from './logger.js';

/** A likely mistake, worth a word once. `docs/errors/<code>.md` explains each. */
export type WarningCode =
  | 'WRN_REPRISE_BODY_NOT_PARSED'
  | 'WRN_REPRISE_CAPTURED_COMPRESSED'
  | 'WRN_REPRISE_CREATED_IN_REQUEST'
  | 'WRN_REPRISE_DOUBLE_MOUNT'
  | 'WRN_REPRISE_MEMORY_STORE_IN_PRODUCTION'
  | 'WRN_REPRISE_MEMORY_STORE_IN_THREAD'
  | 'WRN_REPRISE_NO_SCOPE'
  | 'WRN_REPRISE_SHOULD_STORE_FAILED'
  | 'WRN_REPRISE_STORE_EVICTS'
  | 'WRN_REPRISE_STORE_NOT_ATOMIC';

const MESSAGES: Record<WarningCode, string> = {
  WRN_REPRISE_BODY_NOT_PARSED:
    'A request has a body that idempotencyMiddleware() does not know: nobody has read it before, or a parser left what ' +
    'JSON cannot show. Without a key it runs unguarded; with one, another body of its length passes for the same. Mount ' +
    'the body parser first (Nest mounts its own behind all app.use()), or set parseJson: true, or let clients send ' +
    "Content-Digest. unreadBody: 'reject' refuses such requests.",
  WRN_REPRISE_CAPTURED_COMPRESSED:
    'An answer is compressed before idempotencyMiddleware() sees it, and is kept so. Mount compression() first, then ' +
    'idempotencyMiddleware(): replays are then compressed as each client asks.',
  WRN_REPRISE_CREATED_IN_REQUEST:
    'idempotencyMiddleware() was called while a request was handled. Each call makes a new one, with an empty store: ' +
    'call it once, at start, and mount what it returns.',
  WRN_REPRISE_DOUBLE_MOUNT:
    'A request passed two idempotencyMiddleware() with different stores or options. The first one guards it; the ' +
    'second left it alone. Mount one, or give one of them a skip(req).',
  WRN_REPRISE_MEMORY_STORE_IN_PRODUCTION:
    'idempotencyMiddleware() keeps its records in the memory of this process, and this process is one of several ' +
    '(cluster, PM2 or WEB_CONCURRENCY): a retry that reaches another one runs again. Use a store that they share.',
  WRN_REPRISE_MEMORY_STORE_IN_THREAD:
    'A worker thread uses a MemoryStore without a name, which no other thread sees: a retry that reaches another thread ' +
    "runs again. Name it to share it: new MemoryStore({ name: 'orders' }).",
  WRN_REPRISE_NO_SCOPE:
    'idempotencyMiddleware() has no scope(req): a key belongs to the Authorization or Cookie header and the host name ' +
    'that it first came with, and is refused after a new login. Say whose key it is: scope: (req) => req.user?.id.',
  WRN_REPRISE_SHOULD_STORE_FAILED:
    'shouldStore(answer, req) threw, or returned neither true nor false; the default rule decides.',
  WRN_REPRISE_STORE_EVICTS:
    'The Redis behind a RedisStore drops keys when its memory is full (maxmemory-policy), claims in progress too: a ' +
    'retry may then run again. Give it the policy noeviction, or a Redis of its own.',
  WRN_REPRISE_STORE_NOT_ATOMIC:
    'A store with only get, set and delete cannot keep two processes from running one key at once; inside of this ' +
    'process one runs.',
};

/** The codes that `silence` takes. */
export const WARNING_CODES = Object.keys(MESSAGES) as readonly WarningCode[];

/** What this process has said already, by `process.emitWarning`. */
const said = new Set<WarningCode>();

/** The warnings of one middleware: each once, unless silenced. */
export class Warnings {
  readonly #silenced: Set<WarningCode>;
  readonly #logger: Logger | undefined;

  constructor(silence: readonly WarningCode[], logger: Logger | undefined) {
    this.#silenced = new Set(silence);
    this.#logger = logger;
  }

  warn(code: WarningCode): void {
    if (this.#silenced.has(code)) return;
    this.#silenced.add(code);
    const message = MESSAGES[code];
    if (this.#logger) {
      this.#logger.warn({ code }, message);
    } else if (!said.has(code)) {
      said.add(code);
      process.emitWarning(message, { type: 'RepriseWarning', code, detail: `See docs/errors/${code}.md` });
    }
  }
}

/** Whether this process is one of several that serve the same application, as far as anyone can see. */
export function isOneOfSeveral(): boolean {
  const { NODE_APP_INSTANCE, WEB_CONCURRENCY } = process.env;
  return cluster.isWorker || NODE_APP_INSTANCE !== undefined || Number(WEB_CONCURRENCY) > 1;
}
