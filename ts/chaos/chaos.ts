import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import type { ChaosHit, ChaosPlan } from '../../native/binding.js';
import { native } from '../native.js';
import { checkArgument, invalidArgument, invalidOption } from '../options.js';
import { forbiddenInProduction, isForbidden, isProduction } from './environment.js';
import { ActiveFaults } from './faults/active.js';
import { countsAs, inject } from './faults/inject.js';
import { KernelKills } from './kernels/kills.js';
import type { KernelKillOptions, KernelReport } from './kernels/kills.js';
import { Kernels } from './kernels/registry.js';
import type { RegisterKernel } from './kernels/registry.js';
import { ChaosLife, closed } from './life.js';
import type { ChaosState } from './life.js';
import { checkChaosOptions, duration, withChange, withDefaults } from './options.js';
import type { ChaosOptions } from './options.js';
import { pathMatcher, pathOf } from './paths.js';
import { matcherOf, planRule } from './rules.js';
import type { ChaosRule } from './rules.js';
import { registerForStores } from './store.js';

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
};

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

/**
 * Chaos that is independent of {@link initChaos} and of every other instance; made for tests, and for an application
 * that needs two. It reads no environment but the guard of production: `NODE_ENV`, `CHAOS_ENGINEERING_OVERRIDE`.
 *
 * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_OPTION` or `ERR_REPRISE_UNKNOWN_OPTION`
 * @example
 * const chaos = createChaos({ failureProbability: 0.3, seed: 42 });
 * app.use(chaos.middleware());
 * // ...
 * chaos.close();
 */
export function createChaos(options?: ChaosOptions): Chaos {
  checkChaosOptions('createChaos', options);
  return armChaos('createChaos', options ?? {}, new Kernels());
}

/** What one configuration comes to: what is asked for every request. */
interface Configuration {
  readonly options: ChaosOptions;
  readonly rules: readonly ChaosRule[];
  readonly kernelKills: KernelKillOptions;
  readonly maxDurationMs: number | undefined;
  readonly isExcluded: (path: string) => boolean;
  readonly matchOf: ReturnType<typeof matcherOf>;
  readonly plan: ChaosPlan;
}

function configure(options: ChaosOptions, randomSeed: string): Configuration {
  const { rules, kernelKills, exclusive, excludedPaths, seed, maxDurationMs } = withDefaults(options);
  return {
    options,
    rules,
    kernelKills,
    maxDurationMs,
    isExcluded: pathMatcher(excludedPaths),
    matchOf: matcherOf(rules),
    plan: { seed: seed ?? randomSeed, exclusive, rules: rules.map(planRule) },
  };
}

