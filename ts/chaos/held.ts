import type { IncomingMessage, ServerResponse } from 'node:http';

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

  /** Never answers: `release` is called at {@link releaseAll}, unless the connection is closed by then. */
  hang(res: ServerResponse, release: () => void): void {
    const forget = () => {
      res.off('close', forget);
      this.#releases.delete(letGo);
    };
    const letGo = () => {
      forget();
      release();
    };
    res.once('close', forget);
    this.#releases.add(letGo);
  }

  /** How many there are. */
  get size(): number {
    return this.#releases.size;
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
