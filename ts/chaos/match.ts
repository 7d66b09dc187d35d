import type { IncomingMessage } from 'node:http';

import { aFunction, checkOptions, listOf } from '../options.js';
import type { OptionRules } from '../options.js';
import { isStoreFault } from './faults/fault.js';
import type { KernelKills } from './kernels/kills.js';
import { pathMatcher, stateless } from './paths.js';
import type { ChaosRule } from './rules.js';

/** Which requests a rule is for; all conditions that are given must hold. */
export interface ChaosMatch {
  /** Paths, each with everything below it, or patterns for the whole path, as in `excludedPaths`. */
  readonly paths?: readonly (string | RegExp)[] | undefined;
  /** Methods, in upper case. */
  readonly methods?: readonly string[] | undefined;
  /**
   * Headers that must be there, with this value or one that this pattern finds something in. Values of one name are
   * joined by `', '`.
   */
  readonly headers?: Readonly<Record<string, string | RegExp>> | undefined;
  /** Any other condition. What it throws goes to `next`. */
  readonly where?: ((req: IncomingMessage) => boolean) | undefined;
}

const MATCH: OptionRules<ChaosMatch> = {
  paths: listOf(
    "a list of patterns, or paths that start with '/'",
    (path) => path instanceof RegExp || (typeof path === 'string' && path.startsWith('/')),
  ),
  methods: listOf('a list of methods in upper case', (name) => typeof name === 'string' && /^[A-Z-]+$/.test(name)),
  headers: {
    allowed: 'an object of texts and patterns by the name of a header',
    type: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    range: (value: object) =>
      Object.entries(value).every(
        ([name, expected]) => name !== '' && (typeof expected === 'string' || expected instanceof RegExp),
      ),
  },
  where: aFunction('(req) => boolean'),
};

/** Refuses conditions that cannot be right. `at` is where they stand. */
export function checkMatch(at: string, match: ChaosMatch): void {
  checkOptions(at, match, MATCH);
}

/** Which kernels there are to kill. */
type Candidates = Pick<KernelKills, 'hasCandidate'>;

/** The conditions of a set of rules, made ready. */
export interface RuleMatcher {
  /** Which rules a request is one for: a bit for each. Those that kill are for none while there is no such kernel. */
  readonly matchOf: (req: IncomingMessage, path: string, kernels: Candidates) => number;
  /** For each rule the probability that the caller asks for; `undefined` where no rule lets it ask. */
  readonly askedBy: (req: IncomingMessage) => number[] | undefined;
}

/** Makes the conditions of these rules ready. */
export function matcherOf(rules: readonly ChaosRule[]): RuleMatcher {
  // A rule without conditions costs a request nothing.
  let always = 0;
  const tested: { readonly bit: number; readonly conditions: readonly Condition[] }[] = [];
  rules.forEach((rule, index) => {
    if (isStoreFault(rule.fault)) return;
    const conditions = conditionsOf(rule);
    if (conditions.length === 0) always |= 1 << index;
    else tested.push({ bit: 1 << index, conditions });
  });
  const mayAsk = rules.some(({ askedBy }) => askedBy !== undefined);
  return {
    matchOf: (req, path, kernels) => {
      let matched = always;
      for (const { bit, conditions } of tested) {
        if (holds(conditions, req, path, kernels)) matched |= bit;
      }
      return matched >>> 0;
    },
    askedBy: (req) =>
      mayAsk ? rules.map(({ askedBy }) => (askedBy === undefined ? 1 : askedFor(req, askedBy))) : undefined,
  };
}

type Condition = (req: IncomingMessage, path: string, kernels: Candidates) => boolean;

/** In the order in which they are asked: what is the user's own comes last. */
function conditionsOf({ fault, match, askedBy }: ChaosRule): Condition[] {
  const { paths, methods, headers = {}, where } = match ?? {};
  const conditions: Condition[] = [];
  if (fault.kind === 'kernel-kill') conditions.push((_req, _path, kernels) => kernels.hasCandidate(fault.group));
  if (paths) {
    const onPath = pathMatcher(paths);
    conditions.push((_req, path) => onPath(path));
  }
  if (methods) conditions.push((req) => methods.includes(req.method ?? ''));
  if (askedBy !== undefined) conditions.push((req) => askedFor(req, askedBy) > 0);
  conditions.push(...Object.entries(headers).map(headerTest));
  if (where) conditions.push((req) => where(req));
  return conditions;
}

function holds(conditions: readonly Condition[], req: IncomingMessage, path: string, kernels: Candidates): boolean {
  for (const condition of conditions) if (!condition(req, path, kernels)) return false;
  return true;
}

function headerTest([name, expected]: [string, string | RegExp]): (req: IncomingMessage) => boolean {
  const pattern = typeof expected === 'string' ? undefined : stateless(expected);
  return (req) => {
    const value = headerOf(req, name);
    return value !== undefined && (pattern ? pattern.test(value) : value === expected);
  };
}

/** What a caller asks for: a number from 0 to 1. Anything else asks for nothing. */
function askedFor(req: IncomingMessage, name: string): number {
  const text = headerOf(req, name);
  const asked = text !== undefined && /^(0|1|0?\.\d+|[01]\.0*)$/.test(text) ? Number(text) : 0;
  return asked <= 1 ? asked : 0;
}

function headerOf(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name.toLowerCase()];
  return Array.isArray(value) ? value.join(', ') : value;
}
