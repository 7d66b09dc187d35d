import type { Chaos, ChaosMetrics, ChaosMiddleware } from './api.js';
import { armChaos } from './chaos.js';
import { isForbidden, isMentioned, isProduction, withEnvironment } from './environment.js';
import { Kernels } from './kernels/registry.js';
import type { RegisterKernel } from './kernels/registry.js';
import { checkChaosOptions } from './options.js';
import type { ChaosOptions } from './options.js';

/** The default instance; none before it is first armed. Its kernels outlive a new configuration. */
let current: Chaos | undefined;
const kernels = new Kernels();

/**
 * Arms the default chaos, which {@link chaosMiddleware} injects. Called again, it turns the chaos that was there off
 * and starts anew, counts at zero; `initChaos({ enabled: false })` leaves it off.
 *
 * The environment wins over the options: `CHAOS_FAILURE_RATE`, `CHAOS_LATENCY_RATE`, `CHAOS_LATENCY_RANGE`
 * (`100-5000`), `CHAOS_KERNEL_KILL_RATE`, `CHAOS_SEED`; with `CHAOS_ENABLED` an off wins, whoever says it. With
 * `NODE_ENV=production` nothing is armed unless `CHAOS_ENGINEERING_OVERRIDE=true`, and then for `maxDurationMs`, or 15
 * minutes if that is not given.
 *
 * @returns the instance; `close()` turns it off
 * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_OPTION`, `ERR_REPRISE_UNKNOWN_OPTION` or
 *   `ERR_REPRISE_INVALID_ENVIRONMENT`; the chaos that was there goes on
 * @example
 * initChaos({ failureProbability: 0.05, latencyProbability: 0.1, latencyRange: [100, 5000], seed: 42 });
 * app.use(chaosMiddleware());
 */
export function initChaos(options?: ChaosOptions): Chaos {
  return rearm('initChaos', options);
}

/**
 * Injects what the default chaos decides; passes every request through while there is none. It follows every later
 * {@link initChaos}. If nobody called that before and `CHAOS_ENABLED=true`, it arms itself from the environment.
 *
 * Mount it after CORS and before everything that it shall test.
 *
 * @throws RangeError with code `ERR_REPRISE_INVALID_ENVIRONMENT`, if it arms itself and a variable cannot be read
 */
export function chaosMiddleware(): ChaosMiddleware {
  if (current === undefined && isMentioned(process.env)) rearm('chaosMiddleware', undefined);
  return (req, res, next) => {
    if (current === undefined) next();
    else current.middleware()(req, res, next);
  };
}

/** What the default chaos has done since it was last armed; all zero before that. */
export function getChaosMetrics(): ChaosMetrics {
  return (
    current?.metrics() ?? {
      totalRequests: 0,
      failuresInjected: 0,
      latenciesInjected: 0,
      kernelsKilled: 0,
      failureRate: 0,
      latencyRate: 0,
    }
  );
}

/**
 * Names a kernel that the default chaos may kill, now and after every later {@link initChaos}; see
 * {@link Chaos.registerKernel}.
 *
 * @example
 * const worker = new Worker('./kernel.js');
 * registerKernel(kernelOf(worker, { id: 'kernel-1' }));
 * registerKernel('kernel-2', () => endIt());
 */
export const registerKernel: RegisterKernel = kernels.register;

function rearm(owner: string, given: ChaosOptions | undefined): Chaos {
  const options = checkChaosOptions(owner, given);
  // Where chaos is forbidden, a variable that cannot be read shall not keep a server from starting.
  const wanted = options.enabled !== false;
  const merged = isForbidden(wanted, process.env)
    ? { ...options, enabled: false }
    : withEnvironment(owner, options, process.env);
  const chaos = armChaos(owner, withBound(owner, merged), kernels);
  current?.close();
  current = chaos;
  return chaos;
}

/** In production, an override is a word for now, not for ever. */
const PRODUCTION_MS = 15 * 60_000;

let warned = false;

/** The options with an end, where chaos is about to be armed in production and nobody gave it one. */
function withBound(owner: string, options: ChaosOptions): ChaosOptions {
  if (options.enabled === false || options.maxDurationMs !== undefined || !isProduction(process.env)) return options;
  if (!warned) {
    warned = true;
    process.emitWarning(
      `${owner}: chaos is armed in production, and disarms itself after 15 minutes, since no end was given. ` +
        'Give maxDurationMs',
      { type: 'RepriseWarning', code: 'WRN_REPRISE_CHAOS_DEFAULT_DURATION' },
    );
  }
  return { ...options, maxDurationMs: PRODUCTION_MS };
}
