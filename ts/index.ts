export type { RepriseError, RepriseErrorCode } from './errors.js';

export { createChaos } from './chaos/chaos.js';
export type { Chaos, ChaosMetrics, ChaosMiddleware } from './chaos/chaos.js';
export { chaosMiddleware, getChaosMetrics, initChaos, registerKernel } from './chaos/default.js';
export type { KillKernel } from './chaos/kernels.js';
export type { ChaosOptions } from './chaos/options.js';
