import type { ChaosPlanRule } from '../../../native/binding.js';
import { anObject, checkShape, invalidOption, oneOf } from '../../options.js';
import type { OptionRule } from '../../options.js';
import { checkDelay, planDelay } from '../delay.js';
import type { ChaosDelay } from '../delay.js';
import { kernelName } from '../kernels/registry.js';
import { canReset } from './connection.js';
import type { Ending } from './connection.js';

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
  /** Kills one registered kernel, of this group if one is given; the request goes on. */
  | { readonly kind: 'kernel-kill'; readonly group?: string | undefined };

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
  'kernel-kill': { kind, group: kernelName },
};

/** Refuses a fault that cannot be right, or that this runtime cannot do. `at` is where it stands. */
export function checkFault(at: string, fault: ChaosFault): void {
  checkShape(at, { ...fault }, 'kind', FAULTS, ['statuses', 'ending', 'group']);
  if (fault.kind === 'latency') checkDelay(`${at}.delay`, fault.delay);
  if (!canReset() && (fault.kind === 'reset' || fault.kind === 'lost-response')) {
    throw invalidOption(RangeError, at, 'kind', fault.kind, 'a fault that this runtime can do');
  }
}

/** What the engine is told of a fault: what it has to draw for it. */
export function planFault(fault: ChaosFault): Pick<ChaosPlanRule, 'kernelKill' | 'statuses' | 'latency'> {
  return {
    kernelKill: fault.kind === 'kernel-kill',
    ...(fault.kind === 'error' && { statuses: weights(fault.statuses ?? [500, 503, 504, 429]) }),
    ...(fault.kind === 'latency' && { latency: planDelay(fault.delay) }),
  };
}

function weights(statuses: readonly number[] | Readonly<Record<number, number>>): number[] {
  if (Array.isArray(statuses)) return (statuses as number[]).flatMap((status) => [status, 1]);
  return Object.entries(statuses).flatMap(([status, weight]) => [Number(status), weight]);
}
