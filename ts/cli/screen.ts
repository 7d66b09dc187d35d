import { once } from 'node:events';
import type { WriteStream } from 'node:tty';

/** A stream that people or programs read. */
export type Output = NodeJS.WritableStream & Partial<Pick<WriteStream, 'isTTY' | 'columns'>>;

/** Where a command writes: results on one stream, and how far it has come on the other. */
export class Screen {
  readonly #out: Output;
  readonly #err: Output;
  /** When something was shown last; nothing is for what is over in a moment. */
  #lastMs = Date.now();
  #isShown = false;

  constructor(out: Output, err: Output) {
    this.#out = out;
    this.#err = err;
  }

  /** Characters in a line of the terminal; undefined where results go elsewhere. */
  get width(): number | undefined {
    return this.#out.isTTY ? this.#out.columns : undefined;
  }

  /** Writes a result, no faster than its reader reads. */
  async write(text: string): Promise<void> {
    this.clear();
    if (!this.#out.write(text)) await once(this.#out, 'drain');
  }

  /** Says how far it has come: five times a second at most, and only to people. */
  progress(text: string): void {
    if (!this.#err.isTTY || Date.now() - this.#lastMs < 200) return;
    this.#lastMs = Date.now();
    this.#isShown = true;
    // To the line's begin, and the line cleared.
    this.#err.write(`\r\u001B[K${text}`);
  }

  /** Shows how long something takes that cannot say how far it has come. */
  async during<T>(text: string, work: Promise<T>): Promise<T> {
    const begin = Date.now();
    const timer = setInterval(() => {
      this.progress(`${text} (${Math.round((Date.now() - begin) / 1000)} s)`);
    }, 500);
    try {
      return await work;
    } finally {
      clearInterval(timer);
      this.clear();
    }
  }

  /** Takes away what was shown of the way there. */
  clear(): void {
    if (!this.#isShown) return;
    this.#isShown = false;
    this.#err.write('\r\u001B[K');
  }
}
