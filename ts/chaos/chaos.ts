import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

import type { ChaosPlan } from '../../native/binding.js';
import { makeCheap } from '../cheap.js';
import { native } from '../native.js';
import { checkArgument, invalidArgument, invalidOption } from '../options.js';
import type { Chaos, ChaosExplanation, ChaosMiddleware } from './api.js';
import { forbiddenInProduction, isForbidden, isProduction } from './environment.js';
import { ActiveFaults } from './faults/active.js';
import { countsAs, inject } from './faults/inject.js';
import { ChaosGuard } from './guard/guard.js';
import type { ChaosGuardOptions } from './guard/guard.js';
import { KernelKills } from './kernels/kills.js';
import type { KernelKillOptions } from './kernels/kills.js';
import { Kernels } from './kernels/registry.js';
import { ChaosJournal, readJournal } from './journal.js';
import { ChaosLife, closed } from './life.js';
import { matcherOf } from './match.js';
import type { RuleMatcher } from './match.js';
import { checkChaosOptions, duration, withChange, withDefaults } from './options.js';
import type { ChaosOptions } from './options.js';
import { pathMatcher, pathOf } from './paths.js';
import { RunningReplay } from './replay.js';
import { planRule } from './rules.js';
import type { ChaosRule } from './rules.js';
import { registerForStores } from './store.js';

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
  return armChaos('createChaos', checkChaosOptions('createChaos', options), new Kernels());
}

/** What one configuration comes to: what is asked for every request. */
interface Configuration extends RuleMatcher {
  readonly options: ChaosOptions;
  readonly rules: readonly ChaosRule[];
  readonly kernelKills: KernelKillOptions;
  readonly maxDurationMs: number | undefined;
  readonly isExcluded: (path: string) => boolean;
  readonly keyOf: (req: IncomingMessage, path: string) => string;
  readonly journalSize: number;
  readonly guard: ChaosGuardOptions | undefined;
  readonly plan: ChaosPlan;
}

