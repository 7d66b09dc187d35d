import type { IncomingMessage } from 'node:http';
import type { ChaosPlanRule } from '../../native/binding.js';
import { aFunction, checkOptions, invalidOption, numberBetween, oneOf, wholeNumberBetween } from '../options.js';
import type { OptionRule, OptionRules } from '../options.js';
import { canReset } from './faults/connection.js';
import type { Ending } from './faults/connection.js';
import { pathMatcher } from './paths.js';

/** What one rule does to a request. */
export type ChaosFault =
  /** Answers instead of the handler. `statuses`: a list, or weights by status; default 500, 503, 504 and 429 evenly. */
  | { readonly kind: 'error'; readonly statuses?: readonly number[] | Readonly<Record<number, number>> | undefined }
  /** Holds the request before the handler runs. */
  | { readonly kind: 'latency'; readonly delay: ChaosDelay }
  /** Never answers; the handler does not run. Released, by closing the connection, when chaos is closed. */
  | { readonly kind: 'hang' }
  /** Closes the connection (FIN) without an answer; the handler does not run. */
  | { readonly kind: 'hangup' }
  /** Resets the connection (RST) without an answer; the handler does not run. */
  | { readonly kind: 'reset' }
  /** The handler runs, and nothing of its answer reaches the client. `ending`: default `'reset'`. */
  | { readonly kind: 'lost-response'; readonly ending?: Ending | undefined }
  /** Kills one registered kernel; the request goes on. */
  | { readonly kind: 'kernel-kill' };

/** How long a delay is, in milliseconds. What a law would put above `maxMs` (default 60 000) is that. */
export type ChaosDelay =
  /** Whole milliseconds from `minMs` to `maxMs`, each as likely; the same twice for a fixed delay. */
  | { readonly law: 'uniform'; readonly minMs: number; readonly maxMs: number }
  | { readonly law: 'normal'; readonly meanMs: number; readonly deviationMs: number; readonly maxMs?: number }
  /** `sigma`: the standard deviation of the logarithm. */
  | { readonly law: 'lognormal'; readonly medianMs: number; readonly sigma: number; readonly maxMs?: number }
  | { readonly law: 'pareto'; readonly minMs: number; readonly alpha: number; readonly maxMs?: number }
  /** Pairs of a share and the delay that it stays at or below, from share 0 to share 1, with lines between them. */
  | { readonly law: 'percentiles'; readonly points: readonly (readonly [share: number, ms: number])[] };

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

const MAX_MS = 2_147_483_647;
const ms = wholeNumberBetween(0, MAX_MS, 'milliseconds');
const positive = numberBetween(Number.MIN_VALUE, MAX_MS);
const count = wholeNumberBetween(1, 4_294_967_295);
const probability = numberBetween(0, 1);
const anObject: OptionRule = {
  allowed: 'an object',
  type: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};
const listOf = (allowed: string, each: (item: unknown) => boolean): OptionRule => ({
  allowed,
  type: (value) => Array.isArray(value),
  range: (value: unknown[]) => value.length > 0 && value.every(each),
});

