import type { IncomingMessage, ServerResponse } from 'node:http';

import type { ChaosFault } from './faults/fault.js';
import type { ChaosGuardStatus } from './guard/guard.js';
import type { ChaosJournal, ChaosJournalData } from './journal.js';
import type { KernelReport } from './kernels/kills.js';
import type { RegisterKernel } from './kernels/registry.js';
import type { ChaosState } from './life.js';
import type { ChaosOptions } from './options.js';
import type { ChaosReplay } from './replay.js';

/** A middleware for Express 4 and 5, Connect and plain `node:http`. */
export type ChaosMiddleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;

/** What has happened so far. A fault counts when it was done, not when it was decided. */
export interface ChaosMetrics {
  /** Requests that were decided about: not those on excluded paths, not OPTIONS, none while chaos is off. */
  readonly totalRequests: number;
  /** Requests that were made to fail: answered with an injected error, left hanging, or cut off. */
  readonly failuresInjected: number;
  /** Requests that were held. */
  readonly latenciesInjected: number;
  /** Kernels that were killed. */
  readonly kernelsKilled: number;
  /** `failuresInjected / totalRequests`; 0 while there was no request. */
  readonly failureRate: number;
  /** `latenciesInjected / totalRequests`; 0 while there was no request. */
  readonly latencyRate: number;
}

/** Where an instance stands; a document that can be shown as JSON. */
export type ChaosStatus = ChaosState & {
  /** Faults that hold something now: a request, an answer, a connection. 0 whenever it is not armed. */
  readonly activeFaults: number;
  /** The seed that it decides by. */
  readonly seed: string;
  /** Its rules, and how often each takes effect. */
  readonly rules: readonly ChaosRuleStatus[];
  /** What the guard rail has seen; `null` without one. */
  readonly guard: ChaosGuardStatus | null;
};

/** One rule, as it works among the others. */
export interface ChaosRuleStatus {
  readonly name: string;
  readonly fault: ChaosFault['kind'];
  /** What was asked for, 0 to 1. */
  readonly probability: number;
  /**
   * What comes of it, at a request that all rules are for and within every bound of theirs: less what the control share
   * takes away, and the rules before it that do the same kind of thing.
   */
  readonly effectiveRate: number;
}

/** What would happen to a request, and why. */
export interface ChaosExplanation {
  /** Why no rule is asked; `null` if they are. */
  readonly passes:
    'disarmed' | 'baseline' | 'options-request' | 'excluded-path' | 'control-share' | 'not-recorded' | null;
  /** Its request key, as it stands in the journal. */
  readonly request: string;
  /** Which attempt it would be, from 1. */
  readonly attempt: number;
  /** The names of the rules that would fire. */
  readonly fires: readonly string[];
  /** What becomes of each rule, in their order; empty where they are not asked, and while a journal is replayed. */
  readonly rules: readonly { readonly name: string; readonly verdict: ChaosVerdict }[];
}

/** What becomes of a rule at a request: it fires, or the first reason why not. */
export type ChaosVerdict =
  /** Its `match` does not hold, nobody asked for it, or there is no kernel to kill. */
  | 'not-matched'
  /** `attempts` does not name this one. */
  | 'other-attempt'
  /** The `first` are over, or it is not the turn of `every`. */
  | 'not-its-turn'
  | 'outside-window'
  /** The draw is not below its probability. */
  | 'not-drawn'
  /** A rule before it does the same kind of thing. */
  | 'taken'
  /** It has fired `max` times. */
  | 'spent'
  | 'fires';

/** Chaos of one configuration. It shares nothing with any other; its functions may be taken apart from it. */
export interface Chaos {
  /** Whether it injects anything now. */
  readonly armed: boolean;
  /** The seed that it decides by; given again, it makes the same decisions. */
  readonly seed: string;
  /** The middleware that injects. However often it is mounted, a request is decided about once. */
  readonly middleware: () => ChaosMiddleware;
  /** The counts as they stand; still there after {@link close}. */
  readonly metrics: () => ChaosMetrics;
  /** Whether it is armed, since when, until when or why not, and what it holds. */
  readonly status: () => ChaosStatus;
  /**
   * Starts to inject, whatever it was before: ramps and windows begin now, a halt is over. What was counted stays.
   *
   * @param forMs disarms itself after so many milliseconds; default `maxDurationMs`. One is needed in production
   * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_ARGUMENT`; Error with code
   *   `ERR_REPRISE_CHAOS_IN_PRODUCTION` without the override there, `ERR_REPRISE_CHAOS_CLOSED` after {@link close}
   */
  readonly arm: (forMs?: number) => void;
  /**
   * Ends to inject: every delayed request goes on at once, to its handler; the connections of hanging ones are closed;
   * the middleware passes through. Nothing happens if it is not armed. SIGTERM does it, too.
   *
   * @param reason what the status says then
   */
  readonly disarm: (reason?: string) => void;
  /**
   * Decides by other options from now on. What is left out stays as it is; `rules` take the place of the
   * probabilities and the other way round. What is held goes on as it was decided. Counts and attempts stay, and so do
   * `first`, `every` and `max` of a rule that keeps its name; a new seed has attempts of its own. A shorter
   * `maxDurationMs` ends the present run earlier, a longer one holds from the next {@link arm} on.
   *
   * @throws as {@link createChaos} does, and nothing is changed; Error with code `ERR_REPRISE_CHAOS_IN_PRODUCTION`
   *   where it is armed and no longer allowed: it disarms; `ERR_REPRISE_CHAOS_CLOSED` after {@link close}
   */
  readonly update: (change: ChaosOptions) => void;
  /** Sets the counts to zero and forgets which attempts were seen: the same requests meet the same faults again. */
  readonly reset: () => void;
  /**
   * What was decided about the last `journalSize` requests, and what of it was done. {@link reset} and a new seed begin
   * another one.
   */
  readonly journal: () => ChaosJournal;
  /**
   * Starts at zero under the seed of a journal, and does to each request what was recorded of it, whatever `match`,
   * `probability` and the bounds of a rule say: nothing to one that was not recorded. The rules must be those of the
   * journal, by name and fault. An {@link update}, a {@link reset} and another replay end it.
   *
   * @param journal what {@link journal} gave, or its text as JSON or NDJSON
   * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_ARGUMENT`; Error with code
   *   `ERR_REPRISE_CHAOS_CLOSED` after {@link close}
   */
  readonly replay: (journal: ChaosJournalData | string) => ChaosReplay;
  /** What would happen to this request if it came now, and why. Nothing is counted. Throws what `where` throws. */
  readonly explain: (req: IncomingMessage) => ChaosExplanation;
  /**
   * Names a kernel that may be killed: a {@link Kernel}, as {@link kernelOf} makes one, or an id and a kill. A killed
   * one must be registered again when it was restarted. Registering an id that is there replaces that kernel.
   *
   * @returns takes the registration back
   * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_ARGUMENT`, `ERR_REPRISE_INVALID_OPTION` or
   *   `ERR_REPRISE_UNKNOWN_OPTION`
   */
  readonly registerKernel: RegisterKernel;
  /** The kernels that could be killed now, and what else happened to them. */
  readonly kernels: () => KernelReport;
  /** {@link disarm}s it for good. */
  readonly close: () => void;
}
