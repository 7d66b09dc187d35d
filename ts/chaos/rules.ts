import type { ChaosPlanRule } from '../../native/binding.js';
import { anObject, checkOptions, invalidOption, listOf, numberBetween, wholeNumberBetween } from '../options.js';
import type { OptionRules } from '../options.js';
import { checkFault, isStoreFault, planFault } from './faults/fault.js';
import type { ChaosFault } from './faults/fault.js';
import { checkMatch } from './match.js';
import type { ChaosMatch } from './match.js';

/** A fault, how often, and for which requests. */
export interface ChaosRule {
  /** Names the rule in every draw: another name has other victims. Each name once. */
  readonly name: string;
  readonly fault: ChaosFault;
  readonly match?: ChaosMatch | undefined;
  /** From 0 to 1. Default 1. */
  readonly probability?: number | undefined;
  /**
   * The name of a header by which a caller asks for this fault: the rule is only for requests that have it, with a
   * number from 0 to 1, and that lowers `probability`; it never raises it. Default: nobody needs to ask.
   */
  readonly askedBy?: string | undefined;
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
  askedBy: {
    allowed: 'the name of a header',
    type: (value) => typeof value === 'string',
    range: (value: string) => /^[\w!#$%&'*+.^`|~-]+$/.test(value),
  },
  attempts: listOf('a list of whole numbers from 1', (n) => Number.isInteger(n) && (n as number) >= 1),
  first: count,
  every: count,
  max: count,
  ramp: anObject,
  window: anObject,
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
    if (rule.match) checkMatch(`${at}.match`, rule.match);
    checkFault(`${at}.fault`, rule.fault);
    for (const name of ['match', 'askedBy'] as const) {
      if (!isStoreFault(rule.fault) || rule[name] === undefined) continue;
      const allowed = 'nothing: a call of a store is no request; see fault.calls';
      throw invalidOption(TypeError, at, name, rule[name], allowed);
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
