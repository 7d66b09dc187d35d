import type { ChaosPlanRule } from '../../../native/binding.js';
import {
  anObject,
  checkOptions,
  checkShape,
  either,
  invalidOption,
  listOf,
  numberBetween,
  oneOf,
  wholeNumberBetween,
} from '../../options.js';
import type { OptionRule, OptionRules } from '../../options.js';
import { checkDelay, planDelay } from '../delay.js';
import type { ChaosDelay } from '../delay.js';
import { kernelName } from '../kernels/registry.js';
import type { Ending } from './connection.js';
import { errorHeaders } from './error.js';
import { STORE_CALLS } from './store.js';
import type { StoreCall } from './store.js';
import type { Cut } from './wire/cut.js';
import type { Malformation } from './wire/malformed.js';
import type { EventCut } from './wire/sse.js';

/**
 * What one rule does to a request, to its answer, or to the bytes of its answer. `docs/chaos.md` has them all in one
 * table: what the client sees, whether the handler runs, and what counts.
 */
export type ChaosFault =
  /** Answers with an error, instead of the handler or in place of its answer. */
  | {
      readonly kind: 'error';
      /** A list, or weights by status. Default: 500, 503, 504 and 429 evenly. */
      readonly statuses?: readonly number[] | Readonly<Record<number, number>> | undefined;
      /** `'after'`: the handler runs, and what it answers is withheld. Default `'before'`: it does not run. */
      readonly when?: 'before' | 'after' | undefined;
      /** A text, or what is sent as JSON. Default: a JSON object that says what this is. */
      readonly body?: string | object | undefined;
      /** Besides the default ones, and instead of those of the same name. */
      readonly headers?: Readonly<Record<string, string>> | undefined;
      /** `Retry-After`: whole seconds, or a date so many seconds from then. Default: 1 on a 429 or 503, else none. */
      readonly retryAfter?: number | { readonly dateInSeconds: number } | undefined;
    }
  /** Holds the request before the handler runs, or `'after'`: its answer, from its first byte on. Default `'before'`. */
  | { readonly kind: 'latency'; readonly delay: ChaosDelay; readonly when?: 'before' | 'after' | undefined }
  /** Never answers; the handler does not run. Released, by closing the connection, when chaos is turned off. */
  | { readonly kind: 'hang' }
  /** Closes the connection (FIN) without an answer; the handler does not run. */
  | { readonly kind: 'hangup' }
  /** Resets the connection (RST) without an answer; the handler does not run. */
  | { readonly kind: 'reset' }
  /** The handler runs, and nothing of its answer reaches the client. `ending`: default `'reset'`. */
  | { readonly kind: 'lost-response'; readonly ending?: Ending | undefined }
  /** The answer breaks off in its body. `at`: default, a share drawn by the seed. `ending`: default `'hangup'`. */
  | { readonly kind: 'truncate'; readonly at?: Cut | undefined; readonly ending?: Ending | undefined }
  /** The answer stops in its body, and the connection stays open. `at`: default, a share drawn by the seed. */
  | { readonly kind: 'stall'; readonly at?: Cut | undefined }
  /** The head of the answer comes at once, the rest `bytes` (default 1) at a time, every `everyMs` (default 100). */
  | { readonly kind: 'drip'; readonly bytes?: number | undefined; readonly everyMs?: number | undefined }
  /** The answer comes whole, in pieces that the seed draws. No client may notice. */
  | { readonly kind: 'slice' }
  /** Bits of the body, as many as `bits` (default 1), are flipped where the seed draws it; the length stays. */
  | { readonly kind: 'corrupt'; readonly bits?: number | undefined }
  /** The framing of the answer is wrong. `what`: default, drawn by the seed. */
  | { readonly kind: 'malformed'; readonly what?: Malformation | undefined }
  /**
   * A stream of server-sent events ends behind an event, in the middle of one (default), or in the middle of a
   * character of one. `event`: which, from 1; default, drawn by the seed from 1 to 8. `ending`: default `'hangup'`.
   */
  | {
      readonly kind: 'sse-cut';
      readonly where?: EventCut | undefined;
      readonly event?: number | undefined;
      readonly ending?: Ending | undefined;
    }
  /** Nothing comes of a stream of server-sent events behind an event, and it stays open. `event` as in `sse-cut`. */
  | { readonly kind: 'sse-stall'; readonly event?: number | undefined }
  /**
   * A call of a {@link chaosStore} rejects. `calls`: which, default all. `'after'`: it was made, and only its answer is
   * lost. Default `'before'`: it was not made.
   */
  | {
      readonly kind: 'store-error';
      readonly calls?: readonly StoreCall[] | undefined;
      readonly when?: 'before' | 'after' | undefined;
    }
  /** A call of a {@link chaosStore} is held before it is made (default), or its answer is, `'after'`. */
  | {
      readonly kind: 'store-latency';
      readonly delay: ChaosDelay;
      readonly calls?: readonly StoreCall[] | undefined;
      readonly when?: 'before' | 'after' | undefined;
    }
  /** Kills one registered kernel, of this group if one is given; the request goes on. */
  | { readonly kind: 'kernel-kill'; readonly group?: string | undefined };

