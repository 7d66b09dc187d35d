import { show, withCode } from '../errors.js';

/**
 * Ends one kernel: a worker, a child process, anything that can be lost. Counted as a kill once it returned, or its
 * promise resolved; not if it threw, rejected, or gave `false` (as `ChildProcess.kill` does when there was no process).
 */
export type KillKernel = () => unknown;

interface Kernel {
  readonly kill: KillKernel;
  withdrawn: boolean;
}

/** The kernels that may be killed. A killed one is gone from here until it is registered again. */
export class Kernels {
  readonly #kernels = new Map<string, Kernel>();
  #sorted: readonly string[] = [];
  #warned = false;

  /** How many there are. */
  get size(): number {
    return this.#kernels.size;
  }

  /** Adds a kernel, or replaces the one with this id; returns what takes exactly this registration back. */
  register(id: string, kill: KillKernel): () => void {
    if (typeof id !== 'string' || id === '') throw invalidArgument('id', id, 'a text that is not empty');
    if (typeof kill !== 'function') throw invalidArgument('kill', kill, 'a function () => unknown');
    const kernel: Kernel = { kill, withdrawn: false };
    this.#set(id, kernel);
    return () => {
      kernel.withdrawn = true;
      if (this.#kernels.get(id) === kernel) this.#delete(id);
    };
  }

  /**
   * Kills the kernel at this place among the sorted ids, and calls `killed` when it is done. It is gone from here
   * before its kill runs, so that a kill that starts the next one may register it; it comes back if the kill failed.
   */
  kill(place: number, killed: () => void): void {
    const id = this.#sorted[place];
    const kernel = id === undefined ? undefined : this.#kernels.get(id);
    if (id === undefined || kernel === undefined) return;
    this.#delete(id);
    const survived = () => {
      if (!kernel.withdrawn && !this.#kernels.has(id)) this.#set(id, kernel);
    };
    const failed = (error: unknown) => {
      survived();
      this.#warn(id, error);
    };
    const settled = (outcome: unknown) => {
      if (outcome === false) survived();
      else killed();
    };
    try {
      const outcome = kernel.kill();
      if (isPromiseLike(outcome)) void Promise.resolve(outcome).then(settled, failed);
      else settled(outcome);
    } catch (error) {
      failed(error);
    }
  }

  #set(id: string, kernel: Kernel): void {
    this.#kernels.set(id, kernel);
    this.#sort();
  }

  #delete(id: string): void {
    this.#kernels.delete(id);
    this.#sort();
  }

  /** By code units: the same on every machine, whatever the order of registration. */
  #sort(): void {
    this.#sorted = [...this.#kernels.keys()].sort();
  }

  #warn(id: string, error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    process.emitWarning(
      `the kill of kernel ${show(id)} failed: ${error instanceof Error ? error.message : show(error)}. ` +
        'It is not counted, and the kernel stays registered. Further failures are not reported',
      { type: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_KERNEL_KILL_FAILED' },
    );
  }
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

function invalidArgument(name: string, value: unknown, allowed: string): Error {
  return withCode(
    new TypeError(`registerKernel: argument "${name}" is ${show(value)}; allowed: ${allowed}`),
    'ERR_REPRISE_INVALID_ARGUMENT',
  );
}
