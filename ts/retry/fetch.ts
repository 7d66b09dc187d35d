import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { withCode } from '../errors.js';
import { checkOptions } from '../options.js';
import type { Attempt } from './attempt.js';
import { follow } from './follow.js';
import { getRetryInfo, setRetryInfo } from './info.js';
import { runWithRetry } from './loop.js';
import { makePlan, RETRY_RULES, type RetryOptions } from './plan.js';
import { currentTrace } from './trace.js';

/** Methods that change nothing: sent again without a key. */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** Milliseconds that the caller still waits: ours, since no standard has one. */
const TIMEOUT_HEADER = 'x-request-timeout-ms';
const ATTEMPT_HEADER = 'x-retry-attempt';

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
export async function retryFetch(
  url: string | URL,
  init: RequestInit = {},
  options: RetryOptions = {},
): Promise<Response> {
  const defaults = checkOptions('retryFetch', { signal: init.signal ?? undefined }, { signal: RETRY_RULES.signal });
  const plan = makePlan('retryFetch', options, defaults);
  if (plan.config.maxAttempts > 1 && !isReplayable(init.body)) throw notReplayable();
  const headers = new Headers(init.headers);
  const isUnsafe = !SAFE_METHODS.has((init.method ?? 'GET').toUpperCase());
  if (isUnsafe && !headers.has('idempotency-key')) headers.set('idempotency-key', randomUUID());
  const trace = currentTrace(plan.openTelemetry);
  if (trace !== undefined && !headers.has('traceparent')) headers.set('traceparent', trace.traceparent);

  const send = async (attempt: Attempt): Promise<Response> => {
    if (attempt.lastError instanceof BadAnswer) await attempt.lastError.discard();
    headers.set(ATTEMPT_HEADER, String(attempt.attempt));
    if (plan.totalTimeoutMs !== undefined) headers.set(TIMEOUT_HEADER, String(Math.ceil(attempt.remainingMs)));
    const given = [options.signal, init.signal].filter((signal) => signal != null);
    const { signal, letGo } = following([attempt.signal, ...given]);
    try {
      const response = await fetch(url, { ...init, headers, signal });
      // Beyond the attempt the caller's own signals still end the reading of the body.
      if (response.body === null) letGo();
      else whenCollected.register(response.body, letGo);
      if (isWorthRetrying(response)) throw new BadAnswer(response);
      return response;
    } catch (error) {
      if (!(error instanceof BadAnswer)) letGo();
      throw error;
    }
  };
  try {
    return await runWithRetry(plan, send);
  } catch (error) {
    if (!(error instanceof BadAnswer)) throw error;
    const info = getRetryInfo(error);
    if (info) setRetryInfo(error.response, info);
    return error.response;
  }
}

/** Bodies that nobody holds any more: their signals need not be followed. */
const whenCollected = new FinalizationRegistry<() => void>((letGo) => {
  letGo();
});

/**
 * A signal that aborts with the first of others. Not `AbortSignal.any`: Node 20 keeps something of each of its signals
 * for as long as the ones that it follows live, and those of a caller may live as long as the process.
 */
function following(signals: readonly AbortSignal[]): { signal: AbortSignal; letGo: () => void } {
  const controller = new AbortController();
  const ends = signals.map((signal) => {
    const abort = () => {
      controller.abort(signal.reason);
    };
    if (signal.aborted) abort();
    return follow(signal, abort);
  });
  const letGo = () => {
    for (const end of ends) end();
  };
  return { signal: controller.signal, letGo };
}

/** An answer that another attempt may better. Its headers are where the loop looks for what the server asks. */
class BadAnswer extends Error {
  readonly response: Response;

  constructor(response: Response) {
    super(`the answer was ${response.status}`);
    this.response = response;
  }

  get headers(): Headers {
    return this.response.headers;
  }

  /** Lets go of the connection that it holds. */
  async discard(): Promise<void> {
    await this.response.body?.cancel().catch(() => undefined);
  }
}

function isWorthRetrying({ status, headers }: Response): boolean {
  // As what is still in progress, or too large for now (RFC 9110, 15.5.14).
  if (status === 409 || status === 413) return headers.has('retry-after');
  return status === 408 || status === 425 || status === 429 || status >= 500;
}

function isReplayable(body: unknown): boolean {
  if (body === undefined || body === null || typeof body === 'string') return true;
  return (
    body instanceof URLSearchParams ||
    body instanceof FormData ||
    body instanceof Blob ||
    body instanceof ArrayBuffer ||
    body instanceof SharedArrayBuffer ||
    ArrayBuffer.isView(body)
  );
}

function notReplayable(): Error {
  return withCode(
    new TypeError(
      'retryFetch: the body is a stream, which can be sent only once; pass its content, or { maxAttempts: 1 }',
    ),
    'ERR_REPRISE_BODY_NOT_REPLAYABLE',
  );
}

/**
 * The retry options that a request of a server implies: the run ends when the client goes away, and when the time is
 * over that the client gave in `X-Request-Timeout-Ms`, as {@link retryFetch} does.
 *
 * @example
 * app.get('/search', async (req, res) => {
 *   res.json(await retry(({ signal }) => search(req.query, { signal }), requestRetryOptions(req, res)));
 * });
 */
export function requestRetryOptions(
  req: IncomingMessage,
  res: ServerResponse,
): { signal: AbortSignal; totalTimeoutMs?: number } {
  const controller = new AbortController();
  const gone = () => {
    if (!res.writableFinished) controller.abort(new DOMException('The client went away', 'AbortError'));
  };
  if (res.destroyed) gone();
  else res.once('close', gone);
  const header = req.headers[TIMEOUT_HEADER];
  const totalTimeoutMs =
    typeof header === 'string' && /^\d{1,9}$/.test(header) ? Math.max(1, Number(header)) : undefined;
  return { signal: controller.signal, ...(totalTimeoutMs !== undefined && { totalTimeoutMs }) };
}