/** What is done to the calls of a store, and not to requests. */
export function isStoreFault(fault: ChaosFault): fault is FaultOf<'store-error' | 'store-latency'> {
  return fault.kind === 'store-error' || fault.kind === 'store-latency';
}

/** The faults of one kind. */
export type FaultOf<Kind extends ChaosFault['kind']> = Extract<ChaosFault, { readonly kind: Kind }>;

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
const body: OptionRule = {
  allowed: 'a text, or an object or a list that is sent as JSON',
  type: (value) => typeof value === 'string' || (typeof value === 'object' && value !== null),
};
const seconds = wholeNumberBetween(0, 31_536_000, 'seconds');
const ending = oneOf('reset', 'hangup');
const when = oneOf('before', 'after');
const calls = listOf(`a list of calls of a store: ${STORE_CALLS.join(', ')}`, (call) =>
  STORE_CALLS.includes(call as StoreCall),
);
const event = wholeNumberBetween(1, 4_294_967_295);
const PLACES: OptionRules<{ bytes: number; share: number }> = {
  bytes: wholeNumberBetween(0, Number.MAX_SAFE_INTEGER),
  share: { ...numberBetween(0, 1), allowed: 'a number from 0 to below 1', range: (at: number) => at >= 0 && at < 1 },
};

/** What a fault may have besides its kind. */
const FIELDS: Readonly<Record<ChaosFault['kind'], Record<string, OptionRule>>> = {
  error: {
    statuses,
    when,
    body,
    headers: errorHeaders,
    retryAfter: either(seconds, anObject),
  },
  latency: { delay: anObject, when },
  hang: {},
  hangup: {},
  reset: {},
  'lost-response': { ending },
  truncate: { at: anObject, ending },
  stall: { at: anObject },
  drip: { bytes: wholeNumberBetween(1, 4_294_967_295), everyMs: wholeNumberBetween(1, 2_147_483_647) },
  slice: {},
  corrupt: { bits: wholeNumberBetween(1, 4_096) },
  malformed: { what: oneOf('status-line', 'content-length', 'chunk-size') },
  'sse-cut': { where: oneOf('after-event', 'mid-event', 'mid-character'), event, ending },
  'sse-stall': { event },
  'store-error': { calls, when },
  'store-latency': { delay: anObject, calls, when },
  'kernel-kill': { group: kernelName },
};
const kind = oneOf(...Object.keys(FIELDS));
const FAULTS = Object.fromEntries(Object.entries(FIELDS).map(([name, fields]) => [name, { kind, ...fields }]));
/** `delay` has to be there; every other field has a default. */
const OPTIONAL = Object.values(FIELDS)
  .flatMap((fields) => Object.keys(fields))
  .filter((name) => name !== 'delay');

/** The faults that any server of HTTP can do; all others use what only Node has: its sockets. */
const ANYWHERE: readonly string[] = [
  'error',
  'latency',
  'hang',
  'hangup',
  'store-error',
  'store-latency',
  'kernel-kill',
];

/** Refuses a fault that cannot be right, or that this runtime cannot do. `at` is where it stands. */
export function checkFault(at: string, fault: ChaosFault): void {
  checkShape(at, fault, 'kind', FAULTS, OPTIONAL);
  if ('delay' in fault) checkDelay(`${at}.delay`, fault.delay);
  if ((fault.kind === 'truncate' || fault.kind === 'stall') && fault.at) checkOneOf(`${at}.at`, fault.at, PLACES);
  if (fault.kind === 'error' && typeof fault.retryAfter === 'object') {
    checkOneOf(`${at}.retryAfter`, fault.retryAfter, { dateInSeconds: seconds });
  }
  const onWire = !ANYWHERE.includes(fault.kind) || (!isStoreFault(fault) && 'when' in fault && fault.when === 'after');
  // Bun's sockets do not reset, and its responses do not go through them (oven-sh/bun#43649).
  if (onWire && process.versions['bun'] !== undefined) {
    throw invalidOption(RangeError, at, 'kind', fault.kind, 'a fault that this runtime can do');
  }
}

/** Refuses an object that has not exactly one of these fields. */
function checkOneOf<T extends object>(at: string, value: Partial<T>, rules: OptionRules<T>): void {
  checkOptions(at, value, rules as OptionRules<Partial<T>>);
  const given = Object.values(value).filter((field) => field !== undefined);
  if (given.length === 1) return;
  const names = Object.keys(rules).map((name) => `"${name}"`);
  throw invalidOption(TypeError, at, names[0]?.slice(1, -1) ?? '', undefined, `exactly one of ${names.join(', ')}`);
}

/** What the engine is told of a fault: what it has to draw for it. */
export function planFault(fault: ChaosFault): Pick<ChaosPlanRule, 'kernelKill' | 'statuses' | 'latency'> {
  return {
    kernelKill: fault.kind === 'kernel-kill',
    ...(fault.kind === 'error' && { statuses: weights(fault.statuses ?? [500, 503, 504, 429]) }),
    ...('delay' in fault && { latency: planDelay(fault.delay) }),
  };
}

function weights(statuses: readonly number[] | Readonly<Record<number, number>>): number[] {
  if (Array.isArray(statuses)) return (statuses as number[]).flatMap((status) => [status, 1]);
  return Object.entries(statuses).flatMap(([status, weight]) => [Number(status), weight]);
}
