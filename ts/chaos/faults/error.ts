import { STATUS_CODES } from 'node:http';
import type { ServerResponse } from 'node:http';

/** What `Retry-After` says on an injected 429 or 503, in seconds. */
const RETRY_AFTER_S = 1;

/** Answers with an error that says what it is. Headers that were set before, such as those of CORS, stay. */
export function answerError(res: ServerResponse, status: number): void {
  const body = JSON.stringify({
    error: STATUS_CODES[status],
    message: 'Injected by chaos engineering (reprise). The handler did not run.',
    chaos: { fault: 'error', status },
  });
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.setHeader('Content-Length', Buffer.byteLength(body));
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('X-Chaos-Fault', 'error');
  if (status === 429 || status === 503) res.setHeader('Retry-After', RETRY_AFTER_S);
  res.end(body);
}
