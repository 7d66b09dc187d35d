import type { IncomingMessage } from 'node:http';
import type { ChaosPlanRule } from '../../native/binding.js';
import {
  aFunction,
  anObject,
  checkOptions,
  invalidOption,
  listOf,
  numberBetween,
  wholeNumberBetween,
} from '../options.js';
import type { OptionRules } from '../options.js';
import { checkFault, isStoreFault, planFault } from './faults/fault.js';
import type { ChaosFault } from './faults/fault.js';
import type { KernelKills } from './kernels/kills.js';
import { pathMatcher } from './paths.js';

/** Which requests a rule is for; all conditions that are given must hold. */
export interface ChaosMatch {
  /** Paths, each with everything below it, as in `excludedPaths`. */
  readonly paths?: readonly string[] | undefined;
  /** Methods, in upper case. */
  readonly methods?: readonly string[] | undefined;
  /** Any other condition. What it throws goes to `next`. */
  readonly where?: ((req: IncomingMessage) => boolean) | undefined;
}

/** A fault, how often, and for which requests. */
export interface ChaosRule {
  /** Names the rule in every draw: another name has other victims. Each name once. */
  readonly name: string;
  readonly fault: ChaosFault;
  readonly match?: ChaosMatch | undefined;
  /** From 0 to 1. Default 1. */
  readonly probability?: number | undefined;
  /** Only these attempts of a request key, the first being 1. */
  readonly attempts?: readonly number[] | undefined;
  /** Only the first so many requests that match, in the order in which they come. */
  readonly first?: number | undefined;
  /** Only each so-manieth request that matches, in the order in which they come. */
  readonly every?: number | undefined;
  /** At most so many times. */
  readonly max?: number | undefined;
  /** The probability goes in a straight line from `from` to `probability`, over so long since chaos was armed. */
  readonly ramp?: { readonly from: number; readonly overMs: number } | undefined;
  /** Only from `fromMs` after arming for `forMs`, again every `everyMs` if given. */
  readonly window?: { readonly fromMs?: number; readonly forMs: number; readonly everyMs?: number } | undefined;
}

const ms = wholeNumberBetween(0, 2_147_483_647, 'milliseconds');
const count = wholeNumberBetween(1, 4_294_967_295);
const probability = numberBetween(0, 1);

/** What each field of a rule may be. */
export const RULE: OptionRules<ChaosRule> = {
  name: {
    allowed: 'a text that is not empty',
    type: (value) => typeof value === 'string',
    range: (value: string) => value !== '',
  },
  fault: anObject,
  match: anObject,
  probability,
  attempts: listOf('a list of whole numbers from 1', (n) => Number.isInteger(n) && (n as number) >= 1),
  first: count,
  every: count,
  max: count,
  ramp: anObject,
  window: anObject,
};

const MATCH: OptionRules<ChaosMatch> = {
  paths: listOf("a list of paths that start with '/'", (path) => typeof path === 'string' && path.startsWith('/')),
  methods: listOf('a list of methods in upper case', (name) => typeof name === 'string' && /^[A-Z-]+$/.test(name)),
  where: aFunction('(req) => boolean'),
};