function configure(options: ChaosOptions, randomSeed: string): Configuration {
  const settings = withDefaults(options);
  const { rules, exclusive, seed, guard } = settings;
  return {
    ...settings,
    ...matcherOf(rules),
    options,
    isExcluded: pathMatcher(settings.excludedPaths),
    keyOf: keyed(settings.requestKey),
    plan: {
      seed: seed ?? randomSeed,
      exclusive,
      controlShare: guard ? (guard.controlShare ?? 0.1) : 0,
      rules: rules.map(planRule),
    },
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
  engine.keepJournal(configuration.journalSize);
  const decide = engine.decider();
  let replay: RunningReplay | undefined;
  const active = new ActiveFaults();
  const kills = new KernelKills(kernels, active, () => {
    engine.count('kernel-kill');
  });
  kills.configure(configuration.plan.seed, configuration.kernelKills);
  const life = new ChaosLife(forbidden ? 'not allowed in production' : 'not enabled', () => {
    guard?.stop();
    kills.stop();
    active.releaseAll();
  });
  const guarded = () =>
    configuration.guard &&
    new ChaosGuard(configuration.guard, (reason) => {
      life.halt(reason);
    });
  let guard = guarded();
  /** Requests that were decided about. A mark on the request itself would cost each of them several times as much. */
  const seen = new WeakSet<IncomingMessage>();
  const undone = new Set<string>();
  /** Each reason once, not for each of many requests. */
  const warnUndone = (kind: string, why: string) => {
    const message = `the fault "${kind}" was not done, and the request went on unharmed: ${why}`;
    if (undone.has(message)) return;
    undone.add(message);
    process.emitWarning(message, { type: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_UNDONE' });
  };

  const middleware: ChaosMiddleware = (req, res, next) => {
    if (!life.armed) {
      next();
      return;
    }
    const { isExcluded, keyOf, matchOf, askedBy, rules } = configuration;
    const path = pathOf(req);
    if (isExcluded(path)) {
      next();
      return;
    }
    // Under Express, this saves the request more than all of the rest costs it.
    makeCheap(req, res);
    if (req.method === 'OPTIONS' || seen.has(req) || res.headersSent) {
      next();
      return;
    }
    const elapsedMs = life.elapsedMs();
    if (life.isOverdue(elapsedMs)) {
      life.expire();
      next();
      return;
    }
    seen.add(req);
    if (guard?.isLearning === true) {
      guard.watch(res);
      next();
      return;
    }
    let decision: ReturnType<typeof decide>;
    try {
      decision = decide(keyOf(req, path), matchOf(req, path, kills), elapsedMs, askedBy(req));
    } catch (error) {
      next(error);
      return;
    }
    if (replay && !replay.isOver) replay.check(req.method ?? 'GET', path);
    if (decision === null) {
      guard?.watch(res);
      next();
      return;
    }
    guard?.injected();
    const { kill, number } = decision;
    if (kill) {
      const killing = rules[kill.rule]?.fault;
      if (killing?.kind === 'kernel-kill') {
        kills.kill(kill.drawn, killing.group, () => {
          engine.done(number, 'kill');
        });
      }
    }
    const injectHit = (slot: 'latency' | 'fault', goOn: (error?: unknown) => void) => {
      const hit = decision[slot];
      // Disarmed while the request was held: nothing more is injected.
      const chosen = hit && life.armed ? rules[hit.rule]?.fault : undefined;
      if (chosen === undefined || hit === undefined) {
        goOn();
        return;
      }
      const done = () => {
        const counted = countsAs(chosen);
        if (counted) engine.count(counted);
        engine.done(number, slot);
      };
      const undone = (why: string) => {
        warnUndone(chosen.kind, why);
      };
      inject(chosen, { req, res, drawn: hit.drawn, active, done, undone, next: goOn });
    };
    injectHit('latency', () => {
      injectHit('fault', next);
    });
  };

  let resets = 0;
  const explain = (req: IncomingMessage): ChaosExplanation => {
    const { isExcluded, keyOf, matchOf, askedBy, rules } = configuration;
    const path = pathOf(req);
    const elapsedMs = life.armed ? life.elapsedMs() : 0;
    const explained = engine.explain(keyOf(req, path), matchOf(req, path, kills), elapsedMs, askedBy(req));
    const { request, attempt, reason } = explained;
    const name = (index: number) => rules[index]?.name ?? '';
    const passes =
      (!life.armed && 'disarmed') ||
      (req.method === 'OPTIONS' && 'options-request') ||
      (isExcluded(path) && 'excluded-path') ||
      (guard?.isLearning === true && 'baseline') ||
      (reason === 'control' && 'control-share') ||
      (reason === 'not-recorded' && 'not-recorded') ||
      null;
    if (passes !== null) return { passes, request, attempt, fires: [], rules: [] };
    const verdicts = explained.verdicts.map((verdict, index) => ({ name: name(index), verdict }));
    return { passes, request, attempt, fires: explained.fires.map(name), rules: verdicts };
  };

  let announced = false;
  const arm = (forMs: number | undefined) => {
    life.arm(forMs);
    guard?.start();
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
    status() {
      const rates = engine.effectiveRates();
      const rules = configuration.rules.map(({ name, fault, probability = 1 }, index) => {
        return { name, fault: fault.kind, probability, effectiveRate: rates[index] ?? 0 };
      });
      return {
        ...life.state,
        activeFaults: active.size,
        seed: configuration.plan.seed,
        rules,
        guard: guard?.status ?? null,
      };
    },
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
      replay?.end();
      engine.update(next.plan);
      engine.keepJournal(next.journalSize);
      kills.configure(next.plan.seed, next.kernelKills);
      const isGuardChanged = configuration.guard !== next.guard;
      configuration = next;
      if (isGuardChanged) {
        guard?.stop();
        guard = guarded();
        if (life.armed) guard?.start();
      }
      if (next.maxDurationMs !== undefined) life.endBy(next.maxDurationMs);
    },
    reset() {
      replay?.end();
      engine.reset();
      resets++;
      kills.reset();
    },
    journal: () => new ChaosJournal({ seed: configuration.plan.seed, ...engine.journal() }),
    replay(journal) {
      if (life.state.state === 'closed') throw closed('replay');
      const data = readJournal('chaos.replay', journal);
      replay?.end();
      replay = new RunningReplay('chaos.replay', engine, configuration.rules, data);
      configuration = configure({ ...configuration.options, seed: data.seed }, data.seed);
      kills.configure(data.seed, configuration.kernelKills);
      kills.reset();
      return replay;
    },
    explain,
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
function defaultKey(req: IncomingMessage, path: string): string {
  const key = req.headers['idempotency-key'];
  return typeof key === 'string' && key !== '' ? `key:${key}` : `${req.method ?? 'GET'} ${path}`;
}

/** The same, where the option `requestKey` has the first word. */
function keyed(requestKey: ChaosOptions['requestKey']): (req: IncomingMessage, path: string) => string {
  if (requestKey === undefined) return defaultKey;
  return (req, path) => {
    const key: unknown = requestKey(req);
    if (key === undefined) return defaultKey(req, path);
    if (typeof key !== 'string')
      throw invalidArgument(TypeError, 'requestKey(req)', 'returned', key, 'a text or undefined');
    return `own:${key}`;
  };
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
