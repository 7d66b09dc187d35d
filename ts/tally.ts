/** Counts what is under way, for whoever waits until nothing is. */
export class Tally {
  #count = 0;
  #waiting: (() => void)[] = [];

  enter(): void {
    this.#count++;
  }

  leave(): void {
    this.#count--;
    if (this.#count > 0 || this.#waiting.length === 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Counts a promise until it has settled; the same promise. */
  during<T>(promise: Promise<T>): Promise<T> {
    this.enter();
    return promise.finally(() => {
      this.leave();
    });
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Resolves when nothing is under way. */
  async empty(): Promise<void> {
    while (this.#count > 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}
