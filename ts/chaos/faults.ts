import { STATUS_CODES } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';

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

/** The requests that are held now. */
export class HeldRequests {
  readonly #releases = new Set<() => void>();

  /**
   * Calls `resume` after `ms`, or at {@link releaseAll} if that comes first. Never, if the client has left or someone
   * else has answered by then: there is nobody to run a handler for.
   */
  hold(req: IncomingMessage, res: ServerResponse, ms: number, resume: () => void): void {
    const forget = () => {
      clearTimeout(timer);
      res.off('close', forget);
      this.#releases.delete(release);
    };
    const release = () => {
      forget();
      // The close of a response that was queued behind another one (pipelining) is not told; its socket knows.
      if (!res.headersSent && !res.destroyed && !req.socket.destroyed) resume();
    };
    const timer = setTimeout(release, ms);
    res.once('close', forget);
    this.#releases.add(release);
  }

  /** Lets every held request go on at once. What one of them throws keeps none of the others. */
  releaseAll(): void {
    for (const release of [...this.#releases]) {
      try {
        release();
      } catch (error) {
        // Where it would have gone from the timer: to the process, not to whoever closed chaos.
        process.nextTick(() => {
          throw error;
        });
      }
    }
  }
}
