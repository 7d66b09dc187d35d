/**
 * The faults that hold something now: a request, an answer, a connection. Whatever keeps a timer, a listener or a
 * socket is in here for as long as it does, so that turning chaos off finds all of it.
 */
export class ActiveFaults {
  readonly #releases = new Set<() => void>();

  /**
   * Registers one. `release` lets go of what it holds, synchronously; it is called at most once, at
   * {@link releaseAll}.
   *
   * @returns takes the registration back: the fault is over by itself
   */
  add(release: () => void): () => void {
    // Of its own, though somebody may register one function twice.
    const entry = () => {
      release();
    };
    this.#releases.add(entry);
    return () => {
      this.#releases.delete(entry);
    };
  }

  /** How many there are. */
  get size(): number {
    return this.#releases.size;
  }

  /** Lets go of all of them. What one of them throws keeps none of the others. */
  releaseAll(): void {
    for (const release of [...this.#releases]) {
      this.#releases.delete(release);
      try {
        release();
      } catch (error) {
        // Where it would have gone from a timer: to the process, not to whoever turned chaos off.
        process.nextTick(() => {
          throw error;
        });
      }
    }
  }
}
