import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

/** Why a request was refused. Stable, for programs. */
export type ProblemCode =
  | 'invalid-key'
  | 'missing-key'
  | 'key-reused'
  | 'in-progress'
  | 'not-replayable'
  | 'indeterminate'
  | 'store-unavailable';

/** The answer to a refused request: problem details by RFC 9457. */
export interface Problem {
  /** A URI that names the kind of problem: `urn:reprise:problem:` and the code. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Names this occurrence, for logs. */
  readonly instance: string;
  readonly code: ProblemCode;
  /** Seconds for the `Retry-After` header, where waiting helps. */
  readonly retryAfter?: number;
}

const KINDS: Record<ProblemCode, { status: number; title: string }> = {
  'invalid-key': { status: 400, title: 'The idempotency key is not valid' },
  'missing-key': { status: 400, title: 'An idempotency key is required' },
  'key-reused': { status: 422, title: 'The idempotency key was used for another request' },
  'in-progress': { status: 409, title: 'A request with this idempotency key is in progress' },
  'not-replayable': { status: 409, title: 'The answer to this idempotency key was not kept' },
  indeterminate: { status: 409, title: 'The outcome of this idempotency key is unknown' },
  'store-unavailable': { status: 503, title: 'Idempotency cannot be guaranteed at the moment' },
};

/** Makes the problem of a kind. */
export function problem(code: ProblemCode, detail: string, retryAfterMs?: number): Problem {
  return {
    type: `urn:reprise:problem:${code}`,
    ...KINDS[code],
    detail,
    instance: `urn:uuid:${randomUUID()}`,
    code,
    // Whole seconds, at least one: zero would invite a client to come back at once.
    ...(retryAfterMs !== undefined && { retryAfter: Math.max(1, Math.ceil(retryAfterMs / 1000)) }),
  };
}

/** Answers with a problem. */
export function sendProblem(res: ServerResponse, { retryAfter, ...body }: Problem): void {
  const text = Buffer.from(JSON.stringify(body));
  res.statusCode = body.status;
  res.setHeader('Content-Type', 'application/problem+json');
  res.setHeader('Content-Length', text.length);
  res.setHeader('Cache-Control', 'no-store');
  if (retryAfter !== undefined) {
    res.setHeader('Retry-After', String(retryAfter));
    exposeHeaders(res, 'Retry-After');
  }
  res.end(text);
}

/** Where CORS is at work, lets the page's script read these headers too. */
export function exposeHeaders(res: ServerResponse, ...names: string[]): void {
  const exposed = res.getHeader('Access-Control-Expose-Headers');
  if (exposed === undefined && !res.hasHeader('Access-Control-Allow-Origin')) return;
  const list = String(exposed ?? '');
  if (list.trim() === '*') return;
  const known = new Set(list.split(',').map((name) => name.trim().toLowerCase()));
  const added = names.filter((name) => !known.has(name.toLowerCase()));
  if (added.length > 0) res.setHeader('Access-Control-Expose-Headers', [...(list ? [list] : []), ...added].join(', '));
}
