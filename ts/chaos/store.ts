import type { ChaosPlan } from '../../native/binding.js';
import { withCode } from '../errors.js';
import { native } from '../native.js';
import { invalidArgument } from '../options.js';
import type { AtomicStore } from '../stores/contract.js';
import { storeOf, type KnownCache } from '../stores/known-clients.js';
import type { IdempotencyStore } from '../stores/types.js';
import type { Chaos } from './api.js';
import type { ActiveFaults } from './faults/active.js';
import { isStoreFault } from './faults/fault.js';
import { STORE_CALLS } from './faults/store.js';
import type { StoreCall } from './faults/store.js';
import type { ChaosRule } from './rules.js';

/** What has happened to the calls of one store. They are no requests: `metrics()` of the chaos does not count them. */
export interface ChaosStoreMetrics {
  /** Calls that were decided about: none while chaos is off. */
  readonly totalCalls: number;
  /** Calls that were made to fail. */
  readonly failuresInjected: number;
  /** Calls that were held. */
  readonly latenciesInjected: number;
}

/** What the store of an instance asks it for. */
export interface ChaosForStores {
  readonly active: ActiveFaults;
  /** What is decided by now; undefined while nothing is injected. */
  readonly current: () => CurrentChaos | undefined;
}

interface CurrentChaos {
  readonly plan: ChaosPlan;
  readonly rules: readonly ChaosRule[];
  /** How long it has been armed, in milliseconds. */
  readonly elapsedMs: number;
  /** How often it was reset. */
  readonly resets: number;
}

const instances = new WeakMap<Chaos, ChaosForStores>();

/** Lets {@link chaosStore} take this instance. */
export function registerForStores(chaos: Chaos, forStores: ChaosForStores): void {
  instances.set(chaos, forStores);
}

/**
 * The same store, whose calls fail or are slow as the rules `store-error` and `store-latency` of an instance of chaos
 * say. A decision depends on the seed, the rule, the call, the key of the record, and how often that call was made for
 * that key. Requests and stores do not disturb each other: what is decided about one changes nothing about the other.
 *
 * @throws TypeError with code `ERR_REPRISE_INVALID_ARGUMENT`
 * @example
 * const chaos = createChaos({
 *   rules: [{ name: 'lost write', fault: { kind: 'store-error', calls: ['complete'], when: 'after' }, probability: 0.1 }],
 * });
 * app.use(idempotencyMiddleware({ store: chaosStore(new MemoryStore(), chaos) }));
 */
export function chaosStore(store: AtomicStore, chaos: Chaos): AtomicStore & { chaosMetrics(): ChaosStoreMetrics };
/** The same for a store that knows only `get`, `set` and `delete`. */
export function chaosStore(
  store: IdempotencyStore | KnownCache,
  chaos: Chaos,
): IdempotencyStore & { chaosMetrics(): ChaosStoreMetrics };
export function chaosStore(
  store: AtomicStore | IdempotencyStore | KnownCache,
  chaos: Chaos,
): (AtomicStore | IdempotencyStore) & { chaosMetrics(): ChaosStoreMetrics } {
  const taken = storeOf('chaosStore', 'store', store, 'ERR_REPRISE_INVALID_ARGUMENT');
  const forStores = instances.get(chaos);
  if (forStores === undefined) {
    throw invalidArgument(TypeError, 'chaosStore', 'chaos', chaos, 'what createChaos or initChaos returned');
  }
  const faults = new StoreFaults(forStores);
  const methods = taken as unknown as Record<string, ((...args: unknown[]) => unknown) | undefined>;
  const wrapped: Record<string, unknown> = { chaosMetrics: () => faults.metrics() };
  for (const call of STORE_CALLS) {
    if (typeof methods[call] !== 'function') continue;
    wrapped[call] = (...args: unknown[]) => faults.around(call, keyOf(args[0]), () => methods[call]?.(...args));
  }
  // Without `keepsClaims`: leases are renewed by calls alone, or no failed call would ever lose a claim.
  if (typeof methods['close'] === 'function') wrapped['close'] = () => methods['close']?.();
  return wrapped as never;
}

