import { native } from '../native.js';
import { invalidArgument } from '../options.js';
import type { ChaosJournalData } from './journal.js';
import type { ChaosRule } from './rules.js';

type Engine = InstanceType<typeof native.ChaosEngine>;

/** How a replay went, or goes. */
export interface ChaosReplayReport {
  /** Requests that were recorded. */
  readonly recorded: number;
  /** Those of them that came again; each met the faults that were recorded. */
  readonly replayed: number;
  /** Those of them that have not come. */
  readonly missing: number;
  /** Requests that came and were not recorded; nothing was injected into them. */
  readonly unexpected: number;
}

/** A journal that is being replayed. */
export interface ChaosReplay {
  /** How it goes; after the end, how it went. */
  readonly report: () => ChaosReplayReport;
  /** Decides by the rules again, and says how the replay went. One that diverged is warned about. */
  readonly end: () => ChaosReplayReport;
}

/** Forces a journal upon the requests that come, and tells where they are not those that it was recorded of. */
export class RunningReplay implements ChaosReplay {
  readonly #engine: Engine;
  #last: ChaosReplayReport | undefined;
  #warned = false;

  /** Begins it: the engine starts at zero under the seed of the journal. */
  constructor(owner: string, engine: Engine, rules: readonly ChaosRule[], { seed, entries }: ChaosJournalData) {
    const names = new Set(rules.map(({ name }) => name));
    const unknown = entries.flatMap(({ faults }) => faults).find(({ rule }) => !names.has(rule));
    if (unknown !== undefined) {
      const allowed = `one of the rules that there are: ${[...names].join(', ')}`;
      throw invalidArgument(RangeError, owner, 'journal.entries[].faults[].rule', unknown.rule, allowed);
    }
    try {
      engine.replay(
        seed,
        entries.map((entry) => ({ ...entry, faults: entry.faults.map((fault) => ({ ...fault })) })),
      );
    } catch {
      const allowed = 'faults of the kind that their rules do, and each attempt of a request once';
      throw invalidArgument(RangeError, owner, 'journal', entries, allowed);
    }
    this.#engine = engine;
  }

  readonly report = (): ChaosReplayReport => {
    if (this.#last) return this.#last;
    const { recorded, replayed, unexpected } = this.#engine.replayReport() ?? NONE;
    return { recorded, replayed, unexpected, missing: recorded - replayed };
  };

  readonly end = (): ChaosReplayReport => {
    if (this.#last) return this.#last;
    this.#last = this.report();
    this.#engine.endReplay();
    const { recorded, missing, unexpected } = this.#last;
    if (missing + unexpected > 0) {
      this.#warn(
        `${missing} of ${recorded} recorded requests did not come, and ${unexpected} came that were not recorded`,
      );
    }
    return this.#last;
  };

  get isOver(): boolean {
    return this.#last !== undefined;
  }

  /** Looks whether the request that was just decided about was one of the journal. */
  check(method: string, path: string): void {
    if (this.#warned || this.report().unexpected === 0) return;
    this.#warned = true;
    this.#warn(`${method} ${path} is the first request that was not recorded; nothing is injected into it`);
  }

  #warn(what: string): void {
    process.emitWarning(`the replay of a chaos journal diverged: ${what}`, {
      type: 'RepriseWarning',
      code: 'WRN_REPRISE_CHAOS_REPLAY_DIVERGED',
    });
  }
}

const NONE = { recorded: 0, replayed: 0, unexpected: 0 };
