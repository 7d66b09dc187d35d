import type { IncomingMessage } from 'node:http';

import {
  aBoolean,
  aFunction,
  anObject,
  checkOptions,
  either,
  invalidArgument,
  invalidOption,
  numberBetween,
  oneOf,
  wholeNumberBetween,
} from '../options.js';
import type { OptionRule, OptionRules } from '../options.js';
import { checkGuard } from './guard/guard.js';
import type { ChaosGuardOptions } from './guard/guard.js';
import { checkKernelKills } from './kernels/kills.js';
import type { KernelKillOptions } from './kernels/kills.js';
import { checkRules } from './rules.js';
import type { ChaosRule } from './rules.js';

/** What {@link initChaos} and {@link createChaos} take. Everything is optional. */
export interface ChaosOptions {
  /** Whether anything is injected at all. Default true; an off always wins, in code or in `CHAOS_ENABLED`. */
  readonly enabled?: boolean | undefined;
  /** Share of requests that are answered with 500, 503, 504 or 429 instead of running the handler, 0 to 1. Default 0. */
  readonly failureProbability?: number | undefined;
  /** Share of requests that are held before the handler runs, 0 to 1. Default 0. */
  readonly latencyProbability?: number | undefined;
  /** How long they are held: whole milliseconds, uniform, both ends included. Default [100, 5000]. */
  readonly latencyRange?: readonly [min: number, max: number] | undefined;
  /** Share of requests at which one registered kernel is killed, 0 to 1. Default 0. */
  readonly kernelKillProbability?: number | undefined;
  /** Kernel kills by time and at checkpoints, and what bounds every kill. Default: no such kills, no bounds. */
  readonly kernelKills?: KernelKillOptions | undefined;
  /**
   * Paths that are left alone, each with everything below it: `/api/health` also covers `/api/health/live`, never
   * `/api/healthz`. A pattern covers the paths that it finds something in. Default ['/api/health', '/api/metrics']; a
   * list given replaces the default.
   */
  readonly excludedPaths?: readonly (string | RegExp)[] | undefined;
  /**
   * What a request is known by: requests of one key are attempts of one thing, and each attempt is decided by itself.
   * `undefined` for the default: the `Idempotency-Key` header; without one, the method and the path, so that the nth
   * request for them is the nth attempt. What it throws goes to `next`.
   */
  readonly requestKey?: ((req: IncomingMessage) => string | undefined) | undefined;
  /** The same seed makes the same decisions; 42 and '42' are one seed. Default: a random one, written to stderr. */
  readonly seed?: number | string | undefined;
  /**
   * Up to 32 rules instead of the probabilities above, which are the rules `failure`, `latency` and `kernel-kill`.
   * They are not given together.
   */
  readonly rules?: readonly ChaosRule[] | undefined;
  /**
   * How the rules that match one request share it. `'exclusive'`: one draw picks at most one; each has exactly its
   * probability, and those that can meet may add up to 1. `'independent'`: each is drawn by itself. Default
   * `'exclusive'` for `rules`, `'independent'` for the probabilities above.
   */
  readonly selection?: 'exclusive' | 'independent' | undefined;
  /**
   * The longest time that it may be armed at a stretch, in milliseconds, up to 2,147,483,647 (24.8 days): then it
   * disarms itself. Default: no end; in production it is needed, and 15 minutes for {@link initChaos}.
   */
  readonly maxDurationMs?: number | undefined;
  /** How many requests the journal keeps, 0 to 32,768. Default 1,000. */
  readonly journalSize?: number | undefined;
  /** Halts it when requests suffer that no fault was injected into. Default: no guard rail. */
  readonly guard?: ChaosGuardOptions | undefined;
}

/** The options with their defaults, but for the seed: that is chosen when chaos is armed. */
export interface ChaosSettings {
  readonly enabled: boolean;
  readonly exclusive: boolean;
  readonly rules: readonly ChaosRule[];
  readonly kernelKills: KernelKillOptions;
  readonly excludedPaths: readonly (string | RegExp)[];
  readonly requestKey: ((req: IncomingMessage) => string | undefined) | undefined;
  readonly journalSize: number;
  readonly guard: ChaosGuardOptions | undefined;
  readonly seed: string | undefined;
  readonly maxDurationMs: number | undefined;
}

/** The longest delay of `setTimeout`, in milliseconds; it takes a longer one for 1 ms. */
export const MAX_LATENCY_MS = 2_147_483_647;

/** How long chaos may be armed. */
export const duration: OptionRule = wholeNumberBetween(1, MAX_LATENCY_MS, 'milliseconds');

export const probability: OptionRule = numberBetween(0, 1);

const latencyRange: OptionRule = {
  allowed: `[min, max], two whole numbers of milliseconds from 0 to ${MAX_LATENCY_MS}, min not above max`,
  type: (value) => Array.isArray(value) && value.length === 2 && value.every((end) => typeof end === 'number'),
  range: ([min, max]: [number, number]) => isLatencyRange(min, max),
};