/** Refuses rules that cannot be right. `owner` is the public function that was called. */
export function checkRules(owner: string, rules: readonly ChaosRule[], exclusive: boolean): void {
  const names = new Set<string>();
  rules.forEach((rule, index) => {
    const at = `${owner}: rules[${index}]`;
    checkOptions(at, rule, RULE);
    for (const name of ['name', 'fault'] as const) {
      if ((rule[name] as unknown) === undefined) {
        throw invalidOption(TypeError, at, name, undefined, RULE[name].allowed);
      }
    }
    if (names.has(rule.name)) throw invalidOption(RangeError, at, 'name', rule.name, 'a name that no other rule has');
    names.add(rule.name);
    if (rule.match) checkOptions(`${at}.match`, rule.match, MATCH);
    checkFault(`${at}.fault`, rule.fault);
    if (isStoreFault(rule.fault) && rule.match) {
      throw invalidOption(
        TypeError,
        at,
        'match',
        rule.match,
        'nothing: a call of a store is no request; see fault.calls',
      );
    }
    if (rule.ramp) checkOptions(`${at}.ramp`, rule.ramp, { from: probability, overMs: ms });
    if (rule.window) {
      checkOptions(`${at}.window`, rule.window, { fromMs: ms, forMs: count, everyMs: count });
      if ((rule.window.everyMs ?? Infinity) < rule.window.forMs) {
        throw invalidOption(RangeError, `${at}.window`, 'everyMs', rule.window.everyMs, 'at least forMs');
      }
    }
  });
  if (exclusive) checkSums(owner, rules);
}

/** Where rules exclude each other, those that can meet in one request must leave each its full share of the draws. */
function checkSums(owner: string, rules: readonly ChaosRule[]): void {
  rules.forEach((rule, index) => {
    const met = rules.slice(0, index + 1).filter((other) => other === rule || canMeet(rule, other));
    const sum = met.reduce((total, other) => total + Math.max(other.probability ?? 1, other.ramp?.from ?? 0), 0);
    if (sum <= 1 + 1e-12) return;
    const names = met.map(({ name }) => `"${name}"`).join(', ');
    throw invalidOption(
      RangeError,
      owner,
      'rules',
      rules,
      `rules that can meet in one request and whose probabilities add up to at most 1; those of ${names} add up to ` +
        `${sum}. With selection: 'independent' each is drawn by itself`,
    );
  });
}

function canMeet(one: ChaosRule, other: ChaosRule): boolean {
  const overlap = <T>(a: readonly T[] | undefined, b: readonly T[] | undefined) =>
    a === undefined || b === undefined || a.some((item) => b.includes(item));
  if (!overlap(one.attempts, other.attempts)) return false;
  if (isStoreFault(one.fault) || isStoreFault(other.fault)) {
    return isStoreFault(one.fault) && isStoreFault(other.fault) && overlap(one.fault.calls, other.fault.calls);
  }
  return overlap(one.match?.methods, other.match?.methods);
}

/** What the engine is told of a rule. */
export function planRule(rule: ChaosRule): ChaosPlanRule {
  return {
    name: rule.name,
    probability: rule.probability ?? 1,
    ...planFault(rule.fault),
    ...(rule.first !== undefined && { first: rule.first }),
    ...(rule.every !== undefined && { every: rule.every }),
    ...(rule.max !== undefined && { max: rule.max }),
    ...(rule.attempts !== undefined && { attempts: [...rule.attempts] }),
    ...(rule.ramp && { ramp: { ...rule.ramp } }),
    ...(rule.window && { window: { fromMs: 0, ...rule.window } }),
  };
}

/** Which rules a request is one for: a bit for each. Rules that kill are for none while there is no such kernel. */
export function matcherOf(
  rules: readonly ChaosRule[],
): (req: IncomingMessage, path: string, kernels: Pick<KernelKills, 'hasCandidate'>) => number {
  const tests = rules.map(({ fault, match }) => {
    const onPath = match?.paths && pathMatcher(match.paths);
    const { methods, where } = match ?? {};
    return (req: IncomingMessage, path: string, kernels: Pick<KernelKills, 'hasCandidate'>) =>
      !isStoreFault(fault) &&
      (fault.kind !== 'kernel-kill' || kernels.hasCandidate(fault.group)) &&
      (methods?.includes(req.method ?? '') ?? true) &&
      (onPath?.(path) ?? true) &&
      (where?.(req) ?? true);
  });
  return (req, path, kernels) => {
    let matched = 0;
    for (const [index, test] of tests.entries()) if (test(req, path, kernels)) matched |= 1 << index;
    return matched >>> 0;
  };
}
