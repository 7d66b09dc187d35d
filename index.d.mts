/* auto-generated from ts/ by `npm run build:ts`; do not edit */
import { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Every code that reprise puts on an error. A code never changes its meaning; `docs/errors/<code>.md` explains each.
 */
type RepriseErrorCode = 'ERR_REPRISE_INVALID_OPTION' | 'ERR_REPRISE_UNKNOWN_OPTION' | 'ERR_REPRISE_INVALID_ENVIRONMENT' | 'ERR_REPRISE_INVALID_ARGUMENT' | 'ERR_REPRISE_NATIVE_UNAVAILABLE' | 'ERR_REPRISE_STORE_CLOSED' | 'ERR_REPRISE_STORE_FULL' | 'ERR_REPRISE_STORE_TIMEOUT';
/** What every error thrown by reprise carries besides its message. */
interface RepriseError extends Error {
    /** Stable, for programs. */
    readonly code: RepriseErrorCode;
}

/**
 * Ends one kernel: a worker, a child process, anything that can be lost. Counted as a kill once it returned, or its
 * promise resolved; not if it threw, rejected, or gave `false` (as `ChildProcess.kill` does when there was no process).
 */
type KillKernel = () => unknown;

/** What {@link initChaos} and {@link createChaos} take. Everything is optional. */
interface ChaosOptions {
    /** Whether anything is injected at all. Default true; an off always wins, in code or in `CHAOS_ENABLED`. */
    readonly enabled?: boolean | undefined;
    /** Share of requests that are answered with 500, 503, 504 or 429 instead of running the handler, 0 to 1. Default 0. */
    readonly failureProbability?: number | undefined;
    /** Share of requests that are held before the handler runs, 0 to 1. Default 0. */
    readonly latencyProbability?: number | undefined;
    /** How long they are held: whole milliseconds, uniform, both ends included. Default [100, 5000]. */
    readonly latencyRange?: readonly [min: number, max: number] | undefined;
    /** Share of requests at which one registered kernel is killed, 0 to 1. Default 0. */
    readonly kernelKillProbability?: number | undefined;
    /**
     * Paths that are left alone, each with everything below it: `/api/health` also covers `/api/health/live`, never
     * `/api/healthz`. Default ['/api/health', '/api/metrics']; a list given replaces the default.
     */
    readonly excludedPaths?: readonly string[] | undefined;
    /** The same seed makes the same decisions; 42 and '42' are one seed. Default: a random one, written to stderr. */
    readonly seed?: number | string | undefined;
}

/** A middleware for Express 4 and 5, Connect and plain `node:http`. */
type ChaosMiddleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;
/** What has happened so far. A fault counts when it was done, not when it was decided. */
interface ChaosMetrics {
    /** Requests that were decided about: not those on excluded paths, not OPTIONS, none while chaos is off. */
    readonly totalRequests: number;
    /** Requests that were answered with an injected error. */
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
interface Chaos {
    /** Whether it injects anything: `enabled`, allowed here, and not closed. */
    readonly armed: boolean;
    /** The seed that it decides by; given again, it makes the same decisions. */
    readonly seed: string;
    /** The middleware that injects. However often it is mounted, a request is decided about once. */
    readonly middleware: () => ChaosMiddleware;
    /** The counts as they stand; still there after {@link close}. */
    readonly metrics: () => ChaosMetrics;
    /**
     * Names a kernel that may be killed. A killed one must be registered again when it was restarted. Registering an
     * id that is there replaces its kill.
     *
     * @param id which; among several, the victim is chosen by the seed over the sorted ids
     * @param kill ends it; see {@link KillKernel}
     * @returns takes the registration back
     * @throws TypeError with code `ERR_REPRISE_INVALID_ARGUMENT`
     */
    readonly registerKernel: (id: string, kill: KillKernel) => () => void;
    /** Turns it off for good: every held request goes on at once, to its handler; the middleware passes through. */
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
declare function createChaos(options?: ChaosOptions): Chaos;

/**
 * Arms the default chaos, which {@link chaosMiddleware} injects. Called again, it turns the chaos that was there off
 * and starts anew, counts at zero; `initChaos({ enabled: false })` leaves it off.
 *
 * The environment wins over the options: `CHAOS_FAILURE_RATE`, `CHAOS_LATENCY_RATE`, `CHAOS_LATENCY_RANGE`
 * (`100-5000`), `CHAOS_KERNEL_KILL_RATE`, `CHAOS_SEED`; with `CHAOS_ENABLED` an off wins, whoever says it. With
 * `NODE_ENV=production` nothing is armed unless `CHAOS_ENGINEERING_OVERRIDE=true`.
 *
 * @returns the instance; `close()` turns it off
 * @throws TypeError or RangeError with code `ERR_REPRISE_INVALID_OPTION`, `ERR_REPRISE_UNKNOWN_OPTION` or
 *   `ERR_REPRISE_INVALID_ENVIRONMENT`; the chaos that was there goes on
 * @example
 * initChaos({ failureProbability: 0.05, latencyProbability: 0.1, latencyRange: [100, 5000], seed: 42 });
 * app.use(chaosMiddleware());
 */
declare function initChaos(options?: ChaosOptions): Chaos;
/**
 * Injects what the default chaos decides; passes every request through while there is none. It follows every later
 * {@link initChaos}. If nobody called that before and `CHAOS_ENABLED=true`, it arms itself from the environment.
 *
 * Mount it after CORS and before everything that it shall test.
 *
 * @throws RangeError with code `ERR_REPRISE_INVALID_ENVIRONMENT`, if it arms itself and a variable cannot be read
 */
declare function chaosMiddleware(): ChaosMiddleware;
/** What the default chaos has done since it was last armed; all zero before that. */
declare function getChaosMetrics(): ChaosMetrics;
/**
 * Names a kernel that the default chaos may kill, now and after every later {@link initChaos}; see
 * {@link Chaos.registerKernel}.
 *
 * @example
 * const worker = new Worker('./kernel.js');
 * registerKernel('kernel-1', () => worker.terminate());
 */
declare function registerKernel(id: string, kill: KillKernel): () => void;

export { chaosMiddleware, createChaos, getChaosMetrics, initChaos, registerKernel };
export type { Chaos, ChaosMetrics, ChaosMiddleware, ChaosOptions, KillKernel, RepriseError, RepriseErrorCode };