/** Makes an instance of options that were checked. It is born off where it is not enabled or not allowed. */
export function armChaos(owner: string, options: ChaosOptions, kernels: Kernels): Chaos {
  const randomSeed = randomBytes(8).toString('hex');
  let configuration = configure(options, randomSeed);
  const enabled = withDefaults(options).enabled;
  const forbidden = enabled && isForbidden(true, process.env);
  if (enabled && !forbidden && isProduction(process.env) && configuration.maxDurationMs === undefined) {
    throw invalidOption(TypeError, owner, 'maxDurationMs', undefined, `${duration.allowed}, needed in production`);
  }

  const engine = new native.ChaosEngine(configuration.plan);
  const decide = engine.decider();
  const active = new ActiveFaults();
  const kills = new KernelKills(kernels, active, () => {
    engine.count('kernel-kill');
  });
  kills.configure(configuration.plan.seed, configuration.kernelKills);
  const life = new ChaosLife(forbidden ? 'not allowed in production' : 'not enabled', () => {
    kills.stop();
    active.releaseAll();
  });
  const decided = Symbol('reprise.chaos.decided');
  const undone = new Set<string>();
  /** Each reason once, not for each of many requests. */
  const warnUndone = (kind: string, why: string) => {
    const message = `the fault "${kind}" was not done, and the request went on unharmed: ${why}`;
    if (undone.has(message)) return;
    undone.add(message);
    process.emitWarning(message, { type: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_UNDONE' });
  };

  const middleware: ChaosMiddleware = (req, res, next) => {
    if (!life.armed || req.method === 'OPTIONS' || res.headersSent) {
      next();
      return;
    }
    const elapsedMs = life.elapsedMs();
    if (life.isOverdue(elapsedMs)) {
      life.expire();
      next();
      return;
    }
    const path = pathOf(req);
    const marks = req as unknown as Record<symbol, unknown>;
    const { isExcluded, matchOf, rules } = configuration;
    if (marks[decided] === true || isExcluded(path)) {
      next();
      return;
    }
    marks[decided] = true;
    let decision: ReturnType<typeof decide>;
    try {
      decision = decide(requestKey(req, path), matchOf(req, path, kills), elapsedMs);
    } catch (error) {
      next(error);
      return;
    }
    if (decision === null) {
      next();
      return;
    }
    const { kill, latency, fault } = decision;
    if (kill) {
      const killing = rules[kill.rule]?.fault;
      if (killing?.kind === 'kernel-kill') kills.kill(kill.drawn, killing.group);
    }
    const injectHit = (hit: ChaosHit | undefined, goOn: (error?: unknown) => void) => {
      // Disarmed while the request was held: nothing more is injected.
      const chosen = hit && life.armed ? rules[hit.rule]?.fault : undefined;
      if (chosen === undefined || hit === undefined) {
        goOn();
        return;
      }
      const done = () => {
        const counted = countsAs(chosen);
        if (counted) engine.count(counted);
      };
      const undone = (why: string) => {
        warnUndone(chosen.kind, why);
      };
      inject(chosen, { req, res, drawn: hit.drawn, active, done, undone, next: goOn });
    };
    injectHit(latency, () => {
      injectHit(fault, next);
    });
  };

  let resets = 0;
  let announced = false;
  const arm = (forMs: number | undefined) => {
    life.arm(forMs);
    kills.start();
    if (!announced) announce(owner, configuration.options, configuration.plan.seed);
    announced = true;
  };
  if (enabled && !forbidden) arm(configuration.maxDurationMs);

  const chaos: Chaos = {
    get armed() {
      return life.armed;
    },
    get seed() {
      return configuration.plan.seed;
    },
    middleware: () => middleware,
    metrics: () => engine.metrics(),
    status: () => ({ ...life.state, activeFaults: active.size, seed: configuration.plan.seed }),
    arm(forMs) {
      const { maxDurationMs } = configuration;
      const allowed = `${duration.allowed}${maxDurationMs === undefined ? '' : `, at most maxDurationMs (${maxDurationMs})`}`;
      if (forMs !== undefined) checkArgument('chaos.arm', 'forMs', forMs, { ...duration, allowed });
      if (forMs !== undefined && forMs > (maxDurationMs ?? forMs)) {
        throw invalidArgument(RangeError, 'chaos.arm', 'forMs', forMs, allowed);
      }
      if (isForbidden(false, process.env)) throw forbiddenInProduction('arm');
      if (isProduction(process.env) && (forMs ?? maxDurationMs) === undefined) {
        throw invalidArgument(TypeError, 'chaos.arm', 'forMs', forMs, `${allowed}, needed in production`);
      }
      arm(forMs ?? maxDurationMs);
    },
    disarm(reason = 'disarm() was called') {
      life.disarm(reason);
    },
    update(change) {
      if (life.state.state === 'closed') throw closed('update');
      if (life.armed && isForbidden(false, process.env)) {
        life.disarm('not allowed in production');
        throw forbiddenInProduction('update');
      }
      const next = configure(withChange('chaos.update', configuration.options, change), configuration.plan.seed);
      engine.update(next.plan);
      kills.configure(next.plan.seed, next.kernelKills);
      configuration = next;
      if (next.maxDurationMs !== undefined) life.endBy(next.maxDurationMs);
    },
    reset() {
      engine.reset();
      resets++;
      kills.reset();
    },
    registerKernel: kernels.register,
    kernels: () => kills.report(),
    close() {
      life.close();
    },
  };
  registerForStores(chaos, {
    active,
    current() {
      const { plan, rules } = configuration;
      const elapsedMs = life.elapsedMs();
      return life.armed && !life.isOverdue(elapsedMs) ? { plan, rules, elapsedMs, resets } : undefined;
    },
  });
  return chaos;
}

/**
 * What the decision about a request depends on, besides the seed and how often it was seen: its idempotency key, or
 * else its method and path. No method has a colon, so the two never meet.
 */
function requestKey(req: IncomingMessage, path: string): string {
  const key = req.headers['idempotency-key'];
  return typeof key === 'string' && key !== '' ? `key:${key}` : `${req.method ?? 'GET'} ${path}`;
}

/** Tells how to repeat a run whose seed was left to chance, and that a plan without any probability does nothing. */
function announce(owner: string, options: ChaosOptions, seed: string): void {
  if (options.seed === undefined) {
    const again = owner === 'createChaos' ? `the option seed: '${seed}'` : `CHAOS_SEED=${seed}`;
    process.stderr.write(`reprise: chaos is armed with the random seed ${seed}; to repeat this run, set ${again}\n`);
  }
  if (
    options.rules === undefined &&
    options.failureProbability === undefined &&
    options.latencyProbability === undefined &&
    options.kernelKillProbability === undefined &&
    options.kernelKills === undefined
  ) {
    process.emitWarning(
      `${owner}: chaos is armed, but no probability was given and each is 0 by default, so nothing will happen`,
      { type: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_WITHOUT_FAULT' },
    );
  }
}
