import type { IncomingMessage, ServerResponse } from 'node:http';
import type { IdempotencyContext } from './context.js';
import type { ServerRequest } from './facts.js';
import { Guard, type Next } from './guard.js';
import type { Endpoint, RecordInfo } from './inspection.js';
import { checkOptions, numberBetween, type OptionRules } from '../options.js';
import { parseOptions, type IdempotencyOptions } from './options.js';
import type { IdempotencyMetrics } from './reporter.js';

declare global {
  // Express has its request merged from here; nothing else of it is needed, and nothing breaks without it.
  // eslint-disable-next-line @typescript-eslint/no-namespace
  namespace Express {
    interface Request {
      /** The key that this request runs under; absent where the idempotency middleware left the request alone. */
      idempotency?: IdempotencyContext;
    }
  }
}

const CLOSE_RULES: OptionRules<CloseOptions> = { timeoutMs: numberBetween(0, 2 ** 31 - 1, 'milliseconds') };

/** Options of {@link IdempotencyHandler.close}. */
export interface CloseOptions {
  /** Milliseconds to wait for what is under way. Default 10,000. */
  timeoutMs?: number | undefined;
}

/** What {@link idempotencyMiddleware} returns: a handler for `app.use`, connect, or a `node:http` server. */
export interface IdempotencyHandler {
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
export function idempotencyMiddleware<Req extends ServerRequest = ServerRequest>(
  options: IdempotencyOptions<Req> = {},
): IdempotencyHandler {
  const guard = new Guard(parseOptions(options as IdempotencyOptions), options.store === undefined);
  const handler = (req: IncomingMessage, res: ServerResponse, next: Next): void => {
    guard.handle(req, res, next);
  };
  return Object.assign(handler, {
    inspect: (key: string, scope?: string, endpoint?: Endpoint) => guard.inspect(key, scope, endpoint),
    forget: (key: string, scope?: string, endpoint?: Endpoint) => guard.forget(key, scope, endpoint),
    metrics: () => guard.metrics(),
    close: (options: CloseOptions = {}) => {
      const { timeoutMs = 10_000 } = checkOptions('IdempotencyHandler.close', options, CLOSE_RULES);
      return guard.close(timeoutMs);
    },
  });
}
