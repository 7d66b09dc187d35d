/** Those who wait for claims to end, by the name of the record. */
export class Wakeups {
  readonly #waiting = new Map<string, Set<() => void>>();

  /**
   * Takes a place among those who wait for a key; `wait` ends when the key is woken, or after so many milliseconds;
   * `woken` has no end of its own. To be taken before the store is asked how long that may be: who ends the claim from
   * then on wakes it.
   */
  enter(key: string): { woken: Promise<void>; wait: (ms: number) => Promise<void>; leave: () => void } {
    const place = withResolver();
    const places = this.#waiting.get(key) ?? new Set();
    this.#waiting.set(key, places.add(place.resolve));
    const leave = (): void => {
      places.delete(place.resolve);
      if (places.size === 0 && this.#waiting.get(key) === places) this.#waiting.delete(key);
    };
    return {
      leave,
      woken: place.promise,
      wait: async (ms) => {
        // Whoever waits holds the process by a socket of its own.
        const timer = setTimeout(place.resolve, Math.min(Math.ceil(ms), LONGEST_TIMER_MS)).unref();
        await place.promise;
        clearTimeout(timer);
        leave();
      },
    };
  }

  /** The claim of a key has ended. */
  wake(key: string): void {
    const places = this.#waiting.get(key);
    this.#waiting.delete(key);
    for (const resolve of places ?? []) resolve();
  }

  /** News may have been missed: everyone has to look for themselves. */
  wakeAll(): void {
    for (const key of [...this.#waiting.keys()]) this.wake(key);
  }
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