const RULE: OptionRules<ChaosRule> = {
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

const isStatus = (status: unknown) => Number.isInteger(status) && (status as number) >= 200 && (status as number) < 600;
const statuses: OptionRule = {
  allowed: 'a list of statuses from 200 to 599, or whole weights by status, one above 0',
  type: (value) => typeof value === 'object' && value !== null,
  range: (value: object) =>
    Array.isArray(value)
      ? value.length > 0 && value.every(isStatus)
      : Object.keys(value).every((status) => isStatus(Number(status))) &&
        Object.values(value).every((weight) => Number.isInteger(weight) && weight >= 0 && weight <= 1_000_000) &&
        Object.values(value).some((weight) => weight > 0),
};

const kind: OptionRule = oneOf('error', 'latency', 'hang', 'hangup', 'reset', 'lost-response', 'kernel-kill');
const FAULTS: Readonly<Record<ChaosFault['kind'], Record<string, OptionRule>>> = {
  error: { kind, statuses },
  latency: { kind, delay: anObject },
  hang: { kind },
  hangup: { kind },
  reset: { kind },
  'lost-response': { kind, ending: oneOf('reset', 'hangup') },
  'kernel-kill': { kind },
};

const law: OptionRule = oneOf('uniform', 'normal', 'lognormal', 'pareto', 'percentiles');
const DELAYS: Readonly<Record<ChaosDelay['law'], Record<string, OptionRule>>> = {
  uniform: { law, minMs: ms, maxMs: ms },
  normal: { law, meanMs: ms, deviationMs: ms, maxMs: ms },
  lognormal: { law, medianMs: positive, sigma: numberBetween(0, 100), maxMs: ms },
  pareto: { law, minMs: positive, alpha: positive, maxMs: ms },
  percentiles: { law, points: listOf('a list of [share, ms]', (point) => Array.isArray(point) && point.length === 2) },
};

/** Checks one of several shapes by the field that tells them apart; every field but the last of `optional` is needed. */
function checkShape(
  owner: string,
  value: Record<string, unknown>,
  tag: string,
  shapes: Record<string, Record<string, OptionRule>>,
  optional: readonly string[],
): void {
  const known = Object.values(shapes)[0]?.[tag];
  const rules = typeof value[tag] === 'string' && Object.hasOwn(shapes, value[tag]) ? shapes[value[tag]] : undefined;
  if (rules === undefined) throw invalidOption(TypeError, owner, tag, value[tag], known?.allowed ?? '');
  checkOptions(owner, value, rules as OptionRules<Record<string, unknown>>);
  for (const [name, rule] of Object.entries(rules)) {
    if (value[name] === undefined && !optional.includes(name)) {
      throw invalidOption(TypeError, owner, name, undefined, rule.allowed);
    }
  }
}

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
    const fault = { ...rule.fault } as Record<string, unknown>;
    checkShape(`${at}.fault`, fault, 'kind', FAULTS, ['statuses', 'ending']);
    if (rule.fault.kind === 'latency') checkDelay(`${at}.fault.delay`, rule.fault.delay);
    if (!canReset() && (rule.fault.kind === 'reset' || rule.fault.kind === 'lost-response')) {
      throw invalidOption(RangeError, `${at}.fault`, 'kind', rule.fault.kind, 'a fault that this runtime can do');
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

function checkDelay(at: string, delay: ChaosDelay): void {
  const optional = delay.law === 'uniform' ? [] : ['maxMs'];
  checkShape(at, { ...delay }, 'law', DELAYS, optional);
  if (delay.law === 'uniform' && delay.minMs > delay.maxMs) {
    throw invalidOption(RangeError, at, 'minMs', delay.minMs, `at most maxMs, which is ${delay.maxMs}`);
  }
  if (delay.law !== 'percentiles') return;
  const { points } = delay;
  const rises = points.every(([share, at], n) => {
    const before = points[n - 1];
    return before === undefined ? share === 0 && at >= 0 : share > before[0] && at >= before[1];
  });
  const last = points.at(-1);
  if (!rises || last?.[0] !== 1 || last[1] > MAX_MS || points.length < 2) {
    throw invalidOption(RangeError, at, 'points', points, 'shares that rise from 0 to 1, delays that do not fall');
  }
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
  return overlap(one.attempts, other.attempts) && overlap(one.match?.methods, other.match?.methods);
}

/** What the engine is told of a rule. */
export function planRule(rule: ChaosRule): ChaosPlanRule {
  const { fault } = rule;
  return {
    name: rule.name,
    probability: rule.probability ?? 1,
    kernelKill: fault.kind === 'kernel-kill',
    ...(fault.kind === 'error' && { statuses: weights(fault.statuses ?? [500, 503, 504, 429]) }),
    ...(fault.kind === 'latency' && { latency: latency(fault.delay) }),
    ...(rule.first !== undefined && { first: rule.first }),
    ...(rule.every !== undefined && { every: rule.every }),
    ...(rule.max !== undefined && { max: rule.max }),
    ...(rule.attempts !== undefined && { attempts: [...rule.attempts] }),
    ...(rule.ramp && { ramp: { ...rule.ramp } }),
    ...(rule.window && { window: { fromMs: 0, ...rule.window } }),
  };
}

function weights(statuses: readonly number[] | Readonly<Record<number, number>>): number[] {
  if (Array.isArray(statuses)) return (statuses as number[]).flatMap((status) => [status, 1]);
  return Object.entries(statuses).flatMap(([status, weight]) => [Number(status), weight]);
}

function latency(delay: ChaosDelay): { law: string; parameters: number[]; maxMs: number } {
  const maxMs = 'maxMs' in delay ? (delay.maxMs ?? 60_000) : 60_000;
  switch (delay.law) {
    case 'uniform':
      return { law: delay.law, parameters: [delay.minMs], maxMs };
    case 'normal':
      return { law: delay.law, parameters: [delay.meanMs, delay.deviationMs], maxMs };
    case 'lognormal':
      return { law: delay.law, parameters: [delay.medianMs, delay.sigma], maxMs };
    case 'pareto':
      return { law: delay.law, parameters: [delay.minMs, delay.alpha], maxMs };
    case 'percentiles':
      return { law: delay.law, parameters: delay.points.flat(), maxMs };
  }
}

/** Which rules a request is one for: a bit for each. Rules that kill are for none while there is no kernel. */
export function matcherOf(
  rules: readonly ChaosRule[],
): (req: IncomingMessage, path: string, hasKernels: boolean) => number {
  const tests = rules.map(({ fault, match }) => {
    const onPath = match?.paths && pathMatcher(match.paths);
    const { methods, where } = match ?? {};
    const kills = fault.kind === 'kernel-kill';
    return (req: IncomingMessage, path: string, hasKernels: boolean) =>
      (!kills || hasKernels) &&
      (methods?.includes(req.method ?? '') ?? true) &&
      (onPath?.(path) ?? true) &&
      (where?.(req) ?? true);
  });
  return (req, path, hasKernels) => {
    let matched = 0;
    for (const [index, test] of tests.entries()) if (test(req, path, hasKernels)) matched |= 1 << index;
    return matched >>> 0;
  };
}