/** The key of the record that a call is about: every call has it first, by itself or in an object. */
function keyOf(first: unknown): string {
  return typeof first === 'string' ? first : (first as { key: string }).key;
}

/** An engine of its own: what it decides about are calls, and the attempts of a call are those of one store. */
function makeEngine({ plan, resets }: CurrentChaos) {
  const engine = new native.ChaosEngine(forCalls(plan));
  return { engine, decide: engine.decider(), plan, resets };
}

/** The control share is one of requests: calls have none. */
function forCalls(plan: ChaosPlan): ChaosPlan {
  return { ...plan, controlShare: 0 };
}

/** Decides about the calls of one store, and does what was decided. */
class StoreFaults {
  readonly #chaos: ChaosForStores;
  /** What decides, and by what; made when the first call is decided about. */
  #deciding: ReturnType<typeof makeEngine> | undefined;
  #metrics = { totalCalls: 0, failuresInjected: 0, latenciesInjected: 0 };

  constructor(chaos: ChaosForStores) {
    this.#chaos = chaos;
  }

  metrics(): ChaosStoreMetrics {
    return { ...this.#metrics };
  }

  /** Makes a call, or not, now or later. */
  async around(call: StoreCall, key: string, make: () => unknown): Promise<unknown> {
    const { delay, error } = this.#decided(call, key);
    if (delay?.when === 'before') await this.#wait(delay.ms);
    if (error?.when === 'before') throw this.#failure(call);
    const result = await make();
    if (delay?.when === 'after') await this.#wait(delay.ms);
    if (error?.when === 'after') throw this.#failure(call);
    return result;
  }

  #decided(call: StoreCall, key: string): { delay?: { ms: number; when: When }; error?: { when: When } } {
    const current = this.#chaos.current();
    if (current === undefined) return {};
    const { plan, rules, elapsedMs, resets } = current;
    const { engine, decide } = (this.#deciding ??= makeEngine(current));
    if (this.#deciding.plan !== plan) engine.update(forCalls(plan));
    if (this.#deciding.resets !== resets) {
      engine.reset();
      this.#metrics = { totalCalls: 0, failuresInjected: 0, latenciesInjected: 0 };
    }
    this.#deciding = { engine, decide, plan, resets };
    let matched = 0;
    for (const [index, { fault }] of rules.entries()) {
      if (isStoreFault(fault) && (fault.calls?.includes(call) ?? true)) matched |= 1 << index;
    }
    this.#metrics.totalCalls++;
    const decision = decide(`${call}:${key}`, matched >>> 0, elapsedMs, undefined);
    const whenOf = (rule: number): When => {
      const fault = rules[rule]?.fault;
      return fault && 'when' in fault && fault.when === 'after' ? 'after' : 'before';
    };
    const { latency, fault } = decision ?? {};
    return {
      ...(latency && { delay: { ms: latency.drawn, when: whenOf(latency.rule) } }),
      ...(fault && { error: { when: whenOf(fault.rule) } }),
    };
  }

  /** Until the time is over, or chaos is turned off. */
  #wait(ms: number): Promise<void> {
    this.#metrics.latenciesInjected++;
    return new Promise((resolve) => {
      const over = this.#chaos.active.add(() => {
        clearTimeout(timer);
        resolve();
      });
      const timer = setTimeout(() => {
        over();
        resolve();
      }, ms);
    });
  }

  #failure(call: StoreCall): Error {
    this.#metrics.failuresInjected++;
    return withCode(
      new Error(`Injected by chaos engineering (reprise): the call "${call}" of the store failed`),
      'ERR_REPRISE_CHAOS_STORE',
    );
  }
}

type When = 'before' | 'after';
