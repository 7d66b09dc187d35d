import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import type { ChaosHit } from '../../native/binding.js';
import { native } from '../native.js';
import { isForbidden } from './environment.js';
import { ActiveFaults } from './faults/active.js';
import { countsAs, inject } from './faults/inject.js';
import { KernelKills } from './kernels/kills.js';
import type { KernelReport } from './kernels/kills.js';
import { Kernels } from './kernels/registry.js';
import type { RegisterKernel } from './kernels/registry.js';
import { checkChaosOptions, withDefaults } from './options.js';
import type { ChaosOptions } from './options.js';
import { pathMatcher, pathOf } from './paths.js';
import { matcherOf, planRule } from './rules.js';

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

/** Chaos of one configuration. It shares nothing with any other; its functions may be taken apart from it. */
export interface Chaos {
  /** Whether it injects anything: `enabled`, allowed here, and not closed. */
  readonly armed: boolean;
  /** The seed that it decides by; given again, it makes the same decisions. */
  readonly seed: string;
  /** The middleware that injects. However often it is mounted, a request is decided about once. */
  readonly middleware: () => ChaosMiddleware;
  /** The counts as they stand; still there after {@link close}. */
  readonly metrics: () => ChaosMetrics;
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
  /**
   * Turns it off for good: every delayed request goes on at once, to its handler; the connections of hanging ones are
   * closed; the middleware passes through.
   */
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

/** Makes an instance of options that were checked. It is born off where it is not enabled or not allowed. */
export function armChaos(owner: string, options: ChaosOptions, kernels: Kernels): Chaos {
  const settings = withDefaults(options);
  let armed = settings.enabled && !isForbidden(true, process.env);
  const seed = settings.seed ?? randomBytes(8).toString('hex');
  if (armed) announce(owner, options, seed);

  const { rules, exclusive } = settings;
  const engine = new native.ChaosEngine({ seed, exclusive, rules: rules.map(planRule) });
  const matchOf = matcherOf(rules);
  const armedAt = performance.now();
  const decide = engine.decider();
  const isExcluded = pathMatcher(settings.excludedPaths);
  const active = new ActiveFaults();
  const kills = new KernelKills(kernels, seed, settings.kernelKills, active, () => {
    engine.count('kernel-kill');
  });
  if (armed) kills.start();
  const decided = Symbol('reprise.chaos.decided');

  const middleware: ChaosMiddleware = (req, res, next) => {
    if (!armed || req.method === 'OPTIONS' || res.headersSent) {
      next();
      return;
    }
    const path = pathOf(req);
    const marks = req as unknown as Record<symbol, unknown>;
    if (marks[decided] === true || isExcluded(path)) {
      next();
      return;
    }
    marks[decided] = true;
    let decision: ReturnType<typeof decide>;
    try {
      decision = decide(requestKey(req, path), matchOf(req, path, kills), performance.now() - armedAt);
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
      // Closed while the request was held: nothing more is injected.
      const chosen = hit && armed ? rules[hit.rule]?.fault : undefined;
      if (chosen === undefined || hit === undefined) {
        goOn();
        return;
      }
      const done = () => {
        engine.count(countsAs(chosen));
      };
      inject(chosen, { req, res, drawn: hit.drawn, active, done, next: goOn });
    };
    injectHit(latency, () => {
      injectHit(fault, next);
    });
  };

  return {
    get armed() {
      return armed;
    },
    seed,
    middleware: () => middleware,
    metrics: () => engine.metrics(),
    registerKernel: kernels.register,
    kernels: () => kills.report(),
    close() {
      armed = false;
      kills.stop();
      active.releaseAll();
    },
  };
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
