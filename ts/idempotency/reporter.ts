import { channel } from 'node:diagnostics_channel';
import type { Logger } from '../logger.js';
import { safeError } from '../safe-error.js';
import type { Answer } from './answer.js';
import type { ServerRequest } from './facts.js';
import type { StorePhase } from './options.js';

/** Counts since a middleware was made, and what it has at the moment. */
export interface IdempotencyMetrics {
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
export interface IdempotencyEvent {
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

type EventType = IdempotencyEvent['type'];
type Details = Omit<IdempotencyEvent, 'type' | 'req' | 'recordKey' | 'error'> & { readonly error?: unknown };

const KINDS: Record<EventType, { level: keyof Logger; message: string }> = {
  claim: { level: 'debug', message: 'idempotency: the request runs' },
  replay: { level: 'debug', message: 'idempotency: the first answer is replayed' },
  conflict: { level: 'info', message: 'idempotency: refused, the first request is still running' },
  mismatch: {
    level: 'warn',
    message: 'idempotency: refused, the key was used for another request, or by another caller',
  },
  'store-error': { level: 'error', message: 'idempotency: the store failed' },
};

const CHANNELS = Object.fromEntries(
  Object.keys(KINDS).map((type) => [type, channel(`reprise:idempotency:${type}`)]),
) as Record<EventType, ReturnType<typeof channel>>;

/** Tells those who listen what became of a request; costs next to nothing where nobody does. */
export class Reporter {
  readonly #logger: Logger | undefined;

  constructor(logger: Logger | undefined) {
    this.#logger = logger;
  }

  /** @param answer what was to be kept when the store failed: no part of it is told */
  report(type: EventType, req: ServerRequest, recordKey: () => string, told: Details, answer?: Answer): void {
    const listened = CHANNELS[type].hasSubscribers;
    if (!listened && this.#logger === undefined) return;
    const { error, ...rest } = told;
    const details = error === undefined ? rest : { ...rest, error: safeError(error, answer) };
    const event: IdempotencyEvent = { type, req, recordKey: recordKey(), ...details };
    if (listened) CHANNELS[type].publish(event);
    if (this.#logger === undefined) return;
    const { level, message } = KINDS[type];
    const path = (req.originalUrl ?? req.url ?? '').split('?', 1)[0];
    const fields = { event: `idempotency.${type}`, method: req.method, path, record: event.recordKey, ...details };
    try {
      // `err` is where pino looks for an error.
      this.#logger[level]('error' in details ? { ...fields, error: undefined, err: details.error } : fields, message);
    } catch {
      // A logger that fails must not fail the request.
    }
  }
}
