import { show } from '../../errors.js';
import { aFunction, checkOptions, invalidArgument, invalidOption } from '../../options.js';
import type { OptionRule, OptionRules } from '../../options.js';

/**
 * Ends one kernel: a worker, a child process, anything that can be lost. Counted as a kill once it returned, or its
 * promise resolved: let it resolve when the kernel is gone. Not counted if it threw, rejected, or gave `false` (as
 * `ChildProcess.kill` does when there was no process); `'paused'` says that the kernel was stopped for a while and
 * goes on.
 *
 * @param released aborts when chaos is disarmed or closed: whatever is held up must go on
 */
export type KillKernel = (released: AbortSignal) => unknown;

/** Something that chaos may kill; {@link kernelOf} makes one of a worker thread or a child process. */
export interface Kernel {
  /** Which; among several, the victim is chosen by the seed over the sorted ids. */
  readonly id: string;
  /** Those that stand in for each other; kills may be for one group, and spare its last one. Default: the nameless. */
  readonly group?: string | undefined;
  readonly kill: KillKernel;
  /** Whether it could be killed now. Default: as long as it is registered. */
  readonly isAlive?: (() => boolean) | undefined;
}

/** Names a kernel that may be killed; returns what takes exactly this registration back. */
export interface RegisterKernel {
  (kernel: Kernel): () => void;
  (id: string, kill: KillKernel): () => void;
}

/** What a strike came to. */
export type Struck = 'killed' | 'paused' | 'survived';

/** Which kernels a kill is for. */
export interface Candidates {
  /** Only of this group. */
  readonly group?: string | undefined;
  /** None that is the only live one of its group. */
  readonly neverLast?: boolean | undefined;
}

const aText: OptionRule = {
  allowed: 'a text that is not empty',
  type: (value) => typeof value === 'string',
  range: (value: string) => value !== '',
};

/** The name of a kernel or of a group of them. */
export const kernelName = aText;

const RULES: OptionRules<Kernel> = {
  id: aText,
  group: aText,
  kill: aFunction('(released) => unknown'),
  isAlive: aFunction('() => boolean'),
};

/** One registration. */
class Registered {
  withdrawn = false;
  constructor(readonly kernel: Kernel) {}
}

/** The kernels that may be killed. A killed one is gone from here until it is registered again. */
export class Kernels {
  readonly #registered = new Map<string, Registered>();
  #warned = false;

  /** See {@link RegisterKernel}. A kernel replaces the one with its id. */
  readonly register: RegisterKernel = (...args: [kernel: Kernel] | [id: string, kill: KillKernel]) => {
    const registered = new Registered(checked(args));
    const { id } = registered.kernel;
    this.#registered.set(id, registered);
    return () => {
      registered.withdrawn = true;
      if (this.#registered.get(id) === registered) this.#registered.delete(id);
    };
  };

  /** Those that could be killed now, sorted by the code units of their ids: the same on every machine. */
  candidates({ group, neverLast = false }: Candidates = {}): Kernel[] {
    const live = [...this.#registered.values()].map(({ kernel }) => kernel).filter((kernel) => this.#isAlive(kernel));
    const isLast = (kernel: Kernel) => live.every((other) => other === kernel || other.group !== kernel.group);
    return live
      .filter((kernel) => group === undefined || kernel.group === group)
      .filter((kernel) => !(neverLast && isLast(kernel)))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Whether there is one to kill. */
  hasCandidate(candidates: Candidates): boolean {
    return this.#registered.size > 0 && this.candidates(candidates).length > 0;
  }

  /**
   * Kills a candidate, and tells what came of it. It is gone from here before its kill runs, so that a kill that
   * starts the next one may register it; it comes back if it lives on.
   */
  strike(kernel: Kernel, released: AbortSignal, ended: (struck: Struck) => void): void {
    const { id } = kernel;
    const registered = this.#registered.get(id);
    if (registered?.kernel !== kernel) return;
    this.#registered.delete(id);
    const settled = (outcome: unknown) => {
      const struck = outcome === false ? 'survived' : outcome === 'paused' ? 'paused' : 'killed';
      if (struck !== 'killed' && !registered.withdrawn && !this.#registered.has(id)) {
        this.#registered.set(id, registered);
      }
      ended(struck);
    };
    const failed = (error: unknown) => {
      this.#warn(`the kill of kernel ${show(id)} failed`, 'It is not counted, and the kernel stays registered', error);
      settled(false);
    };
    try {
      const outcome = kernel.kill(released);
      if (isPromiseLike(outcome)) void Promise.resolve(outcome).then(settled, failed);
      else settled(outcome);
    } catch (error) {
      failed(error);
    }
  }

  #isAlive(kernel: Kernel): boolean {
    try {
      const alive: unknown = kernel.isAlive === undefined || kernel.isAlive();
      // A promise, above all: it would make a kernel immortal.
      if (typeof alive !== 'boolean') throw new TypeError(`it gave ${show(alive)}; allowed: true or false`);
      return alive;
    } catch (error) {
      this.#warn(`isAlive of kernel ${show(kernel.id)} failed`, 'It counts as dead', error);
      return false;
    }
  }

  #warn(what: string, so: string, error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    process.emitWarning(
      `${what}: ${error instanceof Error ? error.message : show(error)}. ${so}. Further failures are not reported`,
      { type: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_KERNEL_KILL_FAILED' },
    );
  }
}

function checked(args: [kernel: Kernel] | [id: string, kill: KillKernel]): Kernel {
  const [first, kill] = args;
  if (typeof first === 'object' && (first as unknown) !== null) {
    checkOptions('registerKernel', first, RULES);
    for (const name of ['id', 'kill'] as const) {
      if ((first[name] as unknown) === undefined) {
        throw invalidOption(TypeError, 'registerKernel', name, undefined, RULES[name].allowed);
      }
    }
    return { ...first };
  }
  if (typeof first !== 'string' || first === '') {
    throw invalidArgument(TypeError, 'registerKernel', 'id', first, aText.allowed);
  }
  if (typeof kill !== 'function') {
    throw invalidArgument(TypeError, 'registerKernel', 'kill', kill, RULES.kill.allowed);
  }
  return { id: first, kill };
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
