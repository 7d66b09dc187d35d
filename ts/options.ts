import { show, withCode } from './errors.js';

/**
 * What one option accepts. `type` failing is a `TypeError`, `range` failing a `RangeError`, as in Node itself;
 * `allowed` completes the sentence "allowed: …".
 */
export interface OptionRule {
  readonly allowed: string;
  readonly type: (value: unknown) => boolean;
  readonly range?: (value: never) => boolean;
}

/** One rule per known option: a name that is not here is unknown. */
export type OptionRules<T> = { readonly [Name in keyof Required<T>]: OptionRule };

/** A finite number between `min` and `max`, both included. */
export function numberBetween(min: number, max: number, unit = ''): OptionRule {
  return {
    allowed: `a number${unit && ` of ${unit}`} from ${min} to ${max}`,
    type: (value) => typeof value === 'number',
    range: (value: number) => value >= min && value <= max,
  };
}

/** A whole number between `min` and `max`, both included. */
export function wholeNumberBetween(min: number, max: number, unit = ''): OptionRule {
  return {
    allowed: `a whole number${unit && ` of ${unit}`} from ${min} to ${max}`,
    type: (value) => typeof value === 'number',
    range: (value: number) => Number.isInteger(value) && value >= min && value <= max,
  };
}

/** One of some fixed strings. */
export function oneOf(...values: readonly string[]): OptionRule {
  return {
    allowed: values.map((value) => `'${value}'`).join(' | '),
    type: (value) => typeof value === 'string',
    range: (value: string) => values.includes(value),
  };
}

/** true or false, nothing that only looks like it. */
export const aBoolean: OptionRule = { allowed: 'true or false', type: (value) => typeof value === 'boolean' };

/** A function; `signature` tells the reader which. */
export function aFunction(signature: string): OptionRule {
  return { allowed: `a function ${signature}`, type: (value) => typeof value === 'function' };
}

/** An object that is no list. */
export const anObject: OptionRule = {
  allowed: 'an object',
  type: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};

/** A list that is not empty, of things that `each` accepts. */
export function listOf(allowed: string, each: (item: unknown) => boolean): OptionRule {
  return {
    allowed,
    type: (value) => Array.isArray(value),
    range: (value: unknown[]) => value.length > 0 && value.every(each),
  };
}

/** Accepted by either rule. */
export function either(first: OptionRule, second: OptionRule): OptionRule {
  const accepts = (rule: OptionRule, value: unknown) =>
    rule.type(value) && (rule.range === undefined || rule.range(value as never));
  return {
    allowed: `${first.allowed}, or ${second.allowed}`,
    type: (value) => first.type(value) || second.type(value),
    range: (value: unknown) => accepts(first, value) || accepts(second, value),
  };
}

/**
 * Refuses what cannot be right, at start: an unknown name (with the nearest known one), a value of the wrong type or
 * out of range. `undefined` counts as absent. `owner` is the public function that the caller used.
 *
 * @returns the options as they were checked: those of an object of a class, too, which may inherit them as getters
 * @throws TypeError with code `ERR_REPRISE_UNKNOWN_OPTION`, TypeError or RangeError with `ERR_REPRISE_INVALID_OPTION`
 */
export function checkOptions<T extends object>(owner: string, options: T, rules: OptionRules<T>): T;
export function checkOptions<T extends object>(
  owner: string,
  options: T | undefined,
  rules: OptionRules<T>,
): T | undefined;
export function checkOptions<T extends object>(
  owner: string,
  options: T | undefined,
  rules: OptionRules<T>,
): T | undefined {
  if (options === undefined) return undefined;
  if (typeof options !== 'object' || (options as unknown) === null || Array.isArray(options)) {
    throw withCode(
      new TypeError(`${owner}: options are ${show(options)}; allowed: an object`),
      'ERR_REPRISE_INVALID_OPTION',
    );
  }
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(rules, name)) throw unknownOption(owner, name, Object.keys(rules));
  }
  // Read once: a getter may say something else the next time. Whatever else a class has is its own affair.
  const checked: Partial<T> = {};
  for (const name of Object.keys(rules) as (keyof T & string)[]) {
    if (!(name in options)) continue;
    const value = options[name];
    checked[name] = value;
    if (value !== undefined) checkOption(owner, name, value, rules[name]);
  }
  return checked as T;
}

/** Checks one value against one rule; see {@link checkOptions}. */
export function checkOption(owner: string, name: string, value: unknown, rule: OptionRule): void {
  if (!rule.type(value)) throw invalidOption(TypeError, owner, name, value, rule.allowed);
  if (rule.range !== undefined && !rule.range(value as never)) {
    throw invalidOption(RangeError, owner, name, value, rule.allowed);
  }
}

/** Checks one of several shapes by the field that tells them apart; every field that is not `optional` is needed. */
export function checkShape(
  owner: string,
  shape: object,
  tag: string,
  shapes: Record<string, Record<string, OptionRule>>,
  optional: readonly string[],
): void {
  const value = shape as Record<string, unknown>;
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

/** Checks one value against one rule, as an argument of a function, which is no option. */
export function checkArgument(owner: string, name: string, value: unknown, rule: OptionRule): void {
  if (!rule.type(value)) throw invalidArgument(TypeError, owner, name, value, rule.allowed);
  if (rule.range !== undefined && !rule.range(value as never)) {
    throw invalidArgument(RangeError, owner, name, value, rule.allowed);
  }
}

/** Whether a value is an object with all these methods, its own or inherited. */
export function hasMethods(value: unknown, ...names: readonly string[]): boolean {
  const object = value as Partial<Record<string, unknown>> | null;
  return typeof value === 'object' && object !== null && names.every((name) => typeof object[name] === 'function');
}

/** The one sentence for a bad option: its name, its value, what is allowed. */
export function invalidOption(
  ErrorClass: new (message: string) => Error,
  owner: string,
  name: string,
  value: unknown,
  allowed: string,
): Error {
  return withCode(
    new ErrorClass(`${owner}: option "${name}" is ${show(value)}; allowed: ${allowed}`),
    'ERR_REPRISE_INVALID_OPTION',
  );
}

/** The same sentence for an argument of a function, which is no option: its name, its value, what is allowed. */
export function invalidArgument(
  ErrorClass: new (message: string) => Error,
  owner: string,
  name: string,
  value: unknown,
  allowed: string,
): Error {
  return withCode(
    new ErrorClass(`${owner}: argument "${name}" is ${show(value)}; allowed: ${allowed}`),
    'ERR_REPRISE_INVALID_ARGUMENT',
  );
}

function unknownOption(owner: string, name: string, known: readonly string[]): Error {
  const nearest = known
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0];
  const hint =
    nearest !== undefined && nearest.distance <= Math.max(2, name.length / 3)
      ? `did you mean "${nearest.candidate}"?`
      : `known: ${known.join(', ')}`;
  return withCode(new TypeError(`${owner}: unknown option "${name}"; ${hint}`), 'ERR_REPRISE_UNKNOWN_OPTION');
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