/** Whether both are whole milliseconds that a timer can hold, in this order. */
export function isLatencyRange(min: number, max: number): boolean {
  return Number.isInteger(min) && Number.isInteger(max) && min >= 0 && min <= max && max <= MAX_LATENCY_MS;
}

const excludedPaths: OptionRule = {
  allowed:
    "an array of paths that start with '/', without query, fragment or '*' (each covers what is below it), or patterns",
  type: (value) =>
    Array.isArray(value) && value.every((path) => typeof path === 'string' || (path as unknown) instanceof RegExp),
  range: (paths: unknown[]) => paths.every((path) => path instanceof RegExp || /^\/[^?#*]*$/.test(path as string)),
};

const seedText: OptionRule = {
  allowed: 'a text of 1 to 256 characters',
  type: (value) => typeof value === 'string',
  range: (seed: string) => seed.length >= 1 && seed.length <= 256,
};

export const CHAOS_RULES: OptionRules<ChaosOptions> = {
  enabled: aBoolean,
  failureProbability: probability,
  latencyProbability: probability,
  latencyRange,
  kernelKillProbability: probability,
  kernelKills: anObject,
  excludedPaths,
  seed: either(wholeNumberBetween(0, Number.MAX_SAFE_INTEGER), seedText),
  rules: {
    allowed: 'an array of up to 32 rules',
    type: (value) => Array.isArray(value),
    range: (value: unknown[]) => value.length <= 32,
  },
  selection: oneOf('exclusive', 'independent'),
  maxDurationMs: duration,
  requestKey: aFunction('(req) => string | undefined'),
  // Half of the keys that an engine remembers: so no attempt is in a journal twice.
  journalSize: wholeNumberBetween(0, 32_768),
  guard: anObject,
};

/** The options that the specification names, each a rule of its own. */
const FLAT = ['failureProbability', 'latencyProbability', 'latencyRange', 'kernelKillProbability'] as const;

const isFlat = (name: string) => (FLAT as readonly string[]).includes(name);

/** Refuses options that cannot be right; see {@link checkOptions}. `owner` is the public function that was called. */
export function checkChaosOptions(owner: string, given: ChaosOptions | undefined): ChaosOptions {
  const options = checkOptions(owner, given, CHAOS_RULES) ?? {};
  const flat = FLAT.find((name) => options[name] !== undefined);
  if (options.rules !== undefined && flat !== undefined) {
    throw invalidOption(TypeError, owner, flat, options[flat], 'nothing beside "rules"; write it as a rule');
  }
  if (options.guard) checkGuard(`${owner}: guard`, options.guard);
  const settings = withDefaults(options);
  checkRules(owner, settings.rules, settings.exclusive);
  checkKernelKills(owner, settings.kernelKills);
  return options;
}

/**
 * The options with a change put over them; what it leaves out, or gives as `undefined`, stays. `rules` take the place
 * of the probabilities, and a probability that of the rules.
 */
export function withChange(owner: string, options: ChaosOptions, wanted: ChaosOptions): ChaosOptions {
  if ((wanted as unknown) === undefined) throw invalidArgument(TypeError, owner, 'change', wanted, 'an object');
  const change = checkOptions(owner, wanted, CHAOS_RULES);
  if (change.enabled !== undefined) {
    throw invalidOption(TypeError, owner, 'enabled', change.enabled, 'nothing here; call arm() or disarm()');
  }
  const given = Object.entries(change).filter(([, value]) => value !== undefined);
  const replaces = (name: string) =>
    change.rules === undefined ? name === 'rules' && given.some(([other]) => isFlat(other)) : isFlat(name);
  const kept = Object.entries(options).filter(([name]) => !replaces(name));
  const merged = Object.fromEntries([...kept, ...given]) as ChaosOptions;
  checkChaosOptions(owner, merged);
  return merged;
}

/** Fills in the defaults. */
export function withDefaults(options: ChaosOptions): ChaosSettings {
  return {
    enabled: options.enabled ?? true,
    exclusive: (options.selection ?? (options.rules ? 'exclusive' : 'independent')) === 'exclusive',
    rules: options.rules ?? flatRules(options),
    kernelKills: options.kernelKills ?? NO_KERNEL_KILLS,
    excludedPaths: options.excludedPaths ?? ['/api/health', '/api/metrics'],
    requestKey: options.requestKey,
    journalSize: options.journalSize ?? 1000,
    guard: options.guard,
    seed: options.seed === undefined ? undefined : String(options.seed),
    maxDurationMs: options.maxDurationMs,
  };
}

/** One and the same, since an update compares. */
const NO_KERNEL_KILLS: KernelKillOptions = {};

function flatRules(options: ChaosOptions): ChaosRule[] {
  const [minMs, maxMs] = options.latencyRange ?? [100, 5000];
  return [
    { name: 'failure', fault: { kind: 'error' }, probability: options.failureProbability ?? 0 },
    {
      name: 'latency',
      fault: { kind: 'latency', delay: { law: 'uniform', minMs, maxMs } },
      probability: options.latencyProbability ?? 0,
    },
    { name: 'kernel-kill', fault: { kind: 'kernel-kill' }, probability: options.kernelKillProbability ?? 0 },
  ];
}
